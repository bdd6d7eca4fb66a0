//! What a hotkey signed when it asked for a session, kept as proof.
//!
//! Three wire forms make evidence: a request of btauth/1 (`btauth`), a string of the vending server
//! (`vending`), and a body with X-Tao headers (`tao`). Invariant: an [`Evidence`] is made only where the
//! hotkey's signature over its text was verified.

use std::fmt;

use super::{
    nonce::Nonce,
    sr25519::{self, SIGNATURE_BYTES},
};
use crate::{chain::AccountId, time::UnixTime};

/// The text that a hotkey signed, with its signature: it proves for ever that the hotkey asked for a session.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    pub(in crate::auth) hotkey: AccountId,
    /// When it was signed, by the signer's clock, in unix nanoseconds. In btauth/1 this is the nonce as well.
    pub(in crate::auth) nonce_nanos: u64,
    /// What stands in the token; `Statement` of [`crate::auth::session`] reads it back.
    pub(in crate::auth) text: String,
    /// Whether the signature is over the text inside `<Bytes>…</Bytes>`.
    pub(in crate::auth) wrapped: bool,
    pub(in crate::auth) signature: [u8; SIGNATURE_BYTES],
}

impl Evidence {
    /// Who signed.
    pub(crate) fn hotkey(&self) -> AccountId {
        self.hotkey
    }

    /// The nonce of btauth/1.
    pub(crate) fn nonce(&self) -> Nonce {
        Nonce::time(self.hotkey, self.nonce_nanos)
    }

    /// When it was signed, by the signer's clock.
    pub(crate) fn time(&self) -> UnixTime {
        UnixTime::from_nanos(self.nonce_nanos)
    }
}

/// Without the signature: nothing that proves belongs in a log (P51).
impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({} at {})", self.hotkey, self.time())
    }
}

/// Whether `signature` is `account`'s over `text`, which browser wallets wrap in `<Bytes>…</Bytes>`.
pub(in crate::auth) fn is_signed_by(
    account: &AccountId,
    text: &str,
    wrapped: bool,
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    if wrapped {
        sr25519::verify(account, format!("<Bytes>{text}</Bytes>").as_bytes(), signature)
    } else {
        sr25519::verify(account, text.as_bytes(), signature)
    }
}

/// Whether the text that `signature` is over was wrapped; `None` where `account` signed it in neither form.
/// Costs at most two sr25519 verifications.
pub(super) fn signed_wrapped(
    account: &AccountId,
    text: &str,
    signature: &[u8; SIGNATURE_BYTES],
) -> Option<bool> {
    [false, true].into_iter().find(|wrapped| is_signed_by(account, text, *wrapped, signature))
}
