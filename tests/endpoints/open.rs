//! Health, the layout, and the document of the API.

use serde_json::json;

use crate::harness::{
    client::{Call, Connection},
    closed_port::ClosedPort,
    server::{ALICE, Setup, TestServer},
    store::Reply,
    vending::{ok, refused},
};

#[tokio::test]
async fn anybody_may_ask_how_the_server_does() {
    let server = TestServer::start().await;
    assert_eq!(ok(&server.plain_get("/healthz").await), json!({ "status": "ok" }));
    assert_eq!(ok(&server.plain_get("/readyz").await), json!({ "status": "ready" }));
    let health = ok(&server.plain_get("/healthcheck").await);
    assert_eq!((health["status"].as_str(), health["s3_ok"].as_bool()), (Some("ok"), Some(true)));
    for name in
        ["timestamp", "bucket", "region", "folder_structure", "s3_latency_ms", "metagraph_syncer", "timeouts"]
    {
        assert!(health.get(name).is_some(), "{name}");
    }
    // The store is looked at once for all who ask.
    ok(&server.plain_get("/healthcheck").await);
    assert_eq!(server.store.seen().len(), 1);
    assert!(health["timestamp"].as_f64().is_some_and(|seconds| seconds > 1_700_000_000.0));
    assert_eq!(health["folder_structure"], json!("data/hotkey={hotkey}/job_id={job_id}/"));
    let formats = ok(&server.plain_get("/commitment-formats").await);
    assert_eq!(formats["formats"]["/get-validator-access"], json!("s3:validator:access:{timestamp}"));
    assert_eq!(ok(&server.plain_get("/structure-info").await)["roots"], json!(["data/"]));

    let server = TestServer::start().await;
    server.store.always(Reply::new(503));
    let health = ok(&server.plain_get("/healthcheck").await);
    assert_eq!((health["status"].as_str(), health["s3_ok"].as_bool()), (Some("degraded"), Some(false)));
}

