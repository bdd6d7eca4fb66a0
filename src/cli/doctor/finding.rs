//! Findings: what an answer of the server means for the check that caused it. Pure.
//!
//! Invariant: only an answer that refuses for the right reason counts as a refusal. A session that has
//! expired, a wrong clock or an outage would refuse anything, and says nothing about folders.

use http::StatusCode;
use serde::Serialize;

use super::s3_client::{NoAnswer, Reply};

/// The result of one check, from harmless to dangerous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It could not be tried, and that is no fault of the server.
    Skipped,
    /// It must work, and it does.
    Passed,
    /// It must be refused, and it is.
    Refused,
    /// It must work and does not, or the answer says nothing about access.
    Failed,
    /// It must be refused, and it is allowed.
    Open,
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    /// For a person: what the server answered, or why there is no answer.
    pub(super) detail: String,
}

/// S3 error codes that refuse access to a folder, or a way of writing a key.
///
/// The last three are stores' own: of MinIO for a backslash or dots in a key or prefix, and of Ceph. A server
/// that lets such a key go on as a plain name in the own folder answers with what its store says of it.
const REFUSALS: &[&str] = &[
    "AccessDenied",
    "InvalidArgument",
    "InvalidRequest",
    "InvalidURI",
    "KeyTooLongError",
    "XMinioInvalidResourceName",
    "XMinioInvalidObjectName",
    "InvalidObjectName",
];

/// Further codes that refuse a changed signature or form.
const REFUSALS_OF_TAMPERING: &[&str] = &[
    "SignatureDoesNotMatch",
    "AuthorizationQueryParametersError",
    "MissingSecurityHeader",
    "InvalidPolicyDocument",
    "MalformedPOSTRequest",
];

/// How a request was signed: this decides which refusals count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// With a valid signature: it must be refused for its folder, or for how its key is written.
    Signed,
    /// Changed after it was signed, without a signature, or with a path that a proxy on the way may rewrite.
    Tampered,
}

impl Finding {
    pub(super) fn skipped(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, detail: detail.into() }
    }

    pub(super) fn passed(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Passed, detail: detail.into() }
    }

    pub(super) fn refused(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Refused, detail: detail.into() }
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, detail: detail.into() }
    }

    pub(super) fn open(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Open, detail: detail.into() }
    }

    /// For what the server does not offer.
    pub(super) fn not_served(answer: &str) -> Self {
        Self::skipped(format!("not served ({answer})"))
    }

    /// For an answer that an outage or a wrong clock would give as well.
    pub(super) fn inconclusive(answer: &str) -> Self {
        Self::failed(format!("{answer} says nothing about access"))
    }

    /// For what must work.
    pub(super) fn of_result(result: Result<String, String>) -> Self {
        match result {
            Ok(detail) => Self::passed(detail),
            Err(detail) => Self::failed(detail),
        }
    }

    /// For what must be refused.
    pub(super) fn of_refusal(reply: Result<Reply, NoAnswer>, attempt: Attempt) -> Self {
        let reply = match reply {
            Ok(reply) => reply,
            Err(no_answer) => return Self::failed(no_answer),
        };
        let answer = reply.summary();
        match reply.status.as_u16() {
            400 | 403 if reply.code().is_none_or(|code| counts_as_refusal(&code, attempt)) => {
                Self::refused(answer)
            }
            404 => Self::open(format!("{answer}: it tells what exists there")),
            200..=299 | 304 | 409 | 412 | 416 => Self::open(answer),
            405 | 501 => Self::not_served(&answer),
            _ => Self::inconclusive(&answer),
        }
    }

    /// For what a validator may read: whether it exists or not, it must not be refused.
    pub(super) fn of_read(reply: Result<Reply, NoAnswer>) -> Self {
        match reply {
            Ok(reply) if reply.status.is_success() || reply.status == StatusCode::NOT_FOUND => {
                Self::passed(format!("{}: readable", reply.summary()))
            }
            Ok(reply) if matches!(reply.status.as_u16(), 405 | 501) => Self::not_served(&reply.summary()),
            Ok(reply) => Self::failed(reply.summary()),
            Err(no_answer) => Self::failed(no_answer),
        }
    }

    /// The worst of several findings, with the names and details of those that are as bad.
    pub(super) fn worst_of(findings: &[(&str, Self)]) -> Self {
        let worst = findings.iter().map(|(_, finding)| finding.verdict).max().unwrap_or(Verdict::Skipped);
        let of_worst = findings.iter().filter(|(_, finding)| finding.verdict == worst);
        let detail = match worst {
            Verdict::Skipped | Verdict::Passed | Verdict::Refused => {
                let (mut names, mut details) = (Vec::new(), Vec::new());
                for (name, finding) in of_worst {
                    names.push(*name);
                    if !details.contains(&finding.detail.as_str()) {
                        details.push(finding.detail.as_str());
                    }
                }
                format!("{}: {}", names.join(", "), details.join(", "))
            }
            Verdict::Failed | Verdict::Open => of_worst
                .map(|(name, finding)| format!("{name}: {}", finding.detail))
                .collect::<Vec<_>>()
                .join(", "),
        };
        Self { verdict: worst, detail }
    }
}

