//! From a request to a verified principal; nothing else can make one.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `verifier`, `request`, `verified` | the head of a request in, a verified principal out |
//! | `form` | the same for a form |
//! | [`sigv4`] | Signature Version 4: claims, canonical form, payloads, presigned queries, POST policies |
//! | `session` | session credentials: keys, tokens, issuing and proving |
//! | [`bittensor`] | what a hotkey signs: btauth/1, the strings of the vending server, sr25519 |
//!
//! Invariants: [`Verified`] comes from [`Verifier::verify`] and `VerifiedForm` from `Verifier::verify_form`
//! alone (P3); time is an argument, nothing here reads a clock or does I/O; what a peer can make us compute
//! is bounded.

pub mod bittensor;
pub(crate) mod form;
mod request;
mod session;
pub mod sigv4;
mod verified;
mod verifier;

pub use bittensor::{
    btauth::{Audience, BtauthError},
    evidence::Evidence,
};
pub(crate) use form::VerifiedForm;
pub use request::Head;
pub(crate) use session::TTL_SECONDS_MIN as SESSION_SECONDS_MIN;
pub use session::{SessionCredentials, SessionKey, SessionKeys, SessionKeysError};
pub use sigv4::payload::{ChunkSeed, Declared, Payload};
pub use verified::Verified;
pub use verifier::{Settings, Verifier};

use crate::error::{Code, Error, Reason};

/// The one answer to a signature that is not the request's. Why it is not, the log alone says.
fn signature_mismatch(reason: Reason) -> Error {
    Error::new(
        Code::SignatureDoesNotMatch,
        "The request signature does not match. Check that access key id, secret and session token are of one \
         session, the region, the clock, and that no proxy on the way rewrites the host, the path or signed \
         headers.",
    )
    .reason(reason)
}

#[cfg(test)]
mod tests;
