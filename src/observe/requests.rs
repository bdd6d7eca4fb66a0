//! What became of requests: by operation, role, status and reason, and how long they took.
//!
//! Invariant: labels are words of this program's own enums (P50). What is beyond a list is `other`, and a
//! request that is not understood is of the operation `unknown`.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::{
    Metrics,
    exposition::Exposition,
    instruments::{Count, Histogram, Level},
    named_counts::NamedCounts,
    principals::{Caller, Traffic},
};
use crate::{
    chain::Role,
    endpoint::Endpoint,
    error::{Code, Error, Reason},
    s3::Operation,
};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An operation of S3.
    Operation(Operation),
    /// One of the endpoints beside S3.
    Endpoint(Endpoint),
    /// It was not understood, or refused before that.
    Unknown,
}

impl Asked {
    const COUNT: usize = Operation::ALL.len() + Endpoint::ALL.len() + 1;

    fn all() -> impl Iterator<Item = Self> {
        let operations = Operation::ALL.iter().copied().map(Self::Operation);
        let endpoints = Endpoint::ALL.iter().copied().map(Self::Endpoint);
        operations.chain(endpoints).chain([Self::Unknown])
    }

    /// Its place in [`Self::all`].
    fn index(self) -> usize {
        match self {
            Self::Operation(operation) => operation as usize,
            Self::Endpoint(endpoint) => Operation::ALL.len() + endpoint as usize,
            Self::Unknown => Operation::ALL.len() + Endpoint::ALL.len(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Operation(operation) => operation.as_str(),
            Self::Endpoint(endpoint) => endpoint.path(),
            Self::Unknown => "unknown",
        }
    }

    /// The few kinds of which times are counted.
    fn kind(self) -> Kind {
        match self {
            Self::Operation(
                Operation::GetObject
                | Operation::HeadObject
                | Operation::GetObjectAttributes
                | Operation::HeadBucket
                | Operation::GetBucketLocation,
            ) => Kind::Read,
            Self::Operation(
                Operation::ListBuckets
                | Operation::ListObjects
                | Operation::ListObjectsV2
                | Operation::ListMultipartUploads
                | Operation::ListParts,
            ) => Kind::List,
            Self::Operation(
                Operation::CreateBucket
                | Operation::DeleteObjects
                | Operation::PutObject
                | Operation::CopyObject
                | Operation::UploadPart
                | Operation::UploadPartCopy
                | Operation::CreateMultipartUpload
                | Operation::CompleteMultipartUpload
                | Operation::AbortMultipartUpload
                | Operation::DeleteObject,
            ) => Kind::Write,
            Self::Endpoint(_) => Kind::Endpoint,
            Self::Unknown => Kind::Unknown,
        }
    }
}

/// A kind of request, of which times are counted.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    List,
    Write,
    Endpoint,
    Unknown,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Read, Self::List, Self::Write, Self::Endpoint, Self::Unknown];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Endpoint => "endpoint",
            Self::Unknown => "unknown",
        }
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it was handed on.
    Complete,
    /// The store failed in the middle.
    Failed,
    /// The client did not want the rest.
    Cancelled,
    /// The client took too little of it, and was cut off.
    TooSlow,
    /// This server ended it, for it is shutting down.
    CutByServer,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Complete, Self::Failed, Self::Cancelled, Self::TooSlow, Self::CutByServer];

    /// Its name in metrics and in the access record.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TooSlow => "too_slow",
            Self::CutByServer => "cut_by_server",
        }
    }
}

/// Roles as labels; the last is for requests of nobody who is registered.
const ROLES: [&str; 4] = ["miner", "undecided", "validator", "none"];

const fn role_index(role: Option<Role>) -> usize {
    match role {
        Some(Role::Miner) => 0,
        Some(Role::Undecided) => 1,
        Some(Role::Validator) => 2,
        None => 3,
    }
}

