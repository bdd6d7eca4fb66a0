//! The folder that is downloaded to: names are opened one by one, and no symbolic link is followed. \[IO\]
//!
//! Invariants:
//! - nothing is opened, made or replaced but relative to the folder itself or to one below it that was opened
//!   without following a link, so no link that stands there leads a byte elsewhere;
//! - a file comes under its final name whole, by a rename, and only in the place of nothing or of a file that
//!   was seen when the download was planned.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use jiff::Timestamp;
use rustix::{
    fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{
    local_path::{Folding, LocalPath, NAME_BYTES_MAX, WORK_DIR},
    plan::Space,
};

const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What the process's umask leaves of it.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// A folder that exists.
pub(crate) struct Folder {
    root: OwnedFd,
}

/// The folder below it in which files grow; nobody else works in it while this lives.
pub(crate) struct WorkFolder {
    fd: OwnedFd,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Absent,
    /// A file.
    File(Identity),
}

/// A file as it stands: while none of this changes, its bytes do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) size: u64,
    pub(crate) inode: u64,
    pub(crate) modified_nanos: i64,
    pub(crate) changed_nanos: i64,
}

/// Why a name cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathFault {
    #[error("{0:?} is a symbolic link here")]
    Link(String),
    #[error("{0:?} is a file here, and has to be a folder")]
    NotAFolder(String),
    #[error("{0:?} is a folder here, and has to be a file")]
    NotAFile(String),
    #[error("{0:?} is a device, a pipe or a socket here")]
    Special(String),
    #[error("{0:?} came to be in the meantime")]
    Taken(String),
    #[error("{0:?}: {1}")]
    Io(String, io::Error),
}

