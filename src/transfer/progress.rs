//! How far a run is: a bar on a terminal, JSON lines elsewhere; on standard error, so that standard output
//! has the result alone. \[IO\]
//!
//! Each JSON line is one object with an `event`: `file` for each file that is done, with the fields of its
//! row in the report; `listed` and `progress` now and then; `remark` for what a person would be told.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::report::{Row, one_line, size_text};

/// Between two lines that only say how far the run is.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How often the bar is drawn, at most.
const DRAWN_PER_SECOND: u8 = 8;

/// How a run tells how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressForm {
    /// A bar.
    Bar,
    /// JSON lines.
    Lines,
    /// Not at all; remarks are told all the same.
    Silent,
}

impl ProgressForm {
    /// A bar where standard error is a terminal, else JSON lines.
    pub(crate) fn for_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }
}

/// How far a run is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    form: ProgressForm,
    bar: ProgressBar,
    files: u64,
    bytes: u64,
    files_done: u64,
    bytes_done: u64,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// For a run that tells it so.
    pub(crate) fn new(form: ProgressForm) -> Self {
        let target = match form {
            ProgressForm::Bar => ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND),
            ProgressForm::Lines | ProgressForm::Silent => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} ETA {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            form,
            bar,
            files: 0,
            bytes: 0,
            files_done: 0,
            bytes_done: 0,
            started: now,
            told: now,
        })))
    }

    /// So many objects of a list have come, before anything is to be done.
    pub(crate) fn listed(&self, objects: u64) {
        self.with(|state| match state.form {
            ProgressForm::Bar => state.bar.set_message(format!("{objects} objects listed")),
            ProgressForm::Lines if state.told.elapsed() >= LINE_INTERVAL => {
                state.told = Instant::now();
                print(&json!({ "event": "listed", "objects": objects }).to_string());
            }
            ProgressForm::Lines | ProgressForm::Silent => {}
        });
    }

    /// So much more is to be done.
    pub(crate) fn planned(&self, files: u64, bytes: u64) {
        self.with(|state| {
            state.files = state.files.saturating_add(files);
            state.bytes = state.bytes.saturating_add(bytes);
            state.bar.inc_length(bytes);
            state.show();
        });
    }

    /// So many bytes are done.
    pub(crate) fn moved(&self, bytes: u64) {
        self.with(|state| {
            state.bytes_done = state.bytes_done.saturating_add(bytes);
            state.bar.inc(bytes);
            state.show();
        });
    }

    /// A file is done. Its bytes are those of [`Self::moved`].
    pub(crate) fn file(&self, row: &Row) {
        self.with(|state| {
            state.files_done = state.files_done.saturating_add(1);
            if state.form == ProgressForm::Lines {
                let mut line = json!(row);
                if let Some(object) = line.as_object_mut() {
                    object.insert("event".to_owned(), json!("file"));
                }
                print(&line.to_string());
            } else if state.form == ProgressForm::Bar && !row.outcome.is_good() {
                let name = if row.path.is_empty() { &row.key } else { &row.path };
                let text = format!("{}  {}: {}", row.outcome.word(), one_line(name), one_line(&row.detail));
                state.bar.suspend(|| print(&text));
            }
            state.show();
        });
    }

    /// Tells the person, or the log, something.
    pub(crate) fn remark(&self, text: &str) {
        self.with(|state| match state.form {
            ProgressForm::Lines => print(&json!({ "event": "remark", "text": text }).to_string()),
            ProgressForm::Bar | ProgressForm::Silent => {
                let text = format!("subgate: {}", one_line(text));
                state.bar.suspend(|| print(&text));
            }
        });
    }

    /// There was nothing to move: a bar leaves the terminal.
    pub(crate) fn close(&self) {
        self.with(|state| state.bar.finish_and_clear());
    }

    /// The run is over: a bar leaves the terminal, and lines end with one that tells all.
    pub(crate) fn finish(&self) {
        self.with(|state| {
            state.bar.finish_and_clear();
            if state.form == ProgressForm::Lines {
                state.print_line();
            }
        });
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        // Whoever panicked while it held the lock left numbers that are still numbers.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    fn show(&mut self) {
        match self.form {
            ProgressForm::Bar => {
                self.bar.set_message(format!("{}/{} files", self.files_done, self.files));
            }
            ProgressForm::Lines if self.told.elapsed() >= LINE_INTERVAL => self.print_line(),
            ProgressForm::Lines | ProgressForm::Silent => {}
        }
    }

    fn print_line(&mut self) {
        self.told = Instant::now();
        let line = json!({
            "event": "progress",
            "files": self.files,
            "files_done": self.files_done,
            "bytes": self.bytes,
            "bytes_done": self.bytes_done,
            "done": size_text(self.bytes_done),
            "seconds": self.started.elapsed().as_secs(),
        });
        print(&line.to_string());
    }
}

/// One line on standard error; whoever does not read it misses it.
fn print(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
