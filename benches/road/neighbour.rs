//! What one miner's transfers do to another's.

use std::{path::Path, time::Duration};

use crate::{
    cases::{Case, Form, KIB, MIB},
    load,
    options::Options,
    subgate::{self, Client},
    transport::Transport,
};

/// How long the small downloads of one miner take, alone and beside another one who downloads large objects
/// on many connections: where nothing is shaped, and under a ceiling that all share fairly.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    let duration = options.duration();
    let small = Case::new("get-1kib", Form::Get, KIB, 1);
    let large = Case::new("get-64mib", Form::Get, 64 * MIB, 32);
    println!("{:<24} {:>10} {:>10} {:>10}", "small downloads", "requests", "p50 ms", "p99 ms");
    for (name, of_server) in [("no ceiling", ""), ("100 MB/s shared", "bytes_out_per_second = 100000000")] {
        let server = subgate::start(options.program(), dir, store, of_server);
        let shot = Client::log_in(server.port, subgate::MINER).shot(&small);
        let report = |what: &str| {
            let mut latencies = load::latencies(server.port, &Transport::Plain, &shot, duration);
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
