//! The registry as a file: `{"identities": [{"hotkey", "coldkey", "validator_permit", "stake", "name"}]}`.
//!
//! The file is checked before each request (one `stat`), so that an edit counts from the next request on.
//! When it cannot be read or parsed, the last good snapshot stays, and its age grows to its bound (P38).
//!
//! The `stat` is one of the open file where that tells as much as one of its path and costs a third: on the
//! usual local file systems, whoever writes, replaces, moves or removes a file changes its times or its
//! links. It says nothing of a symbolic link on the way that points elsewhere (so where there is one, the
//! path is looked at), nor of a folder above that is exchanged or a file that is mounted over this one: for
//! these, the path is looked at once a second as well.
//! \[IO\]

use std::{
    fs::{File, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde::Deserialize;

use super::{AccountId, Neuron, Snapshot, unix_seconds};
use crate::file_access::{WholeFile, check_writers, read_regular_file};

/// A registry of 65,536 identities is about 15 MB; nothing honest is larger than this.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// File systems stamp changes with the tick of a coarse clock: a file that was read within this time of its
/// last change may change again under the same stamp, so it is read again.
const STAMP_GRAIN: Duration = Duration::from_millis(50);

/// The same of file systems whose times are whole seconds.
const STAMP_GRAIN_OF_SECONDS: Duration = Duration::from_secs(2);

/// File systems of which an open file tells what became of it: ext2 to ext4, XFS, Btrfs and tmpfs, by their
/// numbers in statfs(2). An overlay, for one, leaves the file of a lower layer as it was.
const FILES_TELL: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];

/// Why a registry file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFileError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a registry.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and why.
        what: String,
    },
}

impl RegistryFileError {
    /// Whether it stays until the file changes; what the system refuses (no free file descriptor, for one)
    /// may be gone the next time.
    fn is_of_the_file(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.raw_os_error().is_none(),
            Self::Content { .. } => true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identities {
    identities: Vec<Identity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// For people only.
    #[serde(default, rename = "name")]
    _name: Option<String>,
    hotkey: AccountId,
    coldkey: AccountId,
    #[serde(default)]
    validator_permit: bool,
    #[serde(default)]
    stake: f64,
}

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    links: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Whether the reading came so soon after the change that the stamp proves nothing.
    racy: bool,
}

impl Stamp {
    fn of(metadata: &Metadata, now: SystemTime) -> Self {
        let changed = Duration::from_secs(metadata.ctime().unsigned_abs())
            + Duration::from_nanos(metadata.ctime_nsec().unsigned_abs());
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let grain = if metadata.ctime_nsec() == 0 { STAMP_GRAIN_OF_SECONDS } else { STAMP_GRAIN };
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            links: metadata.nlink(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            racy: since < changed + grain,
        }
    }

    /// Whether `seen`, taken later, shows the state that was read under `self`.
    fn still(&self, seen: &Self) -> bool {
        !self.racy && Self { racy: false, ..*seen } == *self
    }
}

/// The registry file and the snapshot it last gave.
pub struct RegistryFile {
    path: PathBuf,
    last: ArcSwap<Last>,
    /// The error that was last logged, so that a broken file is logged once and not at each request. Whoever
    /// reads the file again holds the lock.
    logged: Mutex<Option<String>>,
}

/// What the file last said, and by which stamp that still counts.
struct Last {
    snapshot: Arc<Snapshot>,
    /// The file that was read, where it stands for its path.
    file: Option<Arc<File>>,
    /// None where the file has since been found invalid.
    stamp: Option<Stamp>,
    /// The state that was found invalid: it is not parsed again at each request.
    invalid: Option<Stamp>,
}

impl RegistryFile {
    /// Reads the file for the first time; the server does not start with an invalid one.
    pub fn open(path: &Path, now: SystemTime) -> Result<Self, RegistryFileError> {
        Ok(Self {
            path: path.to_owned(),
            last: ArcSwap::from_pointee(read(path, now)?),
            logged: Mutex::new(None),
        })
    }

    /// The current snapshot, read again where the file has changed. An invalid file keeps the last snapshot
    /// with its true age.
    pub fn snapshot(&self, now: SystemTime) -> Arc<Snapshot> {
        // The usual case takes no lock: requests do not wait for each other's `stat`.
        if let Some(snapshot) = self.unchanged(now) {
            return snapshot;
        }
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        match self.refresh(now) {
            Ok(()) => *logged = None,
            Err(error) => {
                let error = error.to_string();
                if logged.as_ref() != Some(&error) {
                    tracing::error!(
                        %error,
                        "the registry file is invalid; the last good one is used until \
                        chain.stale_seconds_max"
                    );
                    *logged = Some(error);
                }
            }
        }
        Arc::clone(&self.last.load().snapshot)
    }

