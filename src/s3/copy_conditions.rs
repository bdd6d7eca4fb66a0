//! The conditions of a copy on its source, `x-amz-copy-source-if-*`. Pure.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>. They are judged here, by
//! what the store says of the source, and none of them goes on: an If-Match of this server's own holds the
//! copy to the source that was measured, and beside one that holds a store does not mind If-Unmodified-Since.

use http::{HeaderMap, HeaderName};

use super::xml::bare_etag;
use crate::{
    error::{Code, Error, Result},
    time::UnixTime,
};

/// The source must have this ETag.
pub(super) const IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const IF_NONE_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-none-match");
const IF_MODIFIED_SINCE: HeaderName = HeaderName::from_static("x-amz-copy-source-if-modified-since");
const IF_UNMODIFIED_SINCE: HeaderName = HeaderName::from_static("x-amz-copy-source-if-unmodified-since");

/// The conditions of a copy on its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CopyConditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<UnixTime>,
    if_unmodified_since: Option<UnixTime>,
}

impl CopyConditions {
    /// Takes them out of the headers.
    ///
    /// # Errors
    /// `InvalidArgument` for a condition that is there twice or cannot be read.
    pub(super) fn take(headers: &mut HeaderMap) -> Result<Self> {
        let etag = |text: &str| Some(text.to_owned());
        Ok(Self {
            if_match: take_one(headers, &IF_MATCH, etag)?,
            if_none_match: take_one(headers, &IF_NONE_MATCH, etag)?,
            if_modified_since: take_one(headers, &IF_MODIFIED_SINCE, UnixTime::from_http_date)?,
            if_unmodified_since: take_one(headers, &IF_UNMODIFIED_SINCE, UnixTime::from_http_date)?,
        })
    }

    /// Whether they hold for a source with this ETag, last modified then. An ETag outweighs a date, both
    /// where it holds and where it does not.
    ///
    /// # Errors
    /// `PreconditionFailed`; `ServiceUnavailable` where the store did not say what a condition is about.
    pub(crate) fn check(&self, etag: Option<&str>, last_modified: Option<UnixTime>) -> Result<()> {
        let etag = || etag.ok_or_else(|| Error::store_unavailable("a HEAD without an ETag"));
        let last_modified =
            || last_modified.ok_or_else(|| Error::store_unavailable("a HEAD without a Last-Modified"));
        match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) if !names(wanted, etag()?) => return Err(failed(&IF_MATCH)),
            (None, Some(since)) if last_modified()? > since => return Err(failed(&IF_UNMODIFIED_SINCE)),
            (Some(_), _) | (None, Some(_) | None) => {}
        }
        match (&self.if_none_match, self.if_modified_since) {
            (Some(unwanted), _) if names(unwanted, etag()?) => Err(failed(&IF_NONE_MATCH)),
            (None, Some(since)) if last_modified()? <= since => Err(failed(&IF_MODIFIED_SINCE)),
            (Some(_), _) | (None, Some(_) | None) => Ok(()),
        }
    }
}

/// Whether a condition, of one ETag, several or `*`, names this one.
fn names(condition: &str, etag: &str) -> bool {
    condition.split(',').any(|one| one.trim() == "*" || bare_etag(one) == bare_etag(etag))
}

fn take_one<T>(
    headers: &mut HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    let values: Vec<_> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    let value = match values.as_slice() {
        [] => return Ok(None),
        [value] => value.to_str().ok().and_then(read),
        [_, _, ..] => None,
    };
    let invalid = || {
        Error::new(Code::InvalidArgument, format!("The header {name} cannot be read."))
            .element("ArgumentName", name.as_str())
    };
    value.map(Some).ok_or_else(invalid)
}

fn failed(condition: &HeaderName) -> Error {
    Error::new(Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
        .element("Condition", condition.as_str())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const BEFORE: &str = "Mon, 02 Nov 2026 10:11:12 GMT";
    const THEN: &str = "Tue, 03 Nov 2026 10:11:12 GMT";
    const AFTER: &str = "Wed, 04 Nov 2026 10:11:12 GMT";

    fn conditions(pairs: &[(&str, &'static str)]) -> Result<CopyConditions> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(format!("x-amz-copy-source-if-{name}")).unwrap();
            headers.append(name, HeaderValue::from_static(value));
        }
        let conditions = CopyConditions::take(&mut headers);
        assert!(conditions.is_err() || headers.is_empty(), "{headers:?}");
        conditions
    }

    #[test]
    fn p48_conditions_of_a_copy_hold_as_s3_has_them() {
        for (pairs, holds) in [
            (&[][..], true),
            (&[("match", "\"a\"")], true),
            (&[("match", "a")], true),
            (&[("match", "*")], true),
            (&[("match", "\"b\", \"a\"")], true),
            (&[("match", "\"b\"")], false),
            (&[("match", "")], false),
            (&[("none-match", "\"b\"")], true),
            (&[("none-match", "\"a\"")], false),
            (&[("none-match", "*")], false),
            (&[("modified-since", BEFORE)], true),
            (&[("modified-since", THEN)], false),
            (&[("modified-since", AFTER)], false),
            (&[("unmodified-since", BEFORE)], false),
            (&[("unmodified-since", THEN)], true),
            (&[("unmodified-since", AFTER)], true),
            // An ETag outweighs a date.
            (&[("match", "\"a\""), ("unmodified-since", BEFORE)], true),
            (&[("match", "\"b\""), ("unmodified-since", AFTER)], false),
            (&[("none-match", "\"a\""), ("modified-since", BEFORE)], false),
            (&[("none-match", "\"b\""), ("modified-since", AFTER)], true),
            // Both pairs have to hold.
            (&[("match", "\"a\""), ("none-match", "\"a\"")], false),
            (&[("unmodified-since", AFTER), ("modified-since", BEFORE)], true),
            (&[("unmodified-since", AFTER), ("modified-since", AFTER)], false),
        ] {
            let checked = conditions(pairs).unwrap().check(Some("\"a\""), UnixTime::from_http_date(THEN));
            let code = checked.map_err(|error| error.code);
            assert_eq!(code, if holds { Ok(()) } else { Err(Code::PreconditionFailed) }, "{pairs:?}");
        }
    }

    #[test]
    fn p48_a_condition_that_cannot_be_judged_never_holds() {
        for pairs in [
            &[("modified-since", "yesterday")][..],
            &[("unmodified-since", "2026-11-03T10:11:12Z")],
            &[("unmodified-since", "")],
            &[("unmodified-since", BEFORE), ("unmodified-since", AFTER)],
            &[("match", "\"a\""), ("match", "\"b\"")],
        ] {
            assert_eq!(conditions(pairs).unwrap_err().code, Code::InvalidArgument, "{pairs:?}");
        }
        let unknown = |pairs: &[_]| conditions(pairs).unwrap().check(None, None).map_err(|error| error.code);
        assert_eq!(unknown(&[]), Ok(()));
        for pair in
            [("match", "a"), ("none-match", "a"), ("modified-since", THEN), ("unmodified-since", THEN)]
        {
            assert_eq!(unknown(&[pair]), Err(Code::ServiceUnavailable), "{pair:?}");
        }
    }
}
