//! One connection of a client, from its first byte until nobody asks anything on it any more. \[IO\]
//!
//! Invariants: a connection ends within bounded time once nothing is asked on it or its answers are not taken
//! (P55, P56), and what ends it is what its own task sees.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, Version};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};

use super::{
    arrival::{Arrival, Arrived},
    drain::{self, CountedTasks, FIRST_REQUEST_MAX, LEAVE_INTERVAL, Stage, StageReceiver},
    first_bytes::FirstBytes,
    socket::Socket,
    terms::CurrentTerms,
    transport::Transport,
};
use crate::{
    body::progress::{ConnectionProgress, Overseer, PIECE_BYTES_MIN, Patience, Protocol, Verdict},
    exchange::AnswerBody,
    observe::Metrics,
    proxy::HEAD_BYTES_MAX,
};

/// Headers of one request that are read at all. The road refuses fewer, with a request id and in XML; what is
/// beyond this is refused by hyper, which can say neither (P68). Hyper makes room for so many with each
/// request, twice; as many as these are still a small allocation.
const HEADERS_MAX: usize = 448;

/// Requests at one time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// What is read of a connection at a time while there are few, and the size of the pieces in which uploads
/// travel. An upload in pieces of 1 MiB was measured to cost 13 to 33 % less than in pieces of 256 KiB, most
/// of it in the kernel, by how busy the machine was (`cargo bench --bench road`). In pieces of 2 MiB plain
/// ones cost 4 to 9 % less still and those with a trailer 3 to 5 % more, and the process took 35 MiB more.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// The same while there are many.
const READ_BYTES_MIN: usize = PIECE_BYTES_MIN;

/// What of an answer waits encrypted for the socket while there are few connections, and while there are
/// many: so much goes with one system call, and a record of TLS at least.
const ENCRYPTED_BYTES_MAX: usize = 256 * 1024;
const ENCRYPTED_BYTES_MIN: usize = 16 * 1024;

/// So many connections have the largest reads; the share of a further one falls with the square of how many
/// there are, so that all of them together stay below twice what these have.
const LARGE_READS_MAX: usize = 8;

/// Room for a head that is to be refused with a request id and in XML.
const BUFFER_BYTES_MIN: usize = HEAD_BYTES_MAX + 4 * 1024;

/// A window of HTTP/2 is never smaller than this.
const WINDOW_BYTES_MIN: usize = 65_535;

/// How much one connection may hold, by how many there are when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BufferSizes {
    /// What is read at a time.
    read_bytes: usize,
    /// What may wait to be parsed or to be written.
    buffer_bytes: usize,
}

impl BufferSizes {
    /// Of the last of `open` connections.
    pub(super) fn of(open: usize) -> Self {
        let open = open.max(LARGE_READS_MAX);
        let share = READ_BYTES_MAX * LARGE_READS_MAX / open * LARGE_READS_MAX / open;
        // One byte less than a power of two: hyper makes room for twice as much once a read has filled it.
        let read_bytes = share.clamp(READ_BYTES_MIN, READ_BYTES_MAX).next_power_of_two() - 1;
        Self { read_bytes, buffer_bytes: read_bytes.max(BUFFER_BYTES_MIN) }
    }

    /// What of answers may wait encrypted for the socket.
    fn encrypted_bytes_max(self) -> usize {
        self.read_bytes.clamp(ENCRYPTED_BYTES_MIN, ENCRYPTED_BYTES_MAX)
    }
}

/// A request that is being answered. Boxed, for it has some KiB and hyper's dispatcher moves it; and directly
/// so, for each future around it would move it once more.
struct Answering {
    protocol: Protocol,
    answer: Pin<Box<dyn Future<Output = Response<AnswerBody>> + Send>>,
}

impl Future for Answering {
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { protocol, answer } = self.get_mut();
        let mut response = ready!(answer.as_mut().poll(context));
        if *protocol == Protocol::Http2 {
            hold_nothing_else(response.headers_mut());
        }
        Poll::Ready(Ok(response))
    }
}

