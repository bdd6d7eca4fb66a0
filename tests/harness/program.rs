//! `subgate serve` as a process of its own, for what belongs to a process: its environment, its log.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// A running server; it ends with this.
pub struct Program {
    pub address: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts it by that configuration, in that environment and no other.
    pub fn serve(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subgate"));
        command.args(["serve", "--log-format", "json", "--config"]).arg(config);
        command.env_clear().envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        let end = Instant::now() + Duration::from_secs(60);
        let address = loop {
            let found = log.lock().unwrap().iter().find_map(|line| address_in(line));
            if let Some(address) = found {
                break address;
            }
            let has_ended = child.try_wait().unwrap().is_some();
            assert!(!has_ended && Instant::now() < end, "{:?}", log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { address, child, log }
    }

    /// What it has in memory now.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"address\":\"").filter(|_| line.contains("accepting connections"))?;
    rest.split('"').next()?.parse().ok()
}
