//! Processes beside this one, and what Linux says of them.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Ticks of `/proc/PID/stat` in a second: what the kernel tells to user space on every architecture Rust runs
/// on.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a proxy may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// A child that dies with its owner, with the workers it has forked.
pub(crate) struct Process {
    child: Child,
    stdout: Option<BufReader<std::process::ChildStdout>>,
    log: Option<PathBuf>,
}

/// A process that listens.
pub(crate) struct Listening {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

/// CPU time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    user_seconds: f64,
    pub(crate) system_seconds: f64,
}

impl Usage {
    /// What one process has taken so far.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The second field is a name in parentheses that may hold anything; `utime` and `stime` are 14 and
        // 15.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
            .unwrap_or_default();
        let seconds = |at: usize| fields.get(at).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
        Self { user_seconds: seconds(11), system_seconds: seconds(12) }
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            user_seconds: self.user_seconds - before.user_seconds,
            system_seconds: self.system_seconds - before.system_seconds,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.user_seconds += other.user_seconds;
        self.system_seconds += other.system_seconds;
    }
}

impl Process {
    /// This very binary in another role.
    pub(crate) fn own(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(role);
        Self::start(command, None)
    }

    /// Standard error goes to `log`.
    pub(crate) fn start(mut command: Command, log: Option<&Path>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if let Some(log) = log {
            command.stderr(fs::File::create(log).unwrap());
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout, log: log.map(Path::to_owned) }
    }

    /// Reads the port that the process says on its first line.
    pub(crate) fn with_port(mut self) -> Listening {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        Listening { process: self, port }
    }

    /// Waits until `port` is listened on.
    pub(crate) fn listening_on(self, port: u16) -> Listening {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || self.log.as_ref().and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
            assert!(started.elapsed() < START_MAX, "nothing listens on {port}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Listening { process: self, port }
    }

    /// CPU time so far, workers included.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        self.tree().into_iter().for_each(|pid| sum.add(&Usage::of(pid)));
        sum
    }

    /// The largest resident memory since [`Process::forget_peak`].
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.of_status("VmHWM:")
    }

    /// The memory that is resident now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.of_status("VmRSS:")
    }

    /// A number of `/proc/PID/status` that is in KiB.
    fn of_status(&self, name: &str) -> u64 {
        let bytes = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        self.tree().into_iter().map(bytes).sum()
    }

    /// Lets the peak begin anew at what is resident now.
    pub(crate) fn forget_peak(&self) {
        for pid in self.tree() {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// The process and its children.
    fn tree(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // By SIGTERM, so that a master takes its workers along.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
