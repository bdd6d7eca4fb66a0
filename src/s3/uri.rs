//! Percent-encoding of S3's paths and queries: decoded once from the wire, encoded once by the strict set.
//!
//! Source: RFC 3986 section 2.3 and `UriEncode()` of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
//!
//! Invariants (P20, P21, P24): what is verified, authorised, signed and forwarded is one decoded text; for
//! every text `decode_path(encode_path(text)) == text`; dot segments and doubled slashes stay as they were
//! sent.

use std::{cmp::Ordering, fmt};

use memchr::memchr2;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use smallvec::SmallVec;

use crate::{
    error::{Code, Error, Result},
    split::{split, split_once},
};

/// All that RFC 3986 does not call unreserved.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same with `/` left alone: a path keeps its segments.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// Most pairs in one query. S3's widest request has about 20; the bound keeps sorting and duplicate checks
/// cheap.
pub(crate) const QUERY_PAIRS_MAX: usize = 100;

/// Decodes the path of a request target, or of a copy source: `+` is a plus, `%2f` and `%2F` are both a
/// slash.
///
/// # Errors
/// `InvalidURI` for an escape that is not `%` and two hex digits, or bytes that are not UTF-8.
pub(crate) fn decode_path(path: &str) -> Result<String> {
    let mut decoded = Vec::with_capacity(path.len());
    push_decoded(&mut decoded, path, false)?;
    String::from_utf8(decoded).map_err(|_| not_utf8())
}

/// Encodes a decoded path; A-Z a-z 0-9 `-._~` and `/` stay.
pub(crate) fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    push_encoded_path(&mut encoded, path);
    encoded
}

/// Encodes a name or a value of a query, or a key that is one segment: `/` is encoded too.
pub(crate) fn encode_component(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push_encoded_component(&mut encoded, text);
    encoded
}

/// Appends [`encode_path`] of `path` without an allocation of its own.
pub(crate) fn push_encoded_path(out: &mut String, path: &str) {
    push_encoded(out, path, PATH, |byte| is_unreserved(byte) || byte == b'/');
}

fn push_encoded_component(out: &mut String, text: &str) {
    push_encoded(out, text, COMPONENT, is_unreserved);
}

/// Appends `text` with the characters of `encoded` encoded; `stays` are all others.
fn push_encoded(out: &mut String, text: &str, encoded: &'static AsciiSet, stays: impl Fn(u8) -> bool) {
    // Most texts stay as they are, or nearly to their end.
    let plain = text.bytes().position(|byte| !stays(byte)).unwrap_or(text.len());
    // What is encoded first begins a character, for each byte of one that is not ASCII is encoded.
    let (plain, rest) = text.split_at_checked(plain).unwrap_or(("", text));
    out.push_str(plain);
    if !rest.is_empty() {
        out.extend(utf8_percent_encode(rest, encoded));
    }
}

/// What RFC 3986 calls unreserved.
fn is_unreserved(byte: u8) -> bool {
    UNRESERVED.get(usize::from(byte)).is_some_and(|is_unreserved| *is_unreserved)
}

/// [`is_unreserved`] of each byte: asked of every character of every path.
static UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &mut [bool] = &mut table;
    let mut byte: u8 = 0;
    while let [first, others @ ..] = rest {
        *first = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        rest = others;
        byte = byte.wrapping_add(1);
    }
    table
};

/// Appends what `text` says once its escapes are decoded, which is UTF-8 by itself.
fn push_decoded(out: &mut Vec<u8>, text: &str, plus_is_space: bool) -> Result<()> {
    let start = out.len();
    let mut has_escapes = false;
    let also = if plus_is_space { b'+' } else { b'%' };
    let mut rest = text.as_bytes();
    while let Some((plain, special)) = memchr2(b'%', also, rest).and_then(|at| rest.split_at_checked(at)) {
        out.extend_from_slice(plain);
        rest = match special {
            [b'+', rest @ ..] => {
                out.push(b' ');
                rest
            }
            [_, high, low, rest @ ..] => {
                out.push(escaped(*high, *low)?);
                has_escapes = true;
                rest
            }
            _ => return Err(malformed_escape()),
        };
    }
    out.extend_from_slice(rest);
    if !has_escapes {
        // What was UTF-8 still is.
        return Ok(());
    }
    let decoded = out.get(start..).unwrap_or_default();
    std::str::from_utf8(decoded).map(drop).map_err(|_| not_utf8())
}

