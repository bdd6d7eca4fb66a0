//! Session keys: one comes, another goes, and nobody is logged out before it goes.

use subgate::auth::bittensor::btauth;

use super::{Client, with_keys};
use crate::harness::{
    client::Call,
    server::{ALICE, BOB, KEY_TWO, TestServer, bytes, nanos},
};

#[tokio::test]
async fn p12_a_session_key_is_rotated_step_by_step_without_a_restart() {
    let server = TestServer::with(with_keys("one", &["one"])).await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let get = Call::get(&ALICE.file("f"));
    let mut client = Client::new(&server).await;
    let old = server.session(&ALICE).await;
    client.send(&old, &get).await.ok();

    // The new key is accepted everywhere before anything is signed with it.
    let reloaded = server.reload(&with_keys("one", &["one", "two"])).await.unwrap();
    assert_eq!(reloaded.changed, ["session.keys: + two"]);
    client.send(&old, &get).await.ok();

    let reloaded = server.reload(&with_keys("two", &["one", "two"])).await.unwrap();
    assert_eq!(reloaded.changed, ["session.issue_with: \"one\" -> \"two\""]);
    let new = server.session(&ALICE).await;
    assert!(new.token() != old.token());
    for key in [&old, &new, &old] {
        client.send(key, &get).await.ok();
    }
    let url = Call::get(&ALICE.file("f")).presigned();
    client.send(&old, &url).await.ok();

    let reloaded = server.reload(&with_keys("two", &["two"])).await.unwrap();
    assert_eq!(reloaded.changed, ["session.keys: - one"]);
    assert_eq!(reloaded.needs_restart, Vec::<String>::new());
    // What was verified and remembered before counts no more, on the same connection, and no URL either.
    client.send(&old, &get).await.refused(400, "InvalidToken");
    let mut client = Client::new(&server).await;
    client.send(&old, &url).await.refused(400, "InvalidToken");
    let mut client = Client::new(&server).await;
    client.send(&new, &get).await.ok();
    server.session(&ALICE).await;
}

#[tokio::test]
async fn p12_another_content_of_a_key_file_ends_its_sessions_and_is_told_without_it() {
    let server = TestServer::with(with_keys("one", &["one"])).await;
    let old = server.session(&ALICE).await;
    server.send(&old, &Call::put(&ALICE.file("f"), bytes(2000))).await.ok();
    server.write_private("one.key", KEY_TWO);
    let reloaded = server.reload(&with_keys("one", &["one"])).await.unwrap();
    let [told] = reloaded.changed.as_slice() else { panic!("{reloaded:?}") };
    assert!(told.starts_with("session.keys[one].file: the content of "), "{told}");
    assert!(told.ends_with("one.key has changed") && !told.contains("2222"), "{told}");
    server.send(&old, &Call::get(&ALICE.file("f"))).await.refused(403, "SignatureDoesNotMatch");
    server.send(&server.session(&ALICE).await, &Call::get(&ALICE.file("f"))).await.ok();
}

#[tokio::test]
async fn p9_a_session_request_is_not_taken_again_after_a_reload() {
    let server = TestServer::with(with_keys("one", &["one"])).await;
    let headers = btauth::sign(&BOB.hotkey, "POST", "/v1/session", b"", None, nanos());
    assert_eq!(server.post_session("/v1/session", &headers, b"").await.status, 200);
    server.reload(&with_keys("two", &["one", "two"])).await.unwrap();
    let again = server.post_session("/v1/session", &headers, b"").await;
    assert_eq!(again.status, 401, "{}", again.text());
    // What was signed before the reload and was not sent then is as good as it was.
    let early = btauth::sign(&BOB.hotkey, "POST", "/v1/session", b"", None, nanos());
    server.reload(&with_keys("two", &["two"])).await.unwrap();
    assert_eq!(server.post_session("/v1/session", &early, b"").await.status, 200);
}
