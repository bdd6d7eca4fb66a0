//! Where the sessions of calls come from.
//!
//! Wallets, caches and passwords are known to the command line alone; here is what a [`super::Bucket`] asks
//! of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::auth::SessionCredentials;

/// Whose turn it is where there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionFault {
    /// The server could not be asked: this alone may pass.
    Unavailable,
    /// The server refused one.
    Refused,
    /// An option is wrong, or nobody was there to give the wallet's password.
    Usage,
    /// The wallet is not what it should be, or the password is wrong.
    Data,
    /// The wallet cannot be read.
    NoInput,
    /// This program's own.
    Own,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SessionError {
    /// Whose turn it is.
    pub(crate) fault: SessionFault,
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
