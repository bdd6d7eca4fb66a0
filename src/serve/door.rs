//! Who may open how many connections: each address so many at one time (P55). \[log lines\]

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::seldom::Seldom;
use crate::{
    config::Edge,
    limits::{Counts, HeldCount, Sender},
};

/// Refusals are logged at most so often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Counts the connections of each address; those of the trusted edge stand for many and are not counted.
pub(super) struct Door {
    counts: Arc<Counts<Sender>>,
    refused: Seldom,
}

/// How many connections an address may have.
pub(super) struct DoorBounds {
    /// At one time; none where there is no bound.
    pub(super) per_address_max: Option<u64>,
    /// Who is not bounded.
    pub(super) edge: Edge,
}

/// A connection that may stay; none is counted for the edge.
pub(super) struct Admitted {
    _held: Option<HeldCount<Sender>>,
}

impl Door {
    pub(super) fn new() -> Self {
        Self { counts: Counts::new(), refused: Seldom::every(LOG_INTERVAL) }
    }

    /// Admits a connection from `peer`, unless it has as many as it may.
    pub(super) fn admit(&self, peer: IpAddr, bounds: &DoorBounds, now: Instant) -> Option<Admitted> {
        let Some(max) = bounds.per_address_max.filter(|_| !bounds.edge.trusts(peer)) else {
            return Some(Admitted { _held: None });
        };
        let held = self.counts.try_add(Sender::at(peer), 1, max);
        if held.is_none()
            && let Some(refused) = self.refused.count(now)
        {
            tracing::warn!(%peer, max, refused, "limits.address.connections_max is reached");
        }
        held.map(|held| Admitted { _held: Some(held) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p55_an_address_has_so_many_connections_and_the_edge_as_many_as_it_likes() {
        let edge = Edge { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Edge::default() };
        let bounds = DoorBounds { per_address_max: Some(2), edge };
        let door = Door::new();
        let now = Instant::now();
        let admit = |peer: &str| door.admit(peer.parse().unwrap(), &bounds, now);
        let held = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert!(admit("2001:db8::3").is_none());
        let _others: Vec<_> = ["2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.1"].map(&admit).into();
        assert!(admit("192.0.2.1").is_none());
        let edge: Vec<_> = (0..10).map(|_| admit("10.1.2.3")).collect();
        assert!(edge.iter().all(Option::is_some));
        drop(held);
        assert!(admit("2001:db8::3").is_some());
        let unbounded = DoorBounds { per_address_max: None, edge: Edge::default() };
        assert!(Door::new().admit([192, 0, 2, 1].into(), &unbounded, now).is_some());
    }
}
