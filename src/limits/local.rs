//! The ledger of one process: rates by `governor`, the day by [`Daily`].

use std::sync::Arc;

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::{
    charge::{Charge, day_bounds, too_fast, used_up},
    class::Class,
    daily::{Daily, DayUsage, seconds_left},
    exceeded::{Exceeded, Scope},
    party::{Parties, Party},
    rate::{KeyedRate, quota},
};
use crate::{
    chain::AccountId,
    config::{PartyLimits, RateLimit},
};

/// The ledger of one process.
#[derive(Debug)]
pub(super) struct LocalLedger<C: Clock> {
    /// By the index of the party.
    of_parties: Vec<ByClass<KeyedRate<AccountId, C>>>,
    of_server: ByClass<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    server: PartyLimits,
    daily: Arc<Daily>,
    clock: C,
}

/// A rate for each class; none where there is no bound.
#[derive(Debug)]
struct ByClass<R> {
    reads: Option<R>,
    writes: Option<R>,
    lists: Option<R>,
    controls: Option<R>,
}

impl<R> ByClass<R> {
    fn new(limits: &PartyLimits, rate: impl Fn(&RateLimit) -> Option<R>) -> Self {
        Self {
            reads: rate(&limits.reads),
            writes: rate(&limits.writes),
            lists: rate(&limits.lists),
            controls: rate(&limits.controls),
        }
    }

    fn of(&self, class: Class) -> Option<&R> {
        match class {
            Class::Read => self.reads.as_ref(),
            Class::Write => self.writes.as_ref(),
            Class::List => self.lists.as_ref(),
            Class::Control => self.controls.as_ref(),
        }
    }
}

impl<C: Clock + Clone> LocalLedger<C> {
    /// A ledger that counts the day in `daily`.
    pub(super) fn new(parties: &Parties, clock: &C, daily: Arc<Daily>) -> Self {
        let of_party = |party: &Party| ByClass::new(&party.limits, |limit| KeyedRate::new(limit, clock));
        let of_server = |limit: &RateLimit| {
            quota(limit).map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()))
        };
        Self {
            of_parties: parties.all().map(of_party).collect(),
            of_server: ByClass::new(parties.server(), of_server),
            server: *parties.server(),
            daily,
            clock: clock.clone(),
        }
    }
}

impl<C: Clock> LocalLedger<C> {
    /// Charges a request.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(super) fn charge(&self, charge: &Charge<'_>) -> Result<[Arc<DayUsage>; 2], Exceeded> {
        let Charge { principal, party, class, day, now } = *charge;
        if let Some(rate) = self.of_parties.get(party.index).and_then(|rates| rates.of(class)) {
            rate.charge(&principal).map_err(|wait| too_fast(party.scope, &party.limits, class, wait))?;
        }
        if let Some(rate) = self.of_server.of(class) {
            rate.check().map_err(|late| {
                let wait = late.wait_time_from(self.clock.now());
                too_fast(Scope::Server, &self.server, class, wait)
            })?;
        }
        let [usage, of_all] = self.daily.usage(principal, now);
        let left = seconds_left(now);
        usage.charge(day, &day_bounds(&party.limits)).map_err(|what| used_up(party.scope, what, left))?;
        of_all.charge(day, &day_bounds(&self.server)).map_err(|what| used_up(Scope::Server, what, left))?;
        Ok([usage, of_all])
    }
}