/// Statuses that S3 and the endpoints answer with; the store may have others.
const STATUSES: [(u16, &str); 22] = [
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (206, "206"),
    (303, "303"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (416, "416"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
];

fn status_index(status: Option<StatusCode>) -> usize {
    match status {
        Some(status) => STATUSES.iter().take_while(|(known, _)| *known != status.as_u16()).count(),
        None => STATUSES.len() + 1,
    }
}

/// Why a request was refused or failed: the reason, or where there is none the code of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Why(usize);

impl Why {
    const COUNT: usize = Reason::ALL.len() + Code::ALL.len();

    pub(crate) fn of(error: &Error) -> Self {
        Self(error.reason.map_or(Reason::ALL.len() + error.code as usize, |reason| reason as usize))
    }

    /// What each is called, in their order.
    fn names() -> impl Iterator<Item = &'static str> {
        let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
        reasons.chain(Code::ALL.iter().map(|code| code.as_str()))
    }
}

/// A request whose answer has ended.
#[derive(Debug)]
pub(crate) struct EndedRequest<'a> {
    /// What it asked for.
    pub(crate) asked: Asked,
    /// Who asked, where a registered hotkey did.
    pub(crate) caller: Option<Caller<'a>>,
    /// With which status it was answered; none where it was cut before that.
    pub(crate) status: Option<StatusCode>,
    /// Why it was refused or failed.
    pub(crate) why: Option<Why>,
    /// The name of the limit that refused it; one of this program's own.
    pub(crate) limit: Option<&'a str>,
    /// From its arrival until its answer began.
    pub(crate) first_byte: Duration,
    /// From its arrival until its answer ended.
    pub(crate) duration: Duration,
    /// How its answer ended.
    pub(crate) outcome: Outcome,
    /// Bytes of its body.
    pub(crate) received_bytes: u64,
    /// Bytes of its answer's body.
    pub(crate) sent_bytes: u64,
}

/// What is counted of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    under_way: Level,
    /// By what is asked, role and status, in this order.
    ended: Box<[Count]>,
    /// By why and role.
    refused: Box<[Count]>,
    outcomes: [Count; Outcome::ALL.len()],
    first_byte: [Histogram; Kind::ALL.len()],
    duration: [Histogram; Kind::ALL.len()],
    received_bytes: Count,
    sent_bytes: Count,
    /// Limits that were hit, by name.
    limits: NamedCounts,
    sessions_issued: Count,
    sessions_refused: Count,
}

/// The known ones, any other, and none.
const STATUS_COUNT: usize = STATUSES.len() + 2;

impl Default for Requests {
    fn default() -> Self {
        let counts = |count| (0..count).map(|_| Count::default()).collect();
        Self {
            under_way: Level::default(),
            ended: counts(Asked::COUNT * ROLES.len() * STATUS_COUNT),
            refused: counts(Why::COUNT * ROLES.len()),
            outcomes: Default::default(),
            first_byte: Default::default(),
            duration: Default::default(),
            received_bytes: Count::default(),
            sent_bytes: Count::default(),
            limits: NamedCounts::default(),
            sessions_issued: Count::default(),
            sessions_refused: Count::default(),
        }
    }
}

impl Requests {
    fn end(&self, request: &EndedRequest<'_>) {
        let EndedRequest { asked, caller, status, why, limit, first_byte, duration, outcome, .. } = request;
        let role = role_index(caller.as_ref().map(|caller| caller.role));
        let at = (asked.index() * ROLES.len() + role) * STATUS_COUNT + status_index(*status);
        one(&self.ended, at);
        if let Some(why) = why {
            one(&self.refused, why.0 * ROLES.len() + role);
        }
        if let Some(limit) = limit {
            self.limits.one(limit);
        }
        one(&self.outcomes, *outcome as usize);
        self.received_bytes.add(request.received_bytes);
        self.sent_bytes.add(request.sent_bytes);
        let kind = asked.kind() as usize;
        if let (Some(first), Some(all)) = (self.first_byte.get(kind), self.duration.get(kind)) {
            first.record(*first_byte);
            all.record(*duration);
        }
        if *asked == Asked::Endpoint(Endpoint::Session) {
            let is_issued = status.is_some_and(|status| status.is_success());
            if is_issued { &self.sessions_issued } else { &self.sessions_refused }.one();
        }
    }

