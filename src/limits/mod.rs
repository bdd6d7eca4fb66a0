//! What one party can take of the server: every budget has an owner, and whoever has spent its own is told so
//! and costs the others nothing. Example: linkerd2-proxy's local rate limit.
//!
//! Before anybody is known, an address is charged for what turns out false or unregistered ([`address`]).
//! Once a signature was verified, its principal is charged and nobody else (P17): [`Limits::admit`] takes the
//! rate, the day and a place under way at once ([`ledger`]), and gives a [`Ticket`] that lives in the body
//! and in the answer until their end. Bodies that are read as a whole count against a [`budget`] while they
//! come, and large ones take [`turns`] when they are there.
//!
//! Invariants: a refusal by a limit is one to be tried again, and names its setting; nothing is charged for
//! what somebody else sent; memory is bounded however many keys there are; no lock is held while anything is
//! waited for; deciding does no I/O, and its clock is an argument. What replicas share is the one exception,
//! in a room of its own ([`shared`]).

mod address;
mod budget;
mod charge;
mod class;
mod counts;
mod daily;
mod exceeded;
mod ledger;
mod local;
mod party;
mod rate;
mod schedule;
mod shaper;
mod shared;
mod store_places;
mod ticket;
mod turns;

use std::sync::Arc;

pub(crate) use address::Sender;
pub(crate) use budget::Buffered;
pub(crate) use counts::{Counts, Held as HeldCount, Total};
pub(crate) use exceeded::{Exceeded, LimitName, Period, Scope};
use governor::clock::{Clock, DefaultClock};
pub(crate) use shaper::Way;
pub(crate) use shared::{NonceUse, SharedLimitsError, SharedNonces, SharedPlace, Unreachable};
pub(crate) use store_places::{StorePlace, StorePlaces};
pub(crate) use ticket::Ticket;
pub(crate) use turns::Turn;

use self::{
    address::Addresses,
    budget::Budget,
    charge::Charge,
    class::{Class, of_endpoint, of_operation},
    daily::DayCharge,
    ledger::Ledger,
    local::LocalLedger,
    party::Parties,
    shaper::Shaper,
    shared::SharedLedger,
    ticket::BytesUnderWay,
    turns::Turns,
};
use crate::{chain::AccountId, config, endpoint::Endpoint, policy::Caller, s3::Operation, time::UnixTime};

/// Whether the settings of `[limits.shared]` can be used; nothing is connected to.
pub(crate) fn check_shared(limits: &config::Limits) -> Result<(), SharedLimitsError> {
    limits.shared.as_ref().map_or(Ok(()), shared::check)
}

/// How what replicas share does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedState {
    /// This process counts by itself, by setting.
    NotShared,
    /// Redis answers.
    Connected,
    /// Redis does not answer, and a share of the limits is granted.
    Alone,
    /// Redis does not answer, and requests are refused.
    Refusing,
}

/// The limits of one server; built once, shared by all requests.
#[derive(Debug)]
pub(crate) struct Limits<C: Clock = DefaultClock> {
    parties: Parties,
    address: config::AddressLimits,
    addresses: Addresses<C>,
    ledger: Ledger<C>,
    requests_of_principals: Arc<Counts<AccountId>>,
    requests_of_all: Arc<Total>,
    bytes_of_principals: Arc<Counts<AccountId>>,
    bytes_of_all: Arc<Total>,
    budget: Budget,
    turns: Arc<Turns>,
    shaper: Shaper,
}

