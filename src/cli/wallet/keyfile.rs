//! The text of a keyfile: JSON as the Bittensor tools write it, in any order, with any field but a secret missing.
//!
//! Invariant: a [`Key`]'s pair derives to the address that the file states. A file whose secrets all belong to
//! another address is refused, so that nobody signs as someone he did not mean.

use serde::{Deserialize, Deserializer, Serialize};
use sp_core::{Pair as _, sr25519 as substrate};
use zeroize::Zeroizing;

use crate::{
    auth::bittensor::sr25519::Keypair,
    chain::AccountId,
    secret::{Secret, SecretText},
};

/// sr25519 in the tools' numbering; ed25519 is 0.
const CRYPTO_TYPE_SR25519: u8 = 1;

/// A hotkey that can sign.
#[derive(Debug)]
pub(crate) struct Key {
    /// The pair.
    pub(crate) pair: Keypair,
    /// The mini secret, where the file has it or its phrase.
    pub(crate) seed: Option<Secret>,
}

/// Why a keyfile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyfileError {
    /// Not the JSON of a keyfile; the text says where.
    #[error("not a keyfile: {0}")]
    NotAKeyfile(String),
    /// A format of early wallets.
    #[error("this is the old {0} encryption: open it once with btcli, which rewrites it")]
    OldEncryption(&'static str),
    /// ed25519 or unknown.
    #[error("cryptoType {0}: only sr25519 hotkeys (cryptoType 1) are supported")]
    CryptoType(u8),
    /// A field has not the form that it must have.
    #[error("{0} is not {1}")]
    Field(&'static str, &'static str),
    /// A public keyfile, or one without any secret.
    #[error("no secretSeed, privateKey or secretPhrase in it: is this a public keyfile?")]
    NoSecret,
    /// The secrets belong to another address than the file states.
    #[error("its secret belongs to {derived}, but it states ss58Address {stated}")]
    OtherAddress {
        /// What the secret derives to.
        derived: AccountId,
        /// What the file says.
        stated: AccountId,
    },
}

/// A text field that may hold a secret.
struct Hidden(SecretText);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(SecretText::new(text)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    secret_seed: Option<Hidden>,
    private_key: Option<Hidden>,
    secret_phrase: Option<Hidden>,
    ss58_address: Option<String>,
    public_key: Option<String>,
    account_id: Option<String>,
    crypto_type: Option<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    account_id: &'a str,
    public_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<&'a str>,
    ss58_address: String,
    crypto_type: u8,
}

fn raw(text: &[u8]) -> Result<Raw, KeyfileError> {
    if text.starts_with(b"$ANSIBLE_VAULT") {
        return Err(KeyfileError::OldEncryption("Ansible Vault"));
    }
    if text.starts_with(b"gAAAAA") {
        return Err(KeyfileError::OldEncryption("Fernet"));
    }
    // serde_json's text may quote what it read, which may be a secret: the place is all that is told.
    serde_json::from_slice(text).map_err(|error| {
        KeyfileError::NotAKeyfile(format!("JSON expected, line {} column {}", error.line(), error.column()))
    })
}

impl Raw {
    /// The address that the file states, by any of its three names.
    fn stated(&self) -> Result<Option<AccountId>, KeyfileError> {
        if let Some(text) = &self.ss58_address {
            let account = text.parse().map_err(|_| KeyfileError::Field("ss58Address", "an SS58 address"))?;
            return Ok(Some(account));
        }
        let named = [("publicKey", &self.public_key), ("accountId", &self.account_id)];
        let Some((name, text)) = named.into_iter().find_map(|(name, text)| Some((name, text.as_ref()?)))
        else {
            return Ok(None);
        };
        let bytes = hex_bytes::<32>(text).ok_or(KeyfileError::Field(name, "0x and 64 hex digits"))?;
        AccountId::from_bytes(*bytes).map(Some).map_err(|_| KeyfileError::Field(name, "anyone's key"))
    }

    fn checked_crypto_type(&self) -> Result<(), KeyfileError> {
        match self.crypto_type {
            // Wallets from before the field are sr25519.
            None | Some(CRYPTO_TYPE_SR25519) => Ok(()),
            Some(other) => Err(KeyfileError::CryptoType(other)),
        }
    }

