//! Presigned URLs and forms that lead through this gate, signed with a session whose evidence is what the caller signed.
//!
//! The session's secret stays here: who holds a URL can do what it says, and only as long as the caller's rights last.

use std::collections::BTreeMap;

use aws_sigv4::sign::v4::calculate_signature;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::json;

use super::Asked;
use crate::{
    auth::{
        Declared, SessionCredentials,
        sigv4::signer::{ClientRequest, Credentials, Signer},
        sigv4::{PRESIGNED_SECONDS_MAX, SERVICE, TERMINATOR, signing_key},
    },
    error::{Error, Result},
    proxy::Gate,
    s3::uri,
    time::UnixTime,
};

/// Where the caller reaches this server.
pub(in crate::endpoints) struct Place {
    /// `https://host`
    pub(in crate::endpoints) endpoint: String,
    pub(in crate::endpoints) host: String,
    /// `/bucket`, or empty where the host names the bucket.
    pub(in crate::endpoints) base: String,
}

/// Signs for one caller.
pub(in crate::endpoints) struct Links<'a> {
    place: Place,
    session: SessionCredentials,
    region: &'a str,
    bucket: &'a str,
    now: UnixTime,
    seconds: u64,
}

/// The signed form: where it is posted, and its fields.
pub(in crate::endpoints) type Form = (String, BTreeMap<String, String>);

impl<'a> Links<'a> {
    pub(in crate::endpoints) fn new(
        gate: &'a Gate,
        place: Place,
        asked: &Asked,
        expires_at: UnixTime,
    ) -> Result<Self> {
        let session = gate.verifier().issue_until(&asked.evidence, expires_at, asked.now)?;
        let seconds = session.expires_at.seconds().saturating_sub(asked.now.seconds());
        Ok(Self {
            place,
            session,
            region: &gate.bucket().region,
            bucket: &gate.bucket().name,
            now: asked.now,
            seconds: seconds.clamp(1, PRESIGNED_SECONDS_MAX),
        })
    }

    pub(in crate::endpoints) fn seconds(&self) -> u64 {
        self.seconds
    }

    /// A list of what begins with `prefix`; it can be paged, see [`crate::auth`].
    pub(in crate::endpoints) fn list(&self, prefix: &str, delimiter: Option<&str>) -> Result<String> {
        let path = if self.place.base.is_empty() { "/" } else { &self.place.base };
        let mut query = vec![("list-type", "2"), ("prefix", prefix)];
        query.extend(delimiter.map(|delimiter| ("delimiter", delimiter)));
        self.presign(path, &query)
    }

    /// A download.
    pub(in crate::endpoints) fn file(&self, key: &str) -> Result<String> {
        self.presign(&format!("{}/{key}", self.place.base), &[])
    }

    fn presign(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let mut request = ClientRequest::new(Method::GET, &self.place.host, path)?;
        for (name, value) in query {
            request.query.push(*name, *value)?;
        }
        let credentials = Credentials::Session(&self.session);
        let signer = Signer { credentials, region: self.region, now: self.now };
        signer.presign(&mut request, self.seconds, &Declared::Unsigned)?;
        // In the order in which it was made, so that the signature is last: what is added behind it is not signed.
        let pairs: Vec<String> = request
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", uri::encode_component(name), uri::encode_component(value)))
            .collect();
        Ok(format!("{}{}?{}", self.place.endpoint, uri::encode_path(path), pairs.join("&")))
    }

    /// A form for any file directly or deeper in `folder`, of the server's own sizes.
    pub(in crate::endpoints) fn form(&self, folder: &str, bytes_min: u64, bytes_max: u64) -> Result<Form> {
        let date = self.now.to_amz();
        let day = date.split_once('T').map_or(date.as_str(), |(day, _)| day);
        let access_key = &self.session.access_key_id;
        let credential = format!("{access_key}/{day}/{}/{SERVICE}/{TERMINATOR}", self.region);
        let mut fields = BTreeMap::from([
            ("acl", "private".to_owned()),
            ("x-amz-storage-class", "STANDARD".to_owned()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("x-amz-date", date.clone()),
            ("x-amz-security-token", self.session.session_token.expose().to_owned()),
        ]);
        let mut conditions = vec![
            json!(["starts-with", "$key", folder]),
            json!(["content-length-range", bytes_min, bytes_max]),
            json!({ "bucket": self.bucket }),
        ];
        conditions.extend(fields.iter().map(|(name, value)| json!({ *name: value })));
        let policy = json!({ "expiration": self.session.expires_at.to_string(), "conditions": conditions });
        let policy = STANDARD.encode(policy.to_string());
        let key = signing_key(&self.session.secret_access_key, self.now, self.region);
        fields.insert("x-amz-signature", calculate_signature(key.expose(), policy.as_bytes()));
        fields.insert("policy", policy);
        fields.insert("key", format!("{folder}${{filename}}"));
        let url = format!("{}{}", self.place.endpoint, self.place.base);
        Ok((url, fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }
}

/// A fault of signing is this server's.
pub(in crate::endpoints) fn unsigned(error: Error) -> crate::endpoints::session::Refusal {
    crate::endpoints::session::refusal(error)
}
