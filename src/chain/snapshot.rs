//! One view of the subnet at one moment.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    AccountId,
    node::{Block, BlockHash},
};

/// The addresses of one registered hotkey as the texts that name its folders; spelt once for each snapshot,
/// for SS58 costs more than everything else a lookup does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    hotkey: String,
    coldkey: String,
    coldkey_account: AccountId,
}

impl Owner {
    /// Spells both addresses.
    pub fn new(hotkey: AccountId, coldkey: AccountId) -> Self {
        Self { hotkey: hotkey.to_ss58(), coldkey: coldkey.to_ss58(), coldkey_account: coldkey }
    }

    /// SS58 of the hotkey.
    pub fn hotkey(&self) -> &str {
        &self.hotkey
    }

    /// SS58 of the coldkey.
    pub fn coldkey(&self) -> &str {
        &self.coldkey
    }

    /// The coldkey itself.
    pub(crate) fn coldkey_account(&self) -> AccountId {
        self.coldkey_account
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
    /// Total stake (`S` of the metagraph), in units of alpha and weighted TAO; not a number where it is not
    /// known.
    pub stake: f64,
    /// Its place on the subnet, where the source tells it.
    pub uid: Option<u16>,
    /// Whether it is the one of its coldkey that [`ValidatorRule::one_per_coldkey`] lets be a validator:
    /// among those with a permit the one with the most stake. [`Snapshot::new`] settles it.
    pub leads: bool,
}

impl Neuron {
    /// A neuron with what the chain says of it.
    pub fn new(hotkey: AccountId, coldkey: AccountId, validator_permit: bool, stake: f64) -> Self {
        let owner = Arc::new(Owner::new(hotkey, coldkey));
        Self { hotkey, coldkey, owner, validator_permit, stake, uid: None, leads: true }
    }

    /// The same, with its place on the subnet.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn at_uid(mut self, uid: u16) -> Self {
        self.uid = Some(uid);
        self
    }
}

/// What a caller may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Registered, and not a validator by the rule.
    Miner,
    /// Registered, with a permit and a stake that is not known: a miner or a validator, and nobody can say.
    Undecided,
    /// Registered, with a permit and enough stake.
    Validator,
}

impl Role {
    /// The name in configuration, answers and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Undecided => "undecided",
            Self::Validator => "validator",
        }
    }
}

/// Who counts as a validator: every condition must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatorRule {
    /// Least total stake, in the units of [`Neuron::stake`].
    pub stake_min: f64,
    /// Whether the subnet must have given a validator permit.
    pub permit: bool,
    /// Where it is not empty: hotkeys and coldkeys of which one must be the neuron's.
    pub allow: HashSet<AccountId>,
    /// Hotkeys and coldkeys of which none may be the neuron's.
    pub deny: HashSet<AccountId>,
    /// Of several hotkeys of one coldkey only the one with the most stake.
    pub one_per_coldkey: bool,
}

impl Default for ValidatorRule {
    fn default() -> Self {
        Self {
            stake_min: 10_000.0,
            permit: true,
            allow: HashSet::new(),
            deny: HashSet::new(),
            one_per_coldkey: false,
        }
    }
}

/// Why a registered neuron is not a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotValidator {
    /// On the list of those who never are.
    Denied,
    /// Not on the list of those who may be.
    NotAllowed,
    /// No validator permit.
    NoPermit,
    /// Less stake than the bound.
    Stake,
    /// The stake is not known: it was read without, and never with.
    StakeUnknown,
    /// Another hotkey of the same coldkey is the validator.
    Another,
}

impl NotValidator {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "its hotkey or coldkey is in chain.validator_deny",
            Self::NotAllowed => "neither its hotkey nor its coldkey is in chain.validator_allow",
            Self::NoPermit => "it has no validator permit (permits change once in an epoch)",
            Self::Stake => "its total stake is below the bound",
            Self::StakeUnknown => "its stake is not known yet",
            Self::Another => "another hotkey of its coldkey has more stake, and one is allowed",
        }
    }
}

impl ValidatorRule {
    /// The role of a registered neuron.
    pub fn role(&self, neuron: &Neuron) -> Role {
        match self.refuses(neuron) {
            None => Role::Validator,
            // Without a permit it may be any miner of a rule that asks for none.
            Some(NotValidator::StakeUnknown) if neuron.validator_permit => Role::Undecided,
            Some(
                NotValidator::Denied
                | NotValidator::NotAllowed
                | NotValidator::NoPermit
                | NotValidator::Stake
                | NotValidator::StakeUnknown
                | NotValidator::Another,
            ) => Role::Miner,
        }
    }

