//! One connection, byte by byte, and the answers as they came.

use std::{net::SocketAddr, time::Duration};

use subgate::s3::xml::Element;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{PATIENCE, Signed};
use crate::harness::sigv4::Pair;

/// What bytes go over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, over TCP or over TLS.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// A connection from another address of this host.
    pub async fn connect_from(from: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let stream = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// One that somebody else has made.
    pub fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Sends; a reset shows as an error.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server does not read")
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("the server takes what is sent");
    }

    pub async fn send_call(&mut self, call: &Signed) {
        let bytes = [call.head(), call.body.clone()].concat();
        self.send(&bytes).await;
    }

    /// No more will be sent.
    pub async fn shut(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// False at the end.
    async fn fill(&mut self) -> std::io::Result<bool> {
        let mut piece = vec![0; 65_536];
        let bytes = timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("no answer in time")?;
        self.buffer.extend_from_slice(&piece[..bytes]);
        Ok(bytes > 0)
    }

    async fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill().await? {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn exactly(&mut self, bytes: usize) -> std::io::Result<Vec<u8>> {
        while self.buffer.len() < bytes {
            if !self.fill().await? {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..bytes).collect())
    }

    /// Whether the server closes, with nothing further said.
    pub async fn closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await.unwrap_or(false)
    }

    /// Whether nothing comes for a little while.
    pub async fn silent(&mut self) -> bool {
        self.silent_for(Duration::from_millis(150)).await
    }

    /// Whether nothing comes for that long.
    pub async fn silent_for(&mut self, time: Duration) -> bool {
        let mut piece = [0; 1];
        match timeout(time, self.stream.read(&mut piece)).await {
            Err(_) => true,
            Ok(read) => {
                self.buffer.extend_from_slice(&piece[..read.unwrap_or(0)]);
                false
            }
        }
    }

    /// The next answer to a request of that method.
    pub async fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).await.expect("the client sees an answer")
    }

    pub async fn try_answer(&mut self, method: &str) -> std::io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let status_line = self.line().await?;
            let status: u16 = status_line.split(' ').nth(1).unwrap().parse().unwrap();
            let mut headers = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').unwrap();
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            if status < 200 {
                interim.push(status);
                continue;
            }
            let mut answer =
                Answer { status, headers, body: Vec::new(), whole: true, interim, method: method.to_owned() };
            self.read_body(&mut answer).await;
            return Ok(answer);
        }
    }

    async fn read_body(&mut self, answer: &mut Answer) {
        if answer.method == "HEAD" || answer.status == 204 || answer.status == 304 {
            return;
        }
        if answer.get("transfer-encoding") == Some("chunked") {
            loop {
                let Ok(line) = self.line().await else { return answer.whole = false };
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                let Ok(piece) = self.exactly(size + 2).await else { return answer.whole = false };
                answer.body.extend_from_slice(&piece[..size]);
                if size == 0 {
                    return;
                }
            }
        }
        match answer.get("content-length").map(|bytes| bytes.parse::<usize>().unwrap()) {
            Some(bytes) => match self.exactly(bytes).await {
                Ok(body) => answer.body = body,
                Err(_) => {
                    answer.body = std::mem::take(&mut self.buffer);
                    answer.whole = false;
                }
            },
            None => {
                while self.fill().await.unwrap_or(false) {}
                answer.body = std::mem::take(&mut self.buffer);
            }
        }
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names as they were spelled.
    pub headers: Vec<Pair>,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
    /// Statuses that came before.
    pub interim: Vec<u16>,
    pub method: String,
}

impl Answer {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn xml(&self) -> Element {
        Element::parse(&self.body).unwrap_or_else(|_| panic!("not XML: {}", self.text()))
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert!((200..300).contains(&self.status) && self.whole, "{} {}", self.status, self.text());
        self
    }

    /// A refusal in S3's form; gives its message.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> String {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        let id = self.get("x-amz-request-id").expect("a request id");
        assert!(!id.is_empty());
        if status == 503 {
            assert!(self.get("retry-after").is_some());
        }
        if self.method == "HEAD" {
            assert_eq!(text, "");
            return text;
        }
        assert_eq!(self.get("content-type"), Some("application/xml"));
        assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>"), "{text}");
        let error = self.xml();
        assert_eq!(error.text_of("Code"), Some(code), "{text}");
        assert_eq!(error.text_of("RequestId"), Some(id));
        assert!(error.text_of("Resource").is_some());
        let message = error.text_of("Message").unwrap().to_owned();
        assert!(!message.is_empty());
        message
    }

    /// An element of the error document.
    pub fn element(&self, name: &str) -> Option<String> {
        self.xml().text_of(name).map(str::to_owned)
    }
}
