//! What a hand-over starts: the program as this process was started, and nothing else.
//!
//! Invariant: neither a request nor the environment at the time of the hand-over has a say in it; it is found
//! once, at the start.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The program of this process, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// The program as this process was started. Symbolic links stay as they are, so that a link that leads to
    /// a new version by the time of the hand-over starts that version.
    ///
    /// # Errors
    /// What the system says where it cannot tell which program this is.
    pub(crate) fn of_this_process() -> std::io::Result<Self> {
        let executable = std::env::current_exe()?;
        let mut arguments = std::env::args_os();
        let started_as = arguments.next().unwrap_or_default();
        let directory = std::env::current_dir().unwrap_or_default();
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        let itself = identity(&executable);
        let is_this = |path: &Path| itself.is_some() && identity(path) == itself;
        let path = find(&started_as, &directory, &search_path, is_this).unwrap_or(executable);
        Ok(Self { path, arguments: arguments.collect() })
    }
}

/// The path under which a shell would have found `started_as`, where that is this program.
fn find(
    started_as: &OsStr,
    directory: &Path,
    search_path: &OsStr,
    is_this: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let name = Path::new(started_as);
    if name.components().count() > 1 || name.is_absolute() {
        return Some(directory.join(name)).filter(|path| is_this(path));
    }
    std::env::split_paths(search_path)
        .map(|searched| directory.join(searched).join(name))
        .find(|path| is_this(path))
}

/// The file itself, whatever it is called.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_as_a_shell_finds_it_and_only_where_it_is_the_same() {
        let found = |started_as: &str, this: &[&str]| {
            let is_this = |path: &Path| this.iter().any(|this| Path::new(this) == path);
            find(started_as.as_ref(), "/here".as_ref(), "/usr/bin:bin:/opt".as_ref(), is_this)
                .map(|path| path.to_str().unwrap().to_owned())
        };
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(found("/srv/subgate", &["/srv/subgate"]), path("/srv/subgate"));
        assert_eq!(found("./target/subgate", &["/here/./target/subgate"]), path("/here/./target/subgate"));
        assert_eq!(found("subgate", &["/opt/subgate", "/here/subgate"]), path("/opt/subgate"));
        assert_eq!(found("subgate", &["/here/bin/subgate"]), path("/here/bin/subgate"));
        assert_eq!(found("subgate", &["/here/subgate"]), None);
        // Whoever starts a program may call it what they like.
        assert_eq!(found("/bin/sh", &["/srv/subgate"]), None);
        assert_eq!(found("", &["/srv/subgate"]), None);
    }

    #[test]
    fn this_process_knows_its_own_program() {
        let program = Program::of_this_process().unwrap();
        assert_eq!(identity(&program.path), identity(&std::env::current_exe().unwrap()));
    }
}
