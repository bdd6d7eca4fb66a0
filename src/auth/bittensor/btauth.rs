//! btauth/1, the signed-HTTP standard of the bittensor SDK 11 (`bittensor.http_auth.sign`).
//!
//! Signed bytes, joined by `\n`: `btauth/1`, scheme, METHOD, path with query as sent, sha256 hex of the body,
//! nonce (unix ns), sender, receiver or `-`.
//!
//! Invariant: a request is accepted only where the hotkey's signature over exactly these bytes was verified,
//! and only within the window of 10 s past and 2 s future. That it counts once is for `SpentNonces`.

use http::{HeaderMap, StatusCode};

use super::{
    evidence::{Evidence, signed_wrapped},
    nonce::{FUTURE_NANOS_MAX, PAST_NANOS_MAX},
    sr25519::{Keypair, SIGNATURE_BYTES},
};
use crate::{auth::sigv4::canonical::sha256_hex, chain::AccountId, time::UnixTime};

/// First line of the signed bytes.
const PROTOCOL: &str = "btauth/1";

/// The one signature scheme that is taken. It is pinned, never a choice of the client's.
const CRYPTO: &str = "sr25519";

const VERSION_HEADER: &str = "x-bittensor-version";
const HOTKEY_HEADER: &str = "x-bittensor-hotkey";
const RECEIVER_HEADER: &str = "x-bittensor-receiver";
const NONCE_HEADER: &str = "x-bittensor-nonce";
const CRYPTO_HEADER: &str = "x-bittensor-crypto";
const SIGNATURE_HEADER: &str = "x-bittensor-signature";

/// To whom a request may be addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// The server's own identity, where it has one.
    pub receiver: Option<AccountId>,
    /// Whether a request addressed to nobody (`-`) is taken as well.
    pub allow_none: bool,
}

impl Audience {
    /// Whether something addressed to `receiver` is meant for this server.
    pub(crate) fn takes(&self, receiver: Option<&AccountId>) -> bool {
        match receiver {
            Some(receiver) => self.receiver.as_ref() == Some(receiver),
            None => self.allow_none,
        }
    }
}

