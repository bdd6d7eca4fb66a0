//! The options that every command has which calls a server with a wallet, checked in one place.

use std::path::PathBuf;

use clap::Args;

use super::{
    exit::CommandError,
    server_url::ServerUrl,
    wallet::{PasswordSource, WalletLocation, expand_home},
};
use crate::chain::AccountId;

/// The options as they were given.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
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
    #[arg(
        long,
        aliases = ["wallet.name", "name"],
        env = "BT_WALLET_NAME",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "default"
    )]
    wallet_name: String,

    /// Name of the hotkey in that wallet
    #[arg(
        long,
        aliases = ["wallet.hotkey", "hotkey"],
        env = "BT_WALLET_HOTKEY",
        hide_env_values = true,
        value_name = "NAME",
        default_value = "default"
    )]
    wallet_hotkey: String,

    /// File whose first line is the password of an encrypted hotkey; if not given, the terminal asks for it
    #[arg(long, env = "BT_WALLET_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// URL of the Subgate server
    #[arg(long, env = "SUBGATE_ENDPOINT", hide_env_values = true, value_name = "URL")]
    endpoint: String,

    /// The server's own address on the chain; the signature is then valid at that server only
    #[arg(long, env = "SUBGATE_RECEIVER", hide_env_values = true, value_name = "SS58")]
    receiver: Option<String>,

    /// File of PEM certificates to trust in addition to the system's
    #[arg(long, env = "AWS_CA_BUNDLE", hide_env_values = true, value_name = "PEM")]
    ca_file: Option<PathBuf>,

    /// Allow http:// to other machines: the session's secret then travels unencrypted
    #[arg(long)]
    insecure_http: bool,
}

/// The options, checked.
pub(crate) struct ClientSettings {
    /// Where the hotkey is.
    pub(crate) wallet: WalletLocation,
    /// How it is decrypted.
    pub(crate) password: PasswordSource,
    /// The server.
    pub(crate) server: ServerUrl,
    /// The server's identity, if the caller named it.
    pub(crate) receiver: Option<AccountId>,
    /// Certificates to trust in addition to the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

impl ClientOptions {
    /// Checks the options without touching wallet or server.
    pub(crate) fn checked(self) -> Result<ClientSettings, CommandError> {
        let receiver = self.receiver.as_deref().map(|text| parse_address("--receiver", text)).transpose()?;
        let password = match self.password_file {
            Some(file) => PasswordSource::File(expand_home(&file)),
            None => PasswordSource::Terminal,
        };
        Ok(ClientSettings {
            wallet: WalletLocation::new(&self.wallet_path, &self.wallet_name, &self.wallet_hotkey)?,
            password,
            server: ServerUrl::parse(&self.endpoint, self.insecure_http)?,
            receiver,
            ca_file: self.ca_file.map(|file| expand_home(&file)),
        })
    }
}

/// The SS58 address that the option `option` holds.
pub(crate) fn parse_address(option: &str, text: &str) -> Result<AccountId, CommandError> {
    text.parse().map_err(|error| CommandError::usage(format!("{option} {text:?}: {error}")))
}
