//! Paths that begin in the own folder and lead out of it, in every way of writing them.
//!
//! S3 decodes once: `%252e` is then a plain `%2e` in a name, and a backslash a plain character. Such a key may be
//! refused or kept as it is in the own folder; which of the two is seen in the listing, not believed.

use http::Method;

use super::{
    Doctor, Group, Report, Verdict,
    form::Access,
    judge::{self, Attempt},
    own::pattern,
    report::Finding,
    s3::Call,
};
use crate::s3::uri;

/// The size of what is tried to be written: one that would be taken in the own folder.
const BYTES: usize = 4096;

/// A page of S3's.
const PAGE_KEYS: usize = 1000;

/// What leads one step up, or is meant to.
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
    /// Every way of writing a path out of the own folder.
    pub(super) async fn try_traversal(&self, report: &mut Report, access: Option<&Access>) {
        let group = Group::Traversal;
        let depth = self.own.run.matches('/').count();
        let run = uri::encode_path(&self.own.run);
        for (index, (name, step)) in STEPS.iter().enumerate() {
            let victim = self.other.key(&format!("traversal-{index}.bin"));
            let wire = format!("{run}{}{}", step.repeat(depth), uri::encode_path(&victim));
            report.try_out(group, name, self.traverse(&wire, &victim)).await;
        }
        let victim = self.other.key("traversal.bin");
        let encoded = uri::encode_path(&victim);
        let (first, rest) = encoded.split_once('/').unwrap_or((&encoded, ""));
        for (name, wire) in [
            ("// before the key", format!("/{encoded}")),
            ("// within the key", format!("{first}//{rest}")),
            ("// and ..", format!("{run}/{}{encoded}", "../".repeat(depth.saturating_add(1)))),
            ("out of the bucket", format!("../{}/{encoded}", self.server.bucket)),
            (
                "%00 after the own folder",
                format!("{run}%00/{}{encoded}", "../".repeat(depth.saturating_add(1))),
            ),
        ] {
            report.try_out(group, name, self.traverse(&wire, &victim)).await;
        }
        self.try_forms(report, access, depth).await;
    }

    /// Writes, reads, lists, copies and deletes by one way of writing a path.
    async fn traverse(&self, wire: &str, victim: &str) -> Finding {
        let put = Call::wire(Method::PUT, wire.to_owned()).body(pattern("traversal", BYTES));
        let finding = judge::refusal(self.server.send(&put).await, Attempt::Tampered);
        if finding.0 == Verdict::Open {
            if let Some(kept) = self.kept_inside(wire).await {
                return kept;
            }
            self.remember_stray(victim, &finding);
        }
        let mut findings = vec![("PUT", finding)];
        // A validator may read there anyway; whether a path is plain says nothing of its rights.
        if !self.is_validator {
            let prefix = uri::decode_path(wire).unwrap_or_else(|_| wire.to_owned());
            let copy = Call::object(Method::PUT, &self.own.key("stolen.bin"))
                .header("x-amz-copy-source", self.server.copy_source(wire));
            for (name, call) in [
                ("GET", Call::wire(Method::GET, wire.to_owned())),
                ("copy source", copy),
                ("list", Call::list(&prefix)),
            ] {
                let finding = judge::refusal(self.server.send(&call).await, Attempt::Tampered);
                findings.push((name, finding));
            }
        }
        let delete = Call::wire(Method::DELETE, wire.to_owned());
        findings.push(("DELETE", judge::refusal(self.server.send(&delete).await, Attempt::Tampered)));
        judge::together(findings)
    }

    /// Whether what was let through is a plain key of the own folder, by that folder's listing.
    async fn kept_inside(&self, wire: &str) -> Option<Finding> {
        let key = uri::decode_path(wire).ok()?;
        let (keys, _) = self.list_run(PAGE_KEYS).await.ok()?;
        keys.contains(&key).then(kept)
    }

    async fn try_forms(&self, report: &mut Report, access: Option<&Access>, depth: usize) {
        let group = Group::Traversal;
        let up = "../".repeat(depth);
        let (by_key, by_name) = ("form, .. in its key", "form, .. in ${filename}");
        let Some(access) = access else {
            for name in [by_key, by_name] {
                report.note(group, name, (Verdict::Skipped, "the server handed out no form".to_owned()));
            }
            return;
        };
        let victim = self.other.key("form.bin");
        let trial = async {
            let finding =
                self.refused_form(&access.with("key", format!("{}{up}{victim}", self.own.run)), "x").await;
            self.remember_stray(&victim, &finding);
            finding
        };
        report.try_out(group, by_key, trial).await;
        let trial = async {
            let victim = self.other.key("filename.bin");
            let form = access.with("key", format!("{}${{filename}}", self.own.run));
            let finding = self.refused_form(&form, &format!("{up}{victim}")).await;
            // S3 takes a path for the name at its end.
            let own = self.own.key("filename.bin");
            match self.list_run(PAGE_KEYS).await {
                Ok((keys, _)) if finding.0 == Verdict::Open && keys.contains(&own) => kept(),
                _ => {
                    self.remember_stray(&victim, &finding);
                    finding
                }
            }
        };
        report.try_out(group, by_name, trial).await;
    }
}

/// Let through, and found where it belongs.
fn kept() -> Finding {
    (Verdict::Passed, "kept as a plain name in the own folder".to_owned())
}
