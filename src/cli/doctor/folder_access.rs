//! Checks of two vending endpoints: `/get-folder-access`, which hands out a form, and
//! `/get-validator-access`.
//!
//! Requests are those of existing clients. A server without these endpoints is sound: their checks are
//! skipped.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Doctor, Group, Report, address_in,
    finding::Finding,
    s3_client::{NoAnswer, Reply},
};
use crate::{chain::AccountId, time::UnixTime};

const FOLDER_ACCESS: &str = "/get-folder-access";
const VALIDATOR_ACCESS: &str = "/get-validator-access";

/// No body of a form contains it.
const BOUNDARY: &str = "subgate-doctor-5b0f7f0c9e1d";

/// The answer of `/get-folder-access`.
#[derive(Clone)]
pub(super) struct FolderAccess {
    /// The folder that the form writes to.
    pub(super) folder: String,
    /// The URL that the form is posted to.
    pub(super) url: String,
    /// The fields of the form, `key` among them.
    pub(super) fields: Vec<(String, String)>,
    /// A presigned URL that lists the folder.
    pub(super) list_url: String,
}

impl FolderAccess {
    fn parse(answer: &Value) -> Option<Self> {
        let text = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
        let fields = answer.get("fields")?.as_object()?.iter();
        Some(Self {
            folder: text("folder")?,
            url: text("url")?,
            list_url: text("list_url")?,
            fields: fields
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<_>>()?,
        })
    }

    /// The same form with one field changed.
    pub(super) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut changed = self.clone();
        let value = value.into();
        for field in changed.fields.iter_mut().filter(|(other, _)| other == name) {
            field.1.clone_from(&value);
        }
        changed
    }

    /// A field's value.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

impl Doctor<'_> {
    /// Requests the form of the own folder.
    pub(super) async fn try_folder_access(&self, report: &mut Report) -> Option<FolderAccess> {
        let mut access = None;
        let check = async {
            let Some(coldkey) = &self.coldkey else {
                return Finding::skipped("the address of the wallet's coldkey is not known");
            };
            match self.folder_access(coldkey).await {
                Err(finding) => finding,
                Ok(reply) => match self.parse_access(&reply) {
                    Ok(found) => {
                        let folder = found.folder.clone();
                        access = Some(found);
                        Finding::passed(folder)
                    }
                    Err(why) => Finding::failed(why),
                },
            }
        };
        report.check(Group::OwnFolder, "form from /get-folder-access", check).await;
        access
    }

    fn parse_access(&self, reply: &Reply) -> Result<FolderAccess, String> {
        if reply.status != StatusCode::OK {
            return Err(summary(reply));
        }
        let answer: Value = serde_json::from_slice(&reply.body).map_err(|_| "the answer is not JSON")?;
        let access =
            FolderAccess::parse(&answer).ok_or("the answer lacks folder, url, fields or list_url")?;
        self.client.target_of(&access.url)?;
        self.client.target_of(&access.list_url)?;
        if !self.own.folder.starts_with(&access.folder) {
            return Err(format!("it is the form of another folder: {}", access.folder));
        }
        Ok(access)
    }

    /// Requests the folder of `coldkey`, signed by the caller's hotkey; a finding if the server does not
    /// serve this.
    async fn folder_access(&self, coldkey: &AccountId) -> Result<Reply, Finding> {
        let timestamp = UnixTime::from(SystemTime::now()).seconds();
        let hotkey = self.pair.account();
        let (message, source) = match self.source() {
            Some(source) => (format!("s3:access:{coldkey}:{source}:{timestamp}"), Some(source)),
            None => (format!("s3:data:access:{coldkey}:{hotkey}:{timestamp}"), None),
        };
        let mut body = json!({
            "coldkey": coldkey.to_ss58(),
            "hotkey": hotkey.to_ss58(),
            "timestamp": timestamp,
            "signature": self.signature_of(&message),
        });
        if let (Some(source), Some(fields)) = (source, body.as_object_mut()) {
            fields.insert("source".to_owned(), source.into());
        }
        reply_if_served(self.post_json(FOLDER_ACCESS, &body).await)
    }

    /// The `source` of a request: the segment before the coldkey in folders of the form
    /// `…/{source}/{coldkey}/`.
    fn source(&self) -> Option<&str> {
        let segments: Vec<_> = self.own.folder.split('/').collect();
        let at = segments
            .iter()
            .position(|segment| address_in(segment).is_some_and(|(before, _)| before.is_empty()))?;
        segments.get(at.checked_sub(1)?).copied()
    }

    /// Requests that the vending endpoints must refuse.
    pub(super) async fn try_access_of_others(&self, report: &mut Report) {
        let check = async {
            match self.folder_access(&self.other_owner).await {
                Err(finding) => finding,
                Ok(reply) => refusal_of(&reply),
            }
        };
        report.check(Group::OtherFolder, "form from /get-folder-access for another coldkey", check).await;
        if !self.is_validator {
            let check = async {
                match reply_if_served(self.validator_access().await) {
                    Err(finding) => finding,
                    Ok(reply) => refusal_of(&reply),
                }
            };
            report.check(Group::OtherFolder, "/get-validator-access as a miner", check).await;
        }
    }

    async fn validator_access(&self) -> Result<Reply, NoAnswer> {
        let timestamp = UnixTime::from(SystemTime::now()).seconds();
        let body = json!({
            "hotkey": self.pair.account().to_ss58(),
            "timestamp": timestamp,
            "signature": self.signature_of(&format!("s3:validator:access:{timestamp}")),
        });
        self.post_json(VALIDATOR_ACCESS, &body).await
    }

    /// Requests `/get-validator-access` and follows the URL that lists everything.
    pub(super) async fn follow_validator_access(&self) -> Finding {
        let reply = match reply_if_served(self.validator_access().await) {
            Err(finding) => return finding,
            Ok(reply) if reply.status != StatusCode::OK => return Finding::failed(summary(&reply)),
            Ok(reply) => reply,
        };
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(url) = answer.pointer("/urls/global/list_all_data").and_then(Value::as_str) else {
            return Finding::failed("the answer has no urls.global.list_all_data");
        };
        let followed = async {
            let reply = self.client.get(self.client.target_of(url)?).await?;
            Ok(format!("{} keys on its first page", reply.expect(StatusCode::OK)?.keys().len()))
        };
        Finding::of_result(followed.await)
    }

    /// Uploads by the form.
    pub(super) async fn put_form(&self, access: &FolderAccess, key: &str, body: &Bytes) -> Finding {
        match self.post_form(&access.with("key", key), "doctor.bin", body).await {
            Ok(reply) if is_not_served(&reply) => Finding::not_served(&reply.summary()),
            Ok(reply) => {
                Finding::of_result(reply.expect(StatusCode::NO_CONTENT).map(|reply| reply.summary()))
            }
            Err(no_answer) => Finding::failed(no_answer),
        }
    }

    /// Posts the form as browsers and Python's `requests` do: the fields, then the file.
    pub(super) async fn post_form(
        &self,
        access: &FolderAccess,
        file_name: &str,
        file: &Bytes,
    ) -> Result<Reply, NoAnswer> {
        let mut body = Vec::new();
        for (name, value) in &access.fields {
            let part =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(part.as_bytes());
        }
        let part = format!(
            "--{BOUNDARY}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(part.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.post(self.client.target_of(&access.url)?, &content_type, body.into()).await
    }

    fn signature_of(&self, message: &str) -> String {
        hex::encode(self.pair.sign(message.as_bytes()))
    }

    async fn post_json(&self, path: &str, body: &Value) -> Result<Reply, NoAnswer> {
        self.post(path, "application/json", body.to_string().into()).await
    }

    async fn post(&self, target: &str, content_type: &str, body: Bytes) -> Result<Reply, NoAnswer> {
        let content_type = HeaderValue::from_str(content_type).map_err(|error| error.to_string())?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        self.client.send_unsigned(&Method::POST, target, &headers, &body).await
    }
}