fn escaped(high: u8, low: u8) -> Result<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        (_, None) | (None, _) => Err(malformed_escape()),
    }
}

fn malformed_escape() -> Error {
    Error::new(
        Code::InvalidURI,
        "The request target has a '%' that is not followed by two hexadecimal digits.",
    )
}

fn not_utf8() -> Error {
    Error::new(Code::InvalidURI, "The request target is not UTF-8 once percent-decoded.")
}

/// The decoded (name, value) pairs of a query, in the order of the wire, at most `QUERY_PAIRS_MAX`.
///
/// All of them stand in one text, one behind the other, so that a query costs one allocation however many
/// there are.
#[derive(Clone, Default)]
pub struct Query {
    /// The names and values, with those of pairs that were dropped.
    text: String,
    pairs: SmallVec<[Pair; PAIRS_INLINE]>,
}

/// As many pairs as most presigned queries have; more of them take an allocation.
const PAIRS_INLINE: usize = 10;

/// Where a pair stands in the text of its query: the name up to `value`, and the value up to `end`. In 32
/// bits, for a request holds several queries, and moves them.
#[derive(Clone, Copy)]
struct Pair {
    name: u32,
    value: u32,
    end: u32,
}

impl Query {
    /// Reads the raw query of a request target, without its `?`. `+` is a space; a flag without `=` has an
    /// empty value; empty segments (`a&&b`) say nothing and are dropped.
    ///
    /// # Errors
    /// `InvalidURI` for malformed escapes, text that is not UTF-8, or too many pairs.
    pub fn parse(raw: Option<&str>) -> Result<Self> {
        let raw = raw.unwrap_or_default();
        let mut text = Vec::with_capacity(raw.len());
        let mut pairs = SmallVec::new();
        for segment in split(raw, b'&').filter(|segment| !segment.is_empty()) {
            let (raw_name, raw_value) = split_once(segment, b'=').unwrap_or((segment, ""));
            let name = text.len();
            push_decoded(&mut text, raw_name, true)?;
            let value = text.len();
            push_decoded(&mut text, raw_value, true)?;
            if pairs.len() >= QUERY_PAIRS_MAX {
                return Err(too_many_pairs());
            }
            pairs.push(Pair::at(name, value, text.len()));
        }
        Ok(Self { text: String::from_utf8(text).map_err(|_| not_utf8())?, pairs })
    }

    /// A query of a few decoded pairs that are known here.
    pub(crate) fn of<const PAIRS: usize>(pairs: [(&str, &str); PAIRS]) -> Self {
        const { assert!(PAIRS <= QUERY_PAIRS_MAX) };
        let mut query = Self::default();
        for (name, value) in pairs {
            query.push_pair(name, value);
        }
        query
    }

    /// Adds a decoded pair at the end.
    ///
    /// # Errors
    /// `InvalidURI` once there are [`QUERY_PAIRS_MAX`] pairs.
    pub(crate) fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<()> {
        if self.pairs.len() >= QUERY_PAIRS_MAX {
            return Err(too_many_pairs());
        }
        self.push_pair(name.as_ref(), value.as_ref());
        Ok(())
    }

