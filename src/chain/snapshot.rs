//! One view of the subnet at one moment.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::AccountId;

/// The addresses of one registered hotkey as the texts that name its folders; spelt once for each snapshot, for SS58
/// costs more than everything else a lookup does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    hotkey: String,
    coldkey: String,
}

impl Owner {
    /// Spells both addresses.
    pub fn new(hotkey: AccountId, coldkey: AccountId) -> Self {
        Self { hotkey: hotkey.to_ss58(), coldkey: coldkey.to_ss58() }
    }

    /// SS58 of the hotkey.
    pub fn hotkey(&self) -> &str {
        &self.hotkey
    }

    /// SS58 of the coldkey.
    pub fn coldkey(&self) -> &str {
        &self.coldkey
    }
}

/// What the chain says of one registered hotkey.
#[derive(Debug, Clone, PartialEq)]
pub struct Neuron {
    /// The registered hotkey.
    pub hotkey: AccountId,
    /// The coldkey that owns it; it names the folder.
    pub coldkey: AccountId,
    /// Both as texts.
    pub owner: Arc<Owner>,
    /// Whether the subnet gave it a validator permit at the last epoch.
    pub validator_permit: bool,
    /// Total stake (`S` of the metagraph), in units of alpha and weighted TAO.
    pub stake: f64,
}

impl Neuron {
    /// A neuron with what the chain says of it.
    pub fn new(hotkey: AccountId, coldkey: AccountId, validator_permit: bool, stake: f64) -> Self {
        Self { hotkey, coldkey, owner: Arc::new(Owner::new(hotkey, coldkey)), validator_permit, stake }
    }
}

/// What a caller may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Registered, and not a validator by the rule.
    Miner,
    /// Registered, with a permit and enough stake.
    Validator,
}

impl Role {
    /// The name in configuration, answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Validator => "validator",
        }
    }
}

/// Who counts as a validator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValidatorRule {
    /// Least total stake, in the units of [`Neuron::stake`].
    pub stake_min: f64,
}

impl ValidatorRule {
    /// The role of a registered neuron. A stake that is not a number is no stake.
    pub fn role(&self, neuron: &Neuron) -> Role {
        if neuron.validator_permit && neuron.stake >= self.stake_min { Role::Validator } else { Role::Miner }
    }
}

/// Everyone who is registered, looked up by hotkey in constant time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    neurons: Arc<HashMap<AccountId, Neuron>>,
    /// Seconds since the epoch at which the source was known to say this.
    pub taken_at: u64,
}

impl Snapshot {
    /// Takes the neurons of one reading; a hotkey that is there twice makes the whole reading void.
    pub fn new(neurons: Vec<Neuron>, taken_at: u64) -> Result<Self, AccountId> {
        let mut map = HashMap::with_capacity(neurons.len());
        for neuron in neurons {
            let hotkey = neuron.hotkey;
            if map.insert(hotkey, neuron).is_some() {
                return Err(hotkey);
            }
        }
        Ok(Self { neurons: Arc::new(map), taken_at })
    }

    /// The same neurons, known to be so at a later time as well.
    #[must_use]
    pub fn seen_again(&self, taken_at: u64) -> Self {
        Self { neurons: Arc::clone(&self.neurons), taken_at }
    }

    /// The neuron of a registered hotkey.
    pub fn neuron(&self, hotkey: &AccountId) -> Option<&Neuron> {
        self.neurons.get(hotkey)
    }

    /// Everyone, in no order.
    pub fn neurons(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.values()
    }

    /// How many hotkeys are registered.
    pub fn len(&self) -> usize {
        self.neurons.len()
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.neurons.is_empty()
    }

    /// How many different coldkeys own them.
    pub fn coldkeys(&self) -> usize {
        self.neurons.values().map(|neuron| neuron.coldkey).collect::<HashSet<_>>().len()
    }

    /// How many are validators by `rule`.
    pub fn validators(&self, rule: &ValidatorRule) -> usize {
        self.neurons.values().filter(|neuron| rule.role(neuron) == Role::Validator).count()
    }

    /// Seconds since [`Snapshot::taken_at`].
    pub fn age_seconds(&self, now: u64) -> u64 {
        now.saturating_sub(self.taken_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neuron(id: u8, validator_permit: bool, stake: f64) -> Neuron {
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        Neuron::new(account(id), account(100), validator_permit, stake)
    }

    #[test]
    fn a_validator_has_a_permit_and_the_stake() {
        let rule = ValidatorRule { stake_min: 10_000.0 };
        assert_eq!(rule.role(&neuron(1, true, 10_000.0)), Role::Validator);
        assert_eq!(rule.role(&neuron(1, true, 9_999.9)), Role::Miner);
        assert_eq!(rule.role(&neuron(1, false, 1e9)), Role::Miner);
        assert_eq!(rule.role(&neuron(1, true, f64::NAN)), Role::Miner);
    }

    #[test]
    fn a_hotkey_twice_makes_the_reading_void() {
        let twice = Snapshot::new(vec![neuron(1, true, 1.0), neuron(1, false, 1.0)], 0);
        assert_eq!(twice.unwrap_err(), AccountId::from_bytes([1; 32]).unwrap());
    }

    #[test]
    fn lookups_and_counts() {
        let snapshot = Snapshot::new(vec![neuron(1, true, 2e4), neuron(2, false, 0.0)], 50).unwrap();
        assert_eq!((snapshot.len(), snapshot.coldkeys(), snapshot.age_seconds(60)), (2, 1, 10));
        assert_eq!(snapshot.validators(&ValidatorRule { stake_min: 1e4 }), 1);
        assert!(snapshot.neuron(&AccountId::from_bytes([3; 32]).unwrap()).is_none());
    }
}
