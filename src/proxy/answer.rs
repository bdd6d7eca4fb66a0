//! What goes back to the client: the store's answer unchanged where it is a success, S3's XML where it is not.
//!
//! A refusal by the store is rewritten (P51): its body may hold the string to sign and this server's own key id. What
//! it refused *this server* is an outage, to be retried, and never looks like the client's fault or like "not there".

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Gate;
use crate::{
    body::{
        answer_stream::{AnswerEnd, AnswerStream},
        bounded::collect_bounded,
        failure::BoxError,
        late_error::LateError,
        pace::Pace,
    },
    error::{Code, Error, Result},
    exchange::AccessRecord,
    policy::Permit,
    s3::{
        headers::{strip_hop_by_hop, strip_stores_own},
        xml,
    },
};

/// The largest error of the store that is read; those of S3 are under 2 KiB.
const STORE_ERROR_BYTES_MAX: usize = 64 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Headers of a store's refusal that say something of the object.
const REFUSAL_HEADERS: &[&str] = &["content-range", "retry-after", "x-amz-delete-marker", "x-amz-version-id"];

/// The id of this request in the access record; answers carry it where the store gave none of its own.
#[derive(Clone)]
pub(super) struct OwnRequestId(pub(super) String);

/// The body of an answer; its end writes the access record.
pub(crate) type AnswerBody = AnswerStream<Content, Box<dyn FnOnce(u64, AnswerEnd) + Send>>;

/// An answer on its way out.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
    /// Set by a 200 that turned out to be an error.
    late: Option<Arc<OnceLock<Error>>>,
}

type Replace = Box<dyn FnOnce(Bytes) -> Bytes + Send>;

/// What an answer consists of.
pub(crate) enum Content {
    /// All of it; none once it has been given out.
    Whole(Option<Bytes>),
    /// The store's, as it comes.
    Store(Incoming),
    /// The store's, which may turn out to be an error.
    Late(Box<LateError<Incoming, Replace>>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Store(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Late(body) => Pin::new(body.as_mut()).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Store(body) => body.is_end_stream(),
            Self::Late(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Store(body) => body.size_hint(),
            Self::Late(body) => body.size_hint(),
        }
    }
}

impl Answer {
    /// An answer that is there as a whole.
    pub(crate) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = Some(body.into()).filter(|body| !body.is_empty());
        let mut headers = HeaderMap::new();
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Self { status, headers, content: Content::Whole(body), late: None }
    }

