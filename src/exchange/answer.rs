//! An answer on its way to the client: whole, or streamed from the store; its end writes the access record.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use super::{AccessRecord, Exchange, StoreAnswer};
use crate::{
    body::{
        answer_stream::{AnswerEnd, AnswerStream},
        answer_xml::{AnswerXml, Replacement},
        bounded::collect_bounded,
        failure::BoxError,
        gate::Gate,
        late_error::LateError,
        made::{MadeBody, Pieces},
        pace::Pace,
        progress::RequestProgress,
    },
    error::{Error, Result},
    limits::Ticket,
    s3::xml,
};

/// The header of a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// Seconds after which a client should try again what failed here.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The body of an answer; its end writes the access record.
pub(crate) type AnswerBody = AnswerStream<Charged, Box<dyn FnOnce(u64, AnswerEnd) + Send>>;

/// What takes the place of an `<Error>` in a 200: given the store's, gives this server's.
pub(crate) type ReplaceError = Box<dyn FnOnce(Bytes) -> Bytes + Send>;

/// An answer on its way out.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
    /// Set by a 200 that turned out to be an error.
    late_error: Option<Arc<OnceLock<Error>>>,
    /// What the log says of it beside its status.
    note: Option<&'static str>,
}

/// What an answer consists of.
pub(crate) enum Content {
    /// All of it; none once it has been given out.
    Whole(Option<Bytes>),
    /// The store's, as it comes.
    Store(StoreAnswer),
    /// The store's XML, in which its own names give way to public ones.
    Xml(Box<AnswerXml<StoreAnswer>>),
    /// The same, which may turn out to be an error.
    MayFail(Box<AnswerXml<LateError<StoreAnswer, ReplaceError>>>),
    /// Made here, piece by piece.
    Made(MadeBody),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Store(_) => "Store",
            Self::Xml(_) => "Xml",
            Self::MayFail(_) => "MayFail",
            Self::Made(_) => "Made",
        })
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Store(body) => {
                // Trailers are no part of S3's answers.
                let mut frame = Pin::new(&mut *body).poll_frame(context);
                while let Poll::Ready(Some(Ok(trailers))) = &frame
                    && trailers.is_trailers()
                {
                    frame = Pin::new(&mut *body).poll_frame(context);
                }
                frame.map_err(Into::into)
            }
            Self::Xml(body) => Pin::new(body.as_mut()).poll_frame(context).map_err(Into::into),
            Self::MayFail(body) => Pin::new(body.as_mut()).poll_frame(context).map_err(Into::into),
            Self::Made(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Store(body) => body.is_end_stream(),
            Self::Xml(body) => body.is_end_stream(),
            Self::MayFail(body) => body.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Store(body) => body.size_hint(),
            Self::Xml(body) => body.size_hint(),
            Self::MayFail(body) => body.size_hint(),
            Self::Made(body) => body.size_hint(),
        }
    }
}

/// The content of an answer on its way out, and the ticket to which it is charged.
pub(crate) struct Charged {
    content: Content,
    ticket: Option<Ticket>,
}

