//! What one hotkey can do, and that another is served as before meanwhile.

use super::{refused_in_json, slowed_down, with_limits};
use crate::harness::{
    client::Call,
    logs,
    server::{ALICE, ALICE_SECOND, BOB, TestServer, VALIDATOR, bytes},
    store::Reply,
    vending::{folder_request, ok, validator_request},
};

async fn filled(limits: &str) -> TestServer {
    let server = with_limits(limits).await;
    for person in [&*ALICE, &*BOB] {
        server.store.put(&person.file("f"), bytes(2000));
    }
    server
}

#[tokio::test]
async fn s6_p49_a_rate_is_refused_by_name_and_costs_nobody_else_anything() {
    let server = filled("[limits.miner]\nreads_per_second = 1\nreads_burst = 4").await;
    let (alice, bob) = (server.session(&ALICE).await, server.session(&BOB).await);
    for _ in 0..4 {
        server.send(&alice, &Call::get(&ALICE.file("f"))).await.ok();
    }
    server.store.forget();
    let answer = server.send(&alice, &Call::get(&ALICE.file("f"))).await;
    assert_eq!(
        answer.refused(503, "SlowDown"),
        "Please reduce your request rate: limits.miner.reads_per_second is reached. Try again in 1 s."
    );
    assert_eq!(answer.get("retry-after"), Some("1"));
    slowed_down(&answer, "limits.miner.reads_per_second");
    slowed_down(&server.send(&alice, &Call::head(&ALICE.file("f"))).await, "");
    slowed_down(&server.send(&ALICE.hotkey(), &Call::head(&ALICE.file("no"))).await, "");
    slowed_down(
        &server.send(&alice, &Call::get(&ALICE.file("f")).presigned()).await,
        "limits.miner.reads_per_second",
    );
    server.store.saw_nothing();
    // Other classes, another hotkey, and another of the same coldkey.
    server.send(&alice, &Call::get("").query("list-type", "2").query("prefix", &ALICE.file(""))).await.ok();
    server.send(&alice, &Call::put(&ALICE.file("g"), bytes(2000))).await.ok();
    for _ in 0..4 {
        server.send(&bob, &Call::get(&BOB.file("f"))).await.ok();
    }
    server.send(&ALICE_SECOND.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    for _ in 0..20 {
        server.send(&VALIDATOR.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    }
    assert!(logs::access_records().contains("limits.miner.reads_per_second of 1 is reached"));
}

#[tokio::test]
async fn s6_each_class_has_its_rate() {
    let limits =
        "[limits.miner]\nwrites_per_second = 1\nwrites_burst = 1\nlists_per_second = 1\nlists_burst = 1";
    let server = filled(limits).await;
    let alice = server.session(&ALICE).await;
    let list = Call::get("").query("list-type", "2").query("prefix", &ALICE.file(""));
    server.send(&alice, &list).await.ok();
    slowed_down(&server.send(&alice, &list).await, "limits.miner.lists_per_second");
    server.send(&alice, &Call::delete(&ALICE.file("f"))).await.ok();
    for call in [
        Call::put(&ALICE.file("g"), bytes(2000)),
        Call::delete(&ALICE.file("f")),
        Call::post("", "<Delete/>").query("delete", ""),
        Call::post(&ALICE.file("g"), "").query("uploads", ""),
    ] {
        slowed_down(&server.send(&alice, &call).await, "limits.miner.writes_per_second");
    }
}

#[tokio::test]
async fn s6_p58_what_is_under_way_is_bounded_until_body_and_answer_have_ended() {
    let server = filled("[limits.miner]\nrequests_under_way_max = 2").await;
    let (alice, bob) = (server.session(&ALICE).await, server.session(&BOB).await);
    let mut uploads = Vec::new();
    for name in ["a", "b"] {
        let signed = server.sign(&alice, &Call::put(&ALICE.file(name), bytes(300_000)));
        let mut connection = server.connect().await;
        connection.send(&signed.head()).await;
        connection.send(&signed.body[..200_000]).await;
        uploads.push((connection, signed));
    }
    server.store.wait(|seen| seen.len() == 2).await;
    let get = Call::get(&ALICE.file("f"));
    slowed_down(&server.send(&alice, &get).await, "limits.miner.requests_under_way_max");
    server.send(&bob, &Call::get(&BOB.file("f"))).await.ok();
    for (connection, signed) in &mut uploads {
        connection.send(&signed.body[200_000..]).await;
        connection.answer("PUT").await.ok();
    }
    server.send(&alice, &get).await.ok();
    // An answer holds its place until the last of it is sent.
    server.store.script(|seen| {
        let slow = Reply::new(200).header("content-length", "6").piece(0, "abc").piece(2000, "def");
        (seen.method == "GET").then_some(slow)
    });
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut connection = server.connect().await;
        connection.send_call(&server.sign(&alice, &get)).await;
        readers.push(connection);
    }
    server.store.wait(|seen| seen.iter().filter(|seen| seen.method == "GET").count() >= 4).await;
    slowed_down(&server.send(&alice, &Call::head(&ALICE.file("f"))).await, "");
    server.store.unscript();
    for connection in &mut readers {
        assert_eq!(connection.answer("GET").await.ok().text(), "abcdef");
    }
    for attempt in 0.. {
        let answer = server.send(&alice, &get).await;
        if answer.status == 200 {
            break;
        }
        assert!(attempt < 200, "{}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn s6_a_day_that_is_used_up_is_told_to_s3_and_to_the_endpoints_each_in_its_words() {
    let limits = "[limits.miner]\nvended_requests_per_day_max = 2\nrequests_per_day_max = 4\n\
                  [limits.validator]\nvended_requests_per_day_max = 1";
    let server = filled(limits).await;
    for _ in 0..2 {
        ok(&server.post_json("/get-folder-access", &folder_request(&ALICE, Some("x"))).await);
    }
    let answer = server.post_json("/get-folder-access", &folder_request(&ALICE, Some("x"))).await;
    refused_in_json(&answer, 429, "Daily limit of 2 exceeded.");
    assert_eq!(answer.text(), r#"{"detail":"Daily limit of 2 exceeded."}"#);
    ok(&server.post_json("/get-folder-access", &folder_request(&BOB, Some("x"))).await);
    let everything =
        async || server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await;
    ok(&everything().await);
    refused_in_json(&everything().await, 429, "Daily limit of 1 exceeded.");
    // Requests of S3 are counted apart; a session counts as one.
    let alice = server.session(&ALICE).await;
    for _ in 0..3 {
        server.send(&alice, &Call::get(&ALICE.file("f"))).await.ok();
    }
    let answer = server.send(&alice, &Call::get(&ALICE.file("f"))).await;
    let message = answer.refused(503, "SlowDown");
    assert!(
        message.starts_with("Daily limit of 4 exceeded: limits.miner.requests_per_day_max."),
        "{message}"
    );
    slowed_down(&answer, "limits.miner.requests_per_day_max");
    refused_in_json(&server.open_session(&ALICE, b"").await, 429, "Daily limit of 4 exceeded.");
    server.send(&BOB.hotkey(), &Call::get(&BOB.file("f"))).await.ok();
    // What gives room back is allowed all the same (P37).
    let abort = Call::delete(&ALICE.file("f")).query("uploadId", "u");
    assert_ne!(server.send(&alice, &abort).await.status, 503);
}

#[tokio::test]
async fn s6_a_day_of_bytes_counts_what_flowed_both_ways() {
    let server = filled("[limits.miner]\nbytes_per_day_max = 5000").await;
    let alice = server.session(&ALICE).await;
    server.send(&alice, &Call::put(&ALICE.file("g"), bytes(2500))).await.ok();
    // Nobody is charged for the rest of an answer, or for a HEAD.
    server.send(&alice, &Call::head(&ALICE.file("g"))).await.ok();
    server.send(&alice, &Call::get(&ALICE.file("g"))).await.ok();
    slowed_down(&server.send(&alice, &Call::get(&ALICE.file("g"))).await, "limits.miner.bytes_per_day_max");
    server.send(&BOB.hotkey(), &Call::get(&BOB.file("f"))).await.ok();
}

#[tokio::test]
async fn s6_bytes_under_way_are_bounded() {
    let server = filled("[limits.miner]\nbytes_under_way_max = 400000").await;
    let alice = server.session(&ALICE).await;
    let signed = server.sign(&alice, &Call::put(&ALICE.file("a"), bytes(399_000)));
    let mut connection = server.connect().await;
    connection.send(&signed.head()).await;
    connection.send(&signed.body[..300_000]).await;
    server.store.wait(|seen| seen.len() == 1).await;
    let limit = "limits.miner.bytes_under_way_max";
    slowed_down(&server.send(&alice, &Call::put(&ALICE.file("b"), bytes(2000))).await, limit);
    slowed_down(&server.send(&alice, &Call::get(&ALICE.file("f"))).await, limit);
    server.send(&alice, &Call::head(&ALICE.file("f"))).await.ok();
    server.send(&BOB.hotkey(), &Call::get(&BOB.file("f"))).await.ok();
    connection.send(&signed.body[300_000..]).await;
    connection.answer("PUT").await.ok();
    server.send(&alice, &Call::get(&ALICE.file("f"))).await.ok();
}

#[tokio::test]
async fn s6_overrides_by_address_and_one_principal_for_a_coldkey() {
    let base = "[limits.miner]\nreads_per_second = 1\nreads_burst = 2";
    let limits = format!("{base}\n[[limits.overrides]]\naccount = \"{}\"\nreads_burst = 6", BOB.ss58());
    let server = filled(&limits).await;
    for _ in 0..6 {
        server.send(&BOB.hotkey(), &Call::get(&BOB.file("f"))).await.ok();
    }
    slowed_down(
        &server.send(&BOB.hotkey(), &Call::get(&BOB.file("f"))).await,
        "limits.overrides.reads_per_second",
    );
    let server = filled(&format!("principal = \"coldkey\"\n{base}")).await;
    for person in [&*ALICE, &*ALICE_SECOND] {
        server.send(&person.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    }
    for person in [&*ALICE, &*ALICE_SECOND] {
        let answer = server.send(&person.hotkey(), &Call::get(&ALICE.file("f"))).await;
        slowed_down(&answer, "limits.miner.reads_per_second");
    }
    server.send(&BOB.hotkey(), &Call::get(&BOB.file("f"))).await.ok();
}

#[tokio::test]
async fn s6_the_server_has_a_total() {
    let server = filled("[limits.server]\nreads_per_second = 1\nreads_burst = 2").await;
    for person in [&*ALICE, &*BOB] {
        server.send(&person.hotkey(), &Call::get(&person.file("f"))).await.ok();
    }
    let answer = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    slowed_down(&answer, "limits.server.reads_per_second");
}
