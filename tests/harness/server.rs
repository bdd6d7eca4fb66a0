//! Subgate in-process, with a directory, a registry and people of its own for each test.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use subgate::{
    auth::{self, Audience, Verifier, bittensor::btauth, bittensor::sr25519::Keypair},
    chain::AccountId,
    config::{Config, ConfigErrors},
    secret::Secret,
    serve::{Reloaded, Reloader, Server},
    time::UnixTime,
};
use tempfile::TempDir;

use crate::harness::{
    client::{Answer, Call, Connection, Key, Signed},
    store::{self, Store},
};

pub const BUCKET: &str = "data-universe";
pub const REGION: &str = "us-east-1";
/// The session key `one`, in hex.
pub const KEY_ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
pub const KEY_TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// Somebody with a wallet.
#[derive(Clone)]
pub struct Person {
    pub hotkey: Arc<Keypair>,
    pub coldkey: AccountId,
}

impl Person {
    fn new(hotkey: u8, coldkey: u8) -> Self {
        let keypair = |seed| Keypair::from_mini_secret(&[seed; 32]).unwrap();
        Self { hotkey: Arc::new(keypair(hotkey)), coldkey: keypair(coldkey).account() }
    }

    /// The hotkey itself as signer.
    pub fn hotkey(&self) -> Key {
        Key::Hotkey(Arc::clone(&self.hotkey))
    }

    pub fn ss58(&self) -> String {
        self.hotkey.account().to_ss58()
    }

    /// A key in the folder of that source.
    pub fn file(&self, name: &str) -> String {
        format!("data/x/{}/{name}", self.coldkey.to_ss58())
    }

    /// A key in the folder by hotkey.
    pub fn job(&self, name: &str) -> String {
        format!("data/hotkey={}/job_id=j1/{name}", self.ss58())
    }
}

pub static ALICE: LazyLock<Person> = LazyLock::new(|| Person::new(1, 101));
/// Another hotkey of A's coldkey.
pub static ALICE_SECOND: LazyLock<Person> = LazyLock::new(|| Person::new(2, 101));
pub static BOB: LazyLock<Person> = LazyLock::new(|| Person::new(3, 103));
pub static VALIDATOR: LazyLock<Person> = LazyLock::new(|| Person::new(4, 104));
/// Not registered.
pub static STRANGER: LazyLock<Person> = LazyLock::new(|| Person::new(5, 105));

