//! The claim of a request: what it says in its `Authorization` header or its query. Nothing in it is proven
//! yet.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html> and
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
//!
//! Invariants: a claim stands in the `Authorization` header or in the query, never in both (P3); each of its
//! parts stands there once (P16); it covers `host`, a date and every `x-amz-*` header (P1, P2).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    claim::{CREDENTIAL_FORM, Claim, PRESIGNED_SECONDS_MAX, Scheme},
    payload::Declared,
    signed_headers::SignedHeaders,
};
use crate::{
    error::{Code, Error, Reason, Result},
    s3::uri::Query,
    split::{split, split_once},
    time::UnixTime,
};

/// Longest `Authorization` header that is read, in bytes: 100 signed names of 60 bytes still fit.
const AUTHORIZATION_BYTES_MAX: usize = 8192;

/// What a date must look like, for errors.
const DATE_FORM: &str = "X-Amz-Date must be in the ISO8601 format yyyymmddThhmmssZ";

/// Headers of which two copies would be two truths (P16).
const SINGLE_HEADERS: [&str; 7] = [
    "authorization",
    "x-amz-date",
    "date",
    "host",
    "content-length",
    "x-amz-content-sha256",
    "x-amz-security-token",
];

/// Query parameters any of which makes a request a presigned one.
const QUERY_CLAIM: [&str; 6] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
];

static AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
static CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Whether a query parameter, in whatever case, belongs to the signature and not to the operation.
pub(crate) fn is_auth_parameter(name: &str) -> bool {
    let also = [TOKEN.as_str(), CONTENT_SHA256.as_str()];
    QUERY_CLAIM.iter().chain(&also).any(|own| own.eq_ignore_ascii_case(name))
}

/// Where the signature of a request stands, with what belongs to that place alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignaturePlace {
    /// In the `Authorization` header. Such a request is fresh as long as its date is.
    Header,
    /// In the query of a presigned URL.
    Query {
        /// How long the URL says to be good for, in seconds from its date.
        expires_seconds: u64,
    },
}

impl SignaturePlace {
    fn malformed(self, reason: &str) -> Error {
        match self {
            Self::Header => malformed_header(reason),
            Self::Query { .. } => malformed_query(reason),
        }
    }
}

/// The claim of a request, with what its signature covers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RequestClaim<'a> {
    /// Who, when and for which scope.
    pub(crate) claim: Claim<'a>,
    /// Where the signature stands.
    pub(crate) place: SignaturePlace,
    /// The headers that the signature covers.
    pub(crate) signed_headers: SignedHeaders<'a>,
    /// What it says of the body.
    pub(crate) payload: Declared,
    /// The same as sent: what the canonical request ends with.
    pub(crate) payload_text: &'a str,
}

