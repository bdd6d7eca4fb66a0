//! Connections, TLS, and one request with its answer: no redirects, and an end to every wait. \[IO\]

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;

use crate::tls::{self, TlsError};

/// A client over TLS or plain HTTP/1.1. Which URLs it may call is for the caller to check.
pub(crate) type HttpClient = ClientOf<SentBody>;

/// The same for requests with another kind of body.
pub(crate) type ClientOf<B> = Client<HttpsConnector<HttpConnector>, B>;

/// A host that does not take a connection by then is not there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(20);

/// A connection on which nothing moves for so long is given up: neither does it take a byte of the request,
/// nor does it bring one of the answer.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A request's body goes out in pieces of this size, so that it can be seen whether it moves.
const PIECE_BYTES: usize = 64 * 1024;

/// A client that trusts the system's certificates and those of `ca_file`, a PEM file.
pub(crate) fn new(ca_file: Option<&Path>) -> Result<HttpClient, TlsError> {
    Ok(with_tls(tls::client_config(ca_file)?))
}

/// A client that trusts whom `tls` says.
pub(crate) fn with_tls<B>(tls: ClientConfig) -> ClientOf<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIME_MAX));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The innermost cause of an error: "connection refused" rather than "client error (Connect)".
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The body of a request, which is in memory as a whole; it counts what has left.
#[derive(Debug)]
pub(crate) struct SentBody {
    left: Bytes,
    sent: Arc<AtomicU64>,
}

impl From<Bytes> for SentBody {
    fn from(bytes: Bytes) -> Self {
        Self { left: bytes, sent: Arc::default() }
    }
}

/// A body that counts the bytes that have left, so that it can be seen whether a request moves.
pub(crate) trait CountsSent {
    /// The count so far.
    fn sent(&self) -> Arc<AtomicU64>;
}

impl CountsSent for SentBody {
    fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.left.len().min(PIECE_BYTES);
        let piece = self.left.split_to(length);
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// No connection came to be.
    #[error("cannot be reached: {0}")]
    Unreached(String),
    /// The connection broke.
    #[error("broke the connection: {0}")]
    Broken(String),
    /// Nothing moved for [`SILENCE_MAX`], or for as long as the caller gave.
    #[error("has been silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// It did not come to its end in that time.
    #[error("did not finish its answer within {} s", .0.as_secs())]
    Unfinished(Duration),
    /// The answer is larger than anything it could be.
    #[error("answered with more than {0} bytes")]
    TooLong(usize),
}

/// Sends a request and waits for the head of its answer. `silence_max` is how long nothing may move.
pub(crate) async fn send<B>(
    client: &ClientOf<B>,
    request: Request<B>,
    silence_max: Duration,
) -> Result<Response<Incoming>, NoAnswer>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + CountsSent,
    B: Send + Unpin + 'static,
{
    let sent = request.body().sent();
    let mut answer = std::pin::pin!(client.request(request));
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

/// The next bytes of an answer's body; none at its end.
pub(crate) async fn next_bytes(body: &mut Incoming) -> Result<Option<Bytes>, NoAnswer> {
    loop {
        match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Err(_) => return Err(NoAnswer::Silent(SILENCE_MAX)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(NoAnswer::Broken(root_cause(&error))),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads a whole body of at most `bytes_max`.
pub(crate) async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, NoAnswer> {
    let mut whole = Vec::new();
    while let Some(data) = next_bytes(&mut body).await? {
        if data.len() > bytes_max.saturating_sub(whole.len()) {
            return Err(NoAnswer::TooLong(bytes_max));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// The same, for a body that comes within `time_max` however it drips.
pub(crate) async fn collect_within(
    time_max: Duration,
    body: Incoming,
    bytes_max: usize,
) -> Result<Bytes, NoAnswer> {
    let collected = tokio::time::timeout(time_max, collect(body, bytes_max)).await;
    collected.unwrap_or(Err(NoAnswer::Unfinished(time_max)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_leaves_in_pieces_and_counts_them() {
        let bytes = Bytes::from(vec![7; PIECE_BYTES * 2 + 1]);
        let mut body = SentBody::from(bytes.clone());
        let sent = Arc::clone(&body.sent);
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        let mut whole = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            whole.extend_from_slice(&frame.into_data().unwrap());
            assert_eq!(sent.load(Ordering::Relaxed), whole.len() as u64);
        }
        assert_eq!((Bytes::from(whole), body.is_end_stream()), (bytes, true));
        assert!(SentBody::from(Bytes::new()).is_end_stream());
    }
}
