//! `subgate serve`: read a configuration file and run the server.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    exit::CommandError,
    runtime::{self, hangup_signal, stop_signal},
    terminal,
};
use crate::{
    config::{Config, ConfigErrors, Fault},
    serve::{ServeError, Server, config_watch::ConfigWatch},
};

/// Options of `subgate serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate check --config proxy.toml && subgate serve --config proxy.toml
  SUBGATE_LOG=info,subgate::chain=debug subgate serve --config proxy.toml --log-format json

Ctrl-C or SIGTERM stops the server once the requests that are under way have ended. SIGHUP, or a change of
the file or of a file that it names, has it read anew; what is faulty changes nothing.
The proxy.toml of the source tree explains every setting.")]
pub(crate) struct ServeOptions {
    /// The configuration file
    #[arg(long, env = "SUBGATE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: PathBuf,
}

/// Runs `subgate serve` until a signal stops it.
pub(crate) fn serve(options: &ServeOptions) -> Result<(), CommandError> {
    runtime::multi_thread()?.block_on(async {
        // First of all: from here on no signal ends the process by itself.
        let (stop, hangup) = (stop_signal()?, hangup_signal()?);
        let config = load(&options.config)?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let server = bind(&options.config, config).await?;
        tracing::info!(address = %server.address(), "accepting connections");
        let watch = ConfigWatch::new(server.reloader(), &options.config);
        let watching = tokio::spawn(watch.run(hangup));
        server.run(stop).await;
        watching.abort();
        Ok(())
    })
}

/// Reads and checks a configuration file; prints each fault on a line of its own.
pub(crate) fn load(path: &Path) -> Result<Config, CommandError> {
    // A file that is missing has another exit code than one with faults.
    std::fs::metadata(path)
        .map_err(|error| CommandError::no_input(format!("--config {}: {error}", path.display())))?;
    Config::load(path).map_err(|ConfigErrors(faults)| print_faults(path, &faults))
}

/// Prints each fault on a line of its own, and gives the error that counts them.
pub(super) fn print_faults(path: &Path, faults: &[Fault]) -> CommandError {
    for fault in faults {
        terminal::print_remark(fault);
    }
    count_faults(path, faults.len())
}

/// The error of a file with so many faults.
pub(super) fn count_faults(path: &Path, count: usize) -> CommandError {
    let noun = if count == 1 { "fault" } else { "faults" };
    CommandError::usage(format!("{}: {count} {noun}", path.display()))
}

/// Opens the sockets.
pub(crate) async fn bind(path: &Path, config: Config) -> Result<Server, CommandError> {
    Server::bind(config).await.map_err(|error| match error {
        ServeError::Faults(ConfigErrors(faults)) => print_faults(path, &faults),
        error => CommandError::cannot_create(error),
    })
}
