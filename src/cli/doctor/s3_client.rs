//! The doctor's S3 client: calls signed with one session, presigned URLs, answers read to their end. \[IO\]
//!
//! A call keeps its path as it is sent, because the ways of writing a path are tested here.

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::super::http_client::{HttpClient, SentBody, root_cause};
use crate::{
    auth::{
        Declared, SessionCredentials,
        sigv4::signer::{ClientRequest, Credentials, Signer},
    },
    s3::{
        uri::{self, Query},
        xml::Element,
    },
    time::UnixTime,
};

/// From the first packet to the last byte of an answer; the largest body has 5 MiB.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);

/// The largest object that is read back has a little more than 5 MiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How often a 503 is tried again, in the whole trial: it says nothing about access. So many retries wait for
/// a limit, but not for an outage.
pub(super) const RETRIES_MAX: u32 = 10;

/// The pause before a retry.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Lifetime of the URLs that are presigned here.
const PRESIGNED_SECONDS: u64 = 300;

/// A server, its bucket and a session.
pub(super) struct S3Client {
    pub(super) http: HttpClient,
    /// `scheme://host[:port]`
    pub(super) base_url: String,
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) session: SessionCredentials,
    /// Starts at [`RETRIES_MAX`].
    pub(super) retries_left: Cell<u32>,
}

/// One call before it is signed.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    /// The path below the bucket, encoded as it is sent.
    wire_path: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// An answer that was read to its end.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why a call got no answer, for a person.
pub(super) type NoAnswer = String;

impl Call {
    /// A call for an object.
    pub(super) fn object(method: Method, key: &str) -> Self {
        Self::wire(method, uri::encode_path(key))
    }

    /// A call for the bucket.
    pub(super) fn bucket(method: Method) -> Self {
        Self::wire(method, String::new())
    }

