//! The orderly end.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::{net::TcpStream, time::sleep};

use super::process::Process;
use crate::harness::{
    client::{Call, Connection, Signed},
    server::{ALICE, TestServer, bytes},
    store::Reply,
};

/// The access lines of these requests.
fn access(process: &Process, method: &str) -> Vec<Value> {
    let is_access = |line: &Value| line["target"] == "subgate::access" && line["method"] == method;
    process.lines().into_iter().filter(is_access).collect()
}

/// A PUT of which the first half is sent.
async fn begin_upload(process: &Process) -> (Connection, Signed, usize) {
    let call =
        Call::put(&ALICE.file("long"), bytes(200_000)).sign(&ALICE.hotkey(), &process.address.to_string());
    let mut connection = process.connect().await;
    let half = call.body.len() / 2;
    connection.send(&[call.head(), call.body[..half].to_vec()].concat()).await;
    (connection, call, half)
}

#[tokio::test]
async fn the_end_is_announced_then_nobody_is_accepted_and_what_is_under_way_ends() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let lines = "admin = \"127.0.0.1:0\"\ndrain_announce_seconds = 1";
    let mut process = Process::start(&server, lines).await;
    let (mut upload, call, half) = begin_upload(&process).await;
    let get = Call::get(&ALICE.file("f")).sign(&ALICE.hotkey(), &process.address.to_string());
    let mut idle = process.connect().await;
    idle.send_call(&get).await;
    assert_eq!(idle.answer("GET").await.ok().get("connection"), None);
    assert_eq!(process.get("/readyz").await.status, 200);

    process.signal(process.pid(), Signal::TERM);
    process.wait_for_words("about to stop").await;
    // Whoever still comes is served, and told to come by another connection next time.
    let answer = process.get("/readyz").await;
    assert_eq!((answer.status, answer.get("connection")), (503, Some("close")));
    assert!(answer.text().contains("about to stop"), "{}", answer.text());
    idle.send_call(&get).await;
    let answer = idle.answer("GET").await;
    assert_eq!((answer.ok().body.len(), answer.get("connection")), (5000, Some("close")));
    assert!(idle.closed().await);

    process.wait_for_words("no more connections are accepted").await;
    assert!(TcpStream::connect(process.address).await.is_err());
    upload.send(&call.body[half..]).await;
    assert_eq!(upload.answer("PUT").await.ok().get("connection"), Some("close"));
    assert_eq!(process.exit().await.code(), Some(0));
    assert_eq!(server.store.object(&ALICE.file("long")).unwrap().data, call.body);
}

#[tokio::test]
async fn with_nothing_under_way_it_ends_at_once_whatever_is_idle() {
    let server = TestServer::start().await;
    let mut process = Process::start(&server, "").await;
    let mut idle = process.connect().await;
    idle.send(format!("GET /readyz HTTP/1.1\r\nhost: {}\r\n\r\n", process.address).as_bytes()).await;
    idle.answer("GET").await.ok();
    // Ctrl-C: the person does not wait for load balancers.
    process.signal(process.pid(), Signal::INT);
    assert_eq!(process.exit().await.code(), Some(0));
    assert!(idle.closed().await);
    assert_eq!(process.count("cut off"), 0);
}

#[tokio::test]
async fn what_has_not_ended_by_the_bound_is_cut_and_its_line_says_who_did_it() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let lines = "drain_announce_seconds = 0\ndrain_seconds_max = 1";
    let mut process = Process::start(&server, lines).await;
    check_cut(&server, &mut process, &[Signal::TERM], "drain_seconds_max").await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let mut process = Process::start(&server, "drain_announce_seconds = 600").await;
    // The announcement, what is under way, and the end.
    check_cut(&server, &mut process, &[Signal::TERM, Signal::TERM, Signal::INT], "another signal").await;
}

#[tokio::test]
async fn who_has_handed_over_lets_its_transfers_end_when_the_whole_service_is_stopped() {
    let server = TestServer::start().await;
    // The order finds the old process while it announces its end, and while it waits for its transfers.
    for announce_seconds in [600, 0] {
        std::fs::remove_file(server.dir.path().join("subgate")).unwrap_or_default();
        let lines = format!("drain_announce_seconds = {announce_seconds}");
        let mut process = Process::start(&server, &lines).await;
        let (mut upload, call, half) = begin_upload(&process).await;
        let first = process.pid();
        let second = process.hand_over(first).await;
        if announce_seconds == 0 {
            process.wait_for_words("no more connections are accepted").await;
        }
        // As `systemctl stop` does it.
        process.signal(second, Signal::TERM);
        process.signal(first, Signal::TERM);
        match announce_seconds {
            0 => process.wait_for_words("one more signal cuts it off").await,
            _ => process.wait_for_words("no more connections are accepted").await,
        };
        upload.send(&call.body[half..]).await;
        upload.answer("PUT").await.ok();
        assert_eq!(process.exit().await.code(), Some(0));
        assert_eq!(process.count("another signal asks for it"), 0);
        if announce_seconds > 0 {
            // The new one still announces its end: one more signal is for that.
            process.signal(second, Signal::TERM);
        }
        process.wait_until_gone(second).await;
    }
}

#[tokio::test]
async fn the_second_order_cuts_what_is_under_way_at_a_process_that_has_handed_over() {
    let server = TestServer::start().await;
    let mut process = Process::start(&server, "drain_announce_seconds = 0").await;
    let (mut upload, ..) = begin_upload(&process).await;
    let first = process.pid();
    let second = process.hand_over(first).await;
    process.wait_for_words("no more connections are accepted").await;
    process.signal(first, Signal::TERM);
    process.wait_for_words("one more signal cuts it off").await;
    process.signal(first, Signal::TERM);
    assert_eq!(process.exit().await.code(), Some(0));
    assert_eq!(process.count("another signal asks for it"), 1);
    assert!(upload.try_answer("PUT").await.is_err());
    process.signal(second, Signal::TERM);
    process.wait_until_gone(second).await;
}

/// Ends `process` by these signals while an upload and a download are under way.
async fn check_cut(server: &TestServer, process: &mut Process, signals: &[Signal], words: &str) {
    let (mut upload, ..) = begin_upload(process).await;
    let reply =
        Reply::new(200).header("content-length", "5000").piece(0, bytes(1000)).piece(60_000, bytes(4000));
    server.store.script(move |seen| (seen.method == "GET").then(|| reply.clone()));
    let get = Call::get(&ALICE.file("f")).sign(&ALICE.hotkey(), &process.address.to_string());
    let mut download = process.connect().await;
    download.send_call(&get).await;
    assert!(!download.silent_for(Duration::from_secs(20)).await);
    for signal in signals {
        process.signal(process.pid(), *signal);
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(process.exit().await.code(), Some(0));
    assert_eq!(process.count(words), 1, "{:#?}", process.lines());
    assert!(!download.answer("GET").await.whole);
    assert!(upload.try_answer("PUT").await.is_err());
    for method in ["GET", "PUT"] {
        let lines = access(process, method);
        assert_eq!(lines.len(), 1, "{method}: {lines:?}");
        assert_eq!((&lines[0]["outcome"], &lines[0]["cut_by"]), (&"cut_by_server".into(), &"server".into()));
    }
}
