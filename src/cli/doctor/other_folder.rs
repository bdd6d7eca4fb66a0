//! Checks: every operation on another folder, by its name.

use http::Method;
use quick_xml::escape::escape;

use super::{
    Doctor, Group, Report,
    finding::{Attempt, Finding, Verdict},
    own_folder::test_bytes,
    s3_client::{Call, NoAnswer, Reply},
};
use crate::s3::{uri, xml::Element};

/// Size of the objects that must be refused; in the own folder it would be accepted.
const OBJECT_BYTES: usize = 4096;

/// The id of no upload.
const NO_UPLOAD_ID: &str = "subgate-doctor";

impl Doctor<'_> {
    /// Tries every operation on the other folder.
    pub(super) async fn try_other_folder(&self, report: &mut Report) {
        let group = Group::OtherFolder;
        let victim = self.other.key("victim.bin");
        let victim = victim.as_str();
        for (name, call) in self.writes(victim) {
            let check = async {
                let finding = Finding::of_refusal(self.client.send(&call).await, Attempt::Signed);
                self.remember_if_open(victim, &finding);
                finding
            };
            report.check(group, name, check).await;
        }
        report.check(group, "multipart upload, begun", self.create_upload_elsewhere(victim)).await;
        report.check(group, "batch delete, beside an own key", self.batch_delete(victim)).await;
        let beside = format!("{}0/subgate-doctor.bin", self.own.folder.trim_end_matches('/'));
        let check = async {
            let call = Call::object(Method::PUT, &beside).body(test_bytes("beside", OBJECT_BYTES));
            let finding = Finding::of_refusal(self.client.send(&call).await, Attempt::Signed);
            self.remember_if_open(&beside, &finding);
            finding
        };
        report.check(group, "PUT into a folder whose name begins as the own one's", check).await;
        let group = if self.is_validator { Group::ReadAll } else { Group::OtherFolder };
        for (name, call) in self.reads(victim) {
            let check = async {
                let reply = self.client.send(&call).await;
                if self.is_validator {
                    Finding::of_read(reply)
                } else {
                    Finding::of_refusal(reply, Attempt::Signed)
                }
            };
            report.check(group, name, check).await;
        }
        if self.is_validator {
            let check = self.follow_validator_access();
            report.check(group, "/get-validator-access, its list followed", check).await;
        } else {
            report.check(group, "list above the own folder", self.list_above()).await;
        }
        self.try_access_of_others(report).await;
    }

    fn writes(&self, victim: &str) -> Vec<(&'static str, Call)> {
        let own = self.client.copy_source(&uri::encode_path(&self.own.key("put.bin")));
        let put = || Call::object(Method::PUT, victim);
        vec![
            ("PUT", put().body(test_bytes("victim", OBJECT_BYTES))),
            ("copy of an own object", put().header("x-amz-copy-source", own.clone())),
            (
                "part of an upload",
                put()
                    .query("partNumber", "1")
                    .query("uploadId", NO_UPLOAD_ID)
                    .body(test_bytes("victim", OBJECT_BYTES)),
            ),
            (
                "part copied from an own object",
                put()
                    .query("partNumber", "1")
                    .query("uploadId", NO_UPLOAD_ID)
                    .header("x-amz-copy-source", own),
            ),
            (
                "multipart upload, completed",
                Call::object(Method::POST, victim).query("uploadId", NO_UPLOAD_ID).body(
                    "<CompleteMultipartUpload>\
                     <Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>\
                     </CompleteMultipartUpload>",
                ),
            ),
            (
                "multipart upload, aborted",
                Call::object(Method::DELETE, victim).query("uploadId", NO_UPLOAD_ID),
            ),
            ("DELETE", Call::object(Method::DELETE, victim)),
        ]
    }

    fn reads(&self, victim: &str) -> Vec<(&'static str, Call)> {
        let source = self.client.copy_source(&uri::encode_path(victim));
        let list = || Call::bucket(Method::GET).query("prefix", &self.other.folder);
        let mut reads = vec![
            ("GET", Call::object(Method::GET, victim)),
            ("HEAD", Call::object(Method::HEAD, victim)),
            ("list (ListObjectsV2)", Call::list(&self.other.folder)),
            ("list (ListObjects)", list()),
            ("list of uploads", list().query("uploads", "")),
            (
                "copy source",
                Call::object(Method::PUT, &self.own.key("stolen.bin"))
                    .header("x-amz-copy-source", source.clone()),
            ),
            (
                "copy source of a part",
                Call::object(Method::PUT, &self.own.key("stolen.bin"))
                    .query("partNumber", "1")
                    .query("uploadId", NO_UPLOAD_ID)
                    .header("x-amz-copy-source", source),
            ),
        ];
        if !self.is_validator {
            reads.push(("list without a prefix", Call::bucket(Method::GET).query("list-type", "2")));
        }
        reads
    }

    /// Remembers a key that the server should have refused, so that it is removed at the end.
    pub(super) fn remember_if_open(&self, key: &str, finding: &Finding) {
        if finding.verdict == Verdict::Open {
            self.unexpected_keys.borrow_mut().push(key.to_owned());
        }
    }

    async fn create_upload_elsewhere(&self, victim: &str) -> Finding {
        let reply = self.client.send(&Call::object(Method::POST, victim).query("uploads", "")).await;
        if let Ok(reply) = &reply
            && let Some(id) = reply.xml().and_then(|root| root.text_of("UploadId").map(str::to_owned))
        {
            self.open_uploads.borrow_mut().push((victim.to_owned(), id));
        }
        Finding::of_refusal(reply, Attempt::Signed)
    }

    /// Access is decided for each key: the own one is deleted, the others are errors.
    async fn batch_delete(&self, victim: &str) -> Finding {
        let own = self.own.key("presigned.bin");
        let out_of_own = format!("{}../../{victim}", self.own.prefix);
        let reply = match self.delete_objects(&[&own, victim, &out_of_own]).await {
            Ok(reply) => reply,
            Err(no_answer) => return Finding::failed(no_answer),
        };
        let Some(root) = reply.xml().filter(|root| root.name == "DeleteResult") else {
            return Finding::of_refusal(Ok(reply), Attempt::Signed);
        };
        let keys = |element: &str| -> Vec<String> {
            let of = root.children.iter().filter(|child| child.name == element);
            of.filter_map(|child| child.text_of("Key").map(str::to_owned)).collect()
        };
        let (deleted, refused) = (keys("Deleted"), keys("Error"));
        let others = [victim, out_of_own.as_str()];
        if deleted.iter().any(|key| others.contains(&key.as_str())) {
            return Finding::open(format!("{}: another key is deleted", reply.summary()));
        }
        if !others.iter().all(|other| refused.iter().any(|key| key == other)) {
            return Finding::failed("the answer does not name every key");
        }
        match deleted.contains(&own) {
            true => Finding::refused(refused_codes(&root)),
            false => Finding::failed("the own key is not deleted"),
        }
    }

    async fn delete_objects(&self, keys: &[&str]) -> Result<Reply, NoAnswer> {
        let object = |key: &&str| format!("<Object><Key>{}</Key></Object>", escape(*key));
        let objects: String = keys.iter().map(object).collect();
        let call = Call::bucket(Method::POST).query("delete", "").body(format!("<Delete>{objects}</Delete>"));
        self.client.send(&call).await
    }

    /// Above its own folder, a miner may see the way to it or nothing, but no other folder.
    async fn list_above(&self) -> Finding {
        let own = &self.own.folder;
        let above = own.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
        let call = Call::list(&format!("{above}/"));
        let mut findings = Vec::new();
        for delimiter in ["/", "5"] {
            let reply = self.client.send(&call.clone().query("delimiter", delimiter)).await;
            let shown = match &reply {
                Ok(reply) if reply.status.is_success() => reply.keys(),
                Ok(_) | Err(_) => Vec::new(),
            };
            let is_on_the_way = |key: &String| key.starts_with(own) || own.starts_with(key.as_str());
            let finding = match reply {
                Ok(reply) if reply.status.is_success() && shown.iter().all(is_on_the_way) => {
                    Finding::refused(format!("{}, shows no other folder", reply.summary()))
                }
                reply => Finding::of_refusal(reply, Attempt::Signed),
            };
            findings.push((if delimiter == "/" { "delimiter /" } else { "delimiter 5" }, finding));
        }
        Finding::worst_of(&findings)
    }
}

/// The error codes of the keys that were refused.
fn refused_codes(root: &Element) -> String {
    let mut codes: Vec<&str> = root.children.iter().filter_map(|child| child.text_of("Code")).collect();
    codes.sort_unstable();
    codes.dedup();
    format!("{} for the other keys", codes.join(", "))
}
