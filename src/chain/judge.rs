//! Whether a reading may replace the last snapshot: the invariants of a snapshot, collapses, new rights.
//!
//! Pure. Nothing short of a valid newer snapshot replaces the last one (P38):
//! - no empty subnet, at most 4096 neurons, no zero key, no hotkey twice, a block above the last one;
//! - a collapse (more than a share of the neurons gone at once) counts when a second read says so as well;
//! - where a quorum is asked for, a right that the last snapshot did not have needs a second node that grants
//!   it; the loss of a right needs nobody's consent.

use std::collections::HashMap;

use super::{
    AccountId, Neuron, Origin, Role, Snapshot, ValidatorRule,
    node::{Block, ReadNeuron, Reading},
    scale::NEURONS_MAX,
};

/// Rao in a unit of stake.
const RAO: f64 = 1e9;

/// Why a reading is not a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidReading {
    /// Nobody is registered: no subnet is like that.
    #[error("it says that nobody is registered")]
    Empty,
    /// More neurons than a subnet has.
    #[error("it has more neurons than a subnet can have")]
    TooMany,
    /// The chain's default in place of a key.
    #[error("uid {0} has the all-zero key")]
    ZeroKey(usize),
    /// One hotkey with two uids.
    #[error("the hotkey {0} is there twice")]
    Twice(AccountId),
    /// The block is before the last one, or another one of the same height.
    #[error("its block {now} is not after block {last}, which is known")]
    BlockBack {
        /// The block of the reading.
        now: u64,
        /// The block of the last snapshot.
        last: u64,
    },
    /// The chain is another than that of the last snapshot.
    #[error("it is of another chain than the last snapshot")]
    OtherChain,
}

impl InvalidReading {
    /// The name under which it is counted.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooMany => "too_many",
            Self::ZeroKey(_) => "zero_key",
            Self::Twice(_) => "duplicate_hotkey",
            Self::BlockBack { .. } => "block_back",
            Self::OtherChain => "wrong_genesis",
        }
    }

    /// What an operator can do.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Empty | Self::TooMany | Self::ZeroKey(_) | Self::Twice(_) => {
                "the node is broken or lies: remove it from chain.endpoints"
            }
            Self::BlockBack { .. } => {
                "the node is behind the others: nothing if it passes. If the network was started anew, \
                stop Subgate and delete chain.snapshot_file"
            }
            Self::OtherChain => {
                "set chain.genesis. If the network was started anew, stop Subgate and delete \
                chain.snapshot_file"
            }
        }
    }
}

/// Makes a snapshot of a reading, if it can follow `last`.
pub(crate) fn snapshot(
    reading: &Reading,
    last: &Snapshot,
    taken_at: u64,
) -> Result<Snapshot, InvalidReading> {
    if let Some(known) = &last.origin {
        if known.genesis != reading.genesis {
            return Err(InvalidReading::OtherChain);
        }
        if reading.block.number <= known.block.number {
            return Err(InvalidReading::BlockBack { now: reading.block.number, last: known.block.number });
        }
    }
    let origin = Origin {
        block: reading.block,
        genesis: reading.genesis,
        spec_version: reading.spec_version,
        source: reading.source.clone(),
    };
    Ok(neurons(&reading.neurons, last, taken_at)?.with_origin(origin))
}

/// The neurons of a reading; where it has no stakes, the last known ones stand.
pub(crate) fn neurons(
    read: &[ReadNeuron],
    last: &Snapshot,
    taken_at: u64,
) -> Result<Snapshot, InvalidReading> {
    if read.is_empty() {
        return Err(InvalidReading::Empty);
    }
    if read.len() > NEURONS_MAX {
        return Err(InvalidReading::TooMany);
    }
    let mut neurons = Vec::with_capacity(read.len());
    for (uid, read) in (0_u16..).zip(read) {
        let account = |key| AccountId::from_bytes(key).map_err(|_| InvalidReading::ZeroKey(uid.into()));
        let (hotkey, coldkey) = (account(read.hotkey)?, account(read.coldkey)?);
        let known = last.neuron(&hotkey);
        let stake = match read.stake_rao {
            Some(rao) => units(rao),
            None => known.map_or(f64::NAN, |neuron| neuron.stake),
        };
        let mut neuron = match known {
            // The texts of its addresses are spelt already.
            Some(known) if known.coldkey == coldkey => {
                Neuron { validator_permit: read.validator_permit, stake, ..known.clone() }
            }
            _ => Neuron::new(hotkey, coldkey, read.validator_permit, stake),
        };
        neuron.uid = Some(uid);
        neurons.push(neuron);
    }
    Snapshot::new(neurons, taken_at).map_err(InvalidReading::Twice)
}

