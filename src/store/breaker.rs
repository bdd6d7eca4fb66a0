//! Whether the store is asked at all: a circuit breaker over what became of the requests so far.
//!
//! Pure: time is an argument. The pattern is that of <https://martinfowler.com/bliki/CircuitBreaker.html>.
//!
//! ```text
//! closed ── failures in a row, over a while ──▶ open ── after a rest ──▶ one trial ──▶ closed
//!                                                 ▲                        │
//!                                                 └────── longer rest ─────┘
//! ```
//!
//! Invariants: an answer of the store, whatever it says, closes it; while it is open one request at a time
//! tries the store, and a trial that does not end makes room for another; what a client does to its own
//! request is neither a success nor a failure.

use std::time::{Duration, Instant};

/// The first rest of an open breaker; each failed trial doubles it.
const REST_MIN: Duration = Duration::from_millis(250);

/// The longest rest, and so the longest time for which a store that is back is still refused.
const REST_MAX: Duration = Duration::from_secs(2);

/// A trial that has not ended after this time makes room for another one.
const TRIAL: Duration = Duration::from_secs(2);

/// A failure this long after the one before begins a new row: few requests tell of no outage that lasts.
const ROW_GAP: Duration = Duration::from_secs(30);

/// When a breaker opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Threshold {
    /// Failures in a row; 0 never opens it.
    pub(super) failures: u32,
    /// How long they must have gone on, so that a short outage can be waited out.
    pub(super) lasting: Duration,
}

/// The breaker of one store.
#[derive(Debug)]
pub(super) struct Breaker {
    threshold: Threshold,
    state: State,
    trials: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The last request that was decided was answered.
    Well,
    /// Failures in a row, since the first of them; still closed.
    Failing { failures: u32, since: Instant, last: Instant },
    /// Nobody asks until the end of the rest.
    Open { rest: Duration, until: Instant },
    /// One request tries the store; another may after `until`.
    Trying { rest: Duration, trial: u64, until: Instant },
}

/// Leave to ask the store once; what became of it is told with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    /// The number of the trial that it is, where the breaker is open.
    trial: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The store answered, with whatever status.
    Answered,
    /// No connection, or none that brought an answer.
    Failed,
    /// It says nothing of the store: the client left, or its own body failed.
    Undecided,
}

/// What an outcome changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that anybody waits for.
    None,
    /// From now on requests are refused at once.
    Opened,
    /// The store answers again after failures.
    Recovered,
    /// The store answers again, and requests are no longer refused.
    Closed,
}

impl Breaker {
    pub(super) fn new(threshold: Threshold) -> Self {
        Self { threshold, state: State::Well, trials: 0 }
    }

    /// Whether requests are refused at once, but for a trial now and then.
    pub(super) fn is_open(&self) -> bool {
        match self.state {
            State::Well | State::Failing { .. } => false,
            State::Open { .. } | State::Trying { .. } => true,
        }
    }