    pub(super) fn write(&self, out: &mut Exposition) {
        let mut family = out.counter("subgate_requests", "Requests whose answer has ended.");
        for asked in Asked::all() {
            for (role, role_name) in ROLES.into_iter().enumerate() {
                let statuses = STATUSES.iter().map(|(_, name)| *name).chain(["other", "none"]);
                for (status, status_name) in statuses.enumerate() {
                    let at = (asked.index() * ROLES.len() + role) * STATUS_COUNT + status;
                    let count = self.ended.get(at).map_or(0, Count::now);
                    if count > 0 {
                        let labels =
                            [("operation", asked.as_str()), ("role", role_name), ("status", status_name)];
                        family.with(&labels, count);
                    }
                }
            }
        }
        let mut family = out.counter(
            "subgate_requests_refused",
            "Requests that were refused or failed here, by reason; what the store refuses is not among them.",
        );
        for (why, name) in Why::names().enumerate() {
            for (role, role_name) in ROLES.into_iter().enumerate() {
                let count = self.refused.get(why * ROLES.len() + role).map_or(0, Count::now);
                if count > 0 {
                    family.with(&[("reason", name), ("role", role_name)], count);
                }
            }
        }
        let mut family = out.counter(
            "subgate_answers",
            "Answers by how they ended: complete, failed (the store broke off), cancelled (the client left), \
             too_slow (the client took too little) or cut_by_server.",
        );
        for (outcome, count) in Outcome::ALL.iter().zip(&self.outcomes) {
            family.with(&[("outcome", outcome.as_str())], count.now());
        }
        out.gauge("subgate_requests_under_way", "Requests whose answer has not ended.")
            .value(self.under_way.now());
        out.counter("subgate_received_bytes", "Bytes of bodies of requests whose answer has ended.")
            .value(self.received_bytes.now());
        out.counter("subgate_sent_bytes", "Bytes of bodies of answers that have ended.")
            .value(self.sent_bytes.now());
        let mut family = out.histogram(
            "subgate_request_first_byte_seconds",
            "Time from the arrival of a request until its answer begins.",
        );
        for (kind, histogram) in Kind::ALL.iter().zip(&self.first_byte) {
            family.times(("kind", kind.as_str()), histogram);
        }
        let mut family = out.histogram(
            "subgate_request_duration_seconds",
            "Time from the arrival of a request until its answer has ended, at the client's own pace.",
        );
        for (kind, histogram) in Kind::ALL.iter().zip(&self.duration) {
            family.times(("kind", kind.as_str()), histogram);
        }
        let mut family = out.counter("subgate_limit_hits", "Refusals by a limit, by the limit's name.");
        self.limits.each(|limit, count| family.with(&[("limit", limit)], count));
        out.counter("subgate_sessions_issued", "Sessions that were given.").value(self.sessions_issued.now());
        out.counter("subgate_sessions_refused", "Requests for a session that were refused.")
            .value(self.sessions_refused.now());
    }
}

fn one(counts: &[Count], at: usize) {
    if let Some(count) = counts.get(at) {
        count.one();
    }
}

/// A request on its way: counted as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct RequestUnderWay(Arc<Metrics>);

impl RequestUnderWay {
    pub(super) fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.requests.under_way.enter();
        Self(Arc::clone(metrics))
    }

    /// Counts what became of it.
    pub(crate) fn end(&self, request: &EndedRequest<'_>) {
        self.0.requests.end(request);
        if let Some(caller) = request.caller {
            let EndedRequest { status, why, received_bytes, sent_bytes, .. } = *request;
            let is_error = why.is_some()
                || status.is_none_or(|status| status.is_client_error() || status.is_server_error());
            let errors = u64::from(is_error);
            let traffic = Traffic { requests: 1, errors, bytes_in: received_bytes, bytes_out: sent_bytes };
            self.0.principals.count(caller, traffic);
        }
    }
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.requests.under_way.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_place_of_its_own() {
        let places: Vec<usize> = Asked::all().map(Asked::index).collect();
        assert_eq!(places, (0..Asked::COUNT).collect::<Vec<_>>());
        let errors = Code::ALL.iter().map(|code| Error::new(*code, "m"));
        let because = Reason::ALL.iter().map(|reason| Error::new(Code::AccessDenied, "m").reason(*reason));
        let all: Vec<Error> = because.chain(errors).collect();
        assert!(all.iter().map(Why::of).eq((0..Why::COUNT).map(Why)));
        assert!(all.iter().map(Error::reason_name).eq(Why::names()));
        assert!(Kind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
        for role in [Role::Miner, Role::Undecided, Role::Validator] {
            assert_eq!(ROLES[role_index(Some(role))], role.as_str());
        }
        assert_eq!(status_index(Some(StatusCode::OK)), 0);
        assert_eq!(status_index(Some(StatusCode::IM_A_TEAPOT)), STATUSES.len());
        assert!(STATUSES.iter().all(|(status, shown)| status.to_string() == *shown));
    }
}
