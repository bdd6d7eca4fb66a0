//! The scope of a signature, `yyyymmdd/region/s3/aws4_request`, and the signing key that is derived for it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, "Calculating a
//! signature".

use aws_sigv4::sign::v4::generate_signing_key;

use crate::{
    secret::{Secret, SecretText},
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
