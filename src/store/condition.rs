//! How the store does: what traffic tells of it, and one question of this server's own.
//!
//! Error codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use http::StatusCode;

use super::{Failure, Store, StoreBody, credentials::may_be_renewed};
use crate::{
    body::{bounded::collect_bounded, pace::Pace},
    exchange::OnBehalf,
    policy::Outbound,
    s3::store_error::StoreError,
    time::UnixTime,
};

/// The largest error that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// How long the rest of an answer that said enough is read, so that its connection is kept.
const READ_AWAY_MAX: Duration = Duration::from_secs(1);

/// How the store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It answers, and takes this server's signature.
    Well,
    /// There is no connection, or none that brings an answer.
    Away,
    /// There are no credentials to sign with.
    NoCredentials,
    /// It refuses this server.
    Refuses(Cause),
    /// It answers with an error of its own.
    Failing(StatusCode),
}

/// Why the store refuses this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It does not know the access key.
    AccessKey,
    /// The signature is false: another secret.
    Secret,
    /// The session of temporary credentials is over.
    Session,
    /// The clocks differ.
    Clock,
    /// Another region, or another address for the bucket.
    Region,
    /// It has no such bucket.
    Bucket,
    /// The credentials are right and may not do it.
    Rights,
}

impl Condition {
    /// What an answer tells, by its status and the code of its error.
    pub(crate) fn of_answer(status: StatusCode, code: Option<&str>) -> Self {
        if status.is_success() {
            return Self::Well;
        }
        let cause = match code {
            Some("InvalidAccessKeyId") => Cause::AccessKey,
            Some("SignatureDoesNotMatch") => Cause::Secret,
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => Cause::Session,
            Some("RequestTimeTooSkewed") => Cause::Clock,
            Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect") => Cause::Region,
            Some("NoSuchBucket" | "InvalidBucketName") => Cause::Bucket,
            Some("AccessDenied") => Cause::Rights,
            _ if status.is_redirection() => Cause::Region,
            _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Cause::Rights,
            _ => return Self::Failing(status),
        };
        Self::Refuses(cause)
    }

    /// What everybody may know.
    pub(crate) fn for_strangers(self) -> &'static str {
        match self {
            Self::Well => "the store answers",
            Self::Away => "the store does not answer",
            Self::NoCredentials | Self::Refuses(_) => "the store does not let this server in",
            Self::Failing(_) => "the store answers with errors",
        }
    }

    /// What the operator needs: which setting to look at.
    pub(crate) fn for_the_operator(self) -> String {
        match self {
            Self::Well => "the store answers".to_owned(),
            Self::Away => "the store does not answer; look at the store and at store.endpoint".to_owned(),
            Self::NoCredentials => {
                "there are no credentials to sign with; look at store.credentials".to_owned()
            }
            Self::Refuses(cause) => match cause {
                Cause::AccessKey => "the store does not know the access key of store.credentials".to_owned(),
                Cause::Secret => {
                    "the signature does not match at the store: the secret key of store.credentials is \
                     another one there"
                        .to_owned()
                }
                Cause::Session => "the session of store.credentials is over at the store".to_owned(),
                Cause::Clock => "the clocks of this server and of the store differ too much".to_owned(),
                Cause::Region => "the store wants another store.region or store.endpoint".to_owned(),
                Cause::Bucket => "the store has no bucket of the name store.bucket".to_owned(),
                Cause::Rights => {
                    "the store forbids store.credentials to list the folders of this server".to_owned()
                }
            },
            Self::Failing(status) => format!("the store answers a list with {status}"),
        }
    }
}

/// When traffic last told something of the store, in milliseconds since this was made; 0 for never.
#[derive(Debug)]
pub(super) struct Learned {
    began: Instant,
    success: AtomicU64,
    doubt: AtomicU64,
}

