//! Who has spent what: the one point at which a request is charged.
//!
//! **The seam for sharing between replicas.** A [`Charge`] names the principal, whose limits count for it,
//! the class and the time, and [`Ledger::charge`] either takes all of it or says what is exceeded. Today
//! there is [`Ledger::Local`]. A ledger in Redis is one more variant, in a file `shared.rs` beside this one:
//! one script that runs GCRA for the principal's and for the server's rate and counts both days, keyed by
//! class and principal. The method is `async` for it; callers do not change. What the script needs is in the
//! charge: `limits` has every number, `principal` and `class` make the keys, `now` the day. Bytes flow into
//! [`DayUsage`], without waiting; a shared ledger reads and resets it from time to time and adds it to its
//! own. What is under way, buffered or taking turns belongs to this process and stays local, and so do the
//! rates of addresses; the nonces of `auth::bittensor::SpentNonces` have a seam of their own.

use std::sync::Arc;

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::{
    class::Class,
    daily::{Daily, DayBounds, DayCharge, DayUsage, seconds_left},
    exceeded::{Exceeded, LimitName, Period, Scope},
    party::{Parties, Party},
    rate::{KeyedRate, quota, seconds},
};
use crate::{
    chain::AccountId,
    config::{PartyLimits, RateLimit},
    time::UnixTime,
};

/// What one request takes of the limits that replicas have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) principal: AccountId,
    pub(super) party: &'a Party,
    pub(super) class: Class,
    pub(super) day: DayCharge,
    pub(super) now: UnixTime,
}

/// Where requests are charged.
#[derive(Debug)]
pub(super) enum Ledger<C: Clock> {
    /// In this process.
    Local(LocalLedger<C>),
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
        }
    }
}

/// The ledger of one process.
#[derive(Debug)]
pub(super) struct LocalLedger<C: Clock> {
    /// By the index of the party.
    of_parties: Vec<ByClass<KeyedRate<AccountId, C>>>,
    of_server: ByClass<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    server: PartyLimits,
    daily: Daily,
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
    pub(super) fn new(parties: &Parties, clock: &C) -> Self {
        let of_party = |party: &Party| ByClass::new(&party.limits, |limit| KeyedRate::new(limit, clock));
        let of_server = |limit: &RateLimit| {
            quota(limit).map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()))
        };
        Self {
            of_parties: parties.all().map(of_party).collect(),
            of_server: ByClass::new(parties.server(), of_server),
            server: *parties.server(),
            daily: Daily::default(),
            clock: clock.clone(),
        }
    }
}

impl<C: Clock> LocalLedger<C> {
    fn charge(&self, charge: &Charge<'_>) -> Result<[Arc<DayUsage>; 2], Exceeded> {
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
        charge_day(&usage, party.scope, &party.limits, day, now)?;
        charge_day(&of_all, Scope::Server, &self.server, day, now)?;
        Ok([usage, of_all])
    }
}

fn too_fast(scope: Scope, limits: &PartyLimits, class: Class, wait: std::time::Duration) -> Exceeded {
    let (setting, limit) = match class {
        Class::Read => ("reads_per_second", &limits.reads),
        Class::Write => ("writes_per_second", &limits.writes),
        Class::List => ("lists_per_second", &limits.lists),
        Class::Control => ("controls_per_second", &limits.controls),
    };
    Exceeded {
        limit: LimitName { scope, setting },
        max: limit.per_second.map_or(u64::MAX, |rate| rate.get().into()),
        period: Period::Moments,
        retry_after_seconds: seconds(wait),
    }
}

fn charge_day(
    usage: &DayUsage,
    scope: Scope,
    limits: &PartyLimits,
    day: DayCharge,
    now: UnixTime,
) -> Result<(), Exceeded> {
    let bounds = DayBounds {
        requests_max: limits.requests_per_day_max,
        vended_requests_max: limits.vended_requests_per_day_max,
        bytes_max: limits.bytes_per_day_max,
    };
    usage.charge(day, &bounds).map_err(|(setting, max)| Exceeded {
        limit: LimitName { scope, setting },
        max,
        period: Period::Day,
        retry_after_seconds: seconds_left(now),
    })
}
