//! What the store answers, on its way back: the object as it is, S3's XML where it is a refusal.
//!
//! A success passes with the headers on the list of `s3::answer_headers`, and where its XML names the store's
//! bucket, account or address, public names take their place (P63). All else is the store's, byte for byte.
//!
//! A refusal by the store is rewritten (P51): its body may hold the string to sign and this server's own key
//! id. What it refused *this server* is an outage, to be retried, and never looks like the client's fault or
//! like "not there".

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    body::{answer_xml::Replacement, bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange, REQUEST_ID, ReplaceError},
    policy::Outbound,
    s3::{Operation, answer_headers, xml},
    store::{Store, StoreBody},
};

/// The largest error of the store that is read; those of S3 are under 2 KiB.
const STORE_ERROR_BYTES_MAX: usize = 64 * 1024;

/// Seconds after which a client should try again what the store could not do.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Sends a request on and relays the store's answer to it.
pub(super) async fn forward(
    store: &Store,
    exchange: &Exchange,
    operation: Operation,
    outbound: Outbound,
    body: StoreBody,
) -> Result<Answer> {
    let response = store.send(outbound, body, exchange.now).await?;
    answer(store, exchange, operation, response).await
}

/// Relays the store's answer to a permitted operation.
pub(super) async fn answer(
    store: &Store,
    exchange: &Exchange,
    operation: Operation,
    response: Response<Incoming>,
) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    if parts.status.is_success() || parts.status == StatusCode::NOT_MODIFIED {
        let headers = answer_headers::of_success(parts.headers);
        return Ok(success(store, exchange, operation, parts.status, headers, body));
    }
    let mut headers = answer_headers::of_refusal(parts.headers);
    let document = match exchange.is_head() {
        true => None,
        false => collect_bounded(body, STORE_ERROR_BYTES_MAX, Pace::idle(store.idle_timeout())).await.ok(),
    };
    let error = document.as_deref().and_then(xml::parse_error);
    let hidden = store.hidden_words();
    let is_hidden = |text: &str| hidden.iter().any(|word| text.contains(word.as_str()));
    let refusal = classify(parts.status, error, exchange.is_head(), is_hidden)?;
    let request_id = request_id(exchange, &headers).to_owned();
    let document = match exchange.is_head() {
        true => String::new(),
        false => xml::error(&refusal.code, &refusal.message, &[], exchange.path(), &request_id),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if parts.status.is_server_error() && !headers.contains_key(header::RETRY_AFTER) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    Ok(Answer::whole(parts.status, "application/xml", document).headers_of(headers))
}

/// A success: streamed, with public names in the place of the store's.
fn success(
    store: &Store,
    exchange: &Exchange,
    operation: Operation,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
) -> Answer {
    let names = public_names(store, exchange, operation);
    if operation.fails_late() {
        let late_error = Arc::<OnceLock<Error>>::default();
        let request_id = request_id(exchange, &headers).to_owned();
        let replace = replace_late_error(store, exchange, request_id, Arc::clone(&late_error));
        let names = names.unwrap_or_default();
        return Answer::from_store_that_may_fail(status, headers, body, replace, late_error, names);
    }
    match names {
        Some(names) => Answer::from_store_xml(status, headers, body, names),
        None => Answer::from_store(status, headers, body),
    }
}

/// What takes the place of the names of the store in the XML of a success (P63); none where the answer names
/// nothing.
fn public_names(store: &Store, exchange: &Exchange, operation: Operation) -> Option<Vec<Replacement>> {
    /// Directly in the root.
    const TOP: usize = 2;
    let bucket = xml::text(store.public_bucket());
    let is_bucket = |element| Replacement { element, depths: TOP..=TOP, content: bucket.clone() };
    // Clients want somebody to be there (minio-java), and nobody looks at who it is.
    let is_account = |element| Replacement {
        element,
        depths: TOP..=TOP.saturating_add(1),
        content: format!("<ID>{bucket}</ID><DisplayName>{bucket}</DisplayName>"),
    };
    match operation {
        Operation::ListObjects | Operation::ListObjectsV2 => {
            Some(vec![is_bucket("Name"), is_account("Owner")])
        }
        Operation::ListMultipartUploads | Operation::ListParts => {
            Some(vec![is_bucket("Bucket"), is_account("Owner"), is_account("Initiator")])
        }
        Operation::CreateMultipartUpload => Some(vec![is_bucket("Bucket")]),
        Operation::CompleteMultipartUpload => {
            let location = xml::text(&format!("{}{}", exchange.endpoint, exchange.path()));
            let location = Replacement { element: "Location", depths: TOP..=TOP, content: location };
            Some(vec![is_bucket("Bucket"), location])
        }
        Operation::ListBuckets
        | Operation::HeadBucket
        | Operation::CreateBucket
        | Operation::GetBucketLocation
        | Operation::DeleteObjects
        | Operation::GetObject
        | Operation::HeadObject
        | Operation::GetObjectAttributes
        | Operation::PutObject
        | Operation::UploadPart
        | Operation::AbortMultipartUpload
        | Operation::CopyObject
        | Operation::UploadPartCopy
        | Operation::DeleteObject => None,
    }
}

