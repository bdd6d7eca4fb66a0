//! The requests by which `subgate store probe` tries a store: free in what they say and in how they are
//! signed, each on a connection of its own. \[IO\]
//!
//! Invariant: no key of theirs lies outside the one prefix that the client was made for. The server's own
//! road makes none of them: what it sends is an [`crate::policy::Outbound`].

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials as AwsCredentials;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::{
    Address, Credentials, StoreClientError,
    credentials::{CredentialError, Current},
    sign,
};
use crate::{
    auth::sigv4::canonical::sha256_hex,
    body::{bounded::collect_bounded, pace::Pace},
    config::{self, StoreAddressing},
    s3::{
        uri::{self, Query},
        xml::Element,
    },
    time::UnixTime,
    tls,
};

/// A store that takes longer for one of these small requests is of no use.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// A torn body breaks off so long after its last byte.
const TORN_AFTER: Duration = Duration::from_millis(500);

/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Sends the requests of a trial.
pub(crate) struct TrialClient {
    client: Client<HttpsConnector<HttpConnector>, TrialBody>,
    credentials: Credentials,
    scheme: &'static str,
    address: Address,
    region: String,
    bucket: String,
    prefix: String,
}

/// A request of a trial.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    method: Method,
    /// Below the prefix; none for requests to the bucket.
    key: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// Bytes that are declared beyond those that are sent, before the connection is broken off.
    missing_bytes: u64,
    /// What is signed of the body; its digest where nothing is said.
    hash: Option<String>,
    signature: Signature,
}

/// How a trial is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// As this server signs.
    Own,
    /// With another secret.
    False,
}

/// What the store answered.
#[derive(Debug, Clone)]
pub(crate) struct TrialAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    document: Option<Element>,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{0}")]
    Credentials(#[from] CredentialError),
    #[error("it cannot be reached: {0}")]
    Unreached(String),
    #[error("the connection broke before an answer: {0}")]
    Broken(String),
    /// The request's head and what there was of its body had been sent.
    #[error("the body was broken off, as it was to be")]
    BrokenOff,
    #[error("it has not answered within {} s", ANSWER_TIME_MAX.as_secs())]
    Silent,
    #[error("the request cannot be built: {0}")]
    Request(String),
}

impl Trial {
    pub(crate) fn bucket(method: Method) -> Self {
        Self {
            method,
            key: None,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            missing_bytes: 0,
            hash: None,
            signature: Signature::Own,
        }
    }

    pub(crate) fn object(method: Method, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::bucket(method) }
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The key below the prefix; none for requests to the bucket.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Declares so many bytes more than are sent.
    pub(crate) fn torn(self, missing_bytes: u64) -> Self {
        Self { missing_bytes, ..self }
    }

    /// Signs this in the place of the body's digest.
    pub(crate) fn payload_hash(self, hash: &str) -> Self {
        Self { hash: Some(hash.to_owned()), ..self }
    }

    pub(crate) fn signed(self, signature: Signature) -> Self {
        Self { signature, ..self }
    }
}

