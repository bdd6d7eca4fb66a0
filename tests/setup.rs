//! `subgate setup` and `subgate credentials --format`, as a person calls them, before a server in-process.
//! What they print is run as it is.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    client::{Call, Key},
    closed_port::ClosedPort,
    server::{ALICE, STRANGER, Setup, TestServer, VALIDATOR},
};

const ALICES_WALLET: &str = "alice";
const VALIDATORS_WALLET: &str = "validator";
const STRANGERS_WALLET: &str = "stranger";

/// A directory with the wallets in it, whose name has a space and quotes.
struct Machine {
    dir: TempDir,
    endpoint: String,
}

impl Machine {
    fn new(endpoint: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Self { dir, endpoint };
        // The seeds of the harness's people.
        let people = [
            (ALICES_WALLET, &*ALICE, 1_u8),
            (VALIDATORS_WALLET, &VALIDATOR, 4),
            (STRANGERS_WALLET, &STRANGER, 5),
        ];
        for (wallet, person, seed) in people {
            let hotkeys = machine.wallets().join(wallet).join("hotkeys");
            std::fs::create_dir_all(&hotkeys).unwrap();
            let seed = hex::encode([seed; 32]);
            let keyfile = format!(r#"{{"secretSeed": "0x{seed}", "ss58Address": "{}"}}"#, person.ss58());
            std::fs::write(hotkeys.join("default"), keyfile).unwrap();
        }
        machine
    }

    fn wallets(&self) -> PathBuf {
        self.dir.path().join("it's a \"place\"/wallets")
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache $HOME")
    }

    /// Runs a program where nothing but the home directory is in the environment.
    fn run(&self, command: &mut Command) -> Output {
        command.env_clear().env("HOME", self.dir.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        tokio::task::block_in_place(|| command.output().unwrap())
    }

    fn subgate(&self, command: &str, wallet: &str, more: &[&str]) -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_subgate"));
        program.arg(command).arg("--wallet-path").arg(self.wallets()).args(["--wallet-name", wallet]);
        program.args(["--endpoint", &self.endpoint, "--cache-dir"]).arg(self.cache()).args(more);
        self.run(&mut program)
    }

    /// The configuration, which comes without a remark and without a secret.
    fn setup(&self, wallet: &str, more: &[&str]) -> String {
        let output = self.subgate("setup", wallet, more);
        let remark = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), remark.as_str()), (Some(0), ""), "{more:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// It fails with that code and one line that has all of `words`.
    #[track_caller]
    fn refused(&self, wallet: &str, more: &[&str], code: i32, words: &[&str]) {
        let output = self.subgate("setup", wallet, more);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(code), 1), "{line}");
        assert!(output.stdout.is_empty() && words.iter().all(|word| line.contains(word)), "{line}");
    }

    fn shell(&self, script: &str) -> String {
        let output = self.run(Command::new("sh").args(["-euc", script]));
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

async fn server_and_machine() -> (TestServer, Machine) {
    let server = TestServer::start().await;
    let machine = Machine::new(format!("http://{}", server.address));
    (server, machine)
}

fn key(access_key: &Value, secret: &Value, token: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Key::Session { access_key: text(access_key), secret: text(secret), token: Some(text(token)) }
}

/// Those credentials read one of Alice's objects.
async fn reads(server: &TestServer, key: &Key) {
    server.store.put(&ALICE.file("f"), "x");
    server.send(key, &Call::get(&ALICE.file("f"))).await.ok();
}

/// The names that the list begins its lines with.
fn names(machine: &Machine) -> Vec<String> {
    let output = machine.run(Command::new(env!("CARGO_BIN_EXE_subgate")).arg("setup"));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.contains(", tested with ")), "{text}");
    text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_of_the_list_is_set_up_for_this_wallet_and_server_without_a_secret() {
    let (server, machine) = server_and_machine().await;
    let session = machine.subgate("credentials", ALICES_WALLET, &[]);
    let session: Value = serde_json::from_slice(&session.stdout).unwrap();
    let names = names(&machine);
    assert!(names.len() >= 3 && names.contains(&"aws2".to_owned()), "{names:?}");
    for name in &names {
        let agent = machine.subgate("setup", ALICES_WALLET, &[name, "--agent"]);
        let (text, remark) =
            (String::from_utf8(agent.stdout).unwrap(), String::from_utf8(agent.stderr).unwrap());
        assert_eq!(text.contains("agent-token"), remark.is_empty(), "{name}: {remark}");
        assert!(remark.is_empty() || remark.contains("without an agent"), "{remark}");
        for text in [text, machine.setup(ALICES_WALLET, &[name])] {
            assert!(text.contains(&server.address.to_string()), "{name}: {text}");
            for secret in ["SecretAccessKey", "SessionToken"] {
                assert!(!text.contains(session[secret].as_str().unwrap()), "{name}: {text}");
            }
        }
    }
    let text = machine.setup(ALICES_WALLET, &["boto3"]);
    assert!(text.contains(&ALICE.file("")) && text.contains("\"data-universe\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_of_the_profile_gives_credentials_that_the_server_takes() {
    let (server, machine) = server_and_machine().await;
    let text = machine.setup(ALICES_WALLET, &["aws2", "--profile", "mine"]);
    assert!(text.contains("[profile mine]\n"), "{text}");
    let command = text.lines().find_map(|line| line.strip_prefix("credential_process = ")).unwrap();
    assert!(command.starts_with(env!("CARGO_BIN_EXE_subgate")), "{command}");
    let session: Value = serde_json::from_str(&machine.shell(command)).unwrap();
    reads(&server, &key(&session["AccessKeyId"], &session["SecretAccessKey"], &session["SessionToken"]))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_and_a_script_get_the_same_credentials_in_their_forms() {
    let (server, machine) = server_and_machine().await;
    let json = machine.subgate("credentials", ALICES_WALLET, &["--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["bucket"], &json["role"]), (&"data-universe".into(), &"miner".into()));
    assert_eq!(json["folders"][0], ALICE.file(""));
    reads(&server, &key(&json["access_key_id"], &json["secret_access_key"], &json["session_token"])).await;
    let lines = machine.subgate("credentials", ALICES_WALLET, &["--format", "env"]).stdout;
    let lines = String::from_utf8(lines).unwrap();
    let printed = machine.shell(&format!(
        "{lines}printf '%s\\n' \"$AWS_ACCESS_KEY_ID\" \"$AWS_SECRET_ACCESS_KEY\" \"$AWS_SESSION_TOKEN\" \
         \"$AWS_CREDENTIAL_EXPIRATION\""
    ));
    let names = ["access_key_id", "secret_access_key", "session_token", "expiration"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), names.map(|name| json[name].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_on_the_path_is_called_by_its_name() {
    let bin = Path::new(env!("CARGO_BIN_EXE_subgate")).parent().unwrap();
    let place = ["--bucket", "b", "--region", "r", "--folder", ""];
    for (path, program) in [(bin, "subgate "), (Path::new("/usr/bin"), env!("CARGO_BIN_EXE_subgate"))] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.args(["setup", "aws2", "--endpoint", "https://h"]).args(place);
        let output = command.env_clear().env("PATH", path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("credential_process = {program}")), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_gets_all_folders_and_anybody_what_they_name() {
    let (_server, machine) = server_and_machine().await;
    assert!(machine.setup(VALIDATORS_WALLET, &["boto3"]).contains("Prefix=\"data/\""));
    assert!(
        machine.setup(VALIDATORS_WALLET, &["boto3", "--folder", "data/x/"]).contains("Prefix=\"data/x/\"")
    );
    let text = machine.setup(ALICES_WALLET, &["boto3", "--bucket", "other", "--region", "auto"]);
    assert!(text.contains("Bucket=\"other\"") && text.contains("region_name=\"auto\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_bucket_region_and_folder_nobody_is_asked() {
    let machine = Machine::new("https://s3.invalid".to_owned());
    let place = ["--bucket", "b", "--region", "r", "--folder", "data/y/"];
    let text = machine.setup("nobody", &[&["boto3"][..], &place].concat());
    assert!(text.contains("https://s3.invalid") && text.contains("data/y/"), "{text}");
    assert!(!machine.cache().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_folder_that_is_the_callers_to_choose_is_filled_in_and_told() {
    let policy = "folders = [\"data/hotkey={hotkey}/job_id={job_id}/\"]\n\
                  [policy.variables]\njob_id = { pattern = \"[a-z]+\" }";
    let server = TestServer::with(Setup { policy: policy.to_owned(), ..Setup::default() }).await;
    let machine = Machine::new(format!("http://{}", server.address));
    let output = machine.subgate("setup", ALICES_WALLET, &["boto3"]);
    let (text, remark) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let folder = format!("Prefix=\"data/hotkey={}/job_id=default/\"", ALICE.ss58());
    assert!(text.contains(&folder), "{text}");
    assert!(remark.contains("job_id={job_id}/\" is yours") && remark.contains("--folder"), "{remark}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_up_is_one_line_and_a_code() {
    let (_server, machine) = server_and_machine().await;
    machine.refused(ALICES_WALLET, &["nothing"], 64, &["nothing", "aws2", "duckdb"]);
    machine.refused(ALICES_WALLET, &["aws2", "--profile", "a]b"], 64, &["--profile"]);
    machine.refused(ALICES_WALLET, &["aws2", "--folder", "data"], 64, &["--folder"]);
    machine.refused(ALICES_WALLET, &["aws2", "--bucket", "a b"], 64, &["--bucket"]);
    machine.refused(ALICES_WALLET, &["duckdb", "--agent=http://192.0.2.1/credentials"], 64, &["--agent"]);
    let place = ["--bucket", "b", "--region", "r", "--folder", "", "--password-file", "/a #b"];
    machine.refused(ALICES_WALLET, &[&["aws2"][..], &place].concat(), 64, &["/a #b", "an INI file"]);
    machine.refused("nobody", &["aws2"], 66, &["nobody"]);
    let output = machine.run(Command::new(env!("CARGO_BIN_EXE_subgate")).args(["setup", "aws2"]));
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--endpoint"));
    machine.refused(STRANGERS_WALLET, &["aws2"], 77, &["NotRegistered"]);
    let nobody = ClosedPort::hold();
    Machine::new(nobody.url()).refused(ALICES_WALLET, &["aws2"], 69, &["cannot be reached"]);
}
