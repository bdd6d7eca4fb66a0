//! The store behind: one pooled client that signs what it sends with the server's own credentials. \[IO\]
//!
//! Nothing here decides. A request comes in as plain parts that were built from a permit; it leaves signed
//! over `host` and `x-amz-*`, and nothing else is signed, for proxies on the way rewrite the rest (P27).

mod aws_http;
mod body;
mod breaker;
mod condition;
mod connect;
mod connection;
mod credentials;
mod outage;
mod pool;
mod sign;
mod trial_client;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderValue, Method, Response, Uri, header,
    uri::{Authority, PathAndQuery},
};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use self::{
    breaker::Outcome,
    condition::Learned,
    connect::PatientConnector,
    connection::WatchedConnector,
    outage::{Asked, Outages},
    pool::{Connection, Kept, Pool, SendError},
};
pub(crate) use body::StoreBody;
pub(crate) use condition::{Cause, Condition};
pub(crate) use credentials::{CredentialError, Credentials};
pub(crate) use trial_client::{NoAnswer, Signature, Trial, TrialAnswer, TrialClient};

use crate::{
    config::{self, StoreAddressing},
    error::{Code, Error, Reason, Result},
    exchange::{OnBehalf, StoreAnswer},
    limits::{StorePlace, StorePlaces},
    observe::{Metrics, StorePool, StoreResult, StoreTimer},
    policy::{Outbound, OutboundParts},
    s3::uri::{self, Query},
    time::UnixTime,
    tls::{self, TlsError},
};

/// How large the buffers of connections to the store are, and with them the pieces in which bodies travel, by
/// how many requests are under way when one begins, and by the share of the client's connection. So all of
/// them together take a few MiB for each direction, however many there are, and few have the large pieces
/// that cost less. All are one byte less than a power of two: hyper makes room for twice as much once a read
/// has filled it.
const BUFFERS: [Buffers; 4] = [
    // As large as the pieces in which uploads are read, and for as many.
    Buffers { under_way_max: 8, bytes_max: 1024 * 1024 - 1 },
    Buffers { under_way_max: 16, bytes_max: 256 * 1024 - 1 },
    Buffers { under_way_max: 64, bytes_max: 64 * 1024 - 1 },
    Buffers { under_way_max: u64::MAX, bytes_max: 16 * 1024 - 1 },
];

struct Buffers {
    under_way_max: u64,
    bytes_max: usize,
}

/// The longest request target that is sent: keys have 1 KiB and lists two of them, each byte escaped in
/// three, and few stores take more.
const TARGET_BYTES_MAX: usize = 32 * 1024;

