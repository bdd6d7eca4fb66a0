//! The program as a person or `aws` calls it: exit codes, lines on standard error, and `subgate credentials`
//! before a scripted server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails should panic where it fails"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

const ONES: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";
const TWOS: &str = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA";

fn subgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("BT_") || name.starts_with("SUBGATE_"))
    {
        command.env_remove(name);
    }
    command.env_remove("AWS_CA_BUNDLE").output().unwrap()
}

/// The command fails with that code and one line that has all of `words`.
fn check_fault(arguments: &[&str], code: i32, words: &[&str]) {
    let output = subgate(arguments);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {line}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert_eq!(line.lines().count(), 1, "{arguments:?}: {line}");
    for word in words.iter().chain([&"subgate: "]) {
        assert!(line.contains(word), "{arguments:?}: {word:?} is not in {line}");
    }
}

#[test]
fn wrong_options_are_one_line_that_names_them() {
    check_fault(&["bogus"], 64, &["bogus"]);
    check_fault(&["serve"], 64, &["--config"]);
    check_fault(&["check", "--config", "/nowhere.toml"], 66, &["--config /nowhere.toml"]);
    check_fault(&["credentials"], 64, &["--endpoint"]);
    check_fault(&["credentials", "--endpoint", "http://192.0.2.1"], 64, &["--endpoint", "unencrypted"]);
    check_fault(&["credentials", "--endpoint", "https://h", "--ttl-seconds", "60"], 64, &["--ttl-seconds"]);
    check_fault(&["credentials", "--endpoint", "https://h", "--receiver", "me"], 64, &["--receiver"]);
    check_fault(&["credentials", "--endpoint", "https://h", "--wallet-name", "../x"], 64, &["--wallet-name"]);
    check_fault(
        &["credentials", "--endpoint", "https://h", "--wallet-path", "/nowhere"],
        66,
        &["--wallet-path"],
    );
}

#[test]
fn every_fault_of_a_configuration_is_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proxy.toml");
    std::fs::write(&file, "[server]\nlisten = 1\nbogus = 2\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = subgate(&["check", "--config", file.to_str().unwrap()]);
    let lines = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{lines}");
    assert!(lines.contains("server.listen") && lines.contains("server.bogus"), "{lines}");
    assert!(lines.lines().count() > 2, "{lines}");
}

#[test]
fn a_warning_of_a_configuration_is_one_line_and_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    };
    write("session.key", &"0f".repeat(32), 0o600);
    write("registry.json", "{\"identities\": []}", 0o600);
    let text = |folder: &str| {
        format!(
            "bucket.name = \"data-universe\"\nstore.endpoint = \"http://127.0.0.1:9000\"\n\
             chain.file = \"registry.json\"\nsession.issue_with = \"a\"\n\
             session.allow_no_receiver = true\nsession.keys = [{{ id = \"a\", file = \"session.key\" }}]\n\
             policy.folders = [\"{folder}\"]\npolicy.variables.job_id = {{ pattern = \"[a-z]+\" }}\n"
        )
    };
    for (folder, warnings) in [("data/{coldkey}/{job_id}/", 0), ("data/{job_id}/{coldkey}/", 1)] {
        let file = write("proxy.toml", &text(folder), 0o644);
        let output = subgate(&["check", "--config", file.to_str().unwrap()]);
        let lines = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), lines.lines().count()), (Some(0), warnings), "{lines}");
        assert!(warnings == 0 || lines.contains("proxy.toml:7: policy.folders: "), "{lines}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("no faults"));
    }
}

