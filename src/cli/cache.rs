//! Answers of `/v1/session` kept between two `aws` commands, each of which is a process of its own. \[IO\]
//!
//! Invariants: a cached answer is read only from a file and a directory that belong to the caller and that nobody
//! else can open; it is replaced in one step; and of many callers at once one asks the server and the others wait.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::digest;

use super::{private_file, wallet::expand_home};
use crate::secret::Secret;

/// An answer of a server is smaller than this (see `session::ANSWER_BYTES_MAX`).
const ENTRY_BYTES_MAX: u64 = 64 * 1024;

/// Others than the owner.
const OTHERS: u32 = 0o077;

/// How often a waiting caller looks whether the lock is free.
const LOCK_POLL: Duration = Duration::from_millis(25);

/// One cached answer.
#[derive(Debug)]
pub(crate) struct Entry {
    file: PathBuf,
    lock: PathBuf,
}

/// The right to ask the server and to store its answer; given back on drop.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "holds the lock of the file until it is dropped")] File);

impl Entry {
    /// The entry for what `facts` tell apart; makes the directory where it is missing.
    pub(crate) fn new(dir: &Path, facts: &[&str]) -> io::Result<Self> {
        private_file::create_dir(dir)?;
        let about = fs::metadata(dir)?;
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & OTHERS != 0 {
            return Err(io::Error::other("it is open to others (chmod 700 it, or give another --cache-dir)"));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        for fact in facts {
            // Length first, so that no two lists of facts run into the same bytes.
            hash.update(&fact.len().to_be_bytes());
            hash.update(fact.as_bytes());
        }
        let name = hex::encode(hash.finish());
        Ok(Self { file: dir.join(format!("{name}.json")), lock: dir.join(format!("{name}.lock")) })
    }

    /// The cached answer, if it is the caller's own; whether it is still good is for the reader to say.
    pub(crate) fn load(&self) -> Option<Secret> {
        let about = fs::symlink_metadata(&self.file).ok()?;
        let ours = about.uid() == rustix::process::geteuid().as_raw();
        if !about.is_file() || !ours || about.mode() & OTHERS != 0 {
            return None;
        }
        private_file::read(&self.file, ENTRY_BYTES_MAX).ok().map(Secret::new)
    }

    /// Replaces the cached answer.
    pub(crate) fn store(&self, answer: &[u8]) -> io::Result<()> {
        private_file::write(&self.file, answer)
    }

    /// Waits for this caller's turn, at most for `patience`; without a turn in time the caller goes on alone.
    pub(crate) fn turn(&self, patience: Duration) -> Option<Turn> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.lock).ok()?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Some(Turn(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => thread::sleep(LOCK_POLL),
                Err(_) => return None,
            }
        }
    }
}

/// `$XDG_CACHE_HOME/subgate`, or `~/.cache/subgate`.
pub(crate) fn default_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = expand_home(Path::new("~"));
    base.or_else(|| home.is_absolute().then(|| home.join(".cache"))).map(|base| base.join("subgate"))
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn an_entry_is_private_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let entry = Entry::new(&dir, &["a", "b"]).unwrap();
        assert_eq!(entry.load(), None);
        entry.store(b"{}").unwrap();
        assert_eq!(entry.load(), Some(Secret::new(*b"{}")));
        assert_eq!((mode(&dir), mode(&entry.file)), (0o700, 0o600));
        assert_eq!(Entry::new(&dir, &["ab", ""]).unwrap().load(), None);
    }

    #[test]
    fn an_entry_that_others_can_read_does_not_count_and_is_made_private_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let entry = Entry::new(&dir, &["a"]).unwrap();
        entry.store(b"{}").unwrap();
        fs::set_permissions(&entry.file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(entry.load(), None);
        entry.store(b"{}").unwrap();
        assert_eq!(mode(&entry.file), 0o600);
        let elsewhere = dir.join("elsewhere");
        fs::rename(&entry.file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &entry.file).unwrap();
        assert_eq!(entry.load(), None);
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        assert!(Entry::new(&dir, &["a"]).is_err());
    }

    #[test]
    fn one_has_the_turn_and_the_next_waits_no_longer_than_his_patience() {
        let dir = tempfile::tempdir().unwrap();
        let entry = Entry::new(&dir.path().join("cache"), &["a"]).unwrap();
        let turn = entry.turn(Duration::ZERO);
        assert!(turn.is_some());
        assert!(entry.turn(Duration::from_millis(60)).is_none());
        drop(turn);
        assert!(entry.turn(Duration::ZERO).is_some());
    }
}
