//! `[limits.small_files]`: the names of files that are small by their nature, and their smallest size.

use super::section::Section;

/// S3's own bound on a single object: 5 TiB. On a single PUT it is 5 GiB.
pub(super) const OBJECT_BYTES: u64 = 5 << 40;

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

impl SmallFiles {
    pub(super) fn read(mut section: Section, of_others: u64) -> Self {
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

    /// As it is written.
    pub fn text(&self) -> String {
        match self {
            Self::Exact(name) => name.clone(),
            Self::Inside(folder) => format!("{folder}/*"),
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
