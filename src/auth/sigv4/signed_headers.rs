//! The headers that a signature covers: their names, and the lines of the canonical request with their
//! values.
//!
//! Source: `CanonicalHeaders` and `SignedHeaders` of
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
//!
//! Invariant: names are lower-case, each there once, in ascending order (P1). They are looked up once, in one
//! pass over what arrived: a lookup of each by its name was a tenth of verifying a request.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr2;
use smallvec::SmallVec;

use crate::{
    error::{Code, Error, Result},
    split::split,
};

/// As many headers as most requests sign; more of them take an allocation.
const HEADERS_INLINE: usize = 16;

/// The header whose value is the last line of every canonical request: it is signed without being named.
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// What a signature covers of the headers of a request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SignedHeaders<'a> {
    /// The names joined by `;`.
    text: Cow<'a, str>,
    signed: SmallVec<[SignedHeader<'a>; HEADERS_INLINE]>,
    /// The headers of the request, where one of them is there more than once.
    repeated: Option<&'a HeaderMap>,
    /// An `x-amz-…` header that is there and not signed.
    unsigned: Option<&'a HeaderName>,
}

#[derive(Clone, PartialEq, Eq)]
struct SignedHeader<'a> {
    name: &'a str,
    /// Its first value; none where the header is not there.
    value: Option<&'a HeaderValue>,
}

impl<'a> SignedHeaders<'a> {
    /// Reads the value of `SignedHeaders`, for a request with these `headers`. None where it is not in
    /// SigV4's own form.
    pub(crate) fn parse(text: &'a str, headers: &'a HeaderMap) -> Option<Self> {
        // All of the text at once, which the processor does for many characters in one step.
        let is_plain = text
            .bytes()
            .fold(true, |is_plain, byte| is_plain & byte.is_ascii_graphic() & !byte.is_ascii_uppercase());
        let mut signed = SmallVec::<[SignedHeader<'_>; HEADERS_INLINE]>::new();
        for name in split(text, b';') {
            if !is_plain || name.is_empty() || signed.last().is_some_and(|before| before.name >= name) {
                return None;
            }
            signed.push(SignedHeader { name, value: None });
        }
        let repeated = repeated(headers);
        let mut read = Self { text: Cow::Borrowed(text), signed, repeated, unsigned: None };
        for (name, value) in headers {
            match read.find(name.as_str()).ok().and_then(|at| read.signed.get_mut(at)) {
                Some(signed) => signed.value = signed.value.or(Some(value)),
                None if name.as_str().starts_with("x-amz-") && *name != CONTENT_SHA256 => {
                    read.unsigned = read.unsigned.or(Some(name));
                }
                None => {}
            }
        }
        Some(read)
    }

    /// Those of `headers` whose name fits `is_signed`, to be signed here.
    pub(crate) fn choose(headers: &'a HeaderMap, is_signed: impl Fn(&str) -> bool) -> Self {
        let mut signed: SmallVec<[SignedHeader<'_>; HEADERS_INLINE]> = (headers.iter())
            .map(|(name, value)| SignedHeader { name: name.as_str(), value: Some(value) })
            .filter(|header| is_signed(header.name))
            .collect();
        // Stable: values of one name stay in the order in which they were set.
        signed.sort_by_key(|header| header.name);
        signed.dedup_by_key(|header| header.name);
        let names: SmallVec<[&str; HEADERS_INLINE]> = signed.iter().map(|header| header.name).collect();
        let text = Cow::Owned(names.join(";"));
        Self { text, signed, repeated: repeated(headers), unsigned: None }
    }

    /// The names joined by `;`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the header `name` (lower-case) is signed.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// The first `x-amz-…` header that arrived without being signed (P1).
    pub(crate) fn unsigned(&self) -> Option<&'a HeaderName> {
        self.unsigned
    }

    /// Appends a line for each header: its name, `:`, and its values joined by `,` (P16). `overrides` are
    /// values that stand in for those that arrived, by name.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch` for a signed header that is not there, `InvalidRequest` for a value that is
    /// not UTF-8.
    pub(super) fn push_lines(&self, text: &mut String, overrides: &[(&str, &str)]) -> Result<()> {
        for SignedHeader { name, value } in &self.signed {
            text.push_str(name);
            text.push(':');
            match overrides.iter().find(|(other, _)| other == name) {
                Some((_, value)) => push_collapsed(text, value),
                None => self.push_values(text, name, value.ok_or_else(|| not_there(name))?)?,
            }
            text.push('\n');
        }
        Ok(())
    }

    fn push_values(&self, text: &mut String, name: &str, first: &HeaderValue) -> Result<()> {
        push_collapsed(text, utf8(name, first)?);
        let further = self.repeated.into_iter().flat_map(|headers| headers.get_all(name).iter().skip(1));
        for value in further {
            text.push(',');
            push_collapsed(text, utf8(name, value)?);
        }
        Ok(())
    }

    fn find(&self, name: &str) -> std::result::Result<usize, usize> {
        self.signed.binary_search_by(|signed| signed.name.cmp(name))
    }
}

/// `headers` where one of them is there more than once.
fn repeated(headers: &HeaderMap) -> Option<&HeaderMap> {
    Some(headers).filter(|headers| headers.keys_len() != headers.len())
}

fn not_there(name: &str) -> Error {
    Error::new(
        Code::SignatureDoesNotMatch,
        format!("The header {name:?} is signed but did not arrive; a proxy on the way may have removed it."),
    )
}

fn utf8<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| {
        Error::new(Code::InvalidRequest, format!("The value of the signed header {name:?} is not UTF-8."))
    })
}

