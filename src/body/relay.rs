//! The answer's body towards the client: unchanged, watched for a silent store, and the end of the request's ticket.
//!
//! Invariants:
//! - Frames, trailers, `size_hint` and `is_end_stream` are the store's own, so HEAD and `Content-Length` stay right (P44).
//! - The finish is called exactly once: at the end, at an error, or when the client goes away and hyper drops the body.
//!   The ticket lives until then.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    body::{
        failure::{BoxError, store_failure},
        pace::{Pace, Stop, Watch},
    },
    error::Error,
};

/// How an answer's body ended.
#[derive(Debug, Clone)]
pub enum End {
    /// All of it was handed on.
    Complete,
    /// The store failed in the middle.
    Failed(Error),
    /// The client did not want the rest.
    Cancelled,
}

/// An answer's body on its way to the client. `F` is called once with the bytes handed on and how it ended; `T` is
/// dropped right after.
pub struct Relay<B, T, F>
where
    F: FnOnce(u64, End),
    B: Body,
{
    body: Option<B>,
    watch: Watch,
    /// The length told ahead: hyper drops a body at that length without asking for its end.
    declared_bytes: Option<u64>,
    sent_bytes: u64,
    finish: Option<(F, T)>,
}

impl<B, T, F> Relay<B, T, F>
where
    F: FnOnce(u64, End),
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Relays `body`, whose store may be silent for `idle`.
    pub fn new(body: B, idle: Duration, ticket: T, finish: F) -> Self {
        Self {
            declared_bytes: body.size_hint().exact(),
            watch: Watch::new(Pace::idle(idle)),
            body: Some(body),
            sent_bytes: 0,
            finish: Some((finish, ticket)),
        }
    }

    fn poll_relayed(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let end = match ready!(self.watch.poll_frame(body, context)) {
            Some(Ok(frame)) => {
                let frame_bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.sent_bytes = self.sent_bytes.saturating_add(frame_bytes);
                return Poll::Ready(Some(Ok(frame)));
            }
            None => None,
            Some(Err(Stop::Failed(error))) => Some(store_failure(error)),
            Some(Err(Stop::Late)) => {
                Some(Error::store_unavailable("the store fell silent in the middle of its answer"))
            }
        };
        self.body = None;
        match end {
            None => {
                self.finish(End::Complete);
                Poll::Ready(None)
            }
            Some(error) => {
                self.finish(End::Failed(error.clone()));
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl<B, T, F> Relay<B, T, F>
where
    F: FnOnce(u64, End),
    B: Body,
{
    fn finish(&mut self, end: End) {
        if let Some((finish, ticket)) = self.finish.take() {
            finish(self.sent_bytes, end);
            drop(ticket);
        }
    }
}

impl<B, T, F> Body for Relay<B, T, F>
where
    F: FnOnce(u64, End) + Unpin,
    T: Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_relayed(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B, T, F> Drop for Relay<B, T, F>
where
    F: FnOnce(u64, End),
    B: Body,
{
    fn drop(&mut self) {
        let complete = self.declared_bytes == Some(self.sent_bytes)
            || self.body.as_ref().is_none_or(Body::is_end_stream);
        self.finish(if complete { End::Complete } else { End::Cancelled });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::body::testing::{Peer, block_on, next};

    const IDLE: Duration = Duration::from_millis(30);

    struct Ticket(Arc<Mutex<Vec<String>>>);

    impl Drop for Ticket {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("ticket".to_owned());
        }
    }

    /// Reads `frames` frames of `peer` through a relay, drops it, and tells what was finished, in order.
    fn check(peer: Peer, frames: usize, expected: &[&str]) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let mut relay = Relay::new(peer, IDLE, Ticket(Arc::clone(&seen)), move |bytes, end| {
            let end = match end {
                End::Complete => "complete".to_owned(),
                End::Cancelled => "cancelled".to_owned(),
                End::Failed(error) => error.code.as_str().to_owned(),
            };
            log.lock().unwrap().push(format!("{bytes} {end}"));
        });
        block_on(async {
            for _ in 0..frames {
                let _ = next(&mut relay).await;
            }
        });
        drop(relay);
        assert_eq!(*seen.lock().unwrap(), expected);
    }

    #[test]
    fn the_end_is_told_once_and_then_the_ticket_dropped() {
        check(Peer::of(&["ab", "c"]), 3, &["3 complete", "ticket"]);
        check(Peer::of(&["ab", "c"]), 9, &["3 complete", "ticket"]);
        check(Peer::of(&["ab", "c"]), 1, &["2 cancelled", "ticket"]);
        check(Peer::of(&["ab", "c"]), 0, &["0 cancelled", "ticket"]);
        check(Peer::of(&["ab"]).then_failure(), 9, &["2 ServiceUnavailable", "ticket"]);
        check(Peer::of(&["ab"]).then_silence(), 2, &["2 ServiceUnavailable", "ticket"]);
    }

    #[test]
    fn p44_a_body_at_its_declared_length_is_complete_though_nobody_asks_for_its_end() {
        check(Peer::of(&["ab", "c"]).sized(), 2, &["3 complete", "ticket"]);
        check(Peer::of(&[]).sized(), 0, &["0 complete", "ticket"]);
    }

    #[test]
    fn p44_hints_are_the_stores_own() {
        let relay = Relay::new(Peer::of(&["ab"]).sized(), IDLE, (), |_, _| {});
        assert_eq!(relay.size_hint().exact(), Some(2));
        assert!(!relay.is_end_stream());
        let relay = Relay::new(Peer::of(&[]).sized(), IDLE, (), |_, _| {});
        assert!(relay.is_end_stream());
        let relay = Relay::new(Peer::of(&["ab"]), IDLE, (), |_, _| {});
        assert_eq!(relay.size_hint().exact(), None);
    }
}
