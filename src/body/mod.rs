//! Bodies that stream: decoded, bounded, and held back at the end until they are proven.
//!
//! A request's body goes `hyper::body::Incoming` → [`arrival::Arriving`] (decodes, digests, holds the last bytes) →
//! [`upload::Upload`] (framed for the store). The answer comes back through [`late_error::LateError`], where a 200 may
//! still turn out to be an error, and [`relay::Relay`], which ends the request's ticket and access record.
//!
//! Invariants:
//! - No byte that completes an object leaves before every proof that the request promised has been seen to hold.
//! - No memory is taken by a size that a peer declares; what is buffered has a named bound.
//! - Every decoder gives the same result however its input is split.
//! - Bytes of a large body are never copied here.

pub mod arrival;
pub mod bounded;
pub mod chunked;
pub mod digest;
pub mod frame;
pub mod late_error;
pub mod outcome;
pub mod pace;
pub mod plan;
pub mod proof;
pub mod relay;
pub mod upload;

#[cfg(test)]
mod testing;

use crate::error::{Code, Error};

/// Any error of a peer's body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a failure while reading from the client means; an [`Error`] of ours stays what it is.
fn client_failure(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => incomplete().detail(other),
    }
}

/// What a failure while reading from the store means; an [`Error`] of ours stays what it is.
fn store_failure(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::store_unavailable(other),
    }
}

/// The body ended too soon.
fn incomplete() -> Error {
    Error::new(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length or x-amz-decoded-content-length header; send the whole body again.",
    )
}

/// The client sends nothing, or too little.
pub(crate) fn too_slow() -> Error {
    Error::new(
        Code::RequestTimeout,
        "The request body did not arrive within the timeout period; idle or very slow connections are closed. Please send it again.",
    )
}
