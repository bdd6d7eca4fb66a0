use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::{
    exchange::StoreAnswer,
    observe::{Metrics, StoreTimer},
};

type Socket = TokioIo<DuplexStream>;

/// A connection's two ends: this server's, and the store's.
fn ends() -> (Socket, DuplexStream) {
    let (near, far) = duplex(1024);
    (TokioIo::new(near), far)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";

/// Reads one request and answers it.
async fn answer(connection: &mut DuplexStream, with: &[u8]) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    connection.write_all(with).await
}

/// A store whose connections have numbers, from 0 on. `socket` gives each of them; where it gives none, the
/// connection is waited for in vain.
#[derive(Clone)]
struct Store<F> {
    connections: Arc<AtomicUsize>,
    socket: F,
}

impl<F, T> Service<Uri> for Store<F>
where
    F: Fn(usize) -> Option<T>,
    T: Send + 'static,
{
    type Response = Watched<T>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Watched<T>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        match (self.socket)(number) {
            Some(socket) => std::future::ready(Ok(Watched::new(socket, &Metrics::new()))).boxed(),
            None => pending().boxed(),
        }
    }
}

const MANY: usize = 1000;

/// So many connections can be had. The store gives so many answers on each and ends it then.
fn answering(
    connections_max: usize,
    answers_max: usize,
) -> impl Fn(usize) -> Option<Socket> + Clone + Send + Sync {
    move |number| {
        (number < connections_max).then(|| {
            let (near, mut far) = ends();
            tokio::spawn(async move {
                for _ in 0..answers_max {
                    answer(&mut far, ANSWER).await?;
                }
                io::Result::Ok(())
            });
            near
        })
    }
}

const KEPT: Kept = Kept { connections_max: 8, time_max: Duration::from_secs(60) };

struct Tried<F> {
    pool: Pool<Store<F>>,
    connections: Arc<AtomicUsize>,
}

