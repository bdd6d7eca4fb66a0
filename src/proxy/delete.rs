//! DeleteObjects: each key is judged by itself; what is refused never reaches the store, the rest does (P31).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use super::{Arrival, Gate, answer::Answer, put};
use crate::{
    auth::{Payload, sigv4::canonical::sha256_hex},
    body::{bounded::collect_bounded, content_check::check_whole, failure::too_slow, pace::Pace},
    error::{Code, Error, Result},
    exchange::AccessRecord,
    policy::Permit,
    s3::xml::{self, Delete},
    store::{Outbound, StoreBody},
    time::UnixTime,
};

/// 1000 keys of 1024 bytes, escaped; and 10,000 parts with their checksums.
const REQUEST_XML_BYTES_MAX: usize = 4 << 20;

/// Up to this size a body needs no turn: 400 parts, or as many keys as most clients send. What all connections
/// together can hold of such bodies is bounded by their number.
const SMALL_XML_BYTES_MAX: usize = 64 * 1024;

/// How long a large body waits for its turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a body may take, turn excluded: at the least rate of [`Pace`] alone 4 MiB would keep a turn for an hour.
const REQUEST_XML_TIME_MAX: Duration = Duration::from_secs(60);

/// The store's answer names each key once, with a code and a message.
const ANSWER_XML_BYTES_MAX: usize = 8 << 20;

impl Gate {
    /// Reads and proves a request body that is XML; of the large ones few at a time, for each is held as a whole.
    pub(super) async fn whole_body(
        &self,
        arrival: &mut Arrival,
        payload: &Payload,
        headers: &HeaderMap,
        record: &mut AccessRecord,
    ) -> Result<Bytes> {
        let declared_bytes = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|bytes| bytes.to_str().ok()?.parse::<usize>().ok())
            .unwrap_or(REQUEST_XML_BYTES_MAX);
        let (_one_of_few, bytes_max) = if declared_bytes <= SMALL_XML_BYTES_MAX {
            (None, SMALL_XML_BYTES_MAX)
        } else {
            let turn = tokio::time::timeout(TURN_WAIT_MAX, self.whole_bodies.acquire());
            let turn = turn.await.map_err(|_| {
                Error::new(
                    Code::SlowDown,
                    "Too many large request bodies are on their way in; please reduce your request rate.",
                )
            })?;
            (Some(turn.map_err(Error::internal)?), REQUEST_XML_BYTES_MAX)
        };
        let body = arrival.collect(bytes_max, self.pace);
        let body = tokio::time::timeout(REQUEST_XML_TIME_MAX, body).await.map_err(|_| too_slow())??;
        record.received_bytes = body.len() as u64;
        // The store gets another body than this: what was promised of this one is checked here.
        check_whole(payload, headers, &body)?;
        Ok(body)
    }

    pub(super) async fn delete_objects(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        mut headers: HeaderMap,
        body: &[u8],
        now: UnixTime,
    ) -> Result<Answer> {
        let mut delete = Delete::parse(body)?;
        let mut refused = String::new();
        delete.objects.retain(|object| match permit.check_delete(&object.key) {
            Ok(()) => true,
            Err(error) => {
                refused.push_str(&xml::delete_error(object, &error));
                false
            }
        });
        if delete.objects.is_empty() {
            return Ok(Answer::xml(xml::delete_result(&refused)));
        }
        let document = Bytes::from(delete.to_xml());
        // Checksums of the client's body are none of this one's.
        let names: Vec<_> =
            headers.keys().filter(|name| name.as_str().contains("checksum")).cloned().collect();
        for name in names {
            headers.remove(name);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(document.len()));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        headers.insert("content-md5", put::content_md5(&document)?);
        let outbound = Outbound {
            method: Method::POST,
            key: None,
            query: permit.request().query.clone().without(|name| name != "delete"),
            headers,
            payload_hash: sha256_hex(&document),
            body: StoreBody::whole(document),
        };
        let answer = self.store.send(outbound, now).await?;
        if refused.is_empty() || !answer.status().is_success() {
            return self.answer(head, permit, answer).await;
        }
        let document =
            collect_bounded(answer.into_body(), ANSWER_XML_BYTES_MAX, Pace::idle(self.store.idle_timeout()))
                .await
                .map_err(|error| Error::store_unavailable(format!("a DeleteResult: {error}")))?;
        let document = merged(&document, &refused)
            .ok_or_else(|| Error::store_unavailable("a DeleteResult that cannot be read"))?;
        Ok(Answer::xml(document))
    }
}

/// The store's answer, with the refusals of this server among it.
fn merged(document: &[u8], refused: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let root = xml::Element::parse(document).ok().filter(|root| root.name == "DeleteResult")?;
    if root.children.is_empty() && !text.contains("</") {
        // `<DeleteResult/>`: a quiet success of the rest.
        return Some(xml::delete_result(refused));
    }
    let end = text.rfind("</")?;
    let (before, after) = text.split_at_checked(end)?;
    Some(format!("{before}{refused}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p31_refusals_join_the_stores_own_answer() {
        let refused = "<Error><Key>b</Key></Error>";
        let store = "<?xml version=\"1.0\"?>\n<DeleteResult xmlns=\"u\"><Deleted><Key>a</Key></Deleted></DeleteResult>";
        let both = merged(store.as_bytes(), refused).unwrap();
        assert_eq!(both, store.replace("</DeleteResult>", "<Error><Key>b</Key></Error></DeleteResult>"));
        assert!(merged(b"<DeleteResult/>", refused).unwrap().contains(refused));
        assert!(
            merged(b"<DeleteResult></DeleteResult>", refused).unwrap().ends_with("</Error></DeleteResult>")
        );
        assert_eq!(merged(b"<Error/>", refused), None);
        assert_eq!(merged(b"not xml", refused), None);
    }
}
