//! What one address or one hotkey can cost the others: attacks, and that the others are served as before.

mod addresses;
mod apart;
mod connections;
mod crowd;
mod idle;
mod memory;
mod principals;
mod progress;
mod shaping;

use crate::harness::{
    client::{Answer, Call, Connection, Key},
    server::{Setup, TestServer},
};

/// Addresses that are nobody else's in these tests.
const ATTACKER: &str = "127.0.0.2";
const NEIGHBOUR: &str = "127.0.0.3";

async fn with_limits(limits: &str) -> TestServer {
    TestServer::with(Setup { limits: limits.to_owned(), ..Setup::default() }).await
}

/// Sends a call from another address.
async fn send_from(server: &TestServer, address: &str, key: &Key, call: &Call) -> Answer {
    let signed = server.sign(key, call);
    let mut connection = Connection::connect_from(address, server.address).await;
    connection.send_call(&signed).await;
    connection.answer(&signed.method).await
}

/// Sends an unsigned request from another address.
async fn plain_from(server: &TestServer, address: &str, method: &str, path: &str, headers: &str) -> Answer {
    let mut connection = Connection::connect_from(address, server.address).await;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", server.host());
    connection.send(request.as_bytes()).await;
    connection.answer(method).await
}

/// A refusal of an S3 request by a limit, told exactly.
#[track_caller]
fn slowed_down(answer: &Answer, limit: &str) {
    let message = answer.refused(503, "SlowDown");
    let seconds: u64 = answer.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&seconds));
    if answer.method != "HEAD" {
        assert!(message.contains(limit), "{message}");
        assert_eq!(answer.element("Limit").as_deref(), Some(limit));
    }
}

/// A refusal of a request to an endpoint by a limit, told exactly.
#[track_caller]
fn refused_in_json(answer: &Answer, status: u16, detail: &str) {
    crate::harness::vending::refused(answer, status, detail);
    assert!(answer.get("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(answer.get("x-amz-request-id").is_some());
}
