//! The bounded buffer in which lines gather, and the thread that writes them. \[IO\]
//!
//! Invariants: whoever logs waits for a copy into memory and nothing else; one `write` takes whole lines, so
//! that processes which share an output do not tear each other's; what the output does not take (a full disk,
//! a pipe that nobody reads) is tried again, while lines beyond the buffer are dropped and counted, and the
//! next line that gets through tells how many.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::output::LogOutput;

/// How long a line waits for others at most: what a `kill -9` may take with it.
pub(crate) const BATCH_TIME: Duration = Duration::from_millis(40);

/// What waits to be written at most; half of it is written at once.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// What a buffer keeps when it has been emptied.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// How long the end of the process waits for an output that takes nothing.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Pauses after which an output that refuses is tried again.
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_millis(250);

/// The writer of this process.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Lines that were dropped since the start.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Makes the line that tells of lines which were lost, with its line break.
pub(crate) type TellLost = fn(u64) -> String;

/// When a line leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// With others, unless it is a warning or an error.
    InBatches,
    /// At once, for a person who looks on.
    AtOnce,
}

/// Takes lines; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    leaving: Leaving,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The thread has something to do.
    wake: Condvar,
    /// A batch was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    buffer: Vec<u8>,
    /// Dropped since the last batch.
    lost_lines: u64,
    /// Batches that were asked to leave at once, and what to do before one.
    is_urgent: bool,
    is_to_reopen: bool,
    /// The thread waits for a first line.
    is_idle: bool,
    /// The thread has a batch in its hands.
    is_writing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// Where there can be no further thread.
    pub(crate) fn start(output: LogOutput, leaving: Leaving, tell_lost: TellLost) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || Thread { shared: of_thread, output, tell_lost }.run())?;
        Ok(Self { shared, leaving })
    }

    /// Makes it the one of this process, which [`flush`] and [`reopen`] mean. The first stays.
    pub(crate) fn install(&self) {
        let _ = WRITER.set(self.clone());
    }

    fn push(&self, line: &[u8], is_urgent: bool) {
        let mut state = self.shared.lock();
        if state.buffer.len().saturating_add(line.len()) > BUFFER_BYTES_MAX {
            state.lost_lines = state.lost_lines.saturating_add(1);
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.buffer.extend_from_slice(line);
        let is_urgent = is_urgent || state.buffer.len() >= BUFFER_BYTES_MAX / 2;
        let is_news = is_urgent && !state.is_urgent;
        state.is_urgent |= is_urgent;
        if is_news || std::mem::take(&mut state.is_idle) {
            self.shared.wake.notify_one();
        }
    }

    /// Waits until what was logged before has been written, for at most `time_max`.
    fn flush(&self, time_max: Duration) {
        let until = Instant::now() + time_max;
        let mut state = self.shared.lock();
        while !state.buffer.is_empty() || state.is_writing {
            state.is_urgent = true;
            self.shared.wake.notify_one();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn reopen(&self) {
        let mut state = self.shared.lock();
        state.is_to_reopen = true;
        state.is_urgent = true;
        self.shared.wake.notify_one();
    }
}

/// Writes what has been logged so far; for the end of the process, which waits a second at most.
pub(crate) fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_TIME_MAX);
    }
}

/// Has the log's file opened anew by its name, between two lines.
pub(crate) fn reopen() {
    if let Some(writer) = WRITER.get() {
        writer.reopen();
    }
}

/// Lines that were dropped since the start, for the output did not take them.
pub(crate) fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// One line on its way into the buffer.
pub(crate) struct LineWriter<'a> {
    writer: &'a LogWriter,
    is_urgent: bool,
}

impl Write for LineWriter<'_> {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.writer.push(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { writer: self, is_urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        // tracing orders levels by how much is logged: ERROR is the least.
        let is_urgent = self.leaving == Leaving::AtOnce || *metadata.level() <= Level::WARN;
        LineWriter { writer: self, is_urgent }
    }
}

/// The thread that writes.
struct Thread {
    shared: Arc<Shared>,
    output: LogOutput,
    tell_lost: TellLost,
}

impl Thread {
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let lost_lines = self.next(&mut batch);
            if lost_lines > 0 {
                batch.extend_from_slice((self.tell_lost)(lost_lines).as_bytes());
            }
            self.write(&batch);
            batch.clear();
            batch.shrink_to(KEPT_BYTES_MAX);
            self.shared.lock().is_writing = false;
            self.shared.written.notify_all();
        }
    }

    /// Waits for a first line and then for further ones; takes them all, and how many were lost since.
    fn next(&mut self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.shared.lock();
        loop {
            if std::mem::take(&mut state.is_to_reopen) {
                drop(state);
                self.reopen();
                state = self.shared.lock();
            } else if state.buffer.is_empty() && state.lost_lines == 0 {
                state.is_urgent = false;
                state.is_idle = true;
                state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                break;
            }
        }
        state.is_idle = false;
        let waited = self.shared.wake.wait_timeout_while(state, BATCH_TIME, |state| !state.is_urgent);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut state.buffer, batch);
        state.is_urgent = false;
        state.is_writing = true;
        std::mem::take(&mut state.lost_lines)
    }

    /// Writes a batch, however long the output takes: what comes meanwhile waits in the buffer.
    fn write(&mut self, mut batch: &[u8]) {
        let mut pause = RETRY_MIN;
        while !batch.is_empty() {
            match self.output.write(batch) {
                Ok(bytes) if bytes > 0 => {
                    batch = batch.get(bytes..).unwrap_or_default();
                    pause = RETRY_MIN;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    std::thread::sleep(pause);
                    pause = pause.saturating_mul(2).min(RETRY_MAX);
                    // The file may have been moved away to make room.
                    if std::mem::take(&mut self.shared.lock().is_to_reopen) {
                        self.reopen();
                    }
                }
            }
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.output.reopen() {
            tracing::error!(%error, "the log's file cannot be opened anew: the old one goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn writer(path: &Path) -> LogWriter {
        let tell_lost = |lost| format!("{lost} lost\n");
        LogWriter::start(LogOutput::file(path).unwrap(), Leaving::InBatches, tell_lost).unwrap()
    }

    #[test]
    fn lines_keep_their_order_and_a_moved_file_loses_none() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let writer = writer(&path);
        for number in 0..1000 {
            writer.push(format!("{number}\n").as_bytes(), number % 100 == 0);
            if number == 500 {
                std::fs::rename(&path, &moved).unwrap();
                writer.reopen();
            }
        }
        writer.flush(Duration::from_secs(60));
        let text = std::fs::read_to_string(&moved).unwrap() + &std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, (0..1000).map(|number| format!("{number}\n")).collect::<String>());
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_behind_what_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let writer = writer(&path);
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        // The thread cannot take anything meanwhile.
        let mut state = writer.shared.lock();
        for _ in 0..BUFFER_BYTES_MAX / 1024 {
            state.buffer.extend_from_slice(&line);
        }
        drop(state);
        let before = lost_lines();
        let full = writer.shared.lock().buffer.len();
        writer.push(&line, false);
        let is_lost = lost_lines() > before;
        writer.push(b"", true);
        writer.flush(Duration::from_secs(60));
        let text = std::fs::read_to_string(&path).unwrap();
        // Unless the thread was quicker.
        assert!(full == 0 || is_lost);
        assert_eq!(text.ends_with(" lost\n"), is_lost);
    }
}
