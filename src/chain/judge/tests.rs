use super::*;
use crate::chain::BlockHash;

fn read(id: u8, coldkey: u8, permit: bool, stake: Option<u64>) -> ReadNeuron {
    ReadNeuron {
        hotkey: [id; 32],
        coldkey: [coldkey; 32],
        validator_permit: permit,
        stake_rao: stake.map(|stake| stake * 1_000_000_000),
    }
}

fn reading(number: u64, neurons: Vec<ReadNeuron>) -> Reading {
    let hash = u8::try_from(number % 251).unwrap();
    Reading {
        block: Block { number, hash: BlockHash([hash; 32]) },
        genesis: BlockHash([69; 32]),
        spec_version: 300,
        source: "ws://node".into(),
        neurons,
    }
}

fn miners(ids: std::ops::Range<u8>) -> Vec<ReadNeuron> {
    ids.map(|id| read(id, 200, false, Some(1))).collect()
}

fn taken(number: u64, neurons: Vec<ReadNeuron>) -> Snapshot {
    snapshot(&reading(number, neurons), &Snapshot::default(), 1000).unwrap()
}

fn account(id: u8) -> AccountId {
    AccountId::from_bytes([id; 32]).unwrap()
}

fn role(snapshot: &Snapshot, id: u8) -> Option<Role> {
    snapshot.neuron(&account(id)).map(|neuron| ValidatorRule::default().role(neuron))
}

#[test]
fn p38_nothing_but_a_valid_newer_reading_follows() {
    let last = taken(10, miners(1..5));
    let check = |number: u64, neurons: Vec<ReadNeuron>, invalid| {
        assert_eq!(snapshot(&reading(number, neurons), &last, 1001).err(), invalid);
    };
    check(11, miners(1..5), None);
    check(10, miners(1..5), Some(InvalidReading::BlockBack { now: 10, last: 10 }));
    check(9, miners(1..5), Some(InvalidReading::BlockBack { now: 9, last: 10 }));
    check(11, Vec::new(), Some(InvalidReading::Empty));
    check(11, [miners(1..5), miners(4..5)].concat(), Some(InvalidReading::Twice(account(4))));
    check(11, [miners(1..5), vec![read(0, 1, false, None)]].concat(), Some(InvalidReading::ZeroKey(4)));
    check(11, [miners(1..5), vec![read(9, 0, false, None)]].concat(), Some(InvalidReading::ZeroKey(4)));
    check(11, vec![read(1, 1, false, None); NEURONS_MAX + 1], Some(InvalidReading::TooMany));
    let other = Reading { genesis: BlockHash([1; 32]), ..reading(11, miners(1..5)) };
    assert_eq!(snapshot(&other, &last, 1001).err(), Some(InvalidReading::OtherChain));
}

#[test]
fn a_reading_without_stakes_keeps_the_last_known() {
    let last = taken(10, vec![read(1, 2, true, Some(20_000)), read(3, 4, true, Some(1))]);
    let next = [read(1, 2, true, None), read(3, 4, true, None), read(5, 6, true, None)];
    let next = snapshot(&reading(11, next.into()), &last, 1001).unwrap();
    assert_eq!(role(&next, 1), Some(Role::Validator));
    assert_eq!(next.neuron(&account(3)).unwrap().stake, 1.0);
    // Of a newcomer nothing is known, and that makes nobody a validator.
    assert!(next.neuron(&account(5)).unwrap().stake.is_nan());
    assert_eq!(role(&next, 5), Some(Role::Undecided));
}

#[test]
fn p38_a_known_neuron_has_the_rights_of_the_newest_reading() {
    let last = taken(10, vec![read(1, 101, true, Some(20_000)), read(2, 102, false, Some(1))]);
    let next = vec![read(1, 101, false, Some(20_000)), read(2, 102, true, Some(20_000))];
    let next = snapshot(&reading(11, next), &last, 1001).unwrap();
    assert_eq!([1, 2].map(|id| role(&next, id)), [Some(Role::Miner), Some(Role::Validator)]);
    let after = vec![read(1, 101, false, Some(20_000)), read(2, 102, true, Some(0))];
    let after = snapshot(&reading(12, after), &next, 1002).unwrap();
    assert_eq!(role(&after, 2), Some(Role::Miner), "its stake is gone");
}

#[test]
fn a_subnet_may_be_full() {
    let read = (1..=u16::try_from(NEURONS_MAX).unwrap()).map(|uid| {
        let [high, low] = uid.to_be_bytes();
        let mut hotkey = [7; 32];
        hotkey[..2].copy_from_slice(&[high, low]);
        ReadNeuron { hotkey, coldkey: [9; 32], validator_permit: false, stake_rao: None }
    });
    let full = snapshot(&reading(11, read.collect()), &Snapshot::default(), 1001).unwrap();
    assert_eq!(full.len(), NEURONS_MAX);
}