impl PathFault {
    /// What a person can do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Link(_) | Self::NotAFolder(_) | Self::NotAFile(_) | Self::Special(_) => {
                "move it away, or download to another folder"
            }
            Self::Taken(_) => "run the command again; if it stays, another object has the same name here",
            Self::Io(..) => "make it writable, or download to another folder",
        }
    }

    /// Whether all other files would fail as well: the disk is full or broken.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        let Self::Io(_, error) = self else { return false };
        let errno = Errno::from_io_error(error);
        [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS, Errno::MFILE, Errno::NFILE]
            .into_iter()
            .any(|fatal| errno == Some(fatal))
    }
}

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Ok(Self {
            size: metadata.len(),
            inode: metadata.ino(),
            modified_nanos: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed_nanos: nanos(metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Folder {
    /// Opens it. A link that the caller names is the caller's own and may lead anywhere.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: fs::open(path, flags, Mode::empty())? })
    }

    /// How long its names may be.
    pub(crate) fn name_bytes_max(&self) -> usize {
        let said = fs::fstatvfs(&self.root).ok().and_then(|said| usize::try_from(said.f_namemax).ok());
        said.filter(|bytes| *bytes > 0).unwrap_or(NAME_BYTES_MAX)
    }

    /// What there is on its disk.
    pub(crate) fn space(&self) -> io::Result<Space> {
        let said = fs::fstatvfs(&self.root)?;
        // Some file systems make room for files as they come, and say 0.
        let files = (said.f_files > 0).then_some(said.f_favail);
        Ok(Space { bytes: said.f_bavail.saturating_mul(said.f_frsize), files })
    }

    /// What stands under that path.
    pub(crate) fn look(&self, path: &LocalPath) -> Result<Standing, PathFault> {
        match self.read(path)? {
            None => Ok(Standing::Absent),
            Some(file) => Identity::of(&file)
                .map(Standing::File)
                .map_err(|error| PathFault::Io(path.to_string(), error)),
        }
    }

    /// The file under that path, for reading; none where nothing stands.
    pub(crate) fn read(&self, path: &LocalPath) -> Result<Option<File>, PathFault> {
        let Some(parent) = self.parent(path, Missing::IsFine)? else { return Ok(None) };
        let (_, name) = path.parent_and_name();
        // A pipe is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match fs::openat(&parent, name, flags, Mode::empty()) {
            Ok(fd) => match file_type(&fd) {
                Ok(FileType::RegularFile) => Ok(Some(File::from(fd))),
                Ok(FileType::Directory) => Err(PathFault::NotAFile(path.to_string())),
                Ok(_) => Err(PathFault::Special(path.to_string())),
                Err(error) => Err(PathFault::Io(path.to_string(), error.into())),
            },
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => Err(PathFault::Link(path.to_string())),
            Err(Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP) => Err(PathFault::Special(path.to_string())),
            Err(error) => Err(PathFault::Io(path.to_string(), error.into())),
        }
    }

    /// Moves a file that is whole from the work folder to its path, in the place of what stood there when the
    /// download was planned.
    pub(crate) fn place(
        &self,
        work: &WorkFolder,
        name: &str,
        path: &LocalPath,
        standing: Standing,
    ) -> Result<(), PathFault> {
        let fault = |error: Errno| PathFault::Io(path.to_string(), error.into());
        let parent = self.parent(path, Missing::IsMade)?;
        let parent = parent.ok_or_else(|| fault(Errno::NOENT))?;
        let (_, target) = path.parent_and_name();
        if let Standing::File(_) = standing {
            return match fs::statat(&parent, target, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                    Err(PathFault::Taken(path.to_string()))
                }
                Ok(_) | Err(Errno::NOENT) => fs::renameat(&work.fd, name, &parent, target).map_err(fault),
                Err(error) => Err(fault(error)),
            };
        }
        match fs::renameat_with(&work.fd, name, &parent, target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(PathFault::Taken(path.to_string())),
            // Not every file system can: there, a link of that name fails where one stands.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                match fs::linkat(&work.fd, name, &parent, target, AtFlags::empty()) {
                    Ok(()) => fs::unlinkat(&work.fd, name, AtFlags::empty()).map_err(fault),
                    Err(Errno::EXIST) => Err(PathFault::Taken(path.to_string())),
                    Err(error) => Err(fault(error)),
                }
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// The folder that holds the path's last name.
    fn parent(&self, path: &LocalPath, missing: Missing) -> Result<Option<OwnedFd>, PathFault> {
        let root = self.root.try_clone().map_err(|error| PathFault::Io(".".to_owned(), error))?;
        let Some(folders) = path.parent_and_name().0 else { return Ok(Some(root)) };
        let mut at = root;
        for (name, so_far) in folders.split('/').zip(path.folders()) {
            let fault = |error: Errno| PathFault::Io(so_far.to_owned(), error.into());
            let mut opened = fs::openat(&at, name, FOLDER_FLAGS, Mode::empty());
            if let (Err(Errno::NOENT), Missing::IsMade) = (&opened, missing) {
                match fs::mkdirat(&at, name, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(fault(error)),
                }
                opened = fs::openat(&at, name, FOLDER_FLAGS, Mode::empty());
            }
            at = match opened {
                Ok(folder) => folder,
                Err(Errno::NOENT) if missing == Missing::IsFine => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => {
                    return Err(match fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                            PathFault::Link(so_far.to_owned())
                        }
                        Ok(_) => PathFault::NotAFolder(so_far.to_owned()),
                        Err(error) => fault(error),
                    });
                }
                Err(error) => return Err(fault(error)),
            };
        }
        Ok(Some(at))
    }

    /// Opens the work folder, for this process alone; makes it where it is missing.
    pub(crate) fn work(&self) -> Result<WorkFolder, WorkFault> {
        match fs::mkdirat(&self.root, WORK_DIR, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(WorkFault::Io(error.into())),
        }
        let fd = match fs::openat(&self.root, WORK_DIR, FOLDER_FLAGS, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => return Err(WorkFault::NotAFolder),
            Err(error) => return Err(WorkFault::Io(error.into())),
        };
        match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(WorkFolder { fd }),
            Err(Errno::WOULDBLOCK) => Err(WorkFault::Busy),
            // A network's file system without locks: whoever has one knows who works there.
            Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => Ok(WorkFolder { fd }),
            Err(error) => Err(WorkFault::Io(error.into())),
        }
    }

    /// The work folder of an earlier download, where there is one that nobody works in.
    pub(crate) fn work_if_there(&self) -> Result<Option<WorkFolder>, WorkFault> {
        match fs::statat(&self.root, WORK_DIR, AtFlags::SYMLINK_NOFOLLOW) {
            Err(_) => Ok(None),
            Ok(_) => match self.work() {
                Err(WorkFault::Busy) => Ok(None),
                work => work.map(Some),
            },
        }
    }

    /// Sees to it that what was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        fs::syncfs(&self.root)?;
        #[cfg(not(target_os = "linux"))]
        fs::fsync(&self.root)?;
        Ok(())
    }
}

/// What is done about a folder that is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    IsFine,
    IsMade,
}

/// Why there is no work folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkFault {
    #[error("another download into this folder is running")]
    Busy,
    #[error("{WORK_DIR} is a link or a file: move it away")]
    NotAFolder,
    #[error("{WORK_DIR}: {0}")]
    Io(#[from] io::Error),
}

fn file_type(fd: &OwnedFd) -> Result<FileType, Errno> {
    fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

impl WorkFolder {
    /// Opens a file of its own; none where it is missing.
    pub(crate) fn open(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) if file_type(&fd)? == FileType::RegularFile => Ok(Some(File::from(fd))),
            Ok(_) | Err(Errno::LOOP | Errno::MLINK | Errno::ISDIR | Errno::NXIO) => {
                Err(io::Error::other(format!("{WORK_DIR}/{name} is no file: remove {WORK_DIR}")))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A new file, in the place of one of that name.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.fd, name, flags, FILE_MODE)?))
    }

    /// The file of that name, at whose end is written.
    pub(crate) fn append(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, FILE_MODE)?;
        match file_type(&fd)? {
            FileType::RegularFile => Ok(File::from(fd)),
            _ => Err(io::Error::other(format!("{WORK_DIR}/{name} is no file: remove {WORK_DIR}"))),
        }
    }

    /// Gives a file another name, in the place of one that has it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tries which names are one name here.
    pub(crate) fn folding(&self) -> io::Result<Folding> {
        const PROBE: &str = "Probe-\u{e9}";
        self.create(PROBE)?;
        let is_there = |name: &str| fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let folding = Folding { case: is_there("pROBE-\u{e9}"), accents: is_there("Probe-e\u{301}") };
        self.remove(PROBE)?;
        Ok(folding)
    }
}

