//! The answer's body towards the client: unchanged, watched for a silent store and a slow client, and
//! reported once it has ended.
//!
//! Invariants:
//! - Frames, trailers, `size_hint` and `is_end_stream` are the store's own, so HEAD and `Content-Length` stay
//!   right (P44).
//! - The end is reported exactly once: at the end, at an error, or when the client goes away and hyper drops
//!   the body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    body::{
        failure::BoxError,
        gate::Gate,
        pace::Pace,
        paced_reader::{FrameOrEnd, PacedReader, ReadError},
        progress::RequestProgress,
    },
    error::Error,
};

/// How an answer's body ended.
#[derive(Debug, Clone)]
pub(crate) enum AnswerEnd {
    /// All of it was handed on.
    Complete,
    /// The store failed in the middle.
    Failed(Error),
    /// The client did not want the rest.
    Cancelled,
    /// The client took too little of it, and was cut off (P56).
    TooSlow,
    /// This server stopped before all of it was handed on.
    CutByServer,
}

/// An answer's body on its way to the client. `F` is called once, with the number of bytes that were handed
/// on and with how the body ended; what `F` holds lives until then.
pub(crate) struct AnswerStream<B, F>
where
    F: FnOnce(u64, AnswerEnd),
    B: Body,
{
    body: Option<B>,
    reader: PacedReader,
    progress: RequestProgress,
    /// What is asked before a piece passes; none where nothing holds pieces back.
    gate: Option<Box<dyn Gate>>,
    /// The piece that waits for it.
    waiting: Option<Frame<Bytes>>,
    /// The length that was declared ahead: hyper drops a body at that length without asking for its end.
    declared_bytes: Option<u64>,
    sent_bytes: u64,
    on_end: Option<F>,
}