    /// The last snapshot, if one look at the file shows nothing new.
    fn unchanged(&self, now: SystemTime) -> Option<Arc<Snapshot>> {
        // Loaded before the look: what another thread reads meanwhile is not older than that.
        let last = self.last.load();
        let seconds = unix_seconds(now);
        let metadata = match &last.file {
            Some(file) if last.snapshot.taken_at == seconds => file.metadata(),
            _ => std::fs::metadata(&self.path),
        };
        let seen = Stamp::of(&metadata.ok()?, now);
        if last.invalid.is_some_and(|stamp| stamp.still(&seen)) {
            return Some(Arc::clone(&last.snapshot));
        }
        if !last.stamp.is_some_and(|stamp| stamp.still(&seen)) {
            return None;
        }
        if last.snapshot.taken_at >= seconds {
            return Some(Arc::clone(&last.snapshot));
        }
        // The unchanged file says the same now: one new allocation a second, not one for each request.
        let snapshot = Arc::new(last.snapshot.seen_again(seconds));
        let file = last.file.clone().filter(|_| is_straight(&self.path));
        let again = Last { snapshot: Arc::clone(&snapshot), file, stamp: last.stamp, invalid: None };
        // Not over what another thread has read meanwhile.
        self.last.compare_and_swap(&last, Arc::new(again));
        Some(snapshot)
    }

    fn refresh(&self, now: SystemTime) -> Result<(), RegistryFileError> {
        if self.unchanged(now).is_some() {
            return Ok(());
        }
        let last = self.last.load_full();
        let seen = std::fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata, now));
        // An invalid file is parsed again only when it has changed again or its stamp proves nothing.
        let next = read(&self.path, now).inspect_err(|error| {
            let snapshot = Arc::clone(&last.snapshot);
            let invalid = seen.filter(|_| error.is_of_the_file());
            self.last.store(Arc::new(Last { snapshot, file: None, stamp: None, invalid }));
        })?;
        let changed = |last: &Last| last.stamp.map(|stamp| stamp.changed);
        if last.stamp.is_none() || changed(&last) != changed(&next) {
            tracing::info!(registered = next.snapshot.len(), "registry file read");
        }
        self.last.store(Arc::new(next));
        Ok(())
    }
}

fn read(path: &Path, now: SystemTime) -> Result<Last, RegistryFileError> {
    let unreadable = |source| RegistryFileError::Read { path: path.to_owned(), source };
    let content = |what: String| RegistryFileError::Content { path: path.to_owned(), what };
    // The stamp is older than the content: a change in between shows at the next look.
    let WholeFile { bytes, metadata, file } = read_regular_file(path, FILE_BYTES_MAX).map_err(unreadable)?;
    check_writers(&metadata).map_err(content)?;
    if metadata.nlink() == 0 {
        // Mounted by itself, as containers may have it, a file stays although another one takes its place.
        return Err(content("has been removed or replaced where it comes from; mount its folder".to_owned()));
    }
    let stamp = Stamp::of(&metadata, now);
    let text = String::from_utf8(bytes).map_err(|_| content("is not text".to_owned()))?;
    let snapshot = parse(&text, unix_seconds(now)).map_err(content)?;
    let file = stands_for(&file, &stamp, path, now).then(|| Arc::new(file));
    Ok(Last { snapshot: Arc::new(snapshot), file, stamp: Some(stamp), invalid: None })
}

/// Whether that open file is what is at the path, and will tell what becomes of it.
fn stands_for(file: &File, stamp: &Stamp, path: &Path, now: SystemTime) -> bool {
    let tells = || {
        let kind = u64::try_from(rustix::fs::fstatfs(file).ok()?.f_type).ok()?;
        Some(FILES_TELL.contains(&kind))
    };
    // The look at the path comes last: what happens later changes the file.
    tells() == Some(true)
        && is_straight(path)
        && std::fs::metadata(path).is_ok_and(|metadata| Stamp::of(&metadata, now) == *stamp)
}

/// Whether no symbolic link is on the way to the file.
fn is_straight(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|there| std::path::absolute(path).is_ok_and(|named| named == there))
}

