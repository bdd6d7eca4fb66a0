//! As much of HTTP/1.1 as client and store here need of it: a head with a `Content-Length`, keep-alive,
//! nothing else.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Large enough that a read is worth its system call, and every head fits.
const BUFFER_BYTES: usize = 256 * 1024;

/// A connection's input.
pub(crate) struct Input {
    buffer: Vec<u8>,
    filled: usize,
}

/// What of a head is looked at.
pub(crate) struct Head {
    /// `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`
    pub(crate) first_line: String,
    pub(crate) content_bytes: u64,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], filled: 0 }
    }

    /// The next head; none at the end of the connection.
    pub(crate) async fn head(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Head>> {
        loop {
            let filled = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(at) = filled.windows(4).position(|window| window == b"\r\n\r\n") {
                let (head, _) = filled.split_at(at);
                let head = parse(&String::from_utf8_lossy(head));
                self.consume(at + 4);
                return Ok(Some(head));
            }
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let read = stream.read(free).await?;
            if read == 0 {
                return Ok(None);
            }
            self.filled += read;
        }
    }

    /// Reads `bytes` of content away.
    pub(crate) async fn swallow(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        bytes: u64,
    ) -> io::Result<()> {
        let mut left = bytes;
        let here = left.min(self.filled as u64);
        self.consume(usize::try_from(here).unwrap_or_default());
        left -= here;
        while left > 0 {
            let read = stream.read(&mut self.buffer).await? as u64;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = left.checked_sub(read).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok(())
    }

    /// Reads `bytes` of content; for the small JSON of a session.
    pub(crate) async fn content(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        bytes: u64,
    ) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        while self.filled < bytes {
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match stream.read(free).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.filled += read,
            }
        }
        let content = self.buffer.get(..bytes).unwrap_or_default().to_vec();
        self.consume(bytes);
        Ok(content)
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }
}

fn parse(text: &str) -> Head {
    let mut lines = text.split("\r\n");
    let first_line = lines.next().unwrap_or_default().to_owned();
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let content_bytes = length.map_or(0, |(_, value)| value.trim().parse().expect("a content-length"));
    Head { first_line, content_bytes }
}
