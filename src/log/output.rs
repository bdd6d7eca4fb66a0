//! Where the log goes: standard error, or a file that is opened anew when it was moved away. \[IO\]

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The owner reads and writes the log, and its group reads it.
const FILE_MODE: u32 = 0o640;

/// Where the log goes.
#[derive(Debug)]
pub(crate) enum LogOutput {
    /// Standard error.
    Stderr,
    /// A file that is appended to.
    File {
        /// Under which name it is opened again.
        path: PathBuf,
        /// The file as it was opened last.
        file: File,
    },
}

impl LogOutput {
    /// Opens a file, which is made where there is none.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::File { path: path.to_owned(), file: open(path)? })
    }

    /// Opens the file anew by its name; on an error it stays as it is.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr => {}
            Self::File { path, file } => *file = open(path)?,
        }
        Ok(())
    }
}

impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}
