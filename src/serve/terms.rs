//! What one reading of the configuration makes: all that connections and requests are served by.
//!
//! Invariants: a request is served by the terms at its beginning to its end, whatever comes meanwhile;
//! nothing that must outlive a reading of the configuration is in them alone ([`super::lasting`]).

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{capacity::Capacity, door::DoorBounds, error::ServeError, lasting::Lasting};
use crate::{
    access::Access,
    auth::{self, Audience, Verifier, sigv4},
    body::{pace::Pace, progress::Patience},
    config::{AdminEntry, Config, ProxyProtocol},
    front::Front,
    limits::StorePlaces,
    proxy,
    store::Store,
    time::UnixTime,
};

/// What all connections are served by.
pub(super) struct Terms {
    pub(super) front: Arc<Front>,
    /// Who may look in at the operator's listener, and over what.
    pub(super) admin_entry: AdminEntry,
    /// How slowly answers may be taken.
    pub(super) pace: Pace,
    /// How long a connection may be without a request.
    pub(super) patience: Patience,
    /// How many connections an address may have.
    pub(super) door: DoorBounds,
    /// Which proxies begin each connection with a header.
    pub(super) proxy_protocol: ProxyProtocol,
}

/// The terms that count now: requests load them at their beginning.
pub(super) type CurrentTerms = ArcSwap<Terms>;

impl Terms {
    /// The terms of a configuration, over what lasts.
    pub(super) async fn new(
        config: &Config,
        capacity: &Capacity,
        lasting: &Lasting,
    ) -> Result<Self, ServeError> {
        let places = StorePlaces::new(capacity.store_max, capacity.store_per_hotkey_max);
        let metrics = Arc::clone(&lasting.metrics);
        let store = Store::new(&config.store, &config.bucket.name, places, Arc::clone(&metrics)).await?;
        let (registry, limits) = (Arc::clone(&lasting.registry), Arc::clone(&lasting.limits));
        let (chain, policy) = (config.chain.clone(), config.policy.clone());
        let access = Access::new(
            verifier(config)?,
            registry,
            chain,
            policy,
            Arc::clone(&limits),
            Arc::clone(&metrics),
        );
        let front = Arc::new(Front::new(config, access, store, limits, metrics, lasting.began));
        Ok(Self {
            front,
            admin_entry: config.server.admin_entry.clone(),
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
        })
    }
}

pub(super) fn verifier(config: &Config) -> Result<Verifier, auth::SessionKeysError> {
    let keys = config.session.keys.iter().map(|key| auth::SessionKey {
        id: key.id.clone(),
        secret: key.secret.clone(),
        accept_until: key.accept_until.map(UnixTime::from_seconds),
    });
    Ok(Verifier::new(auth::Settings {
        region: config.bucket.region.clone(),
        session_keys: auth::SessionKeys::new(keys.collect(), &config.session.issue_with)?,
        audience: Audience {
            receiver: config.session.receiver,
            allow_none: config.session.allow_no_receiver,
        },
        session_seconds_max: config.session.ttl_seconds_max,
        presigned_seconds_max: sigv4::PRESIGNED_SECONDS_MAX,
    }))
}
