//! How slow a peer may be, and the credit of time that it has (P47, P56). Pure.
//!
//! One rule for both directions and both protocols: a peer is granted `grace` of time; time that *it* takes
//! draws this credit down, and each byte gives back `1 / rate` seconds up to `grace` again. So a fast start
//! buys no slow end, and time that the other side or this server holds back costs nobody anything. Beside
//! that, no wait for a next byte may be longer than `idle`.

#![deny(clippy::arithmetic_side_effects)]

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait that is ever armed, so that times can be added whatever a configuration says.
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How slow a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest wait for the next byte.
    pub idle: Duration,
    /// The rate below which a peer uses up its grace; 0 allows any rate.
    pub rate_min_bytes_per_second: u64,
    /// How much waiting a peer is granted before the rate counts. Where it is shorter than `idle`, it bounds
    /// each wait in its place.
    pub grace: Duration,
}

impl Pace {
    /// Only the wait for the next byte is bounded.
    pub fn idle(idle: Duration) -> Self {
        Self { idle, rate_min_bytes_per_second: 0, grace: Duration::ZERO }
    }

    /// The same for a peer that is seen to move bytes only when `bytes` of them have come together.
    pub(crate) fn behind(self, bytes: u64) -> Self {
        let time = self.time_of(bytes).unwrap_or_default();
        Self { idle: self.idle.saturating_add(time), grace: self.grace.saturating_add(time), ..self }
    }

    /// The time in which a peer just fast enough moves so many bytes; none where any rate is allowed.
    fn time_of(&self, bytes: u64) -> Option<Duration> {
        bytes
            .saturating_mul(1_000_000_000)
            .checked_div(self.rate_min_bytes_per_second)
            .map(Duration::from_nanos)
    }
}

/// The time that one peer may still take.
#[derive(Debug)]
pub(crate) struct Credit {
    pace: Pace,
    /// As of the last time it was asked for.
    left: Duration,
    /// Bytes since then, not yet turned into time.
    earned_bytes: u64,
}

impl Credit {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, left: pace.grace, earned_bytes: 0 }
    }

    /// The peer took so long.
    pub(crate) fn spend(&mut self, time: Duration) {
        self.settle();
        self.left = self.left.saturating_sub(time);
    }

    /// The peer sent or took so many bytes.
    pub(crate) fn earn(&mut self, bytes: u64) {
        self.earned_bytes = self.earned_bytes.saturating_add(bytes);
    }

    /// How long the next wait for it may be.
    pub(crate) fn wait_max(&mut self) -> Duration {
        self.settle();
        match self.pace.rate_min_bytes_per_second {
            0 => self.pace.idle,
            _ => self.left.min(self.pace.idle),
        }
    }

    /// How long it may take for `bytes` that it has been handed in one piece: the wait, and the time that
    /// they are worth.
    pub(crate) fn wait_max_for(&mut self, bytes: u64) -> Duration {
        let worth = self.pace.time_of(bytes).unwrap_or_default();
        self.wait_max().saturating_add(worth)
    }

    /// Whether the credit is used up.
    pub(crate) fn is_spent(&mut self) -> bool {
        self.settle();
        self.left.is_zero() && self.pace.rate_min_bytes_per_second > 0
    }

    fn settle(&mut self) {
        if let Some(earned) = self.pace.time_of(std::mem::take(&mut self.earned_bytes)) {
            self.left = self.left.saturating_add(earned).min(self.pace.grace);
        }
    }
}

/// The end of a wait that begins at `now`.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait.min(WAIT_MAX)).unwrap_or(now)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "tests")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn credit(idle: u32, rate: u64, grace: u32) -> Credit {
        Credit::new(Pace { idle: SECOND * idle, rate_min_bytes_per_second: rate, grace: SECOND * grace })
    }

    #[test]
    fn p47_idle_bounds_each_wait() {
        let mut credit = credit(5, 0, 0);
        assert_eq!(credit.wait_max(), SECOND * 5);
        credit.spend(SECOND * 4);
        credit.earn(1);
        assert_eq!(credit.wait_max(), SECOND * 5);
        assert!(!credit.is_spent());
    }

    #[test]
    fn p47_p56_time_draws_the_credit_down_and_bytes_give_it_back() {
        let mut credit = credit(60, 1000, 10);
        assert_eq!(credit.wait_max(), SECOND * 10);
        credit.spend(SECOND * 9);
        credit.earn(500);
        assert_eq!(credit.wait_max(), Duration::from_millis(1500));
        credit.spend(SECOND * 2);
        assert!(credit.is_spent());
        credit.earn(1);
        assert!(!credit.is_spent());
    }

    #[test]
    fn p47_p56_a_fast_start_buys_no_slow_end() {
        let mut credit = credit(60, 1000, 10);
        credit.earn(1 << 30);
        assert_eq!(credit.wait_max(), SECOND * 10);
        credit.earn(1 << 30);
        credit.spend(SECOND * 3);
        assert_eq!(credit.wait_max(), SECOND * 7);
    }

    #[test]
    fn p56_a_piece_may_take_the_time_that_it_is_worth_and_the_grace() {
        let mut credit = credit(20, 1000, 10);
        assert_eq!(credit.wait_max_for(8000), SECOND * 18);
        credit.spend(SECOND * 12);
        assert_eq!(credit.wait_max_for(8000), SECOND * 8);
    }

    #[test]
    fn p47_absurd_times_do_not_overflow() {
        let pace = Pace { idle: Duration::MAX, rate_min_bytes_per_second: 1, grace: Duration::MAX };
        let now = Instant::now();
        let mut credit = Credit::new(pace);
        credit.earn(u64::MAX);
        assert_eq!(later(now, credit.wait_max_for(u64::MAX)) - now, WAIT_MAX);
    }
}
