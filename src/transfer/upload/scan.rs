//! The files below a directory. \[IO\]
//!
//! Links: a link to a file inside the directory is that file under the link's name; a link that leads out of
//! the directory, and a link to a directory, are left out and told. Directories are walked by their open
//! handles, so that nobody can put a link in the place of one on the way.

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Dir, FileType, Mode, OFlags, openat},
    io::Errno,
};

use super::{
    local_file::{LocalFile, Stamp, flags, shown},
    selection::Selection,
};

/// Directories in directories; each takes a handle while it is walked.
const DEPTH_MAX: usize = 100;

/// What was given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// All that is meant below it.
    Directory(PathBuf),
    /// This one, whatever its name.
    File(PathBuf),
}

/// A name that is not uploaded, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotTaken {
    pub(super) path: String,
    /// As that of a [`LocalFile`], or of a directory; empty where it cannot be told.
    pub(super) name: String,
    pub(super) why: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<LocalFile>,
    /// Not meant.
    pub(super) left_out: Vec<NotTaken>,
    /// Meant, and not possible: to be told before anything is sent.
    pub(super) faults: Vec<NotTaken>,
}

impl Source {
    /// What a path on the command line is. A link is what it leads to, for it was named.
    ///
    /// # Errors
    /// Why it is neither file nor directory.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let real = std::fs::canonicalize(path).map_err(|error| error.to_string())?;
        if metadata.is_dir() {
            return Ok(Self::Directory(real));
        }
        match metadata.is_file() {
            true => Ok(Self::File(path.to_owned())),
            false => Err("it is neither a file nor a directory".to_owned()),
        }
    }

    /// What there is of it now. It blocks.
    pub(super) fn scan(&self, selection: &Selection, found: &mut Found) {
        match self {
            Self::File(path) => single(path, found),
            Self::Directory(root) => {
                let opened = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                match opened {
                    Ok(directory) => {
                        Walk { root, selection, found }.directory(&directory, &mut Vec::new());
                    }
                    Err(error) => found.fault(root, &unreadable(error)),
                }
            }
        }
    }
}

impl Found {
    fn fault(&mut self, path: &Path, why: &str) {
        self.faults.push(NotTaken { path: shown(path), name: String::new(), why: why.to_owned() });
    }
}

/// A file that was named itself.
fn single(path: &Path, found: &mut Found) {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else {
        return found.fault(path, NOT_UTF8);
    };
    let real = std::fs::canonicalize(path).and_then(|real| Ok((std::fs::symlink_metadata(&real)?, real)));
    match real {
        Ok((metadata, real)) if metadata.is_file() => {
            found.files.push(LocalFile { path: real, name: name.to_owned(), stamp: Stamp::of(&metadata) });
        }
        Ok(_) => found.fault(path, "it is no regular file"),
        Err(error) => found.fault(path, &format!("it cannot be read: {error}")),
    }
}

const NOT_UTF8: &str = "its name is not UTF-8, which keys must be: rename it";

fn unreadable(error: Errno) -> String {
    format!("it cannot be read: {error}")
}

struct Walk<'a> {
    root: &'a Path,
    selection: &'a Selection,
    found: &'a mut Found,
}

