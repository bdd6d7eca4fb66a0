//! Traces: a span for each request, and a collector that costs no request anything. Which requests have a
//! span, and how many in a second, is tested beside the tracer.

mod collector;

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use self::collector::Collector;
use crate::harness::{
    client::{Answer, Call, Connection, PATIENCE},
    closed_port::ClosedPort,
    metadata::secret_of,
    program::Program,
    server::{ALICE, BOB, KEY_ONE, Setup, bytes, registry},
    store::Store,
};

/// A server that exports to a collector.
struct Place {
    store: Store,
    program: Program,
    _dir: TempDir,
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Place {
    async fn new(collector: SocketAddr) -> Self {
        let store = Store::start().await;
        let secret = secret_of("AKONE");
        store.accept_keys(&[("AKONE", &secret)]);
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("one.key"), KEY_ONE);
        let credentials = format!(r#"{{"access_key": "AKONE", "secret_key": "{secret}"}}"#);
        write(&dir.path().join("store.json"), &credentials);
        write(&dir.path().join("registry.json"), &registry(&[&ALICE, &BOB], &[]));
        let config = dir.path().join("proxy.toml");
        write(&config, &Setup::default().text(&format!("http://{}", store.address)));
        let endpoint = format!("http://{collector}");
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-token"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_SERVICE_NAME", "s3-of-the-test"),
        ];
        let program = tokio::task::block_in_place(|| Program::serve(&config, &environment));
        Self { store, program, _dir: dir }
    }

    async fn send(&self, call: &Call) -> Answer {
        let signed = call.sign(&ALICE.hotkey(), &self.program.address.to_string());
        let mut connection = Connection::connect(self.program.address).await;
        connection.send_call(&signed).await;
        connection.answer(&signed.method).await
    }

    fn logged(&self, words: &str) -> usize {
        self.program.log().iter().filter(|line| line.contains(words)).count()
    }

    /// Waits until a line with these words is logged.
    async fn until_logged(&self, words: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        while self.logged(words) == 0 {
            assert!(tokio::time::Instant::now() < end, "{:?}", self.program.log());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

const AWAY: &str = "the collector takes no traces";
const BACK: &str = "the collector takes traces again";

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let attributes = span["attributes"].as_array().unwrap();
    let value = &attributes.iter().find(|attribute| attribute["key"] == key)?["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn p51_a_request_leaves_one_span_of_its_parent_and_no_key_and_no_secret() {
    let collector = Collector::start().await;
    let place = Place::new(collector.address).await;
    place.store.put(&ALICE.file("hidden-name"), bytes(2000));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let get = Call::get(&ALICE.file("hidden-name")).query("x-id", "GetObject").unsigned("traceparent");
    let get = get.smuggled("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    place.send(&get).await.ok();
    let spans = collector.wait(1).await;
    let span = &spans[0];
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&trace.into(), &"00f067aa0ba902b7".into()));
    assert_eq!((&span["name"], &span["kind"]), (&"GetObject".into(), &2.into()));
    assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
    let nanoseconds = |name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
    assert!(nanoseconds("startTimeUnixNano") <= nanoseconds("endTimeUnixNano"));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("server.address", "127.0.0.1"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("subgate.operation", "GetObject"),
        ("subgate.role", "miner"),
        ("subgate.outcome", "complete"),
    ] {
        assert_eq!(attribute(span, key), Some(value), "{key}");
    }
    assert_eq!(attribute(span, "error.type"), None);

    // A refusal; a request whose client does not record its own; one that is part of no trace.
    place.send(&Call::get(&BOB.file("hidden-name"))).await.refused(403, "AccessDenied");
    let untraced = Call::get(&ALICE.file("hidden-name")).unsigned("traceparent");
    let untraced = untraced.smuggled("traceparent", format!("00-{trace}-00f067aa0ba902b7-00"));
    place.send(&untraced).await.ok();
    let mut connection = Connection::connect(place.program.address).await;
    connection.send(b"GET /healthz?hidden-query HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    connection.answer("GET").await.ok();
    let spans = collector.wait(3).await;
    let refused = spans.iter().find(|span| attribute(span, "error.type").is_some()).unwrap();
    assert_eq!(attribute(refused, "error.type"), Some("FolderDenied"));
    assert_eq!(attribute(refused, "http.response.status_code"), Some("403"));
    assert!(
        refused["parentSpanId"].is_null()
            && refused["traceId"] != trace
            && refused["status"]["code"].is_null()
    );
    let health = spans.iter().find(|span| span["name"] == "GET /healthz").unwrap();
    assert_eq!(attribute(health, "server.address"), Some("a.example"));
    assert_eq!(spans.len(), 3);

    let exports = collector.exports();
    for export in &exports {
        assert_eq!(
            (export.path.as_str(), &export.headers["content-type"]),
            ("/v1/traces", &"application/json".parse().unwrap())
        );
        assert_eq!(export.headers["authorization"], "Bearer collector-token");
        assert!(export.text.contains("s3-of-the-test"));
        let secret = secret_of("AKONE");
        let signing = ["Signature", "Credential", "x-amz-", &secret, "AKONE", KEY_ONE];
        for hidden in [&["hidden-name", "hidden-query", "x-id", "collector-token"][..], &signing[..]].concat()
        {
            assert!(!export.text.contains(hidden), "{hidden}: {}", export.text);
        }
    }
    // The line of the log names the trace of the span.
    let own = format!("\"trace_id\":\"{}\"", refused["traceId"].as_str().unwrap());
    place.until_logged(&own).await;
    assert_eq!(place.logged("collector-token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_silent_or_away_holds_no_request_up_and_is_told_once() {
    let collector = Collector::start().await;
    collector.be_silent(true);
    let place = Place::new(collector.address).await;
    place.store.put(&ALICE.file("f"), bytes(10));
    // It answers nothing until all of these are answered.
    for _ in 0..20 {
        place.send(&Call::get(&ALICE.file("f"))).await.ok();
    }
    place.until_logged(AWAY).await;
    for _ in 0..20 {
        place.send(&Call::get(&ALICE.file("f"))).await.ok();
    }
    assert_eq!((place.logged(AWAY), place.logged(BACK)), (1, 0));
    collector.be_silent(false);
    collector.wait(40).await;
    place.until_logged(BACK).await;
    assert_eq!((place.logged(AWAY), place.logged(BACK)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_an_outage_wait_for_the_collector() {
    let closed = ClosedPort::hold();
    let address = closed.address;
    let place = Place::new(address).await;
    place.store.put(&ALICE.file("f"), bytes(10));
    place.send(&Call::get(&ALICE.file("f"))).await.ok();
    place.until_logged(AWAY).await;
    place.send(&Call::get(&ALICE.file("f"))).await.ok();
    drop(closed);
    let collector = Collector::at(address).await;
    assert_eq!(collector.wait(2).await.len(), 2);
    place.until_logged(BACK).await;
    assert_eq!((place.logged(AWAY), place.logged(BACK)), (1, 1));
}
