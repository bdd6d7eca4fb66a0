//! Percent-encoding of S3's paths and queries: decoded once from the wire, encoded once by the strict set.
//!
//! Source: RFC 3986 section 2.3 and `UriEncode()` of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
//!
//! Invariants (P20, P21, P24): what is verified, authorised, signed and forwarded is one decoded text; for
//! every text `decode_path(encode_path(text)) == text`; dot segments and doubled slashes stay as they were
//! sent.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Code, Error, Result};

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
    decode(path, false)
}

/// Encodes a decoded path; A-Z a-z 0-9 `-._~` and `/` stay.
pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

/// Encodes a name or a value of a query, or a key that is one segment: `/` is encoded too.
pub(crate) fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// Appends [`encode_path`] of `path` without an allocation of its own.
pub(crate) fn push_encoded_path(out: &mut String, path: &str) {
    out.extend(utf8_percent_encode(path, PATH));
}

fn decode(text: &str, plus_is_space: bool) -> Result<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => escaped(bytes.next(), bytes.next())?,
            b'+' if plus_is_space => b' ',
            plain => plain,
        });
    }
    String::from_utf8(decoded)
        .map_err(|_| Error::new(Code::InvalidURI, "The request target is not UTF-8 once percent-decoded."))
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8> {
    let digit = |byte: Option<u8>| {
        byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        (_, None) | (None, _) => Err(Error::new(
            Code::InvalidURI,
            "The request target has a '%' that is not followed by two hexadecimal digits.",
        )),
    }
}

/// The decoded (name, value) pairs of a query, in the order of the wire, at most `QUERY_PAIRS_MAX`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the raw query of a request target, without its `?`. `+` is a space; a flag without `=` has an
    /// empty value; empty segments (`a&&b`) say nothing and are dropped.
    ///
    /// # Errors
    /// `InvalidURI` for malformed escapes, text that is not UTF-8, or too many pairs.
    pub fn parse(raw: Option<&str>) -> Result<Self> {
        let mut query = Self::default();
        for segment in raw.unwrap_or_default().split('&').filter(|segment| !segment.is_empty()) {
            let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
            query.push(decode(name, true)?, decode(value, true)?)?;
        }
        Ok(query)
    }

    /// A query of a few decoded pairs that are known here.
    pub(crate) fn of<const PAIRS: usize>(pairs: [(&str, &str); PAIRS]) -> Self {
        const { assert!(PAIRS <= QUERY_PAIRS_MAX) };
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    /// Adds a decoded pair at the end.
    ///
    /// # Errors
    /// `InvalidURI` once there are [`QUERY_PAIRS_MAX`] pairs.
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) -> Result<()> {
        if self.0.len() >= QUERY_PAIRS_MAX {
            return Err(Error::new(Code::InvalidURI, "The query has more than 100 parameters."));
        }
        self.0.push((name.into(), value.into()));
        Ok(())
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
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs whose name does not fit `dropped`.
    #[must_use]
    pub(crate) fn without(mut self, dropped: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|(name, _)| !dropped(name));
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
        let encoded = |text| Cow::from(utf8_percent_encode(text, COMPONENT));
        let mut pairs: Vec<_> = self
            .iter()
            .filter(|(name, _)| !dropped(name))
            .map(|(name, value)| (encoded(name), encoded(value)))
            .collect();
        pairs.sort_unstable();
        for (index, (name, value)) in pairs.iter().enumerate() {
            if index > 0 {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }
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
        assert_eq!(Query::parse(Some(&raw(QUERY_PAIRS_MAX))).unwrap().0.len(), QUERY_PAIRS_MAX);
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
            prop_assert_eq!(again.0.len(), pairs.len());
        }

        #[test]
        fn p20_no_text_panics(text in ".*") {
            let _ = decode_path(&text);
            let _ = Query::parse(Some(&text));
        }
    }
}
