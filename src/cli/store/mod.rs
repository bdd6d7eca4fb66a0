//! `subgate store`: what an operator asks of, and for, the store behind the server.

mod policy;
mod probe;

use clap::Subcommand;

use super::exit::CommandError;

/// The subcommands of `subgate store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Try the real store in a prefix of its own, and print the settings that fit it
    Probe(probe::ProbeOptions),
    /// Print the least rights that the store's credentials need, and the rule for abandoned uploads
    Policy(policy::PolicyOptions),
}

/// Runs one of them.
pub(crate) fn run(command: &StoreCommand) -> Result<(), CommandError> {
    match command {
        StoreCommand::Probe(options) => probe::run(options),
        StoreCommand::Policy(options) => policy::run(options),
    }
}
