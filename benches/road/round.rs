//! Several requests in turn: whichever connection is free sends the next one of a list, and after the last
//! the first again. Connections are kept, so a server that closes one fails the bench.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use crate::{
    http::Input,
    load::Shot,
    process::{Process, Usage},
    transport::{Stream, Transport},
};

/// Enough to keep everyone busy.
const CONNECTIONS: usize = 64;

/// Small requests, and how each of them is answered.
pub(crate) struct Round {
    requests: Vec<Bytes>,
    status: u16,
    next: AtomicUsize,
}

/// What came of some of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    requests: usize,
    usage: Usage,
}

impl Cost {
    /// CPU time of the server for 1000 requests.
    pub(crate) fn seconds_of_1000(&self) -> f64 {
        self.usage.cpu_seconds() / self.requests as f64 * 1000.0
    }
}

impl Round {
    pub(crate) fn new(shots: impl IntoIterator<Item = Shot>, status: u16) -> Arc<Self> {
        let requests = shots.into_iter().map(|shot| shot.pieces.concat().into()).collect();
        Arc::new(Self { requests, status, next: AtomicUsize::new(0) })
    }

    /// Sends each of them once, so that the server has seen all of them.
    pub(crate) fn warm(self: &Arc<Self>, port: u16) {
        self.run(port, Duration::ZERO, self.requests.len());
    }

    /// Sends them for so long, and adds what that costs `server`.
    pub(crate) fn add_cost(
        self: &Arc<Self>,
        port: u16,
        server: &Process,
        duration: Duration,
        cost: &mut Cost,
    ) {
        let before = server.usage();
        cost.requests += self.run(port, duration, 0);
        cost.usage.add(&server.usage().since(&before));
    }

    /// Sends for so long, and so many at least; gives how many they were.
    fn run(self: &Arc<Self>, port: u16, duration: Duration, requests_min: usize) -> usize {
        let until = Instant::now() + duration;
        let begun_at = self.next.load(Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let one = || tokio::spawn(Arc::clone(self).connection(port, until, begun_at + requests_min));
            let running: Vec<_> = (0..CONNECTIONS).map(|_| one()).collect();
            for connection in running {
                connection.await.unwrap();
            }
        });
        self.next.load(Ordering::Relaxed) - begun_at
    }

    async fn connection(self: Arc<Self>, port: u16, until: Instant, next_min: usize) {
        let mut stream = Transport::Plain.connect(port).await;
        let mut input = Input::new();
        while Instant::now() < until || self.next.load(Ordering::Relaxed) < next_min {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len();
            self.ask(&mut stream, &mut input, self.requests.get(at).unwrap()).await;
        }
    }

    async fn ask(&self, stream: &mut Stream, input: &mut Input, request: &Bytes) {
        stream.write_all(request).await.expect("a connection that is kept");
        let head = input.head(stream).await.unwrap().expect("an answer on a connection that is kept");
        let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        if status != Some(self.status) {
            let content = input.content(stream, head.content_bytes).await.unwrap_or_default();
            panic!("{}, not {}: {}", head.first_line, self.status, String::from_utf8_lossy(&content));
        }
        input.swallow(stream, head.content_bytes).await.unwrap();
    }
}
