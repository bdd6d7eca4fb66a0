//! The failures that all readers of bodies have in common. A leaf: it uses nothing else of this room.

use crate::error::{Code, Error, Reason};

/// Any error of a peer's body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The answer to a failure while reading from the client. An [`Error`] of this crate stays what it is.
pub(super) fn client_failure(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => incomplete().reason(Reason::BodyCut).detail(other),
    }
}

/// The answer to a failure while reading from the store. An [`Error`] of this crate stays what it is.
pub(super) fn store_failure(error: impl Into<BoxError>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::store_unavailable(other).reason(Reason::StoreBrokeOff),
    }
}

/// The body ended before its declared length.
pub(super) fn incomplete() -> Error {
    Error::new(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length or \
         x-amz-decoded-content-length header; send the whole body again.",
    )
}

/// The body is longer than its declared length.
pub(super) fn too_long() -> Error {
    Error::new(
        Code::EntityTooLarge,
        "The body is longer than its Content-Length or x-amz-decoded-content-length header says.",
    )
}

/// The client sends nothing, or too little.
pub(crate) fn too_slow() -> Error {
    Error::new(
        Code::RequestTimeout,
        "The request body did not arrive within the timeout period; idle or very slow connections are \
         closed. Please send it again.",
    )
    .reason(Reason::BodyTooSlow)
}
