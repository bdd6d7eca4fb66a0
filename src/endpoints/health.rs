//! Health for whoever asks. Nothing here names the store or a secret.

use std::{sync::Arc, time::SystemTime};

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    json::Refusal,
    readiness::{Readiness, RegistryAge},
    store_health::{ASK_SECONDS_MAX, StoreHealth},
    structure::folder_structure,
};
use crate::{
    access::Access,
    limits::Limits,
    policy::Outbound,
    site::Site,
    store::{Condition, Store},
    time::UnixTime,
};

/// Says how the server, its store and its registry do.
pub(super) struct HealthEndpoints {
    access: Arc<Access>,
    site: Arc<Site>,
    store: Arc<StoreHealth>,
    limits: Arc<Limits>,
    discovery_seconds_max: u64,
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
    /// None before the first reading.
    age_seconds: Option<u64>,
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
        store: &Arc<Store>,
        limits: Arc<Limits>,
        discovery_seconds_max: u64,
    ) -> Self {
        let question = Outbound::health_probe(access.policy());
        let store = StoreHealth::new(Arc::clone(store), question);
        Self { access, site, store, limits, discovery_seconds_max }
    }

    fn registry(&self, now: SystemTime) -> RegistryHealth {
        let registry = self.access.registry();
        let snapshot = registry.snapshot(now);
        let age_seconds = snapshot.age_seconds(UnixTime::from(now).seconds());
        let has_reading = registry.has_reading(now);
        RegistryHealth {
            enabled: true,
            fresh: has_reading && age_seconds <= self.access.stale_seconds_max(),
            age_seconds: has_reading.then_some(age_seconds),
            hotkeys: snapshot.len(),
        }
    }

    /// Whether this server can do its work, by what is known of its parts.
    pub(super) async fn readiness(&self, now: SystemTime) -> Readiness {
        let store = self.store.condition().await;
        let age = self.registry(now).age_seconds.map_or(RegistryAge::Never, RegistryAge::Seconds);
        let fault = self.access.registry().last_error();
        let shared = self.limits.shared_state();
        Readiness::new(age, self.access.stale_seconds_max(), fault, store, shared)
    }

    /// The same for whoever asks.
    pub(super) async fn ready(&self, now: SystemTime) -> Result<Value, Refusal> {
        let readiness = self.readiness(now).await;
        match readiness.is_ready() {
            true => Ok(json!({ "status": "ready" })),
            false => {
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, readiness.for_strangers());
                Err(readiness.reason().into_iter().fold(refusal, Refusal::because))
            }
        }
    }

    pub(super) async fn check(&self, now: SystemTime) -> HealthCheck {
        let look = self.store.look().await;
        let s3_ok = look.condition == Condition::Well;
        let registry = self.registry(now);
        HealthCheck {
            status: if s3_ok && registry.fresh { "ok" } else { "degraded" }.to_owned(),
            timestamp: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            bucket: self.site.bucket().name.clone(),
            region: self.site.bucket().region.clone(),
            folder_structure: folder_structure(self.access.policy()),
            s3_ok,
            s3_latency_ms: look.milliseconds,
            redis_ok: true,
            metagraph_syncer: registry,
            timeouts: Timeouts {
                s3_probe_seconds: ASK_SECONDS_MAX,
                discovery_seconds: self.discovery_seconds_max,
                registry_stale_seconds: self.access.stale_seconds_max(),
            },
        }
    }
}
