//! Rates: GCRA by key, as `governor` counts it, in memory that is bounded however many keys there are.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference as _},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

use crate::config::RateLimit;

/// Keys that are remembered one by one, about 4 MiB. There are a few hundred hotkeys on a subnet, and of more
/// addresses than that one hears only from somebody who has a whole network.
const KEYS_MAX: usize = 65_536;

/// What keys beyond that share, by chance.
const SHARED: usize = 256;

/// Parts of a table of keys, each with a lock of its own.
const SHARDS: usize = 16;

/// How often a key has to be put to the others before idle ones are looked for again: to look at all of them
/// takes as long as thousands of decisions.
const PURGE_EVERY: u64 = 1024;

/// A rate for each key.
#[derive(Debug)]
pub(super) struct KeyedRate<K: Hash + Eq + Copy, C: Clock> {
    limiter: RateLimiter<K, SharedKeys<K>, C, NoOpMiddleware<C::Instant>>,
    keys: Arc<Keys<K>>,
    /// Charges of keys that were too many.
    crowded: AtomicU64,
    clock: C,
    quota: Quota,
    /// What the states count from.
    start: C::Instant,
}

impl<K: Hash + Eq + Copy, C: Clock + Clone> KeyedRate<K, C> {
    /// A rate of its own for each key; none where there is no bound.
    pub(super) fn new(limit: &RateLimit, clock: &C) -> Option<Self> {
        Self::bounded(limit, clock, KEYS_MAX)
    }

    fn bounded(limit: &RateLimit, clock: &C, keys_max: usize) -> Option<Self> {
        Some(Self::of_keys(quota(limit)?, Keys::new(keys_max), clock))
    }

    fn of_keys(quota: Quota, keys: Keys<K>, clock: &C) -> Self {
        let (keys, start) = (Arc::new(keys), clock.now());
        let limiter = RateLimiter::new(quota, SharedKeys(Arc::clone(&keys)), clock.clone());
        Self { limiter, keys, crowded: AtomicU64::new(0), clock: clock.clone(), quota, start }
    }

    /// The rate after `last`, under a limit that may be another: what a key has spent stays spent. None where
    /// there is no bound.
    pub(super) fn renewed(last: Option<&Arc<Self>>, limit: &RateLimit, clock: &C) -> Option<Arc<Self>> {
        let quota = quota(limit)?;
        let Some(last) = last else { return Self::new(limit, clock).map(Arc::new) };
        if last.quota == quota {
            return Some(Arc::clone(last));
        }
        let next = Self::of_keys(quota, last.keys.empty(), clock);
        next.absorb(last);
        Some(Arc::new(next))
    }

    /// Takes over what keys have spent of another rate, where it is more than they have spent of this one.
    pub(super) fn absorb(&self, other: &Self) {
        let since = |rate: &Self| rate.clock.now().duration_since(rate.start).as_u64();
        let (now, others_now) = (since(self), since(other));
        let (each, others_each) = (nanos_of_one(self.quota), nanos_of_one(other.quota));
        let full = each.saturating_mul(self.quota.burst_size().get().into());
        let state = |others: Nanos| {
            let spent = u128::from(others.as_u64().saturating_sub(others_now)) * u128::from(each);
            let spent = u64::try_from(spent / u128::from(others_each)).unwrap_or(u64::MAX).min(full);
            (spent > 0).then(|| Nanos::new(now.saturating_add(spent)))
        };
        self.keys.absorb(&other.keys, state);
    }
}

