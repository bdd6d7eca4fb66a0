//! The store's XML on its way to the client: its own names give way to public ones (P63), and what XML cannot
//! spell is spelled otherwise (P52).
//!
//! Source: <https://www.w3.org/TR/xml/>. Lists and the small answers of multipart uploads name the store's
//! bucket, its account and its address in a few elements. Their content is replaced; the elements stay, for
//! some clients insist on them.
//!
//! Invariants:
//! - What is not replaced or spelled otherwise goes out as it came in, byte for byte.
//! - The result is the same however the input is split.
//! - What is held back is at most [`NAME_BYTES_MAX`] bytes.
//! - What is no XML passes without a panic and without growing.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

use crate::s3::xml_text;

/// The longest name of an element that is looked at: S3's own are shorter than 40 bytes, and a name-space
/// prefix is short.
const NAME_BYTES_MAX: usize = 128;

/// The longest reference that is looked at: `&#x10FFFF;` has 10 bytes, and some may be leading zeros.
const REFERENCE_BYTES_MAX: usize = 32;

/// New content for an element.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// The element's local name.
    pub(crate) element: &'static str,
    /// How deep it stands; the root is 1.
    pub(crate) depths: RangeInclusive<usize>,
    /// Its content from now on, as XML.
    pub(crate) content: String,
}

/// A document of the store's in which the content of some elements is replaced. Its length is unknown.
pub(crate) struct AnswerXml<B> {
    body: B,
    rewriter: Rewriter,
    is_over: bool,
}

impl<B> AnswerXml<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// `body` with these replacements.
    pub(crate) fn new(body: B, replacements: Vec<Replacement>) -> Self {
        Self { body, rewriter: Rewriter::new(replacements), is_over: false }
    }
}

impl<B> Body for AnswerXml<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        while !this.is_over {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers are no part of S3's answers.
                    let Ok(data) = frame.into_data() else { continue };
                    this.rewriter.feed(&data);
                }
                Some(Err(error)) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.is_over = true;
                    this.rewriter.finish();
                }
            }
            let out = std::mem::take(&mut this.rewriter.out);
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.freeze()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.rewriter.held.is_empty() && self.body.is_end_stream())
    }
}

struct Rewriter {
    replacements: Vec<Replacement>,
    state: State,
    /// How many elements are open.
    depth: usize,
    replacing: Option<Replacing>,
    /// The beginning of markup, of a reference or of a character that is not decided yet.
    held: Vec<u8>,
    out: BytesMut,
}

/// The element whose content is being replaced.
#[derive(Debug, Clone, Copy)]
struct Replacing {
    depth: usize,
    replacement: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Text,
    /// Within the bytes of one character beyond ASCII, which are held.
    Character,
    /// Within `&…;`, which is held.
    Reference,
    /// Behind `<`; what is opened is held until it is known.
    Opening,
    /// Behind the name of a start tag.
    StartTag {
        quote: Option<u8>,
        /// Whether the last byte was a slash: then `>` ends the element.
        slash: bool,
        replacement: Option<usize>,
    },
    EndTag,
    /// Within a comment, an instruction, CDATA or a declaration, which end in `>` behind these bytes; with
    /// the last two bytes that came.
    Until(&'static [u8], [u8; 2]),
}

/// Whether a byte of a text is passed by itself, whatever comes next.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=0x7f) && !matches!(byte, b'<' | b'&')
}

impl Rewriter {
    fn new(replacements: Vec<Replacement>) -> Self {
        Self {
            replacements,
            state: State::Text,
            depth: 0,
            replacing: None,
            held: Vec::new(),
            out: BytesMut::new(),
        }
    }

    fn feed(&mut self, data: &[u8]) {
        let mut rest = data;
        while let Some((byte, behind)) = rest.split_first() {
            if matches!(self.state, State::Text) && is_plain(*byte) {
                let plain = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
                let (run, behind) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                self.pass(run);
                rest = behind;
            } else {
                self.take(*byte);
                rest = behind;
            }
        }
    }

    /// What is still held at the end goes out.
    fn finish(&mut self) {
        match self.state {
            State::Character => self.spell_held(),
            _ => self.pass_held(),
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        if self.replacing.is_none() {
            self.out.extend_from_slice(bytes);
        }
    }

    fn pass_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.pass(&held);
    }

