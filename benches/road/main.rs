//! The road end to end: what a request and a GiB cost through Subgate, beside nothing and beside bare
//! proxies.
//!
//! ```text
//! cargo bench --bench road                       all cases, about five minutes
//! cargo bench --bench road -- --quick            a few seconds: does everything run
//! cargo bench --bench road -- --case get-64mib --proxy subgate --proxy haproxy --seconds 5
//! cargo bench --bench road -- --memory           peak memory: 1,000 downloads of 64 MiB at once and as many
//!                                                uploads, by slow clients and quick ones; 64 of 1 GiB
//! cargo bench --bench road -- --neighbour        how long small downloads take beside a miner who takes all
//! cargo bench --bench road -- --before FILE      beside another build, to see what a change is worth
//! ```
//!
//! One load client (this process) sends to one bare store (`peer`: swallows PUTs, answers GETs out of one
//! static buffer, checks nothing), directly and through each proxy. Store, Subgate and every proxy are
//! processes of their own, so that CPU time and memory are each one's own. The proxies are configured as bare
//! reverse proxies with two workers, no access log, no buffering to disk and large buffers; Subgate writes
//! its access log to a file, verifies every signature, asks its registry and its policy, and signs anew. All
//! take turns within one run, case by case, for machines differ and have moods: **compare rows of one run,
//! never runs**. Proxies that are not installed are left out; they are looked for in `SUBGATE_BENCH_BIN`,
//! `target/interop/bin` and `PATH`.
//!
//! How to read the table:
//! - `requests/s` and `of direct`: with client, store and proxy on the same few cores this shows contention
//!   as much as speed. The columns after it do not.
//! - `CPU s/GiB`, `CPU s/1000`: user and system time of the proxy's processes for each GiB of body and each
//!   1000 requests: what a deployment pays. The first counts for large bodies, the second for small ones.
//! - `of cheaper`: that CPU time, in parts of what the cheaper of haproxy and envoy takes for the same.
//! - `system`: the share of the kernel in it: copies between sockets, mostly.
//! - `peak MiB`: the largest resident memory during the case, all of the proxy's processes added up.
//!
//! Bodies are `UNSIGNED-PAYLOAD` unless the case says otherwise; the other PUT cases go through Subgate
//! alone, and show what verifying a sha256, a trailing checksum or signed chunks costs beside it.
//!
//! In the cases that begin with `tls-` every server ends TLS 1.3 by itself, with one and the same certificate
//! (ECDSA on P-256) and cipher (AES-128-GCM); the store behind is reached in the clear as before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot run should stop"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its report")]
#![allow(clippy::cast_precision_loss, reason = "ratios for people")]

mod http;
mod load;
mod peer;
mod process;
mod proxies;
mod subgate;
mod transport;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;

use crate::{
    load::Tally,
    process::{Process, Usage},
    proxies::Target,
    subgate::Client,
    transport::{Identity, Transport},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What the memory of Subgate is bounded to, whatever goes through it.
const MEMORY_BYTES_MAX: u64 = 200 * MIB;

#[derive(Debug, Parser)]
#[command(about = "The road end to end, beside bare proxies")]
struct Options {
    /// A few seconds in all: shows that everything runs, measures nothing well
    #[arg(long)]
    quick: bool,
    /// 64 uploads of 1 GiB at once, and 1,000 downloads and uploads of 64 MiB, for their memory
    #[arg(long)]
    memory: bool,
    /// Small downloads by one miner while another takes all it can get, with a ceiling and without
    #[arg(long)]
    neighbour: bool,
    /// Only cases whose name contains this; may be given several times
    #[arg(long = "case", value_name = "TEXT")]
    cases: Vec<String>,
    /// Only this proxy; may be given several times
    #[arg(long = "proxy", value_name = "NAME")]
    proxies: Vec<String>,
    /// Another build of subgate, for a row of its own
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// Seconds of each case, proxy and round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often each case goes around the proxies
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// How a body is declared and framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A GET.
    Get,
    /// `UNSIGNED-PAYLOAD`
    Unsigned,
    /// Its sha256, signed.
    Sha256,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER` with a crc32.
    UnsignedTrailer,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`, 64 KiB each.
    SignedChunks,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    form: Form,
    bytes: u64,
    /// Enough to keep everyone busy; few where bodies are large, as with real clients.
    connections: usize,
    over: Over,
}

/// What is below HTTP on the client's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Tcp,
    Tls,
}

