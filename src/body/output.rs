//! The form in which a body leaves for the store: content as it is, or `aws-chunked` with an unsigned
//! trailer. No IO, no copies of content.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>.
//!
//! Invariant: as many bytes come out as [`Output::outbound_bytes`] said before the first one, however the
//! content is split into pieces.

#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use crate::body::{chunked::CHUNK_BYTES_MIN, digest::ChecksumAlgorithm};

const CRLF_BYTES: u64 = 2;

/// How a body leaves for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// As it is.
    Plain,
    /// In `aws-chunked` as `STREAMING-UNSIGNED-PAYLOAD-TRAILER`, with a checksum of the content as trailer.
    UnsignedTrailer {
        /// The algorithm of that checksum.
        trailer: ChecksumAlgorithm,
        /// Content of each chunk but the last; under [`CHUNK_BYTES_MIN`], S3's own bound, it counts as that
        /// bound.
        chunk_bytes: u64,
    },
}

impl Output {
    /// The checksum that follows the content on its way out.
    pub(super) fn trailer(self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::Plain => None,
            Self::UnsignedTrailer { trailer, .. } => Some(trailer),
        }
    }

    /// The length of `decoded_bytes` of content in this form: the `Content-Length` towards the store.
    pub(super) fn outbound_bytes(self, decoded_bytes: u64) -> u64 {
        let (trailer, chunk_bytes) = match self {
            Self::Plain => return decoded_bytes,
            Self::UnsignedTrailer { trailer, chunk_bytes } => (trailer, chunk_bytes.max(CHUNK_BYTES_MIN)),
        };
        let full_chunks = decoded_bytes.checked_div(chunk_bytes).unwrap_or(0);
        let last_bytes = decoded_bytes.checked_rem(chunk_bytes).unwrap_or(0);
        let last_overhead_bytes = if last_bytes == 0 { 0 } else { chunk_overhead_bytes(last_bytes) };
        let end = format!("0\r\n{}:\r\n\r\n", trailer.header()).len().saturating_add(trailer.base64_bytes());
        decoded_bytes
            .saturating_add(full_chunks.saturating_mul(chunk_overhead_bytes(chunk_bytes)))
            .saturating_add(last_overhead_bytes)
            .saturating_add(end as u64)
    }
}

/// The length of the header and the line ends of a chunk of that size.
fn chunk_overhead_bytes(size_bytes: u64) -> u64 {
    let digits = size_bytes.checked_ilog(16).unwrap_or(0).saturating_add(1);
    u64::from(digits).saturating_add(CRLF_BYTES).saturating_add(CRLF_BYTES)
}

/// Writes content in the form of an [`Output`].
#[derive(Debug)]
pub(super) struct OutputEncoder {
    /// None: content leaves as it is.
    chunks: Option<Chunks>,
    /// Content that was fed and has not left yet.
    pending: Bytes,
    /// The end of the chunked form, once all content was fed.
    end: Bytes,
}

#[derive(Debug)]
struct Chunks {
    trailer: ChecksumAlgorithm,
    chunk_bytes: u64,
    /// Content that no chunk header has declared yet.
    undeclared_bytes: u64,
    /// What the open chunk still lacks.
    open_bytes: u64,
    /// Whether any chunk was opened.
    opened: bool,
}

impl OutputEncoder {
    pub(super) fn new(output: Output, decoded_bytes: u64) -> Self {
        let chunks = match output {
            Output::Plain => None,
            Output::UnsignedTrailer { trailer, chunk_bytes } => Some(Chunks {
                trailer,
                chunk_bytes: chunk_bytes.max(CHUNK_BYTES_MIN),
                undeclared_bytes: decoded_bytes,
                open_bytes: 0,
                opened: false,
            }),
        };
        Self { chunks, pending: Bytes::new(), end: Bytes::new() }
    }

    /// Takes the next content; only when [`Self::next`] has nothing left.
    pub(super) fn feed(&mut self, content: Bytes) {
        self.pending = content;
    }

    /// All content was fed. The checksum of the verified content follows where the form has one.
    pub(super) fn finish(&mut self, trailer: Option<&str>) {
        if let (Some(chunks), Some(value)) = (&self.chunks, trailer) {
            let close = if chunks.opened { "\r\n" } else { "" };
            self.end = Bytes::from(format!("{close}0\r\n{}:{value}\r\n\r\n", chunks.trailer.header()));
        }
    }

    /// The next piece for the wire.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.pending.is_empty() {
            return Some(std::mem::take(&mut self.end)).filter(|end| !end.is_empty());
        }
        let Some(chunks) = &mut self.chunks else {
            return Some(std::mem::take(&mut self.pending));
        };
        if chunks.open_bytes == 0 {
            return chunks.open();
        }
        let bytes = usize::try_from(chunks.open_bytes)
            .map_or(self.pending.len(), |open| open.min(self.pending.len()));
        let piece = self.pending.split_to(bytes);
        chunks.open_bytes = chunks.open_bytes.saturating_sub(piece.len() as u64);
        Some(piece)
    }
}

impl Chunks {
    /// The header of the next chunk, after the line end of the one before.
    fn open(&mut self) -> Option<Bytes> {
        let size_bytes = self.chunk_bytes.min(self.undeclared_bytes);
        if size_bytes == 0 {
            return None;
        }
        let close = if self.opened { "\r\n" } else { "" };
        self.opened = true;
        self.open_bytes = size_bytes;
        self.undeclared_bytes = self.undeclared_bytes.saturating_sub(size_bytes);
        Some(Bytes::from(format!("{close}{size_bytes:x}\r\n")))
    }
}
