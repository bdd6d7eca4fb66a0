//! TLS of the listener: 1.2 and 1.3 (RFC 5246, RFC 8446) by rustls on aws-lc-rs, with HTTP/2 and HTTP/1.1 by
//! ALPN (RFC 7301). \[IO, log lines\]
//!
//! A [`TlsListener`] outlives every reading of the configuration; what it presents is one value that is
//! replaced whole:
//!
//! - [`TlsListener::replace`] takes other settings, with the files that were read for them: for a reload.
//! - [`watch`] looks at those files now and then, and replaces what has changed.
//! - Certificates by ACME are a source of their own beside those of files ([`by_acme`]); it lives on where
//!   its settings stay the same.
//!
//! Invariants: a handshake ends within its time; connections that are there keep what they began with; what
//! cannot be used replaces nothing; a session is resumed only under the settings that it was begun under, and
//! nowhere where clients are asked for certificates.

mod by_acme;
mod by_name;
mod stream;
mod watch;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        Acceptor, ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
        VerifierBuilderError, WebPkiClientVerifier,
    },
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;

use self::{by_acme::WithAcme, by_name::ByName};
pub(super) use self::{stream::TlsSocket, watch::watch};
use super::{seldom::Seldom, socket::Socket};
use crate::{
    acme::{Acme, AcmeError},
    config::{self, ClientCertificates, FileFault},
};

/// Failed handshakes are logged at most so often; each of them is at the level `debug`.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The first byte of TLS, of a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// What is read of a plain request that was refused, so that its client sees the answer and not a reset
/// (P40).
const PLAIN_BYTES_MAX: usize = 64 * 1024;
const PLAIN_TIME_MAX: Duration = Duration::from_secs(2);

const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n\
    connection: close\r\n\r\nThis port speaks HTTPS, and this was plain HTTP\n";