impl<F, T> Tried<F>
where
    F: Fn(usize) -> Option<T> + Clone + Send + Sync + 'static,
    T: Read + Write + Unpin + Send + 'static,
{
    fn new(socket: F) -> Self {
        Self::keeping(KEPT, socket)
    }

    fn keeping(kept: Kept, socket: F) -> Self {
        let connections = Arc::<AtomicUsize>::default();
        let store = Store { connections: Arc::clone(&connections), socket };
        let origin = Uri::from_static("http://store/");
        Self { pool: Pool::new(store, origin, 16 * 1024, kept), connections }
    }

    async fn send(&self) -> Result<StoreAnswer, SendError> {
        let mut request = Request::new(StoreBody::empty());
        *request.uri_mut() = Uri::from_static("/bucket/key");
        let (answer, connection) = self.pool.send(request, None).await?;
        assert_eq!(answer.status(), StatusCode::OK);
        let timer = StoreTimer::begin(&Metrics::new(), &http::Method::GET);
        Ok(StoreAnswer::new(answer.into_body(), connection, None, timer))
    }

    async fn read(&self) {
        read(self.send().await.unwrap()).await;
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn read(answer: StoreAnswer) {
    assert_eq!(answer.collect().await.unwrap().to_bytes(), "body");
}

#[tokio::test]
async fn an_answer_that_was_read_leaves_its_connection_to_the_next() {
    let tried = Tried::new(answering(MANY, MANY));
    for _ in 0..20 {
        tried.read().await;
    }
    assert_eq!(tried.connections(), 1);
    // As many as are needed at a time, and the same ones again.
    for _ in 0..3 {
        tokio::join!(tried.read(), tried.read(), tried.read());
    }
    assert_eq!(tried.connections(), 3);
}

#[tokio::test]
async fn an_answer_that_was_not_read_takes_its_connection_along() {
    let tried = Tried::new(answering(MANY, MANY));
    drop(tried.send().await.unwrap());
    tried.read().await;
    assert_eq!(tried.connections(), 2);
}

#[tokio::test]
async fn p60_a_connection_that_was_given_up_carries_nothing_more() {
    let tried = Tried::new(answering(MANY, MANY));
    let request = Request::new(StoreBody::empty());
    let (answer, mut connection) = tried.pool.send(request, None).await.unwrap();
    connection.give_up();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "body");
    connection.answer_was_read();
    tried.read().await;
    assert_eq!(tried.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_store_has_closed_is_not_used() {
    let tried = Tried::new(answering(MANY, 2));
    for _ in 0..6 {
        tried.read().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(tried.connections(), 3);
}

#[tokio::test]
async fn what_was_not_sent_on_a_closed_connection_is_sent_on_another() {
    let tried = Tried::new(answering(MANY, 1));
    // Nobody lets the other end notice that it is closed before the next request is handed to it.
    for connections in 1..5 {
        tried.read().await;
        assert_eq!(tried.connections(), connections);
    }
    // Or hyper was done with the answer and waits for the next request, when the store closes.
    let [(first_socket, mut first_end), (second_socket, mut second_end)] = [ends(), ends()];
    let sockets = Arc::new(Mutex::new(VecDeque::from([first_socket, second_socket])));
    let tried = Tried::new(move |_| sockets.lock().unwrap().pop_front());
    let ((), first) = tokio::join!(tried.read(), answer(&mut first_end, ANSWER));
    first.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(first_end);
    let ((), second) = tokio::join!(tried.read(), answer(&mut second_end, ANSWER));
    second.unwrap();
}

#[tokio::test]
async fn a_connection_that_dies_as_soon_as_it_was_made_says_of_what() {
    for (words, cause) in [
        ("", "connection closed before message completed"),
        ("HTTP/1.1 503 busy\r\n\r\n", "received unexpected message from connection"),
    ] {
        let tried = Tried::new(move |_| {
            let (near, mut far) = ends();
            far.write_all(words.as_bytes()).now_or_never().unwrap().unwrap();
            Some(near)
        });
        let Err(SendError::Died(error)) = tried.send().await else { panic!("{words:?}") };
        assert_eq!(error.to_string(), cause, "{words:?}");
    }
}

#[tokio::test]
async fn no_more_are_kept_than_may_be() {
    let keeping = |connections_max| Tried::keeping(Kept { connections_max, ..KEPT }, answering(MANY, MANY));
    let one = keeping(1);
    tokio::join!(one.read(), one.read(), one.read());
    assert_eq!(one.connections(), 3);
    tokio::join!(one.read(), one.read());
    assert_eq!(one.connections(), 4);
    let none = keeping(0);
    none.read().await;
    none.read().await;
    assert_eq!(none.connections(), 2);
}

#[tokio::test]
async fn who_connects_takes_a_connection_that_comes_back_first() {
    let tried = Tried::new(answering(1, MANY));
    let first = tried.send().await.unwrap();
    let (second, ()) = tokio::join!(tried.send(), async {
        tokio::task::yield_now().await;
        drop(first.collect().await);
    });
    drop(second.unwrap().collect().await);
    assert_eq!(tried.connections(), 2);
    // Who does not wait any more is not thought of.
    let held = tried.send().await.unwrap();
    assert!(tried.send().now_or_never().is_none());
    drop(held.collect().await);
    tried.read().await;
    assert_eq!(tried.pool.0.state().waiting.len(), 0);
}

#[tokio::test]
async fn p57_connections_that_nobody_waits_for_any_more_are_bounded() {
    let kept = Kept { connections_max: 2, ..KEPT };
    // One connection can be had, and all others are waited for in vain.
    let tried = Tried::keeping(kept, answering(1, MANY));
    for _ in 0..5 {
        let first = tried.send().await.unwrap();
        let (second, ()) = tokio::join!(tried.send(), async {
            tokio::task::yield_now().await;
            drop(first.collect().await);
        });
        drop(second.unwrap().collect().await);
    }
    assert_eq!(tried.connections(), 6);
    assert_eq!(tried.pool.0.state().finishing, 2);
    // Those of the others are given up: each would hold the pool.
    assert_eq!(Arc::strong_count(&tried.pool.0), 1 + 2 * 2);
}

#[tokio::test]
async fn p47_a_connection_that_is_not_there_in_time_is_not_waited_for() {
    let tried = Tried::new(answering(0, MANY));
    let by = Instant::now() + Duration::from_millis(20);
    let sent = tried.pool.send(Request::new(StoreBody::empty()), Some(by)).await;
    assert!(matches!(sent, Err(SendError::Unreached(None))));
    assert!(Instant::now() >= by);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_let_go() {
    let time_max = Duration::from_millis(20);
    let tried = Tried::keeping(Kept { time_max, ..KEPT }, answering(MANY, MANY));
    tokio::join!(tried.read(), tried.read());
    // As soon as somebody looks, or by itself.
    std::thread::sleep(time_max * 2);
    tried.read().await;
    assert_eq!((tried.connections(), tried.pool.0.state().idle.len()), (3, 1));
    while tried.pool.0.state().is_swept {
        tokio::time::sleep(time_max).await;
    }
    assert_eq!(tried.pool.0.state().idle.len(), 0);
}

#[tokio::test]
async fn a_pool_that_is_gone_takes_nothing_back() {
    let tried = Tried::new(answering(MANY, MANY));
    let answer = tried.send().await.unwrap();
    drop(tried);
    read(answer).await;
}

/// Who waits is given a connection that ends at this moment, and a good one comes back after it.
#[tokio::test]
async fn who_was_given_a_connection_that_ends_takes_the_next_that_comes_back() {
    let [(first_socket, mut first_end), (second_socket, mut second_end)] = [ends(), ends()];
    let sockets = Arc::new(Mutex::new(VecDeque::from([first_socket, second_socket])));
    let tried = Arc::new(Tried::new(move |_| sockets.lock().unwrap().pop_front()));
    let (first, _) = tokio::join!(tried.send(), answer(&mut first_end, ANSWER));
    let (second, _) = tokio::join!(tried.send(), answer(&mut second_end, ANSWER));
    let (first, second) = (first.unwrap(), second.unwrap());
    let waits = Arc::clone(&tried);
    let waiting = tokio::spawn(async move { waits.send().await });
    while tried.pool.0.state().waiting.iter().all(oneshot::Sender::is_closed) {
        tokio::task::yield_now().await;
    }
    // The first ends, and nobody has noticed when it comes back.
    drop(first_end);
    read(first).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    read(second).await;
    let answered = timeout(Duration::from_secs(2), answer(&mut second_end, ANSWER)).await;
    answered.expect("it is given the second").unwrap();
    assert!(waiting.await.unwrap().is_ok());
}

/// A connection over TLS whose last word cannot be sent, for the kernel holds all that it takes.
struct Clinging(Socket);

impl Read for Clinging {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl Write for Clinging {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn p47_a_connection_that_cannot_end_is_not_waited_for() {
    let tried = Tried::new(|_| {
        let (near, mut far) = ends();
        tokio::spawn(async move {
            let _ = answer(&mut far, LAST_ANSWER).await;
            pending::<()>().await;
        });
        Some(Clinging(near))
    });
    for _ in 0..3 {
        timeout(Duration::from_secs(2), tried.read()).await.expect("an answer");
    }
}
