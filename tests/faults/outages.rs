//! P69: a store that is away, for a short time or a long one.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::line::{Line, Manner};
use crate::harness::{
    client::{Answer, Call, Payload},
    server::{ALICE, Setup, TestServer, VALIDATOR, bytes},
    vending::{self, validator_request},
};

fn with_store(store: &str) -> Setup {
    Setup { store: store.to_owned(), ..Setup::default() }
}

/// Sends it, and says how long that took.
async fn timed(server: &TestServer, call: &Call) -> (Answer, Duration) {
    let started = Instant::now();
    let answer = server.send(&ALICE.hotkey(), call).await;
    (answer, started.elapsed())
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn list() -> Call {
    Call::get("").query("prefix", &ALICE.file(""))
}

fn put(name: &str) -> Call {
    Call::put(&ALICE.file(name), bytes(100_000)).payload(Payload::Unsigned)
}

#[tokio::test]
async fn p69_an_outage_of_two_seconds_is_waited_out_by_whatever_reads() {
    let (server, line) = Line::to_a_store(Manner::Away, Setup::default()).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let reads = [Call::get(&ALICE.file("f")), Call::head(&ALICE.file("f")), list()];
    let waiting = join_all(reads.iter().map(|call| timed(&server, call)));
    let others = async {
        // What changes something is answered at once, and asked again by whoever sent it.
        for call in [put("g"), Call::delete(&ALICE.file("f"))] {
            let (answer, took) = timed(&server, &call).await;
            answer.refused(503, "ServiceUnavailable");
            assert!(took < seconds(1.5), "{} took {took:?}", call.method);
        }
        tokio::time::sleep(seconds(2.0)).await;
        line.set(Manner::Through);
    };
    for (answer, took) in tokio::join!(waiting, others).0 {
        answer.ok();
        assert!(took > seconds(1.9) && took < seconds(5.5), "{took:?}");
    }
    server.send(&ALICE.hotkey(), &put("g")).await.ok();
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(5000));
}

