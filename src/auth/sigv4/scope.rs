//! The scope of a signature, `yyyymmdd/region/s3/aws4_request`, and the signing key that is derived for it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, "Calculating a
//! signature".

use aws_lc_rs::hmac;
use aws_sigv4::sign::v4::generate_signing_key;

use super::canonical::HexHash;
use crate::{
    secret::{Secret, SecretText, constant_time_eq},
    time::UnixTime,
};

/// The service in every scope.
pub(crate) const SERVICE: &str = "s3";

/// The last word of every scope.
pub(crate) const TERMINATOR: &str = "aws4_request";

/// The scope of a signature of `date` (`yyyymmddThhmmssZ`).
pub(crate) fn scope(date: &str, region: &str) -> String {
    let day = date.split_once('T').map_or(date, |(day, _)| day);
    [day, region, SERVICE, TERMINATOR].join("/")
}

/// The signing key of one day, region and this service: 32 bytes.
pub(crate) fn signing_key(secret: &SecretText, time: UnixTime, region: &str) -> Secret {
    Secret::new(generate_signing_key(secret.expose(), time.into(), region, SERVICE).as_ref())
}

/// A signing key that signs more than once: what HMAC makes of the key alone is made once.
#[derive(Clone)]
pub(crate) struct PreparedKey(hmac::Key);

impl PreparedKey {
    pub(crate) fn new(signing_key: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, signing_key.expose()))
    }

    /// The signature over a string to sign.
    pub(crate) fn signature(&self, string_to_sign: &[u8]) -> HexHash {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.0, string_to_sign).as_ref());
        HexHash::of(&tag)
    }

    /// Whether `signature` is that of `string_to_sign`, in constant time.
    pub(crate) fn has_signed(&self, string_to_sign: &[u8], signature: &str) -> bool {
        constant_time_eq(self.signature(string_to_sign).as_str().as_bytes(), signature.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use aws_sigv4::sign::v4::calculate_signature;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn p11_a_prepared_key_signs_as_aws_does(key in any::<[u8; 32]>(), text in ".{0,300}") {
            let prepared = PreparedKey::new(&Secret::new(key));
            let theirs = calculate_signature(key, text.as_bytes());
            let ours = prepared.signature(text.as_bytes());
            prop_assert_eq!(ours.as_str(), theirs.as_str());
            prop_assert!(prepared.has_signed(text.as_bytes(), &theirs));
            let upper = theirs.to_uppercase();
            for other in [upper.as_str(), theirs.get(..63).unwrap(), ""] {
                prop_assert_eq!(prepared.has_signed(text.as_bytes(), other), other == theirs);
            }
        }
    }
}
