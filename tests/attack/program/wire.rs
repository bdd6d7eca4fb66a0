//! One connection to a server, byte by byte, and its answers as they came.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::arena::Target;

/// No answer is waited for longer, unless the attack is about waiting.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Bytes of an answer's body that are kept.
const BODY_BYTES_MAX: usize = 64 << 20;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One TCP connection, within TLS where the target says so.
pub(crate) struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        Self::with_protocols(target, &[])
    }

    /// With the protocols to offer by ALPN, where there is TLS.
    pub(crate) fn with_protocols(target: &Target, protocols: &[&[u8]]) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target.address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        let stream = match &target.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let mut config = ClientConfig::clone(tls);
                config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
                let name = target.host.rsplit_once(':').map_or(target.host.as_str(), |(name, _)| name);
                let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
                let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(client, stream)))
            }
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// From now on a read gives up after `wait`.
    pub(crate) fn read_for(&self, wait: Duration) -> io::Result<()> {
        self.socket().set_read_timeout(Some(wait.max(Duration::from_millis(1))))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// No more will be sent.
    pub(crate) fn shut(&self) -> io::Result<()> {
        self.socket().shutdown(std::net::Shutdown::Write)
    }

    /// What comes next, in no form; empty at the end.
    pub(crate) fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Whether the server closes within that time, whatever it says before.
    pub(crate) fn closes_within(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.read_for(left).is_err() {
                return false;
            }
            self.buffer.clear();
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(error) => return !is_timeout(&error),
            }
        }
    }

    /// False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; 65_536];
        let bytes = match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut piece)?,
            Stream::Tls(stream) => stream.read(&mut piece)?,
        };
        self.buffer.extend(piece.iter().take(bytes));
        Ok(bytes > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.fill()? || self.buffer.len() > BODY_BYTES_MAX {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < bytes {
            if bytes > BODY_BYTES_MAX || !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..bytes).collect())
    }

    /// The next final answer to a request of that method; those of 100 to 199 are passed over.
    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let status_line = self.line()?;
            let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                let Some((name, value)) = line.split_once(':') else { break };
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if (100..200).contains(&status) {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            if method != "HEAD" && status != 204 && status != 304 {
                self.read_body(&mut answer);
            }
            return Ok(answer);
        }
    }

    fn read_body(&mut self, answer: &mut Answer) {
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Ok(line) = self.line() {
                let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return };
                let Ok(mut piece) = self.exactly(size + 2) else { return };
                piece.truncate(size);
                answer.body.extend(piece);
                if size == 0 {
                    return;
                }
            }
        } else if let Some(bytes) = answer.header("content-length").and_then(|bytes| bytes.parse().ok()) {
            answer.body = self.exactly(bytes).unwrap_or_else(|_| std::mem::take(&mut self.buffer));
        } else {
            while self.buffer.len() < BODY_BYTES_MAX && self.fill().unwrap_or(false) {}
            answer.body = std::mem::take(&mut self.buffer);
        }
    }
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An answer as it came; a connection that was closed without one has the status 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && self.body.windows(bytes.len()).any(|window| window == bytes)
    }

    /// The text of the first element of that name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once("</").map(|(value, _)| value.to_owned())
    }

    /// Status and code, for a line of evidence: `403 AccessDenied`.
    pub(crate) fn brief(&self) -> String {
        match (self.status, self.element("Code")) {
            (0, _) => "closed".to_owned(),
            (status, None) => status.to_string(),
            (status, Some(code)) => format!("{status} {code}"),
        }
    }
}
