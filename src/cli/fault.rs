//! How a command fails: one line for the person, one exit code for the script.

use std::{fmt, process::ExitCode};

/// Why a command ended; the numbers are those of BSD's `sysexits.h`, and below them `doctor`'s findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// `doctor`: something that must work does not.
    Failed = 1,
    /// `doctor`: something that must be refused is let through.
    Open = 2,
    /// An option, an environment variable or a setting is wrong.
    Usage = 64,
    /// A file was read and is not what it should be, or its password is wrong.
    Data = 65,
    /// A file that must be there is not, or cannot be read.
    NoInput = 66,
    /// A server cannot be reached, is overloaded or failing: later may do.
    Unavailable = 69,
    /// A fault of this program.
    Software = 70,
    /// A file or a socket cannot be made.
    CannotCreate = 73,
    /// The server said no.
    Refused = 77,
}

/// The table of exit codes as `--help` shows it.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0   done
  64  an option, an environment variable or a setting is wrong
  65  a file is not what it should be, or its password is wrong
  66  a file is missing or cannot be read
  69  a server cannot be reached, is overloaded or failing: try again later
  70  a fault of this program
  73  a file or a socket cannot be made
  77  the server refused";

/// One line about what is wrong, naming the option, setting or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The exit code.
    pub(crate) exit: Exit,
    /// The line; [`Fault::new`] keeps it one.
    text: String,
}

impl Fault {
    /// A failure with its line; line breaks and control characters become spaces, for part of it may come from
    /// elsewhere.
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        let text = text.split(|c: char| c.is_control()).map(str::trim).filter(|line| !line.is_empty());
        Self { exit, text: text.collect::<Vec<_>>().join(" ") }
    }

    /// A wrong option or setting.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// A file that is not what it should be.
    pub(crate) fn data(text: impl fmt::Display) -> Self {
        Self::new(Exit::Data, text)
    }

    /// A file that cannot be written, or a socket that cannot be opened.
    pub(crate) fn cannot_create(text: impl fmt::Display) -> Self {
        Self::new(Exit::CannotCreate, text)
    }

    /// A server that cannot be used now.
    pub(crate) fn unavailable(text: impl fmt::Display) -> Self {
        Self::new(Exit::Unavailable, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failed => 1,
            Exit::Open => 2,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoInput => 66,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::CannotCreate => 73,
            Exit::Refused => 77,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_whatever_it_quotes() {
        let fault = Fault::usage("--config: a\n  b\r\n\x1b[31mc");
        assert_eq!(fault.to_string(), "--config: a b [31mc");
    }
}
