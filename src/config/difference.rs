//! What one reading of a configuration has changed against the one before, told setting by setting.
//!
//! Invariant: no secret is in it ([`super::written`]).

use std::collections::BTreeSet;

use toml::Value;

use super::{
    Config,
    effect::{self, Effect},
    written::{self, Leaves, Place, Written},
};

/// What one configuration changes against another, in the order of the settings' names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(Vec<Change>);

/// A changed setting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    /// Its name, without places in lists.
    setting: String,
    effect: Effect,
    /// `limits.miner.reads_per_second: 100 -> 50`
    told: String,
}

impl Changes {
    /// What `after` changes against `before`.
    pub(crate) fn between(before: &Config, after: &Config) -> Self {
        Self(between(&before.written, &after.written))
    }

    /// What takes effect as soon as it is read, each on one line that begins with the setting.
    pub(crate) fn at_once(&self) -> Vec<String> {
        self.told(Effect::AtOnce)
    }

    /// What takes effect at the next start, in the same form.
    pub(crate) fn at_the_next_start(&self) -> Vec<String> {
        self.told(Effect::Restart)
    }

    /// Whether a setting has changed whose name begins so and that takes effect as soon as it is read.
    pub(crate) fn touch(&self, beginning: &str) -> bool {
        self.0.iter().any(|change| change.setting.starts_with(beginning) && change.effect == Effect::AtOnce)
    }

    /// Settings whose names begin so take effect at the next start after all.
    pub(crate) fn defer(&mut self, beginning: &str) {
        for change in self.0.iter_mut().filter(|change| change.setting.starts_with(beginning)) {
            change.effect = Effect::Restart;
        }
    }

    fn told(&self, effect: Effect) -> Vec<String> {
        self.0.iter().filter(|change| change.effect == effect).map(|change| change.told.clone()).collect()
    }
}

fn between(before: &Written, after: &Written) -> Vec<Change> {
    let [old, new] = [before.leaves(), after.leaves()];
    let mut changes: Vec<(&str, Change)> = Vec::new();
    let entries: BTreeSet<&Place> = old.entries.keys().chain(new.entries.keys()).collect();
    let mut whole_entries: Vec<String> = Vec::new();
    for list in entries {
        let labels = |leaves: &Leaves| leaves.entries.get(list).cloned().unwrap_or_default();
        let missing = |from: &[String], among: &[String]| -> Vec<String> {
            from.iter().filter(|label| !among.contains(label)).cloned().collect()
        };
        let [old_labels, new_labels] = [labels(&old), labels(&new)];
        let (came, went) = (missing(&new_labels, &old_labels), missing(&old_labels, &new_labels));
        whole_entries.extend(came.iter().chain(&went).map(|label| format!("{}[{label}]", list.shown)));
        if !came.is_empty() || !went.is_empty() {
            let told = written::entries_change(&came, &went);
            // The entries of a list are settings below it.
            changes.push((&list.shown, Change::new(&list.inside_any(&new, &old), &list.shown, &told)));
        }
    }
    let is_told = |place: &Place| whole_entries.iter().any(|entry| place.shown.starts_with(entry.as_str()));
    let places: BTreeSet<&Place> = old.values.keys().chain(new.values.keys()).collect();
    for place in places.into_iter().filter(|place| !is_told(place)) {
        let [was, is]: [Option<&Value>; 2] = [old.values.get(place), new.values.get(place)];
        if was != is {
            let told = written::change(was, is);
            changes.push((&place.shown, Change::new(&place.setting, &place.shown, &told)));
        }
    }
    for (place, path) in before.changed_files(after) {
        let told = format!("the content of {} has changed", path.display());
        changes.push((&place.shown, Change::new(&place.setting, &place.shown, &told)));
    }
    changes.sort_by_key(|(shown, _)| *shown);
    changes.into_iter().map(|(_, change)| change).collect()
}

impl Change {
    fn new(setting: &str, shown: &str, told: &str) -> Self {
        Self { setting: setting.to_owned(), effect: effect::of(setting), told: format!("{shown}: {told}") }
    }
}

impl Place {
    /// A setting of an entry of this list, which says for all of them when they take effect.
    fn inside_any(&self, leaves: &Leaves, others: &Leaves) -> String {
        let beginning = format!("{}.", self.setting);
        let inside = |leaves: &Leaves| {
            leaves
                .values
                .keys()
                .map(|place| &place.setting)
                .find(|name| name.starts_with(&beginning))
                .cloned()
        };
        inside(leaves).or_else(|| inside(others)).unwrap_or_default()
    }
}
