//! Session credentials: issued against a hotkey's signature, verified with nothing stored.
//!
//! The token is base64url without padding of: version 1 (u8) · key id (u8 length, 1..=32 bytes) · kind of evidence
//! (u8, 1 = btauth/1, 2 = a string of [`super::bittensor::vending`]) · wrapped in `<Bytes>` (u8, 0 or 1) · expiry (u64, unix seconds) · evidence (u16 length,
//! 1..=1024 bytes) · the hotkey's signature (64 bytes); integers are big-endian, and nothing follows.
//!
//! A token with a string of [`super::bittensor::vending`] stands in URLs and forms that are handed on, and whoever has that string
//! with its signature could ask for more in its signer's name while it is young. So it is sealed: version 2 (u8) · key
//! id (u8 length, bytes) · AES-256-GCM-SIV of the token above under a key of its own, derived from the session key.
//!
//! The secret access key is base64 of 30 bytes of HKDF-SHA256(server session key, token): 40 characters, as AWS's.
//!
//! Invariants (P11, P12): the server's key alone mints nothing, for the hotkey's signature is verified before a
//! token is believed; an unproven token leaves nothing in the cache; a cached session dies with its expiry and with
//! its key; the costly sr25519 verification comes only after the cheap HMAC has proven that the caller holds a
//! secret which this server issued.

use std::sync::Arc;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use moka::sync::Cache;
use zeroize::Zeroizing;

use super::{
    bittensor::{
        btauth::{Audience, Evidence, Statement, is_signed_by},
        sr25519::SIGNATURE_BYTES,
        vending,
    },
    sigv4::{SKEW_SECONDS_MAX, canonical::sha256, signing_key},
};
use crate::{
    chain::AccountId,
    error::{Code, Error, Result},
    secret::{Secret, SecretText},
    time::UnixTime,
};

/// Shortest session in seconds: SDKs refresh at each request below 10 to 15 minutes left.
pub const TTL_SECONDS_MIN: u64 = 1200;

/// Longest session in seconds, one day.
pub const TTL_SECONDS_MAX: u64 = 86_400;

/// Method and path that evidence of kind btauth/1 must have been signed for.
pub const SESSION_ENDPOINT: (&str, &str) = ("POST", "/v1/session");

/// Most verified sessions kept; each takes about 500 bytes, and what falls out is verified anew.
const SESSIONS_CACHED_MAX: u64 = 16_384;

/// Longest key id in bytes.
pub const KEY_ID_BYTES_MAX: usize = 32;

/// Shortest session key in bytes: as many as the hash has.
pub const KEY_BYTES_MIN: usize = 32;

/// Longest evidence in bytes; btauth/1 needs about 220.
const EVIDENCE_BYTES_MAX: usize = 1024;

/// Longest token before it is sealed.
const TOKEN_BYTES_MAX: usize =
    1 + 1 + KEY_ID_BYTES_MAX + 1 + 1 + 8 + 2 + EVIDENCE_BYTES_MAX + SIGNATURE_BYTES;

/// What sealing adds: version and key id in the clear, and the tag of AES-GCM-SIV.
const SEAL_BYTES_MAX: usize = 1 + 1 + KEY_ID_BYTES_MAX + 16;

/// Longest token text: the longest fields, sealed, in base64.
const TOKEN_CHARS_MAX: usize = (TOKEN_BYTES_MAX + SEAL_BYTES_MAX).div_ceil(3) * 4;

/// Bytes of a secret access key before base64.
const SECRET_BYTES: usize = 30;

const TOKEN_VERSION: u8 = 1;
const SEALED_VERSION: u8 = 2;
const KIND_BTAUTH1: u8 = 1;
const KIND_SEEDS: u8 = 2;

/// One of the server's session keys.
#[derive(Debug, Clone)]
pub struct SessionKey {
    /// Its name in tokens: 1 to 32 visible ASCII characters.
    pub id: String,
    /// At least 32 random bytes, the same on every replica.
    pub secret: Secret,
    /// From then on its sessions are over; `None` as long as it issues.
    pub accept_until: Option<UnixTime>,
}

/// Why keys do not make a set; for the person who configures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionKeysError {
    /// An id that does not fit into a token.
    #[error("the session key id {0:?} is not 1 to 32 visible ASCII characters")]
    Id(String),
    /// Two keys of one id.
    #[error("the session key id {0:?} is given more than once")]
    Duplicate(String),
    /// Too few bytes.
    #[error("the session key {0:?} is shorter than 32 bytes")]
    Short(String),
    /// The id that issues is not there.
    #[error("there is no session key {0:?} to issue with")]
    Issuing(String),
    /// The key that issues has an end.
    #[error("the session key {0:?} issues, so it cannot have an end (accept_until)")]
    IssuingEnds(String),
}

