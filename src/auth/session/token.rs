//! The wire form of session tokens.
//!
//! The token is base64url without padding of: version 3 (u8) · key id (u8 length, 1..=32 bytes) · kind of
//! evidence (u8, 1 = btauth/1, 2 = a string of the vending server, 3 = X-Tao) · wrapped in `<Bytes>` (u8, 0
//! or 1) · expiry (u64, unix seconds) · evidence (u16 length, 1..=1024 bytes) · the hotkey's signature (64
//! bytes); integers are big-endian, and nothing follows. Version 1 is the same with a secret in base64, of
//! sessions that were issued before; version 3 has it in base64url.
//!
//! A token of another kind than the first stands in URLs and forms that are handed on, and whoever has
//! what was signed with its signature could ask for more in its signer's name while it is young. So it is
//! sealed: version 2 (u8) · key id (u8 length, bytes) · AES-256-GCM-SIV of the token above, see
//! [`super::keys`].
//!
//! Invariants: one token has one spelling; nothing of a token longer than [`TOKEN_CHARS_MAX`] is read.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    keys::{DerivingKey, KEY_ID_BYTES_MAX, SEALED_VERSION, SecretAlphabet},
    statement::EvidenceKind,
};
use crate::{auth::bittensor::sr25519::SIGNATURE_BYTES, time::UnixTime};

/// Longest evidence in bytes; btauth/1 needs about 220.
const EVIDENCE_BYTES_MAX: usize = 1024;

/// Longest token in bytes before it is sealed.
const TOKEN_BYTES_MAX: usize =
    1 + 1 + KEY_ID_BYTES_MAX + 1 + 1 + 8 + 2 + EVIDENCE_BYTES_MAX + SIGNATURE_BYTES;

/// What sealing adds in bytes: version and key id in the clear, and the tag of AES-GCM-SIV.
const SEAL_BYTES_MAX: usize = 1 + 1 + KEY_ID_BYTES_MAX + 16;

/// Longest token text: the longest fields, sealed, in base64.
pub(super) const TOKEN_CHARS_MAX: usize = (TOKEN_BYTES_MAX + SEAL_BYTES_MAX).div_ceil(3) * 4;

/// The first byte of a token.
pub(super) const TOKEN_VERSION: u8 = 3;

/// The first byte of a token whose secret is in base64.
pub(super) const TOKEN_VERSION_BASE64: u8 = 1;

impl SecretAlphabet {
    /// The version of tokens whose secrets have it.
    fn token_version(self) -> u8 {
        match self {
            Self::Base64 => TOKEN_VERSION_BASE64,
            Self::Base64Url => TOKEN_VERSION,
        }
    }

    fn of_token_version(version: u8) -> Option<Self> {
        [Self::Base64, Self::Base64Url].into_iter().find(|alphabet| alphabet.token_version() == version)
    }
}

/// The bytes of a token before it is sealed, and whether they came sealed.
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// The id of the key under which they were.
    sealed_by: Option<String>,
}

impl TokenBytes {
    /// The bytes of canonical base64url, at most as many as a token can have; opened, where they are sealed.
    pub(super) fn of(text: &str, keys: &[DerivingKey]) -> Option<Self> {
        if text.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.first() != Some(&SEALED_VERSION) {
            return Some(Self { bytes, sealed_by: None });
        }
        keys.iter().find_map(|key| Some(Self { bytes: key.opened(&bytes)?, sealed_by: Some(key.id.clone()) }))
    }

    /// Reads exactly what [`Token::text`] writes: what was signed for links sealed, and nothing else.
    pub(super) fn token(&self) -> Option<Token<'_>> {
        let token = Token::parse(&self.bytes)?;
        let sealed_by = self.sealed_by.as_deref();
        let is_sealed_right = match EvidenceKind::of(token.evidence) {
            EvidenceKind::Vending | EvidenceKind::Tao => sealed_by == Some(token.key_id),
            EvidenceKind::Btauth => sealed_by.is_none(),
        };
        is_sealed_right.then_some(token)
    }
}

/// The fields of a token; the kind of evidence follows from the evidence.
pub(super) struct Token<'a> {
    /// The alphabet of the secret that belongs to the token.
    pub(super) secret_alphabet: SecretAlphabet,
    pub(super) key_id: &'a str,
    pub(super) wrapped: bool,
    pub(super) expires_at: UnixTime,
    pub(super) evidence: &'a str,
    pub(super) signature: [u8; SIGNATURE_BYTES],
}

impl<'a> Token<'a> {
    /// The text; `None` where a field is longer than the layout has room for.
    pub(super) fn text(&self, issuing: &DerivingKey) -> Option<String> {
        let bytes = self.encode()?;
        let bytes = match EvidenceKind::of(self.evidence) {
            EvidenceKind::Vending | EvidenceKind::Tao => issuing.sealed(bytes)?,
            EvidenceKind::Btauth => bytes,
        };
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The bytes, before they are sealed.
    fn encode(&self) -> Option<Vec<u8>> {
        let evidence_bytes = u16::try_from(self.evidence.len())
            .ok()
            .filter(|bytes| usize::from(*bytes) <= EVIDENCE_BYTES_MAX)?;
        let mut bytes = vec![self.secret_alphabet.token_version(), u8::try_from(self.key_id.len()).ok()?];
        bytes.extend_from_slice(self.key_id.as_bytes());
        bytes.extend_from_slice(&[EvidenceKind::of(self.evidence).wire_byte(), u8::from(self.wrapped)]);
        bytes.extend_from_slice(&self.expires_at.seconds().to_be_bytes());
        bytes.extend_from_slice(&evidence_bytes.to_be_bytes());
        bytes.extend_from_slice(self.evidence.as_bytes());
        bytes.extend_from_slice(&self.signature);
        Some(bytes)
    }

    /// Reads exactly what [`Token::encode`] writes.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, key_id_bytes], rest) = bytes.split_first_chunk()?;
        let secret_alphabet = SecretAlphabet::of_token_version(version)?;
        let (key_id, rest) = text(rest, usize::from(key_id_bytes), KEY_ID_BYTES_MAX)?;
        let (&[declared_kind, wrapped @ (0 | 1)], rest) = rest.split_first_chunk()? else { return None };
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (evidence_bytes, rest) = rest.split_first_chunk()?;
        let (evidence, rest) =
            text(rest, usize::from(u16::from_be_bytes(*evidence_bytes)), EVIDENCE_BYTES_MAX)?;
        if declared_kind != EvidenceKind::of(evidence).wire_byte() {
            return None;
        }
        Some(Self {
            secret_alphabet,
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

#[cfg(test)]
mod tests;
