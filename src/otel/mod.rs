//! OpenTelemetry traces: a span for each request, exported to a collector; only with the feature `otel`.
//!
//! Specifications: <https://opentelemetry.io/docs/specs/otlp/>, and the semantic conventions for servers of
//! HTTP, <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `settings` | the standard variables of the environment, as checked values |
//! | `span` | what is known of one request |
//! | `tracer` | which requests have a span, and how many in a second |
//! | `otlp` | a batch as JSON |
//! | `exporter` | the task that sends batches |
//!
//! Invariants: without an endpoint nothing is recorded; a request waits for no collector and for no lock that
//! is held over I/O; spans in a second and spans that wait are bounded whatever clients say, what is beyond
//! that is counted and told; a span holds no key, no query, no token and no signature (P51).

mod exporter;
mod otlp;
mod settings;
mod span;
mod tracer;

use std::{sync::OnceLock, time::Instant};

pub(crate) use self::{
    exporter::Exporter,
    settings::{Settings, TracesError},
    span::{EndedRequest, OpenSpan, Parent},
};
use self::{span::Target, tracer::Tracer};

/// The tracer of this process; none where traces are off.
static TRACER: OnceLock<Tracer> = OnceLock::new();

/// Begins to export by these settings. Inside the runtime; once in a process.
///
/// # Errors
/// The file with the collector's authorities cannot be used.
pub(crate) fn start(settings: Settings) -> Result<Exporter, TracesError> {
    let (tracer, spans) = Tracer::new(settings.sampler);
    let counts = tracer.counts();
    let exporter = Exporter::start(settings, spans, counts)?;
    // A second start (tests in one process) keeps the first.
    let _ = TRACER.set(tracer);
    Ok(exporter)
}

/// The span of a request that has just arrived at `endpoint` (`https://host:port`, or nothing); none where
/// traces are off, or by the sampler's choice.
pub(crate) fn begin(
    parent: Option<Parent<'_>>,
    version: http::Version,
    endpoint: &str,
) -> Option<Box<OpenSpan>> {
    TRACER.get()?.begin(parent, Target::of(version, endpoint)).map(Box::new)
}

/// Hands the span of a request that has ended to the exporter.
pub(crate) fn end(span: &OpenSpan, request: &EndedRequest<'_>) {
    if let Some(tracer) = TRACER.get() {
        tracer.end(span, request, Instant::now());
    }
}