/// The fields that header and query have under names of their own.
struct SignatureFields<'a> {
    algorithm: &'a str,
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> RequestClaim<'a> {
    /// Reads the one claim of a request.
    ///
    /// # Errors
    /// `AccessDenied` starting `Anonymous: ` where there is none; `AccessDenied` with `HeadersNotSigned` (P1,
    /// P2); `InvalidRequest` for SigV2, duplicates and two claims at once; `AuthorizationHeaderMalformed` or
    /// `AuthorizationQueryParametersError` for what cannot be read; those of [`Declared::parse`].
    pub(crate) fn read(headers: &'a HeaderMap, query: &'a Query) -> Result<Self> {
        refuse_duplicates(headers, query)?;
        if query.get("AWSAccessKeyId").is_some() {
            return Err(signature_v2());
        }
        let in_query = query.iter().any(|(name, _)| {
            is_amz(name) && QUERY_CLAIM.iter().any(|claim| claim.eq_ignore_ascii_case(name))
        });
        let authorization = single(headers, &header::AUTHORIZATION)?;
        match authorization.map(|text| split_once(text, b' ').unwrap_or((text, ""))) {
            Some((algorithm, _)) if in_query && algorithm.starts_with("AWS") => Err(two_claims()),
            _ if in_query => Self::from_query(headers, query),
            Some((algorithm, fields)) => Self::from_header(algorithm, fields, headers, query),
            None => Err(Error::because(
                Code::AccessDenied,
                Reason::Anonymous,
                "the request is not signed. Sign it with session credentials \
                 (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or with the hotkey itself.",
            )),
        }
    }

    fn from_header(
        algorithm: &'a str,
        fields: &'a str,
        headers: &'a HeaderMap,
        query: &'a Query,
    ) -> Result<Self> {
        if algorithm == "AWS" {
            return Err(signature_v2());
        }
        if !algorithm.starts_with("AWS4-") {
            return Err(Error::new(
                Code::InvalidArgument,
                "Unsupported Authorization Type: this server takes AWS4-HMAC-SHA256 and AWS4-SR25519-SHA256.",
            ));
        }
        if parameter(query, CONTENT_SHA256.as_str()).is_some() {
            return Err(two_claims());
        }
        let fields = header_fields(algorithm, fields)?;
        let payload_text = single(headers, &CONTENT_SHA256)?.ok_or_else(|| {
            Error::new(
                Code::MissingSecurityHeader,
                "Your request was missing a required header: x-amz-content-sha256.",
            )
            .element("MissingHeaderName", CONTENT_SHA256.as_str())
        })?;
        let (date, time) = match (single(headers, &AMZ_DATE)?, single(headers, &header::DATE)?) {
            (Some(date), _) => amz_date(date).ok_or_else(|| malformed_header(DATE_FORM))?,
            (None, Some(date)) if is_signed(fields.signed_headers, "date") => {
                http_date(date).ok_or_else(|| malformed_header(DATE_FORM))?
            }
            (None, _) => {
                return Err(Error::new(
                    Code::AccessDenied,
                    "AWS authentication requires a valid and signed Date or x-amz-date header.",
                ));
            }
        };
        Self::assemble(SignaturePlace::Header, &fields, (date, time), payload_text, headers, query)
    }

    fn from_query(headers: &'a HeaderMap, query: &'a Query) -> Result<Self> {
        let required = |name: &'static str| {
            parameter(query, name).ok_or_else(|| {
                malformed_query(
                    "Query-string authentication requires X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, \
                     X-Amz-Expires, X-Amz-SignedHeaders and X-Amz-Signature",
                )
            })
        };
        let fields = SignatureFields {
            algorithm: required("x-amz-algorithm")?,
            credential: required("x-amz-credential")?,
            signed_headers: required("x-amz-signedheaders")?,
            signature: required("x-amz-signature")?,
        };
        let (date, time) = amz_date(required("x-amz-date")?).ok_or_else(|| malformed_query(DATE_FORM))?;
        if single(headers, &AMZ_DATE)?.is_some_and(|other| other != date) {
            return Err(two_values(AMZ_DATE.as_str()));
        }
        let expires_seconds = required("x-amz-expires")?;
        let expires_seconds = Some(expires_seconds)
            // `u64::from_str` takes a leading plus.
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| malformed_query("X-Amz-Expires should be a number of seconds"))?;
        let payload_text =
            header_or_parameter(headers, query, &CONTENT_SHA256)?.unwrap_or("UNSIGNED-PAYLOAD");
        let place = SignaturePlace::Query { expires_seconds };
        Self::assemble(place, &fields, (date, time), payload_text, headers, query)
    }

    fn assemble(
        place: SignaturePlace,
        fields: &SignatureFields<'a>,
        (date, time): (Cow<'a, str>, UnixTime),
        payload_text: &'a str,
        headers: &'a HeaderMap,
        query: &'a Query,
    ) -> Result<Self> {
        let scheme = Scheme::named(fields.algorithm).ok_or_else(|| {
            place.malformed(
                "the algorithm is not one of AWS4-HMAC-SHA256 and AWS4-SR25519-SHA256 \
                 (SigV4a's AWS4-ECDSA-P256-SHA256 is not supported)",
            )
        })?;
        let (access_key, scope) =
            split_once(fields.credential, b'/').ok_or_else(|| place.malformed(CREDENTIAL_FORM))?;
        let signature = fields.signature;
        // All of it at once, which the processor does for many characters in one step.
        let is_hex = || {
            signature.bytes().fold(true, |is_hex, byte| is_hex & matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if signature.len() != scheme.signature_chars() || !is_hex() {
            return Err(place
                .malformed("the Signature is not lower-case hex of 32 bytes (HMAC) or 64 bytes (sr25519)"));
        }
        let signed_headers = signed_headers(place, fields.signed_headers, headers)?;
        let payload = Declared::parse(payload_text)?;
        let token = header_or_parameter(headers, query, &TOKEN)?;
        match scheme {
            Scheme::Hmac => {}
            Scheme::Sr25519 if payload.has_signed_chunks() => {
                return Err(Error::new(
                    Code::InvalidRequest,
                    "Signed chunks need a shared secret, which AWS4-SR25519-SHA256 does not have. Send a \
                     sha256, UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER, or use session \
                     credentials.",
                ));
            }
            Scheme::Sr25519 if token.is_some() => {
                return Err(Error::new(
                    Code::InvalidRequest,
                    "A request that the hotkey signs itself carries no session token; \
                     session credentials sign with AWS4-HMAC-SHA256.",
                ));
            }
            Scheme::Sr25519 => {}
        }
        Ok(Self {
            claim: Claim { scheme, access_key, scope, signature, date, time, token },
            place,
            signed_headers,
            payload,
            payload_text,
        })
    }

    /// Checks scope and freshness (P9). `presigned_seconds_max` narrows S3's seven days.
    ///
    /// # Errors
    /// `AuthorizationHeaderMalformed` or `AuthorizationQueryParametersError` for another scope, with the
    /// right `Region` where that is what differs; `RequestTimeTooSkewed` with `ServerTime`; `AccessDenied`
    /// for a presigned query before its time or after it.
    pub(crate) fn check(&self, region: &str, presigned_seconds_max: u64, now: UnixTime) -> Result<()> {
        self.claim.check_scope(region, |reason| self.place.malformed(reason))?;
        match self.place {
            SignaturePlace::Header => self.claim.check_skew(now),
            SignaturePlace::Query { expires_seconds } => {
                let seconds_max = presigned_seconds_max.min(PRESIGNED_SECONDS_MAX);
                if !(1..=seconds_max).contains(&expires_seconds) {
                    return Err(malformed_query(&format!(
                        "X-Amz-Expires must be between 1 and {seconds_max} seconds"
                    )));
                }
                self.claim.check_expiry(expires_seconds, now)
            }
        }
    }
}

/// `Credential=…, SignedHeaders=…, Signature=…`, each once, in any order; s3cmd leaves the spaces out.
fn header_fields<'a>(algorithm: &'a str, fields: &'a str) -> Result<SignatureFields<'a>> {
    let [mut credential, mut signed_headers, mut signature] = [None; 3];
    for field in split(fields, b',') {
        let (name, value) = split_once(field.trim_matches(' '), b'=').ok_or_else(|| {
            malformed_header("a field has no value; expecting Credential, SignedHeaders, Signature")
        })?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(malformed_header("a field is not one of Credential, SignedHeaders, Signature")),
        };
        if slot.replace(value).is_some() {
            return Err(malformed_header("a field is given more than once"));
        }
    }
    match (credential, signed_headers, signature) {
        (Some(credential), Some(signed_headers), Some(signature)) => {
            Ok(SignatureFields { algorithm, credential, signed_headers, signature })
        }
        _ => Err(malformed_header("a field is missing; expecting Credential, SignedHeaders, Signature")),
    }
}

/// P1, P2: the list is in SigV4's own form, `host` is in it, and so is every `x-amz-*` header that arrived.
fn signed_headers<'a>(
    place: SignaturePlace,
    text: &'a str,
    headers: &'a HeaderMap,
) -> Result<SignedHeaders<'a>> {
    let signed = Some(text).filter(|text| text.len() <= AUTHORIZATION_BYTES_MAX);
    let signed = signed.and_then(|text| SignedHeaders::parse(text, headers)).ok_or_else(|| {
        place.malformed("SignedHeaders are not lower-case names, each once, in ascending order")
    })?;
    if !signed.covers("host") {
        return Err(not_signed("host"));
    }
    signed.unsigned().map_or(Ok(signed), |name| Err(not_signed(name.as_str())))
}

