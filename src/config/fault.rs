//! What is wrong with a configuration, and where in its file it stands.
//!
//! Lines are found by the full name of a setting, such as `session.keys[0].file`. A setting that is missing
//! has the line of the table it belongs to.

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

use serde::Serialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One thing that is wrong with a configuration, or that should be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The configuration's file; none where it was read from a text.
    pub file: Option<String>,
    /// The line in that file, from 1; none where nothing in the file belongs to it.
    pub line: Option<usize>,
    /// The full name of the setting, such as `store.endpoint`; empty where it is the file itself.
    pub setting: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// Whether the server starts with it.
    pub severity: Severity,
}

/// Whether the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not.
    Fault,
    /// It does; something should be changed all the same.
    Warning,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        match self.setting.as_str() {
            "" => f.write_str(&self.message),
            setting => write!(f, "{setting}: {}", self.message),
        }
    }
}

/// Every fault of a configuration, in the order of its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Fault>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Where each setting of a file stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    file: Option<String>,
    by_setting: Arc<HashMap<String, usize>>,
}

impl Lines {
    /// The lines of a text, which is TOML; of no text if it is not.
    pub(super) fn of(text: &str, file: Option<&Path>) -> Self {
        let file = file.map(|file| file.display().to_string());
        let mut by_setting = HashMap::new();
        if let Ok(table) = DeTable::parse(text) {
            note_table(text, "", table.get_ref(), &mut by_setting);
        }
        Self { file, by_setting: Arc::new(by_setting) }
    }

    /// A fault of that setting.
    pub(crate) fn fault(&self, setting: &str, message: impl fmt::Display) -> Fault {
        self.note(setting, message, Severity::Fault)
    }

    /// What should be changed about that setting.
    pub(crate) fn warning(&self, setting: &str, message: impl fmt::Display) -> Fault {
        self.note(setting, message, Severity::Warning)
    }

    /// A fault of the text itself.
    pub(super) fn syntax_error(&self, text: &str, error: &toml::de::Error) -> Fault {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        let message = format_args!("not TOML: {}", error.message().replace('\n', " "));
        Fault { line: Some(line), ..self.fault("", message) }
    }

    fn note(&self, setting: &str, message: impl fmt::Display, severity: Severity) -> Fault {
        Fault {
            file: self.file.clone(),
            line: self.line(setting),
            setting: setting.to_owned(),
            message: message.to_string(),
            severity,
        }
    }

    /// The line of a setting, or of the nearest table around it.
    fn line(&self, mut setting: &str) -> Option<usize> {
        loop {
            if let Some(line) = self.by_setting.get(setting) {
                return Some(*line);
            }
            setting = setting.get(..setting.rfind(['.', '['])?)?;
        }
    }
}

fn note_table(text: &str, path: &str, table: &DeTable<'_>, lines: &mut HashMap<String, usize>) {
    for (key, value) in table {
        let name = match path {
            "" => key.get_ref().to_string(),
            path => format!("{path}.{}", key.get_ref()),
        };
        // A table has the line of its own header, where it has one.
        let start = match value.get_ref() {
            DeValue::Table(_) if text.get(value.span()).is_some_and(|shown| shown.starts_with('[')) => {
                value.span().start
            }
            _ => key.span().start,
        };
        lines.insert(name.clone(), line_at(text, start));
        note_value(text, &name, value, lines);
    }
}

fn note_value(text: &str, path: &str, value: &Spanned<DeValue<'_>>, lines: &mut HashMap<String, usize>) {
    match value.get_ref() {
        DeValue::Table(table) => note_table(text, path, table, lines),
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let name = format!("{path}[{index}]");
                lines.insert(name.clone(), line_at(text, value.span().start));
                note_value(text, &name, value, lines);
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// The number of the line in which that byte stands, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
}

/// The known name that somebody probably meant.
pub(super) fn nearest<'n>(unknown: &str, known: &[&'n str]) -> Option<&'n str> {
    let allowed = (unknown.chars().count() / 3).max(1);
    let near = known.iter().map(|name| (distance(unknown, name), *name));
    near.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

/// How many letters must be put in, taken out, replaced or exchanged with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().replace('-', "_").chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    let mut last = None;
    for (index, letter) in one.to_lowercase().replace('-', "_").chars().enumerate() {
        let mut next = vec![index + 1];
        for (at, theirs) in other.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let replaced = cell(&row, at) + usize::from(*theirs != letter);
            let mut least = replaced.min(cell(&row, at + 1) + 1).min(cell(&next, at) + 1);
            let exchanged = at
                .checked_sub(1)
                .filter(|before| other.get(*before) == Some(&letter) && last == Some(*theirs));
            if let Some(earlier) = exchanged {
                least = least.min(cell(&before, earlier) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_line_they_stand_in() {
        let text = "a = 1\n[server]\nlisten = 2\n\n[[session.keys]]\nid = 3\n[[session.keys]]\n\n\
                    env = 4\n[server.edge]\nlist = [\n  5,\n  6,\n]\nin = { deep = 7 }\n";
        let lines = Lines::of(text, Some(Path::new("proxy.toml")));
        for (setting, line) in [
            ("a", Some(1)),
            ("server", Some(2)),
            ("server.listen", Some(3)),
            ("server.missing", Some(2)),
            ("session.keys[0].id", Some(6)),
            ("session.keys[1].id", Some(7)),
            ("session.keys[1].env", Some(9)),
            ("server.edge.missing", Some(10)),
            ("server.edge.list", Some(11)),
            ("server.edge.list[1]", Some(13)),
            ("server.edge.in.deep", Some(15)),
            ("bucket.name", None),
        ] {
            assert_eq!(lines.line(setting), line, "{setting}");
        }
        let shown = |setting| lines.fault(setting, "is missing").to_string();
        assert_eq!(shown("server.hosts"), "proxy.toml:2: server.hosts: is missing");
        assert_eq!(shown("bucket.name"), "proxy.toml: bucket.name: is missing");
        assert_eq!(Lines::of(text, None).fault("a", "is wrong").to_string(), "a: is wrong");
    }

    #[test]
    fn an_unknown_name_that_is_nearly_known_has_a_suggestion() {
        let known = ["endpoint", "region", "bucket", "ca_file", "trailers"];
        for (unknown, suggested) in [
            ("endpont", Some("endpoint")),
            ("Endpoint", Some("endpoint")),
            ("ca-file", Some("ca_file")),
            ("tarilers", Some("trailers")),
            ("regions", Some("region")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), suggested, "{unknown}");
        }
    }
}
