//! All of a form that stands before its file: the fields, and the file's name.

#![deny(clippy::arithmetic_side_effects)]

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use memchr::memmem;

use super::{
    boundary::{Boundary, malformed, parameters_of},
    file::FilePart,
};
use crate::{
    body::{
        failure::BoxError,
        pace::Pace,
        paced_reader::{PacedReader, ReadError},
    },
    error::{Code, Error, Result},
};

/// All that stands before the file: S3's own bound on the fields, and room for what frames them.
pub const FORM_HEAD_BYTES_MAX: usize = 24 * 1024;

/// Fields of one form; S3's widest has about 30.
pub const FORM_FIELDS_MAX: usize = 100;

/// The name of the part that is the file.
const FILE: &str = "file";

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

/// The parser of a form's head: it is fed bytes and gives the head once the file begins. No IO.
pub struct FormHeadParser {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    /// Where to go on in the buffer with the search for the next delimiter: the bytes before it were
    /// searched.
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

impl FormHeadParser {
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

    /// Takes in the next bytes. Once the file begins it gives the head, and what is already there of the
    /// file.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`, `MaxPostPreDataLengthExceeded`, `IncorrectNumberOfFilesInPostRequest`.
    pub fn feed(&mut self, input: &[u8]) -> Result<Option<(FormHead, Bytes)>> {
        self.buffer.extend_from_slice(input);
        loop {
            match self.step()? {
                Step::NeedsMore => break,
                Step::Taken => {}
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
                    return Ok(Step::NeedsMore);
                }
                let bytes = dashes.len();
                self.take(bytes);
                self.state = State::Delimiter;
            }
            State::Delimiter => {
                let Some(next) = self.buffer.get(..2) else { return Ok(Step::NeedsMore) };
                match next {
                    b"\r\n" => self.state = State::Headers,
                    b"--" => return Err(no_file()),
                    _ => return Err(malformed("a boundary is followed by something else than a line end")),
                }
                self.take(2);
            }
            State::Headers => {
                let Some(at) = self.find(b"\r\n\r\n") else { return Ok(Step::NeedsMore) };
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
                let Some(at) = found else { return Ok(Step::NeedsMore) };
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
        Ok(Step::Taken)
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
    /// The buffer ends before the next thing does.
    NeedsMore,
    /// The next thing was taken from the buffer.
    Taken,
    /// The file begins, under that name.
    File(String),
}

/// Whether the shorter of two texts begins the other.
fn starts_alike(left: &[u8], right: &[u8]) -> bool {
    left.iter().zip(right).all(|(a, b)| a == b)
}

/// What the headers of one part say.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) filename: String,
}

impl Part {
    pub(super) fn parse(headers: &[u8]) -> Result<Self> {
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

/// Reads a form of `form_bytes` up to its file: the head, and the file as a body of its own.
///
/// # Errors
/// Those of [`FormHeadParser::feed`]; `IncompleteBody`, `RequestTimeout`.
pub(crate) async fn read_head<B>(
    mut body: B,
    boundary: &Boundary,
    form_bytes: u64,
    pace: Pace,
) -> Result<(FormHead, FilePart<B>)>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut parser = FormHeadParser::new(boundary);
    let mut reader = PacedReader::new(pace);
    while let Some(frame) = poll_fn(|context| reader.poll_frame(&mut body, context)).await {
        let Ok(data) = frame.map_err(ReadError::by_client)?.into_data() else { continue };
        // A large first frame holds the beginning of the file: the parser is given no more of it than the
        // bound.
        let at = data.len().min(FORM_HEAD_BYTES_MAX.saturating_add(1));
        let (near, far) = data.split_at_checked(at).unwrap_or_default();
        if let Some((head, first)) = parser.feed(near)? {
            let first = if far.is_empty() { first } else { Bytes::from([&first, far].concat()) };
            let file = FilePart::new(body, first, head.file_at, form_bytes, boundary)?;
            return Ok((head, file));
        }
    }
    Err(malformed("it ends before its file"))
}

fn no_file() -> Error {
    Error::new(
        Code::IncorrectNumberOfFilesInPostRequest,
        "POST requires exactly one file upload per request: a part named \"file\", after all fields.",
    )
}
