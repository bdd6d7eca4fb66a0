//! Clients of the vending server: strings, signatures, JSON.

use std::time::SystemTime;

use serde_json::{Value, json};
use subgate::auth::bittensor::sr25519::Keypair;
use subgate::time::UnixTime;

use crate::harness::{
    client::Answer,
    server::{Person, TestServer},
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
