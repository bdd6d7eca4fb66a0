//! The plan for a body that becomes an object: how it arrives, what its content must be, and in which form it
//! leaves.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.
//!
//! Invariants:
//! - A trailer is known by its algorithm, and it is known exactly where the framing has one.
//! - A body leaves with one trailer at most: the one with which it arrived, or a checksum of this server's
//!   own where the store would be told of none.

#![deny(clippy::arithmetic_side_effects)]

use http::HeaderMap;

use crate::{
    auth::Payload,
    body::{chunked::Mode, content_check::ExpectedDigests, digest::ChecksumAlgorithm, output::Output},
    error::{Code, Error, Result},
};

/// How a body arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// As it is.
    Plain,
    /// In `aws-chunked`.
    Chunked(Mode),
}

impl Framing {
    /// How the body of a request arrives, by its `x-amz-content-sha256` and its `x-amz-trailer`.
    ///
    /// A form with a trailer needs one checksum of S3's announced, for in the unsigned form it is the only
    /// proof of the body (P6).
    ///
    /// # Errors
    /// `InvalidRequest` where a trailer is announced twice, for a form without one, not at all for a form
    /// with one, or under another name than that of a checksum.
    pub(crate) fn of(payload: &Payload, headers: &HeaderMap) -> Result<Self> {
        let announced = announced_trailer(headers)?;
        let mode = match payload {
            Payload::SignedChunksTrailer(seed) => {
                Mode::SignedChunksTrailer(seed.clone(), trailer_algorithm(announced)?)
            }
            Payload::UnsignedTrailer => Mode::UnsignedTrailer(trailer_algorithm(announced)?),
            Payload::Sha256(_) | Payload::Unsigned | Payload::SignedChunks(_) if announced.is_some() => {
                return Err(invalid(
                    "x-amz-trailer is only possible with an x-amz-content-sha256 that ends in -TRAILER.",
                ));
            }
            Payload::SignedChunks(seed) => Mode::SignedChunks(seed.clone()),
            Payload::Sha256(_) | Payload::Unsigned => return Ok(Self::Plain),
        };
        Ok(Self::Chunked(mode))
    }

    /// The checksum that follows the content, in the forms that have one.
    pub(crate) fn trailer(&self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Plain => None,
            Self::Chunked(mode) => mode.trailer(),
        }
    }
}

/// The one name in `x-amz-trailer`, in lower case.
fn announced_trailer(headers: &HeaderMap) -> Result<Option<String>> {
    let mut names = headers.get_all("x-amz-trailer").iter();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(name), None) => Ok(Some(name.to_str().unwrap_or_default().trim().to_ascii_lowercase())),
        (Some(_), Some(_)) => Err(invalid("x-amz-trailer may be there once only.")),
    }
}

fn trailer_algorithm(announced: Option<String>) -> Result<ChecksumAlgorithm> {
    let name = announced.ok_or_else(|| {
        invalid("A body with a trailer needs an x-amz-trailer header that names its checksum.")
    })?;
    ChecksumAlgorithm::of_header(&name).ok_or_else(|| {
        invalid(
            "The value specified in the x-amz-trailer header is not supported: it must be one of \
             x-amz-checksum-crc32, -crc32c, -crc64nvme, -sha1, -sha256, -sha512, -md5, -xxhash64, \
             -xxhash3, -xxhash128.",
        )
    })
}

fn invalid(message: &'static str) -> Error {
    Error::new(Code::InvalidRequest, message)
}

/// All that is known of a body before its first byte.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) framing: Framing,
    /// The exact length of the content.
    pub(super) decoded_bytes: u64,
    pub(super) expected: ExpectedDigests,
    departure: Departure,
}

/// How a body leaves. A chunk is one of `aws-chunked`, and its size counts content alone.
#[derive(Debug, Clone, Copy)]
enum Departure {
    /// As it is.
    Plain,
    /// With the trailer with which it arrived; as it is where it arrived with none.
    ClientsTrailer { chunk_bytes: u64 },
    /// With a checksum that is made here.
    OwnTrailer { algorithm: ChecksumAlgorithm, chunk_bytes: u64 },
}

impl Plan {
    /// A body that arrives in `framing` with `decoded_bytes` of content and leaves as it is.
    pub fn new(framing: Framing, decoded_bytes: u64, expected: ExpectedDigests) -> Self {
        Self { framing, decoded_bytes, expected, departure: Departure::Plain }
    }

    /// Where the body arrives with a trailer, it leaves with it as well: in chunks of `chunk_bytes`, at least
    /// 8 KiB. A body without one leaves as it is all the same.
    #[must_use]
    pub fn forward_trailer(self, chunk_bytes: u64) -> Self {
        Self { departure: Departure::ClientsTrailer { chunk_bytes }, ..self }
    }

