//! The listener's own TLS, and what comes before it.

mod acme;
mod handshakes;
mod proxy_protocol;
mod reload;

use tempfile::TempDir;

use crate::harness::{
    client::Connection,
    server::{Setup, TestServer},
    tls::{Authority, Issued, TlsClient},
};

const NAME: &str = "s3.example.com";

/// A server with TLS, and the authority of its certificates.
struct Secured {
    server: TestServer,
    authority: Authority,
    /// Of the certificates.
    dir: TempDir,
}

impl Secured {
    /// With a certificate for each list of names.
    async fn with(names: &[&[&str]], rest: &str) -> Self {
        let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
        let entries: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, names)| authority.issue(names).write(dir.path(), &index.to_string()))
            .collect();
        let server = format!("tls.certificates = [{}]\n{rest}", entries.join(", "));
        let server = TestServer::with(Setup { server, ..Setup::default() }).await;
        Self { server, authority, dir }
    }

    async fn start() -> Self {
        Self::with(&[&[NAME]], "").await
    }

    /// A client's connection, after its handshake.
    async fn connect(&self, client: &TlsClient) -> std::io::Result<Connection> {
        client.connect(self.server.address, NAME).await.map(Connection::over)
    }

    /// Takes the place of the certificate that was written as that.
    fn renew(&self, issued: &Issued, index: usize) {
        issued.write(self.dir.path(), &index.to_string());
    }
}

/// A request that anybody may send, and its answer.
async fn ask(connection: &mut Connection) -> u16 {
    connection.send(format!("GET /healthcheck HTTP/1.1\r\nhost: {NAME}\r\n\r\n").as_bytes()).await;
    connection.answer("GET").await.status
}