impl<K: Hash + Eq + Copy, C: Clock> KeyedRate<K, C> {
    /// Charges one to `key`.
    ///
    /// # Errors
    /// How long it takes until one more may be charged; nothing was charged then.
    pub(super) fn charge(&self, key: &K) -> Result<(), Duration> {
        if self.limiter.len() >= self.keys.keys_max
            && self.crowded.fetch_add(1, Ordering::Relaxed).is_multiple_of(PURGE_EVERY)
        {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map_err(|late| late.wait_time_from(self.clock.now()))
    }
}

/// What `governor` is to count; none where there is no bound.
pub(super) fn quota(limit: &RateLimit) -> Option<Quota> {
    let per_second: NonZeroU32 = limit.per_second?;
    Some(Quota::per_second(per_second).allow_burst(limit.burst))
}

/// How long it takes until one more comes back, as `governor` counts.
fn nanos_of_one(quota: Quota) -> u64 {
    u64::try_from(quota.replenish_interval().as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// A wait as the seconds of a `Retry-After`: rounded up, and at least 1.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The states of keys; those that are too many share some.
#[derive(Debug)]
struct Keys<K> {
    shards: [Mutex<HashMap<K, Nanos>>; SHARDS],
    shared: Vec<Mutex<Option<Nanos>>>,
    hasher: RandomState,
    count: AtomicUsize,
    keys_max: usize,
}

impl<K: Hash + Eq + Copy> Keys<K> {
    fn new(keys_max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            shared: (0..SHARED).map(|_| Mutex::new(None)).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            keys_max,
        }
    }

    /// A table that puts each key where this one does.
    fn empty(&self) -> Self {
        Self { hasher: self.hasher.clone(), ..Self::new(self.keys_max) }
    }

    /// Takes over the states that `of` makes of another table's, where they are later than what is here.
    fn absorb(&self, other: &Self, of: impl Fn(Nanos) -> Option<Nanos>) {
        let lock = |state: &Mutex<Option<Nanos>>| *state.lock().unwrap_or_else(PoisonError::into_inner);
        for (own, others) in self.shared.iter().zip(&other.shared) {
            if let Some(state) = lock(others).and_then(&of) {
                let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                *own = (*own).max(Some(state));
            }
        }
        for shard in &other.shards {
            let states: Vec<(K, Nanos)> = {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.iter().filter_map(|(key, state)| Some((*key, of(*state)?))).collect()
            };
            for (key, state) in states {
                // Where there is no room it goes to what such keys share.
                let _ = self.measure_and_replace(&key, |own| {
                    Ok::<_, std::convert::Infallible>(((), own.map_or(state, |own| own.max(state))))
                });
            }
        }
    }
}

impl<K: Hash + Eq + Copy> Keys<K> {
    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 1).unwrap_or_default();
        let [first, ..] = &self.shards;
        let shard = self.shards.get(hash % SHARDS).unwrap_or(first);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = shard.get_mut(key) {
            let (outcome, next) = decide(Some(*state))?;
            *state = next;
            return Ok(outcome);
        }
        let shared = self.shared.get(hash / SHARDS % SHARED);
        if let Some(shared) = shared.filter(|_| self.count.load(Ordering::Relaxed) >= self.keys_max) {
            drop(shard);
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (outcome, next) = decide(*state)?;
            *state = Some(next);
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        shard.insert(*key, next);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(outcome)
    }
}

/// The states of keys as `governor` owns them.
#[derive(Debug)]
struct SharedKeys<K>(Arc<Keys<K>>);

impl<K: Hash + Eq + Copy> StateStore for SharedKeys<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

impl<K: Hash + Eq + Copy> ShrinkableKeyedStateStore<K> for SharedKeys<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

impl<K: Hash + Eq + Copy> Keys<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, state| *state > drop_below);
            self.count.fetch_sub(before.saturating_sub(shard.len()), Ordering::Relaxed);
        }
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit(per_second: u32, burst: u32) -> RateLimit {
        RateLimit { per_second: NonZeroU32::new(per_second), burst: NonZeroU32::new(burst).unwrap() }
    }

    #[test]
    fn s6_a_burst_then_the_rate_and_each_key_by_itself() {
        let clock = FakeRelativeClock::default();
        let rate = KeyedRate::new(&limit(2, 5), &clock).unwrap();
        let burst = (0..10).filter(|_| rate.charge(&"one").is_ok()).count();
        assert_eq!(burst, 5);
        assert_eq!(rate.charge(&"one"), Err(Duration::from_millis(500)));
        assert_eq!(rate.charge(&"other"), Ok(()));
        clock.advance(Duration::from_millis(1000));
        assert_eq!((0..10).filter(|_| rate.charge(&"one").is_ok()).count(), 2);
    }

    #[test]
    fn s6_no_rate_is_no_bound() {
        assert!(KeyedRate::<u8, _>::new(&limit(0, 5), &FakeRelativeClock::default()).is_none());
    }

    #[test]
    fn s6_keys_beyond_the_bound_share_and_cost_those_that_are_known_nothing() {
        let clock = FakeRelativeClock::default();
        let rate = KeyedRate::bounded(&limit(1, 1000), &clock, 8).unwrap();
        // Known before the crowd came.
        rate.charge(&0_u32).unwrap();
        for key in 0..1_000_000_u32 {
            let _ = rate.charge(&key);
        }
        assert!(rate.limiter.len() <= 8, "{}", rate.limiter.len());
        assert!(rate.charge(&u32::MAX).is_err());
        assert!(rate.charge(&0).is_ok());
        // When the crowd has gone, there is room again.
        clock.advance(Duration::from_secs(10_000));
        rate.limiter.retain_recent();
        assert_eq!(rate.limiter.len(), 0);
        assert!(rate.charge(&u32::MAX).is_ok());
    }

    #[test]
    fn s6_what_was_spent_stays_spent_under_another_limit() {
        let clock = FakeRelativeClock::default();
        let first = Arc::new(KeyedRate::new(&limit(10, 100), &clock).unwrap());
        (0..60).for_each(|_| first.charge(&"busy").unwrap());
        (0..10).for_each(|_| first.charge(&"calm").unwrap());
        let left = |rate: &KeyedRate<_, _>, key| (0..1000).filter(|_| rate.charge(key).is_ok()).count();
        let same = KeyedRate::renewed(Some(&first), &limit(10, 100), &clock).unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        clock.advance(Duration::from_secs(1));
        // 50 and 0 are spent by now.
        let narrow = KeyedRate::renewed(Some(&first), &limit(1, 20), &clock).unwrap();
        let wide = KeyedRate::renewed(Some(&first), &limit(100, 1000), &clock).unwrap();
        assert_eq!((left(&narrow, &"busy"), left(&narrow, &"calm")), (0, 20));
        assert_eq!((left(&wide, &"busy"), left(&wide, &"calm"), left(&wide, &"new")), (950, 1000, 1000));
        // Nobody waits longer than a whole burst of the new limit takes.
        clock.advance(Duration::from_secs(20));
        assert_eq!(left(&narrow, &"busy"), 20);
        assert!(KeyedRate::renewed(Some(&first), &limit(0, 20), &clock).is_none());
    }

    #[test]
    fn s6_keys_are_spread_so_that_few_wait_for_the_same_lock_and_few_of_a_crowd_share() {
        let rate = KeyedRate::bounded(&limit(1, 5), &FakeRelativeClock::default(), 1000).unwrap();
        for key in 0..5000_u32 {
            let _ = rate.charge(&key);
        }
        assert!(rate.keys.shards.iter().all(|shard| (1..=200).contains(&shard.lock().unwrap().len())));
        assert!(rate.keys.shared.iter().all(|state| state.lock().unwrap().is_some()));
    }

    #[test]
    fn s6_what_a_crowd_has_spent_stays_spent_under_another_limit() {
        let clock = FakeRelativeClock::default();
        let first = Arc::new(KeyedRate::bounded(&limit(1, 100), &clock, 1).unwrap());
        first.charge(&0_u32).unwrap();
        // All but one key are too many.
        for key in 1..=50 {
            (0..100).for_each(|_| first.charge(&key).unwrap_or_default());
        }
        let next = KeyedRate::renewed(Some(&first), &limit(1, 90), &clock).unwrap();
        assert!((1..=50).all(|key| next.charge(&key).is_err()));
        assert!(next.charge(&0).is_ok());
    }

    #[test]
    fn s6_states_of_idle_keys_are_let_go_and_those_of_others_are_not() {
        let clock = FakeRelativeClock::default();
        let rate = KeyedRate::new(&limit(1, 10), &clock).unwrap();
        assert!(rate.limiter.is_empty());
        rate.charge(&"idle").unwrap();
        (0..10).for_each(|_| rate.charge(&"busy").unwrap());
        clock.advance(Duration::from_secs(5));
        rate.limiter.retain_recent();
        assert_eq!(rate.limiter.len(), 1);
        assert!(!rate.limiter.is_empty());
        assert_eq!((0..100).filter(|_| rate.charge(&"busy").is_ok()).count(), 5);
    }

    #[test]
    fn s6_who_comes_when_the_table_is_full_gets_the_place_of_one_that_is_idle() {
        let clock = FakeRelativeClock::default();
        let rate = KeyedRate::bounded(&limit(1, 5), &clock, 8).unwrap();
        (0..8).for_each(|key| rate.charge(&key).unwrap());
        clock.advance(Duration::from_secs(10));
        rate.charge(&100).unwrap();
        assert_eq!(rate.limiter.len(), 1);
    }

    #[test]
    fn p49_a_wait_is_told_in_whole_seconds() {
        for (wait, told) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(seconds(Duration::from_millis(wait)), told);
        }
    }
}