/// The program with those variables and no others of its own.
fn subgate_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
    command.args(arguments).stdin(Stdio::null()).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn settings_in_the_environment_count_over_a_file_or_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (key, registry) =
        (write("session.key", &"0f".repeat(32)), write("registry.json", "{\"identities\": []}"));
    let keys = format!("[{{ id = \"a\", file = {key:?} }}]");
    let mut variables = vec![
        ("SUBGATE_BUCKET__NAME", "data-universe"),
        ("SUBGATE_STORE__ENDPOINT", "http://127.0.0.1:9000"),
        ("SUBGATE_CHAIN__FILE", registry.as_str()),
        ("SUBGATE_SESSION__ISSUE_WITH", "a"),
        ("SUBGATE_SESSION__ALLOW_NO_RECEIVER", "true"),
        ("SUBGATE_SESSION__KEYS", keys.as_str()),
    ];
    let checked = subgate_with(&["check"], &variables);
    let told = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(told.starts_with("the environment: no faults (with SUBGATE_BUCKET__NAME, "), "{told}");
    assert!(!told.contains("data-universe"), "values are not shown: {told}");
    // Other commands read the same.
    let policy = subgate_with(&["store", "policy", "--for", "minio"], &variables);
    assert!(String::from_utf8(policy.stdout).unwrap().contains("arn:aws:s3:::data-universe"));
    // An empty value is a value, for a protection must not go by itself.
    variables.push(("SUBGATE_SERVER__ADMIN_TOKEN_FILE", ""));
    let file = write("proxy.toml", "");
    let faulty = subgate_with(&["check", "--json", "--config", &file], &variables);
    let faults: serde_json::Value = serde_json::from_slice(&faulty.stdout).unwrap();
    assert_eq!((faulty.status.code(), faults.as_array().unwrap().len()), (Some(64), 1), "{faults}");
    assert_eq!(faults[0]["variable"], "SUBGATE_SERVER__ADMIN_TOKEN_FILE");
    assert_eq!(
        (&faults[0]["file"], &faults[0]["line"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    // Misspelt as if there were one underscore alone.
    let misspelt = subgate_with(&["serve", "--config", &file], &[("SUBGATE_BUCKET_NAME", "x")]);
    let lines = String::from_utf8(misspelt.stderr).unwrap();
    assert_eq!(misspelt.status.code(), Some(64));
    assert!(
        lines.contains("SUBGATE_BUCKET_NAME: no such setting (did you mean SUBGATE_BUCKET__NAME?)"),
        "{lines}"
    );
}

#[test]
fn completions_for_each_shell_name_the_commands_and_their_options() {
    for (shell, words) in [
        ("bash", ["complete -F _subgate", "--config", "credentials"]),
        ("zsh", ["#compdef subgate", "--config", "credentials"]),
        ("fish", ["complete -c subgate", "-l config", "-a \"credentials\""]),
    ] {
        let output = subgate(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for word in words {
            assert!(script.contains(word), "{word:?} is not in that of {shell}");
        }
    }
    check_fault(&["completions", "cmd"], 64, &["cmd"]);
}

#[test]
fn the_manual_has_a_page_for_each_command_with_its_examples() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man");
    assert_eq!(subgate(&["manual", pages.to_str().unwrap()]).status.code(), Some(0));
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("subgate.1").contains("subgate\\-credentials(1)"));
    for name in ["serve", "check", "credentials", "doctor", "chain-who", "store-probe", "store-policy"] {
        let text = page(&format!("subgate-{name}.1"));
        assert!(text.contains("Examples:") && text.starts_with(".ie"), "{name}: {text:.80}");
    }
    // Hidden from those who use it, for it is of use to those who package it.
    assert!(!pages.join("subgate-manual.1").exists());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    check_fault(&["manual", file.to_str().unwrap()], 73, &["file: "]);
}

#[test]
fn help_teaches_by_example_and_goes_to_standard_output() {
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["healthcheck", "--help"],
        &["credentials", "--help"],
        &["agent", "--help"],
        &["setup", "--help"],
        &["doctor", "--help"],
        &["chain", "status", "--help"],
        &["chain", "who", "--help"],
        &["store", "probe", "--help"],
        &["store", "policy", "--help"],
        &["completions", "--help"],
    ] {
        let output = subgate(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains("Examples:"), "{arguments:?}");
    }
    assert_eq!(subgate(&[]).status.code(), Some(64));
}

