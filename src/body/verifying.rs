//! A client's body on its way in: decoded, checked, limited in time, and its last bytes held until every
//! check has held (P4, P5).
//!
//! Invariants:
//! - The frame that completes the declared length is given out only after the end of the body was seen and
//!   every check held. Until then at least one byte is missing, so whoever declared the length to the store
//!   has an incomplete transfer.
//! - After a failure no byte comes any more, only the failure.
//! - One frame is held at most, whatever the size and number of frames.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;

use crate::{
    body::{
        chunked::Decoder,
        content_check::ContentCheck,
        failure::{BoxError, incomplete, too_long},
        output::Output,
        pace::{Pace, PacedReader, ReadError},
        plan::{Framing, Plan},
        report::UploadReport,
    },
    error::{Error, Result},
};

/// Up to this size a body is read and verified before anything goes to the store. A false one then costs the
/// store no broken transfer, and an empty body has no last byte that could be held. Copying 16 KiB is cheaper
/// than either.
pub(super) const VERIFIED_FIRST_BYTES_MAX: u64 = 16 * 1024;

/// A client's body that is decoded and verified while it is read.
pub struct VerifyingBody<B> {
    /// The client's body; none once it has been read to its end.
    source: Option<B>,
    /// What has arrived and is not decoded yet.
    input: Bytes,
    /// None: the body is plain.
    decoder: Option<Decoder>,
    reader: PacedReader,
    /// Content so far.
    decoded_bytes: u64,
    /// Content that the client declared.
    declared_bytes: u64,
    output: Output,
    state: State,
    report: Arc<UploadReport>,
}

enum State {
    /// The body is being read. The frame that completes its content is held until the rest of the body is
    /// verified.
    Reading { check: Box<ContentCheck>, held: Bytes },
    /// Every check held, and these bytes may go, and then the value of the trailer of the outgoing form.
    Verified { content: Bytes, trailer: Option<String> },
    /// The body will never be completed.
    Failed(Error),
}

impl<B> VerifyingBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads `source` by `plan`, no slower than `pace` allows. Nothing is read yet.
    pub fn new(source: B, plan: Plan, pace: Pace) -> Self {
        let output = plan.output();
        let check = Box::new(ContentCheck::new(plan.expected, plan.framing.trailer(), output.trailer()));
        Self {
            source: Some(source),
            input: Bytes::new(),
            decoder: match plan.framing {
                Framing::Plain => None,
                Framing::Chunked(mode) => Some(Decoder::new(mode, plan.decoded_bytes)),
            },
            reader: PacedReader::new(pace),
            decoded_bytes: 0,
            declared_bytes: plan.decoded_bytes,
            output,
            state: State::Reading { check, held: Bytes::new() },
            report: Arc::default(),
        }
    }

    /// Where the proxy reads how this body ended.
    pub(crate) fn report(&self) -> Arc<UploadReport> {
        Arc::clone(&self.report)
    }

    /// Reads and verifies a body of at most [`VERIFIED_FIRST_BYTES_MAX`], so that `Ok` means its content is
    /// true. A larger one is not touched: it is verified on its way.
    pub(super) async fn verify_small(&mut self) -> Result<()> {
        if self.declared_bytes > VERIFIED_FIRST_BYTES_MAX {
            return Ok(());
        }
        let content = self.gather().await?;
        if let State::Verified { content: left, .. } = &mut self.state {
            *left = content;
        }
        Ok(())
    }

    async fn gather(&mut self) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(content) = poll_fn(|context| self.poll_content(context)).await.transpose()? {
            // All of the content came in the one frame that was held: it needs no copy.
            if content.len() as u64 == self.declared_bytes {
                return Ok(content);
            }
            whole.extend_from_slice(&content);
        }
        Ok(whole.freeze())
    }

    /// The next content, or its end.
    pub(super) fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            let step = match &mut self.state {
                State::Verified { content, .. } if content.is_empty() => return Poll::Ready(None),
                State::Verified { content, .. } => return Poll::Ready(Some(Ok(std::mem::take(content)))),
                State::Failed(error) => return Poll::Ready(Some(Err(error.clone()))),
                State::Reading { .. } => self.step(context),
            };
            match step {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(content))) => return Poll::Ready(Some(Ok(content))),
                Poll::Ready(Err(error)) => {
                    self.report.set_failure(&error);
                    // A held frame is dropped here.
                    self.state = State::Failed(error);
                }
            }
        }
    }

    /// One step onwards: content that may go now, or none yet.
    fn step(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let Some(content) = self.decode()? {
            return Poll::Ready(self.admit(content));
        }
        let ended = match &mut self.source {
            None => true,
            Some(source) if source.is_end_stream() => true,
            Some(source) => match ready!(self.reader.poll_frame(source, context)).transpose() {
                Ok(None) => true,
                Ok(Some(frame)) => {
                    // S3 knows no HTTP trailers: they are dropped.
                    if let Ok(data) = frame.into_data() {
                        self.input = data;
                    }
                    false
                }
                Err(error) => return Poll::Ready(Err(ReadError::by_client(error))),
            },
        };
        if ended {
            self.source = None;
            self.verify()?;
        }
        Poll::Ready(Ok(None))
    }

    /// The next content out of what has arrived.
    fn decode(&mut self) -> Result<Option<Bytes>> {
        match &mut self.decoder {
            Some(decoder) => decoder.decode(&mut self.input),
            None => Ok(Some(std::mem::take(&mut self.input)).filter(|content| !content.is_empty())),
        }
    }

    /// Digests content, and gives it back unless it completes the declared length: then it is held.
    fn admit(&mut self, content: Bytes) -> Result<Option<Bytes>> {
        let decoded_bytes = self.decoded_bytes.saturating_add(content.len() as u64);
        if decoded_bytes > self.declared_bytes {
            return Err(too_long());
        }
        self.decoded_bytes = decoded_bytes;
        if let State::Reading { check, held } = &mut self.state {
            check.update(&content);
            if decoded_bytes == self.declared_bytes {
                *held = content;
                return Ok(None);
            }
        }
        Ok(Some(content))
    }

    /// The body is at its end: frees the held bytes where every check holds.
    fn verify(&mut self) -> Result<()> {
        let trailer = match &mut self.decoder {
            Some(decoder) => decoder.finish()?,
            None => None,
        };
        match std::mem::replace(&mut self.state, State::Failed(incomplete())) {
            State::Reading { check, held } if self.decoded_bytes == self.declared_bytes => {
                let digests = check.verify(trailer.as_deref())?;
                let trailer = self.output.trailer().and_then(|algorithm| digests.value(algorithm));
                self.state = State::Verified { content: held, trailer };
                self.report.set_verified();
                Ok(())
            }
            State::Reading { .. } | State::Verified { .. } | State::Failed(_) => Err(incomplete()),
        }
    }

    /// The value of the trailer with which the body leaves, once [`Self::poll_content`] has come to its end.
    pub(super) fn trailer(&self) -> Option<&str> {
        match &self.state {
            State::Verified { trailer, .. } => trailer.as_deref(),
            State::Reading { .. } | State::Failed(_) => None,
        }
    }

    /// How the body leaves for the store.
    pub(super) fn output(&self) -> Output {
        self.output
    }

    /// Content that the client declared.
    pub(super) fn declared_bytes(&self) -> u64 {
        self.declared_bytes
    }
}
