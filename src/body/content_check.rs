//! The checks of a body's content: digests that run along with it, and the values they must have (P4, P6,
//! P10).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>.
//!
//! Invariant: a promised digest that was not computed, or a promised trailer that did not come, is a failed
//! check.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;

use crate::{
    auth::Payload,
    body::digest::{self, ChecksumAlgorithm, RunningDigest},
    error::{Code, Error, Result},
    secret::constant_time_eq,
};

/// The digests that a client promised before the body: what is set here is checked here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedDigests {
    /// The signed sha256 of the content.
    pub sha256: Option<[u8; 32]>,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// The `x-amz-checksum-…` headers.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

/// What the `x-amz-checksum-…` headers of a request are checksums of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChecksumHeaders {
    /// Of the request's own body.
    OfBody,
    /// Of the object that comes to be, of which the body is a description alone.
    OfObject,
}

impl ExpectedDigests {
    /// What `x-amz-content-sha256`, `Content-MD5` and the checksum headers of a request promise.
    ///
    /// # Errors
    /// `InvalidDigest` for a `Content-MD5` that is none or is there twice, `InvalidRequest` for such a
    /// checksum.
    pub(crate) fn of(payload: &Payload, headers: &HeaderMap) -> Result<Self> {
        let mut checksums = Vec::<(ChecksumAlgorithm, Vec<u8>)>::new();
        let expected = Self::without_checksum_headers(payload, headers)?;
        for (name, value) in headers {
            let Some(algorithm) = ChecksumAlgorithm::of_header(name.as_str()) else { continue };
            let invalid = |message: String| Error::new(Code::InvalidRequest, message);
            let value = (value.to_str().ok().and_then(|text| algorithm.parse(text)))
                .ok_or_else(|| invalid(format!("Value for {name} header is invalid.")))?;
            if checksums.iter().any(|(other, _)| *other == algorithm) {
                return Err(invalid(format!("The header {name} may be there once only.")));
            }
            checksums.push((algorithm, value));
        }
        Ok(Self { checksums, ..expected })
    }

    /// What `x-amz-content-sha256` and `Content-MD5` promise.
    fn without_checksum_headers(payload: &Payload, headers: &HeaderMap) -> Result<Self> {
        let sha256 = match payload {
            Payload::Sha256(sha256) => Some(*sha256),
            Payload::Unsigned
            | Payload::SignedChunks(_)
            | Payload::SignedChunksTrailer(_)
            | Payload::UnsignedTrailer => None,
        };
        Ok(Self { sha256, md5: content_md5(headers)?, checksums: Vec::new() })
    }
}

fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>> {
    let mut values = headers.get_all("content-md5").iter();
    let Some(text) = values.next() else { return Ok(None) };
    match (STANDARD.decode(text.as_bytes()).ok().and_then(|md5| md5.try_into().ok()), values.next()) {
        (Some(md5), None) => Ok(Some(md5)),
        (None, _) | (_, Some(_)) => Err(Error::new(
            Code::InvalidDigest,
            "The Content-MD5 you specified was invalid: it must be the base64 of the digest.",
        )),
    }
}

/// Checks a plain body that is there as a whole against all that its request promises of it.
///
/// # Errors
/// Those of [`ExpectedDigests::of`], `XAmzContentSHA256Mismatch`, `BadDigest`; `InternalError` for a chunked
/// body, whose bytes are not its content.
pub(crate) fn check_whole(
    payload: &Payload,
    headers: &HeaderMap,
    checksums: ChecksumHeaders,
    content: &[u8],
) -> Result<()> {
    match payload {
        Payload::Sha256(_) | Payload::Unsigned => {}
        Payload::SignedChunks(_) | Payload::SignedChunksTrailer(_) | Payload::UnsignedTrailer => {
            return Err(Error::internal("a chunked body cannot be checked undecoded"));
        }
    }
    let expected = match checksums {
        ChecksumHeaders::OfBody => ExpectedDigests::of(payload, headers)?,
        ChecksumHeaders::OfObject => ExpectedDigests::without_checksum_headers(payload, headers)?,
    };
    let mut check = ContentCheck::new(expected, None, None);
    check.update(content);
    check.verify(None).map(drop)
}

