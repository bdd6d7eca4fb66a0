//! What a request, its body and its record have in common, while each goes its own way.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::body::Incoming;

use crate::limits::Ticket;

/// What a request and its body have in common.
#[derive(Debug, Default)]
pub(super) struct Passage {
    received_bytes: AtomicU64,
    rest: Mutex<Option<Incoming>>,
    /// Set once the request is admitted.
    ticket: OnceLock<Ticket>,
    /// Microseconds from the arrival to the head of the store's answer, and one; 0 before that.
    store_answered: AtomicU64,
}

impl Passage {
    /// Hands over the ticket. What came of the body before is charged as well.
    pub(super) fn admit(&self, ticket: Ticket) {
        ticket.count_bytes(self.received_bytes());
        let _ = self.ticket.set(ticket);
    }

    pub(super) fn ticket(&self) -> Option<&Ticket> {
        self.ticket.get()
    }

    /// Bytes of the body that have been read.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the body have come. Called by its one reader: a load and a store suffice.
    pub(super) fn received(&self, bytes: u64) {
        self.received_bytes.store(self.received_bytes().saturating_add(bytes), Ordering::Relaxed);
        if let Some(ticket) = self.ticket() {
            ticket.count_bytes(bytes);
        }
    }

    /// The body was left behind before its end.
    pub(super) fn keep_rest(&self, rest: Incoming) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }

    /// The rest of a body that was left behind.
    pub(super) fn take_rest(&self) -> Option<Incoming> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The head of the store's answer came so long after the request.
    pub(super) fn store_answered(&self, after: Duration) {
        let microseconds = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.store_answered.store(microseconds.saturating_add(1), Ordering::Relaxed);
    }

    /// From the arrival to the head of the store's last answer, where there was one.
    pub(super) fn store_time(&self) -> Option<Duration> {
        self.store_answered.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }
}
