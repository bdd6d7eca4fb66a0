//! `aws-chunked`: the three streaming forms of a request body, decoded without IO, copies or clocks (P4, P8).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>. The grammar:
//! ```text
//! body      = *chunk last tail                       end of input
//! chunk     = size [";chunk-signature=" 64HEX] CRLF  size bytes  CRLF
//! last      = 1*"0" [";chunk-signature=" 64HEX] CRLF
//! tail      = [name ":" value eol] ["x-amz-trailer-signature:" 64HEX eol] [CRLF]
//! eol       = CRLF / LF CRLF                         ; the second is minio-go's, which AWS takes
//! ```
//! Signatures are there in the signed forms and only there. The trailer is there in the forms that have one,
//! under the name that the request announced. The closing CRLF is optional: clients differ, and nothing
//! depends on it.
//!
//! Invariants:
//! - The result is the same however the input is split.
//! - What [`Decoder::decode`] yields is *unverified* until [`Decoder::finish`] has returned `Ok`; the end of
//!   a chunk whose signature is wrong is never yielded. The checksum in a trailer is for the caller to
//!   compare.
//! - Decoded bytes never exceed the declared length, and at `Ok` they equal it.
//! - Memory is one line or one tail: 128 and 1024 bytes at most.
//! - After an error the decoder only fails.

#![deny(clippy::arithmetic_side_effects)]

use std::mem;

use bytes::Bytes;

use crate::{
    auth::ChunkSeed,
    body::{
        digest::ChecksumAlgorithm,
        failure::{incomplete, too_long},
    },
    error::{Code, Error, Result},
};
use signature_chain::{Signature, SignatureChain, parse_signature};

mod signature_chain;

/// The longest chunk header: 16 hex digits, `;chunk-signature=`, 64 hex digits and CRLF are 99.
const CHUNK_LINE_BYTES_MAX: usize = 128;

/// The longest tail: the longest checksum trailer and a signature are 168; the rest is for white space.
const TAIL_BYTES_MAX: usize = 1024;

/// S3's smallest chunk, except for the last.
pub(super) const CHUNK_BYTES_MIN: u64 = 8 * 1024;

/// A u64 has no more hexadecimal digits.
const SIZE_DIGITS_MAX: usize = 16;

const CHUNK_SIGNATURE: &[u8] = b"chunk-signature=";
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature";

/// Which of the three forms, with the algorithm of the trailer where the form has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    SignedChunks(ChunkSeed),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`.
    SignedChunksTrailer(ChunkSeed, ChecksumAlgorithm),
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedTrailer(ChecksumAlgorithm),
}

impl Mode {
    /// The checksum in the trailer.
    pub(super) fn trailer(&self) -> Option<ChecksumAlgorithm> {
        match self {
            Self::SignedChunks(_) => None,
            Self::SignedChunksTrailer(_, algorithm) | Self::UnsignedTrailer(algorithm) => Some(*algorithm),
        }
    }
}

/// The decoder of one body.
pub struct Decoder {
    state: State,
    checks: Checks,
    /// Decoded bytes that are still to be declared by chunks.
    undeclared_bytes: u64,
    /// Whether a chunk came that may only be the last.
    short_chunk_seen: bool,
    /// The line or tail that is being gathered.
    gathered: Vec<u8>,
}

/// A [`Mode`] at work: what chunks and tail must carry.
enum Checks {
    Chunks(SignatureChain),
    ChunksAndTrailer(SignatureChain, ChecksumAlgorithm),
    Trailer(ChecksumAlgorithm),
}

