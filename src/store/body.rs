//! The request bodies that go to the store, and the switch that stops one.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use super::connection::Watch;
use crate::{
    auth::sigv4::canonical::sha256_hex,
    body::{client_body::ClientBody, gate::Gate, upload::Upload},
    error::{Code, Error},
    exchange::RequestBody,
};

/// SHA-256 of nothing, in hex.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request body for the store, with what the signature says of it.
#[derive(Debug)]
pub(crate) struct StoreBody {
    kind: Kind,
    payload_hash: Cow<'static, str>,
}

/// A client's body, decoded, checked and framed for the store.
pub(super) type ClientUpload = Upload<ClientBody<RequestBody>>;

enum Kind {
    Whole(Option<Bytes>),
    Upload {
        upload: Option<Box<ClientUpload>>,
        shared: Arc<Shared>,
        /// Of the connection on which it leaves.
        watch: Option<Arc<Watch>>,
        /// What is asked before a piece passes, and the piece that waits for it.
        gate: Option<Box<Gated>>,
    },
}

/// Pieces that are held back by a gate.
struct Gated {
    gate: Box<dyn Gate>,
    waiting: Option<Frame<Bytes>>,
}

impl Gated {
    /// The next piece of an upload, once it may pass.
    fn poll_frame(
        &mut self,
        upload: &mut ClientUpload,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.waiting.is_none() {
            match ready!(Pin::new(upload).poll_frame(context)) {
                Some(Ok(frame)) => self.waiting = Some(frame),
                other => return Poll::Ready(other),
            }
        }
        let bytes = self.waiting.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        ready!(self.gate.poll_pass(bytes as u64, context));
        Poll::Ready(self.waiting.take().map(Ok))
    }
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
    is_over: AtomicBool,
}

impl Shared {
    fn set_over(&self, watch: Option<&Watch>) {
        if let Some(watch) = watch {
            watch.set_uploading(false);
        }
        self.is_over.store(true, Ordering::Release);
        self.over.notify_one();
    }
}

/// Stops an upload whose answer is there already (P41): the client is not read any further, and the
/// connection to the store, which still waits for the rest, is given up.
pub(crate) struct Abort(Arc<Shared>);

impl Abort {
    /// Stops the upload; one that has ended is left alone.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// Waits until hyper has let go of the upload, so that what the client still sends can be drained.
    pub(crate) async fn over(&self) {
        self.0.over.notified().await;
    }
}

/// How far a request's body is.
pub(super) struct Progress(Option<Arc<Shared>>);

impl Progress {
    /// Whether all of it has been handed over to the connection.
    pub(super) fn is_over(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.is_over.load(Ordering::Acquire))
    }
}

impl StoreBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Whole(None), payload_hash: EMPTY_SHA256.into() }
    }

    /// A body that is there as a whole; its sha256 is signed.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let payload_hash = sha256_hex(&bytes).into();
        Self { kind: Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), payload_hash }
    }

    /// A client's body on its way through, with the value of its `x-amz-content-sha256`; `gate` is asked
    /// before each piece.
    pub(crate) fn upload(
        upload: ClientUpload,
        payload_hash: Cow<'static, str>,
        gate: Option<Box<dyn Gate>>,
    ) -> (Self, Abort) {
        let shared = Arc::<Shared>::default();
        let gate = gate.map(|gate| Box::new(Gated { gate, waiting: None }));
        let kind =
            Kind::Upload { upload: Some(Box::new(upload)), shared: Arc::clone(&shared), watch: None, gate };
        (Self { kind, payload_hash }, Abort(shared))
    }

    /// `x-amz-content-sha256`.
    pub(super) fn payload_hash(&self) -> &str {
        &self.payload_hash
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Whole(None))
    }

    /// Says which connection the request is given: nothing has left yet.
    pub(super) fn leaves_on(&mut self, connection: &Arc<Watch>) {
        match &mut self.kind {
            Kind::Whole(_) => {}
            Kind::Upload { watch, .. } => {
                connection.set_uploading(true);
                *watch = Some(Arc::clone(connection));
            }
        }
    }

    /// Tells, once the request is on its way, whether an upload has been handed over whole.
    pub(super) fn progress(&self) -> Progress {
        Progress(match &self.kind {
            Kind::Whole(_) => None,
            Kind::Upload { shared, .. } => Some(Arc::clone(shared)),
        })
    }

    /// Resolves when an upload has been handed over whole; none where all is there from the beginning.
    pub(super) fn sent_whole(&self) -> Option<impl Future<Output = ()> + use<>> {
        match &self.kind {
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
        match &mut self.get_mut().kind {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Upload { upload: slot, shared, watch, gate } => {
                let Some(upload) = slot else { return Poll::Ready(None) };
                if shared.stopped.load(Ordering::Acquire) {
                    *slot = None;
                    shared.set_over(watch.as_deref());
                    let error = Error::new(
                        Code::RequestTimeout,
                        "The upload was stopped: the store had answered already.",
                    );
                    return Poll::Ready(Some(Err(error)));
                }
                let polled = match gate {
                    None => Pin::new(upload.as_mut()).poll_frame(context),
                    Some(gate) => gate.poll_frame(upload, context),
                };
                match &polled {
                    Poll::Pending => {
                        shared.waker.register(context.waker());
                        if shared.stopped.load(Ordering::Acquire) {
                            context.waker().wake_by_ref();
                        }
                    }
                    Poll::Ready(None | Some(Err(_))) => {
                        *slot = None;
                        shared.set_over(watch.as_deref());
                    }
                    Poll::Ready(Some(Ok(_))) if upload.is_end_stream() => {
                        *slot = None;
                        shared.set_over(watch.as_deref());
                    }
                    Poll::Ready(Some(Ok(_))) => {}
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Upload { upload, gate, .. } => {
                gate.as_ref().is_none_or(|gate| gate.waiting.is_none())
                    && upload.as_ref().is_none_or(|upload| upload.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Upload { upload, .. } => {
                upload.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.size_hint())
            }
        }
    }
}

impl Drop for StoreBody {
    fn drop(&mut self) {
        if let Kind::Upload { upload, shared, watch, .. } = &mut self.kind {
            // The upload leaves what it did not read behind before anyone is told.
            *upload = None;
            shared.set_over(watch.as_deref());
        }
    }
}
