//! Counts by names that this program writes down in many places; for what is rare, as refusals are.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Names that are counted at most, whatever comes (P50); there are fewer than half as many.
const NAMES_MAX: usize = 128;

/// Counts by name.
#[derive(Debug, Default)]
pub(super) struct NamedCounts(Mutex<BTreeMap<Box<str>, u64>>);

impl NamedCounts {
    pub(super) fn one(&self, name: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(name) {
            *count = count.saturating_add(1);
        } else if counts.len() < NAMES_MAX {
            counts.insert(name.into(), 1);
        }
    }

    /// Tells each name and its count, in the order of names.
    pub(super) fn each(&self, mut tell: impl FnMut(&str, u64)) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        counts.iter().for_each(|(name, count)| tell(name, *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p50_there_are_only_so_many_names() {
        let counts = NamedCounts::default();
        (0..1000).for_each(|number| counts.one(&number.to_string()));
        counts.one("0");
        let mut told = Vec::new();
        counts.each(|name, count| told.push((name.to_owned(), count)));
        assert_eq!((told.len(), &told[0]), (NAMES_MAX, &("0".to_owned(), 2)));
    }
}
