//! What outlives every reading of the configuration: who is registered, what was counted, when this process
//! began. \[IO\]

use std::{sync::Arc, time::SystemTime};

use super::{error::ServeError, tls::TlsListener};
use crate::{
    chain::{ChainWatcher, Registry, RegistryFile},
    config::{ChainSource, Config},
    limits::Limits,
    observe::Metrics,
    time::UnixTime,
};

/// What outlives every reading of the configuration.
pub(super) struct Lasting {
    pub(super) registry: Arc<Registry>,
    pub(super) limits: Arc<Limits>,
    pub(super) metrics: Arc<Metrics>,
    /// TLS of the listener for clients; none where that speaks plain HTTP, which no reload changes.
    pub(super) tls: Option<Arc<TlsListener>>,
    /// Before anybody could reach this process: what is signed from then on is meant for it (P9).
    pub(super) began: UnixTime,
}

impl Lasting {
    /// Reads the registry and begins to count, by the first configuration.
    pub(super) async fn begin(config: &Config, began: UnixTime) -> Result<Self, ServeError> {
        let registry = match config.chain.source.clone() {
            ChainSource::File(file) => Registry::File(RegistryFile::open(&file, SystemTime::now())?),
            ChainSource::Subtensor(settings) => Registry::Subtensor(ChainWatcher::start(*settings).await?),
        };
        let limits = Arc::new(Limits::start(&config.limits).await?);
        let tls = config.server.tls.as_ref().map(TlsListener::new).transpose()?.map(Arc::new);
        Ok(Self { registry: Arc::new(registry), limits, metrics: Metrics::new(), tls, began })
    }
}
