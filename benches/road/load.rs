//! The load client: a number of connections, each sending one and the same signed request again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    http::{Head, Input},
    transport::{Stream, Transport},
};

/// One request, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    /// Head and body; a long body is one piece many times over.
    pub(crate) pieces: Vec<Bytes>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    seconds: f64,
}

impl Tally {
    pub(crate) fn new(requests: u64, duration: Duration) -> Self {
        Self { requests, seconds: duration.as_secs_f64() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.seconds += other.seconds;
    }

    /// Requests in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Sends for `duration`, and at least once on each connection; whatever has begun is ended and counted.
pub(crate) fn run(
    port: u16,
    transport: &Transport,
    shot: &Shot,
    connections: usize,
    duration: Duration,
) -> Tally {
    let started = Instant::now();
    let until = started + duration;
    let shot = Arc::new(shot.clone());
    let requests = runtime().block_on(async {
        let one = || connection(port, transport.clone(), Arc::clone(&shot), until);
        let running: Vec<_> = (0..connections).map(|_| tokio::spawn(one())).collect();
        let mut requests = 0;
        for connection in running {
            requests += connection.await.unwrap();
        }
        requests
    });
    Tally::new(requests, started.elapsed())
}

/// How long each of the requests takes that are sent one after another for `duration`.
pub(crate) fn latencies(port: u16, transport: &Transport, shot: &Shot, duration: Duration) -> Vec<Duration> {
    let until = Instant::now() + duration;
    runtime().block_on(async {
        let mut stream = transport.connect(port).await;
        let mut input = Input::new();
        let mut latencies = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            let head = send(&mut stream, &mut input, shot).await;
            assert!(head.first_line.contains(" 200 "), "{}", failure(&mut stream, &mut input, &head).await);
            input.swallow(&mut stream, head.content_bytes).await.unwrap();
            latencies.push(began.elapsed());
        }
        latencies
    })
}

/// Begins as many requests, moves a little of each every second for `duration`, and breaks them off.
pub(crate) fn run_slowly(
    port: u16,
    transport: &Transport,
    shot: &Shot,
    connections: usize,
    duration: Duration,
) {
    let until = Instant::now() + duration;
    let shot = Arc::new(shot.clone());
    runtime().block_on(async {
        let one = || slow_connection(port, transport.clone(), Arc::clone(&shot), until);
        let running: Vec<_> = (0..connections).map(|_| tokio::spawn(one())).collect();
        for connection in running {
            connection.await.unwrap();
        }
    });
}

async fn slow_connection(port: u16, transport: Transport, shot: Arc<Shot>, until: Instant) {
    /// Twice what Subgate asks of its clients each second.
    const STEP_BYTES: usize = 32 * 1024;
    let mut stream = transport.connect(port).await;
    let mut steps = shot.pieces.iter().flat_map(|piece| piece.chunks(STEP_BYTES));
    let mut room = vec![0; STEP_BYTES];
    while Instant::now() < until {
        match steps.next() {
            Some(step) => {
                stream.write_all(step).await.unwrap();
                // TLS may keep a part of what it was given.
                stream.flush().await.unwrap();
            }
            None => {
                let read = stream.read(&mut room).await.unwrap();
                let text = String::from_utf8_lossy(room.get(..read.min(1000)).unwrap_or_default());
                assert!(read > 0, "the answer breaks off");
                assert!(!text.starts_with("HTTP/1.1 ") || text.starts_with("HTTP/1.1 200 "), "{text}");
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn connection(port: u16, transport: Transport, shot: Arc<Shot>, until: Instant) -> u64 {
    let mut stream = transport.connect(port).await;
    let mut input = Input::new();
    let mut requests = 0;
    loop {
        let head = send(&mut stream, &mut input, &shot).await;
        assert!(head.first_line.contains(" 200 "), "{}", failure(&mut stream, &mut input, &head).await);
        input.swallow(&mut stream, head.content_bytes).await.unwrap();
        requests += 1;
        if Instant::now() >= until {
            return requests;
        }
    }
}

/// Sends one request on a connection of its own; gives the content of the answer.
pub(crate) fn once(port: u16, transport: &Transport, shot: &Shot) -> Vec<u8> {
    runtime().block_on(async {
        let mut stream = transport.connect(port).await;
        let mut input = Input::new();
        let head = send(&mut stream, &mut input, shot).await;
        assert!(head.first_line.contains(" 200 "), "{}", failure(&mut stream, &mut input, &head).await);
        input.content(&mut stream, head.content_bytes).await.unwrap()
    })
}

async fn send(stream: &mut Stream, input: &mut Input, shot: &Shot) -> Head {
    for piece in &shot.pieces {
        if stream.write_all(piece).await.is_err() {
            // The answer that came instead says why.
            break;
        }
    }
    // TLS may keep a part of what it was given.
    let _ = stream.flush().await;
    input.head(stream).await.unwrap().expect("an answer")
}

async fn failure(stream: &mut Stream, input: &mut Input, head: &Head) -> String {
    let content = input.content(stream, head.content_bytes).await.unwrap_or_default();
    format!("{}: {}", head.first_line, String::from_utf8_lossy(&content))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
