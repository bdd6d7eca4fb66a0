//! P40, P41, P45, P47: requests and answers that meet while one is still on its way, and peers that are slow
//! or odd.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::harness::{
    client::{Answer, Call, Key, Payload},
    closed_port::ClosedPort,
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::Reply,
};

const MIB: usize = 1 << 20;

fn with_limits(limits: &str) -> Setup {
    Setup { limits: limits.to_owned(), ..Setup::default() }
}

#[tokio::test]
async fn p40_a_refused_upload_sees_the_403_and_not_a_reset() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        let put = Call::put(&BOB.file("f"), bytes(12 * MIB)).payload(Payload::Unsigned);
        for call in [
            put.clone(),
            put.clone().presigned(),
            put.clone().http_chunked(),
            put.clone().payload(Payload::UnsignedTrailer).trailer("x-amz-checksum-crc32"),
            put.clone().query("partNumber", "1").query("uploadId", "u"),
        ] {
            // The client sends all of it before it looks.
            let answer = server.send(&key, &call).await;
            assert!(answer.refused(403, "AccessDenied").starts_with("FolderDenied: "));
            assert_eq!(answer.get("connection"), Some("close"));
            server.store.saw_nothing();
        }
    }
    // Likewise who proves nothing, and who sends to a place that takes no body.
    let wrong = Key::Session { access_key: ALICE.ss58(), secret: "x".to_owned(), token: None };
    let put = Call::put(&ALICE.file("f"), bytes(6 * MIB)).payload(Payload::Unsigned);
    server.send(&wrong, &put).await.refused(400, "InvalidToken");
    let get = Call::get(&BOB.file("f")).body(bytes(6 * MIB)).payload(Payload::Unsigned);
    server.send(&ALICE.hotkey(), &get).await.refused(403, "AccessDenied");
    let acl = Call::put(&ALICE.file("f"), bytes(6 * MIB)).payload(Payload::Unsigned).query("acl", "");
    server.send(&ALICE.hotkey(), &acl).await.refused(501, "NotImplemented");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p40_a_body_that_turns_out_false_sees_its_refusal() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    // False from the first chunk on, with 20 MiB to follow.
    let call = Call::put(&ALICE.file("f"), bytes(20 * MIB)).chunks(Payload::SignedChunks, 65_536).tamper(
        |mut body| {
            body[1000] ^= 1;
            body
        },
    );
    server.send(&key, &call).await.refused(403, "SignatureDoesNotMatch");
    assert!(server.store.keys().is_empty());
    assert!(server.store.seen().iter().all(|seen| !seen.whole));
}

#[tokio::test]
async fn p40_request_documents_that_are_too_large_see_their_refusal() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    for call in [
        Call::post("", bytes(12 * MIB)).query("delete", "").payload(Payload::Unsigned),
        Call::post("", bytes(12 * MIB)).query("delete", "").payload(Payload::Unsigned).http_chunked(),
        Call::post(&ALICE.file("f"), bytes(12 * MIB)).query("uploadId", "u").payload(Payload::Unsigned),
    ] {
        server.send(&key, &call).await.refused(400, "MaxMessageLengthExceeded");
    }
    let answer = server.open_session(&ALICE, &bytes(5 * MIB)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    server.store.saw_nothing();
}

