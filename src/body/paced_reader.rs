//! Slow senders: how long one may send nothing, and how little it may send (P47).
//!
//! Only time spent *waiting for this peer* counts, as [`crate::body::pace`] has it: while the other side
//! takes its time, nothing is charged. No timer is touched for a frame that is there already, and one timer
//! serves a whole body: it is armed once and looked at again only when it fires.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    body::{
        failure::{BoxError, client_failure, store_failure, too_slow},
        pace::{Credit, Pace, later},
    },
    error::{Error, Reason},
};

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum ReadError<E> {
    /// The body's own error.
    Body(E),
    /// The peer was slower than its pace.
    TooSlow,
}

impl<E: Into<BoxError>> ReadError<E> {
    /// What it means where the peer is the client.
    pub(super) fn by_client(self) -> Error {
        match self {
            Self::Body(error) => client_failure(error),
            Self::TooSlow => too_slow(),
        }
    }

    /// What it means where the peer is the store.
    pub(super) fn by_store(self) -> Error {
        match self {
            Self::Body(error) => store_failure(error),
            Self::TooSlow => Error::store_unavailable("the store fell silent in the middle of its answer")
                .reason(Reason::StoreSilent),
        }
    }
}

/// The next frame, the end of the body, or why neither came.
pub(super) type FrameOrEnd<E> = Option<Result<Frame<Bytes>, ReadError<E>>>;

/// Reads one body and holds its peer to a [`Pace`].
#[derive(Debug)]
pub(super) struct PacedReader {
    credit: Credit,
    /// Beginning and bound of the wait that is going on.
    waiting: Option<(Instant, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl PacedReader {
    pub(super) fn new(pace: Pace) -> Self {
        Self { credit: Credit::new(pace), waiting: None, timer: None }
    }

    /// The next frame of `body`, or its end.
    pub(super) fn poll_frame<B>(
        &mut self,
        body: &mut B,
        context: &mut Context<'_>,
    ) -> Poll<FrameOrEnd<B::Error>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                // An empty frame is no sign of life.
                if let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) {
                    self.received(data.len());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(ReadError::Body(error)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(self.poll_late(context));
                Poll::Ready(Some(Err(ReadError::TooSlow)))
            }
        }
    }

    fn received(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            self.credit.spend(since.elapsed());
        }
        self.credit.earn(bytes as u64);
    }

    /// Ready once the peer has been waited for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let late_at = match self.waiting {
            Some((_, late_at)) => late_at,
            None => self.begin_wait(Instant::now()),
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(late_at)));
        if timer.deadline() > late_at {
            timer.as_mut().reset(late_at);
        }
        // A timer that was armed for an earlier wait fires early. It is then set to the bound of this one.
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= late_at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(late_at);
        }
        Poll::Pending
    }

    fn begin_wait(&mut self, now: Instant) -> Instant {
        let late_at = later(now, self.credit.wait_max());
        self.waiting = Some((now, late_at));
        late_at
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reader(idle: u32, rate: u64, grace: u32) -> PacedReader {
        PacedReader::new(Pace { idle: SECOND * idle, rate_min_bytes_per_second: rate, grace: SECOND * grace })
    }

    #[test]
    fn p47_idle_bounds_each_wait() {
        let now = Instant::now();
        let mut reader = reader(5, 0, 0);
        assert_eq!(reader.begin_wait(now) - now, SECOND * 5);
        reader.received(1);
        assert_eq!(reader.begin_wait(now) - now, SECOND * 5);
    }

    #[test]
    fn p47_waiting_draws_the_credit_down_and_bytes_give_it_back() {
        let now = Instant::now();
        let mut reader = reader(60, 1000, 10);
        assert_eq!(reader.begin_wait(now) - now, SECOND * 10);
        reader.waiting = Some((now - SECOND * 9, now));
        reader.received(500);
        let wait = reader.begin_wait(now) - now;
        assert!(wait <= Duration::from_millis(1500) && wait > Duration::from_millis(1400), "{wait:?}");
    }
}
