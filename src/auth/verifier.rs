//! The verifier: from a request to a verified principal, from evidence to session credentials.
//!
//! Invariants: [`Verified`] is made here alone (P3); path and query in it are the decoded texts that the
//! signature covers (P20).

use std::fmt;

use super::{
    bittensor::{btauth::Audience, evidence::Evidence},
    request::{ClaimedRequest, Head, ProvenSignature},
    session::{self, PresentedSession, SessionAuthority, SessionCredentials, SessionKeys, SessionUse},
    sigv4::{
        claim::Scheme,
        payload::{ChunkSeed, Declared, Payload},
        presigned,
        request_claim::{RequestClaim, SignaturePlace, is_auth_parameter},
    },
    verified::{Verified, VerifiedQuery},
};
use crate::{
    error::{Code, Error, Result},
    s3::uri::{self, Query},
    time::UnixTime,
};

/// Most roots that a presigned list is tried with: each costs an HMAC.
const LIST_ROOTS_MAX: usize = 8;

/// What a [`Verifier`] is made from.
#[derive(Debug)]
pub struct Settings {
    /// The one region in scopes.
    pub region: String,
    /// The server's session keys.
    pub session_keys: SessionKeys,
    /// For whom session evidence must have been signed.
    pub audience: Audience,
    /// Longest session in seconds, 1200 to 86,400.
    pub session_seconds_max: u64,
    /// Longest life of a presigned URL in seconds, at most S3's own bound of 604,800.
    pub presigned_seconds_max: u64,
}

/// Verifies requests of one server. Keeps verified sessions in a bounded cache and nothing else.
pub struct Verifier {
    pub(super) region: String,
    pub(super) presigned_seconds_max: u64,
    session_seconds_max: u64,
    /// Prefixes of lists whose holder may put a longer one in their place.
    list_roots: Vec<String>,
    pub(super) sessions: SessionAuthority,
}

/// What of the query of a request its signature covers.
enum SignedQuery {
    /// All of it; the signature stands in the header.
    BesideHeader,
    /// All of it, as it arrived in a presigned URL.
    Presigned,
    /// A part of it, of a presigned list that was narrowed.
    PresignedList { signed: Box<Query>, added: Box<Query> },
}

impl SignedQuery {
    fn list(signed: Query, added: Query) -> Self {
        Self::PresignedList { signed: Box::new(signed), added: Box::new(added) }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.region)
    }
}

impl Verifier {
    /// Takes checked settings; durations beyond their bounds count as those bounds.
    pub fn new(settings: Settings) -> Self {
        let Settings { region, session_keys, audience, session_seconds_max, presigned_seconds_max } =
            settings;
        let session_seconds_max =
            session_seconds_max.clamp(session::TTL_SECONDS_MIN, session::TTL_SECONDS_MAX);
        Self {
            sessions: SessionAuthority::new(session_keys, audience, region.clone(), session_seconds_max),
            region,
            presigned_seconds_max,
            session_seconds_max,
            list_roots: Vec::new(),
        }
    }

    /// The same verifier with the roots of the folders. In the URL of a list of one of them, presigned by a
    /// session, a longer prefix may stand in the place of the signed one. So many are looked at.
    #[must_use]
    pub(crate) fn with_list_roots(self, roots: &[String]) -> Self {
        Self { list_roots: roots.iter().take(LIST_ROOTS_MAX).cloned().collect(), ..self }
    }

    /// Issues session credentials against verified evidence. They last `ttl_seconds`, or as long as this
    /// server allows where that is `None`.
    ///
    /// # Errors
    /// `InvalidArgument` for `ttl_seconds` below 1200 or beyond this server's longest session.
    pub fn issue(
        &self,
        evidence: &Evidence,
        ttl_seconds: Option<u64>,
        now: UnixTime,
    ) -> Result<SessionCredentials> {
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
        self.sessions.issue(evidence, ttl_seconds, SessionUse::Requests, now)
    }

