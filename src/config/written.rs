//! What stands in a configuration file, setting by setting, and what the files that it names hold: by these
//! a running server tells one reading of its configuration from the next.
//!
//! Invariants: content is kept as a digest and never shown; of a URL only scheme, host and port are shown,
//! for the rest of it may be a key.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use toml::{Table, Value};

use super::effect;
use crate::file_access::read_regular_file;

/// A value is shown with so many characters at most.
const SHOWN_CHARS_MAX: usize = 120;

/// Entries of a list that came or went are shown up to so many.
const SHOWN_ENTRIES_MAX: usize = 8;

/// A file that the configuration names is not larger than this; bundles of authorities have a few 100 KiB.
pub(crate) const NAMED_FILE_BYTES_MAX: u64 = 16 << 20;

/// What stands in a configuration file.
#[derive(Clone)]
pub(super) struct Written {
    table: Table,
    /// Relative paths start here.
    base: PathBuf,
    files: Vec<NamedFile>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| &file.path)).finish()
    }
}

/// A file that a setting names.
#[derive(Clone)]
struct NamedFile {
    place: Place,
    path: PathBuf,
    /// Of what it held; none where it could not be read.
    digest: Option<Digest>,
}

type Digest = [u8; 32];

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Name of the setting, without the places in lists: `session.keys.file`.
    pub(super) setting: String,
    /// With them, as an operator finds it: `session.keys[2026-11].file`.
    pub(super) shown: String,
}

impl Place {
    fn root() -> Self {
        Self { setting: String::new(), shown: String::new() }
    }

    fn inside(&self, name: &str) -> Self {
        let join = |outer: &str| if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") };
        Self { setting: join(&self.setting), shown: join(&self.shown) }
    }

    fn entry(&self, label: &str) -> Self {
        Self { setting: self.setting.clone(), shown: format!("{}[{label}]", self.shown) }
    }
}

/// A table taken apart.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub(super) values: BTreeMap<Place, Value>,
    /// The entries of lists of tables, by the list's place.
    pub(super) entries: BTreeMap<Place, Vec<String>>,
}

impl Leaves {
    fn of(table: &Table) -> Self {
        let mut leaves = Self::default();
        leaves.add_table(&Place::root(), table);
        leaves
    }

    fn add_table(&mut self, place: &Place, table: &Table) {
        for (name, value) in table {
            self.add(place.inside(name), value);
        }
    }

    fn add(&mut self, place: Place, value: &Value) {
        let tables: Option<Vec<&Table>> = value
            .as_array()
            .map_or_else(|| None, |values| values.iter().map(Value::as_table).collect::<Option<Vec<_>>>());
        match (value, tables) {
            (Value::Table(table), _) => self.add_table(&place, table),
            (_, Some(tables)) if !tables.is_empty() => {
                let labels: Vec<String> =
                    tables.iter().enumerate().map(|(index, table)| label(index, table)).collect();
                for (label, table) in labels.iter().zip(tables) {
                    self.add_table(&place.entry(label), table);
                }
                self.entries.insert(place, labels);
            }
            (value, _) => {
                self.values.insert(place, value.clone());
            }
        }
    }
}

/// What an entry of a list of tables is called: by what tells it from the others.
fn label(index: usize, table: &Table) -> String {
    let named = ["id", "account"].iter().find_map(|name| table.get(*name)?.as_str());
    named.map_or_else(|| index.to_string(), str::to_owned)
}

/// The files that a table names, by their settings.
fn named_files(table: &Table, base: &Path) -> impl Iterator<Item = (Place, PathBuf)> {
    let values = Leaves::of(table).values.into_iter();
    let files = values.filter(|(place, _)| effect::is_file(&place.setting));
    files.filter_map(|(place, value)| Some((place, base.join(value.as_str()?))))
}

/// The files that a table names and whose change asks for a reload; relative paths start at `base`.
pub(super) fn files_named_in(table: &Table, base: &Path) -> Vec<PathBuf> {
    let files = named_files(table, base);
    files.filter(|(place, _)| !effect::is_watched_elsewhere(&place.setting)).map(|(_, path)| path).collect()
}

impl Written {
    /// Takes note of a table, and reads the files that it names.
    pub(super) fn new(table: Table, base: &Path) -> Self {
        let files = named_files(&table, base)
            .map(|(place, path)| NamedFile { digest: digest_of(&path), place, path })
            .collect();
        Self { table, base: base.to_owned(), files }
    }

    pub(super) fn leaves(&self) -> Leaves {
        Leaves::of(&self.table)
    }

    /// The names of the settings that stand in it.
    #[cfg(test)]
    pub(super) fn settings(&self) -> std::collections::BTreeSet<String> {
        self.leaves().values.into_keys().map(|place| place.setting).collect()
    }

    /// Where relative paths start.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The files that it names and whose change asks for a reload.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        files_named_in(&self.table, &self.base)
    }

    /// The files that hold something else than they did, by their settings; `self` is the older.
    pub(super) fn changed_files<'a>(
        &'a self,
        later: &'a Self,
    ) -> impl Iterator<Item = (&'a Place, &'a Path)> {
        later.files.iter().filter_map(|file| {
            let before = self.files.iter().find(|before| before.place == file.place)?;
            let is_changed = before.path == file.path && before.digest != file.digest;
            is_changed.then_some((&file.place, file.path.as_path()))
        })
    }

    /// This table with the settings that need a restart as `running` has them; none where they are the same.
    pub(super) fn keeping(&self, running: &Self) -> Option<Table> {
        let needs_restart = |place: &Place| effect::of(&place.setting) == effect::Effect::Restart;
        let [before, after] = [running, self].map(|written| {
            let mut values = written.leaves().values;
            values.retain(|place, _| needs_restart(place));
            values
        });
        if before == after {
            return None;
        }
        let mut table = self.table.clone();
        for place in after.keys() {
            remove(&mut table, &place.setting);
        }
        for (place, value) in before {
            put(&mut table, &place.setting, value);
        }
        Some(table)
    }
}

