//! Session keys, from files or the environment.

use std::path::Path;

use super::{hex_secret, section::Section};
use crate::{
    file_access::{SecretReaders, check_secret, read_regular_file},
    secret::Secret,
};

/// A session key of less than this could be guessed.
const KEY_BYTES_MIN: usize = 32;

/// A key or a password is a short text.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key from which the secrets of sessions are derived.
#[derive(Debug, Clone)]
pub struct SessionKey {
    /// Its id, which stands in every token made with it; 1 to 32 characters.
    pub id: String,
    /// At least 32 bytes.
    pub secret: Secret,
    /// Unix seconds after which its sessions are no longer accepted; none while it is in service.
    pub accept_until: Option<u64>,
}

impl SessionKey {
    pub(super) fn read(mut section: Section, readers: SecretReaders) -> Option<Self> {
        let id: String = section.required("id", "1 to 32 letters, digits, dots, hyphens and underscores");
        let fine = (1..=32).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !id.is_empty() && !fine {
            section.error(
                "id",
                format_args!("{id:?} is not 1 to 32 letters, digits, dots, hyphens and underscores"),
            );
        }
        let file = section.path("file", "the path of a file with 64 or more hex characters");
        let variable: Option<String> = section.optional("env", "the name of an environment variable");
        let secret = match (file, variable) {
            (Some(path), None) => read_file(&path, readers).map_err(|what| section.error("file", what)).ok(),
            (None, Some(name)) => read_variable(&name).map_err(|what| section.error("env", what)).ok(),
            _ => {
                section.error("file", "either file or env must say where the key is, and not both");
                None
            }
        };
        let accept_until = section.optional::<toml::Value>("accept_until", "a time").and_then(|value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let time =
                text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
            if time.is_none() {
                section.error(
                    "accept_until",
                    format_args!("{value} is not a time such as 2026-12-01T00:00:00Z"),
                );
            }
            time
        });
        section.finish();
        fine.then_some(Self { id, secret: secret?, accept_until })
    }
}

/// The text of a file that nobody else can read.
pub(super) fn read_private_file(path: &Path, readers: SecretReaders) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |what: &dyn std::fmt::Display| format!("{shown} cannot be read: {what}");
    let file = read_regular_file(path, SECRET_FILE_BYTES_MAX).map_err(|error| unreadable(&error))?;
    check_secret(&file.metadata, readers).map_err(|what| format!("{shown} {what}"))?;
    String::from_utf8(file.bytes).map_err(|_| unreadable(&"it is not text"))
}

fn read_file(path: &Path, readers: SecretReaders) -> Result<Secret, String> {
    let text = read_private_file(path, readers)?;
    let shown = path.display();
    hex_secret(&text, KEY_BYTES_MIN)
        .ok_or_else(|| format!("{shown} does not hold 64 or more hex characters (openssl rand -hex 32)"))
}

fn read_variable(name: &str) -> Result<Secret, String> {
    let text = std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
    hex_secret(&text, KEY_BYTES_MIN).ok_or_else(|| {
        format!(
            "the environment variable {name} does not hold 64 or more hex characters (openssl rand -hex 32)"
        )
    })
}
