//! Where a configuration comes from: a file, the environment over it, or the environment alone. \[IO\]

use std::{
    fmt::{self, Display},
    path::{Path, PathBuf},
};

use super::{
    environment::Environment,
    fault::{ConfigErrors, Lines},
    written::{self, NAMED_FILE_BYTES_MAX},
};
use crate::file_access::{check_writers, read_regular_file};

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    file: Option<PathBuf>,
    environment: Environment,
}

/// It is named after its file.
impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => file.display().fmt(f),
            None => f.write_str("the environment"),
        }
    }
}

/// What has been read, and not yet checked.
pub(super) struct Reading {
    pub(super) text: String,
    pub(super) lines: Lines,
}

impl Source {
    /// A file, if there is one, and the settings that are read over it.
    pub fn new(file: Option<PathBuf>, environment: Environment) -> Self {
        Self { file, environment }
    }

    /// That file and nothing else.
    pub fn file(path: &Path) -> Self {
        Self::new(Some(path.to_owned()), Environment::default())
    }

    /// The file, where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The settings that are read over it.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Where relative paths start: at the file, or where this process was started.
    pub(super) fn base(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("."))
    }

    /// What is in the file.
    pub(super) fn read(&self) -> Result<Reading, ConfigErrors> {
        let Some(path) = &self.file else { return Ok(self.reading(String::new())) };
        let text = std::fs::read_to_string(path).map_err(|error| self.unreadable(&error))?;
        let metadata = std::fs::metadata(path).map_err(|error| self.unreadable(&error))?;
        check_writers(&metadata).map_err(|what| self.fault(what))?;
        Ok(self.reading(text))
    }

    /// What is in the file now, for a process that serves already: a pipe or a directory in its place is a
    /// fault.
    pub(super) fn read_again(&self) -> Result<Reading, ConfigErrors> {
        let Some(path) = &self.file else { return Ok(self.reading(String::new())) };
        let file = read_regular_file(path, NAMED_FILE_BYTES_MAX).map_err(|error| self.unreadable(&error))?;
        check_writers(&file.metadata).map_err(|what| self.fault(what))?;
        let text = String::from_utf8(file.bytes).map_err(|_| self.unreadable(&"it is not text"))?;
        Ok(self.reading(text))
    }

    /// The files that are named in it now, whatever its faults; none where it is not TOML.
    pub(super) fn named_files(&self) -> Vec<PathBuf> {
        let text = match &self.file {
            None => Some(String::new()),
            Some(path) => read_regular_file(path, NAMED_FILE_BYTES_MAX)
                .ok()
                .and_then(|file| String::from_utf8(file.bytes).ok()),
        };
        let table: Option<toml::Table> = text.and_then(|text| text.parse().ok());
        table.map_or_else(Vec::new, |mut table| {
            self.environment.lay_over(&mut table, &mut Lines::default());
            written::files_named_in(&table, self.base())
        })
    }

    fn reading(&self, text: String) -> Reading {
        let lines = Lines::of(&text, self.file.as_deref());
        Reading { text, lines }
    }

    fn unreadable(&self, what: &dyn Display) -> ConfigErrors {
        self.fault(format!("cannot be read: {what}"))
    }

    fn fault(&self, what: String) -> ConfigErrors {
        ConfigErrors(vec![Lines::of("", self.file.as_deref()).fault("", what)])
    }
}
