//! Connections to the store, kept for the next request. \[IO\]
//!
//! There is one host, and it speaks HTTP/1.1: a connection is chosen before its request has a body, without a
//! key, and comes back without a task of its own. hyper-util's client, which serves any host and both
//! protocols, needed a channel and a task for each request beside that.
//!
//! Invariants: a connection carries one request at a time; it comes back once its answer was read to its end,
//! and not at all where it was given up (P60); one that was closed meanwhile is never handed out, and what
//! was not sent on it is sent on another.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    rt::{Read, Write},
};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tower_service::Service;

use super::{
    body::StoreBody,
    connection::{Watch, Watched},
};
use crate::exchange::Carrier;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long hyper may have to do with a connection whose answer was read to its end.
const FREE_MAX: Duration = Duration::from_millis(100);

/// What is kept that nobody uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) connections_max: usize,
    pub(super) time_max: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// There was no connection, with what was wrong, or there was none in time.
    Unreached(Option<BoxError>),
    /// The connection broke before an answer.
    Died(hyper::Error),
}

/// Connections to one host.
pub(super) struct Pool<C>(Arc<Shared<C>>);

struct Shared<C> {
    connector: C,
    origin: Uri,
    http: http1::Builder,
    kept: Kept,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// The one that came back last is at the end, and the next to go.
    idle: VecDeque<Idle<C>>,
    /// Who connects, and takes one that comes back meanwhile.
    waiting: VecDeque<oneshot::Sender<Box<Lane<C>>>>,
    /// A task looks after those that nobody takes.
    is_swept: bool,
}

impl<C> State<C> {
    fn take(&mut self, time_max: Duration) -> Option<Box<Lane<C>>> {
        loop {
            let Idle { since, lane } = self.idle.pop_back()?;
            if since.elapsed() > time_max {
                // And all others are older.
                self.idle.clear();
                return None;
            }
            if !lane.sender.is_closed() {
                return Some(lane);
            }
        }
    }
}

struct Idle<C> {
    since: Instant,
    lane: Box<Lane<C>>,
}

/// One connection. Its box goes with it from request to request.
pub(super) struct Lane<C> {
    sender: SendRequest<StoreBody>,
    watch: Arc<Watch>,
    is_reused: bool,
    is_given_up: bool,
    pool: Weak<Shared<C>>,
}

