//! Listeners, connections and their limits, the orderly end. \[IO\]

mod admin;
mod arrival;
pub(crate) mod capacity;
pub(crate) mod config_watch;
mod connection;
mod door;
mod error;
mod faults;
mod lasting;
pub mod proxy_protocol;
mod reload;
mod seldom;
mod socket;
mod terms;
mod tls;
mod transport;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

use self::{
    arrival::Arrival,
    capacity::{Capacity, raise_open_files},
    connection::BufferSizes,
    terms::{CurrentTerms, Terms},
    tls::TlsListener,
};
pub use self::{
    error::ServeError,
    faults::{faults, warnings},
    reload::{Reloaded, Reloader},
};
use crate::{
    config::{self, Config, ConfigErrors},
    observe::{ClientConnection, Metrics},
    time::UnixTime,
};

/// After a failure to accept (too many open files), the listener rests so long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A server that has its ports and is ready to run.
pub struct Server {
    terms: Arc<CurrentTerms>,
    metrics: Arc<Metrics>,
    tls: Option<Arc<TlsListener>>,
    reloader: Arc<Reloader>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    settings: config::Server,
    connections_max: usize,
}

impl Server {
    /// Takes the ports and reads what the configuration names; nothing is answered yet.
    pub async fn bind(mut config: Config) -> Result<Self, ServeError> {
        let faults = faults(&config, SystemTime::now());
        if !faults.is_empty() {
            return Err(ServeError::Faults(ConfigErrors(faults)));
        }
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
        let open_files_max = raise_open_files();
        let capacity = Capacity::of(&config, open_files_max);
        if let Some(fault) = capacity.fault(open_files_max) {
            tracing::warn!("{fault}");
        }
        let (terms, lasting) = Terms::first(&config, &capacity, began).await?;
        let terms = Arc::new(CurrentTerms::from_pointee(terms));
        Ok(Self {
            metrics: Arc::clone(&lasting.metrics),
            tls: lasting.tls.clone(),
            reloader: Arc::new(Reloader::new(Arc::clone(&terms), lasting, config)),
            terms,
            listener,
            admin,
            settings,
            connections_max: usize::try_from(capacity.clients_max).unwrap_or(Semaphore::MAX_PERMITS),
        })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.settings.listen
    }

    /// Gives this server new configurations while it runs.
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Where the operator looks in.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until `shutdown`; then takes no more connections and gives those that are there their time to
    /// end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { terms, metrics, tls, reloader: _, listener, admin, settings: _, connections_max } = self;
        if let Some(tls) = &tls {
            tokio::spawn(tls::watch(Arc::downgrade(tls)));
        }
        let admin = admin.map(|admin| tokio::spawn(admin::run(admin, Arc::clone(&terms), tls.clone())));
        let arrival = Arc::new(Arrival::new(tls, Arc::clone(&metrics)));
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
            let counted = ClientConnection::begin(&metrics);
            let open = connections_max.saturating_sub(slots.available_permits());
            let (terms, arrival) = (Arc::clone(&terms), Arc::clone(&arrival));
            let shutting_down = shutting_down.clone();
            tokio::spawn(async move {
                connection::serve(terms, arrival, stream, peer, BufferSizes::of(open), shutting_down).await;
                drop((slot, counted));
            });
        }
        drop(listener);
        let seconds_max = terms.load().server.drain_seconds;
        tracing::info!(seconds_max, "shutting down: requests under way may end");
        drop(shutting_down);
        let _ = shut_down.send(());
        let drained = tokio::time::timeout(Duration::from_secs(seconds_max), shut_down.closed()).await;
        if drained.is_err() {
            tracing::warn!("requests that did not end within server.drain_seconds are cut off");
        }
        terms.load_full().limits().settle(SystemTime::now().into()).await;
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
