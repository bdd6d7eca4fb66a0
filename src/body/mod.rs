//! Bodies that stream: decoded, bounded, and held back at the end until they are verified.
//!
//! ```text
//! client ─ ClientBody ────── VerifyingBody ────────────────── Upload ──────────────────── store
//!          of the request,   decodes, checks, holds the end   writes the store's form
//!          or a form's file
//!
//! client ─ AnswerStream ──── AnswerXml ────────────────────── LateError ─────────────────── store
//!          reports its end   replaces the store's names       finds the error in a 200
//! ```
//!
//! A [`plan::Plan`] says how a client's body arrives, what its content must be, and how it leaves; the
//! `UploadReport` says how it ended.
//!
//! Invariants:
//! - No byte that completes an object leaves before every check of what the request promised has held.
//! - No memory is taken by a size that a peer declares; what is buffered has a named bound.
//! - Every decoder gives the same result however its input is split.
//! - Bytes of a large body are never copied here.
//! - The modules use one another in one direction only; [`failure`] uses none of them.

pub(crate) mod answer_stream;
pub(crate) mod answer_xml;
pub(crate) mod bounded;
pub mod chunked;
pub(crate) mod client_body;
pub mod content_check;
pub mod digest;
pub mod failure;
pub mod form;
pub(crate) mod late_error;
pub(crate) mod made;
pub(crate) mod output;
pub mod pace;
pub mod plan;
pub(crate) mod report;
pub mod upload;
pub mod verifying;

#[cfg(test)]
mod testing;
