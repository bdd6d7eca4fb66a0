//! Another identity's folder by its name, and signatures that were changed after they were made.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method};
use quick_xml::escape::escape;

use super::{
    Doctor, Group, Report, Verdict,
    form::Access,
    judge::{self, Attempt},
    own::pattern,
    report::Finding,
    s3::{Call, NoAnswer, Reply},
};
use crate::s3::{uri, xml::Element};

/// The size of what is tried to be written: one that would be taken in the own folder.
const BYTES: usize = 4096;

/// An id that no upload has.
const NO_UPLOAD: &str = "subgate-doctor";

impl Doctor<'_> {
    /// Every operation on the other folder.
    pub(super) async fn try_other(&self, report: &mut Report) {
        let group = Group::OtherFolder;
        let victim = self.other.key("victim.bin");
        let victim = victim.as_str();
        for (name, call) in self.writes(victim) {
            let trial = async {
                let finding = judge::refusal(self.server.send(&call).await, Attempt::Signed);
                self.remember_stray(victim, &finding);
                finding
            };
            report.try_out(group, name, trial).await;
        }
        report.try_out(group, "multipart upload, begun", self.begin_elsewhere(victim)).await;
        report.try_out(group, "batch delete, beside an own key", self.batch_delete(victim)).await;
        let beside = format!("{}0/subgate-doctor.bin", self.own.folder.trim_end_matches('/'));
        let trial = async {
            let call = Call::object(Method::PUT, &beside).body(pattern("beside", BYTES));
            let finding = judge::refusal(self.server.send(&call).await, Attempt::Signed);
            self.remember_stray(&beside, &finding);
            finding
        };
        report.try_out(group, "PUT into a folder whose name begins as the own one's", trial).await;
        let group = if self.is_validator { Group::ReadAll } else { Group::OtherFolder };
        for (name, call) in self.reads(victim) {
            let trial = async {
                let reply = self.server.send(&call).await;
                if self.is_validator {
                    judge::readable(reply)
                } else {
                    judge::refusal(reply, Attempt::Signed)
                }
            };
            report.try_out(group, name, trial).await;
        }
        if self.is_validator {
            let trial = self.follow_validator_access();
            report.try_out(group, "/get-validator-access, its list followed", trial).await;
        } else {
            report.try_out(group, "list above the own folder", self.list_above()).await;
        }
        self.try_other_access(report).await;
    }

    fn writes(&self, victim: &str) -> Vec<(&'static str, Call)> {
        let own = self.server.copy_source(&uri::encode_path(&self.own.key("put.bin")));
        let put = || Call::object(Method::PUT, victim);
        vec![
            ("PUT", put().body(pattern("victim", BYTES))),
            ("copy of an own object", put().header("x-amz-copy-source", own.clone())),
            (
                "part of an upload",
                put().query("partNumber", "1").query("uploadId", NO_UPLOAD).body(pattern("victim", BYTES)),
            ),
            (
                "part copied from an own object",
                put()
                    .query("partNumber", "1")
                    .query("uploadId", NO_UPLOAD)
                    .header("x-amz-copy-source", own),
            ),
            (
                "multipart upload, completed",
                Call::object(Method::POST, victim).query("uploadId", NO_UPLOAD).body(
                    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
                ),
            ),
            ("multipart upload, aborted", Call::object(Method::DELETE, victim).query("uploadId", NO_UPLOAD)),
            ("DELETE", Call::object(Method::DELETE, victim)),
        ]
    }

    fn reads(&self, victim: &str) -> Vec<(&'static str, Call)> {
        let source = self.server.copy_source(&uri::encode_path(victim));
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
                    .query("uploadId", NO_UPLOAD)
                    .header("x-amz-copy-source", source),
            ),
        ];
        if !self.is_validator {
            reads.push(("list without a prefix", Call::bucket(Method::GET).query("list-type", "2")));
        }
        reads
    }

    /// What was let through is an object that has to go again.
    pub(super) fn remember_stray(&self, key: &str, finding: &Finding) {
        if finding.0 == Verdict::Open {
            self.strays.borrow_mut().push(key.to_owned());
        }
    }

    async fn begin_elsewhere(&self, victim: &str) -> Finding {
        let reply = self.server.send(&Call::object(Method::POST, victim).query("uploads", "")).await;
        if let Ok(reply) = &reply
            && let Some(id) = reply.xml().and_then(|root| root.text_of("UploadId").map(str::to_owned))
        {
            self.uploads.borrow_mut().push((victim.to_owned(), id));
        }
        judge::refusal(reply, Attempt::Signed)
    }

    /// Each key has to be judged by itself: the own one goes, the other one is an error.
    async fn batch_delete(&self, victim: &str) -> Finding {
        let own = self.own.key("presigned.bin");
        let out_of_own = format!("{}../../{victim}", self.own.run);
        let reply = match self.delete_objects(&[&own, victim, &out_of_own]).await {
            Ok(reply) => reply,
            Err(no_answer) => return (Verdict::Failed, no_answer),
        };
        let Some(root) = reply.xml().filter(|root| root.name == "DeleteResult") else {
            return judge::refusal(Ok(reply), Attempt::Signed);
        };
        let keys = |element: &str| -> Vec<String> {
            let of = root.children.iter().filter(|child| child.name == element);
            of.filter_map(|child| child.text_of("Key").map(str::to_owned)).collect()
        };
        let (deleted, refused) = (keys("Deleted"), keys("Error"));
        let others = [victim, out_of_own.as_str()];
        if deleted.iter().any(|key| others.contains(&key.as_str())) {
            return (Verdict::Open, format!("{}: another key is deleted", reply.said()));
        }
        if !others.iter().all(|other| refused.iter().any(|key| key == other)) {
            return (Verdict::Failed, "the answer does not speak of every key".to_owned());
        }
        match deleted.contains(&own) {
            true => (Verdict::Refused, refused_codes(&root)),
            false => (Verdict::Failed, "the own key is not deleted".to_owned()),
        }
    }

    async fn delete_objects(&self, keys: &[&str]) -> Result<Reply, NoAnswer> {
        let object = |key: &&str| format!("<Object><Key>{}</Key></Object>", escape(*key));
        let objects: String = keys.iter().map(object).collect();
        let call = Call::bucket(Method::POST).query("delete", "").body(format!("<Delete>{objects}</Delete>"));
        self.server.send(&call).await
    }

    /// Above the own folder a miner may see the way to it, or nothing, but no siblings.
    async fn list_above(&self) -> Finding {
        let own = &self.own.folder;
        let above = own.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
        let call = Call::list(&format!("{above}/"));
        let mut findings = Vec::new();
        for delimiter in ["/", "5"] {
            let reply = self.server.send(&call.clone().query("delimiter", delimiter)).await;
            let shown = match &reply {
                Ok(reply) if reply.status.is_success() => reply.keys(),
                _ => Vec::new(),
            };
            let is_ours = |key: &String| key.starts_with(own) || own.starts_with(key.as_str());
            let finding = match reply {
                Ok(reply) if reply.status.is_success() && shown.iter().all(is_ours) => {
                    (Verdict::Refused, format!("{}, shows no other folder", reply.said()))
                }
                reply => judge::refusal(reply, Attempt::Signed),
            };
            findings.push((if delimiter == "/" { "delimiter /" } else { "delimiter 5" }, finding));
        }
        judge::together(findings)
    }

    /// What was signed for the own folder, changed.
    pub(super) async fn try_tampered(&self, report: &mut Report, access: Option<&Access>) {
        let group = Group::Tampered;
        let victim = self.other.key("tampered.bin");
        let own = self.own.key("put.bin");
        for (name, method, target) in self.tampered(&own, &victim) {
            let trial = async {
                let target = match target {
                    Ok(target) => target,
                    Err(why) => return (Verdict::Failed, why),
                };
                let body =
                    if method == Method::PUT { pattern("tampered", BYTES) } else { bytes::Bytes::new() };
                let reply = self.server.fetch(&method, &target, &HeaderMap::new(), &body).await;
                let finding = judge::refusal(reply, Attempt::Tampered);
                if method == Method::PUT {
                    self.remember_stray(&victim, &finding);
                }
                finding
            };
            report.try_out(group, name, trial).await;
        }
        let Some(access) = access else {
            let why = "the server handed out no form".to_owned();
            report.note(group, "form with another key or policy", (Verdict::Skipped, why));
            return;
        };
        for (name, form) in forms(access, &self.own.folder, &self.other.folder, &victim) {
            let trial = async {
                let finding = self.refused_form(&form, "doctor.bin").await;
                self.remember_stray(&victim, &finding);
                finding
            };
            report.try_out(group, name, trial).await;
        }
        let trial = async {
            let target = match self.server.own_target(&access.list_url) {
                Ok(target) => changed_prefix(target, &access.folder, &self.other.folder),
                Err(why) => return (Verdict::Failed, why),
            };
            judge::refusal(self.server.get(&target).await, Attempt::Tampered)
        };
        report.try_out(group, "list_url with another prefix", trial).await;
    }

    /// A form that must be refused.
    pub(super) async fn refused_form(&self, form: &Access, file_name: &str) -> Finding {
        judge::refusal(self.post_form(form, file_name, &pattern("form", BYTES)).await, Attempt::Tampered)
    }

    fn tampered(&self, own: &str, victim: &str) -> Vec<(&'static str, Method, Result<String, String>)> {
        let bucket = &self.server.bucket;
        let path = |key: &str| format!("/{bucket}/{}", uri::encode_path(key));
        let moved = |method: Method| {
            let target = self.server.presign(&Call::object(method, own))?;
            Ok(target.replacen(&path(own), &path(victim), 1))
        };
        let longer = || {
            let target = self.server.presign(&Call::object(Method::GET, own))?;
            Ok(target.replacen("X-Amz-Expires=300", "X-Amz-Expires=86400", 1))
        };
        let listed = || {
            let target = self.server.presign(&Call::list(&self.own.folder))?;
            Ok(changed_prefix(&target, &self.own.folder, &self.other.folder))
        };
        let added = || {
            let target = self.server.presign(&Call::list(&self.own.folder))?;
            // Behind the signature, where pages of a list are asked for.
            let signed = target.split_once("X-Amz-Signature=").and_then(|(_, rest)| rest.split('&').next());
            let signature = signed.ok_or("the URL has no signature")?.to_owned();
            let moved = target.replacen(&format!("&X-Amz-Signature={signature}"), "", 1);
            let other = uri::encode_component(&self.other.folder);
            Ok(format!("{moved}&X-Amz-Signature={signature}&prefix={other}"))
        };
        let mut attempts = vec![
            ("presigned list, another prefix added", Method::GET, added()),
            ("presigned GET, moved to the other folder", Method::GET, moved(Method::GET)),
            ("presigned PUT, moved to the other folder", Method::PUT, moved(Method::PUT)),
            ("presigned list, moved to the other folder", Method::GET, listed()),
            (
                "presigned GET, used to DELETE",
                Method::DELETE,
                self.server.presign(&Call::object(Method::GET, own)),
            ),
            ("presigned GET, made to last longer", Method::GET, longer()),
            ("GET without a signature", Method::GET, Ok(path(own))),
            ("list without a signature", Method::GET, Ok(format!("/{bucket}?list-type=2"))),
            (
                "presigned PUT, signed for the other folder",
                Method::PUT,
                self.server.presign(&Call::object(Method::PUT, victim)),
            ),
        ];
        if !self.is_validator {
            let signed = self.server.presign(&Call::object(Method::GET, victim));
            attempts.push(("presigned GET, signed for the other folder", Method::GET, signed));
        }
        attempts
    }
}

/// A presigned list of another prefix, under the old signature.
fn changed_prefix(target: &str, own: &str, other: &str) -> String {
    let changed = target.replace(&uri::encode_component(own), &uri::encode_component(other));
    // Some servers leave the slashes of a prefix as they are.
    changed.replace(own, other)
}

fn forms(access: &Access, own: &str, other: &str, victim: &str) -> Vec<(&'static str, Access)> {
    let policy = access.field("policy").and_then(|policy| BASE64_STANDARD.decode(policy).ok());
    let policy = policy.and_then(|policy| String::from_utf8(policy).ok()).unwrap_or_default();
    let policy = BASE64_STANDARD.encode(policy.replace(own, other).replace(&access.folder, other));
    let with_key = access.with("key", victim);
    vec![
        ("form with a key in the other folder", with_key.clone()),
        ("form with another policy, and a key there", with_key.with("policy", policy)),
    ]
}

/// The codes under which keys were refused.
fn refused_codes(root: &Element) -> String {
    let mut codes: Vec<&str> = root.children.iter().filter_map(|child| child.text_of("Code")).collect();
    codes.sort_unstable();
    codes.dedup();
    format!("{} for the other keys", codes.join(", "))
}
