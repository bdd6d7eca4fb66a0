//! What is counted while the server works, for the operator's Prometheus. Counting is pure; what the kernel
//! says of the process is read where it is written out.
//!
//! ```text
//! instruments      counts, levels and histograms, of plain atomics
//! requests         what became of requests, counted where their access record ends
//! store            what the store behind costs
//! events           signatures, connections, and other things that happen
//! principals       who asks most, for the operator's listener alone
//! process          the process as the kernel sees it
//! exposition       all of that as text
//! ```
//!
//! One [`Metrics`] belongs to one server and is handed to whoever counts. It outlives a reload of the
//! configuration, so that numbers only grow.
//!
//! Invariants (P50): every label is a word of this program's own, so the number of series has a bound
//! whatever peers send; no key, hotkey, address or path of a peer is one. Naming:
//! <https://prometheus.io/docs/practices/naming/>.

mod events;
mod exposition;
mod instruments;
mod named_counts;
mod principals;
mod process;
mod requests;
mod store;

use std::sync::Arc;

#[cfg(test)]
pub(crate) use self::principals::Traffic;
use self::{events::Events, principals::Principals};
pub(crate) use self::{
    events::{ClientConnection, SignatureScheme},
    exposition::{Exposition, Format},
    principals::{Caller, MINUTES_MAX, Principal},
    requests::{Asked, EndedRequest, Outcome, RequestUnderWay, Requests, Why},
    store::{StoreConnection, StoreCounts, StorePool, StoreResult, StoreTimer},
};

/// What one server counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// What became of requests.
    pub(crate) requests: Requests,
    /// What the store behind costs.
    pub(crate) store: StoreCounts,
    /// Other things that happen.
    pub(crate) events: Events,
    /// Who asks most.
    pub(crate) principals: Principals,
}

impl Metrics {
    /// Nothing has been counted yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Begins a request.
    pub(crate) fn begin_request(self: &Arc<Self>) -> RequestUnderWay {
        RequestUnderWay::begin(self)
    }

    /// Writes all that was counted, and what the kernel says of this process.
    pub(crate) fn write(&self, pool: &StorePool, out: &mut Exposition) {
        out.gauge("subgate_build_info", "1, with this build's version as label.")
            .with(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.requests.write(out);
        self.store.write(pool, out);
        self.events.write(out);
        process::write(out);
    }
}
