//! The server's session keys: they derive the secrets of sessions and seal tokens.
//!
//! The secret access key is base64url of 30 bytes of HKDF-SHA256(server session key, token): 40 characters,
//! as AWS's, and none of them means anything in a URL, where several clients take it. The token says which
//! alphabet it has, so that sessions of the time when it was base64 go on. Tokens are sealed with
//! AES-256-GCM-SIV under a key of its own, derived from the session key.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    secret::{Secret, SecretText},
    time::UnixTime,
};

/// Longest key id in bytes.
pub(super) const KEY_ID_BYTES_MAX: usize = 32;

/// The first byte of a sealed token.
pub(super) const SEALED_VERSION: u8 = 2;

/// Shortest session key in bytes: as many as the hash has.
const KEY_BYTES_MIN: usize = 32;

/// Bytes of a secret access key before base64.
const SECRET_BYTES: usize = 30;

/// The characters of a secret access key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretAlphabet {
    /// Base64, with `+` and `/`: of sessions that were issued before the other was there.
    Base64,
    /// Base64url.
    Base64Url,
}

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
    pub(super) keys: Vec<DerivingKey>,
    pub(super) issuing: DerivingKey,
    /// Derives for tokens that are refused anyway, so that a refusal costs what a false signature costs.
    dummy: SecretDeriver,
}

/// A session key, ready to derive secrets and to seal tokens.
#[derive(Clone)]
pub(super) struct DerivingKey {
    pub(super) id: String,
    derive: SecretDeriver,
    seal: Arc<LessSafeKey>,
    pub(super) accept_until: Option<UnixTime>,
}

impl DerivingKey {
    /// The secret access key of a session with this token.
    pub(super) fn secret(&self, token: &str, alphabet: SecretAlphabet) -> Result<SecretText> {
        self.derive.secret(token, alphabet)
    }

    /// What comes before a sealed token, in the clear and authenticated with it.
    fn sealed_head(&self) -> Option<Vec<u8>> {
        let mut head = vec![SEALED_VERSION, u8::try_from(self.id.len()).ok()?];
        head.extend_from_slice(self.id.as_bytes());
        Some(head)
    }

    /// Seals the bytes of a token. Without a random nonce the mode only shows that two tokens are the same.
    pub(super) fn sealed(&self, mut token: Vec<u8>) -> Option<Vec<u8>> {
        let mut sealed = self.sealed_head()?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        self.seal.seal_in_place_append_tag(nonce, Aad::from(sealed.as_slice()), &mut token).ok()?;
        sealed.extend_from_slice(&token);
        Some(sealed)
    }

    /// The bytes of a token that this key sealed.
    pub(super) fn opened(&self, sealed: &[u8]) -> Option<Vec<u8>> {
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
    pub fn new(keys: Vec<SessionKey>, issuing: &str) -> std::result::Result<Self, SessionKeysError> {
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
            let derive = SecretDeriver::new(secret.expose());
            deriving.push(DerivingKey { id, derive, seal: Arc::new(seal), accept_until });
        }
        let issuing_key = deriving.iter().find(|key| key.id == issuing);
        let issuing_key = issuing_key.ok_or_else(|| SessionKeysError::Issuing(issuing.into()))?.clone();
        if issuing_key.accept_until.is_some() {
            return Err(SessionKeysError::IssuingEnds(issuing.into()));
        }
        Ok(Self { keys: deriving, issuing: issuing_key, dummy: SecretDeriver::new(&[0; KEY_BYTES_MIN]) })
    }

    /// The key of that id.
    pub(super) fn find(&self, id: &str) -> Option<&DerivingKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// A secret that belongs to no session, for a token that is refused anyway: it costs what a real one
    /// costs.
    pub(super) fn dummy_secret(&self, token: &str) -> Result<SecretText> {
        self.dummy.secret(token, SecretAlphabet::Base64Url)
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({} keys, {:?} issues)", self.keys.len(), self.issuing.id)
    }
}

/// Derives secret access keys from tokens.
#[derive(Clone)]
struct SecretDeriver(hkdf::Prk);

impl SecretDeriver {
    fn new(key: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"subgate session secret 1").extract(key))
    }

    fn secret(&self, token: &str, alphabet: SecretAlphabet) -> Result<SecretText> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        self.0
            .expand(&[token.as_bytes()], SecretLength)
            .and_then(|output| output.fill(secret.as_mut_slice()))
            .map_err(|_| Error::internal("HKDF refuses to derive a session secret"))?;
        Ok(SecretText::new(match alphabet {
            SecretAlphabet::Base64 => STANDARD_NO_PAD.encode(*secret),
            SecretAlphabet::Base64Url => URL_SAFE_NO_PAD.encode(*secret),
        }))
    }
}

struct SecretLength;

impl hkdf::KeyType for SecretLength {
    fn len(&self) -> usize {
        SECRET_BYTES
    }
}
