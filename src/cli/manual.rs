//! `subgate manual`: the manual pages, one for each command, as packages bring them.

use std::path::PathBuf;

use clap::{Args, Command};

use super::exit::CommandError;

/// Options of `subgate manual`.
#[derive(Debug, Args)]
pub(crate) struct ManualOptions {
    /// The directory for the pages: subgate.1, subgate-serve.1 and so on
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Runs `subgate manual`.
pub(crate) fn run(options: &ManualOptions, command: Command) -> Result<(), CommandError> {
    let directory = &options.directory;
    let failed = |error| CommandError::cannot_create(format_args!("{}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(command, directory).map_err(failed)
}
