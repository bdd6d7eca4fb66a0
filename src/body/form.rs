//! `multipart/form-data` of S3's POST uploads: the fields into memory within bounds, the file past it as a stream.
//!
//! Source: RFC 7578, and <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html>.
//!
//! Invariants:
//! - all that stands before the file takes at most [`FORM_HEAD_BYTES_MAX`], the file none but the frame at hand;
//! - the file's length is known before its first byte leaves: the request's length less what frames the file. The end
//!   of the form has to prove that, and until it has, the last of the file is held ([`super::arrival`]);
//! - the file ends at the first delimiter and nowhere else: a further part after it, or a length that was false, is an
//!   error and never becomes part of the object.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use memchr::memmem;

use crate::{
    body::{
        failure::{BoxError, client_failure, incomplete, too_slow},
        pace::{Pace, Stop, Watch},
    },
    error::{Code, Error, Result},
};

/// All that stands before the file: S3's own bound on the fields, and room for what frames them.
pub const FORM_HEAD_BYTES_MAX: usize = 24 * 1024;

/// Fields of one form; S3's widest has about 30.
pub const FORM_FIELDS_MAX: usize = 100;

/// Longest boundary, by RFC 2046.
const BOUNDARY_CHARS_MAX: usize = 70;

/// The name of the part that is the file.
const FILE: &str = "file";

/// What separates the parts of one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Whether a content type is that of a form.
    pub fn is_form(content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("multipart/form-data")
    }

    /// Reads the boundary of a content type.
    ///
    /// # Errors
    /// `MalformedPOSTRequest` where there is none, or one that RFC 2046 does not allow.
    pub fn of(content_type: &str) -> Result<Self> {
        let (_, parameters) = content_type.split_once(';').unwrap_or_default();
        let mut found =
            parameters_of(parameters).into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("boundary"));
        let (Some((_, boundary)), None) = (found.next(), found.next()) else {
            return Err(malformed("the Content-Type does not name one boundary"));
        };
        let fits = (1..=BOUNDARY_CHARS_MAX).contains(&boundary.len())
            && boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && !boundary.ends_with(' ');
        if fits { Ok(Self(boundary)) } else { Err(malformed("the boundary is not 1 to 70 plain characters")) }
    }

    /// What ends a part: the line end belongs to it.
    fn delimiter(&self) -> Vec<u8> {
        [b"\r\n--", self.0.as_bytes()].concat()
    }

    /// What ends the form.
    fn end(&self) -> Vec<u8> {
        [b"\r\n--", self.0.as_bytes(), b"--\r\n"].concat()
    }
}

/// All of a form that stands before its file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormHead {
    /// The fields in their order, names in lower case; without the file.
    pub fields: Vec<(String, String)>,
    /// The file's name, as the client gave it.
    pub filename: String,
    /// Where in the body the file begins.
    pub file_at: u64,
}

/// The parser of a form's head: bytes in, the head out once the file begins. Sans IO.
pub struct Parser {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    /// Before it, the buffer need not be looked at again for what is searched now.
    searched: usize,
    taken_bytes: u64,
    state: State,
    fields: Vec<(String, String)>,
}

enum State {
    /// The very first delimiter, without its line end.
    First,
    /// After a delimiter: a line end, or the end of the form.
    Delimiter,
    /// The headers of a part.
    Headers,
    /// The value of a field.
    Value(String),
}

impl Parser {
    /// A parser at the beginning of a body.
    pub fn new(boundary: &Boundary) -> Self {
        Self {
            delimiter: boundary.delimiter(),
            buffer: BytesMut::new(),
            searched: 0,
            taken_bytes: 0,
            state: State::First,
            fields: Vec::new(),
        }
    }