impl Case {
    const fn new(name: &'static str, form: Form, bytes: u64, connections: usize) -> Self {
        Self { name, form, bytes, connections, over: Over::Tcp }
    }

    const fn over_tls(self) -> Self {
        Self { over: Over::Tls, ..self }
    }

    /// Whether it means anything without Subgate: the others only differ in what is verified.
    fn is_for_all(&self) -> bool {
        matches!(self.form, Form::Get | Form::Unsigned)
    }
}

const CASES: &[Case] = &[
    Case::new("get-1kib", Form::Get, KIB, 64),
    Case::new("put-1kib", Form::Unsigned, KIB, 64),
    Case::new("put-1kib-sha256", Form::Sha256, KIB, 64),
    Case::new("get-1mib", Form::Get, MIB, 16),
    Case::new("put-1mib", Form::Unsigned, MIB, 16),
    Case::new("get-64mib", Form::Get, 64 * MIB, 8),
    Case::new("put-64mib", Form::Unsigned, 64 * MIB, 8),
    Case::new("put-64mib-sha256", Form::Sha256, 64 * MIB, 8),
    Case::new("put-64mib-trailer", Form::UnsignedTrailer, 64 * MIB, 8),
    Case::new("put-64mib-signed-chunks", Form::SignedChunks, 64 * MIB, 8),
    Case::new("tls-get-1kib", Form::Get, KIB, 64).over_tls(),
    Case::new("tls-put-1kib", Form::Unsigned, KIB, 64).over_tls(),
    Case::new("tls-get-64mib", Form::Get, 64 * MIB, 8).over_tls(),
    Case::new("tls-put-64mib", Form::Unsigned, 64 * MIB, 8).over_tls(),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some(peer::ROLE) {
        return peer::run();
    }
    let mut options = Options::parse();
    if options.quick {
        (options.seconds, options.rounds) = (0.2, 1);
    }
    let dir = tempfile::tempdir().unwrap();
    let peer = Process::own(peer::ROLE).with_port();
    if options.neighbour {
        return beside_a_neighbour(dir.path(), peer.port, Duration::from_secs_f64(options.seconds));
    }
    let server = subgate::start(Path::new(env!("CARGO_BIN_EXE_subgate")), dir.path(), peer.port, "");
    let client = Client::log_in(server.port, subgate::MINER);
    if options.memory {
        return memory(&server.process, &client);
    }
    let identity = Identity::make(dir.path());
    let plain = |name, port, process| Target { name, port, transport: Transport::Plain, process };
    let mut targets = vec![
        plain("direct", peer.port, None),
        plain("subgate", server.port, Some(server.process)),
        over_tls("subgate", Path::new(env!("CARGO_BIN_EXE_subgate")), dir.path(), peer.port, &identity),
    ];
    if let Some(before) = &options.before {
        let server = subgate::start(before, dir.path(), peer.port, "");
        targets.push(plain("before", server.port, Some(server.process)));
        if options.cases.iter().any(|text| text.contains("tls")) {
            targets.push(over_tls("before", before, dir.path(), peer.port, &identity));
        }
    }
    targets.extend(proxies::start_installed(dir.path(), peer.port, None));
    targets.extend(proxies::start_installed(dir.path(), peer.port, Some(&identity)));
    targets.retain(|target| {
        options.proxies.is_empty() || options.proxies.iter().any(|name| target.name == name)
    });

    println!(
        "{:<24} {:<8} {:>11} {:>9} {:>9} {:>10} {:>10} {:>6} {:>8}",
        "case",
        "proxy",
        "requests/s",
        "of direct",
        "CPU s/GiB",
        "CPU s/1000",
        "of cheaper",
        "system",
        "peak MiB"
    );
    let wanted =
        |case: &&Case| options.cases.is_empty() || options.cases.iter().any(|text| case.name.contains(text));
    for case in CASES.iter().filter(wanted) {
        measure(case, &targets, &client, &options);
    }
}

