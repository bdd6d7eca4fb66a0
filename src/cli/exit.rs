//! How a command ends: an exit code for scripts, and for a failure one line for the person.
//!
//! The exit codes are those of BSD's `sysexits.h`; below them stand the findings of `doctor`.

use std::{fmt, process::ExitCode};

/// Why a command failed, as its exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// `doctor`, `store probe`, `healthcheck`: something that must work does not. `upload`: files failed.
    Failed,
    /// `doctor`: something that must be refused is allowed.
    Open,
    /// An option, an environment variable or a setting is wrong.
    Usage,
    /// A file was read and is not what it should be, or its password is wrong.
    Data,
    /// A file is missing or cannot be read.
    NoInput,
    /// A server cannot be reached, is overloaded or is failing; trying again later may help.
    Unavailable,
    /// An internal error of this program.
    Software,
    /// A file or a socket cannot be created.
    CannotCreate,
    /// The server refused.
    Refused,
}

/// The table of exit codes as `--help` shows it.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
  0   success
  64  an option, an environment variable or a setting is wrong
  65  a file is not what it should be, or its password is wrong
  66  a file is missing or cannot be read
  69  a server cannot be reached, is overloaded or is failing: try again later
  70  an internal error of subgate
  73  a file or a socket cannot be created
  77  the server refused";

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

/// Why a command failed: an exit code, and one line that names the option, setting, file or server at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandError {
    /// The exit code.
    pub(crate) exit: Exit,
    /// One line without control characters: [`CommandError::new`] sees to it.
    message: String,
}

impl CommandError {
    /// An error with its message. Line breaks and other control characters become spaces, because parts of
    /// the message may come from a file or a server.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let parts = message.split(char::is_control).map(str::trim).filter(|part| !part.is_empty());
        Self { exit, message: parts.collect::<Vec<_>>().join(" ") }
    }

    /// A wrong option or setting.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file that is not what it should be.
    pub(crate) fn data(message: impl fmt::Display) -> Self {
        Self::new(Exit::Data, message)
    }

    /// A file that is missing or cannot be read.
    pub(crate) fn no_input(message: impl fmt::Display) -> Self {
        Self::new(Exit::NoInput, message)
    }

    /// A file that cannot be written, or a socket that cannot be opened.
    pub(crate) fn cannot_create(message: impl fmt::Display) -> Self {
        Self::new(Exit::CannotCreate, message)
    }

    /// A server that cannot be used now.
    pub(crate) fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    /// An internal error.
    pub(crate) fn software(message: impl fmt::Display) -> Self {
        Self::new(Exit::Software, message)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let error = CommandError::usage("--config: a\n  b\r\n\x1b[31mc");
        assert_eq!(error.to_string(), "--config: a b [31mc");
    }
}
