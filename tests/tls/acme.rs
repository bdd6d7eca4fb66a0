//! Certificates by ACME in the listener, while no authority can be reached: what is shown to whom. What an
//! authority does is in `tests/interop/test_acme.py`, with a real one.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path};

use aws_lc_rs::digest::{SHA256, digest};

use super::{NAME, ask};
use crate::harness::{
    client::Connection,
    server::{Setup, TestServer},
    tls::Authority,
};

/// Nobody listens there.
const DIRECTORY: &str = "https://127.0.0.1:1/directory";

/// A server whose domain is [`NAME`], with certificates of files for these names.
async fn start(authority: &Authority, dir: &Path, names: &[&[&str]]) -> TestServer {
    let write = |(index, names): (usize, &&[&str])| authority.issue(names).write(dir, &index.to_string());
    let entries: Vec<String> = names.iter().enumerate().map(write).collect();
    let server = format!(
        "admin = \"127.0.0.1:0\"\ntls.certificates = [{}]\ntls.acme.domains = [{NAME:?}]\n\
         tls.acme.directory = {DIRECTORY:?}\n\
         tls.acme.cache_dir = {:?}\ntls.acme.terms_agreed = true\n",
        entries.join(", "),
        dir.join("acme"),
    );
    TestServer::with(Setup { server, ..Setup::default() }).await
}

/// Puts a certificate where the server keeps what it ordered for [`NAME`].
fn keep(authority: &Authority, dir: &Path) {
    let issued = authority.issue(&[NAME]);
    let set = digest(&SHA256, format!("{DIRECTORY}\n{NAME}").as_bytes());
    let dir = dir.join("acme");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    let file = dir.join(format!("{NAME}-{}.pem", hex::encode(&set.as_ref()[..8])));
    std::fs::write(&file, issued.key + &issued.chain).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn until_there_is_one_its_domains_are_shown_none_and_others_are_served() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = start(&authority, dir.path(), &[&["other.example"]]).await;
    let client = authority.client();
    assert!(client.connect(server.address, NAME).await.is_err());
    let stream = client.connect(server.address, "other.example").await.unwrap();
    assert_eq!(ask(&mut Connection::over(stream)).await, 200);
}

#[tokio::test]
async fn until_there_is_one_a_file_is_better_than_none() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = start(&authority, dir.path(), &[&["other.example"], &["*.example.com"]]).await;
    let stream = authority.client().connect(server.address, NAME).await.unwrap();
    assert_eq!(ask(&mut Connection::over(stream)).await, 200);
}

#[tokio::test]
async fn what_was_kept_is_shown_although_nobody_can_be_asked() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    keep(&authority, dir.path());
    let server = start(&authority, dir.path(), &[]).await;
    let client = authority.client();
    let stream = client.connect(server.address, NAME).await.unwrap();
    assert_eq!(ask(&mut Connection::over(stream)).await, 200);
    // Another name is shown none, and one that asks for no name the only one that there is.
    assert!(client.connect(server.address, "other.example").await.is_err());
    let error = client.connect(server.address, "127.0.0.1").await.unwrap_err().to_string();
    assert!(error.contains(&format!("only valid for DnsName({NAME:?})")), "{error}");
}

/// When the operator is told that the first certificate ends.
async fn ends(server: &TestServer) -> u64 {
    let mut connection = Connection::connect(server.admin.unwrap()).await;
    connection.send(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let scrape = connection.answer("GET").await.text();
    let rest = scrape.split("\nsubgate_tls_certificate_ends_timestamp_seconds ").nth(1).unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_operator_is_told_when_it_ends_and_that_there_is_none_yet() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = start(&authority, dir.path(), &[&["other.example"]]).await;
    assert_eq!(ends(&server).await, 0);
    let dir = tempfile::tempdir().unwrap();
    keep(&authority, dir.path());
    let server = start(&authority, dir.path(), &[]).await;
    // Certificates of tests end in the year 4096.
    assert!(ends(&server).await > 60_000_000_000);
}

#[tokio::test]
async fn a_proof_that_nobody_waits_for_is_not_given() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    keep(&authority, dir.path());
    let server = start(&authority, dir.path(), &[]).await;
    let mut client = authority.client();
    for (alpn, is_served) in
        [(&["acme-tls/1"][..], false), (&["acme-tls/1", "http/1.1"], true), (&["http/1.1"], true)]
    {
        client.alpn = alpn.to_vec();
        let answer = client.connect(server.address, NAME).await;
        assert_eq!(answer.is_ok(), is_served, "{alpn:?}");
        if let Ok(stream) = answer {
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        }
    }
}