    /// S3's XML, as this server says it.
    pub(super) fn xml(document: String) -> Self {
        Self::whole(StatusCode::OK, "application/xml", document)
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Its headers so far.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The refusal of a request, for the client in XML, for the log in the record.
    pub(super) fn refusal(error: Error, head: &Parts, record: &mut AccessRecord) -> Self {
        let document = xml::error(
            error.code.as_str(),
            &error.message,
            &error.elements,
            head.uri.path(),
            &record.request_id,
        );
        let document = if head.method == Method::HEAD { String::new() } else { document };
        let mut answer = Self::whole(error.code.status(), "application/xml", document);
        if error.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        record.error = Some(error);
        answer
    }

    /// Sends it on its way; the record is written when its body has ended.
    pub(super) fn into_response(self, record: AccessRecord, idle: Duration) -> Response<AnswerBody> {
        let Self { status, mut headers, content, late } = self;
        if !headers.contains_key(&REQUEST_ID)
            && let Ok(id) = HeaderValue::from_str(&record.request_id)
        {
            headers.insert(REQUEST_ID, id);
        }
        let finish = move |sent_bytes: u64, end: AnswerEnd| {
            let mut record = record;
            if let Some(error) = late.as_ref().and_then(|late| late.get()) {
                record.error = Some(error.clone());
            }
            record.end(status, sent_bytes, &end);
        };
        let mut response = Response::new(AnswerStream::new(
            content,
            idle,
            Box::new(finish) as Box<dyn FnOnce(u64, AnswerEnd) + Send>,
        ));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

impl Gate {
    /// Relays the store's answer to a permitted request.
    pub(super) async fn answer(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        response: Response<Incoming>,
    ) -> Result<Answer> {
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        strip_stores_own(&mut headers);
        if parts.status.is_success() || parts.status == StatusCode::NOT_MODIFIED {
            let mut late = None;
            let content = if permit.request().operation.fails_late() {
                // An error in its place is of another length.
                headers.remove(header::CONTENT_LENGTH);
                let told = Arc::<OnceLock<Error>>::default();
                late = Some(Arc::clone(&told));
                let request_id = request_id(head, &headers).to_owned();
                Content::Late(Box::new(LateError::new(body, self.late_error(head, request_id, told))))
            } else {
                Content::Store(body)
            };
            return Ok(Answer { status: parts.status, headers, content, late });
        }
        let document = match head.method {
            Method::HEAD => None,
            _ => {
                collect_bounded(body, STORE_ERROR_BYTES_MAX, Pace::idle(self.store.idle_timeout())).await.ok()
            }
        };
        let error = document.as_deref().and_then(xml::parse_error);
        let hidden = self.store.hidden_words();
        let is_hidden = |text: &str| hidden.iter().any(|word| text.contains(word.as_str()));
        let refusal = judge(parts.status, error, head.method == Method::HEAD, is_hidden)?;
        let resource = head.uri.path();
        let request_id = request_id(head, &headers).to_owned();
        let document = match head.method {
            Method::HEAD => String::new(),
            _ => xml::error(&refusal.code, &refusal.message, &[], resource, &request_id),
        };
        headers.retain_only(REFUSAL_HEADERS);
        let mut answer = Answer::whole(parts.status, "application/xml", document);
        answer.headers.extend(headers);
        if let Ok(id) = HeaderValue::from_str(&request_id)
            && !request_id.is_empty()
        {
            answer.headers.insert(REQUEST_ID, id);
        }
        if parts.status.is_server_error() && !answer.headers.contains_key(header::RETRY_AFTER) {
            answer.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Ok(answer)
    }

    /// What takes the place of an `<Error>` in a 200 (P46).
    fn late_error(&self, head: &Parts, request_id: String, told: Arc<OnceLock<Error>>) -> Replace {
        let resource = head.uri.path().to_owned();
        let hidden = self.store.hidden_words();
        Box::new(move |document| {
            let error = xml::parse_error(&document);
            let is_hidden = |text: &str| hidden.iter().any(|word| text.contains(word.as_str()));
            let (code, message) = match judge(StatusCode::INTERNAL_SERVER_ERROR, error, false, is_hidden) {
                Ok(refusal) => (refusal.code, refusal.message),
                Err(error) => (error.code.as_str().to_owned(), error.message.into_owned()),
            };
            let named = Code::named(&code).unwrap_or(Code::InternalError);
            let _ = told.set(
                Error::new(named, message.clone()).detail(format!("the store's 200 turned out to be {code}")),
            );
            let document = xml::error(&code, &message, &[], &resource, &request_id);
            Bytes::from(document.strip_prefix(xml::DECLARATION).unwrap_or(&document).to_owned())
        })
    }
}

/// The id that the answer's `x-amz-request-id` will have: the store's, or else our own (P49).
fn request_id<'a>(head: &'a Parts, headers: &'a HeaderMap) -> &'a str {
    let stores = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    stores.or_else(|| head.extensions.get().map(|OwnRequestId(own)| own.as_str())).unwrap_or_default()
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

/// Decides whose business a failure of the store is. Statuses of S3 pass; what concerns this server, and what is not
/// S3's at all (a 404 of something else at that address must not read as "no such key"), is an outage.
fn judge(
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
            "The store behind this server refused the server itself; that is for its operator to mend. Please retry later.",
        )
        .detail(format!("the store answered {status} {shown}; check store.credentials, store.bucket, store.region and the clock")));
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

trait RetainOnly {
    fn retain_only(&mut self, names: &[&str]);
}

impl RetainOnly for HeaderMap {
    fn retain_only(&mut self, names: &[&str]) {
        let kept: Self = names
            .iter()
            .filter_map(|name| {
                Some((HeaderName::from_bytes(name.as_bytes()).ok()?, self.get(*name)?.clone()))
            })
            .collect();
        *self = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, code: &str, message: &str) -> Result<Refusal> {
        let error = Some((code.to_owned(), message.to_owned())).filter(|_| !code.is_empty());
        judge(StatusCode::from_u16(status).unwrap(), error, false, |text| text.contains("AKSERVER"))
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
            let refusal = judged(status, code, "why").unwrap();
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
            let error = judged(status, code, "AKSERVER").unwrap_err();
            assert_eq!(error.code, Code::ServiceUnavailable, "{status} {code}");
            assert!(!error.message.contains("AKSERVER"));
        }
        assert_eq!(
            judged(400, "InvalidArgument", "key AKSERVER is wrong").unwrap().message,
            "The store refused the request."
        );
    }

    #[test]
    fn p36_a_head_says_its_status_alone() {
        assert!(judge(StatusCode::NOT_FOUND, None, true, |_| false).is_ok());
        assert_eq!(
            judge(StatusCode::FORBIDDEN, None, true, |_| false).unwrap_err().code,
            Code::ServiceUnavailable
        );
        assert_eq!(
            judge(StatusCode::BAD_GATEWAY, None, true, |_| false).unwrap_err().code,
            Code::ServiceUnavailable
        );
    }
}
