//! Bittensor wallets on disk: `PATH/NAME/hotkeys/HOTKEY`, with addresses in the clear in `HOTKEYpub.txt` and
//! `coldkeypub.txt` beside them. The coldkey's own file is never opened. \[IO\]

pub(crate) mod keyfile;
mod nacl;

use std::{
    io,
    path::{Path, PathBuf},
};

use self::{
    keyfile::{Key, KeyfileError},
    nacl::DecryptError,
};
use super::{
    exit::{CommandError, Exit},
    private_file,
};
use crate::{
    chain::AccountId,
    secret::{Secret, SecretText},
};

/// A keyfile has about 600 bytes.
const KEYFILE_BYTES_MAX: u64 = 64 * 1024;

/// How often a password is asked.
const PASSWORD_TRIES: u32 = 3;

/// Where a hotkey lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The directory of one wallet: `PATH/NAME`.
    dir: PathBuf,
    name: String,
    hotkey: String,
}

/// Where the password of an encrypted keyfile comes from.
#[derive(Debug, Clone)]
pub(crate) enum Password {
    /// Asked on the terminal.
    Ask,
    /// The first line of a file.
    File(PathBuf),
}

impl Location {
    /// `path/name/hotkeys/hotkey`; a leading `~` is the home directory. Names are names, never paths.
    pub(crate) fn new(path: &Path, name: &str, hotkey: &str) -> Result<Self, CommandError> {
        for (option, value) in [("--wallet-name", name), ("--wallet-hotkey", hotkey)] {
            if value.is_empty() || value.contains(['/', '\0']) || value == "." || value == ".." {
                return Err(CommandError::usage(format!(
                    "{option} {value:?}: the name of a wallet or hotkey is expected"
                )));
            }
        }
        let path = std::path::absolute(expand_home(path))
            .map_err(|error| CommandError::usage(format!("--wallet-path {}: {error}", path.display())))?;
        Ok(Self { dir: path.join(name), name: name.to_owned(), hotkey: hotkey.to_owned() })
    }

    /// The keyfile.
    pub(crate) fn keyfile(&self) -> PathBuf {
        self.dir.join("hotkeys").join(&self.hotkey)
    }

    fn public_keyfile(&self) -> PathBuf {
        self.dir.join("hotkeys").join(format!("{}pub.txt", self.hotkey))
    }

    fn coldkey_public_keyfile(&self) -> PathBuf {
        self.dir.join("coldkeypub.txt")
    }

    /// The coldkey's address, where `coldkeypub.txt` tells it.
    pub(crate) fn coldkey(&self) -> Option<AccountId> {
        keyfile::address(&private_file::read(&self.coldkey_public_keyfile(), KEYFILE_BYTES_MAX).ok()?).ok()
    }

    /// Reads the keyfile, without a password.
    pub(crate) fn read(&self) -> Result<Keyfile, CommandError> {
        let path = self.keyfile();
        let content = private_file::read(&path, KEYFILE_BYTES_MAX).map_err(|error| {
            let what = if error.kind() == io::ErrorKind::NotFound {
                "there is no such keyfile (see --wallet-path, --wallet-name, --wallet-hotkey)".to_owned()
            } else {
                error.to_string()
            };
            CommandError::no_input(format!("hotkey {}: {what}", path.display()))
        })?;
        Ok(Keyfile { location: self.clone(), content: Secret::new(content) })
    }

    /// Writes a plain wallet as the Bittensor tools do: hotkey, its public file, the coldkey's public file.
    pub(crate) fn write(&self, hotkey: &Key, coldkey: &AccountId) -> Result<(), CommandError> {
        let put = || -> io::Result<()> {
            private_file::create_dir(&self.dir.join("hotkeys"))?;
            let hotkey_address = hotkey.pair.account();
            private_file::write(&self.coldkey_public_keyfile(), keyfile::public_json(coldkey).expose())?;
            private_file::write(&self.public_keyfile(), keyfile::public_json(&hotkey_address).expose())?;
            // Last: whoever finds the hotkey finds the whole wallet.
            private_file::write(&self.keyfile(), hotkey.to_json().expose())
        };
        put().map_err(|error| CommandError::cannot_create(format!("wallet {}: {error}", self.dir.display())))
    }
}

/// A keyfile that was read, and may still be closed.
pub(crate) struct Keyfile {
    location: Location,
    content: Secret,
}

impl Keyfile {
    /// The address as far as it is known without a password: from the file itself, or from the public file beside it.
    pub(crate) fn address(&self) -> Option<AccountId> {
        if !self.is_encrypted() {
            return keyfile::address(self.content.expose()).ok();
        }
        keyfile::address(&private_file::read(&self.location.public_keyfile(), KEYFILE_BYTES_MAX).ok()?).ok()
    }

