//! Objects, ranges, copies, multipart uploads, names, conditions: what the road sends to a store.

use http::{Method, StatusCode};

use super::{Found, Trials, bytes, failure};
use crate::{
    auth::sigv4::canonical::sha256_hex,
    body::digest::{RunningDigest, to_base64},
    store::{NoAnswer, Trial, TrialAnswer},
};

/// The smallest part that S3 takes in front of another.
const PART_BYTES: usize = 5 * 1024 * 1024;

impl Trials<'_> {
    pub(super) async fn objects(&mut self) {
        self.begin("objects");
        let body = bytes(2000);
        let answer = self.put("object", Trial::object(Method::PUT, "object").body(body.clone())).await;
        if !self.note_must("put", failure(&answer)) {
            return;
        }
        let answer = self.send(Trial::object(Method::GET, "object")).await;
        self.note_must("get", failure(&answer).or_else(|| differs(&answer, &body)));
        let answer = self.send(Trial::object(Method::HEAD, "object")).await;
        self.note_must("head", failure(&answer));
        let range = Trial::object(Method::GET, "object").header("range", "bytes=10-19");
        let answer = self.send(range).await;
        let part = body.get(10..20).unwrap_or_default();
        self.note_must("range", failure(&answer).or_else(|| differs(&answer, part)));
        let source = self.client.copy_source("object");
        let copy = Trial::object(Method::PUT, "copy").header("x-amz-copy-source", source);
        let answer = self.put("copy", copy).await;
        self.note_must("copy", failure(&answer));
        let answer = self.send(Trial::object(Method::DELETE, "copy")).await;
        self.note_must("delete", failure(&answer));
        let answer = self.send(Trial::object(Method::GET, "copy")).await;
        let is_gone = answer.as_ref().is_ok_and(|answer| answer.code() == Some("NoSuchKey"));
        let says = failure(&answer).unwrap_or_else(|| "the object is still there".to_owned());
        self.note_must("a deleted object is NoSuchKey", (!is_gone).then_some(says));
        self.batch_delete().await;
    }

    async fn batch_delete(&mut self) {
        let answer = self.put("batch", Trial::object(Method::PUT, "batch").body(bytes(10))).await;
        let document = format!("<Delete><Object><Key>{}batch</Key></Object></Delete>", self.client.prefix());
        let mut md5 = RunningDigest::md5();
        md5.update(document.as_bytes());
        let delete = Trial::bucket(Method::POST)
            .query("delete", "")
            .header("content-type", "application/xml")
            .header("content-md5", to_base64(&md5.finish()))
            .body(document);
        let answer = match failure(&answer) {
            None => self.send(delete).await,
            Some(_) => answer,
        };
        let deleted = answer.iter().flat_map(|answer| answer.all("Deleted"));
        for id in deleted.filter_map(|deleted| deleted.text_of("DeleteMarkerVersionId")) {
            self.made.version("batch", id);
        }
        let refused = answer.as_ref().is_ok_and(|answer| answer.all("Error").next().is_some());
        let refused = refused.then(|| "the store says that the key could not be deleted".to_owned());
        self.note_must("batch delete", failure(&answer).or(refused));
    }

    pub(super) async fn multipart(&mut self) {
        self.begin("multipart uploads");
        let Some(id) = self.create("multipart").await else { return };
        let (first, second) = (bytes(PART_BYTES), bytes(10));
        let one = self.part("multipart", &id, 1, first.clone()).await;
        let two = self.part("multipart", &id, 2, second.clone()).await;
        if !self.note_must("upload a part", failure(&one).or_else(|| failure(&two))) {
            return;
        }
        let list = Trial::object(Method::GET, "multipart").query("uploadId", &id);
        let answer = self.send(list).await;
        let parts = answer.as_ref().map_or(0, |answer| answer.all("Part").count());
        let wrong = (parts != 2).then(|| format!("it lists {parts} of 2 parts"));
        self.note_must("list parts", failure(&answer).or(wrong));
        let etag = |answer: &Result<TrialAnswer, NoAnswer>| {
            let etag = answer.as_ref().ok().and_then(|answer| answer.header("etag"));
            crate::s3::xml::text(etag.unwrap_or_default())
        };
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            etag(&one),
            etag(&two)
        );
        let complete = Trial::object(Method::POST, "multipart").query("uploadId", &id).body(document);
        let answer = self.put("multipart", complete).await;
        // It may fail with a 200.
        let late = answer.as_ref().ok().and_then(TrialAnswer::code).map(|code| format!("it answers {code}"));
        if self.note_must("complete an upload", failure(&answer).or(late)) {
            self.made.uploads.retain(|(_, other)| *other != id);
            let whole = [first, second].concat();
            let begin = whole.len().saturating_sub(20);
            let tail = Trial::object(Method::GET, "multipart");
            let answer = self
                .send(tail.header("range", format!("bytes={begin}-{}", whole.len().saturating_sub(1))))
                .await;
            let expected = whole.get(begin..).unwrap_or_default();
            self.note_must("read it back", failure(&answer).or_else(|| differs(&answer, expected)));
        }
        let Some(id) = self.create("aborted").await else { return };
        let abort = Trial::object(Method::DELETE, "aborted").query("uploadId", &id);
        let answer = self.send(abort).await;
        if self.note_must("abort an upload", failure(&answer)) {
            self.made.uploads.retain(|(_, other)| *other != id);
        }
    }

    async fn create(&mut self, key: &str) -> Option<String> {
        self.made.begun.push(key.to_owned());
        let answer = self.send(Trial::object(Method::POST, key).query("uploads", "")).await;
        let id = answer.as_ref().ok().and_then(|answer| answer.text_of("UploadId")).map(str::to_owned);
        let wrong = id.is_none().then(|| "its answer has no upload id".to_owned());
        if !self.note_must("create an upload", failure(&answer).or(wrong)) {
            return None;
        }
        let id = id?;
        self.made.begun.pop();
        self.made.uploads.push((key.to_owned(), id.clone()));
        Some(id)
    }

    async fn part(&self, key: &str, id: &str, number: u32, body: Vec<u8>) -> Result<TrialAnswer, NoAnswer> {
        let part = Trial::object(Method::PUT, key).query("partNumber", &number.to_string());
        self.client.send(part.query("uploadId", id).body(body)).await
    }

    /// Long keys, long parts of keys, and lists with names that XML cannot say.
    pub(super) async fn names(&mut self) {
        self.begin("names");
        let odd = "odd name+&é";
        let put = Trial::object(Method::PUT, odd).body(bytes(10));
        let answer = self.put(odd, put).await;
        let list = Trial::bucket(Method::GET)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("prefix", &format!("{}odd", self.client.prefix()));
        let answer = if failure(&answer).is_none() { self.send(list).await } else { answer };
        let keys: Vec<&str> = answer
            .iter()
            .flat_map(|answer| answer.all("Contents"))
            .filter_map(|entry| entry.text_of("Key"))
            .collect();
        let is_encoded = keys.iter().any(|key| key.ends_with("%26%C3%A9"));
        let wrong = (!is_encoded).then(|| format!("a list with encoding-type=url names it {keys:?}"));
        self.note_must("names in lists (encoding-type=url)", failure(&answer).or(wrong));
        let left = 1024_usize.saturating_sub(self.client.prefix().len());
        let long: String = "l".repeat(200).chars().chain(['/']).cycle().take(left).collect();
        for (check, key) in [("keys of 1024 bytes", long), ("names of 300 bytes", "n".repeat(300))] {
            let answer = self.put(&key, Trial::object(Method::PUT, &key).body(bytes(10))).await;
            match failure(&answer) {
                None => self.note(check, Found::Yes, "works"),
                Some(says) => self.note(check, Found::No, format!("{says}: clients get that answer")),
            }
        }
    }

    /// Writes that are to happen only where there is no object yet.
    pub(super) async fn conditions(&mut self) {
        self.begin("conditional writes");
        let put = |text: &str| {
            let put = Trial::object(Method::PUT, "once").header("if-none-match", "*");
            put.body(text.to_owned())
        };
        let first = self.put("once", put("first")).await;
        let second = self.put("once", put("second")).await;
        let status = second.as_ref().map(|answer| answer.status).ok();
        match (failure(&first), status) {
            (None, Some(StatusCode::PRECONDITION_FAILED)) => {
                self.note("conditional writes (If-None-Match: *)", Found::Yes, "works");
            }
            (None, Some(status)) if status.is_success() => self.note(
                "conditional writes (If-None-Match: *)",
                Found::No,
                "the store ignores the condition: clients that rely on it overwrite each other",
            ),
            (first, _) => {
                let says = first.or_else(|| failure(&second)).unwrap_or_default();
                self.note("conditional writes (If-None-Match: *)", Found::No, says);
            }
        }
    }

    /// The storage classes that clients may ask for.
    pub(super) async fn storage_classes(&mut self) {
        for class in &self.store.storage_classes {
            self.begin(class);
            let put = Trial::object(Method::PUT, "class").header("x-amz-storage-class", class.as_str());
            let answer = self.put("class", put.body(bytes(10))).await;
            if let Some(says) = failure(&answer) {
                self.note("storage class", Found::Failed, format!("{class}: {says}"));
                self.findings.refused_storage_classes.push(class.clone());
            }
        }
    }
}

/// That the body is not this one, if so.
fn differs(answer: &Result<TrialAnswer, NoAnswer>, expected: &[u8]) -> Option<String> {
    let body = answer.as_ref().ok().map(|answer| &answer.body)?;
    (sha256_hex(body) != sha256_hex(expected))
        .then(|| format!("it gives {} bytes that are not those that were written", body.len()))
}
