//! Metrics: that what happens is counted, that labels are bounded (P50), and that the files in `deploy` and
//! the operator's page speak of metrics that exist. And who may look at them.

mod counting;
mod documents;
mod entry;

use std::net::SocketAddr;

use crate::harness::{
    client::{Answer, Connection},
    server::{Setup, TestServer},
};

/// A server with an admin listener.
async fn start() -> TestServer {
    TestServer::with(Setup { server: "admin = \"127.0.0.1:0\"".to_owned(), ..Setup::default() }).await
}

/// A GET on the admin listener, with these further header lines.
async fn get(admin: SocketAddr, target: &str, headers: &str) -> Answer {
    let mut connection = Connection::connect(admin).await;
    let head = format!("GET {target} HTTP/1.1\r\nhost: {admin}\r\n{headers}\r\n");
    connection.send(head.as_bytes()).await;
    connection.answer("GET").await
}

async fn scrape(server: &TestServer) -> String {
    let answer = get(server.admin.unwrap(), "/metrics", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.get("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}
