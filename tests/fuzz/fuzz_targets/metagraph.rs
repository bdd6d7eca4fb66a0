//! The metagraph decoder: whatever a node sends, no panic, never more neurons than the bytes can hold, and
//! what later runtimes append changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use subgate::chain::scale::{NEURONS_MAX, decode, decode_flags};

/// Two keys, two flags, four numbers of a byte or more.
const NEURON_BYTES_MIN: usize = 32 + 32 + 1 + 1 + 4;

fuzz_target!(|input: &[u8]| {
    let decoded = decode(13, input);
    if let Ok(Some(metagraph)) = &decoded {
        assert!(metagraph.neurons.len() <= NEURONS_MAX);
        assert!(metagraph.neurons.len() * NEURON_BYTES_MIN <= input.len());
        assert_eq!(decode(13, &[input, &[1, 0, 255]].concat()), decoded);
    }
    let _ = decode_flags(input);
});
