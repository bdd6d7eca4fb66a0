//! The ledger of one process: rates by `governor`, the day by [`Daily`].

use std::{hash::Hash, sync::Arc};

use governor::clock::Clock;

use super::{
    charge::{Charge, day_bounds, too_fast, used_up},
    class::Class,
    daily::{Daily, DayUsage, seconds_left},
    exceeded::{Exceeded, Scope},
    party::{Parties, Party},
    rate::KeyedRate,
};
use crate::{
    chain::{AccountId, Role},
    config::{PartyLimits, RateLimit},
};

/// The ledger of one process.
#[derive(Debug)]
pub(super) struct LocalLedger<C: Clock> {
    /// By the index of the party.
    of_parties: Vec<PartyRates<C>>,
    of_server: ByClass<(), C>,
    server: PartyLimits,
    daily: Arc<Daily>,
    clock: C,
}

/// The rates of one party.
#[derive(Debug)]
struct PartyRates<C: Clock> {
    account: Option<AccountId>,
    role: Role,
    rates: ByClass<AccountId, C>,
}

/// A rate for each class; none where there is no bound.
#[derive(Debug)]
struct ByClass<K: Hash + Eq + Copy, C: Clock> {
    reads: Option<Arc<KeyedRate<K, C>>>,
    writes: Option<Arc<KeyedRate<K, C>>>,
    lists: Option<Arc<KeyedRate<K, C>>>,
    controls: Option<Arc<KeyedRate<K, C>>>,
}

impl<K: Hash + Eq + Copy, C: Clock + Clone> ByClass<K, C> {
    /// The rates of these limits, after those of `last`.
    fn renewed(last: Option<&Self>, limits: &PartyLimits, clock: &C) -> Self {
        let rate =
            |limit: &RateLimit, class| KeyedRate::renewed(last.and_then(|last| last.of(class)), limit, clock);
        Self {
            reads: rate(&limits.reads, Class::Read),
            writes: rate(&limits.writes, Class::Write),
            lists: rate(&limits.lists, Class::List),
            controls: rate(&limits.controls, Class::Control),
        }
    }

    /// Takes over what was spent of other rates.
    fn absorb(&self, other: &Self) {
        for class in [Class::Read, Class::Write, Class::List, Class::Control] {
            if let (Some(own), Some(other)) = (self.of(class), other.of(class)) {
                own.absorb(other);
            }
        }
    }
}

impl<K: Hash + Eq + Copy, C: Clock> ByClass<K, C> {
    fn of(&self, class: Class) -> Option<&Arc<KeyedRate<K, C>>> {
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
        let of_party = |party: &Party| PartyRates {
            account: party.account,
            role: party.role,
            rates: ByClass::renewed(None, &party.limits, clock),
        };
        Self {
            of_parties: parties.all().map(of_party).collect(),
            of_server: ByClass::renewed(None, parties.server(), clock),
            server: *parties.server(),
            daily,
            clock: clock.clone(),
        }
    }

    /// The same ledger by other limits: what was spent stays spent, of whichever party somebody is now.
    pub(super) fn renewed(&self, parties: &Parties) -> Self {
        let last = |account: Option<AccountId>, role| {
            let is_that = |party: &&PartyRates<C>| (party.account, party.role) == (account, role);
            self.of_parties.iter().find(is_that).map(|party| &party.rates)
        };
        let of_party = |party: &Party| {
            let last = last(party.account, party.role).or_else(|| last(None, party.role));
            let rates = ByClass::renewed(last, &party.limits, &self.clock);
            PartyRates { account: party.account, role: party.role, rates }
        };
        let of_parties: Vec<_> = parties.all().map(of_party).collect();
        // Who has lost an override is one of its role again.
        let is_kept = |gone: &PartyRates<C>| of_parties.iter().any(|party| party.account == gone.account);
        for gone in self.of_parties.iter().filter(|party| !is_kept(party)) {
            let is_role = |party: &&PartyRates<C>| party.account.is_none() && party.role == gone.role;
            if let Some(role) = of_parties.iter().find(is_role) {
                role.rates.absorb(&gone.rates);
            }
        }
        Self {
            of_parties,
            of_server: ByClass::renewed(Some(&self.of_server), parties.server(), &self.clock),
            server: *parties.server(),
            daily: Arc::clone(&self.daily),
            clock: self.clock.clone(),
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
        if let Some(rate) = self.of_parties.get(party.index).and_then(|party| party.rates.of(class)) {
            rate.charge(&principal).map_err(|wait| too_fast(party.scope, &party.limits, class, wait))?;
        }
        if let Some(rate) = self.of_server.of(class) {
            rate.charge(&()).map_err(|wait| too_fast(Scope::Server, &self.server, class, wait))?;
        }
        let [usage, of_all] = self.daily.usage(principal, now);
        let left = seconds_left(now);
        usage.charge(day, &day_bounds(&party.limits)).map_err(|what| used_up(party.scope, what, left))?;
        of_all.charge(day, &day_bounds(&self.server)).map_err(|what| used_up(Scope::Server, what, left))?;
        Ok([usage, of_all])
    }
}
