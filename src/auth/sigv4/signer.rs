//! The client's side of the wire: signs requests, presigns URLs, encodes chunked bodies.
//!
//! For tests, benches and the commands that act as clients. Source: the page named in [`super`], and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>.

use std::fmt;

use aws_sigv4::sign::v4::calculate_signature;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{
    canonical::{CanonicalRequest, sha256_hex},
    claim::Scheme,
    payload::{ChunkSeed, Declared},
    scope::{scope, signing_key},
    signed_headers::SignedHeaders,
};
use crate::{
    auth::{SessionCredentials, bittensor::sr25519::Keypair},
    error::{Code, Error, Result},
    s3::uri::{self, Query},
    secret::SecretText,
    time::UnixTime,
};

/// What to sign with.
#[derive(Debug, Clone, Copy)]
pub enum Credentials<'a> {
    /// Session credentials, `AWS4-HMAC-SHA256`.
    Session(&'a SessionCredentials),
    /// Static credentials of a store, `AWS4-HMAC-SHA256` without a token.
    Static {
        /// The access key id.
        access_key_id: &'a str,
        /// The secret access key.
        secret_access_key: &'a SecretText,
    },
    /// The hotkey itself, `AWS4-SR25519-SHA256`.
    Hotkey(&'a Keypair),
}

impl Credentials<'_> {
    fn scheme(&self) -> Scheme {
        match self {
            Self::Session(_) | Self::Static { .. } => Scheme::Hmac,
            Self::Hotkey(_) => Scheme::Sr25519,
        }
    }

    fn access_key_id(&self) -> String {
        match self {
            Self::Session(session) => session.access_key_id.clone(),
            Self::Static { access_key_id, .. } => (*access_key_id).into(),
            Self::Hotkey(keypair) => keypair.account().to_ss58(),
        }
    }

    fn token(&self) -> Option<&str> {
        match self {
            Self::Session(session) => Some(session.session_token.expose()),
            Self::Static { .. } | Self::Hotkey(_) => None,
        }
    }
}

/// A request to be signed.
#[derive(Clone)]
pub struct ClientRequest {
    /// The method.
    pub method: Method,
    /// The decoded path, with its leading `/`.
    pub path: String,
    /// The decoded query.
    pub query: Query,
    /// The headers, `host` among them; those named `x-amz-*`, `host`, `range` and `content-type` get signed.
    pub headers: HeaderMap,
}

/// Method and path alone: headers and query carry signatures and tokens (P51).
impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl ClientRequest {
    /// A request without query to `host`.
    ///
    /// # Errors
    /// `InvalidRequest` where `host` is not a header value.
    pub fn new(method: Method, host: &str, path: impl Into<String>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, value(host)?);
        Ok(Self { method, path: path.into(), query: Query::default(), headers })
    }

    /// Sets a header.
    ///
    /// # Errors
    /// `InvalidRequest` where `text` is not a header value.
    pub fn header(mut self, name: &'static str, text: &str) -> Result<Self> {
        self.headers.insert(HeaderName::from_static(name), value(text)?);
        Ok(self)
    }

    /// Path and query as they go onto the wire.
    pub fn target(&self) -> String {
        let path = uri::encode_path(&self.path);
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query.canonical()) }
    }

    fn signed_headers(&self) -> SignedHeaders<'_> {
        SignedHeaders::choose(&self.headers, |name| {
            name.starts_with("x-amz-") || ["host", "range", "content-type"].contains(&name)
        })
    }
}

/// Signs requests with one set of credentials at one point in time.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// What it signs with.
    pub credentials: Credentials<'a>,
    /// The server's region.
    pub region: &'a str,
    /// The time of the signatures.
    pub now: UnixTime,
}