#[tokio::test]
async fn p40_who_expects_a_100_gets_the_answer_without_it() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for (name, status) in [(BOB.file("f"), 403), (ALICE.file("../f"), 400)] {
            let call =
                Call::put(&name, bytes(MIB)).payload(Payload::Unsigned).smuggled("expect", "100-continue");
            let signed = server.sign(&key, &call);
            let mut connection = server.connect().await;
            connection.send(&signed.head()).await;
            let answer = connection.answer("PUT").await;
            assert_eq!((answer.status, answer.interim.as_slice()), (status, &[][..]));
            assert_eq!(answer.get("connection"), Some("close"));
            assert!(connection.closed().await);
        }
        server.store.saw_nothing();
        // And who may write gets it, and then sends.
        let call = Call::put(&ALICE.file("f"), bytes(MIB))
            .payload(Payload::Unsigned)
            .smuggled("expect", "100-continue");
        let signed = server.sign(&key, &call);
        let mut connection = server.connect().await;
        connection.send(&signed.head()).await;
        server.store.wait(|seen| !seen.is_empty()).await;
        connection.send(&signed.body).await;
        let answer = connection.answer("PUT").await;
        assert_eq!((answer.status, answer.interim.as_slice()), (200, &[100][..]));
        // Also where the body is read before the store hears of it.
        let small = Call::put(&ALICE.file("g"), bytes(2000)).smuggled("expect", "100-continue");
        let signed = server.sign(&key, &small);
        connection.send(&signed.head()).await;
        connection.send(&signed.body).await;
        assert_eq!(connection.answer("PUT").await.status, 200);
        server.store.forget();
    }
}

#[tokio::test]
async fn p40_a_small_refused_body_keeps_nobody_waiting() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let signed = server.sign(&key, &Call::put(&BOB.file("f"), bytes(2000)));
    let mut connection = server.connect().await;
    // The head alone: the refusal comes before the body, and the connection takes the rest and ends.
    connection.send(&signed.head()).await;
    connection.answer("PUT").await.refused(403, "AccessDenied");
    connection.send(&signed.body).await;
    assert!(connection.closed().await);
}

/// What the client must see of an early answer of the store.
fn early(status: u16, code: &str) -> Reply {
    Reply::error(status, code, "why").early()
}

#[tokio::test]
async fn p41_an_early_answer_of_the_store_reaches_the_client() {
    for (status, code, seen_status, seen_code) in [
        (503, "SlowDown", 503, "SlowDown"),
        (507, "InsufficientStorage", 507, "InsufficientStorage"),
        (500, "InternalError", 500, "InternalError"),
        (400, "EntityTooLarge", 400, "EntityTooLarge"),
        (404, "NoSuchUpload", 404, "NoSuchUpload"),
        // What the store refuses the server is an outage.
        (403, "AccessDenied", 503, "ServiceUnavailable"),
    ] {
        let server = TestServer::start().await;
        let key = server.session(&ALICE).await;
        server.store.always(early(status, code));
        for length in [2000, 8 * MIB] {
            let call = Call::put(&ALICE.file("f"), bytes(length)).payload(Payload::Unsigned);
            for call in [call.clone(), call.chunks(Payload::SignedChunks, 65_536)] {
                let started = Instant::now();
                let answer = server.send(&key, &call).await;
                answer.refused(seen_status, seen_code);
                assert!(started.elapsed() < Duration::from_secs(10));
                assert_eq!(server.store.seen().len(), 1, "a consumed body is sent once");
                server.store.forget();
            }
        }
    }
}

#[tokio::test]
async fn p41_an_early_yes_is_no_success() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    server.store.always(Reply::new(200).header("etag", "\"early\"").body("").early());
    let call = Call::put(&ALICE.file("f"), bytes(8 * MIB)).payload(Payload::Unsigned);
    server.send(&key, &call).await.refused(503, "ServiceUnavailable");
}

/// A store of one fixed behaviour on a bare socket: reads the head, then does what it is told.
async fn bare_store(answer: &'static str, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = stream.write_all(answer.as_bytes()).await;
                match then {
                    Then::Reset => {}
                    // As Go's server does: it says that it is done, and gives the peer time to read the
                    // answer.
                    Then::Close => {
                        let _ = stream.shutdown().await;
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                    // Neither reads nor closes: the worst of both.
                    Then::Hold => std::future::pending().await,
                }
            });
        }
    });
    endpoint
}

#[derive(Clone, Copy)]
enum Then {
    Reset,
    Close,
    Hold,
}

const STORE_BUSY: &str = "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\n\
                          content-length: 56\r\n\r\n\
                          <Error><Code>SlowDown</Code><Message>m</Message></Error>";

