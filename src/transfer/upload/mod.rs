//! Uploads: from files on disk to objects that are proven to stand there.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `selection` | which names are meant; pure |
//! | `local_file` | a file and the state in which it was found; its bytes, as long as it does not change |
//! | `scan` | the files below a directory |
//! | `plan` | files and rules to jobs and refusals, all at once; what may be deleted; pure |
//! | `send` | one file: compare, send, prove |
//! | `run` | all of them, once |
//! | `settle` | which files of a directory that grows are whole; pure |
//! | `watch` | the same again and again |

mod local_file;
mod plan;
mod run;
mod scan;
mod selection;
mod send;
mod settle;
mod watch;

pub(crate) use local_file::{LocalFile, OpenFile, ReadError};
pub(crate) use plan::Job;
pub(crate) use run::{Deletion, Proven, Request, Upload, UploadError};
pub(crate) use scan::Source;
pub(crate) use selection::Selection;
pub(crate) use watch::Watch;
