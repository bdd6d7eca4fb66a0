//! What connections hold that have asked once and wait: little enough for a thousand of them.

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::apart::{Apart, Stream};
use crate::harness::{
    client::{Call, Connection, Signed},
    server::{ALICE, bytes},
};

const CONNECTIONS: usize = 400;

/// So many ask at a time.
const AT_ONCE: usize = 20;

/// What each may hold, the buffers of HTTP and of TLS with all that is grown for a first request: a tenth
/// more than was measured. A thousand of them have less than 64 MiB together with the program,
/// which has 20 where it is optimised.
const HTTP1_BYTES_MAX: u64 = 20 * 1024;
const HTTP2_BYTES_MAX: u64 = 28 * 1024;
const HTTP1_OVER_TLS_BYTES_MAX: u64 = 28 * 1024;
const HTTP2_OVER_TLS_BYTES_MAX: u64 = 40 * 1024;

/// By which protocol it is asked.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

/// A connection that waits.
enum Waiting {
    Http1(Connection),
    Http2(SendRequest<Empty<Bytes>>),
}

impl Waiting {
    async fn begin(stream: Box<dyn Stream>, protocol: Protocol, signed: &Signed) -> Self {
        match protocol {
            Protocol::Http1 => {
                let mut connection = Connection::over(stream);
                connection.send_call(signed).await;
                assert_eq!(connection.answer("GET").await.ok().body.len(), 1024);
                Self::Http1(connection)
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
                let (mut sender, connection) = handshake.await.unwrap();
                tokio::spawn(connection);
                let answer = sender.send_request(request(signed)).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 1024);
                Self::Http2(sender)
            }
        }
    }

    async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.silent_for(std::time::Duration::from_millis(1)).await,
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// The same request for HTTP/2.
fn request(signed: &Signed) -> http::Request<Empty<Bytes>> {
    let host = signed.headers.iter().find(|(name, _)| name == "host").unwrap().1.clone();
    let uri = format!("http://{}{}", String::from_utf8(host).unwrap(), signed.target);
    let mut request = http::Request::builder().uri(uri);
    for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value.as_slice());
    }
    request.body(Empty::new()).unwrap()
}

/// Fails where a connection that waits holds more than so much.
async fn holds_at_most(bytes_max: u64, protocol: Protocol, has_tls: bool) {
    let server = Apart::start(has_tls, None).await;
    server.beside.store.put(&ALICE.file("f"), bytes(1024));
    let signed = server.sign(&Call::get(&ALICE.file("f")));
    let client = server.client(match protocol {
        Protocol::Http1 => "http/1.1",
        Protocol::Http2 => "h2",
    });
    let ask = async || {
        let asking =
            (0..AT_ONCE).map(async |_| Waiting::begin(client.connect().await, protocol, &signed).await);
        join_all(asking).await
    };
    // What the first ones need beside themselves is none of the others'.
    let mut waiting = ask().await;
    let at_start = server.program.resident_bytes();
    for _ in 0..CONNECTIONS / AT_ONCE {
        waiting.extend(ask().await);
    }
    let held = server.program.resident_bytes().saturating_sub(at_start) / CONNECTIONS as u64;
    for connection in &mut waiting {
        assert!(connection.is_open().await, "it was closed meanwhile");
    }
    assert!((1..=bytes_max).contains(&held), "{held} bytes each");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_http1_that_wait_hold_little() {
    holds_at_most(HTTP1_BYTES_MAX, Protocol::Http1, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_http2_that_wait_hold_little() {
    holds_at_most(HTTP2_BYTES_MAX, Protocol::Http2, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_http1_that_wait_hold_little_with_tls() {
    holds_at_most(HTTP1_OVER_TLS_BYTES_MAX, Protocol::Http1, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_http2_that_wait_hold_little_with_tls() {
    holds_at_most(HTTP2_OVER_TLS_BYTES_MAX, Protocol::Http2, true).await;
}
