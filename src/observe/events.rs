//! Things that happen and are no requests: checks of signatures, connections.

use std::sync::Arc;

use super::{
    Metrics,
    exposition::Exposition,
    instruments::{Count, Level},
};

/// With what a request was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureScheme {
    /// With session credentials: an HMAC, and for a session that is not cached its hotkey's signature too.
    Session,
    /// By the hotkey itself: sr25519.
    Hotkey,
}

/// What is counted of such things.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// By scheme, the valid ones first.
    signatures: [[Count; 2]; 2],
    connections_opened: Count,
    connections: Level,
    /// Connections that were closed at once, for their address has too many.
    pub(crate) connections_refused: Count,
    /// Requests that could not be read as HTTP.
    pub(crate) unreadable: Count,
    /// Requests to the operator's listener by somebody who may not look in.
    pub(crate) admin_refused: Count,
}

impl Events {
    /// Counts the check of a signature.
    pub(crate) fn signature(&self, scheme: SignatureScheme, is_valid: bool) {
        let [session, hotkey] = &self.signatures;
        let [valid, invalid] = match scheme {
            SignatureScheme::Session => session,
            SignatureScheme::Hotkey => hotkey,
        };
        if is_valid { valid } else { invalid }.one();
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        let mut family = out.counter(
            "subgate_signature_checks",
            "Signatures that were checked, made with session credentials or by a hotkey itself.",
        );
        for (scheme, counts) in ["session", "hotkey"].into_iter().zip(&self.signatures) {
            for (result, count) in ["valid", "invalid"].into_iter().zip(counts) {
                family.with(&[("scheme", scheme), ("result", result)], count.now());
            }
        }
        out.counter("subgate_connections_accepted", "Connections of clients that were accepted.")
            .value(self.connections_opened.now());
        out.gauge("subgate_connections_open", "Connections of clients.").value(self.connections.now());
        out.counter(
            "subgate_connections_refused",
            "Connections that were closed at once, for their address had too many.",
        )
        .value(self.connections_refused.now());
        out.counter(
            "subgate_unreadable_requests",
            "Requests that could not be read as HTTP and have no access record.",
        )
        .value(self.unreadable.now());
        out.counter(
            "subgate_admin_refused",
            "Requests to the admin listener that were refused: no token, or a name that is not its own.",
        )
        .value(self.admin_refused.now());
    }
}

/// A connection of a client: counted as open until it is dropped.
#[derive(Debug)]
pub(crate) struct ClientConnection(Arc<Metrics>);

impl ClientConnection {
    /// One that has just been accepted.
    pub(crate) fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.events.connections_opened.one();
        metrics.events.connections.enter();
        Self(Arc::clone(metrics))
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.0.events.connections.leave();
    }
}
