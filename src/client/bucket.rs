//! The S3 calls to one bucket of a Subgate server. \[IO\]
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html>.
//!
//! Each call waits for a place among the open ones, is signed with the session of the moment, and is made
//! again while [`RetryPolicy`] allows it. A session that the server refuses is replaced once for each call.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::body::Incoming;

use super::{
    answers::{self, ListPage},
    error::{ClientError, Refusal},
    http::{self, HttpClient, SILENCE_MAX, SentBody},
    object::{
        Condition, Listed, ObjectBody, ObjectHead, OpenUpload, Part, Piece, Place, Range, SHA256_METADATA,
        Sha256,
    },
    retry::{self, Attempted, Failure, RetryPolicy},
    sessions::Sessions,
    throttle::{OpenCall, Throttle},
};
use crate::{
    auth::{
        Declared, SessionCredentials,
        sigv4::{
            sha256,
            signer::{ClientRequest, Credentials, Signer},
        },
    },
    s3::xml::{self, CompletedPart},
    time::UnixTime,
};

/// A page of a list has at most 1000 entries of a key and some words.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// An error has some hundred bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// A store joins 10,000 parts in its own time.
const COMPLETION_SILENCE_MAX: Duration = Duration::from_secs(600);

/// A document comes within so many times the silence that its call bears, however slowly it drips.
const DOCUMENT_SILENCES: u32 = 5;

/// More pages than these are no list that ends; ten million keys.
const PAGES_MAX: usize = 10_000;

/// S3 knows no more parts of one upload, and more open uploads are not looked through.
const PARTS_MAX: usize = 10_000;

/// One bucket of one server, with sessions to call it by. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bucket(Arc<Inner>);

struct Inner {
    http: HttpClient,
    place: Place,
    sessions: Arc<dyn Sessions>,
    throttle: Arc<Throttle>,
    retry: RetryPolicy,
}

/// The place alone.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("place", &self.0.place).finish_non_exhaustive()
    }
}

/// What is read of an answer besides its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// All of it, at once.
    Document,
    /// Nothing here: its reader takes it piece by piece.
    Stream,
}

/// One call before it is signed. Its key and query are decoded.
struct Call<'a> {
    method: Method,
    key: &'a str,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    body_sha256: Sha256,
    silence_max: Duration,
    wanted: Wanted,
}

/// An answer that is a success.
struct Answer {
    headers: HeaderMap,
    /// Empty where a stream is wanted.
    document: Bytes,
    stream: Option<Incoming>,
    open: OpenCall,
}

impl<'a> Call<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            body_sha256: sha256(b""),
            silence_max: SILENCE_MAX,
            wanted: Wanted::Document,
        }
    }

    fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn piece(mut self, piece: &Piece) -> Self {
        self.body = piece.bytes().clone();
        self.body_sha256 = piece.sha256();
        self.header("content-md5", BASE64_STANDARD.encode(piece.md5()))
    }

    fn body(mut self, body: String) -> Self {
        self.body_sha256 = sha256(body.as_bytes());
        self.body = body.into();
        self
    }

    fn condition(self, condition: &Condition) -> Self {
        match condition {
            Condition::None => self,
            Condition::Is(etag) => self.header("if-match", format!("\"{etag}\"")),
        }
    }

    fn content(self, content: Option<&Sha256>) -> Self {
        let call = self.header("content-type", "application/octet-stream");
        match content {
            Some(sha256) => call.header(SHA256_METADATA, hex::encode(sha256)),
            None => call,
        }
    }
}

impl Bucket {
    /// The bucket at `place`, with at most `parallel` open calls.
    pub(crate) fn new(
        http: HttpClient,
        place: Place,
        sessions: Arc<dyn Sessions>,
        parallel: usize,
        retry: RetryPolicy,
    ) -> Self {
        Self(Arc::new(Inner { http, place, sessions, throttle: Throttle::new(parallel), retry }))
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// One page of the keys that begin with `prefix`; `delimiter` may be empty.
    ///
    /// # Errors
    /// As all calls: see [`ClientError`].
    pub(crate) async fn list_page(
        &self,
        prefix: &str,
        delimiter: &str,
        token: Option<&str>,
    ) -> Result<ListPage, ClientError> {
        let mut call = Call::new(Method::GET, "")
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("prefix", prefix);
        if !delimiter.is_empty() {
            call = call.query("delimiter", delimiter);
        }
        if let Some(token) = token {
            call = call.query("continuation-token", token);
        }
        let answer = self.call(call).await?;
        answers::list_page(&answer.document)
            .filter(|page| answers::is_page_of(page, prefix))
            .ok_or_else(|| ClientError::Broken(format!("a list of {prefix} that is none, or not whole")))
    }

    /// Every object whose key begins with `prefix`, handed to `each` in the server's order.
    ///
    /// # Errors
    /// Those of [`Self::list_page`]: then `each` has seen some of them, and the list is not complete.
    pub(crate) async fn list(&self, prefix: &str, mut each: impl FnMut(Listed)) -> Result<(), ClientError> {
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.list_page(prefix, "", token.as_deref()).await?;
            page.objects.into_iter().for_each(&mut each);
            match page.next {
                None => return Ok(()),
                // It would be asked for for ever.
                Some(next) if token.as_ref() == Some(&next) => break,
                Some(next) => token = Some(next),
            }
        }
        Err(ClientError::Broken(format!("the list of {prefix} did not come to an end")))
    }

