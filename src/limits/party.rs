//! Whose limits count for a caller: those of its role, or of an override.

use std::{collections::HashMap, num::NonZeroU32};

use super::exceeded::Scope;
use crate::{
    chain::{AccountId, Role},
    config::{self, PartyLimits, PrincipalKey, RateLimit, Share},
    policy::Caller,
};

/// The limits of one role, or of one override in one role; each principal has them by itself.
#[derive(Debug)]
pub(super) struct Party {
    /// Its place among [`Parties::all`].
    pub(super) index: usize,
    pub(super) scope: Scope,
    /// Whose override it is.
    pub(super) account: Option<AccountId>,
    pub(super) role: Role,
    pub(super) limits: PartyLimits,
}

/// The parties of a configuration.
#[derive(Debug)]
pub(super) struct Parties {
    miner: Party,
    validator: Party,
    /// For a miner and for a validator, one after the other.
    overrides: Vec<[Party; 2]>,
    by_account: HashMap<AccountId, usize>,
    server: PartyLimits,
    key: PrincipalKey,
}

impl Parties {
    pub(super) fn new(limits: &config::Limits) -> Self {
        let mut index = 0;
        let mut party = |scope, account, role, limits: &PartyLimits| {
            let party = Party { index, scope, account, role, limits: *limits };
            index += 1;
            party
        };
        let miner = party(Scope::Role(Role::Miner), None, Role::Miner, &limits.miner);
        let validator = party(Scope::Role(Role::Validator), None, Role::Validator, &limits.validator);
        let mut overrides = Vec::new();
        let mut by_account = HashMap::new();
        for (at, other) in limits.overrides.iter().enumerate() {
            overrides.push([
                party(Scope::Override, Some(other.account), Role::Miner, &other.miner),
                party(Scope::Override, Some(other.account), Role::Validator, &other.validator),
            ]);
            by_account.insert(other.account, at);
        }
        Self { miner, validator, overrides, by_account, server: limits.server, key: limits.principal }
    }

    /// All of them, in the order of their indices.
    pub(super) fn all(&self) -> impl Iterator<Item = &Party> {
        [&self.miner, &self.validator].into_iter().chain(self.overrides.iter().flatten())
    }

    /// The same parties with a share of what replicas grant together.
    pub(super) fn with_share(limits: &config::Limits, share: Share) -> Self {
        let mut limits = limits.clone();
        let own = [&mut limits.miner, &mut limits.validator, &mut limits.server];
        let others = limits.overrides.iter_mut().flat_map(|other| [&mut other.miner, &mut other.validator]);
        own.into_iter().chain(others).for_each(|limits| *limits = share_of(limits, share));
        Self::new(&limits)
    }

    /// The party of an index.
    pub(super) fn at(&self, index: usize) -> Option<&Party> {
        self.all().nth(index)
    }

    /// What all principals together may do.
    pub(super) fn server(&self) -> &PartyLimits {
        &self.server
    }

    /// Whom a caller is charged as, and by which limits. A hotkey's own override comes before its coldkey's.
    pub(super) fn of(&self, caller: &Caller) -> (AccountId, &Party) {
        let coldkey = caller.owner.coldkey_account();
        let principal = match self.key {
            PrincipalKey::Hotkey => caller.hotkey,
            PrincipalKey::Coldkey => coldkey,
        };
        let at = match self.by_account.is_empty() {
            true => None,
            false => self.by_account.get(&caller.hotkey).or_else(|| self.by_account.get(&coldkey)),
        };
        let party = match (at.and_then(|at| self.overrides.get(*at)), caller.role) {
            // Who may be a validator has a miner's limits until that is known.
            (Some([miner, _]), Role::Miner | Role::Undecided) => miner,
            (Some([_, validator]), Role::Validator) => validator,
            (None, Role::Miner | Role::Undecided) => &self.miner,
            (None, Role::Validator) => &self.validator,
        };
        (principal, party)
    }
}

/// A share of rates and of days; what is under way or flows belongs to each process in any case.
fn share_of(limits: &PartyLimits, share: Share) -> PartyLimits {
    let number = |number: NonZeroU32| {
        u32::try_from(share.of(number.get().into())).ok().and_then(NonZeroU32::new).unwrap_or(number)
    };
    let rate =
        |limit: RateLimit| RateLimit { per_second: limit.per_second.map(number), burst: number(limit.burst) };
    let bound = |bound: Option<u64>| bound.map(|bound| share.of(bound));
    PartyLimits {
        reads: rate(limits.reads),
        writes: rate(limits.writes),
        lists: rate(limits.lists),
        controls: rate(limits.controls),
        requests_per_day_max: bound(limits.requests_per_day_max),
        bytes_per_day_max: bound(limits.bytes_per_day_max),
        vended_requests_per_day_max: bound(limits.vended_requests_per_day_max),
        ..*limits
    }
}
