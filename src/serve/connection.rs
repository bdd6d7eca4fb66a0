//! One connection of a client, from its first byte until nobody asks anything on it any more. \[IO\]
//!
//! Invariants: a connection ends within bounded time once nothing is asked on it or its answers are not taken
//! (P55, P56), and what ends it is what its own task sees.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use http::{Response, Version};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::socket::Socket;
use crate::{
    body::{
        pace::Pace,
        progress::{ConnectionProgress, Overseer, Patience, Protocol, Verdict},
    },
    config,
    exchange::AnswerBody,
    front::Front,
    proxy::HEAD_BYTES_MAX,
};

/// Headers of one request that are read at all. The road refuses fewer, with a request id and in XML; what is
/// beyond this is refused by hyper, which can say neither (P68).
const HEADERS_MAX: usize = 1024;

/// Requests at one time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// A request that is being answered.
type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

/// What all connections are served by.
pub(super) struct Terms {
    pub(super) front: Arc<Front>,
    /// How slowly answers may be taken.
    pub(super) pace: Pace,
    patience: Patience,
}

impl Terms {
    pub(super) fn new(front: Arc<Front>, settings: &config::Server, pace: Pace) -> Self {
        let patience = Patience {
            first: Duration::from_secs(settings.head_seconds_max),
            next: Duration::from_secs(settings.idle_seconds_max),
        };
        Self { front, pace, patience }
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 with prior knowledge, to its end; from `shutdown` on it takes no
/// new requests. A read buffer has at most `buffer_bytes`.
pub(super) async fn serve(
    terms: Arc<Terms>,
    stream: TcpStream,
    peer: SocketAddr,
    buffer_bytes: usize,
    mut shutdown: watch::Receiver<()>,
) {
    let progress = ConnectionProgress::begin(terms.pace, Instant::now());
    let mut overseer = Overseer::new(Arc::clone(&progress), terms.patience);
    let builder = builder(&terms.patience, buffer_bytes);
    let front = Arc::clone(&terms.front);
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&progress)));
    let service = service_fn(move |request: http::Request<_>| {
        let protocol = match request.version() {
            Version::HTTP_2 => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let (front, progress) = (Arc::clone(&front), progress.request(protocol));
        // Boxed, for it has 4 KiB and hyper's dispatcher moves it four times.
        Box::pin(async move { Ok::<_, Infallible>(front.handle(request, peer, progress).await) }) as Answering
    });
    let mut connection = std::pin::pin!(builder.serve_connection(socket, service));
    let mut looks = interval_at(Instant::now() + overseer.interval(), overseer.interval());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_shutting_down = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    log_unreadable(error.as_ref(), peer);
                }
                return;
            }
            _ = shutdown.changed(), if !is_shutting_down => {
                is_shutting_down = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => match overseer.look(Instant::now()) {
                Verdict::Stay => {}
                Verdict::Close => connection.as_mut().graceful_shutdown(),
                Verdict::Drop => return,
                Verdict::TooSlow => {
                    tracing::info!(%peer, "a connection is ended, for its client takes too little");
                    return;
                }
            },
        }
    }
}

fn builder(patience: &Patience, buffer_bytes: usize) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.first)
        .max_buf_size(buffer_bytes)
        .max_headers(HEADERS_MAX)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(20))
        .keep_alive_interval(Some(patience.first))
        .keep_alive_timeout(patience.first);
    builder
}

/// Logs what hyper refused by itself. All else that ends a connection is the peer's business, and its request
/// has its own record.
fn log_unreadable(error: &(dyn std::error::Error + Send + Sync + 'static), peer: SocketAddr) {
    if let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) {
        tracing::info!(
            %peer,
            %error,
            "a request could not be read as HTTP: its answer has no request id and no XML, and it has no \
             access record"
        );
    }
}
