//! HTTP/1.1 read with all the good will that makes smuggling work.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use super::s3::Reply;

/// A request as it was understood.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = vec![0; 65_536];
        let bytes = self.stream.read(&mut piece)?;
        self.buffer.extend(piece.iter().take(bytes));
        Ok(bytes > 0)
    }

    /// A line without its end, whichever of the two it has.
    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                let line = String::from_utf8_lossy(&line).into_owned();
                return Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// As many bytes, or fewer where no more come.
    fn up_to(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < bytes && self.fill()? {}
        let bytes = bytes.min(self.buffer.len());
        Ok(self.buffer.drain(..bytes).collect())
    }

    pub(super) fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(first) = self.line()? else { return Ok(None) };
        let mut words = first.split_whitespace();
        let method = words.next().unwrap_or("GET").to_owned();
        let target = words.next().unwrap_or("/").to_owned();
        let mut request = Request { method, target, headers: Vec::new(), body: Vec::new() };
        while let Some(line) = self.line()?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            request.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        if request.header("expect").is_some() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let encoded = |(name, value): &(String, String)| {
            name == "transfer-encoding" && value.to_ascii_lowercase().contains("chunked")
        };
        if request.headers.iter().any(encoded) {
            while let Some(size) = self.line()?.map(|line| hexadecimal(&line)).filter(|size| *size > 0) {
                request.body.extend(self.up_to(size)?);
                self.line()?;
            }
            self.line()?;
        } else if let Some(length) = request.header("content-length") {
            let digits: String = length.chars().skip_while(|c| !c.is_ascii_digit()).collect();
            let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
            let wrapped = digits
                .bytes()
                .fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
            request.body = self.up_to(usize::try_from(wrapped).unwrap_or(0))?;
        }
        Ok(Some(request))
    }

    pub(super) fn reply(&mut self, method: &str, reply: &Reply) -> io::Result<()> {
        let length = if method == "HEAD" { 0 } else { reply.body.len() };
        let mut head = format!("HTTP/1.1 {} Fine\r\nserver: MinIO\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if reply.status != 204 {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if method != "HEAD" && reply.status != 204 {
            bytes.extend(&reply.body);
        }
        self.stream.write_all(&bytes)
    }
}

/// The digits of a number that has some, wrapped round where there are too many.
pub(super) fn hexadecimal(text: &str) -> usize {
    let digits = text.split(';').next().unwrap_or_default().chars().filter_map(|c| c.to_digit(16));
    digits.fold(0_usize, |sum, digit| sum.wrapping_mul(16).wrapping_add(digit as usize)) & 0xff_ffff
}
