//! A 200 that turns out to be an error: CompleteMultipartUpload, CopyObject and UploadPartCopy may answer
//! 200, send white space to keep the connection alive, and then an `<Error>` (P46).
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>.
//!
//! White space, XML declaration and comments pass as they come. Then the root element decides: `Error` is
//! collected and replaced by what a closure makes of it (P51: the store's own words do not reach the client).
//! Anything else passes.
//!
//! Invariants:
//! - Unless the root is `Error`, what goes out is what came in, byte for byte.
//! - The result is the same however the input is split.
//! - What is held back is at most 128 bytes of an undecided root, or 64 KiB of an error.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

/// The longest root name that is looked at: S3's own are shorter than 40 bytes, and a name-space prefix is
/// short.
const ROOT_BYTES_MAX: usize = 128;

/// The largest error that is collected: those of S3 are under 2 KiB. The rest of a larger one is not read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// An answer's body which may turn out to be an error.
///
/// Its length is unknown, so the answer may have no `Content-Length`. `F` is called if and only if the root
/// is `Error`, with the store's bytes from the root on; what it returns is sent in their place. That has to
/// be one element without an XML declaration, for the store's may have passed already.
pub(crate) struct LateError<B, F> {
    body: B,
    state: State,
    replace: Option<F>,
}

enum State {
    /// Before the root: bytes that are not passed yet.
    Prolog(Prolog, BytesMut),
    /// The root is not `Error`: all that comes passes.
    Passing,
    /// The root is `Error`: its bytes so far.
    Collecting(BytesMut),
    Done,
}

impl<B, F> LateError<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnOnce(Bytes) -> Bytes,
{
    /// Looks for an error in `body`.
    pub(crate) fn new(body: B, replace: F) -> Self {
        Self { body, state: State::Prolog(Prolog::Between, BytesMut::new()), replace: Some(replace) }
    }

    fn poll_filtered(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if matches!(self.state, State::Done) {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(self.at_end().map(|rest| Ok(Frame::data(rest)))),
            };
            if matches!(self.state, State::Passing) {
                return Poll::Ready(Some(Ok(frame)));
            }
            // HTTP trailers of an answer without a root are dropped.
            let Ok(data) = frame.into_data() else { continue };
            if let Some(passed) = self.take(&data) {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
    }

    /// Takes in the next bytes of a prolog or an error, and returns those that pass.
    fn take(&mut self, data: &[u8]) -> Option<Bytes> {
        if let State::Prolog(prolog, held) = &mut self.state {
            held.extend_from_slice(data);
            let (passed_bytes, verdict) = prolog.scan(held);
            let mut passed = held.split_to(passed_bytes.min(held.len()));
            match verdict {
                None => {}
                Some(Root::Other) => {
                    passed.unsplit(std::mem::take(held));
                    self.state = State::Passing;
                }
                Some(Root::Error) => self.state = State::Collecting(std::mem::take(held)),
            }
            return Some(passed.freeze()).filter(|passed| !passed.is_empty()).or_else(|| self.replace_full());
        }
        if let State::Collecting(error) = &mut self.state {
            let room_bytes = ERROR_BYTES_MAX.saturating_sub(error.len());
            error.extend_from_slice(data.get(..room_bytes).unwrap_or(data));
        }
        self.replace_full()
    }

    /// The replacement, if the error has reached its bound.
    fn replace_full(&mut self) -> Option<Bytes> {
        match &self.state {
            State::Collecting(error) if error.len() >= ERROR_BYTES_MAX => self.at_end(),
            _ => None,
        }
    }

    /// What is still to be sent at the end of the store's answer.
    fn at_end(&mut self) -> Option<Bytes> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Prolog(_, held) => Some(held.freeze()).filter(|held| !held.is_empty()),
            State::Collecting(mut error) => {
                error.truncate(ERROR_BYTES_MAX);
                self.replace.take().map(|replace| replace(error.freeze()))
            }
            State::Passing | State::Done => None,
        }
    }
}

impl<B, F> Body for LateError<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnOnce(Bytes) -> Bytes + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.get_mut().poll_filtered(context)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Prolog(_, held) => held.is_empty() && self.body.is_end_stream(),
            State::Passing => self.body.is_end_stream(),
            State::Collecting(_) => false,
            State::Done => true,
        }
    }
}

/// What comes before the root element of an XML document.
#[derive(Debug, Clone, Copy)]
enum Prolog {
    Between,
    /// Within `<? … ?>`.
    Instruction,
    /// Within `<!-- … -->`.
    Comment,
}

/// What the root element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Error,
    Other,
}

impl Prolog {
    /// Reads on in `held`: how many of its bytes may pass, and the kind of the root once that is known.
    fn scan(&mut self, held: &[u8]) -> (usize, Option<Root>) {
        let mut rest = held;
        let passed = |rest: &[u8]| held.len().saturating_sub(rest.len());
        loop {
            let closing: &[u8] = match self {
                Self::Between => {
                    rest = rest.trim_ascii_start();
                    match markup(rest) {
                        Markup::Unknown => return (passed(rest), None),
                        Markup::Root(root) => return (passed(rest), Some(root)),
                        Markup::Opens(prolog, bytes) => {
                            *self = prolog;
                            rest = rest.get(bytes..).unwrap_or_default();
                            continue;
                        }
                    }
                }
                Self::Instruction => b"?>",
                Self::Comment => b"-->",
            };
            match rest.windows(closing.len()).position(|window| window == closing) {
                Some(at) => {
                    rest = rest.get(at.saturating_add(closing.len())..).unwrap_or_default();
                    *self = Self::Between;
                }
                None => {
                    // The closing may have begun in the last bytes.
                    let undecided_bytes = rest.len().min(closing.len().saturating_sub(1));
                    return (held.len().saturating_sub(undecided_bytes), None);
                }
            }
        }
    }
}

enum Markup {
    Unknown,
    Opens(Prolog, usize),
    Root(Root),
}

/// What begins at the front of `rest`, behind white space.
fn markup(rest: &[u8]) -> Markup {
    const INSTRUCTION: &[u8] = b"<?";
    const COMMENT: &[u8] = b"<!--";
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    for (opening, prolog) in
        [(INSTRUCTION, Prolog::Instruction), (COMMENT, Prolog::Comment), (BYTE_ORDER_MARK, Prolog::Between)]
    {
        if rest.starts_with(opening) {
            return Markup::Opens(prolog, opening.len());
        }
        if opening.starts_with(rest) {
            return Markup::Unknown;
        }
    }
    let Some(name) = rest.strip_prefix(b"<") else { return Markup::Root(Root::Other) };
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/');
    match name.iter().take(ROOT_BYTES_MAX).position(ends) {
        None if name.len() < ROOT_BYTES_MAX => Markup::Unknown,
        None => Markup::Root(Root::Other),
        Some(end) => {
            let name = name.get(..end).unwrap_or_default();
            let local = name.rsplit(|byte| *byte == b':').next().unwrap_or(name);
            Markup::Root(if local == b"Error" { Root::Error } else { Root::Other })
        }
    }
}

#[cfg(test)]
mod tests;
