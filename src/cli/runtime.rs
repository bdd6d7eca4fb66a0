//! The asynchronous runtimes of the commands, and the signals that stop them. \[IO\]

use std::future::Future;

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use super::exit::CommandError;

/// The runtime of a command that serves: a thread for each processor.
pub(crate) fn multi_thread() -> Result<Runtime, CommandError> {
    build(Builder::new_multi_thread())
}

/// The runtime of a command that is a client: this thread.
pub(crate) fn current_thread() -> Result<Runtime, CommandError> {
    build(Builder::new_current_thread())
}

fn build(mut builder: Builder) -> Result<Runtime, CommandError> {
    builder
        .enable_all()
        .build()
        .map_err(|error| CommandError::software(format!("the asynchronous runtime cannot start: {error}")))
}

/// Resolves at Ctrl-C (SIGINT) or SIGTERM. From this call on, these signals no longer end the process by
/// themselves.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, CommandError> {
    let listen = |kind| {
        signal(kind).map_err(|error| CommandError::software(format!("signals cannot be caught: {error}")))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Listens to SIGHUP, which from this call on no longer ends the process.
pub(crate) fn hangup_signal() -> Result<Signal, CommandError> {
    signal(SignalKind::hangup())
        .map_err(|error| CommandError::software(format!("signals cannot be caught: {error}")))
}