/// The server's session keys by id, and which of them issues.
pub struct SessionKeys {
    keys: Vec<DerivingKey>,
    issuing: DerivingKey,
    /// Derives for tokens that are refused anyway, so that a refusal costs what a false signature costs.
    dummy: hkdf::Prk,
}

#[derive(Clone)]
struct DerivingKey {
    id: String,
    derive: hkdf::Prk,
    seal: Arc<LessSafeKey>,
    accept_until: Option<UnixTime>,
}

impl DerivingKey {
    /// What stands before a sealed token, in the clear and authenticated with it.
    fn sealed_head(&self) -> Option<Vec<u8>> {
        let mut head = vec![SEALED_VERSION, u8::try_from(self.id.len()).ok()?];
        head.extend_from_slice(self.id.as_bytes());
        Some(head)
    }

    /// Seals the bytes of a token. Without a random nonce the mode only shows that two tokens are the same.
    fn sealed(&self, mut token: Vec<u8>) -> Option<Vec<u8>> {
        let mut sealed = self.sealed_head()?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        self.seal.seal_in_place_append_tag(nonce, Aad::from(sealed.as_slice()), &mut token).ok()?;
        sealed.extend_from_slice(&token);
        Some(sealed)
    }

    /// The bytes of a token that this key sealed.
    fn opened(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let head = self.sealed_head()?;
        let mut bytes = sealed.strip_prefix(head.as_slice())?.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        Some(self.seal.open_in_place(nonce, Aad::from(head.as_slice()), &mut bytes).ok()?.to_vec())
    }
}

/// The key that seals tokens, apart from the one that derives secrets.
fn seal_key(secret: &Secret) -> Option<LessSafeKey> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"subgate token seal 1")
        .extract(secret.expose())
        .expand(&[b"AES-256-GCM-SIV"], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(key.as_mut_slice()))
        .ok()?;
    UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).ok().map(LessSafeKey::new)
}

impl SessionKeys {
    /// Checks the keys; `issuing` is the id of the one that issues.
    ///
    /// # Errors
    /// The first fault, see [`SessionKeysError`].
    pub fn new(keys: Vec<SessionKey>, issuing: &str) -> Result<Self, SessionKeysError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"subgate session secret 1");
        let mut deriving: Vec<DerivingKey> = Vec::with_capacity(keys.len());
        for SessionKey { id, secret, accept_until } in keys {
            let fits = (1..=KEY_ID_BYTES_MAX).contains(&id.len());
            if !fits || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(SessionKeysError::Id(id));
            }
            if deriving.iter().any(|other| other.id == id) {
                return Err(SessionKeysError::Duplicate(id));
            }
            if secret.expose().len() < KEY_BYTES_MIN {
                return Err(SessionKeysError::Short(id));
            }
            let Some(seal) = seal_key(&secret) else { return Err(SessionKeysError::Short(id)) };
            let derive = salt.extract(secret.expose());
            deriving.push(DerivingKey { id, derive, seal: Arc::new(seal), accept_until });
        }
        let issuing_key = deriving.iter().find(|key| key.id == issuing);
        let issuing_key = issuing_key.ok_or_else(|| SessionKeysError::Issuing(issuing.into()))?.clone();
        if issuing_key.accept_until.is_some() {
            return Err(SessionKeysError::IssuingEnds(issuing.into()));
        }
        Ok(Self { keys: deriving, issuing: issuing_key, dummy: salt.extract(&[0; KEY_BYTES_MIN]) })
    }
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKeys({} keys, {:?} issues)", self.keys.len(), self.issuing.id)
    }
}

/// Session credentials as a client gets them.
#[derive(Debug, Clone)]
pub struct Session {
    /// The hotkey's SS58.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: SecretText,
    /// About 400 characters of base64url.
    pub session_token: SecretText,
    /// When it ends.
    pub expires_at: UnixTime,
}

/// A session whose token, secret and evidence have been verified.
pub(super) struct Proven {
    pub(super) hotkey: AccountId,
    pub(super) expires_at: UnixTime,
    /// Of [`Proven::day`].
    pub(super) signing_key: Secret,
    access_key: String,
    /// `yyyymmdd`
    day: String,
    secret: SecretText,
    key_accept_until: Option<UnixTime>,
}

/// What a request presents of a session.
pub(super) struct Presented<'a> {
    pub(super) access_key: &'a str,
    pub(super) token: Option<&'a str>,
    /// `yyyymmdd` of the scope, which is the date of `time`.
    pub(super) day: &'a str,
    pub(super) time: UnixTime,
}

