//! Answers and refusals of the endpoints, in JSON.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    body::made::Pieces,
    error::{Code, Error},
    exchange::{AccessRecord, Answer},
};

/// Seconds after which a client should try again what failed here.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A refusal: its status and what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
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
        Self::new(status, error.message.into_owned())
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
    match refusal.status {
        StatusCode::SERVICE_UNAVAILABLE => answer.header(header::RETRY_AFTER, RETRY_AFTER_SECONDS),
        _ => answer,
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
            let code = match refusal.status.is_server_error() {
                true => Code::ServiceUnavailable,
                false => Code::AccessDenied,
            };
            record.error = Some(Error::new(code, refusal.detail.clone()).detail(&refusal.detail));
            refuse(&refusal)
        }
    }
}
