//! The development store: S3 on a directory, served on loopback to the holder of one key pair. \[IO\]
//!
//! s3s speaks S3, and s3s-fs keeps the bytes. `objects` stands between them and says what it adds; `index`
//! knows which objects there are.

mod index;
mod objects;

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use self::objects::{Objects, Operations};
use crate::secret::SecretText;

/// How much of a body hyper may hold for each connection. By its default each of 32 uploads would take 400
/// KB.
const CONNECTION_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long a stop waits for requests that are under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept, for example for want of a file descriptor: connections may end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running store.
#[derive(Debug)]
pub(super) struct DevStore {
    address: SocketAddr,
    objects: Arc<Objects>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl DevStore {
    /// Serves the objects in `dir`, which no other store may serve at the same time.
    pub(super) async fn start(
        dir: &Path,
        access_key: &str,
        secret_key: &SecretText,
        listen: SocketAddr,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let objects = Arc::new(Objects::open(dir)?);
        let mut service = S3ServiceBuilder::new(Operations::new(Arc::clone(&objects)));
        service.set_auth(SimpleAuth::from_single(access_key, secret_key.expose()));
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, service.build(), stopped));
        Ok(Self { address, objects, stop, task })
    }

    /// The address it listens on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a bucket. One that exists is kept with its objects.
    pub(super) fn create_bucket(&self, name: &str) -> io::Result<()> {
        self.objects.make_bucket(name)
    }

    /// Stops, once the requests that are under way have ended or a bounded time has passed.
    pub(super) async fn stop(self) {
        // The task ends by itself only if it panics; there is nothing to stop then.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, service: S3Service, mut stopped: oneshot::Receiver<()>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).max_buf_size(CONNECTION_BUFFER_BYTES_MAX);
    server.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // With Nagle's algorithm, a small answer on a connection that is kept open takes 44 ms.
        let _ = socket.set_nodelay(true);
        let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "development store: connection failed");
            }
        });
    }
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

#[cfg(test)]
mod tests;
