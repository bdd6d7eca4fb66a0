//! The access record: one line for each request, written when its answer has ended, or when nobody waits for
//! one any more.
//!
//! Invariants: whatever becomes of a request, it leaves exactly one line; the line holds who, what and how it
//! ended, and never a query, a token or a signature (P51).

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, StatusCode, header, request::Parts};

use super::{
    passage::Passage,
    refusals::{RefusalLines, Refused},
    trace_context::TraceContext,
};
#[cfg(feature = "otel")]
use crate::otel;
use crate::{
    body::{answer_stream::AnswerEnd, progress::ConnectionProgress},
    chain::{AccountId, Owner, Role},
    endpoint::Endpoint,
    error::{Error, Reason},
    limits::Sender,
    observe::{Asked, Caller, EndedRequest, Outcome, RequestUnderWay, Why},
    s3::Operation,
};

/// What is kept of the name that a client gives itself.
const USER_AGENT_BYTES_MAX: usize = 128;

/// What is known of one request so far. Dropped before [`AccessRecord::end`], it was never answered, which is
/// a line as well.
#[derive(Debug)]
pub(crate) struct AccessRecord {
    /// The id in the answer's `x-amz-request-id`.
    pub request_id: String,
    started: Instant,
    client: IpAddr,
    method: Method,
    user_agent: Option<Box<str>>,
    trace: Option<TraceContext>,
    /// Its span, where it has one.
    #[cfg(feature = "otel")]
    span: Option<Box<otel::OpenSpan>>,
    connection: Arc<ConnectionProgress>,
    passage: Arc<Passage>,
    /// The endpoint that was asked, where it was one.
    pub endpoint: Option<Endpoint>,
    /// Who called, once verified.
    pub hotkey: Option<AccountId>,
    /// The same as the registry spells it, once looked up: to spell an address takes longer than the rest of
    /// a record.
    pub owner: Option<Arc<Owner>>,
    /// By which role, once looked up.
    pub role: Option<Role>,
    /// The block of the chain at which that was decided; none with a registry file.
    pub block: Option<u64>,
    /// What for, once parsed.
    pub operation: Option<Operation>,
    /// On which key, once parsed.
    pub key: Option<String>,
    /// What became of the request, where its status does not say it.
    pub note: Option<&'static str>,
    /// The refusal or failure, where there was one.
    pub error: Option<Error>,
    /// The answer's status, and how long after the request it was there.
    answered: Option<(StatusCode, Duration)>,
    /// Where it is counted.
    pub observed: Option<RequestUnderWay>,
    /// What holds floods of refusals back from the log.
    pub refusals: Option<Arc<RefusalLines>>,
    is_written: bool,
}

/// Who ended a transfer before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutBy {
    /// The client went away.
    Client,
    /// This server: its client was too slow, or its own time to drain was over.
    Server,
    /// The store.
    Store,
}

impl CutBy {
    /// Its name in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Store => "store",
        }
    }
}

impl AccessRecord {
    /// Begins the record of a request that has just arrived from `client` over `connection`.
    pub(crate) fn begin(client: IpAddr, head: &Parts, connection: Arc<ConnectionProgress>) -> Self {
        Self {
            request_id: request_id(),
            started: Instant::now(),
            client,
            method: head.method.clone(),
            user_agent: user_agent(&head.headers),
            trace: TraceContext::of(&head.headers),
            #[cfg(feature = "otel")]
            span: None,
            connection,
            passage: Arc::default(),
            endpoint: None,
            hotkey: None,
            owner: None,
            role: None,
            block: None,
            operation: None,
            key: None,
            note: None,
            error: None,
            answered: None,
            observed: None,
            refusals: None,
            is_written: false,
        }
    }

    /// Begins its span, for a request to `endpoint`, where it is to have one.
    #[cfg(feature = "otel")]
    pub(super) fn begin_span(&mut self, version: http::Version, endpoint: &str) {
        let parent = self.trace.as_ref().map(|trace| otel::Parent {
            trace_id: trace.trace_id(),
            span_id: trace.parent_id(),
            is_sampled: trace.is_sampled(),
        });
        self.span = otel::begin(parent, version, endpoint);
    }

    #[cfg(feature = "otel")]
    fn end_span(&self, duration: Duration, outcome: Outcome) {
        let Some(span) = &self.span else { return };
        otel::end(
            span,
            &otel::EndedRequest {
                request_id: &self.request_id,
                method: &self.method,
                client: self.client,
                operation: self.operation.map(Operation::as_str),
                route: self.endpoint.map(Endpoint::path),
                role: self.role.map(Role::as_str),
                status: self.answered.map(|(status, _)| status),
                reason: self.error.as_ref().map(Error::reason_name),
                outcome: outcome.as_str(),
                duration,
            },
        );
    }

