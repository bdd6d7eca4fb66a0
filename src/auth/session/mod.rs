//! Session credentials: issued against a hotkey's signature, verified with nothing stored.
//!
//! [`token`] has the wire form of tokens, [`keys`] the server's keys, [`statement`] what the evidence in a
//! token says; here sessions are issued and proven.
//!
//! Invariants (P11, P12): the server's key alone mints nothing, for the hotkey's signature is verified before
//! a token is believed; an unproven token leaves nothing in the cache; a cached session dies with its expiry
//! and with its key; the costly sr25519 verification comes only after the cheap HMAC has proven that the
//! caller holds a secret which this server issued.

mod keys;
mod statement;
mod token;

use std::sync::Arc;

use moka::sync::Cache;

pub use self::keys::{SessionKey, SessionKeys, SessionKeysError};
use self::{
    keys::{DerivingKey, SecretAlphabet},
    statement::{Purpose, Statement},
    token::{Token, TokenBytes},
};
use super::{
    bittensor::{
        btauth::Audience,
        evidence::{Evidence, is_signed_by},
    },
    signature_mismatch,
    sigv4::{
        PreparedKey,
        claim::{Claim, SKEW_SECONDS_MAX, hotkey_of},
        signing_key,
    },
};
use crate::{
    chain::AccountId,
    error::{Code, Error, Reason, Result},
    secret::{Secret, SecretText},
    split::split_once,
    time::UnixTime,
};

/// Shortest session in seconds: SDKs refresh at each request below 10 to 15 minutes left.
pub(crate) const TTL_SECONDS_MIN: u64 = 1200;

/// Longest session in seconds, one day.
pub(super) const TTL_SECONDS_MAX: u64 = 86_400;

/// Most verified sessions kept; each takes about 2,500 bytes, and what falls out is verified anew.
const SESSIONS_CACHED_MAX: u64 = 16_384;

/// Session credentials as a client gets them.
#[derive(Debug, Clone)]
pub struct SessionCredentials {
    /// The hotkey's SS58.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: SecretText,
    /// About 400 characters of base64url.
    pub session_token: SecretText,
    /// When it ends.
    pub expires_at: UnixTime,
}

/// What a session is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionUse {
    /// Everything that its hotkey may do: the hotkey asked for a session and has its secret.
    Requests,
    /// Presigned URLs and forms, which the server signed with it; nobody else has its secret, so nobody has a
    /// request that is signed in its header.
    Links,
}

/// A session whose token, secret and evidence have been verified.
pub(super) struct VerifiedSession {
    pub(super) hotkey: AccountId,
    pub(super) good_for: SessionUse,
    pub(super) expires_at: UnixTime,
    /// Of [`VerifiedSession::day`].
    pub(super) signing_key: Secret,
    /// The same, ready to sign.
    prepared_key: PreparedKey,
    access_key: String,
    /// No secret by itself: it stands in every presigned URL.
    token: String,
    /// `yyyymmdd`
    day: String,
    secret: SecretText,
    key_accept_until: Option<UnixTime>,
}

/// What a request presents of a session.
pub(super) struct PresentedSession<'a> {
    pub(super) access_key: &'a str,
    pub(super) token: Option<&'a str>,
    /// `yyyymmdd` of the scope, which is the date of `time`.
    pub(super) day: &'a str,
    pub(super) time: UnixTime,
}

impl<'a> PresentedSession<'a> {
    /// What `claim` presents.
    pub(super) fn of(claim: &Claim<'a>) -> Self {
        Self {
            access_key: claim.access_key,
            token: claim.token,
            day: split_once(claim.scope, b'/').map_or(claim.scope, |(day, _)| day),
            time: claim.time,
        }
    }
}

/// Issues and verifies sessions of one server.
pub(super) struct SessionAuthority {
    keys: SessionKeys,
    audience: Audience,
    region: String,
    ttl_seconds_max: u64,
    cache: Cache<CacheKey, Arc<VerifiedSession>>,
}

impl SessionAuthority {
    pub(super) fn new(keys: SessionKeys, audience: Audience, region: String, ttl_seconds_max: u64) -> Self {
        Self { keys, audience, region, ttl_seconds_max, cache: Cache::new(SESSIONS_CACHED_MAX) }
    }

