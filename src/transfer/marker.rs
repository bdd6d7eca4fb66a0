//! How an open upload says of which content it is. Pure.
//!
//! An upload's metadata are set when it begins, and no list shows them. To go on with an upload whose content
//! has changed since would make an object that says a false sha256 of itself, even where all of the parts
//! that stand there are equal. So each upload gets one part more, with the last number: the sha256 in hex.
//! The completion leaves it out, and then it is gone.

use super::layout::MARKER_NUMBER;
use crate::client::object::{Part, Sha256};

/// The content of the marker.
pub(super) fn content(sha256: &Sha256) -> String {
    hex::encode(sha256)
}

/// Whose an open upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// One of ours, with this content.
    SameContent,
    /// One of ours, with other content.
    OtherContent,
    /// Another client's, or one of ours that was cut off before it had its marker.
    Unknown,
}

/// Whose an upload with these parts is, for content with that marker's MD5 in hex.
pub(super) fn origin(parts: &[Part], marker_md5: &str) -> Origin {
    let marker = parts.iter().find(|part| part.number == MARKER_NUMBER && part.size == 64);
    match marker {
        Some(marker) if marker.etag == marker_md5 => Origin::SameContent,
        Some(_) => Origin::OtherContent,
        None => Origin::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_upload_that_names_the_content_is_one_of_it() {
        let part = |number, size, etag: &str| Part { number, size, etag: etag.to_owned() };
        let first = part(1, 8 << 20, "a");
        for (parts, expected) in [
            (vec![first.clone(), part(MARKER_NUMBER, 64, "m")], Origin::SameContent),
            (vec![first.clone(), part(MARKER_NUMBER, 64, "n")], Origin::OtherContent),
            (vec![first.clone(), part(MARKER_NUMBER, 65, "m")], Origin::Unknown),
            (vec![first, part(MARKER_NUMBER - 1, 64, "m")], Origin::Unknown),
            (vec![], Origin::Unknown),
        ] {
            assert_eq!(origin(&parts, "m"), expected, "{parts:?}");
        }
        assert_eq!(content(&[0xab; 32]).len(), 64);
    }
}
