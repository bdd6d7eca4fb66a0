//! The socket of a client, which notes what it takes (P56) and reads in pieces of a bounded size. \[IO\]
//!
//! It lies below TLS, so that what it notes is what the client's kernel takes. Invariant: what was read
//! ahead, for a header of the PROXY protocol or for TLS, is the first that is read from it afterwards.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
};

use crate::body::progress::ConnectionProgress;

/// A client's socket.
pub(super) struct Socket {
    stream: Take<TcpStream>,
    read_bytes: usize,
    reading: Reading,
    /// Read from the stream, and by nobody else yet.
    ahead: Bytes,
    /// How much is read ahead next: more while the client fills it.
    ahead_bytes: usize,
    progress: Arc<ConnectionProgress>,
}

/// What is read ahead first, and whenever little comes.
const AHEAD_BYTES_MIN: usize = 16 * 1024;

/// How the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Into the reader's own memory.
    Direct,
    /// Ahead, in large pieces: for TLS, which asks for 4 KiB at a time.
    Ahead,
}

impl Socket {
    /// Reads at most `read_bytes` at a time.
    pub(super) fn new(
        stream: TcpStream,
        progress: Arc<ConnectionProgress>,
        read_bytes: usize,
        reading: Reading,
    ) -> Self {
        let _ = stream.set_nodelay(true);
        let stream = stream.take(read_bytes as u64);
        Self { stream, read_bytes, reading, ahead: Bytes::new(), ahead_bytes: AHEAD_BYTES_MIN, progress }
    }

    /// How much is read at a time.
    pub(super) fn read_bytes(&self) -> usize {
        self.read_bytes
    }

    /// What has been read ahead and by nobody yet.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Takes the first bytes off what has been read ahead.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.ahead.advance(bytes.min(self.ahead.len()));
    }

    /// Reads ahead once, at most `bytes_max`; gives how many bytes have come, none at the end of the stream.
    pub(super) async fn read_ahead(&mut self, bytes_max: usize) -> io::Result<usize> {
        let mut buffer = BytesMut::with_capacity(self.ahead.len().saturating_add(bytes_max));
        buffer.extend_from_slice(&self.ahead);
        self.stream.set_limit(bytes_max as u64);
        let bytes = self.stream.read_buf(&mut buffer).await?;
        self.ahead = buffer.freeze();
        Ok(bytes)
    }

    /// Fills what is read ahead; it is empty at the end of the stream.
    fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Memory is taken only when there is something to read: idle connections hold none.
        ready!(self.stream.get_ref().poll_read_ready(context))?;
        let bytes_max = self.ahead_bytes.min(self.read_bytes);
        let mut buffer = BytesMut::with_capacity(bytes_max);
        let bytes = {
            let reading = std::pin::pin!(self.stream.get_mut().read_buf(&mut buffer));
            ready!(reading.poll(context))?
        };
        self.ahead_bytes = match bytes {
            // Whoever fills it has more to send.
            _ if bytes >= bytes_max => bytes_max.saturating_mul(4),
            _ if bytes < bytes_max / 4 => (bytes_max / 4).max(AHEAD_BYTES_MIN),
            _ => bytes_max,
        };
        self.ahead = buffer.freeze();
        Poll::Ready(Ok(()))
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.progress.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.progress.blocked(),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The kernel would keep what is left for a client that does not take it, however long it takes.
        if self.progress.is_too_slow() {
            let _ = self.stream.get_ref().set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            match this.reading {
                Reading::Direct => {
                    this.stream.set_limit(this.read_bytes as u64);
                    return Pin::new(&mut this.stream).poll_read(context, into);
                }
                Reading::Ahead => ready!(this.poll_read_ahead(context))?,
            }
        }
        let taken = this.ahead.split_to(into.remaining().min(this.ahead.len()));
        into.put_slice(&taken);
        if this.ahead.is_empty() {
            // Its memory goes with the last byte.
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(this.stream.get_mut()).poll_write(context, bytes);
        this.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(this.stream.get_mut()).poll_write_vectored(context, pieces);
        this.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_shutdown(context)
    }
}
