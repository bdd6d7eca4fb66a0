//! CompleteMultipartUpload: the sum of the parts is judged before the object comes to be.
//!
//! Nothing is remembered between requests: the parts are listed at the store and added up, by the numbers and ETags
//! that the client names. The ETags go on with the request, so a part that is replaced in between fails at the store.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};

use super::{Gate, answer::Answer, sizes};
use crate::{
    auth::sigv4::canonical::sha256_hex,
    body::{bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Result},
    policy::Permit,
    s3::{
        SDK_QUERY_NAME,
        uri::Query,
        xml::{self, CompletedPart, PartsPage},
    },
    store::{Outbound, StoreBody},
    time::UnixTime,
};

/// One page of 1000 parts is about 400 KB.
const PARTS_PAGE_BYTES_MAX: usize = 4 << 20;

/// 10,000 parts at 1000 a page, and some more for stores with smaller pages.
const PARTS_PAGES_MAX: usize = 64;

impl Gate {
    pub(super) async fn complete(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        mut headers: HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Answer> {
        let request = permit.request();
        let parts = xml::parse_complete(body)?;
        let key = request.key()?;
        let upload_id = request.query.get("uploadId").unwrap_or_default();
        let there = match self.parts(head, permit, key, upload_id, now).await? {
            Ok(there) => there,
            Err(refused) => return Ok(refused),
        };
        let sum = sum(&parts, &there)?;
        if let Err(error) = sizes::object_size(&self.limits, sum) {
            self.abort(key, upload_id, now).await;
            return Err(error);
        }
        let document = Bytes::from(xml::complete(&parts));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
        let outbound = Outbound {
            method: Method::POST,
            key: Some(key.to_owned()),
            query: request.query.clone().without(|name| name == SDK_QUERY_NAME),
            headers,
            payload_hash: sha256_hex(&document),
            body: StoreBody::whole(document),
        };
        let answer = self.store.send(outbound, now).await?;
        self.answer(head, permit, answer).await
    }

    /// Every part that the store has of this upload, by number; or the store's own refusal.
    async fn parts(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        key: &str,
        upload_id: &str,
        now: UnixTime,
    ) -> Result<std::result::Result<HashMap<u32, (u64, String)>, Answer>> {
        let mut there = HashMap::new();
        let mut marker = None;
        for _ in 0..PARTS_PAGES_MAX {
            let mut query = Query::default();
            query.push("uploadId", upload_id)?;
            if let Some(marker) = marker {
                query.push("part-number-marker", u32::to_string(&marker))?;
            }
            let answer = self
                .store
                .send(Outbound::bodiless(Method::GET, Some(key), query, HeaderMap::new()), now)
                .await?;
            if !answer.status().is_success() {
                return self.answer(head, permit, answer).await.map(Err);
            }
            let document = collect_bounded(
                answer.into_body(),
                PARTS_PAGE_BYTES_MAX,
                Pace::idle(self.store.idle_timeout()),
            )
            .await
            .map_err(|error| Error::store_unavailable(format!("a list of parts: {error}")))?;
            let PartsPage { parts, next } = xml::parse_parts(&document)
                .ok_or_else(|| Error::store_unavailable("a list of parts that cannot be read"))?;
            there.extend(parts.into_iter().map(|(number, bytes, etag)| (number, (bytes, etag))));
            match next {
                None => return Ok(Ok(there)),
                // A marker that does not move on would be asked for for ever.
                Some(next) if marker.is_some_and(|last| next <= last) => break,
                Some(next) => marker = Some(next),
            }
        }
        Err(Error::store_unavailable("the list of parts did not come to an end"))
    }

    /// Takes an upload back that may never be completed; a failure only leaves its parts to the store's own clean-up.
    async fn abort(&self, key: &str, upload_id: &str, now: UnixTime) {
        let mut query = Query::default();
        let aborted = match query.push("uploadId", upload_id) {
            Ok(()) => self
                .store
                .send(Outbound::bodiless(Method::DELETE, Some(key), query, HeaderMap::new()), now)
                .await
                .map(|answer| answer.status()),
            Err(error) => Err(error),
        };
        match aborted {
            Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => {}
            Ok(status) => {
                tracing::warn!(key, %status, "an upload outside the size limits could not be aborted")
            }
            Err(error) => {
                tracing::warn!(key, %error, "an upload outside the size limits could not be aborted")
            }
        }
    }
}

/// The size of the object that these parts make.
fn sum(parts: &[CompletedPart], there: &HashMap<u32, (u64, String)>) -> Result<u64> {
    let mut sum = 0_u64;
    for part in parts {
        match there.get(&part.number) {
            Some((bytes, etag)) if etag == xml::bare_etag(&part.etag) => sum = sum.saturating_add(*bytes),
            _ => {
                return Err(Error::new(
                    Code::InvalidPart,
                    "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag.",
                )
                .element("PartNumber", part.number.to_string()));
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, etag: &str) -> CompletedPart {
        CompletedPart { number, etag: etag.to_owned(), checksums: Vec::new() }
    }

    #[test]
    fn s10_the_sum_is_of_the_parts_that_are_named_and_there() {
        let there = HashMap::from([
            (1, (10, "a".to_owned())),
            (2, (20, "b".to_owned())),
            (3, (u64::MAX, "c".to_owned())),
        ]);
        assert_eq!(sum(&[part(1, "\"a\""), part(2, "b")], &there).unwrap(), 30);
        assert_eq!(sum(&[part(2, "b")], &there).unwrap(), 20);
        assert_eq!(sum(&[part(1, "a"), part(3, "c")], &there).unwrap(), u64::MAX);
        for wrong in [part(1, "b"), part(4, "a"), part(1, "")] {
            assert_eq!(sum(&[wrong], &there).unwrap_err().code, Code::InvalidPart);
        }
    }
}
