//! Each kind of setting counts from the next request on, on a connection that was there before.

use super::Client;
use crate::harness::{
    client::Call,
    server::{ALICE, BUCKET, Setup, TestServer, VALIDATOR, bytes},
    store::{self, Store},
};

#[tokio::test]
async fn folders_and_rights_change_on_an_open_connection() {
    let server = TestServer::start().await;
    let mut client = Client::new(&server).await;
    let key = server.session(&ALICE).await;
    let put = Call::put(&ALICE.file("f"), bytes(2000));
    client.send(&key, &put).await.ok();
    let get = Call::get(&ALICE.file("f"));
    let read_only = Setup {
        policy: "folders = [\"data/{source}/{coldkey}/\"]\n[policy.roles.miner]\nown = [\"read\"]\nall = []"
            .to_owned(),
        ..Setup::default()
    };
    let reloaded = server.reload(&read_only).await.unwrap();
    assert!(reloaded.changed.iter().any(|told| told.starts_with("policy.roles.miner.own: ")), "{reloaded:?}");
    client.send(&key, &get).await.ok();
    client.send(&key, &put).await.refused(403, "AccessDenied");
    let mut client = Client::new(&server).await;
    server.reload(&Setup::default()).await.unwrap();
    client.send(&key, &put).await.ok();
}

#[tokio::test]
async fn the_validator_rule_changes_on_an_open_connection() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    let (key, get) = (server.session(&VALIDATOR).await, Call::get(&ALICE.file("f")));
    let mut client = Client::new(&server).await;
    client.send(&key, &get).await.ok();
    let rule = Setup { chain: "validator_stake_min = 30000.0".to_owned(), ..Setup::default() };
    server.reload(&rule).await.unwrap();
    client.send(&key, &get).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn another_registry_file_counts() {
    let server = TestServer::start().await;
    let mut client = Client::new(&server).await;
    let put = Call::put(&ALICE.file("f"), bytes(2000));
    client.send(&ALICE.hotkey(), &put).await.ok();
    server.write_private("other.json", "{\"identities\": []}");
    let text = Setup::default().text(&format!("http://{}", server.store.address));
    let reloaded = server.reload_text(&text.replace("registry.json", "other.json")).await.unwrap();
    assert_eq!(reloaded.changed, ["chain.file: \"registry.json\" -> \"other.json\""]);
    client.send(&ALICE.hotkey(), &put).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn cors_hosts_and_the_edge_change_on_an_open_connection() {
    let server = TestServer::start().await;
    let mut client = Client::new(&server).await;
    let origin = "origin: https://app.example.com\r\n";
    assert!(client.plain("/healthz", origin).await.get("access-control-allow-origin").is_none());
    let more = Setup {
        server: "cors_origins = [\"https://app.example.com\"]\nhosts = [\"s3.example.com\"]".to_owned(),
        edge: "networks = [\"127.0.0.0/8\"]".to_owned(),
        ..Setup::default()
    };
    let reloaded = server.reload(&more).await.unwrap();
    assert_eq!(
        reloaded.changed,
        [
            "server.cors_origins: not set -> [\"https://app.example.com\"]",
            "server.edge.networks: not set -> [\"127.0.0.0/8\"]",
            "server.hosts: not set -> [\"s3.example.com\"]",
        ]
    );
    assert!(client.plain("/healthz", origin).await.get("access-control-allow-origin").is_some());
    // The names of loopback are no names of this server any more.
    let get = Call::get(&ALICE.file("f"));
    client.send(&ALICE.hotkey(), &get).await.refused(403, "AccessDenied");
    let mut client = Client::new(&server).await;
    client.send(&ALICE.hotkey(), &get.host("s3.example.com")).await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn another_store_gets_what_begins_and_the_old_one_ends_what_is_under_way() {
    let server = TestServer::start().await;
    let other = Store::start().await;
    let body = bytes(3000);
    let slow = store::Reply::new(200)
        .header("content-length", "3000")
        .piece(0, body[..1000].to_vec())
        .piece(1000, body[1000..].to_vec());
    server.store.script(move |seen| seen.target.ends_with("/slow").then(|| slow.clone()));
    other.put(&ALICE.file("f"), bytes(2000));
    let signed = server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("slow")));
    let mut reader = server.connect().await;
    reader.send_call(&signed).await;
    server.store.wait(|seen| seen.iter().any(|seen| seen.target.ends_with("/slow"))).await;
    server.reload_text(&Setup::default().text(&format!("http://{}", other.address))).await.unwrap();
    let answer = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    assert_eq!((answer.status, answer.body.len()), (200, 2000));
    let answer = reader.answer("GET").await;
    assert_eq!((answer.status, answer.body), (200, body));
    assert_eq!(other.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn another_bucket_name_counts() {
    let server = TestServer::start().await;
    let mut client = Client::new(&server).await;
    let head = |name: &str| Call::new("HEAD", &format!("/{name}"));
    assert_eq!(client.send(&ALICE.hotkey(), &head(BUCKET)).await.status, 200);
    let text = Setup::default().text(&format!("http://{}", server.store.address));
    server.reload_text(&text.replace("name = \"data-universe\"", "name = \"other-name\"")).await.unwrap();
    assert_eq!(client.send(&ALICE.hotkey(), &head("other-name")).await.status, 200);
    assert_eq!(client.send(&ALICE.hotkey(), &head(BUCKET)).await.status, 404);
}
