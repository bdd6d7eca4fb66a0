//! A connection to the store that notices an answer which comes before its request is all sent (P60). \[IO\]
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9112#section-9.5>. A store that answers before an upload's end
//! may take the upload's rest for its next request, and its answer to that would be read as the answer to
//! ours. What comes on a connection that nobody uses is noticed by hyper, which closes it.
//!
//! Invariant: a connection on which an answer came too early stays marked, so that no success on it is
//! believed any more.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tower_service::Service;

use crate::observe::{Metrics, StoreConnection};

/// What is read at a time while a request is not all sent; an interim answer (100 to 199) that is longer, or
/// comes in pieces, counts as an answer.
const EARLY_BYTES_MAX: usize = 2048;

/// What is noticed of one connection.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// An upload on this connection has more to hand over.
    uploading: AtomicBool,
    /// Something that was handed over waits to be sent.
    sending: AtomicBool,
    answered_early: AtomicBool,
}

impl Watch {
    /// Tells whether an upload has more to hand over: before it is sent, and by its body, which hyper polls
    /// in the one task that also reads this connection.
    pub(super) fn set_uploading(&self, uploading: bool) {
        self.uploading.store(uploading, Ordering::Release);
    }

    /// Whether an answer came too early on this connection, at any time.
    pub(super) fn has_answered_early(&self) -> bool {
        self.answered_early.load(Ordering::Acquire)
    }

    fn is_request_all_sent(&self) -> bool {
        !self.uploading.load(Ordering::Acquire) && !self.sending.load(Ordering::Acquire)
    }
}

/// Whether these bytes are one interim answer, which may come at any time.
fn is_interim(bytes: &[u8]) -> bool {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    (bytes.starts_with(b"HTTP/1.1 1") || bytes.starts_with(b"HTTP/1.0 1"))
        && bytes.windows(BLANK_LINE.len()).position(|window| window == BLANK_LINE)
            == bytes.len().checked_sub(BLANK_LINE.len())
}

/// Makes connections that are watched, and counted.
#[derive(Debug, Clone)]
pub(super) struct WatchedConnector<C> {
    pub(super) connector: C,
    pub(super) metrics: Arc<Metrics>,
}

impl<C> Service<Uri> for WatchedConnector<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Watched<C::Response>;
    type Error = C::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let metrics = Arc::clone(&self.metrics);
        let connecting = self.connector.call(uri);
        connecting
            .map(move |connected| match connected {
                Ok(io) => Ok(Watched::new(io, &metrics)),
                Err(error) => {
                    metrics.store.connect_failures.one();
                    Err(error)
                }
            })
            .boxed()
    }
}

/// A watched connection.
pub(super) struct Watched<T> {
    io: T,
    watch: Arc<Watch>,
    _counted: StoreConnection,
}

impl<T> Watched<T> {
    /// A connection that has just been made, to be counted in `metrics`.
    pub(super) fn new(io: T, metrics: &Arc<Metrics>) -> Self {
        Self { io, watch: Arc::default(), _counted: StoreConnection::begin(metrics) }
    }

    /// What is noticed of it.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.is_request_all_sent() {
            return Pin::new(&mut this.io).poll_read(context, into);
        }
        // A cursor does not show what was read into it, so the rare early bytes take a way round.
        let mut early = [0; EARLY_BYTES_MAX];
        let room_bytes = into.remaining().min(EARLY_BYTES_MAX);
        let mut early = ReadBuf::new(early.get_mut(..room_bytes).unwrap_or_default());
        ready!(Pin::new(&mut this.io).poll_read(context, early.unfilled()))?;
        let bytes = early.filled();
        if !bytes.is_empty() && !is_interim(bytes) {
            this.watch.answered_early.store(true, Ordering::Release);
        }
        into.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.sending.store(true, Ordering::Release);
        Pin::new(&mut this.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.watch.sending.store(true, Ordering::Release);
        Pin::new(&mut this.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Hyper flushes when it has written all that it holds.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(context))?;
        this.watch.sending.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p60_an_interim_answer_is_no_early_one() {
        for (bytes, is_it) in [
            ("HTTP/1.1 100 Continue\r\n\r\n", true),
            ("HTTP/1.1 102 Processing\r\nserver: x\r\n\r\n", true),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_interim(bytes.as_bytes()), is_it, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn p60_bytes_that_come_while_a_request_waits_to_be_sent_mark_the_connection() {
        use std::future::poll_fn;

        use hyper_util::rt::TokioIo;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        async fn read(connection: &mut Watched<TokioIo<tokio::io::DuplexStream>>) -> Vec<u8> {
            let mut room = [0; 100];
            let mut buffer = ReadBuf::new(&mut room);
            poll_fn(|context| Pin::new(&mut *connection).poll_read(context, buffer.unfilled()))
                .await
                .unwrap();
            buffer.filled().to_vec()
        }

        let (near, mut store) = tokio::io::duplex(8);
        let mut connection = Watched::new(TokioIo::new(near), &Metrics::new());
        let write = poll_fn(|context| Pin::new(&mut connection).poll_write(context, b"0123456789"));
        assert_eq!(write.await.unwrap(), 8);
        store.write_all(b"HTTP/1.1").await.unwrap();
        assert_eq!(read(&mut connection).await, b"HTTP/1.1");
        assert!(connection.watch.has_answered_early());

        let (near, mut store) = tokio::io::duplex(100);
        let mut connection = Watched::new(TokioIo::new(near), &Metrics::new());
        poll_fn(|context| Pin::new(&mut connection).poll_write(context, b"0123456789")).await.unwrap();
        poll_fn(|context| Pin::new(&mut connection).poll_flush(context)).await.unwrap();
        store.read_exact(&mut [0; 10]).await.unwrap();
        store.write_all(b"HTTP/1.1 200").await.unwrap();
        assert_eq!(read(&mut connection).await, b"HTTP/1.1 200");
        assert!(!connection.watch.has_answered_early());
        // With more of the upload to come it would have been too early.
        connection.watch.set_uploading(true);
        store.write_all(b" OK").await.unwrap();
        assert_eq!(read(&mut connection).await, b" OK");
        assert!(connection.watch.has_answered_early());
    }
}
