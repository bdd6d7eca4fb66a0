//! Attacks an S3 gateway with two identities, and says for each attack whether it held.
//!
//! ```text
//! cargo run --release --example attack -- --self-check
//! cargo run --release --example attack -- --dev .subgate
//! cargo run --release --example attack -- --endpoint https://s3.example --bucket b --identities FILE
//! ```
//!
//! `--help` says the rest, `tests/attack/README.md` how to read the table, and `tests/RULES.md` what the
//! numbers mean. It needs a bucket in which both identities may write below a prefix of their own, and cleans
//! up what it has put there.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its report")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program of the tests: what goes wrong in it ends it"
)]

mod identities;
mod program;
mod report;

use std::{net::IpAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

use self::{
    program::{Arena, Check},
    report::{Outcome, Report},
};

#[derive(Debug, Parser)]
#[command(name = "attack", about = "Attack an S3 gateway with two identities, and say what held")]
struct Options {
    /// The gateway, such as https://s3.example; paths are as in https://s3.example/bucket/key
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// The bucket
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// Its region
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    region: String,

    /// JSON file with the identities `attacker` and `victim`: of each `access_key`, `secret_key`, `prefix`,
    /// and for some `session_token`; for Subgate `hotkey_file`, a wallet's keyfile, is enough
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,

    /// The data directory of a running `subgate dev`: endpoint, bucket and identities are taken from it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "bucket", "identities"])]
    dev: Option<PathBuf>,

    /// Certificates to trust beside the system's, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A word that no answer may hold, such as the store's address; may be given several times
    #[arg(long = "store-word", value_name = "WORD")]
    store_words: Vec<String>,

    /// Only attacks whose name contains this; may be given several times
    #[arg(long = "check", value_name = "TEXT")]
    checks: Vec<String>,

    /// No attacks whose name contains this; may be given several times
    #[arg(long = "skip", value_name = "TEXT")]
    skipped: Vec<String>,

    /// The attacks on what belongs to all as well: these take minutes, and the gateway's strength
    #[arg(long)]
    resources: bool,

    /// The gateway's process, if it runs on this machine: its memory is watched during resource attacks
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// Within how many seconds a connection that does nothing useful should be closed
    #[arg(long, value_name = "SECONDS", default_value_t = 100)]
    patience: u64,

    /// From where the attacker connects in resource attacks [default: 127.0.0.2 if the gateway is on
    /// 127.0.0.1]
    #[arg(long, value_name = "IP")]
    attacker_address: Option<IpAddr>,

    /// The report as JSON
    #[arg(long)]
    json: bool,

    /// The attacks with what each is about, and no more
    #[arg(long)]
    list: bool,

    /// Runs all attacks on a server that refuses nothing: each must be reported as open
    #[arg(long)]
    self_check: bool,
}

impl Options {
    fn wanted(&self) -> Vec<Check> {
        let mut checks = program::checks();
        if self.resources || self.self_check {
            checks.extend(program::resource_checks());
        }
        let named = |check: &Check| {
            self.checks.is_empty() || self.checks.iter().any(|text| check.name.contains(text.as_str()))
        };
        checks.retain(named);
        checks.retain(|check| !self.skipped.iter().any(|text| check.name.contains(text.as_str())));
        checks
    }

    fn arena(&self) -> Result<Arena, String> {
        if self.self_check {
            return program::naive_arena(Duration::from_secs(2)).map_err(|error| error.to_string());
        }
        identities::arena(self)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let checks = options.wanted();
    if options.list {
        checks.iter().for_each(|check| println!("{:<34} {}", check.name, check.rule));
        return ExitCode::SUCCESS;
    }
    let arena = match options.arena() {
        Ok(arena) => arena,
        Err(why) => {
            eprintln!("attack: {why}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    for check in &checks {
        let row = report.add(check, check.run(&arena));
        if !options.json {
            println!("{row}");
        }
    }
    arena.clean();
    if options.json {
        println!("{}", report.json());
    } else {
        println!("\n{}", report.table());
    }
    // On the server that refuses nothing, what is not open could never fail.
    let right = if options.self_check { Outcome::Open } else { Outcome::Held };
    report.exit_code(right)
}