    /// What stands under `key`; none where nothing does.
    ///
    /// # Errors
    /// As all calls: see [`ClientError`].
    pub(crate) async fn head(&self, key: &str) -> Result<Option<ObjectHead>, ClientError> {
        let call = || Call::new(Method::HEAD, key).header("x-amz-checksum-mode", "ENABLED");
        match self.explained(key, call).await {
            Ok(answer) => ObjectHead::of(&answer.headers).map(Some).ok_or_else(|| unreadable(key)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a HEAD whose refusal has a reason.
    async fn explained<'a>(&self, key: &'a str, call: impl Fn() -> Call<'a>) -> Result<Answer, ClientError> {
        match self.call(call()).await {
            // The answer to a HEAD has no document, so the server cannot say why; asked for a byte, it does.
            // And a session that it no longer takes is replaced by that.
            Err(ClientError::Refused(refusal)) if refusal.code.is_empty() && !refusal.is_not_found() => {
                let byte = Range { start: 0, length: 1 };
                match self.call(Call::new(Method::GET, key).header("range", byte.header())).await {
                    Err(error) if !error.refusal().is_some_and(Refusal::is_beyond_the_end) => Err(error),
                    Ok(_) | Err(_) => self.call(call()).await,
                }
            }
            answer => answer,
        }
    }

    /// The bytes under `key`, all or a range of them, if the condition holds.
    ///
    /// # Errors
    /// As all calls. Once the body has begun, nothing is tried again here.
    pub(crate) async fn get(
        &self,
        key: &str,
        range: Option<Range>,
        condition: &Condition,
    ) -> Result<ObjectBody, ClientError> {
        let (name, value) =
            range.map_or(("x-amz-checksum-mode", "ENABLED".to_owned()), |range| ("range", range.header()));
        let call = Call::new(Method::GET, key).condition(condition).header(name, value);
        let answer = self.call(Call { wanted: Wanted::Stream, ..call }).await?;
        let head = ObjectHead::of(&answer.headers).ok_or_else(|| unreadable(key))?;
        // A server that takes no notice of the range would hand over other bytes than those.
        if let Some(range) = range {
            let starts = format!("bytes {}-", range.start);
            let given = answer.headers.get("content-range").and_then(|value| value.to_str().ok());
            if !given.is_some_and(|given| given.starts_with(&starts)) {
                return Err(ClientError::Broken(format!("a range of {key} that is not the one asked for")));
            }
        }
        let body = answer.stream.ok_or_else(|| unreadable(key))?;
        Ok(ObjectBody { head, body, _call: answer.open })
    }

    /// The size of an object's first part; none where the store does not tell it.
    ///
    /// # Errors
    /// As all calls. That a store does not know the question is none.
    pub(crate) async fn first_part_bytes(&self, key: &str, etag: &str) -> Result<Option<u64>, ClientError> {
        let condition = Condition::Is(etag.to_owned());
        let call = || Call::new(Method::HEAD, key).query("partNumber", "1").condition(&condition);
        let length = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
        match self.explained(key, call).await {
            Ok(answer) => Ok(answer.headers.get(header::CONTENT_LENGTH).and_then(length)),
            Err(ClientError::Refused(refusal))
                if matches!(refusal.status.as_u16(), 400 | 404 | 416 | 501) =>
            {
                Ok(None)
            }
            Err(ClientError::Broken(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a whole object; gives its ETag, without quotes. `content` goes along as metadata.
    ///
    /// # Errors
    /// As all calls. A condition may fail because of an earlier attempt of the same call that succeeded.
    pub(crate) async fn put(
        &self,
        key: &str,
        piece: &Piece,
        content: Option<&Sha256>,
        condition: &Condition,
    ) -> Result<String, ClientError> {
        let call = Call::new(Method::PUT, key).piece(piece).content(content).condition(condition);
        etag(&self.call(call).await?, key)
    }

    /// Begins a multipart upload; gives its id.
    ///
    /// # Errors
    /// As all calls.
    pub(crate) async fn create_upload(
        &self,
        key: &str,
        content: Option<&Sha256>,
    ) -> Result<String, ClientError> {
        let call = Call::new(Method::POST, key).query("uploads", "").content(content);
        let answer = self.call(call).await?;
        answers::upload_id(&answer.document).ok_or_else(|| unreadable(key))
    }

    /// Puts a part, from 1 to 10,000; gives its ETag, without quotes.
    ///
    /// # Errors
    /// As all calls.
    pub(crate) async fn upload_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        piece: &Piece,
    ) -> Result<String, ClientError> {
        let call = Call::new(Method::PUT, key)
            .query("partNumber", number.to_string())
            .query("uploadId", id)
            .piece(piece);
        etag(&self.call(call).await?, key)
    }

    /// Every part that stands there of an upload, by ascending number.
    ///
    /// # Errors
    /// As all calls; a refusal with 404 where the upload is over.
    pub(crate) async fn list_parts(&self, key: &str, id: &str) -> Result<Vec<Part>, ClientError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut after: Option<u32> = None;
        for _ in 0..PAGES_MAX {
            let mut call = Call::new(Method::GET, key).query("uploadId", id);
            if let Some(after) = after {
                call = call.query("part-number-marker", after.to_string());
            }
            let answer = self.call(call).await?;
            let page = xml::parse_parts(&answer.document).ok_or_else(|| unreadable(key))?;
            parts.extend(page.parts.into_iter().map(|(number, size, etag)| Part { number, size, etag }));
            match page.next {
                _ if parts.len() > PARTS_MAX => break,
                None => return Ok(parts),
                Some(next) if after.is_some_and(|last| next <= last) => break,
                Some(next) => after = Some(next),
            }
        }
        Err(ClientError::Broken(format!("the list of the parts of {key} did not come to an end")))
    }

    /// Every open upload whose key begins with `prefix`.
    ///
    /// # Errors
    /// As all calls.
    pub(crate) async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, ClientError> {
        let mut uploads = Vec::new();
        let mut after: Option<(String, String)> = None;
        for _ in 0..PAGES_MAX {
            let mut call = Call::new(Method::GET, "")
                .query("uploads", "")
                .query("encoding-type", "url")
                .query("prefix", prefix);
            if let Some((key, id)) = &after {
                call = call.query("key-marker", key).query("upload-id-marker", id);
            }
            let answer = self.call(call).await?;
            let page = answers::uploads_page(&answer.document)
                .ok_or_else(|| ClientError::Broken(format!("a list of the uploads below {prefix}")))?;
            uploads.extend(page.uploads);
            match page.next {
                _ if uploads.len() > PARTS_MAX => break,
                None => return Ok(uploads),
                Some(next) if after.as_ref() == Some(&next) => break,
                Some(next) => after = Some(next),
            }
        }
        Err(ClientError::Broken(format!("the list of the uploads below {prefix} did not come to an end")))
    }

    /// Makes an object of parts, by number and ETag; gives its ETag where the answer has one.
    ///
    /// # Errors
    /// As all calls; a refusal with 404 where the upload is over, which an earlier attempt of the same call
    /// may have brought about.
    pub(crate) async fn complete_upload(
        &self,
        key: &str,
        id: &str,
        parts: &[(u32, String)],
    ) -> Result<Option<String>, ClientError> {
        let parts: Vec<CompletedPart> = parts
            .iter()
            .map(|(number, etag)| CompletedPart {
                number: *number,
                etag: format!("\"{etag}\""),
                checksums: Vec::new(),
            })
            .collect();
        let call = Call::new(Method::POST, key)
            .query("uploadId", id)
            .header("content-type", "application/xml")
            .body(xml::complete(&parts));
        let answer = self.call(Call { silence_max: COMPLETION_SILENCE_MAX, ..call }).await?;
        Ok(answers::completed_etag(&answer.document))
    }

    /// Drops an upload and its parts. One that is over already is fine.
    ///
    /// # Errors
    /// As all calls.
    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, key).query("uploadId", id);
        self.gone(call).await
    }

    /// Deletes an object. One that is not there is fine.
    ///
    /// # Errors
    /// As all calls.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), ClientError> {
        self.gone(Call::new(Method::DELETE, key)).await
    }

    async fn gone(&self, call: Call<'_>) -> Result<(), ClientError> {
        match self.call(call).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a call until it succeeds, is refused, or patience ends.
    async fn call(&self, call: Call<'_>) -> Result<Answer, ClientError> {
        let Inner { sessions, throttle, retry, .. } = &*self.0;
        let mut failing_since: Option<Instant> = None;
        let mut paused = Duration::ZERO;
        let mut attempts = 0_u32;
        let mut refused: Option<Arc<SessionCredentials>> = None;
        loop {
            let failure = match sessions.session(refused.as_deref()).await {
                Err(error) => Failure::NoSession(error),
                Ok(session) => {
                    let open = throttle.enter().await;
                    match self.attempt(&call, &session, open).await {
                        Ok(answer) => {
                            throttle.succeeded();
                            return Ok(answer);
                        }
                        Err(Attempted::Impossible(error)) => return Err(error),
                        Err(Attempted::Failed(Failure::Answer { refusal, .. }))
                            if refusal.is_of_the_session() && refused.is_none() =>
                        {
                            refused = Some(session);
                            continue;
                        }
                        Err(Attempted::Failed(failure)) => failure,
                    }
                }
            };
            attempts = attempts.saturating_add(1);
            // While other calls succeed the server is there, and this one waits for its turn alone.
            let since = *failing_since.get_or_insert_with(Instant::now);
            let failing_for = throttle.last_success().map_or(since, |last| last.max(since)).elapsed();
            let failing_for = failing_for.max(paused);
            let Some(pause) = retry.pause(attempts, failing_for, &failure, fastrand::f64()) else {
                return Err(retry::given_up(failure, attempts));
            };
            tracing::debug!(key = call.key, attempts, ?pause, ?failure, "a call is made again");
            if failure.asks_for_less() {
                throttle.slow_down(pause);
            }
            tokio::time::sleep(pause).await;
            paused = paused.saturating_add(pause);
        }
    }

    /// One attempt at a call.
    async fn attempt(
        &self,
        call: &Call<'_>,
        session: &SessionCredentials,
        open: OpenCall,
    ) -> Result<Answer, Attempted> {
        let request = self.request(call, session).map_err(Attempted::Impossible)?;
        let authorization = request.headers().get(header::AUTHORIZATION).cloned();
        let answer = http::send(&self.0.http, request, call.silence_max).await?;
        let (parts, body) = answer.into_parts();
        let time_max = call.silence_max.saturating_mul(DOCUMENT_SILENCES);
        let failed = |code: &str, message: &str| {
            failed(parts.status, &parts.headers, code, message, session, authorization.as_ref())
        };
        if !parts.status.is_success() {
            let document = http::collect_within(time_max, body, ERROR_BYTES_MAX).await.unwrap_or_default();
            let (code, message) = answers::error(&document).unwrap_or_default();
            return Err(failed(&code, &message));
        }
        if call.wanted == Wanted::Stream {
            return Ok(Answer { headers: parts.headers, document: Bytes::new(), stream: Some(body), open });
        }
        let document = http::collect_within(time_max, body, DOCUMENT_BYTES_MAX).await?;
        // A completion may begin as a success and end as an error.
        if let Some((code, message)) = answers::error(&document) {
            return Err(failed(&code, &message));
        }
        Ok(Answer { headers: parts.headers, document, stream: None, open })
    }

    fn request(
        &self,
        call: &Call<'_>,
        session: &SessionCredentials,
    ) -> Result<Request<SentBody>, ClientError> {
        let Place { base_url, bucket, region } = &self.0.place;
        let fault = |error: crate::error::Error| ClientError::Call(error.to_string());
        let host = base_url.split_once("://").map_or("", |(_, host)| host);
        let path = match call.key {
            "" => format!("/{bucket}"),
            key => format!("/{bucket}/{key}"),
        };
        let mut signed = ClientRequest::new(call.method.clone(), host, path).map_err(fault)?;
        for (name, value) in &call.headers {
            signed = signed.header(name, value).map_err(fault)?;
        }
        for (name, value) in &call.query {
            signed.query.push(*name, value.as_str()).map_err(fault)?;
        }
        let now = UnixTime::from(SystemTime::now());
        let signer = Signer { credentials: Credentials::Session(session), region, now };
        signer.sign(&mut signed, &Declared::Sha256(call.body_sha256)).map_err(fault)?;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{base_url}{}", signed.target()))
            .body(SentBody::from(call.body.clone()))
            .map_err(|error| ClientError::Call(error.to_string()))?;
        *request.headers_mut() = signed.headers;
        request.headers_mut().insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("subgate/", env!("CARGO_PKG_VERSION"))),
        );
        Ok(request)
    }
}

fn failed(
    status: StatusCode,
    headers: &HeaderMap,
    code: &str,
    message: &str,
    session: &SessionCredentials,
    authorization: Option<&HeaderValue>,
) -> Attempted {
    let authorization = authorization.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refusal = Refusal::of_request(status, code, message, session, authorization);
    let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Attempted::Failed(Failure::Answer { refusal, retry_after: retry::retry_after(retry_after) })
}

fn unreadable(key: &str) -> ClientError {
    ClientError::Broken(format!("it lacks what an answer for {key} must have"))
}

fn etag(answer: &Answer, key: &str) -> Result<String, ClientError> {
    let etag = answer.headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    etag.map(|etag| xml::bare_etag(etag).to_owned()).ok_or_else(|| unreadable(key))
}
