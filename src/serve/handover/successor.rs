//! The old process's side of a hand-over. \[IO\]
//!
//! Invariant: a successor that has not taken over is killed before this process goes on.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

use super::{
    PREDECESSOR,
    program::Program,
    talk::{self, FromSuccessor, LINE_BYTES_MAX, SocketRole, TakeOver},
};
use crate::endpoints::NoncesLeft;

/// How long a successor that is ready may take to take over: it has nothing else to do.
const TAKE_OVER_TIME_MAX: Duration = Duration::from_secs(5);

/// Variables that are meant for this process alone: sockets and a watchdog of the service manager.
const OWN_VARIABLES: &[&str] = &["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Why this process goes on alone.
#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum HandOverError {
    /// The program cannot be started.
    #[error("{path} cannot be started: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says why it does not start.
    #[error("the new process does not start: {0}")]
    Failed(String),
    /// It ended.
    #[error("the new process ended ({0}) before it had taken over")]
    Ended(ExitStatus),
    /// It said nothing in time.
    #[error("the new process was not ready within server.hand_over_seconds_max = {0}, and was killed")]
    Late(u64),
    /// It was ready, and then did not take over.
    #[error("the new process did not take over, and was killed")]
    Stuck,
    /// What it says cannot be read.
    #[error("the new process cannot be talked to, and was killed: {0}")]
    Talk(#[from] io::Error),
}

/// The process that is to take this one's place; killed where it is dropped before it has.
#[derive(Debug)]
pub(in crate::serve) struct Successor {
    child: Option<Child>,
    stream: BufReader<UnixStream>,
}

impl Successor {
    /// Starts the program with the arguments of this process, and passes it the sockets.
    pub(in crate::serve) fn start(
        program: &Program,
        sockets: &[(SocketRole, OwnedFd)],
    ) -> Result<Self, HandOverError> {
        let (here, there) = StdStream::pair()?;
        let sockets: Vec<_> = sockets.iter().map(|(role, socket)| (*role, socket.as_fd())).collect();
        talk::send_offer(&here, &sockets)?;
        here.set_nonblocking(true)?;
        let stream = BufReader::new(UnixStream::from_std(here)?);
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .env(PREDECESSOR, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(there)));
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        let child =
            command.spawn().map_err(|source| HandOverError::Start { path: program.path.clone(), source })?;
        Ok(Self { child: Some(child), stream })
    }

    /// Its process id, while it runs.
    pub(in crate::serve) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Waits until it says that it could begin.
    pub(in crate::serve) async fn ready(&mut self, seconds_max: u64) -> Result<(), HandOverError> {
        let said = timeout(Duration::from_secs(seconds_max), self.hear()).await;
        match said.map_err(|_| HandOverError::Late(seconds_max))?? {
            FromSuccessor::Ready => Ok(()),
            FromSuccessor::Failed(why) => Err(HandOverError::Failed(why)),
            FromSuccessor::TookOver => Err(HandOverError::Stuck),
        }
    }

    /// Leaves it the connections and the nonces; its process id once it accepts connections.
    pub(in crate::serve) async fn take_over(
        mut self,
        nonces: NoncesLeft,
    ) -> Result<Option<u32>, HandOverError> {
        let line = talk::line(&TakeOver { nonces })?;
        let taken = async {
            self.stream.get_mut().write_all(&line).await?;
            self.hear().await
        };
        match timeout(TAKE_OVER_TIME_MAX, taken).await.map_err(|_| HandOverError::Stuck)?? {
            FromSuccessor::TookOver => Ok(self.child.take().and_then(|child| child.id())),
            FromSuccessor::Failed(why) => Err(HandOverError::Failed(why)),
            FromSuccessor::Ready => Err(HandOverError::Stuck),
        }
    }

    async fn hear<T: DeserializeOwned>(&mut self) -> Result<T, HandOverError> {
        let mut line = Vec::new();
        match (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(_) if !line.is_empty() => return Ok(talk::parse(&line)?),
            // A program that has not read what it was offered resets the socket by its end.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
        match &mut self.child {
            Some(child) => Err(HandOverError::Ended(child.wait().await?)),
            None => Err(HandOverError::Stuck),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended by itself.
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
    }
}
