//! What happens is counted, under names and labels that have a bound.

use std::{collections::BTreeSet, time::Duration};

use super::{get, scrape, start};
use crate::harness::{
    client::Call,
    server::{ALICE, BOB, STRANGER, Setup, TestServer, VALIDATOR, bytes},
    store::Reply,
    vending::TaoRequest,
};

/// The value of a series, 0 where it is not there.
fn value(scrape: &str, series: &str) -> f64 {
    let line = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Scrapes until that series has that value: a request is counted when its answer has ended, which its client
/// may hear of first.
async fn scraped(server: &TestServer, series: &str, expected: f64) -> String {
    let mut text = scrape(server).await;
    for _ in 0..200 {
        if value(&text, series) == expected {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        text = scrape(server).await;
    }
    panic!("{series} is {}, not {expected}:\n{text}", value(&text, series));
}

#[tokio::test]
async fn p50_what_happens_is_counted() {
    let server = start().await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let key = server.session(&ALICE).await;
    server.send(&key, &Call::get(&ALICE.file("f"))).await;
    server.send(&ALICE.hotkey(), &Call::put(&ALICE.file("g"), bytes(1500))).await;
    server.send(&VALIDATOR.hotkey(), &Call::get(&ALICE.file("f"))).await;
    server.send(&ALICE.hotkey(), &Call::get(&BOB.file("f"))).await.refused(403, "AccessDenied");
    server.send(&STRANGER.hotkey(), &Call::get(&BOB.file("f"))).await.refused(403, "AccessDenied");
    server.store.always(Reply::error(503, "SlowDown", "m"));
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    let by = |operation: &str, role: &str, status: u16| {
        format!("subgate_requests_total{{operation=\"{operation}\",role=\"{role}\",status=\"{status}\"}}")
    };
    let text = scraped(&server, &by("GetObject", "miner", 503), 1.0).await;
    for (series, expected) in [
        (by("GetObject", "miner", 200), 1.0),
        (by("GetObject", "validator", 200), 1.0),
        (by("PutObject", "miner", 200), 1.0),
        (by("GetObject", "miner", 403), 1.0),
        (by("unknown", "none", 403), 1.0),
        (by("/v1/session", "miner", 200), 1.0),
        ("subgate_requests_refused_total{reason=\"FolderDenied\",role=\"miner\"}".to_owned(), 1.0),
        ("subgate_requests_refused_total{reason=\"NotRegistered\",role=\"none\"}".to_owned(), 1.0),
        ("subgate_received_bytes_total".to_owned(), 1500.0),
        ("subgate_sessions_issued_total".to_owned(), 1.0),
        ("subgate_requests_under_way".to_owned(), 0.0),
        ("subgate_sessions_cached".to_owned(), 1.0),
        ("subgate_chain_hotkeys".to_owned(), 4.0),
        ("subgate_chain_validators".to_owned(), 1.0),
        ("subgate_store_connections_open".to_owned(), 1.0),
        ("subgate_store_requests_total{method=\"GET\",result=\"2xx\"}".to_owned(), 2.0),
        ("subgate_store_requests_total{method=\"GET\",result=\"5xx\"}".to_owned(), 1.0),
        ("subgate_store_first_byte_seconds_count{method=\"PUT\"}".to_owned(), 1.0),
        ("subgate_store_duration_seconds_count{method=\"GET\"}".to_owned(), 3.0),
        ("subgate_request_duration_seconds_count{kind=\"read\"}".to_owned(), 4.0),
        ("subgate_request_first_byte_seconds_count{kind=\"write\"}".to_owned(), 1.0),
        ("subgate_signature_checks_total{scheme=\"session\",result=\"valid\"}".to_owned(), 1.0),
        ("subgate_signature_checks_total{scheme=\"hotkey\",result=\"valid\"}".to_owned(), 5.0),
    ] {
        assert_eq!(value(&text, &series), expected, "{series}\n{text}");
    }
    assert!(value(&text, "subgate_sent_bytes_total") >= 4000.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_open_fds") > 3.0);
}

#[tokio::test]
async fn p50_checks_of_signatures_in_tao_headers_are_counted() {
    let server = start().await;
    let body = serde_json::json!({ "miner_hotkey": ALICE.ss58() });
    let request = TaoRequest::new(&VALIDATOR, &body);
    assert_eq!(server.post_tao("/get-miner-list", &request).await.status, 200);
    let of_another = TaoRequest::new(&VALIDATOR, &body).with("X-Tao-Signed-By", &ALICE.ss58());
    assert_eq!(server.post_tao("/get-miner-list", &of_another).await.status, 401);
    let series =
        |result: &str| format!("subgate_signature_checks_total{{scheme=\"hotkey\",result=\"{result}\"}}");
    let text = scraped(&server, &series("invalid"), 1.0).await;
    assert_eq!(value(&text, &series("valid")), 1.0, "{text}");
}

#[tokio::test]
async fn p50_limits_breakers_and_connections_are_counted() {
    let setup = Setup {
        server: "admin = \"127.0.0.1:0\"".to_owned(),
        limits: "[limits.miner]\nreads_per_second = 1\nreads_burst = 1".to_owned(),
        ..Setup::default()
    };
    let server = TestServer::with(setup).await;
    server.store.put(&ALICE.file("f"), bytes(20));
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.refused(503, "SlowDown");
    let limit = "subgate_limit_hits_total{limit=\"limits.miner.reads_per_second\"}";
    let text = scraped(&server, limit, 1.0).await;
    assert_eq!(value(&text, "subgate_store_breaker_open"), 0.0);
    assert_eq!(value(&text, "subgate_connections_accepted_total"), 2.0);
}

#[tokio::test]
async fn p50_nothing_that_a_peer_chooses_is_a_label() {
    let server = start().await;
    let before = series(&scrape(&server).await);
    let wild = "wild\"}\\n\u{1f480}";
    for number in 0..40_u8 {
        let name = format!("{wild}{number}");
        server.send(&ALICE.hotkey(), &Call::get(&ALICE.file(&name))).await;
        server.send(&STRANGER.hotkey(), &Call::get(&name)).await;
        server.send(&ALICE.hotkey(), &Call::get("").query(&format!("wild{number}"), "x")).await;
        server.plain_get(&format!("/wild{number}")).await;
        let head = format!("WILD{number} /wild HTTP/1.1\r\nhost: wild{number}\r\nuser-agent: wild\r\n\r\n");
        server.send_raw("GET", head.as_bytes()).await;
    }
    let text = scraped(&server, "subgate_requests_under_way", 0.0).await;
    let after = series(&text);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.len() <= 12, "{new:#?}");
    for secret in ["wild", "WILD", &ALICE.ss58(), &STRANGER.ss58(), &ALICE.coldkey.to_ss58(), "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
}

/// The names and labels of a scrape.
fn series(scrape: &str) -> BTreeSet<String> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn p50_metrics_are_not_on_the_public_listener() {
    let server = start().await;
    for path in ["/metrics", "/principals", "/snapshot"] {
        assert_eq!(server.plain_get(path).await.status, 403, "{path}");
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn a_scraper_that_asks_for_openmetrics_gets_it() {
    let server = start().await;
    let accept = "accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n";
    let answer = get(server.admin.unwrap(), "/metrics", accept).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.get("content-type"), Some(expected));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE subgate_answers counter\n"), "{text}");
}

#[tokio::test]
async fn p50_who_asks_most_is_json_for_the_operator() {
    let server = start().await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    for _ in 0..3 {
        server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    }
    server.send(&BOB.hotkey(), &Call::put(&BOB.file("g"), bytes(9000))).await;
    server.send(&STRANGER.hotkey(), &Call::put(&BOB.file("g"), bytes(9000))).await;
    scraped(&server, "subgate_requests_under_way", 0.0).await;
    let names = async |query: &str| -> Vec<String> {
        let answer = get(server.admin.unwrap(), &format!("/principals{query}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let principals = json["principals"].as_array().unwrap();
        principals.iter().map(|principal| principal["hotkey"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("").await, [ALICE.ss58(), BOB.ss58()]);
    assert_eq!(names("?by=bytes_in").await, [BOB.ss58()]);
    assert_eq!(names("?by=bytes_out&top=1&minutes=15").await, [ALICE.ss58()]);
    assert!(names("?by=under_way").await.is_empty());
    let refused = get(server.admin.unwrap(), "/principals?by=wealth", "").await;
    assert_eq!(refused.status, 400);
}
