//! A public key of the chain and its SS58 text.
//!
//! Invariant: an [`AccountId`] is never the all-zero key. That key is the chain's default value of `Keys` and
//! `Owner`, and a forged sr25519 signature verifies under it for any message.

use std::{fmt, str::FromStr};

use sp_core::crypto::{AccountId32, Ss58AddressFormat, Ss58Codec};

/// SS58 prefix of Bittensor addresses ("generic substrate").
const SS58_PREFIX: u16 = 42;

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
    fn from_str(text: &str) -> Result<Self, AccountError> {
        // 35 bytes in base58 are at most 48 characters; the decoder need not see more.
        if text.len() > 48 {
            return Err(AccountError::NotSs58);
        }
        let (account, format) =
            AccountId32::from_ss58check_with_version(text).map_err(|_| AccountError::NotSs58)?;
        let account = Self::from_bytes(account.into())?;
        if u16::from(format) != SS58_PREFIX || account.to_ss58() != text {
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
}
