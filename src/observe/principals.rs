//! Who asks most: the traffic of each registered hotkey over the last minutes, for the operator's listener
//! alone. It is no metric: a hotkey is no label (P50).
//!
//! Invariants: no more than [`PRINCIPALS_MAX`] are remembered, whoever sends what; a lock is held for one
//! entry's numbers, and for the rare look through one shard, when that is full or an operator asks.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::chain::{AccountId, Owner, Role};

/// Minutes that are remembered.
pub(crate) const MINUTES_MAX: usize = 15;

/// Hotkeys that are remembered at one time, about 7 MiB when all ask all the time; a subnet has a few
/// hundred.
const PRINCIPALS_MAX: usize = 8192;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;

/// Most hotkeys in each of them.
const SHARD_MAX: usize = PRINCIPALS_MAX / SHARDS;

/// How many of a full shard make room at once, so that few newcomers have to look through it.
const ROOM: usize = SHARD_MAX / 4;

/// Who asks: a registered hotkey that has proven itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The hotkey.
    pub(crate) hotkey: AccountId,
    /// Its addresses as texts.
    pub(crate) owner: &'a Arc<Owner>,
    /// What it may be.
    pub(crate) role: Role,
}

/// What somebody did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Requests whose answer has ended.
    pub(crate) requests: u64,
    /// Those that were refused or failed, here or at the store.
    pub(crate) errors: u64,
    /// Bytes of their bodies.
    pub(crate) bytes_in: u64,
    /// Bytes of their answers.
    pub(crate) bytes_out: u64,
}

impl Traffic {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }

    /// How much it is, of requests and of bytes: a MiB weighs as much as a request.
    fn weight(self) -> u64 {
        self.requests.saturating_add(self.bytes_in.saturating_add(self.bytes_out) >> 20)
    }
}

/// One of the heaviest.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    /// The hotkey.
    pub(crate) hotkey: AccountId,
    /// Its addresses as texts.
    pub(crate) owner: Arc<Owner>,
    /// What it was by its last request.
    pub(crate) role: Role,
    /// What it did.
    pub(crate) traffic: Traffic,
}

/// What is remembered of a hotkey. Its past stands apart, so that an entry is small: with many hotkeys each
/// request finds one that is not in the processor's cache.
#[derive(Debug)]
struct Entry {
    owner: Arc<Owner>,
    role: Role,
    /// The last minute in which an answer to it ended.
    minute: u64,
    /// What it did in that.
    traffic: Traffic,
    /// Minutes before it, the oldest first.
    earlier: VecDeque<(u64, Traffic)>,
}

impl Entry {
    fn new(owner: &Arc<Owner>, role: Role, minute: u64) -> Self {
        let (traffic, earlier) = (Traffic::default(), VecDeque::new());
        Self { owner: Arc::clone(owner), role, minute, traffic, earlier }
    }

    /// Counts what happened in `minute`. What is late by a moment counts in the minute that has begun.
    fn add(&mut self, traffic: Traffic, minute: u64) {
        if minute > self.minute {
            self.earlier.push_back((self.minute, std::mem::take(&mut self.traffic)));
            self.minute = minute;
            self.earlier.retain(|(of, _)| minute.saturating_sub(*of) < MINUTES_MAX as u64);
        }
        self.traffic.add(traffic);
    }

    /// What happened in the last `count` minutes, the running one among them.
    fn last(&self, minute: u64, count: usize) -> Traffic {
        let mut sum = Traffic::default();
        for (of, traffic) in self.earlier.iter().chain([&(self.minute, self.traffic)]) {
            if minute.saturating_sub(*of) < count as u64 {
                sum.add(*traffic);
            }
        }
        sum
    }
}

/// The traffic of hotkeys.
#[derive(Debug)]
pub(crate) struct Principals {
    shards: [Mutex<HashMap<AccountId, Entry>>; SHARDS],
    hasher: RandomState,
    began: Instant,
}

impl Default for Principals {
    fn default() -> Self {
        Self { shards: Default::default(), hasher: RandomState::new(), began: Instant::now() }
    }
}

impl Principals {
    /// Counts what a caller did just now.
    pub(super) fn count(&self, caller: Caller<'_>, traffic: Traffic) {
        self.count_at(caller, traffic, self.minute());
    }

    fn count_at(&self, caller: Caller<'_>, traffic: Traffic, minute: u64) {
        let mut shard = self.shard(&caller.hotkey);
        if shard.len() >= SHARD_MAX && !shard.contains_key(&caller.hotkey) {
            make_room(&mut shard, minute);
        }
        let entry =
            (shard.entry(caller.hotkey)).or_insert_with(|| Entry::new(caller.owner, caller.role, minute));
        if !Arc::ptr_eq(&entry.owner, caller.owner) {
            entry.owner = Arc::clone(caller.owner);
        }
        entry.role = caller.role;
        entry.add(traffic, minute);
    }

    /// Everybody who did something within the last `minutes`, the running one among them.
    pub(crate) fn last(&self, minutes: usize) -> Vec<Principal> {
        self.last_at(minutes, self.minute())
    }

    fn last_at(&self, minutes: usize, minute: u64) -> Vec<Principal> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(shard.iter().filter_map(|(hotkey, entry)| {
                let traffic = entry.last(minute, minutes);
                (traffic.requests > 0).then(|| Principal {
                    hotkey: *hotkey,
                    owner: Arc::clone(&entry.owner),
                    role: entry.role,
                    traffic,
                })
            }));
        }
        found
    }

    /// Minutes since the start.
    fn minute(&self) -> u64 {
        self.began.elapsed().as_secs() / 60
    }

    fn shard(&self, hotkey: &AccountId) -> MutexGuard<'_, HashMap<AccountId, Entry>> {
        let [first, ..] = &self.shards;
        let at = usize::try_from(self.hasher.hash_one(hotkey) % SHARDS as u64).unwrap_or_default();
        // A panic elsewhere cannot leave numbers that mean something else.
        self.shards.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets all who did nothing in all the minutes; where nobody is such, the [`ROOM`] of the least weight.
