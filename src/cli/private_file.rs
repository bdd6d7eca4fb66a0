//! Files and directories that only their owner can open. \[IO\]

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use tempfile::NamedTempFile;

/// Creates `dir` and its missing parents with mode 0700. A directory that exists keeps its mode.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces the file `path` (mode 0600) by `content` in one step: a reader sees the old content or the new,
/// never a part.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    written_beside(path, content)?.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Creates the file `path` (mode 0600) with all of `content` in one step. What is there already stays as it
/// is, and is the error `AlreadyExists`.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    written_beside(path, content)?.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file in the directory of `path`, under another name.
fn written_beside(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let dir = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
    file.as_file().set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    Ok(file)
}

/// Reads a whole file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut content = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_0600_and_directories_0700() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        create_dir(&inner).unwrap();
        write(&inner.join("f"), b"secret").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("f"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
        assert_eq!(read(&inner.join("f"), 6).unwrap(), b"secret");
        assert!(read(&inner.join("f"), 5).is_err());
        assert!(read(&inner, 5).is_err());
    }

    #[test]
    fn what_is_there_is_not_replaced_by_what_is_created() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        create(&file, b"first").unwrap();
        assert_eq!(create(&file, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&file, 9).unwrap(), b"first");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
