//! Health for whoever asks, and how this server is laid out. Nothing here names the store or a secret.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{json_answer, json_refusal};
use crate::{
    auth::bittensor::vending::VendingRequest,
    proxy::{Answer, Gate},
    s3::uri::Query,
    store::Outbound,
    time::UnixTime,
};

/// Anybody may ask, so the store is asked no more often than this.
const PROBE_REST: Duration = Duration::from_secs(5);

/// A store that takes longer is not well.
const PROBE_SECONDS_MAX: u64 = 5;

/// What the last look at the store gave.
#[derive(Debug, Clone, Copy)]
struct Probe {
    ok: bool,
    latency_ms: u64,
}

/// The last look at the store.
#[derive(Debug, Default)]
pub struct Health(tokio::sync::Mutex<Option<(Instant, Probe)>>);

/// How the server does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthCheck {
    /// `ok` or `degraded`.
    status: String,
    timestamp: String,
    bucket: String,
    region: String,
    /// The templates of the folders.
    folder_structure: Vec<String>,
    s3_ok: bool,
    s3_latency_ms: u64,
    metagraph_syncer: Registry,
    timeouts: Timeouts,
}

/// How fresh the registry is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Registry {
    enabled: bool,
    fresh: bool,
    age_seconds: u64,
    hotkeys: usize,
}

/// What is waited for, and how long.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Timeouts {
    s3_probe_seconds: u64,
    discovery_seconds: u64,
    registry_stale_seconds: u64,
}

impl Gate {
    fn registry_state(&self) -> Registry {
        let now = SystemTime::now();
        let snapshot = self.registry().snapshot(now);
        let age_seconds = snapshot.age_seconds(UnixTime::from(now).seconds());
        Registry {
            enabled: true,
            fresh: age_seconds <= self.chain().stale_seconds_max,
            age_seconds,
            hotkeys: snapshot.len(),
        }
    }

    pub(super) fn readyz(&self) -> Answer {
        match self.registry_state() {
            registry if registry.fresh => json_answer(StatusCode::OK, &json!({ "status": "ready" })),
            registry => json_refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("The registry of hotkeys is {} s old", registry.age_seconds),
            ),
        }
    }

    pub(super) async fn healthcheck(&self) -> Answer {
        let probe = self.probe().await;
        let registry = self.registry_state();
        let body = HealthCheck {
            status: if probe.ok && registry.fresh { "ok" } else { "degraded" }.to_owned(),
            timestamp: UnixTime::from(SystemTime::now()).to_string(),
            bucket: self.bucket().name.clone(),
            region: self.bucket().region.clone(),
            folder_structure: self.templates(),
            s3_ok: probe.ok,
            s3_latency_ms: probe.latency_ms,
            metagraph_syncer: registry,
            timeouts: Timeouts {
                s3_probe_seconds: PROBE_SECONDS_MAX,
                discovery_seconds: self.endpoints().discovery_seconds_max,
                registry_stale_seconds: self.chain().stale_seconds_max,
            },
        };
        json_answer(StatusCode::OK, &serde_json::to_value(body).unwrap_or(Value::Null))
    }

    fn templates(&self) -> Vec<String> {
        self.policy().templates().iter().map(|template| template.as_str().to_owned()).collect()
    }

    /// A list of one key by this server itself, which every store policy that lets it work allows; the answer of the last seconds serves everyone.
    async fn probe(&self) -> Probe {
        let mut last = self.health().0.lock().await;
        if let Some((at, probe)) = *last
            && at.elapsed() < PROBE_REST
        {
            return probe;
        }
        let mut query = Query::default();
        let root = self.policy().roots().first().cloned().unwrap_or_default();
        let pairs = [("list-type", "2".to_owned()), ("max-keys", "1".to_owned()), ("prefix", root)];
        if pairs.into_iter().try_for_each(|(name, value)| query.push(name, value)).is_err() {
            return Probe { ok: false, latency_ms: 0 };
        }
        let outbound = Outbound::bodiless(Method::GET, None, query, HeaderMap::new());
        let began = Instant::now();
        let answer = tokio::time::timeout(
            Duration::from_secs(PROBE_SECONDS_MAX),
            self.store().send(outbound, UnixTime::from(SystemTime::now())),
        )
        .await;
        let probe = Probe {
            ok: matches!(answer, Ok(Ok(response)) if response.status().is_success()),
            latency_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        *last = Some((Instant::now(), probe));
        probe
    }

    pub(super) fn structure(&self) -> Answer {
        let body = serde_json::to_value(self.structure_info()).unwrap_or(Value::Null);
        json_answer(StatusCode::OK, &body)
    }
}

/// The strings that are signed, by endpoint.
pub(super) fn commitment_formats() -> Answer {
    let formats: serde_json::Map<String, Value> = VendingRequest::FORMATS
        .iter()
        .map(|(endpoint, format)| ((*endpoint).to_owned(), json!(format)))
        .collect();
    let body = json!({
        "formats": formats,
        "signature": "sr25519 by the hotkey over the UTF-8 string, hex, with or without 0x",
        "window_seconds": { "past": crate::auth::bittensor::vending::PAST_SECONDS_MAX, "future": crate::auth::bittensor::vending::FUTURE_SECONDS_MAX },
    });
    json_answer(StatusCode::OK, &body)
}