    /// Makes credentials that end `ttl_seconds` from `now`, and never more than the longest session after the
    /// evidence was signed.
    pub(super) fn issue(
        &self,
        evidence: &Evidence,
        ttl_seconds: u64,
        good_for: SessionUse,
        now: UnixTime,
    ) -> Result<SessionCredentials> {
        let purpose = Statement::parse(&evidence.text).map(|statement| statement.purpose);
        match (purpose, good_for) {
            (Some(Purpose::Session), SessionUse::Requests) | (Some(Purpose::Links), SessionUse::Links) => {}
            (Some(Purpose::Session | Purpose::Other | Purpose::Links) | None, _) => {
                return Err(Error::new(
                    Code::InvalidRequest,
                    "A session is issued for a signature over POST /v1/session, without a query.",
                ));
            }
        }
        let expires_at =
            now.plus_seconds(ttl_seconds).seconds().min(self.expiry_seconds_max(evidence.time()));
        let secret_alphabet = SecretAlphabet::Base64Url;
        let token = Token {
            secret_alphabet,
            key_id: &self.keys.issuing.id,
            wrapped: evidence.wrapped,
            expires_at: UnixTime::from_seconds(expires_at),
            evidence: &evidence.text,
            signature: evidence.signature,
        }
        .text(&self.keys.issuing)
        .ok_or_else(|| Error::internal("the evidence of a session does not fit into a token"))?;
        Ok(SessionCredentials {
            access_key_id: evidence.hotkey.to_ss58(),
            secret_access_key: self.keys.issuing.secret(&token, secret_alphabet)?,
            session_token: SecretText::new(token),
            expires_at: UnixTime::from_seconds(expires_at),
        })
    }

    fn expiry_seconds_max(&self, signed_at: UnixTime) -> u64 {
        signed_at.plus_seconds(self.ttl_seconds_max).seconds()
    }

    /// Proves that the caller holds the session: `find_signed` is handed the signing key of `presented.day`
    /// and gives what it found signed with it, if anything.
    ///
    /// # Errors
    /// `InvalidAccessKeyId`, `InvalidToken`, `ExpiredToken` (starting `SessionExpired: `),
    /// `SignatureDoesNotMatch`.
    pub(super) fn prove<T>(
        &self,
        presented: &PresentedSession<'_>,
        now: UnixTime,
        find_signed: impl FnOnce(&PreparedKey) -> Result<Option<T>>,
    ) -> Result<(Arc<VerifiedSession>, T)> {
        let text = presented.token.unwrap_or_default();
        let cache_key = cache_key(text);
        let is_presented = |session: &Arc<VerifiedSession>| {
            session.access_key == presented.access_key && session.token == text
        };
        if let Some(session) = self.cache.get(&cache_key).filter(is_presented) {
            return self.prove_again(cache_key, session, presented, now, find_signed);
        }

        let bytes = TokenBytes::of(text, &self.keys.keys);
        let checked = self.check_token(presented, bytes.as_ref(), now);
        let secret = match &checked {
            Ok(checked) => checked.key.secret(text, checked.token.secret_alphabet)?,
            Err(_) => self.keys.dummy_secret(text)?,
        };
        let signing_key = self.signing_key(&secret, presented);
        let prepared_key = PreparedKey::new(&signing_key);
        let found = find_signed(&prepared_key);
        // What is wrong with the token is answered only now: a refusal takes as long as a false signature.
        let CheckedToken { key, token, hotkey, good_for, signed_text } = checked?;
        let found = found?.ok_or_else(signature_false)?;
        if !is_signed_by(&hotkey, signed_text, token.wrapped, &token.signature) {
            return Err(invalid_token("its hotkey signature is false").detail(
                "a token carries a false hotkey signature under a good HMAC: a session key may be known to \
                 others",
            ));
        }
        let session = Arc::new(VerifiedSession {
            hotkey,
            good_for,
            expires_at: token.expires_at,
            signing_key,
            prepared_key,
            access_key: presented.access_key.into(),
            token: text.into(),
            day: presented.day.into(),
            secret,
            key_accept_until: key.accept_until,
        });
        self.cache.insert(cache_key, Arc::clone(&session));
        Ok((session, found))
    }

    fn prove_again<T>(
        &self,
        cache_key: CacheKey,
        mut session: Arc<VerifiedSession>,
        presented: &PresentedSession<'_>,
        now: UnixTime,
        find_signed: impl FnOnce(&PreparedKey) -> Result<Option<T>>,
    ) -> Result<(Arc<VerifiedSession>, T)> {
        if let Err(expired) = check_alive(session.expires_at, session.key_accept_until, now) {
            self.cache.invalidate(&cache_key);
            return Err(expired);
        }
        let another_day = session.day != presented.day;
        if another_day {
            let signing_key = self.signing_key(&session.secret, presented);
            session = Arc::new(VerifiedSession {
                prepared_key: PreparedKey::new(&signing_key),
                signing_key,
                day: presented.day.into(),
                access_key: session.access_key.clone(),
                token: session.token.clone(),
                secret: session.secret.clone(),
                ..*session
            });
        }
        let found = find_signed(&session.prepared_key)?.ok_or_else(signature_false)?;
        if another_day {
            self.cache.insert(cache_key, Arc::clone(&session));
        }
        Ok((session, found))
    }

