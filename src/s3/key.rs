//! Which object keys and list prefixes are taken at all, before it is asked whose they are.
//!
//! Stores normalise `.`, `..` and empty segments differently, so a key that holds one could be another key
//! there (P22). And a key with a character that XML cannot spell makes a whole list unreadable (P52). They
//! are refused for everyone.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::xml_text::is_xml;
use crate::error::{Code, Error, Reason, Result};

/// S3's own bound on a key, in bytes of UTF-8.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// Base64 as a store may read it: in both alphabets, padded or not, whatever its last bits are.
const BASE64: [GeneralPurpose; 2] = {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [GeneralPurpose::new(&URL_SAFE, lenient), GeneralPurpose::new(&STANDARD, lenient)]
};

/// Checks an object key: 1 to 1024 bytes, no control characters and none that XML does not have, no `.`, `..`
/// or empty segments. One `/` at the end is a folder marker and stays.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let path = key.strip_suffix('/').unwrap_or(key);
    check(key, path, "object key")
}

/// Checks a list prefix: as a key, but empty is fine and the last segment may still be incomplete.
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/').unwrap_or(prefix) {
        "" if prefix.is_empty() => Ok(()),
        path => check(prefix, path, "prefix"),
    }
}

/// Checks the marker of a list: its length alone. Keys are compared with a marker and no store opens it, and
/// a list that came to a key of any spelling has to go on behind it.
pub(crate) fn check_marker(marker: &str) -> Result<()> {
    check_length(marker)
}

/// Checks the id of an upload or of a version, which `name` names: no control characters, and no `.` or `..`
/// segments. A store that keeps files makes a path of it, and so `..` leads into another's folder, though the
/// key beside it is the caller's own (P37). MinIO makes the path of what stands, in base64, behind the first
/// `.` of it.
pub(crate) fn check_id(name: &str, id: &str) -> Result<()> {
    let id = id.trim_matches(' ');
    let is_path = segments(id.as_bytes()).any(|segment| matches!(segment, b"." | b".."))
        || BASE64.iter().filter_map(|base64| base64.decode(id).ok()).any(|decoded| {
            let behind = decoded.splitn(2, |byte| *byte == b'.').nth(1).unwrap_or_default();
            segments(&decoded).chain(segments(behind)).any(|segment| segment == b"..")
        });
    if is_path || id.chars().any(char::is_control) {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("The value of {name} is no id: it holds a control character, or leads elsewhere."),
        )
        .element("ArgumentName", name));
    }
    Ok(())
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
}

fn check_length(text: &str) -> Result<()> {
    if text.len() > KEY_BYTES_MAX {
        return Err(Error::new(Code::KeyTooLongError, "Your key is too long: 1024 bytes of UTF-8 at most.")
            .element("Size", text.len().to_string())
            .element("MaxSizeAllowed", KEY_BYTES_MAX.to_string()));
    }
    Ok(())
}

fn check(text: &str, path: &str, what: &str) -> Result<()> {
    check_length(text)?;
    // Most keys hold printable ASCII alone, and with it nothing of what is looked for here.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_plain && text.chars().any(char::is_control) {
        return Err(refused(what, "holds a control character"));
    }
    if !is_plain && !text.chars().all(is_xml) {
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
    Error::because(
        Code::InvalidArgument,
        Reason::KeyNotAllowed,
        format!(
            "the {what} {why}; stores disagree on what that means. Use a plain path such as \
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
    fn p37_an_id_of_which_a_store_makes_a_path_leads_nowhere_else() {
        for id in [
            "..",
            ".",
            "../a",
            "a/..",
            "a/../b",
            "/../a",
            "../../data/x",
            "a\\..\\b",
            "./a",
            "a\0b",
            "a\u{85}",
        ] {
            assert_eq!(check_id("uploadId", id).unwrap_err().code, Code::InvalidArgument, "{id:?}");
        }
        for id in
            ["", "2~a.b..c-_~", "...", "upload+0/=", "a/..b", "null", "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"]
        {
            assert!(check_id("uploadId", id).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn p37_nor_does_an_id_that_a_store_decodes_first() {
        use base64::prelude::{
            BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD,
        };

        let spellings = |text: &[u8]| {
            [
                BASE64_STANDARD.encode(text),
                BASE64_STANDARD_NO_PAD.encode(text),
                BASE64_URL_SAFE.encode(text),
                BASE64_URL_SAFE_NO_PAD.encode(text),
            ]
        };
        for text in [
            b"4ba0221a.../../../bucket/data/x".as_slice(),
            b"4ba0221a.../a",
            b"...",
            b"a...",
            b"\xff\xfe.a/../../b",
            b"../a",
            b"a/../b.c",
            b"a.b\\..\\c",
        ] {
            for id in spellings(text) {
                assert!(check_id("uploadId", &id).is_err(), "{id} {}", text.escape_ascii());
            }
        }
        // The last bits may be anything.
        assert!(check_id("uploadId", "YS4uLg").is_err() && check_id("uploadId", "YS4uLh").is_err());
        for text in
            [b"4ba0221a-558a.14c5e106-a9c4x1795292067087326485".as_slice(), b"a.b..c", b"a..", b"\xff.\xff"]
        {
            for id in spellings(text) {
                assert!(check_id("uploadId", &id).is_ok(), "{id} {}", text.escape_ascii());
            }
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
