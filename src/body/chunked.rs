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
//! Signatures are there in the signed forms and only there; the trailer is there where the headers announced it, under
//! that name, and only there. The closing CRLF is optional: clients differ, and nothing hangs on it.
//!
//! Invariants:
//! - The result is the same however the input is split.
//! - What [`Decoder::decode`] yields is *unproven* until [`Decoder::finish`] has said `Ok`; the end of a chunk whose
//!   signature is wrong is never yielded.
//! - Decoded bytes never exceed the declared length, and at `Ok` they equal it.
//! - Memory is one line or one tail: at most [`CHUNK_LINE_BYTES_MAX`] and [`TAIL_BYTES_MAX`].
//! - After an error the decoder only fails.

#![deny(clippy::arithmetic_side_effects)]

use std::mem;

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_sigv4::sign::v4::calculate_signature;
use bytes::Bytes;

use crate::{
    auth::ChunkSeed,
    body::failure::{incomplete, too_long},
    error::{Code, Error, Result},
    secret::{Secret, same},
};

/// The longest chunk header: 16 hex digits, `;chunk-signature=`, 64 hex digits and CRLF are 99.
pub const CHUNK_LINE_BYTES_MAX: usize = 128;

/// The longest tail: the longest checksum trailer and a signature are 168; the rest is for white space.
pub const TAIL_BYTES_MAX: usize = 1024;

/// S3's smallest chunk, except for the last.
pub const CHUNK_BYTES_MIN: u64 = 8 * 1024;

/// A u64 has no more hexadecimal digits.
const SIZE_DIGITS_MAX: usize = 16;

const CHUNK_SIGNATURE: &[u8] = b"chunk-signature=";
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature";
const SIGNATURE_BYTES: usize = 64;

