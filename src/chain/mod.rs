//! Who is who: the snapshot that decides, and where it comes from.
//!
//! A [`Snapshot`] is plain data, taken once for each request. No request asks the network: a source replaces the
//! snapshot as a whole, and only with one that is valid; a broken answer keeps the last one until it is too old.
//!
//! ```text
//! rpc ─ node ─ scale ─ judge ─ snapshot      the chain: calls, one reading, its bytes, may it follow, what counts
//!       storage_key    subtensor ─ disk      the fallback's keys; the refreshes and failover; the copy on disk
//! file ─────────────────────────── snapshot  or a file, looked at before each request
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

pub use account::{AccountError, AccountId, SS58_PREFIX};
pub use disk::DiskFault;
pub use file::{RegistryFault, RegistryFile};
pub use node::{Block, BlockHash};
pub use rpc::Endpoint;
pub use snapshot::{Neuron, NotValidator, Origin, Owner, Role, Snapshot, ValidatorRule};
pub use subtensor::{Live, Settings as Subtensor, read_once};

/// The genesis of the main network, "finney".
pub const FINNEY_GENESIS: BlockHash = BlockHash([
    0x2f, 0x05, 0x55, 0xcc, 0x76, 0xfc, 0x28, 0x40, 0xa2, 0x5a, 0x6e, 0xa3, 0xb9, 0x63, 0x71, 0x46, 0x80,
    0x6f, 0x1f, 0x44, 0xb0, 0x90, 0xc1, 0x75, 0xff, 0xde, 0x2a, 0x7e, 0x5a, 0xb3, 0x6c, 0x03,
]);

/// Its public endpoint: one request a second.
pub const FINNEY_ENDPOINT: &str = "wss://entrypoint-finney.opentensor.ai:443";

/// Where the snapshot comes from.
pub enum Registry {
    /// A file.
    File(RegistryFile),
    /// The chain.
    Subtensor(Live),
}

impl Registry {
    /// The snapshot that counts now.
    pub fn snapshot(&self, now: SystemTime) -> Arc<Snapshot> {
        match self {
            Self::File(file) => file.snapshot(now),
            Self::Subtensor(live) => live.snapshot(),
        }
    }

    /// How often what happened while it was renewed.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        match self {
            Self::File(_) => BTreeMap::new(),
            Self::Subtensor(live) => live.counters(),
        }
    }

    /// Why it could not be renewed the last time.
    pub fn last_fault(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Subtensor(live) => live.last_fault(),
        }
    }
}

/// The snapshot that a server has put on disk.
pub fn stored(path: &Path, subtensor: &Subtensor, now: SystemTime) -> Result<Snapshot, DiskFault> {
    disk::load(path, subtensor.netuid, subtensor.genesis, unix_seconds(now))
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
