//! Which failures are tried again, and after how long. Pure.
//!
//! A failure of the server, of the store behind it or of the line passes; a refusal stays. The server's own
//! word on when to come back (`Retry-After`) is a floor under the pause, and the pauses grow with chance in
//! them, so that many clients do not come back in step.

use std::time::Duration;

use http::StatusCode;

use super::{
    error::{ClientError, Refusal},
    http::NoAnswer,
    sessions::{SessionError, SessionFault},
};

/// The first pause, at most.
const PAUSE_FIRST: Duration = Duration::from_millis(400);

/// The longest pause, unless the server asks for a longer one.
const PAUSE_LONGEST: Duration = Duration::from_secs(20);

/// More attempts than that are made of no call, however quickly they fail.
const ATTEMPTS_MAX: u32 = 60;

/// For how long a call is tried again where nobody says otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How long a call that fails is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// From the first failure of a call on, or from the last success of another; and for all pauses of a call
    /// together.
    pub(crate) patience: Duration,
}

/// How one attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no whole answer.
    NoAnswer(NoAnswer),
    /// There is no session to sign with.
    NoSession(SessionError),
    /// An answer that is no success.
    Answer {
        /// What it says.
        refusal: Refusal,
        /// When to come back.
        retry_after: Option<Duration>,
    },
}

/// How one attempt ended without a success.
pub(super) enum Attempted {
    /// [`Failure::may_pass`] says whether another one may go otherwise.
    Failed(Failure),
    /// None would: it could not even be sent, or what came is no answer to it.
    Impossible(ClientError),
}

impl From<NoAnswer> for Attempted {
    fn from(error: NoAnswer) -> Self {
        Self::Failed(Failure::NoAnswer(error))
    }
}

impl Failure {
    /// Whether another attempt may go otherwise.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(NoAnswer::TooLong(_)) => false,
            Self::NoAnswer(_) => true,
            Self::NoSession(error) => error.fault == SessionFault::Unavailable,
            Self::Answer { refusal, .. } => match refusal.status.as_u16() {
                408 | 429 | 500 | 502 | 503 | 504 => true,
                // What these say of a body is said of bytes that were damaged or lost on the way: they were
                // measured in memory before they left.
                _ => matches!(
                    refusal.code.as_str(),
                    "RequestTimeout"
                        | "IncompleteBody"
                        | "BadDigest"
                        | "XAmzContentSHA256Mismatch"
                        | "OperationAborted"
                        | "InternalError"
                        | "SlowDown"
                        | "ServiceUnavailable"
                ),
            },
        }
    }

    /// Whether the server asks for less.
    pub(crate) fn asks_for_less(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::NoSession(_) => false,
            Self::Answer { refusal, .. } => {
                refusal.status == StatusCode::TOO_MANY_REQUESTS
                    || refusal.status == StatusCode::SERVICE_UNAVAILABLE
                    // Too many bodies share this line, and each of them is too slow.
                    || refusal.code == "RequestTimeout"
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoAnswer(_) | Self::NoSession(_) => None,
            Self::Answer { retry_after, .. } => *retry_after,
        }
    }
}

impl RetryPolicy {
    /// The pause before the next attempt; none where there is to be none. `attempts` have failed, and
    /// that has cost `failing_for` of the patience; `chance` is from 0 to 1.
    pub(crate) fn pause(
        &self,
        attempts: u32,
        failing_for: Duration,
        failure: &Failure,
        chance: f64,
    ) -> Option<Duration> {
        if !failure.may_pass() || attempts >= ATTEMPTS_MAX {
            return None;
        }
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_LONGEST);
        let pause = longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let pause = pause.max(failure.retry_after().unwrap_or_default());
        (failing_for.saturating_add(pause) <= self.patience).then_some(pause)
    }
}

/// Reads `Retry-After` in seconds; a date is not read, for it stands and falls with two clocks.
pub(crate) fn retry_after(value: Option<&str>) -> Option<Duration> {
    value?.trim().parse().ok().map(Duration::from_secs)
}

