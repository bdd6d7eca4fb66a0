//! Floods of refusals in the log: of one kind, so many lines in a second, and with the next one how many were
//! left out.
//!
//! A kind is a reason and whoever is refused for it: a hotkey that is known, or else an address (in IPv6 its
//! /64). Invariants: the first of a kind is never left out; what is served is none of this; memory does not
//! grow, for a kind that finds its place taken takes it over, and is written.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{chain::AccountId, limits::Sender};

/// Kinds that are counted at one time.
const PLACES: usize = 4096;

/// Who is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    /// A hotkey that was verified.
    Hotkey(AccountId),
    /// An address of which no more is known.
    Sender(Sender),
}

/// Counts refusals by their kinds.
#[derive(Debug)]
pub(crate) struct RefusalLines {
    /// None where every line is written.
    per_second_max: Option<u64>,
    began: Instant,
    hasher: RandomState,
    places: Box<[Mutex<Place>]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The kind by its hash, which nobody outside can foresee.
    kind: u64,
    /// The second in which lines were written last, and how many.
    second: u64,
    written: u64,
    /// Left out since.
    suppressed: u64,
}

impl RefusalLines {
    /// Lets so many lines of one kind pass in a second.
    pub(crate) fn new(per_second_max: Option<u64>) -> Self {
        let places = if per_second_max.is_some() { PLACES } else { 0 };
        Self {
            per_second_max,
            began: Instant::now(),
            hasher: RandomState::new(),
            places: (0..places).map(|_| Mutex::default()).collect(),
        }
    }

    /// Whether the line of a refusal is written now, and how many of its kind were left out before it.
    pub(super) fn pass(&self, reason: &'static str, refused: Refused, now: Instant) -> Option<u64> {
        let Some(max) = self.per_second_max else { return Some(0) };
        let kind = self.hasher.hash_one((reason, refused));
        let at = usize::try_from(kind % PLACES as u64).unwrap_or_default();
        let Some(place) = self.places.get(at) else { return Some(0) };
        // Second 0 stands for a place that nobody has had.
        let second = now.saturating_duration_since(self.began).as_secs().saturating_add(1);
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.kind != kind || place.second == 0 {
            *place = Place { kind, second, written: 1, suppressed: 0 };
            return Some(0);
        }
        if place.second != second {
            place.second = second;
            place.written = 0;
        }
        if place.written >= max {
            place.suppressed = place.suppressed.saturating_add(1);
            return None;
        }
        place.written = place.written.saturating_add(1);
        Some(std::mem::take(&mut place.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> Refused {
        Refused::Sender(Sender::at([192, 0, 2, last].into()))
    }

    #[test]
    fn the_first_of_a_kind_passes_and_the_next_second_tells_what_was_left_out() {
        let lines = RefusalLines::new(Some(2));
        let now = Instant::now();
        let pass = |reason, who, now| lines.pass(reason, who, now);
        let flood: Vec<_> = (0..10).map(|_| pass("NotRegistered", address(1), now)).collect();
        assert_eq!(flood, [[Some(0), Some(0)].as_slice(), &[None; 8]].concat());
        assert_eq!(pass("FolderDenied", address(1), now), Some(0));
        assert_eq!(pass("NotRegistered", address(2), now), Some(0));
        let hotkey = AccountId::from_bytes([7; 32]).unwrap();
        assert_eq!(pass("NotRegistered", Refused::Hotkey(hotkey), now), Some(0));
        let later = now + Duration::from_secs(5);
        assert_eq!(pass("NotRegistered", address(1), later), Some(8));
        assert_eq!(pass("NotRegistered", address(1), later), Some(0));
        assert_eq!(pass("NotRegistered", address(1), later), None);
    }

    #[test]
    fn a_crowd_of_kinds_takes_no_more_memory_and_each_shows() {
        let lines = RefusalLines::new(Some(1));
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let sender = Sender::at(std::net::Ipv4Addr::from_bits(number).into());
            assert_eq!(lines.pass("Anonymous", Refused::Sender(sender), now), Some(0));
        }
        assert_eq!(lines.places.len(), PLACES);
    }

    #[test]
    fn where_it_is_switched_off_every_line_passes() {
        let lines = RefusalLines::new(None);
        let now = Instant::now();
        assert!((0..1000).all(|_| lines.pass("Anonymous", address(1), now) == Some(0)));
    }
}
