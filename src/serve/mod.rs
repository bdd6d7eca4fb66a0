//! Listeners, connections and their limits, the orderly end. \[IO\]

mod admin;
mod connection;
mod socket;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use self::connection::Terms;
use crate::{
    access::Access,
    auth::{self, Audience, Verifier, sigv4},
    body::pace::Pace,
    chain::{ChainWatcher, Registry, RegistryFile},
    config::{self, ChainSource, Config},
    front::Front,
    proxy,
    store::Store,
    time::UnixTime,
};

/// Largest read buffer of a connection, and of the pieces in which uploads travel; it grows to this only on a
/// connection that fills it. An upload in pieces of 1 MiB was measured to cost 13 to 33 % less than in pieces
/// of 256 KiB, most of it in the kernel, by how busy the machine was (`cargo bench --bench road`). Larger
/// ones were not tried.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// Smallest: a head of [`HEAD_BYTES_MAX`] fits twice, and a read is still worth its system call.
const BUFFER_BYTES_MIN: usize = 64 * 1024;

/// What the connections share: a connection that comes as the n-th has an n-th of it, within the bounds
/// above. An upload has about three pieces under way: 64 uploads of 1 GiB at once were measured to peak at 93
/// to 126 MiB.
const BUFFERS_BYTES: usize = 16 * 1024 * 1024;

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
    #[error("chain.endpoints: {0}")]
    Chain(#[from] rustls::Error),
    /// The store's client cannot be made.
    #[error("{0}")]
    Store(#[from] crate::store::StoreClientError),
    /// The session keys do not fit together.
    #[error("session.keys: {0}")]
    SessionKeys(#[from] auth::SessionKeysError),
}

/// A server that has its ports and is ready to run.
pub struct Server {
    front: Arc<Front>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    settings: config::Server,
    /// How slowly answers may be taken.
    pace: Pace,
}

impl Server {
    /// Takes the ports and reads what the configuration names; nothing is answered yet.
    pub async fn bind(mut config: Config) -> Result<Self, ServeError> {
        let mut settings = config.server.clone();
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
        let store = Store::new(&config.store, &config.bucket.name).await?;
        let verifier = verifier(&config)?;
        let access = Access::new(verifier, registry, config.chain.clone(), config.policy.clone());
        let front = Arc::new(Front::new(&config, access, store));
        Ok(Self { front, listener, admin, settings, pace: proxy::pace(&config.limits.bodies) })
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
        let Self { front, listener, admin, settings, pace } = self;
        let admin = admin.map(|admin| tokio::spawn(admin::run(admin, Arc::clone(&front))));
        let terms = Arc::new(Terms::new(front, &settings, pace));
        let (shut_down, shutting_down) = watch::channel(());
        let slots = Arc::new(Semaphore::new(settings.connections_max));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // A connection is accepted only when there is room for it; others wait in the system's queue.
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots) => accepted,
                () = &mut shutdown => break,
            };
            if let Some((stream, peer, slot)) = accepted {
                let open = settings.connections_max.saturating_sub(slots.available_permits());
                let (terms, shutting_down) = (Arc::clone(&terms), shutting_down.clone());
                let buffer_bytes = buffer_bytes(open);
                tokio::spawn(async move {
                    connection::serve(terms, stream, peer, buffer_bytes, shutting_down).await;
                    drop(slot);
                });
            }
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

/// The read buffer of the last of `open` connections.
fn buffer_bytes(open: usize) -> usize {
    let share = BUFFERS_BYTES.checked_div(open).unwrap_or(BUFFERS_BYTES);
    share.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)
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