/// Takes a setting out, and the section that becomes empty by that.
fn remove(table: &mut Table, setting: &str) {
    match setting.split_once('.') {
        None => {
            table.remove(setting);
        }
        Some((section, rest)) => {
            let Some(Value::Table(inner)) = table.get_mut(section) else { return };
            remove(inner, rest);
            if inner.is_empty() {
                table.remove(section);
            }
        }
    }
}

fn put(table: &mut Table, setting: &str, value: Value) {
    match setting.split_once('.') {
        None => {
            table.insert(setting.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn digest_of(path: &Path) -> Option<Digest> {
    let bytes = read_regular_file(path, NAMED_FILE_BYTES_MAX).ok()?.bytes;
    digest::digest(&digest::SHA256, &bytes).as_ref().try_into().ok()
}

/// How a changed value is told.
pub(super) fn change(before: Option<&Value>, after: Option<&Value>) -> String {
    if let (Some(Value::Array(before)), Some(Value::Array(after))) = (before, after) {
        return list_change(before, after);
    }
    let [before, after] = [before, after].map(|value| value.map_or_else(|| "not set".to_owned(), shown));
    match before == after {
        true => format!("changed in what is not shown of {after}"),
        false => format!("{before} -> {after}"),
    }
}

fn list_change(before: &[Value], after: &[Value]) -> String {
    let new: Vec<String> = after.iter().filter(|entry| !before.contains(entry)).map(shown).collect();
    let gone: Vec<String> = before.iter().filter(|entry| !after.contains(entry)).map(shown).collect();
    entries_change(&new, &gone)
}

/// How entries of a list that came and went are told.
pub(super) fn entries_change(new: &[String], gone: &[String]) -> String {
    let mut text = String::new();
    for (sign, entries) in [('+', new), ('-', gone)] {
        for entry in entries.iter().take(SHOWN_ENTRIES_MAX) {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{sign} {entry}");
        }
        if let Some(more) = entries.len().checked_sub(SHOWN_ENTRIES_MAX).filter(|more| *more > 0) {
            let _ = write!(text, ", {sign} {more} more");
        }
    }
    match text.is_empty() {
        true => "another order".to_owned(),
        false => text,
    }
}

/// A text as [`shown`] shows it.
pub(super) fn shown_text(text: &str) -> String {
    shown(&Value::String(text.to_owned()))
}

/// A value as the log and an error show it: on one line, short, and of a URL no more than whom it leads to.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.contains("://") => format!("{:?}", without_secrets(text)),
        Value::Array(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => value.to_string().replace('\n', " "),
    };
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    text.chars().take(SHOWN_CHARS_MAX).chain(['…']).collect()
}

/// Scheme, host and port of a URL; a path, a query and a user's name may be secrets.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("…@", host));
    let tail = if matches!(tail, "" | "/") { tail } else { "/…" };
    format!("{scheme}://{user}{host}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Written {
        Written::new(text.parse().unwrap(), Path::new("/nowhere"))
    }

    #[test]
    fn p51_of_a_url_its_host_alone_is_shown() {
        for (url, told) in [
            ("wss://node.example/apikey", "wss://node.example/…"),
            ("wss://user:pass@node.example:443/?key=1", "wss://…@node.example:443/…"),
            ("https://node.example?key=1", "https://node.example/…"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://a@b@c/", "http://…@c/"),
        ] {
            assert_eq!(without_secrets(url), told);
        }
        let [one, other] = ["ws://a/1", "ws://a/2"].map(|url| Value::String(url.to_owned()));
        assert_eq!(change(Some(&one), Some(&other)), "changed in what is not shown of \"ws://a/…\"");
    }

    #[test]
    fn a_list_is_told_by_what_came_and_went() {
        let list = |from: u32, to| Value::Array((from..to).map(|at| Value::Integer(at.into())).collect());
        assert_eq!(change(Some(&list(1, 4)), Some(&list(2, 5))), "+ 4, - 1");
        let long = change(Some(&list(0, 0)), Some(&list(0, 20)));
        assert!(long.ends_with("+ 7, + 12 more"), "{long}");
        assert_eq!(change(None, Some(&Value::Integer(5))), "not set -> 5");
    }

    #[test]
    fn what_needs_a_restart_is_kept_and_the_rest_is_new() {
        let running =
            written("server.listen = \"a\"\nserver.hosts = [\"x\"]\nlimits.shared.url = \"redis://r\"");
        let later = written("server.listen = \"b\"\nserver.hosts = [\"y\"]\nserver.connections_max = 5");
        let kept = later.keeping(&running).unwrap();
        let expected: Table =
            "server.listen = \"a\"\nserver.hosts = [\"y\"]\nlimits.shared.url = \"redis://r\""
                .parse()
                .unwrap();
        assert_eq!(kept, expected);
        assert!(later.keeping(&later).is_none());
    }
}
