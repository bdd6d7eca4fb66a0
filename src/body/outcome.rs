//! What became of a client's body, for the road to read after the fact.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::error::Error;

/// What became of one body; shared between the road and the body, written by the body alone.
#[derive(Debug)]
pub struct Outcome<B> {
    received_bytes: AtomicU64,
    decoded_bytes: AtomicU64,
    proven: AtomicBool,
    failure: OnceLock<Error>,
    rest: Mutex<Option<B>>,
}

impl<B> Outcome<B> {
    pub(super) fn new() -> Self {
        Self {
            received_bytes: AtomicU64::new(0),
            decoded_bytes: AtomicU64::new(0),
            proven: AtomicBool::new(false),
            failure: OnceLock::new(),
            rest: Mutex::new(None),
        }
    }

    /// Bytes of the body as the client sent them.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of content among them.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes.load(Ordering::Relaxed)
    }

    /// Whether the whole body came and every proof held.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Acquire)
    }

    /// What the client did wrong; then this, and not the store's broken transfer, is the answer.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    /// The client's body where it was not read to its end, once the upload has been dropped:
    /// to be drained within bounds, so that the client sees the answer and no reset (P40, P41).
    pub fn take_rest(&self) -> Option<B> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    // One writer: loads and stores suffice.
    pub(super) fn received(&self, bytes: usize) {
        self.received_bytes.store(self.received_bytes().saturating_add(bytes as u64), Ordering::Relaxed);
    }

    pub(super) fn decoded(&self, bytes: u64) {
        self.decoded_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_proven(&self) {
        self.proven.store(true, Ordering::Release);
    }

    pub(super) fn fail(&self, error: &Error) {
        self.failure.get_or_init(|| error.clone());
    }

    pub(super) fn leave_rest(&self, body: B) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}
