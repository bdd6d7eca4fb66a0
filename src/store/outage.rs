//! What a store that is away costs: requests that may wait do so for a short time, all others are answered at
//! once, and the breaker says whether the store is asked at all. \[IO\]
//!
//! How waiting and the breaker meet: the breaker opens only when failures have gone on for as long as a
//! request may wait, so that an outage shorter than that is waited out and refuses nobody who may wait. When
//! it is open, whoever comes is refused at once; who waits already keeps on until its own time ends, and it
//! is one of those, or one newcomer, that tries the store.
//!
//! Invariants: [`Outages::waiters`] bounds who waits; nobody waits beyond [`Outages::wait_max`], nor beyond
//! the time for which it was decided that its request is allowed (P38).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::breaker::{Breaker, Change, Leave, Outcome, Threshold};
use crate::{config, exchange::OnBehalf, observe::Metrics, time::UnixTime};

/// The first pause of a request that waits; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause. An answer to anybody ends all of them.
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// The breaker of the store, and who waits for it.
#[derive(Debug)]
pub(super) struct Outages {
    breaker: Mutex<Breaker>,
    /// Told when the store answers again.
    recovered: Notify,
    waiters: Semaphore,
    waiters_max: usize,
    wait_max: Duration,
    metrics: Arc<Metrics>,
}

impl Outages {
    pub(super) fn new(config: &config::Store, metrics: Arc<Metrics>) -> Self {
        let wait_max = Duration::from_secs(config.outage_wait_seconds_max);
        let threshold = Threshold { failures: config.outage_failures_max, lasting: wait_max };
        Self {
            breaker: Mutex::new(Breaker::new(threshold)),
            recovered: Notify::new(),
            waiters: Semaphore::new(config.outage_waiters_max),
            waiters_max: config.outage_waiters_max,
            wait_max,
            metrics,
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiters_max.saturating_sub(self.waiters.available_permits()) as u64
    }

    /// Whether requests are refused at once.
    pub(super) fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    /// Leave to ask the store once; none while the breaker is open.
    pub(super) fn ask(&self) -> Option<Asked<'_>> {
        let leave = self.breaker().ask(Instant::now())?;
        Some(Asked { outages: self, leave: Some(leave) })
    }

    /// Until when a request may wait that was decided at `on_behalf` and comes now.
    pub(super) fn patience(&self, on_behalf: OnBehalf) -> Instant {
        Instant::now() + self.wait_max.min(left(on_behalf.counts_until, SystemTime::now()))
    }

    /// A place among those who wait; none where all are taken.
    pub(super) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.waiters.try_acquire().ok()
    }

    /// Waits before the next attempt, until the store answers anybody or a pause is over; false where `until`
    /// comes first.
    pub(super) async fn pause(&self, attempts: u32, until: Instant) -> bool {
        let recovered = self.recovered.notified();
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(attempts)).min(PAUSE_MAX);
        let end = Instant::now() + jittered(pause);
        if end >= until {
            tokio::time::timeout_at(until.into(), recovered).await.is_ok()
        } else {
            let _ = tokio::time::timeout_at(end.into(), recovered).await;
            true
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, leave: Leave, outcome: Outcome) {
        let change = self.breaker().tell(leave, outcome, Instant::now());
        match change {
            Change::None => {}
            Change::Opened => {
                self.metrics.store.breaker_opened.one();
                tracing::warn!(
                    "the store does not answer: requests are refused at once with 503, but for one at a time \
                     that tries whether it is back; look at the store and at store.endpoint"
                );
            }
            Change::Recovered => self.recovered.notify_waiters(),
            Change::Closed => {
                tracing::info!("the store answers again");
                self.recovered.notify_waiters();
            }
        }
    }
}

/// One request that the store is being asked. Dropped without a word (its client left), it says nothing of
/// the store.
pub(super) struct Asked<'a> {
    outages: &'a Outages,
    leave: Option<Leave>,
}

impl Asked<'_> {
    /// Says what became of it.
    pub(super) fn tell(mut self, outcome: Outcome) {
        if let Some(leave) = self.leave.take() {
            self.outages.tell(leave, outcome);
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.outages.tell(leave, Outcome::Undecided);
        }
    }
}

/// The time from `now` until then; none where that is over.
fn left(until: UnixTime, now: SystemTime) -> Duration {
    let nanos = until.nanos().saturating_sub(UnixTime::from(now).nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Something between half of `pause` and one and a half, so that many do not come in step.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p38_nobody_waits_longer_than_the_snapshot_counts() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(900_500);
        let until = UnixTime::from_seconds;
        assert_eq!(left(until(902), now), Duration::from_millis(1500));
        assert_eq!(left(until(900), now), Duration::ZERO);
        assert!(left(until(u64::MAX), now) > Duration::from_secs(1_000_000));
    }

    #[test]
    fn pauses_stay_within_their_bounds() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_secs(2));
            assert!(pause >= Duration::from_secs(1) && pause < Duration::from_secs(3));
        }
    }
}
