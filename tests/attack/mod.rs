//! The attack program's own tests: every attack succeeds where nothing is refused, and none does here.

mod program;

use std::{sync::Arc, time::Duration};

use self::program::{Arena, Check, Finding, Identity, Signs, Target};
use crate::harness::{
    client::Key,
    server::{ALICE, BOB, BUCKET, Person, REGION, TestServer},
    store,
};

/// All findings, as `(name, finding)`.
fn run_all(arena: &Arena, checks: &[Check]) -> Vec<(&'static str, Result<Finding, String>)> {
    let findings = checks.iter().map(|check| (check.name, check.run(arena))).collect();
    arena.clean();
    findings
}

#[test]
fn every_attack_succeeds_where_nothing_is_refused() {
    let arena = program::naive_arena(Duration::from_secs(1)).unwrap();
    let findings = run_all(&arena, &program::checks());
    let not_open: Vec<_> =
        findings.iter().filter(|(_, finding)| !matches!(finding, Ok(Finding::Open(_)))).collect();
    assert!(not_open.is_empty(), "{not_open:#?}");
}

#[test]
fn every_resource_attack_succeeds_where_nothing_is_bounded() {
    let arena = program::naive_arena(Duration::from_secs(1)).unwrap();
    for (name, finding) in run_all(&arena, &program::resource_checks()) {
        assert!(matches!(finding, Ok(Finding::Open(_))), "{name}: {finding:?}");
    }
}

async fn identity(server: &TestServer, person: &Person) -> Identity {
    let key = server.session(person).await;
    let Key::Session { access_key, secret, token } = key else { unreachable!("a session") };
    Identity {
        access_key,
        secret,
        token,
        prefix: person.file(""),
        hotkey: Some(Arc::clone(&person.hotkey)),
        signs: Signs::Secret,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_succeeds_here() {
    let server = TestServer::start().await;
    let target = Target {
        address: server.address,
        host: server.host(),
        tls: None,
        bucket: BUCKET.to_owned(),
        region: REGION.to_owned(),
        store_words: vec![store::BUCKET.to_owned(), server.store.address.to_string()],
        pid: None,
        patience: Duration::from_secs(1),
        attacker_address: None,
    };
    let arena = Arena::new(target, identity(&server, &BOB).await, identity(&server, &ALICE).await);
    let findings = tokio::task::spawn_blocking(move || run_all(&arena, &program::checks())).await.unwrap();
    let not_held: Vec<_> =
        findings.iter().filter(|(_, finding)| !matches!(finding, Ok(Finding::Held(_)))).collect();
    assert!(not_held.is_empty(), "{not_held:#?}");
}