/// Why TLS cannot be set up by the settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsListenerError {
    /// The authorities of clients' certificates.
    #[error("server.tls.client_ca_file: {0}")]
    ClientAuthorities(#[from] VerifierBuilderError),
    /// The provider.
    #[error("server.tls: {0}")]
    Provider(#[from] rustls::Error),
    /// Certificates by ACME.
    #[error("server.tls.acme: {0}")]
    Acme(#[from] AcmeError),
}

impl From<TlsListenerError> for FileFault {
    fn from(error: TlsListenerError) -> Self {
        let (setting, message) = match error {
            TlsListenerError::ClientAuthorities(error) => ("server.tls.client_ca_file", error.to_string()),
            TlsListenerError::Provider(error) => ("server.tls", error.to_string()),
            TlsListenerError::Acme(error) => ("server.tls.acme", error.to_string()),
        };
        Self { setting: setting.to_owned(), message }
    }
}

/// TLS of one listener.
#[derive(Debug)]
pub(crate) struct TlsListener {
    current: ArcSwap<Current>,
    /// Held while what is current is made anew.
    replacing: Mutex<()>,
    /// This process is about to end, and orders no certificates.
    is_leaving: AtomicBool,
    failures: Seldom,
}

/// What new connections begin with.
#[derive(Debug)]
struct Current {
    settings: config::Tls,
    acme: Option<Arc<Acme>>,
    server: Arc<ServerConfig>,
}

impl Current {
    fn new(settings: &config::Tls, before: Option<&Self>) -> Result<Self, TlsListenerError> {
        // Tickets say that a client's certificate was believed, so they end with the settings that did.
        let kept = before.filter(|before| before.settings.asks_clients_as(settings));
        let ticketer = match kept {
            Some(before) => Arc::clone(&before.server.ticketer),
            None => aws_lc_rs::Ticketer::new()?,
        };
        let running = before.and_then(|before| before.acme.as_ref());
        let acme = match (&settings.acme, running) {
            (Some(settings), Some(running)) if running.settings() == settings => Some(Arc::clone(running)),
            (Some(settings), _) => Some(Arc::new(Acme::start(settings)?)),
            (None, _) => None,
        };
        let server = Arc::new(server_config(settings, acme.as_ref(), ticketer)?);
        Ok(Self { settings: settings.clone(), acme, server })
    }

    fn stop_ordering(&self) {
        self.acme.iter().for_each(|acme| acme.stop_ordering());
    }

    /// By what a handshake that begins with `hello` is to be answered.
    fn answer_to(&self, hello: &ClientHello<'_>) -> Result<Answer, rustls::Error> {
        match self.acme.as_ref().and_then(|acme| by_acme::challenge(acme, hello)) {
            Some(config) => Ok(Answer::Proof(Arc::new(config?))),
            None => Ok(Answer::Http(Arc::clone(&self.server))),
        }
    }
}

/// What a handshake is for.
enum Answer {
    /// HTTP.
    Http(Arc<ServerConfig>),
    /// An authority that validates a domain, and goes.
    Proof(Arc<ServerConfig>),
}

impl TlsListener {
    /// What stops [`TlsListener::new`]; nothing is begun, and no certificate is ordered.
    pub(crate) fn check(settings: &config::Tls) -> Result<(), TlsListenerError> {
        settings.acme.as_ref().map(Acme::check).transpose()?;
        server_config(settings, None, aws_lc_rs::Ticketer::new()?)?;
        Ok(())
    }

    /// TLS by these settings.
    pub(crate) fn new(settings: &config::Tls) -> Result<Self, TlsListenerError> {
        Ok(Self {
            current: ArcSwap::from_pointee(Current::new(settings, None)?),
            replacing: Mutex::new(()),
            is_leaving: AtomicBool::new(false),
            failures: Seldom::every(LOG_INTERVAL),
        })
    }

    /// Serves new connections by other settings; those that are there keep theirs.
    ///
    /// # Errors
    /// Where they cannot be used; then nothing is replaced.
    pub(crate) fn replace(&self, settings: &config::Tls) -> Result<(), TlsListenerError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.present(settings)
    }

    /// The same for settings that were made from those of `seen`: where others count by now, these would undo
    /// them, and nothing is replaced. Whether they were taken.
    ///
    /// # Errors
    /// As of [`Self::replace`].
    fn replace_seen(&self, seen: &Arc<Current>, settings: &config::Tls) -> Result<bool, TlsListenerError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(seen, &self.current.load()) {
            return Ok(false);
        }
        self.present(settings).map(|()| true)
    }

    /// Only while `replacing` is held.
    fn present(&self, settings: &config::Tls) -> Result<(), TlsListenerError> {
        let current = Current::new(settings, Some(&self.current.load()))?;
        if self.is_leaving.load(Ordering::Relaxed) {
            current.stop_ordering();
        }
        self.current.store(Arc::new(current));
        Ok(())
    }

    /// Orders no certificates any more, for this process is about to end and another one may have its
    /// sockets already; what is at hand is presented still.
    pub(super) fn leave(&self) {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_leaving.store(true, Ordering::Relaxed);
        self.current.load().stop_ordering();
    }

    /// When the first of the certificates that are presented ends, in Unix seconds; 0 where one is to come by
    /// ACME and has not come yet.
    pub(super) fn certificate_ends_seconds(&self) -> Option<u64> {
        let current = self.current.load();
        let of_files = current.settings.certificates.iter();
        let of_files = of_files.map(|served| served.certificate.valid_until_seconds());
        of_files.chain(current.acme.as_ref().map(|acme| acme.ends_seconds().unwrap_or_default())).min()
    }

    /// How the operator's listener shakes hands: it presents the same certificates, speaks HTTP/1.1 alone,
    /// and asks its clients for no certificate, but for its token. What it begins is resumed nowhere.
    ///
    /// # Errors
    /// Of the provider.
    pub(super) fn admin_config(&self) -> Result<Arc<ServerConfig>, TlsListenerError> {
        let current = self.current.load_full();
        let mut settings = current.settings.clone();
        settings.client_certificates = ClientCertificates::None;
        let mut server = server_config(&settings, current.acme.as_ref(), aws_lc_rs::Ticketer::new()?)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.send_tls13_tickets = 0;
        Ok(Arc::new(server))
    }

    /// Shakes hands with a client; none where that fails, which ends the connection. So many bytes of answers
    /// wait encrypted for the socket at most.
    pub(super) async fn accept(
        &self,
        socket: Socket,
        peer: SocketAddr,
        encrypted_bytes_max: usize,
    ) -> Option<Box<TlsSocket>> {
        let current = self.current.load_full();
        let handshake_max = current.settings.handshake_max();
        let shaking = Box::pin(shake_hands(socket, current, encrypted_bytes_max));
        let shaken = tokio::time::timeout(handshake_max, shaking).await;
        let failed: io::Error = match shaken {
            Ok(Ok(Some(socket))) => return Some(socket),
            Ok(Ok(None)) => return None,
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "server.tls.handshake_seconds_max is over"),
        };
        tracing::debug!(%peer, error = %failed, "a TLS handshake failed");
        if let Some(failures) = self.failures.count(Instant::now()) {
            tracing::info!(
                %peer, error = %failed, failures,
                "TLS handshakes fail: the last one, and how many since the last such line"
            );
        }
        None
    }
}

