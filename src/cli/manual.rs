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
    // The commands have pages; a page about each `help` says nothing new.
    clap_mangen::generate_to(command.disable_help_subcommand(true), directory).map_err(failed)
}
