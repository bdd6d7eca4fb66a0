//! What stops `subgate serve` stops `subgate check`, in the same words: every fault that this knows of.

use std::{
    io::Read as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A configuration that serves, with the files it names.
const SOUND: &str = r#"[server]
listen = "127.0.0.1:0"

[bucket]
name = "data-universe"

[store]
endpoint = "http://127.0.0.1:9"
credentials = { file = "store.json" }

[session]
issue_with = "a"
allow_no_receiver = true

[[session.keys]]
id = "a"
file = "session.key"

[chain]
file = "registry.json"
"#;

const FILES: [(&str, &str); 4] = [
    ("store.json", r#"{"access_key": "AK", "secret_key": "hunter2"}"#),
    ("session.key", "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"),
    ("registry.json", r#"{"identities": []}"#),
    ("redis.password", "hunter2"),
];

/// A change of that configuration.
enum Change {
    /// This in place of that.
    Text(&'static str, &'static str),
    /// Lines behind the end.
    More(&'static str),
    /// Another content of a file.
    File(&'static str, &'static str),
    /// Another mode of a file.
    Mode(&'static str, u32),
    /// A file that is missing.
    NoFile(&'static str),
}
use Change::{File, Mode, More, NoFile, Text};

/// Each fault: what is changed, and where and how it is told.
const FAULTS: &[(Change, &str)] = &[
    (NoFile("store.json"), "9: store.credentials: {dir}/store.json: No such file"),
    (Mode("store.json", 0o644), "9: store.credentials: {dir}/store.json: can be read by others; chmod 600"),
    (File("store.json", "{"), "9: store.credentials: {dir}/store.json: line 1: not {\"access_key\""),
    (File("store.json", r#"{"access_key": "", "secret_key": ""}"#), "9: store.credentials: "),
    (
        Text("{ file = \"store.json\" }", "\"environment\""),
        "9: store.credentials: the environment variable AWS_ACCESS_KEY_ID is not set",
    ),
    (Text("data-universe", "Data_Universe"), "5: bucket.name: \"Data_Universe\" is not a bucket name"),
    (NoFile("registry.json"), "20: chain.file: {dir}/registry.json: No such file"),
    (Mode("registry.json", 0o666), "20: chain.file: can be written by its group or by others"),
    (File("registry.json", "no"), "20: chain.file: {dir}/registry.json: "),
    (File("registry.json", r#"{"identities": [{"hotkey": "5x"}]}"#), "20: chain.file: {dir}/registry.json: "),
    (NoFile("session.key"), "17: session.keys[0].file: {dir}/session.key cannot be read: No such file"),
    (Mode("session.key", 0o604), "17: session.keys[0].file: {dir}/session.key can be read by others"),
    (File("session.key", "0f0f"), "17: session.keys[0].file: {dir}/session.key does not hold 64"),
    (Text("id = \"a\"", "id = \"b\""), "12: session.issue_with: \"a\" is not the id of one of"),
    (Text("allow_no_receiver = true\n", ""), "11: session.receiver: is missing"),
    (Text("credentials = {", "ca_file = \"ca.pem\"\ncredentials = {"), "9: store.ca_file: {dir}/ca.pem: "),
    (
        Text("credentials = {", "ca_file = \"registry.json\"\ncredentials = {"),
        "9: store.ca_file: {dir}/registry.json: holds no certificate",
    ),
    (
        Text(
            "file = \"registry.json\"",
            "source = \"subtensor\"\nnetuid = 1\nendpoints = [\"ws://127.0.0.1:9\"]\nca_file = \"ca.pem\"",
        ),
        "23: chain.ca_file: {dir}/ca.pem: ",
    ),
    (Text("endpoint = \"http://127.0.0.1:9\"", ""), "7: store.endpoint: is missing"),
    (Text("http://127.0.0.1:9", "s3://store"), "8: store.endpoint: \"s3://store\" is not a URL"),
    (Text("endpoint", "endpont"), "8: store.endpont: no such setting (did you mean \"endpoint\"?)"),
    (Text("listen = \"127.0.0.1:0\"", "listen = 80"), "2: server.listen: 80 is not an address"),
    (
        Text("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:9\"\nadmin = \"127.0.0.1:9\""),
        "3: server.admin: 127.0.0.1:9 is the address of server.listen",
    ),
    (Text("127.0.0.1:0", "0.0.0.0:0"), "2: server.listen: 0.0.0.0:0 is beyond loopback"),
    (More("[limits.shared]\nurl = \"http://h\""), "22: limits.shared.url: is not a URL"),
    (
        More("[limits.shared]\nurl = \"redis://127.0.0.1:9\"\npassword_file = \"no\""),
        "23: limits.shared.password_file: {dir}/no cannot be read",
    ),
    (
        More("[limits.shared]\nurl = \"redis://127.0.0.1:9\"\npassword_env = \"SUBGATE_UNSET\""),
        "23: limits.shared.password_env: the environment variable SUBGATE_UNSET is not set",
    ),
    (More("[policy]\nfolders = [\"data/{coldkey}\"]"), "22: policy.folders: \"data/{coldkey}\" must end"),
    (More("[policy"), "21: not TOML: "),
    (Mode("proxy.toml", 0o666), "can be written by its group or by others"),
];

struct Place(TempDir);

impl Place {
    fn with(change: Option<&Change>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut text = SOUND.to_owned();
        let mut files: Vec<(&str, &str, u32)> =
            FILES.iter().map(|(name, text)| (*name, *text, 0o600)).collect();
        let mut mode_of_config = 0o644;
        match change {
            None => {}
            Some(Text(old, new)) => {
                assert!(text.contains(old), "{old}");
                text = text.replacen(old, new, 1);
            }
            Some(More(more)) => text.push_str(more),
            Some(File(name, new)) => {
                files.iter_mut().filter(|file| file.0 == *name).for_each(|file| file.1 = new);
            }
            Some(Mode("proxy.toml", mode)) => mode_of_config = *mode,
            Some(Mode(name, mode)) => {
                files.iter_mut().filter(|file| file.0 == *name).for_each(|file| file.2 = *mode);
            }
            Some(NoFile(name)) => files.retain(|file| file.0 != *name),
        }
        files.push(("proxy.toml", &text, mode_of_config));
        for (name, text, mode) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        Self(dir)
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("proxy.toml")
    }
}

fn command(name: &str, config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
    command.args([name, "--config", config.to_str().unwrap()]).stdin(Stdio::null());
    command.env_clear().env("SUBGATE_LOG", "off");
    command
}

fn run(name: &str, config: &Path) -> Output {
    command(name, config).output().unwrap()
}

/// Starts `serve` and ends it once it listens or has ended by itself.
fn serve(config: &Path) -> Output {
    let mut child = command("serve", config).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    // A server that serves in spite of a fault would serve for ever.
    while child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait_with_output().unwrap()
}

#[test]
fn what_stops_serve_stops_check_with_the_same_words() {
    for (change, says) in FAULTS {
        let place = Place::with(Some(change));
        let (check, serve) = (run("check", &place.config()), serve(&place.config()));
        let [checked, served] = [&check, &serve].map(|run| String::from_utf8_lossy(&run.stderr).into_owned());
        assert_eq!((checked.as_str(), check.status.code()), (served.as_str(), serve.status.code()), "{says}");
        assert_eq!(check.status.code(), Some(64), "{says}: {checked}");
        let line = match says.starts_with(|first: char| first.is_ascii_digit()) {
            true => format!("subgate: {}:{says}", place.config().display()),
            false => format!("subgate: {}: {says}", place.config().display()),
        };
        let line = line.replace("{dir}", place.0.path().to_str().unwrap());
        assert!(checked.lines().any(|told| told.starts_with(&line)), "{line}\n{checked}");
        assert!(!checked.contains("hunter2"), "{checked}");
    }
}

#[test]
fn a_sound_configuration_passes_and_nothing_is_started() {
    let place = Place::with(None);
    let check = run("check", &place.config());
    assert_eq!(String::from_utf8_lossy(&check.stderr), "");
    assert_eq!(check.status.code(), Some(0));
    // An address that is taken is no fault of the file: the server that runs by it may hold it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let text = SOUND.replace("127.0.0.1:0", &address).replace("127.0.0.1:9", &address);
    std::fs::write(place.config(), text).unwrap();
    assert_eq!(run("check", &place.config()).status.code(), Some(0));
    assert!(listener.accept().is_err(), "check has connected somewhere");
    let mut serve = command("serve", &place.config()).stderr(Stdio::piped()).spawn().unwrap();
    let mut says = String::new();
    serve.stderr.take().unwrap().read_to_string(&mut says).unwrap();
    assert_eq!(serve.wait().unwrap().code(), Some(73), "{says}");
    assert!(says.contains(&format!("server.listen: cannot listen on {address}")), "{says}");
}

#[test]
fn check_gives_the_faults_and_warnings_as_json() {
    let place = Place::with(Some(&NoFile("store.json")));
    let text = SOUND.replace("endpoint =", "bucket = \"Old_Bucket\"\nendpoint =");
    std::fs::write(place.config(), text).unwrap();
    let json = |place: &Place| {
        let output = command("check", &place.config()).arg("--json").output().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), found, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, found, says) = json(&place);
    assert_eq!(code, Some(64));
    let all: Vec<_> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            let text = |name: &str| fault[name].as_str().unwrap().to_owned();
            assert_eq!(text("file"), place.config().display().to_string());
            assert!(!text("message").is_empty());
            (fault["line"].as_u64(), text("setting"), text("severity"))
        })
        .collect();
    let expected = [(10, "store.credentials", "fault"), (8, "store.bucket", "warning")];
    let expected: Vec<_> = expected
        .map(|(line, setting, severity)| (Some(line), setting.to_owned(), severity.to_owned()))
        .into();
    assert_eq!(all, expected);
    assert_eq!(says, format!("subgate: {}: 1 fault\n", place.config().display()));
    assert_eq!(json(&Place::with(None)), (Some(0), serde_json::json!([]), String::new()));
    // What cannot even be parsed is a list as well.
    let (code, found, _) = json(&Place::with(Some(&More("[policy"))));
    assert_eq!(
        (code, found[0]["line"].as_u64(), found[0]["setting"].as_str()),
        (Some(64), Some(21), Some(""))
    );
}
