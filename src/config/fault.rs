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
    /// The configuration's file; none where it was read from a text, or from the environment.
    pub file: Option<String>,
    /// The line in that file, from 1; none where nothing in the file belongs to it.
    pub line: Option<usize>,
    /// The variable of the environment that sets it; none where it is not set there.
    pub variable: Option<String>,
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
        match (&self.variable, &self.file, self.line) {
            (Some(variable), _, _) => write!(f, "{variable}: ")?,
            (None, Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (None, Some(file), None) => write!(f, "{file}: ")?,
            (None, None, _) => {}
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

impl Fault {
    /// One of the whole file, or of all that it names.
    pub(crate) fn of_the_whole(file: Option<&Path>, message: &str) -> Self {
        Lines::of("", file).fault("", message)
    }
}

/// Where each setting stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    file: Option<String>,
    by_setting: Arc<HashMap<String, Origin>>,
}

/// Where a setting stands.
#[derive(Clone)]
enum Origin {
    Line(usize),
    /// In the environment, in the variable of that name and with that text.
    Variable(Arc<Variable>),
}

/// A setting in the environment.
struct Variable {
    name: String,
    text: String,
}

/// The text may be a secret.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Variable(variable) => variable.name.fmt(f),
        }
    }
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

    /// Notes that the environment sets a setting: what stood in the file counts no more.
    pub(super) fn set_by(&mut self, setting: &str, variable: &str, text: &str) {
        let origins = Arc::make_mut(&mut self.by_setting);
        origins.retain(|name, _| !is_inside(name, setting));
        let variable = Variable { name: variable.to_owned(), text: text.to_owned() };
        origins.insert(setting.to_owned(), Origin::Variable(Arc::new(variable)));
    }

    /// The text of the variable that sets this very setting.
    pub(super) fn text_of_variable(&self, setting: &str) -> Option<&str> {
        match self.by_setting.get(setting)? {
            Origin::Variable(variable) => Some(&variable.text),
            Origin::Line(_) => None,
        }
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
        let (file, line, variable) = match self.origin(setting) {
            Some(Origin::Variable(variable)) => (None, None, Some(variable.name.clone())),
            Some(Origin::Line(line)) => (self.file.clone(), Some(*line), None),
            None => (self.file.clone(), None, None),
        };
        let (setting, message) = (setting.to_owned(), message.to_string());
        Fault { file, line, variable, setting, message, severity }
    }

    /// Where a setting stands, or the nearest table around it. What is unknown as a whole may be there by a
    /// variable for a part of it.
    fn origin(&self, setting: &str) -> Option<&Origin> {
        let parts = || self.by_setting.iter().filter(|(name, _)| is_inside(name, setting));
        let variables = parts().filter(|(_, origin)| matches!(origin, Origin::Variable(_)));
        let of_a_part = || variables.min_by_key(|(name, _)| *name).map(|(_, origin)| origin);
        self.by_setting.get(setting).or_else(of_a_part).or_else(|| {
            let mut around = setting;
            loop {
                around = around.get(..around.rfind(['.', '['])?)?;
                if let Some(origin) = self.by_setting.get(around) {
                    return Some(origin);
                }
            }
        })
    }
}

/// Whether a setting is a part of another one, which is a table or a list.
fn is_inside(setting: &str, whole: &str) -> bool {
    setting.strip_prefix(whole).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn note_table(text: &str, path: &str, table: &DeTable<'_>, lines: &mut HashMap<String, Origin>) {
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
        lines.insert(name.clone(), Origin::Line(line_at(text, start)));
        note_value(text, &name, value, lines);
    }
}

fn note_value(text: &str, path: &str, value: &Spanned<DeValue<'_>>, lines: &mut HashMap<String, Origin>) {
    match value.get_ref() {
        DeValue::Table(table) => note_table(text, path, table, lines),
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let name = format!("{path}[{index}]");
                lines.insert(name.clone(), Origin::Line(line_at(text, value.span().start)));
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
            assert_eq!(lines.fault(setting, "").line, line, "{setting}");
        }
        let shown = |setting| lines.fault(setting, "is missing").to_string();
        assert_eq!(shown("server.hosts"), "proxy.toml:2: server.hosts: is missing");
        assert_eq!(shown("bucket.name"), "proxy.toml: bucket.name: is missing");
        assert_eq!(Lines::of(text, None).fault("a", "is wrong").to_string(), "a: is wrong");
    }

    #[test]
    fn settings_of_the_environment_have_their_variable_in_place_of_a_line() {
        let text = "[server]\nlisten = 1\n[[session.keys]]\nid = 2\n";
        let mut lines = Lines::of(text, Some(Path::new("proxy.toml")));
        for (setting, variable) in [
            ("server.listen", "SUBGATE_SERVER__LISTEN"),
            ("server.egde.networks", "SUBGATE_SERVER__EGDE__NETWORKS"),
            ("session.keys", "SUBGATE_SESSION__KEYS"),
            ("stroe.endpoint", "SUBGATE_STROE__ENDPOINT"),
        ] {
            lines.set_by(setting, variable, "x");
        }
        for (setting, shown) in [
            ("server.listen", "SUBGATE_SERVER__LISTEN: server.listen: is wrong"),
            ("server.egde", "SUBGATE_SERVER__EGDE__NETWORKS: server.egde: is wrong"),
            ("server.hosts", "proxy.toml:1: server.hosts: is wrong"),
            ("session.keys[0].id", "SUBGATE_SESSION__KEYS: session.keys[0].id: is wrong"),
            ("stroe", "SUBGATE_STROE__ENDPOINT: stroe: is wrong"),
            ("bucket.name", "proxy.toml: bucket.name: is wrong"),
        ] {
            assert_eq!(lines.fault(setting, "is wrong").to_string(), shown);
        }
        let of_variable = lines.fault("server.listen", "");
        assert_eq!((of_variable.file, of_variable.line), (None, None));
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
