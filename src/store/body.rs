//! The request bodies that go to the store, and the switch that stops one.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;

use crate::{
    body::{client_body::ClientBody, upload::Upload},
    error::{Code, Error},
};

/// A request body for the store.
#[derive(Debug)]
pub struct StoreBody(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Upload { upload: Option<Box<Upload<ClientBody<Incoming>>>>, shared: Arc<Shared> },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Upload { .. } => "Upload",
        })
    }
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    waker: AtomicWaker,
    /// Told when the last byte has been handed over, or the body was dropped.
    over: Notify,
}

/// Stops an upload whose answer is there already (P41): the client is not read any further, and the connection to the
/// store, which still waits for the rest, is given up.
pub struct Abort(Arc<Shared>);

impl Abort {
    /// Stops the upload; one that has ended is left alone.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// Waits until hyper has let go of the upload, so that what the client still sends can be drained.
    pub async fn over(&self) {
        self.0.over.notified().await;
    }
}

impl StoreBody {
    /// No body.
    pub fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    /// A body that is there as a whole.
    pub fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// A client's body on its way through.
    pub(crate) fn upload(upload: Upload<ClientBody<Incoming>>) -> (Self, Abort) {
        let shared = Arc::<Shared>::default();
        (Self(Kind::Upload { upload: Some(Box::new(upload)), shared: Arc::clone(&shared) }), Abort(shared))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Whole(None))
    }

    /// Resolves when an upload has been handed over whole; none where all is there from the beginning.
    pub(super) fn sent_whole(&self) -> Option<impl Future<Output = ()> + use<>> {
        match &self.0 {
            Kind::Whole(_) => None,
            Kind::Upload { shared, .. } => {
                let shared = Arc::clone(shared);
                Some(async move {
                    shared.over.notified().await;
                    // One permit, two listeners: pass it on to `Abort::over`.
                    shared.over.notify_one();
                })
            }
        }
    }
}

impl Body for StoreBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Upload { upload: slot, shared } => {
                let Some(upload) = slot else { return Poll::Ready(None) };
                if shared.stopped.load(Ordering::Acquire) {
                    *slot = None;
                    shared.over.notify_one();
                    let error = Error::new(
                        Code::RequestTimeout,
                        "The upload was stopped: the store had answered already.",
                    );
                    return Poll::Ready(Some(Err(error)));
                }
                let polled = Pin::new(upload.as_mut()).poll_frame(context);
                match &polled {
                    Poll::Pending => {
                        shared.waker.register(context.waker());
                        if shared.stopped.load(Ordering::Acquire) {
                            context.waker().wake_by_ref();
                        }
                    }
                    Poll::Ready(None | Some(Err(_))) => {
                        *slot = None;
                        shared.over.notify_one();
                    }
                    Poll::Ready(Some(Ok(_))) if upload.is_end_stream() => {
                        *slot = None;
                        shared.over.notify_one();
                    }
                    Poll::Ready(Some(Ok(_))) => {}
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Upload { upload, .. } => upload.as_ref().is_none_or(|upload| upload.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Upload { upload, .. } => {
                upload.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.size_hint())
            }
        }
    }
}

impl Drop for StoreBody {
    fn drop(&mut self) {
        if let Kind::Upload { upload, shared } = &mut self.0 {
            // The upload leaves the client's rest to its report before anyone is told.
            *upload = None;
            shared.over.notify_one();
        }
    }
}
