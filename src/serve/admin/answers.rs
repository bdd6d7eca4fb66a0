//! What the operator's listener answers without asking anybody: metrics as text, all else as JSON.

use std::time::SystemTime;

use http::{StatusCode, header, request::Parts};
use serde_json::{Value, json};

use super::{heaviest, scrape};
use crate::{front::Front, observe::Format, time::UnixTime};

/// What stands here, for who asks for something else.
const PATHS: &str = "here are /metrics, /principals, /healthz, /readyz and /snapshot";

/// One answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// The answer to a request that may be answered.
pub(super) fn answer(head: &Parts, front: &Front) -> Answer {
    let now = SystemTime::now();
    if head.uri.path() == "/metrics" {
        let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let format = Format::of_accept(accept.unwrap_or_default());
        let body = scrape::write(front, format, now);
        return Answer { status: StatusCode::OK, content_type: format.content_type(), body };
    }
    let (status, body) = in_json(head, front, now);
    Answer { status, content_type: "application/json", body: body.to_string() }
}

fn in_json(head: &Parts, front: &Front, now: SystemTime) -> (StatusCode, Value) {
    let access = front.access();
    match head.uri.path() {
        "/healthz" => (StatusCode::OK, json!({ "status": "ok" })),
        "/principals" => heaviest::answer(front, head.uri.query().unwrap_or_default()),
        "/snapshot" if !access.registry().has_reading(now) => {
            let body = json!({
                "status": "nothing has been read from the chain yet, and nothing is stored on disk: S3 \
                           requests are answered with 503 until the first reading",
                "chain_events": access.registry().counters(),
                "chain_fault": access.registry().last_error(),
            });
            (StatusCode::SERVICE_UNAVAILABLE, body)
        }
        "/snapshot" => {
            let snapshot = access.registry().snapshot(now);
            let rule = access.validator_rule();
            let origin = snapshot.origin.as_ref();
            let body = json!({
                "source": origin.map_or("file", |origin| &origin.source),
                "block": snapshot.block(),
                "block_hash": origin.map(|origin| origin.block.hash.to_string()),
                "spec_version": origin.map(|origin| origin.spec_version),
                "age_seconds": snapshot.age_seconds(UnixTime::from(now).seconds()),
                "hotkeys": snapshot.len(),
                "coldkeys": snapshot.coldkeys(),
                "permits": snapshot.permits(),
                "validators": snapshot.validators(rule),
                "validator_stake_min": rule.stake_min,
                "stale_seconds_max": access.stale_seconds_max(),
                "chain_events": access.registry().counters(),
                "chain_fault": access.registry().last_error(),
                "cached_sessions": access.verifier().cached_sessions(),
            });
            (StatusCode::OK, body)
        }
        _ => (StatusCode::NOT_FOUND, json!({ "detail": PATHS })),
    }
}
