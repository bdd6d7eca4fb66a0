//! P56, P58: bytes per second are shaped and not cut, and time that is held back costs the client nothing.

use std::time::{Duration, Instant};

use crate::harness::{
    client::Call,
    server::{ALICE, BOB, Setup, TestServer, bytes},
};

const BODY_BYTES: usize = 600_000;

/// A miner has 300,000 bytes/s each way, and clients have to be quicker than that.
async fn shaped() -> TestServer {
    let limits = "progress_grace_seconds = 1\nprogress_idle_seconds = 1\n\
                  progress_bytes_per_second_min = 1000000\n\
                  [limits.miner]\nbytes_in_per_second = 300000\nbytes_out_per_second = 300000";
    TestServer::with(Setup { limits: limits.to_owned(), ..Setup::default() }).await
}

#[tokio::test]
async fn p56_p58_a_download_above_its_rate_is_slowed_down_and_not_cut() {
    let server = shaped().await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(BODY_BYTES));
    let started = Instant::now();
    let answer = server.send(&key, &Call::get(&ALICE.file("f"))).await;
    assert_eq!(answer.ok().body, bytes(BODY_BYTES));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn p56_p58_an_upload_above_its_rate_is_slowed_down_and_costs_others_nothing() {
    let server = shaped().await;
    let [alice, bob] = [server.session(&ALICE).await, server.session(&BOB).await];
    let started = Instant::now();
    let large = async {
        server.send(&alice, &Call::put(&ALICE.file("f"), bytes(BODY_BYTES))).await.ok();
        started.elapsed()
    };
    let small = async {
        for _ in 0..5 {
            server.send(&bob, &Call::put(&BOB.file("f"), bytes(2000))).await.ok();
        }
        started.elapsed()
    };
    let (large, small) = tokio::join!(large, small);
    assert!(large >= Duration::from_secs(1), "{large:?}");
    assert!(small < large, "{small:?} {large:?}");
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(BODY_BYTES));
}