/// A server that gives each request the same answer and remembers heads and bodies.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(status: u16, answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // Ends with the process: nothing else waits for it.
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = BufReader::new(socket.unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while socket.read_line(&mut head).unwrap() > 2 {
                    let line = head.lines().last().unwrap().to_ascii_lowercase();
                    length =
                        line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
                }
                let mut body = vec![0; length];
                socket.read_exact(&mut body).unwrap();
                seen.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
                let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
                socket.get_mut().write_all(text.as_bytes()).unwrap();
            }
        });
        Self { address, requests }
    }

    fn session(hotkey: &str, minutes: i64) -> Self {
        let expiration = std::time::SystemTime::now()
            + std::time::Duration::from_secs(u64::try_from(minutes).unwrap() * 60);
        let expiration = jiff::Timestamp::try_from(expiration).unwrap();
        Self::new(
            200,
            format!(
                "{{\"Version\": 1, \"AccessKeyId\": \"{hotkey}\", \"SecretAccessKey\": \"secret\",\n\
                 \"SessionToken\": \"token\", \"Expiration\": \"{expiration:.0}\",\n\
                 \"bucket\": \"b\", \"folders\": []}}"
            ),
        )
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

struct Caller {
    dir: tempfile::TempDir,
    wallets: PathBuf,
    endpoint: String,
}

impl Caller {
    fn new(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let wallets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wallets");
        Self { dir, wallets, endpoint: format!("http://{}", server.address) }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn call(&self, wallet: &str, more: &[&str]) -> Output {
        let cache = self.cache();
        let mut arguments = vec![
            "credentials",
            "--wallet.path",
            self.wallets.to_str().unwrap(),
            "--wallet.name",
            wallet,
            "--endpoint",
            &self.endpoint,
            "--cache-dir",
            cache.to_str().unwrap(),
        ];
        arguments.extend(more);
        subgate(&arguments)
    }

    /// The call succeeds with JSON on one line.
    fn check(&self, wallet: &str, more: &[&str], hotkey: &str) {
        let output = self.call(wallet, more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((json["Version"].as_i64(), json["AccessKeyId"].as_str()), (Some(1), Some(hotkey)));
        assert_eq!(json["bucket"], "b");
    }

    fn cached_files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.cache()).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect()
    }
}

#[test]
fn a_session_is_asked_for_once_and_then_cached() {
    let server = Server::session(ONES, 60);
    let caller = Caller::new(&server);
    caller.check("plain", &[], ONES);
    caller.check("plain", &[], ONES);
    assert_eq!(server.count(), 1);
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("POST /v1/session HTTP/1.1\r\n"), "{request}");
    for header in [
        "x-bittensor-version: 1\r\n",
        &format!("x-bittensor-hotkey: {ONES}\r\n"),
        "x-bittensor-signature: 0x",
    ] {
        assert!(request.contains(header), "{header} is not in {request}");
    }
    assert_eq!(caller.cached_files().len(), 1);
    caller.check("plain", &["--ttl-seconds", "3600"], ONES);
    assert!(server.requests.lock().unwrap()[1].ends_with("{\"ttl_seconds\":3600}"));
    assert_eq!(caller.cached_files().len(), 2);
}

#[test]
fn a_session_that_ends_within_20_minutes_is_refreshed() {
    let server = Server::session(ONES, 19);
    let caller = Caller::new(&server);
    caller.check("plain", &[], ONES);
    caller.check("plain", &[], ONES);
    assert_eq!(server.count(), 2);
}

#[test]
fn a_cache_that_others_can_read_is_not_used_and_made_private() {
    let server = Server::session(ONES, 60);
    let caller = Caller::new(&server);
    caller.check("plain", &[], ONES);
    let file = caller.cached_files().remove(0);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    caller.check("plain", &[], ONES);
    assert_eq!(server.count(), 2);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "{\"Version\":").unwrap();
    caller.check("plain", &[], ONES);
    assert_eq!(server.count(), 3);
}

