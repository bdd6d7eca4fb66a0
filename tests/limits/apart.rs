//! A server in a process of its own, whose memory is looked at, and how its clients come to a stream.

use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::harness::{
    client::{Call, Key, Signed},
    program::Program,
    server::{ALICE, Setup, TestServer},
    tls::{Authority, TlsClient},
};

const NAME: &str = "s3.example.com";

/// What bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The server, which counts limits that nobody reaches and ends nobody for being slow.
pub(super) struct Apart {
    pub(super) program: Program,
    /// Its store, for one, is this one's.
    pub(super) beside: TestServer,
    key: Key,
    /// With TLS, who can shake hands.
    tls: Option<Authority>,
}

impl Apart {
    /// Before the store at `endpoint`, or before that of [`Self::beside`].
    pub(super) async fn start(has_tls: bool, endpoint: Option<String>) -> Self {
        let files = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
        let beside = TestServer::start().await;
        let dir = beside.dir.path();
        let tls = has_tls.then(Authority::new);
        let entry = tls.as_ref().map(|tls| tls.issue(&[NAME]).write(dir, "0"));
        let tls_lines = entry
            .map(|entry| format!("tls.certificates = [{entry}]\ntls.handshake_seconds_max = 120"))
            .unwrap_or_default();
        let setup = Setup {
            // So that none is closed meanwhile, however slow the machine is.
            server: format!("head_seconds_max = 300\nidle_seconds_max = 600\n{tls_lines}"),
            store: "idle_seconds_max = 600\nconnections_per_hotkey_max = 2000".to_owned(),
            limits: "progress_idle_seconds = 600\nprogress_grace_seconds = 600\n\
                     [limits.address]\nconnections_max = 2000\n\
                     [limits.miner]\nrequests_under_way_max = 2000"
                .to_owned(),
            ..Setup::default()
        };
        let endpoint = endpoint.unwrap_or_else(|| format!("http://{}", beside.store.address));
        let config = dir.join("process.toml");
        std::fs::write(&config, setup.text(&endpoint)).unwrap();
        let program = tokio::task::block_in_place(|| Program::serve(&config, &[]));
        let key = beside.session(&ALICE).await;
        Self { program, beside, key, tls }
    }

    /// Signed by [`ALICE`].
    pub(super) fn sign(&self, call: &Call) -> Signed {
        call.sign(&self.key, &self.program.address.to_string())
    }

    /// A client that speaks this protocol of ALPN's.
    pub(super) fn client(&self, alpn: &'static str) -> Client {
        let tls = self.tls.as_ref().map(|tls| {
            let mut client = tls.client();
            client.alpn = vec![alpn];
            client
        });
        Client { address: self.program.address, tls }
    }
}

/// Somebody who connects.
pub(super) struct Client {
    address: SocketAddr,
    tls: Option<TlsClient>,
}

impl Client {
    pub(super) async fn connect(&self) -> Box<dyn Stream> {
        match &self.tls {
            None => Box::new(TcpStream::connect(self.address).await.unwrap()),
            Some(tls) => Box::new(tls.connect(self.address, NAME).await.unwrap()),
        }
    }
}