impl Checks {
    /// The chain of signatures, in the signed forms.
    fn chain(&mut self) -> Option<&mut SignatureChain> {
        match self {
            Self::Chunks(chain) | Self::ChunksAndTrailer(chain, _) => Some(chain),
            Self::Trailer(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    ChunkLine,
    Data { left_bytes: u64 },
    DataCarriageReturn,
    DataLineFeed,
    Tail,
    Failed,
}

impl Decoder {
    /// A decoder for `decoded_bytes` of content.
    pub fn new(mode: Mode, decoded_bytes: u64) -> Self {
        Self {
            state: State::ChunkLine,
            checks: match mode {
                Mode::SignedChunks(seed) => Checks::Chunks(SignatureChain::new(seed)),
                Mode::SignedChunksTrailer(seed, algorithm) => {
                    Checks::ChunksAndTrailer(SignatureChain::new(seed), algorithm)
                }
                Mode::UnsignedTrailer(algorithm) => Checks::Trailer(algorithm),
            },
            undeclared_bytes: decoded_bytes,
            short_chunk_seen: false,
            gathered: Vec::new(),
        }
    }

    /// Takes the next content from the front of `input`; none when all of it is used up.
    pub fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>> {
        while !input.is_empty() {
            // Whatever returns early leaves the decoder failed.
            match mem::replace(&mut self.state, State::Failed) {
                State::ChunkLine => self.state = self.chunk_line(input)?,
                State::Data { left_bytes } => {
                    let content = take(input, left_bytes);
                    self.state = self.data(&content, left_bytes)?;
                    return Ok(Some(content));
                }
                State::DataCarriageReturn => self.state = expect(input, b'\r', State::DataLineFeed)?,
                State::DataLineFeed => self.state = expect(input, b'\n', State::ChunkLine)?,
                State::Tail => self.state = self.tail(input)?,
                State::Failed => return Err(already_failed()),
            }
        }
        Ok(None)
    }

    /// The input is at its end: whether the body was complete and every signature right; and the trailer's
    /// value.
    pub fn finish(&mut self) -> Result<Option<String>> {
        match mem::replace(&mut self.state, State::Failed) {
            State::Tail => {
                let tail = mem::take(&mut self.gathered);
                self.parse_tail(&tail)
            }
            State::ChunkLine | State::Data { .. } | State::DataCarriageReturn | State::DataLineFeed => {
                Err(incomplete().detail("the chunked body ended before its last chunk"))
            }
            State::Failed => Err(already_failed()),
        }
    }

    fn chunk_line(&mut self, input: &mut Bytes) -> Result<State> {
        let room_bytes = CHUNK_LINE_BYTES_MAX.saturating_sub(self.gathered.len());
        let window_bytes = room_bytes.min(input.len());
        let line_end = input.iter().take(window_bytes).position(|byte| *byte == b'\n');
        let taken = input.split_to(line_end.map_or(window_bytes, |at| at.saturating_add(1)));
        self.gathered.extend_from_slice(&taken);
        if line_end.is_some() {
            let line = mem::take(&mut self.gathered);
            let state = self.open_chunk(&line)?;
            // The allocation serves the next line.
            self.gathered = line;
            self.gathered.clear();
            return Ok(state);
        }
        if self.gathered.len() >= CHUNK_LINE_BYTES_MAX {
            return Err(malformed("a chunk header is too long"));
        }
        Ok(State::ChunkLine)
    }

    fn open_chunk(&mut self, line: &[u8]) -> Result<State> {
        let line =
            line.strip_suffix(b"\r\n").ok_or_else(|| malformed("a chunk header does not end in CRLF"))?;
        let size_bytes = match self.checks.chain() {
            None => parse_size(line)?,
            Some(chain) => {
                let at = line.iter().position(|byte| *byte == b';');
                let (size, extension) = at
                    .and_then(|at| line.split_at_checked(at))
                    .ok_or_else(|| malformed("a chunk has no signature"))?;
                let signature = (extension.get(1..))
                    .and_then(|extension| extension.strip_prefix(CHUNK_SIGNATURE))
                    .and_then(parse_signature)
                    .ok_or_else(|| {
                        malformed("a chunk signature is not chunk-signature= and 64 hex digits")
                    })?;
                chain.open_chunk(signature);
                parse_size(size)?
            }
        };
        if size_bytes == 0 { self.last_chunk() } else { self.data_chunk(size_bytes) }
    }

    fn data_chunk(&mut self, size_bytes: u64) -> Result<State> {
        // Unsigned chunks cost little and are never passed on as they are, so S3's minimum would protect
        // nothing there.
        if self.short_chunk_seen && self.checks.chain().is_some() {
            return Err(Error::new(
                Code::InvalidChunkSizeError,
                "Only the last chunk is allowed to have a size less than 8192 bytes.",
            ));
        }
        self.short_chunk_seen = size_bytes < CHUNK_BYTES_MIN;
        self.undeclared_bytes = self.undeclared_bytes.checked_sub(size_bytes).ok_or_else(too_long)?;
        Ok(State::Data { left_bytes: size_bytes })
    }

    fn last_chunk(&mut self) -> Result<State> {
        if self.undeclared_bytes > 0 {
            return Err(incomplete().detail("the last chunk came before the declared length"));
        }
        if let Some(chain) = self.checks.chain() {
            chain.verify_chunk()?;
        }
        Ok(State::Tail)
    }

    fn data(&mut self, content: &Bytes, left_bytes: u64) -> Result<State> {
        let left_bytes = left_bytes.saturating_sub(content.len() as u64);
        if let Some(chain) = self.checks.chain() {
            chain.update(content);
            if left_bytes == 0 {
                chain.verify_chunk()?;
            }
        }
        Ok(if left_bytes == 0 { State::DataCarriageReturn } else { State::Data { left_bytes } })
    }

    fn tail(&mut self, input: &mut Bytes) -> Result<State> {
        if self.gathered.len().saturating_add(input.len()) > TAIL_BYTES_MAX {
            return Err(bad_trailer("it is too long, or bytes follow the last chunk"));
        }
        self.gathered.extend_from_slice(input);
        input.clear();
        Ok(State::Tail)
    }

    fn parse_tail(&mut self, tail: &[u8]) -> Result<Option<String>> {
        let mut rest = tail;
        let value = match &mut self.checks {
            Checks::Chunks(_) => None,
            Checks::ChunksAndTrailer(chain, algorithm) => {
                let (name, value) = trailer_line(&mut rest, *algorithm)?;
                let signature = signature_line(&mut rest)?;
                // The name is signed as it was sent; S3's own clients send it in lower case.
                chain.verify_trailer(&[name, b":", value, b"\n"].concat(), &signature)?;
                Some(value)
            }
            Checks::Trailer(algorithm) => Some(trailer_line(&mut rest, *algorithm)?.1),
        };
        if !matches!(rest, b"" | b"\r\n") {
            return Err(bad_trailer("bytes follow the end of the body"));
        }
        value.map(text).transpose()
    }
}

/// Takes at most `bytes_max` from the front, sharing the allocation.
fn take(input: &mut Bytes, bytes_max: u64) -> Bytes {
    let bytes = usize::try_from(bytes_max).map_or(input.len(), |bytes_max| bytes_max.min(input.len()));
    input.split_to(bytes)
}

fn expect(input: &mut Bytes, byte: u8, then: State) -> Result<State> {
    match take(input, 1).first() {
        Some(found) if *found == byte => Ok(then),
        Some(_) | None => Err(malformed("a chunk's content is not followed by CRLF")),
    }
}

/// Hexadecimal digits and nothing else: no sign, no white space, no overflow.
fn parse_size(digits: &[u8]) -> Result<u64> {
    if !(1..=SIZE_DIGITS_MAX).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed("a chunk size is not a hexadecimal number"));
    }
    (str::from_utf8(digits).ok())
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| malformed("a chunk size is not a hexadecimal number"))
}