impl Body for Charged {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { content, ticket } = self.get_mut();
        let polled = Pin::new(content).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(ticket)) = (&polled, ticket) {
            ticket.count_bytes(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Answer {
    /// An answer that is there as a whole. One without a body has no content type.
    pub(crate) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = Some(body.into()).filter(|body| !body.is_empty());
        let mut headers = HeaderMap::new();
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Self { status, headers, content: Content::Whole(body), late_error: None, note: None }
    }

    /// An answer whose body is made piece by piece, as the client reads it.
    pub(crate) fn made(status: StatusCode, content_type: &'static str, pieces: Pieces) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        let content = Content::Made(MadeBody::new(pieces));
        Self { status, headers, content, late_error: None, note: None }
    }

    /// S3's XML, as this server says it.
    pub(crate) fn xml(document: String) -> Self {
        Self::whole(StatusCode::OK, "application/xml", document)
    }

    /// The store's answer, streamed on as it is.
    pub(crate) fn from_store(status: StatusCode, headers: HeaderMap, body: StoreAnswer) -> Self {
        Self { status, headers, content: Content::Store(body), late_error: None, note: None }
    }

    /// The store's XML, with these replacements.
    pub(crate) fn from_store_xml(
        status: StatusCode,
        mut headers: HeaderMap,
        body: StoreAnswer,
        replacements: Vec<Replacement>,
    ) -> Self {
        // Public names are of another length.
        headers.remove(header::CONTENT_LENGTH);
        let content = Content::Xml(Box::new(AnswerXml::new(body, replacements)));
        Self { status, headers, content, late_error: None, note: None }
    }

    /// The store's 200, which may still turn out to be an error (P46); `replace` then gives what is sent in
    /// its place, and has put into `late_error` what it was. The rest has these replacements.
    pub(crate) fn from_store_that_may_fail(
        status: StatusCode,
        mut headers: HeaderMap,
        body: StoreAnswer,
        replace: ReplaceError,
        late_error: Arc<OnceLock<Error>>,
        replacements: Vec<Replacement>,
    ) -> Self {
        // An error in its place is of another length.
        headers.remove(header::CONTENT_LENGTH);
        let content = Content::MayFail(Box::new(AnswerXml::new(LateError::new(body, replace), replacements)));
        Self { status, headers, content, late_error: Some(late_error), note: None }
    }

    /// The refusal of a request: for the client in XML, for the log in the record.
    pub(crate) fn refusal(error: Error, exchange: &mut Exchange) -> Self {
        let document = match exchange.is_head() {
            true => String::new(),
            false => xml::error(
                error.code.as_str(),
                &error.message,
                &error.elements,
                exchange.path(),
                &exchange.record.request_id,
            ),
        };
        let mut answer = Self::whole(error.code.status(), "application/xml", document);
        if error.code.status() == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = error.retry_after_seconds.map_or(RETRY_AFTER_SECONDS, HeaderValue::from);
            answer.headers.insert(header::RETRY_AFTER, seconds);
        }
        exchange.record.error = Some(error);
        answer
    }

    /// Has the log say `note` of it.
    #[must_use]
    pub(crate) fn noted(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }

    /// Sets a header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the headers that are there in `headers`.
    #[must_use]
    pub(crate) fn headers_of(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Its headers so far.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether its status is one of success.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Reads its body to the end, so that what it says is known before any of it is sent on.
    ///
    /// # Errors
    /// `ServiceUnavailable` where the store's body breaks off, pauses for too long, or has more than
    /// `bytes_max`.
    pub(crate) async fn read_whole(self, bytes_max: usize, pace: Pace) -> Result<Self> {
        let body = collect_bounded(self.content, bytes_max, pace)
            .await
            .map_err(|error| Error::store_unavailable(format!("an answer to be read whole: {error}")))?;
        Ok(Self { content: Content::Whole(Some(body).filter(|body| !body.is_empty())), ..self })
    }

    /// Whether what has been read of a 200 turned out to be an error.
    pub(crate) fn has_failed_late(&self) -> bool {
        self.late_error.as_ref().is_some_and(|late_error| late_error.get().is_some())
    }

    /// The bytes that its body will have, where that is known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.content.size_hint().exact()
    }

    /// Sends it on its way; `record` is written when its body has ended, and `ticket` held until then. A body
    /// from the store may be silent for `idle`; `progress` ends with it, and `gate` is asked before each
    /// piece.
    pub(crate) fn into_response(
        self,
        record: AccessRecord,
        ticket: Option<Ticket>,
        idle: Duration,
        progress: RequestProgress,
        gate: Option<Box<dyn Gate>>,
    ) -> Response<AnswerBody> {
        let Self { status, mut headers, content, late_error, note } = self;
        let mut record = record;
        record.answered(status);
        if !headers.contains_key(&REQUEST_ID)
            && let Ok(id) = HeaderValue::from_str(&record.request_id)
        {
            headers.insert(REQUEST_ID, id);
        }
        let finish = move |sent_bytes: u64, end: AnswerEnd| {
            record.note = note;
            if let Some(error) = late_error.as_ref().and_then(|late_error| late_error.get()) {
                record.error = Some(error.clone());
            }
            record.end(sent_bytes, &end);
        };
        let finish = Box::new(finish) as Box<dyn FnOnce(u64, AnswerEnd) + Send>;
        let content = Charged { content, ticket };
        let mut response = Response::new(AnswerStream::new(content, idle, progress, finish).through(gate));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}
