//! The commands: `dev`, `serve`, `check`, `healthcheck`, `store`, `setup`, `credentials`, `agent`, `upload`,
//! `download`, `usage`, `migrate`, `doctor`, `chain`, `completions`, and `manual` for those who make
//! packages.
//!
//! Each command is a function from its options to `Result<(), CommandError>`; this file alone knows the
//! arguments of the program. Results go to standard output, everything else to standard error.

mod agent;
mod also;
mod bucket_source;
mod chain;
mod check;
mod client_options;
mod completions;
mod configuration;
mod credentials;
#[cfg(feature = "dev-store")]
mod dev;
mod doctor;
mod download;
mod exit;
mod healthcheck;
mod http_client;
mod hub_source;
mod logging;
mod manual;
mod migrate;
mod private_file;
mod runtime;
mod serve;
mod server_url;
mod session_cache;
mod session_client;
mod session_source;
mod setup;
mod shell;
mod store;
mod terminal;
mod upload;
mod usage;
mod wallet;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use self::{
    exit::{CommandError, EXIT_CODES_HELP, Exit},
    logging::LogFormat,
};

/// The first line of the examples: only with the development store is there a `subgate dev`.
#[cfg(feature = "dev-store")]
const DEV_EXAMPLE: &str = "
  subgate dev
      start a store, identities and a server on this machine, and print commands to try them";
#[cfg(not(feature = "dev-store"))]
const DEV_EXAMPLE: &str = "";

/// An S3 reverse proxy that makes a Bittensor hotkey an S3 identity
///
/// A miner points any S3 client at it and owns one folder, data/{source}/{coldkey}/; a validator reads every
/// folder; nobody else gets in. Every request is checked against what the chain says now, signed anew with
/// the server's own key, and streamed to the real store.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = format!("\
Examples:{DEV_EXAMPLE}
  subgate serve --config proxy.toml
      serve your own store
  subgate credentials --wallet-name miner --endpoint https://s3.example.com
      print S3 credentials; `credential_process` in ~/.aws/config calls this
  subgate agent --wallet-name miner --endpoint https://s3.example.com
      hand S3 credentials to clients on this machine, and renew them
  subgate setup aws2 --wallet-name miner --endpoint https://s3.example.com >> ~/.aws/config
      set up an S3 client; without a name, list the clients that are known
  subgate upload scraped --to data/x/5F…/ --wallet-name miner --endpoint https://s3.example.com
      upload a directory into your folder, and go on where a run was cut off
  subgate download data/x/5F…/ --to DIR --wallet-name validator --endpoint https://s3.example.com
      download a miner's files, and later what is new of them
  subgate usage --by miner --wallet-name validator --endpoint https://s3.example.com
      show what each miner has; as a miner, what is in your folders
  subgate doctor --wallet-name miner --endpoint https://s3.example.com
      check that a server keeps folders apart
  subgate migrate hf me/x_dataset_42 --wallet-name miner --endpoint https://s3.example.com
      copy a dataset repository of a Hub into your folder
  subgate chain who 5F… --config proxy.toml
      show who an address is, and why it is or is not a validator

{EXIT_CODES_HELP}

The log goes to standard error. SUBGATE_LOG filters it, for example: info,subgate::chain=debug")
)]
struct Arguments {
    /// Format of the log [default: text on a terminal, json elsewhere]
    #[arg(long, global = true, env = "SUBGATE_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// File that the log is appended to, in place of standard error; opened anew at SIGUSR1
    #[arg(long, global = true, env = "SUBGATE_LOG_FILE", hide_env_values = true, value_name = "FILE")]
    log_file: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a store, test identities and a server on this machine, to try it all
    #[cfg(feature = "dev-store")]
    Dev(dev::DevOptions),
    /// Run the server that a configuration file describes
    Serve(serve::ServeOptions),
    /// Check a configuration file and print all its faults
    Check(check::CheckOptions),
    /// Ask a running server whether it lives, or is ready; for containers
    Healthcheck(healthcheck::HealthcheckOptions),
    /// Try the store behind the server
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Print S3 credentials for a wallet, in the format of AWS's `credential_process`
    Credentials(Box<credentials::CredentialsOptions>),
    /// Hand S3 credentials to clients on this machine that renew them by themselves
    Agent(Box<agent::AgentOptions>),
    /// Print the configuration of an S3 client for a wallet and a server
    Setup(Box<setup::SetupOptions>),
    /// Upload files and directories to your folder, and go on where a run was cut off
    Upload(Box<upload::UploadOptions>),
    /// Test a live server with a wallet: what must work, and what must be refused
    Doctor(Box<doctor::DoctorOptions>),
    /// Download all objects under a prefix, and go on where an earlier run ended
    Download(Box<download::DownloadOptions>),
    /// Show what the server holds of you, or of each miner: files, bytes, the newest
    Usage(Box<usage::UsageOptions>),
    /// Move a dataset repository of a HuggingFace-compatible Hub into your folder
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Show what the chain says of a subnet or of one address
    #[command(subcommand)]
    Chain(chain::ChainCommand),
    /// Print what a shell needs to complete this program's commands and options
    Completions(completions::CompletionsOptions),
    /// Write the manual pages, for those who make packages
    #[command(hide = true)]
    Manual(manual::ManualOptions),
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return help_or_usage_error(&error),
    };
    let result = run(arguments);
    crate::log::writer::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::print_remark(&error);
            error.exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), CommandError> {
    logging::start(arguments.log_format, arguments.log_file.as_deref())?;
    match arguments.command {
        #[cfg(feature = "dev-store")]
        Command::Dev(options) => dev::run(&options),
        Command::Serve(options) => serve::serve(&options),
        Command::Check(options) => check::run(&options),
        Command::Healthcheck(options) => healthcheck::run(&options),
        Command::Store(command) => store::run(&command),
        Command::Credentials(options) => credentials::run(&options),
        Command::Agent(options) => agent::run(*options),
        Command::Setup(options) => setup::run(&options),
        Command::Upload(options) => upload::run(&options),
        Command::Doctor(options) => doctor::run(*options),
        Command::Download(options) => download::run(&options),
        Command::Usage(options) => usage::run(&options),
        Command::Migrate(command) => migrate::run(&command),
        Command::Chain(command) => chain::run(&command),
        Command::Completions(options) => completions::run(&options, &mut Arguments::command()),
        Command::Manual(options) => manual::run(&options, Arguments::command()),
    }
}

/// Prints help and version as they are, and a wrong option as one line.
fn help_or_usage_error(error: &clap::Error) -> ExitCode {
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
            let error = CommandError::usage(first.strip_prefix("error: ").unwrap_or(first));
            terminal::print_remark(format_args!("{error} (see subgate --help)"));
            error.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Arguments::command().debug_assert();
    }
}
