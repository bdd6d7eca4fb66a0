//! The store of `subgate dev` and of the tests: s3s-fs on a directory, served on loopback. \[IO\]
//!
//! `objects` stands between s3s and s3s-fs and says what it mends; `index` is its table of contents.

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

use self::objects::Objects;
use crate::secret::SecretText;

/// What hyper may hold of one connection's body. Its default, 400 KB, is what 32 uploads would each take.
const CONNECTION_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long a stop waits for what is under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// After a failed accept (no file descriptor left): time for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running store.
#[derive(Debug)]
pub(crate) struct EmbeddedStore {
    address: SocketAddr,
    objects: Arc<Objects>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl EmbeddedStore {
    /// Serves the objects under `dir`, which must not be served twice, to the holder of one key pair.
    pub(crate) async fn start(
        dir: &Path,
        access_key: &str,
        secret_key: &SecretText,
        listen: SocketAddr,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let objects = Arc::new(Objects::open(dir)?);
        let mut service = S3ServiceBuilder::new(objects::Handle(Arc::clone(&objects)));
        service.set_auth(SimpleAuth::from_single(access_key, secret_key.expose()));
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, service.build(), stopped));
        Ok(Self { address, objects, stop, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket; one that is there is kept.
    pub(crate) fn create_bucket(&self, name: &str) -> io::Result<()> {
        self.objects.make_bucket(name)
    }

    /// Lets what is under way end, for a bounded time, and stops.
    pub(crate) async fn stop(self) {
        // The task has ended by itself only if it panicked, and then there is nothing to stop.
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
        // With Nagle's algorithm a small answer on a kept connection takes 44 ms.
        let _ = socket.set_nodelay(true);
        let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "embedded store: connection");
            }
        });
    }
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
}

#[cfg(test)]
mod tests;
