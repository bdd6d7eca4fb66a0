//! Bytes of request bodies that are held in memory as a whole: one budget for the server, a share for each
//! party, and half of it at most for those of whom nobody knows who they are (P54).
//!
//! What counts is what has arrived, not what was declared: a body that never comes takes nothing but its
//! [`BODY_BYTES_MIN`].

use std::sync::Arc;

use super::{
    address::Sender,
    counts::{Counts, Held, HeldOfTotal, Total},
    exceeded::{Exceeded, LimitName, Period, Scope},
};
use crate::chain::AccountId;

/// What a body counts before its first byte: the memory of a request that waits for it.
const BODY_BYTES_MIN: u64 = 4096;

/// Who holds bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Sender(Sender),
    Principal(AccountId),
}

/// The budget.
#[derive(Debug)]
pub(super) struct Budget {
    by_holder: Arc<Counts<Holder>>,
    of_strangers: Arc<Total>,
    of_all: Arc<Total>,
    server_bytes_max: u64,
}

/// The bytes of one body that is being buffered; given back on drop.
#[derive(Debug)]
pub(crate) struct Buffered {
    of_holder: Held<Holder>,
    of_strangers: Option<HeldOfTotal>,
    of_all: HeldOfTotal,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    scope: Scope,
    holder_bytes_max: u64,
    server_bytes_max: u64,
}

impl Bounds {
    fn exceeded(&self, scope: Scope) -> Exceeded {
        let max = match scope {
            Scope::Server | Scope::Shared => self.server_bytes_max,
            Scope::Address | Scope::Role(_) | Scope::Override => self.holder_bytes_max,
        };
        let limit = LimitName { scope, setting: "buffered_bytes_max" };
        Exceeded { limit, max, period: Period::Moments, retry_after_seconds: 1 }
    }

    /// What those who are not known yet may hold together.
    fn strangers_bytes_max(&self) -> u64 {
        self.server_bytes_max / 2
    }
}

impl Budget {
    pub(super) fn new(server_bytes_max: Option<u64>) -> Self {
        Self {
            by_holder: Counts::new(),
            of_strangers: Arc::default(),
            of_all: Arc::default(),
            server_bytes_max: server_bytes_max.unwrap_or(u64::MAX),
        }
    }

    /// The same budget with another bound: what is held stays held.
    pub(super) fn renewed(&self, server_bytes_max: Option<u64>) -> Self {
        Self {
            by_holder: Arc::clone(&self.by_holder),
            of_strangers: Arc::clone(&self.of_strangers),
            of_all: Arc::clone(&self.of_all),
            server_bytes_max: server_bytes_max.unwrap_or(u64::MAX),
        }
    }

    /// Begins the body of a request of which only the sender is known.
    pub(super) fn begin_of_sender(
        &self,
        sender: Sender,
        bytes_max: Option<u64>,
    ) -> Result<Buffered, Exceeded> {
        let bytes_max = match sender {
            Sender::Edge => None,
            Sender::Network(_) => bytes_max,
        };
        self.begin(Holder::Sender(sender), Scope::Address, bytes_max)
    }

    /// Begins the body of a principal's request.
    pub(super) fn begin_of_principal(
        &self,
        principal: AccountId,
        scope: Scope,
        bytes_max: Option<u64>,
    ) -> Result<Buffered, Exceeded> {
        self.begin(Holder::Principal(principal), scope, bytes_max)
    }

    fn begin(&self, holder: Holder, scope: Scope, bytes_max: Option<u64>) -> Result<Buffered, Exceeded> {
        let holder_bytes_max = bytes_max.unwrap_or(u64::MAX);
        let bounds = Bounds { scope, holder_bytes_max, server_bytes_max: self.server_bytes_max };
        let of_holder = self.by_holder.try_add(holder, 0, u64::MAX).ok_or(bounds.exceeded(scope))?;
        let of_all = self.of_all.try_add(0, u64::MAX).ok_or(bounds.exceeded(Scope::Server))?;
        let of_strangers = match holder {
            Holder::Sender(_) => self.of_strangers.try_add(0, u64::MAX),
            Holder::Principal(_) => None,
        };
        let mut buffered = Buffered { of_holder, of_strangers, of_all, bounds };
        buffered.grow(BODY_BYTES_MIN)?;
        Ok(buffered)
    }