fn is_signed(signed_headers: &str, name: &str) -> bool {
    split(signed_headers, b';').any(|signed| signed == name)
}

fn refuse_duplicates(headers: &HeaderMap, query: &Query) -> Result<()> {
    // As many names as values: no header is there twice, whichever it is.
    if headers.keys_len() != headers.len() {
        let header = SINGLE_HEADERS.iter().find(|name| headers.get_all(**name).iter().nth(1).is_some());
        if let Some(name) = header {
            return Err(two_values(name));
        }
    }
    let mut names = query.iter().map(|(name, _)| name).filter(|name| is_amz(name));
    while let Some(name) = names.next() {
        if names.clone().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(two_values(name));
        }
    }
    Ok(())
}

fn is_amz(name: &str) -> bool {
    name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// The value of a header that [`refuse_duplicates`] has seen at most once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let text = |value: &'a HeaderValue| match value.to_str() {
        Ok(text) if text.len() <= AUTHORIZATION_BYTES_MAX => Ok(text),
        _ if *name == header::AUTHORIZATION => Err(malformed_header("it is too long or not plain ASCII")),
        _ => Err(Error::new(
            Code::InvalidRequest,
            format!("The header {name} is longer than {AUTHORIZATION_BYTES_MAX} bytes or not plain ASCII."),
        )),
    };
    headers.get(name).map(text).transpose()
}

