//! The largest resident memory, whatever goes through at once.

use std::{fmt, path::Path, time::Duration};

use crate::{
    cases::{Case, Form, GIB, MIB, Over},
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
    let is_whole = options.cases.is_empty();
    assert!(is_whole || options.report.is_none(), "all rows are written down or none: not with --case");
    let mut rows = rows();
    rows.retain(|row| options.wants(&row.to_string()));
    assert!(!rows.is_empty(), "no row has such a name: {:?}", options.cases);
    reporting::check(options, BLOCK);
    let identity = Identity::make(dir);
    let start = |of_server: &str| -> Listening {
        let admin = format!("admin = \"127.0.0.1:{}\"", free_port());
        subgate::start_with(options.only_program(), dir, store, &admin, of_server)
    };
    let (plain, tls) = (start(""), start(&subgate::with_tls(&identity)));
    let amount = if options.quick { QUICK } else { WHOLE };
    // A session counts at both, for they share its key.
    let client = Client::log_in(plain.port, subgate::MINER);
    let table = Table::new(1, ["what", "at once", "peak MiB", "bound MiB"]);
    let mut peaks = Peaks { table, beyond: Vec::new() };
    println!("{}", peaks.table.head());
    for row in rows {
        let (server, transport) = match row.over {
            Over::Tcp => (&plain, &Transport::Plain),
            Over::Tls => (&tls, &identity.transport),
        };
        let at_once = go_through(&row, &amount, &client, server, transport);
        peaks.take(&server.process, at_once, row.to_string());
    }
    if let Some(dir) = &options.report {
        let run = reporting::of_this_run(options, Vec::new());
        reporting::write_block(dir, BLOCK, &run.of(&peaks.table));
    }
    assert!(peaks.beyond.is_empty(), "beyond the bound: {:?}", peaks.beyond);
}

/// What goes through at once.
struct Row {
    form: Form,
    over: Over,
    clients: Clients,
}

/// Who sends or fetches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// A thousand with 64 MiB each, who move a little every second.
    Slow,
    /// As many, who move all they can.
    Quick,
    /// Few with the largest bodies.
    Large,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.form == Form::Get { "GET of " } else { "PUT of " })?;
        f.write_str(if self.clients == Clients::Large { "1 GiB" } else { "64 MiB" })?;
        f.write_str(if self.over == Over::Tls { " over TLS" } else { "" })?;
        f.write_str(match (self.clients, self.form) {
            (Clients::Slow, _) => ", slow clients",
            (Clients::Quick, _) => ", quick clients",
            (Clients::Large, Form::Sha256) => ", sha256 checked",
            (Clients::Large, _) => "",
        })
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for over in [Over::Tcp, Over::Tls] {
        for form in [Form::Get, Form::Unsigned] {
            rows.extend([Clients::Slow, Clients::Quick].map(|clients| Row { form, over, clients }));
        }
    }
    let large = |form, over| Row { form, over, clients: Clients::Large };
    rows.extend([large(Form::Unsigned, Over::Tcp), large(Form::Sha256, Over::Tcp)]);
    rows.push(large(Form::Unsigned, Over::Tls));
    rows
}

/// Has the bodies of a row go through, after the peak of the server was forgotten; how many at once.
fn go_through(
    row: &Row,
    amount: &Amount,
    client: &Client,
    server: &Listening,
    transport: &Transport,
) -> usize {
    let (name, bytes, at_once) = match row.clients {
        Clients::Slow | Clients::Quick => ("64mib", 64 * MIB, amount.connections),
        Clients::Large => ("1gib", GIB, amount.large_uploads),
    };
    let shot = client.shot(&Case::new(name, row.form, bytes, at_once));
    server.process.forget_peak();
    match row.clients {
        Clients::Slow => load::run_slowly(server.port, transport, &shot, at_once, amount.slow),
        Clients::Quick | Clients::Large => {
            let tally = load::run(server.port, transport, &shot, at_once, Duration::ZERO);
            assert_eq!(tally.requests, at_once as u64);
        }
    }
    at_once
}
