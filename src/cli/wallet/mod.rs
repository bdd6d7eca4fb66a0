//! Bittensor wallets on disk: the hotkey in `PATH/NAME/hotkeys/HOTKEY`, and public keyfiles with addresses in
//! the clear, `hotkeys/HOTKEYpub.txt` and `coldkeypub.txt`. \[IO\]
//!
//! Invariant: the file of the coldkey itself is never opened.

mod encryption;
mod keyfile;
#[cfg(feature = "dev-store")]
mod new_wallet;

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use self::encryption::DecryptError;
#[cfg(feature = "dev-store")]
pub(crate) use self::new_wallet::NewHotkey;
use super::{exit::CommandError, private_file, terminal};
use crate::{
    auth::bittensor::sr25519::Keypair,
    chain::AccountId,
    secret::{Secret, SecretText},
};

/// A keyfile has about 600 bytes.
const KEYFILE_BYTES_MAX: u64 = 64 * 1024;

/// How often the terminal asks for a password.
const PASSWORD_TRIES_MAX: u32 = 3;

/// Where the files of a hotkey are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalletLocation {
    /// The directory of the wallet: `PATH/NAME`.
    dir: PathBuf,
    hotkey: String,
}

/// Where the password of an encrypted keyfile comes from.
#[derive(Debug, Clone)]
pub(crate) enum PasswordSource {
    /// The terminal asks for it.
    Terminal,
    /// The first line of a file.
    File(PathBuf),
}

impl WalletLocation {
    /// `path/name/hotkeys/hotkey`, where a leading `~` is the home directory; `name` and `hotkey` are no
    /// paths.
    pub(crate) fn new(path: &Path, name: &str, hotkey: &str) -> Result<Self, CommandError> {
        for (option, value) in [("--wallet-name", name), ("--wallet-hotkey", hotkey)] {
            if value.is_empty() || value.contains(['/', '\0']) || value == "." || value == ".." {
                return Err(CommandError::usage(format!(
                    "{option} {value:?}: a name is expected, not a path"
                )));
            }
        }
        let path = std::path::absolute(expand_home(path))
            .map_err(|error| CommandError::usage(format!("--wallet-path {}: {error}", path.display())))?;
        Ok(Self { dir: path.join(name), hotkey: hotkey.to_owned() })
    }

    /// The path of the keyfile.
    pub(crate) fn keyfile(&self) -> PathBuf {
        self.dir.join("hotkeys").join(&self.hotkey)
    }

    fn public_keyfile(&self) -> PathBuf {
        self.dir.join("hotkeys").join(format!("{}pub.txt", self.hotkey))
    }

    /// The path of the coldkey's public keyfile.
    pub(crate) fn coldkey_public_keyfile(&self) -> PathBuf {
        self.dir.join("coldkeypub.txt")
    }

    /// The address of the coldkey, if its public keyfile can be read.
    pub(crate) fn coldkey(&self) -> Option<AccountId> {
        let text = private_file::read(&self.coldkey_public_keyfile(), KEYFILE_BYTES_MAX).ok()?;
        keyfile::read_address(&text).ok()
    }

    /// Reads the keyfile; this needs no password.
    pub(crate) fn read(&self) -> Result<Keyfile, CommandError> {
        let path = self.keyfile();
        let content = private_file::read(&path, KEYFILE_BYTES_MAX).map_err(|error| {
            let reason = if error.kind() == io::ErrorKind::NotFound {
                "there is no such keyfile (see --wallet-path, --wallet-name, --wallet-hotkey)".to_owned()
            } else {
                error.to_string()
            };
            CommandError::no_input(format!("hotkey {}: {reason}", path.display()))
        })?;
        Ok(Keyfile { location: self.clone(), content: Secret::new(content) })
    }
}

/// The content of a keyfile, which may be encrypted.
pub(crate) struct Keyfile {
    location: WalletLocation,
    content: Secret,
}

impl Keyfile {
    /// The address, as far as it is known without a password: from the keyfile or from the public keyfile
    /// beside it.
    pub(crate) fn address(&self) -> Option<AccountId> {
        if !self.is_encrypted() {
            return keyfile::read_address(self.content.expose()).ok();
        }
        let text = private_file::read(&self.location.public_keyfile(), KEYFILE_BYTES_MAX).ok()?;
        keyfile::read_address(&text).ok()
    }

    fn is_encrypted(&self) -> bool {
        self.content.expose().starts_with(encryption::MAGIC)
    }

    /// The key; `password` is used if the file is encrypted.
    pub(crate) fn open(&self, password: &PasswordSource) -> Result<Keypair, CommandError> {
        let key = if self.is_encrypted() {
            let plain = match password {
                PasswordSource::Terminal => self.decrypt_by_terminal()?,
                PasswordSource::File(path) => {
                    self.decrypt(&password_of(path)?).map_err(|error| self.decrypt_error(error))?
                }
            };
            keyfile::read_key(plain.expose())
        } else {
            keyfile::read_key(self.content.expose())
        };
        key.map_err(|error| CommandError::data(self.message(&error)))
    }

