//! CopyObject and UploadPartCopy: two permissions, and the size of the source (P30).
//!
//! A whole copy is judged by its source, as the store shows it: its size, and the client's conditions on it.
//! The copy is then held to that very source by its ETag, and where another took its place meanwhile, that
//! one is judged and copied. A part is judged by the sum at completion, and its conditions go on to the
//! store.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Proxy, relay, sizes};
use crate::{
    error::{Code, Error, Result},
    exchange::{Answer, Exchange},
    policy::CopyPermit,
    s3::{ForwardedHeaders, Operation},
    store::StoreBody,
    time::UnixTime,
};

/// How many objects in the place of a copy's source are tried, one after the other.
const SOURCES_MAX: usize = 2;

/// What the store says of a copy's source.
struct Source {
    bytes: u64,
    etag: Option<HeaderValue>,
    last_modified: Option<UnixTime>,
}

impl Source {
    fn of(headers: &HeaderMap) -> Result<Self> {
        let last_modified = headers.get(header::LAST_MODIFIED).and_then(|value| value.to_str().ok());
        Ok(Self {
            bytes: sizes::of_answer(headers)?,
            etag: headers.get(header::ETAG).cloned(),
            last_modified: last_modified.and_then(UnixTime::from_http_date),
        })
    }
}

impl Proxy {
    /// Copies within the store. The permit covers both ends.
    pub(super) async fn copy(
        &self,
        exchange: &Exchange,
        permit: CopyPermit<'_>,
        mut headers: ForwardedHeaders,
    ) -> Result<Answer> {
        let operation = if permit.is_part() { Operation::UploadPartCopy } else { Operation::CopyObject };
        headers.set_content_length(0);
        if permit.is_part() {
            let outbound = permit.outbound(headers);
            return relay::forward(&self.store, exchange, operation, outbound, StoreBody::empty()).await;
        }
        let conditions = headers.take_copy_conditions()?;
        let mut source = self.copy_source(exchange, permit).await?;
        for _ in 0..SOURCES_MAX {
            let etag = source.etag.as_ref().and_then(|etag| etag.to_str().ok());
            conditions.check(etag, source.last_modified)?;
            sizes::check_object(&self.body_bounds, permit.key(), source.bytes)?;
            let mut headers = headers.clone();
            if let Some(etag) = &source.etag {
                headers.pin_copy_source(etag.clone());
            }
            let answer =
                self.store.send(permit.outbound(headers), StoreBody::empty(), exchange.moment()).await?;
            if answer.status() != StatusCode::PRECONDITION_FAILED || source.etag.is_none() {
                return relay::answer(&self.store, exchange, operation, answer).await;
            }
            let now = self.copy_source(exchange, permit).await?;
            if now.etag == source.etag {
                // Not the pin: a condition of the client's on the copy's target.
                return relay::answer(&self.store, exchange, operation, answer).await;
            }
            source = now;
        }
        Err(Error::new(
            Code::SlowDown,
            "The source of the copy is being overwritten again and again. Please try again.",
        ))
    }

    /// The source, as the store has it now.
    async fn copy_source(&self, exchange: &Exchange, permit: CopyPermit<'_>) -> Result<Source> {
        let answer = self.store.send(permit.source_head(), StoreBody::empty(), exchange.moment()).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Err(Error::new(Code::NoSuchKey, "The specified key does not exist.")
                .element("Key", permit.source().key.clone())),
            status if status.is_success() => Source::of(answer.headers()),
            // A name or a version that this store does not take.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::URI_TOO_LONG => Err(
                Error::new(Code::InvalidArgument, "The store does not take the name of the copy's source.")
                    .element("ArgumentName", "x-amz-copy-source")
                    .element("ArgumentValue", permit.source().key.clone()),
            ),
            status => Err(Error::store_unavailable(format!("the HEAD of a copy's source answered {status}"))),
        }
    }
}
