//! Keys that `subgate dev` makes at the first start and keeps: those of the store, and that of the sessions.
//! \[IO\]

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    data_file::{read_json, write},
    layout::Layout,
};
use crate::{cli::exit::CommandError, secret::SecretText};

/// The key pair of the store.
#[derive(Debug)]
pub(super) struct StoreKeys {
    /// The access key.
    pub(super) access_key: String,
    /// The secret key.
    pub(super) secret_key: SecretText,
}

/// The content of `store.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct StoreFile {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) endpoint: String,
    pub(super) bucket: String,
    pub(super) region: String,
}

/// The keys in the store file, or new ones where there is no such file.
pub(super) fn store_keys(store_file: &Path) -> Result<StoreKeys, CommandError> {
    if let Some(file) = read_json::<StoreFile>(store_file)? {
        return Ok(StoreKeys { access_key: file.access_key, secret_key: SecretText::new(file.secret_key) });
    }
    let access_key = format!("dev{}", random_hex(8)?.expose());
    Ok(StoreKeys { access_key, secret_key: random_hex(32)? })
}

/// Makes the key of the sessions, if there is none.
pub(super) fn make_session_key(layout: &Layout) -> Result<(), CommandError> {
    let path = layout.session_key();
    if path.exists() {
        return Ok(());
    }
    // Cached sessions are sealed by another key: the server would answer InvalidToken until they expire.
    let _ = fs::remove_dir_all(layout.session_cache());
    write(&path, random_hex(32)?.expose().as_bytes())
}

/// Fills `bytes` from the system's random numbers.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), CommandError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| CommandError::software("the system gives no random numbers"))
}

fn random_hex(bytes: usize) -> Result<SecretText, CommandError> {
    let mut buffer = Zeroizing::new(vec![0; bytes]);
    fill_random(&mut buffer)?;
    Ok(SecretText::new(hex::encode(buffer.as_slice())))
}
