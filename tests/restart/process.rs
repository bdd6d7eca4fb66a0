//! `subgate serve` as a process of its own, and those that take its place.

use std::{
    fs::File,
    io::Write as _,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::harness::{
    client::{Answer, Call, Connection, Key, PATIENCE},
    server::{Setup, TestServer},
};

/// A server that runs as `subgate serve` before the store of a [`TestServer`]. All its processes end with
/// this.
pub struct Process {
    first: Child,
    pub address: SocketAddr,
    pub config: PathBuf,
    pub program: PathBuf,
    log: PathBuf,
}

/// What a process is started with beside the configuration.
#[derive(Default)]
pub struct Start {
    pub environment: Vec<(&'static str, String)>,
    /// Listening sockets that are passed as a service manager does it.
    pub sockets: Vec<OwnedFd>,
    pub names: Option<&'static str>,
}

impl Process {
    /// Starts it, with further lines in `[server]`.
    pub async fn start(server: &TestServer, lines: &str) -> Self {
        let mut process = Self::launch(server, lines, Start::default());
        process.address = process.wait_for(|line| address_of(&line)).await;
        process
    }

    pub fn launch(server: &TestServer, lines: &str, start: Start) -> Self {
        let dir = server.dir.path();
        let config = dir.join("process.toml");
        write_config(&config, server, lines);
        // A copy, for tests replace it.
        let program = dir.join("subgate");
        std::fs::hard_link(env!("CARGO_BIN_EXE_subgate"), &program)
            .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_subgate"), &program).map(|_| ()))
            .unwrap();
        let log = dir.join("process.log");
        // The shell gives the sockets the numbers that they have by convention.
        let script = match start.sockets.len() {
            0 => "exec \"$@\"",
            1 => "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"",
            _ => "exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$@\"",
        };
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&program).args(["--log-format", "json", "serve", "--config"]);
        command.arg(&config).stderr(File::create(&log).unwrap());
        for (name, _) in std::env::vars() {
            if ["SUBGATE_", "LISTEN_", "NOTIFY_", "WATCHDOG_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.envs(start.environment);
        if let Some(names) = start.names {
            command.env("LISTEN_FDNAMES", names);
        }
        let mut sockets = start.sockets.into_iter().map(Stdio::from);
        command.stdin(sockets.next().unwrap_or_else(Stdio::null));
        command.stdout(sockets.next().unwrap_or_else(Stdio::null));
        let first = command.spawn().unwrap();
        Self { first, address: ([127, 0, 0, 1], 0).into(), config, program, log }
    }

    /// The first process.
    pub fn pid(&self) -> u32 {
        self.first.id()
    }

    /// What all processes have logged; a line that is no JSON as a string.
    pub fn lines(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
    }

    /// The first line that fits, once it is there.
    pub async fn wait_for<T>(&self, fits: impl Fn(Value) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.lines().into_iter().find_map(&fits) {
                return found;
            }
            assert!(Instant::now() < end, "{:#?}", self.lines());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// A line with these words.
    pub async fn wait_for_words(&self, words: &str) -> Value {
        self.wait_for(|line| Some(line).filter(|line| line.to_string().contains(words))).await
    }

    /// The lines with these words.
    pub fn count(&self, words: &str) -> usize {
        self.lines().iter().filter(|line| line.to_string().contains(words)).count()
    }

    pub fn signal(&self, pid: u32, signal: Signal) {
        kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    }

    /// Hands over from `pid`; the process that has taken over.
    pub async fn hand_over(&self, pid: u32) -> u32 {
        let taken = self.taken().len();
        self.signal(pid, Signal::USR2);
        let end = Instant::now() + PATIENCE;
        while self.taken().len() == taken {
            assert!(Instant::now() < end, "{:#?}", self.lines());
            sleep(Duration::from_millis(10)).await;
        }
        self.taken()[taken]
    }

    fn taken(&self) -> Vec<u32> {
        self.pids("the new process has taken over")
    }

    /// The process ids in lines with these words.
    pub fn pids(&self, words: &str) -> Vec<u32> {
        let of_line = |line: &Value| (line["message"] == words).then(|| line["pid"].as_u64().unwrap() as u32);
        self.lines().iter().filter_map(of_line).collect()
    }

    /// The process ids of all that were started.
    pub fn all_pids(&self) -> Vec<u32> {
        std::iter::once(self.pid()).chain(self.pids("a new process is to take over")).collect()
    }

    /// Whether a process of this server still runs.
    pub fn runs(&self, pid: u32) -> bool {
        let Ok(arguments) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        let config = self.config.to_str().unwrap().as_bytes();
        arguments.windows(config.len()).any(|window| window == config)
    }

    pub async fn wait_until_gone(&self, pid: u32) {
        let end = Instant::now() + PATIENCE;
        while self.runs(pid) {
            assert!(Instant::now() < end, "{pid} still runs: {:#?}", self.lines());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// How the first process ended.
    pub async fn exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.first.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it still runs: {:#?}", self.lines());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Puts another program in the place of this one.
    pub fn replace_program(&self, script: &str) {
        let new = self.program.with_extension("new");
        let mut file = File::create(&new).unwrap();
        file.write_all(script.as_bytes()).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        drop(file);
        std::fs::rename(new, &self.program).unwrap();
    }

    pub async fn connect(&self) -> Connection {
        Connection::connect(self.address).await
    }

    pub async fn send(&self, key: &Key, call: &Call) -> Answer {
        let mut connection = self.connect().await;
        connection.send_call(&call.sign(key, &self.address.to_string())).await;
        connection.answer(&call.method).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let mut connection = self.connect().await;
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address).as_bytes()).await;
        connection.answer("GET").await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in self.all_pids() {
            // One that is another's by now is left alone.
            if self.runs(pid) {
                let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
            }
        }
        let _ = self.first.wait();
    }
}

pub fn write_config(path: &Path, server: &TestServer, lines: &str) {
    let setup = Setup { server: lines.to_owned(), ..Setup::default() };
    let mut text = setup.text(&format!("http://{}", server.store.address));
    // The last line counts for a setting that is given twice nowhere, so a test's own takes its place.
    if lines.contains("listen =") {
        text = text.replacen("listen = \"127.0.0.1:0\"\n", "", 1);
    }
    std::fs::write(path, text).unwrap();
}

/// The address in a line that says where connections are accepted.
pub fn address_of(line: &Value) -> Option<SocketAddr> {
    (line["message"] == "accepting connections").then(|| line["address"].as_str().unwrap().parse().unwrap())
}
