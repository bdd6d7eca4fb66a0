//! Listeners, connections and their limits, the orderly end. \[IO\]

mod admin;
pub(crate) mod capacity;
mod connection;
mod door;
mod socket;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use self::{
    capacity::{Capacity, raise_open_files},
    connection::{BufferSizes, Terms},
    door::Door,
};
use crate::{
    access::Access,
    auth::{self, Audience, Verifier, sigv4},
    body::pace::Pace,
    chain::{ChainWatcher, Registry, RegistryFile},
    config::{self, ChainSource, Config},
    front::Front,
    limits::{Limits, SharedLimitsError, StorePlaces},
    proxy,
    store::Store,
    time::UnixTime,
};

/// After a failure to accept (too many open files), the listener rests so long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Why the server does not start; names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Listen {
        /// `server.listen` or `server.admin`.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The registry cannot be read.
    #[error("chain.file: {0}")]
    Registry(#[from] crate::chain::RegistryFileError),
    /// TLS towards the chain cannot be set up.
    #[error("chain.ca_file: {0}")]
    Chain(#[from] crate::tls::TlsError),
    /// The store's client cannot be made.
    #[error("{0}")]
    Store(#[from] crate::store::StoreClientError),
    /// What replicas share cannot be set up.
    #[error("{0}")]
    SharedLimits(#[from] SharedLimitsError),
    /// The session keys do not fit together.
    #[error("session.keys: {0}")]
    SessionKeys(#[from] auth::SessionKeysError),
}

/// A server that has its ports and is ready to run.
pub struct Server {
    front: Arc<Front>,
    limits: Arc<Limits>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    settings: config::Server,
    /// How slowly answers may be taken.
    pace: Pace,
    connections_max: usize,
    connections_per_address_max: Option<u64>,
}

impl Server {
    /// Takes the ports and reads what the configuration names; nothing is answered yet.
    pub async fn bind(mut config: Config) -> Result<Self, ServeError> {
        let mut settings = config.server.clone();
        // Before anybody can reach this process: what is signed from now on is meant for it (P9).
        let began = UnixTime::from(SystemTime::now());
        let listener = listen("server.listen", settings.listen).await?;
        let admin = match settings.admin {
            Some(address) => Some(listen("server.admin", address).await?),
            None => None,
        };
        // Port 0 has become a real one.
        settings.listen = listener.local_addr().unwrap_or(settings.listen);
        config.server.listen = settings.listen;
        let registry = match config.chain.source.clone() {
            ChainSource::File(file) => Registry::File(RegistryFile::open(&file, SystemTime::now())?),
            ChainSource::Subtensor(settings) => Registry::Subtensor(ChainWatcher::start(*settings).await?),
        };
        let open_files_max = raise_open_files();
        let capacity = Capacity::of(&config, open_files_max);
        if let Some(fault) = capacity.fault(open_files_max) {
            tracing::warn!("{fault}");
        }
        let places = StorePlaces::new(capacity.store_max, capacity.store_per_hotkey_max);
        let store = Store::new(&config.store, &config.bucket.name, places).await?;
        let verifier = verifier(&config)?;
        let limits = Arc::new(Limits::start(&config.limits).await?);
        let (chain, policy) = (config.chain.clone(), config.policy.clone());
        let access = Access::new(verifier, registry, chain, policy, Arc::clone(&limits));
        let front = Arc::new(Front::new(&config, access, store, Arc::clone(&limits), began));
        Ok(Self {
            front,
            limits,
            listener,
            admin,
            settings,
            pace: proxy::pace(&config.limits.bodies),
            connections_max: usize::try_from(capacity.clients_max).unwrap_or(Semaphore::MAX_PERMITS),
            connections_per_address_max: config.limits.address.connections_max,
        })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.settings.listen
    }

    /// Where the operator looks in.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until `shutdown`; then takes no more connections and gives those that are there their time to
    /// end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            front,
            limits,
            listener,
            admin,
            settings,
            pace,
            connections_max,
            connections_per_address_max,
        } = self;
        let mut door = Door::new(connections_per_address_max, settings.edge.clone());
        let admin = admin.map(|admin| tokio::spawn(admin::run(admin, Arc::clone(&front))));
        let terms = Arc::new(Terms::new(front, &settings, pace));
        let (shut_down, shutting_down) = watch::channel(());
        let slots = Arc::new(Semaphore::new(connections_max));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // A connection is accepted only when there is room for it; others wait in the system's queue.
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots) => accepted,
                () = &mut shutdown => break,
            };
            let Some((stream, peer, slot)) = accepted else { continue };
            // Who has too many is told by the end of this one; the others are served as before.
            let Some(admitted) = door.admit(peer.ip(), Instant::now()) else { continue };
            let open = connections_max.saturating_sub(slots.available_permits());
            let (terms, shutting_down) = (Arc::clone(&terms), shutting_down.clone());
            tokio::spawn(async move {
                connection::serve(terms, stream, peer, BufferSizes::of(open), shutting_down).await;
                drop((slot, admitted));
            });
        }
        drop(listener);
        tracing::info!(seconds_max = settings.drain_seconds, "shutting down: requests under way may end");
        drop(shutting_down);
        let _ = shut_down.send(());
        let drained =
            tokio::time::timeout(Duration::from_secs(settings.drain_seconds), shut_down.closed()).await;
        if drained.is_err() {
            tracing::warn!("requests that did not end within server.drain_seconds are cut off");
        }
        limits.settle(SystemTime::now().into()).await;
        if let Some(admin) = admin {
            admin.abort();
        }
    }
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_REST).await;
            None
        }
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { setting, address, source })
}

fn verifier(config: &Config) -> Result<Verifier, auth::SessionKeysError> {
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