#[tokio::test]
async fn p41_a_store_that_answers_and_reads_no_more_hangs_nobody() {
    for then in [Then::Hold, Then::Close, Then::Reset] {
        let endpoint = Some(bare_store(STORE_BUSY, then).await);
        let server = TestServer::with(Setup { endpoint, ..Setup::default() }).await;
        let call = Call::put(&ALICE.file("f"), bytes(40 * MIB)).payload(Payload::Unsigned);
        let started = Instant::now();
        let answer = server.send(&ALICE.hotkey(), &call).await;
        // A reset may overtake the answer; then it is an outage.
        match answer.element("Code").as_deref() {
            Some("ServiceUnavailable") if matches!(then, Then::Reset) => {}
            _ => drop(answer.refused(503, "SlowDown")),
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn p41_a_store_that_is_away_or_silent_is_an_outage() {
    let away = ClosedPort::hold();
    let endpoints = [
        away.url(),
        bare_store("", Then::Close).await,
        bare_store("", Then::Hold).await,
        bare_store("HTTP/1.1 200 OK\r\ncontent-le", Then::Close).await,
        bare_store("SSH-2.0-OpenSSH_9.6\r\n", Then::Close).await,
    ];
    for endpoint in endpoints {
        let store = "answer_seconds_max = 1\noutage_wait_seconds_max = 1".to_owned();
        let server = TestServer::with(Setup { endpoint: Some(endpoint), store, ..Setup::default() }).await;
        let calls = [
            Call::get(&ALICE.file("f")),
            Call::head(&ALICE.file("f")),
            Call::get("").query("prefix", &ALICE.file("")),
            Call::put(&ALICE.file("f"), bytes(100_000)).payload(Payload::Unsigned),
            Call::delete(&ALICE.file("f")),
        ];
        let answers = join_all(calls.iter().map(async |call| server.send(&ALICE.hotkey(), call).await)).await;
        for answer in answers {
            let message = answer.refused(503, "ServiceUnavailable");
            assert!(!message.contains("127.0.0.1"), "{message}");
        }
    }
}

#[tokio::test]
async fn p41_an_answer_that_breaks_breaks_for_the_client_as_well() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    server.store.always(Reply::new(200).header("content-length", "100000").piece(0, bytes(5000)).broken());
    let answer = server.send(&key, &Call::get(&ALICE.file("f"))).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.whole && answer.body.len() < 100_000);
    // A listing is never a partial one that looks whole.
    server.store.always(Reply::new(200).piece(0, "<ListBucketResult>").broken());
    let answer = server.send(&key, &Call::get("").query("prefix", &ALICE.file(""))).await;
    assert!(!answer.whole);
}

#[tokio::test]
async fn p41_a_stale_connection_is_tried_again_where_nothing_was_sent() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    server.send(&key, &Call::get(&ALICE.file("f"))).await.ok();
    // The store breaks one connection without an answer; a read is asked again, a write is not.
    let (sender, receiver) = std::sync::mpsc::channel();
    sender.send(()).unwrap();
    let receiver = std::sync::Mutex::new(receiver);
    server.store.script(move |seen| {
        let first = seen.key.ends_with("/f") && receiver.lock().unwrap().try_recv().is_ok();
        first.then(|| Reply::new(200).header("content-length", "5").broken().early())
    });
    let answer = server.send(&key, &Call::get(&ALICE.file("f"))).await;
    assert!(answer.status == 200 && (answer.whole || answer.body.is_empty()));
    server.send(&key, &Call::get(&ALICE.file("f"))).await.ok();
}

async fn raw(server: &TestServer, request: &str) -> Option<Answer> {
    let mut connection = server.connect().await;
    let _ = connection.try_send(request.as_bytes()).await;
    connection.try_answer("PUT").await.ok()
}

