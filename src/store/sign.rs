//! SigV4 with the server's own credentials, over the same canonical form as what arrives.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::credentials::{Current, SigningKey};
use crate::{
    auth::sigv4::{canonical::CanonicalRequest, signed_headers::SignedHeaders},
    error::{Error, Result},
    s3::uri::Query,
    time::UnixTime,
};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Adds `x-amz-date`, `x-amz-content-sha256`, the session token where there is one, and `authorization` over
/// `host` and every `x-amz-*` header.
#[allow(clippy::too_many_arguments, reason = "each is one part of what SigV4 signs")]
pub(super) fn sign(
    credentials: &Current,
    region: &str,
    method: &Method,
    path: &str,
    query: &Query,
    headers: &mut HeaderMap,
    payload_hash: &str,
    now: UnixTime,
) -> Result<()> {
    let date = now.to_amz();
    headers.insert(DATE, value(date.as_str())?);
    headers.insert(PAYLOAD, value(payload_hash)?);
    if let Some(token) = credentials.token() {
        let mut token = value(token)?;
        token.set_sensitive(true);
        headers.insert(TOKEN, token);
    }
    let authorization = {
        let signed_headers =
            SignedHeaders::choose(headers, |name| name == "host" || name.starts_with("x-amz-"));
        let day = date.get(..8).unwrap_or_default();
        let SigningKey { scope, key, .. } = &*credentials.signing_key(day, region, now);
        let canonical = CanonicalRequest {
            method,
            path,
            query,
            signed_headers: &signed_headers,
            overrides: &[],
            payload_hash,
        };
        let string_to_sign = canonical.string_to_sign(ALGORITHM, &date, scope)?;
        [
            ALGORITHM,
            " Credential=",
            credentials.access_key(),
            "/",
            scope,
            ", SignedHeaders=",
            signed_headers.text(),
            ", Signature=",
            key.signature(string_to_sign.as_bytes()).as_str(),
        ]
        .concat()
    };
    let mut authorization = value(authorization)?;
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    Ok(())
}

fn value(text: impl TryInto<HeaderValue>) -> Result<HeaderValue> {
    text.try_into().map_err(|_| Error::internal("a header for the store holds what no header may hold"))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningSettings, UriPathNormalizationMode,
    };
    use aws_smithy_runtime_api::client::identity::Identity;
    use proptest::prelude::*;

    use super::*;
    use crate::s3::uri;

    /// What AWS's own signer makes of the same request.
    fn oracle(
        identity: &Identity,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        payload: &str,
        time: SystemTime,
    ) -> String {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.signature_location = SignatureLocation::Headers;
        let params = aws_sigv4::sign::v4::SigningParams::builder()
            .identity(identity)
            .region("us-east-1")
            .name("s3")
            .time(time)
            .settings(settings)
            .build()
            .unwrap();
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let request = SignableRequest::new(
            method.as_str(),
            format!("http://store:9000{target}"),
            pairs,
            SignableBody::Precomputed(payload.to_owned()),
        )
        .unwrap();
        let (_, signature) = aws_sigv4::http_request::sign(request, &params.into()).unwrap().into_parts();
        signature
    }

    proptest! {
        #[test]
        fn aws_signs_the_same(
            key in "[a-zA-Z0-9 +=~%&!*'()@:,;$äß一/-]{1,40}",
            prefix in "[a-z0-9/ +=&%é]{0,20}",
            meta in "[!-~]{1,10}( [!-~]{1,10}){0,2}",
            token in proptest::option::of("[a-zA-Z0-9+/=]{8,40}"),
        ) {
            let identity: Identity = Credentials::new("AKID", "secret", token, None, "test").into();
            let current = Current::new(identity.clone()).unwrap();
            let path = format!("/bucket/{key}");
            let query = Query::of([("list-type", "2"), ("prefix", &prefix)]);
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("store:9000"));
            headers.insert(HeaderName::from_static("x-amz-meta-note"), HeaderValue::from_str(&meta).unwrap());
            let target = format!("{}?{}", uri::encode_path(&path), query.canonical());
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
            let theirs = oracle(&identity, &Method::PUT, &target, &headers, "UNSIGNED-PAYLOAD", time);
            let (method, hash, now) = (Method::PUT, "UNSIGNED-PAYLOAD", UnixTime::from(time));
            sign(&current, "us-east-1", &method, &path, &query, &mut headers, hash, now).unwrap();
            let ours = headers.get(header::AUTHORIZATION).unwrap().to_str().unwrap();
            prop_assert!(ours.ends_with(&theirs), "{ours} {theirs}");
        }
    }
}
