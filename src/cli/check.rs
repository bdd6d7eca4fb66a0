//! `subgate check`: print all that is wrong with a configuration and with what it names.

use std::time::SystemTime;

use clap::Args;

use super::{
    configuration::{ConfigOption, check_presence, count_faults, load, print_faults},
    exit::CommandError,
    terminal,
};
use crate::{
    config::{Config, ConfigErrors, Fault, Severity, Source},
    serve::{self, capacity::open_files_max},
};

/// Options of `subgate check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate check --config proxy.toml
  subgate check --config proxy.toml --json | jq -r '.[] | select(.severity == \"fault\") | .setting'
  SUBGATE_SERVER__LISTEN=127.0.0.1:9000 subgate check --config proxy.toml

Whatever would stop `subgate serve` is told in the words that it would use: a line for each fault, with the
file and the line or the variable of the environment, the setting, and what it should be. The files that the
configuration names are read as well. A warning is no fault and leaves the exit code at 0. Nothing is started
and no network is used: whether an address is free, only the start can tell, and `subgate store probe` tries
the store.")]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    config: ConfigOption,

    /// Print a JSON list of {file, line, variable, setting, message, severity}
    #[arg(long)]
    json: bool,
}

/// Runs `subgate check`.
pub(crate) fn run(options: &CheckOptions) -> Result<(), CommandError> {
    let source = &options.config.source()?;
    let found = match options.json {
        false => inspect(&load(source)?),
        true => {
            // A file that is missing is no list of faults.
            check_presence(source)?;
            Config::load(source).map_or_else(|ConfigErrors(faults)| faults, |config| inspect(&config))
        }
    };
    let (faults, warnings): (Vec<_>, Vec<_>) =
        found.iter().cloned().partition(|fault| fault.severity == Severity::Fault);
    if options.json {
        let json = serde_json::to_string_pretty(&found).map_err(CommandError::software)?;
        terminal::print_line(json);
    } else {
        for warning in &warnings {
            terminal::print_remark(format_args!("warning: {warning}"));
        }
    }
    match (faults.is_empty(), options.json) {
        (true, true) => Ok(()),
        (true, false) => {
            terminal::print_line(format_args!("{source}: no faults{}", variables(source)));
            Ok(())
        }
        (false, true) => Err(count_faults(source, faults.len())),
        (false, false) => Err(print_faults(source, &faults)),
    }
}

/// The variables of the environment that count, by their names.
fn variables(source: &Source) -> String {
    match Vec::from_iter(source.environment().names()).join(", ") {
        names if names.is_empty() => names,
        names => format!(" (with {names})"),
    }
}

/// All that can be said about a configuration that could be read.
fn inspect(config: &Config) -> Vec<Fault> {
    let now = SystemTime::now();
    let mut found = serve::faults(config, now);
    found.extend(serve::warnings(config, now, open_files_max()));
    found
}
