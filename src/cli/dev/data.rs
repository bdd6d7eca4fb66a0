//! The directory of `subgate dev`: what is made once and kept, and what is written at each start. \[IO\]

use std::{
    fs::{self, File, OpenOptions},
    io,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Addresses, BUCKET, REGION, SOURCES};
use crate::{
    chain::AccountId,
    cli::{
        exit::{CommandError, Exit},
        private_file,
        wallet::{Location, Password, expand_home, keyfile::Key},
    },
    secret::SecretText,
};

/// What is read back is small: keys and addresses.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The hotkey's name in each wallet.
const HOTKEY: &str = "default";

/// Stake of the development validator; the bound is 10,000 by default.
const VALIDATOR_STAKE: f64 = 100_000.0;

/// What an identity is in the registry at the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Owns its folders.
    Miner,
    /// Reads everything.
    Validator,
    /// Not registered.
    Stranger,
}

impl Role {
    /// The role's name in `dev.json` and on the card.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Validator => "validator",
            Self::Stranger => "stranger",
        }
    }
}

/// The identities, each with the one whose coldkey it shares.
const CAST: [(&str, Role, Option<&str>); 5] = [
    ("miner-a", Role::Miner, None),
    ("miner-b", Role::Miner, None),
    ("miner-a2", Role::Miner, Some("miner-a")),
    ("validator", Role::Validator, None),
    ("stranger", Role::Stranger, None),
];

/// A development identity.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The wallet's name, and the AWS profile's.
    pub(crate) name: &'static str,
    /// Its role at the first start.
    pub(crate) role: Role,
    /// Its hotkey.
    pub(crate) hotkey: AccountId,
    /// Its coldkey.
    pub(crate) coldkey: AccountId,
}

impl Identity {
    /// Its own folders by the default template.
    pub(crate) fn folders(&self) -> Vec<String> {
        if self.role == Role::Stranger {
            return Vec::new();
        }
        SOURCES.iter().map(|source| format!("data/{source}/{}/", self.coldkey)).collect()
    }
}

/// Credentials of the embedded store.
#[derive(Debug)]
pub(crate) struct StoreKeys {
    /// The access key.
    pub(crate) access_key: String,
    /// The secret key.
    pub(crate) secret_key: SecretText,
}

#[derive(Serialize, Deserialize)]
struct StoreFile {
    access_key: String,
    secret_key: String,
    endpoint: String,
    bucket: String,
    region: String,
}

/// Where everything lies; one process at a time.
#[derive(Debug)]
pub(crate) struct Places {
    root: PathBuf,
    #[expect(dead_code, reason = "holds the lock of the directory until it is dropped")]
    lock: File,
}

impl Places {
    /// Makes the directory where it is missing, and takes it for this process.
    pub(crate) fn open(data: &Path) -> Result<Self, CommandError> {
        let fault = |what: &dyn std::fmt::Display| {
            CommandError::cannot_create(format!("--data {}: {what}", data.display()))
        };
        let root = std::path::absolute(expand_home(data)).map_err(|error| fault(&error))?;
        // The path stands in an INI file and in TOML, where a line break cannot be written for every reader.
        if root.to_str().is_none_or(|text| text.contains(char::is_control)) {
            return Err(CommandError::usage(format!(
                "--data {data:?}: UTF-8 without control characters is expected"
            )));
        }
        private_file::create_dir(&root).map_err(|error| fault(&error))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(root.join(".lock")).map_err(|error| fault(&error))?;
        lock.try_lock().map_err(|_| fault(&"another `subgate dev` is running on it"))?;
        Ok(Self { root, lock })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The objects.
    pub(crate) fn store(&self) -> PathBuf {
        self.at("store")
    }

    /// Keys and address of the embedded store.
    pub(crate) fn store_file(&self) -> PathBuf {
        self.at("store.json")
    }

    /// The server's configuration.
    pub(crate) fn proxy_config(&self) -> PathBuf {
        self.at("proxy.toml")
    }

    /// Who is registered.
    pub(crate) fn registry(&self) -> PathBuf {
        self.at("registry.json")
    }

    /// The wallets.
    pub(crate) fn wallets(&self) -> PathBuf {
        self.at("wallets")
    }

    /// The profiles.
    pub(crate) fn aws_config(&self) -> PathBuf {
        self.at("aws/config")
    }

    fn session_key(&self) -> PathBuf {
        self.at("session.key")
    }

    fn cache(&self) -> PathBuf {
        self.at("cache")
    }

    fn dev_json(&self) -> PathBuf {
        self.at("dev.json")
    }
}

/// The directory with everything in it that is kept.
#[derive(Debug)]
pub(crate) struct Data {
    /// Where.
    pub(crate) places: Places,
    /// Who.
    pub(crate) identities: Vec<Identity>,
    /// The embedded store's keys.
    pub(crate) store_keys: StoreKeys,
}

impl Data {
    /// Makes what is missing and reads what is there.
    pub(crate) fn prepare(places: Places) -> Result<Self, CommandError> {
        remove(&places.dev_json());
        let identities = identities(&places)?;
        write_registry(&places.registry(), &identities)?;
        make_session_key(&places)?;
        let store_keys = store_keys(&places.store_file())?;
        for dir in [places.store(), places.at("aws")] {
            private_file::create_dir(&dir).map_err(|error| cannot_create(&dir, &error))?;
        }
        Ok(Self { places, identities, store_keys })
    }

