//! Where the sessions of calls come from.
//!
//! Wallets, caches and passwords are known to the command line alone; here is what a [`super::Bucket`] asks
//! of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::auth::SessionCredentials;

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SessionError {
    /// Whether the server refused one, rather than that it could not be asked.
    pub(crate) is_refusal: bool,
    /// One line for a person.
    pub(crate) message: String,
}

/// A source of sessions that last.
pub(crate) trait Sessions: Send + Sync {
    /// The session to sign a request with that leaves now. `refused` is one that the server has refused: if
    /// it is the one that is held, it is replaced.
    fn session<'a>(
        &'a self,
        refused: Option<&'a SessionCredentials>,
    ) -> BoxFuture<'a, Result<Arc<SessionCredentials>, SessionError>>;
}