fn units(rao: u64) -> f64 {
    // 53 bits of a sum of rao are exact to a billionth of a unit up to nine million units, and to 2e-7
    // beyond.
    rao as f64 / RAO
}

/// How many of the last snapshot's neurons are gone, if that is more than `share_max` of them.
pub(crate) fn collapse(next: &Snapshot, last: &Snapshot, share_max: f64) -> Option<usize> {
    let gone = last.neurons().filter(|neuron| next.neuron(&neuron.hotkey).is_none()).count();
    (gone as f64 > share_max * last.len() as f64).then_some(gone)
}

/// A collapse that waits for a second read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldCollapse {
    /// The block at which the first read saw it.
    pub(crate) block: Block,
    /// The endpoint that said so, by its place.
    pub(crate) endpoint: usize,
}

impl HeldCollapse {
    /// Whether a read that collapses as well confirms this one: it must be of a later block, or of another
    /// node.
    pub(crate) fn is_confirmed_by(&self, block: Block, endpoint: usize) -> bool {
        block.number > self.block.number || endpoint != self.endpoint
    }
}

/// A right in comparison: whose folder, and as what.
fn right(neuron: &Neuron, rule: &ValidatorRule) -> (AccountId, Role) {
    (neuron.coldkey, rule.role(neuron))
}

fn is_within(right: (AccountId, Role), other: Option<(AccountId, Role)>) -> bool {
    other.is_some_and(|other| right.0 == other.0 && right.1 <= other.1)
}

/// Whether `next` gives anybody a right that `last` did not give.
pub(crate) fn grants(next: &Snapshot, last: &Snapshot, rule: &ValidatorRule) -> bool {
    let known = |neuron: &Neuron| last.neuron(&neuron.hotkey).map(|neuron| right(neuron, rule));
    next.neurons().any(|neuron| !is_within(right(neuron, rule), known(neuron)))
}

/// `next` without the rights that neither `last` nor the witness gives, and how many that were.
pub(crate) fn confirmed(
    next: &Snapshot,
    last: &Snapshot,
    witness: Option<&Snapshot>,
    rule: &ValidatorRule,
) -> (Snapshot, usize) {
    let given = |by: Option<&Snapshot>, neuron: &Neuron| {
        by.and_then(|by| by.neuron(&neuron.hotkey)).map(|neuron| right(neuron, rule))
    };
    let mut withheld = 0;
    let mut kept: HashMap<AccountId, Neuron> = HashMap::with_capacity(next.len());
    for neuron in next.neurons() {
        let (own, known, witnessed) =
            (right(neuron, rule), given(Some(last), neuron), given(witness, neuron));
        let mut neuron = neuron.clone();
        if !is_within(own, known) && !is_within(own, witnessed) {
            withheld += 1;
            let as_miner = (own.0, Role::Miner);
            if !is_within(as_miner, known) && !is_within(as_miner, witnessed) {
                continue;
            }
            neuron.validator_permit = false;
            neuron.stake = f64::NAN;
        }
        kept.insert(neuron.hotkey, neuron);
    }
    // The hotkeys are different already: nothing can be there twice.
    let mut snapshot = Snapshot::new(kept.into_values().collect(), next.taken_at).unwrap_or_default();
    snapshot.origin.clone_from(&next.origin);
    (snapshot, withheld)
}

#[cfg(test)]
mod tests;