    /// Every key that the secrets of the file give, in the order in which the tools trust them, and why the others
    /// give none: bittensor-wallet 4.1 writes a `secretSeed` that is not hex for a key that was made from a seed, and
    /// a good `privateKey` beside it.
    fn keys(&self) -> (Vec<Key>, Option<KeyfileError>) {
        let from_seed = self.secret_seed.as_ref().map(|Hidden(text)| {
            let bytes = hex_bytes::<32>(text.expose());
            Key::from_seed(&*bytes.ok_or(KeyfileError::Field("secretSeed", "0x and 64 hex digits"))?)
        });
        let from_private_key = self.private_key.as_ref().map(|Hidden(text)| {
            let bytes = hex_bytes::<64>(text.expose())
                .ok_or(KeyfileError::Field("privateKey", "0x and 128 hex digits"))?;
            let pair = Keypair::from_secret_bytes(&bytes)
                .map_err(|_| KeyfileError::Field("privateKey", "an sr25519 secret key"))?;
            Ok(Key { pair, seed: None })
        });
        let (mut keys, mut fault) = (Vec::new(), None);
        for key in [from_seed, from_private_key].into_iter().flatten() {
            match key {
                Ok(key) => keys.push(key),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        // 2,048 rounds: asked only where nothing else is there.
        if let (true, Some(Hidden(phrase))) = (keys.is_empty(), &self.secret_phrase) {
            match Key::from_phrase(phrase) {
                Ok(key) => keys.push(key),
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        (keys, fault)
    }
}

impl Key {
    /// From a mini secret.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyfileError> {
        let pair = Keypair::from_mini_secret(seed)
            .map_err(|_| KeyfileError::Field("secretSeed", "an sr25519 mini secret"))?;
        Ok(Self { pair, seed: Some(Secret::new(*seed)) })
    }

    /// From an English BIP39 phrase, the way substrate does: from its entropy, without a password.
    fn from_phrase(phrase: &SecretText) -> Result<Self, KeyfileError> {
        let (_, seed) = substrate::Pair::from_phrase(phrase.expose(), None)
            .map_err(|_| KeyfileError::Field("secretPhrase", "an English BIP39 phrase"))?;
        Self::from_seed(&Zeroizing::new(seed))
    }

    /// From the JSON of a plain or decrypted keyfile.
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, KeyfileError> {
        let raw = raw(text)?;
        raw.checked_crypto_type()?;
        let stated = raw.stated()?;
        let (keys, fault) = raw.keys();
        let derived = keys.first().ok_or_else(|| fault.unwrap_or(KeyfileError::NoSecret))?.pair.account();
        let matching = keys.into_iter().find(|key| stated.is_none_or(|stated| key.pair.account() == stated));
        matching.ok_or(KeyfileError::OtherAddress { derived, stated: stated.unwrap_or(derived) })
    }

    /// The JSON of a plain keyfile with every field that is known.
    pub(crate) fn to_json(&self) -> Secret {
        let account = self.pair.account();
        let public = format!("0x{}", hex::encode(account.as_bytes()));
        let private = Zeroizing::new(format!("0x{}", hex::encode(self.pair.secret_bytes().expose())));
        let seed = self.seed.as_ref().map(|seed| Zeroizing::new(format!("0x{}", hex::encode(seed.expose()))));
        written(&Written {
            account_id: &public,
            public_key: &public,
            private_key: Some(&private),
            secret_seed: seed.as_deref().map(String::as_str),
            ss58_address: account.to_ss58(),
            crypto_type: CRYPTO_TYPE_SR25519,
        })
    }
}

/// The address in a public keyfile (`coldkeypub.txt`, `defaultpub.txt`) or in a plain keyfile.
pub(crate) fn address(text: &[u8]) -> Result<AccountId, KeyfileError> {
    raw(text)?.stated()?.ok_or(KeyfileError::Field("ss58Address", "there"))
}

/// The JSON of a public keyfile.
pub(crate) fn public_json(account: &AccountId) -> Secret {
    let public = format!("0x{}", hex::encode(account.as_bytes()));
    written(&Written {
        account_id: &public,
        public_key: &public,
        private_key: None,
        secret_seed: None,
        ss58_address: account.to_ss58(),
        crypto_type: CRYPTO_TYPE_SR25519,
    })
}

fn written(fields: &Written<'_>) -> Secret {
    // Strings and a number always serialise.
    Secret::new(serde_json::to_vec(fields).unwrap_or_default())
}

fn hex_bytes<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), bytes.as_mut_slice()).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";
    const ADDRESS: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";