    /// The body leaves with a checksum by `algorithm` that is made here, whether or not it arrived with one:
    /// in chunks of `chunk_bytes`, at least 8 KiB.
    #[must_use]
    pub fn add_trailer(self, algorithm: ChecksumAlgorithm, chunk_bytes: u64) -> Self {
        Self { departure: Departure::OwnTrailer { algorithm, chunk_bytes }, ..self }
    }

    /// The exact length of the content.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }

    /// The checksum that follows the content on its way in.
    pub(crate) fn trailer(&self) -> Option<ChecksumAlgorithm> {
        self.framing.trailer()
    }

    /// How the body leaves for the store.
    pub(crate) fn output(&self) -> Output {
        match (self.departure, self.trailer()) {
            (Departure::ClientsTrailer { chunk_bytes }, Some(trailer)) => {
                Output::UnsignedTrailer { trailer, chunk_bytes }
            }
            (Departure::OwnTrailer { algorithm, chunk_bytes }, Some(_) | None) => {
                Output::UnsignedTrailer { trailer: algorithm, chunk_bytes }
            }
            (Departure::ClientsTrailer { .. }, None) | (Departure::Plain, Some(_) | None) => Output::Plain,
        }
    }

    /// The `Content-Length` towards the store.
    pub fn outbound_bytes(&self) -> u64 {
        self.output().outbound_bytes(self.decoded_bytes)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::body::testing::seed;

    fn framing(payload: &Payload, trailers: &[&'static str]) -> Result<Framing, Code> {
        let mut headers = HeaderMap::new();
        for trailer in trailers {
            headers.append("x-amz-trailer", HeaderValue::from_static(trailer));
        }
        Framing::of(payload, &headers).map_err(|error| error.code)
    }

    #[test]
    fn p6_a_trailer_is_announced_where_there_is_one_and_only_there() {
        let seed = || seed("");
        let crc32 = "x-amz-checksum-crc32";
        let algorithm = ChecksumAlgorithm::Crc32;
        for (payload, with_trailer) in [
            (Payload::UnsignedTrailer, Mode::UnsignedTrailer(algorithm)),
            (Payload::SignedChunksTrailer(seed()), Mode::SignedChunksTrailer(seed(), algorithm)),
        ] {
            assert_eq!(framing(&payload, &[" X-Amz-Checksum-CRC32 "]), Ok(Framing::Chunked(with_trailer)));
            for wrong in [&[][..], &[""], &["x-amz-checksum-crc16"], &["crc32"], &[crc32, crc32]] {
                assert_eq!(framing(&payload, wrong), Err(Code::InvalidRequest), "{payload:?} {wrong:?}");
            }
        }
        for (payload, without) in [
            (Payload::Unsigned, Framing::Plain),
            (Payload::Sha256([7; 32]), Framing::Plain),
            (Payload::SignedChunks(seed()), Framing::Chunked(Mode::SignedChunks(seed()))),
        ] {
            assert_eq!(framing(&payload, &[]), Ok(without));
            for wrong in [&[crc32][..], &[""], &[crc32, crc32]] {
                assert_eq!(framing(&payload, wrong), Err(Code::InvalidRequest), "{payload:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn a_body_leaves_with_its_own_trailer_or_with_one_that_is_added() {
        let output =
            |framing| Plan::new(framing, 5, ExpectedDigests::default()).forward_trailer(9000).output();
        assert_eq!(output(Framing::Plain), Output::Plain);
        assert_eq!(output(Framing::Chunked(Mode::SignedChunks(seed("")))), Output::Plain);
        let trailer = ChecksumAlgorithm::Sha1;
        let forwarded = Output::UnsignedTrailer { trailer, chunk_bytes: 9000 };
        assert_eq!(output(Framing::Chunked(Mode::UnsignedTrailer(trailer))), forwarded);
        assert_eq!(output(Framing::Chunked(Mode::SignedChunksTrailer(seed(""), trailer))), forwarded);
        let own = Output::UnsignedTrailer { trailer: ChecksumAlgorithm::Crc32, chunk_bytes: 9000 };
        for framing in [
            Framing::Plain,
            Framing::Chunked(Mode::SignedChunks(seed(""))),
            Framing::Chunked(Mode::UnsignedTrailer(ChecksumAlgorithm::XxHash3)),
        ] {
            let plan = Plan::new(framing, 5, ExpectedDigests::default());
            assert_eq!(plan.add_trailer(ChecksumAlgorithm::Crc32, 9000).output(), own);
        }
    }
}
