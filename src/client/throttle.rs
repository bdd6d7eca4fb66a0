//! How many calls are open at once: as many as were asked for, and fewer while the server asks for less.
//!
//! A 503 halves the number and keeps everybody waiting for as long as the server says; successes bring it
//! back one by one. Invariant: at least one call may be open, so whatever the server says, the work goes on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Refusals within so short a time are one: they were under way together.
const HALVING_INTERVAL: Duration = Duration::from_secs(1);

/// Successes for each open place, before there is one place more.
const SUCCESSES_PER_PLACE: usize = 8;

/// The places of one server.
#[derive(Debug)]
pub(crate) struct Throttle {
    places: Mutex<Places>,
    freed: Notify,
}

/// The place of one open call, which ends with this.
#[derive(Debug)]
pub(crate) struct OpenCall(Arc<Throttle>);

#[derive(Debug)]
struct Places {
    max: usize,
    allowed: usize,
    open: usize,
    successes: usize,
    last_success: Option<Instant>,
    halved: Option<Instant>,
    closed_until: Option<Instant>,
}

/// Whether a call may begin.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Now,
    NotBefore(Instant),
    WhenOneIsFree,
}

impl Places {
    fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            max,
            allowed: max,
            open: 0,
            successes: 0,
            last_success: None,
            halved: None,
            closed_until: None,
        }
    }

    fn enter(&mut self, now: Instant) -> Entry {
        if let Some(until) = self.closed_until.filter(|until| now < *until) {
            return Entry::NotBefore(until);
        }
        if self.open >= self.allowed {
            return Entry::WhenOneIsFree;
        }
        self.open = self.open.saturating_add(1);
        Entry::Now
    }

    fn succeeded(&mut self, now: Instant) {
        self.last_success = Some(now);
        self.successes = self.successes.saturating_add(1);
        if self.allowed < self.max && self.successes >= self.allowed.saturating_mul(SUCCESSES_PER_PLACE) {
            self.allowed = self.allowed.saturating_add(1);
            self.successes = 0;
        }
    }

    fn slow_down(&mut self, now: Instant, pause: Duration) {
        self.successes = 0;
        let together = self.halved.is_some_and(|at| now.saturating_duration_since(at) < HALVING_INTERVAL);
        if !together {
            self.allowed = (self.allowed / 2).max(1);
            self.halved = Some(now);
        }
        let until = now.checked_add(pause);
        self.closed_until = self.closed_until.max(until);
    }
}

impl Throttle {
    /// At most `max` open calls.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { places: Mutex::new(Places::new(max)), freed: Notify::new() })
    }

    /// Waits for a place.
    pub(crate) async fn enter(self: &Arc<Self>) -> OpenCall {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on no notification is missed.
            freed.as_mut().enable();
            match self.with(|places| places.enter(Instant::now())) {
                Entry::Now => return OpenCall(Arc::clone(self)),
                Entry::NotBefore(until) => tokio::time::sleep_until(until.into()).await,
                Entry::WhenOneIsFree => freed.await,
            }
        }
    }

    /// A call has succeeded.
    pub(crate) fn succeeded(&self) {
        self.with(|places| places.succeeded(Instant::now()));
        self.freed.notify_waiters();
    }

    /// When the last call of any succeeded.
    pub(crate) fn last_success(&self) -> Option<Instant> {
        self.with(|places| places.last_success)
    }

    /// The server asks for less, and for so long for nothing at all.
    pub(crate) fn slow_down(&self, pause: Duration) {
        self.with(|places| places.slow_down(Instant::now(), pause));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Places) -> T) -> T {
        // Whoever panicked while it held the lock left numbers that are still numbers.
        change(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.with(|places| places.open = places.open.saturating_sub(1));
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_halves_once_for_refusals_that_come_together_and_grows_back() {
        let start = Instant::now();
        let mut places = Places::new(8);
        places.slow_down(start, Duration::ZERO);
        places.slow_down(start + HALVING_INTERVAL / 2, Duration::ZERO);
        assert_eq!(places.allowed, 4);
        for at in 1..9 {
            places.slow_down(start + HALVING_INTERVAL * at, Duration::ZERO);
        }
        assert_eq!(places.allowed, 1);
        for _ in 0..10_000 {
            places.succeeded(start);
        }
        assert_eq!((places.allowed, places.last_success), (8, Some(start)));
    }

    #[test]
    fn while_the_server_asks_for_nothing_nothing_begins() {
        let start = Instant::now();
        let mut places = Places::new(2);
        let pause = Duration::from_secs(3);
        places.slow_down(start, pause);
        places.slow_down(start, Duration::from_secs(1));
        assert_eq!(places.enter(start), Entry::NotBefore(start + pause));
        assert_eq!(places.enter(start + pause), Entry::Now);
        assert_eq!(places.enter(start + pause), Entry::WhenOneIsFree);
    }

    #[tokio::test]
    async fn a_place_is_free_once_its_call_ends() {
        let throttle = Throttle::new(1);
        let first = throttle.enter().await;
        let waiting = tokio::spawn({
            let throttle = Arc::clone(&throttle);
            async move { throttle.enter().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }
}
