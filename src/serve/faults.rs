//! What stops a server before it starts, or should be changed about it: all that the configuration names is
//! read, and nothing is started and nobody is asked. \[IO\]
//!
//! `serve` and `check` both ask here, and each check is the very function that the start calls, so that they
//! say the same in the same words. What only the start can know is left out: whether an address is free, and
//! what the AWS credential chain, the chain's nodes, the store and Redis answer.

use std::time::SystemTime;

use super::{ServeError, capacity::Capacity, terms::verifier, tls::TlsListener};
use crate::{
    chain::{self, RegistryFile},
    config::{ChainSource, Config, Fault},
    limits,
    store::Store,
    tls,
};

/// Why the server cannot start with `config`; nothing where it can.
pub fn faults(config: &Config, now: SystemTime) -> Vec<Fault> {
    let mut errors: Vec<ServeError> = Vec::new();
    match &config.chain.source {
        ChainSource::File(file) => errors.extend(RegistryFile::open(file, now).err().map(ServeError::from)),
        ChainSource::Subtensor(settings) => {
            errors.extend(tls::client_config(settings.ca_file.as_deref()).err().map(ServeError::from));
        }
    }
    errors.extend(Store::faults(&config.store).into_iter().map(ServeError::from));
    errors.extend(
        config.server.tls.as_ref().and_then(|tls| TlsListener::check(tls).err()).map(ServeError::from),
    );
    errors.extend(verifier(config).err().map(ServeError::from));
    errors.extend(limits::check_shared(&config.limits).err().map(ServeError::from));
    errors.into_iter().map(|error| error.fault(config)).collect()
}

impl ServeError {
    /// The fault of the configuration that this is.
    pub(super) fn fault(&self, config: &Config) -> Fault {
        let text = self.to_string();
        let (setting, message) = text.split_once(": ").unwrap_or(("", &text));
        config.lines.fault(setting, message)
    }
}

/// What does not stop the server and should be changed all the same, where the process may open that many
/// files.
pub fn warnings(config: &Config, now: SystemTime, open_files_max: u64) -> Vec<Fault> {
    let mut warnings = config.warnings();
    if let Some(message) = Capacity::of(config, open_files_max).fault(open_files_max) {
        let message = message.strip_prefix("server.connections_max: ").unwrap_or(&message);
        warnings.push(config.lines.warning("server.connections_max", message));
    }
    if let ChainSource::Subtensor(settings) = &config.chain.source
        && let Some(what) = chain::snapshot_file_fault(settings, now)
    {
        warnings.push(config.lines.warning("chain.snapshot_file", what));
    }
    warnings
}
