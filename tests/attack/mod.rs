//! The attack program's own tests: every attack succeeds where nothing is refused, and none does here.
//! [`program`] is shared with `main.rs`, which is the program.

mod program;

use std::{sync::Arc, time::Duration};

use self::program::{Arena, Check, Finding, Identity, Signs, Target};
use crate::harness::{
    client::Key,
    server::{ALICE, BOB, BUCKET, Person, REGION, TestServer},
    store,
};

/// Those attacks whose finding is not the right one, in words.
fn run_all(arena: &Arena, checks: &[Check], is_right: fn(&Finding) -> bool) -> Vec<String> {
    let run = |check: &Check| {
        let finding = check.run(arena);
        let wrong = !finding.as_ref().is_ok_and(is_right);
        wrong.then(|| format!("{} ({}): {finding:?}", check.name, check.rule))
    };
    let wrong = checks.iter().filter_map(run).collect();
    arena.clean();
    wrong
}

fn is_open(finding: &Finding) -> bool {
    matches!(finding, Finding::Open(_))
}

fn is_held(finding: &Finding) -> bool {
    matches!(finding, Finding::Held(_))
}

#[test]
fn every_attack_succeeds_where_nothing_is_refused() {
    let arena = program::naive_arena(Duration::from_secs(1)).unwrap();
    let wrong = run_all(&arena, &program::checks(), is_open);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_resource_attack_succeeds_where_nothing_is_bounded() {
    let arena = program::naive_arena(Duration::from_secs(1)).unwrap();
    let wrong = run_all(&arena, &program::resource_checks(), is_open);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn identity(server: &TestServer, person: &Person) -> Identity {
    let key = server.session(person).await;
    let Key::Session { access_key, secret, token } = key else { panic!("a session") };
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
        crowd_divisor: 1,
        attacker_address: None,
    };
    let arena = Arena::new(target, identity(&server, &BOB).await, identity(&server, &ALICE).await);
    let attacks = move || run_all(&arena, &program::checks(), is_held);
    let wrong = tokio::task::spawn_blocking(attacks).await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