/// The digests of one body on its way, and what they must be at its end.
pub(super) struct ContentCheck {
    expected: ExpectedDigests,
    /// The algorithm of the trailer that is to come.
    trailer: Option<ChecksumAlgorithm>,
    /// One for each algorithm that is needed.
    checksums: Vec<(ChecksumAlgorithm, RunningDigest)>,
    md5: Option<RunningDigest>,
}

impl ContentCheck {
    /// Starts the digests that are needed: to check what was promised, the trailer that is to come, and
    /// `added`, with which the content goes on.
    pub(super) fn new(
        expected: ExpectedDigests,
        trailer: Option<ChecksumAlgorithm>,
        added: Option<ChecksumAlgorithm>,
    ) -> Self {
        let needed = (expected.sha256.map(|_| ChecksumAlgorithm::Sha256).into_iter())
            .chain(expected.checksums.iter().map(|(algorithm, _)| *algorithm))
            .chain(trailer)
            .chain(added);
        let mut checksums: Vec<(ChecksumAlgorithm, RunningDigest)> = Vec::new();
        for algorithm in needed {
            if !checksums.iter().any(|(started, _)| *started == algorithm) {
                checksums.push((algorithm, RunningDigest::new(algorithm)));
            }
        }
        let md5 = expected.md5.map(|_| RunningDigest::md5());
        Self { expected, trailer, checksums, md5 }
    }

    /// Takes in the next bytes of content.
    pub(super) fn update(&mut self, content: &[u8]) {
        for (_, running) in &mut self.checksums {
            running.update(content);
        }
        if let Some(running) = &mut self.md5 {
            running.update(content);
        }
    }

    /// Whether the content is what was promised, given the value of the trailer where one came; gives the
    /// digests that were computed.
    pub(super) fn verify(self, trailer: Option<&str>) -> Result<Digests> {
        let digests = Digests(
            self.checksums.into_iter().map(|(algorithm, running)| (algorithm, running.finish())).collect(),
        );
        let digest_of = |algorithm| digests.of(algorithm).unwrap_or_default();

        if let Some(signed) = &self.expected.sha256 {
            let computed = digest_of(ChecksumAlgorithm::Sha256);
            if !constant_time_eq(signed, computed) {
                return Err(sha256_mismatch(signed, computed));
            }
        }
        if let Some(expected) = &self.expected.md5 {
            let computed = self.md5.map(RunningDigest::finish).unwrap_or_default();
            if !constant_time_eq(expected, &computed) {
                return Err(md5_mismatch(expected, &computed));
            }
        }
        for (algorithm, expected) in &self.expected.checksums {
            if !constant_time_eq(expected, digest_of(*algorithm)) {
                return Err(checksum_mismatch(*algorithm));
            }
        }
        if let Some(algorithm) = self.trailer {
            let expected = algorithm.parse(trailer.unwrap_or_default()).ok_or_else(|| {
                Error::new(
                    Code::InvalidRequest,
                    format!("Value for {} trailing header is invalid.", algorithm.header()),
                )
            })?;
            if !constant_time_eq(&expected, digest_of(algorithm)) {
                return Err(checksum_mismatch(algorithm));
            }
        }
        Ok(digests)
    }
}

/// The digests of content that is what was promised.
pub(super) struct Digests(Vec<(ChecksumAlgorithm, Vec<u8>)>);

impl Digests {
    fn of(&self, algorithm: ChecksumAlgorithm) -> Option<&[u8]> {
        self.0.iter().find(|(computed, _)| *computed == algorithm).map(|(_, digest)| digest.as_slice())
    }

    /// The value of the header or trailer of that algorithm; none where it was not computed.
    pub(super) fn value(&self, algorithm: ChecksumAlgorithm) -> Option<String> {
        self.of(algorithm).map(digest::to_base64)
    }
}

