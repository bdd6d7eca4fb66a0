//! Reading a TOML table so that every error is found in one pass: wrong types, missing and unknown settings
//! alike.

use std::{
    cell::RefCell,
    fmt,
    path::{Path, PathBuf},
    rc::Rc,
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{
    fault::{ConfigErrors, Lines, nearest},
    written::shown,
};

/// A limit as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// `"none"`.
    Off,
    /// That number.
    Max(u64),
}

/// One table of the configuration; settings are taken out of it, and what is left at the end is unknown.
pub(super) struct Section {
    /// `server.edge`; empty for the root.
    path: String,
    table: Table,
    known: Vec<&'static str>,
    errors: Rc<RefCell<ConfigErrors>>,
    lines: Lines,
    /// Relative paths start at the configuration file.
    base: Rc<PathBuf>,
}

impl Section {
    pub(super) fn root(table: Table, lines: Lines, base: &Path) -> Self {
        Self {
            path: String::new(),
            table,
            known: Vec::new(),
            errors: Rc::default(),
            lines,
            base: Rc::new(base.to_owned()),
        }
    }

    pub(super) fn name(&self, setting: &str) -> String {
        if self.path.is_empty() { setting.to_owned() } else { format!("{}.{setting}", self.path) }
    }

    /// The name of this table; empty for the root.
    pub(super) fn own_name(&self) -> &str {
        &self.path
    }

    /// Whether nothing is set in it; tables in which nothing is set are nothing.
    pub(super) fn is_empty(&self) -> bool {
        fn is_nothing(value: &Value) -> bool {
            value.as_table().is_some_and(|table| table.values().all(is_nothing))
        }
        self.table.values().all(is_nothing)
    }

    pub(super) fn error(&self, setting: &str, what: impl fmt::Display) {
        self.errors.borrow_mut().0.push(self.lines.fault(&self.name(setting), what));
    }

    fn take(&mut self, setting: &'static str) -> Option<Value> {
        self.known.push(setting);
        self.table.remove(setting)
    }

    /// A setting that may be left out; `expected` describes a valid value.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        setting: &'static str,
        expected: &str,
    ) -> Option<T> {
        let value = self.take(setting)?;
        let shown = shown(&value);
        let read = value.try_into().ok().or_else(|| {
            // A name in the environment may look like a number.
            let text = self.lines.text_of_variable(&self.name(setting))?;
            Value::String(text.to_owned()).try_into().ok()
        });
        if read.is_none() {
            self.error(setting, format_args!("{shown} is not {expected}"));
        }
        read
    }

    /// A setting with a default.
    pub(super) fn or<T: DeserializeOwned>(&mut self, setting: &'static str, default: T, expected: &str) -> T {
        self.optional(setting, expected).unwrap_or(default)
    }

    /// A setting that must be there. Where it is not, the error is noted, and the default of the type stands
    /// in until the errors are reported.
    pub(super) fn required<T: DeserializeOwned + Default>(
        &mut self,
        setting: &'static str,
        expected: &str,
    ) -> T {
        if !self.table.contains_key(setting) {
            self.known.push(setting);
            self.error(setting, format_args!("is missing; it must be {expected}"));
            return T::default();
        }
        self.optional(setting, expected).unwrap_or_default()
    }

    /// A setting that is read from text.
    pub(super) fn parsed<T>(
        &mut self,
        setting: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text: String = self.optional(setting, expected)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.error(setting, format_args!("{text:?} is not {expected}"));
        }
        parsed
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, setting: &'static str, words: &[(&str, T)], default: T) -> T {
        let expected = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
        self.parsed(setting, &expected, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
        .unwrap_or(default)
    }

    /// A number within bounds.
    pub(super) fn number(
        &mut self,
        setting: &'static str,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> u64 {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        match self.optional::<u64>(setting, &expected) {
            Some(number) if bounds.contains(&number) => number,
            Some(number) => {
                self.error(setting, format_args!("{number} is not {expected}"));
                default
            }
            None => default,
        }
    }

    /// A number within bounds that may be left out and has no default here.
    pub(super) fn number_given(
        &mut self,
        setting: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let number = self.optional::<u64>(setting, &expected)?;
        if bounds.contains(&number) {
            return Some(number);
        }
        self.error(setting, format_args!("{number} is not {expected}"));
        None
    }

    /// A limit that may be switched off: a number within bounds, or `"none"`.
    pub(super) fn bound(
        &mut self,
        setting: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Option<Bound> {
        let expected =
            format!("a whole number from {} to {}, or \"none\" for no limit", bounds.start(), bounds.end());
        let value = self.optional::<Value>(setting, &expected)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match (number, value.as_str()) {
            (_, Some("none")) => Some(Bound::Off),
            (Some(number), _) if bounds.contains(&number) => Some(Bound::Max(number)),
            _ => {
                self.error(setting, format_args!("{} is not {expected}", shown(&value)));
                None
            }
        }
    }

    /// A path, relative to the configuration file.
    pub(super) fn path(&mut self, setting: &'static str, expected: &str) -> Option<PathBuf> {
        self.optional::<PathBuf>(setting, expected).map(|path| self.base.join(path))
    }

    /// A table inside this one; an empty one where it is left out.
    pub(super) fn section(&mut self, setting: &'static str) -> Self {
        let table = match self.take(setting) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.error(
                    setting,
                    format_args!("{} is not a table: write [{}]", shown(&other), self.name(setting)),
                );
                Table::new()
            }
        };
        self.inside(setting, table)
    }

    /// Every table of an array of tables.
    pub(super) fn sections(&mut self, setting: &'static str) -> Vec<Self> {
        let tables = match self.take(setting) {
            None => Vec::new(),
            Some(Value::Array(values)) => values,
            Some(other) => vec![other],
        };
        let mut sections = Vec::new();
        for (index, value) in tables.into_iter().enumerate() {
            match value {
                Value::Table(table) => sections.push(self.inside(&format!("{setting}[{index}]"), table)),
                other => self.error(
                    setting,
                    format_args!("{} is not a table: write [[{}]]", shown(&other), self.name(setting)),
                ),
            }
        }
        sections
    }

    /// Whether a setting is there and not yet taken.
    pub(super) fn rest_has(&self, setting: &str) -> bool {
        self.table.contains_key(setting)
    }

    /// A path, relative to the configuration file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// What has not been taken yet: for tables whose names are the user's.
    pub(super) fn rest(&mut self) -> Table {
        std::mem::take(&mut self.table)
    }

    fn inside(&self, setting: &str, table: Table) -> Self {
        Self {
            path: self.name(setting),
            table,
            known: Vec::new(),
            errors: Rc::clone(&self.errors),
            lines: self.lines.clone(),
            base: Rc::clone(&self.base),
        }
    }

    /// Reports the settings that nobody has taken.
    pub(super) fn finish(self) {
        for unknown in self.table.keys() {
            let meant = nearest(unknown, &self.known);
            let meant = meant.map_or(String::new(), |meant| format!(" (did you mean {meant:?}?)"));
            let known = self.known.join(", ");
            self.error(unknown, format_args!("no such setting{meant}; known here: {known}"));
        }
    }

    /// Ends the root, and gives everything that was wrong.
    pub(super) fn errors(self) -> ConfigErrors {
        let errors = Rc::clone(&self.errors);
        self.finish();
        errors.borrow().clone()
    }
}