impl Signer<'_> {
    /// Signs in the `Authorization` header, adding `x-amz-date`, `x-amz-content-sha256` and the token. Gives
    /// the seed of signed chunks; with a hotkey there is none.
    ///
    /// # Errors
    /// Those of `CanonicalRequest::text`.
    pub fn sign(&self, request: &mut ClientRequest, payload: &Declared) -> Result<Option<ChunkSeed>> {
        let date = self.now.to_amz();
        let headers = &mut request.headers;
        headers.insert("x-amz-date", value(&date)?);
        headers.insert("x-amz-content-sha256", value(&payload.text())?);
        if let Some(token) = self.credentials.token() {
            headers.insert("x-amz-security-token", value(token)?);
        }
        let (seed, signature) = self.signature(request, payload, &date)?;
        let authorization = format!(
            "{} Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.credentials.scheme().algorithm(),
            self.credentials.access_key_id(),
            scope(&date, self.region),
            request.signed_headers().text(),
        );
        request.headers.insert(header::AUTHORIZATION, value(&authorization)?);
        Ok(seed)
    }

    /// Signs in the query, for `expires_seconds`. A payload other than `UNSIGNED-PAYLOAD` is named in the
    /// query.
    ///
    /// # Errors
    /// Those of `CanonicalRequest::text` and `Query::push`.
    pub fn presign(
        &self,
        request: &mut ClientRequest,
        expires_seconds: u64,
        payload: &Declared,
    ) -> Result<Option<ChunkSeed>> {
        let date = self.now.to_amz();
        let signed_headers = request.signed_headers().text().to_owned();
        let query = &mut request.query;
        query.push("X-Amz-Algorithm", self.credentials.scheme().algorithm())?;
        query.push(
            "X-Amz-Credential",
            format!("{}/{}", self.credentials.access_key_id(), scope(&date, self.region)),
        )?;
        query.push("X-Amz-Date", date.as_str())?;
        query.push("X-Amz-Expires", expires_seconds.to_string())?;
        query.push("X-Amz-SignedHeaders", signed_headers.as_str())?;
        if let Some(token) = self.credentials.token() {
            query.push("X-Amz-Security-Token", token)?;
        }
        if *payload != Declared::Unsigned {
            query.push("X-Amz-Content-Sha256", payload.text())?;
        }
        let (seed, signature) = self.signature(request, payload, &date)?;
        request.query.push("X-Amz-Signature", signature)?;
        Ok(seed)
    }

    fn signature(
        &self,
        request: &ClientRequest,
        payload: &Declared,
        date: &str,
    ) -> Result<(Option<ChunkSeed>, String)> {
        let scope = scope(date, self.region);
        let string_to_sign = CanonicalRequest {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            signed_headers: &request.signed_headers(),
            overrides: &[],
            payload_hash: &payload.text(),
        }
        .string_to_sign(self.credentials.scheme().algorithm(), date, &scope)?;
        let secret = match self.credentials {
            Credentials::Session(session) => &session.secret_access_key,
            Credentials::Static { secret_access_key, .. } => secret_access_key,
            Credentials::Hotkey(keypair) => {
                return Ok((None, hex::encode(keypair.sign(string_to_sign.as_bytes()))));
            }
        };
        let signing_key = signing_key(secret, self.now, self.region);
        let signature = calculate_signature(signing_key.expose(), string_to_sign.as_bytes());
        let seed = ChunkSeed { signing_key, date: date.into(), scope, signature: signature.clone() };
        Ok((Some(seed), signature))
    }
}

/// The signature of one chunk of data; `previous` is the signature before it, first the request's own.
fn chunk_signature(seed: &ChunkSeed, previous: &str, data: &[u8]) -> String {
    let empty = sha256_hex(b"");
    let hash = sha256_hex(data);
    let parts = ["AWS4-HMAC-SHA256-PAYLOAD", &seed.date, &seed.scope, previous, &empty, &hash];
    calculate_signature(seed.signing_key.expose(), parts.join("\n").as_bytes())
}

/// The signature of the trailer; `trailer` holds its lines as `name:value\n` each.
fn trailer_signature(seed: &ChunkSeed, previous: &str, trailer: &str) -> String {
    let hash = sha256_hex(trailer.as_bytes());
    let parts = ["AWS4-HMAC-SHA256-TRAILER", &seed.date, &seed.scope, previous, &hash];
    calculate_signature(seed.signing_key.expose(), parts.join("\n").as_bytes())
}

/// Encodes `body` in aws-chunked form with chunks of `chunk_bytes`, each signed where there is a `seed`, and
/// with `trailers` (`None`: a body without a trailer section), signed as well where there is a seed.
pub fn encode_chunks(
    seed: Option<&ChunkSeed>,
    body: &[u8],
    chunk_bytes: usize,
    trailers: Option<&[(&str, &str)]>,
) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(body.len().saturating_add(1024));
    let mut previous = seed.map(|seed| seed.signature.clone()).unwrap_or_default();
    for data in body.chunks(chunk_bytes.max(1)).chain([&[][..]]) {
        encoded.extend_from_slice(format!("{:x}", data.len()).as_bytes());
        if let Some(seed) = seed {
            previous = chunk_signature(seed, &previous, data);
            encoded.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
        }
        encoded.extend_from_slice(b"\r\n");
        if !data.is_empty() {
            encoded.extend_from_slice(data);
            encoded.extend_from_slice(b"\r\n");
        }
    }
    for (name, text) in trailers.unwrap_or_default() {
        encoded.extend_from_slice(format!("{name}:{text}\r\n").as_bytes());
    }
    if let (Some(seed), Some(trailers)) = (seed, trailers) {
        let trailer: String = trailers.iter().map(|(name, text)| format!("{name}:{text}\n")).collect();
        let signature = trailer_signature(seed, &previous, &trailer);
        encoded.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    encoded.extend_from_slice(b"\r\n");
    encoded
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| Error::new(Code::InvalidRequest, "A header value holds a control character."))
}

#[cfg(test)]
mod tests;
