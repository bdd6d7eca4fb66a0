//! A new process takes over the listening sockets, and no connection is refused meanwhile. \[IO\]
//!
//! The process starts the program that it is itself ([`program`]) and passes it the sockets ([`talk`]). The
//! new one reads the configuration and makes all that it needs; only then do the two change places: the old
//! one spends no more nonces and leaves those that are spent (P9), the new one begins to accept, and the old
//! one stops, and drains. Where the new one fails at any of it, it is killed, and the old one goes on.
//! Connections that nobody has accepted wait at the sockets, which both have.
//!
//! Why this is none of the crates for it: ecdysis brings nix, bincode and tempfile for a pipe and a fork that
//! std and rustix have, and shellflip a framework around the process. Descriptors in a message of a Unix
//! socket need no `unsafe`, and none of them has to be left open for the child by its number.

mod predecessor;
mod program;
mod successor;
mod talk;

use std::{io, os::fd::OwnedFd, pin::Pin};

pub use self::predecessor::Predecessor;
pub(crate) use self::program::Program;
use self::successor::{HandOverError, Successor};
pub(in crate::serve) use self::{predecessor::Inheritance, talk::SocketRole};
use super::service_manager;
use crate::endpoints::Process;

/// The variable by which a process knows that it is to take the place of its parent: the parent's process id.
const PREDECESSOR: &str = "SUBGATE_PREDECESSOR";

/// The sockets that are handed over, or why they cannot be.
type Sockets = io::Result<Vec<(SocketRole, OwnedFd)>>;

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), HandOverError>> + Send + 'a>>;

/// What this process hands over, one attempt at a time. Dropped, it ends, and a process that has not taken
/// over is killed.
pub(in crate::serve) struct HandOver<'a> {
    sockets: &'a Sockets,
    process: &'a Process,
    attempt: Option<Attempt<'a>>,
}

impl<'a> HandOver<'a> {
    pub(in crate::serve) fn new(sockets: &'a Sockets, process: &'a Process) -> Self {
        Self { sockets, process, attempt: None }
    }

    /// Begins to hand over to `program`, which has so many seconds to get ready; unless that is under way.
    pub(in crate::serve) fn begin(&mut self, program: Program, seconds_max: u64) {
        if self.attempt.is_some() {
            tracing::warn!("a hand-over is under way already, and this one is not begun");
            return;
        }
        self.attempt = Some(Box::pin(attempt(program, self.sockets, self.process, seconds_max)));
    }

    /// Resolves once another process has taken over; never where that fails. Nothing is lost where this is
    /// dropped.
    pub(in crate::serve) async fn done(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            let outcome = attempt.await;
            self.attempt = None;
            match outcome {
                Ok(()) => return,
                Err(error) => tracing::error!(%error, "nothing is handed over, and this process goes on"),
            }
        }
        std::future::pending().await
    }
}

/// Starts `program` and lets it take the place of this process.
async fn attempt(
    program: Program,
    sockets: &Sockets,
    process: &Process,
    seconds_max: u64,
) -> Result<(), HandOverError> {
    let sockets = sockets.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    let mut successor = Successor::start(&program, sockets)?;
    tracing::info!(program = %program.path.display(), pid = successor.pid(), "a new process is to take over");
    successor.ready(seconds_max).await?;
    let mut spent = SpentElsewhere { process, is_for_good: false };
    let pid = successor.take_over(process.nonces.hand_over()).await?;
    spent.is_for_good = true;
    if let Some(pid) = pid {
        service_manager::notify(&format!("MAINPID={pid}"));
    }
    tracing::info!(pid, "the new process has taken over");
    Ok(())
}

/// The nonces are about to be spent by another process; dropped, this one spends them again, unless the other
/// one does for good.
struct SpentElsewhere<'a> {
    process: &'a Process,
    is_for_good: bool,
}

impl Drop for SpentElsewhere<'_> {
    fn drop(&mut self) {
        if !self.is_for_good {
            self.process.nonces.keep();
        }
    }
}