#[tokio::test]
async fn p69_control_calls_wait_out_a_short_outage() {
    let (server, line) = Line::to_a_store(Manner::Away, Setup::default()).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let request = validator_request(&VALIDATOR, "access");
    let back = async {
        tokio::time::sleep(seconds(2.0)).await;
        line.set(Manner::Through);
    };
    let (answer, ()) = tokio::join!(server.post_json("/get-validator-access", &request), back);
    // The one miner, and the list of all of them.
    assert!(vending::ok(&answer)["urls"]["miners"].as_object().unwrap().len() == 2, "{}", answer.text());
    assert!(
        vending::ok(&answer)["urls"]["miners"].get(ALICE.coldkey.to_ss58()).is_some(),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn p69_a_store_that_restarts_while_it_is_asked_is_waited_for() {
    let (server, line) = Line::to_a_store(Manner::Silent, Setup::default()).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let get = Call::get(&ALICE.file("f"));
    let restart = async {
        // Asked, and not yet answered.
        while line.open() == 0 {
            tokio::time::sleep(seconds(0.01)).await;
        }
        tokio::time::sleep(seconds(0.1)).await;
        line.set(Manner::Away);
        tokio::time::sleep(seconds(1.0)).await;
        line.set(Manner::Through);
    };
    let signed = server.sign(&ALICE.hotkey(), &get);
    let (answer, ()) = tokio::join!(server.send_signed(&signed), restart);
    assert_eq!(answer.ok().body, bytes(5000));
}

#[tokio::test]
async fn p69_a_long_outage_is_not_waited_out_and_an_open_breaker_refuses_at_once() {
    let (server, line) = Line::to_a_store(Manner::Close, with_store("outage_wait_seconds_max = 1")).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let get = Call::get(&ALICE.file("f"));
    let (answer, took) = timed(&server, &get).await;
    answer.refused(503, "ServiceUnavailable");
    assert!(took > seconds(0.5) && took < seconds(3.0), "{took:?}");
    until_open(&server, &line).await;
    // Reads too, and the control calls of the endpoints: nobody new waits.
    let accepted = line.accepted();
    let answers = join_all((0..40).map(|_| timed(&server, &get))).await;
    let at_once = answers.iter().filter(|(_, took)| *took < seconds(0.5)).count();
    assert!(at_once >= 38, "{at_once}");
    for (answer, _) in answers {
        answer.refused(503, "ServiceUnavailable");
        assert_eq!(answer.get("retry-after"), Some("5"));
    }
    // One at a time tries the store.
    assert!(line.accepted() <= accepted + 6, "{accepted} {}", line.accepted());
    // It is back: the next trial opens the way for everybody.
    line.set(Manner::Through);
    let started = Instant::now();
    while server.send(&ALICE.hotkey(), &Call::head(&ALICE.file("f"))).await.status != 200 {
        assert!(started.elapsed() < seconds(4.0), "still refused");
        tokio::time::sleep(seconds(0.05)).await;
    }
    for (answer, _) in join_all((0..40).map(|_| timed(&server, &get))).await {
        answer.ok();
    }
}

/// Asks what may neither wait nor be sent twice, until the store is not asked any more.
async fn until_open(server: &TestServer, line: &Line) {
    let started = Instant::now();
    loop {
        let before = line.accepted();
        server
            .send(&ALICE.hotkey(), &Call::delete(&ALICE.file("x")))
            .await
            .refused(503, "ServiceUnavailable");
        if line.accepted() == before {
            return;
        }
        assert!(started.elapsed() < seconds(15.0), "it never opens");
        tokio::time::sleep(seconds(0.05)).await;
    }
}

#[tokio::test]
async fn p69_who_waits_already_keeps_on_when_the_breaker_opens() {
    let (server, line) = Line::to_a_store(Manner::Close, with_store("outage_wait_seconds_max = 3")).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let get = Call::get(&ALICE.file("f"));
    server.send(&ALICE.hotkey(), &Call::delete(&ALICE.file("x"))).await.refused(503, "ServiceUnavailable");
    tokio::time::sleep(seconds(2.0)).await;
    let early = timed(&server, &get);
    let others = async {
        tokio::time::sleep(seconds(0.1)).await;
        until_open(&server, &line).await;
        let (answer, took) = timed(&server, &Call::head(&ALICE.file("f"))).await;
        answer.refused(503, "ServiceUnavailable");
        line.set(Manner::Through);
        took
    };
    let ((answer, took), refused) = tokio::join!(early, others);
    answer.ok();
    assert!(took > seconds(0.5) && refused < seconds(0.5), "{took:?} {refused:?}");
}

#[tokio::test]
async fn p69_no_more_than_the_waiters_wait() {
    let setup = with_store("outage_waiters_max = 2\noutage_wait_seconds_max = 3");
    let (server, line) = Line::to_a_store(Manner::Away, setup).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    let get = Call::get(&ALICE.file("f"));
    let reads = join_all((0..5).map(|_| timed(&server, &get)));
    let back = async {
        tokio::time::sleep(seconds(1.8)).await;
        line.set(Manner::Through);
    };
    let mut answers = tokio::join!(reads, back).0;
    answers.sort_by_key(|(_, took)| *took);
    for (answer, took) in &answers[..3] {
        answer.refused(503, "ServiceUnavailable");
        assert!(*took < seconds(1.5), "{took:?}");
    }
    for (answer, took) in &answers[3..] {
        answer.ok();
        assert!(*took > seconds(1.7), "{took:?}");
    }
}

#[tokio::test]
async fn p69_zero_switches_waiting_and_the_breaker_off() {
    let setup = with_store("outage_wait_seconds_max = 0\noutage_failures_max = 0");
    let (server, line) = Line::to_a_store(Manner::Close, setup).await;
    for _ in 0..10 {
        let before = line.accepted();
        let (answer, took) = timed(&server, &Call::head(&ALICE.file("f"))).await;
        answer.refused(503, "ServiceUnavailable");
        assert!(took < seconds(1.5), "{took:?}");
        // Once, and once more on another connection.
        assert_eq!(line.accepted(), before + 2);
    }
}

#[tokio::test]
async fn p38_p69_waiting_makes_no_snapshot_count_longer() {
    let setup = Setup { chain: "stale_seconds_max = 1".to_owned(), ..Setup::default() };
    let (server, _line) = Line::to_a_store(Manner::Away, setup).await;
    let (answer, took) = timed(&server, &Call::head(&ALICE.file("f"))).await;
    answer.refused(503, "ServiceUnavailable");
    assert!(took < seconds(3.5), "{took:?}");
}

#[tokio::test]
async fn p69_uploads_that_break_off_open_no_breaker() {
    let setup = with_store("outage_wait_seconds_max = 0\noutage_failures_max = 2");
    let (server, line) = Line::to_a_store(Manner::Through, setup).await;
    let signed = server.sign(&ALICE.hotkey(), &put("f"));
    for _ in 0..8 {
        let mut client = server.connect().await;
        client.send(&signed.head()).await;
        client.send(&signed.body[..50_000]).await;
        server.store.wait(|seen| !seen.is_empty()).await;
        drop(client);
        server.store.forget();
    }
    // Nor does a store that cannot take one client's upload.
    line.set(Manner::CutUp(60_000));
    for _ in 0..8 {
        server.send(&ALICE.hotkey(), &put("f")).await.refused(503, "ServiceUnavailable");
    }
    line.set(Manner::Through);
    let (answer, took) = timed(&server, &list()).await;
    answer.ok();
    assert!(took < seconds(1.0), "{took:?}");
}

#[tokio::test]
async fn p69_an_upload_survives_a_listener_that_is_away_for_a_moment() {
    let (server, line) = Line::to_a_store(Manner::Away, Setup::default()).await;
    let back = async {
        tokio::time::sleep(seconds(0.06)).await;
        line.set(Manner::Through);
    };
    let signed = server.sign(&ALICE.hotkey(), &put("f"));
    let (answer, ()) = tokio::join!(server.send_signed(&signed), back);
    answer.ok();
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(100_000));
    // And a kept connection that the store closes between two requests.
    for _ in 0..3 {
        line.set(Manner::Away);
        line.set(Manner::Through);
        while line.open() > 0 {
            tokio::time::sleep(seconds(0.01)).await;
        }
        server.send(&ALICE.hotkey(), &put("f")).await.ok();
    }
}
