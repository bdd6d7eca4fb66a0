//! What several replicas count together, in Redis or Valkey: rates, days and nonces. \[IO\]
//!
//! Scripts: <https://redis.io/docs/latest/develop/programmability/eval-intro/>,
//! <https://valkey.io/topics/eval-intro/>. A request is one script ([`script`]) that takes all of a charge or
//! nothing, by Redis's own clock. Bytes are counted here as they flow and reported each second, so that a day
//! may be exceeded by what all replicas pass on within a second, and by what is under way when it is used up;
//! what was reported into an outage is lost. While Redis does not answer ([`link`]), limits are counted here,
//! at a share; what was granted by then is reported when it answers again.
//!
//! Invariants: a nonce is spent here or not at all, for a process cannot know what the others have seen; no
//! request waits longer than it is configured.

mod link;
mod script;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use governor::clock::Clock;
use link::Link;
pub(crate) use link::Unreachable;
use script::Keys;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::{
    SharedState,
    charge::Charge,
    daily::{Daily, DayUsage},
    exceeded::{Exceeded, LimitName, Period, Scope},
    local::LocalLedger,
    party::Parties,
};
use crate::{
    chain::AccountId,
    config::{self, OnOutage, PartyLimits, Share, SharedLimits},
    time::UnixTime,
};

/// How often what was counted here is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How many principals are reported at once: a script holds up everybody else while it runs.
const REPORT_MAX: usize = 256;