    /// A call for whatever the server reads in `wire_path`.
    pub(super) fn wire(method: Method, wire_path: String) -> Self {
        Self { method, wire_path, query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A call for a page of ListObjectsV2.
    pub(super) fn list(prefix: &str) -> Self {
        Self::bucket(Method::GET).query("list-type", "2").query("prefix", prefix)
    }

    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl S3Client {
    /// `host[:port]`
    pub(super) fn host(&self) -> &str {
        self.base_url.split_once("://").map_or("", |(_, host)| host)
    }

    /// The value of `x-amz-copy-source` for an encoded path below the bucket.
    pub(super) fn copy_source(&self, wire_path: &str) -> String {
        format!("/{}/{wire_path}", self.bucket)
    }

    fn signer(&self) -> Signer<'_> {
        Signer {
            credentials: Credentials::Session(&self.session),
            region: &self.region,
            now: UnixTime::from(SystemTime::now()),
        }
    }

    fn wire_path(&self, call: &Call) -> String {
        match call.wire_path.as_str() {
            "" => format!("/{}", self.bucket),
            path => format!("/{}/{path}", self.bucket),
        }
    }

    /// The call as the signer takes it: what is signed is the decoded path, however it is sent.
    fn unsigned(&self, call: &Call) -> Result<ClientRequest, NoAnswer> {
        let wire = self.wire_path(call);
        let path = uri::decode_path(&wire).unwrap_or(wire);
        let mut request =
            ClientRequest::new(call.method.clone(), self.host(), path).map_err(signing_error)?;
        for (name, value) in &call.headers {
            request = request.header(name, value).map_err(signing_error)?;
        }
        for (name, value) in &call.query {
            request.query.push(name.as_str(), value.as_str()).map_err(signing_error)?;
        }
        Ok(request)
    }

    /// Signs the call in its `Authorization` header and sends it.
    pub(super) async fn send(&self, call: &Call) -> Result<Reply, NoAnswer> {
        let mut request = self.unsigned(call)?;
        self.signer().sign(&mut request, &Declared::Sha256(sha256(&call.body))).map_err(signing_error)?;
        let target = target(&self.wire_path(call), &request.query);
        self.send_unsigned(&call.method, &target, &request.headers, &call.body).await
    }

    /// Presigns the call: its path and query.
    pub(super) fn presign(&self, call: &Call) -> Result<String, NoAnswer> {
        let mut request = self.unsigned(call)?;
        self.signer().presign(&mut request, PRESIGNED_SECONDS, &Declared::Unsigned).map_err(signing_error)?;
        Ok(target(&self.wire_path(call), &request.query))
    }

    /// Sends a request as it is; tries again while the server answers 503.
    pub(super) async fn send_unsigned(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Reply, NoAnswer> {
        loop {
            let exchange = self.send_once(method, target, headers, body);
            let reply = tokio::time::timeout(REQUEST_TIME_MAX, exchange)
                .await
                .map_err(|_| format!("no answer within {} s", REQUEST_TIME_MAX.as_secs()))??;
            let Some(retries_left) = self.retries_left.get().checked_sub(1) else { return Ok(reply) };
            if reply.status != StatusCode::SERVICE_UNAVAILABLE {
                return Ok(reply);
            }
            self.retries_left.set(retries_left);
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Sends a GET of a path and query, which may be presigned.
    pub(super) async fn get(&self, target: &str) -> Result<Reply, NoAnswer> {
        self.send_unsigned(&Method::GET, target, &HeaderMap::new(), &Bytes::new()).await
    }

    /// Path and query of a URL that the server handed out; an error if it is the URL of another server.
    pub(super) fn target_of<'a>(&self, url: &'a str) -> Result<&'a str, String> {
        let rest =
            url.strip_prefix(&self.base_url).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        match rest {
            Some("") => Ok("/"),
            Some(rest) => Ok(rest),
            None => {
                let shown: String = url.split('?').next().unwrap_or_default().chars().take(120).collect();
                Err(format!("the URL is not one of this server: {shown}"))
            }
        }
    }

    async fn send_once(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Reply, NoAnswer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.base_url))
            .body(SentBody::from(body.clone()))
            .map_err(|error| format!("the request cannot be built: {error}"))?;
        headers.clone_into(request.headers_mut());
        request.headers_mut().insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("subgate-doctor/", env!("CARGO_PKG_VERSION"))),
        );
        let response =
            self.http.request(request).await.map_err(|error| format!("no answer: {}", root_cause(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| format!("the answer ended early: {}", root_cause(error.as_ref())))?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

impl Reply {
    /// The root of an XML answer.
    pub(super) fn xml(&self) -> Option<Element> {
        Element::parse(&self.body).ok()
    }

    /// S3's error code, if the body is an error; that of a completed upload may be one although its status is
    /// 200.
    pub(super) fn code(&self) -> Option<String> {
        let root = self.xml().filter(|root| root.name == "Error")?;
        root.text_of("Code").map(str::to_owned)
    }

    /// Status and code, for a person.
    pub(super) fn summary(&self) -> String {
        // The code comes from the server: it is shown only if it is a word.
        let code = self.code().filter(|code| code.len() <= 64 && code.chars().all(char::is_alphanumeric));
        code.map_or_else(
            || self.status.as_u16().to_string(),
            |code| format!("{} {code}", self.status.as_u16()),
        )
    }

    /// The answer, if it has that status and its body is no error.
    pub(super) fn expect(self, status: StatusCode) -> Result<Self, String> {
        if self.status == status && self.code().is_none() { Ok(self) } else { Err(self.summary()) }
    }

    /// The keys and the common prefixes of a listing, in its order.
    pub(super) fn keys(&self) -> Vec<String> {
        let Some(root) = self.xml() else { return Vec::new() };
        let shown = root.children.iter().filter_map(|child| match child.name.as_str() {
            "Contents" => child.text_of("Key"),
            "CommonPrefixes" => child.text_of("Prefix"),
            _ => None,
        });
        shown.map(str::to_owned).collect()
    }

    /// A header, if it is text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn target(wire_path: &str, query: &Query) -> String {
    if query.is_empty() { wire_path.to_owned() } else { format!("{wire_path}?{}", query.canonical()) }
}

fn signing_error(error: crate::error::Error) -> NoAnswer {
    format!("the request cannot be signed: {error}")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}