/// Issues and verifies sessions of one server.
pub(super) struct Sessions {
    keys: SessionKeys,
    audience: Audience,
    region: String,
    ttl_seconds_max: u64,
    /// By the token's SHA-256.
    cache: Cache<[u8; 32], Arc<Proven>>,
}

impl Sessions {
    pub(super) fn new(keys: SessionKeys, audience: Audience, region: String, ttl_seconds_max: u64) -> Self {
        Self { keys, audience, region, ttl_seconds_max, cache: Cache::new(SESSIONS_CACHED_MAX) }
    }

    /// Makes credentials that end `ttl_seconds` from `now`, and never more than the longest session after the
    /// evidence was signed.
    pub(super) fn issue(&self, evidence: &Evidence, ttl_seconds: u64, now: UnixTime) -> Result<Session> {
        if Spoken::parse(&evidence.bytes).is_none_or(|spoken| !spoken.is_for_sessions) {
            return Err(Error::new(
                Code::InvalidRequest,
                "A session is issued for a signature over POST /v1/session, without a query.",
            ));
        }
        let expires_at =
            now.plus_seconds(ttl_seconds).seconds().min(self.expiry_seconds_max(evidence.time()));
        let token = Token {
            key_id: &self.keys.issuing.id,
            wrapped: evidence.wrapped,
            expires_at: UnixTime::from_seconds(expires_at),
            evidence: &evidence.bytes,
            signature: evidence.signature,
        }
        .text(&self.keys.issuing)
        .ok_or_else(|| Error::internal("the evidence of a session does not fit into a token"))?;
        Ok(Session {
            access_key_id: evidence.hotkey.to_ss58(),
            secret_access_key: derive_secret(&self.keys.issuing.derive, &token)?,
            session_token: SecretText::new(token),
            expires_at: UnixTime::from_seconds(expires_at),
        })
    }

    fn expiry_seconds_max(&self, signed_at: UnixTime) -> u64 {
        signed_at.plus_seconds(self.ttl_seconds_max).seconds()
    }

    /// Proves that the caller holds the session: `matches` is handed the signing key of `presented.day` and says
    /// what it found signed with it, if anything.
    ///
    /// # Errors
    /// `InvalidAccessKeyId`, `InvalidToken`, `ExpiredToken` (starting `SessionExpired: `), `SignatureDoesNotMatch`.
    pub(super) fn prove<T>(
        &self,
        presented: &Presented<'_>,
        now: UnixTime,
        matches: impl FnOnce(&[u8]) -> Result<Option<T>>,
    ) -> Result<(Arc<Proven>, T)> {
        let token = presented.token.unwrap_or_default();
        let cache_key = sha256(token.as_bytes());
        if let Some(proven) =
            self.cache.get(&cache_key).filter(|proven| proven.access_key == presented.access_key)
        {
            return self.prove_again(cache_key, proven, presented, now, matches);
        }

        let bytes = TokenBytes::of(token, &self.keys.keys);
        let judged = self.judge(presented, bytes.as_ref(), now);
        let key = judged.as_ref().map_or(&self.keys.dummy, |judged| &judged.key.derive);
        let secret = derive_secret(key, token)?;
        let signing_key = self.signing_key(&secret, presented);
        let matched = matches(signing_key.expose());
        // Whatever is wrong with the token is told only now: a refusal takes as long as a false signature.
        let Judged { key, token, hotkey, text } = judged?;
        let matched = matched?.ok_or_else(mismatch)?;
        if !is_signed_by(&hotkey, text, token.wrapped, &token.signature) {
            return Err(invalid_token("its hotkey signature is false").detail(
                "a token carries a false hotkey signature under a good HMAC: a session key may be known to others",
            ));
        }
        let proven = Arc::new(Proven {
            hotkey,
            expires_at: token.expires_at,
            signing_key,
            access_key: presented.access_key.into(),
            day: presented.day.into(),
            secret,
            key_accept_until: key.accept_until,
        });
        self.cache.insert(cache_key, Arc::clone(&proven));
        Ok((proven, matched))
    }

    fn prove_again<T>(
        &self,
        cache_key: [u8; 32],
        mut proven: Arc<Proven>,
        presented: &Presented<'_>,
        now: UnixTime,
        matches: impl FnOnce(&[u8]) -> Result<Option<T>>,
    ) -> Result<(Arc<Proven>, T)> {
        if let Err(expired) = check_alive(proven.expires_at, proven.key_accept_until, now) {
            self.cache.invalidate(&cache_key);
            return Err(expired);
        }
        let another_day = proven.day != presented.day;
        if another_day {
            proven = Arc::new(Proven {
                signing_key: self.signing_key(&proven.secret, presented),
                day: presented.day.into(),
                access_key: proven.access_key.clone(),
                secret: proven.secret.clone(),
                ..*proven
            });
        }
        let matched = matches(proven.signing_key.expose())?.ok_or_else(mismatch)?;
        if another_day {
            self.cache.insert(cache_key, Arc::clone(&proven));
        }
        Ok((proven, matched))
    }

