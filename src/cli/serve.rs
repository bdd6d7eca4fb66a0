//! `subgate serve` and `subgate check`: from a configuration file to a running server, or to the list of its faults.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    fault::{Exit, Fault},
    out,
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

/// The checked configuration.
#[derive(Debug)]
pub(crate) struct Config(());

/// A server whose sockets are open.
#[derive(Debug)]
pub(crate) struct Server(());

/// Reads and checks a configuration; its faults go to standard error, one line each.
pub(crate) fn load(path: &Path) -> Result<Config, Fault> {
    std::fs::metadata(path)
        .map_err(|error| Fault::new(Exit::NoInput, format!("--config {}: {error}", path.display())))?;
    Err(Fault::new(Exit::Software, format!("--config {}: configurations are not read yet", path.display())))
}

/// Opens the sockets.
pub(crate) async fn bind(_config: Config) -> Result<Server, Fault> {
    Err(Fault::new(Exit::Software, "the server is not there yet"))
}

impl Server {
    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Where the operator connects.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Serves until `shutdown` resolves and what is under way has ended.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) {
        shutdown.await;
    }
}
