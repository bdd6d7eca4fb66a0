//! What one address can do before anybody is known.

use subgate::auth::bittensor::btauth;

use super::{ATTACKER, NEIGHBOUR, plain_from, refused_in_json, send_from, slowed_down, with_limits};
use crate::harness::{
    client::{Call, Key},
    server::{ALICE, BOB, STRANGER, Setup, TestServer, VALIDATOR, bytes, nanos},
    vending::{folder_request, ok},
};

const FEW_REQUESTS: &str = "[limits.address]\nrequests_per_second = 1\nrequests_burst = 5";
const FEW_FAILURES: &str =
    "[limits.address]\nsignature_failures_per_second = 1\nsignature_failures_burst = 2";

/// A call in that person's name whose signature is false.
fn false_call(
    server: &TestServer,
    person: &crate::harness::server::Person,
) -> crate::harness::client::Signed {
    let mut signed = server.sign(&person.hotkey(), &Call::get(&person.file("f")));
    let authorization = signed.header_mut("authorization");
    let at = authorization.len() - 1;
    authorization[at] = if authorization[at] == b'0' { b'1' } else { b'0' };
    signed
}

async fn send_false(server: &TestServer, address: &str, person: &crate::harness::server::Person) -> u16 {
    let signed = false_call(server, person);
    let mut connection = crate::harness::client::Connection::connect_from(address, server.address).await;
    connection.send_call(&signed).await;
    connection.answer("GET").await.status
}