/// Whoever drops a connection's task before its end, at the end of the process too, cuts what is under way.
struct CutOnDrop(Option<Arc<ConnectionProgress>>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.cut();
        }
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 by ALPN or with prior knowledge, to its end; `stage` says when
/// that is to be.
pub(super) async fn serve(
    current: Arc<CurrentTerms>,
    arrival: Arc<Arrival>,
    stream: TcpStream,
    peer: SocketAddr,
    sizes: BufferSizes,
    mut stage: StageReceiver,
) {
    let terms = current.load_full();
    let accepted_at = Instant::now();
    let progress = ConnectionProgress::begin(terms.pace, sizes.read_bytes, accepted_at);
    let socket = Socket::new(stream, Arc::clone(&progress), sizes.read_bytes, arrival.reading());
    let arrived = tokio::select! {
        arrived = arrival.receive(socket, peer, &terms, sizes.encrypted_bytes_max()) => arrived,
        () = drain::first_request_is_late(&mut stage, accepted_at) => return,
    };
    let Some(Arrived { transport, peer, admitted }) = arrived else { return };
    drop(arrival);
    let metrics = Arc::clone(terms.front.metrics());
    let client = Client { current, patience: terms.patience, peer, progress, accepted_at, metrics };
    drop(terms);
    converse(client, transport, sizes, stage).await;
    drop(admitted);
}

/// Who is at the other end, and what it is served by.
struct Client {
    current: Arc<CurrentTerms>,
    patience: Patience,
    peer: SocketAddr,
    progress: Arc<ConnectionProgress>,
    accepted_at: Instant,
    metrics: Arc<Metrics>,
}