fn make_room(shard: &mut HashMap<AccountId, Entry>, minute: u64) {
    let before = shard.len();
    shard.retain(|_, entry| entry.last(minute, MINUTES_MAX).requests > 0);
    if shard.len() < before {
        return;
    }
    let weight = |(hotkey, entry): (&AccountId, &Entry)| (entry.last(minute, MINUTES_MAX).weight(), *hotkey);
    let mut lightest: Vec<(u64, AccountId)> = shard.iter().map(weight).collect();
    lightest.sort_unstable();
    for (_, hotkey) in lightest.iter().take(ROOM) {
        shard.remove(hotkey);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hotkey(number: u32) -> AccountId {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        AccountId::from_bytes(bytes).unwrap()
    }

    fn owner(number: u32) -> Arc<Owner> {
        Arc::new(Owner::new(hotkey(number), hotkey(u32::MAX)))
    }

    fn count(principals: &Principals, number: u32, owner: &Arc<Owner>, minute: u64) {
        let caller = Caller { hotkey: hotkey(number), owner, role: Role::Miner };
        let traffic = Traffic { requests: 1, errors: 0, bytes_in: 10, bytes_out: 100 };
        principals.count_at(caller, traffic, minute);
    }

    #[test]
    fn what_is_older_than_the_minutes_asked_for_does_not_count() {
        let principals = Principals::default();
        let owner = owner(1);
        for minute in 100..120 {
            count(&principals, 1, &owner, minute);
        }
        let requests = |minutes, at| {
            principals.last_at(minutes, at).first().map_or(0, |principal| principal.traffic.requests)
        };
        assert_eq!((requests(1, 119), requests(5, 119), requests(MINUTES_MAX, 119)), (1, 5, 15));
        assert_eq!((requests(1, 120), requests(5, 121), requests(MINUTES_MAX, 134)), (0, 3, 0));
        let [one] = &principals.last_at(5, 119)[..] else { panic!() };
        assert_eq!((one.traffic.bytes_in, one.traffic.bytes_out), (50, 500));
    }

    #[test]
    fn what_is_late_by_a_moment_counts_in_the_minute_that_has_begun() {
        let principals = Principals::default();
        let owner = owner(1);
        [118, 119, 120, 119].iter().for_each(|minute| count(&principals, 1, &owner, *minute));
        let requests = |minutes| principals.last_at(minutes, 120)[0].traffic.requests;
        assert_eq!((requests(1), requests(2), requests(3)), (2, 3, 4));
    }

    #[test]
    fn p50_no_more_is_remembered_than_the_minutes() {
        let mut entry = Entry::new(&owner(1), Role::Miner, 0);
        for minute in 0..1000 {
            entry.add(Traffic { requests: 1, ..Traffic::default() }, minute);
            assert!(entry.earlier.len() < MINUTES_MAX);
        }
        assert_eq!(entry.last(999, MINUTES_MAX).requests, MINUTES_MAX as u64);
    }

    #[test]
    fn p50_memory_is_bounded_and_the_heaviest_stay() {
        let principals = Principals::default();
        let heavy = owner(0);
        (0..100).for_each(|_| count(&principals, 0, &heavy, 100));
        let other = owner(1);
        for number in 1..20_000 {
            count(&principals, number, &other, 100);
        }
        let all = principals.last_at(1, 100);
        // No shard is smaller than what is left of a full one.
        assert!((SHARDS * (SHARD_MAX - ROOM)..=PRINCIPALS_MAX).contains(&all.len()), "{}", all.len());
        assert!(all.iter().any(|principal| principal.hotkey == hotkey(0)));
    }

    /// A full shard of which the last `loud` asked in minute [`MINUTES_MAX`] and the others in minute 0, each
    /// some more than the one before it.
    fn full_shard(loud: usize) -> HashMap<AccountId, Entry> {
        let owner = owner(1);
        let mut shard = HashMap::new();
        for number in 0..SHARD_MAX {
            let minute = if number < SHARD_MAX - loud { 0 } else { MINUTES_MAX as u64 };
            let mut entry = Entry::new(&owner, Role::Miner, minute);
            entry.add(Traffic { requests: 2 * number as u64 + 1, ..Traffic::default() }, minute);
            shard.insert(hotkey(u32::try_from(number).unwrap()), entry);
        }
        shard
    }

    #[test]
    fn p50_who_is_silent_makes_room_first() {
        let mut shard = full_shard(10);
        make_room(&mut shard, MINUTES_MAX as u64);
        assert_eq!(shard.len(), 10);
    }

    #[test]
    fn p50_the_lightest_make_room_together() {
        let mut shard = full_shard(SHARD_MAX);
        // By its bytes it is as heavy as the heaviest.
        let heavy = Traffic { bytes_in: 500 << 20, bytes_out: 500 << 20, ..Traffic::default() };
        shard.get_mut(&hotkey(7)).unwrap().add(heavy, MINUTES_MAX as u64);
        make_room(&mut shard, MINUTES_MAX as u64);
        let is_gone = |number: &usize| !shard.contains_key(&hotkey(u32::try_from(*number).unwrap()));
        let gone: Vec<usize> = (0..SHARD_MAX).filter(is_gone).collect();
        let expected: Vec<usize> = (0..=ROOM).filter(|number| *number != 7).collect();
        assert_eq!(gone, expected);
    }
}
