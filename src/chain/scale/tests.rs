#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test's own encoder, on numbers of its own"
)]

use proptest::prelude::*;

use super::*;

/// The answers of a real runtime: `[method, params, result]`.
fn recorded(params: &str) -> Vec<u8> {
    let text = include_str!("../../../tests/fixtures/subtensor/spec300_n256.json");
    let recording: serde_json::Value = serde_json::from_str(text).unwrap();
    let call = recording["calls"].as_array().unwrap().iter().find(|call| {
        call["method"] == "state_call" && call["params"][1].as_str().unwrap().starts_with(params)
    });
    hex::decode(call.unwrap()["result"].as_str().unwrap().trim_start_matches("0x")).unwrap()
}

fn compact(number: u64, out: &mut Vec<u8>) {
    match number {
        0..64 => out.push((number as u8) << 2),
        64..16384 => out.extend((((number as u16) << 2) | 1).to_le_bytes()),
        16384..1_073_741_824 => out.extend((((number as u32) << 2) | 2).to_le_bytes()),
        _ => {
            let bytes = number.to_le_bytes();
            let length = (8 - number.leading_zeros() as usize / 8).max(4);
            out.push((((length - 4) as u8) << 2) | 3);
            out.extend(&bytes[..length]);
        }
    }
}

fn encode(metagraph: &Metagraph, appended: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 0];
    let neurons = &metagraph.neurons;
    for field in 1..=FIELD_LAST {
        out.push(u8::from(FIELDS.contains(&field)));
        if field == 7 {
            compact(metagraph.block, &mut out);
        } else if FIELDS.contains(&field) {
            compact(neurons.len() as u64, &mut out);
            for neuron in neurons {
                match field {
                    52 => out.extend(neuron.hotkey),
                    53 => out.extend(neuron.coldkey),
                    56 => out.push(neuron.active.into()),
                    57 => out.push(neuron.validator_permit.into()),
                    59 => compact(neuron.last_update, &mut out),
                    67 => compact(neuron.alpha_stake_rao, &mut out),
                    68 => compact(neuron.tao_stake_rao, &mut out),
                    _ => compact(neuron.total_stake_rao, &mut out),
                }
            }
        }
    }
    out.extend(appended);
    out
}

#[test]
fn the_call_is_spelt_as_recorded() {
    assert_eq!(hex::encode(arguments(13)), "0d0024070034003500380039003b00430044004500");
}

#[test]
fn a_real_answer_is_decoded_and_what_follows_is_ignored() {
    let answer = recorded("0x0d00");
    let metagraph = decode(13, &answer).unwrap().unwrap();
    assert_eq!((metagraph.block, metagraph.neurons.len()), (2, 256));
    assert_eq!(metagraph.neurons.iter().filter(|neuron| neuron.validator_permit).count(), 64);
    assert!(metagraph.neurons.iter().all(|neuron| neuron.hotkey != [0; 32] && neuron.coldkey != [0; 32]));
    // The recording has fields after 69; encoding what was understood gives its beginning.
    let prefix = encode(&metagraph, &[]);
    assert!(answer.len() > prefix.len() && answer.starts_with(&prefix));
    for appended in [&[][..], &[0], &[1, 2, 3], &[255; 1000]] {
        let longer = [&answer[..], appended].concat();
        assert_eq!(decode(13, &longer).unwrap().unwrap(), metagraph);
    }
    // Every shorter prefix is short, never a smaller subnet.
    for length in (0..prefix.len()).step_by(97).chain([prefix.len() - 1]) {
        assert!(decode(13, &answer[..length]).is_err(), "{length}");
    }
}

#[test]
fn an_absent_subnet_is_none() {
    assert_eq!(decode(99, &recorded("0x6300")), Ok(None));
}