fn sha256_mismatch(signed: &[u8], computed: &[u8]) -> Error {
    Error::new(
        Code::XAmzContentSHA256Mismatch,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
    .element("ClientComputedContentSHA256", hex::encode(signed))
    .element("S3ComputedContentSHA256", hex::encode(computed))
}

fn md5_mismatch(expected: &[u8], computed: &[u8]) -> Error {
    Error::new(Code::BadDigest, "The Content-MD5 you specified did not match what we received.")
        .element("ExpectedDigest", hex::encode(expected))
        .element("CalculatedDigest", digest::to_base64(computed))
}

fn checksum_mismatch(algorithm: ChecksumAlgorithm) -> Error {
    Error::new(
        Code::BadDigest,
        format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
    )
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::body::testing::seed;

    const MD5_OF_HELLO: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const CRC32_OF_HELLO: &str = "NhCmhg==";
    const OTHER_CRC32: &str = "AAAAAA==";
    const CRC32: &str = "x-amz-checksum-crc32";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn check(payload: &Payload, pairs: &[(&'static str, &'static str)]) -> Result<(), Code> {
        check_whole(payload, &headers(pairs), ChecksumHeaders::OfBody, b"hello").map_err(|error| error.code)
    }

    #[test]
    fn p6_digests_in_headers_are_held_to() {
        let check = |pairs: &[_]| check(&Payload::Unsigned, pairs);
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("content-md5", MD5_OF_HELLO), (CRC32, CRC32_OF_HELLO)]), Ok(()));
        assert_eq!(check(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]), Err(Code::BadDigest));
        assert_eq!(check(&[(CRC32, OTHER_CRC32)]), Err(Code::BadDigest));
    }

    #[test]
    fn p6_a_digest_that_is_none_or_stands_twice_is_refused() {
        let check = |pairs: &[_]| check(&Payload::Unsigned, pairs);
        for md5 in ["", "hello", CRC32_OF_HELLO] {
            assert_eq!(check(&[("content-md5", md5)]), Err(Code::InvalidDigest), "{md5:?}");
        }
        let twice = [("content-md5", MD5_OF_HELLO), ("content-md5", MD5_OF_HELLO)];
        assert_eq!(check(&twice), Err(Code::InvalidDigest));
        for value in ["", "hello", MD5_OF_HELLO] {
            assert_eq!(check(&[(CRC32, value)]), Err(Code::InvalidRequest), "{value:?}");
        }
        let twice = [(CRC32, CRC32_OF_HELLO), (CRC32, CRC32_OF_HELLO)];
        assert_eq!(check(&twice), Err(Code::InvalidRequest));
        // A header that only begins like a checksum is none.
        assert_eq!(check(&[("x-amz-checksum-type", "FULL_OBJECT")]), Ok(()));
    }

    #[test]
    fn p6_checksums_of_an_object_are_not_those_of_the_document_that_describes_it() {
        let check = |payload: &Payload, pairs: &[_]| {
            let checked = check_whole(payload, &headers(pairs), ChecksumHeaders::OfObject, b"hello");
            checked.map_err(|error| error.code)
        };
        for value in [OTHER_CRC32, CRC32_OF_HELLO, "AAAAAA==-3"] {
            assert_eq!(check(&Payload::Unsigned, &[(CRC32, value)]), Ok(()));
        }
        assert_eq!(
            check(&Payload::Unsigned, &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]),
            Err(Code::BadDigest)
        );
        assert_eq!(check(&Payload::Sha256([0; 32]), &[]), Err(Code::XAmzContentSHA256Mismatch));
    }

    #[test]
    fn p4_a_chunked_body_is_never_checked_undecoded() {
        for payload in [
            Payload::UnsignedTrailer,
            Payload::SignedChunks(seed("")),
            Payload::SignedChunksTrailer(seed("")),
        ] {
            assert_eq!(check(&payload, &[]), Err(Code::InternalError));
        }
        assert_eq!(check(&Payload::Sha256([0; 32]), &[]), Err(Code::XAmzContentSHA256Mismatch));
    }

    #[test]
    fn p6_a_trailer_that_did_not_come_is_a_failed_check() {
        let verify = |trailer| {
            let mut check =
                ContentCheck::new(ExpectedDigests::default(), Some(ChecksumAlgorithm::Crc32), None);
            check.update(b"hello");
            check.verify(trailer).map(drop).map_err(|error| error.code)
        };
        assert_eq!(verify(Some(CRC32_OF_HELLO)), Ok(()));
        assert_eq!(verify(Some(OTHER_CRC32)), Err(Code::BadDigest));
        assert_eq!(verify(Some("")), Err(Code::InvalidRequest));
        assert_eq!(verify(None), Err(Code::InvalidRequest));
    }
}
