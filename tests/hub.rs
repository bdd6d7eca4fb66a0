//! The Hub that migrations are tested against: it refuses what the real one refuses, and fails as it is told.
//! That the real clients accept it is shown by `tests/interop/test_migrate.py`.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::harness::{
    client::{Answer, Connection},
    hub::{Failure, Fault, Hub, Place, Seen, Side, Visibility},
    sigv4::sha256_hex,
};

const ID: &str = "alice/x_dataset_7";
const TOKEN: &str = "hf_alice";
const LARGE: &str = "data/train-DataEntity_chunk_0.parquet";
const SMALL: &str = "README.md";

/// A Hub with Alice, and a dataset of hers with a large and a small file.
fn hub() -> Hub {
    let hub = Hub::start();
    hub.user("alice", TOKEN, true);
    hub.user("bob", "hf_bob", true);
    hub.user("alice", "hf_alice_reads", false);
    hub.dataset(ID, Visibility::Public);
    hub.commit(ID, &[(LARGE, [7; 5000].as_slice()), (SMALL, b"# hello".as_slice())]);
    hub
}

/// One request over a connection of its own; none where that ends without an answer.
async fn try_ask(method: &str, url: &str, token: Option<&str>, more: &str, body: &[u8]) -> Option<Answer> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\n{token}{more}content-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = Connection::connect(host.parse().unwrap()).await;
    connection.send(&[head.as_bytes(), body].concat()).await;
    connection.try_answer(method).await.ok()
}

async fn get(url: &str) -> Answer {
    try_ask("GET", url, None, "", b"").await.unwrap()
}

