//! The machine under a server: no room for the log or the snapshot, no more files.
//!
//! Each server is a process of its own, whose bounds a shell sets.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::TcpStream;

use crate::{
    chain::serving::configuration,
    harness::{
        client::{Call, Connection, PATIENCE},
        node::{self, Node},
        server::{ALICE, Setup, TestServer, bytes},
    },
};

/// A server that runs as `subgate serve`; it ends with this.
struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it with this configuration, in which the ports are 0, after the shell has done `before`; its
    /// log goes to `log`.
    async fn start(config: &Path, before: &str, log: &Path) -> Self {
        let [address, admin] = [free_address(), free_address()];
        let text = std::fs::read_to_string(config).unwrap();
        let text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
        let text = text.replacen("127.0.0.1:0", &admin.to_string(), 1);
        std::fs::write(config, text).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = Command::new("sh")
            .args([
                "-c",
                &format!("{before}; exec \"$0\" serve --config \"$1\""),
                env!("CARGO_BIN_EXE_subgate"),
            ])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let end = tokio::time::Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended");
            assert!(tokio::time::Instant::now() < end, "it does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, address, admin }
    }

    async fn status(&self, call: &Call) -> u16 {
        let signed = call.sign(&ALICE.hotkey(), &self.address.to_string());
        let mut connection = Connection::connect(self.address).await;
        connection.send_call(&signed).await;
        connection.answer(&call.method).await.status
    }

    async fn snapshot(&self) -> serde_json::Value {
        let mut connection = Connection::connect(self.admin).await;
        connection.send(b"GET /snapshot HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        serde_json::from_slice(&connection.answer("GET").await.body).unwrap()
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The configuration of a server of its own before the store of `server`.
fn configuration_like(server: &TestServer, setup: &Setup) -> PathBuf {
    let path = server.dir.path().join("proxy.toml");
    let setup = Setup { server: format!("admin = \"127.0.0.1:0\"\n{}", setup.server), ..setup.clone() };
    std::fs::write(&path, setup.text(&format!("http://{}", server.store.address))).unwrap();
    path
}

#[tokio::test]
async fn a_log_without_room_stops_nothing() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let config = configuration_like(&server, &Setup::default());
    for before in ["true", "export SUBGATE_LOG=debug"] {
        let process = Process::start(&config, before, Path::new("/dev/full")).await;
        // On one connection: whoever writes the log may not take it down.
        let mut connection = Connection::connect(process.address).await;
        for _ in 0..20 {
            for (call, status) in [
                (Call::get(&ALICE.file("f")), 200),
                (Call::put(&ALICE.file("g"), bytes(100_000)), 200),
                (Call::get("elsewhere/f"), 403),
            ] {
                connection.send_call(&call.sign(&ALICE.hotkey(), &process.address.to_string())).await;
                assert_eq!(connection.answer(&call.method).await.status, status);
            }
        }
        drop(process);
        configuration_like(&server, &Setup::default());
    }
}

#[tokio::test]
async fn p38_a_snapshot_without_room_on_disk_leaves_the_old_one_and_stops_nothing() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    let config = PathBuf::from(configuration(dir.path(), &[node.http()], ""));
    let (path, log) = (dir.path().join("chain-snapshot.json"), dir.path().join("log"));
    // Files of 4 KiB at most, of which the log is none: it is a file that is there.
    let process = Process::start(&config, "true", &log).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(tokio::time::Instant::now() < end, "no snapshot");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(process);
    let old = std::fs::read_to_string(&path).unwrap();
    assert!(old.len() > 8192);
    configuration(dir.path(), &[node.http()], "");
    let process = Process::start(&config, "trap '' XFSZ; ulimit -f 8", Path::new("/dev/null")).await;
    node.script().block = 101;
    let snapshot = loop {
        let snapshot = process.snapshot().await;
        let is_counted = snapshot["chain_events"]["not_stored"].as_u64().is_some_and(|times| times > 0);
        if is_counted && snapshot["block"] == 101 {
            break snapshot;
        }
        assert!(tokio::time::Instant::now() < end, "{snapshot}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(snapshot["hotkeys"], node::recorded_neurons().len());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
    // Nothing half-written is left beside it.
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

#[tokio::test]
async fn p47_without_files_left_a_server_rests_and_goes_on() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let config = configuration_like(&server, &Setup::default());
    let log = server.dir.path().join("log");
    let process = Process::start(&config, "ulimit -n 48", &log).await;
    assert_eq!(process.status(&Call::get(&ALICE.file("f"))).await, 200);
    // Connections that ask nothing take what files there are; the rest waits in the system's queue.
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(TcpStream::connect(process.address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused =
        std::fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains("accepted")).count();
    assert!(refused < 40, "it tries without a rest: {refused}");
    drop(idle);
    let end = tokio::time::Instant::now() + PATIENCE;
    while process.status(&Call::get(&ALICE.file("f"))).await != 200 {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(process.status(&Call::put(&ALICE.file("f"), bytes(100_000))).await, 200);
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(100_000));
}
