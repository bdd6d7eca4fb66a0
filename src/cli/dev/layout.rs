//! The data directory of `subgate dev`: where everything is, and that one process at a time uses it. \[IO\]

use std::{
    fmt::Display,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::cli::{exit::CommandError, private_file, wallet::expand_home};

/// The directory, locked for this process until it is dropped.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    #[expect(dead_code, reason = "holds the lock of the directory until it is dropped")]
    lock: File,
}

impl Layout {
    /// Creates the directory and what is missing above it, and locks it.
    pub(super) fn open(data: &Path) -> Result<Self, CommandError> {
        let error = |reason: &dyn Display| {
            CommandError::cannot_create(format!("--data {}: {reason}", data.display()))
        };
        let root = std::path::absolute(expand_home(data)).map_err(|cause| error(&cause))?;
        // The path stands in an INI file and in TOML, where a line break cannot be written for every reader.
        if root.to_str().is_none_or(|text| text.contains(char::is_control)) {
            return Err(CommandError::usage(format!(
                "--data {data:?}: a path in UTF-8 without control characters is expected"
            )));
        }
        private_file::create_dir(&root).map_err(|cause| error(&cause))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(root.join(".lock")).map_err(|cause| error(&cause))?;
        lock.try_lock().map_err(|_| error(&"another `subgate dev` is using it"))?;
        Ok(Self { root, lock })
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the store's objects.
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Address and keys of the store.
    pub(super) fn store_file(&self) -> PathBuf {
        self.root.join("store.json")
    }

    /// Configuration file of the server.
    pub(super) fn proxy_config(&self) -> PathBuf {
        self.root.join("proxy.toml")
    }

    /// Registry file: who is registered.
    pub(super) fn registry(&self) -> PathBuf {
        self.root.join("registry.json")
    }

    /// Directory of the wallets.
    pub(super) fn wallets(&self) -> PathBuf {
        self.root.join("wallets")
    }

    /// AWS configuration file, with a profile for each identity.
    pub(super) fn aws_config(&self) -> PathBuf {
        self.root.join("aws").join("config")
    }

    /// The key that seals the server's sessions.
    pub(super) fn session_key(&self) -> PathBuf {
        self.root.join("session.key")
    }

    /// Directory of the authority and the certificate of `--tls`.
    pub(super) fn certificates(&self) -> PathBuf {
        self.root.join("certs")
    }

    /// Directory of the sessions that `subgate credentials` keeps.
    pub(super) fn session_cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Addresses and identities for scripts; there while the server accepts connections.
    pub(super) fn dev_json(&self) -> PathBuf {
        self.root.join("dev.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        assert!(Layout::open(dir.path()).unwrap_err().to_string().contains("another `subgate dev`"));
        drop(layout);
        assert!(Layout::open(dir.path()).is_ok());
    }
}