async fn post(url: &str, token: Option<&str>, body: &Value) -> Answer {
    try_ask("POST", url, token, "", body.to_string().as_bytes()).await.unwrap()
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn api(hub: &Hub, rest: &str) -> String {
    format!("{}/api/datasets/{ID}{rest}", hub.endpoint)
}

/// Where a file's URL leads.
async fn location(hub: &Hub, path: &str) -> String {
    let answer = get(&format!("{}/datasets/{ID}/resolve/main/{path}", hub.endpoint)).await;
    answer.get("location").unwrap().to_owned()
}

#[tokio::test]
async fn a_large_file_is_at_the_cdn_and_a_small_one_beside() {
    let hub = hub();
    let answer = get(&format!("{}/datasets/{ID}/resolve/main/{LARGE}", hub.endpoint)).await;
    assert_eq!((answer.status, answer.get("x-linked-size")), (302, Some("5000")));
    assert_eq!(answer.get("x-linked-etag"), Some(format!("\"{}\"", sha256_hex(&[7; 5000])).as_str()));
    assert_eq!(answer.get("x-repo-commit"), hub.commits(ID).first().map(String::as_str));
    let url = answer.get("location").unwrap().to_owned();
    assert!(url.starts_with(&hub.cdn), "{url}");
    assert_eq!(get(&url).await.body, [7; 5000]);
    let part = try_ask("GET", &url, None, "range: bytes=10-19\r\n", b"").await.unwrap();
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(part.get("content-range"), Some("bytes 10-19/5000"));
    let small = location(&hub, SMALL).await;
    assert_eq!(get(&format!("{}{small}", hub.endpoint)).await.body, b"# hello");
}

#[tokio::test]
async fn the_cdn_takes_no_token_no_false_signature_and_no_old_url() {
    let hub = hub();
    let url = location(&hub, LARGE).await;
    assert_eq!(try_ask("GET", &url, Some(TOKEN), "", b"").await.unwrap().status, 400);
    assert_eq!(hub.violations().len(), 1);
    assert_eq!(get(&url.replace("Expires=1", "Expires=2")).await.status, 403);
    hub.order(Fault::on(Place::Resolve, Failure::Expired).times(1));
    let expired = get(&location(&hub, LARGE).await).await;
    assert_eq!(expired.status, 403);
    assert!(expired.text().contains("Request has expired"));
    assert_eq!(get(&location(&hub, LARGE).await).await.status, 200);
}

#[tokio::test]
async fn whoever_may_not_is_told_as_the_hub_tells_it() {
    let hub = hub();
    hub.dataset("alice/secret", Visibility::Private);
    hub.dataset("alice/gated", Visibility::Gated);
    hub.commit("alice/gated", &[(SMALL, b"text")]);
    let secret = format!("{}/api/datasets/alice/secret", hub.endpoint);
    let gated = format!("{}/datasets/alice/gated/resolve/main/{SMALL}", hub.endpoint);
    let batch = format!("{}/datasets/{ID}.git/info/lfs/objects/batch", hub.endpoint);
    for (method, url, token, status, code) in [
        ("GET", &secret, None, 401, Some("RepoNotFound")),
        ("GET", &secret, Some("hf_bob"), 404, Some("RepoNotFound")),
        ("GET", &secret, Some("hf_nobody"), 401, None),
        ("GET", &secret, Some(TOKEN), 200, None),
        ("GET", &gated, None, 401, Some("GatedRepo")),
        ("GET", &gated, Some("hf_bob"), 403, Some("GatedRepo")),
        ("GET", &gated, Some(TOKEN), 307, None),
        ("GET", &api(&hub, "/tree/nowhere"), None, 404, Some("RevisionNotFound")),
        ("GET", &api(&hub, "/tree/main/nowhere"), None, 404, Some("EntryNotFound")),
        ("POST", &batch, None, 401, None),
        ("POST", &batch, Some("hf_bob"), 403, None),
        ("POST", &batch, Some("hf_alice_reads"), 403, None),
    ] {
        let answer = try_ask(method, url, token, "", b"{}").await.unwrap();
        assert_eq!((answer.status, answer.get("x-error-code")), (status, code), "{method} {url} {token:?}");
    }
}

/// All pages of a tree.
async fn tree(hub: &Hub) -> Vec<Value> {
    let (mut entries, mut next) = (Vec::new(), Some(api(hub, "/tree/main?recursive=true")));
    while let Some(url) = next {
        let answer = get(&url).await;
        entries.extend(json_of(&answer).as_array().unwrap().clone());
        let link =
            answer.get("link").map(|link| link.strip_suffix(">; rel=\"next\"").unwrap()[1..].to_owned());
        next = link;
    }
    entries
}

#[tokio::test]
async fn a_tree_comes_in_pages_and_a_branch_may_move_between_them() {
    let hub = hub();
    hub.commit_chunks(ID, 10_000, 2048);
    let entries = tree(&hub).await;
    let files = entries.iter().filter(|entry| entry["type"] == "file").count();
    assert_eq!(files, 10_002);
    assert_eq!(hub.seen().iter().filter(|seen| seen.line().contains("/tree/")).count(), 11);
    let entry =
        entries.iter().find(|entry| entry["path"] == "data/train-DataEntity_chunk_77.parquet").unwrap();
    let data = hub.file(ID, "data/train-DataEntity_chunk_77.parquet").unwrap();
    assert_eq!((data.len(), entry["size"].as_u64()), (2048, Some(2048)));
    assert_eq!(entry["lfs"]["oid"], sha256_hex(&data));
    hub.page_entries(6000);
    hub.order(Fault::on(Place::Tree, Failure::Moves).times(1));
    let commits = hub.commits(ID).len();
    let moved = tree(&hub).await;
    assert_eq!(hub.commits(ID).len(), commits + 2);
    assert!(!hub.paths(ID).iter().any(|path| *path == moved[3]["path"]), "{}", moved[3]);
}

#[tokio::test]
async fn a_commit_takes_what_arrived_and_nothing_else() {
    let hub = hub();
    hub.upload_in_parts(3000, 2000);
    let (data, other) = (vec![9; 5000], vec![8; 100]);
    let (oid, other_oid) = (sha256_hex(&data), sha256_hex(&other));
    let preupload = json!({ "files": [
        { "path": "a.parquet", "size": 5000, "sample": STANDARD.encode(&data[..512]) },
        { "path": "b.txt", "size": 4, "sample": STANDARD.encode("text") },
    ] });
    let modes = json_of(&post(&api(&hub, "/preupload/main"), Some(TOKEN), &preupload).await);
    assert_eq!(
        (&modes["files"][0]["uploadMode"], &modes["files"][1]["uploadMode"]),
        (&json!("lfs"), &json!("regular"))
    );
    let objects = json!([{ "oid": oid, "size": 5000 }, { "oid": other_oid, "size": 100 }]);
    let batch = json!({ "operation": "upload", "transfers": ["basic", "multipart"], "objects": objects });
    let url = format!("{}/datasets/{ID}.git/info/lfs/objects/batch", hub.endpoint);
    let answer = json_of(&post(&url, Some(TOKEN), &batch).await);
    let actions = &answer["objects"][0]["actions"];
    let header = actions["upload"]["header"].as_object().unwrap();
    assert_eq!(header["chunk_size"], "2000");
    let mut parts = Vec::new();
    for (number, piece) in data.chunks(2000).enumerate() {
        let url = header[&format!("{:05}", number + 1)].as_str().unwrap();
        let put = try_ask("PUT", url, None, "", piece).await.unwrap();
        parts.push(json!({ "partNumber": number + 1, "etag": put.get("etag").unwrap() }));
    }
    let commit = |line: Value| {
        let lines = [json!({ "key": "header", "value": { "summary": "s" } }), line];
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let url = api(&hub, "/commit/main");
        async move { try_ask("POST", &url, Some(TOKEN), "", text.as_bytes()).await.unwrap() }
    };
    let file = |path: &str, oid: &str, size: u64| {
        let value = json!({ "path": path, "algo": "sha256", "oid": oid, "size": size });
        json!({ "key": "lfsFile", "value": value })
    };
    assert_eq!(commit(file("a.parquet", &oid, 5000)).await.status, 400);
    let completion = json!({ "oid": oid, "parts": parts });
    let complete = actions["upload"]["href"].as_str().unwrap();
    assert_eq!(post(complete, None, &completion).await.status, 200);
    assert_eq!(commit(file("a.parquet", &oid, 5000)).await.status, 200);
    assert_eq!(hub.file(ID, "a.parquet").unwrap(), data);
    // What arrives damaged is found out, and what stands for it cannot be committed.
    hub.order(Fault::on(Place::Put, Failure::Wrong).times(1));
    let actions = &answer["objects"][1]["actions"];
    let put = actions["upload"]["href"].as_str().unwrap();
    assert_eq!(try_ask("PUT", put, None, "", &other).await.unwrap().status, 200);
    let verify = actions["verify"]["href"].as_str().unwrap();
    let object = json!({ "oid": other_oid, "size": 100 });
    assert_eq!(post(verify, Some(TOKEN), &object).await.status, 422);
    assert_eq!(commit(file("b.parquet", &other_oid, 100)).await.status, 400);
    for path in ["../a", "/a", "a//b", ".git/config"] {
        let line = json!({ "key": "file", "value": { "path": path, "content": "", "encoding": "base64" } });
        assert_eq!(commit(line).await.status, 400, "{path}");
    }
    let stale = json!({ "key": "header", "value": { "summary": "s", "parentCommit": "0".repeat(40) } });
    assert_eq!(post(&api(&hub, "/commit/main"), Some(TOKEN), &stale).await.status, 412);
}

#[tokio::test]
async fn it_fails_as_often_and_where_it_is_told() {
    let hub = hub();
    hub.order(Fault::status(Place::Tree, 429, Some(3)).after(1).times(1).target("recursive"));
    let url = api(&hub, "/tree/main?recursive=true");
    let mut answers = Vec::new();
    for url in [&url, &api(&hub, "/tree/main"), &url, &url] {
        let answer = get(url).await;
        answers.push((answer.status, answer.get("retry-after").map(str::to_owned)));
    }
    assert_eq!(answers, [(200, None), (200, None), (429, Some("3".to_owned())), (200, None)]);
    hub.order(Fault::status(Place::Any, 503, None));
    assert_eq!(get(&url).await.status, 503);
    hub.recover();
    assert_eq!(get(&url).await.status, 200);
    let (first, statuses): (Seen, Vec<_>) =
        (hub.seen()[0].clone(), hub.seen().iter().map(|seen| seen.status.unwrap()).collect());
    assert_eq!((first.side, first.header("host")), (Side::Hub, hub.endpoint.strip_prefix("http://")));
    assert_eq!(statuses, [200, 200, 429, 200, 503, 200]);
    hub.forget();
    assert!(hub.seen().is_empty());
}

#[tokio::test]
async fn bodies_are_cut_stalled_slow_wrong_and_whole_as_told() {
    let hub = hub();
    let url = location(&hub, LARGE).await;
    let fail = |failure| hub.order(Fault::on(Place::Cdn, failure).times(1));
    fail(Failure::Wrong);
    let wrong = get(&url).await.body;
    let differ = wrong.iter().filter(|byte| **byte != 7).count();
    assert_eq!((wrong.len(), differ), (5000, 1));
    fail(Failure::Cut { after: 1000 });
    let cut = get(&url).await;
    assert_eq!((cut.whole, cut.body.len()), (false, 1000));
    fail(Failure::Whole);
    let whole = try_ask("GET", &url, None, "range: bytes=10-19\r\n", b"").await.unwrap();
    assert_eq!((whole.status, whole.body.len()), (200, 5000));
    fail(Failure::Slow { bytes_per_second: 20_000 });
    let start = Instant::now();
    assert_eq!(get(&url).await.body.len(), 5000);
    assert!(start.elapsed() >= Duration::from_millis(250));
    fail(Failure::Stall { after: 1000 });
    let stalled = tokio::time::timeout(Duration::from_millis(300), get(&url)).await;
    assert!(stalled.is_err());
    hub.order(
        Fault::on(Place::Resolve, Failure::Redirect { to: "http://127.0.0.1:1/x".to_owned() }).times(1),
    );
    assert_eq!(location(&hub, LARGE).await, "http://127.0.0.1:1/x");
    // Something else, and something late.
    let link = ("link".to_owned(), "<http://127.0.0.1:1/>; rel=\"next\"".to_owned());
    let said = Failure::Said { headers: vec![link], body: "[1]".to_owned() };
    hub.order(Fault::on(Place::Tree, said).times(1));
    let answer = get(&api(&hub, "/tree/main")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "[1]"));
    assert_eq!(answer.get("link"), Some("<http://127.0.0.1:1/>; rel=\"next\""));
    hub.order(Fault::on(Place::Info, Failure::Late { milliseconds: 200 }).times(1));
    let start = Instant::now();
    let short = json_of(&get(&api(&hub, "/revision/main?expand=sha")).await);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(short.as_object().unwrap().len(), 3, "{short}");
    assert_eq!(short["sha"], hub.commits(ID)[0]);
    // Done, and not said.
    hub.order(Fault::on(Place::Commit, Failure::Unanswered).times(1));
    let header = json!({ "key": "header", "value": { "summary": "s" } }).to_string();
    let before = hub.commits(ID).len();
    let lost = try_ask("POST", &api(&hub, "/commit/main"), Some(TOKEN), "", header.as_bytes()).await;
    assert!(lost.is_none());
    assert_eq!(hub.commits(ID).len(), before + 1);
}