    /// Checks all of a token that can be checked without a signature; `bytes` are those of its base64url.
    fn check_token<'a>(
        &'a self,
        presented: &PresentedSession<'_>,
        bytes: Option<&'a TokenBytes>,
        now: UnixTime,
    ) -> Result<CheckedToken<'a>> {
        let hotkey = hotkey_of(presented.access_key)?;
        if presented.token.is_none() {
            return Err(invalid_token(
                "there is none, and the secret alone says nothing (AWS_SESSION_TOKEN)",
            ));
        }
        let token = bytes.and_then(TokenBytes::token).ok_or_else(|| invalid_token("it cannot be read"))?;
        let key = (self.keys.find(token.key_id))
            .ok_or_else(|| invalid_token("it was issued with a key that this server does not have"))?;
        let statement =
            Statement::parse(token.evidence).ok_or_else(|| invalid_token("its evidence cannot be read"))?;
        if statement.sender != hotkey {
            return Err(invalid_token("it belongs to another access key id"));
        }
        if !self.audience.takes(statement.receiver.as_ref()) {
            return Err(invalid_token("it was issued for another server"));
        }
        let good_for = match statement.purpose {
            Purpose::Session => SessionUse::Requests,
            Purpose::Links => SessionUse::Links,
            Purpose::Other => return Err(invalid_token("its evidence was signed for something else")),
        };
        if token.expires_at.seconds() > self.expiry_seconds_max(statement.signed_at)
            || statement.signed_at > now.plus_seconds(SKEW_SECONDS_MAX)
        {
            return Err(invalid_token("it lasts longer than this server allows"));
        }
        check_alive(token.expires_at, key.accept_until, now)?;
        Ok(CheckedToken { key, token, hotkey, good_for, signed_text: statement.signed_text })
    }

    fn signing_key(&self, secret: &SecretText, presented: &PresentedSession<'_>) -> Secret {
        signing_key(secret, presented.time, &self.region)
    }

    /// How many verified sessions are cached.
    pub(super) fn cached(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }
}

/// What sessions are cached by: both ends of their tokens.
type CacheKey = [u8; HEAD_CHARS + TAIL_CHARS];

/// So much of a token has all that goes before its evidence, its expiry too: 46 bytes in base64, at most.
const HEAD_CHARS: usize = 64;

/// So much of it has 23 bytes of the hotkey's signature at least, or the seal.
const TAIL_CHARS: usize = 32;

/// Both ends of `token`, which are quicker to have than its digest. No two good tokens share them; anyone can
/// make a bad one that does, so whoever finds a session by them compares the whole token too.
fn cache_key(token: &str) -> CacheKey {
    let token = token.as_bytes();
    let mut key = [0; HEAD_CHARS + TAIL_CHARS];
    // No shorter text is a token.
    if let (Some(head), Some(tail)) = (token.first_chunk::<HEAD_CHARS>(), token.last_chunk::<TAIL_CHARS>()) {
        let (head_of_key, tail_of_key) = key.split_at_mut(HEAD_CHARS);
        head_of_key.copy_from_slice(head);
        tail_of_key.copy_from_slice(tail);
    }
    key
}

/// A token that fits its access key, this server and the time. Nothing in it is proven.
struct CheckedToken<'a> {
    key: &'a DerivingKey,
    token: Token<'a>,
    hotkey: AccountId,
    good_for: SessionUse,
    /// What the hotkey signed.
    signed_text: &'a str,
}

fn check_alive(expires_at: UnixTime, key_accept_until: Option<UnixTime>, now: UnixTime) -> Result<()> {
    let ends_at = key_accept_until.map_or(expires_at, |until| until.min(expires_at));
    if now < ends_at {
        return Ok(());
    }
    Err(Error::because(
        Code::ExpiredToken,
        Reason::SessionExpired,
        format!("the session ended at {ends_at}; get a new one with POST /v1/session."),
    ))
}

fn signature_false() -> Error {
    signature_mismatch(Reason::SessionSignatureFalse)
}

/// The refusal of a session that is good for links alone.
pub(super) fn not_for_requests() -> Error {
    invalid_token("it is of a URL or a form and good for nothing else")
}

fn invalid_token(reason: &str) -> Error {
    Error::new(
        Code::InvalidToken,
        format!("The session token is not valid: {reason}. Get a new one with POST /v1/session."),
    )
    .reason(Reason::SessionTokenFalse)
}

#[cfg(test)]
mod tests;
