//! The request body towards the store: verified content, in the form which the store takes.
//!
//! Invariants:
//! - [`Body::size_hint`] is exact at all times, and the last byte leaves only after every check
//!   ([`super::verifying`]).
//! - A failure is an error of the body, never a clean end. The `Content-Length` was sent ahead, so the store
//!   sees a broken transfer and stores nothing.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    body::{failure::BoxError, output::OutputEncoder, verifying::VerifyingBody},
    error::{Error, Result},
};

/// A body for the store.
pub struct Upload<B> {
    content: VerifyingBody<B>,
    encoder: OutputEncoder,
    left_bytes: u64,
    /// All content was taken from the client's body.
    ended: bool,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Makes a client's body ready for the store. A small one (16 KiB at most) is read and verified here, so
    /// that a false one never reaches the store; a larger one is not touched yet.
    pub async fn prepare(mut content: VerifyingBody<B>) -> Result<Self> {
        content.verify_small().await?;
        let (output, decoded_bytes) = (content.output(), content.declared_bytes());
        Ok(Self {
            content,
            encoder: OutputEncoder::new(output, decoded_bytes),
            left_bytes: output.outbound_bytes(decoded_bytes),
            ended: false,
        })
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            if let Some(piece) = self.encoder.next() {
                self.left_bytes = self.left_bytes.saturating_sub(piece.len() as u64);
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.content.poll_content(context)) {
                Some(Ok(content)) => self.encoder.feed(content),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    self.encoder.finish(self.content.trailer());
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

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
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
