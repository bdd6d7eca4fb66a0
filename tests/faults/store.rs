//! A store that breaks off, drips, lies, redirects, or is not to be found.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::line::{Line, Manner};
use crate::harness::{
    client::{Call, Payload},
    server::{ALICE, Setup, TestServer, bytes},
    store::Reply,
};

fn with_store(endpoint: Option<String>, store: &str) -> Setup {
    Setup { endpoint, store: store.to_owned(), ..Setup::default() }
}

fn put(length: usize) -> Call {
    Call::put(&ALICE.file("f"), bytes(length)).payload(Payload::Unsigned)
}

fn list() -> Call {
    Call::get("").query("prefix", &ALICE.file(""))
}

/// Every kind of request, each with its own way to the store.
fn calls() -> [Call; 6] {
    [
        Call::get(&ALICE.file("f")),
        Call::head(&ALICE.file("f")),
        list(),
        put(2000),
        put(200_000),
        Call::delete(&ALICE.file("f")),
    ]
}

#[tokio::test]
async fn p5_an_upload_that_the_store_resets_leaves_the_old_object_whole() {
    let (server, line) = Line::to_a_store(Manner::Through, Setup::default()).await;
    server.send(&ALICE.hotkey(), &put(300_000)).await.ok();
    let old = server.store.object(&ALICE.file("f")).unwrap();
    let new = Call::put(&ALICE.file("f"), vec![7; 500_000]);
    for call in [
        new.clone().payload(Payload::Unsigned),
        new.clone(),
        new.clone().payload(Payload::UnsignedTrailer).trailer("x-amz-checksum-crc32"),
    ] {
        for bytes in [0, 100, 3000, 250_000] {
            line.set(Manner::CutUp(bytes));
            let started = Instant::now();
            server.send(&ALICE.hotkey(), &call).await.refused(503, "ServiceUnavailable");
            assert!(started.elapsed() < Duration::from_secs(5));
            assert_eq!(server.store.object(&ALICE.file("f")).unwrap().etag, old.etag);
        }
    }
    line.set(Manner::Through);
    let got = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    assert_eq!(got.ok().body, bytes(300_000));
}

#[tokio::test]
async fn p41_a_download_that_the_store_resets_is_not_whole() {
    let (server, line) = Line::to_a_store(Manner::Through, Setup::default()).await;
    server.store.put(&ALICE.file("f"), bytes(500_000));
    line.set(Manner::CutDown(200_000));
    let started = Instant::now();
    let answer = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    assert!(answer.status == 200 && !answer.whole && answer.body.len() < 200_000);
    assert_eq!(answer.body, bytes(500_000)[..answer.body.len()]);
    assert!(started.elapsed() < Duration::from_secs(5));
    // In the middle of a head there is no answer yet.
    line.set(Manner::CutDown(20));
    server.send(&ALICE.hotkey(), &put(2000)).await.refused(503, "ServiceUnavailable");
}

#[tokio::test]
async fn p47_a_head_that_drips_in_is_not_waited_for() {
    let drip = Manner::Drip(Duration::from_millis(30));
    let setup = with_store(None, "answer_seconds_max = 1");
    let (server, _line) = Line::to_a_store(drip, setup).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let key = ALICE.hotkey();
    let calls = calls();
    let answers = calls.iter().map(async |call| {
        let started = Instant::now();
        server.send(&key, call).await.refused(503, "ServiceUnavailable");
        assert!(started.elapsed() < Duration::from_secs(8), "{} {:?}", call.method, started.elapsed());
    });
    futures_util::future::join_all(answers).await;
}

#[tokio::test]
async fn p47_a_store_that_accepts_and_says_nothing_is_left_in_time() {
    // By name, TCP and TLS; the last would hold an upload for as long as its client stays.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let setup = with_store(Some(endpoint), "connect_seconds_max = 1\noutage_wait_seconds_max = 1");
    let server = TestServer::with(setup).await;
    let key = ALICE.hotkey();
    let calls = calls();
    let answers = calls.iter().map(async |call| {
        let started = Instant::now();
        server.send(&key, call).await.refused(503, "ServiceUnavailable");
        assert!(started.elapsed() < Duration::from_secs(6), "{} {:?}", call.method, started.elapsed());
    });
    futures_util::future::join_all(answers).await;
}

