//! Presigned queries: headers that stand in them, and lists that go on behind their signature.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>. Paging is this
//! server's own: a presigned URL is one page of a list, and nobody but the signer could ask for the next. So
//! on a presigned `GET` of ListObjectsV2 with a signed prefix, the parameters of [`Addition`] may be added
//! *after* `X-Amz-Signature`. Where they stand says that they are not signed; nothing has to be guessed.
//!
//! A client of the vending server's from 2025-05 puts a longer prefix in the place of the signed one instead.
//! That is the same request spelled otherwise, so [`replaced_prefix`] says which list may have been signed:
//! one of a root of the folders, that has no delimiter. Whether it was is for the signature of a session to
//! say; the longer prefix then counts as if it had been added.
//!
//! Invariants: what is added only narrows what was signed, never widens or replaces it; a header that stands
//! in the query stands nowhere else.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::{
    error::{Code, Error, Reason, Result},
    s3::{headers::CHECKSUM_ALGORITHMS, uri::Query},
};

/// Base64 as stores read it in a continuation token, with or without padding.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64_LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL_LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

const SIGNATURE: &str = "x-amz-signature";

/// What begins the name of a header that may stand in a presigned query, in lower case.
const HEADER_PREFIX: &str = "x-amz-";

/// What may be added behind the signature of a presigned list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addition {
    ContinuationToken,
    Delimiter,
    MaxKeys,
    Prefix,
    StartAfter,
}

impl Addition {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "continuation-token" => Self::ContinuationToken,
            "delimiter" => Self::Delimiter,
            "max-keys" => Self::MaxKeys,
            "prefix" => Self::Prefix,
            "start-after" => Self::StartAfter,
            _ => return None,
        })
    }
}

/// The signed part of the query of a presigned list, and what was added behind the signature. `None` where
/// nothing was added or nothing may be.
pub(crate) fn split(method: &Method, query: &Query) -> Option<(Query, Query)> {
    if *method != Method::GET {
        return None;
    }
    let (mut signed, mut added) = (Query::default(), Query::default());
    let mut behind_signature = false;
    for (name, value) in query.iter() {
        let is_added = behind_signature && Addition::named(name).is_some();
        let part = if is_added { &mut added } else { &mut signed };
        part.push(name, value).ok()?;
        behind_signature |= name.eq_ignore_ascii_case(SIGNATURE);
    }
    let is_list = signed.get("list-type") == Some("2");
    let has_prefix = signed.get("prefix").is_some_and(|prefix| !prefix.is_empty());
    (is_list && has_prefix && !added.is_empty()).then_some((signed, added))
}

/// The queries that may have been signed where the prefix of a presigned list was replaced by a longer one,
/// with that prefix as what was added: one for each of `roots` that begins it. None where the query is no
/// list without a delimiter, or says anything twice.
pub(crate) fn replaced_prefix<'a>(
    method: &Method,
    query: &'a Query,
    roots: &'a [String],
) -> impl Iterator<Item = (Query, Query)> + use<'a> {
    let once = |name: &str| query.get_unique(name).ok().flatten();
    let is_plain_list = *method == Method::GET
        && once("list-type") == Some("2")
        && query.iter().all(|(name, _)| name != "delimiter" && once(name).is_some());
    let prefix = once("prefix").filter(|_| is_plain_list);
    roots.iter().filter_map(move |root| {
        let prefix = prefix.filter(|prefix| !root.is_empty() && *prefix != root)?;
        prefix.strip_prefix(root.as_str())?;
        let (mut signed, mut added) = (Query::default(), Query::default());
        for (name, value) in query.iter() {
            signed.push(name, if name == "prefix" { root } else { value }).ok()?;
        }
        added.push("prefix", prefix).ok()?;
        Some((signed, added))
    })
}

