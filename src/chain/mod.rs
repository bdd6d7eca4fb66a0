//! Who is registered on the subnet: the snapshot that requests are decided by, and where it comes from.
//!
//! A [`Snapshot`] is plain data, taken once for each request. No request asks the network: a source replaces
//! the snapshot as a whole, and only with one that is valid; a broken answer keeps the last one until it is
//! too old.
//!
//! ```text
//! rpc          calls to one node
//! node         one reading of the subnet from it: by the runtime (scale) or from storage (storage_key)
//! judge        whether that reading may replace the last snapshot
//! subtensor    refreshes, failover between nodes, and the copy on disk (disk)
//! file         in place of all these: a registry file, checked before each request
//! snapshot     what is known, and who is a validator by it
//! ```

mod account;
mod disk;
mod file;
mod judge;
mod node;
mod rpc;
pub mod scale;
mod snapshot;
mod storage_key;
mod subtensor;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::SystemTime};

pub use account::{AccountError, AccountId};
pub use disk::SnapshotFileError;
pub use file::{RegistryFile, RegistryFileError};
pub use node::{Block, BlockHash, ExpectedGenesis};
pub use rpc::ChainEndpoint;
pub use snapshot::{Neuron, NotValidator, Origin, Owner, Role, Snapshot, ValidatorRule};
pub(crate) use subtensor::snapshot_file_fault;
pub use subtensor::{ChainWatcher, SubtensorSettings, read_once};

/// The genesis of the main network, "finney".
pub(crate) const FINNEY_GENESIS: BlockHash = BlockHash([
    0x2f, 0x05, 0x55, 0xcc, 0x76, 0xfc, 0x28, 0x40, 0xa2, 0x5a, 0x6e, 0xa3, 0xb9, 0x63, 0x71, 0x46, 0x80,
    0x6f, 0x1f, 0x44, 0xb0, 0x90, 0xc1, 0x75, 0xff, 0xde, 0x2a, 0x7e, 0x5a, 0xb3, 0x6c, 0x03,
]);

/// Its public endpoint: one request a second.
pub(crate) const FINNEY_ENDPOINT: &str = "wss://entrypoint-finney.opentensor.ai:443";

/// Where the snapshot comes from.
pub enum Registry {
    /// A file.
    File(RegistryFile),
    /// The chain.
    Subtensor(ChainWatcher),
}

impl Registry {
    /// The current snapshot.
    pub fn snapshot(&self, now: SystemTime) -> Arc<Snapshot> {
        match self {
            Self::File(file) => file.snapshot(now),
            Self::Subtensor(watcher) => watcher.snapshot(),
        }
    }

    /// Decides by another rule from now on which readings grant a right, and by another bound how soon the
    /// chain must be read again.
    pub(crate) fn judge_by(&self, rule: &ValidatorRule, stale_seconds_max: u64) {
        match self {
            Self::File(_) => {}
            Self::Subtensor(watcher) => watcher.judge_by(rule, stale_seconds_max),
        }
    }

    /// Whether there has been a reading, by this process or by an earlier one that stored it.
    pub(crate) fn has_reading(&self, now: SystemTime) -> bool {
        match self {
            Self::File(_) => true,
            Self::Subtensor(_) => self.snapshot(now).origin.is_some(),
        }
    }

    /// How often each result of a refresh has occurred, by name.
    pub(crate) fn counters(&self) -> BTreeMap<&'static str, u64> {
        match self {
            Self::File(_) => BTreeMap::new(),
            Self::Subtensor(watcher) => watcher.counters(),
        }
    }

    /// Why the last refresh failed; none where it succeeded.
    pub(crate) fn last_error(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Subtensor(watcher) => watcher.last_error(),
        }
    }
}

/// The snapshot that a running server has stored on disk.
pub(crate) fn stored_snapshot(
    path: &Path,
    subtensor: &SubtensorSettings,
    now: SystemTime,
) -> Result<Snapshot, SnapshotFileError> {
    disk::load(path, subtensor.netuid, subtensor.genesis, unix_seconds(now))
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
