//! Connections that a load balancer passes on, with whose they are before them.

use tokio::net::TcpStream;

use super::{NAME, Secured, ask};
use crate::harness::{
    client::{Call, Connection},
    logs,
    server::{ALICE, Setup, TestServer, bytes},
};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 443\r\n";

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, addresses].concat()
}

/// From 203.0.113.7, with something behind the addresses.
fn v2_tcp4() -> Vec<u8> {
    v2(0x21, 0x11, &[203, 0, 113, 7, 198, 51, 100, 1, 0x9c, 0x40, 1, 0xbb, 4, 0, 1, 0])
}

async fn behind(networks: &str, limits: &str) -> TestServer {
    let server = format!("proxy_protocol.networks = [{networks}]");
    TestServer::with(Setup { server, limits: limits.to_owned(), ..Setup::default() }).await
}

#[tokio::test]
async fn the_address_of_the_header_is_the_clients() {
    logs::capture();
    let server = behind("\"127.0.0.0/8\"", "").await;
    let get = format!("GET /healthcheck HTTP/1.1\r\nhost: {}\r\n\r\n", server.host());
    let local = v2(0x20, 0, &[]);
    let unspecified = v2(0x21, 0, &[1, 2, 3]);
    let tcp6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[9], &[0; 16], &[0, 1, 0, 2]].concat();
    for (header, client) in [
        (V1.to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2_tcp4(), "203.0.113.7"),
        (v2(0x21, 0x21, &tcp6), "2001:db8::9"),
        (local, "127.0.0.1"),
        (unspecified, "127.0.0.1"),
    ] {
        let told = |client: &str| logs::captured().matches(&format!("peer={client} ")).count();
        let before = told(client);
        // With the request in the same segment, and in pieces.
        let mut connection = server.connect().await;
        connection.send(&[&header[..], get.as_bytes()].concat()).await;
        assert_eq!(connection.answer("GET").await.status, 200, "{header:?}");
        assert_eq!(ask(&mut connection).await, 200);
        let mut connection = server.connect().await;
        for piece in header.chunks(5).chain([get.as_bytes()]) {
            connection.send(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(connection.answer("GET").await.status, 200, "{header:?}");
        drop(connection);
        let deadline = std::time::Instant::now() + crate::harness::client::PATIENCE;
        while told(client) < before + 3 {
            assert!(std::time::Instant::now() < deadline, "{client}: {}", logs::captured());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused_without_a_word() {
    let server = behind("\"127.0.0.1\"", "").await;
    let get = format!("GET /healthcheck HTTP/1.1\r\nhost: {}\r\n\r\n", server.host());
    let big = v2(0x21, 0x11, &[0; 5000]);
    for begins in [
        get.as_bytes(),
        b"\x16\x03\x01\x00\x05",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 040000 443\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 65536\r\n",
        b"PROXY UDP4 203.0.113.7 198.51.100.1 40000 443\r\n",
        &[b'P'; 200],
        &[b"PROXY UNKNOWN".to_vec(), vec![b' '; 200]].concat(),
        &v2(0x22, 0x11, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
        &v2(0x21, 0x31, &[0; 216]),
        &big[..16],
    ] {
        let mut connection = server.connect().await;
        let _ = connection.try_send(begins).await;
        assert!(connection.closed().await, "{begins:?}");
    }
    // One that never comes to its end, or never begins: it ends by itself.
    let mut slow = server.connect().await;
    slow.send(&V1[..20]).await;
    assert!(slow.closed().await);
    // Once, and one alone: what follows it is a request.
    let mut twice = server.connect().await;
    twice.send(&[V1, V1, get.as_bytes()].concat()).await;
    assert_eq!(twice.answer("GET").await.status, 400);
}

#[tokio::test]
async fn p15_a_header_from_another_network_counts_for_nothing() {
    logs::capture();
    for networks in ["", "\"10.0.0.0/8\", \"127.0.0.2\""] {
        let server = behind(networks, "").await;
        for header in [V1.to_vec(), v2_tcp4()] {
            let mut connection = server.connect().await;
            let _ = connection.try_send(&header).await;
            let _ = connection.try_send(b"GET /healthcheck HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let refused = connection.try_answer("GET").await;
            assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status == 400), "{header:?}");
        }
        assert_eq!(ask(&mut server.connect().await).await, 200);
    }
    assert!(!logs::captured().contains("203.0.113.7"));
    let secured = Secured::start().await;
    let mut connection = secured.server.connect().await;
    connection.send(&[V1, &[22, 3, 1]].concat()).await;
    assert_eq!(connection.answer("GET").await.status, 400);
}

#[tokio::test]
async fn p55_connections_are_counted_by_the_address_of_the_header() {
    let server = behind("\"127.0.0.1\"", "[limits.address]\nconnections_max = 1").await;
    let other = b"PROXY TCP4 203.0.113.8 198.51.100.1 40000 443\r\n";
    let get = format!("GET /healthcheck HTTP/1.1\r\nhost: {}\r\n\r\n", server.host());
    let mut held = server.connect().await;
    held.send(&[V1, get.as_bytes()].concat()).await;
    assert_eq!(held.answer("GET").await.status, 200);
    let mut second = server.connect().await;
    let _ = second.try_send(&[V1, get.as_bytes()].concat()).await;
    assert!(!second.try_answer("GET").await.is_ok_and(|answer| answer.status == 200));
    let mut neighbour = server.connect().await;
    neighbour.send(&[other, get.as_bytes()].concat()).await;
    assert_eq!(neighbour.answer("GET").await.status, 200);
}

#[tokio::test]
async fn the_header_comes_before_tls_and_no_byte_is_lost() {
    let secured = Secured::with(&[&[NAME]], "proxy_protocol.networks = [\"127.0.0.1\"]").await;
    let server = &secured.server;
    server.store.put(&ALICE.file("f"), bytes(100_000));
    for header in [V1.to_vec(), v2_tcp4()] {
        // The first message of TLS comes with the header, in one segment.
        let stream = Joined { before: header, stream: TcpStream::connect(server.address).await.unwrap() };
        let stream = secured.authority.client().over(stream, NAME).await.unwrap();
        let mut connection = Connection::over(stream);
        connection.send_call(&server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("f")))).await;
        assert_eq!(connection.answer("GET").await.ok().body, bytes(100_000));
    }
    // And not inside it.
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert!(secured.authority.client().over(stream, NAME).await.is_err());
}

/// Puts bytes before the first that are written.
struct Joined {
    before: Vec<u8>,
    stream: TcpStream,
}

impl tokio::io::AsyncRead for Joined {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl tokio::io::AsyncWrite for Joined {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let before = std::mem::take(&mut self.before);
        let joined = [&before[..], bytes].concat();
        let written = std::pin::Pin::new(&mut self.stream).poll_write(context, &joined);
        match written {
            std::task::Poll::Ready(Ok(written)) => {
                assert_eq!(written, joined.len(), "a short message is taken whole");
                std::task::Poll::Ready(Ok(bytes.len()))
            }
            other => {
                self.before = before;
                other
            }
        }
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
