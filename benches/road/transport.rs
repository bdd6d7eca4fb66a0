//! How the client reaches a target: in the clear, or over TLS 1.3 with a certificate made for the run.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::ServerName,
        version::TLS13,
    },
};

/// Whom all servers with TLS say they are.
const NAME: &str = "localhost";

/// As many handshakes are under way at once. A thousand of them, with client and server on the same few
/// cores, may last until the server gives the last ones up.
static HANDSHAKES: Semaphore = Semaphore::const_new(32);

/// How one port is reached.
#[derive(Clone)]
pub(crate) enum Transport {
    /// HTTP on a TCP connection.
    Plain,
    /// The same within TLS 1.3.
    Tls(TlsConnector),
}

/// A connection of the client, whatever is below it.
pub(crate) type Stream = Box<dyn Duplex>;

/// What a connection can do.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Transport {
    pub(crate) async fn connect(&self, port: u16) -> Stream {
        let _turn = match self {
            Self::Plain => None,
            Self::Tls(_) => Some(HANDSHAKES.acquire().await.unwrap()),
        };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match self {
            Self::Plain => Box::new(stream),
            Self::Tls(connector) => {
                let name = ServerName::try_from(NAME).unwrap();
                Box::new(connector.connect(name, stream).await.unwrap())
            }
        }
    }
}

/// The files of one certificate (ECDSA on P-256, as authorities issue them by default) and the client that
/// believes it.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Both in one file, as haproxy wants them.
    pub(crate) both: PathBuf,
    pub(crate) transport: Transport,
}

impl Identity {
    pub(crate) fn make(dir: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
        let private = |name: &str, content: &str| {
            let path = dir.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let (chain, secret) = (certificate.pem(), key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        // One suite, so that nobody is measured with another cipher than the rest; every server here has it.
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..aws_lc_rs::default_provider()
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider));
        let mut config = builder
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            certificate: private("server.crt", &chain),
            key: private("server.key", &secret),
            both: private("server.pem", &(chain + &secret)),
            transport: Transport::Tls(Arc::new(config).into()),
        }
    }
}