/// Answers requests, from the first to the end of the connection.
async fn converse(client: Client, transport: Transport, sizes: BufferSizes, mut stage: StageReceiver) {
    let Client { current, patience, peer, progress, accepted_at, metrics } = client;
    let ending = Arc::clone(&progress);
    let mut overseer = Overseer::new(Arc::clone(&progress), patience, Instant::now());
    let builder = builder(&patience, sizes, stage.clone());
    let watched = Arc::clone(&progress);
    let service = service_fn(move |request: http::Request<_>| {
        let protocol = match request.version() {
            Version::HTTP_2 => Protocol::Http2,
            _ => Protocol::Http1,
        };
        // The terms at its beginning count for a request to its end.
        let (front, progress) = (Arc::clone(&current.load().front), watched.request(protocol));
        // Made where it stays: it is too large to be made on the stack and moved.
        let answer = Box::into_pin(Box::write(Box::new_uninit(), front.handle(request, peer, progress)));
        Answering { protocol, answer }
    });
    let mut connection =
        std::pin::pin!(builder.serve_connection(TokioIo::new(FirstBytes::of(transport)), service));
    // Stands below the connection, so that it is dropped before that.
    let mut cut = CutOnDrop(Some(ending));
    let mut looks = interval_at(Instant::now() + overseer.interval(), overseer.interval());
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leave_looks = interval(LEAVE_INTERVAL);
    leave_looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut at, mut is_leaving, mut is_abandoned) = (*stage.borrow_and_update(), false, false);
    loop {
        if at != Stage::Serving {
            progress.answers_are_last();
        }
        match at {
            Stage::Serving => {}
            Stage::Announced | Stage::Leaving => {
                if !is_leaving && may_leave(at, progress.protocol(), accepted_at.elapsed()) {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            Stage::Cut => return,
        }
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                cut.0 = None;
                if let Err(error) = ended {
                    log_unreadable(error.as_ref(), peer, &metrics);
                }
                return;
            }
            changed = stage.changed(), if !is_abandoned => {
                // Nobody leads to the end any more: the server was dropped.
                is_abandoned = changed.is_err();
                at = if is_abandoned { Stage::Leaving } else { *stage.borrow_and_update() };
            }
            _ = leave_looks.tick(), if at != Stage::Serving && !is_leaving => {}
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

/// Gives each value memory of its own. HTTP/2 remembers the headers that it has sent for as long as the
/// connection lives, and a value of the store's is a piece of all that was read from the store with it.
fn hold_nothing_else(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

/// Whether a connection that was accepted so long ago may be asked to close, which hyper does at once where
/// no request is under way. One that has asked nothing yet is left its time for it: on HTTP/1 there is no way
/// to say that what is on its way was not looked at.
fn may_leave(at: Stage, protocol: Option<Protocol>, age: Duration) -> bool {
    match (at, protocol) {
        (Stage::Serving, _) | (Stage::Announced, Some(Protocol::Http1) | None) => false,
        (Stage::Announced, Some(Protocol::Http2)) | (Stage::Leaving, Some(_)) | (Stage::Cut, _) => true,
        (Stage::Leaving, None) => age >= FIRST_REQUEST_MAX,
    }
}

fn builder(patience: &Patience, sizes: BufferSizes, stage: StageReceiver) -> auto::Builder<CountedTasks> {
    let window = u32::try_from(sizes.read_bytes.max(WINDOW_BYTES_MIN)).ok();
    let mut builder = auto::Builder::new(CountedTasks(stage));
    builder
        .http1()
        .timer(TokioTimer::new())
        // Heads that do not come are the overseer's, which looks at a connection now and then: a timer for
        // each request costs more.
        .header_read_timeout(None)
        .max_buf_size(sizes.buffer_bytes)
        .max_headers(HEADERS_MAX)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_connection_window_size(window)
        .initial_stream_window_size(window)
        .max_send_buf_size(sizes.buffer_bytes)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(20))
        .keep_alive_interval(Some(patience.first))
        .keep_alive_timeout(patience.first);
    builder
}

/// Logs what hyper refused by itself. All else that ends a connection is the peer's business, and its request
/// has its own record.
fn log_unreadable(
    error: &(dyn std::error::Error + Send + Sync + 'static),
    peer: SocketAddr,
    metrics: &Metrics,
) {
    if let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) {
        metrics.events.unreadable.one();
        tracing::info!(
            %peer,
            %error,
            "a request could not be read as HTTP: its answer has no request id and no XML, and it has no \
             access record"
        );
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_connection_is_closed_only_where_no_request_can_be_on_its_way() {
        let late = FIRST_REQUEST_MAX;
        for (at, protocol, age, expected) in [
            (Stage::Serving, Some(Protocol::Http1), late, false),
            (Stage::Serving, Some(Protocol::Http2), late, false),
            (Stage::Announced, Some(Protocol::Http1), late, false),
            (Stage::Announced, Some(Protocol::Http2), late, true),
            (Stage::Announced, None, late, false),
            (Stage::Leaving, Some(Protocol::Http1), Duration::ZERO, true),
            (Stage::Leaving, Some(Protocol::Http2), Duration::ZERO, true),
            (Stage::Leaving, None, Duration::ZERO, false),
            (Stage::Leaving, None, late, true),
        ] {
            assert_eq!(may_leave(at, protocol, age), expected, "{at:?} {protocol:?} {age:?}");
        }
    }

    #[test]
    fn headers_of_an_answer_hold_nothing_of_what_was_read_with_them() {
        let read = bytes::Bytes::from(vec![b'x'; 100_000]);
        let mut headers = HeaderMap::new();
        let mut secret = HeaderValue::from_maybe_shared(read.slice(..10)).unwrap();
        secret.set_sensitive(true);
        headers.append(header::ETAG, HeaderValue::from_maybe_shared(read.slice(10..20)).unwrap());
        headers.append(header::SET_COOKIE, secret);
        let before = headers.clone();
        assert!(!read.is_unique());
        hold_nothing_else(&mut headers);
        assert_eq!(headers, before);
        assert!(headers.get(header::SET_COOKIE).unwrap().is_sensitive());
        drop(before);
        assert!(read.is_unique());
    }

    #[test]
    fn many_connections_hold_little_together_and_few_have_large_reads() {
        assert_eq!(BufferSizes::of(1).read_bytes, READ_BYTES_MAX - 1);
        assert_eq!(BufferSizes::of(LARGE_READS_MAX).read_bytes, READ_BYTES_MAX - 1);
        assert_eq!(BufferSizes::of(usize::MAX).read_bytes, READ_BYTES_MIN - 1);
        let all: usize = (1..=1000).map(|open| BufferSizes::of(open).read_bytes).sum();
        assert!(all <= 64 << 20, "{all}");
        assert_eq!(BufferSizes::of(1).encrypted_bytes_max(), ENCRYPTED_BYTES_MAX);
        assert_eq!(BufferSizes::of(usize::MAX).encrypted_bytes_max(), ENCRYPTED_BYTES_MIN);
        let all: usize = (1..=1000).map(|open| BufferSizes::of(open).encrypted_bytes_max()).sum();
        assert!(all <= 32 << 20, "{all}");
    }
}
