//! The nonces of btauth/1 and of X-Tao that were used already.
//!
//! Invariants: a (hotkey, nonce) is spent once within the window, and outside of it nothing is accepted, nor
//! what was signed before the process began, for nobody remembers what was spent then; memory is bounded by
//! [`NONCES_MAX`], and one hotkey has a share of it, [`NONCES_PER_HOTKEY_MAX`], where it chooses its nonces.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::{
    btauth::BtauthError,
    nonce::{Nonce, NonceId, PAST_NANOS_MAX, Uuid},
};
use crate::{chain::AccountId, time::UnixTime};

/// Most nonces held at once: 5000 sessions a second over the window of 12 s, about 4 MiB.
const NONCES_MAX: usize = 60_000;

/// Most nonces of one hotkey that are UUIDs: over a hundred requests a second, ten times what a validator
/// makes.
const NONCES_PER_HOTKEY_MAX: usize = 2000;

/// The nonces spent within the window, exactly. One per process: replicas that do not share them could each
/// spend the same nonce once, which gives no more than what the same hotkey asked for itself: sessions and
/// links.
#[derive(Debug)]
pub(crate) struct SpentNonces {
    /// Nonces below this may have been spent at the process before this one.
    began_nanos: u64,
    nonces: Mutex<Nonces>,
}

#[derive(Debug, Default)]
struct Nonces {
    /// All of them, the oldest first.
    spent: BTreeSet<Nonce>,
    /// Those among them that are UUIDs, which a hotkey could sign again with another time.
    uuids: BTreeSet<(AccountId, Uuid)>,
    /// Nonces below this are forgotten; a clock that steps back does not bring them to life again.
    forgotten_below_nanos: u64,
}

impl Nonces {
    fn forget_below(&mut self, nanos: u64) {
        self.forgotten_below_nanos = self.forgotten_below_nanos.max(nanos);
        while self.spent.first().is_some_and(|oldest| oldest.signed_nanos < self.forgotten_below_nanos) {
            match self.spent.pop_first() {
                Some(Nonce { hotkey, id: NonceId::Uuid(uuid), .. }) => {
                    self.uuids.remove(&(hotkey, uuid));
                }
                Some(Nonce { id: NonceId::Time, .. }) | None => {}
            }
        }
    }

    fn uuids_of(&self, hotkey: AccountId) -> usize {
        let (first, last) = Uuid::BOUNDS;
        self.uuids.range((hotkey, first)..=(hotkey, last)).count()
    }
}

impl SpentNonces {
    /// None are spent, and none are accepted that were made before `began`.
    pub(crate) fn since(began: UnixTime) -> Self {
        let began_nanos = u64::try_from(began.nanos()).unwrap_or(u64::MAX);
        Self { began_nanos, nonces: Mutex::default() }
    }

    /// Spends a nonce whose signature was verified.
    ///
    /// # Errors
    /// `Replayed` the second time, `Stale` where the nonce is older than the window, `BeforeStart` where it
    /// is older than the process, `Full` where there are too many within the window.
    pub(crate) fn spend(&self, nonce: &Nonce, now: UnixTime) -> Result<(), BtauthError> {
        self.spend_bounded(nonce, now, (NONCES_MAX, NONCES_PER_HOTKEY_MAX))
    }

    pub(super) fn spend_bounded(
        &self,
        nonce: &Nonce,
        now: UnixTime,
        (nonces_max, nonces_per_hotkey_max): (usize, usize),
    ) -> Result<(), BtauthError> {
        let oldest_nanos = u64::try_from(now.nanos().saturating_sub(PAST_NANOS_MAX)).unwrap_or(u64::MAX);
        // A panic elsewhere cannot leave a set of plain values half-changed in a way that matters here.
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.forget_below(oldest_nanos);
        if nonce.signed_nanos < nonces.forgotten_below_nanos {
            return Err(BtauthError::Stale);
        }
        if nonce.signed_nanos < self.began_nanos {
            return Err(BtauthError::BeforeStart);
        }
        let is_spent = match nonce.id {
            NonceId::Time => nonces.spent.contains(nonce),
            NonceId::Uuid(uuid) => nonces.uuids.contains(&(nonce.hotkey, uuid)),
        };
        if is_spent {
            return Err(BtauthError::Replayed);
        }
        let is_full = match nonce.id {
            NonceId::Time => false,
            NonceId::Uuid(_) => nonces.uuids_of(nonce.hotkey) >= nonces_per_hotkey_max,
        };
        if is_full || nonces.spent.len() >= nonces_max {
            return Err(BtauthError::Full);
        }
        if let NonceId::Uuid(uuid) = nonce.id {
            nonces.uuids.insert((nonce.hotkey, uuid));
        }
        nonces.spent.insert(*nonce);
        Ok(())
    }
}
