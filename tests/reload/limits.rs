//! Limits: the numbers change, and what was counted and is held stays.

use std::time::Duration;

use super::{Client, with_limits};
use crate::harness::{
    client::Call,
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::Reply,
};

#[tokio::test]
async fn s6_a_rate_goes_on_with_what_was_spent() {
    let server =
        TestServer::with(with_limits("[limits.miner]\nreads_per_second = 1\nreads_burst = 10")).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let get = Call::get(&ALICE.file("f"));
    let mut client = Client::new(&server).await;
    for _ in 0..8 {
        client.send(&ALICE.hotkey(), &get).await.ok();
    }
    // Two of ten are left; where four are allowed at once, none is.
    let narrow = "[limits.miner]\nreads_per_second = 1\nreads_burst = 4";
    let reloaded = server.reload(&with_limits(narrow)).await.unwrap();
    assert_eq!(reloaded.changed, ["limits.miner.reads_burst: 10 -> 4"]);
    client.send(&ALICE.hotkey(), &get).await.refused(503, "SlowDown");
    // An override begins with what was spent under the role.
    let other = format!(
        "[[limits.overrides]]\naccount = \"{}\"\nreads_per_second = 1\nreads_burst = 4\n{narrow}",
        ALICE.ss58()
    );
    server.reload(&with_limits(&other)).await.unwrap();
    Client::new(&server).await.send(&ALICE.hotkey(), &get).await.refused(503, "SlowDown");
    server.reload(&with_limits("[limits.miner]\nreads_per_second = \"none\"")).await.unwrap();
    for _ in 0..20 {
        server.send(&ALICE.hotkey(), &get).await.ok();
    }
}

#[tokio::test]
async fn s6_a_day_goes_on() {
    let day = |max: u64| with_limits(&format!("[limits.miner]\nrequests_per_day_max = {max}"));
    let server = TestServer::with(day(5)).await;
    server.store.put(&BOB.file("f"), bytes(2000));
    let get = Call::get(&BOB.file("f"));
    for _ in 0..5 {
        server.send(&BOB.hotkey(), &get).await.ok();
    }
    for max in [5, 4] {
        server.reload(&day(max)).await.unwrap();
        server.send(&BOB.hotkey(), &get).await.refused(503, "SlowDown");
    }
    server.reload(&day(7)).await.unwrap();
    for _ in 0..2 {
        server.send(&BOB.hotkey(), &get).await.ok();
    }
    server.send(&BOB.hotkey(), &get).await.refused(503, "SlowDown");
}

#[tokio::test]
async fn p58_what_is_under_way_counts_under_the_new_bound_and_ends_as_it_began() {
    let under_way = |max: u64| with_limits(&format!("[limits.miner]\nrequests_under_way_max = {max}"));
    let server = TestServer::with(under_way(2)).await;
    let body = bytes(3000);
    let slow = Reply::new(200)
        .header("content-length", "3000")
        .piece(0, body[..1000].to_vec())
        .piece(1500, body[1000..].to_vec());
    let (path, slow_reply) = (ALICE.file("slow"), slow);
    server.store.put(&ALICE.file("f"), bytes(2000));
    server.store.script(move |seen| seen.target.ends_with("/slow").then(|| slow_reply.clone()));
    let signed = server.sign(&ALICE.hotkey(), &Call::get(&path));
    let mut reader = server.connect().await;
    reader.send_call(&signed).await;
    server.store.wait(|seen| seen.iter().any(|seen| seen.target.ends_with("/slow"))).await;
    server.reload(&under_way(1)).await.unwrap();
    let get = Call::get(&ALICE.file("f"));
    server.send(&ALICE.hotkey(), &get).await.refused(503, "SlowDown");
    let answer = reader.answer("GET").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_slice()));
    // What ended under the old terms is given back to the new ones.
    let mut tries = 0;
    while server.send(&ALICE.hotkey(), &get).await.status != 200 {
        tries += 1;
        assert!(tries < 100, "the place is not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn s6_sizes_of_objects_change_for_those_that_begin() {
    let sizes = |min: u64| with_limits(&format!("object_bytes_min = {min}"));
    let server = TestServer::with(sizes(1024)).await;
    let mut client = Client::new(&server).await;
    client.send(&ALICE.hotkey(), &Call::put(&ALICE.file("f"), bytes(1100))).await.ok();
    server.reload(&sizes(2048)).await.unwrap();
    client
        .send(&ALICE.hotkey(), &Call::put(&ALICE.file("g"), bytes(1100)))
        .await
        .refused(400, "EntityTooSmall");
    server.reload(&Setup::default()).await.unwrap();
    let mut client = Client::new(&server).await;
    client.send(&ALICE.hotkey(), &Call::put(&ALICE.file("g"), bytes(1100))).await.ok();
}
