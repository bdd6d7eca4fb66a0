//! The operator's listener: metrics, who asks most, health and the snapshot, on an address of its own. \[IO\]
//!
//! Invariants: who may look in is decided by [`entry`] before anything is told; whatever comes to this
//! listener costs the clients of the other one nothing but [`CONNECTIONS_MAX`] connections, each of which
//! ends within [`CONNECTION_TIME_MAX`].

mod answers;
mod entry;
mod heaviest;
mod scrape;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use self::entry::{EntryError, Standing};
use super::{terms::CurrentTerms, tls::TlsListener};
use crate::{
    config::AdminTransport,
    limits::{Counts, Sender},
};

/// Connections at one time: a scraper or two, an operator, a probe. Others wait in the system's queue.
const CONNECTIONS_MAX: usize = 64;

/// Connections of one address at one time.
const CONNECTIONS_PER_ADDRESS_MAX: u64 = 16;

/// The head of a request must have arrived within this time, and so must the next one's.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection ends after this time, whatever it does.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);

/// The head of a request, all headers of a scraper included.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves until the task is ended; over `tls` where the configuration says so.
pub(super) async fn run(listener: TcpListener, terms: Arc<CurrentTerms>, tls: Option<Arc<TlsListener>>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let by_address = Counts::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(super::ACCEPT_REST).await;
            continue;
        };
        let held = by_address.try_add(Sender::at(peer.ip()), 1, CONNECTIONS_PER_ADDRESS_MAX);
        let Some(held) = held else { continue };
        let visitor = Visitor { peer, terms: Arc::clone(&terms), tls: tls.clone() };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, serve(visitor, stream)).await;
            drop((slot, held));
        });
    }
}

/// Who looks in, and at what.
#[derive(Clone)]
struct Visitor {
    peer: SocketAddr,
    terms: Arc<CurrentTerms>,
    tls: Option<Arc<TlsListener>>,
}

async fn serve(visitor: Visitor, stream: TcpStream) {
    let transport = visitor.terms.load().server.admin_entry.transport;
    match (transport, &visitor.tls) {
        (AdminTransport::Plain, _) => converse(visitor, stream).await,
        (AdminTransport::Tls, Some(tls)) => {
            let config = match tls.admin_config() {
                Ok(config) => config,
                Err(error) => return tracing::warn!(%error, "the admin listener cannot speak TLS"),
            };
            let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
            if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIME_MAX, handshake).await {
                converse(visitor, stream).await;
            }
        }
        // No configuration says so.
        (AdminTransport::Tls, None) => {}
    }
}

async fn converse(visitor: Visitor, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request| {
        let visitor = visitor.clone();
        async move { Ok::<_, Infallible>(respond(request, visitor).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(request: Request<Incoming>, visitor: Visitor) -> Response<Full<Bytes>> {
    let Visitor { peer, terms, tls } = visitor;
    let (terms, (head, _)) = (terms.load_full(), request.into_parts());
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let token = terms.server.admin_entry.token.as_ref();
    let standing = match entry::check(token, head.uri.path(), authority, &head.headers) {
        Ok(standing) => standing,
        Err(refused) => {
            terms.front.metrics().events.admin_refused.one();
            tracing::debug!(%peer, ?refused, "a request to the admin listener was refused");
            return refuse(refused);
        }
    };
    if !matches!(head.method, Method::GET | Method::HEAD) {
        let detail = json!({ "detail": "the admin listener takes GET and HEAD" });
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, "application/json", detail.to_string());
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if head.uri.path() == "/readyz" {
        let readiness = terms.front.readiness(SystemTime::now()).await;
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let says = match standing {
            Standing::Operator => readiness.for_the_operator(),
            Standing::Stranger if readiness.is_ready() => json!({ "status": "ready" }),
            Standing::Stranger => json!({ "detail": readiness.for_strangers() }),
        };
        return response(status, "application/json", says.to_string());
    }
    // The kernel is asked for files, and a snapshot of many is counted: not where requests are served.
    let answering = tokio::task::spawn_blocking(move || answers::answer(&head, &terms.front, tls.as_deref()));
    match answering.await {
        Ok(answers::Answer { status, content_type, body }) => response(status, content_type, body),
        Err(_) => response(StatusCode::INTERNAL_SERVER_ERROR, "application/json", json!({}).to_string()),
    }
}

fn refuse(refused: EntryError) -> Response<Full<Bytes>> {
    let (status, detail) = match refused {
        EntryError::Token => {
            (StatusCode::UNAUTHORIZED, "show the token of server.admin_token_file: Authorization: Bearer …")
        }
        EntryError::Host => {
            (StatusCode::MISDIRECTED_REQUEST, "ask by an address or as localhost, or set a token")
        }
    };
    let mut response = response(status, "application/json", json!({ "detail": detail }).to_string());
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