fn parse(text: &str, taken_at: u64) -> Result<Snapshot, String> {
    let registry: Identities = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let neurons = registry
        .identities
        .into_iter()
        .map(|entry| Neuron::new(entry.hotkey, entry.coldkey, entry.validator_permit, entry.stake));
    Snapshot::new(neurons.collect(), taken_at).map_err(|hotkey| format!("hotkey {hotkey} is there twice"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// A file keeps the mode of its first writing, whatever the umask is.
    fn write(path: &Path, text: impl AsRef<[u8]>) {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o644).open(path).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o644)).unwrap();
        std::io::Write::write_all(&mut file, text.as_ref()).unwrap();
    }

    fn ss58(id: u8) -> String {
        AccountId::from_bytes([id; 32]).unwrap().to_ss58()
    }

    fn registry(hotkeys: &[u8]) -> String {
        let entries: Vec<_> = hotkeys
            .iter()
            .map(|id| format!(r#"{{"hotkey": "{}", "coldkey": "{}"}}"#, ss58(*id), ss58(99)))
            .collect();
        format!(r#"{{"identities": [{}]}}"#, entries.join(", "))
    }

    fn knows(file: &RegistryFile, id: u8) -> bool {
        file.snapshot(SystemTime::now()).neuron(&AccountId::from_bytes([id; 32]).unwrap()).is_some()
    }

    #[test]
    fn p38_an_edit_counts_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        write(&path, registry(&[1, 2]));
        let file = RegistryFile::open(&path, SystemTime::now()).unwrap();
        assert!(knows(&file, 1) && knows(&file, 2));
        // Same size, within the same tick of the file system's clock.
        write(&path, registry(&[1, 3]));
        assert!(knows(&file, 3) && !knows(&file, 2));
        std::thread::sleep(STAMP_GRAIN * 2);
        assert!(knows(&file, 3));
        write(&path, registry(&[2]));
        assert!(knows(&file, 2) && !knows(&file, 1));
    }

    /// A folder on a file system whose files tell what becomes of them, and without a link on the way.
    fn telling_dir() -> tempfile::TempDir {
        tempfile::tempdir_in(Path::new("/dev/shm").canonicalize().unwrap()).unwrap()
    }

    /// A file old enough for its stamp to prove something.
    fn settled(dir: &Path) -> (PathBuf, RegistryFile) {
        let path = dir.join("registry.json");
        write(&path, registry(&[1]));
        std::thread::sleep(STAMP_GRAIN * 2);
        let file = RegistryFile::open(&path, SystemTime::now()).unwrap();
        assert!(file.last.load().file.is_some());
        (path, file)
    }

    #[test]
    fn p38_a_file_in_its_place_counts_at_the_next_look() {
        let dir = telling_dir();
        let (path, file) = settled(dir.path());
        let new = dir.path().join("new");
        let moves: [&dyn Fn(); 4] = [
            &|| std::fs::rename(&new, &path).unwrap(),
            &|| {
                std::fs::remove_file(&path).unwrap();
                std::fs::rename(&new, &path).unwrap();
            },
            &|| {
                std::fs::rename(&path, dir.path().join("old")).unwrap();
                std::fs::rename(&new, &path).unwrap();
            },
            // The one that was read has another name as well.
            &|| {
                std::fs::hard_link(&path, dir.path().join("kept")).unwrap();
                std::fs::rename(&new, &path).unwrap();
            },
        ];
        for (replace, id) in moves.iter().zip(2..) {
            write(&new, registry(&[id]));
            std::thread::sleep(STAMP_GRAIN * 2);
            assert!(knows(&file, id - 1) && file.last.load().file.is_some());
            replace();
            assert!(knows(&file, id) && !knows(&file, id - 1), "{id}");
        }
    }

    #[test]
    fn p38_a_link_that_points_elsewhere_counts_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, id) in [("one", 1), ("two", 2)] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            write(&dir.path().join(folder).join("registry.json"), registry(&[id]));
        }
        let point_at = |folder: &str| {
            std::os::unix::fs::symlink(folder, dir.path().join("new")).unwrap();
            std::fs::rename(dir.path().join("new"), dir.path().join("current")).unwrap();
        };
        point_at("one");
        std::thread::sleep(STAMP_GRAIN * 2);
        let path = dir.path().join("current/registry.json");
        let file = RegistryFile::open(&path, SystemTime::now()).unwrap();
        assert!(knows(&file, 1) && file.last.load().file.is_none());
        point_at("two");
        assert!(knows(&file, 2) && !knows(&file, 1));
    }

    #[test]
    fn p38_a_folder_that_becomes_a_link_is_looked_at_by_its_path_from_the_next_second() {
        let dir = telling_dir();
        let one = dir.path().join("one");
        std::fs::create_dir(&one).unwrap();
        let (_, file) = settled(&one);
        std::fs::rename(&one, dir.path().join("v1")).unwrap();
        std::os::unix::fs::symlink("v1", &one).unwrap();
        file.snapshot(SystemTime::now() + Duration::from_secs(1));
        assert!(file.last.load().file.is_none());
    }

    #[test]
    fn p38_what_the_system_refuses_is_asked_again() {
        let path = PathBuf::from("registry.json");
        let refused = |source| RegistryFileError::Read { path: path.clone(), source };
        assert!(!refused(std::io::Error::from_raw_os_error(24)).is_of_the_file());
        assert!(refused(std::io::Error::other("is larger than 1 bytes")).is_of_the_file());
        assert!(RegistryFileError::Content { path: path.clone(), what: String::new() }.is_of_the_file());
    }

    #[test]
    fn p38_a_folder_in_the_place_of_another_counts_from_the_next_second() {
        let dir = telling_dir();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        write(&two.join("registry.json"), registry(&[2]));
        let (_, file) = settled(&one);
        std::fs::rename(&one, dir.path().join("old")).unwrap();
        std::fs::rename(&two, &one).unwrap();
        let later = SystemTime::now() + Duration::from_secs(1);
        assert!(file.snapshot(later).neuron(&AccountId::from_bytes([2; 32]).unwrap()).is_some());
    }

    #[test]
    fn p38_a_invalid_file_keeps_the_last_snapshot_and_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        write(&path, registry(&[1]));
        let start = SystemTime::now();
        let file = RegistryFile::open(&path, start).unwrap();
        write(&path, "{");
        let later = file.snapshot(start + Duration::from_secs(100));
        assert!(knows(&file, 1));
        assert_eq!(later.age_seconds(unix_seconds(start) + 100), 100);
        std::fs::remove_file(&path).unwrap();
        assert!(knows(&file, 1));
        write(&path, registry(&[2]));
        assert!(knows(&file, 2) && !knows(&file, 1));
    }

    #[test]
    fn p38_a_invalid_file_is_parsed_once_for_each_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        write(&path, registry(&[1]));
        let file = RegistryFile::open(&path, SystemTime::now()).unwrap();
        write(&path, "{");
        std::thread::sleep(STAMP_GRAIN * 2);
        let now = SystemTime::now();
        assert!(file.refresh(now).is_err());
        // Had it been parsed again, it would be an error again.
        assert!(file.refresh(now).is_ok());
        assert!(file.snapshot(now + Duration::from_secs(100)).age_seconds(unix_seconds(now) + 100) >= 100);
        write(&path, registry(&[2]));
        assert!(knows(&file, 2) && !knows(&file, 1));
    }

    #[test]
    fn an_unchanged_file_stays_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        write(&path, registry(&[1]));
        std::thread::sleep(STAMP_GRAIN * 2);
        let start = SystemTime::now();
        let file = RegistryFile::open(&path, start).unwrap();
        let later = start + Duration::from_secs(10_000);
        assert_eq!(file.snapshot(later).age_seconds(unix_seconds(later)), 0);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let zero = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";
        for (text, says) in [
            ("", "EOF"),
            (r#"{"identities": [], "more": 1}"#, "unknown field `more`"),
            (r#"{"identities": [{"hotkey": "5abc", "coldkey": "5abc"}]}"#, "not a canonical SS58 address"),
            (&format!(r#"{{"identities": [{{"hotkey": "{zero}", "coldkey": "{zero}"}}]}}"#), "all-zero"),
            (&registry(&[1, 1]), "there twice"),
        ] {
            let error = parse(text, 0).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn p65_a_registry_that_others_can_write_leaves_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        write(&path, registry(&[1]));
        let file = RegistryFile::open(&path, SystemTime::now()).unwrap();
        write(&path, registry(&[2]));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(knows(&file, 1) && !knows(&file, 2));
        let error = RegistryFile::open(&path, SystemTime::now()).err().unwrap().to_string();
        assert!(error.ends_with("can be written by its group or by others; chmod go-w it"), "{error}");
    }
}
