//! What one address may do before anybody is known: requests, and hotkeys' signatures that turn out false.
//!
//! What is valid is charged to its principal and never to its address (P17), and that shows only afterwards.
//! So a failure is charged when it has happened; an address that has nothing left is a debtor for as long as
//! its rate says, and a debtor is refused before it costs anything.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::clock::{Clock, Reference as _};

use super::{
    exceeded::{Exceeded, LimitName, Period, Scope},
    rate::{KeyedRate, seconds},
};
use crate::config;

/// Debtors that are remembered at one time; whoever is beyond is refused once it is charged again.
const DEBTORS_MAX: usize = 65_536;

/// Debtors that are not worth looking through.
const DEBTORS_ROOM_MIN: usize = 64;

/// Who sends a request, as far as its connection tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sender {
    /// The trusted edge, which did not say for whom: it stands for many, and no address is charged.
    Edge,
    /// One address; in IPv6 the /64 that a host calls from.
    Network(IpAddr),
}

impl Sender {
    /// The sender at a client's address.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 => v4,
        })
    }
}

/// Charges addresses.
#[derive(Debug)]
pub(super) struct Addresses<C: Clock> {
    requests: Debts<C>,
    signatures: Debts<C>,
}

impl<C: Clock + Clone> Addresses<C> {
    pub(super) fn new(limits: &config::AddressLimits, clock: &C) -> Self {
        let debts = |setting, limit: &config::RateLimit| Debts {
            rate: KeyedRate::new(limit, clock).map(Arc::new),
            debtors: Arc::default(),
            clock: clock.clone(),
            limit: LimitName { scope: Scope::Address, setting },
            max: number_of(limit),
        };
        Self {
            requests: debts("requests_per_second", &limits.requests),
            signatures: debts("signature_failures_per_second", &limits.signature_failures),
        }
    }

    /// The same addresses by other limits.
    pub(super) fn renewed(&self, limits: &config::AddressLimits) -> Self {
        Self {
            requests: self.requests.renewed(&limits.requests),
            signatures: self.signatures.renewed(&limits.signature_failures),
        }
    }

    /// Whether an address may ask anything.
    pub(super) fn check_requests(&self, sender: Sender) -> Result<(), Exceeded> {
        self.requests.check(sender)
    }

    /// Whether an address may have a hotkey's signature checked.
    pub(super) fn check_signatures(&self, sender: Sender) -> Result<(), Exceeded> {
        self.signatures.check(sender)
    }

    /// Charges a request that was not a registered hotkey's within its limits.
    pub(super) fn charge_request(&self, sender: Sender) {
        self.requests.charge(sender);
    }

    /// Charges a hotkey's signature that was checked and is false.
    pub(super) fn charge_signature(&self, sender: Sender) {
        self.signatures.charge(sender);
    }
}

/// One rate by address, and who has nothing left of it.
#[derive(Debug)]
struct Debts<C: Clock> {
    rate: Option<Arc<KeyedRate<IpAddr, C>>>,
    debtors: Arc<Debtors<C::Instant>>,
    clock: C,
    limit: LimitName,
    max: u64,
}

fn number_of(limit: &config::RateLimit) -> u64 {
    limit.per_second.map_or(u64::MAX, |rate| rate.get().into())
}

impl<C: Clock + Clone> Debts<C> {
    /// By another limit. Whoever is a debtor waits as long as it was told.
    fn renewed(&self, limit: &config::RateLimit) -> Self {
        Self {
            rate: KeyedRate::renewed(self.rate.as_ref(), limit, &self.clock),
            debtors: match limit.per_second {
                Some(_) => Arc::clone(&self.debtors),
                None => Arc::default(),
            },
            clock: self.clock.clone(),
            limit: self.limit,
            max: number_of(limit),
        }
    }
}

impl<C: Clock> Debts<C> {
    fn check(&self, sender: Sender) -> Result<(), Exceeded> {
        let Sender::Network(address) = sender else { return Ok(()) };
        if self.debtors.are_none() {
            return Ok(());
        }
        let now = self.clock.now();
        match self.debtors.until(&address).filter(|until| *until > now) {
            None => Ok(()),
            Some(until) => Err(Exceeded {
                limit: self.limit,
                max: self.max,
                period: Period::Moments,
                retry_after_seconds: seconds(until.duration_since(now).into()),
            }),
        }
    }

    fn charge(&self, sender: Sender) {
        let (Sender::Network(address), Some(rate)) = (sender, &self.rate) else { return };
        if let Err(wait) = rate.charge(&address) {
            let now = self.clock.now();
            self.debtors.add(address, now + wait.into(), now);
        }
    }
}

/// Until when which address is refused.
#[derive(Debug)]
struct Debtors<I> {
    table: Mutex<Table<I>>,
    /// How many there are: mostly none, and then nothing is looked up.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Table<I> {
    until: HashMap<IpAddr, I>,
    /// How many come before those whose time is over are let go: as many as there were, so that looking at
    /// all of them costs each the same.
    room: usize,
}

impl<I> Default for Debtors<I> {
    fn default() -> Self {
        let table = Table { until: HashMap::new(), room: DEBTORS_ROOM_MIN };
        Self { table: Mutex::new(table), count: AtomicUsize::new(0) }
    }
}

