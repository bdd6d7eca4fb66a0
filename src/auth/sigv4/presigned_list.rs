//! Presigned lists that go on: what may follow the signature of one without being signed.
//!
//! A presigned URL is one page of a list, and nobody but the signer could ask for the next. So on a presigned `GET` of
//! ListObjectsV2 with a signed prefix, [`NAMES`] may be added *after* `X-Amz-Signature`; where they stand says that
//! they are not signed, nothing has to be guessed. They are handed over apart ([`super::Verified::unsigned_query`])
//! and can only narrow what was signed; what they may be is decided where the request is understood.

use http::Method;

use crate::s3::uri::Query;

/// What may be added.
const NAMES: &[&str] = &["continuation-token", "delimiter", "max-keys", "prefix", "start-after"];

const SIGNATURE: &str = "x-amz-signature";

/// The signed part of a presigned list and what follows it; none where there is nothing to tell apart.
pub(in crate::auth) fn split(method: &Method, query: &Query) -> Option<(Query, Query)> {
    if *method != Method::GET {
        return None;
    }
    let (mut signed, mut added) = (Query::default(), Query::default());
    let mut behind = false;
    for (name, value) in query.iter() {
        let part = if behind && NAMES.contains(&name) { &mut added } else { &mut signed };
        part.push(name, value).ok()?;
        behind |= name.eq_ignore_ascii_case(SIGNATURE);
    }
    let is_list = signed.get("list-type") == Some("2");
    let has_prefix = signed.get("prefix").is_some_and(|prefix| !prefix.is_empty());
    (is_list && has_prefix && !added.is_empty()).then_some((signed, added))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(query: &str) -> Option<String> {
        let query = Query::parse(Some(query)).unwrap();
        split(&Method::GET, &query).map(|(_, added)| added.canonical())
    }

    #[test]
    fn what_follows_the_signature_of_a_list_is_told_apart() {
        let list = "list-type=2&prefix=a%2F&X-Amz-Signature=s";
        assert_eq!(
            added(&format!("{list}&continuation-token=t&prefix=a%2Fb")).unwrap(),
            "continuation-token=t&prefix=a%2Fb"
        );
        assert_eq!(added(&format!("{list}&max-keys=2&other=1")).unwrap(), "max-keys=2");
        for query in [
            list,
            "list-type=2&prefix=a%2F&max-keys=2&X-Amz-Signature=s",
            "list-type=2&X-Amz-Signature=s&prefix=a%2F",
            "list-type=2&prefix=&X-Amz-Signature=s&max-keys=1",
            "prefix=a%2F&X-Amz-Signature=s&max-keys=1",
            "prefix=a%2F&X-Amz-Signature=s&max-keys=1&list-type=2&x-id=1",
            "list-type=2&prefix=a%2F&max-keys=1",
            "list-type=2&prefix=a%2F&X-Amz-Signature=s&versionId=1",
        ] {
            assert_eq!(added(query).filter(|_| !query.ends_with("x-id=1")), None, "{query}");
        }
        assert!(split(&Method::HEAD, &Query::parse(Some(&format!("{list}&max-keys=1"))).unwrap()).is_none());
    }
}