/// Gives a file the time of its object.
pub(crate) fn set_modified(file: &File, time: Timestamp) -> io::Result<()> {
    let nanos = time.as_nanosecond().rem_euclid(1_000_000_000);
    let time = Timespec {
        tv_sec: time.as_nanosecond().div_euclid(1_000_000_000).try_into().unwrap_or_default(),
        tv_nsec: nanos.try_into().unwrap_or_default(),
    };
    Ok(fs::futimens(file.as_fd(), &Timestamps { last_access: time, last_modification: time })?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Scene {
        dir: tempfile::TempDir,
        folder: Folder,
        work: WorkFolder,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::open(dir.path()).unwrap();
            let work = folder.work().unwrap();
            Self { dir, folder, work }
        }

        fn path(text: &str) -> LocalPath {
            LocalPath::new(text, NAME_BYTES_MAX).unwrap()
        }

        fn place(&self, text: &str, standing: Standing) -> Result<(), PathFault> {
            self.work.create("part").unwrap().write_all(b"new").unwrap();
            self.folder.place(&self.work, "part", &Self::path(text), standing)
        }

        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.dir.path().join(name)).unwrap()
        }
    }

    #[test]
    fn a_file_takes_the_place_of_what_was_seen_and_of_nothing_else() {
        let scene = Scene::new();
        scene.place("a/b/c", Standing::Absent).unwrap();
        assert_eq!(scene.text("a/b/c"), "new");
        // It came to be after the plan: on a file system without case, under another spelling of the name.
        std::fs::write(scene.dir.path().join("a/b/c"), "mine").unwrap();
        assert!(matches!(scene.place("a/b/c", Standing::Absent), Err(PathFault::Taken(_))));
        assert_eq!(scene.text("a/b/c"), "mine");
        let standing = scene.folder.look(&Scene::path("a/b/c")).unwrap();
        assert!(matches!(standing, Standing::File(identity) if identity.size == 4));
        scene.place("a/b/c", standing).unwrap();
        assert_eq!(scene.text("a/b/c"), "new");
        // It was replaced by a link after the plan.
        std::fs::write(scene.dir.path().join("precious"), "precious").unwrap();
        std::fs::remove_file(scene.dir.path().join("a/b/c")).unwrap();
        std::os::unix::fs::symlink("../../precious", scene.dir.path().join("a/b/c")).unwrap();
        assert!(matches!(scene.place("a/b/c", standing), Err(PathFault::Taken(_))));
        assert!(matches!(scene.place("a/b/c", Standing::Absent), Err(PathFault::Taken(_))));
        assert_eq!(scene.text("precious"), "precious");
    }

    #[test]
    fn a_folder_that_became_a_link_is_not_followed() {
        let scene = Scene::new();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), scene.dir.path().join("link")).unwrap();
        for path in ["link/a", "link/b/c"] {
            let fault = scene.place(path, Standing::Absent).unwrap_err();
            assert!(matches!(fault, PathFault::Link(_)) && !fault.is_of_the_disk(), "{fault}");
            assert!(matches!(scene.folder.look(&Scene::path(path)), Err(PathFault::Link(_))));
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_works_in_a_folder_at_a_time() {
        let scene = Scene::new();
        let other = Folder::open(scene.dir.path()).unwrap();
        assert!(matches!(other.work(), Err(WorkFault::Busy)));
        assert!(matches!(other.work_if_there(), Ok(None)));
        drop(scene.work);
        assert!(matches!(other.work_if_there(), Ok(Some(_))));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Folder::open(empty.path()).unwrap().work_if_there(), Ok(None)));
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_is_everybodys_and_a_closed_folder_is_one_files() {
        let of = |errno: Errno| PathFault::Io("a".to_owned(), errno.into()).is_of_the_disk();
        assert!(of(Errno::NOSPC) && of(Errno::ROFS) && !of(Errno::ACCESS) && !of(Errno::NOENT));
    }

    #[test]
    fn a_file_gets_the_time_of_its_object_to_the_nanosecond() {
        let scene = Scene::new();
        let file = scene.work.create("part").unwrap();
        for time in ["2026-11-03T10:11:12.345678901Z", "1969-12-31T23:59:59.5Z"] {
            let time: Timestamp = time.parse().unwrap();
            set_modified(&file, time).unwrap();
            assert_eq!(Timestamp::try_from(file.metadata().unwrap().modified().unwrap()).unwrap(), time);
        }
    }
}
