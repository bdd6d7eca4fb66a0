//! However a request ends, it leaves one line, which says how.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use subgate::{config::Config, serve::Server};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    client::{Call, Connection, Payload},
    logs,
    server::{ALICE, BOB, STRANGER, Setup, TestServer, bytes},
    store::Reply,
};

/// The access records of this thread, each time those that came since the last time.
#[derive(Default)]
struct Lines {
    read: usize,
}

impl Lines {
    /// Those from here on.
    fn begin() -> Self {
        logs::capture();
        Self { read: all().len() }
    }

    /// The one line that has come; waits for it, and a moment longer for a second one.
    async fn one(&mut self) -> String {
        for _ in 0..500 {
            if all().len() > self.read {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let lines = all();
        let new = &lines[self.read..];
        assert_eq!(new.len(), 1, "{new:#?}");
        self.read = lines.len();
        new[0].clone()
    }
}

fn all() -> Vec<String> {
    logs::captured().lines().filter(|line| line.contains("subgate::access")).map(str::to_owned).collect()
}

fn told(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} not in {line}");
    }
}

fn put() -> Call {
    Call::put(&ALICE.file("f"), bytes(400_000)).payload(Payload::Unsigned)
}

#[tokio::test]
async fn p49_an_answered_request_leaves_one_line_with_its_reason() {
    let server = TestServer::start().await;
    let mut lines = Lines::begin();
    server.store.put(&ALICE.file("f"), bytes(2000));

    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let get = Call::get(&ALICE.file("f")).header("user-agent", "Boto3/1.2 \"x\"");
    let get = get.unsigned("traceparent").smuggled("traceparent", trace);
    server.send(&ALICE.hotkey(), &get).await.ok();
    let line = lines.one().await;
    let coldkey = format!("coldkey=\"{}\"", ALICE.coldkey.to_ss58());
    told(&line, &["status=200", &coldkey, "outcome=\"complete\"", "store_milliseconds=", "Boto3/1.2"]);
    told(&line, &["first_byte_milliseconds=", "sent_bytes=2000"]);
    let ids = ["trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"", "parent_id=\"00f067aa0ba902b7\""];
    told(&line, &ids);
    assert_eq!(server.store.last().header("traceparent"), None);
    assert!(!line.contains("cut_by") && !line.contains("reason"), "{line}");

    server.send(&ALICE.hotkey(), &put()).await.ok();
    told(&lines.one().await, &["PutObject", "status=200", "received_bytes=400000", "outcome=\"complete\""]);

    server.send(&ALICE.hotkey(), &Call::get(&BOB.file("f"))).await.refused(403, "AccessDenied");
    told(&lines.one().await, &["code=\"AccessDenied\"", "reason=\"FolderDenied\""]);

    server.send(&STRANGER.hotkey(), &Call::get(&BOB.file("f"))).await.refused(403, "AccessDenied");
    told(&lines.one().await, &["code=\"AccessDenied\"", "reason=\"NotRegistered\""]);

    server.plain_get("/data-universe/k").await.refused(403, "AccessDenied");
    told(&lines.one().await, &["reason=\"Anonymous\""]);

    let mut false_call = server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("f")));
    false_call.header_mut("x-amz-content-sha256").reverse();
    server.send_signed(&false_call).await;
    lines.one().await;

    server.send(&ALICE.hotkey(), &Call::get("").query("lifecycle", "")).await.refused(501, "NotImplemented");
    told(&lines.one().await, &["reason=\"NotImplemented\""]);

    let signed = server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("f")).clock(-2000));
    server.send_signed(&signed).await.refused(403, "RequestTimeTooSkewed");
    told(&lines.one().await, &["reason=\"RequestTimeTooSkewed\""]);

    server.store.always(Reply::error(403, "InvalidAccessKeyId", "m"));
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.refused(503, "ServiceUnavailable");
    told(&lines.one().await, &["reason=\"StoreRefusedServer\""]);
}

#[tokio::test]
async fn an_endpoint_and_a_form_leave_one_line_each() {
    let server = TestServer::start().await;
    let mut lines = Lines::begin();

    assert_eq!(server.plain_get("/healthz").await.status, 200);
    told(&lines.one().await, &["path=\"/healthz\"", "status=200", "outcome=\"complete\""]);

    assert_eq!(server.plain_get("/v1/session").await.status, 405);
    told(&lines.one().await, &["path=\"/v1/session\"", "status=405", "reason=\"MethodNotAllowed\""]);

    assert_eq!(server.open_session(&STRANGER, b"").await.status, 403);
    told(&lines.one().await, &["path=\"/v1/session\"", "reason=\"NotRegistered\""]);

    let body = "--XX\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\nk\r\n--XX\r\n\
                content-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--XX--\r\n";
    let form = format!(
        "POST /data-universe HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=XX\r\n\
         content-length: {}\r\n\r\n{body}",
        server.host(),
        body.len(),
    );
    server.send_raw("POST", form.as_bytes()).await.refused(403, "AccessDenied");
    told(&lines.one().await, &["method=\"POST\"", "status=403", "reason=\"Anonymous\""]);
}

