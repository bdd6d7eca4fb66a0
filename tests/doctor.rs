//! `subgate doctor` against a real `subgate dev`, and against the same with one gap in front of it.

#![cfg(feature = "dev-store")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails should panic where it fails"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// A running `subgate dev`; ended when it is dropped, whatever the test found.
pub struct Dev {
    child: Child,
    pub dir: tempfile::TempDir,
    pub endpoint: String,
    identities: Value,
}

impl Dev {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_subgate"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data", dir.path().to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.starts_with("ready")), "it ended");
        let dev: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("dev.json")).unwrap()).unwrap();
        let endpoint = dev["endpoint"].as_str().unwrap().to_owned();
        Self { child, dir, endpoint, identities: dev["identities"].clone() }
    }

    pub fn coldkey(&self, name: &str) -> &str {
        let identities = self.identities.as_array().unwrap();
        identities.iter().find(|identity| identity["name"] == name).unwrap()["coldkey"].as_str().unwrap()
    }

    fn doctor(&self, endpoint: &str, wallet: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(["doctor", "--endpoint", endpoint, "--wallet-name", wallet, "--wallet-path"]);
        command.arg(self.dir.path().join("wallets")).args(more);
        command
    }

    /// Objects and parts in the store's own directory.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found)
                } else {
                    found.push(entry.path())
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.dir.path().join("store"), &mut found);
        found.retain(|file| file.file_name().is_some_and(|name| name != ".index.jsonl"));
        found
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Findings {
    code: i32,
    json: Value,
    remark: String,
}

impl Findings {
    fn of(output: &Output) -> Self {
        let remark = String::from_utf8(output.stderr.clone()).unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {remark}"));
        Self { code: output.status.code().unwrap(), json, remark }
    }

    /// `group: name` of the rows with that verdict.
    fn rows(&self, verdict: &str) -> Vec<String> {
        let rows = self.json["checks"].as_array().unwrap().iter().filter(|row| row["verdict"] == verdict);
        rows.map(|row| format!("{}: {}", row["group"].as_str().unwrap(), row["name"].as_str().unwrap()))
            .collect()
    }

    fn verdict(&self, row: &str) -> String {
        let rows = self.json["checks"].as_array().unwrap();
        let (group, name) = row.split_once(": ").unwrap();
        let found = rows.iter().find(|row| row["group"] == group && row["name"] == name);
        found.unwrap_or_else(|| panic!("no row {row}"))["verdict"].as_str().unwrap().to_owned()
    }
}

/// All is as it should be, and these rows among it.
fn check_sound(dev: &Dev, wallet: &str, rows: &[(&str, &str)]) {
    let findings = Findings::of(&dev.doctor(&dev.endpoint, wallet, &["--json"]).output().unwrap());
    assert_eq!(findings.code, 0, "{} {}", findings.remark, findings.json);
    assert_eq!((findings.rows("failed").len(), findings.rows("open").len()), (0, 0));
    assert_eq!((findings.json["sound"].as_bool(), findings.remark.as_str()), (Some(true), ""));
    for (row, verdict) in rows {
        assert_eq!(findings.verdict(row), *verdict, "{wallet} {row}");
    }
}

const BOTH: &[(&str, &str)] = &[
    ("own-folder: upload by PUT", "passed"),
    ("own-folder: upload by form", "passed"),
    ("own-folder: upload by multipart (5 MiB and a rest)", "passed"),
    ("own-folder: list (ListObjectsV2), page by page", "passed"),
    ("own-folder: download and compare multipart.bin", "passed"),
    ("other-folder: PUT", "refused"),
    ("other-folder: DELETE", "refused"),
    ("other-folder: batch delete, beside an own key", "refused"),
    ("tampered: presigned PUT, moved to the other folder", "refused"),
    ("tampered: form with a key in the other folder", "refused"),
    ("traversal: ..", "refused"),
    ("traversal: %2e%2e", "refused"),
    ("traversal: // before the key", "refused"),
    ("traversal: encoded twice, %252e%252e", "passed"),
    ("clean-up: nothing is left behind", "passed"),
];

