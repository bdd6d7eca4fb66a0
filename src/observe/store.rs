//! What the store behind costs: how often it is asked, what it says, how long it takes, and its connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use super::{
    Metrics,
    exposition::Exposition,
    instruments::{Count, Histogram, Level},
};

/// What became of one request to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreResult {
    /// It answered with a status of that class.
    Informational,
    Success,
    Redirect,
    ClientError,
    ServerError,
    /// Nobody was asked: the breaker is open.
    LeftAlone,
    /// There was no connection.
    Unreached,
    /// The connection broke before an answer.
    Died,
    /// Nothing came in time.
    Silent,
    /// A success came before the request was all sent.
    Early,
    /// The answer's length cannot be told.
    Ambiguous,
    /// There is nothing to sign with.
    Credentials,
    /// The request could not be made.
    Fault,
}

impl StoreResult {
    const ALL: [Self; 13] = [
        Self::Informational,
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::LeftAlone,
        Self::Unreached,
        Self::Died,
        Self::Silent,
        Self::Early,
        Self::Ambiguous,
        Self::Credentials,
        Self::Fault,
    ];

    /// The class of a status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirect,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::LeftAlone => "left_alone",
            Self::Unreached => "unreached",
            Self::Died => "died",
            Self::Silent => "silent",
            Self::Early => "early",
            Self::Ambiguous => "ambiguous",
            Self::Credentials => "credentials",
            Self::Fault => "fault",
        }
    }
}

/// The methods of requests to the store.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

/// The place of a method; of any other the last.
fn method_index(method: &Method) -> usize {
    METHODS.iter().take_while(|known| **known != method.as_str()).count().min(METHODS.len() - 1)
}

/// What is counted of the store.
#[derive(Debug, Default)]
pub(crate) struct StoreCounts {
    results: [[Count; StoreResult::ALL.len()]; METHODS.len()],
    first_byte: [Histogram; METHODS.len()],
    duration: [Histogram; METHODS.len()],
    /// Requests that were sent once more after a failure.
    pub(crate) retries: Count,
    /// Connections that could not be had.
    pub(crate) connect_failures: Count,
    /// How often the breaker opened.
    pub(crate) breaker_opened: Count,
    connections_opened: Count,
    connections: Level,
}

/// The pool of connections to the store, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StorePool {
    /// Requests under way.
    pub(crate) under_way: u64,
    /// How many there may be.
    pub(crate) under_way_max: u64,
    /// Requests that wait for the store to come back.
    pub(crate) waiting: u64,
    /// Whether requests are refused at once.
    pub(crate) breaker_is_open: bool,
}

impl StoreCounts {
    /// Counts what became of a request.
    pub(crate) fn ended(&self, method: &Method, result: StoreResult) {
        let results = self.results.get(method_index(method));
        if let Some(count) = results.and_then(|results| results.get(result as usize)) {
            count.one();
        }
    }

    pub(super) fn write(&self, pool: &StorePool, out: &mut Exposition) {
        let mut family = out.counter(
            "subgate_store_requests",
            "Requests to the store by what became of them: the class of its status, or why there was no \
             answer.",
        );
        for (method, results) in METHODS.iter().zip(&self.results) {
            for (result, count) in StoreResult::ALL.iter().zip(results) {
                if count.now() > 0 {
                    family.with(&[("method", method), ("result", result.as_str())], count.now());
                }
            }
        }
        let mut family = out.histogram(
            "subgate_store_first_byte_seconds",
            "Time from sending a request to the store until its answer begins, the request's body included.",
        );
        for (method, histogram) in METHODS.iter().zip(&self.first_byte) {
            family.times(("method", method), histogram);
        }
        let mut family = out.histogram(
            "subgate_store_duration_seconds",
            "Time from sending a request to the store until its answer has ended, at the client's pace.",
        );
        for (method, histogram) in METHODS.iter().zip(&self.duration) {
            family.times(("method", method), histogram);
        }
        let StorePool { under_way, under_way_max, waiting, breaker_is_open } = *pool;
        out.counter("subgate_store_retries", "Requests sent to the store once more after a failure.")
            .value(self.retries.now());
        out.gauge("subgate_store_requests_under_way", "Requests to the store whose answer has not ended.")
            .value(under_way);
        out.gauge("subgate_store_requests_under_way_max", "How many of them there may be at one time.")
            .value(under_way_max);
        out.gauge("subgate_store_requests_waiting", "Requests that wait for the store to come back.")
            .value(waiting);
        out.gauge(
            "subgate_store_breaker_open",
            "1 while the store is left alone and requests are refused at once, 0 otherwise.",
        )
        .value(u8::from(breaker_is_open));
        out.counter("subgate_store_breaker_opened", "How often the store began to be left alone.")
            .value(self.breaker_opened.now());
        let open = self.connections.now();
        out.gauge("subgate_store_connections_open", "Connections to the store.").value(open);
        out.gauge(
            "subgate_store_connections_idle",
            "Connections to the store beyond the requests under way: kept for the next ones.",
        )
        .value(open.saturating_sub(under_way));
        out.counter("subgate_store_connections_opened", "Connections to the store that were made.")
            .value(self.connections_opened.now());
        out.counter("subgate_store_connect_failures", "Connections to the store that could not be made.")
            .value(self.connect_failures.now());
    }
}

/// A connection to the store: counted as open until it is dropped.
#[derive(Debug)]
pub(crate) struct StoreConnection(Arc<Metrics>);

impl StoreConnection {
    /// One that has just been made.
    pub(crate) fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.store.connections_opened.one();
        metrics.store.connections.enter();
        Self(Arc::clone(metrics))
    }
}

impl Drop for StoreConnection {
    fn drop(&mut self) {
        self.0.store.connections.leave();
    }
}

/// The time of one request at the store; what it took in all is counted when it is dropped.
#[derive(Debug)]
pub(crate) struct StoreTimer {
    metrics: Arc<Metrics>,
    method: usize,
    began: Instant,
}

impl StoreTimer {
    /// Begins as the request is sent.
    pub(crate) fn begin(metrics: &Arc<Metrics>, method: &Method) -> Self {
        Self { metrics: Arc::clone(metrics), method: method_index(method), began: Instant::now() }
    }

    /// Counts that the answer begins, and tells how long that took.
    pub(crate) fn answered(&self) -> Duration {
        let elapsed = self.began.elapsed();
        if let Some(histogram) = self.metrics.store.first_byte.get(self.method) {
            histogram.record(elapsed);
        }
        elapsed
    }
}

impl Drop for StoreTimer {
    fn drop(&mut self) {
        if let Some(histogram) = self.metrics.store.duration.get(self.method) {
            histogram.record(self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_place_of_its_own() {
        assert!(StoreResult::ALL.iter().enumerate().all(|(at, result)| *result as usize == at));
        for (at, method) in METHODS.iter().enumerate() {
            assert_eq!(method_index(&method.parse().unwrap()), at);
        }
        assert_eq!(method_index(&Method::PATCH), METHODS.len() - 1);
        assert_eq!(StoreResult::of_status(StatusCode::NOT_FOUND), StoreResult::ClientError);
    }
}