    /// The trace to which it belongs: the client's, or that of its own span.
    fn trace_id(&self) -> Option<&str> {
        #[cfg(feature = "otel")]
        if let Some(span) = &self.span {
            return Some(span.trace_id());
        }
        self.trace.as_ref().map(TraceContext::trace_id)
    }

    /// What the request and its body have in common.
    pub(super) fn passage(&self) -> &Arc<Passage> {
        &self.passage
    }

    /// The head of the store's answer has come.
    pub(super) fn store_answered(&self) {
        self.passage.store_answered(self.started.elapsed());
    }

    /// The answer is there and goes on its way.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.answered = Some((status, self.started.elapsed()));
    }

    /// The answer has ended: writes the line.
    pub(super) fn end(mut self, sent_bytes: u64, end: &AnswerEnd) {
        let (outcome, cut_by) = match end {
            AnswerEnd::Complete => (Outcome::Complete, None),
            AnswerEnd::Failed(error) => {
                self.error.get_or_insert_with(|| error.clone());
                (Outcome::Failed, Some(CutBy::Store))
            }
            AnswerEnd::Cancelled => (Outcome::Cancelled, Some(CutBy::Client)),
            AnswerEnd::TooSlow => (Outcome::TooSlow, Some(CutBy::Server)),
            AnswerEnd::CutByServer => (Outcome::CutByServer, Some(CutBy::Server)),
        };
        self.write(sent_bytes, outcome, cut_by.or_else(|| self.upload_cut_by()));
    }

    /// Who cuts what ends now before its end.
    fn cut_by(&self) -> CutBy {
        match self.connection.is_cut() || self.connection.is_too_slow() {
            true => CutBy::Server,
            false => CutBy::Client,
        }
    }

    /// Who cut an upload whose answer says that it was cut.
    fn upload_cut_by(&self) -> Option<CutBy> {
        let reason = self.error.as_ref()?.reason?;
        if reason == Reason::BodyCut {
            return Some(self.cut_by());
        }
        let cut_by = [(Reason::BodyTooSlow, CutBy::Server), (Reason::StoreBrokeOff, CutBy::Store)];
        cut_by.into_iter().find_map(|(cause, cut_by)| (cause == reason).then_some(cut_by))
    }

    /// Writes the line: the one place where all that is known of a request stands together.
    fn write(&mut self, sent_bytes: u64, outcome: Outcome, cut_by: Option<CutBy>) {
        self.is_written = true;
        let error = self.error.as_ref();
        let duration = self.started.elapsed();
        if let Some(observed) = &self.observed {
            observed.end(&EndedRequest {
                asked: self.asked(),
                caller: self.caller(),
                status: self.answered.map(|(status, _)| status),
                why: error.map(Why::of),
                limit: error.and_then(|error| error.limit.as_deref()),
                first_byte: self.answered.map_or(duration, |(_, after)| after),
                duration,
                outcome,
                received_bytes: self.passage.received_bytes(),
                sent_bytes,
            });
        }
        #[cfg(feature = "otel")]
        self.end_span(duration, outcome);
        let Some(suppressed) = self.line_passes(sent_bytes, outcome) else { return };
        let hotkey = match &self.owner {
            Some(owner) => Some(Cow::Borrowed(owner.hotkey())),
            None => self.hotkey.map(|hotkey| Cow::Owned(hotkey.to_ss58())),
        };
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "subgate::access",
            request_id = self.request_id,
            peer = %self.client,
            method = self.method.as_str(),
            path = self.endpoint.map(Endpoint::path),
            operation = self.operation.map(Operation::as_str),
            key = self.key,
            hotkey = hotkey.as_deref(),
            coldkey = self.owner.as_ref().map(|owner| owner.coldkey()),
            role = self.role.map(Role::as_str),
            block = self.block,
            status = self.answered.map(|(status, _)| status.as_u16()),
            code = error.map(|error| error.code.as_str()),
            reason = error.map(Error::reason_name),
            limit = error.and_then(|error| error.limit.as_deref()),
            note = self.note,
            detail = error.and_then(|error| error.detail.as_deref()),
            received_bytes = self.passage.received_bytes(),
            sent_bytes,
            store_milliseconds = self.passage.store_time().map(milliseconds),
            first_byte_milliseconds = self.answered.map(|(_, after)| milliseconds(after)),
            milliseconds = milliseconds(duration),
            outcome = outcome.as_str(),
            cut_by = cut_by.map(CutBy::as_str),
            user_agent = self.user_agent.as_deref(),
            suppressed = Some(suppressed).filter(|suppressed| *suppressed > 0),
            trace_id = self.trace_id(),
            parent_id = self.trace.as_ref().map(TraceContext::parent_id),
            "request"
        );
    }

    /// Whether the line is written: one of a flood of refusals may be left out. Tells how many of its kind
    /// were.
    fn line_passes(&self, sent_bytes: u64, outcome: Outcome) -> Option<u64> {
        let (Some(error), Some(refusals)) = (&self.error, &self.refusals) else { return Some(0) };
        if self.was_served(sent_bytes, outcome) {
            return Some(0);
        }
        let refused = match (self.hotkey, &self.owner) {
            (Some(hotkey), Some(_)) => Refused::Hotkey(hotkey),
            (Some(_) | None, _) => Refused::Sender(Sender::at(self.client)),
        };
        refusals.pass(error.reason_name(), refused, Instant::now())
    }

    /// Whether more became of the request than its refusal: bytes were moved for it, or the store was asked.
    fn was_served(&self, sent_bytes: u64, outcome: Outcome) -> bool {
        self.answered.is_some_and(|(status, _)| status.is_success())
            || (sent_bytes > 0 && outcome != Outcome::Complete)
            || self.passage.received_bytes() > 0
            || self.passage.store_time().is_some()
    }

    fn asked(&self) -> Asked {
        match (self.operation, self.endpoint) {
            (Some(operation), _) => Asked::Operation(operation),
            (None, Some(endpoint)) => Asked::Endpoint(endpoint),
            (None, None) => Asked::Unknown,
        }
    }

    fn caller(&self) -> Option<Caller<'_>> {
        Some(Caller { hotkey: self.hotkey?, owner: self.owner.as_ref()?, role: self.role? })
    }
}

