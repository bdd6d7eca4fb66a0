//! X-Tao v2, the signed headers of the vending server's clients from late 2025 on.
//!
//! Headers `X-Tao-Version: 2`, `-Timestamp` (unix milliseconds), `-Nonce` (a UUID), `-Signed-By` (SS58) and
//! `-Signature` (base64, or hex, of sr25519 by the hotkey). Signed text: sha256 hex of the body, nonce and
//! timestamp, joined by `.`.
//!
//! Neither path nor method nor receiver is signed (P66). So what says of itself where it belongs is the body
//! alone, and each endpoint that takes these headers refuses a body with a field of another's; and a server
//! that was sent such a request could pass it on, so it counts only where
//! [`Audience::allow_none`](super::btauth::Audience) is set.
//!
//! Invariants: there is one spelling of nonce and timestamp; a request is accepted within the window of 10 s
//! past and 2 s ahead; that it counts once is for `SpentNonces`, to which `VerifiedTao::nonce` goes. In a
//! token the evidence is the hotkey's SS58, a line end, and the signed text; such a token stands in URLs and
//! forms alone (see `auth::session`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode};

use super::{
    evidence::{Evidence, signed_wrapped},
    nonce::{FUTURE_NANOS_MAX, Nonce, PAST_NANOS_MAX, Uuid},
    sr25519::{Keypair, SIGNATURE_BYTES},
};
use crate::{auth::sigv4::canonical::sha256_hex, chain::AccountId, time::UnixTime};

const VERSION_HEADER: &str = "x-tao-version";
const TIMESTAMP_HEADER: &str = "x-tao-timestamp";
const NONCE_HEADER: &str = "x-tao-nonce";
const SIGNER_HEADER: &str = "x-tao-signed-by";
const SIGNATURE_HEADER: &str = "x-tao-signature";

/// What begins the names of these headers, in lower case.
const HEADER_PREFIX: &str = "x-tao-";

/// The one version that is taken.
const VERSION: &str = "2";

const NANOS_PER_MILLISECOND: u64 = 1_000_000;

/// Whether a request claims anything in these headers.
pub(crate) fn is_claimed(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(HEADER_PREFIX))
}

/// Why a request is not one of X-Tao v2; its status and its text make the JSON answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaoError {
    /// A header is missing.
    #[error("Missing header {0}")]
    Missing(&'static str),
    /// A header is there twice.
    #[error("Header {0} is given more than once")]
    Duplicate(&'static str),
    /// A header cannot be read.
    #[error("Invalid header {0}")]
    Malformed(&'static str),
    /// Another version than 2.
    #[error("Unsupported X-Tao-Version; this server speaks 2")]
    Version,
    /// More than 10 s old or 2 s ahead.
    #[error("Invalid timestamp: outside the window of 10 s past and 2 s ahead; check the clock")]
    Timestamp,
    /// The hotkey did not sign this body with this nonce and timestamp.
    #[error("Invalid signature")]
    Signature,
}

impl TaoError {
    /// The status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Duplicate(_) | Self::Malformed(_) | Self::Version | Self::Timestamp => {
                StatusCode::BAD_REQUEST
            }
            Self::Missing(_) | Self::Signature => StatusCode::UNAUTHORIZED,
        }
    }
}

/// The signed text, understood. Nothing in it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct SignedBody<'a> {
    /// SHA-256 of the body, 64 lower-case hex characters.
    body_sha256: &'a str,
    nonce: Uuid,
    timestamp_millis: u64,
}

impl<'a> SignedBody<'a> {
    /// Reads exactly what [`SignedBody::text`] writes.
    fn parse(text: &'a str) -> Option<Self> {
        let (rest, millis) = text.rsplit_once('.')?;
        let (body_sha256, nonce) = rest.split_once('.')?;
        let mut hash = [0; 32];
        hex::decode_to_slice(body_sha256, &mut hash).ok()?;
        let signed = Self { body_sha256, nonce: Uuid::parse(nonce)?, timestamp_millis: canonical(millis)? };
        (hex::encode(hash) == body_sha256).then_some(signed)
    }

    fn text(&self) -> String {
        format!("{}.{}.{}", self.body_sha256, self.nonce, self.timestamp_millis)
    }

    fn nanos(&self) -> Option<u64> {
        self.timestamp_millis.checked_mul(NANOS_PER_MILLISECOND)
    }
}

/// Evidence of this kind, understood. Nothing in it is proven.
pub(in crate::auth) struct SignedBodyEvidence<'a> {
    pub(in crate::auth) hotkey: AccountId,
    pub(in crate::auth) signed_at: UnixTime,
    /// What the hotkey signed.
    pub(in crate::auth) text: &'a str,
}

impl<'a> SignedBodyEvidence<'a> {
    pub(in crate::auth) fn parse(evidence: &'a str) -> Option<Self> {
        let (hotkey, text) = evidence.split_once('\n')?;
        let signed_at = UnixTime::from_nanos(SignedBody::parse(text)?.nanos()?);
        Some(Self { hotkey: hotkey.parse().ok()?, signed_at, text })
    }
}

