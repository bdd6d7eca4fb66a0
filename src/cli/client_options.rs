//! The options that every command has which calls a server with a wallet, checked in one place.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    exit::CommandError,
    server_url::ServerUrl,
    wallet::{PasswordSource, WalletLocation, expand_home},
};
use crate::chain::AccountId;

/// Where the Bittensor tools keep wallets.
const WALLET_PATH: &str = "~/.bittensor/wallets";

/// What the Bittensor tools call a wallet, and its hotkey, where nobody says otherwise.
const WALLET_NAME: &str = "default";

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
        default_value = WALLET_PATH
    )]
    wallet_path: PathBuf,

    /// Name of the wallet
    #[arg(
        long,
        aliases = ["wallet.name", "name"],
        env = "BT_WALLET_NAME",
        hide_env_values = true,
        value_name = "NAME",
        default_value = WALLET_NAME
    )]
    wallet_name: String,

    /// Name of the hotkey in that wallet
    #[arg(
        long,
        aliases = ["wallet.hotkey", "hotkey"],
        env = "BT_WALLET_HOTKEY",
        hide_env_values = true,
        value_name = "NAME",
        default_value = WALLET_NAME
    )]
    wallet_hotkey: String,

    /// File whose first line is the password of an encrypted hotkey; if not given, the terminal asks for it
    #[arg(long, env = "BT_WALLET_PASSWORD_FILE", hide_env_values = true, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// URL of the Subgate server
    // A command that can do something without a server makes it optional by `mut_arg`.
    #[arg(long, env = "SUBGATE_ENDPOINT", hide_env_values = true, value_name = "URL", required = true)]
    endpoint: Option<String>,

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
    /// Whether plain HTTP may leave this machine.
    pub(crate) insecure_http: bool,
}

impl ClientOptions {
    /// Checks the options without touching wallet or server.
    pub(crate) fn checked(&self) -> Result<ClientSettings, CommandError> {
        let receiver = self.receiver.as_deref().map(|text| parse_address("--receiver", text)).transpose()?;
        let password = match &self.password_file {
            Some(file) => PasswordSource::File(expand_home(file)),
            None => PasswordSource::Terminal,
        };
        let endpoint = self.endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| CommandError::usage("--endpoint is missing"))?;
        Ok(ClientSettings {
            wallet: WalletLocation::new(&self.wallet_path, &self.wallet_name, &self.wallet_hotkey)?,
            password,
            server: ServerUrl::parse(endpoint, self.insecure_http)?,
            receiver,
            ca_file: self.ca_file.as_deref().map(expand_home),
            insecure_http: self.insecure_http,
        })
    }

    /// The words of a command line that say the same wherever it is run, without the defaults. The options of
    /// TLS are left out where there is none.
    pub(crate) fn words(&self, settings: &ClientSettings) -> Result<Vec<String>, CommandError> {
        let mut words = Vec::new();
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        if self.wallet_path != Path::new(WALLET_PATH) {
            add("--wallet-path", absolute("--wallet-path", &self.wallet_path)?);
        }
        add("--wallet-name", self.wallet_name.clone());
        if self.wallet_hotkey != WALLET_NAME {
            add("--wallet-hotkey", self.wallet_hotkey.clone());
        }
        if let Some(file) = &self.password_file {
            add("--password-file", absolute("--password-file", file)?);
        }
        add("--endpoint", settings.server.canonical());
        if let Some(receiver) = &self.receiver {
            add("--receiver", receiver.clone());
        }
        if let Some(file) = self.ca_file.as_deref().filter(|_| settings.server.is_https()) {
            add("--ca-file", absolute("--ca-file", file)?);
        }
        if self.insecure_http {
            words.push("--insecure-http".to_owned());
        }
        Ok(words)
    }
}

/// The path that the option `option` holds, as text that names the same file from everywhere.
pub(crate) fn absolute(option: &str, path: &Path) -> Result<String, CommandError> {
    let fault = |reason: &dyn std::fmt::Display| {
        CommandError::usage(format!("{option} {}: {reason}", path.display()))
    };
    let absolute = std::path::absolute(expand_home(path)).map_err(|error| fault(&error))?;
    absolute.into_os_string().into_string().map_err(|_| fault(&"the path is not UTF-8"))
}

/// The SS58 address that the option `option` holds.
pub(crate) fn parse_address(option: &str, text: &str) -> Result<AccountId, CommandError> {
    text.parse().map_err(|error| CommandError::usage(format!("{option} {text:?}: {error}")))
}
