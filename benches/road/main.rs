//! The road end to end: what a request and a GiB cost through Subgate, beside nothing and beside bare
//! proxies.
//!
//! ```text
//! cargo bench --bench road                       all cases, about ten minutes
//! cargo bench --bench road -- --quick            does everything run
//! cargo bench --bench road -- --case get-64mib --proxy subgate --proxy haproxy --seconds 5
//! cargo bench --bench road -- --report           writes docs/performance.md and its picture anew
//! cargo bench --bench road -- --memory           peak memory: 1,000 downloads of 64 MiB at once and as many
//!                                                uploads, by slow clients and quick ones, in the clear and
//!                                                over TLS; 64 uploads of 1 GiB. With `--report` too,
//!                                                or `--case TEXT` for the rows whose name has the text
//! cargo bench --bench road -- --neighbour        how long small downloads take beside a miner who takes all
//! cargo bench --bench road -- --idle             memory of 1,000 connections that have asked once and wait
//! cargo bench --bench road -- --latency          what is added to the time of small requests at half load
//! cargo bench --bench road -- --hotkeys          4,096 hotkeys at work beside one
//! cargo bench --bench road -- --refusals         what refused requests cost beside a served one
//! cargo bench --bench road -- --program FILE     a build that is there, such as what was packed
//! cargo bench --bench road -- --before FILE      beside another build, to see what a change is worth
//! ```
//!
//! One load client (this process) sends to one bare store (`peer`: swallows PUTs, answers GETs out of one
//! static buffer, checks nothing), directly and through each proxy. Store, Subgate and every proxy are
//! processes of their own, so that CPU time and memory are each one's own. The proxies are configured as bare
//! reverse proxies with two workers, no buffering to disk and large buffers; Subgate writes its access log to
//! a file, verifies every signature, asks its registry and its policy, and signs anew. All take turns within
//! one run, case by case, for machines differ and have moods: **compare rows of one run, never runs**.
//! Proxies that are not installed are left out; they are looked for in `SUBGATE_BENCH_BIN`,
//! `target/interop/bin` and `PATH`.
//!
//! The other proxies have a row without an access log, and one with a line for each request to a file, of the
//! fields that Subgate's lines have for somebody who knows nothing of S3:
//! - `nginx+log` writes in batches (`buffer=64k flush=50ms`). It is the row to be held against: the promise
//!   is that of Subgate's own log, which gathers lines for 40 ms, and no other log of nginx's costs less.
//!   `nginx+line` is what distributions ship, one write for each line; in the cases of small bodies alone.
//! - `haproxy+log` has no other way into a file than one write for each line; `envoy+log` writes every 50 ms.
//! - `haproxy-splice` is haproxy without a log that leaves bodies in the kernel; for large bodies in the
//!   clear.
//!
//! The columns, and what all this does not show, are explained in `docs/performance.md`.
//!
//! Bodies are `UNSIGNED-PAYLOAD` unless the case says otherwise; the other PUT cases go through Subgate
//! alone. For what they check there is a row `hash alone`: the hash library by itself, in this process, in
//! turn with the others. `of hash` is what the checked PUT costs above the plain one of this run, in parts of
//! that; so the plain case has to be among those that are asked for (`--case put-64mib` asks for all of
//! them).
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
mod hashes;
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
mod report;
mod reporting;
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
        neighbour::run(&options, dir.path(), peer.port);
    } else if options.memory {
        memory::run(&options, dir.path(), peer.port);
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
