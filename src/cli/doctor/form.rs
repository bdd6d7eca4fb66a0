//! The endpoints beside S3: `/get-folder-access` with the form it hands out, and `/get-validator-access`.
//!
//! Requests are those of the clients that exist. A server that has none of it is not at fault: that is skipped.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    Doctor, Group, Report, Verdict, address_in, judge,
    report::Finding,
    s3::{NoAnswer, Reply},
};
use crate::{chain::AccountId, time::UnixTime};

const FOLDER_ACCESS: &str = "/get-folder-access";
const VALIDATOR_ACCESS: &str = "/get-validator-access";

/// It stands in no body here.
const BOUNDARY: &str = "subgate-doctor-5b0f7f0c9e1d";

/// What `/get-folder-access` hands out.
#[derive(Clone)]
pub(super) struct Access {
    /// Where the form lets one write.
    pub(super) folder: String,
    /// Where the form goes.
    pub(super) url: String,
    /// Its fields, `key` among them.
    pub(super) fields: Vec<(String, String)>,
    /// Lists the folder.
    pub(super) list_url: String,
}

impl Access {
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
    /// Asks for the form of the own folder.
    pub(super) async fn try_access(&self, report: &mut Report) -> Option<Access> {
        let mut access = None;
        let trial = async {
            let Some(coldkey) = &self.coldkey else {
                return (Verdict::Skipped, "the wallet's coldkey address is not known".to_owned());
            };
            match self.folder_access(coldkey).await {
                Err(finding) => finding,
                Ok(reply) => match self.checked_access(&reply) {
                    Ok(found) => {
                        let folder = found.folder.clone();
                        access = Some(found);
                        (Verdict::Passed, folder)
                    }
                    Err(why) => (Verdict::Failed, why),
                },
            }
        };
        report.try_out(Group::OwnFolder, "form from /get-folder-access", trial).await;
        access
    }

    fn checked_access(&self, reply: &Reply) -> Result<Access, String> {
        if reply.status != StatusCode::OK {
            return Err(detail(reply));
        }
        let answer: Value = serde_json::from_slice(&reply.body).map_err(|_| "the answer is not JSON")?;
        let access = Access::parse(&answer).ok_or("the answer lacks folder, url, fields or list_url")?;
        self.server.own_target(&access.url)?;
        self.server.own_target(&access.list_url)?;
        if !self.own.folder.starts_with(&access.folder) {
            return Err(format!("the folder is another one: {}", access.folder));
        }
        Ok(access)
    }

