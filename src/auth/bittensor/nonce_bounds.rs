//! Which nonces a process takes at all, whatever it remembers of those that were spent.
//!
//! Invariant: while it knows nothing of a place where nonces may have been spent just before, it takes none
//! that could be among them (P9).

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{
    btauth::BtauthError,
    nonce::{FUTURE_NANOS_MAX, Nonce},
};
use crate::time::UnixTime;

/// The bounds of one process.
#[derive(Debug)]
pub(crate) struct NonceBounds(Mutex<Bounds>);

/// What is not taken, in unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    /// Nonces below this were signed before the process began.
    began_nanos: u64,
    /// Nonces below this may have been spent by the process before this one, at another place.
    elsewhere_below_nanos: u64,
    /// Another process spends them now, or is about to.
    #[serde(skip)]
    is_handed_over: bool,
}

impl Bounds {
    fn since(began: UnixTime) -> Self {
        Self { began_nanos: nanos(began.nanos()), elsewhere_below_nanos: 0, is_handed_over: false }
    }
}

fn nanos(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

impl NonceBounds {
    /// None are taken that were made before `began`.
    pub(crate) fn since(began: UnixTime) -> Self {
        Self(Mutex::new(Bounds::since(began)))
    }

    fn lock(&self) -> MutexGuard<'_, Bounds> {
        // A panic elsewhere cannot leave plain values half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, where that turns out later.
    pub(crate) fn begin_anew(&self, began: UnixTime) {
        *self.lock() = Bounds::since(began);
    }

    /// Until `now` they were spent at a place of which this process knows nothing: none are taken that a
    /// signer whose clock is ahead may have spent there.
    pub(crate) fn begin_elsewhere(&self, now: UnixTime) {
        let below = nanos(now.nanos().saturating_add(FUTURE_NANOS_MAX));
        *self.lock() = Bounds { elsewhere_below_nanos: below, ..Bounds::since(now) };
    }

    /// Goes on by the bounds of the process before this one.
    pub(crate) fn take_over(&self, bounds: Bounds) {
        *self.lock() = bounds;
    }

    /// Takes no more of them, for another process will.
    pub(crate) fn hand_over(&self) -> Bounds {
        let mut bounds = self.lock();
        bounds.is_handed_over = true;
        *bounds
    }

    /// Takes them again: the other process does not.
    pub(crate) fn keep(&self) {
        self.lock().is_handed_over = false;
    }

    /// Whether a nonce may be spent.
    ///
    /// # Errors
    /// `HandedOver` where another process spends them, or may just have, `BeforeStart` where it is older than
    /// the process.
    pub(crate) fn check(&self, nonce: &Nonce) -> Result<(), BtauthError> {
        let bounds = *self.lock();
        if bounds.is_handed_over || nonce.signed_nanos < bounds.elsewhere_below_nanos {
            return Err(BtauthError::HandedOver);
        }
        match nonce.signed_nanos < bounds.began_nanos {
            true => Err(BtauthError::BeforeStart),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::AccountId;

    const NOW: u64 = 1_700_000_000_000_000_000;

    fn nonce(nanos: u64) -> Nonce {
        Nonce::time(AccountId::from_bytes([7; 32]).unwrap(), nanos)
    }

    #[test]
    fn p9_what_may_have_been_spent_at_another_place_is_not_taken() {
        let now = UnixTime::from_nanos(NOW);
        let bounds = NonceBounds::since(now);
        assert_eq!(bounds.check(&nonce(NOW - 1)), Err(BtauthError::BeforeStart));
        assert_eq!(bounds.check(&nonce(NOW)), Ok(()));
        bounds.begin_elsewhere(now);
        for ahead in [0, 1_999_999_999] {
            assert_eq!(bounds.check(&nonce(NOW + ahead)), Err(BtauthError::HandedOver));
        }
        assert_eq!(bounds.check(&nonce(NOW + 2_000_000_000)), Ok(()));
        // The next process is held to the same, and the one before it takes none.
        let next = NonceBounds::since(UnixTime::from_nanos(NOW + 1));
        let left = serde_json::to_string(&bounds.hand_over()).unwrap();
        next.take_over(serde_json::from_str(&left).unwrap());
        assert_eq!(next.check(&nonce(NOW + 1)), Err(BtauthError::HandedOver));
        assert_eq!(next.check(&nonce(NOW + 2_000_000_000)), Ok(()));
        assert_eq!(bounds.check(&nonce(NOW + 2_000_000_000)), Err(BtauthError::HandedOver));
        bounds.keep();
        assert_eq!(bounds.check(&nonce(NOW + 2_000_000_000)), Ok(()));
    }
}
