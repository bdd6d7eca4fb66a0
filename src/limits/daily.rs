//! What each principal has used of the UTC day: requests and bytes.
//!
//! Invariants: a day's counters are those of that day alone; memory is bounded by the principals that there
//! are, and by [`PRINCIPALS_MAX`]. The counters live in this process: a restart begins the day anew, unless
//! they are reported to what replicas share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{chain::AccountId, time::UnixTime};

/// Principals that are counted one by one, a hundred times what a subnet has; those beyond share a counter.
const PRINCIPALS_MAX: usize = 65_536;

const DAY_SECONDS: u64 = 86_400;

/// What a request counts as, by day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DayCharge {
    /// A request of S3, or of an endpoint that counts as one.
    Request,
    /// One of the vending server's older endpoints.
    Vended,
    /// None: what gives room back is allowed over any daily limit (P37).
    Free,
}

/// What one principal has used of one day.
#[derive(Debug, Default)]
pub(crate) struct DayUsage {
    requests: AtomicU64,
    vended_requests: AtomicU64,
    bytes: AtomicU64,
    reported: Reported,
}

/// What replicas have been told already of the same counters.
#[derive(Debug, Default)]
struct Reported {
    requests: AtomicU64,
    vended_requests: AtomicU64,
    bytes: AtomicU64,
}

/// How much was used since the last report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unreported {
    pub(super) requests: u64,
    pub(super) vended_requests: u64,
    pub(super) bytes: u64,
}

/// What one party may use in one day; `None` for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DayBounds {
    pub(super) requests_max: Option<u64>,
    pub(super) vended_requests_max: Option<u64>,
    pub(super) bytes_max: Option<u64>,
}

/// The setting that is used up, and what it allows.
pub(super) type UsedUp = (&'static str, u64);

impl DayUsage {
    /// Counts bytes as they flow.
    pub(crate) fn count_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes what was used since the last time: it is reported once at most.
    fn take_unreported(&self) -> Option<Unreported> {
        let take = |count: &AtomicU64, reported: &AtomicU64| {
            let count = count.load(Ordering::Relaxed);
            count.saturating_sub(reported.fetch_max(count, Ordering::Relaxed))
        };
        let unreported = Unreported {
            requests: take(&self.requests, &self.reported.requests),
            vended_requests: take(&self.vended_requests, &self.reported.vended_requests),
            bytes: take(&self.bytes, &self.reported.bytes),
        };
        (unreported != Unreported::default()).then_some(unreported)
    }

    /// Counts a request.
    ///
    /// # Errors
    /// What is used up; nothing was counted then.
    pub(super) fn charge(&self, charge: DayCharge, bounds: &DayBounds) -> Result<(), UsedUp> {
        if let (Some(max), DayCharge::Request) = (bounds.bytes_max, charge)
            && self.bytes.load(Ordering::Relaxed) >= max
        {
            return Err(("bytes_per_day_max", max));
        }
        let (count, max, setting) = match charge {
            DayCharge::Request => (&self.requests, bounds.requests_max, "requests_per_day_max"),
            DayCharge::Vended => {
                (&self.vended_requests, bounds.vended_requests_max, "vended_requests_per_day_max")
            }
            DayCharge::Free => return Ok(()),
        };
        let max = max.unwrap_or(u64::MAX);
        let more = |count: u64| count.checked_add(1).filter(|count| *count <= max);
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err((setting, max)),
        }
    }
}

/// What everybody has used of the day.
#[derive(Debug, Default)]
pub(super) struct Daily(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    number: u64,
    principals: HashMap<AccountId, Arc<DayUsage>>,
    /// Of principals that are too many.
    others: Arc<DayUsage>,
    /// Of all together.
    all: Arc<DayUsage>,
}

impl Daily {
    /// What `principal`, and what all together, have used of the day of `now`. A clock that steps back does
    /// not bring a day back.
    pub(super) fn usage(&self, principal: AccountId, now: UnixTime) -> [Arc<DayUsage>; 2] {
        let number = now.seconds() / DAY_SECONDS;
        let mut day = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if number > day.number {
            *day = Day { number, ..Day::default() };
        }
        let is_full = day.principals.len() >= PRINCIPALS_MAX;
        let usage = match day.principals.get(&principal) {
            Some(usage) => Arc::clone(usage),
            None if is_full => Arc::clone(&day.others),
            None => Arc::clone(day.principals.entry(principal).or_default()),
        };
        [usage, Arc::clone(&day.all)]
    }
}

impl Daily {
    /// Takes what principals, and all together (`None`), have used of the day of `now` since the last time.
    /// What was not reported of a day that is over is of no use to anybody.
    pub(super) fn take_unreported(&self, now: UnixTime) -> Vec<(Option<AccountId>, Unreported)> {
        let day = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if day.number != now.seconds() / DAY_SECONDS {
            return Vec::new();
        }
        let principals = day.principals.iter().map(|(principal, usage)| (Some(*principal), usage));
        principals
            .chain([(None, &day.all)])
            .filter_map(|(principal, usage)| Some((principal, usage.take_unreported()?)))
            .collect()
    }
}

