//! One request to the Hub or its storage, and its answer, with an end to every wait. \[IO\]
//!
//! The connections are those of [`crate::client::http`]; what differs is the body, which may be a piece of a
//! file that is too large for memory.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;

use crate::client::http::{NoAnswer, SILENCE_MAX, root_cause};

/// A client over TLS or plain HTTP/1.1. Which URLs it may call is what [`super::endpoint`] decides.
pub(crate) type HubHttp = Client<HttpsConnector<HttpConnector>, HubBody>;

/// A file is read and sent in pieces of this size.
const PIECE_BYTES: u64 = 256 * 1024;

/// A host that does not take a connection by then is not there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);

/// A client that trusts whom `tls` says.
pub(crate) fn connect(tls: ClientConfig) -> HubHttp {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIME_MAX));
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Client::builder(TokioExecutor::new()).build(tls.enable_http1().wrap_connector(tcp))
}

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of a request; it counts what has left.
pub(crate) struct HubBody {
    pieces: Pieces,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl HubBody {
    fn new(pieces: Pieces, left: u64) -> Self {
        Self { pieces, left, sent: Arc::default() }
    }

    /// A piece of a file: `length` bytes from `from` on. A file that has fewer by then breaks the request.
    pub(super) fn of_file(path: PathBuf, from: u64, length: u64) -> Self {
        let first = (None::<File>, path, from, length);
        let pieces = stream::try_unfold(first, async |(file, path, at, left)| {
            if left == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || read_piece(file, path, at, left)).await;
            let (file, path, piece) = read.map_err(io::Error::other)??;
            let taken = piece.len() as u64;
            Ok(Some((piece, (Some(file), path, at.saturating_add(taken), left.saturating_sub(taken)))))
        });
        Self::new(Box::pin(pieces), length)
    }
}

fn read_piece(file: Option<File>, path: PathBuf, at: u64, left: u64) -> io::Result<(File, PathBuf, Bytes)> {
    let mut file = match file {
        Some(file) => file,
        None => {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(at))?;
            file
        }
    };
    let mut piece = Vec::new();
    file.by_ref().take(left.min(PIECE_BYTES)).read_to_end(&mut piece)?;
    match piece.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok((file, path, piece.into())),
    }
}

impl From<Bytes> for HubBody {
    fn from(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        Self::new(Box::pin(stream::iter((left > 0).then_some(Ok(bytes)))), left)
    }
}

impl Body for HubBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = ready!(self.pieces.as_mut().poll_next(context));
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            let length = piece.len() as u64;
            self.left = self.left.saturating_sub(length);
            self.sent.fetch_add(length, Ordering::Relaxed);
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Sends a request and waits for the head of its answer, for as long as something moves.
pub(super) async fn send(http: &HubHttp, request: Request<HubBody>) -> Result<Response<Incoming>, NoAnswer> {
    send_within(http, request, SILENCE_MAX).await
}

async fn send_within(
    http: &HubHttp,
    request: Request<HubBody>,
    silence_max: Duration,
) -> Result<Response<Incoming>, NoAnswer> {
    let sent = Arc::clone(&request.body().sent);
    let mut answer = std::pin::pin!(http.request(request));
    let mut seen = 0;
    loop {
        match tokio::time::timeout(silence_max, &mut answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is_connect() => return Err(NoAnswer::Unreached(root_cause(&error))),
            Ok(Err(error)) => return Err(NoAnswer::Broken(root_cause(&error))),
            Err(_) => {
                let by_now = sent.load(Ordering::Relaxed);
                if by_now == seen {
                    return Err(NoAnswer::Silent(silence_max));
                }
                seen = by_now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_piece_of_a_file_is_sent_as_it_stands() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..PIECE_BYTES * 2 + 100).map(|at| (at % 251) as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        for (from, length) in [(0, content.len()), (5, 10), (7, PIECE_BYTES as usize + 1), (0, 0)] {
            let body = HubBody::of_file(file.path().to_owned(), from as u64, length as u64);
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            let sent = Arc::clone(&body.sent);
            let whole = body.collect().await.unwrap().to_bytes();
            assert_eq!(whole, content[from..from + length]);
            assert_eq!(sent.load(Ordering::Relaxed), length as u64);
        }
        let body = HubBody::of_file(file.path().to_owned(), content.len() as u64 - 1, 2);
        assert!(body.collect().await.is_err(), "a file that is shorter by now");
    }
}