    fn decrypt_by_terminal(&self) -> Result<Secret, CommandError> {
        let prompt = format!("Password of hotkey {}: ", self.location.keyfile().display());
        let mut tries_left = PASSWORD_TRIES_MAX;
        loop {
            let password = rpassword::prompt_password(&prompt).map_err(|_| {
                CommandError::usage(self.message(
                    &"it is encrypted, and there is no terminal to ask for its password \
                      (see --password-file)",
                ))
            })?;
            tries_left = tries_left.saturating_sub(1);
            match self.decrypt(&SecretText::new(password)) {
                Ok(plain) => return Ok(plain),
                Err(DecryptError::Password) if tries_left > 0 => {
                    terminal::print_remark("wrong password, try again");
                }
                Err(error) => return Err(self.decrypt_error(error)),
            }
        }
    }

    fn decrypt(&self, password: &SecretText) -> Result<Secret, DecryptError> {
        encryption::decrypt(self.content.expose(), password)
    }

    fn decrypt_error(&self, error: DecryptError) -> CommandError {
        let message = self.message(&error);
        match error {
            DecryptError::Memory => CommandError::unavailable(message),
            DecryptError::Truncated | DecryptError::Password => CommandError::data(message),
        }
    }

    fn message(&self, reason: &dyn Display) -> String {
        format!("hotkey {}: {reason}", self.location.keyfile().display())
    }
}

/// Replaces a leading `~` by the caller's home directory.
pub(crate) fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Err(_), _) | (_, None) => path.to_owned(),
    }
}

fn password_of(path: &Path) -> Result<SecretText, CommandError> {
    let error = |reason: &dyn Display| {
        CommandError::no_input(format!("--password-file {}: {reason}", path.display()))
    };
    let content = private_file::read(path, KEYFILE_BYTES_MAX).map_err(|cause| error(&cause))?;
    let content = Secret::new(content);
    let text = std::str::from_utf8(content.expose()).map_err(|_| error(&"it is not UTF-8"))?;
    Ok(SecretText::new(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(wallet: &str, hotkey: &str) -> WalletLocation {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wallets");
        WalletLocation::new(&path, wallet, hotkey).unwrap()
    }

    fn open(wallet: &str, hotkey: &str, password: Option<&str>) -> Result<String, String> {
        let file = fixture(wallet, hotkey).read().map_err(|error| error.to_string())?;
        let dir = tempfile::tempdir().unwrap();
        let password = password.map_or(PasswordSource::Terminal, |password| {
            std::fs::write(dir.path().join("p"), format!("{password}\n")).unwrap();
            PasswordSource::File(dir.path().join("p"))
        });
        file.open(&password).map(|key| key.account().to_ss58()).map_err(|error| error.to_string())
    }

    const ONES: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";
    const TWOS: &str = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA";
    const FOURS: &str = "5FXD2EGvYFKpbTWhfyRQBbmGMoXJDXezufPbNYgmfo3kygde";

    #[test]
    fn wallets_of_the_bittensor_tools_open() {
        for (wallet, hotkey, address) in [
            ("plain", "default", ONES),
            ("phrase", "default", "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV"),
            ("sdk11", "default", FOURS),
            ("sdk11", "derived", "5E4C9fvZbrbc1N5Rh8UgneSssRQ5N6CRdyoBqXo7g7iPsHDx"),
        ] {
            assert_eq!(open(wallet, hotkey, None).as_deref(), Ok(address));
        }
    }

    #[test]
    fn encrypted_wallets_of_the_bittensor_tools_open_with_their_password() {
        for (wallet, hotkey, password, address) in [
            ("sealed", "default", "correct horse battery", TWOS),
            ("pynacl", "default", "pass", ONES),
            ("sdk11", "sealed", "sdk eleven", FOURS),
        ] {
            assert_eq!(open(wallet, hotkey, Some(password)).as_deref(), Ok(address));
        }
        let error = open("pynacl", "default", Some("Pass")).unwrap_err();
        assert!(error.ends_with("wrong password (or a damaged keyfile)"), "{error}");
    }

    #[test]
    fn the_address_is_known_without_the_password_where_a_public_file_tells() {
        let address =
            |wallet: &str| fixture(wallet, "default").read().unwrap().address().map(|a| a.to_ss58());
        assert_eq!(address("sealed").as_deref(), Some(TWOS));
        assert_eq!(address("plain").as_deref(), Some(ONES));
        assert_eq!(address("pynacl"), None);
    }

    #[test]
    fn what_is_not_a_usable_hotkey_is_refused_by_name() {
        let error = open("sdk11", "ed25519", None).unwrap_err();
        assert!(error.contains("cryptoType 0"), "{error}");
        let error = open("nobody", "default", None).unwrap_err();
        assert!(error.contains("no such keyfile"), "{error}");
        assert!(WalletLocation::new(Path::new("/w"), "../x", "default").is_err());
        assert!(WalletLocation::new(Path::new("/w"), "x", "..").is_err());
        assert!(WalletLocation::new(Path::new("/w"), "", "default").is_err());
    }
}
