//! What metrics are made of: counts, levels and histograms, each of plain atomics.
//!
//! Nothing here locks, allocates or looks anything up, so that counting costs a request nanoseconds. Reads
//! are relaxed: one scrape may see a count of a request and not its time yet.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are of something now. Each is entered once and left once, by guards.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicU64);

impl Level {
    pub(super) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of a histogram's buckets: in microseconds, and in seconds as they are shown. From a
/// small answer out of a store's memory to an upload of many GiB.
pub(super) const BOUNDS: [(u64, &str); 16] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (2_500_000, "2.5"),
    (5_000_000, "5.0"),
    (10_000_000, "10.0"),
    (60_000_000, "60.0"),
    (600_000_000, "600.0"),
];

/// How often something took how long.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One for each of [`BOUNDS`], and the last for what is beyond.
    buckets: [Count; BOUNDS.len() + 1],
    microseconds: Count,
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().take_while(|(bound, _)| microseconds > *bound).count();
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.one();
        }
        self.microseconds.add(microseconds);
    }

    /// What was counted: up to each bound and in all, and the sum.
    pub(super) fn now(&self) -> ([u64; BOUNDS.len() + 1], Duration) {
        let mut sum = 0_u64;
        let up_to = self.buckets.each_ref().map(|bucket| {
            sum = sum.saturating_add(bucket.now());
            sum
        });
        (up_to, Duration::from_micros(self.microseconds.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_every_bucket_that_it_fits_in() {
        let histogram = Histogram::default();
        for microseconds in [0, 500, 501, 1_000_000, 601_000_000] {
            histogram.record(Duration::from_micros(microseconds));
        }
        let (up_to, sum) = histogram.now();
        let at = |shown: &str| BOUNDS.iter().position(|(_, bound)| *bound == shown).unwrap();
        assert_eq!((up_to[at("0.0005")], up_to[at("0.001")], up_to[at("1.0")]), (2, 3, 4));
        assert_eq!((up_to[at("600.0")], up_to[BOUNDS.len()]), (4, 5));
        assert_eq!(sum, Duration::from_micros(602_001_001));
    }

    #[test]
    fn bounds_are_shown_as_what_they_are() {
        for (microseconds, shown) in BOUNDS {
            assert_eq!(Duration::from_micros(microseconds).as_secs_f64(), shown.parse::<f64>().unwrap());
        }
    }
}
