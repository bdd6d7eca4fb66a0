//! A body that is made here piece by piece, as the client reads it.
//!
//! Invariants: one piece is there at a time, whatever the length of the whole; between two pieces others have
//! their turn of the thread; an error breaks the body off, and nothing follows it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use crate::error::{Error, Result};

/// The pieces of a body, each made when it is asked for.
pub(crate) type Pieces = Box<dyn Iterator<Item = Result<Bytes>> + Send>;

/// A body that is made piece by piece.
pub(crate) struct MadeBody {
    /// None at the end.
    pieces: Option<Pieces>,
    gives_way: bool,
}

impl MadeBody {
    pub(crate) fn new(pieces: Pieces) -> Self {
        Self { pieces: Some(pieces), gives_way: false }
    }
}

impl Body for MadeBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.gives_way) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = this.pieces.as_mut().and_then(Iterator::next);
        match &piece {
            Some(Ok(_)) => this.gives_way = true,
            Some(Err(_)) | None => this.pieces = None,
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::testing::{block_on, next};

    #[test]
    fn pieces_are_made_one_by_one_and_an_error_is_the_last() {
        let made = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&made);
        let pieces = (0..4).map(move |index| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if index == 2 { Err(Error::internal("why")) } else { Ok(Bytes::from_static(b"ab")) }
        });
        let mut body = MadeBody::new(Box::new(pieces));
        let count = || made.load(std::sync::atomic::Ordering::Relaxed);
        block_on(async {
            assert_eq!(count(), 0);
            for expected in 1..=2 {
                assert!(next(&mut body).await.unwrap().is_ok());
                assert_eq!(count(), expected);
            }
            assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
            assert!(next(&mut body).await.unwrap().is_err());
            assert!(body.is_end_stream() && next(&mut body).await.is_none());
            assert_eq!(count(), 3);
        });
    }
}
