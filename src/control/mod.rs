//! The endpoints that are not S3's: they match by their exact path (P18), answer in JSON (the documentation in
//! HTML), and come before the road.

mod docs;
mod session;

pub use session::Sessions;

use http::{Method, StatusCode, request::Parts};
use serde_json::json;

use crate::{
    observe::Record,
    proxy::{Answer, Arrival, Gate},
};

/// An answer in JSON that is never cached.
pub(crate) fn json_answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    Answer::whole(status, "application/json", body.to_string())
        .header(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"))
}

/// A refusal in JSON: `{"detail": "…"}`.
pub(crate) fn json_refusal(status: StatusCode, detail: &str) -> Answer {
    let answer = json_answer(status, &json!({ "detail": detail }));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            answer.header(http::header::RETRY_AFTER, http::HeaderValue::from_static("5"))
        }
        _ => answer,
    }
}

impl Gate {
    /// Answers a request to one of the endpoints; none where the path is S3's business.
    pub(crate) async fn endpoint(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut Record,
    ) -> Option<Answer> {
        match (head.uri.path(), &head.method) {
            ("/healthz", &Method::GET | &Method::HEAD) => {
                Some(json_answer(StatusCode::OK, &json!({ "status": "ok" })))
            }
            (docs::PATH, &Method::GET | &Method::HEAD) => Some(docs::page()),
            ("/v1/session", &Method::POST) => Some(self.open_session(head, arrival, record).await),
            ("/healthz" | "/v1/session" | docs::PATH, _) => {
                let answer = json_refusal(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "This endpoint takes GET /healthz, GET /docs or POST /v1/session",
                );
                let allow = if head.uri.path() == "/v1/session" { "POST" } else { "GET, HEAD" };
                Some(answer.header(http::header::ALLOW, http::HeaderValue::from_static(allow)))
            }
            _ => None,
        }
    }
}
