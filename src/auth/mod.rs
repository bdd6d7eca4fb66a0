//! From a request to a verified principal; nothing else can make one.
//!
//! Sources: wire forms in [`sigv4`], [`canonical`], [`session`] and [`btauth`], each with its specification.
//!
//! Invariants: [`Verified`] comes from [`Verifier::verify`] alone (P3); path and query in it are the decoded texts
//! that the signature covers (P20); time is an argument, nothing here reads a clock or does I/O; what a peer can
//! make us compute is bounded by [`ATTEMPTS_MAX`] signatures and one sr25519 verification for each of them.

pub mod bittensor;
pub mod session;
pub mod sigv4;

use std::fmt;

use aws_sigv4::sign::v4::calculate_signature;
use http::{HeaderMap, Method};

pub use bittensor::btauth::{Audience, BtauthError, Evidence, ReplayStore};
pub use session::{Session, SessionKey, SessionKeys, SessionKeysError};
pub use sigv4::payload::{ChunkSeed, Declared, Payload};
pub use sigv4::{Claim, Scheme};

use self::{
    bittensor::sr25519::{self, SIGNATURE_BYTES},
    session::{Presented, Sessions, mismatch},
    sigv4::{canonical::CanonicalRequest, presigned_list},
};
use crate::{
    chain::AccountId,
    error::{Code, Error, Result},
    s3::uri::{self, Query},
    secret::same,
    time::UnixTime,
};

/// Most combinations of host and accept-encoding that one request is verified with.
pub const ATTEMPTS_MAX: usize = 8;

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
    /// The host values that the client may have signed, tried in order: the `Host` header or `:authority` (where
    /// both are there and differ, the request is to be refused before, P25), and the external names of a trusted
    /// edge (P15).
    pub hosts: &'a [&'a str],
    /// Further values of `accept-encoding` that may have been signed, from a trusted edge that rewrites it (P27).
    pub accept_encodings: &'a [&'a str],
    /// Whether a host is one of this server's own names (`server.hosts`): the only thing that binds a signature of
    /// the hotkey itself to this deployment.
    pub is_own_host: &'a dyn Fn(&str) -> bool,
}

/// What a [`Verifier`] is made from.
#[derive(Debug)]
pub struct Settings {
    /// The one region in scopes.
    pub region: String,
    /// The server's session keys.
    pub session_keys: SessionKeys,
    /// For whom session evidence must have been signed.
    pub audience: Audience,
    /// Longest session in seconds, [`session::TTL_SECONDS_MIN`] to [`session::TTL_SECONDS_MAX`].
    pub session_seconds_max: u64,
    /// Longest life of a presigned URL in seconds, at most [`sigv4::PRESIGNED_SECONDS_MAX`].
    pub presigned_seconds_max: u64,
}

/// Verifies requests of one server. Keeps verified sessions in a bounded cache and nothing else.
pub struct Verifier {
    region: String,
    presigned_seconds_max: u64,
    session_seconds_max: u64,
    sessions: Sessions,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.region)
    }
}

/// A request whose signature holds. Who may do what is not decided yet.
#[derive(Debug)]
pub struct Verified {
    hotkey: AccountId,
    scheme: Scheme,
    presigned: bool,
    payload: Payload,
    path: String,
    query: Query,
    unsigned_query: Query,
    session_expires_at: Option<UnixTime>,
    host: String,
}

impl Verified {
    /// Who signed.
    pub fn hotkey(&self) -> AccountId {
        self.hotkey
    }

    /// How it was signed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether the signature stood in the query.
    pub fn is_presigned(&self) -> bool {
        self.presigned
    }

    /// How the body is to be proven.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The decoded path, with its leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The decoded query without the parameters of the signature. What an SDK hoisted into a presigned query
    /// (`X-Amz-Acl`, `X-Amz-Meta-…`) is still there, under the name it has there.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// What stood behind the signature of a presigned list, which may be paged and narrowed without being signed anew.
    pub fn unsigned_query(&self) -> &Query {
        &self.unsigned_query
    }

    /// When the session ends; `None` where the hotkey signed itself.
    pub fn session_expires_at(&self) -> Option<UnixTime> {
        self.session_expires_at
    }

