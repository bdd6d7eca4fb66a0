//! What Subgate adds to the time of a small request, at half of what it can carry.
//!
//! Requests arrive by a clock and not when the one before is answered: so many each second, evenly, half of
//! what as many connections reached through Subgate when each sent as quickly as it could. The same rate goes
//! to the store directly. A request that finds all connections busy waits for one, and that time counts: it
//! is measured from the moment in which it was to be sent. The last two columns leave that time out: they
//! count from the moment in which it was sent. What lies between is the queue behind a request that took
//! long, which a server at half of what it can carry works off as slowly as it came to be.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, mpsc};

use crate::{
    cases::{Case, Form, KIB},
    http::Input,
    load::{self, Shot},
    options::Options,
    subgate::{self, Client},
    transport::Transport,
};

const CONNECTIONS: [usize; 3] = [1, 16, 256];

/// When a request was to be sent.
type Due = Instant;

/// Measures each number of connections, directly and through Subgate in turn.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    let duration = options.duration();
    let server = subgate::start(options.only_program(), dir, store, "");
    let client = Client::log_in(server.port, subgate::MINER);
    println!(
        "{:<12} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}",
        "at half load",
        "connections",
        "requests/s",
        "direct p50",
        "added p50",
        "direct p99",
        "added p99",
        "p50 ms",
        "p99 ms",
        "direct sent",
        "sent p99"
    );
    for (name, form) in [("get-1kib", Form::Get), ("put-1kib", Form::Unsigned)] {
        for connections in CONNECTIONS {
            let shot = client.shot(&Case::new(name, form, KIB, connections));
            // The first time warms.
            load::run(server.port, &Transport::Plain, &shot, connections, duration / 4);
            let reached = load::run(server.port, &Transport::Plain, &shot, connections, duration).rate();
            let rate = reached / 2.0;
            let (mut direct, mut through) = (Latencies::default(), Latencies::default());
            for _ in 0..options.rounds {
                direct.extend(latencies(store, &shot, connections, rate, duration));
                through.extend(latencies(server.port, &shot, connections, rate, duration));
            }
            let [direct_p50, direct_p99] = percentiles(direct.since_due);
            let [p50, p99] = percentiles(through.since_due);
            let [_, direct_sent] = percentiles(direct.since_sent);
            let [_, sent] = percentiles(through.since_sent);
            println!(
                "{name:<12} {connections:>11} {rate:>11.0} {direct_p50:>11.3} {:>11.3} {direct_p99:>11.3} \
                 {:>11.3} {p50:>11.3} {p99:>11.3} {direct_sent:>11.3} {sent:>11.3}",
                p50 - direct_p50,
                p99 - direct_p99,
            );
        }
    }
}

/// In milliseconds, what half of them and what all but one of a hundred stay within.
fn percentiles(mut latencies: Vec<Duration>) -> [f64; 2] {
    latencies.sort_unstable();
    [50, 99].map(|percent| {
        let at = latencies.len().saturating_sub(1) * percent / 100;
        latencies.get(at).map_or(0.0, Duration::as_secs_f64) * 1000.0
    })
}

/// How long requests took, one of each for each request.
#[derive(Default)]
struct Latencies {
    since_due: Vec<Duration>,
    since_sent: Vec<Duration>,
}

impl Latencies {
    fn extend(&mut self, further: Self) {
        self.since_due.extend(further.since_due);
        self.since_sent.extend(further.since_sent);
    }
}

/// How long requests take that arrive `rate` times a second.
fn latencies(port: u16, shot: &Shot, connections: usize, rate: f64, duration: Duration) -> Latencies {
    let request = shot.pieces.concat();
    let count = (rate * duration.as_secs_f64()).max(1.0);
    let (sender, receiver) = mpsc::unbounded_channel::<Due>();
    let receiver = Arc::new(Mutex::new(receiver));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut ready = Vec::new();
        for _ in 0..connections {
            ready.push(Transport::Plain.connect(port).await);
        }
        let running: Vec<_> = ready
            .into_iter()
            .map(|mut stream| {
                let (request, receiver) = (request.clone(), Arc::clone(&receiver));
                tokio::spawn(async move {
                    let mut input = Input::new();
                    let mut latencies = Latencies::default();
                    loop {
                        let next = receiver.lock().await.recv().await;
                        let Some(due) = next else { return latencies };
                        let sent = Instant::now();
                        tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.unwrap();
                        let head = input.head(&mut stream).await.unwrap().expect("an answer");
                        assert!(head.first_line.contains(" 200 "), "{}", head.first_line);
                        input.swallow(&mut stream, head.content_bytes).await.unwrap();
                        latencies.since_due.push(due.elapsed());
                        latencies.since_sent.push(sent.elapsed());
                    }
                })
            })
            .collect();
        // A thread of its own: the runtime's clock counts in milliseconds, the system's in far less.
        let arriving = std::thread::spawn(move || {
            let began = Instant::now();
            let mut number = 0.0;
            while number < count {
                let due = began + Duration::from_secs_f64(number / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                sender.send(due).unwrap();
                number += 1.0;
            }
        });
        let mut latencies = Latencies::default();
        for connection in running {
            latencies.extend(connection.await.unwrap());
        }
        arriving.join().unwrap();
        latencies
    })
}
