//! The access record: one line for each request, written when its answer has ended.
//!
//! It holds who, what and how it ended; never a query, a token or a signature (P51).

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use crate::{
    body::answer_stream::AnswerEnd,
    chain::{AccountId, Owner, Role},
    endpoint::Endpoint,
    error::Error,
    observe::{Asked, Caller, EndedRequest, Outcome, RequestUnderWay},
    s3::Operation,
};

/// What is known of one request so far.
#[derive(Debug)]
pub(crate) struct AccessRecord {
    /// The id in the answer's `x-amz-request-id`.
    pub request_id: String,
    started: Instant,
    client: IpAddr,
    method: Method,
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
    /// The endpoint that was asked, where it was one.
    pub endpoint: Option<Endpoint>,
    /// On which key, once parsed.
    pub key: Option<String>,
    /// Bytes of the client's body.
    pub received_bytes: u64,
    /// What became of the request, where its status does not say it.
    pub note: Option<&'static str>,
    /// The refusal or failure, where there was one.
    pub error: Option<Error>,
    /// Where it is counted.
    pub observed: Option<RequestUnderWay>,
    /// From its arrival until its answer began.
    first_byte: Option<Duration>,
}

impl AccessRecord {
    /// Begins the record of a request that has just arrived.
    pub(crate) fn begin(client: IpAddr, method: &Method) -> Self {
        Self {
            request_id: request_id(),
            started: Instant::now(),
            client,
            method: method.clone(),
            hotkey: None,
            owner: None,
            role: None,
            block: None,
            operation: None,
            key: None,
            received_bytes: 0,
            note: None,
            error: None,
            endpoint: None,
            observed: None,
            first_byte: None,
        }
    }

    /// Takes down that the answer begins.
    pub(crate) fn answer_begins(&mut self) {
        self.first_byte = Some(self.started.elapsed());
    }

    /// Writes the line.
    pub(crate) fn end(self, status: StatusCode, sent_bytes: u64, end: &AnswerEnd) {
        let outcome = match end {
            AnswerEnd::Complete => Outcome::Complete,
            AnswerEnd::Failed(_) => Outcome::Failed,
            AnswerEnd::Cancelled => Outcome::Cancelled,
            AnswerEnd::TooSlow => Outcome::TooSlow,
            AnswerEnd::CutByServer => Outcome::CutByServer,
        };
        let late = match end {
            AnswerEnd::Failed(error) => Some(error),
            AnswerEnd::Complete | AnswerEnd::Cancelled | AnswerEnd::TooSlow | AnswerEnd::CutByServer => None,
        };
        let error = self.error.as_ref().or(late);
        let duration = self.started.elapsed();
        if let Some(observed) = &self.observed {
            observed.end(&EndedRequest {
                asked: self.asked(),
                caller: self.caller(),
                status,
                code: error.map(|error| error.code),
                limit: error.and_then(Error::limit),
                first_byte: self.first_byte.unwrap_or(duration),
                duration,
                outcome,
                received_bytes: self.received_bytes,
                sent_bytes,
            });
        }
        let hotkey = match &self.owner {
            Some(owner) => Some(Cow::Borrowed(owner.hotkey())),
            None => self.hotkey.map(|hotkey| Cow::Owned(hotkey.to_ss58())),
        };
        tracing::info!(
            target: "subgate::access",
            request_id = %self.request_id,
            peer = %self.client,
            method = %self.method,
            operation = self.operation.map(Operation::as_str),
            key = self.key,
            hotkey = hotkey.as_deref(),
            role = self.role.map(Role::as_str),
            block = self.block,
            status = status.as_u16(),
            code = error.map(|error| error.code.as_str()),
            note = self.note,
            detail = error.and_then(|error| error.detail.as_deref()),
            received_bytes = self.received_bytes,
            sent_bytes,
            milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            outcome = outcome.as_str(),
            "request"
        );
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

/// 16 hex digits: unique within a process by the counter, between processes by where it starts.
fn request_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static BASE: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let base = *BASE.get_or_init(|| {
        let mut bytes = [0; 8];
        // Without random bytes the ids start at the time instead; they are no secret.
        match aws_lc_rs::rand::fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => u64::from(std::process::id()),
        }
    });
    // A Weyl sequence: every value once, and neighbours look apart.
    let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{:016X}", base.wrapping_add(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p49_request_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
