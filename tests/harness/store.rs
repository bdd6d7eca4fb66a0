//! The store behind: an in-process S3 of the usual operations that records all it gets, checks every signature anew and
//! can be told to answer otherwise.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use md5::Digest as _;
use subgate::s3::xml::Element;
use tokio::net::TcpListener;

use crate::harness::sigv4::{self, Pair, Signing, encode, sha256_hex};

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
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
                 <AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 secret</StringToSign>\
                 <BucketName>{BUCKET}</BucketName><HostId>host</HostId></Error>"
            ),
        )
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
    scripts: Mutex<Vec<Script>>,
    violations: Mutex<Vec<String>>,
    parts_page: Mutex<usize>,
}

#[derive(Default, Clone)]
struct Upload {
    key: String,
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
            while let Ok((stream, _)) = listener.accept().await {
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
        let object = Object { etag: md5_hex(&data), data, headers };
        self.state.objects.lock().unwrap().insert(key.to_owned(), object);
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

    /// Parts on one page of ListParts.
    pub fn parts_page(&self, parts: usize) {
        *self.state.parts_page.lock().unwrap() = parts;
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
    if let Err(what) = check_signature(&seen, &path) {
        let line = format!("{} {}: {what}", seen.method, seen.target);
        state.violations.lock().unwrap().push(line);
        return Ok(Reply::error(403, "SignatureDoesNotMatch", &what).response());
    }
    let reply = state.scripts.lock().unwrap().iter().find_map(|script| script(&seen));
    if let Some(reply) = reply.clone().filter(|reply| reply.early) {
        // Some of the body is there before the answer leaves.
        if let Some(Ok(frame)) = body.frame().await {
            seen.body.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        update(&seen);
        // The rest is not read, but the connection stays for a while, so that the answer is no victim of a reset.
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
                update(&seen);
                return Err(std::io::Error::other(error));
            }
        }
    }
    seen.whole = true;
    update(&seen);
    let reply = match reply {
        Some(reply) => reply,
        None => match content(&seen) {
            Ok(data) => usual(&state, &seen, data),
            Err(reply) => *reply,
        },
    };
    Ok(reply.response())
}

/// Recomputes the signature of what arrived.
fn check_signature(seen: &Seen, path: &str) -> Result<(), String> {
    let authorization = seen.header("authorization").ok_or("not signed")?;
    let fields: BTreeMap<&str, &str> = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("another algorithm")?
        .split(", ")
        .filter_map(|field| field.split_once('='))
        .collect();
    let (access_key, scope) = fields["Credential"].split_once('/').ok_or("no scope")?;
    let date = seen.header("x-amz-date").ok_or("no date")?;
    if access_key != ACCESS_KEY || scope != format!("{}/{REGION}/s3/aws4_request", &date[..8]) {
        return Err(format!("wrong credential {}", fields["Credential"]));
    }
    let wire_path = seen.target.split('?').next().unwrap_or_default();
    if wire_path != encode(path.as_bytes(), true) || !wire_path.starts_with(&format!("/{BUCKET}")) {
        return Err("the path is not in its strict form".to_owned());
    }
    let names: Vec<&str> = fields["SignedHeaders"].split(';').collect();
    let unsigned = seen.headers.keys().find(|name| {
        (name.as_str().starts_with("x-amz-") || *name == "host") && !names.contains(&name.as_str())
    });
    if let Some(unsigned) = unsigned {
        return Err(format!("{unsigned} is not signed"));
    }
    if names.iter().any(|name| *name != "host" && !name.starts_with("x-amz-")) {
        return Err(format!("too much is signed: {names:?}"));
    }
    let headers: Vec<_> = names
        .iter()
        .flat_map(|name| {
            let values = seen.headers.get_all(*name).into_iter();
            values.map(|value| ((*name).to_owned(), value.as_bytes().to_vec()))
        })
        .collect();
    let signing = Signing {
        algorithm: "AWS4-HMAC-SHA256",
        method: &seen.method,
        path,
        query: &seen.query,
        headers: &headers,
        payload: seen.header("x-amz-content-sha256").ok_or("no payload")?,
        date,
        scope,
    };
    let key = sigv4::signing_key(SECRET_KEY, SystemTime::now(), REGION, "s3");
    let expected = sigv4::hmac_signature(&key, &signing.string_to_sign());
    (expected == fields["Signature"]).then_some(()).ok_or_else(|| "the signature is false".to_owned())
}

/// The content of a request body, every digest that it came with checked.
fn content(seen: &Seen) -> Result<Vec<u8>, Box<Reply>> {
    let bad = |what: &str| Box::new(Reply::error(400, "BadDigest", what));
    let mut data = seen.body.clone();
    let payload = seen.header("x-amz-content-sha256").unwrap_or_default();
    if payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
        let (decoded, name, value) = unchunk(&seen.body).ok_or_else(|| bad("malformed chunks"))?;
        if seen.header("x-amz-trailer") != Some(name.as_str()) || checksum(&name, &decoded) != value {
            return Err(bad("false trailer"));
        }
        if seen.header("x-amz-decoded-content-length") != Some(decoded.len().to_string().as_str()) {
            return Err(bad("false decoded length"));
        }
        data = decoded;
    } else if payload != "UNSIGNED-PAYLOAD" && payload != sha256_hex(&data) {
        return Err(bad("false sha256"));
    }
    if seen.header("content-md5").is_some_and(|md5| md5 != STANDARD.encode(md5::Md5::digest(&data))) {
        return Err(bad("The Content-MD5 you specified did not match what we received."));
    }
    for (name, value) in &seen.headers {
        let name = name.as_str();
        if CHECKSUMS.contains(&name) && checksum(name, &data) != value.to_str().unwrap() {
            return Err(bad("a false checksum header"));
        }
    }
    Ok(data)
}

