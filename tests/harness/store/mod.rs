//! The store behind: an in-process S3 of the usual operations that records all it gets, checks every
//! signature anew and can be told to answer otherwise.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::harness::{
    hub::accept,
    sigv4::{self, Pair},
};

mod check;
mod s3;
mod versions;

pub use check::{CHECKSUMS, checksum, md5_hex};

/// The bucket's name here; clients know it under another.
pub const BUCKET: &str = "store-bucket";
pub const REGION: &str = "eu-store-1";
pub const ACCESS_KEY: &str = "AKSTOREOWNKEY";
pub const SECRET_KEY: &str = "the+stores/own+secret+key";
pub const LAST_MODIFIED: &str = "Tue, 03 Nov 2026 10:11:12 GMT";
pub const LAST_MODIFIED_XML: &str = "2026-11-03T10:11:12.345Z";

type Body = BoxBody<Bytes, std::io::Error>;

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Decoded, without the bucket and its slash.
    pub key: String,
    pub query: Vec<Pair>,
    pub headers: HeaderMap,
    /// As on the wire, without HTTP's own framing.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub whole: bool,
    /// Whether the body broke off, and what becomes of it is decided.
    pub torn: bool,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Object {
    pub data: Vec<u8>,
    pub headers: Vec<Pair>,
    pub etag: String,
    /// What a HEAD of the first part tells; of an object in one piece, all of it.
    pub first_part_bytes: Option<usize>,
}

/// What to answer instead of what an S3 would.
#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<Pair>,
    pub pieces: Vec<(Duration, Bytes)>,
    /// Without reading the request body.
    pub early: bool,
    /// Break the connection after the pieces.
    pub broken: bool,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A body of known length.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        self.header("content-length", &length).piece(0, body)
    }

    /// A piece of a body, so many milliseconds after the one before.
    pub fn piece(mut self, after: u64, piece: impl Into<Bytes>) -> Self {
        self.pieces.push((Duration::from_millis(after), piece.into()));
        self
    }

    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }

    /// S3's error document, with what a store adds of its own.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status).header("content-type", "application/xml").header("x-amz-request-id", "STORE1").body(
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <Error><Code>{code}</Code><Message>{message}</Message>\
                 <AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId>\
                 <StringToSign>AWS4-HMAC-SHA256 secret</StringToSign>\
                 <BucketName>{BUCKET}</BucketName><HostId>host</HostId></Error>"
            ),
        )
    }

    /// As AWS says which region would be right.
    fn wrong_region() -> Self {
        Self::new(400).header("content-type", "application/xml").body(format!(
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message>\
             <Region>{REGION}</Region></Error>"
        ))
    }

    fn response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(name, value.as_bytes());
        }
        let mut pieces: Vec<_> = self.pieces.into_iter().map(Some).collect();
        if self.broken {
            pieces.push(None);
        }
        let frames = futures_util::stream::unfold(pieces.into_iter(), |mut left| async {
            let frame = match left.next()? {
                Some((after, piece)) => {
                    tokio::time::sleep(after).await;
                    Ok(Frame::data(piece))
                }
                None => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(std::io::Error::other("broken"))
                }
            };
            Some((frame, left))
        });
        response.body(BodyExt::boxed(SyncBody(Mutex::new(Box::pin(StreamBody::new(frames)))))).unwrap()
    }
}

/// A body that `BoxBody` takes although its stream is not `Sync`.
struct SyncBody<B>(Mutex<std::pin::Pin<Box<B>>>);

impl<B: hyper::body::Body<Data = Bytes, Error = std::io::Error>> hyper::body::Body for SyncBody<B> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.lock().unwrap().as_mut().poll_frame(context)
    }
}

