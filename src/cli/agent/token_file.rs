//! The token that a client of the agent shows: random, in a file that its owner alone can open, and kept for
//! the next start. \[IO\]
//!
//! Invariants: a file is believed only if it is this user's and nobody else can open it; it holds the token
//! and no line end, since several clients send the file as it is.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::{
    cli::{exit::CommandError, private_file},
    secret::Secret,
};

/// Nobody guesses it.
const TOKEN_BYTES: usize = 32;

/// Base64 of [`TOKEN_BYTES`], without padding.
const TOKEN_CHARS: usize = 43;

/// Permission bits of everybody but the owner.
const MODE_OF_OTHERS: u32 = 0o077;

/// The token of `path`, which is made if nothing is there.
pub(super) fn open(path: &Path) -> Result<Secret, CommandError> {
    let cannot_create =
        |error| CommandError::cannot_create(format!("--token-file {}: {error}", path.display()));
    if matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        if let Some(dir) = path.parent() {
            private_file::create_dir(dir).map_err(cannot_create)?;
        }
        let token = new_token()?;
        match private_file::create(path, token.expose()) {
            Ok(()) => return Ok(token),
            // Another agent was quicker, and its token counts for both.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_create(error)),
        }
    }
    read(path)
}

fn read(path: &Path) -> Result<Secret, CommandError> {
    let no_input = |error: &dyn std::fmt::Display| {
        CommandError::no_input(format!("--token-file {}: {error}", path.display()))
    };
    let refused = |reason: &str| {
        let advice = "remove it, and a new one is made";
        CommandError::data(format!("--token-file {}: {reason}; {advice}", path.display()))
    };
    // Neither through a link, nor waiting for whoever writes to a pipe.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match file {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(refused("it is a symbolic link"));
        }
        file => file.map_err(|error| no_input(&error))?,
    };
    // Of what was opened, which nobody can exchange any more.
    let metadata = file.metadata().map_err(|error| no_input(&error))?;
    if !metadata.is_file() {
        return Err(refused("it is not a file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user"));
    }
    if metadata.mode() & MODE_OF_OTHERS != 0 {
        return Err(refused("others can open it, so its token may be known"));
    }
    let mut text = Vec::with_capacity(TOKEN_CHARS.saturating_add(1));
    let chars_max = u64::try_from(TOKEN_CHARS).unwrap_or(u64::MAX).saturating_add(1);
    file.take(chars_max).read_to_end(&mut text).map_err(|error| no_input(&error))?;
    let text = Secret::new(text);
    match URL_SAFE_NO_PAD.decode(text.expose()).map(Zeroizing::new) {
        Ok(bytes) if bytes.len() == TOKEN_BYTES => Ok(text),
        Ok(_) | Err(_) => Err(refused("it does not hold a token of 43 characters and nothing else")),
    }
}

fn new_token() -> Result<Secret, CommandError> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    aws_lc_rs::rand::fill(bytes.as_mut_slice())
        .map_err(|_| CommandError::software("the system gives no random numbers"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    fn check_refused(path: &Path, reason: &str) {
        let error = open(path).unwrap_err().to_string();
        assert!(error.starts_with("--token-file ") && error.contains(reason), "{error}");
    }

    #[test]
    fn p71_the_token_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cache/agent-token");
        let token = open(&file).unwrap();
        assert_eq!(token.expose().len(), TOKEN_CHARS);
        assert_eq!(fs::read(&file).unwrap(), token.expose());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(open(&file).unwrap(), token);
        assert_ne!(open(&dir.path().join("other")).unwrap(), token);
        set_mode(&file, 0o400);
        assert_eq!(open(&file).unwrap(), token);
    }

    #[test]
    fn p71_a_file_that_others_may_know_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent-token");
        open(&file).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            set_mode(&file, mode);
            check_refused(&file, "others can open it");
        }
        set_mode(&file, 0o600);
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        check_refused(&link, "symbolic link");
        check_refused(dir.path(), "not a file");
        // Root alone may give a file away.
        if chown(&file, Some(rustix::process::geteuid().as_raw() + 1), None).is_ok() {
            check_refused(&file, "another user");
        }
    }

    #[test]
    fn p71_a_file_with_anything_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent-token");
        let token = String::from_utf8(open(&file).unwrap().expose().to_vec()).unwrap();
        for text in [String::new(), format!("{token}\n"), "+".repeat(TOKEN_CHARS), "x".repeat(9000)] {
            fs::write(&file, &text).unwrap();
            check_refused(&file, "a token of 43 characters");
        }
        fs::write(&file, &token).unwrap();
        open(&file).unwrap();
    }
}
