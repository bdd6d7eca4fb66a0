//! Where nonces are spent: in this process, or for all replicas together.

use http::StatusCode;

use super::json::Refusal;
use crate::{
    auth::{
        BtauthError,
        bittensor::{Nonce, SpentNonces},
    },
    error::Reason,
    limits::{NonceUse, SharedNonces, Unreachable},
    time::UnixTime,
};

/// Where nonces are spent.
pub(crate) enum Nonces {
    /// Each process by itself.
    Local(SpentNonces),
    /// All replicas together.
    Shared(SharedNonces),
}

impl Nonces {
    /// Nonces that are shared, or those of a process that `began` then.
    pub(crate) fn new(shared: Option<SharedNonces>, began: UnixTime) -> Self {
        match shared {
            Some(shared) => Self::Shared(shared),
            None => Self::Local(SpentNonces::since(began)),
        }
    }

    /// Spends a nonce whose signature was verified.
    ///
    /// # Errors
    /// Those of [`SpentNonces::spend`]; a 503 where replicas share their nonces and cannot be asked.
    pub(super) async fn spend(&self, nonce: &Nonce, now: UnixTime) -> Result<(), Refusal> {
        let shared = match self {
            Self::Local(nonces) => return Ok(nonces.spend(nonce, now)?),
            Self::Shared(nonces) => nonces,
        };
        match shared.spend(&nonce.hotkey(), &nonce.id(), nonce.life(now)).await {
            Ok(NonceUse::First) => Ok(()),
            Ok(NonceUse::Again) => Err(BtauthError::Replayed.into()),
            Err(Unreachable) => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Nonces cannot be checked at the moment; please retry",
            )
            .because(Reason::LimitsUnreachable)),
        }
    }
}
