//! A log line that many events share: the first at once, the others counted and told later. Pure.
//!
//! Invariant: whatever a peer does, one such line comes at most once in its interval.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Events of one kind.
#[derive(Debug)]
pub(crate) struct Seldom {
    interval: Duration,
    /// When the last line was due, and how many events there were since.
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// One line in each interval.
    pub(crate) const fn every(interval: Duration) -> Self {
        Self { interval, state: Mutex::new((None, 0)) }
    }

    /// Counts an event. Where a line is due, how many there were since the last one, this one included.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (logged_at, events) = &mut *state;
        *events = events.saturating_add(1);
        if logged_at.is_some_and(|at| now.saturating_duration_since(at) < self.interval) {
            return None;
        }
        *logged_at = Some(now);
        Some(std::mem::take(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let seldom = Seldom::every(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| seldom.count(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 9, 10, 11, 30].map(at), [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
