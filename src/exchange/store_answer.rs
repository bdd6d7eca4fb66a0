//! The body of an answer of the store, with its place among the requests under way, held until it is dropped
//! (P57), and with the connection that it comes by, which carries the next answer after its end.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{limits::StorePlace, observe::StoreTimer};

/// What an answer comes by. Whoever drops it before the answer's end closes it.
pub(crate) trait Carrier: Send + Sync {
    /// The answer was read to its end: it may carry the next one.
    fn answer_was_read(self: Box<Self>);
}

/// The body of an answer of the store.
pub(crate) struct StoreAnswer {
    body: Incoming,
    /// None from the end on.
    carrier: Option<Box<dyn Carrier>>,
    _place: Option<StorePlace>,
    _timer: StoreTimer,
}

impl StoreAnswer {
    /// A body that has just begun; a question of this server's own has no place.
    pub(crate) fn new(
        body: Incoming,
        carrier: Box<dyn Carrier>,
        place: Option<StorePlace>,
        timer: StoreTimer,
    ) -> Self {
        let mut answer = Self { body, carrier: Some(carrier), _place: place, _timer: timer };
        if answer.body.is_end_stream() {
            answer.was_read();
        }
        answer
    }

    fn was_read(&mut self) {
        if let Some(carrier) = self.carrier.take() {
            carrier.answer_was_read();
        }
    }
}

impl Body for StoreAnswer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Some(Err(_)) => this.carrier = None,
            // Nobody asks for more than the length that was declared.
            Some(Ok(_)) if !this.body.is_end_stream() => {}
            Some(Ok(_)) | None => this.was_read(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for StoreAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAnswer").field("body", &self.body).finish_non_exhaustive()
    }
}
