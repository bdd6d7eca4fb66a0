//! The nonces of btauth/1 and of X-Tao that were used already.
//!
//! Invariants: a (hotkey, nonce) is spent once within the window, and outside of it nothing is accepted, nor
//! what was signed before the process began, for nobody remembers what was spent then; memory is bounded by
//! [`NONCES_MAX`], and one hotkey has a share of it, [`NONCES_PER_HOTKEY_MAX`], where it chooses its nonces.
//! A process that takes over from another gets the nonces that were spent there, and that one spends no more:
//! between the two as well, each is spent once.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

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
pub(crate) struct SpentNonces(Mutex<Nonces>);

/// The nonces of one process.
#[derive(Debug)]
struct Nonces {
    list: SpentNoncesList,
    /// Another process spends them now, or is about to.
    is_handed_over: bool,
}

/// The nonces that one process has spent, for the one that takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpentNoncesList {
    /// Nonces below this may have been spent at a process of which nothing is known.
    began_nanos: u64,
    /// All of them, the oldest first.
    spent: BTreeSet<Nonce>,
    /// Those among them that are UUIDs, which a hotkey could sign again with another time.
    #[serde(skip)]
    uuids: BTreeSet<(AccountId, Uuid)>,
    /// Nonces below this are forgotten; a clock that steps back does not bring them to life again.
    forgotten_below_nanos: u64,
}

impl SpentNoncesList {
    fn since(began: UnixTime) -> Self {
        Self {
            began_nanos: u64::try_from(began.nanos()).unwrap_or(u64::MAX),
            spent: BTreeSet::new(),
            uuids: BTreeSet::new(),
            forgotten_below_nanos: 0,
        }
    }

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
        Self(Mutex::new(Nonces { list: SpentNoncesList::since(began), is_handed_over: false }))
    }

    /// The same, where that turns out later.
    pub(crate) fn begin_anew(&self, began: UnixTime) {
        self.take_over(SpentNoncesList::since(began));
    }

    /// Spends no more of them, and gives those that are spent for another process that will.
    pub(crate) fn hand_over(&self) -> SpentNoncesList {
        let mut nonces = self.lock();
        nonces.is_handed_over = true;
        nonces.list.clone()
    }

    /// Spends them again: the other process does not.
    pub(crate) fn keep(&self) {
        self.lock().is_handed_over = false;
    }

    /// Goes on where the process before this one has stopped.
    pub(crate) fn take_over(&self, mut list: SpentNoncesList) {
        let uuids = list.spent.iter().filter_map(|nonce| match nonce.id {
            NonceId::Uuid(uuid) => Some((nonce.hotkey, uuid)),
            NonceId::Time => None,
        });
        list.uuids = uuids.collect();
        *self.lock() = Nonces { list, is_handed_over: false };
    }

    fn lock(&self) -> MutexGuard<'_, Nonces> {
        // A panic elsewhere cannot leave a set of plain values half-changed in a way that matters here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spends a nonce whose signature was verified.
    ///
    /// # Errors
    /// `Replayed` the second time, `Stale` where the nonce is older than the window, `BeforeStart` where it
    /// is older than the process, `Full` where there are too many within the window,
    /// `HandedOver` where another process spends them.
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
        let mut locked = self.lock();
        if locked.is_handed_over {
            return Err(BtauthError::HandedOver);
        }
        let nonces = &mut locked.list;
        nonces.forget_below(oldest_nanos);
        if nonce.signed_nanos < nonces.forgotten_below_nanos {
            return Err(BtauthError::Stale);
        }
        if nonce.signed_nanos < nonces.began_nanos {
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
