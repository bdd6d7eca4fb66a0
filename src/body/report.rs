//! The report on a client's body, for the proxy to read while the body is under way and after it has ended.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::error::Error;

/// How one body ended. Written by the body alone, read by the proxy.
#[derive(Debug, Default)]
pub(crate) struct UploadReport {
    verified: AtomicBool,
    failure: OnceLock<Error>,
}

impl UploadReport {
    /// Whether the whole body came and every check held.
    pub(crate) fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// What the client did wrong. Where this is set it is the answer to the client, whatever the store makes
    /// of the broken transfer.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    pub(super) fn set_verified(&self) {
        self.verified.store(true, Ordering::Release);
    }

    pub(super) fn set_failure(&self, error: &Error) {
        self.failure.get_or_init(|| error.clone());
    }
}
