//! Presigned URLs and forms that lead through this gate, signed with a session whose evidence is what the
//! caller signed.
//!
//! The session's secret stays here: who holds a URL can do what it says, and only as long as the caller's
//! rights last.

use std::collections::BTreeMap;

use aws_sigv4::sign::v4::calculate_signature;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::json;

use crate::{
    auth::{
        Declared, SessionCredentials,
        sigv4::signer::{ClientRequest, Credentials, Signer},
        sigv4::{PRESIGNED_SECONDS_MAX, SERVICE, TERMINATOR, signing_key},
    },
    config::Bucket,
    endpoints::json::Refusal,
    error::Result,
    s3::{listing::CONTINUATION_TOKEN, uri},
    time::UnixTime,
};

/// Where the caller reaches this server.
pub(super) struct Place {
    /// `https://host`
    pub(super) endpoint: String,
    pub(super) host: String,
    /// `/bucket`, or empty where the host names the bucket.
    pub(super) bucket_path: String,
}

/// Signs for one caller.
pub(super) struct Links {
    place: Place,
    session: SessionCredentials,
    bucket: Bucket,
    now: UnixTime,
    seconds: u64,
}

/// What the key of a form may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum FormKey<'a> {
    /// Any key directly or deeper in `folder`. As it is handed out the form is for one in `example_folder`,
    /// which lies in it.
    In { folder: &'a str, example_folder: &'a str },
    /// This one.
    Exactly(&'a str),
}

/// Where a page of a list goes on: a continuation token of the store's, whatever is in it. It is judged when
/// the list is asked for, as any that a client sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageToken<'a>(&'a str);

/// Longest continuation token that is taken, in bytes: one may be a key in base64, with notes behind it.
const PAGE_TOKEN_BYTES_MAX: usize = 4096;

impl<'a> PageToken<'a> {
    /// One that can stand in a URL.
    pub(super) fn parse(text: &'a str) -> std::result::Result<Self, Refusal> {
        if text.len() > PAGE_TOKEN_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(Refusal::bad_request("Invalid continuation_token"));
        }
        Ok(Self(text))
    }
}

/// The signed form: where it is posted, and its fields.
pub(super) type Form = (String, BTreeMap<String, String>);

impl Links {
    /// Signs with `session`, for a client that reaches this server at `place`.
    pub(super) fn new(bucket: Bucket, place: Place, session: SessionCredentials, now: UnixTime) -> Self {
        let seconds = session.expires_at.seconds().saturating_sub(now.seconds());
        Self { place, session, bucket, now, seconds: seconds.clamp(1, PRESIGNED_SECONDS_MAX) }
    }

    pub(super) fn seconds(&self) -> u64 {
        self.seconds
    }

    /// A list of what begins with `prefix`; it can be paged, see [`crate::auth`]. Its names are
    /// percent-encoded, so that no key makes the list unreadable (P52).
    pub(super) fn list(&self, prefix: &str, delimiter: Option<&str>) -> Result<String> {
        let path = if self.place.bucket_path.is_empty() { "/" } else { &self.place.bucket_path };
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)];
        query.extend(delimiter.map(|delimiter| ("delimiter", delimiter)));
        self.presign(path, &query)
    }

    /// One page of the list of what begins with `prefix`: the first, or the one that a token leads to.
    pub(super) fn page(&self, prefix: &str, token: Option<PageToken<'_>>) -> Result<String> {
        let path = if self.place.bucket_path.is_empty() { "/" } else { &self.place.bucket_path };
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)];
        query.extend(token.map(|PageToken(token)| (CONTINUATION_TOKEN, token)));
        self.presign(path, &query)
    }

    /// A download.
    pub(super) fn file(&self, key: &str) -> Result<String> {
        self.presign(&format!("{}/{key}", self.place.bucket_path), &[])
    }

    fn presign(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let mut request = ClientRequest::new(Method::GET, &self.place.host, path)?;
        for (name, value) in query {
            request.query.push(*name, *value)?;
        }
        let credentials = Credentials::Session(&self.session);
        let signer = Signer { credentials, region: &self.bucket.region, now: self.now };
        signer.presign(&mut request, self.seconds, &Declared::Unsigned)?;
        // In the order in which it was made, so that the signature is last: what is added behind it is not
        // signed.
        let pairs: Vec<String> = request
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", uri::encode_component(name), uri::encode_component(value)))
            .collect();
        Ok(format!("{}{}?{}", self.place.endpoint, uri::encode_path(path), pairs.join("&")))
    }

    /// A form for a file of at least and at most so many bytes.
    pub(super) fn form(&self, key: FormKey<'_>, (bytes_min, bytes_max): (u64, u64)) -> Result<Form> {
        let date = self.now.to_amz();
        let day = date.split_once('T').map_or(date.as_str(), |(day, _)| day);
        let access_key = &self.session.access_key_id;
        let credential = format!("{access_key}/{day}/{}/{SERVICE}/{TERMINATOR}", self.bucket.region);
        let mut fields = BTreeMap::from([
            ("acl", "private".to_owned()),
            ("x-amz-storage-class", "STANDARD".to_owned()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("x-amz-date", date.clone()),
            ("x-amz-security-token", self.session.session_token.expose().to_owned()),
        ]);
        let (key_condition, key_field) = match key {
            FormKey::In { folder, example_folder } => {
                (json!(["starts-with", "$key", folder]), format!("{example_folder}${{filename}}"))
            }
            FormKey::Exactly(key) => (json!({ "key": key }), key.to_owned()),
        };
        let mut conditions = vec![
            key_condition,
            json!(["content-length-range", bytes_min, bytes_max]),
            json!({ "bucket": self.bucket.name }),
        ];
        conditions.extend(fields.iter().map(|(name, value)| json!({ *name: value })));
        let policy = json!({ "expiration": self.session.expires_at.to_string(), "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let signing_key = signing_key(&self.session.secret_access_key, self.now, &self.bucket.region);
        fields.insert("x-amz-signature", calculate_signature(signing_key.expose(), policy.as_bytes()));
        fields.insert("policy", policy);
        fields.insert("key", key_field);
        let url = format!("{}{}", self.place.endpoint, self.place.bucket_path);
        Ok((url, fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }
}
