//! The client of a HuggingFace-compatible Hub: what a dataset repository holds, its files as streams, and
//! commits to it.
//!
//! The API is that of <https://huggingface.co/docs/hub/api>, Git LFS's batch API
//! (<https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>) with the Hub's own multipart transfer,
//! and what the public client `huggingface_hub` sends. Files are read by the resolve URL, which leads to
//! whole bytes however the Hub stores them (Git, LFS or Xet); they are written by LFS and by commits.
//!
//! Invariants:
//! - The token goes to the endpoint itself and to no other host: not to the target of a redirect, not to the
//!   storage that takes an upload. It stands in no log, no error and no `Debug`.
//! - A repository is read at one commit, so that what changes meanwhile is not mixed.
//! - What a Hub answers is bounded before it is kept; every wait and every repetition ends.
//! - A file's bytes are proven by the hash that the list of files names, never by the answer they came with:
//!   here for files of Git, and by whoever takes them for files in LFS, whose hash is a plain sha256.
//!
//! `body`, `client`, `push`, `reader`, `sender` and `token` do I/O; the rest decides.

mod body;
mod client;
mod commit;
mod endpoint;
mod error;
mod hash;
mod lfs;
mod link;
mod push;
mod reader;
mod repository;
mod retry;
mod sender;
mod source;
mod token;
mod tree;

pub(crate) use client::Hub;
pub(crate) use endpoint::{DEFAULT_ENDPOINT, Endpoint, PlainHttp};
pub(crate) use error::HubError;
pub(crate) use hash::{ContentHash, Fingerprints, Hasher};
pub(crate) use push::{LocalFile, Pushed, Pushing};
pub(crate) use reader::FileReader;
pub(crate) use repository::{Repository, is_revision, repository_number};
pub(crate) use source::{OpenSource, Source};
pub(crate) use token::find_token;
pub(crate) use tree::HubFile;

/// The parsers of a Hub's answers, for the fuzz targets.
pub mod parsers {
    pub use super::{
        lfs::{BatchAnswer, Instruction, Transfer},
        link::next_link,
        tree::Page,
    };
}
