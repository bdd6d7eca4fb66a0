//! Who else may read or write a file that this server believes or keeps secret (P51, P65). \[IO\]
//!
//! Only the file itself is looked at, through symbolic links: Kubernetes mounts files by way of them.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt as _, PermissionsExt},
    path::Path,
};

const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const OTHERS: u32 = 0o007;
const GROUP_AND_OTHERS: u32 = 0o077;

/// Who may read a file that holds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretReaders {
    /// Its owner: mode 0600 or 0400.
    #[default]
    Owner,
    /// Its group as well: mode 0640 or 0440, as Kubernetes mounts secrets for a user who is not root.
    OwnerAndGroup,
}

/// Whether a file that decides authority can be written by its owner alone, and that is this user or root.
///
/// # Errors
/// What is wrong and what to do about it, to be put behind the file's name.
pub(crate) fn check_writers(metadata: &Metadata) -> Result<(), String> {
    check_owner(metadata)?;
    match metadata.permissions().mode() & GROUP_OR_OTHERS_WRITE {
        0 => Ok(()),
        _ => Err("can be written by its group or by others; chmod go-w it".to_owned()),
    }
}

/// Whether a file with a secret can be read by `readers` alone, and written by its owner alone.
///
/// # Errors
/// What is wrong and what to do about it, to be put behind the file's name.
pub(crate) fn check_secret(metadata: &Metadata, readers: SecretReaders) -> Result<(), String> {
    let mode = metadata.permissions().mode();
    match readers {
        SecretReaders::Owner if mode & GROUP_AND_OTHERS != 0 => Err("can be read by others; chmod 600 it, \
            or set server.group_reads_secrets = true where its group must read it"
            .to_owned()),
        SecretReaders::OwnerAndGroup if mode & (GROUP_OR_OTHERS_WRITE | OTHERS) != 0 => {
            Err("can be read by others or written by its group; chmod 640 it".to_owned())
        }
        SecretReaders::Owner | SecretReaders::OwnerAndGroup => check_owner(metadata),
    }
}

/// A file that was read whole.
pub(crate) struct WholeFile {
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
    /// What was opened, which is what was read.
    pub(crate) metadata: Metadata,
    /// The same, still open.
    pub(crate) file: File,
}

/// Reads a regular file of a bounded size. Whatever else stands at that path is an error: a pipe would let
/// its reader wait for ever.
///
/// # Errors
/// What the system says; that it is no regular file, or too large.
pub(crate) fn read_regular_file(path: &Path, bytes_max: u64) -> io::Result<WholeFile> {
    let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file: File = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let mut bytes = Vec::new();
    (&file).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()).is_ok_and(|length| length <= bytes_max) {
        true => Ok(WholeFile { bytes, metadata, file }),
        false => Err(io::Error::other(format!("is larger than {bytes_max} bytes"))),
    }
}

fn check_owner(metadata: &Metadata) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    match metadata.uid() {
        0 => Ok(()),
        owner if owner == user => Ok(()),
        owner => Err(format!("belongs to the user {owner}; it must belong to root or to the user {user}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, metadata, set_permissions};

    use super::*;

    fn with_mode(mode: u32) -> (tempfile::NamedTempFile, Metadata) {
        let file = tempfile::NamedTempFile::new().unwrap();
        set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        let metadata = metadata(file.path()).unwrap();
        (file, metadata)
    }

    #[test]
    fn p65_what_decides_may_be_written_by_its_owner_alone() {
        for (mode, fine) in
            [(0o644, true), (0o600, true), (0o444, true), (0o664, false), (0o646, false), (0o622, false)]
        {
            assert_eq!(check_writers(&with_mode(mode).1).is_ok(), fine, "{mode:o}");
        }
    }

    #[test]
    fn p65_a_secret_is_read_by_whom_the_setting_says() {
        use SecretReaders::{Owner, OwnerAndGroup};
        for (mode, owner, group) in [
            (0o600, true, true),
            (0o400, true, true),
            (0o440, false, true),
            (0o640, false, true),
            (0o660, false, false),
            (0o644, false, false),
            (0o604, false, false),
        ] {
            let (_file, metadata) = with_mode(mode);
            assert_eq!(check_secret(&metadata, Owner).is_ok(), owner, "{mode:o}");
            assert_eq!(check_secret(&metadata, OwnerAndGroup).is_ok(), group, "{mode:o}");
        }
    }
}
