//! The store behind: one pooled client that signs what it sends with the server's own credentials. \[IO\]
//!
//! Nothing here decides. A request comes in as plain parts that were built from a permit; it leaves signed
//! over `host` and `x-amz-*`, and nothing else is signed, for proxies on the way rewrite the rest (P27).

mod aws_http;
mod body;
mod connection;
mod credentials;
mod sign;

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Response, Uri, header, uri::Authority};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};

use self::connection::{Watch, WatchedConnector};
pub(crate) use body::StoreBody;
pub(crate) use credentials::{CredentialError, Credentials};

use crate::{
    config::{self, StoreAddressing},
    error::{Error, Result},
    exchange::{OnBehalf, StoreAnswer},
    limits::StorePlaces,
    policy::{Outbound, OutboundParts},
    s3::uri::{self, Query},
    time::UnixTime,
};

/// How large the buffers of connections to the store are, and with them the pieces in which bodies travel, by
/// how many requests are under way when one begins. So all of them together take a few MiB for each
/// direction, however many there are, and few have the large pieces that cost less.
const BUFFERS: [Buffers; 3] = [
    Buffers { under_way_max: 16, bytes_max: 256 * 1024 },
    Buffers { under_way_max: 64, bytes_max: 64 * 1024 },
    Buffers { under_way_max: u64::MAX, bytes_max: 16 * 1024 },
];

struct Buffers {
    under_way_max: u64,
    bytes_max: usize,
}

/// A kept connection is let go after this time: shorter than the keep-alive of the stores that people run, so
/// that a request rarely meets a connection that the store is just closing.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StoreClientError {
    /// A certificate authority file that cannot be used.
    #[error("store.ca_file: {0}")]
    CaFile(String),
    /// Credentials that cannot be had.
    #[error("store.credentials: {0}")]
    Credentials(#[from] CredentialError),
}

type StoreClient = Client<WatchedConnector<HttpsConnector<HttpConnector>>, StoreBody>;

/// The store.
pub(crate) struct Store {
    /// One for each of [`BUFFERS`].
    clients: [StoreClient; BUFFERS.len()],
    places: StorePlaces,
    credentials: Credentials,
    scheme: &'static str,
    authority: Authority,
    host: HeaderValue,
    /// `/bucket` for path-style, empty for virtual-host.
    base: String,
    bucket: String,
    public_bucket: String,
    region: String,
    answer_timeout: Duration,
    idle_timeout: Duration,
}

