//! The caller's own folder: every way of uploading, then list, download and compare. And what a validator reads.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};

use super::{
    Doctor, Group, Report, Verdict,
    form::Access,
    judge,
    report::Finding,
    s3::{Call, Reply},
};
use crate::s3::uri;

/// Above the smallest object that a server takes (1024), with room for an operator's own bound.
const SMALL_BYTES: usize = 4096;

/// The smallest part that S3 takes, but for the last.
const PART_BYTES: usize = 5 << 20;

/// So few that the objects of one trial need several pages.
const PAGE_KEYS: usize = 2;

/// A listing of what one trial writes ends long before this.
const PAGES_MAX: usize = 50;

/// The name of the object that is a copy.
const COPY: &str = "copy.bin";

/// An object as it was uploaded.
struct Object {
    key: String,
    body: Bytes,
}

impl Doctor<'_> {
    /// Uploads, lists and reads back; gives the form that the server handed out, if it did.
    pub(super) async fn try_own(&self, report: &mut Report) -> Option<Access> {
        let group = Group::OwnFolder;
        let object = |name: &str, bytes| Object { key: self.own.key(name), body: pattern(name, bytes) };
        let mut objects = Vec::new();
        let mut keep = |object: Object, verdict| {
            if verdict == Verdict::Passed {
                objects.push((object.key, object.body));
            }
        };

        let put = object("put.bin", SMALL_BYTES);
        let verdict =
            report.try_out(group, "upload by PUT", async { judge::success(self.put(&put).await) }).await;
        let copy = Object { key: self.own.key(COPY), body: put.body.clone() };
        let source = put.key.clone();
        keep(put, verdict);

        let presigned = object("presigned.bin", SMALL_BYTES);
        let trial = async { judge::success(self.put_presigned(&presigned).await) };
        let verdict = report.try_out(group, "upload by a presigned PUT", trial).await;
        keep(presigned, verdict);

        let multipart = object("multipart.bin", PART_BYTES + SMALL_BYTES);
        let trial = async { judge::success(self.put_multipart(&multipart).await) };
        let verdict = report.try_out(group, "upload by multipart (5 MiB and a rest)", trial).await;
        keep(multipart, verdict);

        let access = self.try_access(report).await;
        let form = object("form.bin", SMALL_BYTES);
        let trial = async {
            match &access {
                Some(access) => self.put_form(access, &form.key, &form.body).await,
                None => (Verdict::Skipped, "the server handed out no form".to_owned()),
            }
        };
        let verdict = report.try_out(group, "upload by form", trial).await;
        keep(form, verdict);

        let trial = async { judge::success(self.copy(&source).await) };
        let verdict = report.try_out(group, "copy within the folder", trial).await;
        keep(copy, verdict);

        objects.sort();
        report
            .try_out(group, "list (ListObjectsV2), page by page", async {
                judge::success(self.list_all(&objects).await)
            })
            .await;
        for (key, body) in &objects {
            let name = key.rsplit('/').next().unwrap_or_default();
            report
                .try_out(group, &format!("download and compare {name}"), async {
                    judge::success(self.compare(key, body).await)
                })
                .await;
        }
        report
            .try_out(group, "download a range", async { judge::success(self.compare_range(&objects).await) })
            .await;
        report
            .try_out(group, "download by a presigned URL", async {
                judge::success(self.compare_presigned(&objects).await)
            })
            .await;
        if let Some(access) = &access {
            report
                .try_out(group, "list by the list_url, two pages", async {
                    self.follow_list_url(access).await
                })
                .await;
        }
        report
            .try_out(group, "delete", async {
                let reply = self.server.send(&Call::object(Method::DELETE, &self.own.key(COPY))).await;
                judge::success(status(reply, StatusCode::NO_CONTENT))
            })
            .await;
        access
    }

    async fn put(&self, object: &Object) -> Result<String, String> {
        let call = Call::object(Method::PUT, &object.key).body(object.body.clone());
        status(self.server.send(&call).await, StatusCode::OK)
    }

    async fn put_presigned(&self, object: &Object) -> Result<String, String> {
        let target = self.server.presign(&Call::object(Method::PUT, &object.key))?;
        let reply = self.server.fetch(&Method::PUT, &target, &HeaderMap::new(), &object.body).await;
        status(reply, StatusCode::OK)
    }

    async fn put_multipart(&self, object: &Object) -> Result<String, String> {
        let id = self.begin_upload(&object.key).await?;
        let mut parts = String::new();
        for (index, part) in object.body.chunks(PART_BYTES).enumerate() {
            let number = index.saturating_add(1).to_string();
            let call = Call::object(Method::PUT, &object.key)
                .query("partNumber", &number)
                .query("uploadId", &id)
                .body(Bytes::copy_from_slice(part));
            let reply = self.server.send(&call).await?.expect(StatusCode::OK)?;
            let etag = reply.header(header::ETAG).ok_or("a part's answer has no ETag")?.trim_matches('"');
            parts.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
            ));
        }
        let call = Call::object(Method::POST, &object.key)
            .query("uploadId", &id)
            .body(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"));
        let said = status(self.server.send(&call).await, StatusCode::OK)?;
        self.uploads.borrow_mut().retain(|(_, begun)| *begun != id);
        Ok(said)
    }

    async fn begin_upload(&self, key: &str) -> Result<String, String> {
        let reply = self.server.send(&Call::object(Method::POST, key).query("uploads", "")).await?;
        let reply = reply.expect(StatusCode::OK)?;
        let root = reply.xml().ok_or("the answer is not XML")?;
        let id = root.text_of("UploadId").ok_or("the answer has no UploadId")?.to_owned();
        self.uploads.borrow_mut().push((key.to_owned(), id.clone()));
        Ok(id)
    }

    async fn copy(&self, source: &str) -> Result<String, String> {
        let call = Call::object(Method::PUT, &self.own.key(COPY))
            .header("x-amz-copy-source", self.server.copy_source(&uri::encode_path(source)));
        status(self.server.send(&call).await, StatusCode::OK)
    }

    async fn list_all(&self, objects: &[(String, Bytes)]) -> Result<String, String> {
        let (keys, pages) = self.list_run(PAGE_KEYS).await?;
        let expected: Vec<_> = objects.iter().map(|(key, _)| key.clone()).collect();
        if keys == expected {
            return Ok(format!("{} keys on {pages} pages", keys.len()));
        }
        let missing = expected.iter().filter(|key| !keys.contains(key)).count();
        Err(format!(
            "{} keys were expected and {} are listed; {missing} are missing",
            expected.len(),
            keys.len()
        ))
    }

    /// The keys below the own part of the folder, and on how many pages they came.
    pub(super) async fn list_run(&self, page_keys: usize) -> Result<(Vec<String>, usize), String> {
        let (mut keys, mut token) = (Vec::new(), None::<String>);
        for page in 1..=PAGES_MAX {
            let mut call = Call::list(&self.own.run).query("max-keys", &page_keys.to_string());
            if let Some(token) = &token {
                call = call.query("continuation-token", token);
            }
            let reply = self.server.send(&call).await?.expect(StatusCode::OK)?;
            keys.extend(reply.keys());
            let root = reply.xml().ok_or("the answer is not XML")?;
            if root.text_of("IsTruncated") != Some("true") {
                return Ok((keys, page));
            }
            let next = root.text_of("NextContinuationToken").ok_or("a page that is cut has no token")?;
            token = Some(next.to_owned());
        }
        Err(format!("the listing does not end within {PAGES_MAX} pages"))
    }

    async fn compare(&self, key: &str, body: &Bytes) -> Result<String, String> {
        let reply = self.server.send(&Call::object(Method::GET, key)).await?;
        same(reply, StatusCode::OK, body)
    }

    async fn compare_range(&self, objects: &[(String, Bytes)]) -> Result<String, String> {
        let (key, body) = objects.first().ok_or("there is no object")?;
        let call = Call::object(Method::GET, key).header("range", "bytes=1024-2047");
        let part = body.slice(1024..2048);
        same(self.server.send(&call).await?, StatusCode::PARTIAL_CONTENT, &part)
    }

    async fn compare_presigned(&self, objects: &[(String, Bytes)]) -> Result<String, String> {
        let (key, body) = objects.first().ok_or("there is no object")?;
        let target = self.server.presign(&Call::object(Method::GET, key))?;
        same(self.server.get(&target).await?, StatusCode::OK, body)
    }

    /// What a validator may do beyond its own folders; nothing to try for a miner.
    pub(super) async fn try_reading_all(&self, report: &mut Report) {
        if !self.is_validator {
            return;
        }
        let group = Group::ReadAll;
        let root = self.own.folder.split_inclusive('/').next().unwrap_or_default();
        let mut found = None;
        report
            .try_out(group, &format!("list {root}, two pages"), async {
                let outcome = self.first_pages(root).await;
                found = outcome
                    .as_ref()
                    .ok()
                    .and_then(|keys| keys.iter().find(|key| !key.starts_with(&self.own.folder)).cloned());
                judge::success(outcome.map(|keys| format!("{} keys", keys.len())))
            })
            .await;
        let Some(key) = found else {
            let why = "no miner's object is on the first pages".to_owned();
            report.note(group, "download of a miner's object", (Verdict::Skipped, why));
            return;
        };
        report
            .try_out(group, "download of a miner's object", async {
                let call = Call::object(Method::GET, &key).header("range", "bytes=0-1023");
                judge::success(status(self.server.send(&call).await, StatusCode::PARTIAL_CONTENT))
            })
            .await;
    }

    async fn first_pages(&self, prefix: &str) -> Result<Vec<String>, String> {
        let call = Call::list(prefix).query("max-keys", "100");
        let first = self.server.send(&call).await?.expect(StatusCode::OK)?;
        let mut keys = first.keys();
        let token = first.xml().and_then(|root| root.text_of("NextContinuationToken").map(str::to_owned));
        if let Some(token) = token {
            let call = call.query("continuation-token", &token);
            let more = self.server.send(&call).await?.expect(StatusCode::OK)?.keys();
            if more.is_empty() {
                return Err("the second page is empty".to_owned());
            }
            keys.extend(more);
        }
        Ok(keys)
    }

    /// Two pages: a folder may hold very many keys, and the second page is what a presigned list once lacked.
    async fn follow_list_url(&self, access: &Access) -> Finding {
        let followed = async {
            let target = self.server.own_target(&access.list_url)?;
            let first = self.server.get(&format!("{target}&max-keys={PAGE_KEYS}")).await?;
            let first = first.expect(StatusCode::OK)?;
            let root = first.xml().ok_or("the answer is not XML")?;
            let token = root.text_of("NextContinuationToken").ok_or("the first page is not cut")?;
            let token = uri::encode_component(token);
            let second =
                self.server.get(&format!("{target}&max-keys={PAGE_KEYS}&continuation-token={token}")).await?;
            let keys = [first.keys(), second.expect(StatusCode::OK)?.keys()].concat();
            match keys.iter().all(|key| key.starts_with(&access.folder)) {
                true => Ok(format!("{} keys on 2 pages", keys.len())),
                false => Err("it shows keys of another folder".to_owned()),
            }
        };
        judge::success(followed.await)
    }
}

/// Bytes that differ from one object to the next, and from one place in it to another.
pub(super) fn pattern(name: &str, bytes: usize) -> Bytes {
    let line = |number: usize| format!("{name} {number:012}\n").into_bytes();
    let mut body: Vec<u8> = (0..).flat_map(line).take(bytes).collect();
    body.shrink_to_fit();
    body.into()
}

fn status(reply: Result<Reply, String>, expected: StatusCode) -> Result<String, String> {
    Ok(reply?.expect(expected)?.said())
}

fn same(reply: Reply, expected: StatusCode, body: &Bytes) -> Result<String, String> {
    let reply = reply.expect(expected)?;
    if reply.body == body {
        return Ok(format!("{} bytes, the same", body.len()));
    }
    Err(format!("{} bytes came back, and not the {} that were uploaded", reply.body.len(), body.len()))
}