impl<C, T> Pool<C>
where
    C: Service<Uri, Response = Watched<T>, Error = BoxError> + Clone + Send + Sync + 'static,
    C::Future: Send,
    T: Read + Write + Unpin + Send + 'static,
{
    /// No connections yet. `connector` makes them to `origin`, with buffers of so many bytes.
    pub(super) fn new(connector: C, origin: Uri, buffer_bytes_max: usize, kept: Kept) -> Self {
        let mut http = http1::Builder::new();
        http.max_buf_size(buffer_bytes_max);
        let state = State { idle: VecDeque::new(), waiting: VecDeque::new(), is_swept: false };
        Self(Arc::new(Shared { connector, origin, http, kept, state: Mutex::new(state) }))
    }

    /// Sends a request, over a kept connection where there is one, and gives the head of the answer with the
    /// connection that it came by. A new connection must be there by `connected_by`.
    pub(super) async fn send(
        &self,
        mut request: Request<StoreBody>,
        connected_by: Option<Instant>,
    ) -> Result<(Response<Incoming>, Box<Lane<C>>), SendError> {
        loop {
            let mut lane = match self.kept().await {
                Some(lane) => lane,
                // Boxed, for it is rare, and the future of every request would have its size.
                None => Box::pin(self.connected(connected_by)).await?,
            };
            request.body_mut().leaves_on(&lane.watch);
            let mut error = match lane.sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, lane)),
                Err(error) => error,
            };
            match error.take_message() {
                // Closed meanwhile, and nothing of the request was sent.
                Some(unsent) if lane.is_reused => request = unsent,
                Some(_) | None => return Err(SendError::Died(error.into_error())),
            }
        }
    }

    /// A kept connection that can be used.
    async fn kept(&self) -> Option<Box<Lane<C>>> {
        loop {
            let mut lane = self.0.take()?;
            if lane.is_usable().await {
                return Some(lane);
            }
        }
    }

    async fn connected(&self, by: Option<Instant>) -> Result<Box<Lane<C>>, SendError> {
        match by {
            None => self.connected_or_returned().await,
            Some(by) => match timeout_at(by, self.connected_or_returned()).await {
                Ok(lane) => lane,
                Err(_) => Err(SendError::Unreached(None)),
            },
        }
    }

    /// A new connection, or one that comes back before it is there.
    async fn connected_or_returned(&self) -> Result<Box<Lane<C>>, SendError> {
        let mut has_begun = false;
        let shared = Arc::clone(&self.0);
        let mut connecting = Box::pin(shared.connect());
        let returned = async {
            loop {
                let mut lane = match self.0.take_or_wait() {
                    Ok(lane) => lane,
                    Err(returned) => match returned.await {
                        Ok(lane) => lane,
                        Err(_) => pending().await,
                    },
                };
                if lane.is_usable().await {
                    return lane;
                }
            }
        };
        tokio::select! {
            biased;
            lane = returned => {
                if has_begun {
                    // For the next request.
                    tokio::spawn(async move {
                        if let Ok(lane) = connecting.await {
                            lane.give_back();
                        }
                    });
                }
                Ok(lane)
            }
            lane = async {
                has_begun = true;
                connecting.as_mut().await
            } => lane,
        }
    }
}

impl<C> Shared<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kept connection that was used last.
    fn take(&self) -> Option<Box<Lane<C>>> {
        self.state().take(self.kept.time_max)
    }

    /// The same, or else what resolves when a connection comes back: none can come back in between.
    fn take_or_wait(&self) -> Result<Box<Lane<C>>, oneshot::Receiver<Box<Lane<C>>>> {
        let mut state = self.state();
        if let Some(lane) = state.take(self.kept.time_max) {
            return Ok(lane);
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.retain(|waiting| !waiting.is_closed());
        state.waiting.push_back(sender);
        Err(receiver)
    }

    /// Takes a connection back: for who waits, or to be kept.
    fn put(self: &Arc<Self>, mut lane: Box<Lane<C>>)
    where
        C: Send + Sync + 'static,
    {
        let mut state = self.state();
        while let Some(waiting) = state.waiting.pop_front() {
            lane = match waiting.send(lane) {
                Ok(()) => return,
                Err(lane) => lane,
            };
        }
        if state.idle.len() >= self.kept.connections_max {
            return;
        }
        state.idle.push_back(Idle { since: Instant::now(), lane });
        if !state.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            state.is_swept = true;
            runtime.spawn(sweep(Arc::downgrade(self), self.kept.time_max));
        }
    }

    /// Lets go of what nobody took in time; whether anything is left.
    fn let_go(&self) -> bool {
        let mut state = self.state();
        let is_of_use = |Idle { since, lane }: &Idle<C>| {
            since.elapsed() <= self.kept.time_max && !lane.sender.is_closed()
        };
        state.idle.retain(is_of_use);
        state.is_swept = !state.idle.is_empty();
        state.is_swept
    }

    async fn connect<T>(self: Arc<Self>) -> Result<Box<Lane<C>>, SendError>
    where
        C: Service<Uri, Response = Watched<T>, Error = BoxError> + Clone,
        T: Read + Write + Unpin + Send + 'static,
    {
        let connection = self.connector.clone().call(self.origin.clone()).await;
        let connection = connection.map_err(|error| SendError::Unreached(Some(error)))?;
        let watch = Arc::clone(connection.watch());
        let (mut sender, connection) = self.http.handshake(connection).await.map_err(SendError::Died)?;
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                let _ = tell.send(error);
            }
        });
        if let Err(closed) = sender.ready().await {
            // Closed as soon as it was made: the connection knows why.
            return Err(SendError::Died(told.await.unwrap_or(closed)));
        }
        let pool = Arc::downgrade(&self);
        Ok(Box::new(Lane { sender, watch, is_reused: false, is_given_up: false, pool }))
    }
}

