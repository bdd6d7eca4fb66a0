//! The table: each case, through each proxy in turn.

use std::{path::Path, time::Duration};

use crate::{
    cases::{CASES, Case, GIB, MIB, Over},
    load::{self, Tally},
    options::Options,
    process::{Process, Usage},
    proxies::{self, Target},
    subgate::{self, Client},
    transport::{Identity, Transport},
};

/// Starts everybody, and measures the cases that are wanted.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    let server = subgate::start(subgate::program(), dir, store, "");
    let client = Client::log_in(server.port, subgate::MINER);
    let identity = Identity::make(dir);
    let plain = |name, port, process| Target { name, port, transport: Transport::Plain, process };
    let mut targets = vec![
        plain("direct", store, None),
        plain("subgate", server.port, Some(server.process)),
        over_tls("subgate", subgate::program(), dir, store, &identity),
    ];
    if let Some(before) = &options.before {
        let server = subgate::start(before, dir, store, "");
        targets.push(plain("before", server.port, Some(server.process)));
        if options.cases.iter().any(|text| text.contains("tls")) {
            targets.push(over_tls("before", before, dir, store, &identity));
        }
    }
    targets.extend(proxies::start_installed(dir, store, None));
    targets.extend(proxies::start_installed(dir, store, Some(&identity)));
    targets.retain(|target| options.wants_proxy(target.name));

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
    for case in CASES.iter().filter(|case| options.wants(case)) {
        measure(case, &targets, &client, options);
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
            let duration = options.duration();
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
