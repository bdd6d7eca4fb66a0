//! What the endpoints beside S3 see of the gate.

use super::Gate;
use crate::{
    config,
    endpoints::{Discovery, Health},
    store::Store,
};

impl Gate {
    pub(crate) fn session_seconds_max(&self) -> u64 {
        self.session_seconds_max
    }

    pub(crate) fn limits(&self) -> &config::Limits {
        &self.limits
    }

    pub(crate) fn endpoints(&self) -> &config::Endpoints {
        &self.endpoints
    }

    pub(crate) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}
