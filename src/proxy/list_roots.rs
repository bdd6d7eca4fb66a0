//! A list above the roots, without a delimiter, by who may list all of them: each root is listed by its own
//! prefix, in order, and they are paged as one list. The empty prefix never goes to the store.
//!
//! The continuation token is the last key of the page, percent-encoded: roots lie apart, so a key says in
//! which of them the list goes on. A store may answer with a page that has no key and goes on (as behind many
//! deleted keys): its own token is followed then, up to a bound.

use super::{
    Proxy,
    list::{is_url_encoded, keys_max},
    relay,
};
use crate::{
    body::{bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange},
    policy::{PageStart, RootsPermit},
    s3::{
        Operation, Request,
        listing::{CONTINUATION_TOKEN, START_AFTER, marker},
        uri,
        xml::{self, Element},
    },
    store::StoreBody,
};

/// A page of 1000 keys of 1024 bytes, percent-encoded, with what stands beside each.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Pages without a key that are followed for one request.
const EMPTY_PAGES_MAX: usize = 32;

impl Proxy {
    pub(super) async fn list_roots(&self, exchange: &Exchange, permit: RootsPermit<'_>) -> Result<Answer> {
        let mut page = Page::asked_for(permit.request())?;
        let mut empty_pages = 0;
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
            let mut start = match goes_on_within {
                true => PageStart::After(page.from.clone()),
                false => PageStart::First,
            };
            loop {
                let response = self
                    .store
                    .send(list.page(&start, left), StoreBody::empty(), exchange.on_behalf())
                    .await?;
                exchange.store_answered();
                if !response.status().is_success() {
                    return relay::answer(&self.store, exchange, Operation::ListObjectsV2, response).await;
                }
                let pace = Pace::idle(self.store.idle_timeout());
                let body =
                    collect_bounded(response.into_body(), PAGE_BYTES_MAX, pace).await.map_err(|error| {
                        Error::store_unavailable(format!("a page of a list broke off: {error}"))
                    })?;
                let taken = page
                    .take(&body)
                    .ok_or_else(|| Error::store_unavailable("a page of a list is not S3's"))?;
                let Taken::GoesOn(token) = taken else { break };
                empty_pages += 1;
                let next = PageStart::Token(token);
                if next == start || empty_pages > EMPTY_PAGES_MAX {
                    return Err(Error::store_unavailable("a list goes on and comes to no key"));
                }
                start = next;
            }
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
    /// Whether names are percent-encoded on it.
    is_url_encoded: bool,
    /// The decoded keys, each with the XML of what the store says beside it.
    entries: Vec<(String, String)>,
    is_truncated: bool,
}

/// What a page of the store brought.
enum Taken {
    /// Keys, or the end of its root.
    Keys,
    /// Nothing yet: the root goes on behind this token.
    GoesOn(String),
}

impl Page {
    fn asked_for(request: &Request) -> Result<Self> {
        let given = |name| request.query.get(name).filter(|value| !value.is_empty());
        let v2 = request.operation == Operation::ListObjectsV2;
        let from = match given(CONTINUATION_TOKEN).filter(|_| v2) {
            Some(token) => uri::decode_path(token).map_err(|_| {
                Error::new(Code::InvalidArgument, "The continuation token provided is incorrect.")
            })?,
            None => marker(&request.query, if v2 { START_AFTER } else { "marker" }).into_owned(),
        };
        Ok(Self {
            from,
            keys_max: keys_max(&request.query)?,
            is_url_encoded: is_url_encoded(&request.query)?,
            entries: Vec::new(),
            is_truncated: false,
        })
    }

    /// Adds the store's page of one root; none where it is not one.
    fn take(&mut self, body: &[u8]) -> Option<Taken> {
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
        if !self.is_truncated || self.entries.len() > before {
            return Some(Taken::Keys);
        }
        let token = root.text_of("NextContinuationToken").filter(|token| !token.is_empty())?;
        Some(Taken::GoesOn(token.to_owned()))
    }

    fn to_xml(&self, bucket: &str, request: &Request) -> String {
        let query = &request.query;
        let v2 = request.operation == Operation::ListObjectsV2;
        let name = |text: &str| match self.is_url_encoded {
            true => uri::encode_path(text),
            false => text.to_owned(),
        };
        let last = self.entries.last().map(|(key, _)| key).filter(|_| self.is_truncated);
        let mut head =
            vec![("Name", bucket.to_owned()), ("Prefix", name(query.get("prefix").unwrap_or_default()))];
        if v2 {
            let after = query.get(START_AFTER).map(|_| marker(query, START_AFTER));
            head.extend(after.map(|after| ("StartAfter", name(&after))));
            head.extend(query.get(CONTINUATION_TOKEN).map(|token| ("ContinuationToken", token.to_owned())));
            head.push(("KeyCount", self.entries.len().to_string()));
            head.extend(last.map(|key| ("NextContinuationToken", uri::encode_component(key))));
        } else {
            head.push(("Marker", name(&marker(query, "marker"))));
            head.extend(last.map(|key| ("NextMarker", name(key))));
        }
        head.push(("MaxKeys", self.keys_max.to_string()));
        if self.is_url_encoded {
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