    /// `store.json`: the keys as they were, and where the store listens this time.
    pub(crate) fn write_store_file(&self, store: SocketAddr) -> Result<(), CommandError> {
        write_json(
            &self.places.store_file(),
            &StoreFile {
                access_key: self.store_keys.access_key.clone(),
                secret_key: self.store_keys.secret_key.expose().to_owned(),
                endpoint: format!("http://{store}"),
                bucket: BUCKET.to_owned(),
                region: REGION.to_owned(),
            },
        )
    }

    /// `proxy.toml`.
    pub(crate) fn write_proxy_config(
        &self,
        listen: SocketAddr,
        store: SocketAddr,
    ) -> Result<(), CommandError> {
        let quote = |path: PathBuf| toml::Value::String(path.display().to_string()).to_string();
        let sources = SOURCES.map(|source| format!("\"{source}\"")).join(", ");
        let text = format!(
            "# Written by `subgate dev` at each start; edits are lost. Copy it as a start for `subgate serve`.\n\
             [server]\nlisten = \"{listen}\"\nadmin = \"127.0.0.1:0\"\n\n\
             [bucket]\nname = \"{BUCKET}\"\nregion = \"{REGION}\"\n\n\
             [store]\nendpoint = \"http://{store}\"\nbucket = \"{BUCKET}\"\nregion = \"{REGION}\"\n\
             addressing = \"path\"\ncredentials = {{ file = {store_file} }}\ntrailers = \"forward\"\nverifies = []\n\n\
             [session]\nissue_with = \"dev\"\nallow_no_receiver = true\n\n\
             [[session.keys]]\nid = \"dev\"\nfile = {session_key}\n\n\
             [chain]\nsource = \"file\"\nfile = {registry}\n\n\
             [policy]\nfolders = [\"data/{{source}}/{{coldkey}}/\"]\n\n\
             [policy.variables]\nsource = [{sources}]\n",
            store_file = quote(self.places.store_file()),
            session_key = quote(self.places.session_key()),
            registry = quote(self.places.registry()),
        );
        write(&self.places.proxy_config(), text.as_bytes())
    }

    /// `aws/config`: a profile for each identity.
    pub(crate) fn write_aws_config(&self, proxy: SocketAddr) -> Result<(), CommandError> {
        let program = std::env::current_exe()
            .map_err(|error| CommandError::software(format!("this program's own path: {error}")))?;
        let text: String =
            self.identities.iter().map(|identity| self.aws_profile(identity.name, &program, proxy)).collect();
        write(&self.places.aws_config(), text.as_bytes())
    }

    fn aws_profile(&self, name: &str, program: &Path, proxy: SocketAddr) -> String {
        let quoted = |path: &Path| shell_quote(&path.display().to_string());
        format!(
            "[profile {name}]\nregion = {REGION}\nendpoint_url = http://{proxy}\n\
             credential_process = {program} credentials --wallet-path {wallets} --wallet-name {name} \
             --wallet-hotkey {HOTKEY} --endpoint http://{proxy} --cache-dir {cache}\n\
             s3 =\n  addressing_style = path\n  signature_version = s3v4\n\n",
            program = quoted(program),
            wallets = quoted(&self.places.wallets()),
            cache = quoted(&self.places.cache()),
        )
    }

