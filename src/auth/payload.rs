//! What a verified request says of its body: the value of `x-amz-content-sha256`, understood.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.

use crate::secret::Secret;

/// How the body is to be proven.
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

/// From which the signature chain of signed chunks starts.
#[derive(Debug, Clone, PartialEq, Eq)]
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