pub const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

/// The value of a checksum header or trailer.
pub fn checksum(header: &str, data: &[u8]) -> String {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let crc32 = |algorithm| (crc_fast::checksum(algorithm, data) as u32).to_be_bytes().to_vec();
    STANDARD.encode(match header {
        "x-amz-checksum-crc32" => crc32(Crc32IsoHdlc),
        "x-amz-checksum-crc32c" => crc32(Crc32Iscsi),
        "x-amz-checksum-crc64nvme" => crc_fast::checksum(Crc64Nvme, data).to_be_bytes().to_vec(),
        "x-amz-checksum-sha1" => {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec()
        }
        _ => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref().to_vec(),
    })
}

pub fn md5_hex(data: &[u8]) -> String {
    hex::encode(md5::Md5::digest(data))
}

/// Unsigned chunks with one trailer: content, name, value.
fn unchunk(mut rest: &[u8]) -> Option<(Vec<u8>, String, String)> {
    let mut data = Vec::new();
    loop {
        let at = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).ok()?, 16).ok()?;
        rest = &rest[at + 2..];
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let trailer = std::str::from_utf8(rest).ok()?.strip_suffix("\r\n\r\n")?;
    let (name, value) = trailer.split_once(':')?;
    Some((data, name.to_owned(), value.to_owned()))
}

fn xml(status: u16, document: String) -> Reply {
    Reply::new(status)
        .header("content-type", "application/xml")
        .body(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{document}"))
}

/// What any S3 would answer.
fn usual(state: &State, seen: &Seen, data: Vec<u8>) -> Reply {
    let key = seen.key.as_str();
    let reply = match (seen.method.as_str(), key.is_empty()) {
        ("GET", true) if seen.query("uploads").is_some() => {
            xml(200, "<ListMultipartUploadsResult></ListMultipartUploadsResult>".to_owned())
        }
        ("GET", true) => list(state, seen),
        ("POST", true) if seen.query("delete").is_some() => delete_many(state, &data),
        ("GET", false) if seen.query("uploadId").is_some() => list_parts(state, seen),
        ("GET" | "HEAD", false) => read(state, seen),
        ("PUT", false) => write(state, seen, data),
        ("POST", false) if seen.query("uploads").is_some() => {
            let mut uploads = state.uploads.lock().unwrap();
            let id = format!("upload+{}/=", uploads.len());
            uploads.insert(id.clone(), Upload { key: key.to_owned(), ..Upload::default() });
            xml(
                200,
                format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ),
            )
        }
        ("POST", false) if seen.query("uploadId").is_some() => complete(state, seen, &data),
        ("DELETE", false) => match seen.query("uploadId") {
            Some(id) => match state.uploads.lock().unwrap().remove(id) {
                Some(_) => Reply::new(204),
                None => Reply::error(404, "NoSuchUpload", "The specified upload does not exist."),
            },
            None => {
                state.objects.lock().unwrap().remove(key);
                Reply::new(204)
            }
        },
        _ => Reply::error(501, "NotImplemented", "not here"),
    };
    match reply.headers.iter().any(|(name, _)| name == "x-amz-request-id") {
        true => reply,
        false => reply.header("x-amz-request-id", "STORE2").header("x-amz-id-2", "host-id"),
    }
}

