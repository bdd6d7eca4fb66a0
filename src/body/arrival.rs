//! A client's body on its way in: decoded, digested, bounded in time, its last bytes held until all is proven (P4, P5).
//!
//! Invariants:
//! - The frame that completes the declared length is given out only after the end of the body was seen and every proof
//!   held. Before it, at least one byte is missing; so whoever declared the length upstream has an incomplete transfer.
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
        digest::Algorithm,
        failure::{BoxError, client_failure, incomplete, too_long, too_slow},
        outcome::Outcome,
        pace::{Pace, Stop, Watch},
        plan::{Framing, Output, Plan},
        proof::Proof,
        upload::Upload,
    },
    error::{Code, Error, Result},
};

/// Up to this size a body is read and proven before anything goes to the store: a false one then costs the store no
/// broken transfer, and a body of nothing has no last byte that could be held. One copy of 16 KiB is cheaper than either.
pub const PROVEN_FIRST_BYTES_MAX: u64 = 16 * 1024;

/// A client's body, decoded.
pub struct Arriving<B> {
    plan: Plan,
    /// None once it has been read to its end.
    inbound: Option<B>,
    /// What has arrived and is not decoded yet.
    input: Bytes,
    /// None: the body is plain.
    decoder: Option<Decoder>,
    proof: Proof,
    watch: Watch,
    decoded_bytes: u64,
    state: State,
    outcome: Arc<Outcome<B>>,
}

enum State {
    /// Not all content is there.
    Reading,
    /// All content is there, the last of it here; the rest of the body is to prove it.
    Held(Bytes),
    /// Proven; the bytes may go.
    Proven { content: Bytes, trailer: Option<String> },
    /// Never to be completed.
    Failed(Error),
}

impl<B> Arriving<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// A body that keeps to `plan` and `pace`; nothing is read yet.
    pub fn new(inbound: B, plan: Plan, pace: Pace) -> Result<Self> {
        plan.check()?;
        let decoder = match &plan.framing {
            Framing::Plain => None,
            Framing::Chunked(mode) => {
                Some(Decoder::new(mode.clone(), plan.trailer.map(Algorithm::header), plan.decoded_bytes))
            }
        };
        Ok(Self {
            inbound: Some(inbound),
            input: Bytes::new(),
            decoder,
            proof: Proof::new(&plan),
            watch: Watch::new(pace),
            decoded_bytes: 0,
            state: if plan.decoded_bytes == 0 { State::Held(Bytes::new()) } else { State::Reading },
            outcome: Arc::new(Outcome::new()),
            plan,
        })
    }

    /// Where the road will read what became of this body.
    pub fn outcome(&self) -> Arc<Outcome<B>> {
        Arc::clone(&self.outcome)
    }

    /// The body for the store. One of at most [`PROVEN_FIRST_BYTES_MAX`] is read and proven here, so that `Ok` means it
    /// is true; a larger one is not touched, and proves itself on its way.
    pub async fn into_upload(mut self) -> Result<Upload<B>> {
        if self.plan.decoded_bytes <= PROVEN_FIRST_BYTES_MAX {
            let content = self.gather().await?;
            let trailer = match &mut self.state {
                State::Proven { trailer, .. } => trailer.take(),
                State::Reading | State::Held(_) | State::Failed(_) => None,
            };
            self.state = State::Proven { content, trailer };
        }
        let outbound_bytes = self.plan.outbound_bytes();
        Ok(Upload::new(self, outbound_bytes))
    }

    /// The whole body, proven; for the XML of requests. Refused unread where it is declared larger than `bytes_max`.
    pub async fn collect(mut self, bytes_max: u64) -> Result<Bytes> {
        if self.plan.decoded_bytes > bytes_max {
            return Err(Error::new(
                Code::MaxMessageLengthExceeded,
                format!("Your request was too big: its body may have {bytes_max} bytes."),
            ));
        }
        self.gather().await
    }

    async fn gather(&mut self) -> Result<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(content) = poll_fn(|context| self.poll_content(context)).await.transpose()? {
            // One frame with all of the content was held until the proof: it needs no copy.
            if content.len() as u64 == self.plan.decoded_bytes {
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
                State::Proven { content, .. } if content.is_empty() => return Poll::Ready(None),
                State::Proven { content, .. } => return Poll::Ready(Some(Ok(std::mem::take(content)))),
                State::Failed(error) => return Poll::Ready(Some(Err(error.clone()))),
                State::Reading | State::Held(_) => self.step(context),
            };
            match step {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(content))) => return Poll::Ready(Some(Ok(content))),
                Poll::Ready(Err(error)) => {
                    self.outcome.fail(&error);
                    // A held frame dies here.
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
        let ended = match &mut self.inbound {
            None => true,
            Some(inbound) if inbound.is_end_stream() => true,
            Some(inbound) => match ready!(self.watch.poll_frame(inbound, context)) {
                None => true,
                Some(Ok(frame)) => {
                    // HTTP trailers are none of S3's: they prove nothing and go nowhere.
                    if let Ok(data) = frame.into_data() {
                        self.outcome.received(data.len());
                        self.input = data;
                    }
                    false
                }
                Some(Err(Stop::Late)) => return Poll::Ready(Err(too_slow())),
                Some(Err(Stop::Failed(error))) => return Poll::Ready(Err(client_failure(error))),
            },
        };
        if ended {
            self.inbound = None;
            self.prove()?;
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

    /// Digests content; gives it back unless it is the last, which is held.
    fn admit(&mut self, content: Bytes) -> Result<Option<Bytes>> {
        let decoded_bytes = self.decoded_bytes.saturating_add(content.len() as u64);
        if decoded_bytes > self.plan.decoded_bytes {
            return Err(too_long());
        }
        self.decoded_bytes = decoded_bytes;
        self.outcome.decoded(decoded_bytes);
        self.proof.update(&content);
        if decoded_bytes == self.plan.decoded_bytes {
            self.state = State::Held(content);
            return Ok(None);
        }
        Ok(Some(content))
    }

    /// The body is at its end: frees the held bytes, or fails.
    fn prove(&mut self) -> Result<()> {
        let trailer = match &mut self.decoder {
            Some(decoder) => decoder.finish()?,
            None => None,
        };
        let content = match &mut self.state {
            State::Held(content) => std::mem::take(content),
            State::Reading | State::Proven { .. } | State::Failed(_) => return Err(incomplete()),
        };
        self.proof.verify(trailer.as_deref())?;
        self.state = State::Proven { content, trailer };
        self.outcome.set_proven();
        Ok(())
    }

    /// The trailer for the store, once [`Self::poll_content`] has come to its end.
    pub(super) fn trailer(&self) -> Option<(Algorithm, &str)> {
        match (&self.state, self.plan.output, self.plan.trailer) {
            (State::Proven { trailer: Some(value), .. }, Output::UnsignedTrailer { .. }, Some(algorithm)) => {
                Some((algorithm, value))
            }
            _ => None,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        if let Some(inbound) = self.inbound.take() {
            self.outcome.leave_rest(inbound);
        }
    }
}