/// The query that is authorised and forwarded: the signed one, narrowed by what was added.
///
/// # Errors
/// `AccessDenied` for a prefix or a start outside the signed prefix, and for a prefix, a start or a
/// continuation token that goes past the signed delimiter (P61); `InvalidArgument` for what is there twice
/// and for a `max-keys` that is no number.
pub(crate) fn narrowed(signed: Query, added: &Query) -> Result<Query> {
    let signed_delimiter = signed.get("delimiter").unwrap_or_default().to_owned();
    let mut query = signed;
    for (name, value) in added.iter() {
        added.get_unique(name)?;
        let prefix = query.get("prefix").unwrap_or_default();
        let signed_value = query.get(name);
        match Addition::named(name) {
            Some(Addition::Prefix) => match value.strip_prefix(prefix) {
                None => return Err(outside(name, prefix)),
                Some(more) if reaches_past(more, &signed_delimiter) => {
                    return Err(past_delimiter(name, prefix));
                }
                Some(_) => {}
            },
            // A start before the prefix is its beginning; one behind it lists nothing.
            Some(Addition::StartAfter) if !value.starts_with(prefix) && !prefix.starts_with(value) => {
                return Err(outside(name, prefix));
            }
            Some(Addition::StartAfter) if begins_past(value.as_bytes(), prefix, &signed_delimiter) => {
                return Err(past_delimiter(name, prefix));
            }
            Some(Addition::ContinuationToken) if names_key_past(value, prefix, &signed_delimiter) => {
                return Err(past_delimiter(name, prefix));
            }
            Some(Addition::MaxKeys) => {
                let wanted = whole_number(value).ok_or_else(no_number)?;
                // A signed value that is no number bounds nothing, so nothing takes its place.
                if signed_value.is_some_and(|signed| Some(wanted) > whole_number(signed)) {
                    return Err(already_signed(name));
                }
            }
            Some(Addition::StartAfter | Addition::ContinuationToken | Addition::Delimiter) | None => {
                if signed_value.is_some() {
                    return Err(already_signed(name));
                }
            }
        }
        query = query.without(|other| other == name);
        query.push(name, value)?;
    }
    Ok(query)
}

/// Whether a prefix longer by `more` shows keys that a list with that delimiter has rolled up. That is so
/// where a delimiter begins in `more`, even if only its beginning is there: the keys may go on with the rest
/// of it.
fn reaches_past(more: &str, delimiter: &str) -> bool {
    let mut rests = more.char_indices().filter_map(|(at, _)| more.get(at..));
    !delimiter.is_empty() && rests.any(|rest| rest.starts_with(delimiter) || delimiter.starts_with(rest))
}

/// Whether a list that begins after `key` begins among keys that the delimiter has rolled up, so that whether
/// it still shows their common prefix tells which of them exist. A common prefix itself is where a page ends.
fn begins_past(key: &[u8], prefix: &str, delimiter: &str) -> bool {
    let Some(more) = key.strip_prefix(prefix.as_bytes()).filter(|_| !delimiter.is_empty()) else {
        return false;
    };
    let behind = memchr::memmem::find(more, delimiter.as_bytes())
        .and_then(|at| more.get(at.saturating_add(delimiter.len())..))
        .unwrap_or_default();
    // MinIO writes what it remembers of a list behind the key at which a page ended.
    let is_note = behind.starts_with(b"[minio_cache:") && behind.ends_with(b"]");
    !behind.is_empty() && !is_note
}

/// Whether a continuation token that spells a key begins past the delimiter. Tokens are the store's own, and
/// anybody can write one for a store whose tokens are keys: as they are (Ceph RGW), in base64 (MinIO), or in
/// base64 behind a mark (Garage).
fn names_key_past(token: &str, prefix: &str, delimiter: &str) -> bool {
    let marked = token.strip_prefix(['[', ']']).unwrap_or(token);
    begins_past(token.as_bytes(), prefix, delimiter)
        || [BASE64_LENIENT.decode(marked), BASE64_URL_LENIENT.decode(marked)]
            .iter()
            .flatten()
            .any(|key| begins_past(key, prefix, delimiter))
}

/// A number of digits only: `parse` alone takes a sign.
fn whole_number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn no_number() -> Error {
    Error::new(
        Code::InvalidArgument,
        "max-keys that is added to a presigned list must be a whole number from 0 to 4294967295.",
    )
}

fn past_delimiter(name: &str, prefix: &str) -> Error {
    Error::because(
        Code::AccessDenied,
        Reason::PrefixDenied,
        format!(
            "this presigned list was signed with a delimiter; the {name} that is added to it \
             must not go past one behind {prefix:?}."
        ),
    )
}

