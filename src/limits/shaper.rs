//! Bytes per second, shaped and not cut: a piece of a body waits until its principal's rate and the server's
//! ceiling allow it, and those who wait for the ceiling share it fairly.
//!
//! [`Schedule`] decides who is next; here are the rates, and the tasks that wait. Where no rate is set, no
//! body has a [`Flow`], and none of this runs.
//!
//! Invariants: a principal that waits for its own rate holds up nobody else; a body that is dropped waits no
//! more; a principal that waits keeps its rate; one task for each direction runs while somebody waits, and
//! ends then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{party::Parties, schedule::Schedule};
use crate::{
    body::gate::Gate,
    chain::AccountId,
    config::{self, PartyLimits},
    policy::Caller,
};

/// What may be passed on at once after a pause: the bytes of so much time. It also makes up for timers that
/// fire late.
const BURST: Duration = Duration::from_millis(100);

/// At least so many newcomers come between two looks through all rates for those that can be forgotten.
const RATES_ROOM_MIN: usize = 512;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From clients to the store.
    In,
    /// From the store to clients.
    Out,
}

impl Way {
    fn rate_of(self, limits: &PartyLimits) -> Option<u64> {
        match self {
            Self::In => limits.bytes_in_per_second,
            Self::Out => limits.bytes_out_per_second,
        }
    }
}

/// The rates of one server.
#[derive(Debug)]
pub(crate) struct Shaper {
    parties: Parties,
    /// None where no rate is set in that direction.
    bytes_in: Option<Arc<Direction>>,
    bytes_out: Option<Arc<Direction>>,
}

impl Shaper {
    /// The rates that are configured.
    pub(crate) fn new(limits: &config::Limits) -> Self {
        let parties = Parties::new(limits);
        let direction = |way: Way| {
            let ceiling = way.rate_of(parties.server());
            let is_set = ceiling.is_some() || parties.all().any(|party| way.rate_of(&party.limits).is_some());
            is_set.then(|| Direction::new(ceiling))
        };
        let (bytes_in, bytes_out) = (direction(Way::In), direction(Way::Out));
        Self { parties, bytes_in, bytes_out }
    }

    /// The same rates with other numbers, and the same who wait for them.
    pub(super) fn renewed(&self, limits: &config::Limits) -> Self {
        let next = Self::new(limits);
        let renewed = |last: &Option<Arc<Direction>>, next: Option<Arc<Direction>>| match (last, next) {
            (Some(last), Some(next)) => {
                last.set_ceiling(next.lock().ceiling.map(|rate| rate.bytes_per_second));
                Some(Arc::clone(last))
            }
            (None, next) => next,
            // Bodies under way go on as they began.
            (Some(_), None) => None,
        };
        Self {
            parties: next.parties,
            bytes_in: renewed(&self.bytes_in, next.bytes_in),
            bytes_out: renewed(&self.bytes_out, next.bytes_out),
        }
    }

    /// What a body of that caller's asks before it passes anything on; none where nothing bounds it.
    pub(crate) fn flow(&self, caller: &Caller, way: Way) -> Option<Flow> {
        let direction = match way {
            Way::In => self.bytes_in.as_ref(),
            Way::Out => self.bytes_out.as_ref(),
        }?;
        let (principal, party) = self.parties.of(caller);
        let rate = way.rate_of(&party.limits);
        let is_bound = rate.is_some() || direction.lock().ceiling.is_some();
        is_bound.then(|| Flow { direction: Arc::clone(direction), principal, rate, waits_as: None })
    }
}

/// A rate, by when it allows the next byte.
#[derive(Debug, Clone, Copy)]
struct Rate {
    bytes_per_second: u64,
    free_at: Instant,
}

impl Rate {
    fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second, free_at: now }
    }

    fn is_free(&self, now: Instant) -> bool {
        self.free_at <= now
    }

    fn spend(&mut self, bytes: u64, now: Instant) {
        let nanoseconds = bytes.saturating_mul(1_000_000_000).checked_div(self.bytes_per_second);
        let time = Duration::from_nanos(nanoseconds.unwrap_or(0));
        let begin = self.free_at.max(now.checked_sub(BURST).unwrap_or(now));
        self.free_at = begin.checked_add(time).unwrap_or(begin);
    }
}

/// Everything in one direction.
#[derive(Debug)]
struct Direction {
    state: Mutex<State>,
    /// Tells the task that looks after those who wait that somebody's turn is sooner.
    sooner: Notify,
}

#[derive(Debug)]
struct State {
    ceiling: Option<Rate>,
    rates: HashMap<AccountId, Rate>,
    /// How many more there may be before all are looked through for those that may be forgotten: as many as
    /// were left the last time, or [`RATES_ROOM_MIN`], so that a look costs each newcomer the same.
    rates_room: usize,
    schedule: Schedule<AccountId>,
    /// Those that were not granted yet, by their number.
    wakers: HashMap<u64, Waker>,
    next_id: u64,
    /// When the task that looks after those who wait wakes; none where there is no such task.
    driven_at: Option<Instant>,
}