#[test]
fn a_sound_server_is_found_sound() {
    let dev = Dev::start();
    check_sound(&dev, "miner-a", BOTH);
    check_sound(
        &dev,
        "miner-a",
        &[("other-folder: GET", "refused"), ("other-folder: copy source", "refused")],
    );
    check_sound(&dev, "validator", BOTH);
    check_sound(
        &dev,
        "validator",
        &[("read-all: GET", "passed"), ("read-all: list (ListObjectsV2)", "passed")],
    );
    assert_eq!(dev.files(), Vec::<PathBuf>::new());

    let table =
        dev.doctor(&dev.endpoint, "miner-a", &["--other-coldkey", dev.coldkey("miner-b")]).output().unwrap();
    let text = String::from_utf8(table.stdout).unwrap();
    assert_eq!(table.status.code(), Some(0), "{text}");
    assert!(text.contains(dev.coldkey("miner-b")) && text.contains("0 open, 0 failed"), "{text}");
    assert!(!text.contains('\x1b') && !text.contains("X-Amz-"), "{text}");

    let stranger = dev.doctor(&dev.endpoint, "stranger", &["--json"]).output().unwrap();
    let line = String::from_utf8(stranger.stderr).unwrap();
    assert_eq!(stranger.status.code(), Some(77), "{line}");
    assert!(
        line.contains("NotRegistered") && line.lines().count() == 1 && stranger.stdout.is_empty(),
        "{line}"
    );
}

/// What stands in front of the real server: for each request head an answer of its own, or none.
type Gap = Box<dyn FnMut(&str) -> Option<String> + Send>;

/// Relays to the server at `endpoint`, one request for each connection, but for the gap.
fn relay(endpoint: &str, mut gap: Gap) -> String {
    let server: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process: nothing else waits for it.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = BufReader::new(client.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while client.read_line(&mut head).unwrap_or(0) > 2 {
                let line = head.lines().last().unwrap().to_ascii_lowercase();
                length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap());
            }
            let mut body = vec![0; length];
            if head.is_empty() || client.read_exact(&mut body).is_err() {
                continue;
            }
            if let Some(answer) = gap(&head) {
                let _ = client.get_mut().write_all(answer.as_bytes());
                continue;
            }
            let head = head.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
            let mut server = TcpStream::connect(server).unwrap();
            server.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            let _ = std::io::copy(&mut server, client.get_mut());
        }
    });
    format!("http://{address}")
}

fn answer(status: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

#[test]
fn a_put_that_is_let_through_is_open_and_named() {
    let dev = Dev::start();
    let gap = |head: &str| {
        let is_put = head.starts_with("PUT ") && !head.contains("x-amz-copy-source");
        if is_put && head.contains("/victim.bin HTTP") { answer("200 OK") } else { None }
    };
    let findings = Findings::of(
        &dev.doctor(&relay(&dev.endpoint, Box::new(gap)), "miner-a", &["--json"]).output().unwrap(),
    );
    assert_eq!(findings.code, 2, "{}", findings.remark);
    assert_eq!(findings.rows("open"), ["other-folder: PUT"]);
    assert!(
        findings.remark.contains("OPEN") && findings.remark.contains("other folder: PUT"),
        "{}",
        findings.remark
    );
    // What was let through cannot be taken back by one who may not delete there: that is said.
    assert_eq!(findings.rows("failed"), ["clean-up: nothing is left behind"]);
    assert_eq!(findings.json["summary"]["open"], 1);
    assert_eq!(dev.files(), Vec::<PathBuf>::new());
}

#[test]
fn what_does_not_work_is_a_failure_and_nothing_stays_behind() {
    let dev = Dev::start();
    let gap = |head: &str| if head.contains("partNumber=2&") { answer("500 Oops") } else { None };
    let findings = Findings::of(
        &dev.doctor(&relay(&dev.endpoint, Box::new(gap)), "miner-a", &["--json"]).output().unwrap(),
    );
    assert_eq!(findings.code, 1, "{}", findings.remark);
    assert_eq!(findings.rows("failed"), ["own-folder: upload by multipart (5 MiB and a rest)"]);
    assert_eq!(dev.files(), Vec::<PathBuf>::new());
}

#[test]
fn an_interrupted_trial_cleans_up() {
    let dev = Dev::start();
    let (reached, at_traversal) = mpsc::channel();
    let mut is_first = true;
    let gap = move |head: &str| {
        if is_first && head.contains("..") {
            is_first = false;
            reached.send(()).unwrap();
            // The client has gone by then.
            thread::sleep(Duration::from_millis(500));
            return answer("500 Oops");
        }
        None
    };
    let child = dev.doctor(&relay(&dev.endpoint, Box::new(gap)), "miner-a", &["--json"]).spawn().unwrap();
    at_traversal.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let findings = Findings::of(&child.wait_with_output().unwrap());
    assert_eq!(
        (findings.code, findings.rows("failed")),
        (1, vec!["clean-up: everything is tried".to_owned()])
    );
    assert_eq!(findings.verdict("clean-up: nothing is left behind"), "passed");
    assert_eq!(dev.files(), Vec::<PathBuf>::new());
}
