//! What is said to Redis: the keys, the arguments of the scripts, and what their answers mean.
//!
//! Invariants: a key ends by itself, and names nobody but accounts, which are public; an answer that is not
//! one of the script's is none.

use std::time::Duration;

use crate::{
    chain::AccountId,
    config::{PartyLimits, RateLimit},
    limits::{
        charge::{Charge, day_bounds, rate_of, too_fast, used_up},
        class::Class,
        daily::{DayCharge, Unreported},
        exceeded::{Exceeded, Scope},
        party::Party,
    },
};

/// A script with its text; Redis names it by its digest once it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// Charges a request.
    Charge,
    /// Adds what was counted here.
    Report,
}

impl Script {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Charge => include_str!("charge.lua"),
            Self::Report => include_str!("report.lua"),
        }
    }
}

/// A script with its keys and arguments; each script answers two numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) script: Script,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<String>,
}

/// Makes keys, all with the same beginning.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The rate of a party's principal. An override has rates of its own, in each role, as in one process.
    fn rate(&self, party: &Party, class: Class, principal: &AccountId) -> String {
        let of = match party.scope {
            Scope::Override => "override-",
            Scope::Address | Scope::Role(_) | Scope::Server | Scope::Shared => "",
        };
        let role = party.role.as_str();
        format!("{}rate:{of}{role}:{}:{principal}", self.prefix, word(class))
    }

    fn rate_of_server(&self, class: Class) -> String {
        format!("{}rate:server:{}", self.prefix, word(class))
    }

    /// The day of a principal, or of all together.
    fn day(&self, principal: Option<&AccountId>) -> String {
        match principal {
            Some(principal) => format!("{}day:{principal}", self.prefix),
            None => format!("{}day:server", self.prefix),
        }
    }

    /// A nonce of a hotkey.
    pub(super) fn nonce(&self, hotkey: &AccountId, nonce: &str) -> String {
        format!("{}nonce:{hotkey}:{nonce}", self.prefix)
    }

    /// A key of no meaning, to see that this server may write.
    pub(super) fn trial(&self) -> String {
        format!("{}trial", self.prefix)
    }

    /// Charges a request.
    pub(super) fn charge(&self, charge: &Charge<'_>, server: &PartyLimits) -> Run {
        let Charge { principal, party, class, day, .. } = charge;
        let field = match day {
            DayCharge::Request => "requests",
            DayCharge::Vended => "vended_requests",
            DayCharge::Free => "",
        };
        let limits = [&party.limits, server];
        let [of_principal, of_server] = limits.map(|limits| rate_arguments(rate_of(limits, *class)));
        let [day_of_principal, day_of_server] = limits.map(|limits| day_arguments(limits, *day));
        Run {
            script: Script::Charge,
            keys: vec![
                self.rate(party, *class, principal),
                self.rate_of_server(*class),
                self.day(Some(principal)),
                self.day(None),
            ],
            arguments: [of_principal, of_server]
                .into_iter()
                .flatten()
                .chain([field.to_owned()])
                .chain(day_of_principal)
                .chain(day_of_server)
                .collect(),
        }
    }

    /// Adds what was counted here.
    pub(super) fn report(&self, used: &[(Option<AccountId>, Unreported)]) -> Run {
        let numbers = |used: &Unreported| [used.requests, used.vended_requests, used.bytes];
        Run {
            script: Script::Report,
            keys: used.iter().map(|(principal, _)| self.day(principal.as_ref())).collect(),
            arguments: used
                .iter()
                .flat_map(|(_, used)| numbers(used))
                .map(|number| number.to_string())
                .collect(),
        }
    }

    /// Charges nobody: shows that the script runs, and that it may write.
    pub(super) fn trial_charge(&self) -> Run {
        let arguments = ["1000000", "1000000", "0", "1", "requests", "-1", "-1", "-1", "-1"];
        let day = format!("{}:day", self.trial());
        Run {
            script: Script::Charge,
            keys: vec![self.trial(), self.trial(), day.clone(), day],
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }
}

fn word(class: Class) -> &'static str {
    match class {
        Class::Read => "reads",
        Class::Write => "writes",
        Class::List => "lists",
        Class::Control => "controls",
    }
}

fn rate_arguments(rate: &RateLimit) -> [String; 2] {
    let every = rate.per_second.map_or(0.0, |rate| 1_000_000.0 / f64::from(rate.get()));
    [format!("{every:.6}"), rate.burst.to_string()]
}

fn day_arguments(limits: &PartyLimits, day: DayCharge) -> [String; 2] {
    let bounds = day_bounds(limits);
    let requests_max = match day {
        DayCharge::Request => bounds.requests_max,
        DayCharge::Vended => bounds.vended_requests_max,
        DayCharge::Free => None,
    };
    [requests_max, bounds.bytes_max].map(|max| max.map_or("-1".to_owned(), |max| max.to_string()))
}

/// What the script has answered to a charge; `None` where it is none of its answers.
pub(super) fn outcome(
    [what, wait]: [u64; 2],
    charge: &Charge<'_>,
    server: &PartyLimits,
) -> Option<Result<(), Exceeded>> {
    let Charge { party, class, day, .. } = charge;
    let of_principal = (party.scope, &party.limits);
    let (scope, limits) = if what % 2 == 1 { of_principal } else { (Scope::Server, server) };
    let bounds = day_bounds(limits);
    let (setting, max) = match (what, day) {
        (0, _) => return Some(Ok(())),
        (1 | 2, _) => return Some(Err(too_fast(scope, limits, *class, Duration::from_micros(wait)))),
        (3 | 4, DayCharge::Request) => ("requests_per_day_max", bounds.requests_max),
        (3 | 4, DayCharge::Vended) => ("vended_requests_per_day_max", bounds.vended_requests_max),
        (5 | 6, DayCharge::Request) => ("bytes_per_day_max", bounds.bytes_max),
        (_, DayCharge::Request | DayCharge::Vended | DayCharge::Free) => return None,
    };
    Some(Err(used_up(scope, (setting, max?), wait.max(1))))
}