    /// What all bodies hold.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.of_all.now()
    }
}

impl Buffered {
    /// Counts bytes that are about to be buffered.
    ///
    /// # Errors
    /// Whose share they would exceed; the body is to be refused then.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Exceeded> {
        let bounds = self.bounds;
        if !self.of_holder.grow(bytes, bounds.holder_bytes_max) {
            return Err(bounds.exceeded(bounds.scope));
        }
        let of_strangers = self.of_strangers.as_mut();
        let fits = of_strangers.is_none_or(|held| held.grow(bytes, bounds.strangers_bytes_max()))
            && self.of_all.grow(bytes, bounds.server_bytes_max);
        if fits { Ok(()) } else { Err(bounds.exceeded(Scope::Server)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Role;

    const MIB: u64 = 1 << 20;

    fn sender(host: u8) -> Sender {
        Sender::at([10, 0, 0, host].into())
    }

    fn account(seed: u8) -> AccountId {
        AccountId::from_bytes([seed; 32]).unwrap()
    }

    #[test]
    fn p54_two_hundred_bodies_of_one_address_hold_its_share_and_no_more() {
        let budget = Budget::new(Some(64 * MIB));
        let mut held = Vec::new();
        for _ in 0..200 {
            let Ok(mut body) = budget.begin_of_sender(sender(1), Some(4 * MIB)) else { continue };
            for _ in 0..30 {
                if let Err(exceeded) = body.grow(64 * 1024) {
                    assert_eq!(exceeded.limit.to_string(), "limits.address.buffered_bytes_max");
                    break;
                }
            }
            held.push(body);
        }
        assert!(budget.bytes() <= 4 * MIB && budget.bytes() > 3 * MIB, "{}", budget.bytes());
        // Another address, and a principal, are served as before.
        budget.begin_of_sender(sender(2), Some(4 * MIB)).unwrap().grow(MIB).unwrap();
        let role = Scope::Role(Role::Miner);
        budget.begin_of_principal(account(1), role, Some(8 * MIB)).unwrap().grow(4 * MIB).unwrap();
        drop(held);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn p54_strangers_together_leave_half_to_those_who_are_known() {
        let budget = Budget::new(Some(64 * MIB));
        let held: Vec<_> = (0..=255)
            .filter_map(|host| {
                let mut body = budget.begin_of_sender(sender(host), Some(4 * MIB)).ok()?;
                body.grow(3 * MIB).ok()?;
                Some(body)
            })
            .collect();
        assert!(budget.bytes() <= 32 * MIB);
        let refused = budget.begin_of_sender(sender(7), None).and_then(|mut body| body.grow(30 * MIB));
        assert_eq!(refused.unwrap_err().limit.to_string(), "limits.server.buffered_bytes_max");
        let role = Scope::Role(Role::Miner);
        budget.begin_of_principal(account(1), role, Some(8 * MIB)).unwrap().grow(7 * MIB).unwrap();
        drop(held);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn p54_what_was_refused_is_given_back_as_well() {
        let budget = Budget::new(Some(MIB));
        let mut body = budget.begin_of_principal(account(1), Scope::Override, Some(2 * MIB)).unwrap();
        body.grow(2 * MIB).unwrap_err();
        let exceeded = body.grow(MIB).unwrap_err();
        assert_eq!(exceeded.limit.to_string(), "limits.server.buffered_bytes_max");
        drop(body);
        assert_eq!((budget.bytes(), budget.by_holder.of(Holder::Principal(account(1)))), (0, 0));
    }
}