#[test]
fn each_fault_of_a_reading_has_its_name_and_says_what_to_do() {
    let back = InvalidReading::BlockBack { now: 9, last: 10 };
    for (fault, kind, advice) in [
        (InvalidReading::Empty, "empty", "chain.endpoints"),
        (InvalidReading::TooMany, "too_many", "chain.endpoints"),
        (InvalidReading::ZeroKey(1), "zero_key", "chain.endpoints"),
        (InvalidReading::Twice(account(1)), "duplicate_hotkey", "chain.endpoints"),
        (back, "block_back", "chain.snapshot_file"),
        (InvalidReading::OtherChain, "wrong_genesis", "chain.genesis"),
    ] {
        assert_eq!(fault.kind(), kind);
        assert!(fault.advice().contains(advice), "{kind}: {}", fault.advice());
    }
}

#[test]
fn uids_and_texts_follow_the_reading() {
    let last = taken(10, miners(1..4));
    let moved = [read(3, 7, false, Some(2)), read(1, 200, false, Some(3))];
    let next = snapshot(&reading(11, moved.into()), &last, 1001).unwrap();
    let neuron = next.neuron(&account(3)).unwrap();
    assert_eq!((neuron.uid, neuron.owner.coldkey()), (Some(0), account(7).to_ss58().as_str()));
    assert_eq!(next.neuron(&account(1)).unwrap().uid, Some(1));
}

#[test]
fn a_collapse_needs_a_second_read() {
    let last = taken(10, miners(1..11));
    assert_eq!(collapse(&taken(11, miners(6..11)), &last, 0.5), None);
    assert_eq!(collapse(&taken(11, miners(7..11)), &last, 0.5), Some(6));
    // Replaced is gone as well.
    assert_eq!(collapse(&taken(11, miners(20..30)), &last, 0.5), Some(10));
    assert_eq!(collapse(&taken(11, miners(1..11)), &Snapshot::default(), 0.5), None);
    let block = |number| reading(number, Vec::new()).block;
    let held = HeldCollapse { block: block(11), endpoint: 0 };
    assert!(!held.is_confirmed_by(block(11), 0));
    assert!(held.is_confirmed_by(block(12), 0) && held.is_confirmed_by(block(11), 1));
}

#[test]
fn without_a_witness_nobody_gains_and_everybody_loses() {
    let rule = ValidatorRule::default();
    let last = taken(
        10,
        vec![
            read(1, 101, true, Some(20_000)),
            read(2, 102, false, Some(1)),
            read(3, 103, false, Some(1)),
            read(4, 104, false, Some(1)),
        ],
    );
    let now = vec![
        // Loses the permit; becomes a validator; changes the coldkey; is gone; is new.
        read(1, 101, false, Some(20_000)),
        read(2, 102, true, Some(20_000)),
        read(3, 113, false, Some(1)),
        read(5, 105, true, Some(20_000)),
    ];
    let next = taken(11, now.clone());
    assert!(grants(&next, &last, &rule) && !grants(&last, &last, &rule));
    let (kept, withheld) = confirmed(&next, &last, None, &rule);
    assert_eq!(withheld, 3);
    assert_eq!(
        [1, 2, 3, 4, 5].map(|id| role(&kept, id)),
        [Some(Role::Miner), Some(Role::Miner), None, None, None]
    );
    assert_eq!(kept.block(), Some(11));
    assert!(!grants(&kept, &last, &rule));

    let (kept, withheld) = confirmed(&next, &last, Some(&next), &rule);
    assert_eq!((withheld, kept.len(), role(&kept, 2)), (0, 4, Some(Role::Validator)));

    // A witness that says less gives less: registered, but no validator; another coldkey.
    let mut other = now;
    other[1].validator_permit = false;
    other[2].coldkey = [99; 32];
    other[3].validator_permit = false;
    let (kept, withheld) = confirmed(&next, &last, Some(&taken(11, other)), &rule);
    assert_eq!(withheld, 3);
    assert_eq!([2, 3, 5].map(|id| role(&kept, id)), [Some(Role::Miner), None, Some(Role::Miner)]);
}

#[test]
fn losing_rights_is_no_grant() {
    let rule = ValidatorRule::default();
    let last = taken(10, vec![read(1, 101, true, Some(20_000)), read(2, 102, false, Some(1))]);
    assert!(!grants(&taken(11, vec![read(1, 101, false, Some(20_000))]), &last, &rule));
}