    /// Issues session credentials against verified evidence, to end at a time of the client's choice. They
    /// are for signing URLs and forms here and their secret never leaves; they count in nothing else. They
    /// are bounded as every session is.
    ///
    /// # Errors
    /// `InvalidRequest` for evidence that was not signed for links.
    pub(crate) fn issue_until(
        &self,
        evidence: &Evidence,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Result<SessionCredentials> {
        let ttl_seconds = expires_at.seconds().saturating_sub(now.seconds()).min(self.session_seconds_max);
        self.sessions.issue(evidence, ttl_seconds, SessionUse::Links, now)
    }

    /// How many verified sessions are cached.
    pub(crate) fn cached_sessions(&self) -> u64 {
        self.sessions.cached()
    }

    /// Turns the head of a request into a verified principal: the one way to get one (P3).
    ///
    /// # Errors
    /// S3's own codes: of a target that cannot be read, of its claim, of its session or signature.
    pub fn verify(&self, head: &Head<'_>, now: UnixTime) -> Result<Verified> {
        if !head.path.starts_with('/') {
            return Err(Error::new(Code::InvalidURI, "The request target has no path."));
        }
        let path = uri::decode_path(head.path)?;
        let query = Query::parse(head.query)?;
        let (ProvenSignature { hotkey, payload, host }, signed) = self.prove(head, &path, &query, now)?;
        let without_signature = |query: Query| query.without(is_auth_parameter);
        let query = match signed {
            SignedQuery::BesideHeader => VerifiedQuery::Plain(without_signature(query)),
            SignedQuery::Presigned => {
                VerifiedQuery::Presigned { signed: without_signature(query), added: None }
            }
            SignedQuery::PresignedList { signed, added } => {
                VerifiedQuery::Presigned { signed: without_signature(*signed), added: Some(added) }
            }
        };
        Ok(Verified { hotkey, payload, host: host.into(), query, path })
    }

    /// Proves the claim of a request, and finds what of its query was signed.
    fn prove<'a>(
        &self,
        head: &Head<'a>,
        path: &str,
        query: &Query,
        now: UnixTime,
    ) -> Result<(ProvenSignature<'a>, SignedQuery)> {
        let claim = RequestClaim::read(head.headers, query)?;
        claim.check(&self.region, self.presigned_seconds_max, now)?;
        let prove = |query: &Query| {
            let request = ClaimedRequest { head, claim: &claim, path, query };
            match claim.claim.scheme {
                Scheme::Hmac => self.prove_session(&request, now),
                Scheme::Sr25519 => request.prove_hotkey(),
            }
        };
        if claim.place == SignaturePlace::Header {
            return Ok((prove(query)?, SignedQuery::BesideHeader));
        }
        let mut refusal = match prove(query) {
            Ok(proven) => return Ok((proven, SignedQuery::Presigned)),
            Err(refusal) => refusal,
        };
        let may_be_a_part = |refusal: &Error| refusal.code == Code::SignatureDoesNotMatch;
        // What was added behind the signature of a list is not signed; as it arrived came first all the same.
        if may_be_a_part(&refusal)
            && let Some((signed, added)) = presigned::split(head.method, query)
        {
            refusal = match prove(&signed) {
                Ok(proven) => return Ok((proven, SignedQuery::list(signed, added))),
                Err(refusal) => refusal,
            };
        }
        if may_be_a_part(&refusal) && claim.claim.scheme == Scheme::Hmac {
            for (signed, added) in presigned::replaced_prefix(head.method, query, &self.list_roots) {
                if let Ok(proven) = prove(&signed) {
                    return Ok((proven, SignedQuery::list(signed, added)));
                }
            }
        }
        Err(refusal)
    }

    /// Verifies a signature made with session credentials.
    fn prove_session<'a>(
        &self,
        request: &ClaimedRequest<'a, '_, '_>,
        now: UnixTime,
    ) -> Result<ProvenSignature<'a>> {
        let claim = &request.claim.claim;
        let (session, host) = self.sessions.prove(&PresentedSession::of(claim), now, |signing_key| {
            request.find_signed_host(request.head.hosts.iter().copied(), |string_to_sign| {
                signing_key.has_signed(string_to_sign.as_bytes(), claim.signature)
            })
        })?;
        match (session.good_for, request.claim.place) {
            (SessionUse::Requests, _) | (SessionUse::Links, SignaturePlace::Query { .. }) => {}
            (SessionUse::Links, SignaturePlace::Header) => return Err(session::not_for_requests()),
        }
        let seed = || ChunkSeed {
            signing_key: session.signing_key.clone(),
            date: claim.date.clone().into_owned(),
            scope: claim.scope.into(),
            signature: claim.signature.into(),
        };
        let payload = match request.claim.payload {
            Declared::Sha256(hash) => Payload::Sha256(hash),
            Declared::Unsigned => Payload::Unsigned,
            Declared::SignedChunks => Payload::SignedChunks(seed()),
            Declared::SignedChunksTrailer => Payload::SignedChunksTrailer(seed()),
            Declared::UnsignedTrailer => Payload::UnsignedTrailer,
        };
        Ok(ProvenSignature { hotkey: session.hotkey, payload, host })
    }
}
