//! P60: what a connection to the store may still be used for.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::harness::{
    client::{Call, Payload},
    server::{ALICE, Setup, TestServer, bytes},
};

/// What a store does with the first request of its first connection; all others are served as they should be.
#[derive(Clone, Copy)]
enum First {
    /// Answers on the head alone, then reads the rest and takes it for another request.
    Early(&'static str),
    /// Sends one answer more than it was asked for.
    Surplus,
}

/// The requests that were read whole, each with the number of its connection.
type Log = Arc<Mutex<Vec<(usize, String)>>>;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\netag: \"e\"\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: 56\r\n\r\n\
                    <Error><Code>SlowDown</Code><Message>m</Message></Error>";

async fn store(first: First) -> (TestServer, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    let log = Log::default();
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let first = (number == 0).then_some(first);
            tokio::spawn(connection(stream, number, first, Arc::clone(&seen)));
        }
    });
    (TestServer::with(Setup { endpoint, ..Setup::default() }).await, log)
}

async fn connection(mut stream: TcpStream, number: usize, mut first: Option<First>, log: Log) {
    let mut read = Vec::new();
    loop {
        let head_bytes = loop {
            if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&read[..head_bytes]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole_bytes = head_bytes + length.map_or(0, |length| length.parse::<usize>().unwrap());
        let first = first.take();
        if let Some(First::Early(answer)) = first {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        while read.len() < whole_bytes {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        read.drain(..whole_bytes);
        log.lock().unwrap().push((number, head.lines().next().unwrap().to_owned()));
        let answer = match first {
            None | Some(First::Early(_)) => OK.to_owned(),
            Some(First::Surplus) => OK.repeat(2),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn put(name: &str, length: usize) -> Call {
    Call::put(&ALICE.file(name), bytes(length)).payload(Payload::Unsigned)
}

/// Whether the store has read this object, and on which connection.
fn arrived(log: &Log, name: &str) -> Option<usize> {
    let log = log.lock().unwrap();
    log.iter().find(|(_, line)| line.contains(&ALICE.file(name))).map(|(number, _)| *number)
}

#[tokio::test]
async fn p60_a_yes_before_the_uploads_end_is_none() {
    let (server, log) = store(First::Early(OK)).await;
    let signed = server.sign(&ALICE.hotkey(), &put("a", 100_000));
    let mut client = server.connect().await;
    client.send(&signed.head()).await;
    client.send(&signed.body[..50_000]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _ = client.try_send(&signed.body[50_000..]).await;
    client.answer("PUT").await.refused(503, "ServiceUnavailable");
    // The object that comes next is read by the store before anybody is told that it is there.
    for name in ["b", "c"] {
        server.send(&ALICE.hotkey(), &put(name, 5000)).await.ok();
        assert!(arrived(&log, name).unwrap() > 0);
    }
}

#[tokio::test]
async fn p60_a_no_before_the_uploads_end_is_told_and_ends_the_connection() {
    let (server, log) = store(First::Early(BUSY)).await;
    let signed = server.sign(&ALICE.hotkey(), &put("a", 100_000));
    let mut client = server.connect().await;
    client.send(&signed.head()).await;
    client.send(&signed.body[..50_000]).await;
    let rest = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = client.try_send(&signed.body[50_000..]).await;
        client.answer("PUT").await
    };
    rest.await.refused(503, "SlowDown");
    for name in ["b", "c"] {
        server.send(&ALICE.hotkey(), &put(name, 5000)).await.ok();
        assert!(arrived(&log, name).unwrap() > 0);
    }
}

#[tokio::test]
async fn p60_surplus_is_never_the_next_answer() {
    for call in [Call::get(&ALICE.file("a")), Call::head(&ALICE.file("a")), put("a", 5000)] {
        let (server, log) = store(First::Surplus).await;
        server.send(&ALICE.hotkey(), &call).await.ok();
        for name in ["b", "c"] {
            server.send(&ALICE.hotkey(), &put(name, 5000)).await.ok();
            assert!(arrived(&log, name).unwrap() > 0, "{} {name}", call.method);
        }
    }
}

#[tokio::test]
async fn p60_a_store_that_answers_in_turn_keeps_its_connection() {
    let (server, log) = store(First::Early("")).await;
    for (name, length) in [("a", 5000), ("b", 3_000_000), ("c", 100_000)] {
        server.send(&ALICE.hotkey(), &put(name, length)).await.ok();
        assert_eq!(arrived(&log, name), Some(0));
    }
    // An interim answer may come at any time.
    let (server, log) = store(First::Early("HTTP/1.1 100 Continue\r\n\r\n")).await;
    let signed = server.sign(&ALICE.hotkey(), &put("a", 100_000));
    let mut client = server.connect().await;
    client.send(&signed.head()).await;
    client.send(&signed.body[..50_000]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.send(&signed.body[50_000..]).await;
    client.answer("PUT").await.ok();
    server.send(&ALICE.hotkey(), &put("b", 5000)).await.ok();
    assert_eq!(arrived(&log, "b"), Some(0));
}
