//! When a certificate is renewed, and how long nothing is ordered after an order. Pure.

use std::time::{Duration, Instant};

use crate::{time::UnixTime, tls::Certificate};

/// After the first failure. Let's Encrypt takes five failed validations of a name in an hour: this, and the
/// growth below, keep within that.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3600);

/// Each further pause is so many times the one before.
const PAUSE_GROWTH: u32 = 4;

/// After a certificate has come: what goes wrong with the clock, the disk or the authority orders no more
/// than one in that time. Less where the certificate itself is to be replaced earlier.
const PAUSE_AFTER_SUCCESS: Duration = Duration::from_secs(3600);
const PAUSE_AFTER_SUCCESS_MIN: Duration = Duration::from_secs(10);

/// When the certificate at hand is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// There is none.
    AtOnce,
    /// From then on.
    From(UnixTime),
}

impl Schedule {
    /// Of a certificate, or of none; `spread` is from 0 to 1, so that servers of one age do not come at once.
    pub(super) fn of(certificate: Option<&Certificate>, spread: f64) -> Self {
        match certificate {
            Some(certificate) => {
                Self::of_life(certificate.valid_from_seconds(), certificate.valid_until_seconds(), spread)
            }
            None => Self::AtOnce,
        }
    }

    /// After two thirds of its life, and up to a twentieth of its life earlier.
    fn of_life(from_seconds: u64, until_seconds: u64, spread: f64) -> Self {
        let life = Duration::from_secs(until_seconds.saturating_sub(from_seconds));
        let earlier = (life / 20).mul_f64(spread.clamp(0.0, 1.0));
        let after = (life * 2 / 3).saturating_sub(earlier);
        Self::From(UnixTime::from_seconds(from_seconds).plus_seconds(after.as_secs()))
    }

    /// How long until then; none where it is time.
    pub(super) fn wait(self, now: UnixTime) -> Option<Duration> {
        match self {
            Self::AtOnce => None,
            Self::From(time) => {
                time.seconds().checked_sub(now.seconds()).filter(|wait| *wait > 0).map(Duration::from_secs)
            }
        }
    }
}

/// How long nothing is ordered, whatever the certificate at hand says.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// In a row.
    failures: u32,
    next_try: Option<Instant>,
}

impl Pauses {
    /// How long until something may be ordered.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next_try.map_or(Duration::ZERO, |next_try| next_try.saturating_duration_since(now))
    }

    /// A certificate has come, ordered here or found on disk, that is to be replaced after `lasts`; none
    /// where it is time already.
    pub(super) fn succeeded(&mut self, now: Instant, lasts: Option<Duration>) {
        let pause = lasts.unwrap_or(PAUSE_AFTER_SUCCESS);
        let pause = pause.clamp(PAUSE_AFTER_SUCCESS_MIN, PAUSE_AFTER_SUCCESS);
        *self = Self { failures: 0, next_try: now.checked_add(pause) };
    }

    /// An order has failed; how many in a row, and for how long there is none.
    pub(super) fn failed(&mut self, now: Instant, spread: f64) -> (u32, Duration) {
        self.failures = self.failures.saturating_add(1);
        let pause = pause_after_failures(self.failures, spread);
        self.next_try = now.checked_add(pause);
        (self.failures, pause)
    }

    /// Another process is ordering.
    pub(super) fn rest(&mut self, now: Instant, pause: Duration) {
        self.next_try = now.checked_add(pause);
    }
}

/// How long nothing is ordered after so many failures in a row; `spread` is from 0 to 1.
fn pause_after_failures(failures: u32, spread: f64) -> Duration {
    let growth = PAUSE_GROWTH.saturating_pow(failures.saturating_sub(1));
    let pause = PAUSE_MIN.saturating_mul(growth).min(PAUSE_MAX);
    pause + (pause / 10).mul_f64(spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_or_a_little_earlier() {
        let day = 86_400;
        let (from, until) = (1000, 1000 + 90 * day);
        let at = |seconds| Schedule::From(UnixTime::from_seconds(seconds));
        assert_eq!(Schedule::of_life(from, until, 0.0), at(from + 60 * day));
        assert_eq!(Schedule::of_life(from, until, 1.0), at(from + 60 * day - 90 * day / 20));
        let schedule = Schedule::of_life(from, until, 0.0);
        let now = |seconds| UnixTime::from_seconds(seconds);
        assert_eq!(schedule.wait(now(from)), Some(Duration::from_secs(60 * day)));
        assert_eq!(schedule.wait(now(from + 60 * day - 1)), Some(Duration::from_secs(1)));
        assert_eq!(schedule.wait(now(from + 60 * day)), None);
        assert_eq!(schedule.wait(now(until + 1)), None);
        // One that ends before it begins is replaced at once.
        assert_eq!(Schedule::of_life(from, 0, 0.5).wait(now(from)), None);
    }

    #[test]
    fn where_there_is_none_it_is_time() {
        assert_eq!(Schedule::of(None, 0.5).wait(UnixTime::from_seconds(0)), None);
    }

    #[test]
    fn nothing_is_ordered_within_a_pause_and_a_certificate_ends_the_row_of_failures() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let mut pauses = Pauses::default();
        assert_eq!(pauses.wait(now), Duration::ZERO);
        assert_eq!(pauses.failed(now, 0.0), (1, second * 60));
        assert_eq!(pauses.failed(now, 0.0), (2, second * 240));
        assert_eq!(pauses.wait(now + second * 100), second * 140);
        assert_eq!(pauses.wait(now + second * 240), Duration::ZERO);
        // One that is to be replaced at once is replaced in an hour, and one of 30 seconds in time.
        for (lasts, pause) in [(None, 3600), (Some(5_000_000), 3600), (Some(20), 20), (Some(0), 10)] {
            pauses.succeeded(now, lasts.map(Duration::from_secs));
            assert_eq!(pauses.wait(now), second * pause, "{lasts:?}");
        }
        assert_eq!(pauses.failed(now, 0.0), (1, second * 60));
        pauses.rest(now, second * 15);
        assert_eq!((pauses.wait(now), pauses.failed(now, 0.0).0), (second * 15, 2));
    }

    #[test]
    fn failures_are_fewer_than_five_in_the_first_hour_and_never_given_up() {
        let pauses: Vec<u64> =
            (1..=7).map(|failures| pause_after_failures(failures, 0.0).as_secs()).collect();
        assert_eq!(pauses, [60, 240, 960, 3840, 15_360, 21_600, 21_600]);
        assert_eq!(pause_after_failures(u32::MAX, 1.0).as_secs(), 21_600 + 2160);
    }
}
