//! Why the server does not start, or does not take a new configuration; each names the setting.

use std::net::SocketAddr;

use super::tls::TlsListenerError;
use crate::{auth, config::ConfigErrors, limits::SharedLimitsError};

/// Why the server does not start; names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What the configuration names cannot be used: all that [`super::faults()`] found.
    #[error("{0}")]
    Faults(ConfigErrors),
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
    /// TLS of the listener cannot be set up.
    #[error("{0}")]
    Tls(#[from] TlsListenerError),
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
