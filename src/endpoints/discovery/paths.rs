//! Paths on the way to folders of miners, and each miner's share of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicUsize,
};

use crate::{
    chain::Snapshot,
    policy::{Bound, Template},
};

/// Prefixes that are told for one miner; with more, one that they all lie under takes their place.
const TRUNCATED_PER_MINER_MAX: usize = 1000;

/// By miner, the prefixes below which not all folders were taken.
pub(in crate::endpoints) type Truncated = BTreeMap<String, BTreeSet<String>>;

/// The registered accounts, with the pages that were read below their folders.
pub(super) type Registered = BTreeMap<String, AtomicUsize>;

/// The accounts of a snapshot.
pub(super) fn registered(snapshot: &Snapshot) -> Registered {
    let accounts = snapshot.neurons().flat_map(|neuron| [neuron.owner.hotkey(), neuron.owner.coldkey()]);
    accounts.map(|account| (account.to_owned(), AtomicUsize::new(0))).collect()
}

/// A path that may become a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path {
    /// With its slash; empty at the beginning.
    pub(super) prefix: String,
    /// SS58 of the last coldkey or hotkey in it; empty where there is none yet.
    pub(super) miner: String,
    pub(super) values: Vec<String>,
}

impl Path {
    /// The path one segment on; none where that names an account which is not registered.
    pub(super) fn on(&self, text: &str, bound: Bound, registered: &Registered) -> Option<Self> {
        let mut next = Self { prefix: format!("{}{text}/", self.prefix), ..self.clone() };
        match bound {
            Bound::Literal => {}
            Bound::Hotkey(account) | Bound::Coldkey(account) => {
                next.miner = account.to_ss58();
                if !registered.contains_key(&next.miner) {
                    return None;
                }
            }
            Bound::Named(value) => next.values.push(value),
        }
        Some(next)
    }

    /// As [`Self::on`], for a common prefix right below this path.
    pub(super) fn on_prefix(
        &self,
        prefix: &str,
        template: &Template,
        level: usize,
        registered: &Registered,
    ) -> Option<Self> {
        let text = prefix.strip_prefix(self.prefix.as_str())?.strip_suffix('/')?;
        self.on(text, template.read(level, text)?, registered)
    }
}

/// Remembers that not all was taken of the miner's below `prefix`, which lies under `root`.
pub(super) fn leave(truncated: &mut Truncated, miner: &str, prefix: &str, root: &str) {
    let prefixes = truncated.entry(miner.to_owned()).or_default();
    if prefixes.contains(root) {
        return;
    }
    if prefixes.len() >= TRUNCATED_PER_MINER_MAX && !prefixes.contains(prefix) {
        prefixes.retain(|other| !other.starts_with(root));
        prefixes.insert(root.to_owned());
        return;
    }
    prefixes.insert(prefix.to_owned());
}

/// Where the rest of a miner's folders is listed, of whose paths some were left out.
pub(super) enum Rest<'a> {
    /// In the miner's own folder, the first segments of the path.
    Owned(&'a Template),
    /// Under this prefix, which is no miner's.
    Above(&'a str),
}

/// Paths of miners, so many of each.
pub(super) struct Shares<'a> {
    paths: Vec<Path>,
    of: BTreeMap<String, usize>,
    each: usize,
    paths_max: usize,
    rest: Rest<'a>,
    truncated: &'a mut Truncated,
}

impl<'a> Shares<'a> {
    /// At most `each` of one miner; fewer where there are more than `paths_max` in all.
    pub(super) fn new(each: usize, paths_max: usize, rest: Rest<'a>, truncated: &'a mut Truncated) -> Self {
        Self { paths: Vec::new(), of: BTreeMap::new(), each, paths_max, rest, truncated }
    }

    pub(super) fn take(&mut self, path: Path) {
        let of = self.of.entry(path.miner.clone()).or_default();
        let is_full = self.each <= 1 && self.paths.len() >= self.paths_max;
        if *of >= self.each || is_full {
            self.leave(&path);
            return;
        }
        *of = of.saturating_add(1);
        self.paths.push(path);
        if self.paths.len() > self.paths_max {
            // Many miners have many: shares of half the size, until all fit.
            self.each = (self.each / 2).max(1);
            self.of.clear();
            for path in std::mem::take(&mut self.paths) {
                self.take_again(path);
            }
        }
    }

    fn take_again(&mut self, path: Path) {
        let of = self.of.entry(path.miner.clone()).or_default();
        if *of >= self.each || self.paths.len() >= self.paths_max {
            self.leave(&path);
            return;
        }
        *of = of.saturating_add(1);
        self.paths.push(path);
    }

    /// Remembers that not all below `path` was taken, or not the path itself.
    pub(super) fn leave(&mut self, path: &Path) {
        match self.rest {
            Rest::Owned(template) => {
                let folder: String = path.prefix.split_inclusive('/').take(template.owned_depth()).collect();
                leave(self.truncated, &path.miner, &folder, &template.root());
            }
            Rest::Above(prefix) => leave(self.truncated, &path.miner, prefix, prefix),
        }
    }

    pub(super) fn into_paths(self) -> Vec<Path> {
        self.paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(miner: &str, index: usize) -> Path {
        Path { prefix: format!("data/{index}/{miner}/"), miner: miner.to_owned(), values: Vec::new() }
    }

    #[test]
    fn one_miners_many_paths_cost_the_others_none() {
        let mut truncated = Truncated::new();
        let mut shares = Shares::new(100, 120, Rest::Above("data/"), &mut truncated);
        (0..5000).for_each(|index| shares.take(path("many", index)));
        (0..50).for_each(|index| shares.take(path("few", index)));
        let of = |miner: &str, paths: &[Path]| paths.iter().filter(|path| path.miner == miner).count();
        let paths = shares.into_paths();
        assert_eq!((of("many", &paths), of("few", &paths)), (50, 50));
        assert_eq!(Vec::from_iter(&truncated["many"]), ["data/"]);
        assert!(!truncated.contains_key("few"));
    }

    #[test]
    fn what_is_told_as_truncated_is_bounded_itself() {
        let mut truncated = Truncated::new();
        (0..1000).for_each(|index| leave(&mut truncated, "m", &format!("data/{index}/m/"), "data/"));
        leave(&mut truncated, "m", "data/0/m/", "data/");
        assert_eq!(truncated["m"].len(), 1000);
        leave(&mut truncated, "m", "data/1000/m/", "data/");
        leave(&mut truncated, "m", "data/1001/m/", "data/");
        leave(&mut truncated, "m", "other/m/", "other/");
        assert_eq!(Vec::from_iter(&truncated["m"]), ["data/", "other/m/"]);
    }
}
