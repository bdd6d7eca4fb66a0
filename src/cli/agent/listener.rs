//! The sockets of the agent: few connections, short ones, each for one request; and the orderly end. \[IO\]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::Semaphore};

use super::{
    answer::{self, Answer},
    entry::Entry,
    keeper::Keeper,
};
use crate::serve::seldom::Seldom;

/// Connections at one time. Others wait in the system's queue.
const CONNECTIONS_MAX: usize = 64;

/// The head of a request: clients send half a kilobyte.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The head of a request must have arrived within this time.
const HEAD_TIME_MAX: Duration = Duration::from_secs(3);

/// A connection ends after this time, whatever it does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(6);

/// What is under way when the agent is stopped gets so long.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// After a failure to accept (too many open files), the listener rests so long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Refusals of this time share one line of the log, so that no program of this machine fills it.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(10);

/// What each connection needs.
struct Desk {
    entry: Entry,
    keeper: Arc<Keeper>,
    refusals: Seldom,
}

/// Answers whoever `entry` lets in with what `keeper` holds, until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    entry: Entry,
    keeper: Arc<Keeper>,
    stop: impl Future<Output = ()>,
) {
    let desk = Arc::new(Desk { entry, keeper, refusals: Seldom::every(REFUSALS_INTERVAL) });
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let under_way = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        let desk = Arc::clone(&desk);
        let service = service_fn(move |request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(desk.respond(request, peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let connection = under_way.watch(connection);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(END_TIME_MAX, under_way.shutdown()).await;
}

impl Desk {
    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let (head, body) = request.into_parts();
        if let Err(refused) = self.entry.check(&head) {
            if let Some(requests) = self.refusals.count(Instant::now()) {
                tracing::warn!(%peer, ?refused, requests, "a request is refused");
            }
            return answer::refusal(refused);
        }
        if !body.is_end_stream() {
            return answer::body_refusal();
        }
        match self.keeper.credentials().await {
            Ok(credentials) => answer::session(&credentials),
            Err(reason) => answer::no_session(&reason),
        }
    }
}