type Script = Box<dyn Fn(&Seen) -> Option<Reply> + Send>;

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    objects: Mutex<BTreeMap<String, Object>>,
    uploads: Mutex<BTreeMap<String, Upload>>,
    /// Keys and ETags of uploads that were completed, by id: repeated, a completion succeeds as at S3.
    completed: Mutex<BTreeMap<String, Pair>>,
    scripts: Mutex<Vec<Script>>,
    violations: Mutex<Vec<String>>,
    parts_page: Mutex<usize>,
    keeps_torn_uploads: Mutex<bool>,
    /// None where the bucket keeps no versions.
    versions: Mutex<Option<versions::Versions>>,
    /// The access keys that are known, with their secrets; where none are given, it is the store's own.
    keys: Mutex<Vec<Pair>>,
}

#[derive(Default, Clone)]
struct Upload {
    key: String,
    headers: Vec<Pair>,
    parts: BTreeMap<u32, Vec<u8>>,
}

/// The store; one for each test.
#[derive(Clone)]
pub struct Store {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Store {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { parts_page: Mutex::new(1000), ..State::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let stream = accept(&listener).await;
                let state = Arc::clone(&shared);
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    let service = service_fn(move |request| handle(Arc::clone(&state), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, state }
    }

    /// Answers what `script` gives for a request, in place of the usual.
    pub fn script(&self, script: impl Fn(&Seen) -> Option<Reply> + Send + 'static) {
        self.state.scripts.lock().unwrap().push(Box::new(script));
    }

    /// Answers as usual again.
    pub fn unscript(&self) {
        self.state.scripts.lock().unwrap().clear();
    }

    /// Answers every request with `reply`.
    pub fn always(&self, reply: Reply) {
        self.script(move |_| Some(reply.clone()));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The last request, which must be there.
    pub fn last(&self) -> Seen {
        self.seen().pop().unwrap()
    }

    pub fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
    }

    #[track_caller]
    pub fn saw_nothing(&self) {
        let seen: Vec<_> =
            self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
        assert!(seen.is_empty(), "the store was asked {seen:?}");
    }

