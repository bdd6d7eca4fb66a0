//! Health for whoever asks. Nothing here names the store or a secret.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::{json::Refusal, structure::folder_structure};
use crate::{
    access::Access,
    error::Reason,
    exchange::OnBehalf,
    policy::Outbound,
    site::Site,
    store::{Store, StoreBody},
    time::UnixTime,
};

/// Anybody may ask, so the store is asked no more often than this.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// A store that takes longer is not well.
const PROBE_SECONDS_MAX: u64 = 5;

/// What the last look at the store gave.
#[derive(Debug, Clone, Copy)]
struct Probe {
    ok: bool,
    latency_ms: u64,
}

/// Says how the server, its store and its registry do.
pub(super) struct HealthEndpoints {
    access: Arc<Access>,
    site: Arc<Site>,
    store: Arc<Store>,
    discovery_seconds_max: u64,
    last_probe: Mutex<Option<(Instant, Probe)>>,
}

/// How the server does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthCheck {
    /// `ok` or `degraded`.
    status: String,
    /// Unix seconds.
    timestamp: f64,
    bucket: String,
    region: String,
    /// The template of the folders; with several of them the one of jobs, or the first.
    folder_structure: String,
    s3_ok: bool,
    s3_latency_ms: u64,
    /// Clients of the vending server look for it; nothing that a request needs is kept in Redis here.
    redis_ok: bool,
    metagraph_syncer: RegistryHealth,
    timeouts: Timeouts,
}

/// How fresh the registry is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Registry)]
pub(super) struct RegistryHealth {
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

impl HealthEndpoints {
    pub(super) fn new(
        access: Arc<Access>,
        site: Arc<Site>,
        store: Arc<Store>,
        discovery_seconds_max: u64,
    ) -> Self {
        Self { access, site, store, discovery_seconds_max, last_probe: Mutex::default() }
    }

    fn registry(&self, now: SystemTime) -> RegistryHealth {
        let snapshot = self.access.registry().snapshot(now);
        let age_seconds = snapshot.age_seconds(UnixTime::from(now).seconds());
        RegistryHealth {
            enabled: true,
            fresh: age_seconds <= self.access.stale_seconds_max(),
            age_seconds,
            hotkeys: snapshot.len(),
        }
    }

    /// Whether the registry is fresh enough to decide by.
    pub(super) fn ready(&self, now: SystemTime) -> Result<Value, Refusal> {
        match self.registry(now) {
            registry if registry.fresh => Ok(json!({ "status": "ready" })),
            registry => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("The registry of hotkeys is {} s old", registry.age_seconds),
            )
            .because(Reason::RegistryTooOld)),
        }
    }

    pub(super) async fn check(&self, now: SystemTime) -> HealthCheck {
        let probe = self.probe(now.into()).await;
        let registry = self.registry(now);
        HealthCheck {
            status: if probe.ok && registry.fresh { "ok" } else { "degraded" }.to_owned(),
            timestamp: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            bucket: self.site.bucket().name.clone(),
            region: self.site.bucket().region.clone(),
            folder_structure: folder_structure(self.access.policy()),
            s3_ok: probe.ok,
            s3_latency_ms: probe.latency_ms,
            redis_ok: true,
            metagraph_syncer: registry,
            timeouts: Timeouts {
                s3_probe_seconds: PROBE_SECONDS_MAX,
                discovery_seconds: self.discovery_seconds_max,
                registry_stale_seconds: self.access.stale_seconds_max(),
            },
        }
    }

    /// A list of one key by this server itself, which every store policy that lets it work allows; the answer
    /// of the last seconds serves everyone.
    async fn probe(&self, now: UnixTime) -> Probe {
        let mut last = self.last_probe.lock().await;
        if let Some((at, probe)) = *last
            && at.elapsed() < PROBE_INTERVAL
        {
            return probe;
        }
        let probe = Outbound::health_probe(self.access.policy());
        let sent = self.store.send(probe, StoreBody::empty(), OnBehalf::server(now));
        let began = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(PROBE_SECONDS_MAX), sent).await;
        let probe = Probe {
            ok: matches!(answer, Ok(Ok(response)) if response.status().is_success()),
            latency_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        *last = Some((Instant::now(), probe));
        probe
    }
}