    /// The host that was signed.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// What a proven signature adds to its claim.
struct Proof<'a> {
    hotkey: AccountId,
    payload: Payload,
    session_expires_at: Option<UnixTime>,
    host: &'a str,
}

impl Verifier {
    /// Takes checked settings; durations beyond the bounds of [`session`] and [`sigv4`] count as those bounds.
    pub fn new(settings: Settings) -> Self {
        let Settings { region, session_keys, audience, session_seconds_max, presigned_seconds_max } =
            settings;
        let session_seconds_max =
            session_seconds_max.clamp(session::TTL_SECONDS_MIN, session::TTL_SECONDS_MAX);
        Self {
            sessions: Sessions::new(session_keys, audience, region.clone(), session_seconds_max),
            region,
            presigned_seconds_max,
            session_seconds_max,
        }
    }

    /// Issues session credentials against verified evidence; without a wish, as long as this server allows.
    ///
    /// # Errors
    /// `InvalidArgument` for a wish outside [`session::TTL_SECONDS_MIN`] and this server's longest session.
    pub fn issue(&self, evidence: &Evidence, ttl_seconds: Option<u64>, now: UnixTime) -> Result<Session> {
        let ttl_seconds = ttl_seconds.unwrap_or(self.session_seconds_max);
        if !(session::TTL_SECONDS_MIN..=self.session_seconds_max).contains(&ttl_seconds) {
            return Err(Error::new(
                Code::InvalidArgument,
                format!(
                    "ttl_seconds must be between {} and {}",
                    session::TTL_SECONDS_MIN,
                    self.session_seconds_max
                ),
            ));
        }
        self.sessions.issue(evidence, ttl_seconds, now)
    }

    /// Issues session credentials against verified evidence, to end at a time of the client's choice: for what is signed
    /// with them here, and never leaves. Bounded as every session is.
    ///
    /// # Errors
    /// `InvalidRequest` for evidence that is not of a session.
    pub fn issue_until(&self, evidence: &Evidence, expires_at: UnixTime, now: UnixTime) -> Result<Session> {
        let ttl_seconds = expires_at.seconds().saturating_sub(now.seconds()).min(self.session_seconds_max);
        self.sessions.issue(evidence, ttl_seconds, now)
    }

    /// How many verified sessions are cached.
    pub fn cached_sessions(&self) -> u64 {
        self.sessions.cached()
    }

    /// Turns the head of a request into a verified principal: the one way to get one (P3).
    ///
    /// # Errors
    /// S3's own codes, see [`uri`], [`Claim::read`], [`Claim::check`] and [`session`].
    pub fn verify(&self, head: &Head<'_>, now: UnixTime) -> Result<Verified> {
        if !head.path.starts_with('/') {
            return Err(Error::new(Code::InvalidURI, "The request target has no path."));
        }
        let path = uri::decode_path(head.path)?;
        let query = Query::parse(head.query)?;
        let claim = Claim::read(head.headers, &query)?;
        claim.check(&self.region, self.presigned_seconds_max, now)?;
        let prove = |query: &Query| {
            let signed = Signed { head, claim: &claim, path: &path, query };
            match claim.scheme {
                Scheme::Hmac => self.prove_session(&signed, now),
                Scheme::Sr25519 => signed.prove_hotkey(),
            }
        };
        // What a presigned list was paged with is not signed; as it arrived comes first all the same.
        let paged = presigned_list::split(head.method, &query).filter(|_| claim.is_presigned());
        let (proof, query, unsigned_query) = match (prove(&query), paged) {
            (Err(error), Some((signed, added))) if error.code == Code::SignatureDoesNotMatch => {
                (prove(&signed)?, signed, added)
            }
            (proof, _) => (proof?, query.clone(), Query::default()),
        };
        Ok(Verified {
            hotkey: proof.hotkey,
            scheme: claim.scheme,
            presigned: claim.is_presigned(),
            payload: proof.payload,
            session_expires_at: proof.session_expires_at,
            host: proof.host.into(),
            unsigned_query,
            query: query.without(sigv4::is_auth_parameter),
            path,
        })
    }

