//! Which files of a directory that grows are whole. Pure: the time is an argument.
//!
//! A file counts as whole when nothing has changed about it for the settle time, as seen here. The clock is
//! this machine's own and the file's times are only compared with each other, so that neither a server's
//! clock nor times that were copied along (`cp -p`) make a half file whole.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::local_file::Stamp;

/// The first pause after a failure; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(15);

/// The longest.
const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// What is known of the files so far.
#[derive(Debug)]
pub(super) struct Settle {
    time: Duration,
    files: HashMap<String, Watched>,
}

#[derive(Debug)]
struct Watched {
    stamp: Stamp,
    since: Instant,
    state: State,
}

/// What has become of a file in the state in which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It is not known to be whole.
    Waiting,
    /// It stands at the server, or the rules do not take it.
    Over,
    /// It failed so often.
    Failed { times: u32, again: Instant },
}

impl Settle {
    pub(super) fn new(time: Duration) -> Self {
        Self { time, files: HashMap::new() }
    }

    /// Takes in what is there now; gives whether each file is to be uploaded, in the order of `files`.
    pub(super) fn ripe(&mut self, files: &[(&str, Stamp)], now: Instant) -> Vec<bool> {
        let there: HashSet<&str> = files.iter().map(|(name, _)| *name).collect();
        self.files.retain(|name, _| there.contains(name.as_str()));
        let mut ripe = Vec::with_capacity(files.len());
        for (name, stamp) in files {
            let fresh = || Watched { stamp: *stamp, since: now, state: State::Waiting };
            let watched = self.files.entry((*name).to_owned()).or_insert_with(fresh);
            if watched.stamp != *stamp {
                *watched = fresh();
            }
            ripe.push(match watched.state {
                State::Waiting => now.saturating_duration_since(watched.since) >= self.time,
                State::Over => false,
                State::Failed { again, .. } => now >= again,
            });
        }
        ripe
    }

    /// Nothing more is to be done for this file, until it changes.
    pub(super) fn over(&mut self, name: &str) {
        if let Some(watched) = self.files.get_mut(name) {
            watched.state = State::Over;
        }
    }

    /// It failed, and is tried again later.
    pub(super) fn failed(&mut self, name: &str, now: Instant) {
        let Some(watched) = self.files.get_mut(name) else { return };
        let before = match watched.state {
            State::Failed { times, .. } => times,
            State::Waiting | State::Over => 0,
        };
        let doubled = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        let pause = RETRY_FIRST.saturating_mul(doubled).min(RETRY_LONGEST);
        let again = now.checked_add(pause).unwrap_or(now);
        watched.state = State::Failed { times: before.saturating_add(1), again };
    }

    /// Whether there are files that are not known to be whole.
    pub(super) fn has_waiting(&self) -> bool {
        self.files.values().any(|watched| watched.state == State::Waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    fn stamps(count: usize) -> Vec<Stamp> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let stamp = |bytes| {
            std::fs::write(&path, vec![0; bytes]).unwrap();
            Stamp::of(&std::fs::metadata(&path).unwrap())
        };
        (0..count).map(stamp).collect()
    }

    #[test]
    fn a_file_is_whole_once_it_has_not_changed_for_the_settle_time() {
        let (start, stamps) = (Instant::now(), stamps(2));
        let mut settle = Settle::new(TIME);
        let mut ripe = |stamp, after| settle.ripe(&[("a", stamp)], start + after)[0];
        assert!(!ripe(stamps[0], Duration::ZERO));
        assert!(!ripe(stamps[0], TIME - Duration::from_millis(1)));
        // It grows just before.
        assert!(!ripe(stamps[1], TIME));
        assert!(!ripe(stamps[1], TIME * 2 - Duration::from_millis(1)));
        assert!(ripe(stamps[1], TIME * 2));
    }

    #[test]
    fn what_is_over_rests_until_it_changes_and_what_failed_comes_back_ever_later() {
        let (start, stamps) = (Instant::now(), stamps(2));
        let mut settle = Settle::new(Duration::ZERO);
        assert!(!settle.has_waiting());
        assert_eq!(settle.ripe(&[("a", stamps[0]), ("b", stamps[0])], start), [true, true]);
        settle.over("a");
        settle.failed("b", start);
        assert_eq!(settle.ripe(&[("a", stamps[0]), ("b", stamps[0])], start), [false, false]);
        assert!(!settle.has_waiting());
        let later = start + RETRY_FIRST;
        assert_eq!(settle.ripe(&[("a", stamps[1]), ("b", stamps[0])], later), [true, true]);
        settle.failed("b", later);
        assert_eq!(settle.ripe(&[("b", stamps[0])], later + RETRY_FIRST), [false]);
        assert_eq!(settle.ripe(&[("b", stamps[0])], later + RETRY_FIRST * 2), [true]);
        for _ in 0..100 {
            settle.failed("b", later);
        }
        assert_eq!(settle.ripe(&[("b", stamps[0])], later + RETRY_LONGEST), [true]);
        // What is gone is forgotten.
        assert!(settle.ripe(&[], later).is_empty() && !settle.has_waiting());
    }
}
