//! The request body towards the store: proven content, in the framing which the store takes.
//!
//! Invariants:
//! - [`Body::size_hint`] is exact at all times, and the last byte leaves only after the proof ([`super::arrival`]).
//! - A failure is an error of the body, never a clean end: with the `Content-Length` told ahead, the store sees a broken
//!   transfer and stores nothing.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    body::{arrival::Arriving, failure::BoxError, frame::Framer, outcome::Outcome},
    error::Error,
};

/// A body for the store; made by [`Arriving::into_upload`], which proves the small ones first.
pub struct Upload<B> {
    arriving: Arriving<B>,
    framer: Framer,
    left_bytes: u64,
    /// All content was taken from `arriving`.
    ended: bool,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(arriving: Arriving<B>, outbound_bytes: u64) -> Self {
        Self { framer: Framer::new(arriving.plan()), arriving, left_bytes: outbound_bytes, ended: false }
    }

    /// Where the road will read what became of this body.
    pub fn outcome(&self) -> Arc<Outcome<B>> {
        self.arriving.outcome()
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            if let Some(piece) = self.framer.next() {
                self.left_bytes = self.left_bytes.saturating_sub(piece.len() as u64);
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.arriving.poll_content(context)) {
                Some(Ok(content)) => self.framer.feed(content),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    self.framer.end(self.arriving.trailer());
                }
            }
        }
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut().poll_piece(context).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

#[cfg(test)]
mod tests;