    /// Gives leave to ask, or none while the store is left alone.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Leave> {
        let (rest, until) = match self.state {
            State::Well | State::Failing { .. } => return Some(Leave { trial: None }),
            State::Open { rest, until } | State::Trying { rest, until, .. } => (rest, until),
        };
        if now < until {
            return None;
        }
        self.trials = self.trials.wrapping_add(1);
        self.state = State::Trying { rest, trial: self.trials, until: now + TRIAL };
        Some(Leave { trial: Some(self.trials) })
    }

    /// Takes in what became of a request.
    pub(super) fn tell(&mut self, leave: Leave, outcome: Outcome, now: Instant) -> Change {
        let state = self.state;
        self.state = match (state, outcome) {
            (_, Outcome::Answered) => State::Well,
            (State::Well, Outcome::Failed) => self.failing(1, now, now),
            (State::Failing { last, .. }, Outcome::Failed)
                if now.saturating_duration_since(last) > ROW_GAP =>
            {
                self.failing(1, now, now)
            }
            (State::Failing { failures, since, .. }, Outcome::Failed) => {
                self.failing(failures.saturating_add(1), since, now)
            }
            (State::Trying { rest, trial, .. }, Outcome::Failed) if leave.trial == Some(trial) => {
                let rest = (rest * 2).min(REST_MAX);
                State::Open { rest, until: now + rest }
            }
            // The trial says nothing: the next one may try at once.
            (State::Trying { rest, trial, .. }, Outcome::Undecided) if leave.trial == Some(trial) => {
                State::Open { rest, until: now }
            }
            // It was asked before the breaker opened, or by a trial that was given up.
            (State::Open { .. } | State::Trying { .. }, Outcome::Failed) => state,
            (_, Outcome::Undecided) => state,
        };
        match (state, self.state) {
            (State::Failing { .. }, State::Well) => Change::Recovered,
            (State::Open { .. } | State::Trying { .. }, State::Well) => Change::Closed,
            (State::Well | State::Failing { .. }, State::Open { .. }) => Change::Opened,
            (State::Well, State::Well)
            | (_, State::Failing { .. } | State::Trying { .. })
            | (State::Open { .. } | State::Trying { .. }, State::Open { .. }) => Change::None,
        }
    }

    fn failing(&self, failures: u32, since: Instant, now: Instant) -> State {
        let Threshold { failures: enough, lasting } = self.threshold;
        match enough > 0 && failures >= enough && now.saturating_duration_since(since) >= lasting {
            true => State::Open { rest: REST_MIN, until: now + REST_MIN },
            false => State::Failing { failures, since, last: now },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Duration = Duration::from_secs(5);

    fn breaker(failures: u32, lasting: Duration) -> (Breaker, Instant) {
        (Breaker::new(Threshold { failures, lasting }), Instant::now())
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Asks, which must be allowed, and fails.
    #[track_caller]
    fn fail(breaker: &mut Breaker, at: Instant) -> Change {
        let leave = breaker.ask(at).unwrap();
        breaker.tell(leave, Outcome::Failed, at)
    }

    #[test]
    fn p69_it_opens_after_failures_in_a_row_that_have_lasted() {
        let (mut breaker, start) = breaker(3, LASTING);
        for tenths in 0..49 {
            assert_eq!(fail(&mut breaker, start + seconds(f64::from(tenths) / 10.0)), Change::None);
        }
        assert_eq!(fail(&mut breaker, start + LASTING), Change::Opened);
        assert_eq!(breaker.ask(start + LASTING), None);
    }

    #[test]
    fn p69_few_failures_open_nothing_however_long_they_last_nor_does_a_threshold_of_zero() {
        let (mut three, start) = breaker(3, LASTING);
        assert_eq!(fail(&mut three, start), Change::None);
        assert_eq!(fail(&mut three, start + seconds(30.0)), Change::None);
        // Another row: these have nothing to do with the ones before.
        for second in [61, 62, 63] {
            assert_eq!(fail(&mut three, start + Duration::from_secs(second)), Change::None);
        }
        assert_eq!(fail(&mut three, start + seconds(66.0)), Change::Opened);
        let (mut never, start) = breaker(0, Duration::ZERO);
        for second in 0..100 {
            assert_eq!(fail(&mut never, start + Duration::from_secs(second)), Change::None);
        }
    }

    #[test]
    fn p69_one_answer_ends_the_row() {
        let (mut breaker, start) = breaker(2, Duration::ZERO);
        fail(&mut breaker, start);
        let leave = breaker.ask(start).unwrap();
        assert_eq!(breaker.tell(leave, Outcome::Answered, start), Change::Recovered);
        assert_eq!(breaker.tell(leave, Outcome::Answered, start), Change::None);
        assert_eq!(fail(&mut breaker, start), Change::None);
        // What clients do is no part of it.
        let leave = breaker.ask(start).unwrap();
        assert_eq!(breaker.tell(leave, Outcome::Undecided, start), Change::None);
        assert_eq!(fail(&mut breaker, start), Change::Opened);
    }

    #[test]
    fn p69_an_open_one_lets_one_trial_through_at_a_time_and_rests_longer_each_time() {
        let (mut breaker, start) = breaker(1, Duration::ZERO);
        let mut now = start;
        assert_eq!(fail(&mut breaker, now), Change::Opened);
        for rest in [0.25, 0.5, 1.0, 2.0, 2.0] {
            assert_eq!(breaker.ask(now + seconds(rest) - Duration::from_nanos(1)), None, "{rest}");
            now += seconds(rest);
            let trial = breaker.ask(now).unwrap();
            assert_eq!(breaker.ask(now), None, "a second trial");
            assert_eq!(breaker.tell(trial, Outcome::Failed, now), Change::None);
        }
        now += REST_MAX;
        let trial = breaker.ask(now).unwrap();
        assert_eq!(breaker.tell(trial, Outcome::Answered, now), Change::Closed);
        assert!(breaker.ask(now).is_some() && breaker.ask(now).is_some());
        // The next outage begins with the short rest.
        assert_eq!(fail(&mut breaker, now), Change::Opened);
        assert!(breaker.ask(now + REST_MIN).is_some());
    }

    #[test]
    fn p69_a_trial_without_an_end_holds_nobody_up() {
        let (mut breaker, start) = breaker(1, Duration::ZERO);
        fail(&mut breaker, start);
        let hung = breaker.ask(start + REST_MIN).unwrap();
        let later = start + REST_MIN + TRIAL;
        assert_eq!(breaker.ask(later - Duration::from_nanos(1)), None);
        let second = breaker.ask(later).unwrap();
        // The first is history; the second is the trial.
        breaker.tell(hung, Outcome::Failed, later);
        breaker.tell(hung, Outcome::Undecided, later);
        assert_eq!(breaker.ask(later), None);
        // Its client left: the next one tries at once.
        assert_eq!(breaker.tell(second, Outcome::Undecided, later), Change::None);
        let third = breaker.ask(later).unwrap();
        // And whoever is answered, however old the question, closes it.
        assert_eq!(breaker.tell(hung, Outcome::Answered, later), Change::Closed);
        assert_eq!(breaker.tell(third, Outcome::Failed, later), Change::Opened);
    }

    #[test]
    fn p69_failures_from_before_it_opened_change_nothing() {
        let (mut breaker, start) = breaker(1, Duration::ZERO);
        let old = breaker.ask(start).unwrap();
        fail(&mut breaker, start);
        assert_eq!(breaker.tell(old, Outcome::Failed, start + REST_MIN / 2), Change::None);
        assert!(breaker.ask(start + REST_MIN).is_some());
    }
}
