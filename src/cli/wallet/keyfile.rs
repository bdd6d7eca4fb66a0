//! Keyfiles: the JSON of the Bittensor tools, with its fields in any order. A keyfile needs one secret; every
//! other field may be missing.
//!
//! Invariant: the address of a key that is read is the one that the file states. A file whose secrets all
//! belong to another address is refused, so that nobody signs as somebody else.

use serde::{Deserialize, Deserializer};
use sp_core::{Pair as _, sr25519 as substrate};
use zeroize::Zeroizing;

use crate::{auth::bittensor::sr25519::Keypair, chain::AccountId, secret::SecretText};

/// The tools' number for sr25519; ed25519 is 0.
const CRYPTO_TYPE_SR25519: u8 = 1;

/// Why a keyfile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyfileError {
    /// Not the JSON of a keyfile; the text says at which place.
    #[error("not a keyfile: {0}")]
    NotAKeyfile(String),
    /// An encryption of early wallets.
    #[error("it has the old {0} encryption: open it once with btcli, which rewrites it")]
    OldEncryption(&'static str),
    /// Another kind of key, such as ed25519.
    #[error("cryptoType {0}: only sr25519 hotkeys (cryptoType 1) are supported")]
    CryptoType(u8),
    /// A field does not have its form.
    #[error("{0} is not {1}")]
    Field(&'static str, &'static str),
    /// A keyfile without a secret, such as a public one.
    #[error("it has no secretSeed, privateKey or secretPhrase: is this a public keyfile?")]
    NoSecret,
    /// A keyfile that states no address.
    #[error("it has no ss58Address, publicKey or accountId")]
    NoAddress,
    /// The secrets belong to another address than the file states.
    #[error("its secret belongs to {derived}, but its ss58Address is {stated}")]
    OtherAddress {
        /// The address of the secret.
        derived: AccountId,
        /// The address in the file.
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

fn raw(text: &[u8]) -> Result<Raw, KeyfileError> {
    if text.starts_with(b"$ANSIBLE_VAULT") {
        return Err(KeyfileError::OldEncryption("Ansible Vault"));
    }
    if text.starts_with(b"gAAAAA") {
        return Err(KeyfileError::OldEncryption("Fernet"));
    }
    // serde_json's message may quote what it read, which may be a secret: only the place is told.
    serde_json::from_slice(text).map_err(|error| {
        KeyfileError::NotAKeyfile(format!("JSON expected, line {} column {}", error.line(), error.column()))
    })
}

impl Raw {
    /// The address that the file states in one of three fields.
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
        AccountId::from_bytes(*bytes).map(Some).map_err(|_| KeyfileError::Field(name, "a public key"))
    }

    fn checked_crypto_type(&self) -> Result<(), KeyfileError> {
        match self.crypto_type {
            // Wallets from before the field are sr25519.
            None | Some(CRYPTO_TYPE_SR25519) => Ok(()),
            Some(other) => Err(KeyfileError::CryptoType(other)),
        }
    }

    /// The keys of the file's secrets, in the order in which the tools prefer them, and the first error of a
    /// secret that gives none. One wrong secret does not spoil the others: for a key that was made from a
    /// seed, bittensor-wallet 4.1 writes a `secretSeed` that is not hex beside a correct `privateKey`.
    fn keys(&self) -> (Vec<Keypair>, Option<KeyfileError>) {
        let from_seed = self.secret_seed.as_ref().map(|Hidden(text)| {
            let bytes = hex_bytes::<32>(text.expose());
            from_seed(&*bytes.ok_or(KeyfileError::Field("secretSeed", "0x and 64 hex digits"))?)
        });
        let from_private_key = self.private_key.as_ref().map(|Hidden(text)| {
            let bytes = hex_bytes::<64>(text.expose())
                .ok_or(KeyfileError::Field("privateKey", "0x and 128 hex digits"))?;
            Keypair::from_secret_bytes(&bytes)
                .map_err(|_| KeyfileError::Field("privateKey", "an sr25519 secret key"))
        });
        let (mut keys, mut first_error) = (Vec::new(), None);
        for key in [from_seed, from_private_key].into_iter().flatten() {
            match key {
                Ok(key) => keys.push(key),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        // 2,048 rounds of PBKDF2: only where there is nothing else.
        if let (true, Some(Hidden(phrase))) = (keys.is_empty(), &self.secret_phrase) {
            match from_phrase(phrase) {
                Ok(key) => keys.push(key),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        (keys, first_error)
    }
}

/// Reads the hotkey of a plain or decrypted keyfile.
pub(super) fn read_key(text: &[u8]) -> Result<Keypair, KeyfileError> {
    let raw = raw(text)?;
    raw.checked_crypto_type()?;
    let stated = raw.stated()?;
    let (keys, error) = raw.keys();
    let derived = keys.first().ok_or_else(|| error.unwrap_or(KeyfileError::NoSecret))?.account();
    let matching = keys.into_iter().find(|key| stated.is_none_or(|stated| key.account() == stated));
    matching.ok_or(KeyfileError::OtherAddress { derived, stated: stated.unwrap_or(derived) })
}

/// Reads the address of a public keyfile (`coldkeypub.txt`, `defaultpub.txt`) or of a plain keyfile.
pub(super) fn read_address(text: &[u8]) -> Result<AccountId, KeyfileError> {
    raw(text)?.stated()?.ok_or(KeyfileError::NoAddress)
}

fn from_seed(seed: &[u8; 32]) -> Result<Keypair, KeyfileError> {
    Keypair::from_mini_secret(seed).map_err(|_| KeyfileError::Field("secretSeed", "an sr25519 mini secret"))
}

/// The key of an English BIP39 phrase as substrate derives it: from the entropy, without a password.
fn from_phrase(phrase: &SecretText) -> Result<Keypair, KeyfileError> {
    let (_, seed) = substrate::Pair::from_phrase(phrase.expose(), None)
        .map_err(|_| KeyfileError::Field("secretPhrase", "an English BIP39 phrase"))?;
    from_seed(&Zeroizing::new(seed))
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
        let account = read_key(json.to_string().as_bytes()).map(|key| key.account().to_ss58());
        assert_eq!(account, expected.map(str::to_owned), "{json}");
    }

    #[test]
    fn any_one_secret_is_enough() {
        let private = read_key(serde_json::json!({"secretSeed": SEED}).to_string().as_bytes()).unwrap();
        let private = hex::encode(private.secret_bytes().expose());
        check(serde_json::json!({"secretSeed": SEED}), Ok(ADDRESS));
        check(serde_json::json!({"secretSeed": SEED.replace("0x", ""), "secretPhrase": null}), Ok(ADDRESS));
        check(serde_json::json!({"privateKey": format!("0x{private}"), "secretSeed": null}), Ok(ADDRESS));
        check(
            serde_json::json!({
                "secretPhrase": "bottom drive obey lake curtain smoke basket hold race lonely fit walk",
            }),
            Ok("5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
        );
    }

    #[test]
    fn the_stated_address_must_be_the_derived_one() {
        check(serde_json::json!({"secretSeed": SEED, "ss58Address": ADDRESS, "cryptoType": 1}), Ok(ADDRESS));
        let other = "5FXD2EGvYFKpbTWhfyRQBbmGMoXJDXezufPbNYgmfo3kygde";
        let error =
            KeyfileError::OtherAddress { derived: ADDRESS.parse().unwrap(), stated: other.parse().unwrap() };
        check(serde_json::json!({"secretSeed": SEED, "ss58Address": other}), Err(error.clone()));
        let public = hex::encode(other.parse::<AccountId>().unwrap().as_bytes());
        check(
            serde_json::json!({"secretSeed": SEED, "publicKey": format!("0x{public}")}),
            Err(error.clone()),
        );
        check(serde_json::json!({"secretSeed": SEED, "accountId": public}), Err(error));
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
            read_key(b"$ANSIBLE_VAULT;1.1").unwrap_err(),
            KeyfileError::OldEncryption("Ansible Vault")
        );
    }

    #[test]
    fn p51_an_error_never_quotes_the_secret() {
        let text = format!(r#"{{"secretSeed": ["{SEED}"]}}"#);
        assert!(!read_key(text.as_bytes()).unwrap_err().to_string().contains("1111"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = read_key(&bytes);
            let _ = read_address(&bytes);
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
            let _ = read_key(json.to_string().as_bytes());
            let json = serde_json::json!({"privateKey": key, "publicKey": seed});
            let _ = read_key(json.to_string().as_bytes());
        }
    }
}
