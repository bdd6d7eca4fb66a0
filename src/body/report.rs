//! The report on a client's body, for the proxy to read while the body is under way and after it has ended.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::error::Error;

/// How far one body came and how it ended. Written by the body alone, read by the proxy.
#[derive(Debug)]
pub(crate) struct UploadReport<B> {
    received_bytes: AtomicU64,
    verified: AtomicBool,
    failure: OnceLock<Error>,
    unread: Mutex<Option<B>>,
}

impl<B> UploadReport<B> {
    pub(super) fn new() -> Self {
        Self {
            received_bytes: AtomicU64::new(0),
            verified: AtomicBool::new(false),
            failure: OnceLock::new(),
            unread: Mutex::new(None),
        }
    }

    /// Bytes of the body as the client sent them.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Whether the whole body came and every check held.
    pub(crate) fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// What the client did wrong. Where this is set it is the answer to the client, whatever the store makes
    /// of the broken transfer.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    /// The client's body where it was not read to its end, once the upload has been dropped: it is to be
    /// drained within bounds, so that the client sees the answer and not a reset (P40, P41).
    pub(crate) fn take_unread(&self) -> Option<B> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    // There is one writer, so a load and a store suffice.
    pub(super) fn add_received(&self, bytes: usize) {
        self.received_bytes.store(self.received_bytes().saturating_add(bytes as u64), Ordering::Relaxed);
    }

    pub(super) fn set_verified(&self) {
        self.verified.store(true, Ordering::Release);
    }

    pub(super) fn set_failure(&self, error: &Error) {
        self.failure.get_or_init(|| error.clone());
    }

    pub(super) fn set_unread(&self, body: B) {
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}
