//! The socket of a client, which notes what it takes (P56) and reads in pieces of a bounded size. \[IO\]

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
};

use crate::body::progress::ConnectionProgress;

/// A client's socket.
pub(super) struct Socket {
    stream: Take<TcpStream>,
    read_bytes: u64,
    progress: Arc<ConnectionProgress>,
}

impl Socket {
    /// Reads at most `read_bytes` at a time.
    pub(super) fn new(stream: TcpStream, progress: Arc<ConnectionProgress>, read_bytes: usize) -> Self {
        let _ = stream.set_nodelay(true);
        let read_bytes = read_bytes as u64;
        Self { stream: stream.take(read_bytes), read_bytes, progress }
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
        this.stream.set_limit(this.read_bytes);
        Pin::new(&mut this.stream).poll_read(context, into)
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