fn outside(name: &str, prefix: &str) -> Error {
    Error::because(
        Code::AccessDenied,
        Reason::PrefixDenied,
        format!(
            "what is added to a presigned list must stay inside its prefix {prefix:?}; \
             {name} does not."
        ),
    )
}

fn already_signed(name: &str) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!(
            "{name} is signed in this presigned list; it can be narrowed (prefix, max-keys) and not \
             replaced."
        ),
    )
}

/// Moves the headers that SDKs put into a presigned query (`X-Amz-Meta-…`, `X-Amz-Storage-Class`) to
/// `headers`: they are signed as parameters, and are headers to S3. Gives the query without them.
///
/// What the query of an upload says of checksums is dropped: SDKs presign the checksum of nothing, for they
/// do not have the body yet.
///
/// # Errors
/// `InvalidArgument` for what is not a header, and for a header that stands in two places.
pub(crate) fn move_headers(method: &Method, query: Query, headers: &mut HeaderMap) -> Result<Query> {
    let refused = |name: &str, why: &str| {
        Error::new(Code::InvalidArgument, format!("The query parameter {name:?} {why}."))
    };
    for (name, value) in query.iter() {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with(HEADER_PREFIX) || (method == Method::PUT && is_of_body(&lower)) {
            continue;
        }
        let header =
            HeaderName::from_bytes(lower.as_bytes()).map_err(|_| refused(name, "is not a header"))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| refused(name, "has a value that no header can have"))?;
        if headers.insert(header, value).is_some() {
            return Err(refused(name, "is in the query and in a header, or twice in the query"));
        }
    }
    Ok(query.without(|name| name.to_ascii_lowercase().starts_with(HEADER_PREFIX)))
}

