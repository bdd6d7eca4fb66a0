//! Reads and writes files of the data directory, with errors that name the file. \[IO\]

use std::{fs, io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::cli::{exit::CommandError, private_file};

/// Files that are read back are small: keys and addresses.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a JSON file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CommandError> {
    match private_file::read(path, FILE_BYTES_MAX) {
        Ok(content) => serde_json::from_slice(&content).map(Some).map_err(|error| {
            CommandError::data(format!("{}: {error} (delete it to have a new one made)", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::no_input(format!("{}: {error}", path.display()))),
    }
}

/// Replaces a file by indented JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CommandError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| CommandError::software(format!("{}: {error}", path.display())))?;
    text.push(b'\n');
    write(path, &text)
}

/// Replaces a file.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    private_file::write(path, content).map_err(|error| cannot_create(path, &error))
}

/// Creates a directory where it is missing.
pub(super) fn create_dir(path: &Path) -> Result<(), CommandError> {
    private_file::create_dir(path).map_err(|error| cannot_create(path, &error))
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn cannot_create(path: &Path, error: &io::Error) -> CommandError {
    CommandError::cannot_create(format!("{}: {error}", path.display()))
}
