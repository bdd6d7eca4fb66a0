//! What a request says of its body: the value of `x-amz-content-sha256`, understood.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.

use std::fmt;

use super::canonical::hash_of_hex;
use crate::{
    error::{Code, Error, Result},
    secret::Secret,
};

/// How the body of a verified request is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A real sha256 of the whole body, 32 bytes.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`: the signature says nothing of the body.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk signed.
    SignedChunks(ChunkSeed),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: each chunk and the trailer signed.
    SignedChunksTrailer(ChunkSeed),
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: a checksum in the trailer.
    UnsignedTrailer,
}

/// Where the signature chain of signed chunks starts.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkSeed {
    /// The signing key of the request (32 bytes, after date, region, service).
    pub signing_key: Secret,
    /// `x-amz-date` as signed, `yyyymmddThhmmssZ`.
    pub date: String,
    /// `yyyymmdd/region/s3/aws4_request`.
    pub scope: String,
    /// The request's own signature, 64 lower-case hex characters.
    pub signature: String,
}

/// Without key and signature (P51).
impl fmt::Debug for ChunkSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkSeed({})", self.scope)
    }
}

/// What a request says of its body: the value of `x-amz-content-sha256`, before anything is proven. Once the
/// signature was verified it makes a [`Payload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// 64 hex characters.
    Sha256([u8; 32]),
    /// `UNSIGNED-PAYLOAD`
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`
    SignedChunksTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`
    UnsignedTrailer,
}

impl Declared {
    /// Reads the value of `x-amz-content-sha256`; hex digits in either case, key words exactly.
    ///
    /// # Errors
    /// `NotImplemented` for the words of SigV4a (ECDSA), `InvalidArgument` for anything else.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "UNSIGNED-PAYLOAD" => return Ok(Self::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => return Ok(Self::SignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => return Ok(Self::SignedChunksTrailer),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => return Ok(Self::UnsignedTrailer),
            _ => {}
        }
        if text.starts_with("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD") {
            return Err(Error::new(
                Code::NotImplemented,
                "Chunks signed with ECDSA (SigV4a) are not supported; sign with signature version s3v4.",
            ));
        }
        hash_of_hex(text).map(Self::Sha256).ok_or_else(|| {
            Error::new(
                Code::InvalidArgument,
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER \
                 or the sha256 of the body in hex.",
            )
        })
    }

    /// The text on the wire.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Sha256(hash) => hex::encode(hash),
            Self::Unsigned => "UNSIGNED-PAYLOAD".into(),
            Self::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".into(),
            Self::SignedChunksTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".into(),
            Self::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".into(),
        }
    }

    /// Whether each chunk carries a signature, which only a shared secret can make.
    pub(crate) fn has_signed_chunks(&self) -> bool {
        matches!(self, Self::SignedChunks | Self::SignedChunksTrailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_each_word_is_understood_and_goes_round() {
        for declared in [
            Declared::Sha256([0xab; 32]),
            Declared::Unsigned,
            Declared::SignedChunks,
            Declared::SignedChunksTrailer,
            Declared::UnsignedTrailer,
        ] {
            assert_eq!(Declared::parse(&declared.text()).unwrap(), declared);
        }
        assert_eq!(Declared::parse(&"AB".repeat(32)).unwrap(), Declared::Sha256([0xab; 32]));
    }

    #[test]
    fn p4_other_words_are_refused_by_name() {
        for (text, code) in [
            ("", Code::InvalidArgument),
            ("unsigned-payload", Code::InvalidArgument),
            ("STREAMING-SOMETHING-ELSE", Code::InvalidArgument),
            ("STREAMING-UNSIGNED-PAYLOAD", Code::InvalidArgument),
            (&"ab".repeat(31), Code::InvalidArgument),
            (&"ab".repeat(33), Code::InvalidArgument),
            (&"zz".repeat(32), Code::InvalidArgument),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", Code::NotImplemented),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", Code::NotImplemented),
        ] {
            assert_eq!(Declared::parse(text).unwrap_err().code, code, "{text}");
        }
    }
}
