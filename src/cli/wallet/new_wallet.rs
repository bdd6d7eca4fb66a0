//! Writes plain wallets as the Bittensor tools do; `subgate dev` makes its identities so. \[IO\]

use std::io;

use serde::Serialize;
use zeroize::Zeroizing;

use super::WalletLocation;
use crate::{
    auth::bittensor::sr25519::Keypair,
    chain::AccountId,
    cli::{exit::CommandError, private_file},
    secret::Secret,
};

/// A hotkey that was made from a mini secret.
#[derive(Debug)]
pub(crate) struct NewHotkey {
    pair: Keypair,
    mini_secret: Zeroizing<[u8; 32]>,
}

impl NewHotkey {
    /// The hotkey of a mini secret, which should be random.
    pub(crate) fn new(mini_secret: Zeroizing<[u8; 32]>) -> Result<Self, CommandError> {
        let pair = Keypair::from_mini_secret(&mini_secret).map_err(CommandError::software)?;
        Ok(Self { pair, mini_secret })
    }

    /// Its address.
    pub(crate) fn account(&self) -> AccountId {
        self.pair.account()
    }
}

impl WalletLocation {
    /// Writes the keyfile of the hotkey, its public keyfile, and the coldkey's public keyfile.
    pub(crate) fn write(&self, hotkey: &NewHotkey, coldkey: &AccountId) -> Result<(), CommandError> {
        let write = || -> io::Result<()> {
            private_file::create_dir(&self.dir.join("hotkeys"))?;
            private_file::write(&self.coldkey_public_keyfile(), public_keyfile(coldkey).expose())?;
            private_file::write(&self.public_keyfile(), public_keyfile(&hotkey.account()).expose())?;
            // Last: where the hotkey is, the whole wallet is.
            private_file::write(&self.keyfile(), keyfile(hotkey).expose())
        };
        write()
            .map_err(|error| CommandError::cannot_create(format!("wallet {}: {error}", self.dir.display())))
    }
}

/// The fields of a keyfile; those of a public one hold no secret. Without `cryptoType` a key is of sr25519;
/// bittensor-wallet 4.0 opens no file in which it is a number.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    account_id: &'a str,
    public_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<&'a str>,
    ss58_address: String,
}

fn keyfile(hotkey: &NewHotkey) -> Secret {
    let account = hotkey.account();
    let public = format!("0x{}", hex::encode(account.as_bytes()));
    let private = Zeroizing::new(format!("0x{}", hex::encode(hotkey.pair.secret_bytes().expose())));
    let seed = Zeroizing::new(format!("0x{}", hex::encode(hotkey.mini_secret.as_slice())));
    json(&Fields {
        account_id: &public,
        public_key: &public,
        private_key: Some(&private),
        secret_seed: Some(&seed),
        ss58_address: account.to_ss58(),
    })
}

fn public_keyfile(account: &AccountId) -> Secret {
    let public = format!("0x{}", hex::encode(account.as_bytes()));
    json(&Fields {
        account_id: &public,
        public_key: &public,
        private_key: None,
        secret_seed: None,
        ss58_address: account.to_ss58(),
    })
}

fn json(fields: &Fields<'_>) -> Secret {
    // Strings always serialise.
    Secret::new(serde_json::to_vec(fields).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::wallet::{
        PasswordSource,
        keyfile::{read_address, read_key},
    };

    fn hotkey(byte: u8) -> NewHotkey {
        NewHotkey::new(Zeroizing::new([byte; 32])).unwrap()
    }

    #[test]
    fn a_written_keyfile_reads_back() {
        let hotkey = hotkey(7);
        let json = keyfile(&hotkey);
        assert_eq!(read_key(json.expose()).unwrap().account(), hotkey.account());
        assert_eq!(read_address(json.expose()), Ok(hotkey.account()));
        assert_eq!(read_address(public_keyfile(&hotkey.account()).expose()), Ok(hotkey.account()));
        let fields: serde_json::Value = serde_json::from_slice(json.expose()).unwrap();
        let seed = format!("0x{}", "07".repeat(32));
        assert_eq!(fields["secretSeed"], seed);
        let alone = |name: &str| serde_json::json!({ name: fields[name] }).to_string();
        for secret in ["secretSeed", "privateKey"] {
            assert_eq!(read_key(alone(secret).as_bytes()).unwrap().account(), hotkey.account());
        }
    }

    #[test]
    fn a_written_wallet_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let location = WalletLocation::new(dir.path(), "miner", "default").unwrap();
        let (hotkey, coldkey) = (hotkey(1), hotkey(2));
        location.write(&hotkey, &coldkey.account()).unwrap();
        let file = location.read().unwrap();
        assert_eq!(file.address(), Some(hotkey.account()));
        assert_eq!(file.open(&PasswordSource::Terminal).unwrap().account(), hotkey.account());
        assert_eq!(location.coldkey(), Some(coldkey.account()));
    }
}
