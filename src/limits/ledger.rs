//! Who has spent what: the one point at which a request is charged, in this process or for all replicas.
//!
//! A [`Charge`] names the principal, whose limits count for it, the class and the time; a ledger takes all of
//! it or says what is exceeded. Bytes flow into [`DayUsage`], without waiting. What is under way, buffered or
//! taking turns belongs to this process and stays local, and so do the rates of addresses.

use std::sync::Arc;

use governor::clock::Clock;

use super::{charge::Charge, daily::DayUsage, exceeded::Exceeded, local::LocalLedger, shared::SharedLedger};

/// Where requests are charged.
#[derive(Debug)]
pub(super) enum Ledger<C: Clock> {
    /// In this process.
    Local(Box<LocalLedger<C>>),
    /// For all replicas together.
    Shared(Box<SharedLedger<C>>),
}

impl<C: Clock> Ledger<C> {
    /// Charges a request; gives the usage of the day to which its bytes will be added, of the principal and
    /// of all.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(super) async fn charge(&self, charge: &Charge<'_>) -> Result<[Arc<DayUsage>; 2], Exceeded> {
        match self {
            Self::Local(ledger) => ledger.charge(charge),
            Self::Shared(ledger) => ledger.charge(charge).await,
        }
    }
}