#[tokio::test]
async fn p47_a_store_that_stops_reading_an_upload_is_left_in_time() {
    let setup = with_store(None, "idle_seconds_max = 1\nanswer_seconds_max = 1");
    let (server, line) = Line::to_a_store(Manner::Through, setup).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    line.set(Manner::Silent);
    for length in [2000, 40 << 20] {
        let started = Instant::now();
        server.send(&ALICE.hotkey(), &put(length)).await.refused(503, "ServiceUnavailable");
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(5000));
}

#[tokio::test]
async fn p47_a_name_that_cannot_be_resolved_is_an_outage_in_bounded_time() {
    let setup = with_store(
        Some("http://store.invalid:9000".to_owned()),
        "connect_seconds_max = 1\noutage_wait_seconds_max = 1",
    );
    let server = TestServer::with(setup).await;
    let key = ALICE.hotkey();
    let calls = calls();
    let answers = calls.iter().map(async |call| {
        let started = Instant::now();
        let message = server.send(&key, call).await.refused(503, "ServiceUnavailable");
        assert!(!message.contains("invalid"), "{message}");
        assert!(started.elapsed() < Duration::from_secs(6), "{} {:?}", call.method, started.elapsed());
    });
    futures_util::future::join_all(answers).await;
}

/// A store that reads a request whole and answers with these bytes, whatever it was.
async fn says(answer: &'static [u8], closes: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut read = Vec::new();
                loop {
                    let Some(head) = read.windows(4).position(|end| end == b"\r\n\r\n") else {
                        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                        continue;
                    };
                    let text = String::from_utf8_lossy(&read[..head]).into_owned();
                    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let whole = head + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
                    while read.len() < whole {
                        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    read.drain(..whole);
                    let _ = stream.write_all(answer).await;
                    if closes {
                        return;
                    }
                }
            });
        }
    });
    (endpoint, accepted)
}

async fn server_before(answer: &'static [u8], closes: bool) -> (TestServer, Arc<AtomicUsize>) {
    let (endpoint, accepted) = says(answer, closes).await;
    (TestServer::with(with_store(Some(endpoint), "outage_wait_seconds_max = 0")).await, accepted)
}

#[tokio::test]
async fn p41_a_body_shorter_than_its_length_is_not_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n0123456789",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n",
    ] {
        let (server, _) = server_before(answer, true).await;
        for call in [Call::get(&ALICE.file("f")), list()] {
            let answer = server.send(&ALICE.hotkey(), &call).await;
            assert!(answer.status == 503 || answer.status == 200 && !answer.whole, "{answer:?}");
        }
    }
    // An error's text may end too early as well: then it is none of S3's.
    let (server, _) =
        server_before(b"HTTP/1.1 404 x\r\ncontent-length: 99\r\n\r\n<Error><Code>NoSuchKey</Code>", true)
            .await;
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.refused(503, "ServiceUnavailable");
}

#[tokio::test]
async fn p60_a_body_longer_than_its_length_ends_there_and_so_does_its_connection() {
    let (server, accepted) =
        server_before(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789HTTP/1.1 200 OK\r\n", false)
            .await;
    for round in 1..4 {
        let answer = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
        assert_eq!(answer.ok().body, b"0123456789");
        assert_eq!(accepted.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn p45_an_answer_that_can_be_read_in_two_ways_is_none() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n012345"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n012345",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n012345",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n012345",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"{\"status\": 200}\r\n\r\n",
    ] {
        let (server, _) = server_before(answer, true).await;
        for call in calls() {
            server.send(&ALICE.hotkey(), &call).await.refused(503, "ServiceUnavailable");
        }
    }
}

#[tokio::test]
async fn p51_a_redirect_is_never_followed_and_never_told() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap().to_string();
    let server = TestServer::start().await;
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for body in [
            String::new(),
            format!("<Error><Code>TemporaryRedirect</Code><Endpoint>{address}</Endpoint></Error>"),
        ] {
            server.store.unscript();
            let location = format!("http://{address}/store-bucket/f");
            server.store.always(Reply::new(status).header("location", &location).body(body));
            for call in calls() {
                let answer = server.send(&ALICE.hotkey(), &call).await;
                answer.refused(503, "ServiceUnavailable");
                let told = format!("{:?} {}", answer.headers, answer.text());
                assert!(!told.contains(&address) && answer.get("location").is_none(), "{told}");
            }
        }
    }
    let followed = tokio::time::timeout(Duration::from_millis(100), elsewhere.accept()).await;
    assert!(followed.is_err(), "somebody went there");
}
