//! What one reading of the configuration makes: all that connections and requests are served by.
//!
//! Invariants: a request is served by the terms at its beginning to its end, whatever comes meanwhile; what
//! was counted, held, cached or connected goes on where its settings are the same, and what may not begin
//! anew at all is in [`super::lasting`].

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;

use super::{capacity::Capacity, door::DoorBounds, error::ServeError, lasting::Lasting, tls::TlsListener};
use crate::{
    access::Access,
    auth::{self, Audience, Verifier, sigv4},
    body::{pace::Pace, progress::Patience},
    chain::{ChainWatcher, Registry, RegistryFile},
    config::{self, ChainSource, Changes, Config, ProxyProtocol},
    front::Front,
    limits::{Limits, StorePlaces},
    observe::Metrics,
    proxy,
    store::Store,
    time::UnixTime,
};

/// What all connections are served by.
pub(super) struct Terms {
    pub(super) front: Arc<Front>,
    parts: Parts,
    /// The settings of connections and of the end.
    pub(super) server: config::Server,
    /// How slowly answers may be taken.
    pub(super) pace: Pace,
    /// How long a connection may be without a request.
    pub(super) patience: Patience,
    /// How many connections an address may have.
    pub(super) door: DoorBounds,
    /// Which proxies begin each connection with a header.
    pub(super) proxy_protocol: ProxyProtocol,
}

/// What goes on from one reading of the configuration to the next where its settings are the same.
struct Parts {
    registry: Arc<Registry>,
    /// With the sessions that it has verified.
    verifier: Arc<Verifier>,
    /// With its connections.
    store: Arc<Store>,
    limits: Arc<Limits>,
}

/// The terms that count now: requests load them at their beginning.
pub(super) type CurrentTerms = ArcSwap<Terms>;

impl Terms {
    /// The first terms of a process that `began` before anybody could reach it.
    pub(super) async fn first(
        config: &Config,
        capacity: &Capacity,
        began: UnixTime,
    ) -> Result<(Self, Lasting), ServeError> {
        let registry = match config.chain.source.clone() {
            ChainSource::File(file) => Registry::File(RegistryFile::open(&file, SystemTime::now())?),
            ChainSource::Subtensor(settings) => Registry::Subtensor(ChainWatcher::start(*settings).await?),
        };
        let places = StorePlaces::new(capacity.store_max, capacity.store_per_hotkey_max);
        let metrics = Metrics::new();
        let store = Store::new(&config.store, &config.bucket.name, places, Arc::clone(&metrics)).await?;
        let limits = Arc::new(Limits::start(&config.limits).await?);
        let tls = config.server.tls.as_ref().map(TlsListener::new).transpose()?;
        let lasting = Lasting::new(&limits, metrics, tls, began);
        let parts = Parts {
            registry: Arc::new(registry),
            verifier: Arc::new(verifier(config)?),
            store: Arc::new(store),
            limits,
        };
        Ok((Self::of(config, &lasting, parts), lasting))
    }

    /// The terms after these, by a configuration that has changed in that: what it has not changed goes on.
    pub(super) async fn next(
        &self,
        config: &Config,
        changes: &Changes,
        capacity: &Capacity,
        lasting: &Lasting,
    ) -> Result<Self, ServeError> {
        let registry = match &config.chain.source {
            ChainSource::File(file) if changes.touch("chain.file") => {
                Arc::new(Registry::File(RegistryFile::open(file, SystemTime::now())?))
            }
            ChainSource::File(_) | ChainSource::Subtensor(_) => Arc::clone(&self.parts.registry),
        };
        // The verifier knows the roots of the folders.
        let is_verified_anew = ["session.", "bucket.", "policy."].iter().any(|part| changes.touch(part));
        let verifier = match is_verified_anew {
            true => Arc::new(verifier(config)?),
            false => Arc::clone(&self.parts.verifier),
        };
        let store = match changes.touch("store.") || changes.touch("bucket.") {
            true => {
                let places = self.parts.store.places();
                let places = places.renewed(capacity.store_max, capacity.store_per_hotkey_max);
                let metrics = Arc::clone(&lasting.metrics);
                Arc::new(Store::new(&config.store, &config.bucket.name, places, metrics).await?)
            }
            false => Arc::clone(&self.parts.store),
        };
        // The last steps, for they are seen at once: the one that may fail, then those that cannot.
        if let (Some(tls), Some(settings)) = (&lasting.tls, &config.server.tls)
            && changes.touch("server.tls.")
        {
            tls.replace(settings)?;
        }
        let limits = match changes.touch("limits.") {
            true => Arc::new(self.parts.limits.renewed(&config.limits)),
            false => Arc::clone(&self.parts.limits),
        };
        registry.judge_by(&config.chain.validator, config.chain.stale_seconds_max);
        Ok(Self::of(config, lasting, Parts { registry, verifier, store, limits }))
    }

    /// What parties may take, and have taken.
    pub(super) fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    fn of(config: &Config, lasting: &Lasting, parts: Parts) -> Self {
        let access = Access::new(
            Arc::clone(&parts.verifier),
            Arc::clone(&parts.registry),
            config.chain.clone(),
            config.policy.clone(),
            Arc::clone(&parts.limits),
            Arc::clone(&lasting.metrics),
        );
        let front = Front::new(
            config,
            access,
            Arc::clone(&parts.store),
            Arc::clone(&parts.limits),
            Arc::clone(&lasting.metrics),
            &lasting.process,
        );
        Self {
            front: Arc::new(front),
            parts,
            server: config.server.clone(),
            pace: proxy::pace(&config.limits.bodies),
            patience: Patience {
                first: Duration::from_secs(config.server.head_seconds_max),
                next: Duration::from_secs(config.server.idle_seconds_max),
            },
            door: DoorBounds {
                per_address_max: config.limits.address.connections_max,
                edge: config.server.edge.clone(),
            },
            proxy_protocol: config.server.proxy_protocol.clone(),
        }
    }
}

pub(super) fn verifier(config: &Config) -> Result<Verifier, auth::SessionKeysError> {
    let keys = config.session.keys.iter().map(|key| auth::SessionKey {
        id: key.id.clone(),
        secret: key.secret.clone(),
        accept_until: key.accept_until.map(UnixTime::from_seconds),
    });
    let verifier = Verifier::new(auth::Settings {
        region: config.bucket.region.clone(),
        session_keys: auth::SessionKeys::new(keys.collect(), &config.session.issue_with)?,
        audience: Audience {
            receiver: config.session.receiver,
            allow_none: config.session.allow_no_receiver,
        },
        session_seconds_max: config.session.ttl_seconds_max,
        presigned_seconds_max: sigv4::PRESIGNED_SECONDS_MAX,
    });
    Ok(verifier.with_list_roots(config.policy.roots()))
}
