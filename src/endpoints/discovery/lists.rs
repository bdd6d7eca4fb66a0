//! Lists of the store, page by page: for a caller who may have them, so many at one time, whoever asks.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{HeaderMap, Method};
use tokio::sync::Semaphore;

use crate::{
    access::Access,
    body::{bounded::collect_bounded, pace::Pace},
    error::{Code, Error, Reason, Result},
    exchange::OnBehalf,
    policy::{Caller, Outbound, Permit, Policy},
    s3::{
        Addressing, Request,
        uri::{Query, decode_path},
        xml::Element,
    },
    site::Site,
    store::{Store, StoreBody},
};

/// Lists under way at one time.
pub(super) const LISTS_AT_ONCE: usize = 16;

/// Pages of one list: a million folders side by side.
const PAGES_MAX: usize = 1000;

/// One page: 1000 keys of 1024 bytes, encoded threefold, and what frames them.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// Who asks for lists, and when.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) caller: &'a Caller,
    pub(super) on_behalf: OnBehalf,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// The common prefixes up to the next `/`.
    Prefixes,
    /// Every key.
    Keys,
}

/// How much of a list a miner is granted: names, and pages beside those counted already.
pub(super) struct Share<'a> {
    pub(super) names_max: usize,
    pub(super) pages: &'a AtomicUsize,
    pub(super) pages_max: usize,
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Common prefixes or keys, in the order of their bytes.
    pub(super) names: Vec<String>,
    /// The token of the next page.
    pub(super) next: Option<String>,
}

/// Lists of one store.
pub(super) struct Lists {
    access: Arc<Access>,
    site: Arc<Site>,
    store: Arc<Store>,
    slots: Semaphore,
}

impl Lists {
    pub(super) fn new(access: Arc<Access>, site: Arc<Site>, store: Arc<Store>) -> Self {
        Self { access, site, store, slots: Semaphore::new(LISTS_AT_ONCE) }
    }

    pub(super) fn policy(&self) -> &Policy {
        self.access.policy()
    }

    /// Checks that `caller` may list all that lies under `prefix`.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn check(&self, caller: &Caller, prefix: &str) -> Result<()> {
        self.permitted(caller, prefix, "", Listed::Prefixes).map(drop)
    }

    /// Leave to list the store under `prefix`, behind `after`. A list that is answered here, or that is of
    /// another prefix, is refused.
    fn permitted<'a>(
        &'a self,
        caller: &'a Caller,
        prefix: &str,
        after: &str,
        listed: Listed,
    ) -> Result<Permit<'a>> {
        let permit = self.access.policy().authorise(caller, self.request(prefix, after, listed)?)?;
        if permit.as_list().is_some_and(|list| list.prefix() == prefix) {
            return Ok(permit);
        }
        Err(Error::because(
            Code::AccessDenied,
            Reason::FolderDenied,
            format!("a {} may not list all that lies under {prefix} here.", caller.role.as_str()),
        ))
    }

    fn request(&self, prefix: &str, after: &str, listed: Listed) -> Result<Request> {
        let mut query = Query::default();
        query.push("list-type", "2")?;
        query.push("prefix", prefix)?;
        match listed {
            Listed::Prefixes => query.push("delimiter", "/")?,
            Listed::Keys => {}
        }
        if !after.is_empty() {
            query.push("start-after", after)?;
        }
        query.push("encoding-type", "url")?;
        let path = format!("/{}", self.site.bucket().name);
        Request::parse(&Method::GET, Addressing::Path, &path, query, &HeaderMap::new())
    }

    /// The first page of what lies under `prefix` and behind `after`.
    pub(super) async fn page(
        &self,
        asker: Asker<'_>,
        prefix: &str,
        after: &str,
        listed: Listed,
    ) -> Result<Page> {
        let permit = self.permitted(asker.caller, prefix, after, listed)?;
        let list = permit.as_list().ok_or_else(|| Error::internal("a permitted list is none"))?;
        self.fetch(list.page(None)?, listed, asker.on_behalf).await
    }

    /// The common prefixes under a prefix, page by page, and whether these are all. Where there is a share of
    /// them, they may be fewer; else it is all or an error.
    pub(super) async fn common_prefixes(
        &self,
        asker: Asker<'_>,
        prefix: &str,
        share: Option<Share<'_>>,
    ) -> Result<(Vec<String>, bool)> {
        let permit = self.permitted(asker.caller, prefix, "", Listed::Prefixes)?;
        let list = permit.as_list().ok_or_else(|| Error::internal("a permitted list is none"))?;
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            if let Some(share) = &share {
                let is_enough = names.len() >= share.names_max;
                if is_enough || share.pages.fetch_add(1, Ordering::Relaxed) >= share.pages_max {
                    return Ok((names, false));
                }
            }
            let page = self.fetch(list.page(token.as_deref())?, Listed::Prefixes, asker.on_behalf).await?;
            names.extend(page.names);
            match page.next {
                None => return Ok((names, true)),
                next if next == token => break,
                next => token = next,
            }
        }
        Err(endless())
    }

    async fn fetch(&self, outbound: Outbound, listed: Listed, on_behalf: OnBehalf) -> Result<Page> {
        let _slot = self.slots.acquire().await.map_err(Error::internal)?;
        let response = self.store.send(outbound, StoreBody::empty(), on_behalf).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(Error::store_unavailable(format!("the store answered {status} to a list")));
        }
        let pace = Pace::idle(self.store.idle_timeout());
        let body = collect_bounded(response.into_body(), PAGE_BYTES_MAX, pace)
            .await
            .map_err(|error| Error::store_unavailable(format!("a page of a list broke off: {error}")))?;
        Page::parse(&body, listed).ok_or_else(|| Error::store_unavailable("a page of a list is not S3's"))
    }
}

