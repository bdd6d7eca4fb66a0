//! The last snapshot on disk, so that a restart while the chain is down serves at once, with the snapshot's
//! true age. \[IO\]
//!
//! A line with the SHA-256 of the rest, then JSON. It is replaced whole (written beside, synced, renamed);
//! what has another checksum, netuid or genesis, or comes from the future, is not taken.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    AccountId, Neuron, Origin, Snapshot,
    node::{Block, BlockHash, ExpectedGenesis},
    scale::NEURONS_MAX,
};
use crate::file_access::check_writers;

/// 4096 neurons are 700 KB.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Clocks that are set by a little do not make a snapshot one of the future.
const FUTURE_SECONDS_MAX: u64 = 60;

const FORMAT: u32 = 1;

/// Why there is no snapshot to be had from the disk, or none can be put there.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The file system says no.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content does not count.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

impl SnapshotFileError {
    /// Whether there just is no file yet.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    netuid: u16,
    genesis: String,
    block: u64,
    hash: String,
    spec_version: u32,
    source: String,
    taken_at: u64,
    neurons: Vec<StoredNeuron>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredNeuron {
    uid: Option<u16>,
    hotkey: AccountId,
    coldkey: AccountId,
    permit: bool,
    /// Null where it is not known.
    stake: Option<f64>,
}

/// Puts a snapshot of the chain on disk; one without an origin is none.
pub(crate) fn store(path: &Path, netuid: u16, snapshot: &Snapshot) -> Result<(), SnapshotFileError> {
    let Some(origin) = &snapshot.origin else { return Ok(()) };
    let neurons = snapshot.neurons().map(|neuron| StoredNeuron {
        uid: neuron.uid,
        hotkey: neuron.hotkey,
        coldkey: neuron.coldkey,
        permit: neuron.validator_permit,
        stake: Some(neuron.stake).filter(|stake| stake.is_finite()),
    });
    let stored = Stored {
        format: FORMAT,
        netuid,
        genesis: origin.genesis.to_string(),
        block: origin.block.number,
        hash: origin.block.hash.to_string(),
        spec_version: origin.spec_version,
        source: origin.source.to_string(),
        taken_at: snapshot.taken_at,
        neurons: neurons.collect(),
    };
    let content = |error: serde_json::Error| content(path, error);
    let json = serde_json::to_string(&stored).map_err(content)?;
    let text = format!("{}\n{json}\n", checksum(json.as_bytes()));
    write(path, text.as_bytes()).map_err(|source| SnapshotFileError::File { path: path.to_owned(), source })
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The rename itself is on disk only when the directory is.
    File::open(dir)?.sync_all()
}

/// Reads the snapshot of `netuid`, on the chain that is expected.
pub(crate) fn load(
    path: &Path,
    netuid: u16,
    expected: ExpectedGenesis,
    now: u64,
) -> Result<Snapshot, SnapshotFileError> {
    let unreadable = |source| SnapshotFileError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check_writers(&metadata).map_err(|what| content(path, what))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    parse(&text, netuid, expected, now).map_err(|what| content(path, what))
}

fn content(path: &Path, what: impl std::fmt::Display) -> SnapshotFileError {
    SnapshotFileError::Content { path: path.to_owned(), what: what.to_string() }
}

fn parse(text: &str, netuid: u16, expected: ExpectedGenesis, now: u64) -> Result<Snapshot, String> {
    let (sum, json) = text.split_once('\n').ok_or("it is no snapshot")?;
    let json = json.trim_end();
    if checksum(json.as_bytes()) != sum {
        return Err("its checksum is wrong: it is damaged".to_owned());
    }
    let stored: Stored = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if stored.format != FORMAT {
        return Err(format!("it has format {}, and {FORMAT} is known here", stored.format));
    }
    if stored.netuid != netuid {
        return Err(format!("it is of subnet {}, not of {netuid}", stored.netuid));
    }
    let hash = |text: &str| BlockHash::parse(text).ok_or("it holds a hash that is none");
    let own = hash(&stored.genesis)?;
    if !expected.accepts(own) {
        return Err(format!("it is of the chain with genesis {own}"));
    }
    if stored.taken_at > now.saturating_add(FUTURE_SECONDS_MAX) {
        return Err("it is from the future: a clock is or was wrong".to_owned());
    }
    if stored.neurons.is_empty() || stored.neurons.len() > NEURONS_MAX {
        return Err(format!("it has {} neurons", stored.neurons.len()));
    }
    let neurons = stored.neurons.into_iter().map(|neuron| {
        let stake = neuron.stake.unwrap_or(f64::NAN);
        Neuron { uid: neuron.uid, ..Neuron::new(neuron.hotkey, neuron.coldkey, neuron.permit, stake) }
    });
    let origin = Origin {
        block: Block { number: stored.block, hash: hash(&stored.hash)? },
        genesis: own,
        spec_version: stored.spec_version,
        source: stored.source.into(),
    };
    let snapshot = Snapshot::new(neurons.collect(), stored.taken_at);
    Ok(snapshot.map_err(|hotkey| format!("hotkey {hotkey} is there twice"))?.with_origin(origin))
}

fn checksum(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    const GENESIS: BlockHash = BlockHash([9; 32]);

    fn snapshot() -> Snapshot {
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        let neurons = vec![
            Neuron::new(account(1), account(2), true, 12.5).at_uid(0),
            Neuron::new(account(3), account(2), false, f64::NAN).at_uid(1),
        ];
        Snapshot::new(neurons, 1000).unwrap().with_origin(Origin {
            block: Block { number: 77, hash: BlockHash([8; 32]) },
            genesis: GENESIS,
            spec_version: 461,
            source: "wss://node".into(),
        })
    }

    #[test]
    fn p38_a_snapshot_comes_back_with_its_true_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        assert!(load(&path, 13, ExpectedGenesis::Any, 0).unwrap_err().is_missing());
        store(&path, 13, &snapshot()).unwrap();
        store(&path, 13, &snapshot()).unwrap();
        for expected in [ExpectedGenesis::Any, ExpectedGenesis::Hash(GENESIS)] {
            let loaded = load(&path, 13, expected, 1500).unwrap();
            assert_eq!((loaded.age_seconds(1500), loaded.block(), loaded.len()), (500, Some(77), 2));
            assert_eq!(loaded.origin, snapshot().origin);
            let neuron = loaded.neuron(&AccountId::from_bytes([1; 32]).unwrap()).unwrap();
            assert_eq!((neuron.uid, neuron.validator_permit, neuron.stake), (Some(0), true, 12.5));
            assert!(loaded.neuron(&AccountId::from_bytes([3; 32]).unwrap()).unwrap().stake.is_nan());
        }
        // Nothing is left beside it.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_damaged_or_of_another_chain_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        store(&path, 13, &snapshot()).unwrap();
        let error = |netuid, expected, now| load(&path, netuid, expected, now).unwrap_err().to_string();
        assert!(error(14, ExpectedGenesis::Any, 1500).contains("of subnet 13"));
        assert!(error(13, ExpectedGenesis::Hash(BlockHash([1; 32])), 1500).contains("genesis 0x0909"));
        assert!(error(13, ExpectedGenesis::Any, 900).contains("future"));
        let mode = |mode| std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mode(0o664);
        assert!(error(13, ExpectedGenesis::Any, 1500).contains("chmod go-w"));
        mode(0o644);
        let text = std::fs::read_to_string(&path).unwrap();
        for damaged in ["", "x", text.split_at(text.len() / 2).0, &text.replace("true", "false")] {
            std::fs::write(&path, damaged).unwrap();
            assert!(!error(13, ExpectedGenesis::Any, 1500).is_empty(), "{damaged}");
        }
    }
}
