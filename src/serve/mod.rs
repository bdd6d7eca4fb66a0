//! Listeners, connections and their limits, the orderly end. \[IO\]

mod admin;
mod arrival;
pub(crate) mod capacity;
pub(crate) mod config_watch;
mod connection;
mod door;
mod drain;
mod error;
mod faults;
mod first_bytes;
mod handover;
mod lasting;
mod listeners;
pub mod proxy_protocol;
mod reload;
mod run;
pub(crate) mod seldom;
mod service_manager;
mod socket;
mod terms;
mod tls;
mod transport;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt as _, Stream, stream};
use tokio::sync::Semaphore;

use self::{
    capacity::{Capacity, raise_open_files},
    handover::Inheritance,
    listeners::Listeners,
    terms::{CurrentTerms, Terms},
    tls::TlsListener,
};
pub use self::{
    error::ServeError,
    faults::{faults, warnings},
    handover::Predecessor,
    listeners::PassedSockets,
    reload::{Reloaded, Reloader},
};
pub(crate) use self::{
    handover::Program,
    run::{Announcement, Order},
};
use crate::{
    config::{self, Config, ConfigErrors},
    observe::Metrics,
    time::UnixTime,
};

/// After a failure to accept (too many open files), a listener rests so long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How often a process that is to take over looks whether the registry has been read.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// A server that has its ports and is ready to run.
pub struct Server {
    terms: Arc<CurrentTerms>,
    metrics: Arc<Metrics>,
    tls: Option<Arc<TlsListener>>,
    reloader: Arc<Reloader>,
    listeners: Listeners,
    settings: config::Server,
    connections_max: usize,
}

impl Server {
    /// Takes the ports and reads what the configuration names; nothing is answered yet.
    pub async fn bind(config: Config) -> Result<Self, ServeError> {
        Self::bind_passed(config, PassedSockets::default()).await
    }

    /// The same, with those of the ports that others have opened already.
    pub async fn bind_passed(mut config: Config, passed: PassedSockets) -> Result<Self, ServeError> {
        let faults = faults(&config, SystemTime::now());
        if !faults.is_empty() {
            return Err(ServeError::Faults(ConfigErrors(faults)));
        }
        let mut settings = config.server.clone();
        // Before anybody can reach this process: what is signed from now on is meant for it (P9).
        let began = UnixTime::from(SystemTime::now());
        let listeners = Listeners::open(settings.listen, settings.admin, passed).await?;
        // Port 0 has become a real one.
        settings.listen = listeners.clients.local_addr().unwrap_or(settings.listen);
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
            listeners,
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
        self.listeners.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Takes the place of the process that has started this one: once the registry has been read, that one
    /// stops accepting connections, and this one begins with [`Self::obey`]. Blocks its thread for a moment.
    ///
    /// # Errors
    /// `Predecessor` where that process goes on alone; this one must end.
    pub(crate) async fn take_over(&self, predecessor: &mut Predecessor) -> Result<(), ServeError> {
        let front = Arc::clone(&self.terms.load().front);
        while !front.access().registry().has_reading(SystemTime::now()) {
            tokio::time::sleep(READY_INTERVAL).await;
        }
        tokio::task::block_in_place(|| {
            let left = predecessor.ready().map_err(ServeError::Predecessor)?;
            let now = UnixTime::from(SystemTime::now());
            let nonces = match left {
                Inheritance::Left(nonces) => Some(nonces),
                Inheritance::Gone => None,
            };
            front.process().nonces.take_over(nonces, now);
            predecessor.took_over();
            Ok(())
        })
    }

    /// Serves until `shutdown`; then takes no more connections and gives those that are there their time to
    /// end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = shutdown.map(|()| Order::Stop(Announcement::Skipped));
        self.obey(stream::once(stop)).await;
    }

    /// Serves until an order to stop, or until another process has taken over; then takes no more connections
    /// and gives those that are there their time to end.
    pub(crate) async fn obey(self, orders: impl Stream<Item = Order>) {
        run::run(self, orders).await;
    }
}
