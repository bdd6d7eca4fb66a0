//! Names of dataset repositories, and those that the miners of the time gave theirs.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::chain::AccountId;

/// The Hub's own bound on one part of a name.
const NAME_BYTES_MAX: usize = 96;

/// A branch or a tag; git itself takes 250 bytes or so in a file's name.
const REVISION_BYTES_MAX: usize = 255;

/// What stands for itself in one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The same in a path of several segments.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// A dataset repository, `USER/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    user: String,
    name: String,
}

impl Repository {
    /// Reads `USER/NAME`, with `hf:` or `datasets/` before it or without.
    ///
    /// # Errors
    /// What is expected, to be put behind what was given.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "a dataset repository is expected, such as hf:user/x_dataset_42";
        let rest = text.strip_prefix("hf:").unwrap_or(text);
        let rest = rest.strip_prefix("datasets/").unwrap_or(rest);
        let (user, name) = rest.split_once('/').ok_or(expected)?;
        if !is_name(user) || !is_name(name) {
            return Err(expected);
        }
        Ok(Self { user: user.to_owned(), name: name.to_owned() })
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Its name without its owner.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is one of those that the miners of the time had.
    pub(crate) fn of_miner(&self) -> Option<MinerRepository> {
        [("x", "x_dataset_"), ("reddit", "reddit_dataset_")].into_iter().find_map(|(source, prefix)| {
            let digits = self.name.strip_prefix(prefix)?;
            // A number with a zero or a sign before it is none that they made.
            let number: u8 = digits.parse().ok().filter(|number: &u8| number.to_string() == digits)?;
            Some(MinerRepository { source, number })
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.name)
    }
}

/// `x_dataset_N` or `reddit_dataset_N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MinerRepository {
    /// The source, as a folder is called.
    pub(crate) source: &'static str,
    /// The number of the hotkey, or of another one that has the same.
    pub(crate) number: u8,
}

/// The number that a hotkey's repositories had: the first eight bytes of the sha1 of its SS58 text,
/// big-endian, modulo 256. Of 250 hotkeys many have the same, so it proves nothing.
pub(crate) fn repository_number(hotkey: &AccountId) -> u8 {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, hotkey.to_ss58().as_bytes());
    // Modulo 256, the eighth byte is all that is left of the eight.
    hash.as_ref().get(7).copied().unwrap_or_default()
}

/// One segment of a path, escaped; a revision such as `refs/pr/1` is one.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A path of several segments, escaped.
pub(super) fn path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// Whether it can be a branch, a tag or a commit.
pub(crate) fn is_revision(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= REVISION_BYTES_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./+".contains(c))
        && !text.split('/').any(|part| part.is_empty() || part == "." || part == "..")
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("..")
        && !text.ends_with(".git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_as_the_hub_names_it() {
        for text in ["user/x_dataset_42", "hf:user/x_dataset_42", "hf:datasets/user/x_dataset_42"] {
            assert_eq!(Repository::parse(text).unwrap().to_string(), "user/x_dataset_42", "{text}");
        }
        for bad in [
            "",
            "user",
            "/r",
            "u/",
            "u/r/s",
            "u/..",
            "../r",
            "u/a..b",
            "u/r.git",
            "u/a b",
            "u/a%2fb",
            "u/-r",
            "https://huggingface.co/datasets/u/r",
            "u/r?x",
            "u/r#x",
            "hf:hf:u/r",
        ] {
            assert!(Repository::parse(bad).is_err(), "{bad}");
        }
        assert!(Repository::parse(&format!("u/{}", "x".repeat(97))).is_err());
    }

    #[test]
    fn miners_repositories_are_known_by_their_names() {
        let of_miner = |name: &str| Repository::parse(&format!("u/{name}")).unwrap().of_miner();
        assert_eq!(of_miner("x_dataset_42"), Some(MinerRepository { source: "x", number: 42 }));
        assert_eq!(of_miner("reddit_dataset_0"), Some(MinerRepository { source: "reddit", number: 0 }));
        for other in
            ["x_dataset_256", "x_dataset_042", "x_dataset_1.0", "x_dataset_", "y_dataset_1", "xx_dataset_1"]
        {
            assert_eq!(of_miner(other), None, "{other}");
        }
    }

    #[test]
    fn the_number_of_a_hotkey_is_that_of_its_ss58_text() {
        // int.from_bytes(hashlib.sha1(ss58.encode()).digest()[:8], "big") % 256
        let numbers = [
            ("5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi", 166),
            ("5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA", 22),
        ];
        for (hotkey, number) in numbers {
            assert_eq!(repository_number(&hotkey.parse().unwrap()), number, "{hotkey}");
        }
    }

    #[test]
    fn paths_and_revisions_cannot_leave_their_place_in_a_url() {
        assert_eq!(segment("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(path("data/a b?c#d%.parquet"), "data/a%20b%3Fc%23d%25.parquet");
        for good in ["main", "refs/pr/1", "v1.0", "0123456789abcdef0123456789abcdef01234567", "a+b"] {
            assert!(is_revision(good), "{good}");
        }
        for bad in ["", "a..b/../c", "/main", "main/", "a b", "a\n", "a?b", &"x".repeat(256)] {
            assert!(!is_revision(bad), "{bad}");
        }
    }
}
