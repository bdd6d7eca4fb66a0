//! Ten restarts under load, counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use tokio::{task::JoinHandle, time::sleep};

use super::process::Process;
use crate::harness::{
    client::{Call, Connection, Key},
    server::{ALICE, TestServer, bytes},
};

const RESTARTS: usize = 10;

/// What the clients have seen.
#[derive(Default)]
struct Count {
    answered: AtomicU64,
    /// Connections that were made anew, because the answer before said so.
    reconnected: AtomicU64,
    is_over: AtomicBool,
}

/// Sends requests one after the other; on one connection as long as the server keeps it, or each on its own.
/// Nothing is tried again: a request that has no answer fails the test.
fn client(
    address: std::net::SocketAddr,
    key: Key,
    call: Call,
    keeps_alive: bool,
    count: Arc<Count>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connection: Option<Connection> = None;
        while !count.is_over.load(Ordering::Relaxed) {
            let signed = call.sign(&key, &address.to_string());
            let mut kept = match connection.take() {
                Some(kept) => kept,
                None => Connection::connect(address).await,
            };
            kept.send_call(&signed).await;
            let answer = kept.answer(&call.method).await;
            assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
            count.answered.fetch_add(1, Ordering::Relaxed);
            match answer.get("connection") {
                Some("close") => {
                    count.reconnected.fetch_add(1, Ordering::Relaxed);
                }
                Some(_) | None if keeps_alive => connection = Some(kept),
                Some(_) | None => {}
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
}

#[tokio::test]
async fn ten_restarts_under_load_lose_no_request() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(50_000));
    let session = server.session(&ALICE).await;
    let process = Process::start(&server, "drain_announce_seconds = 1").await;
    let count = Arc::new(Count::default());
    let mut clients = Vec::new();
    for keeps_alive in [true, false] {
        for number in 0..3 {
            let put = Call::put(&ALICE.file(&format!("{keeps_alive}-{number}")), bytes(20_000));
            for call in [Call::get(&ALICE.file("f")), put] {
                let (key, count) = (session.clone(), Arc::clone(&count));
                clients.push(client(process.address, key, call, keeps_alive, count));
            }
        }
    }
    let (mut pid, mut answered) = (process.pid(), Vec::new());
    for _ in 0..RESTARTS {
        pid = process.hand_over(pid).await;
        let before = count.answered.load(Ordering::Relaxed);
        while count.answered.load(Ordering::Relaxed) < before + 24 {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client has failed");
            sleep(Duration::from_millis(5)).await;
        }
        answered.push(count.answered.load(Ordering::Relaxed));
    }
    count.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a request was lost");
    }
    // Each restart has moved the connections that were kept.
    assert!(count.reconnected.load(Ordering::Relaxed) >= 6, "{answered:?}");
    let pids = process.all_pids();
    assert_eq!(pids.len(), RESTARTS + 1);
    for old in &pids[..RESTARTS] {
        process.wait_until_gone(*old).await;
    }
    assert_eq!(process.count("cut off"), 0);
    process.signal(pid, Signal::INT);
    process.wait_until_gone(pid).await;
}
