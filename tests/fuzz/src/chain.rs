//! What the chain says: addresses, and the metagraph of its nodes.

use subgate::chain::{
    AccountId,
    scale::{NEURONS_MAX, decode, decode_flags},
};

/// An address has one spelling: what is read is written as it was.
pub fn ss58(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(account) = text.parse::<AccountId>() {
        assert_eq!(account.to_ss58(), text);
    }
    if let Some(bytes) = input.first_chunk::<32>()
        && let Ok(account) = AccountId::from_bytes(*bytes)
    {
        assert_eq!(account.to_ss58().parse(), Ok(account));
    }
}

/// Two keys, two flags, four numbers of a byte or more.
const NEURON_BYTES_MIN: usize = 32 + 32 + 1 + 1 + 4;

/// Never more neurons than the bytes can hold, and what later runtimes append changes nothing.
pub fn metagraph(input: &[u8]) {
    let decoded = decode(13, input);
    if let Ok(Some(metagraph)) = &decoded {
        assert!(metagraph.neurons.len() <= NEURONS_MAX);
        assert!(metagraph.neurons.len() * NEURON_BYTES_MIN <= input.len());
        assert_eq!(decode(13, &[input, &[1, 0, 255]].concat()), decoded);
    }
    let _ = decode_flags(input);
}
