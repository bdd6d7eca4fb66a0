//! Which names below a directory are meant. Pure.
//!
//! Hidden names (a `.` at the start of the file or of a directory above it) and those by which programs call
//! what they have not finished are left out, unless somebody wants them too.

use crate::transfer::filter::Filter;

/// Endings of files that are not finished, in lower case.
const UNFINISHED: &[&str] = &[".tmp", ".temp", ".part", ".partial", ".crdownload", ".swp", "~"];

/// Which names are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// The patterns.
    pub(crate) filter: Filter,
    /// Hidden and temporary names too.
    pub(crate) takes_all_names: bool,
}

impl Selection {
    /// Whether the directory of that name is entered.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check_directory(&self, name: &str) -> Result<(), &'static str> {
        match !self.takes_all_names && name.starts_with('.') {
            true => Err("a hidden directory (--all-names takes it too)"),
            false => Ok(()),
        }
    }

    /// Whether the file at that path, relative and with `/`, is meant.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, path: &str) -> Result<(), &'static str> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !self.takes_all_names {
            if above.split('/').any(|directory| directory.starts_with('.')) {
                return Err("in a hidden directory (--all-names takes it too)");
            }
            if name.starts_with('.') {
                return Err("a hidden name (--all-names takes it too)");
            }
            let lower = name.to_ascii_lowercase();
            if UNFINISHED.iter().any(|ending| lower.ends_with(ending)) {
                return Err("a temporary name (--all-names takes it too)");
            }
        }
        if self.filter.takes(path) { Ok(()) } else { Err("left out by --include or --exclude") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_unfinished_names_are_left_out_unless_all_are_wanted() {
        let usual = Selection::default();
        let all = Selection { takes_all_names: true, ..Selection::default() };
        for path in ["a.parquet", "x/y.z/a", "part", "tmp/a", "a.parts", "a.tmp.parquet"] {
            assert_eq!((usual.check(path), all.check(path)), (Ok(()), Ok(())), "{path}");
        }
        for path in [
            ".a",
            "x/.a",
            ".git/config",
            "x/.y/a",
            "a.tmp",
            "a.TMP",
            "x/a.parquet.part",
            "a.crdownload",
            "a~",
        ] {
            assert!(usual.check(path).is_err() && all.check(path).is_ok(), "{path}");
        }
        assert!(usual.check_directory(".git").is_err() && all.check_directory(".git").is_ok());
        assert_eq!(usual.check_directory("git"), Ok(()));
    }

    #[test]
    fn patterns_count_beside_that() {
        let filter = Filter::new(&["*.parquet".to_owned()], &[]).unwrap();
        let selection = Selection { filter, takes_all_names: true };
        assert_eq!(selection.check(".a.parquet"), Ok(()));
        assert!(selection.check("a.csv").unwrap_err().contains("--include"));
    }
}