/// Appends `value` without white space at its ends and with each run of it as one space (P26).
fn push_collapsed(out: &mut String, value: &str) {
    // Nearly every value has none, and a session token is long.
    if memchr2(b' ', b'\t', value.as_bytes()).is_none() {
        out.push_str(value);
        return;
    }
    for (index, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn lines(names: &str, headers: &HeaderMap, overrides: &[(&str, &str)]) -> Result<String> {
        let mut text = String::new();
        SignedHeaders::parse(names, headers).unwrap().push_lines(&mut text, overrides).map(|()| text)
    }

    #[test]
    fn p1_names_are_lower_case_each_once_in_ascending_order() {
        let headers = HeaderMap::new();
        for names in ["host", "a;b;c", "accept-encoding;host;x-amz-date", "a;a1;a:"] {
            assert_eq!(SignedHeaders::parse(names, &headers).unwrap().text(), names);
        }
        for names in
            ["", ";", "host;", ";host", "a;;b", "b;a", "a;a", "Host", "a b", "a;b\u{e9}", "a\t", "a;\u{7f}"]
        {
            assert!(SignedHeaders::parse(names, &headers).is_none(), "{names:?}");
        }
    }

    #[test]
    fn p1_an_amz_header_that_is_not_signed_is_named() {
        let headers = map(&[("host", "h"), ("x-amz-a", "1"), ("x-amz-content-sha256", "e"), ("range", "r")]);
        let unsigned = |names| {
            let signed = SignedHeaders::parse(names, &headers).unwrap();
            signed.unsigned().map(HeaderName::as_str)
        };
        assert_eq!(unsigned("host"), Some("x-amz-a"));
        assert_eq!(unsigned("host;x-amz-a"), None);
        assert_eq!(unsigned("host;x-amz-content-sha256"), Some("x-amz-a"));
    }

    #[test]
    fn p16_p26_values_are_joined_and_white_space_collapses() {
        let headers = map(&[
            ("x-amz-meta-a", "  two \t  words "),
            ("x-amz-meta-b", "alone"),
            ("x-amz-meta-a", "more"),
            ("x-amz-meta-a", ""),
            ("x-amz-meta-a", "grün"),
        ]);
        assert_eq!(
            lines("x-amz-meta-a;x-amz-meta-b", &headers, &[]).unwrap(),
            "x-amz-meta-a:two words,more,,grün\nx-amz-meta-b:alone\n"
        );
        let all = SignedHeaders::choose(&headers, |_| true);
        let mut text = String::new();
        all.push_lines(&mut text, &[]).unwrap();
        assert_eq!(all.text(), "x-amz-meta-a;x-amz-meta-b");
        assert_eq!(text, "x-amz-meta-a:two words,more,,grün\nx-amz-meta-b:alone\n");
    }

    #[test]
    fn p15_an_override_stands_in_for_what_arrived_and_for_what_did_not() {
        let headers = map(&[("host", "edge"), ("host", "other")]);
        assert_eq!(lines("host", &headers, &[("host", " own  name ")]).unwrap(), "host:own name\n");
        assert_eq!(lines("a;host", &headers, &[("a", "b")]).unwrap(), "a:b\nhost:edge,other\n");
    }

    #[test]
    fn p26_what_is_not_there_and_what_is_not_utf8_is_refused_without_a_panic() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-a", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        assert_eq!(lines("x-amz-meta-a", &headers, &[]).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(lines("x-amz-meta-b", &headers, &[]).unwrap_err().code, Code::SignatureDoesNotMatch);
    }

    proptest! {
        /// The rule of the specification, a header at a time.
        #[test]
        fn p1_p16_lines_are_those_of_a_lookup_by_name(
            arrived in proptest::collection::vec(("[a-e]{1,2}", "[a-z ]{0,4}"), 0..40),
            names in proptest::collection::btree_set("[a-e]{1,2}", 1..30),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &arrived {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let text = names.iter().map(String::as_str).collect::<Vec<_>>().join(";");
            let expected = names.iter().map(|name| {
                let values: Vec<_> = (arrived.iter().filter(|(other, _)| other == name))
                    .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
                    .collect();
                (!values.is_empty()).then(|| format!("{name}:{}\n", values.join(",")))
            });
            prop_assert_eq!(lines(&text, &headers, &[]).ok(), expected.collect::<Option<String>>());
            let signed = SignedHeaders::parse(&text, &headers).unwrap();
            for (name, _) in &arrived {
                prop_assert_eq!(signed.covers(name), names.contains(name));
            }
        }
    }
}
