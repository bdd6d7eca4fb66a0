//! From an answer to a finding. Pure.
//!
//! Invariant: only an answer that refuses for the right reason counts as a refusal. A session that has ended, a clock
//! that is off or an outage would refuse anything, and says nothing about folders.

use http::StatusCode;

use super::{
    report::{Finding, Verdict},
    s3::{NoAnswer, Reply},
};

/// Codes with which another's folder is refused, or a way of writing a key.
const REFUSALS: &[&str] =
    &["AccessDenied", "InvalidArgument", "InvalidRequest", "InvalidURI", "KeyTooLongError"];

/// Codes with which a changed signature or form is refused besides.
const TAMPERED: &[&str] = &[
    "SignatureDoesNotMatch",
    "AuthorizationQueryParametersError",
    "MissingSecurityHeader",
    "InvalidPolicyDocument",
    "MalformedPOSTRequest",
];

/// What was tried, as far as it decides which refusals count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Well signed: it is refused for the folder, or for how the key is written.
    Signed,
    /// Changed after it was signed, unsigned, or of a path that a proxy on the way may rewrite.
    Tampered,
}

/// What must be refused.
pub(super) fn refusal(reply: Result<Reply, NoAnswer>, attempt: Attempt) -> Finding {
    let reply = match reply {
        Ok(reply) => reply,
        Err(no_answer) => return (Verdict::Failed, no_answer),
    };
    let said = reply.said();
    match reply.status.as_u16() {
        400 | 403 => {
            let counts = reply.code().is_none_or(|code| {
                REFUSALS.contains(&code.as_str())
                    || attempt == Attempt::Tampered && TAMPERED.contains(&code.as_str())
            });
            if counts {
                (Verdict::Refused, said)
            } else {
                (Verdict::Failed, format!("{said} says nothing about access"))
            }
        }
        404 => (Verdict::Open, format!("{said}: it tells what exists there")),
        200..=299 | 304 | 409 | 412 | 416 => (Verdict::Open, said),
        405 | 501 => not_served(&said),
        _ => (Verdict::Failed, format!("{said} says nothing about access")),
    }
}

/// What a validator may read: it is there or it is not, but it is not refused.
pub(super) fn readable(reply: Result<Reply, NoAnswer>) -> Finding {
    match reply {
        Ok(reply) if reply.status.is_success() || reply.status == StatusCode::NOT_FOUND => {
            (Verdict::Passed, format!("{}: readable", reply.said()))
        }
        Ok(reply) if matches!(reply.status.as_u16(), 405 | 501) => not_served(&reply.said()),
        Ok(reply) => (Verdict::Failed, reply.said()),
        Err(no_answer) => (Verdict::Failed, no_answer),
    }
}

/// What must work.
pub(super) fn success(outcome: Result<String, String>) -> Finding {
    match outcome {
        Ok(detail) => (Verdict::Passed, detail),
        Err(detail) => (Verdict::Failed, detail),
    }
}

/// What this server does not have.
pub(super) fn not_served(said: &str) -> Finding {
    (Verdict::Skipped, format!("not served ({said})"))
}

/// One finding of several: the worst of them, with the names of those that are as bad.
pub(super) fn together(findings: Vec<(&str, Finding)>) -> Finding {
    let worst = findings.iter().map(|(_, (verdict, _))| *verdict).max().unwrap_or(Verdict::Skipped);
    let mut details: Vec<String> = Vec::new();
    let of_worst = findings.iter().filter(|(_, (verdict, _))| *verdict == worst);
    if worst <= Verdict::Refused {
        let names: Vec<_> = of_worst.clone().map(|(name, _)| *name).collect();
        for (_, (_, detail)) in of_worst {
            if !details.contains(detail) {
                details.push(detail.clone());
            }
        }
        return (worst, format!("{}: {}", names.join(", "), details.join(", ")));
    }
    details.extend(of_worst.map(|(name, (_, detail))| format!("{name}: {detail}")));
    (worst, details.join(", "))
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
            (404, "NoSuchKey", Attempt::Signed, Verdict::Open),
            (501, "NotImplemented", Attempt::Signed, Verdict::Skipped),
        ] {
            assert_eq!(refusal(reply(status, code), attempt).0, verdict, "{status} {code}");
        }
        let ok = Reply { status: StatusCode::OK, headers: http::HeaderMap::new(), body: Vec::new().into() };
        assert_eq!(refusal(Ok(ok), Attempt::Tampered).0, Verdict::Open);
        assert_eq!(refusal(Err("reset".to_owned()), Attempt::Signed).0, Verdict::Failed);
    }

    #[test]
    fn the_worst_of_several_is_named() {
        let finding = |verdict| (verdict, "x".to_owned());
        assert_eq!(
            together(vec![("PUT", finding(Verdict::Refused)), ("GET", finding(Verdict::Refused))]),
            (Verdict::Refused, "PUT, GET: x".to_owned())
        );
        assert_eq!(
            together(vec![("PUT", finding(Verdict::Refused)), ("GET", finding(Verdict::Open))]),
            (Verdict::Open, "GET: x".to_owned())
        );
    }
}