    fn prove_session<'a>(&self, signed: &Signed<'a, '_>, now: UnixTime) -> Result<Proof<'a>> {
        let claim = signed.claim;
        let presented = Presented {
            access_key: claim.access_key,
            token: claim.token,
            day: claim.scope.split('/').next().unwrap_or_default(),
            time: claim.time,
        };
        let (session, host) = self.sessions.prove(&presented, now, |signing_key| {
            signed.find(signed.head.hosts.iter().copied(), |string_to_sign| {
                let ours = calculate_signature(signing_key, string_to_sign.as_bytes());
                same(ours.as_bytes(), claim.signature.as_bytes())
            })
        })?;
        let seed = || ChunkSeed {
            signing_key: session.signing_key.clone(),
            date: claim.date.clone().into_owned(),
            scope: claim.scope.into(),
            signature: claim.signature.into(),
        };
        let payload = match claim.payload {
            Declared::Sha256(hash) => Payload::Sha256(hash),
            Declared::Unsigned => Payload::Unsigned,
            Declared::SignedChunks => Payload::SignedChunks(seed()),
            Declared::SignedChunksTrailer => Payload::SignedChunksTrailer(seed()),
            Declared::UnsignedTrailer => Payload::UnsignedTrailer,
        };
        Ok(Proof { hotkey: session.hotkey, payload, session_expires_at: Some(session.expires_at), host })
    }
}

/// A request with the claim it makes.
struct Signed<'a, 'b> {
    head: &'b Head<'a>,
    claim: &'b Claim<'b>,
    path: &'b str,
    query: &'b Query,
}

impl<'a> Signed<'a, '_> {
    /// The first host with which `holds` says that the string to sign has this signature (P15, P27).
    fn find(
        &self,
        hosts: impl Iterator<Item = &'a str>,
        holds: impl Fn(&str) -> bool,
    ) -> Result<Option<&'a str>> {
        const ACCEPT_ENCODING: &str = "accept-encoding";
        let alternatives = if self.claim.signs(ACCEPT_ENCODING) { self.head.accept_encodings } else { &[] };
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
                signed_headers: self.claim.signed_headers,
                headers: self.head.headers,
                overrides: if accept_encoding.is_some() { &both } else { host_alone },
                payload_hash: self.claim.payload_text,
            }
            .string_to_sign(self.claim.scheme.algorithm(), &self.claim.date, self.claim.scope)?;
            if holds(&string_to_sign) {
                return Ok(Some(host));
            }
        }
        Ok(None)
    }

    fn prove_hotkey(&self) -> Result<Proof<'a>> {
        let hotkey: AccountId = self.claim.access_key.parse().map_err(|error| {
            Error::new(
                Code::InvalidAccessKeyId,
                format!("The AWS Access Key Id must be a hotkey, and this is {error}."),
            )
        })?;
        let payload = match self.claim.payload {
            Declared::Sha256(hash) => Payload::Sha256(hash),
            Declared::Unsigned => Payload::Unsigned,
            Declared::UnsignedTrailer => Payload::UnsignedTrailer,
            // Refused by `Claim::read` already, with its reason.
            Declared::SignedChunks | Declared::SignedChunksTrailer => return Err(mismatch()),
        };
        let own_hosts = || self.head.hosts.iter().copied().filter(|host| (self.head.is_own_host)(host));
        if own_hosts().next().is_none() {
            return Err(Error::new(
                Code::AccessDenied,
                "HostDenied: a request signed by the hotkey itself must name this server as its host, or it could be \
                 replayed from another deployment; the operator lists the server's names in server.hosts.",
            ));
        }
        let mut signature = [0; SIGNATURE_BYTES];
        hex::decode_to_slice(self.claim.signature, &mut signature).map_err(|_| mismatch())?;
        let host = self
            .find(own_hosts(), |string_to_sign| {
                sr25519::verify(&hotkey, string_to_sign.as_bytes(), &signature)
            })?
            .ok_or_else(mismatch)?;
        Ok(Proof { hotkey, payload, session_expires_at: None, host })
    }
}

#[cfg(test)]
mod tests;
