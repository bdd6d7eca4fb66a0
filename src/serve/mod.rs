//! Listeners, connections and their limits, the orderly end. \[IO\]

mod admin;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::Response;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutWriter;

use crate::{
    access::Access,
    auth::{self, Audience, Verifier, sigv4},
    chain::{ChainWatcher, Registry, RegistryFile},
    config::{self, ChainSource, Config},
    exchange::AnswerBody,
    front::Front,
    limits::{Limits, SharedLimitsError},
    store::Store,
    time::UnixTime,
};

/// Largest read buffer of a connection, and of the pieces in which uploads travel; it grows to this only on a
/// connection that fills it. An upload in pieces of 1 MiB was measured to cost 13 to 33 % less than in pieces
/// of 256 KiB, most of it in the kernel, by how busy the machine was (`cargo bench --bench road`). Larger
/// ones were not tried.
const BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// Smallest: a head of [`HEAD_BYTES_MAX`] fits twice, and a read is still worth its system call.
const BUFFER_BYTES_MIN: usize = 64 * 1024;

/// What the connections share: a connection that comes as the n-th has an n-th of it, within the bounds
/// above. An upload has about three pieces under way: 64 uploads of 1 GiB at once were measured to peak at 93
/// to 126 MiB.
const BUFFERS_BYTES: usize = 16 * 1024 * 1024;

/// The head of a request on HTTP/2; on HTTP/1.1 the read buffer bounds it first, and the gate looks at it
/// then.
const HEAD_BYTES_MAX: usize = crate::proxy::HEAD_BYTES_MAX;

/// Headers of one request that are read at all. The road refuses fewer, with a request id and in XML; what is
/// beyond this is refused by hyper, which can say neither (P68).
const HEADERS_MAX: usize = 1024;

/// Requests at one time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// After a failure to accept (too many open files), the listener rests so long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Why the server does not start; names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {source}")]
    Listen {
        /// `server.listen` or `server.admin`.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The registry cannot be read.
    #[error("chain.file: {0}")]
    Registry(#[from] crate::chain::RegistryFileError),
    /// TLS towards the chain cannot be set up.
    #[error("chain.ca_file: {0}")]
    Chain(#[from] crate::tls::TlsError),
    /// The store's client cannot be made.
    #[error("{0}")]
    Store(#[from] crate::store::StoreClientError),
    /// What replicas share cannot be set up.
    #[error("{0}")]
    SharedLimits(#[from] SharedLimitsError),
    /// The session keys do not fit together.
    #[error("session.keys: {0}")]
    SessionKeys(#[from] auth::SessionKeysError),
}

/// A server that has its ports and is ready to run.
pub struct Server {
    front: Arc<Front>,
    limits: Arc<Limits>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    settings: config::Server,
}

impl Server {
    /// Takes the ports and reads what the configuration names; nothing is answered yet.
    pub async fn bind(mut config: Config) -> Result<Self, ServeError> {
        let mut settings = config.server.clone();
        let listener = listen("server.listen", settings.listen).await?;
        let admin = match settings.admin {
            Some(address) => Some(listen("server.admin", address).await?),
            None => None,
        };
        // Port 0 has become a real one.
        settings.listen = listener.local_addr().unwrap_or(settings.listen);
        config.server.listen = settings.listen;
        let registry = match config.chain.source.clone() {
            ChainSource::File(file) => Registry::File(RegistryFile::open(&file, SystemTime::now())?),
            ChainSource::Subtensor(settings) => Registry::Subtensor(ChainWatcher::start(*settings).await?),
        };
        let store = Store::new(&config.store, &config.bucket.name).await?;
        let verifier = verifier(&config)?;
        let limits = Arc::new(Limits::start(&config.limits).await?);
        let (chain, policy) = (config.chain.clone(), config.policy.clone());
        let access = Access::new(verifier, registry, chain, policy, Arc::clone(&limits));
        let front = Arc::new(Front::new(&config, access, store, Arc::clone(&limits)));
        Ok(Self { front, limits, listener, admin, settings })
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.settings.listen
    }

    /// Where the operator looks in.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until `shutdown`; then takes no more connections and gives those that are there their time to
    /// end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { front, limits, listener, admin, settings } = self;
        let admin = admin.map(|admin| tokio::spawn(admin::run(admin, Arc::clone(&front))));
        let connections = GracefulShutdown::new();
        let slots = Arc::new(Semaphore::new(settings.connections_max));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // A connection is accepted only when there is room for it; others wait in the system's queue.
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots) => accepted,
                () = &mut shutdown => break,
            };
            if let Some((stream, peer, slot)) = accepted {
                let asked = Arc::<AtomicBool>::default();
                let open = settings.connections_max.saturating_sub(slots.available_permits());
                let buffer_bytes = buffer_bytes(open);
                let connection =
                    connection(stream, peer, Arc::clone(&front), &settings, Arc::clone(&asked), buffer_bytes);
                let connection = connections.watch(connection);
                let patience = Duration::from_secs(settings.head_seconds_max);
                tokio::spawn(async move {
                    if let Some(Err(error)) = served(connection, &asked, patience).await {
                        log_unreadable(error.as_ref(), peer);
                    }
                    drop(slot);
                });
            }
        }
        drop(listener);
        tracing::info!(seconds_max = settings.drain_seconds, "shutting down: requests under way may end");
        let drained =
            tokio::time::timeout(Duration::from_secs(settings.drain_seconds), connections.shutdown()).await;
        if drained.is_err() {
            tracing::warn!("requests that did not end within server.drain_seconds are cut off");
        }
        limits.settle(SystemTime::now().into()).await;
        if let Some(admin) = admin {
            admin.abort();
        }
    }
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_REST).await;
            None
        }
    }
}

