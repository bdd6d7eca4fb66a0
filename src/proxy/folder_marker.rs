//! PUT of a key that ends in `/`: folder markers are proven like any upload, answered, and not stored (P22).
//!
//! Which is which says the permit. What would be lost with a marker that is not stored is refused: content,
//! metadata, and conditions on what stands there.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Proxy,
    put::{SentBody, declared_bytes},
};
use crate::{
    body::{
        client_body::ClientBody,
        content_check::ExpectedDigests,
        plan::{Framing, Plan},
        upload::Upload,
        verifying::VerifyingBody,
    },
    error::{Code, Error, Reason, Result},
    exchange::{Answer, Exchange},
    policy::{FolderKey, FolderKeyPermit},
    s3::ForwardedHeaders,
};

/// The ETag of nothing: its MD5.
const ETAG_OF_NOTHING: HeaderValue = HeaderValue::from_static("\"d41d8cd98f00b204e9800998ecf8427e\"");

/// What the log says of such an answer.
const NOT_STORED: &str = "folder marker, not stored";

/// Conditions on what stands under the key.
const CONDITIONS: [header::HeaderName; 2] = [header::IF_MATCH, header::IF_NONE_MATCH];

impl Proxy {
    /// PutObject of a key that ends in `/`.
    pub(super) async fn put_folder_key(
        &self,
        exchange: &Exchange,
        permit: FolderKeyPermit<'_>,
        forwarded: ForwardedHeaders,
        sent: SentBody<'_>,
    ) -> Result<Answer> {
        let bytes = declared_bytes(&sent)?;
        match permit.with_body(bytes)? {
            FolderKey::Marker => self.answer_marker(sent).await,
            FolderKey::StoredMarker(permit) => self.upload(exchange, permit, forwarded, sent, bytes).await,
            FolderKey::Object(permit) => self.put(exchange, permit, forwarded, sent).await,
        }
    }

    /// Reads the body, which has to be empty and to be what its request promises.
    async fn answer_marker(&self, sent: SentBody<'_>) -> Result<Answer> {
        check_headers(sent.headers)?;
        let framing = Framing::of(sent.payload, sent.headers)?;
        // The store proves nothing that it does not get.
        let plan = Plan::new(framing, 0, ExpectedDigests::of(sent.payload, sent.headers)?);
        let body = VerifyingBody::new(ClientBody::Plain(sent.body), plan, self.pace);
        // One that is declared empty is read and verified here to its end.
        Upload::prepare(body).await.map_err(|error| match error.code {
            Code::EntityTooLarge => Error::because(
                Code::InvalidRequest,
                Reason::FolderMarkerNotEmpty,
                "the key ends in \"/\" and the body is declared to be empty, but it is \
                 not.",
            ),
            _ => error,
        })?;
        let answer = Answer::whole(StatusCode::OK, "application/xml", "");
        Ok(answer.header(header::ETAG, ETAG_OF_NOTHING).noted(NOT_STORED))
    }
}

/// Refuses what only a marker that is stored could keep to.
fn check_headers(headers: &HeaderMap) -> Result<()> {
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-meta-")) {
        return Err(Error::because(
            Code::InvalidRequest,
            Reason::FolderMarkerNotStored,
            "this server takes folder markers (0 bytes, a key that ends in \"/\") and \
             does not store them, so they have no metadata; leave out the x-amz-meta-* headers.",
        ));
    }
    match CONDITIONS.iter().find(|name| headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(Error::because(
            Code::NotImplemented,
            Reason::FolderMarkerNotStored,
            "this server takes folder markers (0 bytes, a key that ends in \"/\") and \
             does not store them, so it holds them to no conditions.",
        )
        .element("Header", name.as_str().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn p22_what_would_be_lost_with_a_marker_is_refused() {
        let check = |name: &'static str| {
            let header = (HeaderName::from_static(name), HeaderValue::from_static("*"));
            check_headers(&HeaderMap::from_iter([header])).map_err(|error| error.code)
        };
        assert_eq!(check("x-amz-meta-mtime"), Err(Code::InvalidRequest));
        assert_eq!(check("if-none-match"), Err(Code::NotImplemented));
        assert_eq!(check("if-match"), Err(Code::NotImplemented));
        assert_eq!(check("content-type"), Ok(()));
        assert_eq!(check("x-amz-storage-class"), Ok(()));
    }
}
