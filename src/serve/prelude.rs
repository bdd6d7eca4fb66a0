//! The first bytes of a connection must come in time.
//!
//! Before a connection is known to speak HTTP/1.1 or HTTP/2 its first bytes are compared with HTTP/2's preface, and no
//! timeout of hyper's runs: a peer that connects and says nothing would hold its slot for ever (P47).

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose version must be known in time; afterwards it is as it was.
pub(super) struct Prelude<S> {
    inner: S,
    /// None once the version is known.
    deadline: Option<Pin<Box<Sleep>>>,
    matched_bytes: usize,
}

impl<S> Prelude<S> {
    pub(super) fn new(inner: S, time_max: Duration) -> Self {
        Self { inner, deadline: Some(Box::pin(sleep(time_max))), matched_bytes: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prelude<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let inner = Pin::new(&mut this.inner);
        let Some(deadline) = &mut this.deadline else { return inner.poll_read(context, buffer) };
        let before = buffer.filled().len();
        if inner.poll_read(context, buffer)?.is_ready() {
            let read = buffer.filled().get(before..).unwrap_or_default();
            let left = PREFACE.get(this.matched_bytes..).unwrap_or_default();
            this.matched_bytes += read.len();
            if read.len() >= left.len() || !left.starts_with(read) || read.is_empty() {
                this.deadline = None;
            }
            return Poll::Ready(Ok(()));
        }
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prelude<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, pieces)
    }
}
