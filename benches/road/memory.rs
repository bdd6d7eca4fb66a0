//! The largest resident memory, whatever goes through at once.

use std::{path::Path, time::Duration};

use crate::{
    cases::{Case, Form, GIB, MIB},
    load,
    options::Options,
    process::{Listening, Process, free_port},
    report::table::Table,
    reporting,
    subgate::{self, Client},
    transport::{Identity, Transport},
};

/// What the memory of Subgate is bounded to, whatever goes through it.
const MEMORY_BYTES_MAX: u64 = 200 * MIB;

/// How much goes through at once.
struct Amount {
    connections: usize,
    /// Of the largest bodies.
    large_uploads: usize,
    /// How long slow clients go on.
    slow: Duration,
}

const WHOLE: Amount = Amount { connections: 1000, large_uploads: 64, slow: Duration::from_secs(20) };

/// Shows that everything runs, and nothing of a server under load.
const QUICK: Amount = Amount { connections: 32, large_uploads: 1, slow: Duration::from_secs(2) };

/// The block of the report.
const BLOCK: &str = "memory";

/// What was measured so far, and what of it was beyond its bound.
struct Peaks {
    table: Table,
    beyond: Vec<String>,
}

impl Peaks {
    /// Takes down the peak of a server since it was forgotten, which is to be within its bound.
    fn take(&mut self, server: &Process, at_once: usize, what: String) {
        let peak_bytes = server.peak_bytes();
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / MIB as f64);
        if peak_bytes > MEMORY_BYTES_MAX {
            self.beyond.push(what.clone());
        }
        let row = vec![what, at_once.to_string(), mib(peak_bytes), mib(MEMORY_BYTES_MAX)];
        println!("{}", self.table.line(&row));
        self.table.push(row);
    }
}

/// Whatever goes through it at once, quick or slow, in the clear and over TLS, Subgate stays small. Limits
/// are counted, metrics are on offer.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    reporting::check(options, BLOCK);
    let identity = Identity::make(dir);
    let start = |of_server: &str| -> Listening {
        let admin = format!("admin = \"127.0.0.1:{}\"", free_port());
        subgate::start_with(subgate::program(), dir, store, &admin, of_server)
    };
    let (plain, tls) = (start(""), start(&subgate::with_tls(&identity)));
    let amount = if options.quick { QUICK } else { WHOLE };
    // A session counts at both, for they share its key.
    let client = Client::log_in(plain.port, subgate::MINER);
    let table = Table::new(1, ["what", "at once", "peak MiB", "bound MiB"]);
    let mut peaks = Peaks { table, beyond: Vec::new() };
    println!("{}", peaks.table.head());
    of_many(&mut peaks, &amount, &client, &plain, &Transport::Plain);
    of_many(&mut peaks, &amount, &client, &tls, &identity.transport);
    of_large(&mut peaks, &amount, &client, &plain);
    if let Some(dir) = &options.report {
        let run = reporting::of_this_run(options, Vec::new());
        reporting::write_block(dir, BLOCK, &run.of(&peaks.table));
    }
    assert!(peaks.beyond.is_empty(), "beyond the bound: {:?}", peaks.beyond);
}

/// Downloads and uploads of 64 MiB, by clients that are slow and by clients that are not.
fn of_many(peaks: &mut Peaks, amount: &Amount, client: &Client, server: &Listening, transport: &Transport) {
    let over = match transport {
        Transport::Plain => "",
        Transport::Tls(_) => " over TLS",
    };
    let Listening { process, port } = server;
    let Amount { connections, slow, .. } = amount;
    for (form, what) in [(Form::Get, "GET"), (Form::Unsigned, "PUT")] {
        let shot = client.shot(&Case::new("64mib", form, 64 * MIB, *connections));
        process.forget_peak();
        load::run_slowly(*port, transport, &shot, *connections, *slow);
        peaks.take(process, *connections, format!("{what} of 64 MiB{over}, slow clients"));
        process.forget_peak();
        let tally = load::run(*port, transport, &shot, *connections, Duration::ZERO);
        assert_eq!(tally.requests, *connections as u64);
        peaks.take(process, *connections, format!("{what} of 64 MiB{over}, quick clients"));
    }
}

/// Uploads of 1 GiB at once into the sink.
fn of_large(peaks: &mut Peaks, amount: &Amount, client: &Client, server: &Listening) {
    let Amount { large_uploads, .. } = amount;
    for (form, what) in [(Form::Unsigned, "PUT of 1 GiB"), (Form::Sha256, "PUT of 1 GiB, sha256 checked")] {
        let shot = client.shot(&Case::new("put-1gib", form, GIB, *large_uploads));
        server.process.forget_peak();
        let tally = load::run(client.port, &Transport::Plain, &shot, *large_uploads, Duration::ZERO);
        assert_eq!(tally.requests, *large_uploads as u64);
        peaks.take(&server.process, *large_uploads, what.to_owned());
    }
}