#[tokio::test]
async fn p17_an_address_that_only_fails_is_refused_and_others_are_served() {
    let server = with_limits(FEW_REQUESTS).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let file = format!("/data-universe/{}", ALICE.file("f"));
    let mut refused = 0;
    for _ in 0..20 {
        let answer = plain_from(&server, ATTACKER, "GET", &file, "").await;
        match answer.status {
            403 => drop(answer.refused(403, "AccessDenied")),
            _ => {
                slowed_down(&answer, "limits.address.requests_per_second");
                refused += 1;
            }
        }
    }
    assert!(refused >= 12, "{refused}");
    // Whatever it asks, in the form of what was asked.
    let message = "Please reduce your request rate: limits.address.requests_per_second is reached.";
    let mut seen = [false; 4];
    for _ in 0..8 {
        slowed_down_or_denied(&plain_from(&server, ATTACKER, "HEAD", &file, "").await, &mut seen[0]);
        let health = plain_from(&server, ATTACKER, "GET", "/healthz", "").await;
        if health.status == 503 {
            refused_in_json(&health, 503, message);
            seen[1] = true;
        }
        let session = plain_from(&server, ATTACKER, "POST", "/v1/session", "content-length: 0\r\n").await;
        if session.status == 503 {
            refused_in_json(&session, 503, message);
            seen[2] = true;
        }
        // A good signature does not help: nobody looks at it.
        let call = send_from(&server, ATTACKER, &ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
        if call.status == 503 {
            slowed_down(&call, "limits.address.requests_per_second");
            seen[3] = true;
        }
        send_from(&server, NEIGHBOUR, &ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    }
    assert_eq!(seen, [true; 4]);
}

#[track_caller]
fn slowed_down_or_denied(answer: &crate::harness::client::Answer, seen: &mut bool) {
    if answer.status == 503 {
        slowed_down(answer, "");
        *seen = true;
    }
}

#[tokio::test]
async fn p17_valid_calls_are_charged_to_their_principal_and_not_to_their_address() {
    let server = with_limits(&format!("{FEW_REQUESTS}\n{}", "[limits.miner]\ncontrols_burst = 100")).await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    for _ in 0..30 {
        server.send(&key, &Call::get(&ALICE.file("f"))).await.ok();
        ok(&server.post_json("/get-folder-access", &folder_request(&ALICE, Some("x"))).await);
        server.session(&BOB).await;
    }
    // Not even what the policy denies, or the store has not: it was signed.
    for _ in 0..10 {
        server.send(&key, &Call::get(&BOB.file("f"))).await.refused(403, "AccessDenied");
        server.send(&key, &Call::get(&ALICE.file("no"))).await.refused(404, "NoSuchKey");
    }
    server.send(&VALIDATOR.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
}

#[tokio::test]
async fn p15_p17_clients_behind_the_edge_are_told_apart_and_the_edge_is_exempt() {
    let edge = "networks = [\"127.0.0.0/8\"]".to_owned();
    let limits = FEW_REQUESTS.to_owned();
    let server = TestServer::with(Setup { edge, limits, ..Setup::default() }).await;
    let ask =
        async |forwarded: &str| plain_from(&server, ATTACKER, "GET", "/data-universe/k", forwarded).await;
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(ask("x-forwarded-for: 192.0.2.1\r\n").await.status == 503);
    }
    assert!(refused >= 12, "{refused}");
    ask("x-forwarded-for: 192.0.2.2\r\n").await.refused(403, "AccessDenied");
    // In IPv6 a host has its /64.
    for host in 0..20 {
        ask(&format!("x-forwarded-for: 2001:db8::{host}\r\n")).await;
    }
    let mut seen = false;
    for host in 20..30 {
        seen |= ask(&format!("x-forwarded-for: 2001:db8::{host}\r\n")).await.status == 503;
    }
    assert!(seen);
    ask("x-forwarded-for: 2001:db8:0:1::1\r\n").await.refused(403, "AccessDenied");
    for _ in 0..30 {
        ask("").await.refused(403, "AccessDenied");
    }
}

#[tokio::test]
async fn p15_p17_who_is_not_the_edge_cannot_say_for_whom_it_asks() {
    let server = with_limits(FEW_REQUESTS).await;
    let mut refused = 0;
    for host in 0..20 {
        let forwarded = format!("x-forwarded-for: 192.0.2.{host}\r\n");
        let answer = plain_from(&server, ATTACKER, "GET", "/data-universe/k", &forwarded).await;
        refused += u32::from(answer.status == 503);
    }
    assert!(refused >= 12, "{refused}");
}

#[tokio::test]
async fn p59_the_registry_is_asked_before_a_signature_is_checked() {
    let server = with_limits(FEW_FAILURES).await;
    // Not registered: whatever the signature is, none is checked and none is charged.
    for _ in 0..20 {
        assert_eq!(send_false(&server, ATTACKER, &STRANGER).await, 403);
    }
    server.store.put(&ALICE.file("f"), bytes(2000));
    send_from(&server, ATTACKER, &ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    let stranger = server.send_signed(&false_call(&server, &STRANGER)).await;
    assert!(stranger.refused(403, "AccessDenied").starts_with("NotRegistered: "));
}

#[tokio::test]
async fn p59_an_address_with_too_many_false_signatures_has_no_more_of_them_checked() {
    let server = with_limits(FEW_FAILURES).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let session = server.session(&ALICE).await;
    let call = Call::get(&ALICE.file("f"));
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(send_false(&server, ATTACKER, &ALICE).await);
    }
    assert_eq!(statuses[..3], [403; 3]);
    assert!(statuses.iter().filter(|status| **status == 503).count() >= 6, "{statuses:?}");
    let mut seen = [false; 2];
    for _ in 0..5 {
        // A session costs no such check, and an own address has its own.
        send_from(&server, ATTACKER, &session, &call).await.ok();
        send_from(&server, NEIGHBOUR, &ALICE.hotkey(), &call).await.ok();
        send_false(&server, ATTACKER, &ALICE).await;
        let answer = send_from(&server, ATTACKER, &ALICE.hotkey(), &call).await;
        if answer.status == 503 {
            slowed_down(&answer, "limits.address.signature_failures_per_second");
            seen[0] = true;
        }
        let headers = btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", None, nanos());
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = format!("{headers}content-length: 0\r\n");
        let answer = plain_from(&server, ATTACKER, "POST", "/v1/session", &headers).await;
        if answer.status == 503 {
            refused_in_json(&answer, 503, "limits.address.signature_failures_per_second is reached");
            seen[1] = true;
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[tokio::test]
async fn p17_nobody_is_charged_for_what_somebody_else_sent() {
    let limits = "[limits.miner]\nreads_per_second = 1\nreads_burst = 3\nvended_requests_per_day_max = 2\n\
                  controls_burst = 3\ncontrols_per_second = 1";
    let server = with_limits(limits).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    for _ in 0..10 {
        assert_eq!(send_false(&server, ATTACKER, &ALICE).await, 403);
        let mut request = folder_request(&ALICE, Some("x"));
        request["signature"] = folder_request(&BOB, Some("x"))["signature"].clone();
        assert_eq!(server.post_json("/get-folder-access", &request).await.status, 401);
    }
    // A session request that somebody has captured and repeats.
    let headers = btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", None, nanos());
    let first = server.post_session("/v1/session", &headers, b"").await;
    let key: Key = crate::harness::server::session_key(&first);
    for _ in 0..10 {
        assert_eq!(server.post_session("/v1/session", &headers, b"").await.status, 401);
    }
    for _ in 0..3 {
        server.send(&key, &Call::get(&ALICE.file("f"))).await.ok();
    }
    slowed_down(&server.send(&key, &Call::get(&ALICE.file("f"))).await, "limits.miner.reads_per_second");
    for _ in 0..2 {
        ok(&server.post_json("/get-folder-access", &folder_request(&ALICE, Some("x"))).await);
    }
}