/// Digits as `u64` prints them: one number has one spelling.
fn canonical(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// What the headers of a request claim. Nothing in it is proven.
pub(crate) struct TaoClaim {
    signer: AccountId,
    nonce: Uuid,
    timestamp_millis: u64,
    timestamp_nanos: u64,
    signature: [u8; SIGNATURE_BYTES],
}

/// A request whose hotkey signed its body; where it was sent, and that it was sent once, is not proven.
#[derive(Debug)]
pub(crate) struct VerifiedTao {
    /// What was signed, with its signature.
    pub(crate) evidence: Evidence,
    /// What must not have been there before.
    pub(crate) nonce: Nonce,
    /// The text that was signed.
    pub(crate) text: String,
}

impl TaoClaim {
    /// Reads the headers, and checks all that can be checked without body and signature.
    ///
    /// # Errors
    /// Any [`TaoError`] but `Signature`.
    pub(crate) fn read(headers: &HeaderMap, now: UnixTime) -> Result<Self, TaoError> {
        if required(headers, VERSION_HEADER)? != VERSION {
            return Err(TaoError::Version);
        }
        let read = |name| Ok::<_, TaoError>((required(headers, name)?, TaoError::Malformed(name)));
        let (text, malformed) = read(SIGNER_HEADER)?;
        let signer = text.parse().map_err(|_| malformed)?;
        let (text, malformed) = read(NONCE_HEADER)?;
        let nonce = Uuid::parse(text).ok_or(malformed)?;
        let (text, malformed) = read(TIMESTAMP_HEADER)?;
        let timestamp_millis = canonical(text).ok_or(malformed)?;
        let timestamp_nanos = timestamp_millis.checked_mul(NANOS_PER_MILLISECOND).ok_or(malformed)?;
        let (text, malformed) = read(SIGNATURE_HEADER)?;
        let signature = signature(text).ok_or(malformed)?;
        let claim = Self { signer, nonce, timestamp_millis, timestamp_nanos, signature };
        claim.check_window(now)?;
        Ok(claim)
    }

    /// Who says to have signed.
    pub(crate) fn signer(&self) -> AccountId {
        self.signer
    }

    fn check_window(&self, now: UnixTime) -> Result<(), TaoError> {
        let signed_nanos = u128::from(self.timestamp_nanos);
        let is_past = signed_nanos < now.nanos().saturating_sub(PAST_NANOS_MAX);
        if is_past || signed_nanos > now.nanos().saturating_add(FUTURE_NANOS_MAX) {
            return Err(TaoError::Timestamp);
        }
        Ok(())
    }

    /// Verifies that the signer signed `body`. Costs at most two sr25519 verifications, and none out of the
    /// window. The nonce is not spent yet.
    ///
    /// # Errors
    /// `Timestamp` and `Signature`.
    pub(crate) fn verify(&self, body: &[u8], now: UnixTime) -> Result<VerifiedTao, TaoError> {
        self.check_window(now)?;
        let Self { signer, nonce, timestamp_millis, timestamp_nanos, signature } = *self;
        let body_sha256 = sha256_hex(body);
        let text = SignedBody { body_sha256: &body_sha256, nonce, timestamp_millis }.text();
        let wrapped = signed_wrapped(&signer, &text, &signature).ok_or(TaoError::Signature)?;
        let evidence = Evidence {
            hotkey: signer,
            nonce_nanos: timestamp_nanos,
            text: format!("{signer}\n{text}"),
            wrapped,
            signature,
        };
        Ok(VerifiedTao { nonce: Nonce::uuid(signer, timestamp_nanos, nonce), evidence, text })
    }
}

/// Verifies a request of X-Tao v2: that its signer signed `body`, within the window. Costs at most two
/// sr25519 verifications. The nonce is not spent.
///
/// # Errors
/// [`TaoError`].
pub fn verify(headers: &HeaderMap, body: &[u8], now: UnixTime) -> Result<Evidence, TaoError> {
    Ok(TaoClaim::read(headers, now)?.verify(body, now)?.evidence)
}

/// The headers that a client sends with `body`: names in lower case, values in plain ASCII. `nonce` is the
/// text of a UUID that no other request has.
pub fn sign(
    keypair: &Keypair,
    body: &[u8],
    nonce: &str,
    timestamp_millis: u64,
) -> Vec<(&'static str, String)> {
    let text = format!("{}.{nonce}.{timestamp_millis}", sha256_hex(body));
    vec![
        (VERSION_HEADER, VERSION.into()),
        (TIMESTAMP_HEADER, timestamp_millis.to_string()),
        (NONCE_HEADER, nonce.into()),
        (SIGNER_HEADER, keypair.account().to_ss58()),
        (SIGNATURE_HEADER, STANDARD.encode(keypair.sign(text.as_bytes()))),
    ]
}

/// 64 bytes in padded base64, or in hex with or without `0x`; the length says which.
fn signature(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut bytes = [0; SIGNATURE_BYTES];
    if text.len() == SIGNATURE_BYTES.div_ceil(3) * 4 {
        return STANDARD.decode(text).ok()?.try_into().ok();
    }
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).ok()?;
    Some(bytes)
}

/// The one value of a header.
fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, TaoError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().ok_or(TaoError::Missing(name))?;
    if values.next().is_some() {
        return Err(TaoError::Duplicate(name));
    }
    first.to_str().map_err(|_| TaoError::Malformed(name))
}

#[cfg(test)]
mod tests;
