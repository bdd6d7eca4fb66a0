//! The local path of a key: whose names reach this disk, they are refused here or not at all.
//!
//! Keys are other people's words. Invariant: a [`LocalPath`] has one segment at least, and none of its
//! segments is empty, `.` or `..`, holds a `/` or a control character, or is longer than the file system
//! takes; its first segment is not that of this program's own folder. Segments are opened one by one, so no
//! text of them is ever a path of several.

use std::fmt;

use crate::transfer::names::is_invisible;

/// The folder in which files grow until they are whole, below the one that is downloaded to.
pub(crate) const WORK_DIR: &str = ".subgate-download";

/// A name on most file systems.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// A relative path of plain names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LocalPath(String);

/// Why a key can be no file here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameFault {
    #[error("it has an empty name (\"//\", or a \"/\" at its start)")]
    Empty,
    #[error("it has the name \".\" or \"..\", which leads elsewhere")]
    Dots,
    #[error("it has a control character")]
    Control,
    #[error("it has a name of {bytes} bytes, and this file system takes {bytes_max}")]
    TooLong { bytes: usize, bytes_max: usize },
    #[error("{WORK_DIR} is where this program keeps unfinished files")]
    Reserved,
    #[error("it ends in \"/\" and has bytes, and no file has such a name")]
    FolderWithBytes,
    #[error("it does not begin with the prefix that was listed")]
    OutsideOfPrefix,
}

impl LocalPath {
    /// The path of a key that is `relative` to the folder that is downloaded to.
    pub(crate) fn new(relative: &str, name_bytes_max: usize) -> Result<Self, NameFault> {
        for name in relative.split('/') {
            match name {
                "" => return Err(NameFault::Empty),
                "." | ".." => return Err(NameFault::Dots),
                _ if name.chars().any(char::is_control) => return Err(NameFault::Control),
                _ if name.len() > name_bytes_max => {
                    return Err(NameFault::TooLong { bytes: name.len(), bytes_max: name_bytes_max });
                }
                _ => {}
            }
        }
        let path = Self(relative.to_owned());
        let first = path.names().next().unwrap_or_default();
        // As the most lenient file system would read it.
        if Folding::ALL.fold(first) == Folding::ALL.fold(WORK_DIR) {
            return Err(NameFault::Reserved);
        }
        Ok(path)
    }

    /// The names from the top.
    pub(crate) fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The folders that lead to it, and its own name.
    pub(crate) fn parent_and_name(&self) -> (Option<&str>, &str) {
        self.0.rsplit_once('/').map_or((None, &self.0), |(parent, name)| (Some(parent), name))
    }

    /// The paths of the folders that lead to it, from the top.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What follows the last `/` of a prefix begins the local path: `data/x/5C…/2026-` gives `2026-01.bin`.
pub(crate) fn relative_to<'a>(prefix: &str, key: &'a str) -> Result<&'a str, NameFault> {
    let base = prefix.rfind('/').map_or(0, |at| at.saturating_add(1));
    match key.starts_with(prefix) {
        true => key.get(base..).ok_or(NameFault::OutsideOfPrefix),
        false => Err(NameFault::OutsideOfPrefix),
    }
}

/// Which names are one name to a file system: some know no case, some compose letters and accents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Folding {
    pub(crate) case: bool,
    pub(crate) accents: bool,
}

impl Folding {
    const ALL: Self = Self { case: true, accents: true };

