//! The plain side of a TLS connection. \[IO\]
//!
//! One read takes all records that have come, so that an upload goes on to the store in pieces as large as
//! without TLS: tokio-rustls does that from 0.26.6 on, and keeps an error that follows data for the next
//! read. And it takes no more at a time than without TLS: hyper makes room for twice as much once a read has
//! filled what there is, and each piece on its way keeps its room.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio_rustls::server::TlsStream;

use super::Socket;
use crate::observe::TlsVersion;

/// A client's connection after its handshake.
pub(in crate::serve) struct TlsSocket {
    stream: Take<TlsStream<Socket>>,
    read_bytes: u64,
}

impl TlsSocket {
    /// Reads as much at a time as its socket does.
    pub(super) fn new(stream: TlsStream<Socket>) -> Self {
        let read_bytes = stream.get_ref().0.read_bytes() as u64;
        Self { stream: stream.take(read_bytes), read_bytes }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TlsStream<Socket>> {
        Pin::new(self.get_mut().stream.get_mut())
    }

    /// What was agreed on.
    pub(in crate::serve) fn version(&self) -> TlsVersion {
        match self.stream.get_ref().get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            // There is no third.
            Some(_) | None => TlsVersion::Tls13,
        }
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.stream.set_limit(this.read_bytes);
        match Pin::new(&mut this.stream).poll_read(context, into) {
            // A client that ends without saying so in TLS ends all the same: HTTP tells by the length whether
            // something is missing, and its answer may still be on its way.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        time::Instant,
    };
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::{
        body::{pace::Pace, progress::ConnectionProgress},
        serve::socket::Reading,
    };

    const READ_BYTES: usize = 1000;
    const SENT_BYTES: usize = 5500;

    /// Buffers grow with what one read brings (see the head of this file).
    #[tokio::test]
    async fn p54_a_read_brings_no_more_than_without_tls_and_the_next_what_is_left() {
        let made = rcgen::generate_simple_self_signed(["s3.example".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let send = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let connector = TlsConnector::from(Arc::new(client));
            let mut stream = connector.connect("s3.example".try_into().unwrap(), stream).await.unwrap();
            stream.write_all(&[b'x'; SENT_BYTES]).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let receive = async {
            let (stream, _) = listener.accept().await.unwrap();
            let pace = Pace::idle(Duration::from_secs(60));
            let progress = ConnectionProgress::begin(pace, READ_BYTES, Instant::now());
            let socket = Socket::new(stream, progress, READ_BYTES, Reading::Ahead);
            let stream = TlsAcceptor::from(Arc::new(server)).accept(socket).await.unwrap();
            let mut stream = TlsSocket::new(stream);
            let mut reads = Vec::new();
            loop {
                match stream.read(&mut [0; SENT_BYTES]).await.unwrap() {
                    0 => return reads,
                    bytes => reads.push(bytes),
                }
            }
        };
        let (reads, ()) = tokio::join!(receive, send);
        assert_eq!(reads.iter().sum::<usize>(), SENT_BYTES);
        assert!(reads.iter().all(|bytes| *bytes <= READ_BYTES), "{reads:?}");
    }
}
