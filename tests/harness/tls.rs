//! TLS of tests: in front of whatever a test listens with, by a certificate that its holder signed itself;
//! and authorities, certificates and clients that are made for one test.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::{client::PATIENCE, hub::accept};

/// For 127.0.0.1 and localhost, until the year 2126. Its key proves nothing to anybody: it stands here.
pub const CERTIFICATE: &str = concat!(
    "-----BEGIN CERTIFICATE-----\n",
    "MIIBnTCCAUOgAwIBAgITFDCAgfdcg18WL7k788Hmc+ZJvTAKBggqhkjOPQQDAjAX\n",
    "MRUwEwYDVQQDDAxTdWJnYXRlIHRlc3QwIBcNMjYxMTIxMjAxNzM4WhgPMjEyNjEw\n",
    "MjgyMDE3MzhaMBcxFTATBgNVBAMMDFN1YmdhdGUgdGVzdDBZMBMGByqGSM49AgEG\n",
    "CCqGSM49AwEHA0IABPH2JWzEohEX2BcpuC5gyGQyqnqkKtEICiV12PrBoCyDuSj6\n",
    "iSYoJibvS2OAqt2HClUsHD0sPQVMhOsIh4b0K0qjbDBqMB0GA1UdDgQWBBSrWuqx\n",
    "5d3wcZqb2JaGAZt+Ye0kajAfBgNVHSMEGDAWgBSrWuqx5d3wcZqb2JaGAZt+Ye0k\n",
    "ajAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwDAYDVR0TAQH/BAIwADAKBggq\n",
    "hkjOPQQDAgNIADBFAiBzDDI25EjHgRaTqRDVdQdAKmQCu95RWrD6RYsu9b946wIh\n",
    "ANf2ja/GcU/wBz7puteusV8adIpkROJUYaoR4DHqbuPl\n",
    "-----END CERTIFICATE-----\n",
);

const KEY: &str = concat!(
    "-----BEGIN PRIVATE KEY-----\n",
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpgFzMKnOrezwd4L/\n",
    "i0y/z5F2QkK3pVaZbHZFHaeM4nChRANCAATx9iVsxKIRF9gXKbguYMhkMqp6pCrR\n",
    "CAolddj6waAsg7ko+okmKCYm70tjgKrdhwpVLBw9LD0FTITrCIeG9CtK\n",
    "-----END PRIVATE KEY-----\n",
);

/// Takes TLS off and passes on to `address`; gives its own address.
pub async fn before(address: SocketAddr) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let near = accept(&listener).await;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(near).await else { return };
                let Ok(mut far) = TcpStream::connect(address).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    own
}

/// An authority of certificates, made for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate of an [`Authority`]'s, in a directory of its own.
pub struct Issued {
    pub chain: String,
    pub key: String,
    pub certificate: CertificateDer<'static>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// For these hosts.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    /// The same with something changed.
    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem(), certificate: certificate.der().clone() }
    }

    /// A client that believes this authority alone.
    pub fn client(&self) -> TlsClient {
        TlsClient {
            roots: self.issuer.der().clone(),
            versions: vec![&TLS13, &TLS12],
            alpn: Vec::new(),
            certificate: None,
        }
    }
}

impl Issued {
    /// Writes both files, and gives the entry of `server.tls.certificates`.
    pub fn write(&self, dir: &Path, name: &str) -> String {
        let (chain, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        // Never half of it under its name, as it is done properly.
        for (path, text) in [(&chain, &self.chain), (&key, &self.key)] {
            let new = dir.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(&new, path).unwrap();
        }
        format!("{{ certificate = {chain:?}, key = {key:?} }}")
    }
}

/// How a client shakes hands.
#[derive(Clone)]
pub struct TlsClient {
    roots: CertificateDer<'static>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub alpn: Vec<&'static str>,
    pub certificate: Option<(String, String)>,
}

impl TlsClient {
    /// One of these resumes the sessions that it began.
    pub fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.roots.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// Shakes hands over a stream, and asks for that name.
    pub async fn over<S>(&self, stream: S, name: &str) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let shaking = self.connector().connect(name, stream);
        tokio::time::timeout(PATIENCE, shaking).await.expect("no handshake in time")
    }

    pub async fn connect(&self, address: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?, name).await
    }
}
