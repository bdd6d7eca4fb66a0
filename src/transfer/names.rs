//! Names: which key a file gets, and what of folders and sizes a server takes. Pure.
//!
//! The server decides at each request; here the same is told beforehand, for all files at once. What is not
//! known here is left to the server.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::{
    client::structure::{SmallFiles, Structure, VariableValues},
    s3::key::check_key,
};

/// A longer expression is not one that an operator writes.
const EXPRESSION_BYTES_MAX: usize = 1024;

/// What a server takes of one caller.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    folders: Vec<Folder>,
    bytes_min: u64,
    bytes_max: u64,
    small: Option<SmallFiles>,
}

/// One of the caller's folders.
#[derive(Debug, Clone)]
struct Folder {
    /// As the server names it.
    text: String,
    segments: Vec<Segment>,
}

/// A segment of a folder, where `{name}` stands for a value.
#[derive(Debug, Clone)]
struct Segment {
    before: String,
    /// The name of the variable, and what it may be as far as that is known.
    variable: Option<(String, Option<Allowed>)>,
    after: String,
}

#[derive(Debug, Clone)]
enum Allowed {
    List(Vec<String>),
    Pattern(Regex),
}

impl Allowed {
    fn of(values: &VariableValues) -> Option<Self> {
        match values {
            VariableValues::Values(values) => Some(Self::List(values.clone())),
            VariableValues::Pattern(text) if text.len() <= EXPRESSION_BYTES_MAX => {
                Regex::new(&format!(r"\A(?:{text})\z")).ok().map(Self::Pattern)
            }
            VariableValues::Pattern(_) => None,
        }
    }

    fn takes(&self, value: &str) -> bool {
        match self {
            Self::List(values) => values.iter().any(|allowed| allowed == value),
            Self::Pattern(pattern) => pattern.is_match(value),
        }
    }
}

impl Segment {
    fn parse(text: &str, variables: &BTreeMap<String, VariableValues>) -> Self {
        let literal = || Self { before: text.to_owned(), variable: None, after: String::new() };
        let Some((before, rest)) = text.split_once('{') else { return literal() };
        let Some((name, after)) = rest.split_once('}') else { return literal() };
        let allowed = variables.get(name).and_then(Allowed::of);
        Self {
            before: before.to_owned(),
            variable: Some((name.to_owned(), allowed)),
            after: after.to_owned(),
        }
    }

    fn takes(&self, text: &str) -> bool {
        let Some((_, allowed)) = &self.variable else { return self.before == text };
        let value =
            text.strip_prefix(self.before.as_str()).and_then(|rest| rest.strip_suffix(self.after.as_str()));
        value.is_some_and(|value| {
            !value.is_empty() && allowed.as_ref().is_none_or(|allowed| allowed.takes(value))
        })
    }
}

impl Folder {
    fn parse(text: &str, variables: &BTreeMap<String, VariableValues>) -> Self {
        let path = text.strip_suffix('/').unwrap_or(text);
        let segments = path.split('/').map(|segment| Segment::parse(segment, variables)).collect();
        Self { text: text.to_owned(), segments }
    }

    /// Whether a key lies in it.
    fn holds(&self, key: &str) -> bool {
        let mut parts = key.split('/');
        self.segments.iter().all(|segment| parts.next().is_some_and(|part| segment.takes(part)))
            && parts.next().is_some()
    }

    /// Whether all that begins with `prefix`, which ends in `/`, lies in it or is on the way to it behind
    /// whatever names its owner: nothing of another's begins with that.
    fn is_reached_by(&self, prefix: &str) -> bool {
        let path = prefix.strip_suffix('/').unwrap_or(prefix);
        let mut segments = self.segments.iter();
        let fits = path.split('/').all(|part| segments.next().is_none_or(|segment| segment.takes(part)));
        fits && segments.all(|segment| segment.variable.is_some())
    }

    fn is_open(&self) -> bool {
        self.segments.iter().any(|segment| segment.variable.is_some())
    }
}

/// S3's largest object, whatever a server says of itself.
const OBJECT_BYTES_MAX: u64 = 5 << 40;

impl Rules {
    /// The rules for a caller with these folders.
    pub(crate) fn new(folders: &[String], structure: &Structure) -> Self {
        Self {
            folders: folders.iter().map(|folder| Folder::parse(folder, &structure.variables)).collect(),
            bytes_min: structure.object_bytes_min.unwrap_or(0),
            bytes_max: structure.object_bytes_max.unwrap_or(u64::MAX).min(OBJECT_BYTES_MAX),
            small: structure.small_files.clone(),
        }
    }

    /// The folders for a message.
    pub(crate) fn folders(&self) -> String {
        let folders: Vec<&str> = self.folders.iter().map(|folder| folder.text.as_str()).collect();
        match folders.as_slice() {
            [] => "none".to_owned(),
            folders => folders.join(", "),
        }
    }

    /// The prefix of all keys: what the caller wrote, with a `/` at its end, or the only folder there is.
    ///
    /// # Errors
    /// What is wrong with it, and which folders there are.
    pub(crate) fn prefix(&self, to: Option<&str>) -> Result<String, String> {
        let Some(to) = to else {
            return match self.folders.as_slice() {
                [folder] if !folder.is_open() => Ok(folder.text.clone()),
                [] => Err("--to is missing, and this hotkey has no folder at this server".to_owned()),
                _ => Err(format!("--to is missing; your folders are {}", self.folders())),
            };
        };
        if to.contains("://") {
            return Err(format!(
                "--to {to:?}: the beginning of keys alone is expected, without bucket; your folders are {}",
                self.folders()
            ));
        }
        let prefix = if to.ends_with('/') { to.to_owned() } else { format!("{to}/") };
        check_key(&prefix).map_err(|error| format!("--to {to:?}: {}", error.message))?;
        if self.folders.iter().any(|folder| folder.is_reached_by(&prefix)) {
            Ok(prefix)
        } else {
            Err(format!("--to {to:?} is not in a folder of yours; your folders are {}", self.folders()))
        }
    }

