//! The operator's listener: metrics, who asks most, health and the snapshot, on an address of its own. \[IO\]

mod heaviest;
mod scrape;

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::terms::CurrentTerms;
use crate::{front::Front, observe::Format, proxy::HEAD_BYTES_MAX, time::UnixTime};

/// What stands here, for who asks for something else.
const PATHS: &str = "here are /metrics, /principals, /healthz, /readyz and /snapshot";

/// Serves until the task is ended.
pub(super) async fn run(listener: TcpListener, terms: Arc<CurrentTerms>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(super::ACCEPT_REST).await;
            continue;
        };
        let terms = Arc::clone(&terms);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let front = Arc::clone(&terms.load().front);
                async move { Ok::<_, Infallible>(respond(&request, &front).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .max_header_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(request: &Request<Incoming>, front: &Front) -> Response<Full<Bytes>> {
    if request.method() == Method::GET && request.uri().path() == "/metrics" {
        let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let format = Format::of_accept(accept.unwrap_or_default());
        let text = scrape::write(front, format, SystemTime::now());
        return response(StatusCode::OK, format.content_type(), text);
    }
    let (status, body) = answer(request, front).await;
    response(status, "application/json", body.to_string())
}

async fn answer(request: &Request<Incoming>, front: &Front) -> (StatusCode, Value) {
    let access = front.access();
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, json!({ "detail": "the admin listener takes GET" }));
    }
    let now = SystemTime::now();
    match request.uri().path() {
        "/healthz" => (StatusCode::OK, json!({ "status": "ok" })),
        "/readyz" => {
            let readiness = front.readiness(now).await;
            let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, readiness.for_the_operator())
        }
        "/principals" => heaviest::answer(front, request.uri().query().unwrap_or_default()),
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

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
