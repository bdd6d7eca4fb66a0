//! Calls from pages of other origins, by configuration.

use crate::harness::{
    client::{Answer, Call},
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::Reply,
};

const PAGE: &str = "https://app.example.com";

async fn with_page() -> TestServer {
    let server = format!("cors_origins = [\"{PAGE}\"]");
    TestServer::with(Setup { server, ..Setup::default() }).await
}

async fn preflight(server: &TestServer, path: &str, origin: &str, method: &str) -> Answer {
    let head = format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: {}\r\norigin: {origin}\r\n\
         access-control-request-method: {method}\r\n\
         access-control-request-headers: authorization, x-amz-date\r\n\r\n",
        server.host()
    );
    server.send_raw("OPTIONS", head.as_bytes()).await
}

fn object() -> String {
    format!("/data-universe/{}", ALICE.file("f"))
}

#[tokio::test]
async fn a_preflight_reaches_no_store_and_needs_no_signature() {
    let server = with_page().await;
    for path in [object().as_str(), "/data-universe?list-type=2", "/", "/v1/session"] {
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
            let answer = preflight(&server, path, PAGE, method).await;
            assert_eq!((answer.status, answer.body.len()), (204, 0), "{method} {path}");
            assert_eq!(answer.get("access-control-allow-origin"), Some(PAGE));
            assert_eq!(answer.get("access-control-allow-methods"), Some("GET, HEAD, PUT, POST, DELETE"));
            assert_eq!(answer.get("access-control-allow-headers"), Some("authorization, x-amz-date"));
            assert!(answer.get("access-control-max-age").is_some());
            assert!(answer.get("access-control-allow-credentials").is_none());
            assert!(answer.get("x-amz-request-id").is_some());
        }
        for (origin, method) in [("https://evil.example.com", "GET"), ("null", "GET"), (PAGE, "PATCH")] {
            let answer = preflight(&server, path, origin, method).await;
            assert!(answer.get("access-control-allow-methods").is_none());
            assert!(answer.refused(403, "AccessDenied").starts_with("CORSResponse: "));
        }
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn an_allowed_page_reads_answers_and_refusals_and_no_other_does() {
    let server = with_page().await;
    let key = ALICE.hotkey();
    server.store.put(&ALICE.file("f"), bytes(2000));
    for (origin, allowed) in [(PAGE, Some(PAGE)), ("https://app.example.com:8443", None), ("null", None)] {
        for (name, status) in [(ALICE.file("f"), 200), (BOB.file("f"), 403)] {
            let answer = server.send(&key, &Call::get(&name).smuggled("origin", origin)).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.get("access-control-allow-origin"), allowed);
            assert_eq!(answer.get("access-control-expose-headers"), allowed.map(|_| "*"));
            assert_eq!(answer.get("vary"), Some("Origin"));
        }
    }
    // A cache must not give one page's answer to another.
    let answer = server.send(&key, &Call::get(&ALICE.file("f"))).await;
    assert_eq!((answer.get("vary"), answer.get("access-control-allow-origin")), (Some("Origin"), None));
}

#[tokio::test]
async fn by_default_no_page_may_call() {
    let server = TestServer::start().await;
    let answer = preflight(&server, &object(), PAGE, "GET").await;
    assert!(answer.status >= 400 && answer.get("access-control-allow-origin").is_none());
    server.store.saw_nothing();
    // And what a store says of origins is not this server's word.
    let reply = Reply::new(200)
        .header("access-control-allow-origin", "*")
        .header("access-control-allow-credentials", "true");
    server.store.always(reply.body("x"));
    let answer = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f")).smuggled("origin", PAGE)).await;
    answer.ok();
    assert!(answer.get("access-control-allow-origin").is_none() && answer.get("vary").is_none());
    assert!(answer.get("access-control-allow-credentials").is_none());
}

#[tokio::test]
async fn the_one_version_of_the_api_is_dropped_and_others_are_refused() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        let put = Call::put(&ALICE.file("f"), bytes(2000));
        server.send(&key, &put.clone().header("x-amz-api-version", "2006-03-01")).await.ok();
        assert!(server.store.last().header("x-amz-api-version").is_none());
        server.store.forget();
        for version in ["2006-03-02", "", "2006-03-01, 2006-03-01"] {
            let answer = server.send(&key, &put.clone().header("x-amz-api-version", version)).await;
            answer.refused(501, "NotImplemented");
        }
        server.store.saw_nothing();
    }
}
