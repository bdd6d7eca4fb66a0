//! Keys of the pallet `SubtensorModule` in the chain's storage, computed and never looked up in metadata:
//! metadata is what weekly runtime upgrades change.
//!
//! A map's key is twox128 of the pallet, twox128 of the item, and the map's own keys by its hasher: the
//! netuid and the uid as they are (`Identity`), a hotkey behind its blake2-128 (`Blake2_128Concat`).

use sp_crypto_hashing::{blake2_128, twox_128};

const PALLET: &[u8] = b"SubtensorModule";

/// `SubnetworkN`: how many neurons the subnet has.
pub(crate) fn subnetwork_n(netuid: u16) -> Vec<u8> {
    key("SubnetworkN", &netuid.to_le_bytes())
}

/// `ValidatorPermit`: one flag for each uid.
pub(crate) fn validator_permit(netuid: u16) -> Vec<u8> {
    key("ValidatorPermit", &netuid.to_le_bytes())
}

/// `Keys`: the hotkey of a uid.
pub(crate) fn keys(netuid: u16, uid: u16) -> Vec<u8> {
    key("Keys", &[netuid.to_le_bytes(), uid.to_le_bytes()].concat())
}

/// `Owner`: the coldkey of a hotkey.
pub(crate) fn owner(hotkey: &[u8; 32]) -> Vec<u8> {
    key("Owner", &[&blake2_128(hotkey)[..], hotkey].concat())
}

fn key(item: &str, own: &[u8]) -> Vec<u8> {
    [&twox_128(PALLET)[..], &twox_128(item.as_bytes()), own].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_a_runtime_answered() {
        let pallet = "658faa385070e074c85bf6b568cf0555";
        assert_eq!(hex::encode(subnetwork_n(13)), format!("{pallet}a1048e9d244171852dfe8db314dc68ca0d00"));
        assert_eq!(
            hex::encode(validator_permit(13)),
            format!("{pallet}56af5b07ace59da2c9d7f0d48bc931430d00")
        );
        assert_eq!(hex::encode(keys(13, 2)), format!("{pallet}9f99a2ce711f3a31b2fc05604c93f1790d000200"));
        let hotkey = "70125d913c2ec38b6a1c021c7199c565384e3148ed380f6ea3192217676c7c59";
        let hotkey = <[u8; 32]>::try_from(hex::decode(hotkey).unwrap()).unwrap();
        assert_eq!(
            hex::encode(owner(&hotkey)),
            format!(
                "{pallet}eca6b7a1fdc9f689184ecb4f359c0518b4e9e3da721f34843d97674c9b7eefe8{}",
                hex::encode(hotkey)
            )
        );
    }
}