/// What `/readyz` says to the operator of the store.
async fn store_part(server: &TestServer) -> (u16, String) {
    let mut admin = Connection::connect(server.admin.unwrap()).await;
    admin.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let answer = admin.answer("GET").await;
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, json["parts"]["store"]["says"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_store_that_refuses_this_server_or_is_away_makes_it_unready() {
    for (reply, strangers, operator) in [
        (Reply::error(403, "SignatureDoesNotMatch", "m"), "does not let this server in", "secret key"),
        (Reply::error(403, "InvalidAccessKeyId", "m"), "does not let this server in", "access key"),
        (Reply::error(403, "RequestTimeTooSkewed", "m"), "does not let this server in", "clocks"),
        (Reply::error(404, "NoSuchBucket", "m"), "does not let this server in", "store.bucket"),
        (Reply::error(503, "SlowDown", "m"), "answers with errors", "503"),
    ] {
        let setup = Setup { server: "admin = \"127.0.0.1:0\"".into(), ..Setup::default() };
        let server = TestServer::with(setup).await;
        server.store.always(reply);
        let answer = server.plain_get("/readyz").await;
        refused(&answer, 503, strangers);
        assert!(!answer.text().contains(&server.store.address.to_string()), "{}", answer.text());
        let (status, says) = store_part(&server).await;
        assert!(status == 503 && says.contains(operator), "{status} {says}");
        // It is told when it is over.
        server.store.unscript();
        let end = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while server.plain_get("/readyz").await.status != 200 {
            assert!(tokio::time::Instant::now() < end);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_makes_it_unready() {
    let closed = ClosedPort::hold();
    let setup =
        Setup { server: "admin = \"127.0.0.1:0\"".into(), endpoint: Some(closed.url()), ..Setup::default() };
    let server = TestServer::with(setup).await;
    let answer = server.plain_get("/readyz").await;
    refused(&answer, 503, "the store does not answer");
    assert!(!answer.text().contains(&closed.address.to_string()), "{}", answer.text());
    let (status, says) = store_part(&server).await;
    assert!(status == 503 && says.contains("store.endpoint"), "{status} {says}");
}

#[tokio::test]
async fn a_store_is_well_by_the_head_of_its_success_though_the_rest_does_not_come() {
    let server = TestServer::start().await;
    server.store.always(Reply::new(200).header("content-length", "4").piece(60_000, "rest"));
    assert_eq!(ok(&server.plain_get("/readyz").await), json!({ "status": "ready" }));
    let health = ok(&server.plain_get("/healthcheck").await);
    assert_eq!(health["s3_ok"], json!(true));
    // For so long the rest is read beside it.
    assert!(health["s3_latency_ms"].as_u64().unwrap() < 1000, "{health}");
    assert_eq!(server.store.seen().len(), 1);
}

#[tokio::test]
async fn traffic_tells_of_the_store_and_questions_cost_it_next_to_nothing() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("a"), vec![1; 2000]);
    let key = ALICE.hotkey();
    let get = Call::new("GET", &format!("/data-universe/{}", ALICE.file("a")));
    server.send(&key, &get).await.ok();
    // What just succeeded is knowledge enough.
    for _ in 0..20 {
        ok(&server.plain_get("/readyz").await);
    }
    assert_eq!(server.store.seen().len(), 1);
    // A refusal of the server itself makes it look again, once for all who ask.
    server.store.always(Reply::error(403, "SignatureDoesNotMatch", "m"));
    server.send(&key, &get).await.refused(503, "ServiceUnavailable");
    let asking: Vec<_> = (0..50).map(|_| server.plain_get("/readyz")).collect();
    for answer in futures_util::future::join_all(asking).await {
        refused(&answer, 503, "the store does not let this server in");
    }
    let lists = server.store.seen().iter().filter(|seen| seen.query("list-type").is_some()).count();
    assert!(lists <= 3, "{lists}");
}

#[tokio::test]
async fn p38_a_stale_registry_is_told() {
    let server = TestServer::with(Setup { chain: "stale_seconds_max = 1".into(), ..Setup::default() }).await;
    std::fs::remove_file(server.registry()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(3100)).await;
    refused(&server.plain_get("/readyz").await, 503, "registry");
    assert_eq!(ok(&server.plain_get("/healthcheck").await)["status"], json!("degraded"));
}

#[tokio::test]
async fn p18_endpoints_match_exactly() {
    let server = TestServer::start().await;
    for path in [
        "/healthz/",
        "/healthz2",
        "/openapi.json/",
        "/openapi.json/x",
        "/readyz/../x",
        "//healthz",
        "/HEALTHZ",
        "/get-folder-access/",
        "/get-miner-list/",
        "/get-file-upload-url2",
        "/structure-info2",
    ] {
        server.plain_get(path).await.refused(403, "AccessDenied");
    }
    for path in ["/get-folder-access", "/get-validator-access", "/get-file-presigned-urls", "/v1/session"] {
        let answer = server.plain_get(path).await;
        refused(&answer, 405, "POST");
        assert_eq!(answer.get("allow"), Some("POST"));
    }
    let answer = server.post_json("/openapi.json", &json!({})).await;
    refused(&answer, 405, "GET");
    server.store.saw_nothing();
}

/// What a browser sends when somebody types the server's address.
const BROWSER: &str = "accept: text/html,application/xhtml+xml,*/*;q=0.8";

#[tokio::test]
async fn a_browser_at_the_root_is_led_to_the_documentation() {
    let server = TestServer::start().await;
    let raw = |method: &str, target: &str, header: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n{header}\r\n\r\n", server.host());
        head.into_bytes()
    };
    for method in ["GET", "HEAD"] {
        let answer = server.send_raw(method, &raw(method, "/", BROWSER)).await;
        assert_eq!((answer.status, answer.get("location")), (303, Some("/docs")), "{method}");
    }
    // Everything else at the root is S3's: who does not ask for a page, or asks as somebody, or for more.
    for (method, target, header) in [
        ("GET", "/", "accept: */*"),
        ("GET", "/", "accept: application/xml, text/html2"),
        ("POST", "/", BROWSER),
        ("GET", "/?list-type=2", BROWSER),
        ("GET", "//", BROWSER),
        ("GET", "/data-universe", BROWSER),
        ("GET", "/", "accept: text/html\r\ntransfer-encoding: gzip, chunked"),
        ("GET", "/", "accept: text/html\r\nhost: other"),
    ] {
        let answer = server.send_raw(method, &raw(method, target, header)).await;
        assert!(answer.status >= 400 && answer.get("location").is_none(), "{method} {target} {header}");
    }
    let buckets = Call::new("GET", "/").header("accept", "text/html");
    for key in server.both(&ALICE).await {
        assert!(server.send(&key, &buckets).await.ok().text().contains("<ListAllMyBucketsResult"));
        let presigned = Call::new("GET", "/").header("accept", "text/html").presigned();
        assert!(server.send(&key, &presigned).await.ok().text().contains("<ListAllMyBucketsResult"));
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p40_a_request_that_is_too_long_is_told_so() {
    let server = TestServer::start().await;
    let long = json!({ "hotkey": "5".repeat(600_000) });
    for path in ["/get-folder-access", "/get-validator-access"] {
        refused(&server.post_json(path, &long).await, 400, "too big");
    }
    server.store.saw_nothing();
}

/// `UPDATE_GOLDEN=1 cargo test golden` writes the document anew; read the difference before it is committed.
#[tokio::test]
async fn the_document_is_the_golden_one_and_whole() {
    let server = TestServer::start().await;
    let document = ok(&server.plain_get("/openapi.json").await);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/openapi.json");
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        text,
        "run with UPDATE_GOLDEN=1 and read the difference"
    );
    assert_eq!(document["openapi"], json!("3.1.0"));
    // Every reference leads somewhere, and every refusal has an example.
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (at, _) in text.match_indices("\"$ref\": \"#/components/schemas/") {
        let name = text[at..].split('"').nth(3).unwrap().rsplit('/').next().unwrap();
        assert!(schemas.contains_key(name), "{name}");
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters")
        {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = &response["content"];
                let has_example = content["application/json"]["example"]["detail"].is_string()
                    || content["application/xml"]["example"].is_string();
                // A HEAD has no body, and what redirects or answers shortly has none either.
                let needs_one = status.as_str() >= "400" && method != "head";
                assert!(has_example || !needs_one, "{method} {path} {status}");
            }
        }
    }
}
