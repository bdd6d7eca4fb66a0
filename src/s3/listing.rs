//! Paging of listings, as the client asks for it.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>.

use std::borrow::Cow;

use super::{uri::Query, xml_text};

/// The query name of ListObjectsV2 that a continuation takes the place of.
pub(crate) const START_AFTER: &str = "start-after";

/// The query names of lists that hold a key after which they begin.
pub(crate) const MARKERS: [&str; 3] = ["marker", START_AFTER, "key-marker"];

/// The query name of ListObjectsV2 that leads to the next page.
pub(crate) const CONTINUATION_TOKEN: &str = "continuation-token";

/// The key of the query name `name` after which a listing begins; empty without one. Unless the client has
/// names percent-encoded, it knows a key that XML cannot spell by its other spelling alone.
pub(crate) fn marker<'q>(query: &'q Query, name: &str) -> Cow<'q, str> {
    let marker = query.get(name).unwrap_or_default();
    match query.get("encoding-type") {
        Some("url") => Cow::Borrowed(marker),
        Some(_) | None => xml_text::read_back(marker),
    }
}

/// Whether a listing goes on from a continuation token. S3 then takes no notice of [`START_AFTER`] but to
/// repeat it in its answer, and minio-py sends the token in both.
pub(crate) fn is_continued(query: &Query) -> bool {
    query.get(CONTINUATION_TOKEN).is_some_and(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_token_begins_a_listing() {
        for (query, continued) in [
            ("list-type=2&continuation-token=abc&start-after=abc", true),
            ("list-type=2&continuation-token=&start-after=abc", false),
            ("list-type=2&start-after=abc", false),
        ] {
            assert_eq!(is_continued(&Query::parse(Some(query)).unwrap()), continued, "{query}");
        }
    }
}