/// The sha256 of nothing, which stands for the headers that a chunk does not have.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Which of the three forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`.
    SignedChunks(ChunkSeed),
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`.
    SignedChunksTrailer(ChunkSeed),
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    UnsignedTrailer,
}

/// The decoder of one body.
pub struct Decoder {
    state: State,
    /// The signature chain; none in the unsigned form.
    chain: Option<Chain>,
    trailer_signed: bool,
    /// The trailer's announced name.
    trailer: Option<&'static str>,
    /// Decoded bytes that are still to be declared by chunks.
    undeclared_bytes: u64,
    /// Whether a chunk came that may only be the last.
    short_chunk_seen: bool,
    /// The line or tail that is being gathered.
    gathered: Vec<u8>,
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
    /// A decoder for `decoded_bytes` of content, with a trailer of that name where one is announced.
    pub fn new(mode: Mode, trailer: Option<&'static str>, decoded_bytes: u64) -> Self {
        let (chain, trailer_signed) = match mode {
            Mode::SignedChunks(seed) => (Some(Chain::new(seed)), false),
            Mode::SignedChunksTrailer(seed) => (Some(Chain::new(seed)), true),
            Mode::UnsignedTrailer => (None, false),
        };
        Self {
            state: State::ChunkLine,
            chain,
            trailer_signed,
            trailer,
            undeclared_bytes: decoded_bytes,
            short_chunk_seen: false,
            gathered: Vec::new(),
        }
    }

    /// Takes from the front of `input`: the next content in it, or none when all of it is used up.
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

    /// The input is at its end: whether the body is proven, and the trailer's value.
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
        let size_bytes = match &mut self.chain {
            None => parse_size(line)?,
            Some(chain) => {
                let at = line.iter().position(|byte| *byte == b';');
                let (size, extension) = at
                    .and_then(|at| line.split_at_checked(at))
                    .ok_or_else(|| malformed("a chunk has no signature"))?;
                chain.announced = extension
                    .get(1..)
                    .and_then(|extension| extension.strip_prefix(CHUNK_SIGNATURE))
                    .and_then(parse_signature)
                    .ok_or_else(|| {
                        malformed("a chunk signature is not chunk-signature= and 64 hex digits")
                    })?;
                parse_size(size)?
            }
        };
        if size_bytes == 0 { self.last_chunk() } else { self.data_chunk(size_bytes) }
    }

    fn data_chunk(&mut self, size_bytes: u64) -> Result<State> {
        // Unsigned chunks cost little and are never passed on as they are: there S3's minimum protects nothing.
        if self.short_chunk_seen && self.chain.is_some() {
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
        if let Some(chain) = &mut self.chain {
            chain.verify_chunk()?;
        }
        Ok(State::Tail)
    }

    fn data(&mut self, content: &Bytes, left_bytes: u64) -> Result<State> {
        let left_bytes = left_bytes.saturating_sub(content.len() as u64);
        if let Some(chain) = &mut self.chain {
            chain.content.update(content);
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
        let value = match self.trailer {
            None => None,
            Some(announced) => {
                let (name, value) = header_line(&mut rest)?;
                if !name.eq_ignore_ascii_case(announced.as_bytes()) {
                    return Err(bad_trailer("the trailer is not the one that x-amz-trailer announced"));
                }
                // The name is signed as it was sent; S3's own clients send it in lower case.
                Some((name, value))
            }
        };
        if self.trailer_signed {
            let (name, signature) = header_line(&mut rest)?;
            if !name.eq_ignore_ascii_case(TRAILER_SIGNATURE) {
                return Err(bad_trailer("the trailer has no x-amz-trailer-signature"));
            }
            let signature = parse_signature(signature)
                .ok_or_else(|| bad_trailer("the trailer signature is not 64 hex digits"))?;
            let (name, value) = value.unwrap_or_default();
            if let Some(chain) = &mut self.chain {
                chain.verify_trailer(&[name, b":", value, b"\n"].concat(), &signature)?;
            }
        }
        if !matches!(rest, b"" | b"\r\n") {
            return Err(bad_trailer("bytes follow the end of the body"));
        }
        value.map(|(_, value)| text(value)).transpose()
    }
}

/// The chain of signatures: each signs its chunk and the signature before it.
struct Chain {
    key: Secret,
    /// Date and scope, as each string to sign has them.
    times_and_scope: String,
    previous: String,
    /// The signature that the current chunk claims to have.
    announced: [u8; SIGNATURE_BYTES],
    /// The content of the current chunk so far.
    content: Context,
}

impl Chain {
    fn new(seed: ChunkSeed) -> Self {
        Self {
            times_and_scope: format!("{}\n{}", seed.date, seed.scope),
            key: seed.signing_key,
            previous: seed.signature,
            announced: [0; SIGNATURE_BYTES],
            content: Context::new(&SHA256),
        }
    }

    fn verify_chunk(&mut self) -> Result<()> {
        let content = mem::replace(&mut self.content, Context::new(&SHA256)).finish();
        let announced = self.announced;
        self.verify("PAYLOAD", &format!("{EMPTY_SHA256}\n{}", hex::encode(content)), &announced)
    }

    fn verify_trailer(&mut self, canonical: &[u8], announced: &[u8]) -> Result<()> {
        self.verify("TRAILER", &hex::encode(digest(&SHA256, canonical)), announced)
    }

    fn verify(&mut self, what: &str, hashes: &str, announced: &[u8]) -> Result<()> {
        let Self { times_and_scope, previous, .. } = self;
        let string_to_sign = format!("AWS4-HMAC-SHA256-{what}\n{times_and_scope}\n{previous}\n{hashes}");
        let computed = calculate_signature(self.key.expose(), string_to_sign.as_bytes());
        if !same(computed.as_bytes(), announced) {
            return Err(Error::new(
                Code::SignatureDoesNotMatch,
                "The signature of a chunk or trailer of the body does not match what was computed from its bytes and the signatures before it.",
            )
            .detail(what));
        }
        self.previous = computed;
        Ok(())
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

fn parse_signature(text: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
    <[u8; SIGNATURE_BYTES]>::try_from(text).ok().filter(|text| text.iter().all(u8::is_ascii_hexdigit))
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
            "The request contained trailing data that was not well-formed or did not conform to our published schema: {what}."
        ),
    )
}

fn already_failed() -> Error {
    Error::internal("a chunk decoder was used after its failure")
}

#[cfg(test)]
mod tests;
