//! The identities of `subgate dev`: their wallets, and the registry that says what they are. \[IO\]
//!
//! Both are made at the first start and kept. From then on the registry file is the user's to edit.

use std::path::Path;

use zeroize::Zeroizing;

use super::{SOURCES, data_file::write_json, keys::fill_random, layout::Layout};
use crate::{
    chain::AccountId,
    cli::{
        exit::CommandError,
        wallet::{NewHotkey, PasswordSource, WalletLocation},
    },
};

/// Name of the hotkey in each wallet.
pub(super) const HOTKEY: &str = "default";

/// Stake of the validator; the default configuration asks for 10,000.
const VALIDATOR_STAKE: f64 = 100_000.0;

/// What an identity is in the registry of the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DevRole {
    /// Owns its folders.
    Miner,
    /// Reads every folder.
    Validator,
    /// Is not registered.
    Stranger,
}

impl DevRole {
    /// The name of the role in `dev.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Validator => "validator",
            Self::Stranger => "stranger",
        }
    }
}

/// The identities: name, role, and whose coldkey it shares.
const IDENTITIES: [(&str, DevRole, Option<&str>); 5] = [
    ("miner-a", DevRole::Miner, None),
    ("miner-b", DevRole::Miner, None),
    ("miner-a2", DevRole::Miner, Some("miner-a")),
    ("validator", DevRole::Validator, None),
    ("stranger", DevRole::Stranger, None),
];

/// One identity.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Name of the wallet, and of the AWS profile.
    pub(super) name: &'static str,
    /// Its role at the first start.
    pub(super) role: DevRole,
    /// Its hotkey.
    pub(super) hotkey: AccountId,
    /// Its coldkey.
    pub(super) coldkey: AccountId,
}

impl Identity {
    /// Its own folders by the folder templates that `subgate dev` configures; a job is shown by its name.
    pub(super) fn folders(&self) -> Vec<String> {
        match self.role {
            DevRole::Miner | DevRole::Validator => {
                let by_source = SOURCES.iter().map(|source| format!("data/{source}/{}/", self.coldkey));
                by_source.chain([self.job_folders()]).collect()
            }
            DevRole::Stranger => Vec::new(),
        }
    }

    /// Its folders by the layout of jobs.
    pub(super) fn job_folders(&self) -> String {
        format!("data/hotkey={}/job_id={{job_id}}/", self.hotkey)
    }
}

/// Reads the wallets, and makes those that are missing.
pub(super) fn open_wallets(layout: &Layout) -> Result<Vec<Identity>, CommandError> {
    let mut identities: Vec<Identity> = Vec::new();
    for (name, role, shares) in IDENTITIES {
        let wallet = WalletLocation::new(&layout.wallets(), name, HOTKEY)?;
        // The hotkey is the last file of a wallet that is written: where it is, the wallet is complete.
        if !wallet.keyfile().exists() {
            let shared = identities.iter().find(|other| Some(other.name) == shares);
            let coldkey = match shared {
                Some(other) => other.coldkey,
                None => new_hotkey()?.account(),
            };
            wallet.write(&new_hotkey()?, &coldkey)?;
        }
        let hotkey = wallet.read()?.open(&PasswordSource::Terminal)?.account();
        let coldkey = wallet.coldkey().ok_or_else(|| {
            let path = wallet.coldkey_public_keyfile();
            CommandError::data(format!("{}: it is missing or not a public keyfile", path.display()))
        })?;
        identities.push(Identity { name, role, hotkey, coldkey });
    }
    Ok(identities)
}

fn new_hotkey() -> Result<NewHotkey, CommandError> {
    let mut mini_secret = Zeroizing::new([0; 32]);
    fill_random(mini_secret.as_mut_slice())?;
    NewHotkey::new(mini_secret)
}

/// Writes the registry file, if there is none.
pub(super) fn make_registry(path: &Path, identities: &[Identity]) -> Result<(), CommandError> {
    if path.exists() {
        return Ok(());
    }
    let entry = |identity: &Identity, validator_permit: bool, stake: f64| {
        serde_json::json!({
            "name": identity.name,
            "hotkey": identity.hotkey,
            "coldkey": identity.coldkey,
            "validator_permit": validator_permit,
            "stake": stake,
        })
    };
    let entries: Vec<_> = identities
        .iter()
        .filter_map(|identity| match identity.role {
            DevRole::Miner => Some(entry(identity, false, 0.0)),
            DevRole::Validator => Some(entry(identity, true, VALIDATOR_STAKE)),
            DevRole::Stranger => None,
        })
        .collect();
    write_json(path, &serde_json::json!({ "identities": entries }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identities_are_registered_as_their_roles_say() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let identities = open_wallets(&layout).unwrap();
        make_registry(&layout.registry(), &identities).unwrap();
        let by_name = |name: &str| identities.iter().find(|identity| identity.name == name).unwrap();
        assert_eq!(by_name("miner-a").coldkey, by_name("miner-a2").coldkey);
        assert_ne!(by_name("miner-a").hotkey, by_name("miner-a2").hotkey);
        assert_ne!(by_name("miner-a").coldkey, by_name("miner-b").coldkey);
        let registry = std::fs::read(layout.registry()).unwrap();
        let registry: serde_json::Value = serde_json::from_slice(&registry).unwrap();
        let names: Vec<_> = registry["identities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["miner-a", "miner-b", "miner-a2", "validator"]);
        assert_eq!(by_name("stranger").folders(), Vec::<String>::new());
        assert_eq!(by_name("validator").folders().len(), 3);
    }
}
