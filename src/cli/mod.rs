//! What a person calls: `dev`, `serve`, `check`, `credentials`, `doctor`, `chain`.
//!
//! Each command is a function from its options to `Result<(), CommandError>`; this file alone knows arguments and exit codes.
//! Product goes to standard output, everything else to standard error.

mod cache;
mod caller;
mod chain;
mod credentials;
#[cfg(feature = "dev-store")]
mod dev;
mod doctor;
mod exit;
mod logging;
mod private_file;
mod serve;
mod session;
#[cfg_attr(not(feature = "dev-store"), allow(dead_code, reason = "`dev` needs more of it than the others"))]
mod terminal;
#[cfg_attr(not(feature = "dev-store"), allow(dead_code, reason = "`dev` needs more of it than the others"))]
mod wallet;

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

use self::{
    exit::{CommandError, EXIT_CODES_HELP, Exit},
    logging::LogFormat,
};

/// An S3 reverse proxy that makes a Bittensor hotkey an S3 identity
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = format!("\
Examples:
  subgate dev                          a store, identities and a server, to try it all
  subgate serve --config proxy.toml    the server before your own store
  subgate credentials --wallet-name miner --endpoint https://s3.example.com
                                       what credential_process in ~/.aws/config calls
  subgate doctor --wallet-name miner --endpoint https://s3.example.com
                                       whether that server keeps folders apart
  subgate chain who 5F… --config proxy.toml
                                       who an address is, and why it is or is not a validator

{EXIT_CODES_HELP}

The log goes to standard error; SUBGATE_LOG filters it (for example: info,subgate::chain=debug).")
)]
struct Arguments {
    /// Form of the log: text on a terminal and json elsewhere, if not given
    #[arg(long, global = true, env = "SUBGATE_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a store on disk, development identities and Subgate in front, and print commands to paste
    #[cfg(feature = "dev-store")]
    Dev(dev::Options),
    /// Serve as a configuration file says
    Serve(serve::ServeOptions),
    /// Print every fault of a configuration file at once
    Check(serve::CheckOptions),
    /// Print S3 credentials for a wallet, as AWS's `credential_process` wants them
    Credentials(Box<credentials::Options>),
    /// Try a live server as one of its miners or validators: what must work, and what must be refused
    Doctor(Box<doctor::Options>),
    /// Show what the chain says: the snapshot, or one address
    #[command(subcommand)]
    Chain(chain::Command),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            terminal::print_remark(&fault);
            fault.exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CommandError> {
    logging::start(arguments.log_format)?;
    match arguments.command {
        #[cfg(feature = "dev-store")]
        Command::Dev(options) => dev::run(&options),
        Command::Serve(options) => serve::serve(&options),
        Command::Check(options) => serve::check(&options),
        Command::Credentials(options) => credentials::run(*options),
        Command::Doctor(options) => doctor::run(*options),
        Command::Chain(command) => chain::run(&command),
    }
}

/// Help and version as they are; a wrong option as one line.
fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage.into()
        }
        _ => {
            let text = error.render().to_string();
            // clap appends its tips and the usage after an empty line.
            let first = text.split("\n\n").next().unwrap_or_default();
            let fault = CommandError::usage(first.strip_prefix("error: ").unwrap_or(first));
            terminal::print_remark(format_args!("{fault} (see subgate --help)"));
            fault.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Arguments::command().debug_assert();
    }
}
