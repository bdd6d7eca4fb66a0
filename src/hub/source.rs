//! A file of this machine that is committed, as whoever found it hands it out.

use std::{fmt::Debug, io, sync::Arc};

/// A file that was found. What stands under its path later may be another one, and is not opened.
pub(crate) trait Source: Debug + Send + Sync {
    /// Its name for people.
    fn name(&self) -> String;

    /// Its bytes when it was found.
    fn size(&self) -> u64;

    /// Opens the very file that was found, in the state in which it was found. It blocks.
    ///
    /// # Errors
    /// That it is no longer there, or another one by now.
    fn open(&self) -> io::Result<Arc<dyn OpenSource>>;
}

/// A file that is open.
pub(crate) trait OpenSource: Send + Sync {
    /// Reads from `at` on, as [`std::os::unix::fs::FileExt::read_at`] does. It blocks.
    ///
    /// # Errors
    /// Those of reading.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;

    /// Whether it is still what was found. It blocks.
    ///
    /// # Errors
    /// That it is not.
    fn check(&self) -> io::Result<()>;
}

/// `length` bytes from `at` on, or fewer at the end of the file. It blocks.
pub(super) fn read_piece(open: &dyn OpenSource, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; length];
    let mut filled = 0_usize;
    while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match open.read_at(rest, at.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf};

    use super::*;

    /// A file that is what its path says, of the size that it had.
    #[derive(Debug)]
    pub(crate) struct Plain(pub(crate) PathBuf, pub(crate) u64);

    struct OpenPlain(File, u64);

    impl Plain {
        pub(crate) fn of(path: &std::path::Path) -> Arc<dyn Source> {
            Arc::new(Self(path.to_owned(), std::fs::metadata(path).unwrap().len()))
        }
    }

    impl Source for Plain {
        fn name(&self) -> String {
            self.0.display().to_string()
        }

        fn size(&self) -> u64 {
            self.1
        }

        fn open(&self) -> io::Result<Arc<dyn OpenSource>> {
            let open = OpenPlain(File::open(&self.0)?, self.1);
            open.check()?;
            Ok(Arc::new(open))
        }
    }

    impl OpenSource for OpenPlain {
        fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
            self.0.read_at(bytes, at)
        }

        fn check(&self) -> io::Result<()> {
            match self.0.metadata()?.len() == self.1 {
                true => Ok(()),
                false => Err(io::Error::other("it changed")),
            }
        }
    }
}
