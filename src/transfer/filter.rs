//! Which files are meant: `--include` and `--exclude`. Pure.
//!
//! A pattern without a `/` is one of names (`*.parquet`), at any depth; one with a `/` is one of whole paths
//! below the directory (`2026/*/a.bin`, `**/raw/**`). `*` and `?` do not reach over a `/`. What an exclude
//! fits is out, whatever includes there are; where there are includes, what none of them fits is out.

use glob::{MatchOptions, Pattern};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The patterns, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    include: Vec<Glob>,
    exclude: Vec<Glob>,
}

#[derive(Debug, Clone)]
struct Glob {
    pattern: Pattern,
    of_paths: bool,
}

impl Glob {
    fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim_start_matches("./").trim_start_matches('/');
        let pattern = Pattern::new(trimmed).map_err(|error| format!("{text:?}: {}", error.msg))?;
        Ok(Self { pattern, of_paths: trimmed.contains('/') })
    }

    fn fits(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.pattern.matches_with(if self.of_paths { path } else { name }, OPTIONS)
    }
}

impl Filter {
    /// Reads the patterns.
    ///
    /// # Errors
    /// The pattern that is none, and why.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, String> {
        let read = |texts: &[String]| texts.iter().map(|text| Glob::parse(text)).collect::<Result<_, _>>();
        Ok(Self { include: read(include)?, exclude: read(exclude)? })
    }

    /// Whether the file at `path`, relative and with `/`, is meant.
    pub(crate) fn takes(&self, path: &str) -> bool {
        let is_included = self.include.is_empty() || self.include.iter().any(|glob| glob.fits(path));
        is_included && !self.exclude.iter().any(|glob| glob.fits(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(include: &[&str], exclude: &[&str], taken: &[&str], left: &[&str]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let filter = Filter::new(&owned(include), &owned(exclude)).unwrap();
        for path in taken {
            assert!(filter.takes(path), "{path}");
        }
        for path in left {
            assert!(!filter.takes(path), "{path}");
        }
    }

    #[test]
    fn a_name_fits_at_any_depth_and_a_path_as_a_whole() {
        check(&[], &[], &["a", "a/b"], &[]);
        check(&["*.parquet"], &[], &["a.parquet", "x/y/b.parquet"], &["a.csv", "a.parquet.tmp"]);
        check(&[], &["*.csv"], &["a.parquet"], &["a.csv", "x/a.csv"]);
        check(&["2026/*"], &[], &["2026/a"], &["2026/x/a", "x/2026/a"]);
        check(
            &["2026/**/*.bin", "./one.bin"],
            &["raw-*"],
            &["2026/a.bin", "2026/x/y/a.bin"],
            &["2026/raw-a.bin"],
        );
        check(&["**/raw/*"], &[], &["raw/a", "x/raw/a"], &["raw/x/a"]);
        check(&["/x/*"], &[], &["x/a"], &["y/a"]);
        check(&["[ab].bin"], &[], &["a.bin"], &["c.bin", "A.bin"]);
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let fault = Filter::new(&["a".to_owned(), "x[".to_owned()], &[]).unwrap_err();
        assert!(fault.starts_with("\"x[\": "), "{fault}");
    }
}