    fn push_pair(&mut self, name: &str, value: &str) {
        let name_at = self.text.len();
        self.text.reserve(name.len().saturating_add(value.len()));
        self.text.push_str(name);
        let value_at = self.text.len();
        self.text.push_str(value);
        self.pairs.push(Pair::at(name_at, value_at, self.text.len()));
    }

    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The value of a name that may stand there once.
    ///
    /// # Errors
    /// `InvalidArgument` where it stands there twice: two readers would take two different values.
    pub(crate) fn get_unique(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.iter().filter(|(other, _)| *other == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("The query parameter {name:?} is given more than once."),
            ));
        }
        Ok(first)
    }

    /// All pairs in the order of the wire.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|pair| pair.of(&self.text))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs whose name does not fit `dropped`.
    #[must_use]
    pub(crate) fn without(mut self, dropped: impl Fn(&str) -> bool) -> Self {
        let text = &self.text;
        self.pairs.retain(|pair| !dropped(pair.of(text).0));
        self
    }

    /// The one form in which a query is verified, signed and sent: each side encoded, sorted by encoded name
    /// and then value, flags as `name=` (P24).
    pub fn canonical(&self) -> String {
        let mut canonical = String::new();
        self.push_canonical(&mut canonical, |_| false);
        canonical
    }

    /// Appends [`Query::canonical`] of the pairs whose name does not fit `dropped`.
    pub(crate) fn push_canonical(&self, out: &mut String, dropped: impl Fn(&str) -> bool) {
        let mut pairs: SmallVec<[_; PAIRS_INLINE]> = self.iter().filter(|(name, _)| !dropped(name)).collect();
        pairs.sort_unstable_by(|(name, value), (other_name, other_value)| {
            cmp_encoded(name, other_name).then_with(|| cmp_encoded(value, other_value))
        });
        for (index, (name, value)) in pairs.iter().enumerate() {
            if index > 0 {
                out.push('&');
            }
            push_encoded_component(out, name);
            out.push('=');
            push_encoded_component(out, value);
        }
    }
}

impl Pair {
    /// No text of a query comes near 4 GiB; beyond that a pair would be empty.
    fn at(name: usize, value: usize, end: usize) -> Self {
        let [name, value, end] = [name, value, end].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        Self { name, value, end }
    }

    /// Name and value in the text of the query that the pair is of.
    fn of(self, text: &str) -> (&str, &str) {
        let part = |from: u32, to: u32| text.get(from as usize..to as usize).unwrap_or_default();
        (part(self.name, self.value), part(self.value, self.end))
    }
}

/// By the pairs alone: what was dropped is not there.
impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Query {}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Compares two texts as they sort once they are encoded. What is encoded begins with a `%`, which sorts
/// before every character that stays, and two that are encoded sort as their bytes do.
fn cmp_encoded(left: &str, right: &str) -> Ordering {
    let rank = |byte: u8| (is_unreserved(byte), byte);
    left.bytes().map(rank).cmp(right.bytes().map(rank))
}