    /// Takes in the next bytes. Once the file begins it gives the head, and what is already there of the file.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`, `MaxPostPreDataLengthExceeded`, `IncorrectNumberOfFilesInPostRequest`.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<(FormHead, Bytes)>> {
        self.buffer.extend_from_slice(input);
        loop {
            match self.step()? {
                Step::More => break,
                Step::On => {}
                Step::File(filename) => {
                    self.check_bound(0)?;
                    let fields = std::mem::take(&mut self.fields);
                    let head = FormHead { fields, filename, file_at: self.taken_bytes };
                    return Ok(Some((head, self.buffer.split().freeze())));
                }
            }
        }
        self.check_bound(self.buffer.len() as u64)?;
        Ok(None)
    }

    fn check_bound(&self, waiting_bytes: u64) -> Result<()> {
        if self.taken_bytes.saturating_add(waiting_bytes) <= FORM_HEAD_BYTES_MAX as u64 {
            return Ok(());
        }
        Err(Error::new(
            Code::MaxPostPreDataLengthExceeded,
            "Your POST request fields preceding the upload file were too large.",
        )
        .element("MaxPostPreDataLengthBytes", FORM_HEAD_BYTES_MAX.to_string()))
    }

    fn step(&mut self) -> Result<Step> {
        match &mut self.state {
            State::First => {
                let (_, dashes) = self.delimiter.split_at_checked(2).unwrap_or_default();
                if !starts_alike(&self.buffer, dashes) {
                    return Err(malformed("it does not begin with its boundary"));
                }
                if self.buffer.len() < dashes.len() {
                    return Ok(Step::More);
                }
                let bytes = dashes.len();
                self.take(bytes);
                self.state = State::Delimiter;
            }
            State::Delimiter => {
                let Some(next) = self.buffer.get(..2) else { return Ok(Step::More) };
                match next {
                    b"\r\n" => self.state = State::Headers,
                    b"--" => return Err(no_file()),
                    _ => return Err(malformed("a boundary is followed by something else than a line end")),
                }
                self.take(2);
            }
            State::Headers => {
                let Some(at) = self.find(b"\r\n\r\n") else { return Ok(Step::More) };
                let headers = self.take(at.saturating_add(4));
                let part = Part::parse(&headers)?;
                if part.name == FILE {
                    return Ok(Step::File(part.filename));
                }
                self.state = State::Value(part.name);
            }
            State::Value(_) => {
                let delimiter = std::mem::take(&mut self.delimiter);
                let found = self.find(&delimiter);
                self.delimiter = delimiter;
                let Some(at) = found else { return Ok(Step::More) };
                let value = self.take(at);
                self.take(self.delimiter.len());
                let value =
                    String::from_utf8(value.to_vec()).map_err(|_| malformed("a field is not UTF-8"))?;
                if let State::Value(name) = std::mem::replace(&mut self.state, State::Delimiter) {
                    if self.fields.len() >= FORM_FIELDS_MAX {
                        return Err(malformed("it has more than 100 fields"));
                    }
                    self.fields.push((name, value));
                }
            }
        }
        Ok(Step::On)
    }

    /// The first `what` in the buffer; what was searched is not searched again.
    fn find(&mut self, what: &[u8]) -> Option<usize> {
        let from = self.searched.min(self.buffer.len());
        let found = memmem::find(self.buffer.get(from..)?, what).map(|at| from.saturating_add(at));
        self.searched = match found {
            Some(_) => 0,
            None => self.buffer.len().saturating_sub(what.len()),
        };
        found
    }

    fn take(&mut self, bytes: usize) -> BytesMut {
        let bytes = bytes.min(self.buffer.len());
        self.taken_bytes = self.taken_bytes.saturating_add(bytes as u64);
        self.searched = 0;
        self.buffer.split_to(bytes)
    }
}

enum Step {
    More,
    On,
    File(String),
}

/// Whether the shorter of two texts begins the other.
fn starts_alike(left: &[u8], right: &[u8]) -> bool {
    left.iter().zip(right).all(|(a, b)| a == b)
}

