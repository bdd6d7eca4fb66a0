//! What the tests of bodies share: a scripted peer, and an encoder of `aws-chunked` written from the
//! specification.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::calculate_signature;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::{auth::ChunkSeed, body::chunked::Mode, secret::Secret};

/// A body that gives frames as scripted, one for each poll.
#[derive(Debug)]
pub(super) struct Peer {
    frames: VecDeque<Bytes>,
    last: Last,
    sized: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Last {
    End,
    Silence,
    Failure,
}

impl Peer {
    pub(super) fn of(pieces: &[&str]) -> Self {
        Self::frames(pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())))
    }

    pub(super) fn frames(frames: impl IntoIterator<Item = Bytes>) -> Self {
        Self { frames: frames.into_iter().collect(), last: Last::End, sized: false }
    }

    /// `wire` in frames of at most `frame_bytes`.
    pub(super) fn split(wire: &[u8], frame_bytes: usize) -> Self {
        Self::frames(wire.chunks(frame_bytes).map(Bytes::copy_from_slice))
    }

    pub(super) fn then_silence(mut self) -> Self {
        self.last = Last::Silence;
        self
    }

    pub(super) fn then_failure(mut self) -> Self {
        self.last = Last::Failure;
        self
    }

    /// With a length that is known ahead, and an end that shows without asking.
    pub(super) fn sized(mut self) -> Self {
        self.sized = true;
        self
    }
}

impl Body for Peer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match (self.frames.pop_front(), self.last) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, Last::End) => Poll::Ready(None),
            (None, Last::Silence) => Poll::Pending,
            (None, Last::Failure) => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.frames.is_empty() && self.last == Last::End
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized {
            SizeHint::with_exact(self.frames.iter().map(|frame| frame.len() as u64).sum())
        } else {
            SizeHint::default()
        }
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The data of the next frame.
pub(super) async fn next<B>(body: &mut B) -> Option<Result<Bytes, B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

/// All data of a body until its end or its error.
pub(super) fn read<B>(mut body: B) -> (Vec<u8>, Option<B::Error>)
where
    B: Body<Data = Bytes> + Unpin,
{
    block_on(async {
        let mut seen = Vec::new();
        while let Some(piece) = next(&mut body).await {
            match piece {
                Ok(piece) => seen.extend_from_slice(&piece),
                Err(error) => return (seen, Some(error)),
            }
        }
        (seen, None)
    })
}

/// The signing key, date and scope of AWS's documented examples.
pub(super) fn seed(signature: &str) -> ChunkSeed {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_369_353_600);
    let key = aws_sigv4::sign::v4::generate_signing_key(
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        time,
        "us-east-1",
        "s3",
    );
    ChunkSeed {
        signing_key: Secret::new(key.as_ref()),
        date: "20130524T000000Z".to_owned(),
        scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        signature: signature.to_owned(),
    }
}

/// How a client ends the line of its trailer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// botocore, the SDKs.
    Plain,
    /// minio-go: a bare line feed more.
    Minio,
}

/// `chunks` as a client sends them in `mode`, with `trailer` as the value of its trailer where it has one.
pub(super) fn encode(mode: &Mode, chunks: &[&[u8]], trailer: &str, ending: Ending) -> Vec<u8> {
    let seed = match mode {
        Mode::SignedChunks(seed) | Mode::SignedChunksTrailer(seed, _) => Some(seed),
        Mode::UnsignedTrailer(_) => None,
    };
    let mut previous = seed.map(|seed| seed.signature.clone()).unwrap_or_default();
    let mut sign = |what: &str, hashes: String| {
        let seed = seed.unwrap();
        let text = format!("AWS4-HMAC-SHA256-{what}\n{}\n{}\n{previous}\n{hashes}", seed.date, seed.scope);
        previous = calculate_signature(seed.signing_key.expose(), text.as_bytes());
        previous.clone()
    };
    let sha256 = |bytes: &[u8]| hex::encode(digest(&SHA256, bytes));

    let mut wire = Vec::new();
    for chunk in chunks.iter().copied().chain([b"".as_slice()]) {
        wire.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if seed.is_some() {
            let signature = sign("PAYLOAD", format!("{}\n{}", sha256(b""), sha256(chunk)));
            wire.extend_from_slice(format!(";chunk-signature={signature}").as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        if !chunk.is_empty() {
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
    }
    if let Some(algorithm) = mode.trailer() {
        let name = algorithm.header();
        let end = match ending {
            Ending::Plain => "\r\n",
            Ending::Minio => "\n\r\n",
        };
        wire.extend_from_slice(format!("{name}:{trailer}{end}").as_bytes());
        if matches!(mode, Mode::SignedChunksTrailer(..)) {
            let signature = sign("TRAILER", sha256(format!("{name}:{trailer}\n").as_bytes()));
            wire.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    wire.extend_from_slice(b"\r\n");
    wire
}
