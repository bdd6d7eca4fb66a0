//! The log of the program itself: what leaves it, when, and what becomes of it where nobody takes it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _, unix::net::UnixStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::harness::{
    client::{Connection, PATIENCE},
    server::{Setup, TestServer},
};

/// A `subgate serve` whose log goes where the test says.
struct Program {
    process: Child,
    address: SocketAddr,
    _server: TestServer,
}

impl Program {
    async fn start(stderr: impl Into<Stdio>, options: &[&str]) -> Self {
        let server = TestServer::start().await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        // It is asked as quickly as it answers.
        let limits = "[limits.address]\nrequests_per_second = \"none\"".to_owned();
        let text = Setup { limits, ..Setup::default() }.text(&format!("http://{}", server.store.address));
        let text = text.replace("127.0.0.1:0\"", &format!("{address}\""));
        let config = server.dir.path().join("proxy.toml");
        std::fs::write(&config, text).unwrap();
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SUBGATE_")) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--config").arg(&config).args(options);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let program = Self { process, address, _server: server };
        let listening = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("the program listens");
        program
    }

    /// So many requests on one connection, each answered.
    async fn ask(&self, requests: usize) {
        let mut connection = Connection::connect(self.address).await;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        for _ in 0..requests {
            connection.send(request.as_bytes()).await;
            assert_eq!(connection.answer("GET").await.status, 200);
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the process, which must end.
    async fn ended(&mut self) -> ExitStatus {
        let ending = async {
            loop {
                if let Some(status) = self.process.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ending).await.expect("the program ends")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The access records among lines of JSON, each of which must be whole.
fn access_records(text: &str) -> usize {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["target"] == "subgate::access").count()
}

fn lost(text: &str) -> u64 {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter_map(|line| line["lost_lines"].as_u64()).sum()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn an_orderly_end_loses_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stderr");
    let mut program = Program::start(File::create(&path).unwrap(), &[]).await;
    program.ask(300).await;
    program.signal("-TERM");
    assert!(program.ended().await.success());
    assert_eq!(access_records(&read(&path)), 300);
}

#[tokio::test]
async fn a_kill_loses_the_last_moment_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stderr");
    let mut program = Program::start(File::create(&path).unwrap(), &[]).await;
    program.ask(50).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    program.signal("-KILL");
    program.ended().await;
    assert_eq!(access_records(&read(&path)), 50);
}

#[tokio::test]
async fn a_file_that_was_moved_is_opened_anew_and_no_line_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let mut program = Program::start(Stdio::null(), &["--log-file", path.to_str().unwrap()]).await;
    program.ask(100).await;
    std::fs::rename(&path, &moved).unwrap();
    program.signal("-USR1");
    program.ask(100).await;
    program.signal("-TERM");
    assert!(program.ended().await.success());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(access_records(&read(&moved)) + access_records(&read(&path)), 200);
    assert!(access_records(&read(&path)) > 0);
}

#[tokio::test]
async fn a_full_disk_and_a_reader_that_is_gone_hold_nobody_up() {
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for stderr in [OwnedFd::from(full), OwnedFd::from(gone)] {
        let mut program = Program::start(stderr, &[]).await;
        program.ask(200).await;
        program.signal("-TERM");
        assert!(program.ended().await.success());
    }
}

#[tokio::test]
async fn a_stuck_reader_holds_nobody_up_and_is_told_how_many_lines_were_lost() {
    let (reader, blocking) = std::io::pipe().unwrap();
    let (other, refusing) = UnixStream::pair().unwrap();
    refusing.set_nonblocking(true).unwrap();
    let ends =
        [(OwnedFd::from(reader), OwnedFd::from(blocking)), (OwnedFd::from(other), OwnedFd::from(refusing))];
    for (reader, stderr) in ends {
        let mut program = Program::start(stderr, &[]).await;
        // More than the buffer and the pipe hold.
        const REQUESTS: usize = 6000;
        program.ask(REQUESTS).await;
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(File::from(reader)).read_to_string(&mut text).unwrap();
            text
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        program.signal("-TERM");
        assert!(program.ended().await.success());
        let text = reading.join().unwrap();
        assert!(lost(&text) > 0, "{} bytes and no line was lost", text.len());
        // A line of the listener may be among the lost ones.
        let told = access_records(&text) as u64 + lost(&text);
        assert!((REQUESTS as u64..REQUESTS as u64 + 4).contains(&told), "{told}");
    }
}

/// Warnings do not wait for others.
#[tokio::test]
async fn a_fault_at_the_start_is_told_before_the_end() {
    let (reader, stderr) = std::io::pipe().unwrap();
    let program = Program::start(stderr, &[]).await;
    let mut first = String::new();
    BufReader::new(File::from(OwnedFd::from(reader))).read_line(&mut first).unwrap();
    let line: Value = serde_json::from_str(&first).unwrap();
    assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string());
    drop(program);
}
