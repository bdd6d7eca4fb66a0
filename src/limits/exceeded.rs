//! A limit that is reached: which one, and when it pays to try again.

use std::fmt;

use crate::{
    chain::Role,
    error::{Code, Error, Reason},
};

/// Whose limit it is: the table of `[limits]` in which it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// One address.
    Address,
    /// One principal by its role.
    Role(Role),
    /// One principal that has an override.
    Override,
    /// All principals together.
    Server,
    /// All replicas together, where what they share cannot be reached.
    Shared,
}

/// A limit by the name of its setting; shown as `limits.miner.reads_per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitName {
    /// Whose it is.
    pub(crate) scope: Scope,
    /// The setting in its table.
    pub(crate) setting: &'static str,
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.scope {
            Scope::Address => "address",
            Scope::Role(role) => role.as_str(),
            Scope::Override => "overrides",
            Scope::Server => "server",
            Scope::Shared => "shared",
        };
        write!(f, "limits.{table}.{}", self.setting)
    }
}

/// How long a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    /// Until what is under way has ended, or for moments.
    Moments,
    /// Until the UTC day is over.
    Day,
    /// Until what replicas share can be reached again; nothing is known to be exceeded.
    Outage,
}

/// A limit that is reached. It says nothing of rights or of objects: a refusal by it is always one to be
/// tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// Which one.
    pub(crate) limit: LimitName,
    /// What it allows.
    pub(crate) max: u64,
    /// How long it counts.
    pub(crate) period: Period,
    /// When to try again, in seconds; at least 1.
    pub(crate) retry_after_seconds: u64,
}

/// For a client of S3: `SlowDown`, which its SDK tries again (P49).
impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { limit, max, period, retry_after_seconds } = exceeded;
        let message = match period {
            Period::Moments => format!(
                "Please reduce your request rate: {limit} is reached. Try again in {retry_after_seconds} s."
            ),
            Period::Day => format!(
                "Daily limit of {max} exceeded: {limit}. The day ends in {retry_after_seconds} s, at \
                 midnight UTC."
            ),
            Period::Outage => {
                format!("Limits cannot be counted at the moment. Try again in {retry_after_seconds} s.")
            }
        };
        let detail = match period {
            Period::Moments | Period::Day => format!("{limit} of {max} is reached"),
            Period::Outage => format!("{limit}: what replicas share cannot be reached"),
        };
        Self::new(Code::SlowDown, message)
            .element("Limit", limit.to_string())
            .limit(limit)
            .reason(match period {
                Period::Moments | Period::Day => Reason::LimitReached,
                Period::Outage => Reason::LimitsUnreachable,
            })
            .detail(detail)
            .retry_after(retry_after_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p49_a_limit_is_a_slow_down_with_its_name() {
        let limit = LimitName { scope: Scope::Role(Role::Miner), setting: "reads_per_second" };
        let error = Error::from(Exceeded { limit, max: 5, period: Period::Moments, retry_after_seconds: 3 });
        assert_eq!((error.code, error.retry_after_seconds), (Code::SlowDown, Some(3)));
        assert_eq!(
            error.message,
            "Please reduce your request rate: limits.miner.reads_per_second is reached. Try again in 3 s."
        );
        assert_eq!(error.elements, [("Limit", "limits.miner.reads_per_second".to_owned())]);
        let limit = LimitName { scope: Scope::Override, setting: "requests_per_day_max" };
        let error = Error::from(Exceeded { limit, max: 5, period: Period::Day, retry_after_seconds: 60 });
        assert!(
            error.message.starts_with("Daily limit of 5 exceeded: limits.overrides.requests_per_day_max")
        );
        for (scope, table) in
            [(Scope::Address, "address"), (Scope::Server, "server"), (Scope::Shared, "shared")]
        {
            assert_eq!(LimitName { scope, setting: "x" }.to_string(), format!("limits.{table}.x"));
        }
    }
}