/// Its connection ended before there was an answer; or the answer's maker panicked.
impl Drop for AccessRecord {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        if std::thread::panicking() {
            self.error = Some(Error::internal("the answer's maker panicked").reason(Reason::Panicked));
            self.write(0, Outcome::Failed, Some(CutBy::Server));
        } else {
            let cut_by = self.cut_by();
            let outcome = match cut_by {
                CutBy::Server => Outcome::CutByServer,
                CutBy::Client | CutBy::Store => Outcome::Cancelled,
            };
            self.write(0, outcome, Some(cut_by));
        }
    }
}

/// The name that a client gives itself, as far as it is kept; what is no UTF-8 is shown as such.
fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    let given = headers.get(header::USER_AGENT)?.as_bytes();
    let kept = given.get(..USER_AGENT_BYTES_MAX).unwrap_or(given);
    Some(String::from_utf8_lossy(kept).into())
}

/// 16 hex digits: unique within a process by the counter, between processes by where it starts.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // A Weyl sequence: every value once, and neighbours look apart.
    let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:016X}", first_request_id().wrapping_add(step))
}

/// Where the ids of this process start. A server asks for it before its first request: a library that makes
/// random bytes for the first time takes a tenth of a second for it.
pub(crate) fn first_request_id() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(|| {
        let mut bytes = [0; 8];
        // Without random bytes the ids start with the process's; they are no secret.
        match aws_lc_rs::rand::fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => u64::from(std::process::id()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::pace::Pace;

    fn record() -> AccessRecord {
        let (head, ()) = http::Request::new(()).into_parts();
        let client = IpAddr::from([192, 0, 2, 1]);
        let pace = Pace { idle: Duration::MAX, rate_min_bytes_per_second: 0, grace: Duration::MAX };
        let connection = ConnectionProgress::begin(pace, 16 << 10, tokio::time::Instant::now());
        let mut record = AccessRecord::begin(client, &head, connection);
        record.refusals = Some(Arc::new(RefusalLines::new(Some(1))));
        record.error = Some(Error::internal("of a kind").reason(Reason::StoreSilent));
        record
    }

    #[test]
    fn p34_what_was_served_has_its_line_however_often_it_fails() {
        let refused = record();
        assert_eq!(refused.line_passes(300, Outcome::Complete), Some(0));
        assert_eq!(refused.line_passes(300, Outcome::Complete), None);
        let [mut broken_off, uploaded, stored] = [record(), record(), record()];
        broken_off.answered(StatusCode::OK);
        uploaded.passage.received(1);
        stored.store_answered();
        for record in [&broken_off, &uploaded, &stored] {
            assert!((0..3).all(|_| record.line_passes(0, Outcome::Complete) == Some(0)));
        }
        assert!((0..3).all(|_| refused.line_passes(1, Outcome::Cancelled) == Some(0)));
    }

    #[test]
    fn p49_request_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