#[tokio::test]
async fn a_limit_is_named() {
    let setup = Setup { limits: "[limits.miner]\nrequests_per_day_max = 1".to_owned(), ..Setup::default() };
    let server = TestServer::with(setup).await;
    let mut lines = Lines::begin();
    server.store.put(&ALICE.file("f"), bytes(2000));
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    lines.one().await;
    server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await.refused(503, "SlowDown");
    let limit = "limit=\"limits.miner.requests_per_day_max\"";
    told(&lines.one().await, &["reason=\"LimitReached\"", limit]);
}

#[tokio::test]
async fn a_client_that_leaves_is_named_wherever_it_leaves() {
    let server = TestServer::start().await;
    let mut lines = Lines::begin();

    // In the middle of its upload.
    let signed = server.sign(&ALICE.hotkey(), &put());
    let mut client = server.connect().await;
    client.send(&signed.head()).await;
    client.send(&signed.body[..200_000]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(client);
    told(&lines.one().await, &["PutObject", "cut_by=\"client\""]);

    // In the middle of its download.
    server.store.put(&ALICE.file("big"), bytes(24 << 20));
    let mut client = server.connect().await;
    client.send_call(&server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("big")))).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(client);
    told(&lines.one().await, &["GetObject", "status=200", "cut_by=\"client\"", "outcome=\"cancelled\""]);
}

/// A stream of HTTP/2 that is reset drops the request's future, and nothing else of it is left.
#[tokio::test]
async fn a_client_that_leaves_while_the_store_thinks_leaves_a_line() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    let server = TestServer::with(Setup { endpoint, ..Setup::default() }).await;
    let mut lines = Lines::begin();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let small = Call::put(&ALICE.file("f"), bytes(2000));
    for (call, operation) in [(Call::get(&ALICE.file("f")), "GetObject"), (small, "PutObject")] {
        let signed = server.sign(&ALICE.hotkey(), &call);
        let uri = format!("http://{}{}", server.host(), signed.target);
        let mut request = http::Request::builder().method(signed.method.as_str()).uri(uri);
        for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value.as_slice());
        }
        let request = request.body(Full::new(Bytes::from(signed.body))).unwrap();
        let asking = tokio::spawn(sender.send_request(request));
        let _asked = silent.accept().await.unwrap();
        asking.abort();
        let line = lines.one().await;
        told(&line, &[operation, "cut_by=\"client\"", "outcome=\"cancelled\"", &ALICE.ss58()]);
        assert!(!line.contains("status="), "{line}");
    }
}

#[tokio::test]
async fn a_store_that_breaks_off_is_named() {
    let server = TestServer::start().await;
    let mut lines = Lines::begin();
    server.store.always(Reply::new(200).header("content-length", "5000").piece(0, bytes(2000)).broken());
    let mut client = server.connect().await;
    client.send_call(&server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("f")))).await;
    let answer = client.try_answer("GET").await;
    assert!(answer.map_or(true, |answer| !answer.whole));
    told(&lines.one().await, &["cut_by=\"store\"", "outcome=\"failed\"", "reason=\"StoreBrokeOff\""]);
}

/// A server that is told to stop while two transfers are under way that never end.
#[test]
fn what_the_server_cuts_at_its_end_says_so() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut lines, _clients) = runtime.block_on(async {
        let server = TestServer::start().await;
        let mut lines = Lines::begin();
        let setup = Setup { server: "drain_seconds_max = 0".to_owned(), ..Setup::default() };
        let text = setup.text(&format!("http://{}", server.store.address));
        let stopped = Server::bind(Config::parse(&text, server.dir.path()).unwrap()).await.unwrap();
        let address = stopped.address();
        let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(stopped.run(async { drop(stopping.await) }));
        server.store.put(&ALICE.file("big"), bytes(24 << 20));
        let get = Call::get(&ALICE.file("big")).sign(&ALICE.hotkey(), &address.to_string());
        let put = put().sign(&ALICE.hotkey(), &address.to_string());
        let mut reader = Connection::connect(address).await;
        reader.send_call(&get).await;
        let mut writer = Connection::connect(address).await;
        writer.send(&put.head()).await;
        writer.send(&put.body[..200_000]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.send(()).unwrap();
        running.await.unwrap();
        lines.read = all().len().min(lines.read);
        (lines, (reader, writer, server))
    });
    // What is still under way is dropped with the runtime.
    drop(runtime);
    let new = all().split_off(std::mem::take(&mut lines.read));
    assert_eq!(new.len(), 2, "{new:#?}");
    for operation in ["GetObject", "PutObject"] {
        let line = new.iter().find(|line| line.contains(operation)).unwrap();
        told(line, &["cut_by=\"server\"", "outcome=\"cut_by_server\""]);
    }
}
