//! What a request says of checksums in its headers, as far as it can be judged without the body. Pure.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>. S3
//! takes one checksum for a request. Whether its value is that of the body is found out as the body streams.

use http::{HeaderMap, HeaderName};

use crate::error::{Code, Error, Result};

/// The beginning of the headers that carry a value.
const PREFIX: &str = "x-amz-checksum-";

/// Headers that begin so and carry no value.
const WITHOUT_VALUE: &[&str] = &["algorithm", "mode", "type"];

/// The algorithm that a copy or an upload in parts asks for.
static WANTED: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");

/// The algorithm of the checksum that an SDK has sent, or sends as a trailer.
static SENT: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");

/// The trailers that follow the body.
static TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");

/// S3's algorithms by their names.
const ALGORITHMS: &[&str] =
    &["CRC32", "CRC32C", "CRC64NVME", "MD5", "SHA1", "SHA256", "SHA512", "XXHASH128", "XXHASH3", "XXHASH64"];

/// Judges what the headers say of checksums.
///
/// # Errors
/// `InvalidRequest` for several checksums, for one that is not of the algorithm which is named beside it, and
/// for an algorithm that S3 does not have.
pub(super) fn check(headers: &HeaderMap) -> Result<()> {
    let mut values = headers.iter().filter_map(|(name, _)| algorithm_of(name.as_str()));
    let value = values.next();
    if values.next().is_some() {
        return Err(invalid(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.".to_owned(),
        ));
    }
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    if let Some(wanted) = text(&WANTED).filter(|wanted| !is_algorithm(wanted)) {
        return Err(invalid(format!(
            "Checksum algorithm provided is unsupported: {wanted:?}. Please try again with any of the valid \
             types: [{}]",
            ALGORITHMS.join(", ")
        )));
    }
    let trailer = text(&TRAILER).and_then(algorithm_of);
    let differs = |sent: &&str| {
        let promised = value.into_iter().chain(trailer);
        promised.into_iter().any(|promised| !promised.eq_ignore_ascii_case(sent))
    };
    match text(&SENT).filter(|sent| !is_algorithm(sent) || differs(sent)) {
        Some(_) => Err(invalid(format!("Value for {SENT} header is invalid."))),
        None => Ok(()),
    }
}

/// The algorithm whose value a header or trailer of that name carries.
pub(super) fn algorithm_of(name: &str) -> Option<&str> {
    let (beginning, algorithm) = name.split_at_checked(PREFIX.len())?;
    let carries = beginning.eq_ignore_ascii_case(PREFIX) && !WITHOUT_VALUE.contains(&algorithm);
    carries.then_some(algorithm)
}

fn is_algorithm(name: &str) -> bool {
    ALGORITHMS.iter().any(|algorithm| algorithm.eq_ignore_ascii_case(name))
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn check(pairs: &[(&'static str, &'static str)]) -> Result<(), Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        super::check(&headers).map_err(|error| error.code)
    }

    #[test]
    fn p6_a_request_has_one_checksum_of_the_algorithm_that_it_names() {
        const CRC32: (&str, &str) = ("x-amz-checksum-crc32", "AAAAAA==");
        const SHA1: (&str, &str) = ("x-amz-checksum-sha1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
        for fine in [
            &[][..],
            &[CRC32],
            &[CRC32, ("x-amz-sdk-checksum-algorithm", "CRC32")],
            &[CRC32, ("x-amz-sdk-checksum-algorithm", "crc32")],
            &[CRC32, ("x-amz-checksum-type", "FULL_OBJECT"), ("x-amz-checksum-mode", "ENABLED")],
            &[("x-amz-checksum-xxhash64", "AAAAAAAAAAA="), ("x-amz-sdk-checksum-algorithm", "XXHASH64")],
            &[("x-amz-trailer", "x-amz-checksum-crc32"), ("x-amz-sdk-checksum-algorithm", "CRC32")],
            &[("x-amz-trailer", "X-Amz-Checksum-CRC64NVME"), ("x-amz-sdk-checksum-algorithm", "CRC64NVME")],
            &[("x-amz-sdk-checksum-algorithm", "SHA256")],
            &[("x-amz-checksum-algorithm", "CRC64NVME")],
            &[("x-amz-checksum-algorithm", "SHA512")],
        ] {
            assert_eq!(check(fine), Ok(()), "{fine:?}");
        }
        for wrong in [
            &[CRC32, SHA1][..],
            &[CRC32, CRC32],
            &[CRC32, ("x-amz-sdk-checksum-algorithm", "SHA1")],
            &[CRC32, ("x-amz-sdk-checksum-algorithm", "CRC32C")],
            &[CRC32, ("x-amz-sdk-checksum-algorithm", "")],
            &[("x-amz-trailer", "x-amz-checksum-crc32"), ("x-amz-sdk-checksum-algorithm", "SHA1")],
            &[("x-amz-sdk-checksum-algorithm", "CRC16")],
            &[("x-amz-checksum-algorithm", "CRC16")],
            &[("x-amz-checksum-algorithm", "")],
        ] {
            assert_eq!(check(wrong), Err(Code::InvalidRequest), "{wrong:?}");
        }
    }
}