impl Store {
    /// Makes the client; reads the credentials for the first time. `public_bucket` is the name that clients
    /// know, and as many requests are under way as there are `places`.
    pub(crate) async fn new(
        config: &config::Store,
        public_bucket: &str,
        places: StorePlaces,
    ) -> std::result::Result<Self, StoreClientError> {
        let credentials = Credentials::new(&config.credentials).await?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_secs(config.connect_seconds_max)));
        // A store that stops reading in the middle of an upload: neither the client's pace nor the time for
        // an answer runs then, and hyper does not close what it cannot flush. The kernel does.
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(Duration::from_secs(config.idle_seconds_max)));
        let tls = tls(config.ca_file.as_deref())?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let clients = BUFFERS.map(|buffers| {
            let under_way_max = usize::try_from(buffers.under_way_max).unwrap_or(usize::MAX);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(config.idle_connections_max.min(under_way_max))
                .http1_max_buf_size(buffers.bytes_max)
                .set_host(false)
                .build(WatchedConnector(connector.clone()))
        });
        let endpoint = config.endpoint.authority().cloned();
        let (authority, base) = match (config.addressing, endpoint) {
            (_, None) => return Err(StoreClientError::CaFile("store.endpoint has no host".to_owned())),
            (StoreAddressing::Path, Some(authority)) => (authority, format!("/{}", config.bucket)),
            (StoreAddressing::VirtualHost, Some(authority)) => {
                let host = format!("{}.{authority}", config.bucket);
                (
                    host.parse().map_err(|_| StoreClientError::CaFile(format!("{host} is not a host")))?,
                    String::new(),
                )
            }
        };
        let scheme = if config.endpoint.scheme_str() == Some("https") { "https" } else { "http" };
        let host = HeaderValue::from_str(&host_header(scheme, &authority))
            .map_err(|_| StoreClientError::CaFile(format!("{authority} is not a host")))?;
        Ok(Self {
            clients,
            places,
            credentials,
            scheme,
            host,
            authority,
            base,
            public_bucket: public_bucket.to_owned(),
            bucket: config.bucket.clone(),
            region: config.region.clone(),
            answer_timeout: Duration::from_secs(config.answer_seconds_max),
            idle_timeout: Duration::from_secs(config.idle_seconds_max),
        })
    }

    /// How long an answer that has begun may be silent.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// The bucket as clients know it.
    pub(crate) fn public_bucket(&self) -> &str {
        &self.public_bucket
    }

    /// What of the store is nobody's business: its address, its bucket's name where clients know another, and
    /// the access key.
    pub(crate) fn hidden_words(&self) -> Vec<String> {
        let mut words = vec![self.authority.to_string(), self.credentials.access_key()];
        words.extend(Some(self.bucket.clone()).filter(|bucket| *bucket != self.public_bucket));
        words.retain(|word| !word.is_empty());
        words
    }

    /// Signs and sends. A connection that answers before it was sent the whole request is used no more, and
    /// a success of that kind is a failure (P60). The answer's head must begin in time once the body is all
    /// there; a body still on its way is bounded by its own pace.
    ///
    /// # Errors
    /// `ServiceUnavailable` where the store cannot be reached, or does not answer in time or in turn;
    /// `SlowDown` where too many requests are under way.
    pub(crate) async fn send(
        &self,
        outbound: Outbound,
        body: StoreBody,
        for_whom: OnBehalf,
    ) -> Result<Response<StoreAnswer>> {
        let OnBehalf { hotkey, now } = for_whom;
        let place = self.places.take(hotkey)?;
        // A request that reads may be sent twice: a connection kept too long dies without having heard of it.
        let again = (body.is_empty() && is_safe(outbound.method())).then(|| outbound.clone());
        let sent = match (self.send_once(outbound, body, now).await, again) {
            (Err(Failure::Died(_)), Some(again)) => self.send_once(again, StoreBody::empty(), now).await,
            (sent, _) => sent,
        };
        match sent {
            Ok(answer) => Ok(answer.map(|body| StoreAnswer::new(body, place))),
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn send_once(
        &self,
        outbound: Outbound,
        body: StoreBody,
        now: UnixTime,
    ) -> std::result::Result<Response<Incoming>, Failure> {
        let OutboundParts { method, key, query, mut headers, copy_source } = outbound.into_parts();
        let credentials = self.credentials.current().await.map_err(Failure::Credentials)?;
        let path = match &key {
            Some(key) => format!("{}/{key}", self.base),
            None if self.base.is_empty() => "/".to_owned(),
            None => self.base.clone(),
        };
        if let Some(source) = copy_source {
            headers.set_copy_source(&source, &self.bucket).map_err(Failure::Fault)?;
        }
        let mut headers = headers.into_map();
        headers.insert(header::HOST, self.host.clone());
        let hash = body.payload_hash();
        sign::sign(&credentials, &self.region, &method, &path, &query, &mut headers, hash, now)
            .map_err(Failure::Fault)?;
        let uri = self.uri(&path, &query).map_err(Failure::Fault)?;
        let (sent_whole, progress) = (body.sent_whole(), body.progress());
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let connection = capture_connection(&mut request);
        request.body().leaves_on(connection.clone());
        let answer = self.client().request(request);
        tokio::pin!(answer);
        let answer = match sent_whole {
            None => tokio::time::timeout(self.answer_timeout, answer).await,
            Some(sent_whole) => tokio::select! {
                answer = &mut answer => Ok(answer),
                () = sent_whole => tokio::time::timeout(self.answer_timeout, answer).await,
            },
        };
        let answered_early =
            !progress.is_over() || Watch::of(&connection).is_some_and(|watch| watch.has_answered_early());
        if answered_early && let Some(connected) = connection.connection_metadata().as_ref() {
            connected.poison();
        }
        match answer {
            // It says yes to what it has not read yet, or it answers to something else.
            Ok(Ok(answer)) if answered_early && answer.status().is_success() => Err(Failure::Early),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::Died(error)),
            Err(_) => Err(Failure::Silent),
        }
    }

    /// The client for one more request.
    fn client(&self) -> &StoreClient {
        let [large, middle, small] = &self.clients;
        let [few, some, _] = &BUFFERS;
        match self.places.taken() {
            taken if taken <= few.under_way_max => large,
            taken if taken <= some.under_way_max => middle,
            _ => small,
        }
    }

    fn uri(&self, path: &str, query: &Query) -> Result<Uri> {
        let mut target = uri::encode_path(path);
        if !query.is_empty() {
            target.push('?');
            target.push_str(&query.canonical());
        }
        Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|error| Error::internal(format!("a request target for the store: {error}")))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}://{}{})", self.scheme, self.authority, self.base)
    }
}

/// Why no answer came.
enum Failure {
    /// The connection failed, or broke before an answer.
    Died(hyper_util::client::legacy::Error),
    /// Nothing came in time.
    Silent,
    /// A success came before the request was all sent.
    Early,
    /// There is nothing to sign with.
    Credentials(CredentialError),
    /// A request that cannot be built.
    Fault(Error),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Self::Died(error) => {
                let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
                let chain: Vec<String> = causes.map(ToString::to_string).collect();
                Error::store_unavailable(format!("{error}: {}", chain.join(": ")))
            }
            Self::Silent => Error::store_unavailable("no answer within store.answer_seconds_max"),
            Self::Early => Error::store_unavailable("the store said yes to a request before it was all sent"),
            Self::Credentials(fault) => Error::store_unavailable(format!("store.credentials: {fault}")),
            Self::Fault(error) => error,
        }
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The Host header: without the port where it is the scheme's own, as clients and stores sign it.
fn host_header(scheme: &str, authority: &Authority) -> String {
    match (scheme, authority.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) => authority.host().to_owned(),
        _ => authority.to_string(),
    }
}

fn tls(ca_file: Option<&std::path::Path>) -> std::result::Result<rustls::ClientConfig, StoreClientError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let fault = |what: String| StoreClientError::CaFile(format!("{}: {what}", path.display()));
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
        let mut added = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fault(error.to_string()))?;
            roots.add(certificate).map_err(|error| fault(error.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(fault("holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreClientError::CaFile(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
