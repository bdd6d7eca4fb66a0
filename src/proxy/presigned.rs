//! What presigned queries hold beside the request: headers in their place, and behind the signature of a list what pages
//! and narrows it, only ever to a part of what was signed. Pure.

use http::HeaderMap;

use crate::{
    error::{Code, Error, Result},
    s3::uri::Query,
};

/// The query that is authorised and forwarded: the signed one, narrowed by what was added.
///
/// # Errors
/// `AccessDenied` for a prefix or a start outside the signed prefix; `InvalidArgument` for what is there twice.
pub(super) fn effective(signed: Query, added: &Query) -> Result<Query> {
    let mut query = signed;
    for (name, value) in added.iter() {
        added.get_unique(name)?;
        let prefix = query.get("prefix").unwrap_or_default();
        match name {
            "prefix" if !value.starts_with(prefix) => return Err(outside(name, prefix)),
            // A start before the prefix is its beginning; one behind it lists nothing.
            "start-after" if !value.starts_with(prefix) && !prefix.starts_with(value) => {
                return Err(outside(name, prefix));
            }
            "max-keys" if query.get(name).is_some() => {
                let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
                if number(Some(value)) > number(query.get(name)) {
                    return Err(twice(name));
                }
            }
            "prefix" | "max-keys" => {}
            _ if query.get(name).is_some() => return Err(twice(name)),
            _ => {}
        }
        query = query.without(|other| other == name);
        query.push(name, value)?;
    }
    Ok(query)
}

fn outside(name: &str, prefix: &str) -> Error {
    Error::new(
        Code::AccessDenied,
        format!(
            "PrefixDenied: what is added to a presigned list must stay inside its prefix {prefix:?}; {name} does not."
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

/// Headers that a presigned query holds (`X-Amz-Meta-…`, `X-Amz-Checksum-…`): signed with it, and headers to S3.
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
            ("prefix=a/b/&max-keys=5", "max-keys=6", Code::InvalidArgument),
        ] {
            assert_eq!(run(signed, added), Err(code), "{signed} {added}");
        }
    }
}
