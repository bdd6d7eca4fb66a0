//! The two ways in which a command speaks: its product on standard output, remarks on standard error.
//!
//! A reader that has gone (`subgate … | head`) is no fault of ours, so what cannot be written is let go.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

/// Writes one line of the product.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes one line for the person at the terminal or in the log.
pub(crate) fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "subgate: {text}");
}

/// A line on the terminal that the next one replaces; nothing where standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Progress(bool);

impl Progress {
    /// For standard error.
    pub(crate) fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    /// Shows `text` in place of what was there.
    pub(crate) fn show(&self, text: impl fmt::Display) {
        if self.0 {
            let _ = write!(io::stderr().lock(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

/// Colours, which are there on a terminal alone (and not under `NO_COLOR`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For standard output.
    pub(crate) fn for_stdout() -> Self {
        Self(io::stdout().is_terminal() && colours_wanted())
    }

    /// `text` in bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// `text` in the background.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// `text` as something good.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// `text` as something dangerous.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// `text` as something to look at.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether the person did not say no to colours: <https://no-color.org>.
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