impl Learned {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), success: AtomicU64::new(0), doubt: AtomicU64::new(0) }
    }

    /// A request was answered with success, so the signature was taken.
    pub(super) fn success(&self) {
        self.success.store(self.millis(), Ordering::Relaxed);
    }

    /// A request tells that something may be wrong.
    pub(super) fn doubt(&self) {
        self.doubt.store(self.millis(), Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn at(&self, millis: &AtomicU64) -> Option<Instant> {
        match millis.load(Ordering::Relaxed) {
            0 => None,
            millis => self.began.checked_add(Duration::from_millis(millis)),
        }
    }
}

impl Store {
    /// When the store last answered a request of anybody's with success.
    pub(crate) fn last_success(&self) -> Option<Instant> {
        self.learned.at(&self.learned.success)
    }

    /// When a request last told that something may be wrong.
    pub(crate) fn last_doubt(&self) -> Option<Instant> {
        self.learned.at(&self.learned.doubt)
    }

    /// Takes in by which code the store refused a request. Credentials that are over or not known any more
    /// are read anew before the next request, or soon.
    pub(crate) fn refused_with(&self, code: &str) {
        if may_be_renewed(code) {
            self.credentials.refused();
        }
    }

    /// Asks the store once, with a question of this server's own.
    pub(crate) async fn condition(&self, question: &Outbound, now: UnixTime) -> Condition {
        let mut tried = 0;
        loop {
            let Some(asked) = self.outages.ask() else { return Condition::Away };
            let (question, body) = (question.clone(), StoreBody::empty());
            tried += 1;
            match self.attempt(asked, question, body, OnBehalf::server(now), None).await {
                Ok(answer) => {
                    let (parts, begun) = answer.into_parts();
                    let body = begun.into_answer(None);
                    if parts.status.is_success() {
                        // The head said what was asked.
                        let rest = collect_bounded(body, ERROR_BYTES_MAX, Pace::idle(READ_AWAY_MAX));
                        tokio::spawn(tokio::time::timeout(READ_AWAY_MAX, rest));
                        return Condition::Well;
                    }
                    let document =
                        collect_bounded(body, ERROR_BYTES_MAX, Pace::idle(self.idle_timeout)).await;
                    let error = document.ok().as_deref().and_then(StoreError::parse);
                    let code = error.as_ref().map(|error| error.code.as_str());
                    self.refused_with(code.unwrap_or_default());
                    return Condition::of_answer(parts.status, code);
                }
                // A connection kept too long dies without having heard of the question.
                Err(Failure::Died(_)) if tried < 2 => {}
                Err(Failure::Credentials(_)) => return Condition::NoCredentials,
                Err(
                    Failure::LeftAlone
                    | Failure::Unreached(_)
                    | Failure::Died(_)
                    | Failure::Silent
                    | Failure::Early
                    | Failure::Ambiguous
                    | Failure::Fault(_),
                ) => return Condition::Away,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_server_itself_has_its_cause() {
        let of = |status, code| Condition::of_answer(StatusCode::from_u16(status).unwrap(), code);
        for (status, code, condition) in [
            (200, None, Condition::Well),
            (403, Some("SignatureDoesNotMatch"), Condition::Refuses(Cause::Secret)),
            (403, Some("InvalidAccessKeyId"), Condition::Refuses(Cause::AccessKey)),
            (400, Some("ExpiredToken"), Condition::Refuses(Cause::Session)),
            (403, Some("RequestTimeTooSkewed"), Condition::Refuses(Cause::Clock)),
            (400, Some("AuthorizationHeaderMalformed"), Condition::Refuses(Cause::Region)),
            (301, None, Condition::Refuses(Cause::Region)),
            (404, Some("NoSuchBucket"), Condition::Refuses(Cause::Bucket)),
            (403, Some("AccessDenied"), Condition::Refuses(Cause::Rights)),
            (403, None, Condition::Refuses(Cause::Rights)),
            (404, None, Condition::Failing(StatusCode::NOT_FOUND)),
            (503, Some("SlowDown"), Condition::Failing(StatusCode::SERVICE_UNAVAILABLE)),
        ] {
            assert_eq!(of(status, code), condition, "{status} {code:?}");
        }
    }

    #[test]
    fn p51_strangers_learn_no_setting() {
        for cause in [Cause::AccessKey, Cause::Secret, Cause::Session, Cause::Clock, Cause::Region] {
            let condition = Condition::Refuses(cause);
            assert_eq!(condition.for_strangers(), "the store does not let this server in");
            assert_ne!(condition.for_the_operator(), condition.for_strangers());
        }
    }
}
