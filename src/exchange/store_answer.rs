//! The body of an answer of the store, and the place among its connections, held until the body's end (P57).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{limits::StorePlace, observe::StoreTimer};

/// The body of an answer of the store.
#[derive(Debug)]
pub(crate) struct StoreAnswer {
    body: Incoming,
    _place: StorePlace,
    _timer: StoreTimer,
}

impl StoreAnswer {
    /// A body that has just begun.
    pub(crate) fn new(body: Incoming, place: StorePlace, timer: StoreTimer) -> Self {
        Self { body, _place: place, _timer: timer }
    }
}

impl Body for StoreAnswer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
