//! What presigned queries hold beside the request: headers in their place, and behind the signature of a list
//! what pages and narrows it, only ever to a part of what was signed. Pure.

use http::HeaderMap;

use crate::{
    error::{Code, Error, Result},
    s3::uri::Query,
};

/// The query that is authorised and forwarded: the signed one, narrowed by what was added.
///
/// # Errors
/// `AccessDenied` for a prefix or a start outside the signed prefix, or a prefix that goes past the signed delimiter;
/// `InvalidArgument` for what is there twice and for a `max-keys` that is no number.
pub(super) fn effective(signed: Query, added: &Query) -> Result<Query> {
    let mut query = signed;
    for (name, value) in added.iter() {
        added.get_unique(name)?;
        let prefix = query.get("prefix").unwrap_or_default();
        match name {
            "prefix" => match value.strip_prefix(prefix) {
                None => return Err(outside(name, prefix)),
                Some(more) if reaches_past(more, query.get("delimiter").unwrap_or_default()) => {
                    return Err(past_delimiter(prefix));
                }
                Some(_) => {}
            },
            // A start before the prefix is its beginning; one behind it lists nothing.
            "start-after" if !value.starts_with(prefix) && !prefix.starts_with(value) => {
                return Err(outside(name, prefix));
            }
            "max-keys" => {
                let wanted = whole_number(value).ok_or_else(no_number)?;
                // A signed value that is no number bounds nothing, so nothing takes its place.
                if query.get(name).is_some_and(|signed| Some(wanted) > whole_number(signed)) {
                    return Err(twice(name));
                }
            }
            _ if query.get(name).is_some() => return Err(twice(name)),
            _ => {}
        }
        query = query.without(|other| other == name);
        query.push(name, value)?;
    }
    Ok(query)
}

/// Whether a prefix longer by `more` shows keys that a list with that delimiter has rolled up: where a
/// delimiter begins in `more`, be it that the keys go on with the rest of it.
fn reaches_past(more: &str, delimiter: &str) -> bool {
    let mut rests = more.char_indices().filter_map(|(at, _)| more.get(at..));
    !delimiter.is_empty() && rests.any(|rest| rest.starts_with(delimiter) || delimiter.starts_with(rest))
}

/// Digits only: `parse` alone takes a sign.
fn whole_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn no_number() -> Error {
    Error::new(
        Code::InvalidArgument,
        "max-keys that is added to a presigned list must be a whole number from 0 to 4294967295.",
    )
}

fn past_delimiter(prefix: &str) -> Error {
    Error::new(
        Code::AccessDenied,
        format!(
            "PrefixDenied: this presigned list was signed with a delimiter; a prefix that is added to it \
             must not go past one behind {prefix:?}."
        ),
    )
}

fn outside(name: &str, prefix: &str) -> Error {
    Error::new(
        Code::AccessDenied,
        format!(
            "PrefixDenied: what is added to a presigned list must stay inside its prefix {prefix:?}; {name} \
             does not."
        ),
    )
}

fn twice(name: &str) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!(
            "{name} is signed in this presigned list; it can be narrowed (prefix, max-keys) and not replaced."
        ),
    )
}

/// Headers that a presigned query holds (`X-Amz-Meta-…`, `X-Amz-Checksum-…`): signed with it, and headers to
/// S3.
pub(super) fn hoisted(query: &Query, headers: &mut HeaderMap) -> Result<()> {
    let refused = |name: &str, why: &str| {
        Error::new(Code::InvalidArgument, format!("The query parameter {name:?} {why}."))
    };
    for (name, value) in query.iter() {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("x-amz-") {
            continue;
        }
        let header =
            http::HeaderName::from_bytes(lower.as_bytes()).map_err(|_| refused(name, "is not a header"))?;
        let value = http::HeaderValue::from_str(value)
            .map_err(|_| refused(name, "has a value that no header can have"))?;
        if headers.insert(header, value).is_some() {
            return Err(refused(name, "is in the query and in a header, or twice in the query"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(signed: &str, added: &str) -> std::result::Result<String, Code> {
        let parse = |text| Query::parse(Some(text)).unwrap();
        effective(parse(signed), &parse(added)).map(|query| query.canonical()).map_err(|error| error.code)
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
