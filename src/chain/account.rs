//! A public key of the chain and its SS58 text.
//!
//! Invariant: an [`AccountId`] is never the all-zero key. That key is the chain's default value of `Keys` and
//! `Owner`, and a forged sr25519 signature verifies under it for any message.

use std::{fmt, str::FromStr};

use sp_core::crypto::{AccountId32, Ss58AddressFormat, Ss58Codec};

/// SS58 prefix of Bittensor addresses ("generic substrate").
const SS58_PREFIX: u16 = 42;

/// The longest text that has the prefix in one byte: 35 bytes in base58.
const TEXT_BYTES_MAX: usize = 48;

/// A hotkey or a coldkey: a 32-byte public key whose text form is SS58 with prefix 42.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; 32]);

/// Why a text or a key is not an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Not base58, a wrong checksum, a wrong length, another prefix, or a second spelling of the same key.
    #[error("not a canonical SS58 address with prefix 42 (48 characters that start with 5)")]
    NotSs58,
    /// The all-zero public key, under which anyone can sign.
    #[error("the all-zero account is nobody's")]
    Zero,
}

impl AccountId {
    /// Takes a public key as the chain stores it; refuses the all-zero key.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, AccountError> {
        if bytes == [0; 32] {
            return Err(AccountError::Zero);
        }
        Ok(Self(bytes))
    }

    /// The public key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The SS58 text with prefix 42.
    pub fn to_ss58(&self) -> String {
        AccountId32::new(self.0).to_ss58check_with_version(Ss58AddressFormat::custom(SS58_PREFIX))
    }
}

impl FromStr for AccountId {
    type Err = AccountError;

    /// Accepts exactly the text that [`AccountId::to_ss58`] gives back: SS58 has several spellings of one
    /// key, and two spellings would be two folders (P23).
    ///
    /// It need not be encoded again to know that, which would take longer than to decode it. In base58 one
    /// number has one spelling but for leading `1`s, each of which is a zero byte in front, and here the
    /// first byte is 42. SS58 has a second form of the prefix 42, in two bytes: 36 bytes that begin with 64
    /// or more are 49 characters at least.
    fn from_str(text: &str) -> Result<Self, AccountError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(AccountError::NotSs58);
        }
        let (account, format) =
            AccountId32::from_ss58check_with_version(text).map_err(|_| AccountError::NotSs58)?;
        let account = Self::from_bytes(account.into())?;
        if u16::from(format) != SS58_PREFIX {
            return Err(AccountError::NotSs58);
        }
        Ok(account)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_ss58())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_ss58())
    }
}

impl serde::Serialize for AccountId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_ss58())
    }
}

impl<'de> serde::Deserialize<'de> for AccountId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("{text:?} is {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn canonical_text_goes_round() {
        let alice: AccountId = ALICE.parse().unwrap();
        assert_eq!(alice.to_ss58(), ALICE);
        assert_eq!(AccountId::from_bytes(*alice.as_bytes()), Ok(alice));
    }

    #[test]
    fn the_all_zero_account_is_refused() {
        let zero = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";
        assert_eq!(zero.parse::<AccountId>(), Err(AccountError::Zero));
        assert_eq!(AccountId::from_bytes([0; 32]), Err(AccountError::Zero));
    }

    #[test]
    fn p23_other_prefixes_checksums_and_cases_are_refused() {
        let polkadot = AccountId32::new([7; 32]).to_ss58check_with_version(Ss58AddressFormat::custom(0));
        let wrong_checksum = ALICE.replace("utQY", "utQX");
        for text in [
            polkadot.as_str(),
            &wrong_checksum,
            &ALICE.to_lowercase(),
            "",
            "5",
            ALICE.trim_end_matches('Y'),
            &"1".repeat(4096),
        ] {
            assert_eq!(text.parse::<AccountId>(), Err(AccountError::NotSs58), "{text}");
        }
    }

    /// The prefix 42 in two bytes, as SS58 writes those above 63.
    fn in_the_long_form(key: &[u8; 32]) -> String {
        let mut bytes = [&[0b0100_1010, 0b1000_0000], key.as_slice()].concat();
        let checksum = sp_crypto_hashing::blake2_512(&[b"SS58PRE", bytes.as_slice()].concat());
        bytes.extend_from_slice(&checksum[..2]);
        bs58::encode(bytes).into_string()
    }

    proptest::proptest! {
        #[test]
        fn p23_one_key_has_one_spelling(key: [u8; 32], at in 0..48_usize, byte: u8) {
            let account = AccountId::from_bytes(key).unwrap();
            let text = account.to_ss58();
            assert_eq!(text.parse(), Ok(account));

            // The library reads the long form; it is too long here, whatever the key is.
            let long = in_the_long_form(&key);
            let read = AccountId32::from_ss58check_with_version(&long).unwrap();
            assert_eq!(read, (AccountId32::new(key), Ss58AddressFormat::custom(SS58_PREFIX)));
            assert_eq!(long.parse::<AccountId>(), Err(AccountError::NotSs58), "{long}");

            for zeros in 1..4 {
                let padded = "1".repeat(zeros) + &text;
                assert_eq!(padded.parse::<AccountId>(), Err(AccountError::NotSs58), "{padded}");
            }
            // Whatever else is read is written as it was.
            let mut changed = text.into_bytes();
            let last = changed.len() - 1;
            changed[at.min(last)] = byte;
            if let Ok(changed) = std::str::from_utf8(&changed)
                && let Ok(account) = changed.parse::<AccountId>()
            {
                assert_eq!(account.to_ss58(), changed);
            }
        }
    }

    #[test]
    fn p23_the_shortest_long_form_is_too_long() {
        for key in [[0; 32], [0xff; 32]] {
            assert!(in_the_long_form(&key).len() > TEXT_BYTES_MAX);
        }
        for key in [[1; 32], [0xff; 32]] {
            assert!(AccountId::from_bytes(key).unwrap().to_ss58().len() <= TEXT_BYTES_MAX);
        }
    }
}