#[tokio::test]
async fn another_process_orders_and_looks_up_the_same() {
    let hub = hub();
    let order = format!("{}/-/order", hub.endpoint);
    for text in [
        json!({ "user": { "name": "carol", "token": "hf_carol", "may_write": true } }),
        json!({ "dataset": { "id": "carol/y", "visibility": "private" } }),
        json!({ "commit": { "id": "carol/y", "files": [["a.txt", "YQ=="]] } }),
        json!({ "chunks": { "id": "carol/y", "files": 3, "bytes": 100 } }),
        json!({ "remove": { "id": "carol/y", "path": "data/train-DataEntity_chunk_1.parquet" } }),
        json!({ "page_entries": 1 }),
        json!({ "url_seconds": 5 }),
        json!({ "upload_in_parts": { "from": 10, "part_bytes": 10 } }),
        json!({ "fault": { "on": "tree", "failure": { "status": { "status": 500 } }, "times": 1 } }),
        json!("recover"),
        json!("forget"),
    ] {
        let answer = post(&order, None, &text).await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.text());
    }
    assert_eq!(post(&order, None, &json!({ "no such": "order" })).await.status, 400);
    let looked_up = json_of(&get(&format!("{}/-/dataset?id=carol/y", hub.endpoint)).await);
    let chunks = [0, 2].map(|n| format!("data/train-DataEntity_chunk_{n}.parquet"));
    assert_eq!(looked_up["paths"], json!(["a.txt", chunks[0], chunks[1]]));
    assert_eq!(looked_up["commits"].as_array().unwrap().len(), 4);
    assert_eq!(get(&format!("{}/-/file?id=carol/y&path=a.txt", hub.endpoint)).await.body, b"a");
    assert_eq!(json_of(&get(&format!("{}/-/seen", hub.endpoint)).await), json!([]));
    assert_eq!(json_of(&get(&format!("{}/-/violations", hub.endpoint)).await), json!([]));
}
