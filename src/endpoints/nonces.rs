//! Where nonces are spent: in this process, or for all replicas together.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::json::Refusal;
use crate::{
    auth::{
        BtauthError,
        bittensor::{Bounds, Nonce, NonceBounds, SpentNonces, SpentNoncesList},
    },
    error::Reason,
    limits::{NonceUse, SharedNonces, SharedPlace, Unreachable},
    time::UnixTime,
};

/// The nonces of this process.
pub(crate) struct Nonces {
    bounds: NonceBounds,
    place: Place,
}

/// Where nonces are spent.
enum Place {
    /// Each process by itself.
    Local(SpentNonces),
    /// All replicas together.
    Shared(SharedNonces),
}

/// What a process leaves to the one that takes its place.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NoncesLeft {
    bounds: Bounds,
    spent: SpentLeft,
}

/// Those that were spent, or where it is known which.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SpentLeft {
    Local(SpentNoncesList),
    Shared(SharedPlace),
}

impl Nonces {
    /// Nonces that are shared, or those of this process alone, which `began` then.
    pub(crate) fn new(shared: Option<SharedNonces>, began: UnixTime) -> Self {
        let place = match shared {
            Some(shared) => Place::Shared(shared),
            None => Place::Local(SpentNonces::since(began)),
        };
        Self { bounds: NonceBounds::since(began), place }
    }

    /// Spends no more of them here, for another process will; gives that process what it has to know.
    pub(crate) fn hand_over(&self) -> NoncesLeft {
        let bounds = self.bounds.hand_over();
        let spent = match &self.place {
            Place::Local(nonces) => SpentLeft::Local(nonces.hand_over()),
            Place::Shared(nonces) => SpentLeft::Shared(nonces.place().clone()),
        };
        NoncesLeft { bounds, spent }
    }

    /// Spends them here again, for the other process does not.
    pub(crate) fn keep(&self) {
        self.bounds.keep();
        match &self.place {
            Place::Local(nonces) => nonces.keep(),
            Place::Shared(_) => {}
        }
    }

    /// Goes on from what the process before this one has left; where that is nothing, from `now`. What was
    /// spent at another place than this one's is not known here, and not taken.
    pub(crate) fn take_over(&self, left: Option<NoncesLeft>, now: UnixTime) {
        let is_gone = left.is_none();
        match (&self.place, left) {
            (Place::Local(nonces), Some(NoncesLeft { bounds, spent: SpentLeft::Local(list) })) => {
                nonces.take_over(list);
                self.bounds.take_over(bounds);
            }
            (Place::Shared(nonces), Some(NoncesLeft { bounds, spent: SpentLeft::Shared(place) }))
                if place == *nonces.place() =>
            {
                self.bounds.take_over(bounds);
            }
            (place, _) => {
                match place {
                    Place::Local(nonces) => nonces.begin_anew(now),
                    Place::Shared(_) => {}
                }
                match is_gone {
                    true => self.bounds.begin_anew(now),
                    false => self.bounds.begin_elsewhere(now),
                }
            }
        }
    }

    /// Spends a nonce whose signature was verified.
    ///
    /// # Errors
    /// Those of [`NonceBounds::check`] and [`SpentNonces::spend`]; a 503 where replicas share their nonces
    /// and cannot be asked.
    pub(super) async fn spend(&self, nonce: &Nonce, now: UnixTime) -> Result<(), Refusal> {
        self.bounds.check(nonce)?;
        let shared = match &self.place {
            Place::Local(nonces) => return Ok(nonces.spend(nonce, now)?),
            Place::Shared(nonces) => nonces,
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