    fn is_encrypted(&self) -> bool {
        self.content.expose().starts_with(nacl::MAGIC)
    }

    /// The key; asks for the password where the file is encrypted.
    pub(crate) fn open(&self, password: &Password) -> Result<Key, CommandError> {
        let key = if self.is_encrypted() {
            let plain = match password {
                Password::Ask => self.ask()?,
                Password::File(path) => self.unseal(&password_from(path)?)?,
            };
            Key::from_json(plain.expose())
        } else {
            Key::from_json(self.content.expose())
        };
        key.map_err(|fault| self.fault(&fault))
    }

    fn ask(&self) -> Result<Secret, CommandError> {
        let prompt = format!("Password of hotkey {}: ", self.location.keyfile().display());
        let mut tries_left = PASSWORD_TRIES;
        loop {
            let password = rpassword::prompt_password(&prompt).map_err(|_| {
                CommandError::usage(format!(
                    "hotkey {}: it is encrypted and there is no terminal to ask for its password (see --password-file)",
                    self.location.keyfile().display()
                ))
            })?;
            tries_left = tries_left.saturating_sub(1);
            match nacl::open(self.content.expose(), &SecretText::new(password)) {
                Ok(plain) => return Ok(plain),
                Err(DecryptError::Password) if tries_left > 0 => {
                    super::terminal::print_remark(format_args!("wrong password, try again"));
                }
                Err(fault) => return Err(self.seal_fault(fault)),
            }
        }
    }

    fn unseal(&self, password: &SecretText) -> Result<Secret, CommandError> {
        nacl::open(self.content.expose(), password).map_err(|fault| self.seal_fault(fault))
    }

    fn seal_fault(&self, fault: DecryptError) -> CommandError {
        let exit = if fault == DecryptError::Memory { Exit::Unavailable } else { Exit::Data };
        CommandError::new(exit, format!("hotkey {}: {fault}", self.location.keyfile().display()))
    }

    fn fault(&self, fault: &KeyfileError) -> CommandError {
        CommandError::data(format!("hotkey {}: {fault}", self.location.keyfile().display()))
    }
}

impl Location {
    /// `NAME/HOTKEY`, for people.
    pub(crate) fn label(&self) -> String {
        format!("{}/{}", self.name, self.hotkey)
    }
}

/// `~` and `~/…` as the home directory of the caller.
pub(crate) fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn password_from(path: &Path) -> Result<SecretText, CommandError> {
    let fault = |what: &dyn std::fmt::Display| {
        CommandError::no_input(format!("--password-file {}: {what}", path.display()))
    };
    let content = private_file::read(path, KEYFILE_BYTES_MAX).map_err(|error| fault(&error))?;
    let content = Secret::new(content);
    let text = std::str::from_utf8(content.expose()).map_err(|_| fault(&"not UTF-8"))?;
    Ok(SecretText::new(text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(wallet: &str, hotkey: &str) -> Location {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wallets");
        Location::new(&path, wallet, hotkey).unwrap()
    }

    fn open(wallet: &str, hotkey: &str, password: Option<&str>) -> Result<String, String> {
        let file = fixture(wallet, hotkey).read().map_err(|fault| fault.to_string())?;
        let dir = tempfile::tempdir().unwrap();
        let password = password.map_or(Password::Ask, |password| {
            std::fs::write(dir.path().join("p"), format!("{password}\n")).unwrap();
            Password::File(dir.path().join("p"))
        });
        file.open(&password).map(|key| key.pair.account().to_ss58()).map_err(|fault| fault.to_string())
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
        let fault = open("pynacl", "default", Some("Pass")).unwrap_err();
        assert!(fault.ends_with("wrong password (or a damaged keyfile)"), "{fault}");
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
        let fault = open("sdk11", "ed25519", None).unwrap_err();
        assert!(fault.contains("cryptoType 0"), "{fault}");
        let fault = open("nobody", "default", None).unwrap_err();
        assert!(fault.contains("no such keyfile"), "{fault}");
        assert!(Location::new(Path::new("/w"), "../x", "default").is_err());
        assert!(Location::new(Path::new("/w"), "x", "..").is_err());
        assert!(Location::new(Path::new("/w"), "", "default").is_err());
    }

    #[test]
    fn a_written_wallet_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::new(dir.path(), "miner", "default").unwrap();
        let (hotkey, coldkey) = (Key::from_seed(&[1; 32]).unwrap(), Key::from_seed(&[2; 32]).unwrap());
        location.write(&hotkey, &coldkey.pair.account()).unwrap();
        let file = location.read().unwrap();
        assert_eq!(file.address(), Some(hotkey.pair.account()));
        assert_eq!(file.open(&Password::Ask).unwrap().pair.account(), hotkey.pair.account());
        assert_eq!(location.coldkey(), Some(coldkey.pair.account()));
    }
}
