//! How much is under way, by key and in total: what is held is given back when it is dropped.
//!
//! Invariants: a count never exceeds the bound it was taken under; a key of which nothing is held takes no
//! memory; no lock is held while anything is waited for.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Parts of a table of keys, each with a lock of its own.
const SHARDS: usize = 16;

/// Counts by key.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    shards: [Mutex<HashMap<K, u64>>; SHARDS],
    hasher: RandomState,
}

/// So much of a key's count; given back on drop.
#[derive(Debug)]
pub(crate) struct Held<K: Hash + Eq + Copy> {
    counts: Arc<Counts<K>>,
    key: K,
    amount: u64,
}

impl<K: Hash + Eq + Copy> Counts<K> {
    /// Nothing is under way.
    pub(crate) fn new() -> Arc<Self> {
        let shards = std::array::from_fn(|_| Mutex::new(HashMap::new()));
        Arc::new(Self { shards, hasher: RandomState::new() })
    }

    /// Adds `amount` to the count of `key`, unless it would exceed `max`; holds it until the result is
    /// dropped.
    pub(crate) fn try_add(self: &Arc<Self>, key: K, amount: u64, max: u64) -> Option<Held<K>> {
        let added = self.raise(key, amount, max);
        added.then(|| Held { counts: Arc::clone(self), key, amount })
    }

    /// What is under way of each key, in no order.
    pub(crate) fn all(&self) -> Vec<(K, u64)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|(key, count)| (*key, *count)));
        }
        all
    }

    /// What is under way of a key.
    #[cfg(test)]
    pub(crate) fn of(&self, key: K) -> u64 {
        self.shard(&key).get(&key).copied().unwrap_or_default()
    }

    fn raise(&self, key: K, amount: u64, max: u64) -> bool {
        let mut shard = self.shard(&key);
        match shard.entry(key) {
            Entry::Occupied(mut held) => {
                let count = held.get().saturating_add(amount);
                if count <= max {
                    *held.get_mut() = count;
                }
                count <= max
            }
            Entry::Vacant(free) => {
                if (1..=max).contains(&amount) {
                    free.insert(amount);
                }
                amount <= max
            }
        }
    }

    fn give_back(&self, key: &K, amount: u64) {
        let mut shard = self.shard(key);
        if let Entry::Occupied(mut held) = shard.entry(*key) {
            let count = held.get().saturating_sub(amount);
            match count {
                0 => drop(held.remove()),
                _ => *held.get_mut() = count,
            }
        }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, u64>> {
        let [first, ..] = &self.shards;
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        // A panic elsewhere cannot leave a plain number half-changed.
        self.shards.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Copy> Held<K> {
    /// Holds `amount` more, unless the key's count would exceed `max`; tells whether it does.
    pub(crate) fn grow(&mut self, amount: u64, max: u64) -> bool {
        let added = self.counts.raise(self.key, amount, max);
        if added {
            self.amount = self.amount.saturating_add(amount);
        }
        added
    }
}

impl<K: Hash + Eq + Copy> Drop for Held<K> {
    fn drop(&mut self) {
        self.counts.give_back(&self.key, self.amount);
    }
}

/// One count for all.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

/// So much of a total; given back on drop.
#[derive(Debug)]
pub(crate) struct HeldOfTotal {
    total: Arc<Total>,
    amount: u64,
}

impl Total {
    /// Adds `amount`, unless the total would exceed `max`; holds it until the result is dropped.
    pub(crate) fn try_add(self: &Arc<Self>, amount: u64, max: u64) -> Option<HeldOfTotal> {
        self.raise(amount, max).then(|| HeldOfTotal { total: Arc::clone(self), amount })
    }

    /// What is under way.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn raise(&self, amount: u64, max: u64) -> bool {
        let more = |count: u64| Some(count.saturating_add(amount)).filter(|count| *count <= max);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl HeldOfTotal {
    /// Holds `amount` more, unless the total would exceed `max`; tells whether it does.
    pub(crate) fn grow(&mut self, amount: u64, max: u64) -> bool {
        let added = self.total.raise(amount, max);
        if added {
            self.amount = self.amount.saturating_add(amount);
        }
        added
    }
}

impl Drop for HeldOfTotal {
    fn drop(&mut self) {
        let _ = self.total.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            Some(count.saturating_sub(self.amount))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p58_what_one_key_holds_is_bounded_and_costs_no_other() {
        let counts = Counts::new();
        let held: Vec<_> = (0..3).map(|_| counts.try_add("one", 1, 3).unwrap()).collect();
        assert!(counts.try_add("one", 1, 3).is_none());
        assert!(counts.try_add("other", 3, 3).is_some());
        assert_eq!((counts.of("one"), counts.of("other")), (3, 0));
        drop(held);
        assert_eq!(counts.of("one"), 0);
        assert!(counts.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn p58_what_is_held_grows_within_the_bound_and_is_given_back_whole() {
        let counts = Counts::new();
        let mut held = counts.try_add(1, 0, 10).unwrap();
        assert!(held.grow(6, 10) && !held.grow(5, 10) && held.grow(4, 10));
        assert!(!held.grow(u64::MAX, 10) && counts.try_add(1, 1, 10).is_none());
        assert_eq!(counts.of(1), 10);
        drop(held);
        assert_eq!(counts.of(1), 0);
    }

    #[test]
    fn p58_all_keys_of_which_something_is_held_are_told() {
        let counts = Counts::new();
        let nothing = counts.try_add("nothing", 0, 3).unwrap();
        assert_eq!(counts.all(), [], "a key of which nothing is held takes no memory");
        let held = counts.try_add("one", 2, 3).unwrap();
        assert_eq!(counts.all(), [("one", 2)]);
        drop((nothing, held));
        assert_eq!(counts.all(), []);
    }

    #[test]
    fn p58_keys_are_spread_so_that_few_wait_for_the_same_lock() {
        let counts = Counts::new();
        let _held: Vec<_> = (0..1000).map(|key| counts.try_add(key, 1, 1).unwrap()).collect();
        for shard in &counts.shards {
            assert!((1..=200).contains(&shard.lock().unwrap().len()));
        }
    }

    #[test]
    fn p58_a_total_is_the_same_for_all() {
        let total = Arc::<Total>::default();
        let mut first = total.try_add(2, 5).unwrap();
        let second = total.try_add(2, 5).unwrap();
        assert!(total.try_add(2, 5).is_none() && first.grow(1, 5) && !first.grow(1, 5));
        assert_eq!(total.now(), 5);
        drop((first, second));
        assert_eq!(total.now(), 0);
    }

    #[test]
    fn p58_counts_come_out_even_whoever_is_at_it() {
        let counts = Counts::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let counts = Arc::clone(&counts);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        let held = counts.try_add(thread % 2, 1, 2);
                        assert!(counts.of(thread % 2) <= 2);
                        drop(held);
                    }
                });
            }
        });
        assert_eq!((counts.of(0), counts.of(1)), (0, 0));
    }
}