/// How long the day lasts, in seconds; at least 1.
pub(super) fn seconds_left(now: UnixTime) -> u64 {
    DAY_SECONDS.saturating_sub(now.seconds() % DAY_SECONDS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixTime = UnixTime::from_seconds(20_000 * DAY_SECONDS + DAY_SECONDS / 2);

    const BOUNDS: DayBounds =
        DayBounds { requests_max: Some(3), vended_requests_max: Some(2), bytes_max: Some(100) };

    fn account(seed: u8) -> AccountId {
        AccountId::from_bytes([seed; 32]).unwrap()
    }

    #[test]
    fn s6_a_day_has_so_many_requests_and_the_next_as_many_again() {
        let daily = Daily::default();
        let charge = |who, charge, now| daily.usage(account(who), now)[0].charge(charge, &BOUNDS);
        for _ in 0..3 {
            charge(1, DayCharge::Request, NOON).unwrap();
        }
        assert_eq!(charge(1, DayCharge::Request, NOON), Err(("requests_per_day_max", 3)));
        // Counted apart; and others have their own.
        charge(1, DayCharge::Vended, NOON).unwrap();
        charge(1, DayCharge::Vended, NOON).unwrap();
        assert_eq!(charge(1, DayCharge::Vended, NOON), Err(("vended_requests_per_day_max", 2)));
        charge(1, DayCharge::Free, NOON).unwrap();
        charge(2, DayCharge::Request, NOON).unwrap();
        let tomorrow = NOON.plus_seconds(seconds_left(NOON));
        charge(1, DayCharge::Request, tomorrow).unwrap();
        // A clock that steps back brings no day back.
        charge(1, DayCharge::Request, NOON).unwrap();
        charge(1, DayCharge::Request, NOON).unwrap();
        charge(1, DayCharge::Request, tomorrow).unwrap_err();
    }

    #[test]
    fn s6_bytes_are_counted_as_they_flow() {
        let daily = Daily::default();
        let [usage, all] = daily.usage(account(1), NOON);
        usage.charge(DayCharge::Request, &BOUNDS).unwrap();
        usage.count_bytes(99);
        usage.charge(DayCharge::Request, &BOUNDS).unwrap();
        usage.count_bytes(1);
        assert_eq!(usage.charge(DayCharge::Request, &BOUNDS), Err(("bytes_per_day_max", 100)));
        all.charge(DayCharge::Request, &BOUNDS).unwrap();
    }

    #[test]
    fn s6_what_was_used_is_reported_once() {
        let daily = Daily::default();
        let [usage, all] = daily.usage(account(1), NOON);
        daily.usage(account(2), NOON);
        usage.count_bytes(10);
        all.count_bytes(10);
        usage.charge(DayCharge::Vended, &BOUNDS).unwrap();
        let bytes = Unreported { bytes: 10, ..Unreported::default() };
        let of_one = Unreported { vended_requests: 1, ..bytes };
        assert_eq!(daily.take_unreported(NOON), [(Some(account(1)), of_one), (None, bytes)]);
        assert_eq!(daily.take_unreported(NOON), []);
        usage.count_bytes(1);
        assert_eq!(daily.take_unreported(NOON.plus_seconds(seconds_left(NOON))), []);
        assert_eq!(
            daily.take_unreported(NOON),
            [(Some(account(1)), Unreported { bytes: 1, ..Unreported::default() })]
        );
    }

    #[test]
    fn s6_principals_that_are_too_many_share_a_counter() {
        let daily = Daily::default();
        let numbered = |number: u32| {
            let mut bytes = [1; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            AccountId::from_bytes(bytes).unwrap()
        };
        let max = u32::try_from(PRINCIPALS_MAX).unwrap();
        let usage = |number| daily.usage(numbered(number), NOON)[0].clone();
        (0..max).for_each(|number| drop(usage(number)));
        assert!(!Arc::ptr_eq(&usage(0), &usage(max - 1)), "each that came in time has its own");
        assert!(Arc::ptr_eq(&usage(max), &usage(max + 1)));
        assert_eq!(daily.0.lock().unwrap().principals.len(), PRINCIPALS_MAX);
        let tomorrow = NOON.plus_seconds(seconds_left(NOON));
        let [own, _] = daily.usage(numbered(max), tomorrow);
        assert!(!Arc::ptr_eq(&own, &daily.usage(numbered(max + 1), tomorrow)[0]));
    }

    #[test]
    fn p37_what_gives_room_back_is_allowed_over_any_daily_limit() {
        let usage = DayUsage::default();
        let none = DayBounds { requests_max: Some(0), vended_requests_max: Some(0), bytes_max: Some(0) };
        usage.charge(DayCharge::Free, &none).unwrap();
        usage.charge(DayCharge::Request, &none).unwrap_err();
    }

    #[test]
    fn s6_the_day_ends_at_midnight_utc() {
        assert_eq!(seconds_left(NOON), DAY_SECONDS / 2);
        assert_eq!(seconds_left(UnixTime::from_seconds(DAY_SECONDS)), DAY_SECONDS);
        assert_eq!(seconds_left(UnixTime::from_seconds(DAY_SECONDS - 1)), 1);
    }
}
