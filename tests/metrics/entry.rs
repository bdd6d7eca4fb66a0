//! P70: who may look in, over the wire.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use subgate::config::Config;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{get, start};
use crate::harness::{
    client::Connection,
    server::{KEY_ONE, Setup, TestServer},
    store::Reply,
    tls::Authority,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A server whose admin listener has a token, and where the token is.
async fn with_token() -> (TestServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admin.token");
    write(&file, &format!("{TOKEN}\n"), 0o600);
    let server = format!("admin = \"127.0.0.1:0\"\nadmin_token_file = \"{}\"", file.display());
    (TestServer::with(Setup { server, ..Setup::default() }).await, dir)
}

#[tokio::test]
async fn p70_a_token_is_asked_for_where_there_is_one() {
    let (server, _dir) = with_token().await;
    let admin = server.admin.unwrap();
    let with = |token: &str| format!("authorization: Bearer {token}\r\n");
    for path in ["/metrics", "/principals", "/snapshot"] {
        let refused = get(admin, path, "").await;
        assert_eq!((refused.status, refused.get("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(get(admin, path, &with("00000000000000000000000000000000")).await.status, 401, "{path}");
        let fine = get(admin, path, &format!("{}host: subgate.internal\r\n", with(TOKEN))).await;
        assert_eq!((fine.status, fine.get("cache-control")), (200, Some("no-store")), "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(admin, path, "").await.status, 200, "{path}");
    }
    assert_eq!(get(admin, "/readyz", "").await.text(), "{\"status\":\"ready\"}");
    assert!(get(admin, "/readyz", &with(TOKEN)).await.text().contains("\"store\""));
    assert_eq!(get(admin, "/nothing", "").await.status, 401);
    let scrape = get(admin, "/metrics", &with(TOKEN)).await.text();
    assert!(scrape.contains("\nsubgate_admin_refused_total 7\n") && !scrape.contains(TOKEN), "{scrape}");
}

#[tokio::test]
async fn p70_whoever_shows_no_token_reads_no_words_for_the_operator() {
    let (server, _dir) = with_token().await;
    let admin = server.admin.unwrap();
    server.store.always(Reply::error(403, "SignatureDoesNotMatch", "m"));
    let with = format!("authorization: Bearer {TOKEN}\r\n");
    let told = get(admin, "/readyz", &with).await;
    assert_eq!(told.status, 503);
    assert!(told.text().contains("store.credentials"), "{}", told.text());
    let public = server.plain_get("/readyz").await.text();
    for headers in ["", "authorization: Bearer 00000000000000000000000000000000\r\n"] {
        let told = get(admin, "/readyz", headers).await;
        assert_eq!((told.status, told.text()), (503, public.clone()), "{headers}");
        assert!(!told.text().contains("store.credentials") && !told.text().contains("parts"));
    }
}

#[tokio::test]
async fn p70_without_a_token_only_its_own_names_lead_in() {
    let server = start().await;
    let ask = async |host: &str| {
        let mut connection = Connection::connect(server.admin.unwrap()).await;
        connection.send(format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await;
        connection.answer("GET").await.status
    };
    assert_eq!((ask("localhost:8015").await, ask("127.0.0.1").await), (200, 200));
    assert_eq!((ask("rebound.example").await, ask("localhost.example:8015").await), (421, 421));
}

#[tokio::test]
async fn p70_it_takes_get_and_head_and_small_heads() {
    let server = start().await;
    for (method, status) in [("HEAD", 200), ("POST", 405), ("PUT", 405), ("DELETE", 405), ("OPTIONS", 405)] {
        let mut connection = Connection::connect(server.admin.unwrap()).await;
        let head = format!("{method} /metrics HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
        connection.send(head.as_bytes()).await;
        assert_eq!(connection.answer(method).await.status, status, "{method}");
    }
    let long = format!("x-long: {}\r\n", "v".repeat(40_000));
    assert_eq!(get(server.admin.unwrap(), "/metrics", &long).await.status, 431);
}

#[tokio::test]
async fn p70_whoever_holds_its_connections_costs_the_public_listener_nothing() {
    let server = start().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(Connection::connect(server.admin.unwrap()).await);
    }
    assert_eq!(server.plain_get("/healthz").await.status, 200);
    drop(held);
    // It hears of the end of each a moment later.
    for _ in 0..500 {
        if answers(server.admin.unwrap()).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the places of connections that have ended are not given back");
}

#[tokio::test]
async fn p70_over_tls_it_asks_for_its_token_and_for_no_certificate() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    write(&dir.path().join("admin.token"), TOKEN, 0o600);
    std::fs::write(dir.path().join("clients.pem"), authority.pem()).unwrap();
    let certificate = authority.issue(&["s3.example.com"]).write(dir.path(), "0");
    let path = dir.path().display();
    let server = format!(
        "admin = \"127.0.0.1:0\"\nadmin_tls = true\nadmin_token_file = \"{path}/admin.token\"\n\
         tls.certificates = [{certificate}]\ntls.client_certificates = \"required\"\n\
         tls.client_ca_file = \"{path}/clients.pem\"",
    );
    let server = TestServer::with(Setup { server, ..Setup::default() }).await;
    let admin = server.admin.unwrap();
    let ask = async |token: &str| {
        let stream = authority.client().connect(admin, "s3.example.com").await.unwrap();
        let mut connection = Connection::over(stream);
        let head =
            format!("GET /metrics HTTP/1.1\r\nhost: s3.example.com\r\nauthorization: Bearer {token}\r\n\r\n");
        connection.send(head.as_bytes()).await;
        connection.answer("GET").await
    };
    assert_eq!(ask("").await.status, 401);
    let scrape = ask(TOKEN).await;
    assert_eq!(scrape.status, 200);
    let ends = "\nsubgate_tls_certificate_ends_timestamp_seconds ";
    assert!(scrape.text().split(ends).nth(1).unwrap().starts_with(|first: char| first.is_ascii_digit()));
    // Plain HTTP is told nothing.
    assert!(!answers(admin).await);
}

async fn answers(admin: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    let sent = stream.write_all(head.as_bytes()).await;
    sent.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn p70_what_is_beyond_loopback_or_weak_is_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("one.key"), KEY_ONE, 0o600);
    write(&dir.path().join("short"), "0123456789abcdef", 0o600);
    write(&dir.path().join("two"), &format!("{TOKEN} {TOKEN}"), 0o600);
    write(&dir.path().join("open"), TOKEN, 0o644);
    write(&dir.path().join("fine"), TOKEN, 0o600);
    let faults = |server: &str| {
        let setup = Setup { server: server.to_owned(), ..Setup::default() };
        let parsed = Config::parse(&setup.text("http://127.0.0.1:9000"), dir.path());
        parsed.err().map_or_else(String::new, |errors| errors.to_string())
    };
    let local = |file: &str| faults(&format!("admin = \"127.0.0.1:8015\"\nadmin_token_file = \"{file}\""));
    assert_eq!(local("fine"), "");
    for file in ["short", "two", "open", "missing"] {
        let faults = local(file);
        assert!(faults.contains("server.admin_token_file: ") && !faults.contains(TOKEN), "{file}: {faults}");
    }
    let beyond = "admin = \"0.0.0.0:8015\"\nplaintext_beyond_loopback = true\n";
    let far = faults(beyond);
    assert!(far.contains("server.admin_token_file: is missing"), "{far}");
    assert!(far.contains("server.admin_tls: is not set"), "{far}");
    let far = faults(&format!("{beyond}admin_token_file = \"fine\""));
    assert!(!far.contains("admin_token_file") && far.contains("server.admin_tls: is not set"), "{far}");
    let far = faults(&format!("{beyond}admin_tls = true\nadmin_token_file = \"fine\""));
    assert!(far.contains("server.admin_tls: takes the certificates of server.tls"), "{far}");
    let authority = Authority::new();
    let certificate = authority.issue(&["s3.example.com"]).write(dir.path(), "0");
    let tls = format!("tls.certificates = [{certificate}]\nadmin_tls = true\n");
    let with_tls = format!("{tls}admin = \"0.0.0.0:8015\"\n");
    assert!(faults(&with_tls).contains("server.admin_token_file: is missing"));
    assert_eq!(faults(&format!("{with_tls}admin_token_file = \"fine\"")), "");
}
