//! What outlives every reading of the configuration: who is registered, what was counted, when this process
//! began. \[IO\]

use std::{sync::Arc, time::SystemTime};

use super::error::ServeError;
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
        Ok(Self { registry: Arc::new(registry), limits, metrics: Metrics::new(), began })
    }
}
