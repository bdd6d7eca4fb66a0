//! Bodies of requests to the Hub and its storage: bytes, or a piece of a file that is too large for memory.
//! \[IO\]
//!
//! Connections, and the end to every wait, are those of [`crate::client::http`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::{Body, Frame, SizeHint};

use super::source::{OpenSource, Source, read_piece};
use crate::client::http::{ClientOf, CountsSent};

/// A client over TLS or plain HTTP/1.1. Which URLs it may call is what [`super::endpoint`] decides.
pub(crate) type HubHttp = ClientOf<HubBody>;

/// A file is read and sent in pieces of this size.
const PIECE_BYTES: u64 = 256 * 1024;

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of a request; it counts what has left.
pub(crate) struct HubBody {
    pieces: Pieces,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl HubBody {
    fn new(pieces: Pieces, left: u64) -> Self {
        Self { pieces, left, sent: Arc::default() }
    }

    /// A piece of a file: `length` bytes from `from` on. A file that has fewer by then, or is another one,
    /// breaks the request.
    pub(super) fn of_file(source: Arc<dyn Source>, from: u64, length: u64) -> Self {
        let first = (None::<Arc<dyn OpenSource>>, source, from, length);
        let pieces = stream::try_unfold(first, async |(open, source, at, left)| {
            if left == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || next_piece(open, source, at, left)).await;
            let (open, source, piece) = read.map_err(io::Error::other)??;
            let taken = piece.len() as u64;
            Ok(Some((piece, (Some(open), source, at.saturating_add(taken), left.saturating_sub(taken)))))
        });
        Self::new(Box::pin(pieces), length)
    }
}

type Opened = (Arc<dyn OpenSource>, Arc<dyn Source>, Bytes);

fn next_piece(
    open: Option<Arc<dyn OpenSource>>,
    source: Arc<dyn Source>,
    at: u64,
    left: u64,
) -> io::Result<Opened> {
    let open = match open {
        Some(open) => open,
        None => source.open()?,
    };
    let piece = read_piece(&*open, at, usize::try_from(left.min(PIECE_BYTES)).unwrap_or(0))?;
    match piece.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false => Ok((open, source, piece.into())),
    }
}

impl From<Bytes> for HubBody {
    fn from(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        Self::new(Box::pin(stream::iter((left > 0).then_some(Ok(bytes)))), left)
    }
}

impl CountsSent for HubBody {
    fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }
}

impl Body for HubBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = ready!(self.pieces.as_mut().poll_next(context));
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            let length = piece.len() as u64;
            self.left = self.left.saturating_sub(length);
            self.sent.fetch_add(length, Ordering::Relaxed);
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::hub::source::tests::Plain;

    #[tokio::test]
    async fn a_piece_of_a_file_is_sent_as_it_stands() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let piece = usize::try_from(PIECE_BYTES).unwrap();
        let content: Vec<u8> = (0_u8..251).cycle().take(piece * 2 + 100).collect();
        std::fs::write(file.path(), &content).unwrap();
        for (from, length) in [(0, content.len()), (5, 10), (7, piece + 1), (0, 0)] {
            let body = HubBody::of_file(Plain::of(file.path()), from as u64, length as u64);
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            let sent = Arc::clone(&body.sent);
            let whole = body.collect().await.unwrap().to_bytes();
            assert_eq!(whole, content[from..from + length]);
            assert_eq!(sent.load(Ordering::Relaxed), length as u64);
        }
        let body = HubBody::of_file(Plain::of(file.path()), content.len() as u64 - 1, 2);
        assert!(body.collect().await.is_err(), "a file that is shorter by now");
    }
}
