//! Slow peers: how long one may send nothing, and how little it may send (P47).
//!
//! Only time spent *waiting for this peer* counts: while the other side takes its time, nothing is charged.
//! The rate is a credit of waiting time: it starts at `grace`, waiting draws it down, and each byte gives
//! back `1 / rate` seconds up to `grace` again. So a fast start buys no slow end. No timer is touched for a
//! frame that is there already, and one timer serves a whole body: it is armed once and looked at again only
//! when it fires.

#![deny(clippy::arithmetic_side_effects)]

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    body::failure::{BoxError, client_failure, store_failure, too_slow},
    error::Error,
};

/// The longest wait that is ever armed, so that times can be added whatever a configuration says.
const WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How slow a peer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest wait for the next byte.
    pub idle: Duration,
    /// The rate below which a peer uses up its grace; 0 allows any rate.
    pub rate_min_bytes_per_second: u64,
    /// How much waiting a peer is granted before the rate counts. Where it is shorter than `idle`, it bounds
    /// each wait in its place.
    pub grace: Duration,
}

impl Pace {
    /// Only the wait for the next byte is bounded.
    pub fn idle(idle: Duration) -> Self {
        Self { idle, rate_min_bytes_per_second: 0, grace: Duration::ZERO }
    }
}

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
            Self::TooSlow => Error::store_unavailable("the store fell silent in the middle of its answer"),
        }
    }
}

/// The next frame, the end of the body, or why neither came.
pub(super) type FrameOrEnd<E> = Option<Result<Frame<Bytes>, ReadError<E>>>;

/// Reads one body and holds its peer to a [`Pace`].
#[derive(Debug)]
pub(super) struct PacedReader {
    pace: Pace,
    /// Waiting that the peer is still granted.
    credit: Duration,
    /// Bytes since the last wait began, not yet turned into credit.
    earned_bytes: u64,
    /// Beginning and bound of the wait that is going on.
    waiting: Option<(Instant, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl PacedReader {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, credit: pace.grace, earned_bytes: 0, waiting: None, timer: None }
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
        self.earned_bytes = self.earned_bytes.saturating_add(bytes as u64);
        if let Some((since, _)) = self.waiting.take() {
            self.credit = self.credit.saturating_sub(since.elapsed());
        }
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
        let wait = match self.earned_nanoseconds() {
            None => self.pace.idle,
            Some(earned) => {
                self.credit = self.credit.saturating_add(earned).min(self.pace.grace);
                self.credit.min(self.pace.idle)
            }
        };
        self.earned_bytes = 0;
        let late_at = now.checked_add(wait.min(WAIT_MAX)).unwrap_or(now);
        self.waiting = Some((now, late_at));
        late_at
    }

    /// The waiting that the bytes since the last wait are worth; none where no rate is set.
    fn earned_nanoseconds(&self) -> Option<Duration> {
        self.earned_bytes
            .saturating_mul(1_000_000_000)
            .checked_div(self.pace.rate_min_bytes_per_second)
            .map(Duration::from_nanos)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "tests")]
mod tests {
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

    #[test]
    fn p47_a_fast_start_buys_no_slow_end() {
        let now = Instant::now();
        let mut reader = reader(60, 1000, 10);
        reader.received(1 << 30);
        assert_eq!(reader.begin_wait(now) - now, SECOND * 10);
    }

    #[test]
    fn p47_absurd_times_do_not_overflow() {
        let pace = Pace { idle: Duration::MAX, rate_min_bytes_per_second: 1, grace: Duration::MAX };
        let now = Instant::now();
        let mut reader = PacedReader::new(pace);
        reader.received(usize::MAX);
        assert_eq!(reader.begin_wait(now) - now, WAIT_MAX);
    }
}
