//! The boundary of a form, and the parameters of the headers in which it stands.
//!
//! Source: RFC 2046, section 5.1.1.

use crate::error::{Code, Error, Result};

/// Longest boundary, by RFC 2046.
const BOUNDARY_CHARS_MAX: usize = 70;

/// What separates the parts of one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(pub(super) String);

impl Boundary {
    /// Whether a content type is that of a form.
    pub(crate) fn is_form(content_type: &str) -> bool {
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
    pub(super) fn delimiter(&self) -> Vec<u8> {
        [b"\r\n--", self.0.as_bytes()].concat()
    }

    /// What ends the form.
    pub(super) fn end(&self) -> Vec<u8> {
        [b"\r\n--", self.0.as_bytes(), b"--\r\n"].concat()
    }
}

/// `; name="value"; name=value`: values with or without quotes; in quotes, a quote after a backslash belongs
/// to the value.
pub(super) fn parameters_of(text: &str) -> Vec<(String, String)> {
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

/// The form is not one that can be read.
pub(super) fn malformed(why: &str) -> Error {
    Error::new(
        Code::MalformedPOSTRequest,
        format!("The body of your POST request is not well-formed multipart/form-data: {why}."),
    )
}