/// The store gives page after page and comes to no end.
pub(super) fn endless() -> Error {
    Error::store_unavailable("a list of the store did not come to its end")
}

impl Page {
    /// Reads a page; none where it is not one, or says that it goes on and not where.
    fn parse(body: &[u8], listed: Listed) -> Option<Self> {
        let root = Element::parse(body).ok().filter(|root| root.name == "ListBucketResult")?;
        let is_encoded = root.text_of("EncodingType").is_some_and(|text| text.trim() == "url");
        let (entry, name) = match listed {
            Listed::Prefixes => ("CommonPrefixes", "Prefix"),
            Listed::Keys => ("Contents", "Key"),
        };
        let entries = root.children.iter().filter(|child| child.name == entry);
        let names = entries
            .map(|entry| {
                let name = entry.text_of(name)?;
                if is_encoded { decode_path(name).ok() } else { Some(name.to_owned()) }
            })
            .collect::<Option<Vec<_>>>()?;
        let next = match root.text_of("IsTruncated").map(str::trim)? {
            "false" => None,
            "true" => {
                Some(root.text_of("NextContinuationToken").filter(|token| !token.is_empty())?.to_owned())
            }
            _ => return None,
        };
        Some(Self { names, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str, listed: Listed) -> Option<Page> {
        Page::parse(format!("<ListBucketResult>{inner}</ListBucketResult>").as_bytes(), listed)
    }

    #[test]
    fn a_page_says_all_or_is_none() {
        let prefix = "<CommonPrefixes><Prefix>a%2Fb/</Prefix></CommonPrefixes>\
                      <Contents><Key>a%2Fc</Key><Size>1</Size></Contents>";
        let whole = format!("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{prefix}");
        let names = |name: &str| vec![name.to_owned()];
        let read = page(&whole, Listed::Prefixes);
        assert_eq!(read, Some(Page { names: names("a/b/"), next: None }));
        assert_eq!(page(&whole, Listed::Keys), Some(Page { names: names("a/c"), next: None }));
        let read = page(
            &format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>{prefix}"
            ),
            Listed::Prefixes,
        );
        assert_eq!(read, Some(Page { names: names("a%2Fb/"), next: Some("t".to_owned()) }));
        for inner in [
            "",
            "<IsTruncated>true</IsTruncated>",
            "<IsTruncated>maybe</IsTruncated>",
            "<IsTruncated>false</IsTruncated><CommonPrefixes/>",
        ] {
            assert_eq!(page(inner, Listed::Prefixes), None, "{inner}");
        }
        assert_eq!(page("<IsTruncated>false</IsTruncated><Contents/>", Listed::Keys), None);
        assert_eq!(Page::parse(b"<Error/>", Listed::Prefixes), None);
    }
}