/// What takes the place of an `<Error>` in a 200 (P46).
fn replace_late_error(
    store: &Store,
    exchange: &Exchange,
    request_id: String,
    late_error: Arc<OnceLock<Error>>,
) -> ReplaceError {
    let resource = exchange.path().to_owned();
    let hidden = store.hidden_words();
    Box::new(move |document| {
        let error = xml::parse_error(&document);
        let is_hidden = |text: &str| hidden.iter().any(|word| text.contains(word.as_str()));
        let (code, message) = match classify(StatusCode::INTERNAL_SERVER_ERROR, error, false, is_hidden) {
            Ok(refusal) => (refusal.code, refusal.message),
            Err(error) => (error.code.as_str().to_owned(), error.message.into_owned()),
        };
        let named = Code::named(&code).unwrap_or(Code::InternalError);
        let detail = format!("the store's 200 turned out to be {code}");
        let _ = late_error.set(Error::new(named, message.clone()).detail(detail));
        let document = xml::error(&code, &message, &[], &resource, &request_id);
        Bytes::from(document.strip_prefix(xml::DECLARATION).unwrap_or(&document).to_owned())
    })
}

/// The id that the answer's `x-amz-request-id` will have: the store's, or else our own (P49).
fn request_id<'a>(exchange: &'a Exchange, headers: &'a HeaderMap) -> &'a str {
    let stores = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    stores.unwrap_or(&exchange.record.request_id)
}

/// A refusal by the store that is the client's business.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: String,
    message: String,
}

/// Codes by which the store refuses this server, not the client.
const SERVERS_OWN: &[&str] = &[
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidSecurity",
    "InvalidToken",
    "MissingSecurityHeader",
    "NoSuchBucket",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
    "TokenRefreshRequired",
];

/// Decides whose business a failure of the store is. Statuses of S3 pass; what concerns this server, and what
/// is not S3's at all (a 404 of something else at that address must not read as "no such key"), is an outage.
fn classify(
    status: StatusCode,
    error: Option<(String, String)>,
    is_head: bool,
    is_hidden: impl Fn(&str) -> bool,
) -> Result<Refusal> {
    let error = error.filter(|(code, _)| !code.is_empty());
    let code = error.as_ref().map(|(code, _)| code.as_str());
    let servers_own = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || status.is_redirection()
        || code.is_some_and(|code| SERVERS_OWN.contains(&code));
    if servers_own {
        let shown = code.unwrap_or("no code");
        return Err(Error::new(
            Code::ServiceUnavailable,
            "The store behind this server refused the server itself; that is for its operator to mend. \
             Please \
             retry later.",
        )
        .detail(format!(
            "the store answered {status} {shown}; check store.credentials, store.bucket, store.region and \
             the clock"
        )));
    }
    match error {
        Some((code, message)) => {
            let hides = is_hidden(&message)
                || message.contains("X-Amz-Signature")
                || message.contains("AWS4-HMAC-SHA256");
            let message = if hides { "The store refused the request.".to_owned() } else { message };
            Ok(Refusal { code, message })
        }
        // A HEAD has no body to tell from.
        _ if is_head && status.is_client_error() => {
            Ok(Refusal { code: String::new(), message: String::new() })
        }
        _ => Err(Error::store_unavailable(format!("the store answered {status} without an S3 error"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status: u16, code: &str, message: &str) -> Result<Refusal> {
        let error = Some((code.to_owned(), message.to_owned())).filter(|_| !code.is_empty());
        classify(StatusCode::from_u16(status).unwrap(), error, false, |text| text.contains("AKSERVER"))
    }

    #[test]
    fn what_concerns_the_client_passes() {
        for (status, code) in [
            (404, "NoSuchKey"),
            (404, "NoSuchUpload"),
            (412, "PreconditionFailed"),
            (416, "InvalidRange"),
            (400, "InvalidPart"),
            (400, "BadDigest"),
            (409, "OperationAborted"),
            (501, "NotImplemented"),
            (503, "SlowDown"),
            (500, "InternalError"),
        ] {
            let refusal = classified(status, code, "why").unwrap();
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), (code, "why"));
        }
    }

    #[test]
    fn p51_what_concerns_the_server_is_an_outage_and_tells_nothing() {
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "AccessDenied"),
            (403, ""),
            (401, ""),
            (404, "NoSuchBucket"),
            (301, "PermanentRedirect"),
            (307, "TemporaryRedirect"),
            (400, "AuthorizationHeaderMalformed"),
            (404, ""),
            (502, ""),
            (400, ""),
        ] {
            let error = classified(status, code, "AKSERVER").unwrap_err();
            assert_eq!(error.code, Code::ServiceUnavailable, "{status} {code}");
            assert!(!error.message.contains("AKSERVER"));
        }
        assert_eq!(
            classified(400, "InvalidArgument", "key AKSERVER is wrong").unwrap().message,
            "The store refused the request."
        );
    }

    #[test]
    fn p36_a_head_says_its_status_alone() {
        assert!(classify(StatusCode::NOT_FOUND, None, true, |_| false).is_ok());
        assert_eq!(
            classify(StatusCode::FORBIDDEN, None, true, |_| false).unwrap_err().code,
            Code::ServiceUnavailable
        );
        assert_eq!(
            classify(StatusCode::BAD_GATEWAY, None, true, |_| false).unwrap_err().code,
            Code::ServiceUnavailable
        );
    }
}
