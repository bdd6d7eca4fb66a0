//! What the development store adds to s3s-fs, called as s3s calls it.

use http::{Extensions, HeaderMap, Method, Uri};
use s3s::{S3, S3Error, S3Request, S3Result, dto::*};

use super::{
    DevStore,
    objects::{Objects, Operations},
};
use crate::secret::SecretText;

const BUCKET: &str = "bucket";

struct Bench {
    dir: tempfile::TempDir,
    store: Operations,
}

fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Method::GET,
        uri: Uri::from_static("/"),
        headers: HeaderMap::new(),
        extensions: Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

fn blob(content: &[u8]) -> Option<StreamingBlob> {
    let content = bytes::Bytes::copy_from_slice(content);
    Some(StreamingBlob::wrap(futures_util::stream::iter([Ok::<_, std::io::Error>(content)])))
}

fn code<T>(result: S3Result<T>) -> String {
    result.err().map_or_else(String::new, |error: S3Error| error.code().as_str().to_owned())
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Self::open(dir.path());
        std::fs::create_dir_all(dir.path().join(BUCKET)).unwrap();
        Self { dir, store }
    }

    fn open(dir: &std::path::Path) -> Operations {
        Operations::new(std::sync::Arc::new(Objects::open(dir).unwrap()))
    }

    fn restart(&mut self) {
        self.store = Self::open(self.dir.path());
    }

    async fn put_with(
        &self,
        key: &str,
        content: &[u8],
        change: impl FnOnce(&mut PutObjectInput),
    ) -> S3Result<String> {
        let mut input =
            PutObjectInput { bucket: BUCKET.into(), key: key.into(), ..PutObjectInput::default() };
        input.body = blob(content);
        change(&mut input);
        let answer = self.store.put_object(request(input)).await?;
        Ok(answer.output.e_tag.unwrap().into_value())
    }

    async fn put(&self, key: &str, content: &[u8]) -> String {
        self.put_with(key, content, |_| {}).await.unwrap()
    }

    async fn get_with(&self, key: &str, change: impl FnOnce(&mut GetObjectInput)) -> S3Result<Vec<u8>> {
        let mut input =
            GetObjectInput { bucket: BUCKET.into(), key: key.into(), ..GetObjectInput::default() };
        change(&mut input);
        let body = self.store.get_object(request(input)).await?.output.body.unwrap();
        let chunks: Vec<_> = futures_util::TryStreamExt::try_collect(body).await.unwrap();
        Ok(chunks.concat())
    }

    async fn get(&self, key: &str) -> S3Result<Vec<u8>> {
        self.get_with(key, |_| {}).await
    }

    async fn keys(&self, change: impl FnOnce(&mut ListObjectsV2Input)) -> Vec<String> {
        let mut input = ListObjectsV2Input { bucket: BUCKET.into(), ..ListObjectsV2Input::default() };
        change(&mut input);
        let page = self.store.list_objects_v2(request(input)).await.unwrap().output;
        let keys = page.contents.unwrap_or_default().into_iter().map(|object| object.key.unwrap());
        let prefixes =
            page.common_prefixes.unwrap_or_default().into_iter().map(|common| common.prefix.unwrap());
        keys.chain(prefixes).collect()
    }

    async fn begin(&self, key: &str) -> String {
        let input =
            CreateMultipartUploadInput { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
        self.store.create_multipart_upload(request(input)).await.unwrap().output.upload_id.unwrap()
    }

    async fn part(&self, key: &str, upload: &str, number: i32, content: &[u8]) -> S3Result<CompletedPart> {
        let input = UploadPartInput {
            body: blob(content),
            bucket: BUCKET.into(),
            key: key.into(),
            upload_id: upload.into(),
            part_number: number,
            ..UploadPartInput::default()
        };
        let e_tag = self.store.upload_part(request(input)).await?.output.e_tag;
        Ok(CompletedPart { e_tag, part_number: Some(number), ..CompletedPart::default() })
    }

    async fn complete(&self, key: &str, upload: &str, parts: Vec<CompletedPart>) -> S3Result<String> {
        let input = CompleteMultipartUploadInput {
            bucket: BUCKET.into(),
            key: key.into(),
            upload_id: upload.into(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
            ..CompleteMultipartUploadInput::default()
        };
        let answer = self.store.complete_multipart_upload(request(input)).await?.output;
        assert_eq!(answer.key.as_deref(), Some(key));
        Ok(answer.e_tag.unwrap().into_value())
    }

    /// Files of blobs and parts on disk.
    fn files(&self) -> usize {
        let parts = std::fs::read_dir(self.dir.path()).unwrap();
        let parts =
            parts.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains(".part-"));
        std::fs::read_dir(self.dir.path().join(BUCKET)).unwrap().count() + parts.count()
    }
}