    fn spell_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        for byte in held {
            self.pass(xml_text::spell(&[byte]).as_bytes());
        }
    }

    fn hold(&mut self, byte: u8, state: State) {
        self.held.push(byte);
        self.state = state;
    }

    fn take(&mut self, byte: u8) {
        match self.state {
            State::Text => self.take_text(byte),
            State::Character => self.take_character(byte),
            State::Reference => self.take_reference(byte),
            State::Opening => self.take_opening(byte),
            State::StartTag { quote, slash, replacement } => {
                self.take_start_tag(byte, quote, slash, replacement);
            }
            State::EndTag => {
                self.pass(&[byte]);
                if byte == b'>' {
                    self.depth = self.depth.saturating_sub(1);
                    self.state = State::Text;
                }
            }
            State::Until(ending, [before, last]) => {
                self.pass(&[byte]);
                self.state = match byte == b'>' && [before, last].ends_with(ending) {
                    true => State::Text,
                    false => State::Until(ending, [last, byte]),
                };
            }
        }
    }

    fn take_text(&mut self, byte: u8) {
        match byte {
            b'<' => self.hold(byte, State::Opening),
            b'&' => self.hold(byte, State::Reference),
            0x80.. => {
                self.hold(byte, State::Character);
                self.end_character();
            }
            _ if is_plain(byte) => self.pass(&[byte]),
            control => self.pass(xml_text::spell(&[control]).as_bytes()),
        }
    }

    fn take_character(&mut self, byte: u8) {
        if matches!(byte, 0x80..=0xbf) {
            self.held.push(byte);
            self.end_character();
        } else {
            self.spell_held();
            self.state = State::Text;
            self.take_text(byte);
        }
    }

    /// Lets go of the held bytes once they are a character, or cannot become one.
    fn end_character(&mut self) {
        match std::str::from_utf8(&self.held) {
            Ok(text) if text.chars().any(xml_text::is_spelled_otherwise) => {
                let spelled = xml_text::spell(&self.held);
                self.held.clear();
                self.pass(spelled.as_bytes());
            }
            Ok(_) => self.pass_held(),
            Err(error) if error.error_len().is_none() => return,
            // Bytes that begin no character are none by themselves either.
            Err(_) => self.spell_held(),
        }
        self.state = State::Text;
    }

    fn take_reference(&mut self, byte: u8) {
        match byte {
            b';' => {
                self.held.push(byte);
                match illegal_reference(&self.held) {
                    Some(spelled) => {
                        self.held.clear();
                        self.pass(spelled.as_bytes());
                    }
                    None => self.pass_held(),
                }
                self.state = State::Text;
            }
            _ if (byte.is_ascii_alphanumeric() || byte == b'#') && self.held.len() < REFERENCE_BYTES_MAX => {
                self.held.push(byte);
            }
            _ => {
                self.pass_held();
                self.state = State::Text;
                self.take_text(byte);
            }
        }
    }

    fn take_opening(&mut self, byte: u8) {
        const COMMENT: &[u8] = b"<!--";
        const CDATA: &[u8] = b"<![CDATA[";
        self.held.push(byte);
        let until = |ending| State::Until(ending, [0; 2]);
        match self.held.as_slice() {
            COMMENT => self.open(until(b"--")),
            CDATA => self.open(until(b"]]")),
            b"<?" => self.open(until(b"?")),
            b"</" => {
                self.end_replacement();
                self.open(State::EndTag);
            }
            held if COMMENT.starts_with(held) || CDATA.starts_with(held) => {}
            [b'<', b'!', .., b'>'] => self.open(State::Text),
            [b'<', b'!', ..] => self.open(until(b"")),
            held => {
                let name = held.get(1..).unwrap_or_default();
                let ends = byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>');
                if !ends && name.len() < NAME_BYTES_MAX {
                    return;
                }
                let name = name.strip_suffix(&[byte]).unwrap_or(name);
                self.depth = self.depth.saturating_add(1);
                let replacement = self.replacement_of(name);
                self.held.pop();
                self.open(State::StartTag { quote: None, slash: false, replacement });
                self.take(byte);
            }
        }
    }

    /// What is held is no longer undecided.
    fn open(&mut self, state: State) {
        self.pass_held();
        self.state = state;
    }

    fn take_start_tag(&mut self, byte: u8, quote: Option<u8>, slash: bool, replacement: Option<usize>) {
        self.pass(&[byte]);
        let (quote, slash) = match (quote, byte) {
            (Some(open), _) => (Some(open).filter(|open| *open != byte), false),
            (None, b'"' | b'\'') => (Some(byte), false),
            (None, b'>') => {
                match replacement {
                    _ if slash => self.depth = self.depth.saturating_sub(1),
                    Some(replacement) if self.replacing.is_none() => {
                        self.replacing = Some(Replacing { depth: self.depth, replacement });
                    }
                    _ => {}
                }
                self.state = State::Text;
                return;
            }
            (None, _) => (None, byte == b'/'),
        };
        self.state = State::StartTag { quote, slash, replacement };
    }

    /// Which replacement an element of that name has that has just been opened.
    fn replacement_of(&self, name: &[u8]) -> Option<usize> {
        let local = name.rsplit(|byte| *byte == b':').next().unwrap_or(name);
        self.replacements.iter().position(|replacement| {
            replacement.element.as_bytes() == local && replacement.depths.contains(&self.depth)
        })
    }

    /// At an end tag: where it is that of the element whose content is replaced, the new content goes out.
    fn end_replacement(&mut self) {
        if let Some(Replacing { replacement, .. }) = self.replacing.filter(|own| own.depth == self.depth) {
            self.replacing = None;
            if let Some(replacement) = self.replacements.get(replacement) {
                self.out.extend_from_slice(replacement.content.as_bytes());
            }
        }
    }
}

/// The other spelling of a character reference, where XML does not have the character.
fn illegal_reference(reference: &[u8]) -> Option<String> {
    let number = std::str::from_utf8(reference).ok()?.strip_prefix("&#")?.strip_suffix(';')?;
    let number = match number.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => number.parse(),
    };
    let character = number.ok().and_then(char::from_u32);
    match character {
        Some(character) if !xml_text::is_spelled_otherwise(character) => None,
        // What is no character at all is spelled as one that stands for that.
        _ => {
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            Some(xml_text::spell(character.encode_utf8(&mut [0; 4]).as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests;
