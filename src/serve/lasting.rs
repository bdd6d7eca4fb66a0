//! What no reading of the configuration may begin anew: what this process remembers for as long as it runs.

use std::sync::Arc;

use super::tls::TlsListener;
use crate::{
    endpoints::{Nonces, Process},
    limits::Limits,
    observe::Metrics,
    time::UnixTime,
};

/// What this process remembers for as long as it runs.
pub(super) struct Lasting {
    /// What it has spent, and whether it stays.
    pub(super) process: Arc<Process>,
    /// What is told to the operator's counters.
    pub(super) metrics: Arc<Metrics>,
    /// TLS of the listener for clients; none where that speaks plain HTTP, which no reload changes.
    pub(super) tls: Option<Arc<TlsListener>>,
}

impl Lasting {
    /// Of a process that `began` before anybody could reach it: what is signed from then on is meant for it.
    pub(super) fn new(
        limits: &Limits,
        metrics: Arc<Metrics>,
        tls: Option<TlsListener>,
        began: UnixTime,
    ) -> Self {
        let process = Arc::new(Process::new(Nonces::new(limits.shared_nonces(), began)));
        Self { process, metrics, tls: tls.map(Arc::new) }
    }
}
