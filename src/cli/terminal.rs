//! What a command prints: its result on standard output, remarks and errors on standard error.
//!
//! A write that fails is ignored: the reader of a pipe may have gone (`subgate … | head`), which is no error.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

/// Prints one line of the command's result.
pub(crate) fn print_line(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints one line on standard error.
pub(crate) fn print_remark(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "subgate: {text}");
}

/// A progress line on standard error that the next one replaces. Nothing is shown where that is not a
/// terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// For standard error.
    pub(crate) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal() }
    }

    /// Replaces the line by `text`.
    pub(crate) fn show(&self, text: impl fmt::Display) {
        if self.is_shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

/// Colours: used on a terminal only, and not where `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    is_coloured: bool,
}

impl Paint {
    /// For standard output.
    pub(crate) fn for_stdout() -> Self {
        Self { is_coloured: io::stdout().is_terminal() && colours_allowed() }
    }

    /// `text` in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// `text`, less prominent.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// `text` in green: a good result, or a command to copy.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// `text` in bold red: a danger.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// `text` in yellow: a failure.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether the environment allows colours: <https://no-color.org>.
pub(crate) fn colours_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
