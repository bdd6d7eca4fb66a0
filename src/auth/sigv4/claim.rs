//! Who says to have signed, when and for which scope: what requests and forms have in common. Nothing in it
//! is proven.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>.

use std::borrow::Cow;

use super::scope::{SERVICE, TERMINATOR};
use crate::{
    auth::{bittensor::sr25519::SIGNATURE_BYTES, signature_mismatch},
    chain::AccountId,
    error::{Code, Error, Reason, Result},
    split::split,
    time::UnixTime,
};

/// How far a client's clock may be off, in seconds: S3's own bound.
pub(crate) const SKEW_SECONDS_MAX: u64 = 15 * 60;

/// Longest life of a presigned URL, in seconds: S3's own bound, seven days.
pub(crate) const PRESIGNED_SECONDS_MAX: u64 = 604_800;

/// What a credential must look like, for errors.
pub(crate) const CREDENTIAL_FORM: &str =
    "the Credential is not ACCESS_KEY_ID/yyyymmdd/REGION/s3/aws4_request";

/// How the signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// `AWS4-HMAC-SHA256` with session credentials.
    Hmac,
    /// `AWS4-SR25519-SHA256`, by the hotkey itself.
    Sr25519,
}

impl Scheme {
    /// The algorithm's name on the wire.
    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Self::Hmac => "AWS4-HMAC-SHA256",
            Self::Sr25519 => "AWS4-SR25519-SHA256",
        }
    }

    /// Length of a signature in lower-case hex characters.
    pub(crate) fn signature_chars(self) -> usize {
        match self {
            Self::Hmac => 64,
            Self::Sr25519 => 128,
        }
    }

    pub(crate) fn named(algorithm: &str) -> Option<Self> {
        [Self::Hmac, Self::Sr25519].into_iter().find(|scheme| scheme.algorithm() == algorithm)
    }
}

/// What a request or a form claims; borrowed from it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Claim<'a> {
    /// How it says to be signed.
    pub(crate) scheme: Scheme,
    /// The access key id.
    pub(crate) access_key: &'a str,
    /// `yyyymmdd/region/s3/aws4_request`; checked by [`Claim::check_scope`].
    pub(crate) scope: &'a str,
    /// Lower-case hex characters; 64 or 128 of them in a request.
    pub(crate) signature: &'a str,
    /// When it says to be signed, `yyyymmddThhmmssZ`.
    pub(crate) date: Cow<'a, str>,
    /// The same, understood.
    pub(crate) time: UnixTime,
    /// The session token.
    pub(crate) token: Option<&'a str>,
}

impl Claim<'_> {
    /// The access key id as the hotkey that it is where the hotkey signs itself.
    ///
    /// # Errors
    /// `InvalidAccessKeyId`.
    pub(crate) fn hotkey(&self) -> Result<AccountId> {
        hotkey_of(self.access_key)
    }

    /// The signature as the one of a hotkey.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch` where it is not 64 bytes in hex.
    pub(crate) fn sr25519_signature(&self) -> Result<[u8; SIGNATURE_BYTES]> {
        let mut signature = [0; SIGNATURE_BYTES];
        hex::decode_to_slice(self.signature, &mut signature)
            .map_err(|_| signature_mismatch(Reason::SignatureUnreadable))?;
        Ok(signature)
    }

    /// Checks that the scope is the day of the claim, `region` and S3 (P9); `malformed` makes the error of
    /// the place where the signature stands.
    ///
    /// # Errors
    /// What `malformed` makes, with the right `Region` where that is what differs.
    pub(crate) fn check_scope(&self, region: &str, malformed: impl Fn(&str) -> Error) -> Result<()> {
        let mut parts = split(self.scope, b'/');
        let (Some(day), Some(claimed_region), Some(service), Some(TERMINATOR), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed(CREDENTIAL_FORM));
        };
        if !self.date.strip_prefix(day).is_some_and(|rest| rest.starts_with('T')) {
            return Err(malformed("the date of the Credential is not the date of the request"));
        }
        if service != SERVICE {
            return Err(malformed("the service of the Credential is wrong; expecting 's3'"));
        }
        if claimed_region != region {
            return Err(
                malformed(&format!("the region is wrong; expecting '{region}'")).element("Region", region)
            );
        }
        Ok(())
    }

    /// Checks that `now` is within the skew that clocks may have (P9).
    ///
    /// # Errors
    /// `RequestTimeTooSkewed` with `ServerTime`.
    pub(crate) fn check_skew(&self, now: UnixTime) -> Result<()> {
        if now.seconds().abs_diff(self.time.seconds()) <= SKEW_SECONDS_MAX {
            return Ok(());
        }
        Err(Error::new(
            Code::RequestTimeTooSkewed,
            "The difference between the request time and the current time is too large.",
        )
        .element("RequestTime", self.date.as_ref())
        .element("ServerTime", now.to_string())
        .element("MaxAllowedSkewMilliseconds", (SKEW_SECONDS_MAX * 1000).to_string()))
    }

    /// Checks that `now` is within `expires_seconds` of the claim's time (P9).
    ///
    /// # Errors
    /// `AccessDenied` before that time and after it.
    pub(crate) fn check_expiry(&self, expires_seconds: u64, now: UnixTime) -> Result<()> {
        if self.time > now.plus_seconds(SKEW_SECONDS_MAX) {
            return Err(Error::new(Code::AccessDenied, "Request is not yet valid")
                .reason(Reason::PresignedTooEarly)
                .element("RequestTime", self.time.to_string())
                .element("ServerTime", now.to_string()));
        }
        let expires_at = self.time.plus_seconds(expires_seconds);
        if now > expires_at {
            return Err(Error::new(Code::AccessDenied, "Request has expired")
                .reason(Reason::PresignedExpired)
                .element("X-Amz-Expires", expires_seconds.to_string())
                .element("Expires", expires_at.to_string())
                .element("ServerTime", now.to_string()));
        }
        Ok(())
    }
}

/// The hotkey that an access key id is.
///
/// # Errors
/// `InvalidAccessKeyId`.
pub(crate) fn hotkey_of(access_key: &str) -> Result<AccountId> {
    access_key.parse().map_err(|error| {
        Error::new(
            Code::InvalidAccessKeyId,
            format!("The AWS Access Key Id must be a hotkey, and this is {error}."),
        )
    })
}
