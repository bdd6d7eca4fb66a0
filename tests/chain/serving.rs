//! A server that takes its registry from the scripted node.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::Method;
use serde_json::Value;
use subgate::{
    auth::{
        Declared,
        bittensor::sr25519::Keypair,
        sigv4::signer::{ClientRequest, Credentials, Signer},
    },
    config::{Config, Source},
    s3::uri::Query,
    serve::Server,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{PATIENCE, until};
use crate::harness::{
    logs,
    node::{Manner, Neuron, Node, Script},
};

/// A line of the log has all of these.
async fn until_logged(words: &[&str]) {
    let is_there = || {
        let log = logs::access_records();
        log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    until(&words.join(" "), is_there).await;
}

/// Writes a configuration with that node; gives its path.
pub(crate) fn configuration(dir: &Path, endpoints: &[String], more: &str) -> String {
    let key = dir.join("session.key");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = dir.join("store.json");
    std::fs::write(&store, r#"{"access_key": "a", "secret_key": "b"}"#).unwrap();
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        r#"
        server = {{ listen = "127.0.0.1:0", admin = "127.0.0.1:0" }}
        bucket.name = "data-universe"
        [session]
        issue_with = "a"
        allow_no_receiver = true
        keys = [{{ id = "a", file = "session.key" }}]
        [chain]
        source = "subtensor"
        netuid = 13
        genesis = "any"
        endpoints = {endpoints:?}
        refresh_seconds = 1
        {more}
        "#
    );
    let text = match text.contains("[store]") {
        true => text,
        false => {
            text + "[store]\nendpoint = \"http://127.0.0.1:9\"\ncredentials = { file = \"store.json\" }\n"
        }
    };
    let path = dir.join("proxy.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

struct Place {
    node: Node,
    keypair: Keypair,
    address: SocketAddr,
    admin: SocketAddr,
    dir: tempfile::TempDir,
}

/// The server, with a miner of ours among the recorded neurons.
async fn place(more: &str) -> Place {
    place_after(more, |_| {}).await
}

/// The same, after `begin` has told the node what to do.
async fn place_after(more: &str, begin: impl FnOnce(&mut Script)) -> Place {
    logs::set_up();
    let node = Node::start().await;
    let keypair = Keypair::from_mini_secret(&[42; 32]).unwrap();
    node.script().neurons[255] = miner(&keypair);
    begin(&mut node.script());
    let dir = tempfile::tempdir().unwrap();
    let config = configuration(dir.path(), &[node.http()], more);
    let server = Server::bind(Config::load(&Source::file(Path::new(&config))).unwrap()).await.unwrap();
    let (address, admin) = (server.address(), server.admin_address().unwrap());
    tokio::spawn(server.run(std::future::pending()));
    Place { node, keypair, address, admin, dir }
}

fn miner(keypair: &Keypair) -> Neuron {
    Neuron { hotkey: *keypair.account().as_bytes(), coldkey: [8; 32], permit: false, stake_rao: 0 }
}

/// The head of a request, signed by the hotkey.
fn head(place: &Place, method: Method, path: &str, length: usize) -> String {
    let host = place.address.to_string();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut request = ClientRequest::new(method, &host, path).unwrap();
    request.query = Query::parse(Some(query).filter(|query| !query.is_empty())).unwrap();
    let credentials = Credentials::Hotkey(&place.keypair);
    let signer = Signer { credentials, region: "us-east-1", now: SystemTime::now().into() };
    signer.sign(&mut request, &Declared::Unsigned).unwrap();
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target());
    for (name, value) in &request.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text + &format!("content-length: {length}\r\nconnection: close\r\n\r\n")
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn list_buckets(place: &Place) -> String {
    exchange(place.address, &head(place, Method::GET, "/", 0)).await
}

async fn look(place: &Place, path: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let answer = exchange(place.admin, &request).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Whether what decides is fresh; there is no store here.
async fn ready(place: &Place) -> Value {
    look(place, "/readyz").await.1["parts"]["registry"]["ready"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn p38_access_ends_with_the_registration_and_an_old_snapshot_is_a_503() {
    let place = place("stale_seconds_max = 8").await;
    assert!(list_buckets(&place).await.starts_with("HTTP/1.1 200"));
    // Each decision is logged with the block that it was made at.
    let hotkey = place.keypair.account().to_ss58();
    until_logged(&[&hotkey, "status=200", "block=100"]).await;
    assert_eq!(ready(&place).await, serde_json::json!(true));
    let snapshot = look(&place, "/snapshot").await.1;
    assert_eq!(
        (&snapshot["block"], &snapshot["hotkeys"], &snapshot["permits"]),
        (&100.into(), &256.into(), &64.into())
    );

    // Deregistered: refused from the next refresh on.
    {
        let mut script = place.node.script();
        script.neurons.pop();
        script.block = 101;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    let refused = loop {
        let answer = list_buckets(&place).await;
        if !answer.starts_with("HTTP/1.1 200") || tokio::time::Instant::now() > end {
            break answer;
        }
        // No faster than a client may ask.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("NotRegistered"), "{refused}");

    until_logged(&[&hotkey, "status=403", "block=101"]).await;

    // The chain is away for longer than the bound: that is no refusal.
    place.node.script().manner = Manner::Drop;
    let end = tokio::time::Instant::now() + PATIENCE;
    let unavailable = loop {
        let answer = list_buckets(&place).await;
        if !answer.starts_with("HTTP/1.1 403") || tokio::time::Instant::now() > end {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(unavailable.starts_with("HTTP/1.1 503"), "{unavailable}");
    assert!(unavailable.to_ascii_lowercase().contains("retry-after:"), "{unavailable}");
    until_logged(&[&hotkey, "status=503", "block=101"]).await;
    assert_eq!(look(&place, "/readyz").await.0, 503);
    assert_eq!(ready(&place).await, serde_json::json!(false));
    let snapshot = look(&place, "/snapshot").await.1;
    assert!(snapshot["chain_events"]["unreachable"].as_u64().unwrap() > 0, "{snapshot}");
    assert!(snapshot["chain_fault"].as_str().unwrap().contains("connection"), "{snapshot}");

    // And back.
    {
        let mut script = place.node.script();
        script.manner = Manner::Answer;
        script.neurons.push(miner(&place.keypair));
        script.block = 102;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while !list_buckets(&place).await.starts_with("HTTP/1.1 200") {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(place.dir.path().join("chain-snapshot.json").exists());
}

/// A store that takes one object and says how much of it came.
async fn sink() -> (SocketAddr, Arc<Mutex<(usize, bool)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let came = Arc::new(Mutex::new((0, false)));
    let seen = Arc::clone(&came);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
            head.push(byte[0]);
        }
        let mut buffer = vec![0; 65_536];
        while seen.lock().unwrap().0 < UPLOAD_BYTES {
            match stream.read(&mut buffer).await {
                Ok(length) if length > 0 => seen.lock().unwrap().0 += length,
                _ => break,
            }
        }
        seen.lock().unwrap().1 = true;
        if seen.lock().unwrap().0 == UPLOAD_BYTES {
            let answer = b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    (address, came)
}

const UPLOAD_BYTES: usize = 8 << 20;

async fn upload_over_a_loss(setting: &str) -> (String, usize) {
    let (store, came) = sink().await;
    let more = format!(
        "{setting}\n[store]\nendpoint = \"http://{store}\"\ncredentials = {{ file = \"store.json\" }}\n"
    );
    let place = place(&more).await;
    let coldkey = super::account([8; 32]).to_ss58();
    let path = format!("/data-universe/data/x/{coldkey}/a.parquet");
    let mut stream = TcpStream::connect(place.address).await.unwrap();
    stream.write_all(head(&place, Method::PUT, &path, UPLOAD_BYTES).as_bytes()).await.unwrap();
    stream.write_all(&vec![1; UPLOAD_BYTES / 2]).await.unwrap();
    until("the first half", || came.lock().unwrap().0 > UPLOAD_BYTES / 4).await;
    {
        let mut script = place.node.script();
        script.neurons.pop();
        script.block = 101;
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while look(&place, "/snapshot").await.1["block"] != 101 {
        assert!(tokio::time::Instant::now() < end);
    }
    if setting.is_empty() {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        stream.write_all(&vec![1; UPLOAD_BYTES / 2]).await.unwrap();
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    until("the end at the store", || came.lock().unwrap().1).await;
    let came = came.lock().unwrap().0;
    // One that begins later is refused in any case.
    assert!(list_buckets(&place).await.starts_with("HTTP/1.1 403"));
    (answer, came)
}

#[tokio::test(flavor = "multi_thread")]
async fn p38_an_upload_under_way_may_finish_by_default() {
    let (answer, came) = upload_over_a_loss("").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(came, UPLOAD_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn p38_an_upload_under_way_is_cut_where_that_is_configured() {
    let (answer, came) = upload_over_a_loss("uploads_after_loss = \"cut\"").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("NotRegistered"), "{answer}");
    assert!(came < UPLOAD_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn p38_a_permit_whose_stake_is_unknown_is_no_refusal() {
    // A cold start on the storage, which has no stake.
    let place = place_after("", |script| {
        script.refuses_metagraph = true;
        script.neurons[255].permit = true;
        script.neurons[255].stake_rao = 20_000_000_000_000;
    })
    .await;
    let ask =
        async |method: Method, path: &str| exchange(place.address, &head(&place, method, path, 0)).await;
    let other = super::account(place.node.script().neurons[3].coldkey).to_ss58();
    let read = format!("/data-universe/data/x/{other}/a.parquet");
    let list = format!("/data-universe?list-type=2&prefix=data%2Fx%2F{other}%2F");
    // What a validator may and a miner may not; and a list of which a miner would see a part, as if it were
    // all.
    for path in [&read, &list, "/data-universe?delimiter=%2F&list-type=2&prefix=data%2Fx%2F"] {
        let answer = ask(Method::GET, path).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after"), "{answer}");
        assert!(answer.contains("validator permit"), "{answer}");
    }
    // What neither may is a refusal, and what both may is judged as ever: the store is away here.
    let answer = ask(Method::DELETE, &read).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let own = format!("/data-universe/data/x/{}/a.parquet", super::account([8; 32]).to_ss58());
    let answer = ask(Method::DELETE, &own).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("The store behind"), "{answer}");
    // The call is back: a validator.
    {
        let mut script = place.node.script();
        (script.refuses_metagraph, script.block) = (false, 101);
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while !ask(Method::GET, &read).await.contains("The store behind") {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_reading_the_snapshot_says_that_there_is_none() {
    let place = place_after("", |script| script.manner = Manner::Drop).await;
    let (status, snapshot) = look(&place, "/snapshot").await;
    assert_eq!(status, 503);
    assert!(snapshot["status"].as_str().unwrap().contains("nothing has been read"), "{snapshot}");
    assert!(snapshot["chain_fault"].as_str().unwrap().contains("connection"), "{snapshot}");
    assert_eq!(snapshot.get("source"), None);
    let (status, readiness) = look(&place, "/readyz").await;
    assert_eq!((status, &readiness["parts"]["registry"]["ready"]), (503, &serde_json::json!(false)));
    let says = readiness["parts"]["registry"]["says"].as_str().unwrap();
    assert!(says.starts_with("nothing has been read from the registry of hotkeys yet; the last"), "{says}");
    // Strangers are told no age of what there is not, and no address.
    let asked = "GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let public = exchange(place.address, asked).await;
    assert!(public.contains("nothing has been read") && !public.contains("127.0.0.1"), "{public}");
    let asked = asked.replace("/readyz", "/healthcheck");
    let health = exchange(place.address, &asked).await;
    assert!(health.contains("\"age_seconds\":null,\"enabled\":true,\"fresh\":false"), "{health}");
    place.node.script().manner = Manner::Answer;
    let end = tokio::time::Instant::now() + PATIENCE;
    while look(&place, "/snapshot").await.0 != 200 {
        assert!(tokio::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
