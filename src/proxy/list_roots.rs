//! A list above the roots, without a delimiter, by who may list all of them: each root is listed by its own
//! prefix, in order, and they are paged as one list. The empty prefix never goes to the store.
//!
//! The continuation token is the last key of the page, percent-encoded: roots lie apart, so a key says in
//! which of them the list goes on.

use super::{Proxy, list::KEYS_MAX, relay};
use crate::{
    body::{bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange},
    policy::RootsPermit,
    s3::{
        Operation, Request,
        listing::{CONTINUATION_TOKEN, START_AFTER},
        uri,
        xml::{self, Element},
    },
    store::StoreBody,
};

/// A page of 1000 keys of 1024 bytes, percent-encoded, with what stands beside each.
const PAGE_BYTES_MAX: usize = 8 << 20;

impl Proxy {
    pub(super) async fn list_roots(&self, exchange: &Exchange, permit: RootsPermit<'_>) -> Result<Answer> {
        let mut page = Page::asked_for(permit.request())?;
        for list in permit.lists() {
            let root = list.root();
            let goes_on_within = page.from.starts_with(root);
            // All of that root lies before.
            if !goes_on_within && page.from.as_str() > root {
                continue;
            }
            let left = page.keys_max.saturating_sub(page.entries.len());
            if left == 0 {
                page.is_truncated = page.keys_max > 0;
                break;
            }
            let after = goes_on_within.then_some(page.from.as_str());
            let response =
                self.store.send(list.page(after, left), StoreBody::empty(), exchange.on_behalf()).await?;
            if !response.status().is_success() {
                return relay::answer(&self.store, exchange, Operation::ListObjectsV2, response).await;
            }
            let pace = Pace::idle(self.store.idle_timeout());
            let body = collect_bounded(response.into_body(), PAGE_BYTES_MAX, pace)
                .await
                .map_err(|error| Error::store_unavailable(format!("a page of a list broke off: {error}")))?;
            page.take(&body).ok_or_else(|| Error::store_unavailable("a page of a list is not S3's"))?;
            if page.is_truncated {
                break;
            }
        }
        Ok(Answer::xml(page.to_xml(&self.site.bucket().name, permit.request())))
    }
}

/// One page over all roots.
struct Page {
    /// The key after which it begins; empty at the beginning.
    from: String,
    keys_max: usize,
    /// The decoded keys, each with the XML of what the store says beside it.
    entries: Vec<(String, String)>,
    is_truncated: bool,
}

impl Page {
    fn asked_for(request: &Request) -> Result<Self> {
        let given = |name| request.query.get(name).filter(|value| !value.is_empty());
        let v2 = request.operation == Operation::ListObjectsV2;
        let from = match given(CONTINUATION_TOKEN).filter(|_| v2) {
            Some(token) => uri::decode_path(token).map_err(|_| {
                Error::new(Code::InvalidArgument, "The continuation token provided is incorrect.")
            })?,
            None => given(if v2 { START_AFTER } else { "marker" }).unwrap_or_default().to_owned(),
        };
        let keys_max = given("max-keys").and_then(|number| number.parse().ok()).unwrap_or(KEYS_MAX);
        Ok(Self { from, keys_max: keys_max.min(KEYS_MAX), entries: Vec::new(), is_truncated: false })
    }

    /// Adds the store's page of one root; none where it is not one.
    fn take(&mut self, body: &[u8]) -> Option<()> {
        let root = Element::parse(body).ok().filter(|root| root.name == "ListBucketResult")?;
        let is_encoded = root.text_of("EncodingType").is_some_and(|text| text.trim() == "url");
        self.is_truncated = match root.text_of("IsTruncated").map(str::trim)? {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        let before = self.entries.len();
        for contents in root.children.iter().filter(|child| child.name == "Contents") {
            let key = contents.text_of("Key")?;
            let key = match is_encoded {
                // Some stores spell a space as a form does.
                true => uri::decode_path(&key.replace('+', " ")).ok()?,
                false => key.to_owned(),
            };
            let mut beside = String::new();
            for child in
                contents.children.iter().filter(|child| !matches!(child.name.as_str(), "Key" | "Owner"))
            {
                write(&mut beside, child);
            }
            self.entries.push((key, beside));
        }
        // A page that goes on and has nothing would be asked for for ever.
        (!self.is_truncated || self.entries.len() > before).then_some(())
    }

    fn to_xml(&self, bucket: &str, request: &Request) -> String {
        let query = &request.query;
        let v2 = request.operation == Operation::ListObjectsV2;
        let url_encoded = query.get("encoding-type") == Some("url");
        let name = |text: &str| match url_encoded {
            true => uri::encode_path(text),
            false => text.to_owned(),
        };
        let last = self.entries.last().map(|(key, _)| key).filter(|_| self.is_truncated);
        let mut head =
            vec![("Name", bucket.to_owned()), ("Prefix", name(query.get("prefix").unwrap_or_default()))];
        if v2 {
            head.extend(query.get(START_AFTER).map(|after| ("StartAfter", name(after))));
            head.extend(query.get(CONTINUATION_TOKEN).map(|token| ("ContinuationToken", token.to_owned())));
            head.push(("KeyCount", self.entries.len().to_string()));
            head.extend(last.map(|key| ("NextContinuationToken", uri::encode_component(key))));
        } else {
            head.push(("Marker", name(query.get("marker").unwrap_or_default())));
            head.extend(last.map(|key| ("NextMarker", name(key))));
        }
        head.push(("MaxKeys", self.keys_max.to_string()));
        if url_encoded {
            head.push(("EncodingType", "url".to_owned()));
        }
        head.push(("IsTruncated", self.is_truncated.to_string()));
        let mut document = format!("{}<ListBucketResult xmlns=\"{}\">", xml::DECLARATION, xml::NAMESPACE);
        for (element, text) in head {
            document.push_str(&format!("<{element}>{}</{element}>", xml::text(&text)));
        }
        for (key, beside) in &self.entries {
            let key = xml::text(&name(key));
            document.push_str(&format!("<Contents><Key>{key}</Key>{beside}</Contents>"));
        }
        document.push_str("</ListBucketResult>");
        document
    }
}

fn write(document: &mut String, element: &Element) {
    document.push_str(&format!("<{}>", element.name));
    match element.children.as_slice() {
        [] => document.push_str(&xml::text(&element.text)),
        children => children.iter().for_each(|child| write(document, child)),
    }
    document.push_str(&format!("</{}>", element.name));
}
