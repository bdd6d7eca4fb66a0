//! Turns for work that is heavy on the processor, such as reading a large document: few at a time, one for
//! each principal, in the order in which principals come (P58).
//!
//! Invariant: between two turns of one principal every other that waits has one. A turn is for work of this
//! server's own and is never held while a peer is waited for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::exceeded::{Exceeded, LimitName, Period, Scope};
use crate::chain::AccountId;

/// Turns at one time. Each keeps a thread of the runtime busy for some milliseconds.
const TURNS_MAX: usize = 4;

/// How long one waits for a turn: hundreds of others' turns.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Principals whose place is kept although nobody waits there.
const IDLE_MAX: usize = 256;

/// Gives turns.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// One place at `all` for each principal.
    places: Mutex<HashMap<AccountId, Arc<Semaphore>>>,
}

/// A turn; the next begins when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    // In this order: the principal's next in line goes to the end of the others' line.
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(TURNS_MAX)), places: Mutex::default() }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// Where it takes too long.
    pub(super) async fn next(&self, principal: AccountId) -> Result<Turn, Exceeded> {
        self.next_within(principal, WAIT_MAX).await
    }

    async fn next_within(&self, principal: AccountId, wait_max: Duration) -> Result<Turn, Exceeded> {
        let place = self.place(principal);
        let turn = async {
            let place = place.acquire_owned().await.ok()?;
            let turn = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn { _turn: turn, _place: place })
        };
        let turn = tokio::time::timeout(wait_max, turn).await.ok().flatten();
        turn.ok_or(Exceeded {
            limit: LimitName { scope: Scope::Server, setting: "documents_under_way" },
            max: TURNS_MAX as u64,
            period: Period::Moments,
            retry_after_seconds: 1,
        })
    }

    fn place(&self, principal: AccountId) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() > IDLE_MAX {
            places.retain(|_, place| Arc::strong_count(place) > 1);
        }
        Arc::clone(places.entry(principal).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(seed: u8) -> AccountId {
        AccountId::from_bytes([seed; 32]).unwrap()
    }

    #[tokio::test]
    async fn p58_one_principal_has_one_turn_at_a_time_and_others_have_theirs() {
        let turns = Turns::new();
        let first = turns.next(account(1)).await.unwrap();
        let soon = Duration::from_millis(20);
        let exceeded = turns.next_within(account(1), soon).await.unwrap_err();
        assert_eq!(exceeded.limit.scope, Scope::Server);
        let other = turns.next_within(account(2), soon).await.unwrap();
        drop(first);
        let again = turns.next_within(account(1), soon).await.unwrap();
        drop((other, again));
        assert_eq!(turns.all.available_permits(), TURNS_MAX);
    }

    #[tokio::test]
    async fn p58_between_two_turns_of_one_every_other_that_waits_has_one() {
        let turns = Arc::new(Turns::new());
        // All turns are taken by others until everybody waits.
        let mut held = Vec::new();
        for seed in 1..=u8::try_from(TURNS_MAX).unwrap() {
            held.push(turns.next(account(100 + seed)).await.unwrap());
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        // The greedy one asks ten times before anybody else does.
        for seed in [[1; 10].as_slice(), &[2, 3, 4, 5, 6]].concat() {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let turn = turns.next(account(seed)).await.unwrap();
                order.lock().unwrap().push(seed);
                tokio::task::yield_now().await;
                drop(turn);
            }));
            tokio::task::yield_now().await;
        }
        drop(held.pop());
        for task in waiting {
            task.await.unwrap();
        }
        let order = order.lock().unwrap();
        let second = order.iter().enumerate().filter(|(_, seed)| **seed == 1).nth(1).unwrap().0;
        assert!([2, 3, 4, 5, 6].iter().all(|other| order[..second].contains(other)), "{order:?}");
    }

    #[tokio::test]
    async fn p58_places_of_those_who_are_gone_are_not_kept() {
        let turns = Turns::new();
        for seed in 0..2000_u32 {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&seed.to_le_bytes());
            drop(turns.next(AccountId::from_bytes(bytes).unwrap()).await.unwrap());
        }
        assert!(turns.places.lock().unwrap().len() <= IDLE_MAX + 1);
    }

    #[test]
    fn p58_places_are_kept_while_they_are_used_and_not_for_longer() {
        let turns = Turns::new();
        let numbered = |number: u16| {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            AccountId::from_bytes(bytes).unwrap()
        };
        // More at once than are kept idle.
        let used: Vec<_> = (0..1000).map(|number| turns.place(numbered(number))).collect();
        assert!(Arc::ptr_eq(&used[0], &turns.place(numbered(0))), "a principal in use has one place");
        drop(used);
        drop(turns.place(numbered(1000)));
        assert!(turns.places.lock().unwrap().len() <= IDLE_MAX + 1);
    }
}
