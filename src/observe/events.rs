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

/// The versions of TLS that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    Tls12,
    Tls13,
}

/// What is counted of such things.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// By scheme, the valid ones first.
    signatures: [[Count; 2]; 2],
    /// Those that were taken first.
    reloads: [Count; 2],
    handshakes: [Count; 2],
    handshakes_failed: Count,
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

    /// Counts a reading of the configuration while the server runs.
    pub(crate) fn reload(&self, is_taken: bool) {
        let [taken, refused] = &self.reloads;
        if is_taken { taken } else { refused }.one();
    }

    /// Counts a TLS handshake: the version that was agreed on, or none where it failed.
    pub(crate) fn handshake(&self, version: Option<TlsVersion>) {
        let [tls12, tls13] = &self.handshakes;
        match version {
            Some(TlsVersion::Tls12) => tls12,
            Some(TlsVersion::Tls13) => tls13,
            None => &self.handshakes_failed,
        }
        .one();
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
        let mut family = out.counter(
            "subgate_reloads",
            "Readings of the configuration while the server runs; one that is refused changes nothing.",
        );
        for (result, count) in ["taken", "refused"].into_iter().zip(&self.reloads) {
            family.with(&[("result", result)], count.now());
        }
        let mut family = out.counter("subgate_tls_handshakes", "TLS handshakes of clients, by version.");
        for (version, count) in ["1.2", "1.3"].into_iter().zip(&self.handshakes) {
            family.with(&[("version", version)], count.now());
        }
        out.counter(
            "subgate_tls_handshake_failures",
            "Connections that ended before TLS was agreed on, those that said nothing among them.",
        )
        .value(self.handshakes_failed.now());
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
