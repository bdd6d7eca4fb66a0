//! Requests signed by SigV4 in every way: right, and in ways that no client of good will has.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use subgate::{
    auth::{ChunkSeed, sigv4::signer::encode_chunks},
    body::digest::{ChecksumAlgorithm, RunningDigest, to_base64},
    secret::Secret,
    time::UnixTime,
};

use super::arena::{Identity, Signs, Target};

pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
pub(crate) const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
pub(crate) const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
pub(crate) const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

type Pair = (String, String);

fn pair(name: &str, value: &str) -> Pair {
    (name.to_owned(), value.to_owned())
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// `UriEncode()` of AWS's description.
pub(crate) fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keep_slash => encoded.push('/'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// Percent-decoding; what is no escape stays as it is.
pub(crate) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn canonical_query(pairs: &[Pair]) -> String {
    let mut encoded: Vec<_> = pairs.iter().map(|(n, v)| (encode(n, false), encode(v, false))).collect();
    encoded.sort();
    encoded.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A checksum of S3's by its header's name, in base64.
pub(crate) fn checksum(name: &str, body: &[u8]) -> String {
    let algorithm = match name {
        "x-amz-checksum-crc32" => ChecksumAlgorithm::Crc32,
        "x-amz-checksum-crc32c" => ChecksumAlgorithm::Crc32c,
        "x-amz-checksum-crc64nvme" => ChecksumAlgorithm::Crc64Nvme,
        "x-amz-checksum-sha1" => ChecksumAlgorithm::Sha1,
        _ => ChecksumAlgorithm::Sha256,
    };
    let mut running = RunningDigest::new(algorithm);
    running.update(body);
    to_base64(&running.finish())
}

/// One request before it is signed.
#[derive(Clone)]
pub(crate) struct Call {
    method: String,
    /// Decoded.
    path: String,
    /// How the path is spelled on the wire, where not in the strict form.
    wire_path: Option<String>,
    query: Vec<Pair>,
    headers: Vec<Pair>,
    not_signed: Vec<&'static str>,
    body: Vec<u8>,
    /// The value of `x-amz-content-sha256`; the body's own unless given.
    payload: Option<String>,
    /// Whether the body is sent in chunks where the payload is one of the streaming forms.
    in_chunks: bool,
    /// Name and value of a trailer.
    trailer: Option<Pair>,
    /// Seconds for which it holds: then it is signed in the query.
    presigned: Option<String>,
    /// Seconds by which the client's clock is ahead.
    clock: i64,
    scope_day: Option<String>,
    region: Option<String>,
    service: String,
    /// The host that is signed.
    signed_host: Option<String>,
}

impl Call {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            wire_path: None,
            query: Vec::new(),
            headers: Vec::new(),
            not_signed: Vec::new(),
            body: Vec::new(),
            payload: None,
            in_chunks: true,
            trailer: None,
            presigned: None,
            clock: 0,
            scope_day: None,
            region: None,
            service: "s3".to_owned(),
            signed_host: None,
        }
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(pair(name, value));
        self
    }

    /// A header that is sent, and signed.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(pair(name, value));
        self
    }

    /// Leaves a header out of the signature.
    pub(crate) fn unsigned(mut self, name: &'static str) -> Self {
        self.not_signed.push(name);
        self
    }

    pub(crate) fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.to_owned());
        self
    }

    /// The body goes as it is, whatever the payload says.
    pub(crate) fn in_one_piece(mut self) -> Self {
        self.in_chunks = false;
        self
    }

    /// A trailing checksum with its true value.
    pub(crate) fn trailer(self, name: &str) -> Self {
        let value = checksum(name, &self.body);
        self.trailer_value(name, &value)
    }

    pub(crate) fn trailer_value(mut self, name: &str, value: &str) -> Self {
        self.trailer = Some(pair(name, value));
        self
    }

    pub(crate) fn presigned(mut self, seconds: &str) -> Self {
        self.presigned = Some(seconds.to_owned());
        self.payload.get_or_insert(UNSIGNED.to_owned());
        self
    }

    pub(crate) fn clock(mut self, seconds: i64) -> Self {
        self.clock = seconds;
        self
    }

    pub(crate) fn scope_day(mut self, day: &str) -> Self {
        self.scope_day = Some(day.to_owned());
        self
    }

    pub(crate) fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    pub(crate) fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self
    }

    pub(crate) fn signed_host(mut self, host: &str) -> Self {
        self.signed_host = Some(host.to_owned());
        self
    }

    pub(crate) fn spelled(mut self, wire_path: &str) -> Self {
        self.wire_path = Some(wire_path.to_owned());
        self
    }

    /// As it goes without any signature.
    pub(crate) fn anonymous(&self, target: &Target) -> Signed {
        let mut headers = vec![("host".to_owned(), target.host.clone().into_bytes())];
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())));
        if let Some(payload) = &self.payload {
            headers.push(("x-amz-content-sha256".to_owned(), payload.clone().into_bytes()));
        }
        let query = canonical_query(&self.query);
        self.finish(headers, &query, self.body.clone(), String::new())
    }

    /// Signs.
    pub(crate) fn sign(&self, target: &Target, who: &Identity) -> Signed {
        let ahead = Duration::from_secs(self.clock.unsigned_abs());
        let now = SystemTime::now();
        let time = if self.clock < 0 { now - ahead } else { now + ahead };
        let date = UnixTime::from(time).to_amz();
        let region = self.region.as_deref().unwrap_or(&target.region);
        let own_day = date.get(..8).unwrap_or_default();
        let day = self.scope_day.as_deref().unwrap_or(own_day);
        let scope = format!("{day}/{region}/{}/aws4_request", self.service);
        let payload = self.payload.clone().unwrap_or_else(|| sha256_hex(&self.body));
        let host = self.signed_host.as_ref().unwrap_or(&target.host);

        let mut headers = self.headers.clone();
        if payload.starts_with("STREAMING-") && self.in_chunks {
            let has = |name: &str| self.headers.iter().any(|(other, _)| other == name);
            if !has("x-amz-decoded-content-length") {
                headers.push(pair("x-amz-decoded-content-length", &self.body.len().to_string()));
            }
            if !has("content-encoding") {
                headers.push(pair("content-encoding", "aws-chunked"));
            }
        }
        if let Some((name, _)) = &self.trailer {
            headers.push(pair("x-amz-trailer", name));
        }
        let token = who.token.as_deref().filter(|_| who.signs == Signs::Secret);
        if self.presigned.is_none() {
            if !headers.iter().any(|(name, _)| name == "x-amz-date") {
                headers.push(pair("x-amz-date", &date));
            }
            headers.push(pair("x-amz-content-sha256", &payload));
            headers.extend(token.map(|token| pair("x-amz-security-token", token)));
        }
        let mut signed: Vec<Pair> = headers.clone();
        signed.push(pair("host", host));
        signed.retain(|(name, _)| !self.not_signed.contains(&name.as_str()));
        signed.sort_by(|left, right| left.0.cmp(&right.0));
        let mut names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let names = names.join(";");

        let algorithm = who.algorithm();
        let credential = format!("{}/{scope}", who.access_key);
        let mut query = self.query.clone();
        if let Some(seconds) = &self.presigned {
            query.push(pair("X-Amz-Algorithm", algorithm));
            query.push(pair("X-Amz-Credential", &credential));
            query.push(pair("X-Amz-Date", &date));
            query.push(pair("X-Amz-Expires", seconds));
            query.push(pair("X-Amz-SignedHeaders", &names));
            query.extend(token.map(|token| pair("X-Amz-Security-Token", token)));
            if payload != UNSIGNED {
                query.push(pair("X-Amz-Content-Sha256", &payload));
            }
        }
        let mut lines = vec![self.method.clone(), encode(&self.path, true), canonical_query(&query)];
        for name in names.split(';') {
            let values = signed.iter().filter(|(other, _)| other == name).map(|(_, value)| value.trim());
            lines.push(format!("{name}:{}", values.collect::<Vec<_>>().join(",")));
        }
        lines.extend([String::new(), names.clone(), payload.clone()]);
        let hash = sha256_hex(lines.join("\n").as_bytes());
        let string_to_sign = [algorithm, &date, &scope, &hash].join("\n");
        let (signature, seed) = match (&who.hotkey, who.signs) {
            (Some(hotkey), Signs::Hotkey) => (hex::encode(hotkey.sign(string_to_sign.as_bytes())), None),
            _ => {
                let key = generate_signing_key(&who.secret, time, region, &self.service);
                let signature = calculate_signature(key.as_ref(), string_to_sign.as_bytes());
                let signing_key = Secret::new(key.as_ref().to_vec());
                (signature.clone(), Some(ChunkSeed { signing_key, date, scope, signature }))
            }
        };
        let mut wire_query = canonical_query(&query);
        if self.presigned.is_some() {
            wire_query.push_str(&format!("&X-Amz-Signature={signature}"));
        } else {
            headers.push((
                "authorization".to_owned(),
                format!("{algorithm} Credential={credential}, SignedHeaders={names}, Signature={signature}"),
            ));
        }
        let seed = seed.filter(|_| payload != UNSIGNED_TRAILER);
        let body = if payload.starts_with("STREAMING-") && self.in_chunks {
            let trailers: Option<Vec<_>> = self.trailer.as_ref().map(|(n, v)| vec![(n.as_str(), v.as_str())]);
            encode_chunks(seed.as_ref(), &self.body, 16 * 1024, trailers.as_deref())
        } else {
            self.body.clone()
        };
        let mut wire = vec![("host".to_owned(), target.host.clone().into_bytes())];
        wire.extend(headers.into_iter().map(|(name, value)| (name, value.into_bytes())));
        self.finish(wire, &wire_query, body, signature)
    }

    fn finish(
        &self,
        mut headers: Vec<(String, Vec<u8>)>,
        query: &str,
        body: Vec<u8>,
        signature: String,
    ) -> Signed {
        if !body.is_empty() || self.method == "PUT" || self.method == "POST" {
            headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        }
        let path = self.wire_path.clone().unwrap_or_else(|| encode(&self.path, true));
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        Signed { method: self.method.clone(), target, headers, body, signature }
    }
}