/// The announced trailer: its name as sent, and its value.
fn trailer_line<'a>(rest: &mut &'a [u8], announced: ChecksumAlgorithm) -> Result<(&'a [u8], &'a [u8])> {
    let (name, value) = header_line(rest)?;
    if !name.eq_ignore_ascii_case(announced.header().as_bytes()) {
        return Err(bad_trailer("the trailer is not the one that x-amz-trailer announced"));
    }
    Ok((name, value))
}

/// The signature of the trailer.
fn signature_line(rest: &mut &[u8]) -> Result<Signature> {
    let (name, signature) = header_line(rest)?;
    if !name.eq_ignore_ascii_case(TRAILER_SIGNATURE) {
        return Err(bad_trailer("the trailer has no x-amz-trailer-signature"));
    }
    parse_signature(signature).ok_or_else(|| bad_trailer("the trailer signature is not 64 hex digits"))
}

/// The next `name:value` of a tail; AWS takes white space on both sides of the colon.
fn header_line<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let at = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| bad_trailer("a line is missing or has no end"))?;
    let (line, after) = rest.split_at_checked(at).ok_or_else(|| bad_trailer("a line has no end"))?;
    let after = after.strip_prefix(b"\n").unwrap_or(after);
    let line = match line.strip_suffix(b"\r") {
        Some(line) => {
            *rest = after;
            line
        }
        None => {
            *rest = after.strip_prefix(b"\r\n").ok_or_else(|| bad_trailer("a line does not end in CRLF"))?;
            line
        }
    };
    let colon =
        line.iter().position(|byte| *byte == b':').ok_or_else(|| bad_trailer("a line has no colon"))?;
    let (name, value) = line.split_at_checked(colon).ok_or_else(|| bad_trailer("a line has no colon"))?;
    Ok((trim_blank(name), trim_blank(value.strip_prefix(b":").unwrap_or(value))))
}

/// Without the blanks that HTTP allows around a field value; other white space is a fault.
fn trim_blank(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn text(value: &[u8]) -> Result<String> {
    str::from_utf8(value)
        .ok()
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(str::to_owned)
        .ok_or_else(|| bad_trailer("a value is not plain text"))
}

fn malformed(what: &'static str) -> Error {
    Error::new(Code::InvalidRequest, format!("The aws-chunked body is malformed: {what}."))
}

fn bad_trailer(what: &'static str) -> Error {
    Error::new(
        Code::MalformedTrailerError,
        format!(
            "The request contained trailing data that was not well-formed or did not conform to our \
             published schema: {what}."
        ),
    )
}

fn already_failed() -> Error {
    Error::internal("a chunk decoder was used after its failure")
}

#[cfg(test)]
mod tests;