impl TrialAnswer {
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The text of an element of the answer's document, which must be of that name where one is given.
    pub(crate) fn text_of(&self, element: &str) -> Option<&str> {
        self.document.as_ref()?.text_of(element).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The elements of that name in the answer's document.
    pub(crate) fn all(&self, element: &str) -> impl Iterator<Item = &Element> {
        let children =
            self.document.as_ref().map(|document| document.children.as_slice()).unwrap_or_default();
        children.iter().filter(move |child| child.name == element)
    }

    /// The code of S3's error.
    pub(crate) fn code(&self) -> Option<&str> {
        self.document.as_ref().filter(|document| document.name == "Error")?;
        self.text_of("Code")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Status and code, for a person.
    pub(crate) fn shown(&self) -> String {
        match self.code() {
            Some(code) => format!("{} {code}", self.status.as_u16()),
            None => self.status.as_u16().to_string(),
        }
    }
}

impl TrialClient {
    /// Makes the client and gets the credentials. Every key will be below `prefix`.
    pub(crate) async fn new(store: &config::Store, prefix: &str) -> Result<Self, StoreClientError> {
        let credentials = Credentials::new(&store.credentials).await?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(store.connect_seconds_max)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(store.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).set_host(false).build(connector);
        let address = Address::of(store)?;
        Ok(Self {
            client,
            credentials,
            scheme: address.scheme,
            address,
            region: store.region.clone(),
            bucket: store.bucket.clone(),
            prefix: prefix.to_owned(),
        })
    }

    /// From now on addresses the bucket like this.
    pub(crate) fn address(
        &mut self,
        store: &config::Store,
        addressing: StoreAddressing,
    ) -> Result<(), StoreClientError> {
        self.address = Address::of(&config::Store { addressing, ..store.clone() })?;
        Ok(())
    }

    /// From now on signs for this region.
    pub(crate) fn region(&mut self, region: &str) {
        region.clone_into(&mut self.region);
    }

    /// What every key of a trial begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key below the prefix as the source of a copy.
    pub(crate) fn copy_source(&self, key: &str) -> String {
        uri::encode_path(&format!("/{}/{}{key}", self.bucket, self.prefix))
    }

    /// Sends one request and reads its answer.
    pub(crate) async fn send(&self, trial: Trial) -> Result<TrialAnswer, NoAnswer> {
        let request = self.request(trial).await?;
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let cause = root_cause(&error);
                match error.is_connect() {
                    true => NoAnswer::Unreached(cause),
                    false if is_torn(&error) => NoAnswer::BrokenOff,
                    false => NoAnswer::Broken(cause),
                }
            })?;
            let (parts, body) = answer.into_parts();
            let body = collect_bounded(body, ANSWER_BYTES_MAX, Pace::idle(ANSWER_TIME_MAX)).await;
            let body = body.map_err(|error| NoAnswer::Broken(error.to_string()))?;
            let document = Element::parse(&body).ok();
            Ok(TrialAnswer { status: parts.status, headers: parts.headers, body, document })
        };
        tokio::time::timeout(ANSWER_TIME_MAX, answer).await.unwrap_or(Err(NoAnswer::Silent))
    }

    async fn request(&self, trial: Trial) -> Result<http::Request<TrialBody>, NoAnswer> {
        let fault = |what: String| NoAnswer::Request(what);
        let Trial { method, key, query: pairs, headers: named, body, missing_bytes, hash, signature } = trial;
        let base = &self.address.base;
        let path = match &key {
            Some(key) => format!("{base}/{}{key}", self.prefix),
            None if base.is_empty() => "/".to_owned(),
            None => base.clone(),
        };
        let mut query = Query::default();
        for (name, value) in pairs {
            query.push(name, value).map_err(|error| fault(error.to_string()))?;
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, self.address.host.clone());
        for (name, value) in named {
            let value = HeaderValue::from_str(&value).map_err(|_| fault(format!("the header {name}")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let own = self.credentials.current().await?;
        let other =
            Current::new(AwsCredentials::new(own.access_key(), "another", None, None, "trial").into());
        let credentials = match (signature, &other) {
            (Signature::False, Some(other)) => other,
            (Signature::Own | Signature::False, _) => &*own,
        };
        let hash = hash.unwrap_or_else(|| sha256_hex(&body));
        let now = UnixTime::from(SystemTime::now());
        sign::sign(credentials, &self.region, &method, &path, &query, &mut headers, &hash, now)
            .map_err(|error| fault(error.to_string()))?;
        let mut target = uri::encode_path(&path);
        if !query.is_empty() {
            target.push('?');
            target.push_str(&query.canonical());
        }
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(self.address.authority.clone())
            .path_and_query(target)
            .build()
            .map_err(|error| fault(error.to_string()))?;
        let mut request = http::Request::new(TrialBody { rest: Some(body), missing_bytes, pause: None });
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The innermost cause of an error.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// That a torn body came to where it breaks off.
#[derive(Debug, thiserror::Error)]
#[error("broken off")]
struct TornError;

/// Whether this side's own breaking off is the cause of an error.
fn is_torn(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TornError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A body in one piece, behind which bytes may be missing that were declared.
struct TrialBody {
    rest: Option<Bytes>,
    missing_bytes: u64,
    /// Before it breaks off, so that what came before has left.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for TrialBody {
    type Data = Bytes;
    type Error = TornError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TornError>>> {
        if let Some(rest) = self.rest.take().filter(|rest| !rest.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if self.missing_bytes == 0 {
            return Poll::Ready(None);
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(TORN_AFTER)));
        ready!(pause.as_mut().poll(context));
        Poll::Ready(Some(Err(TornError)))
    }

    fn is_end_stream(&self) -> bool {
        self.missing_bytes == 0 && self.rest.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.rest.as_ref().map_or(0, |rest| rest.len() as u64);
        SizeHint::with_exact(here.saturating_add(self.missing_bytes))
    }
}
