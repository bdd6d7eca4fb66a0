//! Answers and refusals of the endpoints, in JSON.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    body::made::Pieces,
    error::{Code, Error, Reason},
    exchange::{AccessRecord, Answer},
    limits::{Exceeded, Period},
};

/// Seconds after which a client should try again what failed here.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A refusal: its status and what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    /// After how many seconds to try again, where that is known.
    pub(super) retry_after_seconds: Option<u64>,
    /// Why, where its status does not say it; for the log.
    pub(super) reason: Option<Reason>,
    /// The limit that refuses; for the log.
    pub(super) limit: Option<Box<str>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_seconds: None, reason: None, limit: None }
    }

    /// Says why, for the log alone.
    #[must_use]
    pub(super) fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The refusal of a request that cannot be right.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.code {
            Code::AccessDenied => StatusCode::FORBIDDEN,
            Code::ServiceUnavailable | Code::SlowDown => StatusCode::SERVICE_UNAVAILABLE,
            Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            retry_after_seconds: error.retry_after_seconds,
            reason: error.reason,
            limit: error.limit,
            ..Self::new(status, error.message.into_owned())
        }
    }
}

/// A day that is used up is a 429, as the vending server answered it; all else is to be tried again soon.
impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        let refusal = Self::from(Error::from(exceeded));
        match exceeded.period {
            Period::Day => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                detail: format!("Daily limit of {} exceeded.", exceeded.max),
                ..refusal
            },
            Period::Moments | Period::Outage => refusal,
        }
    }
}

/// An answer in JSON that is never cached.
pub(super) fn answer(status: StatusCode, body: &Value) -> Answer {
    Answer::whole(status, "application/json", body.to_string())
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// An answer in JSON that is never cached, made piece by piece as the client reads it.
pub(super) fn made(pieces: Pieces) -> Answer {
    Answer::made(StatusCode::OK, "application/json", pieces)
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// A refusal in JSON: `{"detail": "…"}`.
pub(super) fn refuse(refusal: &Refusal) -> Answer {
    let answer = answer(refusal.status, &json!({ "detail": refusal.detail }));
    match (refusal.retry_after_seconds, refusal.status) {
        (Some(seconds), _) => answer.header(header::RETRY_AFTER, HeaderValue::from(seconds)),
        (None, StatusCode::SERVICE_UNAVAILABLE) => answer.header(header::RETRY_AFTER, RETRY_AFTER_SECONDS),
        (None, _) => answer,
    }
}

/// The answer to a request, and what the log will say of a refusal.
pub(super) fn respond(result: Result<impl Serialize, Refusal>, record: &mut AccessRecord) -> Answer {
    let body = result.and_then(|body| {
        serde_json::to_value(body)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    });
    match body {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(refusal) => {
            let code = match (&refusal.limit, refusal.status) {
                (Some(_), _) => Code::SlowDown,
                (None, StatusCode::METHOD_NOT_ALLOWED) => Code::MethodNotAllowed,
                (None, StatusCode::BAD_REQUEST) => Code::InvalidRequest,
                (None, status) if status.is_server_error() => Code::ServiceUnavailable,
                (None, _) => Code::AccessDenied,
            };
            let error = Error::new(code, refusal.detail.clone());
            let error = match &refusal.limit {
                Some(limit) => {
                    error.limit(limit).detail(format_args!("{limit} is reached: {}", refusal.detail))
                }
                None => error.detail(&refusal.detail),
            };
            record.error = Some(Error { reason: refusal.reason.or(error.reason), ..error });
            refuse(&refusal)
        }
    }
}
