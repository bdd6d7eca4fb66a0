//! DeleteObjects: each key is judged by itself; what is refused never reaches the store, the rest does (P31).

use bytes::Bytes;

use super::{Proxy, relay};
use crate::{
    body::{bounded::collect_bounded, digest::RunningDigest, pace::Pace},
    error::{Error, Result},
    exchange::{Answer, Exchange},
    policy::DeletePermit,
    s3::{
        ForwardedHeaders, Operation,
        xml::{self, Delete},
    },
    store::StoreBody,
};

/// The store's answer names each key once, with a code and a message.
const ANSWER_XML_BYTES_MAX: usize = 8 << 20;

impl Proxy {
    pub(super) async fn delete_objects(
        &self,
        exchange: &Exchange,
        permit: DeletePermit<'_>,
        mut headers: ForwardedHeaders,
        delete: Delete,
    ) -> Result<Answer> {
        let (delete, refused) = permit.divide(delete);
        let refused: String =
            refused.iter().map(|(object, error)| xml::delete_error(object, error)).collect();
        if delete.objects.is_empty() {
            return Ok(Answer::xml(xml::delete_result(&refused)));
        }
        let document = Bytes::from(delete.to_xml());
        headers.remove_checksums();
        headers.set_content_length(document.len() as u64);
        headers.set_content_type_xml();
        // Old stores insist on it.
        let mut md5 = RunningDigest::md5();
        md5.update(&document);
        headers.set_content_md5(&md5.finish())?;
        let sent =
            self.store.send(permit.outbound(headers), StoreBody::whole(document), exchange.on_behalf());
        let answer = sent.await?;
        if refused.is_empty() || !answer.status().is_success() {
            return relay::answer(&self.store, exchange, Operation::DeleteObjects, answer).await;
        }
        exchange.store_answered();
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
        let store = "<?xml version=\"1.0\"?>\n<DeleteResult \
         xmlns=\"u\"><Deleted><Key>a</Key></Deleted></DeleteResult>";
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
