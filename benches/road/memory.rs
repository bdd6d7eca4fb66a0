//! The largest resident memory, whatever goes through at once.

use std::{path::Path, time::Duration};

use crate::{
    cases::{Case, Form, GIB, MIB},
    load,
    process::Process,
    subgate::{self, Client},
    transport::Transport,
};

/// What the memory of Subgate is bounded to, whatever goes through it.
const MEMORY_BYTES_MAX: u64 = 200 * MIB;

/// Whatever goes through it at once, quick or slow, Subgate stays small.
pub(crate) fn run(dir: &Path, store: u16) {
    let server = subgate::start(subgate::program(), dir, store, "");
    let client = Client::log_in(server.port, subgate::MINER);
    of_many(&server.process, &client);
    of_large(&server.process, &client);
}

/// 1,000 downloads and as many uploads of 64 MiB at once, by clients that are slow and by clients that are
/// not.
fn of_many(server: &Process, client: &Client) {
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
        load::run_slowly(client.port, &Transport::Plain, &shot, CONNECTIONS, SLOW);
        check(&format!("{form:?} by slow clients"));
        server.forget_peak();
        let tally = load::run(client.port, &Transport::Plain, &shot, CONNECTIONS, Duration::ZERO);
        assert_eq!(tally.requests, CONNECTIONS as u64);
        check(&format!("{form:?} by quick clients"));
    }
}

/// 64 uploads of 1 GiB at once into the sink.
fn of_large(server: &Process, client: &Client) {
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
