//! What connections hold that have asked once and wait: little enough for a thousand of them.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::harness::{
    client::{Call, Connection, Signed},
    program::Program,
    server::{ALICE, Setup, TestServer, bytes},
    tls::{Authority, TlsClient},
};

const NAME: &str = "s3.example.com";

/// Of HTTP/1, and as many of HTTP/2.
const CONNECTIONS: usize = 400;

/// What each may hold, the buffers of HTTP and of TLS with all that is grown for the first requests. With
/// TLS a thousand of them have 64 MiB together with the program, which has 20 where it is optimised.
const PLAIN_BYTES_MAX: u64 = 35 * 1024;
const TLS_BYTES_MAX: u64 = 44 * 1024;

/// So many ask at a time.
const AT_ONCE: usize = 20;

/// A connection that waits.
enum Waiting {
    Http1(Connection),
    Http2(SendRequest<Empty<Bytes>>),
}

impl Waiting {
    async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
        signed: &Signed,
    ) -> Self {
        if !is_http2 {
            let mut connection = Connection::over(stream);
            connection.send_call(signed).await;
            assert_eq!(connection.answer("GET").await.ok().body.len(), 1024);
            return Self::Http1(connection);
        }
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let host = signed.headers.iter().find(|(name, _)| name == "host").unwrap().1.clone();
        let uri = format!("http://{}{}", String::from_utf8(host).unwrap(), signed.target);
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value.as_slice());
        }
        let answer = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 1024);
        Self::Http2(sender)
    }

    async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.silent_for(std::time::Duration::from_millis(1)).await,
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

/// How a client comes to its stream.
enum Client {
    Plain,
    Tls { http1: Box<TlsClient>, http2: Box<TlsClient> },
}

impl Client {
    async fn begin(&self, address: SocketAddr, is_http2: bool, signed: &Signed) -> Waiting {
        match self {
            Self::Plain => Waiting::begin(TcpStream::connect(address).await.unwrap(), is_http2, signed).await,
            Self::Tls { http1, http2 } => {
                let client = if is_http2 { http2 } else { http1 };
                let stream = client.connect(address, NAME).await.unwrap();
                Waiting::begin(stream, is_http2, signed).await
            }
        }
    }
}

/// What a server with these lines holds for each connection that waits.
async fn held_by_one(lines: &str, client: Client) -> u64 {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(1024));
    let setup = Setup {
        // So that none is closed meanwhile, however slow the machine is.
        server: format!("head_seconds_max = 300\nidle_seconds_max = 600\n{lines}"),
        limits: "[limits.address]\nconnections_max = 2000".to_owned(),
        ..Setup::default()
    };
    let config = server.dir.path().join("process.toml");
    std::fs::write(&config, setup.text(&format!("http://{}", server.store.address))).unwrap();
    let program = tokio::task::block_in_place(|| Program::serve(&config, &[]));
    let session = server.session(&ALICE).await;
    let signed = Call::get(&ALICE.file("f")).sign(&session, &program.address.to_string());

    let at_start = program.resident_bytes();
    let mut waiting = Vec::new();
    for is_http2 in [false, true] {
        for _ in 0..CONNECTIONS / AT_ONCE {
            let asking = (0..AT_ONCE).map(|_| client.begin(program.address, is_http2, &signed));
            waiting.extend(join_all(asking).await);
        }
    }
    let held = program.resident_bytes().saturating_sub(at_start);
    for connection in &mut waiting {
        assert!(connection.is_open().await, "it was closed meanwhile");
    }
    held / waiting.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_wait_hold_little() {
    let held = held_by_one("", Client::Plain).await;
    assert!((1..=PLAIN_BYTES_MAX).contains(&held), "{held} bytes each");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_wait_hold_little_with_tls() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let entry = authority.issue(&[NAME]).write(dir.path(), "0");
    let speaking = |alpn| {
        let mut client = authority.client();
        client.alpn = vec![alpn];
        Box::new(client)
    };
    let client = Client::Tls { http1: speaking("http/1.1"), http2: speaking("h2") };
    let held = held_by_one(&format!("tls.certificates = [{entry}]"), client).await;
    assert!((1..=TLS_BYTES_MAX).contains(&held), "{held} bytes each");
}
