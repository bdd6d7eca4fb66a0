//! A list above the caller's folders, answered here with just the prefixes that lead down to them.

use crate::{
    exchange::Answer,
    s3::{Operation, Request, xml},
};

/// S3's own bound on the keys of one page.
pub(super) const KEYS_MAX: usize = 1000;

/// The page of `prefixes` that a list asks for.
pub(super) fn folders(bucket: &str, request: &Request, prefixes: &[String]) -> Answer {
    let query = &request.query;
    let given = |name| query.get(name).filter(|value| !value.is_empty());
    let v2 = request.operation == Operation::ListObjectsV2;
    let keys_max = given("max-keys").and_then(|number| number.parse().ok()).unwrap_or(KEYS_MAX).min(KEYS_MAX);
    let after = if v2 { given("start-after") } else { given("marker") };
    let token = given("continuation-token").filter(|_| v2);
    let from = token.or(after).unwrap_or_default();
    let left: Vec<String> = prefixes.iter().filter(|prefix| prefix.as_str() > from).cloned().collect();
    let page = left.get(..keys_max.min(left.len())).unwrap_or_default();
    let listing = xml::PrefixListing {
        bucket,
        prefix: query.get("prefix").unwrap_or_default(),
        delimiter: query.get("delimiter").unwrap_or_default(),
        v2,
        url_encoded: query.get("encoding-type") == Some("url"),
        keys_max,
        after,
        token,
        prefixes: page,
        // S3 says no more of a page that was asked to be empty.
        truncated: keys_max > 0 && page.len() < left.len(),
    };
    Answer::xml(listing.to_xml())
}
