//! Checks: the own folder, with every way of uploading, then list, download and compare; and what a validator
//! reads.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};

use super::{
    Doctor, Group, Report,
    finding::{Finding, Verdict},
    folder_access::FolderAccess,
    s3_client::{Call, Reply},
};
use crate::s3::uri;

/// Larger than the smallest object that a server accepts: 1024 bytes, or an operator's own limit.
const SMALL_BYTES: usize = 4096;

/// S3's limit for every part but the last.
const PART_BYTES: usize = 5 << 20;

/// So few that the objects of a trial need several pages.
const PAGE_KEYS: usize = 2;

/// The objects of a trial need far fewer pages.
const PAGES_MAX: usize = 50;

/// Name of the object that is a copy.
const COPY: &str = "copy.bin";

/// An object as it was uploaded.
struct Object {
    key: String,
    body: Bytes,
}

impl Doctor<'_> {
    /// Uploads, lists and reads back. Returns the form that the server handed out, if it did.
    pub(super) async fn try_own_folder(&self, report: &mut Report) -> Option<FolderAccess> {
        let group = Group::OwnFolder;
        let object = |name: &str, bytes| Object { key: self.own.key(name), body: test_bytes(name, bytes) };
        let mut objects = Vec::new();
        let mut keep = |object: Object, verdict| {
            if verdict == Verdict::Passed {
                objects.push((object.key, object.body));
            }
        };

        let put = object("put.bin", SMALL_BYTES);
        let verdict =
            report.check(group, "upload by PUT", async { Finding::of_result(self.put(&put).await) }).await;
        let copy = Object { key: self.own.key(COPY), body: put.body.clone() };
        let source = put.key.clone();
        keep(put, verdict);

        let presigned = object("presigned.bin", SMALL_BYTES);
        let check = async { Finding::of_result(self.put_presigned(&presigned).await) };
        let verdict = report.check(group, "upload by a presigned PUT", check).await;
        keep(presigned, verdict);

        let multipart = object("multipart.bin", PART_BYTES + SMALL_BYTES);
        let check = async { Finding::of_result(self.put_multipart(&multipart).await) };
        let verdict = report.check(group, "upload by multipart (5 MiB and a rest)", check).await;
        keep(multipart, verdict);

        let access = self.try_folder_access(report).await;
        let form = object("form.bin", SMALL_BYTES);
        let check = async {
            match &access {
                Some(access) => self.put_form(access, &form.key, &form.body).await,
                None => Finding::skipped("the server handed out no form"),
            }
        };
        let verdict = report.check(group, "upload by form", check).await;
        keep(form, verdict);

        let check = async { Finding::of_result(self.copy(&source).await) };
        let verdict = report.check(group, "copy within the folder", check).await;
        keep(copy, verdict);

        objects.sort();
        report
            .check(group, "list (ListObjectsV2), page by page", async {
                Finding::of_result(self.list_all(&objects).await)
            })
            .await;
        for (key, body) in &objects {
            let name = key.rsplit('/').next().unwrap_or_default();
            report
                .check(group, &format!("download and compare {name}"), async {
                    Finding::of_result(self.compare(key, body).await)
                })
                .await;
        }
        report
            .check(group, "download a range", async {
                Finding::of_result(self.compare_range(&objects).await)
            })
            .await;
        report
            .check(group, "download by a presigned URL", async {
                Finding::of_result(self.compare_presigned(&objects).await)
            })
            .await;
        if let Some(access) = &access {
            report
                .check(group, "list by the list_url, two pages", async { self.follow_list_url(access).await })
                .await;
        }
        report
            .check(group, "delete", async {
                let reply = self.client.send(&Call::object(Method::DELETE, &self.own.key(COPY))).await;
                Finding::of_result(expect_status(reply, StatusCode::NO_CONTENT))
            })
            .await;
        access
    }

    async fn put(&self, object: &Object) -> Result<String, String> {
        let call = Call::object(Method::PUT, &object.key).body(object.body.clone());
        expect_status(self.client.send(&call).await, StatusCode::OK)
    }

    async fn put_presigned(&self, object: &Object) -> Result<String, String> {
        let target = self.client.presign(&Call::object(Method::PUT, &object.key))?;
        let reply = self.client.send_unsigned(&Method::PUT, &target, &HeaderMap::new(), &object.body).await;
        expect_status(reply, StatusCode::OK)
    }

    async fn put_multipart(&self, object: &Object) -> Result<String, String> {
        let id = self.create_upload(&object.key).await?;
        let mut parts = String::new();
        for (index, part) in object.body.chunks(PART_BYTES).enumerate() {
            let number = index.saturating_add(1).to_string();
            let call = Call::object(Method::PUT, &object.key)
                .query("partNumber", &number)
                .query("uploadId", &id)
                .body(Bytes::copy_from_slice(part));
            let reply = self.client.send(&call).await?.expect(StatusCode::OK)?;
            let etag = reply.header(header::ETAG).ok_or("a part's answer has no ETag")?.trim_matches('"');
            parts.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
            ));
        }
        let call = Call::object(Method::POST, &object.key)
            .query("uploadId", &id)
            .body(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"));
        let answer = expect_status(self.client.send(&call).await, StatusCode::OK)?;
        self.open_uploads.borrow_mut().retain(|(_, open)| *open != id);
        Ok(answer)
    }

    async fn create_upload(&self, key: &str) -> Result<String, String> {
        let reply = self.client.send(&Call::object(Method::POST, key).query("uploads", "")).await?;
        let reply = reply.expect(StatusCode::OK)?;
        let root = reply.xml().ok_or("the answer is not XML")?;
        let id = root.text_of("UploadId").ok_or("the answer has no UploadId")?.to_owned();
        self.open_uploads.borrow_mut().push((key.to_owned(), id.clone()));
        Ok(id)
    }

    async fn copy(&self, source: &str) -> Result<String, String> {
        let call = Call::object(Method::PUT, &self.own.key(COPY))
            .header("x-amz-copy-source", self.client.copy_source(&uri::encode_path(source)));
        expect_status(self.client.send(&call).await, StatusCode::OK)
    }

    async fn list_all(&self, objects: &[(String, Bytes)]) -> Result<String, String> {
        let (keys, pages) = self.list_own(PAGE_KEYS).await?;
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

    /// The keys of this trial, and on how many pages they were listed.
    pub(super) async fn list_own(&self, page_keys: usize) -> Result<(Vec<String>, usize), String> {
        let (mut keys, mut token) = (Vec::new(), None::<String>);
        for page in 1..=PAGES_MAX {
            let mut call = Call::list(&self.own.prefix).query("max-keys", &page_keys.to_string());
            if let Some(token) = &token {
                call = call.query("continuation-token", token);
            }
            let reply = self.client.send(&call).await?.expect(StatusCode::OK)?;
            keys.extend(reply.keys());
            let root = reply.xml().ok_or("the answer is not XML")?;
            if root.text_of("IsTruncated") != Some("true") {
                return Ok((keys, page));
            }
            let next = root.text_of("NextContinuationToken").ok_or("a truncated page has no token")?;
            token = Some(next.to_owned());
        }
        Err(format!("the listing does not end within {PAGES_MAX} pages"))
    }

    async fn compare(&self, key: &str, body: &Bytes) -> Result<String, String> {
        let reply = self.client.send(&Call::object(Method::GET, key)).await?;
        expect_body(reply, StatusCode::OK, body)
    }

    async fn compare_range(&self, objects: &[(String, Bytes)]) -> Result<String, String> {
        let (key, body) = objects.first().ok_or("there is no object")?;
        let call = Call::object(Method::GET, key).header("range", "bytes=1024-2047");
        let part = body.slice(1024..2048);
        expect_body(self.client.send(&call).await?, StatusCode::PARTIAL_CONTENT, &part)
    }

    async fn compare_presigned(&self, objects: &[(String, Bytes)]) -> Result<String, String> {
        let (key, body) = objects.first().ok_or("there is no object")?;
        let target = self.client.presign(&Call::object(Method::GET, key))?;
        expect_body(self.client.get(&target).await?, StatusCode::OK, body)
    }

    /// Reads other folders, if the hotkey is a validator's.
    pub(super) async fn try_reading_all(&self, report: &mut Report) {
        if !self.is_validator {
            return;
        }
        let group = Group::ReadAll;
        let root = self.own.folder.split_inclusive('/').next().unwrap_or_default();
        let mut found = None;
        report
            .check(group, &format!("list {root}, two pages"), async {
                let result = self.first_pages(root).await;
                found = result
                    .as_ref()
                    .ok()
                    .and_then(|keys| keys.iter().find(|key| !key.starts_with(&self.own.folder)).cloned());
                Finding::of_result(result.map(|keys| format!("{} keys", keys.len())))
            })
            .await;
        let Some(key) = found else {
            let skipped = Finding::skipped("no miner's object is on the first pages");
            report.add(group, "download of a miner's object", skipped);
            return;
        };
        report
            .check(group, "download of a miner's object", async {
                let call = Call::object(Method::GET, &key).header("range", "bytes=0-1023");
                Finding::of_result(expect_status(self.client.send(&call).await, StatusCode::PARTIAL_CONTENT))
            })
            .await;
    }

    async fn first_pages(&self, prefix: &str) -> Result<Vec<String>, String> {
        let call = Call::list(prefix).query("max-keys", "100");
        let first = self.client.send(&call).await?.expect(StatusCode::OK)?;
        let mut keys = first.keys();
        let token = first.xml().and_then(|root| root.text_of("NextContinuationToken").map(str::to_owned));
        if let Some(token) = token {
            let call = call.query("continuation-token", &token);
            let more = self.client.send(&call).await?.expect(StatusCode::OK)?.keys();
            if more.is_empty() {
                return Err("the second page is empty".to_owned());
            }
            keys.extend(more);
        }
        Ok(keys)
    }

    /// Lists two pages by the list URL: the second needs a token that is added to the presigned URL.
    async fn follow_list_url(&self, access: &FolderAccess) -> Finding {
        let followed = async {
            let target = self.client.target_of(&access.list_url)?;
            let first = self.client.get(&format!("{target}&max-keys={PAGE_KEYS}")).await?;
            let first = first.expect(StatusCode::OK)?;
            let root = first.xml().ok_or("the answer is not XML")?;
            let token = root.text_of("NextContinuationToken").ok_or("the first page is not truncated")?;
            let token = uri::encode_component(token);
            let second =
                self.client.get(&format!("{target}&max-keys={PAGE_KEYS}&continuation-token={token}")).await?;
            let keys = [first.keys(), second.expect(StatusCode::OK)?.keys()].concat();
            match keys.iter().all(|key| key.starts_with(&access.folder)) {
                true => Ok(format!("{} keys on 2 pages", keys.len())),
                false => Err("it shows keys of another folder".to_owned()),
            }
        };
        Finding::of_result(followed.await)
    }
}

/// The content of a test object: different for each name, and at each place.
pub(super) fn test_bytes(name: &str, bytes: usize) -> Bytes {
    let line = |number: usize| format!("{name} {number:012}\n").into_bytes();
    let mut body: Vec<u8> = (0..).flat_map(line).take(bytes).collect();
    body.shrink_to_fit();
    body.into()
}

fn expect_status(reply: Result<Reply, String>, expected: StatusCode) -> Result<String, String> {
    Ok(reply?.expect(expected)?.summary())
}

fn expect_body(reply: Reply, expected: StatusCode, body: &Bytes) -> Result<String, String> {
    let reply = reply.expect(expected)?;
    if reply.body == body {
        return Ok(format!("{} bytes, as uploaded", body.len()));
    }
    Err(format!("{} bytes came back, and not the {} that were uploaded", reply.body.len(), body.len()))
}
