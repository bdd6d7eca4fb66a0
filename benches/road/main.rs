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
//! cargo bench --bench road -- --idle             memory of 1,000 connections that have asked once and wait
//! cargo bench --bench road -- --latency          what is added to the time of small requests at half load
//! cargo bench --bench road -- --hotkeys          4,096 hotkeys at work beside one
//! cargo bench --bench road -- --refusals         what refused requests cost beside a served one
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

mod cases;
mod hotkeys;
mod http;
mod idle;
mod latency;
mod load;
mod memory;
mod neighbour;
mod options;
mod peer;
mod process;
mod proxies;
mod refusals;
mod road;
mod round;
mod subgate;
mod transport;

use crate::{options::Options, process::Process};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some(peer::ROLE) {
        return peer::run();
    }
    let options = Options::read();
    let dir = tempfile::tempdir().unwrap();
    let peer = Process::own(peer::ROLE).with_port();
    if options.neighbour {
        neighbour::run(dir.path(), peer.port, options.duration());
    } else if options.memory {
        memory::run(dir.path(), peer.port);
    } else if options.idle {
        idle::run(&options, dir.path(), peer.port);
    } else if options.latency {
        latency::run(&options, dir.path(), peer.port);
    } else if options.hotkeys {
        hotkeys::run(&options, dir.path(), peer.port);
    } else if options.refusals {
        refusals::run(&options, dir.path(), peer.port);
    } else {
        road::run(&options, dir.path(), peer.port);
    }
}
