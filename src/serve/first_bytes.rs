//! The first bytes of a connection: whether they are HTTP/2's. \[IO\]
//!
//! hyper-util reads them to know which protocol it is, and hands them on in a piece of their own. hyper's
//! buffer for HTTP/1 has 8 KiB and no room for 8 KiB more once that piece is in it, so it became twice as
//! large, for as long as the connection lives. Here they are looked at below hyper-util, and of HTTP/1 it is
//! given nothing: an end of the stream before the preface is HTTP/1 to it. What was read comes afterwards,
//! together with what follows.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What every connection of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes are looked at.
pub(super) struct FirstBytes<T> {
    transport: T,
    bytes: [u8; PREFACE.len()],
    filled: u8,
    at: At,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// So far they could be those of HTTP/2.
    Looking,
    /// What was read is still to be handed on.
    Holding,
    /// Whatever comes is handed on.
    Passing,
}

impl<T> FirstBytes<T> {
    pub(super) fn of(transport: T) -> Self {
        Self { transport, bytes: [0; PREFACE.len()], filled: 0, at: At::Looking }
    }

    fn held(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.filled)).unwrap_or_default()
    }
}

impl<T: AsyncRead + Unpin> FirstBytes<T> {
    /// Reads until it is known which protocol it is; whether it is HTTP/2.
    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let free = self.bytes.get_mut(usize::from(self.filled)..).unwrap_or_default();
            let mut room = ReadBuf::new(free);
            ready!(Pin::new(&mut self.transport).poll_read(context, &mut room))?;
            let read = u8::try_from(room.filled().len()).unwrap_or_default();
            self.filled = self.filled.saturating_add(read);
            if read == 0 || !PREFACE.starts_with(self.held()) {
                return Poll::Ready(Ok(false));
            }
            if self.held().len() == PREFACE.len() {
                return Poll::Ready(Ok(true));
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FirstBytes<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.at == At::Looking {
            let is_http2 = ready!(this.poll_look(context))?;
            this.at = At::Holding;
            if !is_http2 {
                return Poll::Ready(Ok(()));
            }
        }
        if this.at == At::Holding {
            let (now, later) = this.held().split_at(this.held().len().min(into.remaining()));
            into.put_slice(now);
            let later = later.len();
            if later > 0 {
                let handed = usize::from(this.filled).saturating_sub(later);
                this.bytes.copy_within(handed..usize::from(this.filled), 0);
                this.filled = u8::try_from(later).unwrap_or_default();
                return Poll::Ready(Ok(()));
            }
            this.at = At::Passing;
            let has_some = std::mem::take(&mut this.filled) > 0;
            if has_some {
                return match into.remaining() {
                    0 => Poll::Ready(Ok(())),
                    // What follows is mostly there already; if not, these are enough for now.
                    _ => match Pin::new(&mut this.transport).poll_read(context, into) {
                        Poll::Ready(read) => Poll::Ready(read),
                        Poll::Pending => Poll::Ready(Ok(())),
                    },
                };
            }
        }
        Pin::new(&mut this.transport).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FirstBytes<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What is read by somebody who asks for 24 bytes first and has a lot of room afterwards, where the
    /// client sends these pieces and ends.
    async fn read(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut client, server) = duplex(1024);
        let mut server = FirstBytes::of(server);
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let reading = async {
            let mut asked = vec![0; 24];
            let bytes = server.read(&mut asked).await.unwrap();
            asked.truncate(bytes);
            let mut reads = vec![asked];
            loop {
                let mut room = vec![0; 1024];
                match server.read(&mut room).await.unwrap() {
                    0 => return reads,
                    bytes => reads.push(room[..bytes].to_vec()),
                }
            }
        };
        tokio::join!(reading, sending).0
    }

    #[tokio::test]
    async fn a_request_of_http1_comes_whole_after_nothing() {
        let request = b"GET / HTTP/1.1\r\nhost: a.example\r\nx-long: 0123456789\r\n\r\n".as_slice();
        assert_eq!(read(&[request]).await, [b"".as_slice(), request]);
        assert_eq!(read(&[b"POST / HTTP/1.1\r\n", b"\r\n"]).await.concat(), b"POST / HTTP/1.1\r\n\r\n");
        // One that begins as the preface does.
        assert_eq!(read(&[b"PRI", b"NT / HTTP/1.1"]).await.concat(), b"PRINT / HTTP/1.1");
        assert_eq!(read(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n", b"x"]).await[0], b"");
    }

    #[tokio::test]
    async fn the_preface_of_http2_comes_first_and_whole() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0].as_slice();
        let whole = [PREFACE.as_slice(), settings].concat();
        assert_eq!(read(&[&whole]).await, [PREFACE.as_slice(), settings]);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        let reads = read(&bytes).await;
        assert_eq!((reads[0].as_slice(), reads.concat()), (PREFACE.as_slice(), whole));
    }

    #[tokio::test]
    async fn an_end_is_an_end() {
        assert_eq!(read(&[]).await, [b""]);
        assert_eq!(read(&[b"PRI * HT"]).await, [b"".as_slice(), b"PRI * HT"]);
    }
}
