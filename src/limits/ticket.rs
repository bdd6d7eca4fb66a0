//! The ticket of an admitted request: it stands for what the request holds, and ends with the last of its
//! body and of its answer.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    counts::{Counts, Held, HeldOfTotal, Total},
    daily::DayUsage,
    exceeded::{Exceeded, LimitName, Period, Scope},
};
use crate::chain::AccountId;

/// An admitted request. Clones are the same ticket: what it holds is given back when the last of them is
/// dropped, so the answer holds one until its end, and so does the body.
#[derive(Debug, Clone)]
pub(crate) struct Ticket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    principal: AccountId,
    scope: Scope,
    usage: [Arc<DayUsage>; 2],
    bytes: BytesUnderWay,
    buffered_bytes_max: Option<u64>,
    held_bytes: Mutex<Vec<(Held<AccountId>, HeldOfTotal)>>,
    _requests: (Held<AccountId>, HeldOfTotal),
}

/// How many bytes may be under way, and where they are counted.
#[derive(Debug, Clone)]
pub(super) struct BytesUnderWay {
    pub(super) of_principals: Arc<Counts<AccountId>>,
    pub(super) of_all: Arc<Total>,
    pub(super) principal_max: Option<u64>,
    pub(super) server_max: Option<u64>,
}

impl Ticket {
    pub(super) fn new(
        principal: AccountId,
        scope: Scope,
        usage: [Arc<DayUsage>; 2],
        bytes: BytesUnderWay,
        buffered_bytes_max: Option<u64>,
        requests: (Held<AccountId>, HeldOfTotal),
    ) -> Self {
        let held_bytes = Mutex::default();
        Self(Arc::new(Inner {
            principal,
            scope,
            usage,
            bytes,
            buffered_bytes_max,
            held_bytes,
            _requests: requests,
        }))
    }

    /// Whom the request is charged to.
    pub(crate) fn principal(&self) -> AccountId {
        self.0.principal
    }

    /// Whose limits count for it.
    pub(super) fn scope(&self) -> Scope {
        self.0.scope
    }

    /// What its principal may hold of bodies that are read as a whole.
    pub(super) fn buffered_bytes_max(&self) -> Option<u64> {
        self.0.buffered_bytes_max
    }

    /// Counts bytes of its body or answer that have flowed.
    pub(crate) fn count_bytes(&self, bytes: u64) {
        self.0.usage.iter().for_each(|usage| usage.count_bytes(bytes));
    }

    /// Holds the declared length of its body or answer until the ticket ends. One transfer that is larger
    /// than a bound by itself may go alone.
    ///
    /// # Errors
    /// Where too many bytes are under way already.
    pub(crate) fn hold_bytes(&self, bytes: u64) -> Result<(), Exceeded> {
        let Inner { principal, scope, bytes: bounds, held_bytes, .. } = &*self.0;
        if bounds.principal_max.is_none() && bounds.server_max.is_none() {
            return Ok(());
        }
        let exceeded = |scope, max| Exceeded {
            limit: LimitName { scope, setting: "bytes_under_way_max" },
            max,
            period: Period::Moments,
            retry_after_seconds: 1,
        };
        let max = bounds.principal_max.unwrap_or(u64::MAX);
        let of_principal = bounds.of_principals.try_add(*principal, bytes.min(max), max);
        let of_principal = of_principal.ok_or_else(|| exceeded(*scope, max))?;
        let max = bounds.server_max.unwrap_or(u64::MAX);
        let of_all = bounds.of_all.try_add(bytes.min(max), max);
        let of_all = of_all.ok_or_else(|| exceeded(Scope::Server, max))?;
        held_bytes.lock().unwrap_or_else(PoisonError::into_inner).push((of_principal, of_all));
        Ok(())
    }
}
