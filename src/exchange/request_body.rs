//! The body of a client's request, read by whoever it is handed to, and what was left of it.
//!
//! A refused client may still be sending. What nobody read is kept, so that it can be read away and the
//! client sees the answer and not a reset (P40). Invariant: a body that is dropped before its end stands in
//! its [`UnreadBody`].

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    body::{bounded::collect_bounded, pace::Pace},
    error::Result,
};

/// The body of a client's request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// None once it has been left behind.
    body: Option<Incoming>,
    shared: Arc<Shared>,
}

/// What became of a [`RequestBody`] that was handed on.
#[derive(Debug)]
pub(crate) struct UnreadBody(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    received_bytes: AtomicU64,
    rest: Mutex<Option<Incoming>>,
}

impl RequestBody {
    /// A body of which nothing has been read.
    pub(crate) fn new(body: Incoming) -> (Self, UnreadBody) {
        let shared = Arc::<Shared>::default();
        (Self { body: Some(body), shared: Arc::clone(&shared) }, UnreadBody(shared))
    }

    /// Reads it as a whole.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded` above `bytes_max`; `RequestTimeout` for one slower than `pace`;
    /// `IncompleteBody` for one that breaks off.
    pub(crate) async fn collect(self, bytes_max: usize, pace: Pace) -> Result<Bytes> {
        collect_bounded(self, bytes_max, pace).await
    }
}

impl UnreadBody {
    /// Bytes of the body that have been read.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.0.received_bytes.load(Ordering::Relaxed)
    }

    /// The rest of a body that was dropped before its end.
    pub(crate) fn take(&self) -> Option<Incoming> {
        self.0.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
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
            // One reader: a load and a store suffice.
            let received_bytes = this.shared.received_bytes.load(Ordering::Relaxed);
            this.shared.received_bytes.store(received_bytes.saturating_add(frame_bytes), Ordering::Relaxed);
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
            *self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
