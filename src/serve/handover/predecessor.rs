//! The new process's side of a hand-over. \[IO\]

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::{
        fd::AsFd as _,
        unix::{net::UnixStream, process::parent_id},
    },
    time::Duration,
};

use super::{
    PREDECESSOR,
    talk::{self, FromSuccessor, LINE_BYTES_MAX, SocketRole, TakeOver},
};
use crate::endpoints::NoncesLeft;

/// How long the predecessor may take for each thing it says: it says them at once.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// The process whose place this one takes.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    sockets: Vec<(SocketRole, TcpListener)>,
}

/// What the predecessor has left to this process.
#[derive(Debug)]
pub(in crate::serve) enum Inheritance {
    /// The nonces that it has spent, or where. It spends no more.
    Left(NoncesLeft),
    /// It ended without a word.
    Gone,
}

impl Predecessor {
    /// The process before this one, where it has started this one to take its place. Its sockets have come.
    ///
    /// # Errors
    /// The conversation fails: the predecessor is of another kind, or is gone.
    pub fn of_this_process() -> io::Result<Option<Self>> {
        // Whoever inherits the variable from this process has another parent than it names.
        let parent = std::env::var(PREDECESSOR).ok().and_then(|pid| pid.parse::<u32>().ok());
        if parent != Some(parent_id()) {
            return Ok(None);
        }
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // What this process starts has nothing to say to the predecessor.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Self::begin(stream).map(Some)
    }

    fn begin(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        let sockets = talk::receive_offer(&stream)?;
        Ok(Self { stream, sockets })
    }

    /// The sockets that it has passed; empty the second time.
    pub(in crate::serve) fn take_sockets(&mut self) -> Vec<(SocketRole, TcpListener)> {
        std::mem::take(&mut self.sockets)
    }

    /// Tells it why this process does not start, so that its log says so.
    pub fn failed(&mut self, why: impl std::fmt::Display) {
        // Where it is gone, there is nobody to tell.
        let _ = self.say(&FromSuccessor::Failed(why.to_string()));
    }

    /// Tells it that this process could begin, and waits for what it leaves. Blocks.
    ///
    /// # Errors
    /// It says something else, or nothing in time: then it goes on alone, and this process must end.
    pub(in crate::serve) fn ready(&mut self) -> io::Result<Inheritance> {
        if self.say(&FromSuccessor::Ready).is_err() {
            return Ok(Inheritance::Gone);
        }
        let mut line = Vec::new();
        BufReader::new(&self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        match line.ends_with(b"\n") {
            true => talk::parse(&line).map(|TakeOver { nonces }| Inheritance::Left(nonces)),
            false => Ok(Inheritance::Gone),
        }
    }

    /// Tells it that from now on this process accepts connections.
    pub(in crate::serve) fn took_over(&mut self) {
        // Where it is gone, there is nobody to tell.
        let _ = self.say(&FromSuccessor::TookOver);
    }

    fn say(&mut self, message: &FromSuccessor) -> io::Result<()> {
        self.stream.write_all(&talk::line(message)?)
    }
}
