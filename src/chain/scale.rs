//! The selective metagraph of the subtensor runtime: its arguments and its answer, in SCALE.
//!
//! `SubnetInfoRuntimeApi_get_selective_metagraph` gives an `Option` of a struct with a compact netuid and
//! then one `Option` for each field; a field that was not asked for is one zero byte. Runtime upgrades have
//! only ever appended fields, so the prefix up to the last field that is needed is decoded and what follows
//! is not looked at.
//!
//! Invariants: no byte sequence panics; what is kept is at most [`NEURONS_MAX`] neurons and never more than
//! the input can hold; a list's declared length is compared with the bytes that are there before anything is
//! kept.
#![deny(clippy::arithmetic_side_effects)]

/// More neurons than any subnet may have.
pub const NEURONS_MAX: usize = 4096;

/// What is asked for: block, hotkeys, coldkeys, active, validator_permit, last_update, alpha_stake,
/// tao_stake, total_stake.
const FIELDS: [u16; 9] = [7, 52, 53, 56, 57, 59, 67, 68, 69];

/// The last field of the prefix; fields after it are appended by later runtimes.
const FIELD_LAST: u16 = 69;

/// Why an answer is not a selective metagraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// The input ends before the prefix does.
    #[error("it ends in the middle")]
    Short,
    /// A list says that it is longer than the bytes that are there, or than a subnet can be.
    #[error("a list has a length that cannot be")]
    Length,
    /// A byte that is neither yes nor no, a number in a second spelling or too large.
    #[error("a value is not of its type")]
    Value,
    /// A field that was asked for is missing, or one that was not is there: the layout is another.
    #[error("field {0} is not as asked for; the runtime may have another layout now")]
    Field(u16),
    /// The lists differ in length.
    #[error("its lists differ in length")]
    Lengths,
    /// Another subnet than the one asked for.
    #[error("it is of another subnet")]
    Netuid,
}

/// One neuron as the runtime reports it; nothing is checked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawNeuron {
    /// Public key of the hotkey.
    pub hotkey: [u8; 32],
    /// Public key of the coldkey.
    pub coldkey: [u8; 32],
    /// Whether it set weights lately.
    pub active: bool,
    /// Whether it has a validator permit.
    pub validator_permit: bool,
    /// The block of its last weights.
    pub last_update: u64,
    /// Alpha stake in rao.
    pub alpha_stake_rao: u64,
    /// TAO stake in rao.
    pub tao_stake_rao: u64,
    /// The stake that counts, `S` of the metagraph, in rao.
    pub total_stake_rao: u64,
}

/// The part of the selective metagraph that is asked for; a neuron's place is its uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metagraph {
    /// The block that the runtime stood at.
    pub block: u64,
    /// By uid.
    pub neurons: Vec<RawNeuron>,
}

/// The arguments of the call: the netuid and the fields.
pub(crate) fn arguments(netuid: u16) -> Vec<u8> {
    let mut bytes = netuid.to_le_bytes().to_vec();
    // The compact length of nine: 9 << 2.
    bytes.push(36);
    bytes.extend(FIELDS.iter().flat_map(|field| field.to_le_bytes()));
    bytes
}