/// A request as it goes onto the wire; an attacker changes what it likes.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) signature: String,
}

impl Signed {
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        head
    }

    /// Adds a header behind the signature's back.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// Sets a header in its place, or adds it.
    pub(crate) fn set(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        match self.headers.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value.as_ref().to_vec(),
            None => return self.with(name, value),
        }
        self
    }

    pub(crate) fn value(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    /// Another body, with its own length.
    pub(crate) fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        let length = self.body.len().to_string();
        self.set("content-length", length)
    }

    /// Replaces text in the target.
    pub(crate) fn retarget(mut self, from: &str, to: &str) -> Self {
        self.target = self.target.replacen(from, to, 1);
        self
    }

    /// Sets a parameter of the query in its place; none takes it out.
    pub(crate) fn parameter(mut self, name: &str, value: Option<&str>) -> Self {
        let Some((path, query)) = self.target.split_once('?') else { return self };
        let start = format!("{name}=");
        let kept = query.split('&').filter_map(|part| match (part.starts_with(&start), value) {
            (false, _) => Some(part.to_owned()),
            (true, Some(value)) => Some(format!("{start}{}", encode(value, false))),
            (true, None) => None,
        });
        self.target = format!("{path}?{}", kept.collect::<Vec<_>>().join("&"));
        self
    }
}
