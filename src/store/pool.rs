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
    /// Connections that are still being made though nobody waits for them any more.
    finishing: usize,
    /// Who connects, and takes one that comes back meanwhile.
    waiting: VecDeque<oneshot::Sender<Box<Connection<C>>>>,
    /// A task looks after those that nobody takes.
    is_swept: bool,
}

impl<C> State<C> {
    fn take(&mut self, time_max: Duration) -> Option<Box<Connection<C>>> {
        loop {
            let Idle { since, connection } = self.idle.pop_back()?;
            if since.elapsed() > time_max {
                // And all others are older.
                self.idle.clear();
                return None;
            }
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
    }
}

struct Idle<C> {
    since: Instant,
    connection: Box<Connection<C>>,
}

/// One connection. Its box goes with it from request to request.
pub(super) struct Connection<C> {
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
        let state = State { idle: VecDeque::new(), finishing: 0, waiting: VecDeque::new(), is_swept: false };
        Self(Arc::new(Shared { connector, origin, http, kept, state: Mutex::new(state) }))
    }

    /// Sends a request, over a kept connection where there is one, and gives the head of the answer with the
    /// connection that it came by. A new connection must be there by `connected_by`.
    #[expect(clippy::manual_async_fn, reason = "the future of an async fn has room for each argument twice")]
    pub(super) fn send(
        &self,
        mut request: Request<StoreBody>,
        connected_by: Option<Instant>,
    ) -> impl Future<Output = Result<(Response<Incoming>, Box<Connection<C>>), SendError>> + Send {
        async move {
            loop {
                let mut connection = match self.kept().await {
                    Some(connection) => connection,
                    // Boxed, for it is rare, and the future of every request would have its size.
                    None => Box::pin(self.connected(connected_by)).await?,
                };
                request.body_mut().leaves_on(&connection.watch);
                let mut error = match connection.sender.try_send_request(request).await {
                    Ok(answer) => return Ok((answer, connection)),
                    Err(error) => error,
                };
                match error.take_message() {
                    // Closed meanwhile, and nothing of the request was sent.
                    Some(unsent) if connection.is_reused => request = unsent,
                    Some(_) | None => return Err(SendError::Died(error.into_error())),
                }
            }
        }
    }

    /// A kept connection that can be used.
    async fn kept(&self) -> Option<Box<Connection<C>>> {
        loop {
            let mut connection = self.0.take()?;
            if connection.is_usable().await {
                return Some(connection);
            }
        }
    }

    async fn connected(&self, by: Option<Instant>) -> Result<Box<Connection<C>>, SendError> {
        match by {
            None => self.connected_or_returned().await,
            Some(by) => match timeout_at(by, self.connected_or_returned()).await {
                Ok(connection) => connection,
                Err(_) => Err(SendError::Unreached(None)),
            },
        }
    }

    /// A new connection, or one that comes back before it is there.
    async fn connected_or_returned(&self) -> Result<Box<Connection<C>>, SendError> {
        let mut has_begun = false;
        let shared = Arc::clone(&self.0);
        let mut connecting = Box::pin(shared.connect());
        let returned = async {
            loop {
                let mut connection = match self.0.take_or_wait() {
                    Ok(connection) => connection,
                    Err(returned) => match returned.await {
                        Ok(connection) => connection,
                        Err(_) => pending().await,
                    },
                };
                if connection.is_usable().await {
                    return connection;
                }
            }
        };
        tokio::select! {
            biased;
            connection = returned => {
                if has_begun && let Some(finishing) = Finishing::begin(&self.0) {
                    // For the next request.
                    tokio::spawn(async move {
                        if let Ok(connection) = connecting.await {
                            drop(finishing);
                            connection.give_back();
                        }
                    });
                }
                Ok(connection)
            }
            connection = async {
                has_begun = true;
                connecting.as_mut().await
            } => connection,
        }
    }
}

impl<C> Shared<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kept connection that was used last.
    fn take(&self) -> Option<Box<Connection<C>>> {
        self.state().take(self.kept.time_max)
    }

    /// The same, or else what resolves when a connection comes back: none can come back in between.
    fn take_or_wait(&self) -> Result<Box<Connection<C>>, oneshot::Receiver<Box<Connection<C>>>> {
        let mut state = self.state();
        if let Some(connection) = state.take(self.kept.time_max) {
            return Ok(connection);
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.retain(|waiting| !waiting.is_closed());
        state.waiting.push_back(sender);
        Err(receiver)
    }

    /// Takes a connection back: for who waits, or to be kept.
    fn put(self: &Arc<Self>, mut connection: Box<Connection<C>>)
    where
        C: Send + Sync + 'static,
    {
        let mut state = self.state();
        while let Some(waiting) = state.waiting.pop_front() {
            connection = match waiting.send(connection) {
                Ok(()) => return,
                Err(connection) => connection,
            };
        }
        if state.idle.len() >= self.kept.connections_max {
            return;
        }
        state.idle.push_back(Idle { since: Instant::now(), connection });
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
        let is_of_use = |Idle { since, connection }: &Idle<C>| {
            since.elapsed() <= self.kept.time_max && !connection.sender.is_closed()
        };
        state.idle.retain(is_of_use);
        state.is_swept = !state.idle.is_empty();
        state.is_swept
    }

    async fn connect<T>(self: Arc<Self>) -> Result<Box<Connection<C>>, SendError>
    where
        C: Service<Uri, Response = Watched<T>, Error = BoxError> + Clone,
        T: Read + Write + Unpin + Send + 'static,
    {
        let socket = self.connector.clone().call(self.origin.clone()).await;
        let socket = socket.map_err(|error| SendError::Unreached(Some(error)))?;
        let watch = Arc::clone(socket.watch());
        let (mut sender, conversation) = self.http.handshake(socket).await.map_err(SendError::Died)?;
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(error) = conversation.await {
                let _ = tell.send(error);
            }
        });
        if let Err(closed) = sender.ready().await {
            // Closed as soon as it was made: the connection knows why.
            return Err(SendError::Died(told.await.unwrap_or(closed)));
        }
        let pool = Arc::downgrade(&self);
        Ok(Box::new(Connection { sender, watch, is_reused: false, is_given_up: false, pool }))
    }
}

/// One of [`State::finishing`].
struct Finishing<C>(Arc<Shared<C>>);

impl<C> Finishing<C> {
    /// None where as many are kept already as may be: they are no request's, so nothing else bounds them.
    fn begin(pool: &Arc<Shared<C>>) -> Option<Self> {
        let mut state = pool.state();
        if state.idle.len().saturating_add(state.finishing) >= pool.kept.connections_max {
            return None;
        }
        state.finishing = state.finishing.saturating_add(1);
        Some(Self(Arc::clone(pool)))
    }
}

impl<C> Drop for Finishing<C> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.finishing = state.finishing.saturating_sub(1);
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

impl<C> Connection<C> {
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

impl<C: Send + Sync + 'static> Connection<C> {
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

impl<C: Send + Sync + 'static> Carrier for Connection<C> {
    fn answer_was_read(self: Box<Self>) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests;