#[tokio::test]
async fn p45_framing_that_two_could_read_differently_is_refused() {
    let server = TestServer::start().await;
    let data = bytes(2000);
    let key = server.session(&ALICE).await;
    let call = Call::put(&ALICE.file("f"), data.clone()).payload(Payload::Unsigned);
    let call = call.header("x-amz-decoded-content-length", "2000");
    let head = |framing: &str| {
        let mut signed = server.sign(&key, &call);
        signed.headers.retain(|(name, _)| name != "content-length");
        let head = String::from_utf8(signed.head()).unwrap();
        head.replace("\r\n\r\n", &format!("\r\n{framing}\r\n\r\n"))
    };
    let text = String::from_utf8_lossy(&vec![b'a'; 2000]).into_owned();
    let chunked = format!("7d0\r\n{text}\r\n0\r\n\r\n");
    for framing in [
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        "transfer-encoding: \u{b}chunked",
        "content-length: 2000, 2000",
        "content-length: +2000",
        "content-length: 0x7d0",
        "content-length: 2000\r\ncontent-length: 2001",
    ] {
        let answer = raw(&server, &format!("{}{chunked}", head(framing))).await;
        if let Some(answer) = answer {
            assert!((400..=501).contains(&answer.status), "{framing:?}: {}", answer.status);
        }
        server.store.saw_nothing();
    }
    // With both, hyper takes the length away before anyone sees it: then the chunks are all that counts, the
    // connection ends with the answer, and what would follow by the other reading is never a request.
    for framing in [
        "transfer-encoding: chunked\r\ncontent-length: 2000",
        "content-length: 2000\r\ntransfer-encoding: chunked",
        "content-length: 4\r\ntransfer-encoding: chunked",
    ] {
        let smuggled = "DELETE /data-universe/k HTTP/1.1\r\nhost: h\r\n\r\n";
        let mut connection = server.connect().await;
        connection.send(format!("{}{chunked}{smuggled}", head(framing)).as_bytes()).await;
        connection.answer("PUT").await;
        assert!(connection.closed().await, "{framing:?}");
        let seen = server.store.seen();
        assert!(
            seen.len() <= 1 && seen.iter().all(|seen| seen.method == "PUT" && seen.body == text.as_bytes())
        );
        server.store.forget();
    }
    // The same is fine with one framing.
    let answer = raw(&server, &format!("{}{chunked}", head("transfer-encoding: chunked"))).await;
    answer.unwrap().ok();
    server.store.forget();
    // Bad chunks of HTTP's own never make an object.
    for bad in ["-7d0\r\n", "fffffffffffffffff\r\n", "zz\r\n", " \r\n"] {
        let answer =
            raw(&server, &format!("{}{bad}{text}\r\n0\r\n\r\n", head("transfer-encoding: chunked"))).await;
        if let Some(answer) = answer {
            assert!(answer.status != 200, "{bad:?}");
        }
    }
}

#[tokio::test]
async fn p45_headers_of_one_connection_end_there() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    server.store.script(|_| {
        Some(
            Reply::new(200)
                .header("connection", "x-amz-meta-inner, keep-alive")
                .header("x-amz-meta-inner", "of the hop")
                .header("keep-alive", "timeout=5")
                .header("x-amz-meta-outer", "kept")
                .body("x"),
        )
    });
    let call = Call::get(&ALICE.file("f"))
        .smuggled("connection", "x-amz-meta-a, range, close")
        .smuggled("keep-alive", "1")
        .smuggled("te", "trailers")
        .smuggled("upgrade", "h2c")
        .smuggled("proxy-authorization", "Basic eA==")
        .smuggled("cookie", "a=b")
        .smuggled("x-forwarded-for", "10.1.1.1")
        .smuggled("x-real-ip", "10.1.1.1");
    let answer = server.send(&key, &call).await;
    answer.ok();
    assert!(answer.get("x-amz-meta-inner").is_none() && answer.get("keep-alive").is_none());
    assert_eq!(answer.get("x-amz-meta-outer"), Some("kept"));
    let seen = server.store.last();
    for name in [
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "proxy-authorization",
        "cookie",
        "x-forwarded-for",
        "x-real-ip",
        "x-amz-security-token",
    ] {
        assert!(seen.header(name).is_none(), "{name}");
    }
    // A header that is there cannot be taken out of the signature's reach by naming it.
    let call = Call::get(&ALICE.file("f")).header("x-amz-meta-a", "b").smuggled("connection", "x-amz-meta-a");
    server.send(&key, &call).await.ok();
    let call =
        Call::get(&ALICE.file("f")).smuggled("x-amz-meta-a", "b").smuggled("connection", "x-amz-meta-a");
    server.send(&key, &call).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn p45_a_head_has_its_bounds() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let call = Call::get(&ALICE.file("f")).header("x-amz-meta-a", vec![b'a'; 40_000]);
    server.send(&key, &call).await.refused(400, "RequestHeaderSectionTooLarge");
    let mut many = Call::get(&ALICE.file("f"));
    for number in 0..200 {
        many = many.header(&format!("x-amz-meta-{number}"), "v");
    }
    server.send(&key, &many).await.refused(400, "RequestHeaderSectionTooLarge");
    server.store.saw_nothing();
    for request in [
        "GET\r\n\r\n",
        "GET / HTTP/3.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\n\r\n",
    ] {
        if let Some(answer) = raw(&server, request).await {
            assert!(answer.status >= 400, "{request:?}");
        }
    }
    let no_host = server.send_raw("GET", b"GET /data-universe/k HTTP/1.1\r\n\r\n").await;
    assert_eq!(no_host.status, 400);
}