    fn check(json: serde_json::Value, expected: Result<&str, KeyfileError>) {
        let account = Key::from_json(json.to_string().as_bytes()).map(|key| key.pair.account().to_ss58());
        assert_eq!(account, expected.map(str::to_owned), "{json}");
    }

    #[test]
    fn any_one_secret_is_enough() {
        let private = Key::from_json(serde_json::json!({"secretSeed": SEED}).to_string().as_bytes()).unwrap();
        let private = hex::encode(private.pair.secret_bytes().expose());
        check(serde_json::json!({"secretSeed": SEED}), Ok(ADDRESS));
        check(serde_json::json!({"secretSeed": SEED.replace("0x", ""), "secretPhrase": null}), Ok(ADDRESS));
        check(serde_json::json!({"privateKey": format!("0x{private}"), "secretSeed": null}), Ok(ADDRESS));
        check(
            serde_json::json!({"secretPhrase": "bottom drive obey lake curtain smoke basket hold race lonely fit walk"}),
            Ok("5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
        );
    }

    #[test]
    fn the_stated_address_must_be_the_derived_one() {
        check(serde_json::json!({"secretSeed": SEED, "ss58Address": ADDRESS, "cryptoType": 1}), Ok(ADDRESS));
        let other = "5FXD2EGvYFKpbTWhfyRQBbmGMoXJDXezufPbNYgmfo3kygde";
        let fault =
            KeyfileError::OtherAddress { derived: ADDRESS.parse().unwrap(), stated: other.parse().unwrap() };
        check(serde_json::json!({"secretSeed": SEED, "ss58Address": other}), Err(fault.clone()));
        let public = hex::encode(other.parse::<AccountId>().unwrap().as_bytes());
        check(
            serde_json::json!({"secretSeed": SEED, "publicKey": format!("0x{public}")}),
            Err(fault.clone()),
        );
        check(serde_json::json!({"secretSeed": SEED, "accountId": public}), Err(fault));
    }

    #[test]
    fn what_cannot_sign_says_why() {
        check(serde_json::json!({"secretSeed": SEED, "cryptoType": 0}), Err(KeyfileError::CryptoType(0)));
        check(serde_json::json!({"ss58Address": ADDRESS}), Err(KeyfileError::NoSecret));
        let seed = KeyfileError::Field("secretSeed", "0x and 64 hex digits");
        check(serde_json::json!({"secretSeed": "0x11"}), Err(seed.clone()));
        check(serde_json::json!({"secretSeed": "0x\u{11}", "privateKey": "0x22"}), Err(seed));
        let phrase = KeyfileError::Field("secretPhrase", "an English BIP39 phrase");
        check(serde_json::json!({"secretPhrase": "one two"}), Err(phrase));
        assert_eq!(
            Key::from_json(b"$ANSIBLE_VAULT;1.1").unwrap_err(),
            KeyfileError::OldEncryption("Ansible Vault")
        );
    }

    #[test]
    fn p51_a_fault_never_quotes_the_secret() {
        let text = format!(r#"{{"secretSeed": ["{SEED}"]}}"#);
        assert!(!Key::from_json(text.as_bytes()).unwrap_err().to_string().contains("1111"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let key = Key::from_seed(&[7; 32]).unwrap();
        let json = key.to_json();
        let again = Key::from_json(json.expose()).unwrap();
        assert_eq!(again.pair.account(), key.pair.account());
        assert_eq!(again.seed, key.seed);
        assert_eq!(address(json.expose()), Ok(key.pair.account()));
        assert_eq!(address(public_json(&key.pair.account()).expose()), Ok(key.pair.account()));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Key::from_json(&bytes);
            let _ = address(&bytes);
        }

        #[test]
        fn parsing_fields_never_panics(
            seed in "(0x)?[0-9a-fA-F\u{e9}]{0,70}", key in "(0x)?[0-9a-f]{0,130}", address in ".{0,60}",
            phrase in "[a-z ]{0,80}", crypto in any::<u16>(),
        ) {
            let json = serde_json::json!({
                "secretSeed": seed, "privateKey": key, "ss58Address": address, "secretPhrase": phrase,
                "cryptoType": crypto, "publicKey": seed,
            });
            let _ = Key::from_json(json.to_string().as_bytes());
            let json = serde_json::json!({"privateKey": key, "publicKey": seed});
            let _ = Key::from_json(json.to_string().as_bytes());
        }
    }
}
