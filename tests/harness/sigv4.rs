//! SigV4 computed a second time, from AWS's description alone: the oracle for what Subgate sends to the
//! store, and the signer of the test clients, which can also sign what no SDK would.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};

/// A name and a value, decoded.
pub type Pair = (String, String);

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// `UriEncode()` of AWS's description.
pub fn encode(text: &[u8], keep_slash: bool) -> String {
    let mut encoded = String::new();
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(*byte));
            }
            b'/' if keep_slash => encoded.push('/'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// Percent-decoding; a `+` is a plus.
pub fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            decoded.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

pub fn pairs(query: &str) -> Vec<Pair> {
    let text = |part: &str| String::from_utf8(decode(part)).unwrap();
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (text(name), text(value))
        })
        .collect()
}

pub fn canonical_query(pairs: &[Pair]) -> String {
    let mut encoded: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (encode(name.as_bytes(), false), encode(value.as_bytes(), false)))
        .collect();
    encoded.sort();
    encoded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// All that a signature covers.
pub struct Signing<'a> {
    pub algorithm: &'a str,
    pub method: &'a str,
    /// Decoded.
    pub path: &'a str,
    pub query: &'a [Pair],
    /// The signed headers, names in lower case, in any order; those of one name in theirs.
    pub headers: &'a [(String, Vec<u8>)],
    pub payload: &'a str,
    pub date: &'a str,
    pub scope: &'a str,
}

impl Signing<'_> {
    pub fn names(&self) -> String {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.join(";")
    }

    pub fn string_to_sign(&self) -> String {
        let names = self.names();
        let mut canonical = Vec::new();
        let mut line = |bytes: &[u8]| {
            canonical.extend_from_slice(bytes);
            canonical.push(b'\n');
        };
        line(self.method.as_bytes());
        line(encode(self.path.as_bytes(), true).as_bytes());
        line(canonical_query(self.query).as_bytes());
        for name in names.split(';') {
            let values: Vec<Vec<u8>> = self
                .headers
                .iter()
                .filter(|(other, _)| other == name)
                .map(|(_, value)| {
                    let words: Vec<&[u8]> =
                        value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
                    words.join(&b' ')
                })
                .collect();
            line(&[name.as_bytes(), b":", &values.join(&b',')].concat());
        }
        line(b"");
        line(names.as_bytes());
        canonical.extend_from_slice(self.payload.as_bytes());
        [self.algorithm, self.date, self.scope, &sha256_hex(&canonical)].join("\n")
    }
}

/// The signing key of a day, region and service.
pub fn signing_key(secret: &str, time: SystemTime, region: &str, service: &str) -> Vec<u8> {
    generate_signing_key(secret, time, region, service).as_ref().to_vec()
}

pub fn hmac_signature(key: &[u8], string_to_sign: &str) -> String {
    calculate_signature(key, string_to_sign.as_bytes())
}