/// What the headers of one part say.
struct Part {
    name: String,
    filename: String,
}

impl Part {
    fn parse(headers: &[u8]) -> Result<Self> {
        let text =
            std::str::from_utf8(headers).map_err(|_| malformed("the headers of a part are not UTF-8"))?;
        let mut disposition = None;
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) =
                line.split_once(':').ok_or_else(|| malformed("a part has a line that is no header"))?;
            if name.trim().eq_ignore_ascii_case("content-disposition")
                && disposition.replace(value.trim()).is_some()
            {
                return Err(malformed("a part has two Content-Dispositions"));
            }
        }
        let disposition = disposition.ok_or_else(|| malformed("a part has no Content-Disposition"))?;
        let (kind, parameters) = disposition.split_once(';').unwrap_or((disposition, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(malformed("a part is not form-data"));
        }
        let parameters = parameters_of(parameters);
        let one = |wanted: &str| {
            let mut found = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(malformed("a part names itself twice")),
                (first, None) => Ok(first.map(|(_, value)| value.clone())),
            }
        };
        let name = one("name")?.filter(|name| !name.is_empty());
        Ok(Self {
            name: name.ok_or_else(|| malformed("a part has no name"))?.to_ascii_lowercase(),
            filename: one("filename")?.unwrap_or_default(),
        })
    }
}

/// `; name="value"; name=value`: values with or without quotes; in quotes a backslash frees the quote after it.
fn parameters_of(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', '\t', ';']).to_owned();
        let after = after.trim_start();
        let value = match after.strip_prefix('"') {
            Some(text) => {
                let (value, left) = quoted(text);
                rest = left;
                value
            }
            None => {
                let (value, left) = after.split_once(';').unwrap_or((after, ""));
                rest = left;
                value.trim().to_owned()
            }
        };
        parameters.push((name, value));
    }
    parameters
}

/// The text up to its closing quote, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' if characters.as_str().starts_with('"') => value.extend(characters.next()),
            plain => value.push(plain),
        }
    }
    (value, characters.as_str())
}

