//! Which requests have a span: by the sampler, and within so many in a second.
//!
//! Invariant: a client's sampled flag is a hint. It chooses among the spans that there may be, and never
//! makes there be more of them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    settings::{Root, Sampler},
    span::{EndedRequest, OpenSpan, Parent, Span, Target},
};

/// Spans in a second at most.
pub(super) const SPANS_PER_SECOND_MAX: u32 = 500;

/// Spans that wait for the exporter at most; each has about half a KiB.
pub(super) const QUEUE_SPANS_MAX: usize = 2048;

/// Spans that were dropped since the start.
#[derive(Debug, Default)]
pub(super) struct DroppedSpans(AtomicU64);

impl DroppedSpans {
    pub(super) fn add(&self, spans: u64) {
        self.0.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Takes the spans of requests.
#[derive(Debug)]
pub(super) struct Tracer {
    sampler: Sampler,
    spans: Sender<Span>,
    second: Mutex<Second>,
    dropped: Arc<DroppedSpans>,
}

/// What the second that runs has had.
#[derive(Debug)]
struct Second {
    began: Instant,
    spans: u32,
}

impl Second {
    /// Whether one more fits in.
    fn admit(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            *self = Self { began: now, spans: 0 };
        }
        let fits = self.spans < SPANS_PER_SECOND_MAX;
        self.spans += u32::from(fits);
        fits
    }
}

impl Tracer {
    /// With the other end of its queue.
    pub(super) fn new(sampler: Sampler) -> (Self, Receiver<Span>) {
        let (spans, received) = channel(QUEUE_SPANS_MAX);
        let second = Mutex::new(Second { began: Instant::now(), spans: 0 });
        (Self { sampler, spans, second, dropped: Arc::default() }, received)
    }

    /// What was dropped, for who tells it.
    pub(super) fn counts(&self) -> Arc<DroppedSpans> {
        Arc::clone(&self.dropped)
    }

    /// The span of a request that begins, where it is to have one.
    pub(super) fn begin(&self, parent: Option<Parent<'_>>, target: Target) -> Option<OpenSpan> {
        let trace_id: Box<str> = match parent {
            Some(parent) => parent.trace_id.into(),
            None => format!("{:032x}", fastrand::u128(1..)).into(),
        };
        let is_sampled = is_sampled(self.sampler, parent, &trace_id);
        let parent_id = parent.map(|parent| parent.span_id.into());
        is_sampled.then_some(OpenSpan { trace_id, parent_id, target })
    }

    /// Hands it on, or drops it and counts that.
    pub(super) fn end(&self, open: &OpenSpan, request: &EndedRequest<'_>, now: Instant) {
        let fits = self.second.lock().unwrap_or_else(PoisonError::into_inner).admit(now);
        let is_taken = fits && self.spans.try_send(Span::new(open, request, SystemTime::now())).is_ok();
        if !is_taken {
            self.dropped.add(1);
        }
    }
}

/// Whether a request of that trace is to have a span.
fn is_sampled(sampler: Sampler, parent: Option<Parent<'_>>, trace_id: &str) -> bool {
    if let (Sampler::ByParent(_), Some(parent)) = (sampler, parent) {
        return parent.is_sampled;
    }
    let (Sampler::ByParent(root) | Sampler::Always(root)) = sampler;
    match root {
        Root::On => true,
        Root::Off => false,
        // As the other SDKs have it, so that they agree on a trace: by the last 63 bits of its id.
        Root::Ratio(below) => {
            let last = trace_id.get(16..).and_then(|digits| u64::from_str_radix(digits, 16).ok());
            last.is_some_and(|last| last >> 1 < below)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;

    fn parent(is_sampled: bool) -> Parent<'static> {
        let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
        Parent { trace_id, span_id: "00f067aa0ba902b7", is_sampled }
    }

    fn target() -> Target {
        Target::of(Version::HTTP_11, "http://127.0.0.1:80")
    }

    const GET: EndedRequest<'static> = EndedRequest {
        request_id: "0",
        method: &Method::GET,
        client: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        operation: None,
        route: None,
        role: None,
        status: None,
        reason: None,
        outcome: "complete",
        duration: Duration::ZERO,
    };

    #[test]
    fn a_flood_is_bounded_in_a_second_and_in_the_queue_and_counted() {
        let (tracer, mut received) = Tracer::new(Sampler::ByParent(Root::On));
        let begin = Instant::now();
        let flood = |at: Instant| {
            for _ in 0..10_000 {
                // The client asks for each of them.
                let open = tracer.begin(Some(parent(true)), target()).unwrap();
                tracer.end(&open, &GET, at);
            }
        };
        flood(begin);
        let per_second = u64::from(SPANS_PER_SECOND_MAX);
        assert_eq!(tracer.counts().now(), 10_000 - per_second);
        for second in 1..20 {
            flood(begin + Duration::from_secs(2 * second));
        }
        assert_eq!(received.len(), QUEUE_SPANS_MAX);
        assert_eq!(tracer.counts().now() + QUEUE_SPANS_MAX as u64, 200_000);
        assert!(received.try_recv().is_ok());
    }

    #[test]
    fn the_parent_has_its_say_where_the_sampler_asks_it() {
        let begin = |sampler, parent| Tracer::new(sampler).0.begin(parent, target());
        let child = begin(Sampler::ByParent(Root::Off), Some(parent(true))).unwrap();
        assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(child.parent_id.as_deref(), Some("00f067aa0ba902b7"));
        assert!(begin(Sampler::ByParent(Root::On), Some(parent(false))).is_none());
        assert!(begin(Sampler::ByParent(Root::Off), None).is_none());
        assert!(begin(Sampler::Always(Root::Off), Some(parent(true))).is_none());
        assert!(begin(Sampler::Always(Root::On), Some(parent(false))).is_some());
        let (one, other) = (begin(Sampler::Always(Root::On), None), begin(Sampler::Always(Root::On), None));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.trace_id().len() == 32 && one.trace_id() != other.trace_id() && one.parent_id.is_none());
        let sampled = (0..2000).filter(|_| begin(Sampler::ByParent(Root::Ratio(1 << 61)), None).is_some());
        assert!((300..700).contains(&sampled.count()));
    }
}
