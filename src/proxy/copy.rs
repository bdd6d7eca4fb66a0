//! CopyObject and UploadPartCopy: two permissions, and the size of the source (P30).

use http::{HeaderValue, StatusCode, header};

use super::{Proxy, relay, sizes};
use crate::{
    error::{Code, Error, Result},
    exchange::{Answer, Exchange},
    policy::CopyPermit,
    s3::{ForwardedHeaders, Operation},
    store::StoreBody,
};

impl Proxy {
    /// Copies within the store. The permit covers both ends.
    pub(super) async fn copy(
        &self,
        exchange: &Exchange,
        permit: CopyPermit<'_>,
        mut headers: ForwardedHeaders,
    ) -> Result<Answer> {
        // Parts are judged by their sum at completion; a whole copy by its source.
        let operation = if permit.is_part() { Operation::UploadPartCopy } else { Operation::CopyObject };
        if !permit.is_part() {
            let (bytes, etag) = self.copy_source(exchange, permit).await?;
            sizes::check_object(&self.limits, bytes)?;
            if let Some(etag) = etag {
                headers.pin_copy_source(etag)?;
            }
        }
        headers.set_content_length(0);
        relay::forward(&self.store, exchange, operation, permit.outbound(headers), StoreBody::empty()).await
    }

    /// Size and ETag of the source, as the store has them now.
    async fn copy_source(
        &self,
        exchange: &Exchange,
        permit: CopyPermit<'_>,
    ) -> Result<(u64, Option<HeaderValue>)> {
        let answer = self.store.send(permit.source_head(), StoreBody::empty(), exchange.now).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => {
                Err(Error::new(Code::NoSuchKey, "The specified source key does not exist.")
                    .element("Key", permit.source().key.clone()))
            }
            status if status.is_success() => {
                let bytes = answer
                    .headers()
                    .get(header::CONTENT_LENGTH)
                    .and_then(|bytes| bytes.to_str().ok()?.parse().ok());
                let bytes = bytes.ok_or_else(|| Error::store_unavailable("a HEAD without Content-Length"))?;
                Ok((bytes, answer.headers().get(header::ETAG).cloned()))
            }
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