/// Reads a form up to its file, at the pace of every body. Gives the head and what is already there of the file.
///
/// # Errors
/// Those of [`Parser::feed`]; `IncompleteBody`, `RequestTimeout`.
pub async fn read_head<B>(inbound: &mut B, boundary: &Boundary, pace: Pace) -> Result<(FormHead, Bytes)>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut parser = Parser::new(boundary);
    let mut watch = Watch::new(pace);
    while let Some(frame) = poll_fn(|context| watch.poll_frame(inbound, context)).await {
        let frame = frame.map_err(|stop| match stop {
            Stop::Late => too_slow(),
            Stop::Failed(error) => client_failure(error),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        // A large first frame holds the beginning of the file: it is given to the parser no further than the bound.
        let at = data.len().min(FORM_HEAD_BYTES_MAX.saturating_add(1));
        let (near, far) = data.split_at_checked(at).unwrap_or_default();
        if let Some((head, first)) = parser.feed(near)? {
            let first = if far.is_empty() { first } else { Bytes::from([&first, far].concat()) };
            return Ok((head, first));
        }
    }
    Err(malformed("it ends before its file"))
}

/// The length of the file, by the length of the whole form (P14, P42).
///
/// # Errors
/// `MalformedPOSTRequest` where the form is too short for its own end.
pub fn file_bytes(form_bytes: u64, head: &FormHead, boundary: &Boundary) -> Result<u64> {
    let framing = head.file_at.saturating_add(boundary.end().len() as u64);
    form_bytes
        .checked_sub(framing)
        .ok_or_else(|| malformed("its Content-Length is too short for its own end"))
}

/// The file of a form as a body: the bytes up to the end of the form, which is then checked byte for byte.
pub struct FilePart<B> {
    inbound: B,
    /// What came together with the head.
    first: Bytes,
    left_bytes: u64,
    delimiter: memmem::Finder<'static>,
    /// The last bytes of the frame before: a delimiter may begin there.
    carry: Vec<u8>,
    /// What the end of the form has to be, and how much of it was seen.
    end: Vec<u8>,
    end_seen: usize,
    proven: bool,
}

impl<B> FilePart<B> {
    /// The file of `file_bytes` whose beginning is `first`.
    pub fn new(inbound: B, first: Bytes, file_bytes: u64, boundary: &Boundary) -> Self {
        Self {
            inbound,
            first,
            left_bytes: file_bytes,
            delimiter: memmem::Finder::new(&boundary.delimiter()).into_owned(),
            carry: Vec::new(),
            end: boundary.end(),
            end_seen: 0,
            proven: false,
        }
    }

    /// The body behind, to be drained.
    pub fn into_inner(self) -> B {
        self.inbound
    }

    /// Splits `data` into what is the file's and what has to be the form's end.
    fn admit(&mut self, mut data: Bytes) -> Result<Bytes> {
        let bytes = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(data.len());
        let content = data.split_to(bytes);
        self.left_bytes = self.left_bytes.saturating_sub(content.len() as u64);
        self.refuse_delimiter(&content)?;
        let from = self.end_seen;
        self.end_seen = from.saturating_add(data.len());
        if self.end.get(from..self.end_seen) != Some(data.as_ref()) {
            return Err(malformed("its Content-Length is false, or something follows its file"));
        }
        Ok(content)
    }

    /// A delimiter within the declared length: the length was false, or the file is not the last part.
    fn refuse_delimiter(&mut self, content: &[u8]) -> Result<()> {
        let kept = self.delimiter.needle().len().saturating_sub(1);
        let joint: Vec<u8> = self.carry.iter().chain(content.iter().take(kept)).copied().collect();
        if self.delimiter.find(&joint).is_some() || self.delimiter.find(content).is_some() {
            return Err(malformed("something follows its file, which has to be the last part"));
        }
        let tail = content.get(content.len().saturating_sub(kept)..).unwrap_or_default();
        self.carry.extend_from_slice(tail);
        let surplus = self.carry.len().saturating_sub(kept);
        self.carry.drain(..surplus);
        Ok(())
    }

    fn check_end(&self) -> Result<()> {
        if self.left_bytes == 0 && self.end_seen == self.end.len() { Ok(()) } else { Err(incomplete()) }
    }
}

impl<B> Body for FilePart<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if this.proven {
                return Poll::Ready(None);
            }
            let data = match std::mem::take(&mut this.first) {
                first if first.is_empty() => match ready!(Pin::new(&mut this.inbound).poll_frame(context)) {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                    None => {
                        this.check_end()?;
                        this.proven = true;
                        continue;
                    }
                },
                first => first,
            };
            let content = this.admit(data)?;
            if !content.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(content))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.proven
    }
}

/// A request body that becomes an object: as it is, or the file of a form.
pub enum Inbound<B> {
    /// As it is.
    Plain(B),
    /// The file of a form.
    File(Box<FilePart<B>>),
}

impl<B> Inbound<B> {
    /// The body behind, to be drained.
    pub fn into_inner(self) -> B {
        match self {
            Self::Plain(body) => body,
            Self::File(part) => part.into_inner(),
        }
    }
}

impl<B> Body for Inbound<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Plain(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::File(part) => Pin::new(part.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::File(part) => part.is_end_stream(),
        }
    }
}

fn malformed(why: &str) -> Error {
    Error::new(
        Code::MalformedPOSTRequest,
        format!("The body of your POST request is not well-formed multipart/form-data: {why}."),
    )
}

fn no_file() -> Error {
    Error::new(
        Code::IncorrectNumberOfFilesInPostRequest,
        "POST requires exactly one file upload per request: a part named \"file\", after all fields.",
    )
}

#[cfg(test)]
mod tests;
