//! What the command line asks for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;

/// What is built with the bench.
const BUILT: &str = env!("CARGO_BIN_EXE_subgate");

const SECONDS: f64 = 2.0;
const ROUNDS: u32 = 3;

#[derive(Debug, Parser)]
#[command(about = "The road end to end, beside bare proxies")]
pub(crate) struct Options {
    /// A few seconds in all: shows that everything runs, measures nothing well
    #[arg(long)]
    pub(crate) quick: bool,
    /// 64 uploads of 1 GiB at once, and 1,000 downloads and uploads of 64 MiB, for their memory
    #[arg(long)]
    pub(crate) memory: bool,
    /// Small downloads by one miner while another takes all it can get, with a ceiling and without
    #[arg(long)]
    pub(crate) neighbour: bool,
    /// 1,000 connections that have asked once and wait, for their memory
    #[arg(long)]
    pub(crate) idle: bool,
    /// What Subgate adds to the time of small requests, at half of what it can carry
    #[arg(long)]
    pub(crate) latency: bool,
    /// Requests of 4,096 hotkeys beside those of one
    #[arg(long)]
    pub(crate) hotkeys: bool,
    /// What refused requests cost beside a served one
    #[arg(long)]
    pub(crate) refusals: bool,
    /// Only cases whose name contains this; may be given several times. With `--memory` a case is a row,
    /// which is then not written down
    #[arg(long = "case", value_name = "TEXT")]
    pub(crate) cases: Vec<String>,
    /// Only this proxy; may be given several times
    #[arg(long = "proxy", value_name = "NAME")]
    pub(crate) proxies: Vec<String>,
    /// The build of subgate that is measured, in place of the one that is built with the bench: what was
    /// packed, for instance
    #[arg(long, value_name = "FILE", value_parser = file)]
    program: Option<PathBuf>,
    /// Another build of subgate: for a row of its own in the table, in place of this one with `--memory`,
    /// `--idle` and the three after it
    #[arg(long, value_name = "FILE", value_parser = file)]
    pub(crate) before: Option<PathBuf>,
    /// Write tables and picture to `performance.md` and `performance.svg` in this directory; a document that
    /// is there has its block replaced
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        default_missing_value = "docs",
        conflicts_with_all = ["neighbour", "idle", "latency", "hotkeys", "refusals"]
    )]
    pub(crate) report: Option<PathBuf>,
    /// Seconds of each case, proxy and round
    #[arg(long, default_value_t = SECONDS)]
    pub(crate) seconds: f64,
    /// How often each case goes around the proxies
    #[arg(long, default_value_t = ROUNDS)]
    pub(crate) rounds: u32,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Those of this process.
    pub(crate) fn read() -> Self {
        let mut options = Self::parse();
        if options.quick {
            (options.seconds, options.rounds) = (0.2, 1);
        }
        options
    }

    /// How to have the same run again. Files and directories are the caller's own.
    pub(crate) fn command(&self) -> String {
        let mut command = "cargo bench --bench road -- --report".to_owned();
        let flags = [
            ("--quick", self.quick),
            ("--memory", self.memory),
            ("--program FILE", self.program.is_some()),
            ("--before FILE", self.before.is_some()),
        ];
        flags.iter().filter(|(_, is_set)| *is_set).for_each(|(flag, _)| {
            command.push(' ');
            command.push_str(flag);
        });
        if !self.quick && self.seconds.total_cmp(&SECONDS).is_ne() {
            command.push_str(&format!(" --seconds {}", self.seconds));
        }
        if !self.quick && self.rounds != ROUNDS {
            command.push_str(&format!(" --rounds {}", self.rounds));
        }
        self.cases.iter().for_each(|case| command.push_str(&format!(" --case {case}")));
        self.proxies.iter().for_each(|proxy| command.push_str(&format!(" --proxy {proxy}")));
        command
    }

    /// Whether a case was asked for.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|text| case.contains(text))
    }

    /// Whether a proxy was asked for.
    pub(crate) fn wants_proxy(&self, name: &str) -> bool {
        self.proxies.is_empty() || self.proxies.iter().any(|wanted| wanted == name)
    }

    /// What is measured as Subgate.
    pub(crate) fn program(&self) -> &Path {
        self.program.as_deref().unwrap_or(Path::new(BUILT))
    }

    /// The same where one build alone is measured: the other one then stands in its place.
    pub(crate) fn only_program(&self) -> &Path {
        self.before.as_deref().unwrap_or_else(|| self.program())
    }

    /// How long one proxy is asked in one round.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// Fails before anything is started, and by name.
fn file(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_file() { Ok(path) } else { Err("there is no such file".to_owned()) }
}