/// None where the client says nothing, or speaks plain HTTP and was told, or only validates a domain.
async fn shake_hands(
    mut socket: Socket,
    current: Arc<Current>,
    encrypted_bytes_max: usize,
) -> io::Result<Option<Box<TlsSocket>>> {
    const FIRST_BYTES_MAX: usize = 4 * 1024;
    if socket.ahead().is_empty() && socket.read_ahead(FIRST_BYTES_MAX).await? == 0 {
        return Ok(None);
    }
    if socket.ahead().first().is_some_and(u8::is_ascii_uppercase) {
        refuse_plain(socket).await;
        return Ok(None);
    }
    if socket.ahead().first() != Some(&HANDSHAKE_RECORD) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is not TLS"));
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    let answer = current.answer_to(&start.client_hello()).map_err(io::Error::other)?;
    // Its settings may be replaced meanwhile: the handshake holds what it needs.
    drop(current);
    let config = match answer {
        Answer::Http(config) => config,
        Answer::Proof(config) => {
            start.into_stream(config).await?.shutdown().await?;
            return Ok(None);
        }
    };
    let bounded = start.into_stream_with(config, |connection| {
        connection.set_buffer_limit(Some(encrypted_bytes_max));
    });
    let stream = bounded.await?;
    Ok(Some(Box::new(TlsSocket::new(stream))))
}

/// Tells a client that speaks plain HTTP what it did.
async fn refuse_plain(mut socket: Socket) {
    let telling = async {
        socket.write_all(PLAIN_ANSWER).await?;
        socket.shutdown().await?;
        let mut rest = socket.take(PLAIN_BYTES_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Who does not take it has gone.
    let _ = tokio::time::timeout(PLAIN_TIME_MAX, telling).await;
}

fn server_config(
    settings: &config::Tls,
    acme: Option<&Arc<Acme>>,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, TlsListenerError> {
    let provider = Arc::new(provider());
    let verifier = |authorities: &config::ClientAuthorities| {
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities.roots), Arc::clone(&provider))
    };
    let client_verifier = match &settings.client_certificates {
        ClientCertificates::None => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Optional(authorities) => verifier(authorities).allow_unauthenticated().build()?,
        ClientCertificates::Required(authorities) => verifier(authorities).build()?,
    };
    let files = ByName::new(settings.certificates.iter().map(|it| &it.certificate));
    let resolver: Arc<dyn ResolvesServerCert> = match acme {
        Some(acme) => Arc::new(WithAcme { files, acme: Arc::clone(acme) }),
        None => Arc::new(files),
    };
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(client_verifier)
        .with_cert_resolver(resolver);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    match &settings.client_certificates {
        ClientCertificates::None => server.ticketer = ticketer,
        // Nobody looks at a client's certificate again where its session is resumed: that would outlive it.
        ClientCertificates::Optional(_) | ClientCertificates::Required(_) => {
            server.send_tls13_tickets = 0;
            server.session_storage = Arc::new(NoServerSessionStorage {});
        }
    }
    // The server's order, which is that of `provider`.
    server.ignore_client_order = has_aes_instructions();
    Ok(server)
}

/// aws-lc-rs, which prefers AES with keys of 128 bits: no weaker for what lasts as long as a connection, and
/// ten rounds for each block where 256 bits take fourteen.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite();
        // TLS 1.3 first in any case; a stable sort keeps the rest as rustls has it.
        (suite.tls13().is_none(), !format!("{name:?}").contains("AES_128_GCM"))
    });
    provider
}

/// Without these, clients know better what costs them little.
fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("aes")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::reload::tests::{config, place};

    fn settings(dir: &std::path::Path, name: &str) -> config::Tls {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        std::fs::write(dir.join("tls.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        // A file that `place` has made with the mode of a secret.
        std::fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
        let tls = "server.tls.certificates = [{ certificate = \"tls.pem\", key = \"tls.key\" }]";
        config(dir, tls).server.tls.unwrap()
    }

    #[test]
    fn what_was_read_for_settings_of_before_undoes_no_reload() {
        let dir = place();
        let listener = TlsListener::new(&settings(dir.path(), "first.example")).unwrap();
        let names = || listener.current.load().settings.certificates[0].certificate.names().to_vec();
        let seen = listener.current.load_full();
        let found = settings(dir.path(), "found.example");
        listener.replace(&settings(dir.path(), "reloaded.example")).unwrap();
        assert!(!listener.replace_seen(&seen, &found).unwrap());
        assert_eq!(names(), ["reloaded.example"]);
        assert!(listener.replace_seen(&listener.current.load_full(), &found).unwrap());
        assert_eq!(names(), ["found.example"]);
    }

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAIN_ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }

    #[test]
    fn every_suite_stays_and_those_of_128_bits_come_first() {
        let (all, ours) = (aws_lc_rs::default_provider().cipher_suites, provider().cipher_suites);
        assert_eq!(all.len(), ours.len());
        let names: Vec<String> = ours.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        assert_eq!(names[0], "TLS13_AES_128_GCM_SHA256");
        assert!(names[3].starts_with("TLS_ECDHE_") && names[3].contains("AES_128_GCM"), "{names:?}");
    }
}