    /// Waits until `holds` says so of what was seen.
    pub async fn wait(&self, holds: impl Fn(&[Seen]) -> bool) {
        let waiting = async {
            while !holds(&self.seen()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the store waited in vain");
    }

    pub fn put(&self, key: &str, data: impl Into<Vec<u8>>) {
        self.put_with(key, data, &[]);
    }

    pub fn put_with(&self, key: &str, data: impl Into<Vec<u8>>, headers: &[(&str, &str)]) {
        let data = data.into();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let object = Object { etag: md5_hex(&data), data, headers, first_part_bytes: None };
        self.state.objects.lock().unwrap().insert(key.to_owned(), object);
    }

    /// An object whose ETag is what that of parts of this size would be.
    pub fn put_in_parts(&self, key: &str, data: impl Into<Vec<u8>>, part_bytes: usize) {
        let data = data.into();
        let md5s: String = data.chunks(part_bytes).map(md5_hex).collect();
        let etag = format!("{}-{}", md5_hex(&hex::decode(md5s).unwrap()), data.len().div_ceil(part_bytes));
        let object = Object { data, etag, first_part_bytes: Some(part_bytes), ..Object::default() };
        self.state.objects.lock().unwrap().insert(key.to_owned(), object);
    }

    /// Gives an object another ETag.
    pub fn set_etag(&self, key: &str, etag: &str) {
        etag.clone_into(&mut self.state.objects.lock().unwrap().get_mut(key).unwrap().etag);
    }

    pub fn object(&self, key: &str) -> Option<Object> {
        self.state.objects.lock().unwrap().get(key).cloned()
    }

    pub fn keys(&self) -> Vec<String> {
        self.state.objects.lock().unwrap().keys().cloned().collect()
    }

    pub fn uploads(&self) -> usize {
        self.state.uploads.lock().unwrap().len()
    }

    /// Begins an upload, as if its client had not heard of it.
    pub fn begin_upload(&self, key: &str, id: &str) {
        let upload = Upload { key: key.to_owned(), ..Upload::default() };
        self.state.uploads.lock().unwrap().insert(id.to_owned(), upload);
    }

    /// From now on the bucket keeps versions, and says so in its answers.
    pub fn keep_versions(&self) {
        *self.state.versions.lock().unwrap() = Some(versions::Versions::default());
    }

    /// Keys and ids of the versions that are there.
    pub fn versions(&self) -> Vec<Pair> {
        self.state.versions.lock().unwrap().iter().flat_map(|versions| versions.kept.clone()).collect()
    }

    /// Parts on one page of ListParts.
    pub fn parts_page(&self, parts: usize) {
        *self.state.parts_page.lock().unwrap() = parts;
    }

    /// From now on an upload that breaks off is kept, unless one of its digests says that it is torn
    /// (versitygw over files does so).
    pub fn keep_torn_uploads(&self) {
        *self.state.keeps_torn_uploads.lock().unwrap() = true;
    }

    /// From now on these access keys are known with these secrets, and no others; a request with another is
    /// refused as S3 does it.
    pub fn accept_keys(&self, keys: &[(&str, &str)]) {
        let keys = keys.iter().map(|(key, secret)| ((*key).to_owned(), (*secret).to_owned()));
        *self.state.keys.lock().unwrap() = keys.collect();
    }

    /// The access keys of the requests, in their order.
    pub fn keys_seen(&self) -> Vec<String> {
        self.seen().iter().map(|seen| check::access_key(seen).to_owned()).collect()
    }

    /// What was wrong with the requests of Subgate itself.
    pub fn violations(&self) -> Vec<String> {
        self.state.violations.lock().unwrap().clone()
    }
}

async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let (parts, mut body) = request.into_parts();
    let path = String::from_utf8(sigv4::decode(parts.uri.path())).unwrap();
    let key = path.strip_prefix(&format!("/{BUCKET}")).unwrap_or("?").trim_start_matches('/').to_owned();
    let mut seen = Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        key,
        query: sigv4::pairs(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        ..Seen::default()
    };
    let index = {
        let mut all = state.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let update = |seen: &Seen| {
        if let Some(slot) = state.seen.lock().unwrap().get_mut(index) {
            *slot = seen.clone();
        }
    };
    let keys = state.keys.lock().unwrap().clone();
    let known = keys.iter().find(|(key, _)| key == check::access_key(&seen)).cloned();
    let (access_key, secret) = match known {
        Some(pair) => pair,
        None if keys.is_empty() => (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()),
        None => return Ok(Reply::error(403, "InvalidAccessKeyId", "it is not in our records").response()),
    };
    if let Err(what) = check::check_signature(&seen, &path, &access_key, &secret) {
        let line = format!("{} {}: {what}", seen.method, seen.target);
        state.violations.lock().unwrap().push(line);
        if !check::is_of_this_region(&seen) {
            return Ok(Reply::wrong_region().response());
        }
        return Ok(Reply::error(403, "SignatureDoesNotMatch", &what).response());
    }
    let reply = state.scripts.lock().unwrap().iter().find_map(|script| script(&seen));
    if let Some(reply) = reply.clone().filter(|reply| reply.early) {
        // Some of the body is there before the answer leaves.
        if let Some(Ok(frame)) = body.frame().await {
            seen.body.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        update(&seen);
        // The rest is not read, but the connection stays for a while, so that the answer is no victim of a
        // reset.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(body);
        });
        return Ok(reply.response());
    }
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => seen.body.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(error) => {
                if *state.keeps_torn_uploads.lock().unwrap()
                    && let Ok(data) = check::content(&seen)
                {
                    s3::usual(&state, &seen, data);
                }
                seen.torn = true;
                update(&seen);
                return Err(std::io::Error::other(error));
            }
        }
    }
    seen.whole = true;
    update(&seen);
    let reply = match reply {
        Some(reply) => reply,
        None => match check::content(&seen) {
            Ok(data) => s3::usual(&state, &seen, data),
            Err(reply) => *reply,
        },
    };
    Ok(reply.response())
}