    /// All that can be said of a token without a signature; `bytes` are those of its base64url.
    fn judge<'a>(
        &'a self,
        presented: &Presented<'_>,
        bytes: Option<&'a TokenBytes>,
        now: UnixTime,
    ) -> Result<Judged<'a>> {
        let hotkey: AccountId = presented.access_key.parse().map_err(|error| {
            Error::new(
                Code::InvalidAccessKeyId,
                format!("The AWS Access Key Id must be a hotkey, and this is {error}."),
            )
        })?;
        if presented.token.is_none() {
            return Err(invalid_token(
                "there is none, and the secret alone says nothing (AWS_SESSION_TOKEN)",
            ));
        }
        let token = bytes.and_then(TokenBytes::token).ok_or_else(|| invalid_token("it cannot be read"))?;
        let key = self.keys.keys.iter().find(|key| key.id == token.key_id);
        let key =
            key.ok_or_else(|| invalid_token("it was issued with a key that this server does not have"))?;
        let spoken =
            Spoken::parse(token.evidence).ok_or_else(|| invalid_token("its evidence cannot be read"))?;
        if spoken.sender != hotkey {
            return Err(invalid_token("it belongs to another access key id"));
        }
        if !self.audience.takes(spoken.receiver.as_ref()) {
            return Err(invalid_token("it was issued for another server"));
        }
        if !spoken.is_for_sessions {
            return Err(invalid_token("its evidence was signed for something else"));
        }
        if token.expires_at.seconds() > self.expiry_seconds_max(spoken.signed_at)
            || spoken.signed_at > now.plus_seconds(SKEW_SECONDS_MAX)
        {
            return Err(invalid_token("it lasts longer than this server allows"));
        }
        check_alive(token.expires_at, key.accept_until, now)?;
        Ok(Judged { key, token, hotkey, text: spoken.text })
    }

    fn signing_key(&self, secret: &SecretText, presented: &Presented<'_>) -> Secret {
        signing_key(secret, presented.time, &self.region)
    }

    /// How many sessions are cached; for tests and metrics.
    pub(super) fn cached(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }
}

/// A token that fits its access key, this server and the time; unproven.
struct Judged<'a> {
    key: &'a DerivingKey,
    token: Token<'a>,
    hotkey: AccountId,
    /// What the hotkey signed.
    text: &'a str,
}

/// What evidence says, of either kind. Nothing in it is proven.
struct Spoken<'a> {
    sender: AccountId,
    /// Strings of the vending server name none.
    receiver: Option<AccountId>,
    signed_at: UnixTime,
    is_for_sessions: bool,
    text: &'a str,
}

impl<'a> Spoken<'a> {
    fn parse(evidence: &'a str) -> Option<Self> {
        if let Some(statement) = Statement::parse(evidence) {
            return Some(Self {
                sender: statement.sender,
                receiver: statement.receiver,
                signed_at: UnixTime::from_nanos(statement.nonce_nanos),
                is_for_sessions: (statement.method, statement.target) == SESSION_ENDPOINT,
                text: evidence,
            });
        }
        let vending::Statement { hotkey, signed_at, string } = vending::Statement::parse(evidence)?;
        Some(Self { sender: hotkey, receiver: None, signed_at, is_for_sessions: true, text: string })
    }
}

/// The kind of evidence that a text is; the token says it as well.
fn kind(evidence: &str) -> u8 {
    if Statement::is_one(evidence) { KIND_BTAUTH1 } else { KIND_SEEDS }
}

/// The bytes of a token of version 1, and whether they came sealed.
struct TokenBytes {
    bytes: Vec<u8>,
    /// The id of the key under which they were.
    sealed_by: Option<String>,
}