fn counts_as_refusal(code: &str, attempt: Attempt) -> bool {
    match attempt {
        Attempt::Signed => REFUSALS.contains(&code),
        Attempt::Tampered => REFUSALS.contains(&code) || REFUSALS_OF_TAMPERING.contains(&code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, code: &str) -> Result<Reply, NoAnswer> {
        Ok(Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: format!("<Error><Code>{code}</Code></Error>").into(),
        })
    }

    #[test]
    fn only_the_right_reason_is_a_refusal() {
        for (status, code, attempt, verdict) in [
            (403, "AccessDenied", Attempt::Signed, Verdict::Refused),
            (400, "InvalidArgument", Attempt::Signed, Verdict::Refused),
            (403, "SignatureDoesNotMatch", Attempt::Tampered, Verdict::Refused),
            (403, "SignatureDoesNotMatch", Attempt::Signed, Verdict::Failed),
            (400, "ExpiredToken", Attempt::Signed, Verdict::Failed),
            (403, "RequestTimeTooSkewed", Attempt::Tampered, Verdict::Failed),
            (400, "EntityTooSmall", Attempt::Signed, Verdict::Failed),
            (503, "SlowDown", Attempt::Signed, Verdict::Failed),
            (400, "XMinioInvalidResourceName", Attempt::Signed, Verdict::Refused),
            (400, "XMinioInvalidObjectName", Attempt::Tampered, Verdict::Refused),
            (400, "InvalidObjectName", Attempt::Tampered, Verdict::Refused),
            (400, "XMinioStorageFull", Attempt::Tampered, Verdict::Failed),
            (404, "NoSuchKey", Attempt::Signed, Verdict::Open),
            (501, "NotImplemented", Attempt::Signed, Verdict::Skipped),
        ] {
            assert_eq!(Finding::of_refusal(reply(status, code), attempt).verdict, verdict, "{status} {code}");
        }
        let ok = Reply { status: StatusCode::OK, headers: http::HeaderMap::new(), body: Vec::new().into() };
        assert_eq!(Finding::of_refusal(Ok(ok), Attempt::Tampered).verdict, Verdict::Open);
        assert_eq!(Finding::of_refusal(Err("reset".to_owned()), Attempt::Signed).verdict, Verdict::Failed);
    }

    #[test]
    fn the_worst_of_several_is_named() {
        let both = [("PUT", Finding::refused("x")), ("GET", Finding::refused("x"))];
        assert_eq!(Finding::worst_of(&both), Finding::refused("PUT, GET: x"));
        let one = [("PUT", Finding::refused("x")), ("GET", Finding::open("x"))];
        assert_eq!(Finding::worst_of(&one), Finding::open("GET: x"));
    }
}