/// A build of Subgate that ends TLS by itself.
fn over_tls(name: &'static str, program: &Path, dir: &Path, store: u16, identity: &Identity) -> Target {
    let server = subgate::start(program, dir, store, &subgate::with_tls(identity));
    Target { name, port: server.port, transport: identity.transport.clone(), process: Some(server.process) }
}

/// One case, all targets in turn, `rounds` times over.
fn measure(case: &Case, targets: &[Target], client: &Client, options: &Options) {
    let shot = client.shot(case);
    let targets: Vec<&Target> = targets
        .iter()
        .filter(|target| match target.transport {
            Transport::Plain => case.over == Over::Tcp,
            Transport::Tls(_) => case.over == Over::Tls,
        })
        .filter(|target| case.is_for_all() || ["subgate", "before"].contains(&target.name))
        .collect();
    let mut sums = vec![(Tally::default(), Usage::default()); targets.len()];
    for target in &targets {
        // Warm: connections, caches, lazily grown buffers.
        load::run(target.port, &target.transport, &shot, case.connections, Duration::from_millis(100));
        if let Some(process) = &target.process {
            process.forget_peak();
        }
    }
    for _ in 0..options.rounds {
        for (target, (tally, usage)) in targets.iter().zip(&mut sums) {
            let before = target.process.as_ref().map(Process::usage);
            let duration = Duration::from_secs_f64(options.seconds);
            tally.add(&load::run(target.port, &target.transport, &shot, case.connections, duration));
            if let (Some(process), Some(before)) = (&target.process, before) {
                usage.add(&process.usage().since(&before));
            }
        }
    }
    let direct = targets.iter().zip(&sums).find(|(target, _)| target.name == "direct");
    let direct = direct.map(|(_, (tally, _))| tally.rate());
    let seconds = |(tally, usage): &(Tally, Usage)| usage.cpu_seconds() / tally.requests as f64;
    let others = targets.iter().zip(&sums).filter(|(target, _)| ["haproxy", "envoy"].contains(&target.name));
    let cheaper = others.map(|(_, sum)| seconds(sum)).min_by(f64::total_cmp);
    for (target, sum @ (tally, usage)) in targets.iter().zip(&sums) {
        let of_direct = direct.map_or_else(String::new, |direct| format!("{:.2}", tally.rate() / direct));
        print!("{:<24} {:<8} {:>11.1} {of_direct:>9}", case.name, target.name, tally.rate());
        if let Some(process) = &target.process {
            let gib = (tally.requests * case.bytes) as f64 / GIB as f64;
            let thousands = tally.requests as f64 / 1000.0;
            let of_cheaper =
                cheaper.map_or_else(String::new, |cheaper| format!("{:.2}", seconds(sum) / cheaper));
            print!(
                " {:>9.3} {:>10.4} {of_cheaper:>10} {:>5.0}% {:>8.1}",
                usage.cpu_seconds() / gib,
                usage.cpu_seconds() / thousands,
                usage.system_seconds / usage.cpu_seconds() * 100.0,
                process.peak_bytes() as f64 / MIB as f64,
            );
        }
        println!();
    }
}