/// Lets connections go that nobody uses, until there are none.
async fn sweep<C>(pool: Weak<Shared<C>>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !pool.upgrade().is_some_and(|pool| pool.let_go()) {
            return;
        }
    }
}

impl<C> Lane<C> {
    /// What is noticed of the connection.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether it takes a request. It may have come back a moment before hyper is done with the answer, or
    /// with the connection: to end one takes any time over TLS, whose last word the store has to take.
    async fn is_usable(&mut self) -> bool {
        self.sender.is_ready() || matches!(timeout(FREE_MAX, self.sender.ready()).await, Ok(Ok(())))
    }

    /// It carries no further request.
    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
    }
}

impl<C: Send + Sync + 'static> Lane<C> {
    fn give_back(mut self: Box<Self>) {
        if self.is_given_up || self.sender.is_closed() {
            return;
        }
        if let Some(pool) = self.pool.upgrade() {
            self.is_reused = true;
            pool.put(self);
        }
    }
}

impl<C: Send + Sync + 'static> Carrier for Lane<C> {
    fn answer_was_read(self: Box<Self>) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicU32, Ordering},
        task::{Context, Poll},
    };

    use futures_util::{FutureExt as _, future::BoxFuture};
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::{
        exchange::StoreAnswer,
        observe::{Metrics, StoreTimer},
    };

    /// A store of which so many connections can be had, and the others hang. On each it answers so many
    /// requests and ends it then.
    #[derive(Clone)]
    struct Store {
        connections: Arc<AtomicU32>,
        connections_max: u32,
        answers_max: u32,
    }

    impl Service<Uri> for Store {
        type Response = Watched<TokioIo<DuplexStream>>;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            if self.connections.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
                return pending().boxed();
            }
            let (near, far) = duplex(1024);
            tokio::spawn(answers(far, self.answers_max));
            std::future::ready(Ok(Watched::new(TokioIo::new(near), &Metrics::new()))).boxed()
        }
    }

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody";

    async fn answers(mut connection: DuplexStream, answers_max: u32) -> io::Result<()> {
        for _ in 0..answers_max {
            answer(&mut connection, ANSWER).await?;
        }
        Ok(())
    }

    /// Reads one request and answers it.
    async fn answer(connection: &mut DuplexStream, with: &[u8]) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await?);
        }
        connection.write_all(with).await
    }

    struct Tried {
        pool: Pool<Store>,
        connections: Arc<AtomicU32>,
    }

    impl Tried {
        fn new(connections_max: u32, answers_max: u32, kept_max: usize) -> Self {
            let kept = Kept { connections_max: kept_max, time_max: Duration::from_secs(60) };
            Self::keeping(kept, connections_max, answers_max)
        }

        fn keeping(kept: Kept, connections_max: u32, answers_max: u32) -> Self {
            let connections = Arc::<AtomicU32>::default();
            let store = Store { connections: Arc::clone(&connections), connections_max, answers_max };
            let origin = Uri::from_static("http://store/");
            Self { pool: Pool::new(store, origin, 16 * 1024, kept), connections }
        }

        async fn send(&self) -> Result<StoreAnswer, SendError> {
            let mut request = Request::new(StoreBody::empty());
            *request.uri_mut() = Uri::from_static("/bucket/key");
            let (answer, lane) = self.pool.send(request, None).await?;
            assert_eq!(answer.status(), StatusCode::OK);
            let timer = StoreTimer::begin(&Metrics::new(), &http::Method::GET);
            Ok(StoreAnswer::new(answer.into_body(), lane, None, timer))
        }

        async fn read(&self) {
            assert_eq!(self.send().await.unwrap().collect().await.unwrap().to_bytes(), "body");
        }

        fn connections(&self) -> u32 {
            self.connections.load(Ordering::Relaxed)
        }
    }

    const MANY: u32 = 1000;

    #[tokio::test]
    async fn an_answer_that_was_read_leaves_its_connection_to_the_next() {
        let tried = Tried::new(MANY, MANY, 8);
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
        let tried = Tried::new(MANY, MANY, 8);
        drop(tried.send().await.unwrap());
        tried.read().await;
        assert_eq!(tried.connections(), 2);
    }

    #[tokio::test]
    async fn p60_a_connection_that_was_given_up_carries_nothing_more() {
        let tried = Tried::new(MANY, MANY, 8);
        let request = Request::new(StoreBody::empty());
        let (answer, mut lane) = tried.pool.send(request, None).await.unwrap();
        lane.give_up();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "body");
        lane.answer_was_read();
        tried.read().await;
        assert_eq!(tried.connections(), 2);
    }

    #[tokio::test]
    async fn a_connection_that_the_store_has_closed_is_not_used() {
        let tried = Tried::new(MANY, 2, 8);
        for _ in 0..6 {
            tried.read().await;
            tokio::task::yield_now().await;
        }
        assert_eq!(tried.connections(), 3);
    }

    #[tokio::test]
    async fn what_was_not_sent_on_a_closed_connection_is_sent_on_another() {
        let tried = Tried::new(MANY, 1, 8);
        // Nobody lets the other end notice that it is closed before the next request is handed to it.
        for connections in 1..5 {
            tried.read().await;
            assert_eq!(tried.connections(), connections);
        }
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be() {
        let tried = Tried::new(MANY, MANY, 1);
        tokio::join!(tried.read(), tried.read(), tried.read());
        assert_eq!(tried.connections(), 3);
        tokio::join!(tried.read(), tried.read());
        assert_eq!(tried.connections(), 4);
        let none = Tried::new(MANY, MANY, 0);
        none.read().await;
        none.read().await;
        assert_eq!(none.connections(), 2);
    }

    #[tokio::test]
    async fn who_connects_takes_a_connection_that_comes_back_first() {
        let tried = Tried::new(1, MANY, 8);
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
    async fn p47_a_connection_that_is_not_there_in_time_is_not_waited_for() {
        let tried = Tried::new(0, MANY, 8);
        let by = Instant::now() + Duration::from_millis(20);
        let sent = tried.pool.send(Request::new(StoreBody::empty()), Some(by)).await;
        assert!(matches!(sent, Err(SendError::Unreached(None))));
        assert!(Instant::now() >= by);
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_let_go() {
        let kept = Kept { connections_max: 8, time_max: Duration::from_millis(20) };
        let tried = Tried::keeping(kept, MANY, MANY);
        tokio::join!(tried.read(), tried.read());
        // As soon as somebody looks, or by itself.
        std::thread::sleep(kept.time_max * 2);
        tried.read().await;
        assert_eq!((tried.connections(), tried.pool.0.state().idle.len()), (3, 1));
        while tried.pool.0.state().is_swept {
            tokio::time::sleep(kept.time_max).await;
        }
        assert_eq!(tried.pool.0.state().idle.len(), 0);
    }

    #[tokio::test]
    async fn a_pool_that_is_gone_takes_nothing_back() {
        let tried = Tried::new(MANY, MANY, 8);
        let answer = tried.send().await.unwrap();
        drop(tried);
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "body");
    }

    /// A store whose ends of its connections are in the hands of a test: each has given its first answer.
    /// More than so many cannot be had.
    #[derive(Clone)]
    struct HandStore {
        ends: Arc<Mutex<Vec<DuplexStream>>>,
        connections_max: usize,
    }

    impl Service<Uri> for HandStore {
        type Response = Watched<TokioIo<DuplexStream>>;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let Self { ends, connections_max } = self.clone();
            async move {
                if ends.lock().unwrap().len() >= connections_max {
                    return pending().await;
                }
                let (near, far) = duplex(1024);
                ends.lock().unwrap().push(far);
                Ok(Watched::new(TokioIo::new(near), &Metrics::new()))
            }
            .boxed()
        }
    }

    /// Who waits is given a connection that ends at this moment, and a good one comes back after it.
    #[tokio::test]
    async fn who_was_given_a_connection_that_ends_takes_the_next_that_comes_back() {
        let ends = Arc::<Mutex<Vec<DuplexStream>>>::default();
        let kept = Kept { connections_max: 8, time_max: Duration::from_secs(60) };
        let store = HandStore { ends: Arc::clone(&ends), connections_max: 2 };
        let pool = Arc::new(Pool::new(store, Uri::from_static("http://store/"), 16 * 1024, kept));
        let send = || {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                let sent = pool.send(Request::new(StoreBody::empty()), None).await;
                sent.map(|(answer, lane)| (answer.into_body(), lane))
            })
        };
        let mut held = Vec::new();
        for at in 0..2 {
            let sent = send();
            while ends.lock().unwrap().len() <= at {
                tokio::task::yield_now().await;
            }
            let mut end = ends.lock().unwrap().pop().unwrap();
            answer(&mut end, ANSWER).await.unwrap();
            ends.lock().unwrap().push(end);
            let (body, lane) = sent.await.unwrap().unwrap();
            let timer = StoreTimer::begin(&Metrics::new(), &http::Method::GET);
            held.push(StoreAnswer::new(body, lane, None, timer));
        }
        let waiting = send();
        while pool.0.state().waiting.iter().all(oneshot::Sender::is_closed) {
            tokio::task::yield_now().await;
        }
        // The first ends, and nobody has noticed when it comes back.
        ends.lock().unwrap().remove(0);
        let (second, first) = (held.pop().unwrap(), held.pop().unwrap());
        assert_eq!(first.collect().await.unwrap().to_bytes(), "body");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(second.collect().await.unwrap().to_bytes(), "body");
        let mut end = ends.lock().unwrap().pop().unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(2), answer(&mut end, ANSWER)).await;
        answered.expect("it is given the second").unwrap();
        assert!(waiting.await.unwrap().is_ok());
    }

    /// A connection over TLS whose last word cannot be sent, for the kernel holds all that it takes.
    struct Clinging(TokioIo<DuplexStream>);

    impl Read for Clinging {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut Context<'_>,
            into: hyper::rt::ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_read(context, into)
        }
    }

    impl Write for Clinging {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[derive(Clone)]
    struct ClosingStore;

    impl Service<Uri> for ClosingStore {
        type Response = Watched<Clinging>;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            let (near, mut far) = duplex(1024);
            tokio::spawn(async move {
                let last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
                let _ = answer(&mut far, last).await;
                pending::<()>().await;
                drop(far);
            });
            let connection = Watched::new(Clinging(TokioIo::new(near)), &Metrics::new());
            std::future::ready(Ok(connection)).boxed()
        }
    }

    #[tokio::test]
    async fn p47_a_connection_that_cannot_end_is_not_waited_for() {
        let kept = Kept { connections_max: 8, time_max: Duration::from_secs(60) };
        let pool = Pool::new(ClosingStore, Uri::from_static("http://store/"), 16 * 1024, kept);
        for _ in 0..3 {
            let sent = pool.send(Request::new(StoreBody::empty()), None);
            let sent = tokio::time::timeout(Duration::from_secs(2), sent).await;
            let (answer, lane) = sent.expect("an answer").unwrap();
            let timer = StoreTimer::begin(&Metrics::new(), &http::Method::GET);
            let answer = StoreAnswer::new(answer.into_body(), lane, None, timer);
            assert_eq!(answer.collect().await.unwrap().to_bytes(), "body");
        }
    }
}