impl TokenBytes {
    /// The bytes of canonical base64url, at most as many as a token can have; opened, where they are sealed.
    fn of(text: &str, keys: &[DerivingKey]) -> Option<Self> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.first() != Some(&SEALED_VERSION) {
            return Some(Self { bytes, sealed_by: None });
        }
        keys.iter().find_map(|key| Some(Self { bytes: key.opened(&bytes)?, sealed_by: Some(key.id.clone()) }))
    }

    /// Reads exactly what [`Token::text`] writes: strings of the vending server sealed, and nothing else.
    fn token(&self) -> Option<Token<'_>> {
        let token = Token::parse(&self.bytes)?;
        let sealed_by = self.sealed_by.as_deref();
        let is_sealed_right = match kind(token.evidence) {
            KIND_SEEDS => sealed_by == Some(token.key_id),
            _ => sealed_by.is_none(),
        };
        is_sealed_right.then_some(token)
    }
}

/// The fields of a token of version 1; the kind of evidence follows from the evidence.
struct Token<'a> {
    key_id: &'a str,
    wrapped: bool,
    expires_at: UnixTime,
    evidence: &'a str,
    signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Token<'a> {
    /// The text; `None` where a field is longer than the layout has room for.
    fn text(&self, issuing: &DerivingKey) -> Option<String> {
        let bytes = self.encode()?;
        let bytes = if kind(self.evidence) == KIND_SEEDS { issuing.sealed(bytes)? } else { bytes };
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The bytes, before they are sealed.
    fn encode(&self) -> Option<Vec<u8>> {
        let evidence_bytes = u16::try_from(self.evidence.len())
            .ok()
            .filter(|bytes| usize::from(*bytes) <= EVIDENCE_BYTES_MAX)?;
        let mut bytes = vec![TOKEN_VERSION, u8::try_from(self.key_id.len()).ok()?];
        bytes.extend_from_slice(self.key_id.as_bytes());
        bytes.extend_from_slice(&[kind(self.evidence), u8::from(self.wrapped)]);
        bytes.extend_from_slice(&self.expires_at.seconds().to_be_bytes());
        bytes.extend_from_slice(&evidence_bytes.to_be_bytes());
        bytes.extend_from_slice(self.evidence.as_bytes());
        bytes.extend_from_slice(&self.signature);
        Some(bytes)
    }

    /// Reads exactly what [`Token::encode`] writes.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[TOKEN_VERSION, key_id_bytes], rest) = bytes.split_first_chunk()? else { return None };
        let (key_id, rest) = text(rest, usize::from(key_id_bytes), KEY_ID_BYTES_MAX)?;
        let (&[told_kind, wrapped @ (0 | 1)], rest) = rest.split_first_chunk()? else { return None };
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (evidence_bytes, rest) = rest.split_first_chunk()?;
        let (evidence, rest) =
            text(rest, usize::from(u16::from_be_bytes(*evidence_bytes)), EVIDENCE_BYTES_MAX)?;
        if told_kind != kind(evidence) {
            return None;
        }
        Some(Self {
            key_id,
            wrapped: wrapped == 1,
            expires_at: UnixTime::from_seconds(u64::from_be_bytes(*expires_at)),
            evidence,
            signature: rest.try_into().ok()?,
        })
    }
}

/// Splits off a text of `length` bytes, 1 to `length_max`.
fn text(bytes: &[u8], length: usize, length_max: usize) -> Option<(&str, &[u8])> {
    let (text, rest) = bytes.split_at_checked(length).filter(|_| (1..=length_max).contains(&length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

struct SecretLength;

impl hkdf::KeyType for SecretLength {
    fn len(&self) -> usize {
        SECRET_BYTES
    }
}

fn derive_secret(key: &hkdf::Prk, token: &str) -> Result<SecretText> {
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    key.expand(&[token.as_bytes()], SecretLength)
        .and_then(|output| output.fill(secret.as_mut_slice()))
        .map_err(|_| Error::internal("HKDF refuses to derive a session secret"))?;
    Ok(SecretText::new(STANDARD_NO_PAD.encode(*secret)))
}

fn check_alive(expires_at: UnixTime, key_accept_until: Option<UnixTime>, now: UnixTime) -> Result<()> {
    let ends_at = key_accept_until.map_or(expires_at, |until| until.min(expires_at));
    if now < ends_at {
        return Ok(());
    }
    Err(Error::new(
        Code::ExpiredToken,
        format!("SessionExpired: the session ended at {ends_at}; get a new one with POST /v1/session."),
    ))
}

fn invalid_token(reason: &str) -> Error {
    Error::new(
        Code::InvalidToken,
        format!("The session token is not valid: {reason}. Get a new one with POST /v1/session."),
    )
}

/// The one answer to a signature that is not the request's.
pub(super) fn mismatch() -> Error {
    Error::new(
        Code::SignatureDoesNotMatch,
        "The request signature does not match. Check that access key id, secret and session token are of one \
         session, the region, the clock, and that no proxy on the way rewrites the host, the path or signed headers.",
    )
}

#[cfg(test)]
mod tests;