impl<B, F> AnswerStream<B, F>
where
    F: FnOnce(u64, AnswerEnd),
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Hands on `body`, whose store may be silent for `idle`. What the client takes shows in `progress`.
    pub(crate) fn new(body: B, idle: Duration, progress: RequestProgress, on_end: F) -> Self {
        Self {
            declared_bytes: body.size_hint().exact(),
            reader: PacedReader::new(Pace::idle(idle)),
            progress,
            gate: None,
            waiting: None,
            body: Some(body),
            sent_bytes: 0,
            on_end: Some(on_end),
        }
    }

    /// Asks `gate` before each piece.
    #[must_use]
    pub(crate) fn through(mut self, gate: Option<Box<dyn Gate>>) -> Self {
        self.gate = gate;
        self
    }

    /// The next piece, once it may pass.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<FrameOrEnd<B::Error>> {
        let Some(gate) = &mut self.gate else {
            return match &mut self.body {
                Some(body) => self.reader.poll_frame(body, context),
                None => Poll::Ready(None),
            };
        };
        if self.waiting.is_none() {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            match ready!(self.reader.poll_frame(body, context)) {
                Some(Ok(frame)) => self.waiting = Some(frame),
                other => return Poll::Ready(other),
            }
        }
        let bytes = self.waiting.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        ready!(gate.poll_pass(bytes as u64, context));
        Poll::Ready(self.waiting.take().map(Ok))
    }

    fn poll_watched(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let now = self.progress.now();
        self.progress.taken(now);
        if self.body.is_none() {
            return Poll::Ready(None);
        }
        ready!(self.progress.poll_room(context));
        match ready!(self.poll_piece(context)).transpose() {
            Ok(Some(frame)) => {
                let frame_bytes = frame.data_ref().map_or(0, Bytes::len);
                self.progress.handed(frame_bytes, now);
                self.sent_bytes = self.sent_bytes.saturating_add(frame_bytes as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(None) => {
                self.end(AnswerEnd::Complete);
                Poll::Ready(None)
            }
            Err(error) => {
                let error = ReadError::by_store(error);
                self.end(AnswerEnd::Failed(error.clone()));
                Poll::Ready(Some(Err(error)))
            }
        }
    }
}

impl<B, F> AnswerStream<B, F>
where
    F: FnOnce(u64, AnswerEnd),
    B: Body,
{
    /// Lets go of the store's body, and reports its end unless that was done before.
    fn end(&mut self, end: AnswerEnd) {
        self.body = None;
        if let Some(on_end) = self.on_end.take() {
            on_end(self.sent_bytes, end);
        }
    }
}

impl<B, F> Body for AnswerStream<B, F>
where
    F: FnOnce(u64, AnswerEnd) + Unpin,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_watched(context)
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Hyper asks before the first piece alone, when none waits.
    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B, F> Drop for AnswerStream<B, F>
where
    F: FnOnce(u64, AnswerEnd),
    B: Body,
{
    fn drop(&mut self) {
        let complete = self.declared_bytes == Some(self.sent_bytes)
            || (self.waiting.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream));
        self.end(match complete {
            _ if self.progress.is_too_slow() => AnswerEnd::TooSlow,
            true => AnswerEnd::Complete,
            false if self.progress.connection().is_cut() => AnswerEnd::CutByServer,
            false => AnswerEnd::Cancelled,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;
    use crate::body::{
        progress::{ConnectionProgress, PIECE_BYTES_MIN, Protocol},
        testing::{Peer, block_on, next},
    };

    const IDLE: Duration = Duration::from_millis(30);

    fn progress() -> RequestProgress {
        ConnectionProgress::begin(Pace::idle(IDLE), PIECE_BYTES_MIN, Instant::now()).request(Protocol::Http2)
    }

    struct Ticket(Arc<Mutex<Vec<String>>>);

    impl Drop for Ticket {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("ticket".to_owned());
        }
    }

    /// Reads `frames` frames of `peer` through a stream and drops it: what was reported and dropped, in
    /// order.
    fn check(peer: Peer, frames: usize, expected: &[&str]) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let ticket = Ticket(Arc::clone(&seen));
        let mut stream = AnswerStream::new(peer, IDLE, progress(), move |bytes, end| {
            let _held = &ticket;
            let end = match end {
                AnswerEnd::Complete => "complete".to_owned(),
                AnswerEnd::Cancelled => "cancelled".to_owned(),
                AnswerEnd::TooSlow => "too slow".to_owned(),
                AnswerEnd::CutByServer => "cut by server".to_owned(),
                AnswerEnd::Failed(error) => error.code.as_str().to_owned(),
            };
            log.lock().unwrap().push(format!("{bytes} {end}"));
        });
        block_on(async {
            for _ in 0..frames {
                let _ = next(&mut stream).await;
            }
        });
        drop(stream);
        assert_eq!(*seen.lock().unwrap(), expected);
    }

    #[test]
    fn the_end_is_reported_once_and_then_the_ticket_dropped() {
        check(Peer::of(&["ab", "c"]), 3, &["3 complete", "ticket"]);
        check(Peer::of(&["ab", "c"]), 9, &["3 complete", "ticket"]);
        check(Peer::of(&["ab", "c"]), 1, &["2 cancelled", "ticket"]);
        check(Peer::of(&["ab", "c"]), 0, &["0 cancelled", "ticket"]);
        check(Peer::of(&["ab"]).then_failure(), 9, &["2 ServiceUnavailable", "ticket"]);
        check(Peer::of(&["ab"]).then_silence(), 2, &["2 ServiceUnavailable", "ticket"]);
    }

    #[test]
    fn an_answer_that_this_server_cuts_off_is_not_laid_to_the_client() {
        for (cut, expected) in [(true, "cut"), (false, "cancelled")] {
            let connection = ConnectionProgress::begin(Pace::idle(IDLE), PIECE_BYTES_MIN, Instant::now());
            let progress = connection.request(Protocol::Http1);
            let mut stream =
                AnswerStream::new(Peer::of(&["ab", "c"]), IDLE, progress, move |bytes, end| match end {
                    AnswerEnd::CutByServer => assert_eq!((bytes, expected), (2, "cut")),
                    AnswerEnd::Cancelled => assert_eq!((bytes, expected), (2, "cancelled")),
                    AnswerEnd::Complete | AnswerEnd::Failed(_) | AnswerEnd::TooSlow => panic!("{end:?}"),
                });
            block_on(async { assert!(next(&mut stream).await.is_some()) });
            if cut {
                connection.cut();
            }
            drop(stream);
        }
    }

    /// Lets every piece pass when it is asked for the second time.
    struct Slow(bool);

    impl Gate for Slow {
        fn poll_pass(&mut self, _: u64, context: &mut Context<'_>) -> Poll<()> {
            self.0 = !self.0;
            context.waker().wake_by_ref();
            if self.0 { Poll::Pending } else { Poll::Ready(()) }
        }
    }

    #[test]
    fn p44_p56_a_gate_holds_pieces_back_and_changes_none() {
        let gate = || Some(Box::new(Slow(false)) as Box<dyn Gate>);
        for (peer, expected) in [
            (Peer::of(&["ab", "c"]), "ab c"),
            (Peer::of(&["ab", "c"]).sized(), "ab c"),
            (Peer::of(&["ab"]).then_failure(), "ab failed"),
        ] {
            let mut stream = AnswerStream::new(peer, IDLE, progress(), |_, _| {}).through(gate());
            let mut seen = Vec::new();
            block_on(async {
                while let Some(frame) = next(&mut stream).await {
                    seen.push(
                        frame.map_or("failed".to_owned(), |bytes| String::from_utf8(bytes.to_vec()).unwrap()),
                    );
                }
            });
            assert_eq!(seen.join(" "), expected);
        }
    }

    #[test]
    fn p54_pieces_stay_with_the_store_while_the_socket_takes_nothing() {
        let connection = ConnectionProgress::begin(Pace::idle(IDLE), PIECE_BYTES_MIN, Instant::now());
        let progress = connection.request(Protocol::Http1);
        let mut stream = AnswerStream::new(Peer::of(&["ab", "c"]).sized(), IDLE, progress, |_, _| {});
        block_on(async {
            assert_eq!(next(&mut stream).await.unwrap().unwrap(), "ab");
            connection.blocked();
            assert!(tokio::time::timeout(IDLE * 3, next(&mut stream)).await.is_err());
            assert!(!stream.is_end_stream());
            // As it is told, and not because somebody asks again.
            let (rest, ()) = tokio::join!(next(&mut stream), async {
                tokio::task::yield_now().await;
                connection.wrote(1);
            });
            assert_eq!(rest.unwrap().unwrap(), "c");
        });
    }

    #[test]
    fn p44_a_body_at_its_declared_length_is_complete_though_nobody_asks_for_its_end() {
        check(Peer::of(&["ab", "c"]).sized(), 2, &["3 complete", "ticket"]);
        check(Peer::of(&[]).sized(), 0, &["0 complete", "ticket"]);
    }

    #[test]
    fn p44_hints_are_the_stores_own() {
        let stream = AnswerStream::new(Peer::of(&["ab"]).sized(), IDLE, progress(), |_, _| {});
        assert_eq!(stream.size_hint().exact(), Some(2));
        assert!(!stream.is_end_stream());
        let stream = AnswerStream::new(Peer::of(&[]).sized(), IDLE, progress(), |_, _| {});
        assert!(stream.is_end_stream());
        let stream = AnswerStream::new(Peer::of(&["ab"]), IDLE, progress(), |_, _| {});
        assert_eq!(stream.size_hint().exact(), None);
    }
}
