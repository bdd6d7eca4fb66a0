//! `subgate serve` and `subgate check`: from a configuration file to a running server, or to the list of its faults.

use std::{
    future::Future,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    fault::{Exit, Fault},
    out,
};
use crate::{
    config::{Config, ConfigErrors},
    serve::Server,
};

/// Options of `subgate serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate check --config proxy.toml && subgate serve --config proxy.toml
  SUBGATE_LOG=info,subgate::chain=debug subgate serve --config proxy.toml --log-format json

The proxy.toml of the source tree is the commented reference of every setting.")]
pub(crate) struct ServeOptions {
    /// The configuration file
    #[arg(long, env = "SUBGATE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: PathBuf,
}

/// Options of `subgate check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate check --config proxy.toml

Every fault is printed on a line of its own, with the setting's name and what would be right.")]
pub(crate) struct CheckOptions {
    /// The configuration file
    #[arg(long, env = "SUBGATE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: PathBuf,
}

/// Runs `subgate serve` until it is told to stop.
pub(crate) fn serve(options: &ServeOptions) -> Result<(), Fault> {
    let config = load(&options.config)?;
    runtime()?.block_on(async {
        let server = bind(config).await?;
        tracing::info!(address = %server.address(), "accepting connections");
        server.run(stop_signal()?).await;
        Ok(())
    })
}

/// Runs `subgate check`.
pub(crate) fn check(options: &CheckOptions) -> Result<(), Fault> {
    load(&options.config)?;
    out::line(format_args!("{}: no faults", options.config.display()));
    Ok(())
}

/// The runtime of the commands that serve.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new(Exit::Software, format!("the runtime cannot start: {error}")))
}

/// Resolves at Ctrl-C or SIGTERM.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| {
        signal(kind).map_err(|error| Fault::new(Exit::Software, format!("signals cannot be caught: {error}")))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Reads and checks a configuration; where it has faults each is a line on standard error of its own.
pub(crate) fn load(path: &Path) -> Result<Config, Fault> {
    // A missing file is not a faulty one.
    std::fs::metadata(path)
        .map_err(|error| Fault::new(Exit::NoInput, format!("--config {}: {error}", path.display())))?;
    Config::load(path).map_err(|ConfigErrors(faults)| {
        for fault in &faults {
            out::complain(fault);
        }
        let count = faults.len();
        Fault::usage(format!("{}: {count} {}", path.display(), if count == 1 { "fault" } else { "faults" }))
    })
}

/// Opens the sockets.
pub(crate) async fn bind(config: Config) -> Result<Server, Fault> {
    Server::bind(config).await.map_err(Fault::cannot_create)
}
