//! P47, P55, P56: clients that are slow on purpose, by HTTP/1.1 and HTTP/2. Paces are configured small, so
//! that a test takes seconds; what is asserted is that an end comes, and what it looks like.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::Frame,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::harness::{
    client::{Call, PATIENCE, Signed},
    logs,
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::Reply,
};

const MIB: usize = 1 << 20;

/// Who takes nothing for a second, or is slower than that for long, is ended.
async fn impatient(bytes_per_second_min: u32) -> TestServer {
    let limits = format!(
        "progress_idle_seconds = 1\nprogress_grace_seconds = 1\n\
         progress_bytes_per_second_min = {bytes_per_second_min}"
    );
    TestServer::with(Setup { limits, ..Setup::default() }).await
}

/// A connection of HTTP/2 with such a window for each stream, and the task that ends with it.
async fn http2(server: &TestServer, window_bytes: u32) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window_bytes)
        .initial_connection_window_size(64 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let ended = tokio::spawn(async move { drop(connection.await) });
    (sender, ended)
}

fn request(server: &TestServer, signed: Signed) -> http::Request<Full<Bytes>> {
    let uri = format!("http://{}{}", server.host(), signed.target);
    let mut request = http::Request::builder().method(signed.method.as_str()).uri(uri);
    for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value.as_slice());
    }
    request.body(Full::new(Bytes::from(signed.body))).unwrap()
}

/// Waits for the access record of a file of that name, which no other test has, with such an outcome.
async fn outcome(name: &str, expected: &str) {
    let (name, expected) = (format!("/{name}\""), format!("outcome=\"{expected}\""));
    let is_it = |line: &str| line.contains(&name) && line.contains(&expected);
    let found = async {
        while !logs::access_records().lines().any(is_it) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no record of {name} with {expected}"));
}

#[tokio::test]
async fn p56_a_reader_of_a_trickle_is_cut_off() {
    let server = impatient(1 << 20).await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("trickle"), bytes(64 * MIB));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&server.sign(&key, &Call::get(&ALICE.file("trickle"))).head()).await.unwrap();
    // Never silent for long, and far below the rate.
    let reading = async {
        while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = outcome("trickle", "too_slow") => {}
        () = reading => outcome("trickle", "too_slow").await,
    }
}

#[tokio::test]
async fn p56_a_window_of_zero_ends_its_connection() {
    let server = impatient(16 * 1024).await;
    let key = server.session(&ALICE).await;
    for (name, file_bytes, window_bytes) in
        [("window-small-0", 1000, 0), ("window-large-0", MIB, 0), ("window-large-1000", MIB, 1000)]
    {
        server.store.put(&ALICE.file(name), bytes(file_bytes));
        let (mut sender, ended) = http2(&server, window_bytes).await;
        let signed = server.sign(&key, &Call::get(&ALICE.file(name)));
        let _answer =
            timeout(PATIENCE, sender.send_request(request(&server, signed))).await.unwrap().unwrap();
        timeout(PATIENCE, ended).await.expect(name).unwrap();
        outcome(name, "too_slow").await;
    }
}

#[tokio::test]
async fn p56_a_stuck_stream_ends_though_another_one_goes_on() {
    let server = impatient(16 * 1024).await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(MIB));
    server.store.put(&ALICE.file("stuck"), bytes(MIB));
    let (mut sender, ended) = http2(&server, 65_535).await;
    let signed = server.sign(&key, &Call::get(&ALICE.file("stuck")));
    let _stuck = sender.send_request(request(&server, signed)).await.unwrap();
    let others = async {
        loop {
            let signed = server.sign(&key, &Call::get(&ALICE.file("f")));
            let Ok(answer) = sender.send_request(request(&server, signed)).await else { return };
            if answer.into_body().collect().await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, others).await.expect("the stuck stream goes on");
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    outcome("stuck", "too_slow").await;
}

#[tokio::test]
async fn p56_a_slow_store_is_not_the_clients_fault() {
    let server = impatient(1 << 20).await;
    let key = server.session(&ALICE).await;
    server.store.script(|_| {
        let reply = Reply::new(200).header("content-length", "40");
        Some((0..4).fold(reply, |reply, _| reply.piece(900, bytes(10))))
    });
    let call = Call::get(&ALICE.file("f"));
    let (mut sender, _connection) = http2(&server, 65_535).await;
    let over_http2 = async {
        let answer = sender.send_request(request(&server, server.sign(&key, &call))).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes().len()
    };
    let (over_http1, over_http2) = tokio::join!(server.send(&key, &call), over_http2);
    assert_eq!((over_http1.ok().body.len(), over_http2), (40, 40));
}

#[tokio::test]
async fn p56_a_trickling_upload_ends_by_http2_as_well() {
    let server = impatient(1 << 20).await;
    let key = server.session(&ALICE).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let signed = server.sign(&key, &Call::put(&ALICE.file("f"), bytes(300_000)));
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from(bytes(1000)))), ()))
    });
    let request = request(&server, signed).map(|_| StreamBody::new(Box::pin(trickle)));
    let answer = timeout(PATIENCE, sender.send_request(request)).await.expect("the trickle goes on").unwrap();
    assert_eq!(answer.status(), 400);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("<Code>RequestTimeout</Code>"));
    assert!(server.store.keys().is_empty());
}

#[tokio::test]
async fn p55_a_connection_without_a_stream_is_closed_whatever_pings_come() {
    let setup = "idle_seconds_max = 1".to_owned();
    let server = TestServer::with(Setup { server: setup, ..Setup::default() }).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(100))
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let ended = tokio::spawn(connection);
    let health = http::Request::get(format!("http://{}/healthcheck", server.host()));
    let health = health.body(Full::new(Bytes::new())).unwrap();
    drop(sender.send_request(health).await.unwrap());
    timeout(PATIENCE, ended).await.expect("pings keep it open").unwrap().unwrap();
    // A connection that is used meanwhile stays.
    let key = server.session(&BOB).await;
    server.store.put(&BOB.file("f"), bytes(1000));
    let (mut sender, connection) = http2(&server, 65_535).await;
    for _ in 0..15 {
        let signed = server.sign(&key, &Call::get(&BOB.file("f")));
        let answer = sender.send_request(request(&server, signed)).await.expect("it is used");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 1000);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(sender);
    timeout(PATIENCE, connection).await.unwrap().unwrap();
}