/// A query parameter of the signature: SDKs differ in the case (`X-Amz-Content-Sha256`,
/// `X-Amz-Content-SHA256`).
fn parameter<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn header_or_parameter<'a>(
    headers: &'a HeaderMap,
    query: &'a Query,
    name: &HeaderName,
) -> Result<Option<&'a str>> {
    match (single(headers, name)?, parameter(query, name.as_str())) {
        (Some(header), Some(parameter)) if header != parameter => Err(two_values(name.as_str())),
        (header, parameter) => Ok(header.or(parameter)),
    }
}

fn amz_date(text: &str) -> Option<(Cow<'_, str>, UnixTime)> {
    UnixTime::from_amz(text).map(|time| (Cow::Borrowed(text), time))
}

/// The `Date` header; some clients put the form of `x-amz-date` there.
fn http_date(text: &str) -> Option<(Cow<'_, str>, UnixTime)> {
    match UnixTime::from_http_date(text) {
        Some(time) => Some((Cow::Owned(time.to_amz()), time)),
        None => amz_date(text),
    }
}

fn malformed_header(reason: &str) -> Error {
    Error::new(
        Code::AuthorizationHeaderMalformed,
        format!("The authorization header is malformed; {reason}."),
    )
}

fn malformed_query(reason: &str) -> Error {
    Error::new(
        Code::AuthorizationQueryParametersError,
        format!("The presigned query is malformed; {reason}."),
    )
}

fn not_signed(name: &str) -> Error {
    Error::new(Code::AccessDenied, "There were headers present in the request which were not signed")
        .reason(Reason::UnsignedHeaders)
        .element("HeadersNotSigned", name)
}

fn two_claims() -> Error {
    Error::new(
        Code::InvalidRequest,
        "Only one auth mechanism allowed: the Authorization header or the X-Amz-* query, not both.",
    )
}

fn two_values(name: &str) -> Error {
    Error::new(Code::InvalidRequest, format!("{name:?} is given more than once."))
}

fn signature_v2() -> Error {
    Error::new(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256: \
         set signature_version to s3v4 (in ~/.aws/config, under s3).",
    )
}

#[cfg(test)]
mod tests;
