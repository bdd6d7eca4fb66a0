//! The Hub that a command reads from or commits to: its endpoint, its token, the repository. \[IO\]

use clap::Args;

use super::{
    client_options::ClientSettings,
    exit::{CommandError, Exit},
};
use crate::{
    client::http,
    hub::{Endpoint, Hub, HubError, PlainHttp, Repository, find_token},
    tls::{self, TlsError},
};

/// Options of every command that calls a Hub.
#[derive(Debug, Args)]
pub(crate) struct HubOptions {
    /// URL of the Hub; its token is that of `huggingface_hub`: HF_TOKEN, or the token file
    #[arg(
        long,
        env = "HF_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        default_value = crate::hub::DEFAULT_ENDPOINT
    )]
    hf_endpoint: String,
}

impl HubOptions {
    /// The repository at that Hub, called with the token of this user; nothing is asked yet. Of `settings`
    /// it takes whom TLS trusts, and whether plain HTTP may leave this machine.
    pub(crate) fn hub(&self, repository: Repository, settings: &ClientSettings) -> Result<Hub, CommandError> {
        let plain = if settings.insecure_http { PlainHttp::Anywhere } else { PlainHttp::Loopback };
        let text = &self.hf_endpoint;
        let endpoint = Endpoint::parse(text, plain)
            .map_err(|why| CommandError::usage(format!("--hf-endpoint (HF_ENDPOINT) {text:?}: {why}")))?;
        let token = find_token(|name| std::env::var_os(name))
            .map_err(|why| CommandError::data(format!("the Hub's token: {why}")))?;
        let tls = tls::client_config(settings.ca_file.as_deref()).map_err(|error| match error {
            TlsError::CaFile { .. } => CommandError::no_input(format!("--ca-file (AWS_CA_BUNDLE) {error}")),
            TlsError::Provider(error) => CommandError::software(format!("TLS: {error}")),
        })?;
        Ok(Hub::new(http::with_tls(tls), endpoint, token, repository))
    }
}

/// Reads the repository that an option or an argument names.
pub(crate) fn parse_repository(name: &str, text: &str) -> Result<Repository, CommandError> {
    Repository::parse(text).map_err(|why| CommandError::usage(format!("{name} {text:?}: {why}")))
}

impl From<HubError> for CommandError {
    fn from(error: HubError) -> Self {
        let exit = match &error {
            HubError::Refused { .. } => Exit::Refused,
            HubError::Unavailable { .. } | HubError::Broken { .. } => Exit::Unavailable,
        };
        Self::new(exit, error)
    }
}
