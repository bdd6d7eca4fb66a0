//! A running server takes another configuration: what changes, what goes on, and what is refused.

mod faults;
mod limits;
mod process;
mod sessions;
mod settings;

use crate::harness::{
    client::{Answer, Call, Connection, Key},
    server::{Setup, TestServer},
};

/// A client that keeps its one connection.
struct Client<'a> {
    server: &'a TestServer,
    connection: Connection,
}

impl<'a> Client<'a> {
    async fn new(server: &'a TestServer) -> Self {
        Self { server, connection: server.connect().await }
    }

    async fn send(&mut self, key: &Key, call: &Call) -> Answer {
        let signed = self.server.sign(key, call);
        self.connection.send_call(&signed).await;
        self.connection.answer(&signed.method).await
    }

    async fn plain(&mut self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", self.server.host());
        self.connection.send(request.as_bytes()).await;
        self.connection.answer("GET").await
    }
}

/// The session keys `one` and `two`, or one of them.
fn with_keys(issue_with: &str, keys: &[&str]) -> Setup {
    let keys = keys.iter().map(|id| format!("[[session.keys]]\nid = \"{id}\"\nfile = \"{id}.key\"\n"));
    Setup {
        session: format!("issue_with = \"{issue_with}\"\nallow_no_receiver = true"),
        keys: keys.collect(),
        ..Setup::default()
    }
}

fn with_limits(limits: &str) -> Setup {
    Setup { limits: limits.to_owned(), ..Setup::default() }
}