/// The error of a call that is not tried again.
pub(super) fn given_up(failure: Failure, attempts: u32) -> ClientError {
    let may_pass = failure.may_pass();
    match failure {
        Failure::Answer { refusal, retry_after } if may_pass => {
            let back = retry_after.filter(|pause| !pause.is_zero());
            let back = back.map_or(String::new(), |pause| {
                format!("; the server asks to come back in {} s", pause.as_secs())
            });
            ClientError::Unavailable(format!("{refusal} (attempts: {attempts}){back}"))
        }
        Failure::Answer { refusal, .. } => ClientError::Refused(refusal),
        Failure::NoAnswer(error) => error.into(),
        Failure::NoSession(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, code: &str, retry_after: Option<u64>) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal::new(status, code, "", &[]);
        Failure::Answer { refusal, retry_after: retry_after.map(Duration::from_secs) }
    }

    const POLICY: RetryPolicy = RetryPolicy { patience: Duration::from_secs(60) };

    #[test]
    fn an_outage_passes_and_a_refusal_stays() {
        for (status, code) in [
            (503, "SlowDown"),
            (503, ""),
            (500, "InternalError"),
            (502, ""),
            (504, ""),
            (429, ""),
            (400, "RequestTimeout"),
            (400, "BadDigest"),
            (400, "IncompleteBody"),
            (200, "InternalError"),
        ] {
            assert!(answer(status, code, None).may_pass(), "{status} {code}");
        }
        for (status, code) in [
            (403, "AccessDenied"),
            (400, "EntityTooSmall"),
            (404, "NoSuchUpload"),
            (412, "PreconditionFailed"),
            (501, "NotImplemented"),
            (301, ""),
        ] {
            let failure = answer(status, code, None);
            assert_eq!(POLICY.pause(1, Duration::ZERO, &failure, 0.5), None, "{status} {code}");
        }
        for (failure, passes) in [
            (NoAnswer::Unreached(String::new()), true),
            (NoAnswer::Broken(String::new()), true),
            (NoAnswer::Silent(Duration::ZERO), true),
            (NoAnswer::TooLong(1), false),
        ] {
            assert_eq!(Failure::NoAnswer(failure).may_pass(), passes);
        }
    }

    #[test]
    fn fewer_calls_are_open_once_the_server_asks_for_it_or_the_line_is_too_narrow() {
        for (status, code, less) in [
            (503, "SlowDown", true),
            (503, "ServiceUnavailable", true),
            (429, "", true),
            (400, "RequestTimeout", true),
            (500, "InternalError", false),
            (400, "BadDigest", false),
        ] {
            assert_eq!(answer(status, code, None).asks_for_less(), less, "{status} {code}");
        }
        assert!(!Failure::NoAnswer(NoAnswer::Broken(String::new())).asks_for_less());
    }

    #[test]
    fn the_servers_own_word_is_a_floor_and_patience_is_an_end() {
        let pause = |retry_after, failing_for| {
            POLICY.pause(1, Duration::from_secs(failing_for), &answer(503, "SlowDown", retry_after), 0.0)
        };
        assert_eq!(pause(Some(7), 0), Some(Duration::from_secs(7)));
        assert_eq!(pause(None, 0), Some(PAUSE_FIRST / 2));
        assert_eq!(pause(Some(7), 53), Some(Duration::from_secs(7)));
        assert_eq!(pause(Some(7), 54), None);
        // A daily limit is over tomorrow: nobody waits for that.
        assert_eq!(pause(Some(40_000), 0), None);
    }

    #[test]
    fn seconds_are_read_and_nothing_else() {
        assert_eq!(retry_after(Some(" 3 ")), Some(Duration::from_secs(3)));
        for none in [None, Some(""), Some("-1"), Some("Tue, 03 Nov 2026 10:11:12 GMT"), Some("1.5")] {
            assert_eq!(retry_after(none), None);
        }
    }

    proptest! {
        #[test]
        fn every_sequence_of_attempts_ends(chance in 0.0..=1.0_f64, seconds in 0_u64..3) {
            let failure = answer(503, "SlowDown", Some(seconds));
            let (mut attempts, mut waited) = (1, Duration::ZERO);
            while let Some(pause) = POLICY.pause(attempts, waited, &failure, chance) {
                prop_assert!(pause <= PAUSE_LONGEST);
                waited += pause;
                attempts += 1;
            }
            prop_assert!(waited <= POLICY.patience && attempts <= ATTEMPTS_MAX);
        }
    }
}