/// Reads the answer; none where the runtime knows no such subnet.
pub fn decode(netuid: u16, answer: &[u8]) -> Result<Option<Metagraph>, ScaleError> {
    let mut input = Input(answer);
    if !input.flag()? {
        return Ok(None);
    }
    // A runtime leaves zero where the netuid itself was not asked for.
    let answered = input.compact()?;
    if answered != 0 && answered != u64::from(netuid) {
        return Err(ScaleError::Netuid);
    }
    let mut block = 0;
    let (mut hotkeys, mut coldkeys) = (Vec::new(), Vec::new());
    let (mut active, mut permits, mut updates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut alpha, mut tao, mut total) = (Vec::new(), Vec::new(), Vec::new());
    for field in 1..=FIELD_LAST {
        if input.flag()? != FIELDS.contains(&field) {
            return Err(ScaleError::Field(field));
        }
        match field {
            7 => block = input.compact()?,
            52 => hotkeys = input.list(32, Input::key)?,
            53 => coldkeys = input.list(32, Input::key)?,
            56 => active = input.list(1, Input::flag)?,
            57 => permits = input.list(1, Input::flag)?,
            59 => updates = input.list(1, Input::compact)?,
            67 => alpha = input.list(1, Input::compact)?,
            68 => tao = input.list(1, Input::compact)?,
            69 => total = input.list(1, Input::compact)?,
            _ => {}
        }
    }
    let lengths =
        [coldkeys.len(), active.len(), permits.len(), updates.len(), alpha.len(), tao.len(), total.len()];
    if lengths.iter().any(|length| *length != hotkeys.len()) {
        return Err(ScaleError::Lengths);
    }
    let keys = hotkeys.into_iter().zip(coldkeys);
    let flags = active.into_iter().zip(permits).zip(updates);
    let stakes = alpha.into_iter().zip(tao).zip(total);
    let neurons = keys.zip(flags).zip(stakes).map(|((keys, flags), stakes)| {
        let (hotkey, coldkey) = keys;
        let ((active, validator_permit), last_update) = flags;
        let ((alpha_stake_rao, tao_stake_rao), total_stake_rao) = stakes;
        RawNeuron {
            hotkey,
            coldkey,
            active,
            validator_permit,
            last_update,
            alpha_stake_rao,
            tao_stake_rao,
            total_stake_rao,
        }
    });
    Ok(Some(Metagraph { block, neurons: neurons.collect() }))
}

/// Reads `Vec<bool>` that is the whole of a storage value.
pub fn decode_flags(value: &[u8]) -> Result<Vec<bool>, ScaleError> {
    let mut input = Input(value);
    let flags = input.list(1, Input::flag)?;
    if input.0.is_empty() { Ok(flags) } else { Err(ScaleError::Value) }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ScaleError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(ScaleError::Short)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn key(&mut self) -> Result<[u8; 32], ScaleError> {
        self.take()
    }

    fn flag(&mut self) -> Result<bool, ScaleError> {
        match self.take()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(ScaleError::Value),
        }
    }

    /// A compact integer in its one shortest spelling.
    fn compact(&mut self) -> Result<u64, ScaleError> {
        let [first] = self.take()?;
        let (number, least) = match first & 3 {
            0 => (u64::from(first) >> 2, 0),
            1 => {
                let [second] = self.take()?;
                (u64::from(u16::from_le_bytes([first, second])) >> 2, 1 << 6)
            }
            2 => {
                let [second, third, fourth] = self.take()?;
                (u64::from(u32::from_le_bytes([first, second, third, fourth])) >> 2, 1 << 14)
            }
            _ => self.compact_long(first >> 2)?,
        };
        if number < least { Err(ScaleError::Value) } else { Ok(number) }
    }

    /// The form of four bytes and more: `extra` counts those beyond four.
    fn compact_long(&mut self, extra: u8) -> Result<(u64, u64), ScaleError> {
        let length = usize::from(extra).saturating_add(4);
        let mut bytes = [0; 8];
        let filled = bytes.get_mut(..length).ok_or(ScaleError::Value)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ScaleError::Short)?;
        filled.copy_from_slice(taken);
        self.0 = rest;
        let least = match extra {
            0 => 1 << 30,
            // The last byte must not be zero.
            more => {
                1_u64.checked_shl(u32::from(more).saturating_add(3).saturating_mul(8)).unwrap_or(u64::MAX)
            }
        };
        Ok((u64::from_le_bytes(bytes), least))
    }

    /// A list whose elements take `bytes_min` each or more.
    fn list<T>(
        &mut self,
        bytes_min: usize,
        element: impl Fn(&mut Self) -> Result<T, ScaleError>,
    ) -> Result<Vec<T>, ScaleError> {
        let length = usize::try_from(self.compact()?).map_err(|_| ScaleError::Length)?;
        if length > NEURONS_MAX || length.saturating_mul(bytes_min) > self.0.len() {
            return Err(ScaleError::Length);
        }
        (0..length).map(|_| element(self)).collect()
    }
}

#[cfg(test)]
mod tests;
