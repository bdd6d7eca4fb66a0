//! Which object keys and list prefixes are taken at all, before it is asked whose they are.
//!
//! Stores normalise `.`, `..` and empty segments differently, so a key that holds one could be another key
//! there (P22). And a key with a character that XML cannot spell makes a whole list unreadable (P52). They
//! are refused for everyone.

use super::xml_text::is_xml;
use crate::error::{Code, Error, Result};

/// S3's own bound on a key, in bytes of UTF-8.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// Checks an object key: 1 to 1024 bytes, no control characters and none that XML does not have, no `.`, `..`
/// or empty segments. One `/` at the end is a folder marker and stays.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let path = key.strip_suffix('/').unwrap_or(key);
    check(key, path, "object key")
}

/// Checks a list prefix or marker: as a key, but empty is fine and the last segment may still be incomplete.
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" if prefix.is_empty() => Ok(()),
        path => check(prefix, path, "prefix"),
    }
}

fn check(text: &str, path: &str, what: &str) -> Result<()> {
    if text.len() > KEY_BYTES_MAX {
        return Err(Error::new(Code::KeyTooLongError, "Your key is too long: 1024 bytes of UTF-8 at most.")
            .element("Size", text.len().to_string())
            .element("MaxSizeAllowed", KEY_BYTES_MAX.to_string()));
    }
    if text.chars().any(char::is_control) {
        return Err(refused(what, "holds a control character"));
    }
    if !text.chars().all(is_xml) {
        return Err(refused(what, "holds U+FFFE or U+FFFF, which XML cannot spell"));
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err(refused(what, "holds an empty segment (\"//\", or a \"/\" at its start)")),
            "." | ".." => return Err(refused(what, "holds the segment \".\" or \"..\"")),
            _ => {}
        }
    }
    Ok(())
}

fn refused(what: &str, why: &str) -> Error {
    Error::new(
        Code::InvalidArgument,
        format!(
            "KeyNotAllowed: the {what} {why}; stores disagree on what that means. Use a plain path such as \
            data/x/<coldkey>/file.parquet."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p22_segments_that_stores_normalise_are_refused() {
        for key in [
            "", "/", "//", "a//b", "/a", "a/./b", "a/../b", "..", ".", "../a", "a/..", "a/.", "a/../", "a//",
            "a\0b", "a\nb", "a\u{7f}b", "a\u{85}b",
        ] {
            assert_eq!(check_key(key).unwrap_err().code, Code::InvalidArgument, "{key:?}");
        }
        for key in ["a", "a/", "a/b.c", "a/..b", "a/...", "a/b..", ".hidden", "ä/ü=1", "a b+c"] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
    }

    #[test]
    fn p22_prefixes_likewise() {
        for prefix in ["/", "a//", "a/../", "a/..", "../", "a\rb"] {
            assert_eq!(check_prefix(prefix).unwrap_err().code, Code::InvalidArgument, "{prefix:?}");
        }
        for prefix in ["", "a", "a/", "a/b", "a/..b"] {
            assert!(check_prefix(prefix).is_ok(), "{prefix:?}");
        }
    }

    #[test]
    fn p52_what_xml_cannot_spell_is_in_no_key() {
        for key in ["a\u{fffe}", "\u{ffff}/b", "a\u{1}", "a\u{91}%01"] {
            assert_eq!(check_key(key).unwrap_err().code, Code::InvalidArgument, "{key:?}");
            assert_eq!(check_prefix(key).unwrap_err().code, Code::InvalidArgument, "{key:?}");
        }
        for key in ["a\u{fffd}", "\u{10000}\u{1fffe}", "\u{e000}"] {
            assert!(check_key(key).is_ok(), "{key:?}");
        }
    }

    #[test]
    fn p8_keys_have_s3s_bound() {
        assert!(check_key(&"k".repeat(1024)).is_ok());
        assert_eq!(check_key(&"k".repeat(1025)).unwrap_err().code, Code::KeyTooLongError);
    }
}
