//! The nonces of btauth/1 that were used already.
//!
//! Invariants: a (hotkey, nonce) is spent once within the window, and outside of it nothing is accepted, nor
//! what was signed before the process began, for nobody remembers what was spent then; memory is bounded by
//! [`NONCES_MAX`].

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    btauth::{BtauthError, PAST_NANOS_MAX},
    evidence::Evidence,
};
use crate::{chain::AccountId, time::UnixTime};

/// Most nonces held at once: 5000 sessions a second over the window of 12 s, about 4 MiB.
const NONCES_MAX: usize = 60_000;

/// How far apart the clocks of replicas may be: so long one of them may take what is over for another.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(30);

/// How long replicas that share their nonces have to remember that of `evidence`: until it is too old for
/// each of them.
pub(crate) fn nonce_life(evidence: &Evidence, now: UnixTime) -> Duration {
    let until = u128::from(evidence.nonce_nanos).saturating_add(PAST_NANOS_MAX);
    let rest = u64::try_from(until.saturating_sub(now.nanos())).unwrap_or(u64::MAX);
    Duration::from_nanos(rest).saturating_add(CLOCKS_APART_MAX)
}

/// The nonces spent within the window, exactly. One per process: replicas that do not share them could each
/// be asked once with a request that somebody captured within its window, which yields one more session of
/// the same hotkey.
#[derive(Debug)]
pub(crate) struct SpentNonces {
    /// Nonces below this may have been spent at the process before this one.
    began_nanos: u64,
    nonces: Mutex<Nonces>,
}

#[derive(Debug, Default)]
struct Nonces {
    spent: BTreeSet<(u64, AccountId)>,
    /// Nonces below this are forgotten; a clock that steps back does not bring them to life again.
    forgotten_below_nanos: u64,
}

impl SpentNonces {
    /// None are spent, and none are accepted that were made before `began`.
    pub(crate) fn since(began: UnixTime) -> Self {
        let began_nanos = u64::try_from(began.nanos()).unwrap_or(u64::MAX);
        Self { began_nanos, nonces: Mutex::default() }
    }

    /// Spends the nonce of verified evidence.
    ///
    /// # Errors
    /// `Replayed` the second time, `Stale` where the nonce is older than the window, `BeforeStart` where it
    /// is older than the process, `Full` where there are too many within the window.
    pub(crate) fn spend(&self, evidence: &Evidence, now: UnixTime) -> Result<(), BtauthError> {
        self.spend_bounded(evidence, now, NONCES_MAX)
    }

    pub(super) fn spend_bounded(
        &self,
        evidence: &Evidence,
        now: UnixTime,
        nonces_max: usize,
    ) -> Result<(), BtauthError> {
        let oldest_nanos = u64::try_from(now.nanos().saturating_sub(PAST_NANOS_MAX)).unwrap_or(u64::MAX);
        // A panic elsewhere cannot leave a set of plain values half-changed in a way that matters here.
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.forgotten_below_nanos = nonces.forgotten_below_nanos.max(oldest_nanos);
        while nonces.spent.first().is_some_and(|(nanos, _)| *nanos < nonces.forgotten_below_nanos) {
            nonces.spent.pop_first();
        }
        let entry = (evidence.nonce_nanos, evidence.hotkey);
        if entry.0 < nonces.forgotten_below_nanos {
            return Err(BtauthError::Stale);
        }
        if entry.0 < self.began_nanos {
            return Err(BtauthError::BeforeStart);
        }
        if nonces.spent.contains(&entry) {
            return Err(BtauthError::Replayed);
        }
        if nonces.spent.len() >= nonces_max {
            return Err(BtauthError::Full);
        }
        nonces.spent.insert(entry);
        Ok(())
    }
}