fn read(state: &State, seen: &Seen) -> Reply {
    let objects = state.objects.lock().unwrap();
    let Some(object) = objects.get(&seen.key) else {
        return match seen.method.as_str() {
            "HEAD" => Reply::new(404).header("x-amz-request-id", "STORE3"),
            _ => Reply::error(404, "NoSuchKey", "The specified key does not exist."),
        };
    };
    let etag = format!("\"{}\"", object.etag);
    let mut reply = Reply::new(200)
        .header("etag", &etag)
        .header("last-modified", LAST_MODIFIED)
        .header("accept-ranges", "bytes")
        .header("x-store-own", "Unknown, but Kept");
    for (name, value) in &object.headers {
        reply = reply.header(name, value);
    }
    if seen.header("if-match").is_some_and(|wanted| wanted != etag) {
        return Reply::error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold");
    }
    if seen.header("if-none-match").is_some_and(|wanted| wanted == etag) {
        return Reply { status: 304, ..reply };
    }
    let mut data = object.data.as_slice();
    if let Some(range) = seen.header("range").and_then(|range| range.strip_prefix("bytes=")) {
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(usize::MAX));
        if first >= data.len() {
            return Reply::error(416, "InvalidRange", "The requested range is not satisfiable")
                .header("content-range", &format!("bytes */{}", data.len()));
        }
        let last = last.min(data.len() - 1);
        reply = Reply { status: 206, ..reply }
            .header("content-range", &format!("bytes {first}-{last}/{}", data.len()));
        data = &data[first..=last];
    }
    match seen.method.as_str() {
        "HEAD" => reply.header("content-length", &data.len().to_string()),
        _ => reply.body(data.to_vec()),
    }
}

fn write(state: &State, seen: &Seen, mut data: Vec<u8>) -> Reply {
    let mut headers: Vec<Pair> = Vec::new();
    for (name, value) in &seen.headers {
        let name = name.as_str();
        if ["content-type", "content-encoding", "cache-control"].contains(&name)
            || name.starts_with("x-amz-meta-")
        {
            headers.push((name.to_owned(), value.to_str().unwrap_or_default().to_owned()));
        }
    }
    let mut objects = state.objects.lock().unwrap();
    let copies = seen.header("x-amz-copy-source").map(str::to_owned);
    if let Some(source) = &copies {
        let path = String::from_utf8(sigv4::decode(source.split('?').next().unwrap())).unwrap();
        let key = path.strip_prefix(&format!("/{BUCKET}/")).unwrap_or("?");
        let Some(source) = objects.get(key) else {
            return Reply::error(404, "NoSuchKey", "The specified key does not exist.");
        };
        let condition = seen.header("x-amz-copy-source-if-match");
        if condition.is_some_and(|wanted| wanted != format!("\"{}\"", source.etag)) {
            return Reply::error(412, "PreconditionFailed", "the source is another by now");
        }
        data.clone_from(&source.data);
    }
    let etag = md5_hex(&data);
    let result = |name| {
        xml(
            200,
            format!(
                "<{name}><LastModified>{LAST_MODIFIED_XML}</LastModified><ETag>\"{etag}\"</ETag></{name}>"
            ),
        )
    };
    if let Some(id) = seen.query("uploadId") {
        let mut uploads = state.uploads.lock().unwrap();
        let Some(upload) = uploads.get_mut(id).filter(|upload| upload.key == seen.key) else {
            return Reply::error(404, "NoSuchUpload", "The specified upload does not exist.");
        };
        upload.parts.insert(seen.query("partNumber").unwrap().parse().unwrap(), data);
        return match copies {
            Some(_) => result("CopyPartResult"),
            None => Reply::new(200).header("etag", &format!("\"{etag}\"")).header("content-length", "0"),
        };
    }
    objects.insert(seen.key.clone(), Object { data, headers, etag: etag.clone() });
    match copies {
        Some(_) => result("CopyObjectResult"),
        None => Reply::new(200).header("etag", &format!("\"{etag}\"")).header("content-length", "0"),
    }
}