#[test]
fn twenty_callers_at_once_make_one_request() {
    let server = Server::session(ONES, 60);
    let caller = Caller::new(&server);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| caller.check("plain", &[], ONES));
        }
    });
    assert_eq!(server.count(), 1);
}

#[test]
fn a_refusal_is_one_line_and_nothing_is_cached() {
    let server = Server::new(403, "{\"detail\": \"NotRegistered: register it\"}".to_owned());
    let caller = Caller::new(&server);
    let output = caller.call("plain", &[]);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(77), "{line}");
    assert!(line.contains("answered 403: NotRegistered: register it") && line.lines().count() == 1, "{line}");
    assert!(caller.cached_files().is_empty());
    for (status, code) in [(401, 77), (429, 69), (503, 69), (302, 77), (500, 69)] {
        let server = Server::new(status, String::new());
        assert_eq!(Caller::new(&server).call("plain", &[]).status.code(), Some(code), "{status}");
        assert_eq!(server.count(), 1);
    }
}

#[test]
fn an_answer_that_is_not_this_hotkeys_session_is_refused() {
    for answer in ["<html>".to_owned(), "x".repeat(100_000)] {
        let server = Server::new(200, answer);
        assert_eq!(Caller::new(&server).call("plain", &[]).status.code(), Some(69));
    }
    let server = Server::session(TWOS, 60);
    let output = Caller::new(&server).call("plain", &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("another hotkey"));
    assert!(output.stdout.is_empty());
}

#[test]
fn an_encrypted_hotkey_needs_its_password_once() {
    let server = Server::session(TWOS, 60);
    let caller = Caller::new(&server);
    let password = caller.dir.path().join("password");
    std::fs::write(&password, "correct horse battery\n").unwrap();
    caller.check("sealed", &["--password-file", password.to_str().unwrap()], TWOS);
    caller.check("sealed", &[], TWOS);
    assert_eq!(server.count(), 1);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let wallets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wallets");
    let arguments = [
        "credentials",
        "--wallet-path",
        wallets.to_str().unwrap(),
        "--name",
        "plain",
        "--no-cache",
        "--endpoint",
        &endpoint,
    ];
    check_fault(&arguments, 69, &[&endpoint, "cannot be reached"]);
}