/// How long the small downloads of one miner take, alone and beside another one who downloads large objects
/// on many connections: where nothing is shaped, and under a ceiling that all share fairly.
fn beside_a_neighbour(dir: &Path, store: u16, duration: Duration) {
    let small = Case::new("get-1kib", Form::Get, KIB, 1);
    let large = Case::new("get-64mib", Form::Get, 64 * MIB, 32);
    println!("{:<24} {:>10} {:>10} {:>10}", "small downloads", "requests", "p50 ms", "p99 ms");
    for (name, of_server) in [("no ceiling", ""), ("100 MB/s shared", "bytes_out_per_second = 100000000")] {
        let server = subgate::start(Path::new(env!("CARGO_BIN_EXE_subgate")), dir, store, of_server);
        let shot = Client::log_in(server.port, subgate::MINER).shot(&small);
        let report = |what: &str| {
            let mut latencies = load::latencies(server.port, &shot, duration);
            latencies.sort_unstable();
            let percentile = |hundredths: usize| {
                let at = latencies.len().saturating_sub(1) * hundredths / 100;
                latencies.get(at).map_or(0.0, Duration::as_secs_f64) * 1000.0
            };
            let (p50, p99) = (percentile(50), percentile(99));
            println!("{:<24} {:>10} {p50:>10.2} {p99:>10.2}", format!("{name}, {what}"), latencies.len());
        };
        report("quiet");
        let noise = Client::log_in(server.port, subgate::NEIGHBOUR).shot(&large);
        std::thread::scope(|scope| {
            let port = server.port;
            scope.spawn(move || load::run(port, &Transport::Plain, &noise, large.connections, duration * 2));
            std::thread::sleep(duration / 2);
            report("noisy");
        });
    }
}

/// Whatever goes through it at once, quick or slow, Subgate stays small.
fn memory(server: &Process, client: &Client) {
    memory_of_many(server, client);
    memory_of_large(server, client);
}

/// 1,000 downloads and as many uploads of 64 MiB at once, by clients that are slow and by clients that are
/// not.
fn memory_of_many(server: &Process, client: &Client) {
    const CONNECTIONS: usize = 1000;
    const SLOW: Duration = Duration::from_secs(20);
    let check = |what: &str| {
        let peak_bytes = server.peak_bytes();
        println!(
            "{CONNECTIONS} of 64 MiB at once, {what}: peak {:.1} MiB (bound {} MiB)",
            peak_bytes as f64 / MIB as f64,
            MEMORY_BYTES_MAX / MIB
        );
        assert!(peak_bytes <= MEMORY_BYTES_MAX, "too much memory");
    };
    for form in [Form::Get, Form::Unsigned] {
        let shot = client.shot(&Case::new("64mib", form, 64 * MIB, CONNECTIONS));
        server.forget_peak();
        load::run_slowly(client.port, &shot, CONNECTIONS, SLOW);
        check(&format!("{form:?} by slow clients"));
        server.forget_peak();
        let tally = load::run(client.port, &Transport::Plain, &shot, CONNECTIONS, Duration::ZERO);
        assert_eq!(tally.requests, CONNECTIONS as u64);
        check(&format!("{form:?} by quick clients"));
    }
}

/// 64 uploads of 1 GiB at once into the sink.
fn memory_of_large(server: &Process, client: &Client) {
    const UPLOADS: usize = 64;
    for form in [Form::Unsigned, Form::Sha256] {
        let case = Case::new("put-1gib", form, GIB, UPLOADS);
        let shot = client.shot(&case);
        server.forget_peak();
        let before = server.usage();
        let tally = load::run(client.port, &Transport::Plain, &shot, UPLOADS, Duration::ZERO);
        let usage = server.usage().since(&before);
        assert_eq!(tally.requests, UPLOADS as u64);
        println!(
            "{UPLOADS} uploads of 1 GiB at once, {form:?}: peak {:.1} MiB (bound {} MiB), {:.3} CPU s/GiB",
            server.peak_bytes() as f64 / MIB as f64,
            MEMORY_BYTES_MAX / MIB,
            usage.cpu_seconds() / UPLOADS as f64,
        );
    }
}