impl<I: Ord + Copy> Debtors<I> {
    fn are_none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn until(&self, address: &IpAddr) -> Option<I> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).until.get(address).copied()
    }

    fn add(&self, address: IpAddr, until: I, now: I) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.room == 0 {
            table.until.retain(|_, until| *until > now);
            table.room = table.until.len().max(DEBTORS_ROOM_MIN);
        }
        table.room = table.room.saturating_sub(1);
        if table.until.len() < DEBTORS_MAX {
            table.until.insert(address, until);
        }
        self.count.store(table.until.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn addresses(clock: &FakeRelativeClock) -> Addresses<FakeRelativeClock> {
        let rate = |per_second, burst| config::RateLimit {
            per_second: NonZeroU32::new(per_second),
            burst: NonZeroU32::new(burst).unwrap(),
        };
        let limits = config::AddressLimits {
            requests: rate(10, 20),
            signature_failures: rate(1, 3),
            connections_max: None,
            buffered_bytes_max: None,
        };
        Addresses::new(&limits, clock)
    }

    fn at(text: &str) -> Sender {
        Sender::at(text.parse().unwrap())
    }

    #[test]
    fn p17_in_ipv6_an_address_is_its_64() {
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    }

    #[test]
    fn p17_failures_make_a_debtor_for_as_long_as_the_rate_says() {
        let clock = FakeRelativeClock::default();
        let addresses = addresses(&clock);
        let (one, other) = (at("10.0.0.1"), at("10.0.0.2"));
        for _ in 0..3 {
            addresses.check_signatures(one).unwrap();
            addresses.charge_signature(one);
        }
        // The burst is spent, and the next failure is one too many.
        addresses.check_signatures(one).unwrap();
        addresses.charge_signature(one);
        let exceeded = addresses.check_signatures(one).unwrap_err();
        assert_eq!(exceeded.limit.to_string(), "limits.address.signature_failures_per_second");
        assert_eq!((exceeded.max, exceeded.retry_after_seconds), (1, 1));
        // Others, and what costs no signature, are as before.
        addresses.check_signatures(other).unwrap();
        addresses.check_requests(one).unwrap();
        clock.advance(Duration::from_secs(1));
        addresses.check_signatures(one).unwrap();
    }

    #[test]
    fn p17_a_refusal_names_the_rate_of_its_limit() {
        let clock = FakeRelativeClock::default();
        let addresses = addresses(&clock);
        let one = at("10.0.0.1");
        (0..21).for_each(|_| addresses.charge_request(one));
        let exceeded = addresses.check_requests(one).unwrap_err();
        assert_eq!(exceeded.limit.to_string(), "limits.address.requests_per_second");
        assert_eq!((exceeded.max, exceeded.retry_after_seconds), (10, 1));
    }

    #[test]
    fn p17_a_debtor_stays_one_however_many_come_after_it() {
        let clock = FakeRelativeClock::default();
        let addresses = addresses(&clock);
        let hosts: Vec<_> =
            (0..1000_u32).map(|host| Sender::at(std::net::Ipv4Addr::from_bits(host).into())).collect();
        for host in &hosts {
            (0..4).for_each(|_| addresses.charge_signature(*host));
        }
        assert!(hosts.iter().all(|host| addresses.check_signatures(*host).is_err()));
        clock.advance(Duration::from_secs(1));
        assert!(hosts.iter().all(|host| addresses.check_signatures(*host).is_ok()));
    }

    #[test]
    fn p17_an_edge_that_names_nobody_is_nobody() {
        let clock = FakeRelativeClock::default();
        let addresses = addresses(&clock);
        (0..1000).for_each(|_| addresses.charge_request(Sender::Edge));
        addresses.check_requests(Sender::Edge).unwrap();
    }

    #[test]
    fn p17_in_the_long_run_an_address_has_its_rate() {
        let clock = FakeRelativeClock::default();
        let addresses = addresses(&clock);
        let one = at("10.0.0.1");
        let mut admitted = 0;
        for _ in 0..10_000 {
            if addresses.check_requests(one).is_ok() {
                admitted += 1;
                addresses.charge_request(one);
            }
            clock.advance(Duration::from_millis(1));
        }
        // 10 s at 10 a second and a burst of 20; each time it has nothing left, one more gets by.
        assert!((100..=250).contains(&admitted), "{admitted}");
    }

    #[test]
    fn p17_debtors_are_forgotten_when_their_time_is_over() {
        let clock = FakeRelativeClock::default();
        let addresses = addresses(&clock);
        for host in 0..1000_u32 {
            let address = Sender::at(std::net::Ipv4Addr::from_bits(host).into());
            (0..5).for_each(|_| addresses.charge_signature(address));
            clock.advance(Duration::from_secs(2));
        }
        assert!(addresses.signatures.debtors.table.lock().unwrap().until.len() <= 2 * DEBTORS_ROOM_MIN);
    }

    /// A point in time that counts how often two are compared.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Point(u32);

    thread_local! {
        static COMPARED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    impl Ord for Point {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Point {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn p17_to_look_for_those_whose_time_is_over_costs_each_debtor_the_same() {
        let debtors = Debtors::default();
        let address = |host: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(host));
        for host in 0..4096 {
            debtors.add(address(host), Point(2), Point(1));
        }
        assert!(COMPARED.get() <= 3 * 4096, "{}", COMPARED.get());
        assert_eq!(debtors.table.lock().unwrap().until.len(), 4096, "the time of none of them is over");
        // At the very time at which it is over it is over.
        for host in 0..4096 {
            debtors.add(address(5000 + host), Point(3), Point(2));
        }
        assert!(debtors.until(&address(0)).is_none() && debtors.until(&address(5000)).is_some());
    }
}
