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
    /// A socket that was passed to this process cannot be used.
    #[error("{0}")]
    PassedSocket(#[from] PassedSocketError),
    /// The process before this one cannot be talked to.
    #[error("the process before this one cannot be talked to: {0}")]
    Predecessor(std::io::Error),
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

/// Why a socket that was passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedSocketError {
    /// It is no TCP socket that listens.
    #[error("a socket that was passed (LISTEN_FDS) is no TCP socket that listens: {0}")]
    Unusable(String),
    /// The configuration names another address.
    #[error(
        "{setting}: the service manager passes a socket that listens on {passed}, and the configuration says \
         {configured}; write the same address in both"
    )]
    OtherAddress {
        /// `server.listen` or `server.admin`.
        setting: &'static str,
        /// Where the socket listens.
        passed: SocketAddr,
        /// Where it should; none where nothing is configured.
        configured: Address,
    },
    /// Nothing in the configuration is meant by it.
    #[error(
        "the service manager passes a socket that listens on {0}, which is neither server.listen nor \
         server.admin"
    )]
    Unknown(SocketAddr),
    /// Two of them are for the same.
    #[error("{0}: the service manager passes more than one socket for it")]
    Twice(&'static str),
}

/// An address, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(Option<SocketAddr>);

impl Address {
    pub(super) fn of(address: Option<SocketAddr>) -> Self {
        Self(address)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("nothing"),
        }
    }
}
