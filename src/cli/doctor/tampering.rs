//! Checks: presigned URLs and forms that are changed after they were signed, or are not signed at all.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method};

use super::{
    Doctor, Group, Report,
    finding::{Attempt, Finding},
    folder_access::FolderAccess,
    own_folder::test_bytes,
    s3_client::{Call, NoAnswer},
};
use crate::s3::uri;

/// Size of the objects that must be refused; in the own folder it would be accepted.
const OBJECT_BYTES: usize = 4096;

/// A request that must be refused: its name, its method, and its path and query.
type TamperedRequest = (&'static str, Method, Result<String, NoAnswer>);

impl Doctor<'_> {
    /// Tries requests that were signed for the own folder, and then changed.
    pub(super) async fn try_tampering(&self, report: &mut Report, access: Option<&FolderAccess>) {
        let group = Group::Tampered;
        let victim = self.other.key("tampered.bin");
        let own = self.own.key("put.bin");
        for (name, method, target) in self.tampered_requests(&own, &victim) {
            let check = async {
                let target = match target {
                    Ok(target) => target,
                    Err(why) => return Finding::failed(why),
                };
                let body = if method == Method::PUT {
                    test_bytes("tampered", OBJECT_BYTES)
                } else {
                    bytes::Bytes::new()
                };
                let reply = self.client.send_unsigned(&method, &target, &HeaderMap::new(), &body).await;
                let finding = Finding::of_refusal(reply, Attempt::Tampered);
                if method == Method::PUT {
                    self.remember_if_open(&victim, &finding);
                }
                finding
            };
            report.check(group, name, check).await;
        }
        let Some(access) = access else {
            let skipped = Finding::skipped("the server handed out no form");
            report.add(group, "form with another key or policy", skipped);
            return;
        };
        for (name, form) in tampered_forms(access, &self.own.folder, &self.other.folder, &victim) {
            let check = async {
                let finding = self.refused_form(&form, "doctor.bin").await;
                self.remember_if_open(&victim, &finding);
                finding
            };
            report.check(group, name, check).await;
        }
        let check = async {
            let target = match self.client.target_of(&access.list_url) {
                Ok(target) => changed_prefix(target, &access.folder, &self.other.folder),
                Err(why) => return Finding::failed(why),
            };
            Finding::of_refusal(self.client.get(&target).await, Attempt::Tampered)
        };
        report.check(group, "list_url with another prefix", check).await;
    }

    /// Posts a form that must be refused.
    pub(super) async fn refused_form(&self, form: &FolderAccess, file_name: &str) -> Finding {
        Finding::of_refusal(
            self.post_form(form, file_name, &test_bytes("form", OBJECT_BYTES)).await,
            Attempt::Tampered,
        )
    }

    fn tampered_requests(&self, own: &str, victim: &str) -> Vec<TamperedRequest> {
        let bucket = &self.client.bucket;
        let path = |key: &str| format!("/{bucket}/{}", uri::encode_path(key));
        let moved = |method: Method| {
            let target = self.client.presign(&Call::object(method, own))?;
            Ok(target.replacen(&path(own), &path(victim), 1))
        };
        let longer = || {
            let target = self.client.presign(&Call::object(Method::GET, own))?;
            Ok(target.replacen("X-Amz-Expires=300", "X-Amz-Expires=86400", 1))
        };
        let listed = || {
            let target = self.client.presign(&Call::list(&self.own.folder))?;
            Ok(changed_prefix(&target, &self.own.folder, &self.other.folder))
        };
        let added = || {
            let target = self.client.presign(&Call::list(&self.own.folder))?;
            // After the signature, where clients add the token of the next page.
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
                self.client.presign(&Call::object(Method::GET, own)),
            ),
            ("presigned GET, made to last longer", Method::GET, longer()),
            ("GET without a signature", Method::GET, Ok(path(own))),
            ("list without a signature", Method::GET, Ok(format!("/{bucket}?list-type=2"))),
            (
                "presigned PUT, signed for the other folder",
                Method::PUT,
                self.client.presign(&Call::object(Method::PUT, victim)),
            ),
        ];
        if !self.is_validator {
            let signed = self.client.presign(&Call::object(Method::GET, victim));
            attempts.push(("presigned GET, signed for the other folder", Method::GET, signed));
        }
        attempts
    }
}

/// A presigned list with another prefix and the old signature.
fn changed_prefix(target: &str, own: &str, other: &str) -> String {
    let changed = target.replace(&uri::encode_component(own), &uri::encode_component(other));
    // Some servers leave the slashes of a prefix as they are.
    changed.replace(own, other)
}

/// Forms whose key, or policy and key, are those of the other folder.
fn tampered_forms(
    access: &FolderAccess,
    own: &str,
    other: &str,
    victim: &str,
) -> Vec<(&'static str, FolderAccess)> {
    let policy = access.field("policy").and_then(|policy| BASE64_STANDARD.decode(policy).ok());
    let policy = policy.and_then(|policy| String::from_utf8(policy).ok()).unwrap_or_default();
    let policy = BASE64_STANDARD.encode(policy.replace(own, other).replace(&access.folder, other));
    let with_key = access.with("key", victim);
    vec![
        ("form with a key in the other folder", with_key.clone()),
        ("form with another policy, and a key there", with_key.with("policy", policy)),
    ]
}
