//! A file, the state in which it was found, and its bytes for as long as that state lasts. \[IO\]
//!
//! Invariant: bytes are handed out only of the very file that was found. A file that was put in its place, or
//! a link, is another one.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::{fs::OFlags, io::Errno};

/// The state of a file: as long as it is the same, so is the content. Whoever writes changes the times, and
/// whoever sets those back changes the time of the last change all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its name below the directory that was given, with `/`; or its own name.
    pub(super) name: String,
    pub(super) stamp: Stamp,
}

/// Why a file's bytes are not to be had, with what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("it is no longer there: run the same again without it")]
    Vanished,
    #[error("it changed while it was looked at: run the same again once nobody writes to it")]
    Changed,
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// A file that is being read.
#[derive(Debug, Clone)]
pub(crate) struct OpenFile {
    file: Arc<File>,
    found: Arc<LocalFile>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// How a file is opened: no link is followed, and nobody is waited for who might write to a pipe.
pub(super) fn flags() -> OFlags {
    OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Vanished,
            _ => Self::Unreadable(error),
        }
    }
}

impl LocalFile {
    /// Where it is, for people.
    pub(crate) fn shown(&self) -> String {
        shown(&self.path)
    }

    /// Its bytes.
    pub(crate) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Opens the very file that was found. It blocks.
    pub(crate) fn open(self: &Arc<Self>) -> Result<OpenFile, ReadError> {
        let flags = i32::try_from(flags().bits()).unwrap_or(0);
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&self.path) {
            // A link stands there now.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                return Err(ReadError::Changed);
            }
            file => file?,
        };
        let open = OpenFile { file: Arc::new(file), found: Arc::clone(self) };
        open.check()?;
        Ok(open)
    }
}

impl OpenFile {
    /// The next bytes, `bytes_max` or fewer at the end of the file. It blocks.
    pub(super) fn read(&self, bytes_max: u64) -> Result<Bytes, ReadError> {
        let mut bytes = Vec::with_capacity(usize::try_from(bytes_max).unwrap_or(0));
        (&*self.file).take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Reads from `at` on, wherever the other reads are; gives how many bytes. It blocks.
    pub(crate) fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        self.file.read_at(bytes, at)
    }

    /// From the first byte on again. It blocks.
    pub(super) fn rewind(&self) -> Result<(), ReadError> {
        use std::io::Seek as _;
        (&*self.file).rewind()?;
        Ok(())
    }

    /// Whether it is still the file that was found, in the state in which it was found, and still stands
    /// where it was found. It blocks.
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        let (own, there) = (self.file.metadata()?, std::fs::symlink_metadata(&self.found.path)?);
        let is_same = [own, there].iter().all(|metadata| Stamp::of(metadata) == self.found.stamp);
        if is_same { Ok(()) } else { Err(ReadError::Changed) }
    }
}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> Arc<LocalFile> {
        let stamp = Stamp::of(&std::fs::symlink_metadata(path).unwrap());
        Arc::new(LocalFile { path: path.to_owned(), name: "a".to_owned(), stamp })
    }

    #[test]
    fn a_file_is_read_for_as_long_as_it_is_the_one_that_was_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "0123456789").unwrap();
        let open = found(&path).open().unwrap();
        assert_eq!(open.read(4).unwrap(), "0123");
        assert_eq!(open.read(99).unwrap(), "456789");
        assert_eq!(open.read(99).unwrap(), "");
        open.rewind().unwrap();
        assert_eq!(open.read(1).unwrap(), "0");
        open.check().unwrap();

        // The same size, and even the same time of the last write.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&path, "012345678x").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(matches!(open.check(), Err(ReadError::Changed)));
        assert!(matches!(open.found.open(), Err(ReadError::Changed)));
    }

    #[test]
    fn what_was_put_in_its_place_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&path, "0").unwrap();
        std::fs::write(&other, "0").unwrap();
        let file = found(&path);
        let open = file.open().unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(matches!(open.check(), Err(ReadError::Changed)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(open.check(), Err(ReadError::Vanished)));
        assert!(matches!(file.open(), Err(ReadError::Vanished)));
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(file.open(), Err(ReadError::Changed)));
    }
}