/// Whether a parameter, in lower case, says something of the checksum of a body.
fn is_of_body(name: &str) -> bool {
    name == "x-amz-sdk-checksum-algorithm"
        || name.strip_prefix("x-amz-checksum-").is_some_and(|algorithm| {
            CHECKSUM_ALGORITHMS.iter().any(|known| known.eq_ignore_ascii_case(algorithm))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(query: &str) -> Option<String> {
        let query = Query::parse(Some(query)).unwrap();
        split(&Method::GET, &query).map(|(_, added)| added.canonical())
    }

    #[test]
    fn what_follows_the_signature_of_a_list_is_split_off() {
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

    #[test]
    fn each_parameter_that_narrows_a_list_may_follow_its_signature() {
        for name in ["continuation-token", "delimiter", "max-keys", "prefix", "start-after"] {
            let query = format!("list-type=2&prefix=a%2F&X-Amz-Signature=s&{name}=1");
            assert_eq!(added(&query), Some(format!("{name}=1")));
        }
    }

    /// The queries that may have been signed, and what was added to each.
    fn replaced(method: &Method, query: &str, roots: &[&str]) -> Vec<(String, String)> {
        let roots: Vec<_> = roots.iter().map(|root| (*root).to_owned()).collect();
        replaced_prefix(method, &Query::parse(Some(query)).unwrap(), &roots)
            .map(|(signed, added)| (signed.canonical(), added.canonical()))
            .collect()
    }

    #[test]
    fn p61_a_longer_prefix_in_the_place_of_a_root_narrows_the_list_of_that_root() {
        let list = "list-type=2&max-keys=5&prefix=data/x/5";
        let of_root =
            |root: &str| (format!("list-type=2&max-keys=5&prefix={root}"), "prefix=data%2Fx%2F5".to_owned());
        assert_eq!(replaced(&Method::GET, list, &["more/", "data/"]), [of_root("data%2F")]);
        assert_eq!(
            replaced(&Method::GET, list, &["data/", "data/x/"]),
            [of_root("data%2F"), of_root("data%2Fx%2F")]
        );
        // The root itself is no longer prefix, and the whole bucket is no root.
        for roots in [&["data/x/5"][..], &[""], &["more/"], &["data/x/55"], &[]] {
            assert!(replaced(&Method::GET, list, roots).is_empty(), "{roots:?}");
        }
        assert!(replaced(&Method::HEAD, list, &["data/"]).is_empty());
        for query in [
            "list-type=2",
            "list-type=2&prefix=",
            "prefix=data/x/5",
            "list-type=1&prefix=data/x/5",
            "list-type=2&list-type=2&prefix=data/x/5",
            "list-type=2&prefix=data/x/5&prefix=data/x/5",
            "list-type=2&prefix=data/x/5&max-keys=5&max-keys=6",
            "list-type=2&prefix=data/x/5&delimiter=/",
            "list-type=2&prefix=data/x/5&delimiter=",
        ] {
            assert!(replaced(&Method::GET, query, &["data/", ""]).is_empty(), "{query}");
        }
    }

    #[test]
    fn headers_in_the_query_are_moved_and_stand_in_one_place() {
        let run = |query: &str, mut headers: HeaderMap| {
            let query = Query::parse(Some(query)).unwrap();
            move_headers(&Method::GET, query, &mut headers)
                .map(|query| (query.canonical(), headers))
                .map_err(|error| error.code)
        };
        let (query, headers) = run("prefix=a&X-Amz-Meta-Note=b%20c&x-amz-acl=d", HeaderMap::new()).unwrap();
        assert_eq!(query, "prefix=a");
        assert_eq!(
            (&headers["x-amz-meta-note"], &headers["x-amz-acl"]),
            (&"b c".parse().unwrap(), &"d".parse().unwrap())
        );
        let beside = || HeaderMap::from_iter([(HeaderName::from_static("x-amz-acl"), "d".parse().unwrap())]);
        assert_eq!(run("X-Amz-Acl=d", beside()), Err(Code::InvalidArgument));
        for query in ["X-Amz-Acl=a&x-amz-acl=a", "x-amz-%20=a", "x-amz-acl=%0A"] {
            assert_eq!(run(query, HeaderMap::new()), Err(Code::InvalidArgument), "{query}");
        }
    }

    #[test]
    fn what_an_uploads_query_says_of_checksums_is_dropped() {
        let run = |method: Method, query: &str| {
            let mut headers = HeaderMap::new();
            let query = move_headers(&method, Query::parse(Some(query)).unwrap(), &mut headers).unwrap();
            (query.canonical(), headers.len())
        };
        let query = "X-Amz-Sdk-Checksum-Algorithm=CRC32&x-amz-checksum-crc32=AAAAAA%3D%3D&x=y";
        assert_eq!(run(Method::PUT, query), ("x=y".to_owned(), 0));
        assert_eq!(run(Method::POST, query), ("x=y".to_owned(), 2));
        // The algorithm of a copy, and what a read asks for, are no checksums.
        assert_eq!(run(Method::PUT, "x-amz-checksum-algorithm=CRC32"), (String::new(), 1));
        assert_eq!(run(Method::GET, "x-amz-checksum-mode=ENABLED"), (String::new(), 1));
    }

    fn run(signed: &str, added: &str) -> std::result::Result<String, Code> {
        let parse = |text| Query::parse(Some(text)).unwrap();
        narrowed(parse(signed), &parse(added)).map(|query| query.canonical()).map_err(|error| error.code)
    }

    #[test]
    fn a_signed_list_can_be_narrowed_and_paged() {
        let list = "list-type=2&prefix=a/b/";
        for (added, whole) in [
            ("", "list-type=2&prefix=a%2Fb%2F"),
            ("continuation-token=t", "continuation-token=t&list-type=2&prefix=a%2Fb%2F"),
            ("prefix=a/b/c&delimiter=/", "delimiter=%2F&list-type=2&prefix=a%2Fb%2Fc"),
            ("start-after=a/b/c&max-keys=7", "list-type=2&max-keys=7&prefix=a%2Fb%2F&start-after=a%2Fb%2Fc"),
            ("start-after=a/", "list-type=2&prefix=a%2Fb%2F&start-after=a%2F"),
        ] {
            assert_eq!(run(list, added).as_deref(), Ok(whole));
        }
        assert_eq!(
            run("delimiter=/&prefix=a/", "prefix=a/b").as_deref(),
            Ok("delimiter=%2F&prefix=a%2Fb"),
            "the signed prefix may hold the delimiter, and what it shows may be filtered"
        );
        assert_eq!(run("delimiter=--&prefix=a-", "prefix=a-b").as_deref(), Ok("delimiter=--&prefix=a-b"));
        assert_eq!(run("delimiter=&prefix=a/", "prefix=a/b/").as_deref(), Ok("delimiter=&prefix=a%2Fb%2F"));
        assert_eq!(run("max-keys=5&prefix=a", "max-keys=5").as_deref(), Ok("max-keys=5&prefix=a"));
        assert_eq!(run("max-keys=5&prefix=a", "max-keys=4").as_deref(), Ok("max-keys=4&prefix=a"));
    }

    #[test]
    fn p61_a_delimited_list_goes_on_where_a_page_ended() {
        let list = "list-type=2&prefix=a/&delimiter=/";
        let minio = "YS9iL1ttaW5pb19jYWNoZTp2MixyZXR1cm46XQ%3D%3D";
        for added in [
            "start-after=a/b",
            "start-after=a/b/",
            "continuation-token=a/b/",
            "continuation-token=YS9iLw%3D%3D",
            &format!("continuation-token={minio}"),
            "continuation-token=opaque",
        ] {
            assert!(run(list, added).is_ok(), "{added}");
        }
        assert!(
            run("list-type=2&prefix=a/", "delimiter=/&start-after=a/b/c").is_ok(),
            "nothing was rolled up"
        );
    }

    #[test]
    fn a_signed_list_is_never_widened() {
        for (signed, added, code) in [
            ("prefix=a/b/", "prefix=a/", Code::AccessDenied),
            ("prefix=a/b/", "prefix=", Code::AccessDenied),
            ("prefix=a/b/", "prefix=a/c/", Code::AccessDenied),
            ("prefix=a/b/", "start-after=a/c/", Code::AccessDenied),
            ("prefix=a/b/", "prefix=a/b/c&prefix=a/b/d", Code::InvalidArgument),
            ("prefix=a/b/&delimiter=/", "delimiter=", Code::InvalidArgument),
            ("prefix=a/b/&continuation-token=t", "continuation-token=u", Code::InvalidArgument),
            ("prefix=a/&delimiter=/", "prefix=a/b/", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "prefix=a/b/c", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "prefix=a//", Code::AccessDenied),
            ("prefix=a/&delimiter=--", "prefix=a/b--c", Code::AccessDenied),
            // The keys behind it go on with the other half of the delimiter.
            ("prefix=a/&delimiter=--", "prefix=a/b-", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "start-after=a/b/c", Code::AccessDenied),
            ("prefix=a/&delimiter=--", "start-after=a/b--c", Code::AccessDenied),
            // No note of a store's, though it begins or ends like one.
            ("prefix=a/&delimiter=/", "start-after=a/b/c%5D", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "start-after=a/b/%5Bminio_cache:c", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "continuation-token=a/b/c", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "continuation-token=YS9iL2M%3D", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "continuation-token=YS9iL2M", Code::AccessDenied),
            ("prefix=a/&delimiter=/", "continuation-token=%5DYS9iL2M%3D", Code::AccessDenied),
            ("prefix=a/b/&max-keys=5", "max-keys=6", Code::InvalidArgument),
            ("prefix=a/b/&max-keys=5", "max-keys=4294967296", Code::InvalidArgument),
            ("prefix=a/b/&max-keys=5", "max-keys=-1", Code::InvalidArgument),
            ("prefix=a/b/&max-keys=5", "max-keys=%2B1", Code::InvalidArgument),
            ("prefix=a/b/&max-keys=5", "max-keys=abc", Code::InvalidArgument),
            ("prefix=a/b/&max-keys=5", "max-keys=", Code::InvalidArgument),
            ("prefix=a/b/&max-keys=abc", "max-keys=1", Code::InvalidArgument),
            ("prefix=a/b/", "max-keys=4294967296", Code::InvalidArgument),
            ("prefix=a/b/", "max-keys=-1", Code::InvalidArgument),
            ("prefix=a/b/", "max-keys=%2B1", Code::InvalidArgument),
            ("prefix=a/b/", "max-keys=abc", Code::InvalidArgument),
            ("prefix=a/b/", "max-keys=", Code::InvalidArgument),
        ] {
            assert_eq!(run(signed, added), Err(code), "{signed} {added}");
        }
    }
}