/// The reply of a vending endpoint. A server without it takes the path for that of a bucket and answers in
/// XML.
fn reply_if_served(reply: Result<Reply, NoAnswer>) -> Result<Reply, Finding> {
    match reply {
        Ok(reply) if is_not_served(&reply) || reply.code().is_some() => {
            Err(Finding::not_served(&reply.summary()))
        }
        Ok(reply) => Ok(reply),
        Err(no_answer) => Err(Finding::failed(no_answer)),
    }
}

fn is_not_served(reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 404 | 405 | 501)
}

/// The finding for what a vending endpoint must refuse.
fn refusal_of(reply: &Reply) -> Finding {
    match reply.status.as_u16() {
        400 | 401 | 403 => Finding::refused(summary(reply)),
        200..=299 => Finding::open(reply.status.as_u16().to_string()),
        _ => Finding::inconclusive(&summary(reply)),
    }
}

/// Status and `detail`, for a person.
fn summary(reply: &Reply) -> String {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or_default();
    let detail: String = detail.chars().filter(|c| !c.is_control()).take(120).collect();
    format!("{} {detail}", reply.status.as_u16()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_read_and_one_field_of_it_changed() {
        let answer = json!({
            "folder": "data/x/5F/", "url": "http://h/b", "list_url": "http://h/b?l",
            "fields": {"key": "data/x/5F/${filename}", "policy": "e30="}, "expiry": "…",
        });
        let access = FolderAccess::parse(&answer).unwrap().with("key", "k");
        assert_eq!((access.field("key"), access.field("policy")), (Some("k"), Some("e30=")));
        assert!(
            FolderAccess::parse(&json!({"folder": "f", "url": "u", "list_url": "l", "fields": {"key": 1}}))
                .is_none()
        );
    }
}