    /// `dev.json`: for scripts that wait for it.
    pub(crate) fn write_dev_json(&self, addresses: &Addresses) -> Result<(), CommandError> {
        let identities: Vec<_> = self
            .identities
            .iter()
            .map(|identity| {
                serde_json::json!({
                    "name": identity.name,
                    "role": identity.role.name(),
                    "hotkey": identity.hotkey,
                    "coldkey": identity.coldkey,
                    "folders": identity.folders(),
                })
            })
            .collect();
        write_json(
            &self.places.dev_json(),
            &serde_json::json!({
                "endpoint": format!("http://{}", addresses.proxy),
                "bucket": BUCKET,
                "region": REGION,
                "admin": addresses.admin.map(|admin| format!("http://{admin}")),
                "store_endpoint": format!("http://{}", addresses.store),
                "aws_config": self.places.aws_config(),
                "wallets": self.places.wallets(),
                "registry": self.places.registry(),
                "identities": identities,
            }),
        )
    }

    /// Takes the announcement back.
    pub(crate) fn remove_dev_json(&self) {
        remove(&self.places.dev_json());
    }
}

fn identities(places: &Places) -> Result<Vec<Identity>, CommandError> {
    let mut identities: Vec<Identity> = Vec::new();
    for (name, role, shares) in CAST {
        let wallet = Location::new(&places.wallets(), name, HOTKEY)?;
        let shared = identities.iter().find(|other| Some(other.name) == shares).map(|other| other.coldkey);
        // A wallet is whole when its hotkey is there: that file is written last.
        if !wallet.keyfile().exists() {
            let coldkey = match shared {
                Some(coldkey) => coldkey,
                None => new_key()?.pair.account(),
            };
            wallet.write(&new_key()?, &coldkey)?;
        }
        let hotkey = wallet.read()?.open(&Password::Ask)?.pair.account();
        let coldkey = wallet.coldkey().ok_or_else(|| {
            CommandError::data(format!(
                "wallet {}: coldkeypub.txt is missing or not a public keyfile",
                wallet.label()
            ))
        })?;
        identities.push(Identity { name, role, hotkey, coldkey });
    }
    Ok(identities)
}

fn new_key() -> Result<Key, CommandError> {
    let mut seed = Zeroizing::new([0; 32]);
    random(seed.as_mut_slice())?;
    Key::from_seed(&seed).map_err(|fault| CommandError::software(fault))
}

fn random(bytes: &mut [u8]) -> Result<(), CommandError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| CommandError::software("the system gives no random numbers"))
}

fn random_hex(bytes: usize) -> Result<SecretText, CommandError> {
    let mut buffer = Zeroizing::new(vec![0; bytes]);
    random(&mut buffer)?;
    Ok(SecretText::new(hex::encode(buffer.as_slice())))
}

/// Written once: from then on it is the user's.
fn write_registry(path: &Path, identities: &[Identity]) -> Result<(), CommandError> {
    if path.exists() {
        return Ok(());
    }
    let entries: Vec<_> = identities
        .iter()
        .filter(|identity| identity.role != Role::Stranger)
        .map(|identity| {
            let validator = identity.role == Role::Validator;
            serde_json::json!({
                "name": identity.name,
                "hotkey": identity.hotkey,
                "coldkey": identity.coldkey,
                "validator_permit": validator,
                "stake": if validator { VALIDATOR_STAKE } else { 0.0 },
            })
        })
        .collect();
    write_json(path, &serde_json::json!({ "identities": entries }))
}

fn make_session_key(places: &Places) -> Result<(), CommandError> {
    let path = places.session_key();
    if path.exists() {
        return Ok(());
    }
    // Sessions of another key would be answered with InvalidToken until they expire.
    let _ = fs::remove_dir_all(places.cache());
    write(&path, random_hex(32)?.expose().as_bytes())
}

