//! Checks: paths that begin in the own folder and lead out of it, in every way of writing them.
//!
//! S3 decodes a path once: `%252e` becomes the plain characters `%2e` of a name, and a backslash is a plain
//! character. Such a key may be refused, or be kept in the own folder as it is written: its listing shows
//! which.

use http::Method;

use super::{
    Doctor, Group, Report,
    finding::{Attempt, Finding, Verdict},
    folder_access::FolderAccess,
    own_folder::test_bytes,
    s3_client::Call,
};
use crate::s3::uri;

/// Size of the objects that must be refused; in the own folder it would be accepted.
const OBJECT_BYTES: usize = 4096;

/// S3's limit for a page.
const PAGE_KEYS: usize = 1000;

/// Ways of writing one step up.
const STEPS: &[(&str, &str)] = &[
    ("..", "../"),
    ("%2e%2e", "%2e%2e/"),
    (".%2E with %2F", ".%2E%2F"),
    ("encoded twice, %252e%252e", "%252e%252e/"),
    ("encoded twice, ..%252f", "..%252f"),
    ("backslash", "..\\"),
    ("backslash, %5c", "..%5c"),
    ("%00 after the dots", "..%00/"),
];

impl Doctor<'_> {
    /// Tries every way of writing a path out of the own folder.
    pub(super) async fn try_traversal(&self, report: &mut Report, access: Option<&FolderAccess>) {
        let group = Group::Traversal;
        let depth = self.own.prefix.matches('/').count();
        let prefix = uri::encode_path(&self.own.prefix);
        for (index, (name, step)) in STEPS.iter().enumerate() {
            let victim = self.other.key(&format!("traversal-{index}.bin"));
            let wire = format!("{prefix}{}{}", step.repeat(depth), uri::encode_path(&victim));
            report.check(group, name, self.traverse(&wire, &victim)).await;
        }
        let victim = self.other.key("traversal.bin");
        let encoded = uri::encode_path(&victim);
        let (first, rest) = encoded.split_once('/').unwrap_or((&encoded, ""));
        for (name, wire) in [
            ("// before the key", format!("/{encoded}")),
            ("// within the key", format!("{first}//{rest}")),
            ("// and ..", format!("{prefix}/{}{encoded}", "../".repeat(depth.saturating_add(1)))),
            ("out of the bucket", format!("../{}/{encoded}", self.client.bucket)),
            (
                "%00 after the own folder",
                format!("{prefix}%00/{}{encoded}", "../".repeat(depth.saturating_add(1))),
            ),
        ] {
            report.check(group, name, self.traverse(&wire, &victim)).await;
        }
        self.try_forms(report, access, depth).await;
    }

    /// Writes, reads, lists, copies and deletes by a path.
    async fn traverse(&self, wire: &str, victim: &str) -> Finding {
        let put = Call::wire(Method::PUT, wire.to_owned()).body(test_bytes("traversal", OBJECT_BYTES));
        let finding = Finding::of_refusal(self.client.send(&put).await, Attempt::Tampered);
        if finding.verdict == Verdict::Open {
            if self.is_in_own_folder(wire).await {
                return kept_in_own_folder();
            }
            self.remember_if_open(victim, &finding);
        }
        let mut findings = vec![("PUT", finding)];
        // A validator may read every folder, so its reads tell nothing.
        if !self.is_validator {
            let prefix = uri::decode_path(wire).unwrap_or_else(|_| wire.to_owned());
            let copy = Call::object(Method::PUT, &self.own.key("stolen.bin"))
                .header("x-amz-copy-source", self.client.copy_source(wire));
            for (name, call) in [
                ("GET", Call::wire(Method::GET, wire.to_owned())),
                ("copy source", copy),
                ("list", Call::list(&prefix)),
            ] {
                let finding = Finding::of_refusal(self.client.send(&call).await, Attempt::Tampered);
                findings.push((name, finding));
            }
        }
        let delete = Call::wire(Method::DELETE, wire.to_owned());
        findings.push(("DELETE", Finding::of_refusal(self.client.send(&delete).await, Attempt::Tampered)));
        Finding::worst_of(&findings)
    }

    /// Whether the listing of the own folder has the path as a plain key.
    async fn is_in_own_folder(&self, wire: &str) -> bool {
        let Ok(key) = uri::decode_path(wire) else { return false };
        self.list_own(PAGE_KEYS).await.is_ok_and(|(keys, _)| keys.contains(&key))
    }

    async fn try_forms(&self, report: &mut Report, access: Option<&FolderAccess>, depth: usize) {
        let group = Group::Traversal;
        let up = "../".repeat(depth);
        let (by_key, by_name) = ("form, .. in its key", "form, .. in ${filename}");
        let Some(access) = access else {
            for name in [by_key, by_name] {
                report.add(group, name, Finding::skipped("the server handed out no form".to_owned()));
            }
            return;
        };
        let victim = self.other.key("form.bin");
        let check = async {
            let finding =
                self.refused_form(&access.with("key", format!("{}{up}{victim}", self.own.prefix)), "x").await;
            self.remember_if_open(&victim, &finding);
            finding
        };
        report.check(group, by_key, check).await;
        let check = async {
            let victim = self.other.key("filename.bin");
            let form = access.with("key", format!("{}${{filename}}", self.own.prefix));
            let finding = self.refused_form(&form, &format!("{up}{victim}")).await;
            // S3 keeps only the last name of a path.
            let own = self.own.key("filename.bin");
            match self.list_own(PAGE_KEYS).await {
                Ok((keys, _)) if finding.verdict == Verdict::Open && keys.contains(&own) => {
                    kept_in_own_folder()
                }
                Ok(_) | Err(_) => {
                    self.remember_if_open(&victim, &finding);
                    finding
                }
            }
        };
        report.check(group, by_name, check).await;
    }
}

/// The finding for a path that the server took for a plain key.
fn kept_in_own_folder() -> Finding {
    Finding::passed("kept as a plain name in the own folder".to_owned())
}
