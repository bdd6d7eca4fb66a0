//! Sizes of objects and paces of bodies, and the names of small files.

use std::fmt;

use super::section::Section;

/// S3's own bound on a single object: 5 TiB. On a single PUT it is 5 GiB.
const OBJECT_BYTES: u64 = 5 << 40;

/// Sizes and paces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Smallest size of an object in bytes.
    pub object_bytes_min: u64,
    /// Largest size of an object in bytes.
    pub object_bytes_max: u64,
    /// Files with a smallest size of their own.
    pub small_files: SmallFiles,
    /// Seconds after which a body that brings nothing is cut off.
    pub body_idle_seconds: u64,
    /// A body slower than this, on average, is cut off; 0 for no bound.
    pub body_bytes_per_second_min: u64,
}

/// Files that are small by their nature, such as the marks that writers of tables leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmallFiles {
    /// Their names.
    pub names: Vec<FileName>,
    /// Their smallest size in bytes.
    pub object_bytes_min: u64,
}

/// How a file is named at the end of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileName {
    /// `_SUCCESS`: the last segment is this.
    Exact(String),
    /// `_delta_log/*`: the last segment but one is this; the last is any.
    Inside(String),
}

impl Limits {
    pub(super) fn read(mut section: Section) -> Self {
        let object_bytes_min = section.number("object_bytes_min", 1024, 0..=OBJECT_BYTES);
        let limits = Self {
            object_bytes_min,
            object_bytes_max: section.number("object_bytes_max", 5 << 30, 1..=OBJECT_BYTES),
            small_files: SmallFiles::read(section.section("small_files"), object_bytes_min),
            body_idle_seconds: section.number("body_idle_seconds", 30, 1..=3600),
            body_bytes_per_second_min: section.number("body_bytes_per_second_min", 1024, 0..=1 << 40),
        };
        if limits.object_bytes_min > limits.object_bytes_max {
            section.error("object_bytes_min", "is above limits.object_bytes_max");
        }
        section.finish();
        limits
    }

    /// The smallest size in bytes of the object under `key`.
    pub fn object_bytes_min_of(&self, key: &str) -> u64 {
        match self.small_files.names.iter().any(|name| name.is_of(key)) {
            true => self.small_files.object_bytes_min,
            false => self.object_bytes_min,
        }
    }

    /// The smallest size in bytes that any object may have.
    pub fn object_bytes_min_of_all(&self) -> u64 {
        match self.small_files.names.is_empty() {
            true => self.object_bytes_min,
            false => self.object_bytes_min.min(self.small_files.object_bytes_min),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} bytes", self.object_bytes_min, self.object_bytes_max)
    }
}

impl SmallFiles {
    fn read(mut section: Section, of_others: u64) -> Self {
        let expected = "a list of file names such as [\"_SUCCESS\", \"_delta_log/*\"]";
        let texts: Vec<String> = section.or("names", Vec::new(), expected);
        let names = texts.iter().filter_map(|text| {
            let name = FileName::parse(text);
            if name.is_none() {
                section.error("names", format_args!("{text:?} is not in {expected}"));
            }
            name
        });
        let names = names.collect();
        let object_bytes_min = section.number("object_bytes_min", 0, 0..=OBJECT_BYTES);
        if object_bytes_min > of_others {
            let what = format_args!("{object_bytes_min} is above limits.object_bytes_min");
            section.error("object_bytes_min", what);
        }
        section.finish();
        Self { names, object_bytes_min }
    }
}

impl FileName {
    /// Reads a name, or a folder's name and `/*`.
    fn parse(text: &str) -> Option<Self> {
        let is_segment = |text: &str| {
            !matches!(text, "" | "." | "..")
                && !text.contains(['/', '*'])
                && !text.chars().any(char::is_control)
        };
        match text.strip_suffix("/*") {
            Some(folder) if is_segment(folder) => Some(Self::Inside(folder.to_owned())),
            None if is_segment(text) => Some(Self::Exact(text.to_owned())),
            Some(_) | None => None,
        }
    }

    /// Whether the object under `key` is named so.
    pub fn is_of(&self, key: &str) -> bool {
        let mut segments = key.rsplit('/');
        let (last, folder) = (segments.next().unwrap_or_default(), segments.next());
        match self {
            Self::Exact(name) => last == name,
            Self::Inside(name) => !last.is_empty() && folder == Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_known_by_the_end_of_their_key() {
        let is_small = |name: &str, key: &str| FileName::parse(name).unwrap().is_of(key);
        for key in ["_SUCCESS", "data/x/5A/_SUCCESS", "data/x/5A/a/_SUCCESS"] {
            assert!(is_small("_SUCCESS", key), "{key}");
        }
        for key in
            ["", "_SUCCESS/", "_SUCCESS/a", "a_SUCCESS", "_SUCCESS.crc", "_success", "data/x/5A/SUCCESS"]
        {
            assert!(!is_small("_SUCCESS", key), "{key}");
        }
        for key in ["_delta_log/0.json", "data/x/5A/t/_delta_log/_last_checkpoint"] {
            assert!(is_small("_delta_log/*", key), "{key}");
        }
        for key in ["_delta_log", "t/_delta_log/", "t/_delta_log/a/b", "t/a_delta_log/b", "_delta_log/a/"] {
            assert!(!is_small("_delta_log/*", key), "{key}");
        }
    }

    #[test]
    fn a_name_that_could_be_many_is_none() {
        for text in
            ["", "*", "/*", "a/b", "a/b/*", "a*", "*/a", "..", "../*", "./*", "a/", "/a", "a\n", "a/**"]
        {
            assert_eq!(FileName::parse(text), None, "{text:?}");
        }
    }
}
