//! Framing towards the store: content as it is, or in `aws-chunked` with an unsigned trailer. No IO, no copies.
//!
//! Invariant: the bytes that come out are as many as `framed_bytes` said before the first one, whatever the pieces are
//! in which the content arrives.

#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use crate::body::{
    chunked::CHUNK_BYTES_MIN,
    digest::Algorithm,
    plan::{Output, Plan},
};

const CRLF_BYTES: u64 = 2;

/// Content on its way out.
#[derive(Debug)]
pub(super) struct Framer {
    /// None: content leaves as it is.
    chunks: Option<Chunks>,
    pending: Bytes,
    /// What follows all content.
    tail: Bytes,
}

#[derive(Debug)]
struct Chunks {
    chunk_bytes: u64,
    /// Content that no chunk header has declared yet.
    undeclared_bytes: u64,
    /// What the open chunk still lacks.
    open_bytes: u64,
    opened: bool,
}

impl Framer {
    pub(super) fn new(plan: &Plan) -> Self {
        let chunks = match plan.output {
            Output::Plain => None,
            Output::UnsignedTrailer { chunk_bytes } => Some(Chunks {
                chunk_bytes: chunk_bytes.max(CHUNK_BYTES_MIN),
                undeclared_bytes: plan.decoded_bytes,
                open_bytes: 0,
                opened: false,
            }),
        };
        Self { chunks, pending: Bytes::new(), tail: Bytes::new() }
    }

    /// The next content; only when [`Self::next`] has nothing left.
    pub(super) fn feed(&mut self, content: Bytes) {
        self.pending = content;
    }

    /// All content was fed; the trailer is its proven checksum.
    pub(super) fn end(&mut self, trailer: Option<(Algorithm, &str)>) {
        if let (Some(chunks), Some((algorithm, value))) = (&self.chunks, trailer) {
            let close = if chunks.opened { "\r\n" } else { "" };
            self.tail = Bytes::from(format!("{close}0\r\n{}:{value}\r\n\r\n", algorithm.header()));
        }
    }

    /// The next piece for the wire.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.pending.is_empty() {
            return Some(std::mem::take(&mut self.tail)).filter(|tail| !tail.is_empty());
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
    /// The header of the next chunk, behind the line end of the one before.
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

/// The length of `decoded_bytes` in chunks of `chunk_bytes` with that trailer.
pub(super) fn framed_bytes(decoded_bytes: u64, chunk_bytes: u64, trailer: Algorithm) -> u64 {
    let chunk_bytes = chunk_bytes.max(CHUNK_BYTES_MIN);
    let full = decoded_bytes.checked_div(chunk_bytes).unwrap_or(0);
    let last_bytes = decoded_bytes.checked_rem(chunk_bytes).unwrap_or(0);
    let last = if last_bytes == 0 { 0 } else { chunk_overhead_bytes(last_bytes) };
    let tail = format!("0\r\n{}:\r\n\r\n", trailer.header()).len().saturating_add(trailer.text_bytes());
    decoded_bytes
        .saturating_add(full.saturating_mul(chunk_overhead_bytes(chunk_bytes)))
        .saturating_add(last)
        .saturating_add(tail as u64)
}

/// Header and line ends of a chunk of that size.
fn chunk_overhead_bytes(size_bytes: u64) -> u64 {
    let digits = size_bytes.checked_ilog(16).unwrap_or(0).saturating_add(1);
    u64::from(digits).saturating_add(CRLF_BYTES).saturating_add(CRLF_BYTES)
}
