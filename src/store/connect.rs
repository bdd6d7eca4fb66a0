//! Connections to the store, on which no write waits for ever: a store that stops reading is let go. \[IO\]

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;
use tower_service::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Makes TCP connections; TLS goes on top of it.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    http: HttpConnector,
    write_timeout: Duration,
}

impl Connector {
    pub(super) fn new(connect_timeout: Duration, write_timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(connect_timeout));
        Self { http, write_timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Stream, Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let write_timeout = self.write_timeout;
        let connecting = self.http.call(uri);
        async move {
            let mut stream = TimeoutWriter::new(connecting.await?.into_inner());
            stream.set_timeout(Some(write_timeout));
            Ok(Stream(TokioIo::new(Box::pin(stream))))
        }
        .boxed()
    }
}

/// A TCP connection with a bound on each write.
#[derive(Debug)]
pub(super) struct Stream(TokioIo<Pin<Box<TimeoutWriter<TcpStream>>>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(context, pieces)
    }
}
