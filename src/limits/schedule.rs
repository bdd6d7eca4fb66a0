//! Whose bytes go next: deficit round robin among those who wait. Pure.
//!
//! Source: M. Shreedhar and G. Varghese, "Efficient fair queueing using deficit round robin" (1995).
//!
//! Those who wait take turns. In a turn one may pass on a quantum; what it cannot use now is left for its
//! next turn, and a piece that is larger waits for as many turns as it takes. Invariants: between two turns
//! of one, every other that waits all the while has had a turn; nobody who waits is passed over; what nobody
//! waits for takes no memory.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// What one may pass on in a turn.
pub(super) const QUANTUM_BYTES: u64 = 64 * 1024;

/// The pieces that wait, by whose they are.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    queues: HashMap<K, Queue>,
    /// Whose turn it is, and who comes after.
    order: VecDeque<K>,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes that it may still pass on.
    deficit_bytes: u64,
}

#[derive(Debug)]
struct Piece {
    id: u64,
    /// Bytes that have not been granted yet.
    left_bytes: u64,
}

/// What was granted in one turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn<K> {
    pub(super) key: K,
    pub(super) bytes: u64,
    /// The pieces that may go now.
    pub(super) done: Vec<u64>,
}

impl<K: Copy + Eq + Hash> Schedule<K> {
    pub(super) fn new() -> Self {
        Self { queues: HashMap::new(), order: VecDeque::new() }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether a piece of that one waits.
    pub(super) fn is_waiting(&self, key: &K) -> bool {
        self.queues.contains_key(key)
    }

    /// Those who wait.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.order.iter()
    }

    /// A piece waits.
    pub(super) fn add(&mut self, key: K, id: u64, bytes: u64) {
        let queue = self.queues.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Queue::default()
        });
        queue.pieces.push_back(Piece { id, left_bytes: bytes });
    }

    /// A piece waits no more.
    pub(super) fn remove(&mut self, key: K, id: u64) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.pieces.retain(|piece| piece.id != id);
            if queue.pieces.is_empty() {
                self.queues.remove(&key);
                self.order.retain(|other| *other != key);
            }
        }
    }

    /// Gives the next turn to the first who `may` have one; none where nobody may.
    pub(super) fn turn(&mut self, may: impl Fn(&K) -> bool) -> Option<Turn<K>> {
        let at = self.order.iter().position(may)?;
        let key = self.order.remove(at)?;
        let queue = self.queues.get_mut(&key)?;
        queue.deficit_bytes = queue.deficit_bytes.saturating_add(QUANTUM_BYTES);
        let (mut bytes, mut done) = (0_u64, Vec::new());
        while let Some(piece) = queue.pieces.front_mut() {
            let granted = piece.left_bytes.min(queue.deficit_bytes);
            piece.left_bytes = piece.left_bytes.saturating_sub(granted);
            queue.deficit_bytes = queue.deficit_bytes.saturating_sub(granted);
            bytes = bytes.saturating_add(granted);
            if piece.left_bytes > 0 {
                break;
            }
            done.push(piece.id);
            queue.pieces.pop_front();
        }
        match queue.pieces.is_empty() {
            true => drop(self.queues.remove(&key)),
            false => self.order.push_back(key),
        }
        Some(Turn { key, bytes, done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const Q: u64 = QUANTUM_BYTES;

    /// Who has the next turns, with what each may pass on.
    fn turns(schedule: &mut Schedule<char>, count: usize) -> Vec<(char, u64)> {
        (0..count).map_while(|_| schedule.turn(|_| true)).map(|turn| (turn.key, turn.bytes)).collect()
    }

    #[test]
    fn p58_between_two_turns_of_one_every_other_passes_on_a_quantum() {
        let mut schedule = Schedule::new();
        // One with a hundred bodies, one with a single large piece, one with small ones.
        (0..100).for_each(|id| schedule.add('a', id, 4 * Q));
        schedule.add('b', 1000, 100 * Q);
        (2000..4000).for_each(|id| schedule.add('c', id, Q / 16));
        let turns = turns(&mut schedule, 300);
        for key in ['a', 'b', 'c'] {
            let own: Vec<usize> = (0..turns.len()).filter(|at| turns[*at].0 == key).collect();
            for pair in own.windows(2) {
                let others: std::collections::HashMap<char, u64> =
                    turns[pair[0] + 1..pair[1]].iter().copied().collect();
                assert!(others.len() == 2 && others.values().all(|bytes| *bytes >= Q), "{key}: {others:?}");
            }
            assert_eq!(own.len(), 100);
        }
    }

    #[test]
    fn p58_a_piece_larger_than_a_quantum_waits_for_its_turns_and_a_small_one_does_not() {
        let mut schedule = Schedule::new();
        schedule.add('a', 1, 3 * Q);
        schedule.add('b', 2, 10);
        let done: Vec<Vec<u64>> =
            (0..4).filter_map(|_| schedule.turn(|_| true)).map(|turn| turn.done).collect();
        assert_eq!(done, [vec![], vec![2], vec![], vec![1]]);
        assert!(schedule.is_empty() && schedule.queues.is_empty());
    }

    #[test]
    fn p58_who_comes_anew_waits_for_one_round_at_most() {
        let mut schedule = Schedule::new();
        (0..50).for_each(|id| schedule.add('a', id, Q));
        assert_eq!(turns(&mut schedule, 3), [('a', Q); 3]);
        schedule.add('b', 100, Q);
        assert_eq!(turns(&mut schedule, 2), [('a', Q), ('b', Q)]);
    }

    #[test]
    fn p58_who_may_not_keeps_its_place_and_holds_up_nobody() {
        let mut schedule = Schedule::new();
        schedule.add('a', 1, Q);
        schedule.add('b', 2, 2 * Q);
        let turn = schedule.turn(|key| *key != 'a').unwrap();
        assert_eq!((turn.key, turn.bytes), ('b', Q));
        assert!(schedule.turn(|_| false).is_none());
        assert_eq!(turns(&mut schedule, 2), [('a', Q), ('b', Q)]);
    }

    #[test]
    fn p58_what_is_taken_back_leaves_nothing() {
        let mut schedule = Schedule::new();
        schedule.add('a', 1, Q);
        schedule.add('a', 2, Q);
        schedule.add('b', 3, Q);
        schedule.remove('a', 1);
        schedule.remove('b', 3);
        schedule.remove('b', 4);
        assert_eq!(schedule.turn(|_| true), Some(Turn { key: 'a', bytes: Q, done: vec![2] }));
        assert!(schedule.is_empty() && schedule.queues.is_empty());
    }
}
