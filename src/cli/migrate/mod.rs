//! `subgate migrate`: from a dataset repository of a Hub into the own folder, and how both stand.

mod comparison;
mod copy;
mod hf;
mod mapping;
mod repository_options;
mod status;

use clap::Subcommand;

use super::exit::CommandError;

/// The commands of `subgate migrate`.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Copy a dataset repository of a HuggingFace-compatible Hub into your folder
    Hf(Box<hf::HfOptions>),
    /// Show what of a repository stands in your folder, and whether it is the same
    Status(Box<status::StatusOptions>),
}

/// Runs the command.
pub(crate) fn run(command: &MigrateCommand) -> Result<(), CommandError> {
    match command {
        MigrateCommand::Hf(options) => hf::run(options),
        MigrateCommand::Status(options) => status::run(options),
    }
}