/// A kept connection is let go after this time: shorter than the keep-alive of the stores that people run, so
/// that a request rarely meets a connection that the store is just closing.
const KEPT_MAX: Duration = Duration::from_secs(20);

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StoreClientError {
    /// A certificate authority file that cannot be used.
    #[error("store.ca_file: {0}")]
    CaFile(#[from] TlsError),
    /// An address that makes no host.
    #[error("store.endpoint: {0}")]
    Endpoint(String),
    /// Credentials that cannot be had.
    #[error("store.credentials: {0}")]
    Credentials(#[from] CredentialError),
}

type Connector = WatchedConnector<PatientConnector<HttpsConnector<HttpConnector>>>;

/// The store.
pub(crate) struct Store {
    /// One for each of [`BUFFERS`].
    pools: [Pool<Connector>; BUFFERS.len()],
    places: StorePlaces,
    outages: Outages,
    metrics: Arc<Metrics>,
    learned: Learned,
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
    /// know, and as many requests are under way as there are `places`. What it does is counted in `metrics`.
    pub(crate) async fn new(
        config: &config::Store,
        public_bucket: &str,
        places: StorePlaces,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, StoreClientError> {
        let credentials = Credentials::new(&config.credentials).await?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connect_time_max = Duration::from_secs(config.connect_seconds_max);
        http.set_connect_timeout(Some(connect_time_max));
        // A store that stops reading in the middle of an upload: neither the client's pace nor the time for
        // an answer runs then, and hyper does not close what it cannot flush. The kernel does.
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(Duration::from_secs(config.idle_seconds_max)));
        let tls = tls::client_config(config.ca_file.as_deref())?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let connector = PatientConnector { connector, time_max: connect_time_max };
        let connector = WatchedConnector { connector, metrics: Arc::clone(&metrics) };
        let Address { scheme, authority, host, base, origin } = Address::of(config)?;
        let pools = BUFFERS.map(|buffers| {
            let under_way_max = usize::try_from(buffers.under_way_max).unwrap_or(usize::MAX);
            let connections_max = config.idle_connections_max.min(under_way_max);
            let kept = Kept { connections_max, time_max: KEPT_MAX };
            Pool::new(connector.clone(), origin.clone(), buffers.bytes_max, kept)
        });
        Ok(Self {
            pools,
            places,
            outages: Outages::new(config, Arc::clone(&metrics)),
            metrics,
            learned: Learned::new(),
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

    /// Why no client can be made of these settings; nobody is asked, so what the AWS credential chain gives
    /// is not known.
    pub(crate) fn faults(config: &config::Store) -> Vec<StoreClientError> {
        let address = Address::of(config).err();
        let credentials = Credentials::check(&config.credentials).err().map(StoreClientError::from);
        let ca_file = tls::client_config(config.ca_file.as_deref()).err().map(StoreClientError::from);
        address.into_iter().chain(credentials).chain(ca_file).collect()
    }

    /// How many requests are under way, and may be.
    pub(crate) fn places(&self) -> &StorePlaces {
        &self.places
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

    /// How its connections are used at the moment.
    pub(crate) fn pool(&self) -> StorePool {
        StorePool {
            under_way: self.places.taken(),
            under_way_max: self.places.max(),
            waiting: self.outages.waiting(),
            breaker_is_open: self.outages.is_open(),
        }
    }

    /// Signs and sends. A connection that answers before it was sent the whole request is used no more, and
    /// a success of that kind is a failure (P60). The answer's head must begin in time once the body is all
    /// there; a body still on its way is bounded by its own pace.
    ///
    /// A request that reads and has no body waits while the store is away, for a short time that does not go
    /// beyond `on_behalf`; all others fail at once (see [`outage`]).
    ///
    /// # Errors
    /// `ServiceUnavailable` where the store cannot be reached, or does not answer in time or in turn;
    /// `SlowDown` where too many requests are under way.
    pub(crate) async fn send(
        &self,
        outbound: Outbound,
        body: StoreBody,
        on_behalf: OnBehalf,
    ) -> Result<Response<StoreAnswer>> {
        let place = self.places.take(on_behalf.hotkey)?;
        let until = self.outages.patience(on_behalf);
        let Some(asked) = self.outages.ask() else {
            self.metrics.store.ended(outbound.method(), StoreResult::LeftAlone);
            return Err(Failure::LeftAlone.into_error());
        };
        // A request that reads may be sent twice.
        let again = (body.is_empty() && is_safe(outbound.method())).then(|| outbound.clone());
        let sent = match (self.attempt(asked, outbound, body, on_behalf, None).await, again) {
            // Boxed, for it is rare, and the future of every request would have its size.
            (Err(failure), Some(again)) => Box::pin(self.send_again(again, on_behalf, until, failure)).await,
            (sent, _) => sent,
        };
        match sent {
            Ok(answer) => Ok(answer.map(|begun| begun.into_answer(Some(place)))),
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Sends a request that reads once more after a failure, and again as long as it may wait.
    async fn send_again(
        &self,
        outbound: Outbound,
        on_behalf: OnBehalf,
        until: Instant,
        mut failure: Failure,
    ) -> std::result::Result<Response<Begun>, Failure> {
        // A connection kept too long dies without having heard of the request.
        if matches!(failure, Failure::Died(_))
            && let Some(asked) = self.outages.ask()
        {
            self.metrics.store.retries.one();
            match self.attempt(asked, outbound.clone(), StoreBody::empty(), on_behalf, None).await {
                Ok(answer) => return Ok(answer),
                Err(other) => failure = other,
            }
        }
        if !failure.is_outage() {
            return Err(failure);
        }
        let Some(_place) = self.outages.place() else { return Err(failure) };
        let mut attempts = 0;
        while failure.is_outage() && self.outages.pause(attempts, until).await {
            attempts += 1;
            let Some(asked) = self.outages.ask() else { continue };
            self.metrics.store.retries.one();
            match self.attempt(asked, outbound.clone(), StoreBody::empty(), on_behalf, Some(until)).await {
                Ok(answer) => return Ok(answer),
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    /// Sends once and tells the breaker what became of it.
    async fn attempt(
        &self,
        asked: Asked<'_>,
        outbound: Outbound,
        body: StoreBody,
        on_behalf: OnBehalf,
        connected_by: Option<Instant>,
    ) -> std::result::Result<Response<Begun>, Failure> {
        let is_upload = body.sent_whole().is_some();
        let method = outbound.method().clone();
        let timer = StoreTimer::begin(&self.metrics, &method);
        let sent = self.send_once(outbound, body, on_behalf, connected_by).await;
        self.metrics.store.ended(&method, result_of(&sent));
        match &sent {
            Ok((answer, _)) if answer.status().is_success() => self.learned.success(),
            Ok((answer, _)) if speaks_of_the_server(answer.status()) => self.learned.doubt(),
            Ok(_) => {}
            Err(Failure::Died(_)) if is_upload => {}
            Err(Failure::Unreached(_) | Failure::Died(_) | Failure::Silent | Failure::Credentials(_)) => {
                self.learned.doubt();
            }
            Err(Failure::LeftAlone | Failure::Early | Failure::Ambiguous | Failure::Fault(_)) => {}
        }
        asked.tell(match &sent {
            Ok(_) | Err(Failure::Early | Failure::Ambiguous) => Outcome::Answered,
            // An upload may have ended by what its client did, or left undone.
            Err(Failure::Died(_)) if is_upload => Outcome::Undecided,
            Err(Failure::Unreached(_) | Failure::Died(_) | Failure::Silent) => Outcome::Failed,
            Err(Failure::LeftAlone | Failure::Credentials(_) | Failure::Fault(_)) => Outcome::Undecided,
        });
        let (answer, connection) = sent?;
        timer.answered();
        Ok(answer.map(|body| Begun { body, connection, timer }))
    }

    #[expect(clippy::manual_async_fn, reason = "the future of an async fn has room for each argument twice")]
    fn send_once(
        &self,
        outbound: Outbound,
        body: StoreBody,
        OnBehalf { now, piece_bytes_max, .. }: OnBehalf,
        connected_by: Option<Instant>,
    ) -> impl Future<Output = std::result::Result<Sent, Failure>> + Send {
        async move {
            let credentials = self.credentials.current().await.map_err(Failure::Credentials)?;
            let (sent_whole, progress) = (body.sent_whole(), body.progress());
            let request = self.signed(outbound, body, &credentials, now).map_err(Failure::Fault)?;
            drop(credentials);
            let answer = self.connections(piece_bytes_max).send(request, connected_by.map(Into::into));
            tokio::pin!(answer);
            let answer = match sent_whole {
                None => tokio::time::timeout(self.answer_timeout, answer).await,
                Some(sent_whole) => tokio::select! {
                    answer = &mut answer => Ok(answer),
                    () = sent_whole => tokio::time::timeout(self.answer_timeout, answer).await,
                },
            };
            let (answer, mut connection) = match answer {
                Ok(Ok(answered)) => answered,
                Ok(Err(SendError::Unreached(error))) => return Err(Failure::Unreached(error)),
                Ok(Err(SendError::Died(error))) => return Err(Failure::Died(error)),
                Err(_) => return Err(Failure::Silent),
            };
            if !progress.is_over() || connection.watch().has_answered_early() {
                connection.give_up();
                if answer.status().is_success() {
                    // It says yes to what it has not read yet, or it answers to something else.
                    return Err(Failure::Early);
                }
            }
            // hyper reads no length where there is no body, and it would go on to a client as it is.
            if !has_one_length(answer.headers()) {
                return Err(Failure::Ambiguous);
            }
            Ok((answer, connection))
        }
    }

    /// The request as it leaves. It is made in one go, so that its parts take no room in the future that
    /// waits for the answer.
    fn signed(
        &self,
        outbound: Outbound,
        body: StoreBody,
        credentials: &credentials::Current,
        now: UnixTime,
    ) -> Result<http::Request<StoreBody>> {
        let OutboundParts { method, key, query, mut headers, copy_source } = outbound.into_parts();
        let path = match &key {
            Some(key) => [&*self.base, "/", key].concat(),
            None if self.base.is_empty() => "/".to_owned(),
            None => self.base.clone(),
        };
        if let Some(source) = copy_source {
            headers.set_copy_source(&source, &self.bucket)?;
        }
        let mut headers = headers.into_map();
        headers.insert(header::HOST, self.host.clone());
        sign::sign(
            credentials,
            &self.region,
            &method,
            &path,
            &query,
            &mut headers,
            body.payload_hash(),
            now,
        )?;
        let target = target(&path, &query)?;
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The connections for one more request, whose answer may travel in such pieces.
    fn connections(&self, piece_bytes_max: usize) -> &Pool<Connector> {
        let taken = self.places.taken();
        let fits = |buffers: &Buffers| taken <= buffers.under_way_max && buffers.bytes_max <= piece_bytes_max;
        let [.., smallest] = &self.pools;
        let pool = self.pools.iter().zip(&BUFFERS).find(|(_, buffers)| fits(buffers));
        pool.map_or(smallest, |(pool, _)| pool)
    }
}

/// The target of a request, as it is sent to the host itself (RFC 9112, 3.2.1).
fn target(path: &str, query: &Query) -> Result<Uri> {
    let mut target = uri::encode_path(path);
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query.canonical());
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Error::new(
            Code::InvalidURI,
            "The request target is too long for the store once it is percent-encoded.",
        )
        .element("MaxSizeAllowed", TARGET_BYTES_MAX.to_string()));
    }
    let target = PathAndQuery::try_from(target);
    target.map(Uri::from).map_err(|error| Error::internal(format!("a request target for the store: {error}")))
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}://{}{})", self.scheme, self.authority, self.base)
    }
}

/// Where requests go.
struct Address {
    scheme: &'static str,
    authority: Authority,
    host: HeaderValue,
    /// `/bucket` for path-style, empty for virtual-host.
    base: String,
    /// Scheme and authority, to which connections are made.
    origin: Uri,
}

impl Address {
    fn of(config: &config::Store) -> std::result::Result<Self, StoreClientError> {
        let no_host = |text: &str| StoreClientError::Endpoint(format!("{text} is not a host"));
        let endpoint = config.endpoint.authority().cloned();
        let endpoint = endpoint.ok_or_else(|| StoreClientError::Endpoint("it has no host".to_owned()))?;
        let (authority, base) = match config.addressing {
            StoreAddressing::Path => (endpoint, format!("/{}", config.bucket)),
            StoreAddressing::VirtualHost => {
                let host = format!("{}.{endpoint}", config.bucket);
                (host.parse().map_err(|_| no_host(&host))?, String::new())
            }
        };
        let scheme = if config.endpoint.scheme_str() == Some("https") { "https" } else { "http" };
        let host = HeaderValue::from_str(&host_header(scheme, &authority))
            .map_err(|_| no_host(authority.as_str()))?;
        let origin = Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query("/").build();
        let origin = origin.map_err(|_| no_host(authority.as_str()))?;
        Ok(Self { scheme, authority, host, base, origin })
    }
}

/// The head of an answer, and the connection that it came by.
type Sent = (Response<Incoming>, Box<Connection<Connector>>);

/// An answer that has begun: its body, what it comes by, and what measures how long it takes.
struct Begun {
    body: Incoming,
    connection: Box<Connection<Connector>>,
    timer: StoreTimer,
}

impl Begun {
    /// The body, which holds a place until it ends.
    fn into_answer(self, place: Option<StorePlace>) -> StoreAnswer {
        let Self { body, connection, timer } = self;
        StoreAnswer::new(body, connection, place, timer)
    }
}

/// What is counted of a request that was sent.
fn result_of(sent: &std::result::Result<Sent, Failure>) -> StoreResult {
    match sent {
        Ok((answer, _)) => StoreResult::of_status(answer.status()),
        Err(Failure::LeftAlone) => StoreResult::LeftAlone,
        Err(Failure::Unreached(_)) => StoreResult::Unreached,
        Err(Failure::Died(_)) => StoreResult::Died,
        Err(Failure::Silent) => StoreResult::Silent,
        Err(Failure::Early) => StoreResult::Early,
        Err(Failure::Ambiguous) => StoreResult::Ambiguous,
        Err(Failure::Credentials(_)) => StoreResult::Credentials,
        Err(Failure::Fault(_)) => StoreResult::Fault,
    }
}

/// Why no answer came.
enum Failure {
    /// The breaker is open: nobody was asked.
    LeftAlone,
    /// There was no connection, with what was wrong, or there was none in time.
    Unreached(Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The connection broke before an answer.
    Died(hyper::Error),
    /// Nothing came in time.
    Silent,
    /// A success came before the request was all sent.
    Early,
    /// The answer has several lengths, or one that is no number.
    Ambiguous,
    /// There is nothing to sign with.
    Credentials(CredentialError),
    /// A request that cannot be built.
    Fault(Error),
}

impl Failure {
    /// Whether the store was away, as far as one request can tell.
    fn is_outage(&self) -> bool {
        match self {
            Self::LeftAlone | Self::Unreached(_) | Self::Died(_) => true,
            Self::Silent | Self::Early | Self::Ambiguous | Self::Credentials(_) | Self::Fault(_) => false,
        }
    }

    fn into_error(self) -> Error {
        let reason = match &self {
            Self::LeftAlone => Reason::StoreLeftAlone,
            Self::Unreached(_) => Reason::StoreUnreachable,
            Self::Died(_) => Reason::StoreBrokeOff,
            Self::Silent => Reason::StoreSilent,
            Self::Early | Self::Ambiguous => Reason::StoreAnswerUnusable,
            Self::Credentials(_) => Reason::StoreCredentials,
            Self::Fault(_) => return self.described(),
        };
        self.described().reason(reason)
    }

    fn described(self) -> Error {
        match self {
            Self::LeftAlone => Error::store_unavailable(
                "the store has not answered for a while and is left alone (store.outage_failures_max)",
            ),
            Self::Unreached(None) => {
                Error::store_unavailable("no connection within store.outage_wait_seconds_max")
            }
            Self::Unreached(Some(error)) => {
                Error::store_unavailable(format!("no connection: {}", with_causes(error.as_ref())))
            }
            Self::Died(error) => Error::store_unavailable(with_causes(&error)),
            Self::Silent => Error::store_unavailable("no answer within store.answer_seconds_max"),
            Self::Early => Error::store_unavailable("the store said yes to a request before it was all sent"),
            Self::Ambiguous => Error::store_unavailable("the length of the store's answer cannot be told"),
            Self::Credentials(fault) => Error::store_unavailable(format!("store.credentials: {fault}")),
            Self::Fault(error) => error,
        }
    }
}

/// An error and what caused it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether a body's length is told at most once, and as a number (P45).
fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = |length: &HeaderValue| {
        let is_digits = length.as_bytes().iter().all(u8::is_ascii_digit);
        is_digits && length.to_str().is_ok_and(|length| length.parse::<u64>().is_ok())
    };
    lengths.next().is_none_or(is_number) && lengths.next().is_none()
}

/// Whether a status may be about this server and not about what its client asked for.
fn speaks_of_the_server(status: http::StatusCode) -> bool {
    status.is_redirection() && status != http::StatusCode::NOT_MODIFIED
        || matches!(status, http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN)
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