#[tokio::test]
async fn p47_a_head_that_does_not_come_is_not_waited_for() {
    let server = "head_seconds_max = 1".to_owned();
    let server = TestServer::with(Setup { server, ..Setup::default() }).await;
    for begun in ["", "GET /data-universe/k HTTP/1.1\r\nhost: h\r\nx-slow: "] {
        let mut connection = server.connect().await;
        connection.send(begun.as_bytes()).await;
        let started = Instant::now();
        let answer = connection.try_answer("GET").await;
        assert!(answer.is_err() || answer.unwrap().status == 408);
        assert!(started.elapsed() < Duration::from_secs(8));
    }
}

#[tokio::test]
async fn p47_the_head_of_a_next_request_that_dribbles_is_not_waited_for() {
    let server = "head_seconds_max = 1\nidle_seconds_max = 600".to_owned();
    let server = TestServer::with(Setup { server, ..Setup::default() }).await;
    let mut connection = server.connect().await;
    connection.send(b"GET /healthcheck HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(connection.answer("GET").await.status, 200);
    connection.send(b"GET /data-universe/k HTTP/1.1\r\nhost: h\r\nx-slow: ").await;
    let started = Instant::now();
    assert!(connection.try_answer("GET").await.is_err());
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn p40_a_refused_body_is_read_away_for_longer_than_a_head_may_take() {
    let server = "head_seconds_max = 1".to_owned();
    let server = TestServer::with(Setup { server, ..Setup::default() }).await;
    let key = server.session(&ALICE).await;
    let call = Call::put(&BOB.file("f"), bytes(3_000_000));
    let mut signed = server.sign(&key, &call);
    let rest = signed.body.split_off(200_000);
    let mut connection = server.connect().await;
    connection.send_call(&signed).await;
    for piece in rest.chunks(700_000) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        connection.send(piece).await;
    }
    connection.answer("PUT").await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn p47_a_body_that_stalls_is_cut_off_and_leaves_nothing() {
    let server = TestServer::with(with_limits("progress_idle_seconds = 1")).await;
    let key = server.session(&ALICE).await;
    let document = (Call::post("", bytes(1000)).query("delete", ""), 10);
    let uploads = [10_000, 300_000].into_iter().flat_map(|length| {
        let put = Call::put(&ALICE.file("f"), bytes(length));
        let chunked = put.clone().payload(Payload::UnsignedTrailer).trailer("x-amz-checksum-crc32");
        [(put, length - 100), (chunked, length - 100)]
    });
    let stalls: Vec<(Call, usize)> = uploads.chain([document]).collect();
    let answers = stalls.iter().map(async |(call, sent_bytes)| {
        let mut signed = server.sign(&key, call);
        signed.body.truncate(*sent_bytes);
        let mut connection = server.connect().await;
        connection.send_call(&signed).await;
        let started = Instant::now();
        connection.answer(&call.method).await.refused(400, "RequestTimeout");
        assert!(started.elapsed() < Duration::from_secs(8));
    });
    join_all(answers).await;
    assert!(server.store.keys().is_empty());
    assert!(server.store.seen().iter().all(|seen| !seen.whole));
}

#[tokio::test]
async fn p47_a_trickle_is_cut_off() {
    let server =
        TestServer::with(with_limits("progress_grace_seconds = 1\nprogress_bytes_per_second_min = 100000"))
            .await;
    let key = server.session(&ALICE).await;
    let signed = server.sign(&key, &Call::put(&ALICE.file("f"), bytes(200_000)));
    let mut connection = server.connect().await;
    connection.send(&signed.head()).await;
    let started = Instant::now();
    // One piece each 200 ms: never idle, and far below the rate.
    for piece in signed.body.chunks(1000) {
        if connection.try_send(piece).await.is_err() || !connection.silent().await {
            break;
        }
    }
    connection.answer("PUT").await.refused(400, "RequestTimeout");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(server.store.keys().is_empty());
}

#[tokio::test]
async fn p47_a_silent_store_is_not_waited_for_and_its_slow_answer_is() {
    let store = "idle_seconds_max = 1".to_owned();
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let key = server.session(&ALICE).await;
    server.store.script(|seen| {
        let silent = seen.key.ends_with("silent");
        let waits = if silent { 60_000 } else { 700 };
        let reply = Reply::new(200).header("content-length", "30");
        Some(reply.piece(0, bytes(10)).piece(waits, bytes(10)).piece(waits, bytes(10)))
    });
    let started = Instant::now();
    let answer = server.send(&key, &Call::get(&ALICE.file("silent"))).await;
    assert!(!answer.whole && started.elapsed() < Duration::from_secs(8));
    assert!(server.send(&key, &Call::get(&ALICE.file("slow"))).await.ok().body.len() == 30);
}

#[tokio::test]
async fn p47_a_client_that_takes_nothing_is_cut_off() {
    let limits = "progress_idle_seconds = 1\nprogress_bytes_per_second_min = 100000000";
    let server = TestServer::with(with_limits(limits)).await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(24 * MIB));
    let mut connection = server.connect().await;
    connection.send_call(&server.sign(&key, &Call::get(&ALICE.file("f")))).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let answer = connection.answer("GET").await;
    assert!(!answer.whole && answer.body.len() < 24 * MIB);
}

#[tokio::test]
async fn p40_a_body_that_was_read_to_its_end_leaves_its_connection_open() {
    const CRC: &str = "x-amz-checksum-crc32";
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let plain = |length: usize| {
        let put = Call::put(&ALICE.file("f"), bytes(length)).payload(Payload::Unsigned);
        put.header("x-amz-decoded-content-length", length.to_string())
    };
    let delete = format!("<Delete><Object><Key>{}</Key></Object></Delete>", ALICE.file("f"));
    let mut connection = server.connect().await;
    // Small bodies are read before the store is asked, large ones on their way.
    for call in [
        plain(2000),
        plain(200_000),
        Call::put(&ALICE.file("f"), bytes(200_000)).chunks(Payload::UnsignedTrailer, 65_536).trailer(CRC),
        Call::new("POST", "/data-universe").query("delete", "").body(delete),
    ] {
        let signed = server.sign(&key, &call.http_chunked());
        connection.send_call(&signed).await;
        let answer = connection.answer(&signed.method).await;
        answer.ok();
        assert_eq!(answer.get("connection"), None, "{} {}", signed.method, signed.target);
    }
    let json = "POST /get-folder-access HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\
                2\r\n{}\r\n0\r\n\r\n";
    connection.send(json.as_bytes()).await;
    let answer = connection.answer("POST").await;
    assert_eq!((answer.status, answer.get("connection")), (422, None));
    assert!(connection.silent().await);
}
