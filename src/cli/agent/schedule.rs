//! When the held session is renewed, and when an attempt that failed is repeated. Pure.
//!
//! Two clocks count: the wall clock, by which a session ends and which goes on while the machine sleeps, and
//! the one that pauses are measured with.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::cli::{exit::Exit, session_source::MINUTES_LEFT_MIN};

/// Between two attempts, whatever clients ask and however short sessions are.
pub(super) const ATTEMPT_PAUSE_MIN: Duration = Duration::from_secs(2);

/// The same after the server has refused: it would only say so again.
const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(10);

/// The pause after a first failure that nobody waits for; it doubles with each further one.
const FAILURE_PAUSE_MIN: Duration = Duration::from_secs(5);

/// The longest pause: four attempts in the time that a session still lasts.
const FAILURE_PAUSE_MAX: Duration = Duration::from_secs(300);

/// When a session that was issued at `now` is replaced: 20 minutes before its end, so that SDKs find the
/// quarter of an hour that they want to be left. A shorter one is replaced after a quarter of its life.
pub(super) fn renewal_of_new(now: Timestamp, expiration: Timestamp) -> Timestamp {
    let quarter = expiration.duration_since(now).checked_div(4).unwrap_or(SignedDuration::ZERO);
    let after_a_quarter = now.checked_add(quarter).unwrap_or(expiration);
    renewal_of_old(expiration).max(after_a_quarter)
}

/// The same for a session that was issued some time ago.
pub(super) fn renewal_of_old(expiration: Timestamp) -> Timestamp {
    expiration.checked_sub(MINUTES_LEFT_MIN.minutes()).unwrap_or(expiration)
}

/// The pause after so many failures in a row, the last of which ended in that way; `random` is from 0 to 1,
/// so that agents which lost the same server do not come back in step.
pub(super) fn pause_after(failures: u32, random: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let pause = FAILURE_PAUSE_MIN.saturating_mul(doubled).min(FAILURE_PAUSE_MAX);
    pause.mul_f64(0.75 + 0.25 * random.clamp(0.0, 1.0))
}

/// The pause after a failure where a client waits for a session and there is none.
pub(super) fn pause_with_a_client(exit: Exit) -> Duration {
    if exit == Exit::Refused { REFUSED_PAUSE_MIN } else { ATTEMPT_PAUSE_MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    #[test]
    fn a_session_is_renewed_20_minutes_before_its_end_or_after_a_quarter() {
        for (minutes, renewal) in [(1440, 1420), (60, 40), (28, 8), (24, 6), (20, 5), (0, 0)] {
            assert_eq!(renewal_of_new(at(0), at(minutes)), at(renewal), "{minutes}");
        }
        assert_eq!(renewal_of_old(at(60)), at(40));
        // Ended before it came.
        assert!(renewal_of_new(at(0), at(-8)) < at(0));
        let (first, last) = (Timestamp::MIN, Timestamp::MAX);
        assert_eq!(renewal_of_old(first), first);
        assert!(renewal_of_new(first, last) <= last && renewal_of_new(last, first) <= last);
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let seconds: Vec<_> = (1..9).map(|failures| pause_after(failures, 1.0).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause_after(1, 0.0), Duration::from_millis(3750));
        assert_eq!(pause_after(u32::MAX, 1.0), FAILURE_PAUSE_MAX);
        assert!(pause_with_a_client(Exit::Refused) > pause_with_a_client(Exit::Unavailable));
    }
}
