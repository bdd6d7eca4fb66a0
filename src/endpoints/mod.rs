//! The endpoints that are not S3's: they match by their exact path (P18), answer in JSON (the documentation in
//! HTML), and come before the road.

mod discovery;
mod docs;
mod health;
pub mod openapi;
mod session;
mod vended;

pub use discovery::Discovery;
pub use health::Health;
pub use session::Sessions;

use http::{StatusCode, request::Parts};
use serde_json::json;

use crate::{
    exchange::AccessRecord,
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

/// Every endpoint with its methods.
const METHODS: &[(&str, &str)] = &[
    ("/commitment-formats", "GET, HEAD"),
    (docs::PATH, "GET, HEAD"),
    ("/get-file-presigned-urls", "POST"),
    ("/get-folder-access", "POST"),
    ("/get-folder-presigned-urls", "POST"),
    ("/get-miner-specific-access", "POST"),
    ("/get-validator-access", "POST"),
    ("/healthcheck", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/structure-info", "GET, HEAD"),
    ("/v1/session", "POST"),
];

impl Gate {
    /// Answers a request to one of the endpoints; none where the path is S3's business.
    pub(crate) async fn endpoint(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Option<Answer> {
        let path = head.uri.path();
        let allowed = METHODS.iter().find(|(own, _)| *own == path).map(|(_, allowed)| *allowed)?;
        if !allowed.split(", ").any(|method| method == head.method.as_str()) {
            let answer = json_refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("Method Not Allowed: this endpoint takes {allowed}"),
            );
            return Some(answer.header(http::header::ALLOW, http::HeaderValue::from_static(allowed)));
        }
        Some(match path {
            "/v1/session" => self.open_session(head, arrival, record).await,
            "/get-folder-access" => self.get_folder_access(head, arrival, record).await,
            "/get-validator-access" => self.get_validator_access(head, arrival, record).await,
            "/get-miner-specific-access" => self.get_miner_access(head, arrival, record).await,
            "/get-folder-presigned-urls" => self.get_folder_urls(head, arrival, record).await,
            "/get-file-presigned-urls" => self.get_file_urls(head, arrival, record).await,
            "/healthcheck" => self.healthcheck().await,
            "/readyz" => self.readyz(),
            "/commitment-formats" => health::commitment_formats(),
            "/structure-info" => self.structure(),
            "/openapi.json" => openapi::answer(),
            docs::PATH => docs::page(),
            _ => json_answer(StatusCode::OK, &json!({ "status": "ok" })),
        })
    }
}
