//! What a body is to be: how it arrives, what it has to prove, and in which form it leaves.

#![deny(clippy::arithmetic_side_effects)]

use crate::{
    auth::Payload,
    body::{chunked, digest::Algorithm, frame, proof::Proof},
    error::{Code, Error, Result},
};

/// How the body arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// As it is.
    Plain,
    /// In `aws-chunked`.
    Chunked(chunked::Mode),
}

/// How the body leaves for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// As it is.
    Plain,
    /// In `aws-chunked` as `STREAMING-UNSIGNED-PAYLOAD-TRAILER`, with the client's own checksum as trailer.
    UnsignedTrailer {
        /// Content of each chunk but the last; at least [`chunked::CHUNK_BYTES_MIN`], S3's own bound.
        chunk_bytes: u64,
    },
}

/// All that is promised of a body before its first byte.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How it arrives.
    pub framing: Framing,
    /// Its exact length, decoded.
    pub decoded_bytes: u64,
    /// The sha256 of the decoded bytes that was signed; to be checked here.
    pub sha256: Option<[u8; 32]>,
    /// Its `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// Its checksums as told in headers; to be checked here.
    pub checksums: Vec<(Algorithm, Vec<u8>)>,
    /// The checksum that `x-amz-trailer` announces.
    pub trailer: Option<Algorithm>,
    /// How it leaves.
    pub output: Output,
}

impl Framing {
    /// How a body with that `x-amz-content-sha256` arrives.
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Sha256(_) | Payload::Unsigned => Self::Plain,
            Payload::SignedChunks(seed) => Self::Chunked(chunked::Mode::SignedChunks(seed.clone())),
            Payload::SignedChunksTrailer(seed) => {
                Self::Chunked(chunked::Mode::SignedChunksTrailer(seed.clone()))
            }
            Payload::UnsignedTrailer => Self::Chunked(chunked::Mode::UnsignedTrailer),
        }
    }
}

impl Plan {
    /// A body that arrives as `payload` says and leaves as it is, of `decoded_bytes`; a signed sha256 is to be checked.
    pub fn new(payload: &Payload, decoded_bytes: u64) -> Self {
        Self {
            framing: Framing::of(payload),
            decoded_bytes,
            sha256: match payload {
                Payload::Sha256(sha256) => Some(*sha256),
                Payload::Unsigned
                | Payload::SignedChunks(_)
                | Payload::SignedChunksTrailer(_)
                | Payload::UnsignedTrailer => None,
            },
            md5: None,
            checksums: Vec::new(),
            trailer: None,
            output: Output::Plain,
        }
    }

    /// The `Content-Length` towards the store.
    pub fn outbound_bytes(&self) -> u64 {
        match (self.output, self.trailer) {
            (Output::UnsignedTrailer { chunk_bytes }, Some(trailer)) => {
                frame::framed_bytes(self.decoded_bytes, chunk_bytes, trailer)
            }
            (Output::UnsignedTrailer { .. } | Output::Plain, _) => self.decoded_bytes,
        }
    }

    /// Proves a body that is there as a whole and was not chunked.
    pub fn prove(&self, content: &[u8]) -> Result<()> {
        if self.framing != Framing::Plain {
            return Err(Error::internal("a chunked body cannot be proven undecoded"));
        }
        let mut proof = Proof::new(self);
        proof.update(content);
        proof.verify(None)
    }

    /// Refuses what does not fit together.
    pub(super) fn check(&self) -> Result<()> {
        use chunked::Mode;
        let announced = self.trailer.is_some();
        match &self.framing {
            Framing::Plain | Framing::Chunked(Mode::SignedChunks(_)) if announced => Err(Error::new(
                Code::InvalidRequest,
                "x-amz-trailer is only possible with an x-amz-content-sha256 that ends in -TRAILER.",
            )),
            Framing::Chunked(Mode::SignedChunksTrailer(_)) if !announced => Err(Error::new(
                Code::MalformedTrailerError,
                "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER needs an x-amz-trailer header that names a checksum.",
            )),
            Framing::Plain | Framing::Chunked(_) => match self.output {
                Output::UnsignedTrailer { .. } if !announced => {
                    Err(Error::internal("a trailer towards the store needs one from the client"))
                }
                Output::UnsignedTrailer { .. } | Output::Plain => Ok(()),
            },
        }
    }
}