#[test]
fn lies_are_refused() {
    let neuron = RawNeuron {
        hotkey: [1; 32],
        coldkey: [2; 32],
        active: true,
        validator_permit: true,
        last_update: 5,
        alpha_stake_rao: 6,
        tao_stake_rao: 7,
        total_stake_rao: u64::MAX,
    };
    let good = encode(&Metagraph { block: 9, neurons: vec![neuron] }, &[]);
    assert!(decode(13, &good).unwrap().is_some());
    let check = |at: usize, bytes: &[u8], expected| {
        let mut lie = good.clone();
        lie.splice(at..=at, bytes.iter().copied());
        assert_eq!(decode(13, &lie), Err(expected), "{at}");
    };
    let hotkeys = 2 + 7 + 1 + 45;
    check(0, &[2], ScaleError::Value);
    check(1, &[14 << 2], ScaleError::Netuid);
    check(2, &[1], ScaleError::Field(1));
    check(8, &[0], ScaleError::Field(7));
    // Lengths: none, more than there is, more than there can be, in a second spelling.
    check(hotkeys, &[0], ScaleError::Length);
    check(hotkeys, &[63 << 2], ScaleError::Length);
    check(hotkeys, &[3, 255, 255, 255, 255], ScaleError::Length);
    check(hotkeys, &[19, 255, 255, 255, 255, 255, 255, 255, 255], ScaleError::Length);
    check(hotkeys, &[23, 1, 1, 1, 1, 1, 1, 1, 1, 1], ScaleError::Value);
    check(hotkeys, &[5, 0], ScaleError::Value);
    let short = Metagraph { block: 9, neurons: vec![neuron; 2] };
    let mut lengths = encode(&short, &[]);
    // The permits of one neuron beside the keys of two.
    let permits = lengths.iter().rposition(|byte| *byte == 5 << 2).unwrap() - 6;
    let at = (0..permits).rev().find(|at| lengths[*at..].starts_with(&[1, 8, 1, 1])).unwrap();
    lengths.splice(at..at + 4, [1, 4, 1]);
    assert_eq!(decode(13, &lengths), Err(ScaleError::Lengths));
}

#[test]
fn flags_of_the_storage() {
    assert_eq!(decode_flags(&[8, 1, 0]), Ok(vec![true, false]));
    assert_eq!(decode_flags(&[8, 1]), Err(ScaleError::Length));
    assert_eq!(decode_flags(&[4, 2]), Err(ScaleError::Value));
    assert_eq!(decode_flags(&[4, 1, 0]), Err(ScaleError::Value));
}

fn neurons() -> impl Strategy<Value = Vec<RawNeuron>> {
    let neuron = (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[bool; 2]>(), any::<[u64; 4]>(), 0_u32..64);
    let neuron = neuron.prop_map(|(hotkey, coldkey, flags, numbers, shift)| RawNeuron {
        hotkey,
        coldkey,
        active: flags[0],
        validator_permit: flags[1],
        // Numbers of every length.
        last_update: numbers[0] >> shift,
        alpha_stake_rao: numbers[1] >> shift,
        tao_stake_rao: numbers[2] >> (63 - shift),
        total_stake_rao: numbers[3] >> shift,
    });
    proptest::collection::vec(neuron, 0..40)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(neurons in neurons(), block: u64, appended: Vec<u8>) {
        let metagraph = Metagraph { block, neurons };
        prop_assert_eq!(decode(13, &encode(&metagraph, &appended)), Ok(Some(metagraph)));
    }

    #[test]
    fn no_bytes_panic_or_make_neurons_of_nothing(bytes: Vec<u8>) {
        if let Ok(Some(metagraph)) = decode(13, &bytes) {
            prop_assert!(metagraph.neurons.len() * 70 <= bytes.len());
        }
        let _ = decode_flags(&bytes);
    }

    #[test]
    fn one_changed_byte_never_panics_nor_grows(at in 0_usize..21_000, byte: u8) {
        let mut bytes = recorded("0x0d00");
        let place = at % bytes.len();
        bytes[place] = byte;
        if let Ok(Some(metagraph)) = decode(13, &bytes) {
            prop_assert!(metagraph.neurons.len() <= NEURONS_MAX);
        }
    }
}