    /// One text for all spellings of one name.
    pub(crate) fn fold(self, path: &str) -> String {
        use unicode_normalization::UnicodeNormalization as _;
        let decomposed: String = if self.accents { path.nfd().collect() } else { path.to_owned() };
        match self.case {
            // Up and down, for letters that have several small or several capital forms. File systems that
            // know no case leave invisible characters out as well.
            true => {
                let shown = decomposed.chars().filter(|character| !is_invisible(*character));
                shown.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
            }
            false => decomposed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(relative: &str) -> Result<LocalPath, NameFault> {
        LocalPath::new(relative, NAME_BYTES_MAX)
    }

    #[test]
    fn plain_names_are_taken_as_they_are() {
        for good in
            ["a", "a/b.parquet", "job_id=j1/...", "..a/b..", "a b/ c", "é/\u{202E}x", "-rf", "~", "a\\..\\b"]
        {
            assert_eq!(path(good).unwrap().as_str(), good);
        }
        assert_eq!(path("a/b/c").unwrap().folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(path("a/b/c").unwrap().parent_and_name(), (Some("a/b"), "c"));
        assert_eq!(path("c").unwrap().parent_and_name(), (None, "c"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (bad, fault) in [
            ("", NameFault::Empty),
            ("/etc/passwd", NameFault::Empty),
            ("a//b", NameFault::Empty),
            ("a/", NameFault::Empty),
            ("..", NameFault::Dots),
            ("a/../../b", NameFault::Dots),
            ("a/./b", NameFault::Dots),
            ("a\0b", NameFault::Control),
            ("a/b\n", NameFault::Control),
            ("\u{85}", NameFault::Control),
            ("\x1b[2J", NameFault::Control),
            (".subgate-download/x", NameFault::Reserved),
            (".subgate-download", NameFault::Reserved),
            (".SUBGATE-download/x", NameFault::Reserved),
            (".sub\u{200C}gate-download/x", NameFault::Reserved),
        ] {
            assert_eq!(path(bad), Err(fault), "{bad:?}");
        }
        let long = "é".repeat(128);
        assert_eq!(path(&format!("a/{long}")), Err(NameFault::TooLong { bytes: 256, bytes_max: 255 }));
        assert!(path(&"a".repeat(255)).is_ok());
        assert_eq!(LocalPath::new("abcd", 3), Err(NameFault::TooLong { bytes: 4, bytes_max: 3 }));
        assert!(path("a/.subgate-download/x").is_ok());
    }

    #[test]
    fn what_follows_the_last_slash_of_the_prefix_is_local() {
        for (prefix, key, relative) in [
            ("data/x/5C/", "data/x/5C/a/b", "a/b"),
            ("data/x/5C/2026-", "data/x/5C/2026-01/a", "2026-01/a"),
            ("data/x/5C/a.bin", "data/x/5C/a.bin", "a.bin"),
            ("", "data/x", "data/x"),
            ("data", "data/x", "data/x"),
            ("data/", "data//x", "/x"),
        ] {
            assert_eq!(relative_to(prefix, key), Ok(relative), "{prefix} {key}");
        }
        assert_eq!(relative_to("data/x/", "data/y/a"), Err(NameFault::OutsideOfPrefix));
        assert_eq!(relative_to("data/x/", "data/"), Err(NameFault::OutsideOfPrefix));
    }

    #[test]
    fn names_are_folded_as_a_lenient_file_system_does() {
        let (none, case) = (Folding::default(), Folding { case: true, accents: false });
        assert_ne!(none.fold("A"), none.fold("a"));
        assert_eq!(case.fold("STRASSE"), case.fold("straße"));
        assert_ne!(case.fold("é"), case.fold("e\u{301}"));
        assert_eq!(Folding::ALL.fold("É"), Folding::ALL.fold("e\u{301}"));
        assert_eq!(Folding::ALL.fold("K"), Folding::ALL.fold("\u{212A}"));
    }

    proptest! {
        /// Whatever a key is: the path stays below its folder, segment by segment.
        #[test]
        fn a_path_stays_below_its_folder(relative in any::<String>()) {
            check_stays_below(&relative);
        }

        #[test]
        fn a_path_of_likely_traps_stays_below_its_folder(
            relative in "(\\.|\\.\\.|/|//|\\\\|\u{0}|\u{7f}|a|\\.subgate-download|[^/]{1,300}){0,8}"
        ) {
            check_stays_below(&relative);
        }
    }

    fn check_stays_below(relative: &str) {
        let Ok(path) = path(relative) else { return };
        let base = std::path::Path::new("/base");
        let joined = base.join(path.as_str());
        let components: Vec<_> = joined.components().skip(2).collect();
        assert!(joined.starts_with(base));
        assert!(components.iter().all(|part| matches!(part, std::path::Component::Normal(_))));
        assert_eq!(components.len(), path.names().count());
        assert!(path.names().all(|name| (1..=NAME_BYTES_MAX).contains(&name.len())));
        assert_ne!(path.names().next(), Some(WORK_DIR));
    }
}
