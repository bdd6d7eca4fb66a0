//! Answers and refusals of the endpoints, in JSON.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    body::made::Pieces,
    error::{Code, Error},
    exchange::{AccessRecord, Answer},
    limits::{Exceeded, LimitName, Period},
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
    /// The limit that refuses; for the log.
    pub(super) limit: Option<LimitName>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after_seconds: None, limit: None }
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
            ..Self::new(status, error.message.into_owned())
        }
    }
}

/// A day that is used up is a 429, as the vending server answered it; all else is to be tried again soon.
impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { limit, max, period, retry_after_seconds } = exceeded;
        let refusal = match period {
            Period::Day => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, format!("Daily limit of {max} exceeded."))
            }
            Period::Moments | Period::Outage => Error::from(exceeded).into(),
        };
        Self { limit: Some(limit), retry_after_seconds: Some(retry_after_seconds), ..refusal }
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
            let code = match (refusal.limit, refusal.status.is_server_error()) {
                (Some(_), _) => Code::SlowDown,
                (None, true) => Code::ServiceUnavailable,
                (None, false) => Code::AccessDenied,
            };
            let error = Error::new(code, refusal.detail.clone());
            record.error = Some(match refusal.limit {
                Some(limit) => error.detail(format_args!("{limit} is reached: {}", refusal.detail)),
                None => error.detail(&refusal.detail),
            });
            refuse(&refusal)
        }
    }
}
