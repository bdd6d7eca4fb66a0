//! What the command line asks for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;

use crate::{cases::Case, subgate};

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
    /// Only cases whose name contains this; may be given several times
    #[arg(long = "case", value_name = "TEXT")]
    pub(crate) cases: Vec<String>,
    /// Only this proxy; may be given several times
    #[arg(long = "proxy", value_name = "NAME")]
    pub(crate) proxies: Vec<String>,
    /// Another build of subgate: for a row of its own in the table, in place of this one with `--idle` and
    /// the three after it
    #[arg(long, value_name = "FILE")]
    pub(crate) before: Option<PathBuf>,
    /// Seconds of each case, proxy and round
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// How often each case goes around the proxies
    #[arg(long, default_value_t = 3)]
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

    /// Whether a case was asked for.
    pub(crate) fn wants(&self, case: &Case) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|text| case.name.contains(text))
    }

    /// Whether a proxy was asked for.
    pub(crate) fn wants_proxy(&self, name: &str) -> bool {
        self.proxies.is_empty() || self.proxies.iter().any(|wanted| wanted == name)
    }

    /// The build that is measured: this one, or the other one where there is.
    pub(crate) fn program(&self) -> &Path {
        self.before.as_deref().unwrap_or_else(|| subgate::program())
    }

    /// How long one proxy is asked in one round.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}
