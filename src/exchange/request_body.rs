//! The body of a client's request, read by whoever it is handed to, and what was left of it.
//!
//! A refused client may still be sending. What nobody read is kept, so that it can be read away and the
//! client sees the answer and not a reset (P40). Invariant: a body that is dropped before its end stands in
//! its [`UnreadBody`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{Exchange, passage::Passage};
use crate::{
    body::{bounded::collect_reserved, failure::too_slow, pace::Pace},
    error::Result,
    limits::Buffered,
};

/// The body of a client's request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// None once it has been left behind.
    body: Option<Incoming>,
    passage: Arc<Passage>,
}

/// What became of a [`RequestBody`] that was handed on.
#[derive(Debug)]
pub(crate) struct UnreadBody(Arc<Passage>);

impl RequestBody {
    /// The body of a request, of which nothing has been read.
    pub(crate) fn new(body: Incoming, exchange: &Exchange) -> (Self, UnreadBody) {
        let passage = exchange.passage();
        (Self { body: Some(body), passage: Arc::clone(passage) }, UnreadBody(Arc::clone(passage)))
    }

    /// Reads it as a whole, within `time_max`. What has come counts in `buffered`, which is to be held for as
    /// long as the bytes are.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded` above `bytes_max`; `RequestTimeout` for one slower than `pace` or
    /// `time_max`; `IncompleteBody` for one that breaks off; `SlowDown` where too much is buffered.
    pub(crate) async fn collect(
        self,
        bytes_max: usize,
        pace: Pace,
        time_max: Duration,
        buffered: &mut Buffered,
    ) -> Result<Bytes> {
        let reserve = |bytes: usize| Ok(buffered.grow(bytes as u64)?);
        let body = collect_reserved(self, bytes_max, pace, reserve);
        tokio::time::timeout(time_max, body).await.map_err(|_| too_slow())?
    }
}

impl UnreadBody {
    /// Bytes of the body that have been read.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.0.received_bytes()
    }

    /// The rest of a body that was dropped before its end.
    pub(crate) fn take(&self) -> Option<Incoming> {
        self.0.take_rest()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let frame_bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            this.passage.received(frame_bytes);
        }
        if matches!(polled, Poll::Ready(None)) {
            // Hyper's `is_end_stream` never becomes true for a body in HTTP chunks: its end is told once,
            // here.
            this.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            self.passage.keep_rest(body);
        }
    }
}
