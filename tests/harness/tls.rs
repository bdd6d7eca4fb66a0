//! TLS in front of whatever a test listens with: a certificate that its holder signed itself.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

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
        while let Ok((near, _)) = listener.accept().await {
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
