//! Clients of the vending server: strings, signatures, JSON.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use subgate::auth::bittensor::sr25519::Keypair;
use subgate::time::UnixTime;

use crate::harness::{
    client::Answer,
    server::{Person, TestServer, nanos},
    sigv4::sha256_hex,
};

pub fn now() -> u64 {
    UnixTime::from(SystemTime::now()).seconds()
}

pub fn signature(keypair: &Keypair, text: &str) -> String {
    hex::encode(keypair.sign(text.as_bytes()))
}

impl TestServer {
    pub async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host(),
            body.len()
        );
        self.send_raw("POST", request.as_bytes()).await
    }

    /// A URL that was handed out, with more behind it.
    pub async fn follow(&self, url: &str, more: &str) -> Answer {
        let target = url.strip_prefix(&format!("http://{}", self.host())).expect("a URL of this server");
        self.plain_get(&format!("{target}{more}")).await
    }
}

pub fn folder_request(person: &Person, source: Option<&str>) -> Value {
    let (coldkey, hotkey, timestamp) = (person.coldkey.to_ss58(), person.ss58(), now());
    let string = match source {
        Some(source) => format!("s3:access:{coldkey}:{source}:{timestamp}"),
        None => format!("s3:data:access:{coldkey}:{hotkey}:{timestamp}"),
    };
    let mut request = json!({
        "coldkey": coldkey, "hotkey": hotkey, "timestamp": timestamp, "expiry": timestamp + 86_400,
        "signature": signature(&person.hotkey, &string),
    });
    if let Some(source) = source {
        request["source"] = json!(source);
    }
    request
}

/// A validator's request; `kind` is what stands between `s3:validator:` and the timestamp.
pub fn validator_request(person: &Person, kind: &str) -> Value {
    let timestamp = now();
    let string = format!("s3:validator:{kind}:{timestamp}");
    json!({
        "hotkey": person.ss58(), "timestamp": timestamp, "expiry": timestamp + 86_400,
        "signature": signature(&person.hotkey, &string),
    })
}

#[track_caller]
pub fn ok(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.get("content-type"), Some("application/json"));
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[track_caller]
pub fn refused(answer: &Answer, status: u16, detail: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    assert!(body["detail"].as_str().unwrap().contains(detail), "{text}");
}

/// A request as the clients of late 2025 and of 2026 sign it, in `X-Tao-*` headers.
#[derive(Clone)]
pub struct TaoRequest {
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

impl TaoRequest {
    /// Signs `body` with a nonce of its own.
    pub fn new(person: &Person, body: &Value) -> Self {
        Self::at(person, body.to_string().as_bytes(), nanos() / 1_000_000, &uuid())
    }

    pub fn at(person: &Person, body: &[u8], millis: u64, uuid: &str) -> Self {
        let text = format!("{}.{uuid}.{millis}", sha256_hex(body));
        let headers = vec![
            ("X-Tao-Version", "2".to_owned()),
            ("X-Tao-Timestamp", millis.to_string()),
            ("X-Tao-Nonce", uuid.to_owned()),
            ("X-Tao-Signed-By", person.ss58()),
            ("X-Tao-Signature", STANDARD.encode(person.hotkey.sign(text.as_bytes()))),
        ];
        Self { body: body.to_owned(), headers }
    }

    /// The same with another value of a header; none where that is empty.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name || !value.is_empty());
        for (other, old) in &mut self.headers {
            if *other == name {
                value.clone_into(old);
            }
        }
        self
    }
}

/// A UUID that no other request of this process has.
pub fn uuid() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let digits = format!("{:016x}{:016x}", nanos(), COUNT.fetch_add(1, Ordering::Relaxed));
    let group = |from: usize, to: usize| &digits[from..to];
    [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)].join("-")
}

impl TestServer {
    pub async fn post_tao(&self, path: &str, request: &TaoRequest) -> Answer {
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host(),
            request.body.len()
        );
        self.send_raw("POST", &[head.as_bytes(), &request.body].concat()).await
    }
}
