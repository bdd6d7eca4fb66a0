//! Somebody's machine: a home with wallets, on which `subgate COMMAND` runs as a process against a server of
//! the test's.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::server::{ALICE, BOB, Person, TestServer, VALIDATOR};

pub struct Machine {
    pub dir: TempDir,
    endpoint: String,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    /// With the wallets `alice`, `bob` and `validator`.
    pub fn new(server: &TestServer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let people: [(&str, &Person, u8); 3] =
            [("alice", &ALICE, 1), ("bob", &BOB, 3), ("validator", &VALIDATOR, 4)];
        for (name, person, seed) in people {
            let hotkeys = dir.path().join("wallets").join(name).join("hotkeys");
            std::fs::create_dir_all(&hotkeys).unwrap();
            let seed = hex::encode([seed; 32]);
            let keyfile =
                serde_json::json!({"secretSeed": format!("0x{seed}"), "ss58Address": person.ss58()});
            std::fs::write(hotkeys.join("default"), keyfile.to_string()).unwrap();
        }
        Self { endpoint: format!("http://{}", server.host()), dir }
    }

    /// A path in the home.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `subgate` with a wallet, ready to run.
    pub fn command(&self, wallet: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.env_clear().env("HOME", self.dir.path()).env("XDG_CACHE_HOME", self.path("cache"));
        command.current_dir(self.dir.path()).args(arguments);
        command.args(["--endpoint", &self.endpoint, "--wallet-name", wallet, "--wallet-path"]);
        command.arg(self.path("wallets"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub async fn run(&self, wallet: &str, arguments: &[&str]) -> Run {
        Run::of(self.command(wallet, arguments).output().await.unwrap())
    }
}

impl Run {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// It ended with that code and said these words.
    #[track_caller]
    pub fn check(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
        self
    }

    /// Its standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