    /// The first condition that does not hold. A stake that is not a number is no stake.
    pub fn refuses(&self, neuron: &Neuron) -> Option<NotValidator> {
        let is_in = |list: &HashSet<AccountId>| {
            !list.is_empty() && (list.contains(&neuron.hotkey) || list.contains(&neuron.coldkey))
        };
        if is_in(&self.deny) {
            Some(NotValidator::Denied)
        } else if !self.allow.is_empty() && !is_in(&self.allow) {
            Some(NotValidator::NotAllowed)
        } else if self.permit && !neuron.validator_permit {
            Some(NotValidator::NoPermit)
        } else if neuron.stake.is_nan() {
            Some(NotValidator::StakeUnknown)
        } else if neuron.stake < self.stake_min {
            Some(NotValidator::Stake)
        } else if self.one_per_coldkey && !neuron.leads {
            Some(NotValidator::Another)
        } else {
            None
        }
    }
}

/// From where a snapshot of the chain came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The finalized block.
    pub block: Block,
    /// The genesis of its chain.
    pub genesis: BlockHash,
    /// The version of the runtime at that block.
    pub spec_version: u32,
    /// The node it was read from.
    pub source: Arc<str>,
}

/// Everyone who is registered, looked up by hotkey in constant time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    neurons: Arc<HashMap<AccountId, Neuron>>,
    /// Seconds since the epoch at which the source was known to say this.
    pub taken_at: u64,
    /// From where, if it is the chain's.
    pub origin: Option<Origin>,
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
        settle_leads(&mut map);
        Ok(Self { neurons: Arc::new(map), taken_at, origin: None })
    }

    /// The same, with where it came from.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The block at which the chain said this.
    pub fn block(&self) -> Option<u64> {
        self.origin.as_ref().map(|origin| origin.block.number)
    }

    /// The same neurons, known to be so at a later time as well.
    #[must_use]
    pub(crate) fn seen_again(&self, taken_at: u64) -> Self {
        Self { neurons: Arc::clone(&self.neurons), taken_at, origin: self.origin.clone() }
    }

    /// The neuron of a registered hotkey.
    pub fn neuron(&self, hotkey: &AccountId) -> Option<&Neuron> {
        self.neurons.get(hotkey)
    }

    /// Everyone, in no order.
    pub fn neurons(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.values()
    }

    /// How many have a validator permit.
    pub fn permits(&self) -> usize {
        self.neurons.values().filter(|neuron| neuron.validator_permit).count()
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

/// Of each coldkey: a permit before none, then the most stake, then the lowest uid, then the key, so that it
/// is one.
fn settle_leads(neurons: &mut HashMap<AccountId, Neuron>) {
    let rank = |neuron: &Neuron| {
        let stake = if neuron.stake.is_nan() { -1.0 } else { neuron.stake };
        (neuron.validator_permit, stake, std::cmp::Reverse((neuron.uid, neuron.hotkey)))
    };
    let mut first = HashMap::with_capacity(neurons.len());
    for neuron in neurons.values() {
        let best = first.entry(neuron.coldkey).or_insert_with(|| rank(neuron));
        if rank(neuron) > *best {
            *best = rank(neuron);
        }
    }
    for neuron in neurons.values_mut() {
        neuron.leads = first.get(&neuron.coldkey).is_none_or(|best| *best == rank(neuron));
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
        let rule = ValidatorRule::default();
        assert_eq!(rule.role(&neuron(1, true, 10_000.0)), Role::Validator);
        assert_eq!(rule.role(&neuron(1, true, 9_999.9)), Role::Miner);
        assert_eq!(rule.role(&neuron(1, false, 1e9)), Role::Miner);
        assert_eq!(rule.role(&neuron(1, true, f64::NAN)), Role::Undecided);
        assert_eq!(rule.role(&neuron(1, false, f64::NAN)), Role::Miner);
        let without_permit = ValidatorRule { permit: false, ..rule };
        assert_eq!(without_permit.role(&neuron(1, false, f64::NAN)), Role::Miner);
    }

    #[test]
    fn every_condition_of_the_rule_counts_and_says_so() {
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        let big = neuron(1, true, 2e4);
        let check = |rule: ValidatorRule, neuron: &Neuron, refused| assert_eq!(rule.refuses(neuron), refused);
        let rule = ValidatorRule::default;
        check(rule(), &big, None);
        check(rule(), &neuron(1, false, 2e4), Some(NotValidator::NoPermit));
        check(rule(), &neuron(1, true, 1.0), Some(NotValidator::Stake));
        check(rule(), &neuron(1, true, f64::NAN), Some(NotValidator::StakeUnknown));
        check(ValidatorRule { permit: false, ..rule() }, &neuron(1, false, 2e4), None);
        for listed in [1, 100] {
            let list = HashSet::from([account(listed)]);
            check(ValidatorRule { deny: list.clone(), ..rule() }, &big, Some(NotValidator::Denied));
            check(ValidatorRule { allow: list.clone(), ..rule() }, &big, None);
            // A place on the list is no stake and no permit, and who is denied is denied.
            let weak = neuron(1, false, 0.0);
            check(ValidatorRule { allow: list.clone(), ..rule() }, &weak, Some(NotValidator::NoPermit));
            let both = ValidatorRule { allow: list.clone(), deny: list, ..rule() };
            check(both, &big, Some(NotValidator::Denied));
        }
        let other = ValidatorRule { allow: HashSet::from([account(2)]), ..rule() };
        check(other, &big, Some(NotValidator::NotAllowed));
    }

    #[test]
    fn of_one_coldkey_the_hotkey_with_the_most_stake_leads() {
        let neurons =
            vec![neuron(1, true, 2e4), neuron(2, true, 3e4), neuron(3, false, 9e4), neuron(4, true, 3e4)];
        let snapshot = Snapshot::new(neurons, 0).unwrap();
        let rule = ValidatorRule { one_per_coldkey: true, ..ValidatorRule::default() };
        let validators: Vec<_> =
            snapshot.neurons().filter(|neuron| rule.role(neuron) == Role::Validator).collect();
        assert_eq!(validators.len(), 1);
        assert_eq!(validators[0].hotkey, AccountId::from_bytes([2; 32]).unwrap());
        assert_eq!(snapshot.validators(&ValidatorRule::default()), 3);
    }

    #[test]
    fn who_has_a_stake_leads_before_whose_is_not_known() {
        for known in [0.5, 0.0] {
            let snapshot = Snapshot::new(vec![neuron(1, true, f64::NAN), neuron(2, true, known)], 0).unwrap();
            let leading: Vec<_> = snapshot.neurons().filter(|neuron| neuron.leads).collect();
            assert_eq!(leading.len(), 1);
            assert_eq!(leading[0].hotkey, AccountId::from_bytes([2; 32]).unwrap());
        }
    }

    #[test]
    fn a_neuron_is_named_by_its_addresses_and_a_role_by_its_word() {
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        let neuron = neuron(1, true, 1.0);
        assert_eq!(neuron.owner.hotkey(), account(1).to_ss58());
        assert_eq!(neuron.owner.coldkey(), account(100).to_ss58());
        assert_eq!(neuron.owner.coldkey_account(), account(100));
        let roles = [Role::Miner, Role::Undecided, Role::Validator];
        assert_eq!(roles.map(Role::as_str), ["miner", "undecided", "validator"]);
    }

    #[test]
    fn who_is_no_validator_is_told_why() {
        for (why, says) in [
            (NotValidator::Denied, "chain.validator_deny"),
            (NotValidator::NotAllowed, "chain.validator_allow"),
            (NotValidator::NoPermit, "permit"),
            (NotValidator::Stake, "below the bound"),
            (NotValidator::StakeUnknown, "not known"),
            (NotValidator::Another, "another hotkey"),
        ] {
            assert!(why.as_str().contains(says), "{}", why.as_str());
        }
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
        assert_eq!(snapshot.validators(&ValidatorRule::default()), 1);
        assert!(snapshot.neuron(&AccountId::from_bytes([3; 32]).unwrap()).is_none());
        assert!(snapshot.neuron(&AccountId::from_bytes([2; 32]).unwrap()).is_some());
        assert!(!snapshot.is_empty() && Snapshot::default().is_empty());
        let account = |id| AccountId::from_bytes([id; 32]).unwrap();
        let others = (1..=4).map(|id| Neuron::new(account(id), account(100 + id / 2), id != 1, 0.0));
        let others = Snapshot::new(others.collect(), 50).unwrap();
        assert_eq!((others.len(), others.coldkeys(), others.permits()), (4, 3, 3));
        assert_eq!(Snapshot::default().permits(), 0);
    }
}
