//! CopyObject and UploadPartCopy: two permissions, and the size of the source (P30).

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};

use super::{Gate, answer::Answer, sizes};
use crate::{
    error::{Code, Error, Result},
    policy::Permit,
    s3::{COPY_SOURCE, CopySource, Operation, SDK_QUERY_NAME, uri::Query, xml::bare_etag},
    store::Outbound,
    time::UnixTime,
};

const IF_MATCH: &str = "x-amz-copy-source-if-match";

impl Gate {
    /// Copies within the store. The permit covers both ends.
    pub(super) async fn copy(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        mut headers: HeaderMap,
        now: UnixTime,
    ) -> Result<Answer> {
        let request = permit.request();
        let source = request.copy_source()?;
        // Parts are judged by their sum at completion; a whole copy by its source.
        if request.operation == Operation::CopyObject {
            let (bytes, etag) = self.source(source, now).await?;
            sizes::object_size(&self.limits, bytes)?;
            pin(&mut headers, etag)?;
        }
        let value = HeaderValue::from_str(&source.to_header(self.store.bucket())).map_err(Error::internal)?;
        headers.insert(COPY_SOURCE, value);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let outbound = Outbound::bodiless(
            head.method.clone(),
            Some(request.key()?),
            request.query.clone().without(|name| name == SDK_QUERY_NAME),
            headers,
        );
        let answer = self.store.send(outbound, now).await?;
        self.answer(head, permit, answer).await
    }

    /// Size and ETag of the source, as the store has them now.
    async fn source(&self, source: &CopySource, now: UnixTime) -> Result<(u64, Option<HeaderValue>)> {
        let mut query = Query::default();
        if let Some(version) = &source.version_id {
            query.push("versionId", version.as_str())?;
        }
        let outbound = Outbound::bodiless(Method::HEAD, Some(&source.key), query, HeaderMap::new());
        let answer = self.store.send(outbound, now).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => {
                Err(Error::new(Code::NoSuchKey, "The specified source key does not exist.")
                    .element("Key", source.key.clone()))
            }
            status if status.is_success() => {
                let bytes = answer
                    .headers()
                    .get(header::CONTENT_LENGTH)
                    .and_then(|bytes| bytes.to_str().ok()?.parse().ok());
                let bytes = bytes.ok_or_else(|| Error::store_unavailable("a HEAD without Content-Length"))?;
                Ok((bytes, answer.headers().get(header::ETAG).cloned()))
            }
            status => Err(Error::store_unavailable(format!("the HEAD of a copy's source answered {status}"))),
        }
    }
}

/// Holds the copy to the object that was measured: it must not be another one by then. A condition of the client's own
/// that names another object does not hold, and is not left to the store, which may have that object a moment later.
fn pin(headers: &mut HeaderMap, etag: Option<HeaderValue>) -> Result<()> {
    let Some(etag) = etag else { return Ok(()) };
    let bare = |value: &HeaderValue| value.to_str().map(|etag| bare_etag(etag).to_owned()).ok();
    match headers.get(IF_MATCH) {
        Some(own) if own.as_bytes() != b"*" && bare(own) != bare(&etag) => Err(Error::new(
            Code::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold.",
        )
        .element("Condition", IF_MATCH)),
        _ => {
            headers.insert(IF_MATCH, etag);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_held_to_the_object_that_was_measured() {
        for (own, pinned) in [
            (None, true),
            (Some("*"), true),
            (Some("\"a\""), true),
            (Some("a"), true),
            (Some("\"b\""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(own) = own {
                headers.insert(IF_MATCH, HeaderValue::from_static(own));
            }
            let held = pin(&mut headers, Some(HeaderValue::from_static("\"a\"")));
            assert_eq!(
                held.map_err(|error| error.code),
                if pinned { Ok(()) } else { Err(Code::PreconditionFailed) }
            );
            assert_eq!(headers.get(IF_MATCH).unwrap() == "\"a\"", pinned);
        }
    }
}
