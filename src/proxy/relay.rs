//! What the store answers, on its way back: the object as it is, S3's XML where it is a refusal.
//!
//! A success passes with the headers on the list of `s3::answer_headers`, and where its XML names the store's
//! bucket, account or address, public names take their place (P63). All else is the store's, byte for byte. A
//! small document whose length the store tells is told with its length; white space that keeps a connection
//! alive goes on at once.
//!
//! A refusal by the store is rewritten (P51), as `refusal` decides.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::refusal::{Names, classify};
use crate::{
    body::{answer_xml::Replacement, bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange, REQUEST_ID, ReplaceError, StoreAnswer},
    policy::Outbound,
    s3::{Operation, answer_headers, store_error::StoreError, xml},
    store::{Store, StoreBody},
};

/// The largest error of the store that is read; those of S3 are under 2 KiB.
const STORE_ERROR_BYTES_MAX: usize = 64 * 1024;

/// The largest document of a success that is read whole before its client hears of it: those of copies and of
/// multipart uploads are under 2 KiB.
const SMALL_DOCUMENT_BYTES_MAX: u64 = 16 * 1024;

/// The same with public names in it.
const REWRITTEN_BYTES_MAX: usize = 128 * 1024;

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
    let response = store.send(outbound, body, exchange.on_behalf()).await?;
    answer(store, exchange, operation, response).await
}

/// Relays the store's answer to a permitted operation.
pub(super) async fn answer(
    store: &Store,
    exchange: &Exchange,
    operation: Operation,
    response: Response<StoreAnswer>,
) -> Result<Answer> {
    exchange.store_answered();
    let (parts, body) = response.into_parts();
    if parts.status.is_success() || parts.status == StatusCode::NOT_MODIFIED {
        let headers = answer_headers::of_success(parts.headers);
        let is_small = has_small_document(operation) && declared_bytes(&headers) <= SMALL_DOCUMENT_BYTES_MAX;
        let answer = success(store, exchange, operation, parts.status, headers, body);
        return match is_small {
            // With public names it has another length, which its client is told as it was told the store's.
            true => answer.read_whole(REWRITTEN_BYTES_MAX, Pace::idle(store.idle_timeout())).await,
            false => Ok(answer),
        };
    }
    let mut headers = answer_headers::of_refusal(parts.headers);
    let document = match exchange.is_head() {
        true => None,
        false => collect_bounded(body, STORE_ERROR_BYTES_MAX, Pace::idle(store.idle_timeout())).await.ok(),
    };
    let error = document.as_deref().and_then(StoreError::parse);
    if let Some(error) = &error {
        store.refused_with(&error.code);
    }
    let names = Names::of(store, exchange);
    let refusal = classify(parts.status, error, exchange.is_head(), &names)?;
    let request_id = request_id(exchange, &headers).to_owned();
    let document = match exchange.is_head() {
        true => String::new(),
        false => xml::error(&refusal.code, &refusal.message, &refusal.elements, exchange.path(), &request_id),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, id);
    }
    // What the store does not implement, it will not implement in a second.
    let is_passing = parts.status.is_server_error() && parts.status != StatusCode::NOT_IMPLEMENTED;
    if is_passing && !headers.contains_key(header::RETRY_AFTER) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    Ok(Answer::whole(parts.status, "application/xml", document).headers_of(headers))
}

/// Whether the success of an operation is a document of a few names, whose length a store can tell.
fn has_small_document(operation: Operation) -> bool {
    operation.fails_late() || operation == Operation::CreateMultipartUpload
}

/// The length that the store declares; without one it may still be at work, sending white space.
fn declared_bytes(headers: &HeaderMap) -> u64 {
    let bytes = headers.get(header::CONTENT_LENGTH).and_then(|bytes| bytes.to_str().ok()?.parse().ok());
    bytes.unwrap_or(u64::MAX)
}

/// A success: streamed, with public names in the place of the store's.
fn success(
    store: &Store,
    exchange: &Exchange,
    operation: Operation,
    status: StatusCode,
    headers: HeaderMap,
    body: StoreAnswer,
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
            let location = xml::text(&format!("{}{}", exchange.endpoint(), exchange.path()));
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
    let names = Names::of(store, exchange);
    Box::new(move |document| {
        let error = StoreError::parse(&document);
        let refusal = classify(StatusCode::INTERNAL_SERVER_ERROR, error, false, &names);
        let StoreError { code, message, elements } = refusal.unwrap_or_else(|error| StoreError {
            code: error.code.as_str().to_owned(),
            message: error.message.into_owned(),
            elements: Vec::new(),
        });
        let named = Code::named(&code).unwrap_or(Code::InternalError);
        let detail = format!("the store's 200 turned out to be {code}");
        let _ = late_error.set(Error::new(named, message.clone()).detail(detail));
        let document = xml::error(&code, &message, &elements, &resource, &request_id);
        Bytes::from(document.strip_prefix(xml::DECLARATION).unwrap_or(&document).to_owned())
    })
}

/// The id that the answer's `x-amz-request-id` will have: the store's, or else our own (P49).
fn request_id<'a>(exchange: &'a Exchange, headers: &'a HeaderMap) -> &'a str {
    let stores = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    stores.unwrap_or(&exchange.record.request_id)
}