fn too_many_pairs() -> Error {
    Error::new(Code::InvalidURI, "The query has more than 100 parameters.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(raw: &str) -> String {
        Query::parse(Some(raw)).unwrap().canonical()
    }

    #[test]
    fn p21_a_path_is_decoded_once_and_encoded_once() {
        for (wire, decoded, encoded) in [
            ("/b/one%20file+plus", "/b/one file+plus", "/b/one%20file%2Bplus"),
            ("/b/a%2fb%2Fc", "/b/a/b/c", "/b/a/b/c"),
            ("/b/job=1/x", "/b/job=1/x", "/b/job%3D1/x"),
            ("/b/%252F", "/b/%2F", "/b/%252F"),
            ("/b/../c//d/.", "/b/../c//d/.", "/b/../c//d/."),
            ("/b/%c3%a4-._~", "/b/ä-._~", "/b/%C3%A4-._~"),
        ] {
            assert_eq!(decode_path(wire).unwrap(), decoded);
            assert_eq!(encode_path(decoded), encoded);
        }
        assert_eq!(encode_component("a/b c"), "a%2Fb%20c");
        let mut text = "GET\n".to_owned();
        push_encoded_path(&mut text, "/b/a b");
        assert_eq!(text, "GET\n/b/a%20b");
    }

    #[test]
    fn p20_malformed_escapes_and_bytes_are_refused() {
        for wire in ["/%", "/%2", "/%zz", "/%2g", "/%+1", "/%ff", "/%C3", "/%é"] {
            assert_eq!(decode_path(wire).unwrap_err().code, Code::InvalidURI, "{wire}");
            assert_eq!(Query::parse(Some(wire)).unwrap_err().code, Code::InvalidURI, "{wire}");
        }
    }

    #[test]
    fn p21_what_stays_as_it_is_is_what_is_not_to_be_encoded() {
        for character in (0..=127_u8).map(char::from).chain(['\u{80}', 'é', '一']) {
            let text = format!("a{character}b");
            assert_eq!(encode_path(&text), utf8_percent_encode(&text, PATH).to_string());
            assert_eq!(encode_component(&text), utf8_percent_encode(&text, COMPONENT).to_string());
        }
    }

    #[test]
    fn p24_a_query_sorts_by_encoded_name_then_value_and_flags_get_an_equals_sign() {
        assert_eq!(canonical("a=2&a=1"), "a=1&a=2");
        assert_eq!(canonical("b=2&a=2&a=1&flag"), "a=1&a=2&b=2&flag=");
        assert_eq!(canonical("lifecycle"), "lifecycle=");
    }

    #[test]
    fn p24_a_plus_in_a_query_is_a_space_and_empty_segments_vanish() {
        assert_eq!(canonical("&a=x+y%2Bz&&b=c=d&"), "a=x%20y%2Bz&b=c%3Dd");
        assert_eq!(canonical(""), "");
        assert!(Query::parse(None).unwrap().is_empty());
        assert!(!Query::parse(Some("a")).unwrap().is_empty());
        assert_eq!(Query::of([("b", "c=d"), ("a", "")]), Query::parse(Some("b=c%3Dd&a")).unwrap());
    }

    #[test]
    fn p24_sorting_is_by_encoded_text() {
        // Decoded, `{` (0x7b) comes after `a`; encoded, `%7B` comes before it.
        assert_eq!(canonical("a=1&{=2"), "%7B=2&a=1");
    }

    #[test]
    fn p16_a_name_given_twice_is_refused_where_one_is_meant() {
        let query = Query::parse(Some("a=1&b=2&a=1")).unwrap();
        assert_eq!(query.get_unique("a").unwrap_err().code, Code::InvalidArgument);
        assert_eq!(query.get_unique("b").unwrap(), Some("2"));
        assert_eq!(query.get_unique("c").unwrap(), None);
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.without(|name| name == "a").canonical(), "b=2");
    }

    #[test]
    fn the_number_of_pairs_is_bounded() {
        let raw = |pairs: usize| vec!["a=1"; pairs].join("&");
        assert_eq!(Query::parse(Some(&raw(QUERY_PAIRS_MAX))).unwrap().iter().count(), QUERY_PAIRS_MAX);
        assert_eq!(Query::parse(Some(&raw(QUERY_PAIRS_MAX + 1))).unwrap_err().code, Code::InvalidURI);
    }

    proptest! {
        #[test]
        fn p20_paths_go_round(path in "\\PC*") {
            prop_assert_eq!(decode_path(&encode_path(&path)).unwrap(), path);
        }

        #[test]
        fn p20_canonical_queries_go_round(pairs in prop::collection::vec((".{0,8}", ".{0,8}"), 0..12)) {
            let mut query = Query::default();
            for (name, value) in &pairs {
                query.push(name.as_str(), value.as_str()).unwrap();
            }
            let once = query.canonical();
            let again = Query::parse(Some(&once)).unwrap();
            prop_assert_eq!(again.canonical(), once);
            prop_assert_eq!(again.iter().count(), pairs.len());
        }

        #[test]
        fn p24_sorting_is_by_encoded_text_whatever_the_text(
            left in "\\PC{0,4}|[%-_~a-c{\u{0}-\u{30}]{0,4}",
            right in "\\PC{0,4}|[%-_~a-c{\u{0}-\u{30}]{0,4}",
        ) {
            let encoded = encode_component(&left).cmp(&encode_component(&right));
            prop_assert_eq!(cmp_encoded(&left, &right), encoded);
        }

        #[test]
        fn p20_no_text_panics(text in ".*") {
            let _ = decode_path(&text);
            let _ = Query::parse(Some(&text));
        }
    }
}