/// A registry in which these are, validators with permit and stake.
pub fn registry(miners: &[&Person], validators: &[&Person]) -> String {
    let entry = |person: &Person, rest: &str| {
        format!(r#"{{"hotkey": "{}", "coldkey": "{}"{rest}}}"#, person.ss58(), person.coldkey.to_ss58())
    };
    let validators =
        validators.iter().map(|person| entry(person, r#", "validator_permit": true, "stake": 20000.5"#));
    let all: Vec<_> = miners.iter().map(|person| entry(person, "")).chain(validators).collect();
    format!(r#"{{"identities": [{}]}}"#, all.join(", "))
}

/// Further lines for the sections of the configuration.
#[derive(Default, Clone)]
pub struct Setup {
    pub server: String,
    pub edge: String,
    pub store: String,
    pub session: String,
    pub keys: String,
    pub chain: String,
    pub policy: String,
    pub limits: String,
    /// In place of the scripted store.
    pub endpoint: Option<String>,
}

impl Setup {
    /// The configuration, with the store at that address.
    pub fn text(&self, endpoint: &str) -> String {
        let Self { server, edge, store, session, keys, chain, policy, limits, .. } = self;
        let default = |given: &str, default: &str| {
            if given.is_empty() { default.to_owned() } else { given.to_owned() }
        };
        let session = default(session, "issue_with = \"one\"\nallow_no_receiver = true");
        let keys = default(keys, "[[session.keys]]\nid = \"one\"\nfile = \"one.key\"");
        let policy = default(
            policy,
            "folders = [\"data/{source}/{coldkey}/\", \"data/hotkey={hotkey}/job_id={job_id}/\"]\n\
             [policy.variables]\nsource = [\"x\", \"reddit\"]\n\
             job_id = { pattern = \"[A-Za-z0-9_-]{1,64}\" }",
        );
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n[server.edge]\n{edge}\n\
             [bucket]\nname = \"{BUCKET}\"\n\
             [store]\nendpoint = \"{endpoint}\"\nbucket = \"{}\"\nregion = \"{}\"\n\
             credentials = {{ file = \"store.json\" }}\n{store}\n\
             [session]\n{session}\n{keys}\n\
             [chain]\nfile = \"registry.json\"\n{chain}\n\
             [policy]\n{policy}\n[limits]\n{limits}\n",
            store::BUCKET,
            store::REGION,
        )
    }
}

/// A running server.
pub struct TestServer {
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub store: Store,
    pub dir: TempDir,
    pub reloader: Arc<Reloader>,
    endpoint: String,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        crate::harness::logs::set_up();
        let store = Store::start().await;
        let dir = tempfile::tempdir().unwrap();
        private(&dir.path().join("one.key"), KEY_ONE);
        private(&dir.path().join("two.key"), KEY_TWO);
        let credentials =
            format!(r#"{{"access_key": "{}", "secret_key": "{}"}}"#, store::ACCESS_KEY, store::SECRET_KEY);
        private(&dir.path().join("store.json"), &credentials);
        private(&dir.path().join("registry.json"), &registry(&[&ALICE, &ALICE_SECOND, &BOB], &[&VALIDATOR]));
        let endpoint = setup.endpoint.clone().unwrap_or_else(|| format!("http://{}", store.address));
        let config = Config::parse(&setup.text(&endpoint), dir.path()).unwrap();
        let server = Server::bind(config).await.unwrap();
        let (address, admin) = (server.address(), server.admin_address());
        let reloader = server.reloader();
        tokio::spawn(server.run(std::future::pending()));
        Self { address, admin, store, dir, reloader, endpoint }
    }

    /// Gives it another configuration while it runs.
    pub async fn reload(&self, setup: &Setup) -> Result<Reloaded, ConfigErrors> {
        self.reload_text(&setup.text(&self.endpoint)).await
    }

    pub async fn reload_text(&self, text: &str) -> Result<Reloaded, ConfigErrors> {
        self.reloader.reload(Config::parse(text, self.dir.path())?).await
    }

    /// Writes a file beside the configuration that its owner alone can read.
    pub fn write_private(&self, name: &str, text: &str) {
        private(&self.dir.path().join(name), text);
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn registry(&self) -> PathBuf {
        self.dir.path().join("registry.json")
    }

    pub fn sign(&self, key: &Key, call: &Call) -> Signed {
        call.sign(key, &self.host())
    }

    /// Signs, sends all of it, reads the answer: a client that looks only when it has sent everything.
    pub async fn send(&self, key: &Key, call: &Call) -> Answer {
        self.send_signed(&self.sign(key, call)).await
    }

    pub async fn send_signed(&self, signed: &Signed) -> Answer {
        let mut connection = self.connect().await;
        connection.send_call(signed).await;
        connection.answer(&signed.method).await
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&self, method: &str, bytes: &[u8]) -> Answer {
        let mut connection = self.connect().await;
        connection.send(bytes).await;
        connection.answer(method).await
    }

    pub async fn connect(&self) -> Connection {
        Connection::connect(self.address).await
    }

    /// Session credentials, asked for over the wire.
    pub async fn session(&self, person: &Person) -> Key {
        let answer = self.open_session(person, b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        session_key(&answer)
    }

    pub async fn open_session(&self, person: &Person, body: &[u8]) -> Answer {
        let nonce = nanos();
        let headers = btauth::sign(&person.hotkey, "POST", "/v1/session", body, None, nonce);
        self.post_session("/v1/session", &headers, body).await
    }

    pub async fn post_session(
        &self,
        target: &str,
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> Answer {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.host(), body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.send_raw("POST", &[request.as_bytes(), body].concat()).await
    }

    /// Both ways to sign, for one person.
    pub async fn both(&self, person: &Person) -> [Key; 2] {
        [self.session(person).await, person.hotkey()]
    }

    /// An unsigned GET.
    pub async fn plain_get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.host());
        self.send_raw("GET", request.as_bytes()).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.store.violations(), Vec::<String>::new(), "requests to the store");
        }
    }
}

/// Now in nanoseconds, each time another.
pub fn nanos() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = UnixTime::from(SystemTime::now()).nanos() as u64;
    now + NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn session_key(answer: &Answer) -> Key {
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    Key::Session {
        access_key: text("AccessKeyId"),
        secret: text("SecretAccessKey"),
        token: Some(text("SessionToken")),
    }
}

/// A session that a server with that key would have issued at `now`.
pub fn mint(person: &Person, id: &str, key_hex: &str, now: UnixTime, receiver: Option<AccountId>) -> Key {
    let audience = Audience { receiver, allow_none: receiver.is_none() };
    let nonce = now.nanos() as u64;
    let headers = btauth::sign(&person.hotkey, "POST", "/v1/session", b"", receiver.as_ref(), nonce);
    let headers = headers
        .into_iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    let evidence = btauth::verify(&headers, "POST", "/v1/session", b"", &audience, now).unwrap();
    let secret = Secret::new(hex::decode(key_hex).unwrap());
    let key = auth::SessionKey { id: id.to_owned(), secret, accept_until: None };
    let verifier = Verifier::new(auth::Settings {
        region: REGION.to_owned(),
        session_keys: auth::SessionKeys::new(vec![key], id).unwrap(),
        audience,
        session_seconds_max: 86_400,
        presigned_seconds_max: 604_800,
    });
    let session = verifier.issue(&evidence, Some(3600), now).unwrap();
    Key::Session {
        access_key: session.access_key_id.clone(),
        secret: session.secret_access_key.expose().to_owned(),
        token: Some(session.session_token.expose().to_owned()),
    }
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A body that no other looks like.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