fn store_keys(path: &Path) -> Result<StoreKeys, CommandError> {
    if let Some(file) = read_json::<StoreFile>(path)? {
        return Ok(StoreKeys { access_key: file.access_key, secret_key: SecretText::new(file.secret_key) });
    }
    let access_key = format!("dev{}", random_hex(8)?.expose());
    Ok(StoreKeys { access_key, secret_key: random_hex(32)? })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CommandError> {
    match private_file::read(path, FILE_BYTES_MAX) {
        Ok(content) => serde_json::from_slice(&content).map(Some).map_err(|error| {
            CommandError::data(format!("{}: {error} (remove it to make a new one)", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::no_input(format!("{}: {error}", path.display()))),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CommandError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| CommandError::software(format!("{}: {error}", path.display())))?;
    text.push(b'\n');
    write(path, &text)
}

fn write(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    private_file::write(path, content).map_err(|error| cannot_create(path, &error))
}

fn remove(path: &Path) {
    // Not there is what is wanted.
    let _ = fs::remove_file(path);
}

fn cannot_create(path: &Path, error: &io::Error) -> CommandError {
    CommandError::cannot_create(format!("{}: {error}", path.display()))
}

/// `text` as one word of a command line, for `sh` and for Python's `shlex` alike: AWS clients use either.
pub(crate) fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(dir: &Path) -> Data {
        Data::prepare(Places::open(dir).unwrap()).unwrap()
    }

    #[test]
    fn a_second_start_keeps_keys_and_the_edited_registry() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a b");
        let first = prepare(&dir);
        first.write_store_file("127.0.0.1:1".parse().unwrap()).unwrap();
        let (hotkeys, secret) = (hotkeys(&first), first.store_keys.secret_key.clone());
        let session_key = fs::read(first.places.session_key()).unwrap();
        assert_eq!(session_key.len(), 64);
        fs::write(first.places.registry(), "{\"identities\": []}").unwrap();
        drop(first);
        let second = prepare(&dir);
        assert_eq!(hotkeys, self::hotkeys(&second));
        assert_eq!(secret, second.store_keys.secret_key);
        assert_eq!(fs::read(second.places.session_key()).unwrap(), session_key);
        assert_eq!(fs::read_to_string(second.places.registry()).unwrap(), "{\"identities\": []}");
    }

    fn hotkeys(data: &Data) -> Vec<String> {
        data.identities.iter().map(|identity| identity.hotkey.to_ss58()).collect()
    }

    #[test]
    fn one_process_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::open(dir.path()).unwrap();
        assert!(Places::open(dir.path()).unwrap_err().to_string().contains("another `subgate dev`"));
        drop(places);
        assert!(Places::open(dir.path()).is_ok());
    }

    #[test]
    fn the_cast_is_registered_as_it_should_be() {
        let dir = tempfile::tempdir().unwrap();
        let data = prepare(dir.path());
        let by_name = |name: &str| data.identities.iter().find(|identity| identity.name == name).unwrap();
        assert_eq!(by_name("miner-a").coldkey, by_name("miner-a2").coldkey);
        assert_ne!(by_name("miner-a").hotkey, by_name("miner-a2").hotkey);
        assert_ne!(by_name("miner-a").coldkey, by_name("miner-b").coldkey);
        let registry = fs::read(data.places.registry()).unwrap();
        let registry: serde_json::Value = serde_json::from_slice(&registry).unwrap();
        let names: Vec<_> = registry["identities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["miner-a", "miner-b", "miner-a2", "validator"]);
        assert_eq!(by_name("stranger").folders(), Vec::<String>::new());
        assert_eq!(by_name("validator").folders().len(), 2);
    }

    #[test]
    fn the_configuration_is_toml_with_the_paths_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let data = prepare(&dir.path().join("it's \"here\""));
        let address = "127.0.0.1:1".parse().unwrap();
        data.write_proxy_config(address, address).unwrap();
        let text = fs::read_to_string(data.places.proxy_config()).unwrap();
        let config: toml::Table = text.parse().unwrap();
        assert_eq!(config["chain"]["file"].as_str(), data.places.registry().to_str());
        assert_eq!(config["session"]["keys"][0]["file"].as_str(), data.places.session_key().to_str());
        assert_eq!(config["policy"]["folders"][0].as_str(), Some("data/{source}/{coldkey}/"));
    }

    #[test]
    fn command_words_are_quoted_for_every_shell() {
        for (text, quoted) in
            [("/a/b-c", "/a/b-c"), ("/a b", "'/a b'"), ("", "''"), ("it's", r"'it'\''s'"), ("$x", "'$x'")]
        {
            assert_eq!(shell_quote(text), quoted);
        }
    }
}
