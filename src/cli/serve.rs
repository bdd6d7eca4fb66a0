//! `subgate serve`: read a configuration and run the server.

use std::time::Duration;

use clap::Args;
use futures_util::{Stream, StreamExt as _};

use super::{
    configuration::{ConfigOption, load, print_faults},
    exit::CommandError,
    runtime::{self, hangup_signal},
};
#[cfg(feature = "otel")]
use crate::otel;
use crate::{
    config::{Config, ConfigErrors, Source},
    serve::{Order, PassedSockets, Predecessor, Program, ServeError, Server, config_watch::ConfigWatch},
};

/// What has not ended with the last connection gets so long.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(1);

/// Options of `subgate serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate check --config proxy.toml && subgate serve --config proxy.toml
  SUBGATE_LOG=info,subgate::chain=debug subgate serve --config proxy.toml --log-format json
  SUBGATE_STORE__ENDPOINT=http://127.0.0.1:9000 subgate serve --config proxy.toml

SIGTERM stops the server: for server.drain_announce_seconds /readyz says so, then no more connections are
accepted, and what is under way may end. Ctrl-C does the same without the announcement. A second signal
ends at once. SIGUSR2 starts the program anew, in the place of this process, and refuses nobody meanwhile.
SIGHUP, or a change of the file or of a file that it names, has it read anew; what is faulty changes nothing.
The proxy.toml of the source tree explains every setting.")]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    config: ConfigOption,
}

/// Runs `subgate serve` until a signal stops it, or until another process has taken over.
pub(crate) fn serve(options: &ServeOptions) -> Result<(), CommandError> {
    let unusable = |error: std::io::Error| {
        CommandError::software(format!("the process before this one cannot be talked to: {error}"))
    };
    let mut predecessor = Predecessor::of_this_process().map_err(unusable)?;
    let passed = PassedSockets::take(predecessor.as_mut()).map_err(CommandError::usage)?;
    let runtime = runtime::multi_thread()?;
    let served = runtime.block_on(serve_until_stopped(options, passed, &mut predecessor));
    if let (Err(error), Some(predecessor)) = (&served, &mut predecessor) {
        predecessor.failed(error);
    }
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    served
}

async fn serve_until_stopped(
    options: &ServeOptions,
    passed: PassedSockets,
    predecessor: &mut Option<Predecessor>,
) -> Result<(), CommandError> {
    let program = Program::of_this_process()
        .map_err(|error| CommandError::software(format!("this program cannot be found: {error}")))?;
    // First of all: from here on no signal ends the process by itself.
    let (mut orders, hangup) = (Box::pin(runtime::orders(program)?), hangup_signal()?);
    let source = options.config.source()?;
    let config = load(&source)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    #[cfg(feature = "otel")]
    let traces = start_traces()?;
    let starting = async {
        let server = bind(&source, config, passed).await?;
        if let Some(before) = predecessor {
            server.take_over(before).await.map_err(CommandError::unavailable)?;
            // There is no more to say to it.
            *predecessor = None;
        }
        Ok::<_, CommandError>(server)
    };
    let server = tokio::select! {
        server = starting => server?,
        () = stop(&mut orders) => return Ok(()),
    };
    tracing::info!(address = %server.address(), "accepting connections");
    let watch = ConfigWatch::new(server.reloader(), source);
    let watching = tokio::spawn(watch.run(hangup));
    server.obey(orders).await;
    watching.abort();
    #[cfg(feature = "otel")]
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(())
}

/// Begins to export traces where the environment names a collector.
#[cfg(feature = "otel")]
fn start_traces() -> Result<Option<otel::Exporter>, CommandError> {
    let settings = otel::Settings::of(|name| std::env::var(name).ok()).map_err(CommandError::usage)?;
    settings.map(otel::start).transpose().map_err(CommandError::usage)
}

/// The next order to stop. A process that does not serve yet has nothing to hand over.
async fn stop(orders: &mut (impl Stream<Item = Order> + Unpin)) {
    loop {
        match orders.next().await {
            Some(Order::Stop(_)) => return,
            Some(Order::HandOver(_)) => tracing::warn!("nothing is handed over before the start"),
            None => std::future::pending().await,
        }
    }
}

/// Opens the sockets, except those that were passed.
pub(crate) async fn bind(
    source: &Source,
    config: Config,
    passed: PassedSockets,
) -> Result<Server, CommandError> {
    Server::bind_passed(config, passed).await.map_err(|error| match error {
        ServeError::Faults(ConfigErrors(faults)) => print_faults(source, &faults),
        error => CommandError::cannot_create(error),
    })
}