#[tokio::test]
async fn any_name_is_a_key_and_comes_back_after_a_restart() {
    let mut bench = Bench::new();
    let long = format!("data/hotkey={}/job_id={}/{}", "5".repeat(48), "j".repeat(64), "p".repeat(300));
    let keys = ["../up", "/x//", "a", "a/b", "a/b/c", long.as_str(), "dir/", "\u{e9} +%25&<>"];
    for key in keys {
        bench.put(key, key.as_bytes()).await;
    }
    bench.restart();
    for key in keys {
        assert_eq!(bench.get(key).await.unwrap(), key.as_bytes());
    }
    assert_eq!(bench.keys(|_| {}).await, keys);
    let folders = bench.keys(|input| input.delimiter = Some("/".into())).await;
    assert_eq!(folders, ["a", "\u{e9} +%25&<>", "../", "/", "a/", "data/", "dir/"]);
    let encoded = bench
        .keys(|input| {
            input.prefix = Some("\u{e9}".into());
            input.encoding_type = Some(EncodingType::from_static(EncodingType::URL));
        })
        .await;
    assert_eq!(encoded, ["%C3%A9%20%2B%2525%26%3C%3E"]);
    assert_eq!(code(bench.put_with(&"k".repeat(1025), b"", |_| {}).await), "KeyTooLongError");
}

#[tokio::test]
async fn an_upload_that_fails_changes_nothing_and_leaves_nothing() {
    let bench = Bench::new();
    bench.put("k", b"old").await;
    let wrong = Some("AAAAAAAAAAAAAAAAAAAAAA==".to_owned());
    assert_eq!(code(bench.put_with("k", b"new", |input| input.content_md5 = wrong).await), "BadDigest");
    let broken = futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"half")),
        Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
    ]);
    let broken = Some(StreamingBlob::wrap(broken));
    assert!(bench.put_with("k", b"", |input| input.body = broken).await.is_err());
    assert_eq!(bench.get("k").await.unwrap(), b"old");
    assert_eq!(bench.files(), 1);
    std::fs::write(bench.dir.path().join(BUCKET).join("0".repeat(32)), b"of a program that was killed")
        .unwrap();
    let mut bench = bench;
    bench.restart();
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn conditions_and_ranges_are_s3s() {
    let bench = Bench::new();
    let etag = ETagCondition::ETag(ETag::Strong(bench.put("k", b"0123456789").await));
    let other = ETagCondition::ETag(ETag::Strong("x".into()));
    let some = |etag: &ETagCondition| Some(etag.clone());
    assert_eq!(code(bench.get_with("k", |input| input.if_none_match = some(&etag)).await), "NotModified");
    assert_eq!(code(bench.get_with("k", |input| input.if_match = some(&other)).await), "PreconditionFailed");
    assert!(bench.get_with("k", |input| input.if_match = some(&etag)).await.is_ok());
    let any = Some(ETagCondition::Any);
    let create = bench.put_with("k", b"n", |input| input.if_none_match = any.clone()).await;
    assert_eq!(code(create), "PreconditionFailed");
    assert!(bench.put_with("new", b"n", |input| input.if_none_match = any).await.is_ok());
    assert_eq!(
        code(bench.put_with("k", b"n", |input| input.if_match = some(&other)).await),
        "PreconditionFailed"
    );
    assert_eq!(code(bench.put_with("no", b"n", |input| input.if_match = some(&etag)).await), "NoSuchKey");
    for (range, expected) in [
        (Range::Int { first: 2, last: Some(4) }, b"234".as_slice()),
        (Range::Int { first: 8, last: None }, b"89"),
        (Range::Suffix { length: 3 }, b"789"),
        (Range::Suffix { length: 99 }, b"0123456789"),
    ] {
        assert_eq!(bench.get_with("k", |input| input.range = Some(range)).await.unwrap(), expected);
    }
    let beyond = Range::Int { first: 10, last: None };
    assert_eq!(code(bench.get_with("k", |input| input.range = Some(beyond)).await), "InvalidRange");
}

