//! A list above the caller's folders, answered here with just the prefixes that lead down to them. And what
//! any list that is answered here asks for.

use crate::{
    error::{Code, Error, Result},
    exchange::Answer,
    s3::{Operation, Request, uri::Query, xml},
};

/// S3's own bound on the keys of one page.
const KEYS_MAX: usize = 1000;

/// How many keys a page may have at most.
///
/// # Errors
/// `InvalidArgument` for a `max-keys` that S3 does not take: it is a whole number of 31 bits.
pub(super) fn keys_max(query: &Query) -> Result<usize> {
    let Some(text) = query.get("max-keys").filter(|text| !text.is_empty()) else { return Ok(KEYS_MAX) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i32>().ok().filter(|_| is_number);
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.map(|number| number.min(KEYS_MAX)).ok_or_else(|| {
        Error::new(Code::InvalidArgument, "Provided max-keys not an integer or within integer range.")
            .element("ArgumentName", "max-keys")
            .element("ArgumentValue", text)
    })
}

/// Whether names are percent-encoded on the page.
///
/// # Errors
/// `InvalidArgument` for another `encoding-type` than `url`.
pub(super) fn is_url_encoded(query: &Query) -> Result<bool> {
    match query.get("encoding-type").filter(|encoding| !encoding.is_empty()) {
        None => Ok(false),
        Some("url") => Ok(true),
        Some(other) => {
            Err(Error::new(Code::InvalidArgument, "Invalid Encoding Method specified in Request.")
                .element("ArgumentName", "encoding-type")
                .element("ArgumentValue", other))
        }
    }
}

/// The page of `prefixes` that a list asks for.
///
/// # Errors
/// `InvalidArgument` for a `max-keys` or an `encoding-type` that S3 does not take.
pub(super) fn folders(bucket: &str, request: &Request, prefixes: &[String]) -> Result<Answer> {
    let query = &request.query;
    let given = |name| query.get(name).filter(|value| !value.is_empty());
    let v2 = request.operation == Operation::ListObjectsV2;
    let keys_max = keys_max(query)?;
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
        url_encoded: is_url_encoded(query)?,
        keys_max,
        after,
        token,
        prefixes: page,
        // S3 says no more of a page that was asked to be empty.
        truncated: keys_max > 0 && page.len() < left.len(),
    };
    Ok(Answer::xml(listing.to_xml()))
}
