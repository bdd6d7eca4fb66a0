//! What one request takes of the limits that replicas have in common, and how it is refused.

use std::time::Duration;

use super::{
    class::Class,
    daily::{DayBounds, DayCharge, UsedUp},
    exceeded::{Exceeded, LimitName, Period, Scope},
    party::Party,
    rate::seconds,
};
use crate::{
    chain::AccountId,
    config::{PartyLimits, RateLimit},
    time::UnixTime,
};

/// What one request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) principal: AccountId,
    pub(super) party: &'a Party,
    pub(super) class: Class,
    pub(super) day: DayCharge,
    pub(super) now: UnixTime,
}

/// The rate of a class.
pub(super) fn rate_of(limits: &PartyLimits, class: Class) -> &RateLimit {
    match class {
        Class::Read => &limits.reads,
        Class::Write => &limits.writes,
        Class::List => &limits.lists,
        Class::Control => &limits.controls,
    }
}

/// What one day allows.
pub(super) fn day_bounds(limits: &PartyLimits) -> DayBounds {
    DayBounds {
        requests_max: limits.requests_per_day_max,
        vended_requests_max: limits.vended_requests_per_day_max,
        bytes_max: limits.bytes_per_day_max,
    }
}

/// The refusal by a rate.
pub(super) fn too_fast(scope: Scope, limits: &PartyLimits, class: Class, wait: Duration) -> Exceeded {
    let setting = match class {
        Class::Read => "reads_per_second",
        Class::Write => "writes_per_second",
        Class::List => "lists_per_second",
        Class::Control => "controls_per_second",
    };
    Exceeded {
        limit: LimitName { scope, setting },
        max: rate_of(limits, class).per_second.map_or(u64::MAX, |rate| rate.get().into()),
        period: Period::Moments,
        retry_after_seconds: seconds(wait),
    }
}

/// The refusal by a day's number.
pub(super) fn used_up(scope: Scope, (setting, max): UsedUp, seconds_left: u64) -> Exceeded {
    Exceeded {
        limit: LimitName { scope, setting },
        max,
        period: Period::Day,
        retry_after_seconds: seconds_left,
    }
}
