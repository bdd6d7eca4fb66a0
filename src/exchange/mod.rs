//! What belongs to one request: its head, the one reading of the clock, its id, its body, its answer and the
//! line that the log will have of it.

mod access_record;
mod answer;
mod passage;
mod refusals;
mod request_body;
mod store_answer;
mod trace_context;

use std::{fmt, net::IpAddr, sync::Arc, time::SystemTime};

pub(crate) use access_record::{AccessRecord, first_request_id};
pub(crate) use answer::{Answer, AnswerBody, REQUEST_ID, ReplaceError};
use http::{Method, request::Parts};
pub(crate) use refusals::RefusalLines;
pub(crate) use request_body::RequestBody;
pub(crate) use store_answer::{Carrier, StoreAnswer};

use self::passage::Passage;
use crate::{
    body::{
        gate::Gate,
        progress::{PIECE_BYTES_MIN, RequestProgress},
    },
    chain::AccountId,
    limits::{Sender, Ticket},
    site,
    time::UnixTime,
};

/// One request on its way through.
pub(crate) struct Exchange {
    /// Its head, as it arrived.
    pub head: Parts,
    /// The address of the connection: the client's, or that of a proxy in front.
    pub peer: IpAddr,
    /// Who sends it, as far as the connection tells: whom limits count before anybody is known.
    pub sender: Sender,
    /// Whether it came through a proxy that is believed.
    pub from_edge: bool,
    /// The scheme by which the client reached this server.
    scheme: &'static str,
    /// When it arrived (or, at an endpoint, its body), by which everything about it is decided.
    pub arrived_at: SystemTime,
    /// The same, for signatures and ages.
    pub now: UnixTime,
    /// Until when what was decided about it counts; its arrival, as long as nothing is decided.
    pub counts_until: UnixTime,
    /// How large the pieces may be in which its answer is read.
    pub piece_bytes_max: usize,
    /// What its answer asks before a piece passes; none where nothing holds it back.
    pub gate: Option<Box<dyn Gate>>,
    /// What the log will say of it.
    pub record: AccessRecord,
}

impl Exchange {
    /// A request that has just arrived from `client` by `scheme`, over a connection from `peer`. Whatever
    /// becomes of it, it leaves one access record.
    pub(crate) fn begin(
        head: Parts,
        peer: IpAddr,
        client: IpAddr,
        from_edge: bool,
        scheme: &'static str,
        progress: &RequestProgress,
    ) -> Self {
        let arrived_at = SystemTime::now();
        #[cfg_attr(not(feature = "otel"), allow(unused_mut, reason = "only a span changes it here"))]
        let mut record = AccessRecord::begin(client, &head, Arc::clone(progress.connection()));
        #[cfg(feature = "otel")]
        record.begin_span(head.version, &endpoint(scheme, &head));
        // The edge itself is the client where it does not say who is.
        let sender = match from_edge && client == peer {
            true => Sender::Edge,
            false => Sender::at(client),
        };
        let now = UnixTime::from(arrived_at);
        Self {
            head,
            peer,
            sender,
            from_edge,
            scheme,
            arrived_at,
            now,
            counts_until: now,
            piece_bytes_max: progress.piece_bytes_max(),
            gate: None,
            record,
        }
    }

    /// The URL under which the client reached this server, without a path; empty where it named no host.
    pub(crate) fn endpoint(&self) -> String {
        endpoint(self.scheme, &self.head)
    }

    /// Admits it: the ticket lives until the body and the answer have ended, and counts their bytes.
    pub(crate) fn admitted(&self, ticket: Ticket) {
        self.passage().admit(ticket);
    }

    /// The ticket it was admitted with.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        self.passage().ticket()
    }

    /// The head of the store's answer has come.
    pub(crate) fn store_answered(&self) {
        self.record.store_answered();
    }

    /// What its body and this have in common.
    fn passage(&self) -> &Arc<Passage> {
        self.record.passage()
    }

    /// Reads the clock anew once the whole body (of a form, its head) is there: a client takes as long as it
    /// likes to send one, and what it signed must not live longer by that (P9, P38).
    pub(crate) fn body_arrived(&mut self) {
        self.arrived_at = SystemTime::now();
        self.now = UnixTime::from(self.arrived_at);
    }

    /// For whom the store is asked, and when.
    pub(crate) fn on_behalf(&self) -> OnBehalf {
        OnBehalf {
            hotkey: self.record.hotkey,
            now: self.now,
            counts_until: self.counts_until,
            piece_bytes_max: self.piece_bytes_max,
        }
    }

    /// Whether the answer has no body whatever it says.
    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }

    /// The path of the request target as it was sent.
    pub(crate) fn path(&self) -> &str {
        self.head.uri.path()
    }
}

fn endpoint(scheme: &str, head: &Parts) -> String {
    site::host(head).map(|host| format!("{scheme}://{host}")).unwrap_or_default()
}

/// For whom the store is asked, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnBehalf {
    /// None for this server itself.
    pub hotkey: Option<AccountId>,
    /// When the request arrived; its signature for the store is of this time.
    pub now: UnixTime,
    /// When the snapshot that it was decided by becomes too old. Nothing is waited for beyond that.
    pub counts_until: UnixTime,
    /// How large the pieces may be in which the answer is read.
    pub piece_bytes_max: usize,
}

impl OnBehalf {
    /// For this server itself, which waits for nothing.
    pub(crate) fn server(now: UnixTime) -> Self {
        Self { hotkey: None, now, counts_until: now, piece_bytes_max: PIECE_BYTES_MIN }
    }
}

/// Without headers and query, which hold signatures (P51).
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, record, .. } = self;
        write!(f, "Exchange({} {} {})", record.request_id, head.method, head.uri.path())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::body::{
        pace::Pace,
        progress::{ConnectionProgress, PIECE_BYTES_MIN, Protocol},
    };

    #[test]
    fn p51_an_exchange_shows_no_signature() {
        let (head, ()) = http::Request::get("/bucket/key?X-Amz-Signature=query-secret")
            .header("authorization", "header-secret")
            .header("x-amz-security-token", "token-secret")
            .body(())
            .unwrap()
            .into_parts();
        let address = [127, 0, 0, 1].into();
        let now = tokio::time::Instant::now();
        let connection = ConnectionProgress::begin(Pace::idle(Duration::MAX), PIECE_BYTES_MIN, now);
        let progress = connection.request(Protocol::Http1);
        let exchange = Exchange::begin(head, address, address, false, "http", &progress);
        let shown = format!("{exchange:?}");
        assert!(shown.contains("GET /bucket/key") && !shown.contains("secret"), "{shown}");
    }
}