impl Limits {
    /// The limits that are configured. Those that replicas share are connected to first, for no longer than
    /// a request would wait.
    ///
    /// # Errors
    /// Where the settings of `[limits.shared]` cannot be used.
    pub(crate) async fn start(limits: &config::Limits) -> Result<Self, SharedLimitsError> {
        let limits = Self::with_clock(limits, &DefaultClock::default())?;
        match &limits.ledger {
            Ledger::Local(_) => {}
            Ledger::Shared(ledger) => ledger.tried().await,
        }
        Ok(limits)
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn with_clock(limits: &config::Limits, clock: &C) -> Result<Self, SharedLimitsError> {
        let parties = Parties::new(limits);
        let ledger = match &limits.shared {
            None => Ledger::Local(Box::new(LocalLedger::new(&parties, clock, Arc::default()))),
            Some(shared) => Ledger::Shared(Box::new(SharedLedger::start(limits, shared, clock)?)),
        };
        Ok(Self {
            address: limits.address,
            addresses: Addresses::new(&limits.address, clock),
            ledger,
            requests_of_principals: Counts::new(),
            requests_of_all: Arc::default(),
            bytes_of_principals: Counts::new(),
            bytes_of_all: Arc::default(),
            budget: Budget::new(limits.server.buffered_bytes_max),
            turns: Arc::new(Turns::new()),
            shaper: Shaper::new(limits),
            parties,
        })
    }

    /// The same limits by other numbers: what was spent stays spent, and what is held stays held. Where and
    /// with whom they are counted stays as it was.
    pub(crate) fn renewed(&self, limits: &config::Limits) -> Self {
        let parties = Parties::new(limits);
        let ledger = match &self.ledger {
            Ledger::Local(ledger) => Ledger::Local(Box::new(ledger.renewed(&parties))),
            Ledger::Shared(ledger) => Ledger::Shared(Box::new(ledger.renewed(limits))),
        };
        Self {
            address: limits.address,
            addresses: self.addresses.renewed(&limits.address),
            ledger,
            requests_of_principals: Arc::clone(&self.requests_of_principals),
            requests_of_all: Arc::clone(&self.requests_of_all),
            bytes_of_principals: Arc::clone(&self.bytes_of_principals),
            bytes_of_all: Arc::clone(&self.bytes_of_all),
            budget: self.budget.renewed(limits.server.buffered_bytes_max),
            turns: Arc::clone(&self.turns),
            shaper: self.shaper.renewed(limits),
            parties,
        }
    }

    /// Bytes per second.
    pub(crate) fn shaper(&self) -> &Shaper {
        &self.shaper
    }

    /// The nonces that replicas share; none where each remembers its own.
    pub(crate) fn shared_nonces(&self) -> Option<SharedNonces> {
        match &self.ledger {
            Ledger::Local(_) => None,
            Ledger::Shared(ledger) => Some(ledger.nonces()),
        }
    }

    /// How what replicas share does.
    pub(crate) fn shared_state(&self) -> SharedState {
        match &self.ledger {
            Ledger::Local(_) => SharedState::NotShared,
            Ledger::Shared(ledger) => ledger.state(),
        }
    }

    /// Reports what was not reported yet to the other replicas; for the end.
    pub(crate) async fn settle(&self, now: UnixTime) {
        match &self.ledger {
            Ledger::Local(_) => {}
            Ledger::Shared(ledger) => ledger.settle(now).await,
        }
    }

    /// Whether an address may ask anything. Stands before everything else.
    ///
    /// # Errors
    /// Where the address has asked too much that was refused.
    pub(crate) fn check_requests(&self, sender: Sender) -> Result<(), Exceeded> {
        self.addresses.check_requests(sender)
    }

    /// Charges an address for a request that was not admitted, whatever the reason: unsigned, false,
    /// unregistered, or beyond its principal's limits.
    pub(crate) fn charge_request(&self, sender: Sender) {
        self.addresses.charge_request(sender);
    }

    /// Whether an address may have a hotkey's signature checked. Stands before every such check (P59).
    ///
    /// # Errors
    /// Where too many of its signatures were false.
    pub(crate) fn check_signatures(&self, sender: Sender) -> Result<(), Exceeded> {
        self.addresses.check_signatures(sender)
    }

    /// Charges an address for a signature of a hotkey that was checked and is false.
    pub(crate) fn charge_signature(&self, sender: Sender) {
        self.addresses.charge_signature(sender);
    }

    /// Admits a request of S3 by a caller whose signature was verified.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        operation: Operation,
        now: UnixTime,
    ) -> Result<Ticket, Exceeded> {
        self.admit_as(caller, of_operation(operation), now).await
    }

    /// Admits a request to an endpoint by a caller whose signature was verified.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub(crate) async fn admit_to(
        &self,
        caller: &Caller,
        endpoint: Endpoint,
        now: UnixTime,
    ) -> Result<Ticket, Exceeded> {
        let charge = of_endpoint(endpoint).unwrap_or((Class::Control, DayCharge::Request));
        self.admit_as(caller, charge, now).await
    }

    async fn admit_as(
        &self,
        caller: &Caller,
        (class, day): (Class, DayCharge),
        now: UnixTime,
    ) -> Result<Ticket, Exceeded> {
        let (principal, party) = self.parties.of(caller);
        let server = self.parties.server();
        let exceeded = |scope, max| Exceeded {
            limit: LimitName { scope, setting: "requests_under_way_max" },
            max,
            period: Period::Moments,
            retry_after_seconds: 1,
        };
        // What is only held comes before what is spent: a refusal gives it back.
        let max = party.limits.requests_under_way_max.unwrap_or(u64::MAX);
        let of_principal = self.requests_of_principals.try_add(principal, 1, max);
        let of_principal = of_principal.ok_or_else(|| exceeded(party.scope, max))?;
        let max = server.requests_under_way_max.unwrap_or(u64::MAX);
        let of_all = self.requests_of_all.try_add(1, max);
        let of_all = of_all.ok_or_else(|| exceeded(Scope::Server, max))?;
        let usage = self.ledger.charge(&Charge { principal, party, class, day, now }).await?;
        let bytes = BytesUnderWay {
            of_principals: Arc::clone(&self.bytes_of_principals),
            of_all: Arc::clone(&self.bytes_of_all),
            principal_max: party.limits.bytes_under_way_max,
            server_max: server.bytes_under_way_max,
        };
        let buffered_bytes_max = party.limits.buffered_bytes_max;
        Ok(Ticket::new(principal, party.scope, usage, bytes, buffered_bytes_max, (of_principal, of_all)))
    }

    /// How many requests are under way of each principal, in no order.
    pub(crate) fn requests_under_way(&self) -> Vec<(AccountId, u64)> {
        self.requests_of_principals.all()
    }

    /// Begins to buffer the body of a request of which only the sender is known.
    ///
    /// # Errors
    /// Where the sender, or everybody together, holds too much.
    pub(crate) fn buffer_of_sender(&self, sender: Sender) -> Result<Buffered, Exceeded> {
        self.budget.begin_of_sender(sender, self.address.buffered_bytes_max)
    }

    /// Begins to buffer the body of an admitted request.
    ///
    /// # Errors
    /// Where its principal, or everybody together, holds too much.
    pub(crate) fn buffer(&self, ticket: &Ticket) -> Result<Buffered, Exceeded> {
        self.budget.begin_of_principal(ticket.principal(), ticket.scope(), ticket.buffered_bytes_max())
    }

    /// Waits for the turn of an admitted request to do what is heavy on the processor.
    ///
    /// # Errors
    /// Where that takes too long.
    pub(crate) async fn turn(&self, ticket: &Ticket) -> Result<Turn, Exceeded> {
        self.turns.next(ticket.principal()).await
    }
}

#[cfg(test)]
mod tests;