/// The settings of `[limits.shared]` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("limits.shared: {0}")]
pub struct SharedLimitsError(#[from] redis::RedisError);

/// Whether a client can be made of these settings; nothing is connected to.
pub(super) fn check(settings: &SharedLimits) -> Result<(), SharedLimitsError> {
    link::client(settings)?;
    Ok(())
}

/// The ledger of all replicas.
#[derive(Debug)]
pub(super) struct SharedLedger<C: Clock> {
    reporter: Arc<Reporter>,
    reports_while_used: Arc<Reports>,
    server: PartyLimits,
    outage: Outage<C>,
}

/// The task that reports, which ends with the last ledger.
#[derive(Debug)]
struct Reports(AbortHandle);

/// What holds while Redis does not answer.
#[derive(Debug)]
enum Outage<C: Clock> {
    Local(Box<Alone<C>>),
    Refuse,
}

/// A share of the limits, and who has spent what of it.
#[derive(Debug)]
struct Alone<C: Clock> {
    share: Share,
    parties: Parties,
    ledger: LocalLedger<C>,
}

/// Reports what was counted here.
#[derive(Debug)]
struct Reporter {
    link: Arc<Link>,
    keys: Keys,
    daily: Arc<Daily>,
    place: SharedPlace,
}

/// The nonces that replicas have spent together.
#[derive(Debug, Clone)]
pub(crate) struct SharedNonces {
    link: Arc<Link>,
    keys: Keys,
    place: SharedPlace,
}

/// What tells one place where replicas count together from another, as a digest: Redis, its database, and how
/// its keys begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedPlace(String);

impl SharedPlace {
    fn of(SharedLimits { address, database, prefix, .. }: &SharedLimits) -> Self {
        let text = format!("{address:?} {database} {prefix}");
        Self(hex::encode(digest::digest(&digest::SHA256, text.as_bytes())))
    }
}

/// Whether a nonce was spent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NonceUse {
    /// It is spent now.
    First,
    /// It was spent already, at whichever replica.
    Again,
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<C: Clock + Clone> SharedLedger<C> {
    /// Begins to connect and to report.
    pub(super) fn start(
        limits: &config::Limits,
        shared: &SharedLimits,
        clock: &C,
    ) -> Result<Self, SharedLimitsError> {
        let daily = Arc::<Daily>::default();
        let outage = match shared.on_outage {
            OnOutage::Local(share) => {
                let parties = Parties::with_share(limits, share);
                let ledger = LocalLedger::new(&parties, clock, Arc::clone(&daily));
                Outage::Local(Box::new(Alone { share, parties, ledger }))
            }
            OnOutage::Refuse => Outage::Refuse,
        };
        let link = Arc::new(Link::start(shared)?);
        let reporter = Arc::new(Reporter {
            link,
            keys: Keys::new(&shared.prefix),
            daily,
            place: SharedPlace::of(shared),
        });
        let reports = tokio::spawn(report_for_ever(Arc::clone(&reporter))).abort_handle();
        Ok(Self { reporter, reports_while_used: Arc::new(Reports(reports)), server: limits.server, outage })
    }

    /// The same ledger by other limits; where it counts, and what holds in an outage, are as they were.
    pub(super) fn renewed(&self, limits: &config::Limits) -> Self {
        let outage = match &self.outage {
            Outage::Local(alone) => {
                let parties = Parties::with_share(limits, alone.share);
                let ledger = alone.ledger.renewed(&parties);
                Outage::Local(Box::new(Alone { share: alone.share, parties, ledger }))
            }
            Outage::Refuse => Outage::Refuse,
        };
        let (reporter, reports) = (Arc::clone(&self.reporter), Arc::clone(&self.reports_while_used));
        Self { reporter, reports_while_used: reports, server: limits.server, outage }
    }
}

impl<C: Clock> SharedLedger<C> {
    /// How Redis does.
    pub(super) fn state(&self) -> SharedState {
        match (self.reporter.link.is_up(), &self.outage) {
            (true, _) => SharedState::Connected,
            (false, Outage::Local(_)) => SharedState::Alone,
            (false, Outage::Refuse) => SharedState::Refusing,
        }
    }

    /// Waits for the first attempt to connect, no longer than a request would.
    pub(super) async fn tried(&self) {
        self.reporter.link.tried().await;
    }

    /// Reports what was counted here; for the end.
    pub(super) async fn settle(&self, now: UnixTime) {
        self.reporter.report(now).await;
    }

    /// The nonces.
    pub(super) fn nonces(&self) -> SharedNonces {
        let Reporter { link, keys, place, .. } = &*self.reporter;
        SharedNonces { link: Arc::clone(link), keys: keys.clone(), place: place.clone() }
    }

    /// Charges a request.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(super) async fn charge(&self, charge: &Charge<'_>) -> Result<[Arc<DayUsage>; 2], Exceeded> {
        let Reporter { link, keys, daily, .. } = &*self.reporter;
        let answer = link.run(&keys.charge(charge, &self.server)).await;
        match answer.ok().and_then(|answer| script::outcome(answer, charge, &self.server)) {
            Some(outcome) => outcome.map(|()| daily.usage(charge.principal, charge.now)),
            None => self.charge_alone(charge),
        }
    }

    fn charge_alone(&self, charge: &Charge<'_>) -> Result<[Arc<DayUsage>; 2], Exceeded> {
        let own = match &self.outage {
            Outage::Local(alone) => {
                let party = alone.parties.at(charge.party.index);
                party.map(|party| (party, &alone.ledger))
            }
            Outage::Refuse => None,
        };
        match own {
            Some((party, ledger)) => ledger.charge(&Charge { party, ..*charge }),
            None => Err(Exceeded {
                limit: LimitName { scope: Scope::Shared, setting: "on_outage" },
                max: 0,
                period: Period::Outage,
                retry_after_seconds: 1,
            }),
        }
    }
}

impl Reporter {
    async fn report(&self, now: UnixTime) {
        if !self.link.is_up() {
            return;
        }
        for used in self.daily.take_unreported(now).chunks(REPORT_MAX) {
            // Once at most: whether a report that was not answered has counted, nobody knows.
            if self.link.run(&self.keys.report(used)).await.is_err() {
                return;
            }
        }
    }
}

async fn report_for_ever(reporter: Arc<Reporter>) {
    loop {
        tokio::time::sleep(REPORT_EVERY).await;
        reporter.report(SystemTime::now().into()).await;
    }
}

impl SharedNonces {
    /// Where they are spent.
    pub(crate) fn place(&self) -> &SharedPlace {
        &self.place
    }

    /// Spends a nonce of a hotkey for all replicas; it is remembered for `life`.
    ///
    /// # Errors
    /// Where that cannot be known.
    pub(crate) async fn spend(
        &self,
        hotkey: &AccountId,
        nonce: &str,
        life: Duration,
    ) -> Result<NonceUse, Unreachable> {
        let command = link::spend(&self.keys.nonce(hotkey, nonce), life);
        match self.link.ask::<Option<String>>(&command).await? {
            Some(_) => Ok(NonceUse::First),
            None => Ok(NonceUse::Again),
        }
    }
}

#[cfg(test)]
mod tests;
