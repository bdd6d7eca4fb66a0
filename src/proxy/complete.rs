//! CompleteMultipartUpload: the sum of the parts is judged before the object comes to be. And
//! AbortMultipartUpload of an upload that is over.
//!
//! Nothing is remembered between requests: the parts are listed at the store and added up, by the numbers and
//! ETags that the client names. The ETags go on with the request, so a part that is replaced in between fails
//! at the store.
//!
//! An upload that is not there any more may have been completed, and its client may not know it because the
//! answer was lost. Only the store can tell, so it is asked (P67). Such an object was judged when it came to
//! be; its size is looked at once more, after the store has said yes, so that no store which keeps its list
//! of parts from us gets an object past the bounds unseen. Outside of them the client is refused, but nothing
//! is deleted: what stands there may be older than this request, and somebody may rely on it.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;

use super::{Proxy, relay, sizes};
use crate::{
    body::{bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange},
    policy::{CompletePermit, ForwardPermit},
    s3::{
        ForwardedHeaders, Operation,
        xml::{self, CompletedPart, PartsPage},
    },
    store::StoreBody,
};

/// One page of 1000 parts is about 400 KB.
const PARTS_PAGE_BYTES_MAX: usize = 4 << 20;

/// 10,000 parts at 1000 a page, and some more for stores with smaller pages.
const PARTS_PAGES_MAX: usize = 64;

/// The answer to a completion: a few names and checksums, and white space while the store works.
const COMPLETED_XML_BYTES_MAX: usize = 64 * 1024;

/// What the store has of an upload.
enum Parts {
    /// Every part, by number: its size and its ETag.
    There(HashMap<u32, (u64, String)>),
    /// No such upload: never begun, taken back, or completed.
    Gone,
    /// The store's own refusal to list them.
    Refused(Box<Answer>),
}

impl Proxy {
    pub(super) async fn complete(
        &self,
        exchange: &Exchange,
        permit: CompletePermit<'_>,
        mut headers: ForwardedHeaders,
        mut parts: Vec<CompletedPart>,
    ) -> Result<Answer> {
        // A part's checksum was checked when the part came.
        for part in &mut parts {
            let is_known =
                |name: &str| self.checksums_of_store.iter().any(|known| name == format!("Checksum{known}"));
            part.checksums.retain(|(name, _)| is_known(name));
        }
        let is_gone = match self.parts(exchange, permit).await? {
            Parts::There(there) => {
                let sum = sum(&parts, &there)?;
                if let Err(error) = sizes::check_object(&self.body_bounds, permit.key(), sum) {
                    self.abort(exchange, permit).await;
                    return Err(error);
                }
                false
            }
            Parts::Gone => true,
            Parts::Refused(answer) => return Ok(*answer),
        };
        let document = Bytes::from(xml::complete(&parts));
        headers.set_content_length(document.len() as u64);
        let operation = Operation::CompleteMultipartUpload;
        let outbound = permit.outbound(headers);
        let body = StoreBody::whole(document);
        let answer = relay::forward(&self.store, exchange, operation, outbound, body).await?;
        if is_gone { self.completed_before(exchange, permit, answer).await } else { Ok(answer) }
    }

    /// The store's word on an upload of which it lists no parts; where it says that the upload was completed,
    /// its object has to be within the bounds.
    async fn completed_before(
        &self,
        exchange: &Exchange,
        permit: CompletePermit<'_>,
        answer: Answer,
    ) -> Result<Answer> {
        if !answer.is_success() {
            return Ok(answer);
        }
        let answer =
            answer.read_whole(COMPLETED_XML_BYTES_MAX, Pace::idle(self.store.idle_timeout())).await?;
        if answer.has_failed_late() {
            return Ok(answer);
        }
        let head = self.store.send(permit.head(), StoreBody::empty(), exchange.on_behalf()).await?;
        match head.status() {
            // Deleted since.
            StatusCode::NOT_FOUND => {}
            status if status.is_success() => {
                sizes::check_object(&self.body_bounds, permit.key(), sizes::of_answer(head.headers())?)?;
            }
            status => {
                let detail = format!("the HEAD of a completed upload answered {status}");
                return Err(Error::store_unavailable(detail));
            }
        }
        Ok(answer)
    }

    /// AbortMultipartUpload. An upload that is not there is what the client asks for: it may have been taken
    /// back already, by this client's lost request or by this server because of its size.
    pub(super) async fn abort_upload(
        &self,
        exchange: &Exchange,
        permit: ForwardPermit<'_>,
        headers: ForwardedHeaders,
    ) -> Result<Answer> {
        let (operation, outbound) = (Operation::AbortMultipartUpload, permit.outbound(headers));
        let answer = relay::forward(&self.store, exchange, operation, outbound, StoreBody::empty()).await?;
        // Any other 404 of a store has become an outage by now.
        Ok(match answer.status() {
            StatusCode::NOT_FOUND => Answer::whole(StatusCode::NO_CONTENT, "application/xml", ""),
            _ => answer,
        })
    }

    /// Every part that the store has of this upload.
    async fn parts(&self, exchange: &Exchange, permit: CompletePermit<'_>) -> Result<Parts> {
        let mut there = HashMap::new();
        let mut after = None;
        for _ in 0..PARTS_PAGES_MAX {
            let answer =
                self.store.send(permit.parts_page(after), StoreBody::empty(), exchange.on_behalf()).await?;
            if !answer.status().is_success() {
                let operation = Operation::CompleteMultipartUpload;
                let refused = relay::answer(&self.store, exchange, operation, answer).await?;
                // A store or a bucket that is not there has become an outage by now.
                return Ok(match refused.status() {
                    StatusCode::NOT_FOUND => Parts::Gone,
                    _ => Parts::Refused(Box::new(refused)),
                });
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
                None => return Ok(Parts::There(there)),
                // A marker that does not move on would be asked for for ever.
                Some(next) if after.is_some_and(|last| next <= last) => break,
                Some(next) => after = Some(next),
            }
        }
        Err(Error::store_unavailable("the list of parts did not come to an end"))
    }

    /// Takes an upload back that may never be completed; a failure only leaves its parts to the store's own
    /// clean-up.
    async fn abort(&self, exchange: &Exchange, permit: CompletePermit<'_>) {
        let sent = self.store.send(permit.abort(), StoreBody::empty(), exchange.on_behalf()).await;
        let key = exchange.record.key.as_deref();
        match sent.map(|answer| answer.status()) {
            Ok(status) if status.is_success() || status == StatusCode::NOT_FOUND => {}
            Ok(status) => {
                tracing::warn!(key, %status, "an upload outside the size limits could not be aborted");
            }
            Err(error) => {
                tracing::warn!(key, %error, "an upload outside the size limits could not be aborted");
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
                    "One or more of the specified parts could not be found.  The part may not have been \
                     uploaded, or the specified entity tag may not match the part's entity tag.",
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
