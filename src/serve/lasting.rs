//! What no reading of the configuration may begin anew: what this process remembers for as long as it runs.

use std::sync::Arc;

use super::tls::TlsListener;
use crate::{endpoints::Nonces, limits::Limits, observe::Metrics, time::UnixTime};

/// What this process remembers for as long as it runs.
pub(super) struct Lasting {
    /// The nonces of session requests: a session request counts once, whatever was reloaded meanwhile (P9).
    pub(super) nonces: Arc<Nonces>,
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
        let nonces = Arc::new(Nonces::new(limits.shared_nonces(), began));
        Self { nonces, metrics, tls: tls.map(Arc::new) }
    }
}