/// Serves one connection; one on which nobody has asked anything within `patience` is let go. Hyper's own
/// bound on a head begins only when it knows whether it speaks HTTP/1 or HTTP/2, so that silence, or half of
/// an HTTP/2 preface, would keep a slot for ever. Gives how the connection ended, if it did.
async fn served<T>(connection: impl Future<Output = T>, asked: &AtomicBool, patience: Duration) -> Option<T> {
    let mut connection = std::pin::pin!(connection);
    match tokio::time::timeout(patience, &mut connection).await {
        Ok(ended) => Some(ended),
        Err(_) if asked.load(Ordering::Relaxed) => Some(connection.await),
        Err(_) => None,
    }
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

/// A request that is being answered.
type Answering = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

/// One connection, HTTP/1.1 or HTTP/2 with prior knowledge; `asked` tells that a request has come.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Front>,
    settings: &config::Server,
    asked: Arc<AtomicBool>,
    buffer_bytes: usize,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>>
+ Send
+ 'static {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(Duration::from_secs(settings.write_idle_seconds)));
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        let front = Arc::clone(&front);
        // Boxed, for it has 4 KiB and hyper's dispatcher moves it four times.
        Box::pin(async move { Ok::<_, Infallible>(front.handle(request, peer).await) }) as Answering
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(settings.head_seconds_max))
        .max_buf_size(buffer_bytes)
        .max_headers(HEADERS_MAX)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(20))
        .keep_alive_interval(Some(Duration::from_secs(settings.head_seconds_max)))
        .keep_alive_timeout(Duration::from_secs(settings.head_seconds_max));
    builder.serve_connection(TokioIo::new(Box::pin(stream)), service).into_owned()
}

/// The read buffer of the last of `open` connections.
fn buffer_bytes(open: usize) -> usize {
    let share = BUFFERS_BYTES.checked_div(open).unwrap_or(BUFFERS_BYTES);
    share.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { setting, address, source })
}

fn verifier(config: &Config) -> Result<Verifier, auth::SessionKeysError> {
    let keys = config.session.keys.iter().map(|key| auth::SessionKey {
        id: key.id.clone(),
        secret: key.secret.clone(),
        accept_until: key.accept_until.map(UnixTime::from_seconds),
    });
    Ok(Verifier::new(auth::Settings {
        region: config.bucket.region.clone(),
        session_keys: auth::SessionKeys::new(keys.collect(), &config.session.issue_with)?,
        audience: Audience {
            receiver: config.session.receiver,
            allow_none: config.session.allow_no_receiver,
        },
        session_seconds_max: config.session.ttl_seconds_max,
        presigned_seconds_max: sigv4::PRESIGNED_SECONDS_MAX,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ends(asked: bool) -> bool {
        let asked = AtomicBool::new(asked);
        let serving = served(std::future::pending::<()>(), &asked, Duration::from_millis(10));
        tokio::time::timeout(Duration::from_millis(500), serving).await.is_ok_and(|ended| ended.is_none())
    }

    #[tokio::test]
    async fn p47_a_connection_without_a_request_does_not_keep_its_slot() {
        assert!(ends(false).await);
        assert!(!ends(true).await);
    }
}
