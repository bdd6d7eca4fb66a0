//! `subgate migrate` and `subgate upload --also`, as a miner runs them: the real program between a Hub that
//! can be told to fail and a real `subgate dev`.

mod also;
mod failures;
mod hf;
mod status;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use subgate::auth::bittensor::sr25519::Keypair;

use crate::{
    doctor::Dev,
    harness::{
        client::{Call, Connection, Key},
        hub::{Hub, Visibility},
    },
};

/// A miner's repository of the time.
const X7: &str = "alice/x_dataset_7";
const CHUNK: &str = "data/train-DataEntity_chunk_0.parquet";

/// A Hub and a server, and a miner who has an account at both.
struct Place {
    dev: Dev,
    hub: Hub,
}

/// What a run of the program came to.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn start() -> Self {
        let hub = Hub::start();
        hub.user("alice", "hf_alice", true);
        hub.dataset(X7, Visibility::Public);
        Self { dev: Dev::start(), hub }
    }

    /// `subgate` with the miner's wallet, this server and this Hub.
    fn command(&self, arguments: &[&str]) -> Command {
        self.command_as("miner-a", arguments)
    }

    fn command_as(&self, wallet: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HOME", self.dev.dir.path()).env("HF_ENDPOINT", &self.hub.endpoint);
        command.args(arguments).args(["--endpoint", &self.dev.endpoint, "--wallet-name", wallet]);
        command.arg("--wallet-path").arg(self.dev.dir.path().join("wallets"));
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// The folder of that source.
    fn folder(&self, source: &str) -> String {
        format!("data/{source}/{}/", self.dev.coldkey("miner-a"))
    }

    /// Where the repository [`X7`] goes if nobody says.
    fn home(&self) -> String {
        format!("{}x_dataset_7/", self.folder("x"))
    }

    /// The lines of the store's journal.
    fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dev.dir.path().join("store/.index.jsonl")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What stands in the store, by key, read from its own files.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut blobs = BTreeMap::new();
        for line in self.journal() {
            if let Some(put) = line.get("put") {
                let blob = put["entry"]["blob"].as_str().unwrap().to_owned();
                blobs.insert(put["key"].as_str().unwrap().to_owned(), blob);
            } else if let Some(delete) = line.get("delete") {
                blobs.remove(delete["key"].as_str().unwrap());
            }
        }
        let store = self.dev.dir.path().join("store/data-universe");
        blobs.into_iter().map(|(key, blob)| (key, std::fs::read(store.join(blob)).unwrap())).collect()
    }

    /// Every part that was ever put, without those that only mark an upload.
    fn parts_put(&self) -> usize {
        self.journal()
            .iter()
            .filter(|line| line["part"]["number"].as_i64().is_some_and(|n| n < 10_000))
            .count()
    }

    /// Objects that are exactly these files of the repository, under the prefix and their last names.
    #[track_caller]
    fn assert_copied(&self, prefix: &str, paths: &[&str]) {
        let expected: BTreeMap<String, Vec<u8>> = paths
            .iter()
            .map(|path| {
                let name = path.rsplit('/').next().unwrap();
                (format!("{prefix}{name}"), self.hub.file(X7, path).unwrap())
            })
            .collect();
        let found = self.objects();
        let keys = |objects: &BTreeMap<String, Vec<u8>>| objects.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(&expected));
        assert!(found == expected, "the bytes differ");
        assert_eq!(self.hub.violations(), Vec::<String>::new());
    }

    /// Puts an object as a client does that knows nothing of our metadata.
    fn put_bare(&self, key: &str, body: &[u8]) {
        self.put(key, body, None);
    }

    /// Puts an object that carries that sha256.
    fn put(&self, key: &str, body: &[u8], sha256: Option<&str>) {
        let path = self.dev.dir.path().join("wallets/miner-a/hotkeys/default");
        let keyfile: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let seed = keyfile["secretSeed"].as_str().unwrap().trim_start_matches("0x");
        let pair = Keypair::from_mini_secret(&hex::decode(seed).unwrap().try_into().unwrap()).unwrap();
        let address = self.dev.endpoint.trim_start_matches("http://").to_owned();
        let call = Call::put(key, body);
        let call = match sha256 {
            Some(sha256) => call.header("x-amz-meta-sha256", sha256),
            None => call,
        };
        let signed = call.sign(&Key::Hotkey(pair.into()), &address);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async {
            let mut connection = Connection::connect(address.parse().unwrap()).await;
            connection.send(&[signed.head(), signed.body.clone()].concat()).await;
            connection.answer("PUT").await.status
        });
        assert_eq!(status, 200);
    }
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn ended(child: Child) -> Self {
        Self::of(child.wait_with_output().unwrap())
    }

    #[track_caller]
    fn ok(self) -> Self {
        self.ends(0)
    }

    /// It ends with that code.
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The report of `--json`.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// How many files had that outcome.
    #[track_caller]
    fn files(&self, outcome: &str) -> u64 {
        self.json()["totals"][outcome]["files"].as_u64().unwrap_or(0)
    }

    /// The last line of standard error, which says why.
    fn fault(&self) -> &str {
        self.err.lines().last().unwrap_or_default()
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}