impl Direction {
    fn new(ceiling: Option<u64>) -> Arc<Self> {
        let state = State {
            ceiling: ceiling.map(|rate| Rate::new(rate, Instant::now())),
            rates: HashMap::new(),
            rates_room: RATES_ROOM_MIN,
            schedule: Schedule::new(),
            wakers: HashMap::new(),
            next_id: 0,
            driven_at: None,
        };
        Arc::new(Self { state: Mutex::new(state), sooner: Notify::new() })
    }

    fn set_ceiling(&self, bytes_per_second: Option<u64>) {
        let mut state = self.lock();
        let free_at = state.ceiling.map_or_else(Instant::now, |rate| rate.free_at);
        state.ceiling = bytes_per_second.map(|bytes_per_second| Rate { bytes_per_second, free_at });
        drop(state);
        self.sooner.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants turns until nobody waits.
    async fn drive(self: Arc<Self>) {
        loop {
            let next_at = {
                let mut state = self.lock();
                state.driven_at = state.grant(Instant::now());
                state.driven_at
            };
            let Some(next_at) = next_at else { return };
            tokio::select! {
                () = sleep_until(next_at) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

impl State {
    /// Grants all turns that are due; gives when the next one is, if anybody still waits.
    fn grant(&mut self, now: Instant) -> Option<Instant> {
        while self.ceiling.as_ref().is_none_or(|ceiling| ceiling.is_free(now)) {
            let rates = &self.rates;
            let may = |key: &AccountId| rates.get(key).is_none_or(|rate| rate.is_free(now));
            let Some(turn) = self.schedule.turn(may) else { break };
            if let Some(ceiling) = &mut self.ceiling {
                ceiling.spend(turn.bytes, now);
            }
            if let Some(rate) = self.rates.get_mut(&turn.key) {
                rate.spend(turn.bytes, now);
            }
            turn.done.iter().filter_map(|id| self.wakers.remove(id)).for_each(Waker::wake);
        }
        let first =
            self.schedule.keys().map(|key| self.rates.get(key).map_or(now, |rate| rate.free_at)).min()?;
        Some(self.ceiling.as_ref().map_or(first, |ceiling| first.max(ceiling.free_at)))
    }

    /// A piece waits; gives its number.
    fn add(
        &mut self,
        principal: AccountId,
        rate: Option<u64>,
        bytes: u64,
        waker: &Waker,
        now: Instant,
    ) -> u64 {
        if let Some(rate) = rate {
            if self.rates_room == 0 {
                // Whoever waits is charged by its rate when its turn comes.
                self.rates.retain(|key, rate| !rate.is_free(now) || self.schedule.is_waiting(key));
                self.rates_room = self.rates.len().max(RATES_ROOM_MIN);
            }
            let known = self.rates.entry(principal).or_insert_with(|| {
                self.rates_room -= 1;
                Rate::new(rate, now)
            });
            known.bytes_per_second = rate;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.schedule.add(principal, id, bytes);
        self.wakers.insert(id, waker.clone());
        id
    }
}

/// What one body asks before it passes a piece on.
#[derive(Debug)]
pub(crate) struct Flow {
    direction: Arc<Direction>,
    principal: AccountId,
    rate: Option<u64>,
    /// The number of the piece that waits.
    waits_as: Option<u64>,
}

impl Gate for Flow {
    fn poll_pass(&mut self, bytes: u64, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.direction.lock();
        let id = match self.waits_as {
            Some(id) => id,
            None => {
                let now = Instant::now();
                let id = state.add(self.principal, self.rate, bytes, context.waker(), now);
                self.waits_as = Some(id);
                match (state.grant(now), state.driven_at) {
                    (None, _) => {}
                    (Some(next_at), Some(driven_at)) if driven_at <= next_at => {}
                    (Some(_), Some(_)) => self.direction.sooner.notify_one(),
                    (Some(next_at), None) => {
                        state.driven_at = Some(next_at);
                        tokio::spawn(Arc::clone(&self.direction).drive());
                    }
                }
                id
            }
        };
        match state.wakers.get_mut(&id) {
            Some(waker) => {
                waker.clone_from(context.waker());
                Poll::Pending
            }
            None => {
                self.waits_as = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some(id) = self.waits_as {
            let mut state = self.direction.lock();
            if state.wakers.remove(&id).is_some() {
                state.schedule.remove(self.principal, id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::task::noop_waker;

    use super::*;
    use crate::limits::tests::settings;

    fn principal(byte: u8) -> AccountId {
        AccountId::from_bytes([byte; 32]).unwrap()
    }

    /// A direction whose time is that of the test.
    struct Simulation {
        direction: Arc<Direction>,
        begun_at: Instant,
        now: Instant,
    }

    impl Simulation {
        fn new(ceiling: Option<u64>) -> Self {
            let direction = Direction::new(ceiling);
            let now = Instant::now() + Duration::from_secs(1);
            Self { direction, begun_at: now, now }
        }

        fn add(&self, byte: u8, rate: Option<u64>, bytes: u64) -> u64 {
            let mut state = self.direction.lock();
            let id = state.add(principal(byte), rate, bytes, &noop_waker(), self.now);
            state.grant(self.now);
            id
        }

        fn waits(&self, id: u64) -> bool {
            self.direction.lock().wakers.contains_key(&id)
        }

        /// Goes on to the next moment in which somebody's turn is due.
        fn step(&mut self) {
            let next_at = self.direction.lock().grant(self.now);
            self.now = next_at.unwrap_or(self.now);
            self.direction.lock().grant(self.now);
        }

        /// Passes a piece on; gives the time that it took.
        fn pass(&mut self, byte: u8, rate: Option<u64>, bytes: u64) -> Duration {
            let (since, id) = (self.now, self.add(byte, rate, bytes));
            while self.waits(id) {
                self.step();
            }
            self.now - since
        }
    }

    #[test]
    fn p58_a_rate_holds_on_average_and_costs_others_nothing() {
        let mut simulation = Simulation::new(None);
        for _ in 0..100 {
            simulation.pass(1, Some(1_000_000), 100_000);
            assert_eq!(simulation.pass(2, None, 100_000_000), Duration::ZERO);
        }
        // Ten seconds, less the burst and the last turn.
        let took = simulation.now - simulation.begun_at;
        assert!(took > Duration::from_millis(9700) && took < Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn p58_who_waits_for_a_moment_is_not_behind_who_waits_for_long() {
        let mut simulation = Simulation::new(None);
        simulation.pass(1, Some(1000), 60_000);
        let slow = simulation.add(1, Some(1000), 1);
        let took: Duration = (0..10).map(|_| simulation.pass(2, Some(1_000_000), 100_000)).sum();
        assert!(took < Duration::from_secs(1) && simulation.waits(slow), "{took:?}");
        simulation.step();
        assert!(!simulation.waits(slow) && simulation.now - simulation.begun_at > Duration::from_secs(59));
    }

    #[test]
    fn p58_under_a_ceiling_a_quiet_principal_is_not_behind_a_noisy_one() {
        let mut simulation = Simulation::new(Some(1_000_000));
        for _ in 0..1000 {
            simulation.add(1, None, 65_536);
        }
        for _ in 0..10 {
            // Its turn comes after the one that is being paid for, and one more of the other.
            let took = simulation.pass(2, None, 65_536);
            assert!(took <= Duration::from_millis(132), "{took:?}");
        }
    }

    #[test]
    fn p58_who_owes_time_still_owes_it_when_many_others_have_come() {
        let mut simulation = Simulation::new(None);
        let step = Duration::from_millis(1);
        simulation.pass(200, Some(1000), 60_000);
        for number in 0..5000_u32 {
            let mut bytes = [9; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let mut state = simulation.direction.lock();
            let principal = AccountId::from_bytes(bytes).unwrap();
            state.add(principal, Some(1_000_000), 1, &noop_waker(), simulation.now);
            state.grant(simulation.now);
            drop(state);
            simulation.now += step;
        }
        assert!(simulation.direction.lock().rates.len() <= 2 * RATES_ROOM_MIN);
        let late = simulation.add(200, Some(1000), 1);
        assert!(simulation.waits(late), "a minute's bytes were passed on five seconds ago");
    }

    #[test]
    fn p58_rates_of_many_who_were_busy_at_once_are_forgotten_when_they_owe_nothing() {
        let mut simulation = Simulation::new(None);
        let numbered = |number: u32| {
            let mut bytes = [9; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            AccountId::from_bytes(bytes).unwrap()
        };
        for number in 0..5000 {
            if number == 2500 {
                let state = simulation.direction.lock();
                assert_eq!(state.rates.len(), 2500, "each of them owes time");
                assert_eq!(state.rates_room, 4096 - 2500, "they were looked through at 512, 1024 and 2048");
                drop(state);
                simulation.now += Duration::from_secs(60);
            }
            let mut state = simulation.direction.lock();
            state.add(numbered(number), Some(1000), 10_000, &noop_waker(), simulation.now);
            state.grant(simulation.now);
        }
        assert_eq!(simulation.direction.lock().rates.len(), 2500);
    }

    #[test]
    fn p58_who_waits_keeps_its_rate_when_many_others_come() {
        let mut simulation = Simulation::new(Some(1_000_000));
        // The ceiling is taken for a while, and the one who waits for it owes nothing of its own yet.
        simulation.add(1, None, 1_000_000);
        let slow = simulation.add(2, Some(1000), 200_000);
        assert!(simulation.direction.lock().rates.values().all(|rate| rate.is_free(simulation.now)));
        for number in 0..2 * RATES_ROOM_MIN {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let principal = AccountId::from_bytes(bytes).unwrap();
            simulation.direction.lock().add(principal, Some(1000), 1, &noop_waker(), simulation.now);
        }
        while simulation.waits(slow) {
            simulation.step();
        }
        let took = simulation.now - simulation.begun_at;
        assert!(took > Duration::from_secs(120), "{took:?}");
    }

    fn caller(role: crate::chain::Role) -> Caller {
        let owner = Arc::new(crate::chain::Owner::new(principal(1), principal(2)));
        Caller { hotkey: principal(1), owner, role }
    }

    #[test]
    fn p58_a_body_asks_where_a_rate_of_its_own_or_of_the_server_bounds_it() {
        use crate::chain::Role::{Miner, Validator};
        let shaper = Shaper::new(&settings("[limits.miner]\nbytes_in_per_second = 1000"));
        assert_eq!(shaper.flow(&caller(Miner), Way::In).unwrap().rate, Some(1000));
        assert!(shaper.flow(&caller(Miner), Way::Out).is_none());
        assert!(shaper.flow(&caller(Validator), Way::In).is_none());
        let of_all = "[limits.server]\nbytes_out_per_second = 5000\n[limits.validator]\n\
                      bytes_out_per_second = 2000";
        let shaper = Shaper::new(&settings(of_all));
        assert_eq!(shaper.flow(&caller(Miner), Way::Out).unwrap().rate, None);
        assert_eq!(shaper.flow(&caller(Validator), Way::Out).unwrap().rate, Some(2000));
        assert!(shaper.flow(&caller(Miner), Way::In).is_none());
        assert!(Shaper::new(&settings("")).flow(&caller(Miner), Way::Out).is_none());
    }

    #[test]
    fn p58_another_ceiling_counts_for_those_who_wait_already() {
        let of = |rate: u64| settings(&format!("[limits.server]\nbytes_in_per_second = {rate}"));
        let shaper = Shaper::new(&of(1000));
        let flow = shaper.flow(&caller(crate::chain::Role::Miner), Way::In).unwrap();
        let renewed = shaper.renewed(&of(1_000_000));
        let after = renewed.flow(&caller(crate::chain::Role::Miner), Way::In).unwrap();
        assert!(Arc::ptr_eq(&flow.direction, &after.direction));
        assert_eq!(flow.direction.lock().ceiling.unwrap().bytes_per_second, 1_000_000);
        let free = shaper.renewed(&settings(""));
        assert!(free.flow(&caller(crate::chain::Role::Miner), Way::In).is_none());
    }

    #[tokio::test]
    async fn p58_who_is_granted_its_turn_by_others_is_woken_in_time() {
        // No ceiling: each waits for its own rate, and one that comes later may be due sooner.
        let direction = Direction::new(None);
        let flow = |byte: u8, rate: u64| Flow {
            direction: Arc::clone(&direction),
            principal: principal(byte),
            rate: Some(rate),
            waits_as: None,
        };
        let (mut slow, mut quick) = (flow(1, 1000), flow(2, 1_000_000));
        poll_fn(|context| slow.poll_pass(30_000, context)).await;
        poll_fn(|context| quick.poll_pass(7 * 65_536, context)).await;
        let begun_at = Instant::now();
        let mut context = Context::from_waker(Waker::noop());
        assert!(slow.poll_pass(1, &mut context).is_pending(), "it waits for half a minute");
        // The task that looks after it goes to sleep for as long.
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::from_secs(10), poll_fn(|context| quick.poll_pass(1, context)))
            .await
            .unwrap();
        assert!(begun_at.elapsed() < Duration::from_secs(5), "{:?}", begun_at.elapsed());
    }

    #[tokio::test]
    async fn p58_a_body_waits_for_its_rate_and_one_that_is_dropped_waits_no_more() {
        let direction = Direction::new(Some(1_000_000));
        let flow = || Flow {
            direction: Arc::clone(&direction),
            principal: principal(1),
            rate: None,
            waits_as: None,
        };
        let (mut first, mut second, mut third) = (flow(), flow(), flow());
        // The burst and a turn pass at once; what comes then waits for the task that is started.
        for flow in [&mut first, &mut second] {
            for _ in 0..3 {
                poll_fn(|context| flow.poll_pass(65_536, context)).await;
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        assert!(third.poll_pass(10_000_000, &mut context).is_pending());
        assert!(!direction.lock().schedule.is_empty());
        drop(third);
        assert!(direction.lock().schedule.is_empty() && direction.lock().wakers.is_empty());
    }
}