/// Why a request is not one of btauth/1; its status and its text make the JSON answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BtauthError {
    /// A header is missing.
    #[error("Missing header {0}")]
    Missing(&'static str),
    /// A header is there twice.
    #[error("Header {0} is given more than once")]
    Duplicate(&'static str),
    /// A header cannot be read.
    #[error("Invalid header {0}")]
    Malformed(&'static str),
    /// Another version than 1.
    #[error("Unsupported X-Bittensor-Version; this server speaks 1")]
    Version,
    /// Another scheme than sr25519.
    #[error("Unsupported X-Bittensor-Crypto; this server takes sr25519")]
    Crypto,
    /// The nonce is more than 10 s old or 2 s ahead.
    #[error("Nonce outside the window of 10 s past and 2 s future; check the clock")]
    Stale,
    /// The nonce is older than this process, which cannot know whether it was spent before.
    #[error("The server has started anew since this was signed; sign the request again")]
    BeforeStart,
    /// Addressed to another server, or to nobody where that is not allowed.
    #[error("X-Bittensor-Receiver is not this server")]
    Receiver,
    /// The hotkey did not sign these bytes.
    #[error("Invalid signature")]
    Signature,
    /// The nonce was used before.
    #[error("Nonce already used")]
    Replayed,
    /// Too many nonces within the window.
    #[error("Too many nonces are in use; please retry")]
    Full,
}

impl BtauthError {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Duplicate(_) | Self::Malformed(_) | Self::Version | Self::Crypto => StatusCode::BAD_REQUEST,
            Self::Missing(_) | Self::Stale | Self::BeforeStart | Self::Signature | Self::Replayed => {
                StatusCode::UNAUTHORIZED
            }
            Self::Receiver => StatusCode::FORBIDDEN,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What the signed bytes of btauth/1 say of a request. Nothing in it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) struct SignedRequest<'a> {
    pub(in crate::auth) method: &'a str,
    /// Path with query, as sent.
    pub(in crate::auth) target: &'a str,
    /// SHA-256 of the body, 64 lower-case hex characters.
    pub(in crate::auth) body_sha256: &'a str,
    /// Unix time in nanoseconds, and the nonce.
    pub(in crate::auth) nonce_nanos: u64,
    pub(in crate::auth) sender: AccountId,
    pub(in crate::auth) receiver: Option<AccountId>,
}

impl<'a> SignedRequest<'a> {
    /// Whether a text begins as the signed bytes of btauth/1 do.
    pub(in crate::auth) fn is_begun_by(text: &str) -> bool {
        text.strip_prefix(PROTOCOL).is_some_and(|rest| rest.starts_with('\n'))
    }

    /// Reads signed bytes; only what [`SignedRequest::text`] writes.
    pub(in crate::auth) fn parse(text: &'a str) -> Option<Self> {
        let mut lines = text.split('\n');
        let mut next = || lines.next();
        let (PROTOCOL, CRYPTO) = (next()?, next()?) else { return None };
        let (method, target, body_sha256) = (next()?, next()?, next()?);
        let nonce_nanos = nonce(next()?)?;
        let sender = next()?.parse().ok()?;
        let receiver = match next()? {
            "-" => None,
            receiver => Some(receiver.parse().ok()?),
        };
        next().is_none().then_some(Self { method, target, body_sha256, nonce_nanos, sender, receiver })
    }

    fn text(&self) -> String {
        let receiver = self.receiver.map_or_else(|| "-".into(), |receiver| receiver.to_ss58());
        let nonce = self.nonce_nanos.to_string();
        let sender = self.sender.to_ss58();
        [PROTOCOL, CRYPTO, self.method, self.target, self.body_sha256, &nonce, &sender, &receiver].join("\n")
    }
}

/// Digits as `u64` prints them: one nonce has one spelling.
fn nonce(text: &str) -> Option<u64> {
    text.parse().ok().filter(|nonce: &u64| nonce.to_string() == text)
}

/// The text that `sender` signs for a request; `target` is the path with its query as sent.
pub(in crate::auth) fn evidence_text(
    method: &str,
    target: &str,
    body: &[u8],
    nonce_nanos: u64,
    sender: &AccountId,
    receiver: Option<&AccountId>,
) -> String {
    let body_sha256 = sha256_hex(body);
    SignedRequest {
        method,
        target,
        body_sha256: &body_sha256,
        nonce_nanos,
        sender: *sender,
        receiver: receiver.copied(),
    }
    .text()
}

/// The headers that a client sends with a request: names in lower case, values in plain ASCII.
pub fn sign(
    keypair: &Keypair,
    method: &str,
    target: &str,
    body: &[u8],
    receiver: Option<&AccountId>,
    nonce_nanos: u64,
) -> Vec<(&'static str, String)> {
    let text = evidence_text(method, target, body, nonce_nanos, &keypair.account(), receiver);
    let mut headers = vec![
        (VERSION_HEADER, "1".into()),
        (HOTKEY_HEADER, keypair.account().to_ss58()),
        (NONCE_HEADER, nonce_nanos.to_string()),
        (CRYPTO_HEADER, CRYPTO.into()),
        (SIGNATURE_HEADER, format!("0x{}", hex::encode(keypair.sign(text.as_bytes())))),
    ];
    headers.extend(receiver.map(|receiver| (RECEIVER_HEADER, receiver.to_ss58())));
    headers
}

/// What the headers of a request claim. Nothing in it is proven.
struct Claimed {
    sender: AccountId,
    nonce_nanos: u64,
    receiver: Option<AccountId>,
    signature: [u8; SIGNATURE_BYTES],
}

impl Claimed {
    /// Reads the headers, and checks all that can be checked without body and signature.
    fn read(headers: &HeaderMap, audience: &Audience, now: UnixTime) -> Result<Self, BtauthError> {
        let required = |name| header(headers, name)?.ok_or(BtauthError::Missing(name));
        if required(VERSION_HEADER)? != "1" {
            return Err(BtauthError::Version);
        }
        if header(headers, CRYPTO_HEADER)?.is_some_and(|crypto| crypto != CRYPTO) {
            return Err(BtauthError::Crypto);
        }
        let account = |name, text: &str| text.parse::<AccountId>().map_err(|_| BtauthError::Malformed(name));
        let sender = account(HOTKEY_HEADER, required(HOTKEY_HEADER)?)?;
        let nonce_nanos = nonce(required(NONCE_HEADER)?).ok_or(BtauthError::Malformed(NONCE_HEADER))?;
        let mut signature = [0; SIGNATURE_BYTES];
        required(SIGNATURE_HEADER)?
            .strip_prefix("0x")
            .and_then(|digits| hex::decode_to_slice(digits, &mut signature).ok())
            .ok_or(BtauthError::Malformed(SIGNATURE_HEADER))?;
        let receiver = match header(headers, RECEIVER_HEADER)? {
            None | Some("-") => None,
            Some(text) => Some(account(RECEIVER_HEADER, text)?),
        };
        let signed_nanos = u128::from(nonce_nanos);
        if signed_nanos < now.nanos().saturating_sub(PAST_NANOS_MAX)
            || signed_nanos > now.nanos() + FUTURE_NANOS_MAX
        {
            return Err(BtauthError::Stale);
        }
        if !audience.takes(receiver.as_ref()) {
            return Err(BtauthError::Receiver);
        }
        Ok(Self { sender, nonce_nanos, receiver, signature })
    }
}

/// Who says to have signed a request whose body is still to come; nothing is proven. Costs no signature.
///
/// # Errors
/// Any [`BtauthError`] but `Signature`, `Replayed` and `Full`.
pub(crate) fn claimed_sender(
    headers: &HeaderMap,
    audience: &Audience,
    now: UnixTime,
) -> Result<AccountId, BtauthError> {
    Claimed::read(headers, audience, now).map(|claimed| claimed.sender)
}

/// Verifies a request of btauth/1; `target` is the path with its query as sent. Costs at most two sr25519
/// verifications. The nonce is not spent yet, see `SpentNonces`.
///
/// # Errors
/// Any [`BtauthError`] but `Replayed` and `Full`.
pub fn verify(
    headers: &HeaderMap,
    method: &str,
    target: &str,
    body: &[u8],
    audience: &Audience,
    now: UnixTime,
) -> Result<Evidence, BtauthError> {
    let Claimed { sender, nonce_nanos, receiver, signature } = Claimed::read(headers, audience, now)?;
    let text = evidence_text(method, target, body, nonce_nanos, &sender, receiver.as_ref());
    let wrapped = signed_wrapped(&sender, &text, &signature).ok_or(BtauthError::Signature)?;
    Ok(Evidence { hotkey: sender, nonce_nanos, text, wrapped, signature })
}

/// The one value of a header.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, BtauthError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(BtauthError::Duplicate(name));
    }
    first.map(|value| value.to_str().map_err(|_| BtauthError::Malformed(name))).transpose()
}

#[cfg(test)]
mod tests;