fn list(state: &State, seen: &Seen) -> Reply {
    let query = |name| seen.query(name).unwrap_or_default();
    let (prefix, delimiter) = (query("prefix"), query("delimiter"));
    let v2 = seen.query("list-type") == Some("2");
    let max: usize = seen.query("max-keys").and_then(|max| max.parse().ok()).unwrap_or(1000);
    let after = ["continuation-token", "start-after", "marker"]
        .map(query)
        .into_iter()
        .find(|after| !after.is_empty());
    let mut entries: Vec<String> = Vec::new();
    for key in state.objects.lock().unwrap().keys().filter(|key| key.starts_with(prefix)) {
        let entry = match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => format!("{}\n", &key[..prefix.len() + at + delimiter.len()]),
            None => key.clone(),
        };
        if entries.last() != Some(&entry) && after.is_none_or(|after| entry.trim_end() > after) {
            entries.push(entry);
        }
    }
    let truncated = entries.len() > max;
    entries.truncate(max);
    let url = seen.query("encoding-type") == Some("url");
    let name = |text: &str| if url { encode(text.as_bytes(), true) } else { text.to_owned() };
    let mut document = format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{BUCKET}</Name><Prefix>{}</Prefix>",
        name(prefix)
    );
    document.push_str(&format!("<MaxKeys>{max}</MaxKeys><IsTruncated>{truncated}</IsTruncated>"));
    if url {
        document.push_str("<EncodingType>url</EncodingType>");
    }
    if let Some(last) = entries.last().filter(|_| truncated) {
        let element = if v2 { "NextContinuationToken" } else { "NextMarker" };
        document.push_str(&format!("<{element}>{}</{element}>", last.trim_end()));
    }
    for entry in &entries {
        document.push_str(&match entry.strip_suffix('\n') {
            Some(common) => format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", name(common)),
            None => format!(
                "<Contents><Key>{}</Key><LastModified>{LAST_MODIFIED_XML}</LastModified><Size>1</Size></Contents>",
                name(entry)
            ),
        });
    }
    xml(200, format!("{document}</ListBucketResult>"))
}

fn list_parts(state: &State, seen: &Seen) -> Reply {
    let uploads = state.uploads.lock().unwrap();
    let Some(upload) = seen.query("uploadId").and_then(|id| uploads.get(id)) else {
        return Reply::error(404, "NoSuchUpload", "The specified upload does not exist.");
    };
    let marker: u32 = seen.query("part-number-marker").and_then(|marker| marker.parse().ok()).unwrap_or(0);
    let page = *state.parts_page.lock().unwrap();
    let mut left = upload.parts.range(marker + 1..);
    let shown: Vec<_> = left.by_ref().take(page).collect();
    let mut document = format!("<ListPartsResult><IsTruncated>{}</IsTruncated>", left.next().is_some());
    if let Some((last, _)) = shown.last() {
        document.push_str(&format!("<NextPartNumberMarker>{last}</NextPartNumberMarker>"));
    }
    for (number, data) in shown {
        document.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag><Size>{}</Size></Part>",
            md5_hex(data),
            data.len()
        ));
    }
    xml(200, format!("{document}</ListPartsResult>"))
}

fn complete(state: &State, seen: &Seen, data: &[u8]) -> Reply {
    let id = seen.query("uploadId").unwrap();
    let Some(upload) = state.uploads.lock().unwrap().remove(id) else {
        return Reply::error(404, "NoSuchUpload", "The specified upload does not exist.");
    };
    let root = Element::parse(data).unwrap();
    let numbers =
        root.children.iter().map(|part| part.text_of("PartNumber").unwrap().parse::<u32>().unwrap());
    let whole: Vec<u8> = numbers.flat_map(|number| upload.parts[&number].clone()).collect();
    let object = Object { etag: md5_hex(&whole), data: whole, headers: Vec::new() };
    state.objects.lock().unwrap().insert(upload.key, object);
    xml(
        200,
        "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>".to_owned(),
    )
}

fn delete_many(state: &State, data: &[u8]) -> Reply {
    let root = Element::parse(data).unwrap();
    let quiet = root.text_of("Quiet") == Some("true");
    let mut document = String::new();
    for object in root.children.iter().filter(|child| child.name == "Object") {
        let key = object.text_of("Key").unwrap();
        state.objects.lock().unwrap().remove(key);
        if !quiet {
            let key = key.replace('&', "&amp;").replace('<', "&lt;");
            document.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
        }
    }
    xml(
        200,
        format!("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{document}</DeleteResult>"),
    )
}
