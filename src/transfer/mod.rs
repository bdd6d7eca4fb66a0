//! The engine of transfers: what is to be moved, in which pieces, and the proof that it arrived.
//!
//! | file | what is in it |
//! | --- | --- |
//! | [`names`] | which key a file gets; what of folders and sizes a server takes; pure |
//! | [`filter`] | which files are meant by patterns; pure |
//! | [`layout`] | into which parts content is cut; pure |
//! | [`fingerprint`] | what content is known by: sha256, and the ETags that a store gives it; pure |
//! | `marker` | how an open upload says of which content it is; pure |
//! | [`object_writer`] | puts content of known size as one object; goes on where an earlier run ended |
//! | [`download`] | all objects under a prefix, as files below a folder |
//! | [`pool`] | so much work at once, until it is done or interrupted |
//! | [`upload`] | files on disk to objects
//! | [`progress`] | a bar on a terminal, JSON lines elsewhere |
//! | [`usage`] | what a server holds, by folder |
//! | [`report`] | what became of each file: the table at the end |
//!
//! Invariants: an object comes to be only when all of its content was seen to be what was declared; memory is
//! a bounded number of parts; a comparison without a checksum never says "the same".

pub(crate) mod download;
pub(crate) mod filter;
pub(crate) mod fingerprint;
pub(crate) mod layout;
mod marker;
pub(crate) mod names;
pub(crate) mod object_writer;
pub(crate) mod pool;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod upload;
pub(crate) mod usage;
