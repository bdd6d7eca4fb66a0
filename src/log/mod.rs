//! How lines of the log leave the process: in batches, by one thread, so that no request waits for whoever
//! reads them.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `writer` | the bounded buffer, and the thread that empties it |
//! | `output` | standard error, or a file that can be opened anew |
//! | `json` | a line as JSON |
//!
//! Invariants: a line is written whole, and those of one thread in their order; a batch waits for at most
//! [`writer::BATCH_TIME`], and a warning or an error waits for nothing; memory is bounded; what cannot be
//! written is counted and told.

pub(crate) mod json;
pub(crate) mod output;
pub(crate) mod writer;

/// The target of what this room says itself.
const TARGET: &str = "subgate::log";

/// What the line says that tells of lines which were lost.
pub(crate) const LOST_LINES: &str = "lines of the log were lost here, for its output did not take them";
