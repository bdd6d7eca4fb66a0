//! Sessions kept in files between two `aws` commands, each of which starts `subgate credentials` anew. \[IO\]
//!
//! Invariants: a session is read only from a file and a directory that belong to the caller and that nobody
//! else can open; it is replaced in one step; and of many callers at once one asks the server while the
//! others wait.

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

/// The largest answer of a server: see [`super::session_client::ANSWER_BYTES_MAX`].
const ENTRY_BYTES_MAX: u64 = 64 * 1024;

/// Permission bits of everybody but the owner.
const MODE_OF_OTHERS: u32 = 0o077;

/// How often a waiting caller tries the lock.
const LOCK_POLL: Duration = Duration::from_millis(25);

/// The place of one cached session.
#[derive(Debug)]
pub(crate) struct CacheEntry {
    file: PathBuf,
    lock: PathBuf,
}

/// The lock of an entry: its holder asks the server and stores the answer. Released on drop.
#[derive(Debug)]
pub(crate) struct EntryLock(#[expect(dead_code, reason = "holds the lock until it is dropped")] File);

impl CacheEntry {
    /// The entry whose name is the hash of `facts`; creates the directory if it is missing.
    pub(crate) fn new(dir: &Path, facts: &[&str]) -> io::Result<Self> {
        private_file::create_dir(dir)?;
        let metadata = fs::metadata(dir)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & MODE_OF_OTHERS != 0 {
            return Err(io::Error::other("others can open it (chmod 700 it, or give another --cache-dir)"));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        for fact in facts {
            // With its length first, so that no two lists of facts give the same bytes.
            hash.update(&fact.len().to_be_bytes());
            hash.update(fact.as_bytes());
        }
        let name = hex::encode(hash.finish());
        Ok(Self { file: dir.join(format!("{name}.json")), lock: dir.join(format!("{name}.lock")) })
    }

    /// The cached session, if the file belongs to the caller alone. Whether it is still valid is not checked.
    pub(crate) fn load(&self) -> Option<Secret> {
        let metadata = fs::symlink_metadata(&self.file).ok()?;
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_file() || !ours || metadata.mode() & MODE_OF_OTHERS != 0 {
            return None;
        }
        private_file::read(&self.file, ENTRY_BYTES_MAX).ok().map(Secret::new)
    }

    /// Replaces the cached session.
    pub(crate) fn store(&self, answer: &[u8]) -> io::Result<()> {
        private_file::write(&self.file, answer)
    }

    /// Waits for the lock, for at most `timeout`. A caller that does not get it goes on without.
    pub(crate) fn lock(&self, timeout: Duration) -> Option<EntryLock> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&self.lock).ok()?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Some(EntryLock(file)),
                Err(TryLockError::WouldBlock) if start.elapsed() < timeout => thread::sleep(LOCK_POLL),
                Err(_) => return None,
            }
        }
    }
}

/// `$XDG_CACHE_HOME/subgate`, otherwise `~/.cache/subgate`; `None` where neither is an absolute path.
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
        let entry = CacheEntry::new(&dir, &["a", "b"]).unwrap();
        assert_eq!(entry.load(), None);
        entry.store(b"{}").unwrap();
        assert_eq!(entry.load(), Some(Secret::new(*b"{}")));
        assert_eq!((mode(&dir), mode(&entry.file)), (0o700, 0o600));
        assert_eq!(CacheEntry::new(&dir, &["ab", ""]).unwrap().load(), None);
    }

    #[test]
    fn an_entry_that_others_can_read_does_not_count_and_is_made_private_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("cache");
        let entry = CacheEntry::new(&dir, &["a"]).unwrap();
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
        assert!(CacheEntry::new(&dir, &["a"]).is_err());
    }

    #[test]
    fn one_caller_holds_the_lock_and_the_next_waits_no_longer_than_its_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let entry = CacheEntry::new(&dir.path().join("cache"), &["a"]).unwrap();
        let lock = entry.lock(Duration::ZERO);
        assert!(lock.is_some());
        assert!(entry.lock(Duration::from_millis(60)).is_none());
        drop(lock);
        // A program that another test starts may hold a copy of the descriptor for a moment.
        assert!(entry.lock(Duration::from_secs(10)).is_some());
    }
}