    /// Asks for the folder of `coldkey`, signed by the caller's hotkey; a finding where this is not served.
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
            "signature": self.signed(&message),
        });
        if let (Some(source), Some(fields)) = (source, body.as_object_mut()) {
            fields.insert("source".to_owned(), source.into());
        }
        served(self.post_json(FOLDER_ACCESS, &body).await)
    }

    /// The `source` of a request: what stands before the coldkey in folders of the form `…/{source}/{coldkey}/`.
    fn source(&self) -> Option<&str> {
        let segments: Vec<_> = self.own.folder.split('/').collect();
        let at = segments
            .iter()
            .position(|segment| address_in(segment).is_some_and(|(before, _)| before.is_empty()))?;
        segments.get(at.checked_sub(1)?).copied()
    }

    /// What must be refused of the endpoints beside S3.
    pub(super) async fn try_other_access(&self, report: &mut Report) {
        let trial = async {
            match self.folder_access(&self.other_owner).await {
                Err(finding) => finding,
                Ok(reply) => refused_json(&reply),
            }
        };
        report.try_out(Group::OtherFolder, "form from /get-folder-access for another coldkey", trial).await;
        if !self.is_validator {
            let trial = async {
                match served(self.validator_access().await) {
                    Err(finding) => finding,
                    Ok(reply) => refused_json(&reply),
                }
            };
            report.try_out(Group::OtherFolder, "/get-validator-access as a miner", trial).await;
        }
    }

    async fn validator_access(&self) -> Result<Reply, NoAnswer> {
        let timestamp = UnixTime::from(SystemTime::now()).seconds();
        let body = json!({
            "hotkey": self.pair.account().to_ss58(),
            "timestamp": timestamp,
            "signature": self.signed(&format!("s3:validator:access:{timestamp}")),
        });
        self.post_json(VALIDATOR_ACCESS, &body).await
    }

    /// `/get-validator-access`, and its list of everything followed.
    pub(super) async fn follow_validator_access(&self) -> Finding {
        let reply = match served(self.validator_access().await) {
            Err(finding) => return finding,
            Ok(reply) if reply.status != StatusCode::OK => return (Verdict::Failed, detail(&reply)),
            Ok(reply) => reply,
        };
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(url) = answer.pointer("/urls/global/list_all_data").and_then(Value::as_str) else {
            return (Verdict::Failed, "the answer has no urls.global.list_all_data".to_owned());
        };
        let followed = async {
            let reply = self.server.get(self.server.own_target(url)?).await?;
            Ok(format!("{} keys on its first page", reply.expect(StatusCode::OK)?.keys().len()))
        };
        judge::success(followed.await)
    }

    /// Uploads by the form; what is not served is skipped.
    pub(super) async fn put_form(&self, access: &Access, key: &str, body: &Bytes) -> Finding {
        match self.post_form(&access.with("key", key), "doctor.bin", body).await {
            Ok(reply) if is_not_served(&reply) => judge::not_served(&reply.said()),
            Ok(reply) => judge::success(reply.expect(StatusCode::NO_CONTENT).map(|reply| reply.said())),
            Err(no_answer) => (Verdict::Failed, no_answer),
        }
    }

    /// Posts the form as browsers and Python's `requests` do: its fields, then the file.
    pub(super) async fn post_form(
        &self,
        access: &Access,
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
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(part.as_bytes());
        body.extend_from_slice(file);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.post(self.server.own_target(&access.url)?, &content_type, body.into()).await
    }

    fn signed(&self, message: &str) -> String {
        hex::encode(self.pair.sign(message.as_bytes()))
    }

    async fn post_json(&self, path: &str, body: &Value) -> Result<Reply, NoAnswer> {
        self.post(path, "application/json", body.to_string().into()).await
    }

    async fn post(&self, target: &str, content_type: &str, body: Bytes) -> Result<Reply, NoAnswer> {
        let content_type = HeaderValue::from_str(content_type).map_err(|error| error.to_string())?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        self.server.fetch(&Method::POST, target, &headers, &body).await
    }
}

/// The reply of an endpoint in JSON. A server without it takes the path for a bucket's, and answers in S3's XML.
fn served(reply: Result<Reply, NoAnswer>) -> Result<Reply, Finding> {
    match reply {
        Ok(reply) if is_not_served(&reply) || reply.code().is_some() => Err(judge::not_served(&reply.said())),
        Ok(reply) => Ok(reply),
        Err(no_answer) => Err((Verdict::Failed, no_answer)),
    }
}

fn is_not_served(reply: &Reply) -> bool {
    matches!(reply.status.as_u16(), 404 | 405 | 501)
}

/// What must be refused by an endpoint in JSON.
fn refused_json(reply: &Reply) -> Finding {
    match reply.status.as_u16() {
        400 | 401 | 403 => (Verdict::Refused, detail(reply)),
        200..=299 => (Verdict::Open, reply.status.as_u16().to_string()),
        _ => (Verdict::Failed, format!("{} says nothing about access", detail(reply))),
    }
}

/// Status and `detail`, for a person.
fn detail(reply: &Reply) -> String {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let said = answer.get("detail").and_then(Value::as_str).unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(120).collect();
    format!("{} {said}", reply.status.as_u16()).trim_end().to_owned()
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
        let access = Access::parse(&answer).unwrap().with("key", "k");
        assert_eq!((access.field("key"), access.field("policy")), (Some("k"), Some("e30=")));
        assert!(
            Access::parse(&json!({"folder": "f", "url": "u", "list_url": "l", "fields": {"key": 1}}))
                .is_none()
        );
    }
}