#[tokio::test]
async fn a_multipart_upload_is_listed_checked_and_replaces_the_object_whole() {
    let mut bench = Bench::new();
    let sha = Some(ChecksumAlgorithm::from_static(ChecksumAlgorithm::SHA256));
    let old_sha = "y6zcEM1DkkSXh0JSvkSS4Lh9dwJdStXs2DnF1Nu7Sws=".to_owned();
    let _ = bench.put_with("k", b"old", |input| input.checksum_algorithm = sha).await;
    let upload = bench.begin("k").await;
    let large = vec![7; 5 << 20];
    let mut parts = Vec::new();
    for number in [2, 5] {
        parts.push(bench.part("k", &upload, number, &large).await.unwrap());
    }
    parts.push(bench.part("k", &upload, 9, b"end").await.unwrap());
    bench.part("k", &upload, 7, b"nobody wants this").await.unwrap();
    bench.restart();
    let list = |max| ListPartsInput {
        bucket: BUCKET.into(),
        key: "k".into(),
        upload_id: upload.clone(),
        max_parts: Some(max),
        ..ListPartsInput::default()
    };
    let page = bench.store.list_parts(request(list(2))).await.unwrap().output;
    assert_eq!((page.is_truncated, page.next_part_number_marker), (Some(true), Some(5)));
    let uploads = ListMultipartUploadsInput { bucket: BUCKET.into(), ..Default::default() };
    let uploads = bench.store.list_multipart_uploads(request(uploads)).await.unwrap().output.uploads.unwrap();
    assert_eq!(uploads.len(), 1);
    assert_eq!(code(bench.part("other", &upload, 1, b"x").await), "NoSuchUpload");

    let mut wrong = parts.clone();
    wrong[1].e_tag = Some(ETag::Strong("0".into()));
    assert_eq!(code(bench.complete("k", &upload, wrong).await), "InvalidPart");
    let disordered = vec![parts[1].clone(), parts[0].clone()];
    assert_eq!(code(bench.complete("k", &upload, disordered).await), "InvalidPartOrder");
    let small = CompletedPart { part_number: Some(7), e_tag: None, ..CompletedPart::default() };
    assert_eq!(code(bench.complete("k", &upload, vec![small, parts[2].clone()]).await), "EntityTooSmall");
    let etag = bench.complete("k", &upload, parts).await.unwrap();
    assert!(etag.ends_with("-3"), "{etag}");
    let content = bench.get("k").await.unwrap();
    assert_eq!(content.len(), (10 << 20) + 3);
    assert!(content.ends_with(b"end"));
    let head = HeadObjectInput { bucket: BUCKET.into(), key: "k".into(), ..HeadObjectInput::default() };
    let head = bench.store.head_object(request(head)).await.unwrap().output;
    assert_ne!(head.checksum_sha256, Some(old_sha));
    assert_eq!(head.checksum_sha256, None);
    assert_eq!(code(bench.store.list_parts(request(list(2))).await), "NoSuchUpload");
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn the_server_answers_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let store = DevStore::start(dir.path(), "key", &SecretText::new("secret"), listen).await.unwrap();
    let address = store.address();
    store.create_bucket(BUCKET).unwrap();
    store.create_bucket(BUCKET).unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /bucket/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut socket, request).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    store.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
