//! Who calls which server: the options that every command of a client has, checked in one place.

use std::path::PathBuf;

use clap::Args;

use super::{
    exit::CommandError,
    session::Endpoint,
    wallet::{Location, Password, expand_home},
};
use crate::chain::AccountId;

/// Options of a command that acts with a wallet towards a server.
#[derive(Debug, Args)]
pub(crate) struct CallerOptions {
    /// Directory of the Bittensor wallets
    #[arg(
        long,
        alias = "wallet.path",
        env = "BT_WALLET_PATH",
        hide_env_values = true,
        value_name = "DIR",
        default_value = "~/.bittensor/wallets"
    )]
    wallet_path: PathBuf,

    /// Name of the wallet
    #[arg(long, aliases = ["wallet.name", "name"], env = "BT_WALLET_NAME", hide_env_values = true, value_name = "NAME", default_value = "default")]
    wallet_name: String,

    /// Name of the hotkey in that wallet
    #[arg(long, aliases = ["wallet.hotkey", "hotkey"], env = "BT_WALLET_HOTKEY", hide_env_values = true, value_name = "NAME", default_value = "default")]
    wallet_hotkey: String,

    /// File whose first line is the password of an encrypted hotkey; otherwise the terminal is asked
    #[arg(long, env = "BT_WALLET_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// The Subgate server
    #[arg(long, env = "SUBGATE_ENDPOINT", hide_env_values = true, value_name = "URL")]
    endpoint: String,

    /// The server's own identity: the signature then counts there alone
    #[arg(long, env = "SUBGATE_RECEIVER", hide_env_values = true, value_name = "SS58")]
    receiver: Option<String>,

    /// PEM certificates to trust besides the system's
    #[arg(long, env = "AWS_CA_BUNDLE", hide_env_values = true, value_name = "PEM")]
    ca_file: Option<PathBuf>,

    /// Allow http:// beyond this machine: the session's secret then travels unencrypted
    #[arg(long)]
    insecure_http: bool,
}

/// The options, checked.
pub(crate) struct Caller {
    /// Where the hotkey lies.
    pub(crate) wallet: Location,
    /// How it is opened.
    pub(crate) password: Password,
    /// The server.
    pub(crate) endpoint: Endpoint,
    /// The server's identity, where the caller pins it.
    pub(crate) receiver: Option<AccountId>,
    /// Certificates to trust besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

impl CallerOptions {
    /// Checks them without touching wallet or server.
    pub(crate) fn checked(self) -> Result<Caller, CommandError> {
        let receiver = self.receiver.as_deref().map(|text| address("--receiver", text)).transpose()?;
        Ok(Caller {
            wallet: Location::new(&self.wallet_path, &self.wallet_name, &self.wallet_hotkey)?,
            password: self.password_file.map_or(Password::Ask, |file| Password::File(expand_home(&file))),
            endpoint: Endpoint::new(&self.endpoint, self.insecure_http)?,
            receiver,
            ca_file: self.ca_file.map(|file| expand_home(&file)),
        })
    }
}

/// The SS58 address that an option holds.
pub(crate) fn address(option: &str, text: &str) -> Result<AccountId, CommandError> {
    text.parse().map_err(|error| CommandError::usage(format!("{option} {text:?} is {error}")))
}
