//! Signed requests of every kind, and of kinds that no client of good will sends.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use subgate::{
    auth::{ChunkSeed, bittensor::sr25519::Keypair, sigv4::signer},
    secret::Secret,
    time::UnixTime,
};

use crate::harness::{
    server,
    sigv4::{self, Pair, Signing, canonical_query, encode, sha256_hex},
    store,
};

/// With what a call is signed.
#[derive(Clone)]
pub enum Key {
    /// Session credentials.
    Session { access_key: String, secret: String, token: Option<String> },
    /// The hotkey itself.
    Hotkey(Arc<Keypair>),
}

impl Key {
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Session { .. } => "AWS4-HMAC-SHA256",
            Self::Hotkey(_) => "AWS4-SR25519-SHA256",
        }
    }

    pub fn access_key(&self) -> String {
        match self {
            Self::Session { access_key, .. } => access_key.clone(),
            Self::Hotkey(keypair) => keypair.account().to_ss58(),
        }
    }

    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Session { token, .. } => token.as_deref(),
            Self::Hotkey(_) => None,
        }
    }

    pub fn secret(&self) -> &str {
        match self {
            Self::Session { secret, .. } => secret,
            Self::Hotkey(_) => panic!("a hotkey has no shared secret"),
        }
    }
}

/// What a call says of its body.
#[derive(Clone, PartialEq)]
pub enum Payload {
    /// The sha256 of the body.
    Real,
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// Any text.
    Text(String),
    /// The sha256 of another body.
    False,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`
    SignedChunks,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`
    SignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`
    UnsignedTrailer,
}

impl Payload {
    fn text(&self, body: &[u8]) -> String {
        match self {
            Self::Real => sha256_hex(body),
            Self::False => sha256_hex(b"another body"),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Self::Text(text) => text.clone(),
            Self::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Self::SignedTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
            Self::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
        }
    }

    pub fn is_chunked(&self) -> bool {
        matches!(self, Self::SignedChunks | Self::SignedTrailer | Self::UnsignedTrailer)
    }
}

/// What is done to an encoded body.
pub type Tamper = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// One call, before it is signed.
#[derive(Clone)]
pub struct Call {
    pub method: String,
    /// Decoded.
    pub path: String,
    /// How the path is spelled on the wire, where not in the strict form.
    pub wire_path: Option<String>,
    pub query: Vec<Pair>,
    /// How the query is spelled on the wire; what a presigned call adds follows.
    pub wire_query: Option<String>,
    /// Sent, and signed where named `x-amz-*` or in `also_signed`.
    pub headers: Vec<(String, Vec<u8>)>,
    pub also_signed: Vec<String>,
    pub not_signed: Vec<String>,
    /// Added after signing.
    pub smuggled: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub payload: Payload,
    /// Chunk size of the streaming payloads.
    pub chunk_bytes: usize,
    /// The trailer's name; its value is true unless given.
    pub trailer: Option<(String, Option<String>)>,
    /// Seconds for which it holds: then it is signed in the query.
    pub presigned: Option<String>,
    /// Seconds by which the client's clock is ahead.
    pub clock: i64,
    pub scope_day: Option<String>,
    pub region: String,
    pub service: String,
    /// The Host that is sent and signed.
    pub host: Option<String>,
    /// The Host that is sent although another was signed.
    pub wire_host: Option<String>,
    /// In chunks of HTTP's own.
    pub http_chunked: bool,
    /// What is done to the encoded body after signing.
    pub tamper: Option<Tamper>,
    /// What Content-Length says in place of the truth.
    pub claimed_bytes: Option<u64>,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            wire_path: None,
            query: Vec::new(),
            wire_query: None,
            headers: Vec::new(),
            also_signed: Vec::new(),
            not_signed: Vec::new(),
            smuggled: Vec::new(),
            body: Vec::new(),
            payload: Payload::Real,
            chunk_bytes: 64 * 1024,
            trailer: None,
            presigned: None,
            clock: 0,
            scope_day: None,
            region: server::REGION.to_owned(),
            service: "s3".to_owned(),
            host: None,
            wire_host: None,
            http_chunked: false,
            tamper: None,
            claimed_bytes: None,
        }
    }

    /// A call about an object, or about the bucket where `key` is empty.
    pub fn object(method: &str, key: &str) -> Self {
        match key {
            "" => Self::new(method, &format!("/{}", server::BUCKET)),
            _ => Self::new(method, &format!("/{}/{key}", server::BUCKET)),
        }
    }

    pub fn get(key: &str) -> Self {
        Self::object("GET", key)
    }

    pub fn head(key: &str) -> Self {
        Self::object("HEAD", key)
    }

    pub fn put(key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::object("PUT", key).body(body)
    }

    pub fn post(key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::object("POST", key).body(body)
    }

    pub fn delete(key: &str) -> Self {
        Self::object("DELETE", key)
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// A header beyond `x-amz-*` that is signed as well.
    pub fn signed(mut self, name: &str, value: &str) -> Self {
        self.also_signed.push(name.to_owned());
        self.header(name, value)
    }

    /// Leaves a header out of the signature.
    pub fn unsigned(mut self, name: &str) -> Self {
        self.not_signed.push(name.to_owned());
        self
    }

    /// A header that joins after signing.
    pub fn smuggled(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.smuggled.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    pub fn chunks(mut self, payload: Payload, chunk_bytes: usize) -> Self {
        self.chunk_bytes = chunk_bytes;
        self.payload(payload)
    }

    pub fn trailer(mut self, name: &str) -> Self {
        self.trailer = Some((name.to_owned(), None));
        self
    }

    pub fn false_trailer(mut self, name: &str, value: &str) -> Self {
        self.trailer = Some((name.to_owned(), Some(value.to_owned())));
        self
    }

    pub fn presigned(self) -> Self {
        self.presigned_for("600")
    }

    pub fn presigned_for(mut self, seconds: &str) -> Self {
        self.presigned = Some(seconds.to_owned());
        if self.payload == Payload::Real {
            self.payload = Payload::Unsigned;
        }
        self
    }

    pub fn clock(mut self, seconds: i64) -> Self {
        self.clock = seconds;
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub fn wire_host(mut self, host: &str) -> Self {
        self.wire_host = Some(host.to_owned());
        self
    }

    pub fn spelled(mut self, wire_path: &str) -> Self {
        self.wire_path = Some(wire_path.to_owned());
        self
    }

    pub fn http_chunked(mut self) -> Self {
        self.http_chunked = true;
        self
    }

    pub fn tamper(mut self, tamper: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.tamper = Some(Arc::new(tamper));
        self
    }

    /// Signs.
    pub fn sign(&self, key: &Key, own_host: &str) -> Signed {
        let now = SystemTime::now();
        let time = if self.clock < 0 {
            now - Duration::from_secs(self.clock.unsigned_abs())
        } else {
            now + Duration::from_secs(self.clock.unsigned_abs())
        };
        let date = UnixTime::from(time).to_amz();
        let day = self.scope_day.clone().unwrap_or_else(|| date[..8].to_owned());
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let payload = self.payload.text(&self.body);
        let host = self.host.as_deref().unwrap_or(own_host);
        let has = |name: &str| self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));

        let mut headers = self.headers.clone();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.as_bytes().to_vec()));
        if self.payload.is_chunked() {
            if !has("x-amz-decoded-content-length") {
                add("x-amz-decoded-content-length", &self.body.len().to_string());
            }
            if !has("content-encoding") {
                add("content-encoding", "aws-chunked");
            }
        }
        if let Some((name, _)) = self.trailer.as_ref().filter(|_| !has("x-amz-trailer")) {
            add("x-amz-trailer", name);
        }
        if self.presigned.is_none() {
            if !has("x-amz-date") && !has("date") {
                add("x-amz-date", &date);
            }
            add("x-amz-content-sha256", &payload);
            if let Some(token) = key.token() {
                add("x-amz-security-token", token);
            }
        }
        let mut signed: Vec<(String, Vec<u8>)> = headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .filter(|(name, _)| name.starts_with("x-amz-") || self.also_signed.contains(name))
            .collect();
        signed.push(("host".to_owned(), host.as_bytes().to_vec()));
        signed.retain(|(name, _)| !self.not_signed.contains(name));

        let mut query = self.query.clone();
        let mut signing = Signing {
            algorithm: key.algorithm(),
            method: &self.method,
            path: &self.path,
            query: &[],
            headers: &signed,
            payload: &payload,
            date: &date,
            scope: &scope,
        };
        let credential = format!("{}/{scope}", key.access_key());
        if let Some(seconds) = &self.presigned {
            let mut add = |name: &str, value: &str| query.push((name.to_owned(), value.to_owned()));
            add("X-Amz-Algorithm", key.algorithm());
            add("X-Amz-Credential", &credential);
            add("X-Amz-Date", &date);
            add("X-Amz-Expires", seconds);
            add("X-Amz-SignedHeaders", &signing.names());
            if let Some(token) = key.token() {
                add("X-Amz-Security-Token", token);
            }
            if self.payload != Payload::Unsigned {
                add("X-Amz-Content-Sha256", &payload);
            }
        }
        signing.query = &query;
        let string_to_sign = signing.string_to_sign();
        let (signature, seed) = match key {
            Key::Hotkey(keypair) => (hex::encode(keypair.sign(string_to_sign.as_bytes())), None),
            Key::Session { secret, .. } => {
                let signing_key = sigv4::signing_key(secret, time, &self.region, &self.service);
                let signature = sigv4::hmac_signature(&signing_key, &string_to_sign);
                let seed = ChunkSeed {
                    signing_key: Secret::new(signing_key),
                    date: date.clone(),
                    scope: scope.clone(),
                    signature: signature.clone(),
                };
                (signature, Some(seed))
            }
        };

        let mut target = self.wire_path.clone().unwrap_or_else(|| encode(self.path.as_bytes(), true));
        let own_query = self.wire_query.clone().unwrap_or_else(|| canonical_query(&self.query));
        let mut parts: Vec<String> = [own_query].into_iter().filter(|part| !part.is_empty()).collect();
        if self.presigned.is_some() {
            let added = &query[self.query.len()..];
            parts.push(canonical_query(added));
            parts.push(format!("X-Amz-Signature={signature}"));
        } else {
            let names = signing.names();
            let authorization = format!(
                "{} Credential={credential}, SignedHeaders={names}, Signature={signature}",
                key.algorithm()
            );
            headers.push(("authorization".to_owned(), authorization.into_bytes()));
        }
        if !parts.is_empty() {
            target = format!("{target}?{}", parts.join("&"));
        }

        let mut body = self.encoded(seed.as_ref());
        if let Some(tamper) = &self.tamper {
            body = tamper(body);
        }
        if self.http_chunked {
            headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
            let mut framed = Vec::new();
            for piece in body.chunks(10_000) {
                framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                framed.extend_from_slice(piece);
                framed.extend_from_slice(b"\r\n");
            }
            framed.extend_from_slice(b"0\r\n\r\n");
            body = framed;
        } else if !body.is_empty() || self.method == "PUT" || self.method == "POST" {
            let bytes = self.claimed_bytes.unwrap_or(body.len() as u64);
            headers.push(("content-length".to_owned(), bytes.to_string().into_bytes()));
        }
        headers.extend(self.smuggled.clone());
        headers.insert(0, ("host".to_owned(), self.wire_host.as_deref().unwrap_or(host).as_bytes().to_vec()));
        Signed { method: self.method.clone(), target, headers, body, signature }
    }

    fn encoded(&self, seed: Option<&ChunkSeed>) -> Vec<u8> {
        if !self.payload.is_chunked() {
            return self.body.clone();
        }
        let seed = seed.filter(|_| self.payload != Payload::UnsignedTrailer);
        let trailer = self.trailer.as_ref().map(|(name, value)| {
            (name.as_str(), value.clone().unwrap_or_else(|| store::checksum(name, &self.body)))
        });
        let trailers: Option<Vec<(&str, &str)>> =
            trailer.as_ref().map(|(name, value)| vec![(*name, value.as_str())]);
        signer::encode_chunks(seed, &self.body, self.chunk_bytes, trailers.as_deref())
    }
}

/// A call as it goes onto the wire.
pub struct Signed {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub signature: String,
}

impl Signed {
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    pub fn header_mut(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.headers.iter_mut().find(|(other, _)| other == name).unwrap().1
    }
}