impl Walk<'_> {
    /// Walks an open directory; `above` are the names that lead to it.
    fn directory(&mut self, directory: &OwnedFd, above: &mut Vec<String>) {
        let entries = Dir::read_from(directory).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| (entry.file_name().to_owned(), entry.file_type())))
                .collect()
        });
        let mut entries: Vec<_> = match entries {
            Ok(entries) => entries,
            Err(error) => return self.found.fault(&self.path(above, OsStr::new("")), &unreadable(error)),
        };
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, kind) in entries {
            let bytes = name.as_bytes();
            if matches!(bytes, b"." | b"..") {
                continue;
            }
            let path = self.path(above, OsStr::from_bytes(bytes));
            match std::str::from_utf8(bytes) {
                Ok(name) => self.entry(directory, name, kind, &path, above),
                // Not a name that somebody left out, as far as anybody can tell.
                Err(_) => self.found.fault(&path, NOT_UTF8),
            }
        }
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &str,
        kind: FileType,
        path: &Path,
        above: &mut Vec<String>,
    ) {
        let relative = || above.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/");
        match kind {
            FileType::Directory => {
                if let Err(why) = self.selection.check_directory(name) {
                    return self.leave_out(path, why);
                }
            }
            FileType::RegularFile => {
                if let Err(why) = self.selection.check(&relative()) {
                    return self.leave_out(path, why);
                }
            }
            FileType::Symlink => return self.link(&relative(), path),
            FileType::Unknown => {}
            _ => return self.leave_out(path, "no regular file"),
        }
        let opened = match openat(directory, name, OFlags::RDONLY | flags(), Mode::empty()) {
            Ok(opened) => opened,
            // Gone since.
            Err(Errno::NOENT) => return,
            // A link, where the directory's list does not say what its entries are.
            Err(Errno::LOOP) => return self.link(&relative(), path),
            Err(error) => return self.found.fault(path, &unreadable(error)),
        };
        let file = File::from(opened);
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return self.found.fault(path, &format!("it cannot be read: {error}")),
        };
        if metadata.is_dir() {
            // Where the directory's list does not say what its entries are.
            if let Err(why) = self.selection.check_directory(name) {
                return self.leave_out(path, why);
            }
            if above.len() >= DEPTH_MAX {
                return self.found.fault(path, "it is nested too deep: give a directory further down");
            }
            above.push(name.to_owned());
            self.directory(&file.into(), above);
            above.pop();
        } else if metadata.is_file() {
            let name = relative();
            if let Err(why) = self.selection.check(&name) {
                return self.leave_out(path, why);
            }
            self.found.files.push(LocalFile { path: path.to_owned(), name, stamp: Stamp::of(&metadata) });
        } else {
            self.leave_out(path, "no regular file");
        }
    }

    fn link(&mut self, name: &str, path: &Path) {
        if let Err(why) = self.selection.check(name) {
            return self.leave_out(path, why);
        }
        let target = match std::fs::canonicalize(path) {
            Ok(target) if target.starts_with(self.root) => target,
            Ok(_) => return self.leave_out(path, "a link that leads out of the directory"),
            Err(_) => return self.leave_out(path, "a link that leads nowhere"),
        };
        match std::fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_file() => {
                let stamp = Stamp::of(&metadata);
                self.found.files.push(LocalFile { path: target, name: name.to_owned(), stamp });
            }
            Ok(_) => self.leave_out(path, "a link to what is no regular file"),
            Err(error) => self.found.fault(path, &format!("it cannot be read: {error}")),
        }
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        let name = path.strip_prefix(self.root).ok().and_then(Path::to_str).unwrap_or_default();
        self.found.left_out.push(NotTaken { path: shown(path), name: name.to_owned(), why: why.to_owned() });
    }

    fn path(&self, above: &[String], name: &OsStr) -> PathBuf {
        let mut path = self.root.to_owned();
        path.extend(above);
        path.push(name);
        path
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn scan(dir: &Path, selection: &Selection) -> Found {
        let mut found = Found::default();
        Source::of(dir).unwrap().scan(selection, &mut found);
        found
    }

    fn names(found: &Found) -> Vec<&str> {
        found.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[track_caller]
    fn check_left_out(found: &Found, name: &str, why: &str) {
        let row = found.left_out.iter().find(|row| row.path.ends_with(name));
        assert!(row.is_some_and(|row| row.why.contains(why)), "{name}: {:?}", found.left_out);
    }

    #[test]
    fn files_are_found_at_every_depth_in_order_and_the_rest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a/z", "a/y/x", "a.tmp", ".hidden", ".git/config"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let found = scan(dir.path(), &Selection::default());
        assert_eq!(names(&found), ["a/y/x", "a/z", "b"]);
        assert_eq!((found.files[0].stamp.size, found.faults.len(), found.left_out.len()), (5, 0, 3));
        check_left_out(&found, "a.tmp", "temporary");
        check_left_out(&found, ".hidden", "hidden name");
        check_left_out(&found, ".git", "hidden directory");
        let all = Selection { takes_all_names: true, ..Selection::default() };
        assert_eq!(scan(dir.path(), &all).files.len(), 6);
    }

    #[test]
    fn links_are_followed_to_files_inside_alone() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/file"), "f").unwrap();
        let link = |to: &Path, name: &str| symlink(to, dir.path().join(name)).unwrap();
        link(Path::new("d/file"), "inside");
        link(&outside.path().join("secret"), "out");
        link(outside.path(), "out-directory");
        link(Path::new("d"), "directory");
        link(Path::new("nothing"), "broken");
        link(Path::new("."), "d/circle");
        let found = scan(dir.path(), &Selection::default());
        assert_eq!(names(&found), ["d/file", "inside"]);
        assert_eq!(found.files[1].path, fs::canonicalize(dir.path()).unwrap().join("d/file"));
        check_left_out(&found, "out", "out of the directory");
        check_left_out(&found, "out-directory", "out of the directory");
        check_left_out(&found, "/directory", "no regular file");
        check_left_out(&found, "circle", "no regular file");
        check_left_out(&found, "broken", "nowhere");
    }

    #[test]
    fn names_that_are_not_utf8_and_pipes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"a\xff")), "x").unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let found = scan(dir.path(), &Selection::default());
        assert!(found.files.is_empty());
        assert!(found.faults.len() == 1 && found.faults[0].why.contains("UTF-8"), "{:?}", found.faults);
        check_left_out(&found, "pipe", "no regular file");
    }

    #[test]
    fn a_file_that_is_named_is_taken_whatever_its_name_and_by_way_of_a_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("real"), "x").unwrap();
        symlink("real", dir.path().join(".a.tmp")).unwrap();
        let found = scan(&dir.path().join(".a.tmp"), &Selection::default());
        assert_eq!(names(&found), [".a.tmp"]);
        assert!(Source::of(&dir.path().join("nothing")).is_err());
    }
}
