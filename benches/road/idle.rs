//! What 1,000 connections hold that have asked once and wait: over HTTP/1 and HTTP/2, in the clear and with
//! TLS.
//!
//! Each case has a server of its own, so that none is measured with what another has left behind.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    client::conn::{http1, http2},
    http::{Request, StatusCode, header},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsConnector;

use crate::{
    cases::{Case, Form, KIB, MIB},
    load::Shot,
    options::Options,
    subgate::{self, Client},
    transport::{Identity, Transport},
};

/// How many wait.
const CONNECTIONS: usize = 1000;

/// What the server may have in memory with all of them, its program and its store's connections included.
const RESIDENT_BYTES_MAX: u64 = 64 * MIB;

/// So many ask at a time: what is looked at is not what requests under way hold.
const AT_ONCE: usize = 32;

/// None is closed meanwhile, however slow the machine is.
const PATIENCE: &str = "head_seconds_max = 600\nidle_seconds_max = 600";

/// Whoever has been used once is idle after that.
const REST: Duration = Duration::from_secs(2);

/// By which protocol it is asked.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

type NoBody = Empty<Bytes>;

/// A connection that waits, for as long as this is kept.
enum Kept {
    Http1(http1::SendRequest<NoBody>),
    Http2(http2::SendRequest<NoBody>),
}

/// Measures all of them, and fails where one holds too much.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    let identity = Identity::make(dir);
    let tls = subgate::with_tls(&identity);
    let get = Case::new("get-1kib", Form::Get, KIB, CONNECTIONS);
    // Each server believes the sessions of the others: they have one key.
    let signing = subgate::start(options.only_program(), dir, store, "");
    let shot = Client::log_in(signing.port, subgate::MINER).shot(&get);
    drop(signing);
    println!(
        "{:<28} {:>9} {:>9} {:>18} {:>10}",
        format!("{CONNECTIONS} idle connections"),
        "start MiB",
        "idle MiB",
        "KiB per connection",
        "bound MiB"
    );
    let mut excess = Vec::new();
    for (name, protocol, transport) in [
        ("HTTP/1", Protocol::Http1, Transport::Plain),
        ("HTTP/2", Protocol::Http2, Transport::Plain),
        ("HTTP/1 over TLS", Protocol::Http1, identity.transport.clone()),
        ("HTTP/2 over TLS", Protocol::Http2, with_http2(&identity.transport)),
    ] {
        let of_server = match transport {
            Transport::Plain => "",
            Transport::Tls(_) => &tls,
        };
        let server = subgate::start_with(options.only_program(), dir, store, PATIENCE, of_server);
        let before = server.process.resident_bytes();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resident = runtime.block_on(async {
            let mut kept = Vec::new();
            while kept.len() < CONNECTIONS {
                let asking = (0..AT_ONCE.min(CONNECTIONS - kept.len()))
                    .map(|_| ask_once(server.port, &transport, protocol, &shot));
                kept.extend(join_all(asking).await);
            }
            tokio::time::sleep(REST).await;
            let resident = server.process.resident_bytes();
            assert!(kept.iter().all(Kept::is_open), "{name}: connections were closed meanwhile");
            resident
        });
        println!(
            "{name:<28} {:>9.1} {:>9.1} {:>18.1} {:>10}",
            before as f64 / MIB as f64,
            resident as f64 / MIB as f64,
            resident.saturating_sub(before) as f64 / KIB as f64 / CONNECTIONS as f64,
            RESIDENT_BYTES_MAX / MIB
        );
        excess.extend(Some(name).filter(|_| resident > RESIDENT_BYTES_MAX));
    }
    assert!(excess.is_empty(), "idle connections hold too much: {excess:?}");
}

impl Kept {
    fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// The same client, which asks for HTTP/2 in its handshake.
fn with_http2(transport: &Transport) -> Transport {
    match transport {
        Transport::Plain => Transport::Plain,
        Transport::Tls(connector) => {
            let mut config = connector.config().as_ref().clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            Transport::Tls(TlsConnector::from(Arc::new(config)))
        }
    }
}

/// Asks once on a connection of its own, which is kept.
async fn ask_once(port: u16, transport: &Transport, protocol: Protocol, shot: &Shot) -> Kept {
    let stream = TokioIo::new(transport.connect(port).await);
    let mut kept = match protocol {
        Protocol::Http1 => {
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            Kept::Http1(sender)
        }
        Protocol::Http2 => {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            Kept::Http2(sender)
        }
    };
    let answer = match &mut kept {
        Kept::Http1(sender) => sender.send_request(request(shot, protocol)).await,
        Kept::Http2(sender) => sender.send_request(request(shot, protocol)).await,
    };
    let answer = answer.unwrap();
    let status = answer.status();
    let content = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&content));
    kept
}

/// The same request for a client of either protocol.
fn request(shot: &Shot, protocol: Protocol) -> Request<NoBody> {
    let head = shot.pieces.first().unwrap();
    let head = std::str::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines.next().unwrap().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let host = headers.iter().find(|(name, _)| *name == "host").unwrap().1;
    let (target, is_left_out) = match protocol {
        Protocol::Http1 => (target.to_owned(), None),
        // There the host is a part of the target.
        Protocol::Http2 => (format!("http://{host}{target}"), Some(header::HOST)),
    };
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        if is_left_out.as_ref().is_none_or(|left_out| left_out != name) {
            request = request.header(name, value);
        }
    }
    request.body(NoBody::new()).unwrap()
}