    /// Whether an object of that size may stand under that key.
    ///
    /// # Errors
    /// Why not, and what would do.
    pub(crate) fn check(&self, key: &str, size: u64) -> Result<(), String> {
        check_key(key).map_err(|error| error.message.to_string())?;
        if !self.folders.iter().any(|folder| folder.holds(key)) {
            return Err(format!("{key} is not in a folder of yours; your folders are {}", self.folders()));
        }
        let bytes_min = match &self.small {
            Some(small) if small.names.iter().any(|name| is_named(name, key)) => small.object_bytes_min,
            Some(_) | None => self.bytes_min,
        };
        if size < bytes_min {
            return Err(format!("has {size} bytes; the server takes {bytes_min} and more"));
        }
        if size > self.bytes_max {
            return Err(format!("has {size} bytes; the server takes {} at most", self.bytes_max));
        }
        Ok(())
    }
}

/// Whether a key ends in a file of that name; `NAME/*` is every file in a folder of that name.
fn is_named(name: &str, key: &str) -> bool {
    let mut segments = key.rsplit('/');
    let (last, folder) = (segments.next().unwrap_or_default(), segments.next());
    match name.strip_suffix("/*") {
        Some(inside) => !last.is_empty() && folder == Some(inside),
        None => last == name,
    }
}

/// Whether a character is not seen where it stands, or changes how others are seen.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(folders: &[&str]) -> Rules {
        let folders: Vec<String> = folders.iter().map(|folder| (*folder).to_owned()).collect();
        let pattern = VariableValues::Pattern("[a-z0-9_]{1,8}".to_owned());
        let structure = Structure {
            variables: BTreeMap::from([("job_id".to_owned(), pattern)]),
            object_bytes_min: Some(10),
            object_bytes_max: Some(100),
            small_files: Some(SmallFiles {
                names: vec!["_SUCCESS".to_owned(), "_delta_log/*".to_owned()],
                object_bytes_min: 0,
            }),
            ..Structure::default()
        };
        Rules::new(&folders, &structure)
    }

    const X: &str = "data/x/5F/";
    const JOBS: &str = "data/hotkey=5G/job_id={job_id}/";

    #[track_caller]
    fn check_refused(outcome: Result<impl std::fmt::Debug, String>, words: &[&str]) {
        let fault = outcome.unwrap_err();
        for word in words {
            assert!(fault.contains(word), "{word:?} is not in {fault}");
        }
    }

    #[test]
    fn a_key_is_in_a_folder_or_refused_with_the_folders() {
        let rules = rules(&[X, JOBS]);
        for key in ["data/x/5F/a", "data/x/5F/a/b", "data/hotkey=5G/job_id=j1/a"] {
            assert_eq!(rules.check(key, 50), Ok(()), "{key}");
        }
        for key in [
            "data/x/5Fa",
            "data/x/5F",
            "data/x/5Fz/a",
            "data/hotkey=5G/job_id=/a",
            "data/hotkey=5G/job_id=NO/a",
            "data/hotkey=5G/job_id=j1",
            "data/hotkey=5G/other=j1/a",
        ] {
            check_refused(rules.check(key, 50), &[key, X, JOBS]);
        }
        check_refused(rules.check("data/x/5F/a//b", 50), &["empty segment"]);
        check_refused(rules.check(&format!("{X}{}", "k".repeat(1024)), 50), &["too long"]);
    }

    #[test]
    fn sizes_are_told_with_their_bounds() {
        let rules = rules(&[X]);
        check_refused(rules.check("data/x/5F/a", 9), &["9 bytes", "10 and more"]);
        check_refused(rules.check("data/x/5F/a", 101), &["101 bytes", "100 at most"]);
        for (key, size) in [
            ("data/x/5F/a", 10),
            ("data/x/5F/a", 100),
            ("data/x/5F/_SUCCESS", 0),
            ("data/x/5F/_delta_log/0", 1),
        ] {
            assert_eq!(rules.check(key, size), Ok(()), "{key} {size}");
        }
        // Nothing is known of a server that does not say it.
        let unknown = Rules::new(&[X.to_owned()], &Structure::default());
        assert_eq!(unknown.check("data/x/5F/a", 0), Ok(()));
    }

    #[test]
    fn a_prefix_is_in_a_folder_or_where_an_open_folder_begins() {
        let both = rules(&[X, JOBS]);
        for (to, prefix) in [
            ("data/x/5F", "data/x/5F/"),
            ("data/x/5F/2026/", "data/x/5F/2026/"),
            ("data/hotkey=5G/", "data/hotkey=5G/"),
            ("data/hotkey=5G/job_id=j1/a", "data/hotkey=5G/job_id=j1/a/"),
        ] {
            assert_eq!(both.prefix(Some(to)), Ok(prefix.to_owned()), "{to}");
        }
        for to in ["data/", "data/x/", "data/x/5H/", "data/hotkey=5H/", "data/hotkey=5G/job_id=NO/", ""] {
            check_refused(both.prefix(Some(to)), &["--to"]);
        }
        check_refused(both.prefix(Some("s3://bucket/data/x/5F/")), &["without bucket", X]);
        check_refused(both.prefix(None), &["--to is missing", X, JOBS]);
        assert_eq!(rules(&[X]).prefix(None), Ok(X.to_owned()));
        check_refused(rules(&[JOBS]).prefix(None), &[JOBS]);
        check_refused(rules(&[]).prefix(None), &["no folder"]);
    }
}
