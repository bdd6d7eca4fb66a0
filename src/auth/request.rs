//! The head of a request as it arrived, and the search for what its signature was made over.
//!
//! Invariant: what a peer can make this server compute is bounded by [`ATTEMPTS_MAX`] signatures, and one
//! sr25519 verification for each of them.

use http::{HeaderMap, Method};

use super::{
    bittensor::sr25519,
    signature_mismatch,
    sigv4::{
        canonical::CanonicalRequest,
        payload::{Declared, Payload},
        request_claim::RequestClaim,
    },
};
use crate::{
    chain::AccountId,
    error::{Code, Error, Reason, Result},
    s3::uri::Query,
};

/// Most combinations of host and accept-encoding that one request is verified with.
pub(super) const ATTEMPTS_MAX: usize = 8;

/// The head of a request as it arrived.
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as on the wire, still encoded.
    pub path: &'a str,
    /// The query as on the wire, still encoded, without its `?`.
    pub query: Option<&'a str>,
    /// The headers; `host` is not looked up here but in [`Head::hosts`].
    pub headers: &'a HeaderMap,
    /// The host values that the client may have signed, tried in order: the `Host` header or `:authority`
    /// (where both are there and differ, the request is to be refused before, P25), and the external names of
    /// a trusted edge (P15).
    pub hosts: &'a [&'a str],
    /// Further values of `accept-encoding` that may have been signed, from a trusted edge that rewrites it
    /// (P27).
    pub accept_encodings: &'a [&'a str],
    /// Whether a host is one of this server's own names (`server.hosts`): the only thing that binds a
    /// signature of the hotkey itself to this deployment.
    pub is_own_host: &'a dyn Fn(&str) -> bool,
    /// Whether the signature of the hotkey that is claimed may be checked; asked before each such check,
    /// which is what costs most (P59). Nothing is proven of that hotkey yet.
    pub may_verify: &'a dyn Fn(&AccountId) -> Result<()>,
}

/// What is known once the signature of a request was verified.
pub(super) struct ProvenSignature<'a> {
    /// Who signed.
    pub(super) hotkey: AccountId,
    /// How the body is to be proven.
    pub(super) payload: Payload,
    /// The host that was signed.
    pub(super) host: &'a str,
}

/// A request with the claim it makes.
pub(super) struct ClaimedRequest<'a, 'b, 'c> {
    pub(super) head: &'b Head<'a>,
    pub(super) claim: &'b RequestClaim<'c>,
    pub(super) path: &'b str,
    pub(super) query: &'b Query,
}

impl<'a> ClaimedRequest<'a, '_, '_> {
    /// The first of `hosts` with which the request was signed; `is_signed` says whether a string to sign is
    /// what the claim's signature was made over (P15, P27).
    pub(super) fn find_signed_host(
        &self,
        hosts: impl Iterator<Item = &'a str>,
        is_signed: impl Fn(&str) -> bool,
    ) -> Result<Option<&'a str>> {
        const ACCEPT_ENCODING: &str = "accept-encoding";
        let claim = &self.claim.claim;
        let alternatives =
            if self.claim.signed_headers.covers(ACCEPT_ENCODING) { self.head.accept_encodings } else { &[] };
        // As it arrived, unless it did not arrive at all and there is something else to try.
        let as_arrived = alternatives.is_empty() || self.head.headers.contains_key(ACCEPT_ENCODING);
        let attempts = hosts.flat_map(|host| {
            let as_arrived = as_arrived.then_some((host, None));
            as_arrived.into_iter().chain(alternatives.iter().map(move |value| (host, Some(*value))))
        });
        for (host, accept_encoding) in attempts.take(ATTEMPTS_MAX) {
            let both = [("host", host), (ACCEPT_ENCODING, accept_encoding.unwrap_or_default())];
            let (host_alone, _) = both.split_at(1);
            let string_to_sign = CanonicalRequest {
                method: self.head.method,
                path: self.path,
                query: self.query,
                signed_headers: &self.claim.signed_headers,
                overrides: if accept_encoding.is_some() { &both } else { host_alone },
                payload_hash: self.claim.payload_text,
            }
            .string_to_sign(claim.scheme.algorithm(), &claim.date, claim.scope)?;
            if is_signed(&string_to_sign) {
                return Ok(Some(host));
            }
        }
        Ok(None)
    }

    /// Verifies the signature of the hotkey itself, which must name this server as its host (P15).
    pub(super) fn prove_hotkey(&self) -> Result<ProvenSignature<'a>> {
        let hotkey = self.claim.claim.hotkey()?;
        let payload = match self.claim.payload {
            Declared::Sha256(hash) => Payload::Sha256(hash),
            Declared::Unsigned => Payload::Unsigned,
            Declared::UnsignedTrailer => Payload::UnsignedTrailer,
            // Refused by `RequestClaim::read` already, with its reason.
            Declared::SignedChunks | Declared::SignedChunksTrailer => {
                return Err(signature_mismatch(Reason::SignatureUnreadable));
            }
        };
        let own_hosts = || self.head.hosts.iter().copied().filter(|host| (self.head.is_own_host)(host));
        if own_hosts().next().is_none() {
            return Err(Error::because(
                Code::AccessDenied,
                Reason::HostDenied,
                "a request signed by the hotkey itself must name this server as its host, or it \
                 could be replayed from another deployment; the operator lists the server's names in \
                 server.hosts.",
            ));
        }
        let signature = self.claim.claim.sr25519_signature()?;
        (self.head.may_verify)(&hotkey)?;
        let host = self
            .find_signed_host(own_hosts(), |string_to_sign| {
                sr25519::verify(&hotkey, string_to_sign.as_bytes(), &signature)
            })?
            .ok_or_else(|| signature_mismatch(Reason::HotkeySignatureFalse))?;
        Ok(ProvenSignature { hotkey, payload, host })
    }
}
