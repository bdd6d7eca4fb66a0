//! The task that sends batches of spans to the collector. \[IO\]
//!
//! Invariants: one export at a time, each bounded; a batch that the collector does not take now is tried
//! again after a pause, and what comes meanwhile waits in the queue or is dropped; an outage is told when it
//! begins and when it ends, and no request waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    sync::{mpsc::Receiver, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    otlp,
    settings::{Settings, TracesError},
    span::Span,
    tracer::DroppedSpans,
};
use crate::tls;

/// Spans in one export at most.
const BATCH_SPANS_MAX: usize = 512;

/// The answer to an export has a few bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How often at most it is told that spans are dropped.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// What has not been exported at the end of the process gets so long.
const FINISH_TIME_MAX: Duration = Duration::from_secs(1);

/// The running export.
#[derive(Debug)]
pub(crate) struct Exporter {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Exporter {
    pub(super) fn start(
        settings: Settings,
        spans: Receiver<Span>,
        dropped: Arc<DroppedSpans>,
    ) -> Result<Self, TracesError> {
        let tls = tls::client_config(settings.ca_file.as_deref()).map_err(|error| TracesError {
            variable: "OTEL_EXPORTER_OTLP_CERTIFICATE".to_owned(),
            fault: error.to_string(),
        })?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let collector = settings.endpoint.authority().map(ToString::to_string).unwrap_or_default();
        tracing::info!(collector, "traces are exported");
        let (stop, stopped) = oneshot::channel();
        let batch = Vec::with_capacity(BATCH_SPANS_MAX);
        let task = Task { settings, client, collector, spans, batch, dropped, link: Link::Up, told: None };
        Ok(Self { task: tokio::spawn(task.run(stopped)), stop })
    }

    /// Exports what is there still; for a moment, and no longer.
    pub(crate) async fn finish(self) {
        let Self { mut task, stop } = self;
        // A task that has ended has nothing left.
        let _ = stop.send(());
        if timeout(FINISH_TIME_MAX, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Whether the collector took the last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Down,
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Last,
}

/// Why a batch was not taken.
#[derive(Debug)]
enum ExportError {
    /// It may be taken later.
    Later(String),
    /// It will never be.
    Never(StatusCode),
}

struct Task {
    settings: Settings,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Host and port, for the log.
    collector: String,
    spans: Receiver<Span>,
    /// What is to be exported next.
    batch: Vec<Span>,
    dropped: Arc<DroppedSpans>,
    link: Link,
    /// How many dropped spans were told, and when.
    told: Option<(u64, Instant)>,
}

impl Task {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut stage = Stage::Running;
        while stage == Stage::Running {
            stage = self.gather(&mut stop).await;
            self.export().await;
            self.tell_dropped(Instant::now());
        }
        // The rest of the queue, as long as the collector takes it.
        while self.link == Link::Up && !self.spans.is_empty() {
            self.fill();
            self.export().await;
        }
    }

    /// Waits until there is a full batch, or for the interval.
    async fn gather(&mut self, stop: &mut oneshot::Receiver<()>) -> Stage {
        let mut pause = std::pin::pin!(sleep(self.settings.interval));
        loop {
            let room = BATCH_SPANS_MAX.saturating_sub(self.batch.len());
            if room == 0 && self.link == Link::Up {
                return Stage::Running;
            }
            tokio::select! {
                _ = &mut *stop => {
                    self.fill();
                    return Stage::Last;
                }
                () = &mut pause => return Stage::Running,
                received = self.spans.recv_many(&mut self.batch, room), if room > 0 => {
                    // Nobody hands over any more.
                    if received == 0 {
                        return Stage::Last;
                    }
                }
            }
        }
    }

    /// Takes what is there without waiting.
    fn fill(&mut self) {
        while self.batch.len() < BATCH_SPANS_MAX
            && let Ok(span) = self.spans.try_recv()
        {
            self.batch.push(span);
        }
    }

    async fn export(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let body = otlp::request(&self.settings.resource, &self.batch);
        let sent = timeout(self.settings.export_time_max, self.send(body)).await;
        match sent.unwrap_or_else(|_| Err(ExportError::Later("it does not answer in time".to_owned()))) {
            Ok(()) => {
                self.batch.clear();
                self.is_up();
            }
            Err(ExportError::Later(error)) => self.is_down(&error),
            Err(ExportError::Never(status)) => {
                self.dropped.add(u64::try_from(self.batch.len()).unwrap_or(u64::MAX));
                self.batch.clear();
                self.is_down(&format!("it refuses them with status {}", status.as_u16()));
            }
        }
    }

    async fn send(&self, body: Vec<u8>) -> Result<(), ExportError> {
        let later = |error: &dyn std::error::Error| ExportError::Later(root_cause(error));
        let mut request = Request::post(self.settings.endpoint.clone())
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| later(&error))?;
        *request.headers_mut() = self.settings.headers.clone();
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let answer = self.client.request(request).await.map_err(|error| later(&error))?;
        let status = answer.status();
        // Read to its end, so that the connection can be used again; what it says changes nothing.
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        match status.as_u16() {
            200..=299 => Ok(()),
            // Those that OTLP has tried again.
            429 | 502 | 503 | 504 => Err(ExportError::Later(format!("status {}", status.as_u16()))),
            _ => Err(ExportError::Never(status)),
        }
    }

    fn is_up(&mut self) {
        if self.link == Link::Down {
            self.link = Link::Up;
            let dropped_spans = self.dropped.now();
            tracing::info!(collector = self.collector, dropped_spans, "the collector takes traces again");
        }
    }

    fn is_down(&mut self, error: &str) {
        if self.link == Link::Up {
            self.link = Link::Down;
            tracing::warn!(collector = self.collector, error, "the collector takes no traces");
        }
    }

    /// Tells how many spans were dropped since the start, when it was told last some time ago.
    fn tell_dropped(&mut self, now: Instant) {
        let dropped_spans = self.dropped.now();
        let is_due = self.told.is_none_or(|(told, at)| {
            told < dropped_spans && now.saturating_duration_since(at) >= TELL_INTERVAL
        });
        if dropped_spans > 0 && is_due {
            self.told = Some((dropped_spans, now));
            tracing::warn!(
                dropped_spans,
                "spans were dropped: too many in a second, or the collector was away"
            );
        }
    }
}

/// The innermost cause of an error: "connection refused" rather than "client error (Connect)".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