#[test]
fn without_a_terminal_an_encrypted_hotkey_is_a_clear_fault() {
    let server = Server::session(TWOS, 60);
    let caller = Caller::new(&server);
    // A session of its own has no terminal, whoever runs this test.
    let output = Command::new("setsid")
        .args([
            "--wait",
            env!("CARGO_BIN_EXE_subgate"),
            "credentials",
            "--wallet-name",
            "sealed",
            "--no-cache",
        ])
        .args(["--endpoint", &caller.endpoint, "--wallet-path", caller.wallets.to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{line}");
    assert!(line.contains("no terminal") && line.contains("--password-file"), "{line}");
    assert_eq!(server.count(), 0);
}

/// A running `subgate dev`; ended by SIGTERM.
#[cfg(feature = "dev-store")]
struct Dev {
    child: std::process::Child,
    card: String,
}

#[cfg(feature = "dev-store")]
impl Dev {
    fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    fn start_with(data: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_subgate"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut card = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !card.lines().last().is_some_and(|line| line.starts_with("ready")) {
            assert_ne!(lines.read_line(&mut card).unwrap(), 0, "it ended: {card}");
        }
        Self { child, card }
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

/// The commands of the card run as they are printed: here a function stands for `aws`, and prints its words.
#[cfg(feature = "dev-store")]
fn check_commands(card: &str, folder: &str) {
    let (_, commands) = card.split_once("Try it").unwrap();
    let commands = commands.lines().filter(|line| line.starts_with("  "));
    let script: String = commands.map(|line| format!("{line}\n")).collect();
    assert!(script.lines().all(|line| line.contains("export ") || line.len() <= 100), "{script}");
    let dir = tempfile::tempdir().unwrap();
    let script = format!("set -eu\naws() {{ test -f \"$AWS_CONFIG_FILE\"; echo \"$@\"; }}\n{script}");
    let output = Command::new("sh").args(["-c", &script]).current_dir(&dir).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&format!(" s3 cp first.bin s3://data-universe/{folder}\n")), "{text}");
    assert_eq!((text.lines().count(), dir.path().join("first.bin").exists()), (3, true), "{text}");
}

#[cfg(feature = "dev-store")]
#[test]
fn dev_starts_with_one_command_and_keeps_its_identities() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("it's here");
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(data.join("dev.json")).unwrap()).unwrap()
    };
    let dev = Dev::start(&data);
    let first = read();
    let endpoint = first["endpoint"].as_str().unwrap();
    assert!(dev.card.contains(endpoint) && !dev.card.contains('\x1b'), "{}", dev.card);
    assert!(dev.card.contains(&format!("{endpoint}/docs")), "{}", dev.card);
    check_commands(&dev.card, first["identities"][0]["folders"][0].as_str().unwrap());
    check_fault(
        &["dev", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()],
        73,
        &["--data", "another `subgate dev`"],
    );

    // The very command line that AWS's clients take from the profile.
    let config = std::fs::read_to_string(first["aws_config"].as_str().unwrap()).unwrap();
    let command_of = |profile: &str| {
        let section =
            config.split("[profile ").find(|section| section.starts_with(&format!("{profile}]"))).unwrap();
        section.lines().find_map(|line| line.strip_prefix("credential_process = ")).unwrap().to_owned()
    };
    let miner = Command::new("sh").args(["-c", &command_of("miner-a")]).output().unwrap();
    assert!(miner.status.success(), "{}", String::from_utf8_lossy(&miner.stderr));
    let session: serde_json::Value = serde_json::from_slice(&miner.stdout).unwrap();
    assert_eq!(session["AccessKeyId"], first["identities"][0]["hotkey"]);
    assert_eq!(session["folders"], first["identities"][0]["folders"]);
    let stranger = Command::new("sh").args(["-c", &command_of("stranger")]).output().unwrap();
    assert_eq!(stranger.status.code(), Some(77));
    dev.stop();
    assert!(!data.join("dev.json").exists());

    let dev = Dev::start(&data);
    assert_eq!(read()["identities"], first["identities"]);
    dev.stop();
}

#[cfg(feature = "dev-store")]
#[test]
fn dev_over_tls_is_trusted_by_the_authority_that_it_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("it's here");
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(data.join("dev.json")).unwrap()).unwrap()
    };
    let dev = Dev::start_with(&data, &["--tls"]);
    let first = read();
    let endpoint = first["endpoint"].as_str().unwrap();
    let ca_file = first["ca_file"].as_str().unwrap().to_owned();
    assert!(endpoint.starts_with("https://127.0.0.1:"), "{endpoint}");
    for told in [endpoint, &ca_file, "AWS_CA_BUNDLE=", "--ca-cert", "NODE_EXTRA_CA_CERTS="] {
        assert!(dev.card.contains(told), "{told}\n{}", dev.card);
    }
    check_commands(&dev.card, first["identities"][0]["folders"][0].as_str().unwrap());
    // A session, over TLS, by the command line that AWS's clients take from the profile.
    let config = std::fs::read_to_string(first["aws_config"].as_str().unwrap()).unwrap();
    assert!(config.contains(&format!("ca_bundle = {ca_file}\n")), "{config}");
    let command = config.lines().find_map(|line| line.strip_prefix("credential_process = ")).unwrap();
    let miner = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(miner.status.success(), "{}", String::from_utf8_lossy(&miner.stderr));
    let session: serde_json::Value = serde_json::from_slice(&miner.stdout).unwrap();
    assert_eq!(session["endpoint"], endpoint);
    dev.stop();
    let authority = std::fs::read(&ca_file).unwrap();
    let dev = Dev::start_with(&data, &["--tls"]);
    assert_eq!(std::fs::read(&ca_file).unwrap(), authority);
    dev.stop();
}
