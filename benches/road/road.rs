//! The table: each case, through each proxy in turn.

use std::{path::Path, time::Duration};

use crate::{
    cases::{CASES, Case, GIB, MIB, Over},
    hashes,
    load::{self, Tally},
    options::Options,
    process::{Listening, Process, Usage},
    proxies::{self, Suits, Target},
    report::{
        figures::{self, Figure, HASH, NGINX, Row, SUBGATE},
        page,
    },
    reporting,
    subgate::{self, Client},
    transport::{Identity, Transport},
};

/// The store by itself.
const DIRECT: &str = "direct";
/// Another build of Subgate.
const BEFORE: &str = "before";

/// The block of the report.
const BLOCK: &str = "road";

/// Starts everybody, measures the cases that are wanted, and writes down what came out.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    reporting::check(options, BLOCK);
    let server = subgate::start(options.program(), dir, store, "");
    let client = Client::log_in(server.port, subgate::MINER);
    let targets = targets(options, dir, store, server);
    let table = figures::all_figures();
    println!("{}", table.head());
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        let of_case = measure(case, &targets, &client, options, &rows);
        of_case.iter().for_each(|row| println!("{}", table.line(&row.cells())));
        rows.extend(of_case);
    }
    if let Some(dir) = &options.report {
        let run = reporting::of_this_run(options, proxies::versions(&targets));
        reporting::write(dir, page::PICTURE, &run.picture(&rows));
        reporting::write_block(dir, BLOCK, &run.road(&rows));
    }
}

/// Everybody to send to who is wanted.
fn targets(options: &Options, dir: &Path, store: u16, server: Listening) -> Vec<Target> {
    let identity = Identity::make(dir);
    let plain =
        |name, port, process| Target { name, port, transport: Transport::Plain, process, suits: Suits::All };
    let mut targets = vec![
        plain(DIRECT, store, None),
        plain(SUBGATE, server.port, Some(server.process)),
        over_tls(SUBGATE, options.program(), dir, store, &identity),
    ];
    if let Some(before) = &options.before {
        let server = subgate::start(before, dir, store, "");
        targets.push(plain(BEFORE, server.port, Some(server.process)));
        if options.cases.iter().any(|text| text.contains("tls")) {
            targets.push(over_tls(BEFORE, before, dir, store, &identity));
        }
    }
    targets.retain(|target| options.wants_proxy(target.name));
    for identity in [None, Some(&identity)] {
        let others = proxies::start_installed(dir, store, identity, |name| options.wants_proxy(name));
        targets.extend(others);
    }
    targets
}

/// A build of Subgate that ends TLS by itself.
fn over_tls(name: &'static str, program: &Path, dir: &Path, store: u16, identity: &Identity) -> Target {
    let server = subgate::start(program, dir, store, &subgate::with_tls(identity));
    let transport = identity.transport.clone();
    Target { name, port: server.port, transport, process: Some(server.process), suits: Suits::All }
}

/// One case, all targets in turn, `rounds` times over; `earlier` cases are what a checked one is told by.
fn measure(case: &Case, targets: &[Target], client: &Client, options: &Options, earlier: &[Row]) -> Vec<Row> {
    let shot = client.shot(case);
    let targets: Vec<&Target> = targets
        .iter()
        .filter(|target| match target.transport {
            Transport::Plain => case.over == Over::Tcp,
            Transport::Tls(_) => case.over == Over::Tls,
        })
        .filter(|target| case.is_for_all() || [SUBGATE, BEFORE].contains(&target.name))
        .filter(|target| target.suits.case(case))
        .collect();
    let mut sums = vec![(Tally::default(), Usage::default()); targets.len()];
    let mut of_hash = None;
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
        if let Some((bodies, own)) = hashes::alone(case, options.duration()) {
            let (tally, usage) = of_hash.get_or_insert_with(<(Tally, Usage)>::default);
            tally.add(&bodies);
            usage.add(&own);
        }
    }
    let mut rows: Vec<Row> = targets
        .iter()
        .zip(&sums)
        .map(|(target, (tally, usage))| {
            let mut row = Row::new(case.name, target.name);
            row.set(Figure::PerSecond, Some(tally.rate()));
            if let Some(process) = &target.process {
                set_cost(&mut row, case, tally, usage);
                row.set(Figure::System, Some(usage.system_seconds / usage.cpu_seconds() * 100.0));
                row.set(Figure::Peak, Some(process.peak_bytes() as f64 / MIB as f64));
            }
            row
        })
        .collect();
    rows.extend(of_hash.map(|(tally, usage)| {
        let mut row = Row::new(case.name, HASH);
        set_cost(&mut row, case, &tally, &usage);
        row
    }));
    compare(&mut rows, case, earlier);
    rows
}

/// What the processor took, in the unit that counts.
fn set_cost(row: &mut Row, case: &Case, tally: &Tally, usage: &Usage) {
    let units = match Figure::that_counts(case.bytes) {
        Figure::PerThousand => tally.requests as f64 / 1000.0,
        _ => (tally.requests * case.bytes) as f64 / GIB as f64,
    };
    row.set(Figure::that_counts(case.bytes), Some(usage.cpu_seconds() / units));
}

/// Tells the rows of a case in parts of each other, and of earlier cases.
fn compare(rows: &mut [Row], case: &Case, earlier: &[Row]) {
    let cost = |row: &Row| row.cost().map(|(_, value)| value);
    let cost_of = |rows: &[Row], name: &str| rows.iter().find(|row| row.proxy == name).and_then(cost);
    let direct = rows.iter().find(|row| row.proxy == DIRECT).and_then(|row| row.get(Figure::PerSecond));
    let (nginx, hash) = (cost_of(rows, NGINX), cost_of(rows, HASH));
    let cheaper = ["haproxy", "envoy"].into_iter().filter_map(|name| cost_of(rows, name));
    let cheaper = cheaper.min_by(f64::total_cmp);
    for row in rows.iter_mut().filter(|row| row.proxy != HASH) {
        let own = cost(row);
        let of = |whole: Option<f64>| Some(own? / whole?);
        let plain = case.unchecked().and_then(|plain| {
            earlier.iter().find(|other| other.case == plain.name && other.proxy == row.proxy).and_then(cost)
        });
        let figures = [
            (Figure::OfDirect, direct.and_then(|direct| Some(row.get(Figure::PerSecond)? / direct))),
            (Figure::OfNginx, of(nginx)),
            (Figure::OfCheaper, of(cheaper)),
            (Figure::OfHash, plain.and_then(|plain| Some((own? - plain) / hash?))),
        ];
        figures.into_iter().for_each(|(figure, value)| row.set(figure, value));
    }
}
