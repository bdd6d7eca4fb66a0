//! `--config`, and the configuration that it and the environment give.

use std::path::PathBuf;

use clap::Args;

use super::{exit::CommandError, terminal};
use crate::config::{Config, ConfigErrors, Environment, Fault, Source};

/// Where the configuration of a server is.
#[derive(Debug, Args)]
pub(crate) struct ConfigOption {
    /// The configuration file; settings in the environment, SUBGATE_STORE__ENDPOINT for store.endpoint,
    /// are read over it, and without one they are all there is
    #[arg(long, env = "SUBGATE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigOption {
    /// Where the configuration comes from; none where neither a file nor a setting is given.
    pub(crate) fn source_given(&self) -> Option<Source> {
        let environment = Environment::of_this_process();
        let is_given = self.config.is_some() || !environment.is_empty();
        is_given.then(|| Source::new(self.config.clone(), environment))
    }

    /// Where the configuration comes from.
    pub(crate) fn source(&self) -> Result<Source, CommandError> {
        self.source_given().ok_or_else(|| {
            CommandError::usage(
                "--config FILE is missing, and no setting is in the environment, such as \
                 SUBGATE_STORE__ENDPOINT",
            )
        })
    }
}

/// Reads and checks a configuration; prints each fault on a line of its own.
pub(crate) fn load(source: &Source) -> Result<Config, CommandError> {
    check_presence(source)?;
    Config::load(source).map_err(|ConfigErrors(faults)| print_faults(source, &faults))
}

/// A file that is missing has another exit code than one with faults.
pub(super) fn check_presence(source: &Source) -> Result<(), CommandError> {
    let Some(path) = source.path() else { return Ok(()) };
    std::fs::metadata(path)
        .map(|_| ())
        .map_err(|error| CommandError::no_input(format!("--config {}: {error}", path.display())))
}

/// Prints each fault on a line of its own, and gives the error that counts them.
pub(super) fn print_faults(source: &Source, faults: &[Fault]) -> CommandError {
    for fault in faults {
        terminal::print_remark(fault);
    }
    count_faults(source, faults.len())
}

/// The error of a configuration with so many faults.
pub(super) fn count_faults(source: &Source, count: usize) -> CommandError {
    let noun = if count == 1 { "fault" } else { "faults" };
    CommandError::usage(format!("{source}: {count} {noun}"))
}
