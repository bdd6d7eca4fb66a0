//! Which miners, and which of their job folders, there are: discovered from the store page by page, joined with the
//! registry, kept for seconds.
//!
//! Invariants: what is listed is what a validator's permit allows; a list that could not be completed is an error and
//! never a short list; one discovery runs at a time, whoever asks.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, Method};

use crate::{
    auth::UnixTime,
    body::{bounded::collect_bounded, pace::Pace},
    chain::Snapshot,
    error::{Code, Error, Result},
    policy::{Bound, Caller, Listing, Permit, Template},
    proxy::Gate,
    s3::{
        Addressing, Request,
        uri::{Query, decode_path},
        xml::Element,
    },
    store::{Outbound, StoreBody},
};

/// Lists under way at one time.
const LISTS_AT_ONCE: usize = 16;

/// Pages of one list: a million folders side by side.
const PAGES_MAX: usize = 1000;

/// Folders of one discovery; beyond that an operator has another layout in mind.
const FOLDERS_MAX: usize = 1_000_000;

/// One page: 1000 prefixes of 1024 bytes, encoded threefold, and what frames them.
const PAGE_BYTES_MAX: usize = 8 << 20;

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A folder that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    /// With its slash.
    pub(crate) prefix: String,
    /// SS58 of the coldkey or hotkey that names it.
    pub(crate) miner: String,
    /// The values of its variables, such as the source.
    pub(crate) values: Vec<String>,
}

/// How deep is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The folders of miners.
    Miners,
    /// And what the templates have below them.
    Whole,
}

type Kept = tokio::sync::Mutex<Option<(Instant, Arc<Vec<Folder>>)>>;

/// The lists of the last seconds.
#[derive(Debug, Default)]
pub struct Discovery {
    miners: Kept,
    whole: Kept,
}

/// A path that may become a folder.
#[derive(Debug, Clone, Default)]
struct Path {
    prefix: String,
    miner: String,
    values: Vec<String>,
}

impl Path {
    fn on(&self, text: &str, bound: Bound, registered: &BTreeMap<String, ()>) -> Option<Self> {
        let mut next = Self { prefix: format!("{}{text}/", self.prefix), ..self.clone() };
        match bound {
            Bound::Literal => {}
            Bound::Hotkey(account) | Bound::Coldkey(account) => {
                next.miner = account.to_ss58();
                if !registered.contains_key(&next.miner) {
                    return None;
                }
            }
            Bound::Named(value) => next.values.push(value),
        }
        Some(next)
    }
}

impl Gate {
    /// The folders of all registered miners that have some; for `caller`, who must be allowed to list them.
    pub(super) async fn discover(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        depth: Depth,
        now: UnixTime,
    ) -> Result<Arc<Vec<Folder>>> {
        // Kept or not: the one who asks has to be allowed the lists.
        for root in self.policy().roots() {
            self.permitted_list(caller, root)?;
        }
        let settings = self.endpoints();
        let kept = match depth {
            Depth::Miners => &self.discovery().miners,
            Depth::Whole => &self.discovery().whole,
        };
        let within = Duration::from_secs(settings.discovery_seconds_max);
        let late =
            || Error::store_unavailable("a discovery took longer than endpoints.discovery_seconds_max");
        tokio::time::timeout(within, async {
            let mut kept = kept.lock().await;
            if let Some((at, folders)) = kept.as_ref()
                && at.elapsed() < Duration::from_secs(settings.discovery_cache_seconds)
            {
                return Ok(Arc::clone(folders));
            }
            let folders = Arc::new(self.discover_anew(caller, snapshot, depth, now).await?);
            *kept = Some((Instant::now(), Arc::clone(&folders)));
            Ok(folders)
        })
        .await
        .map_err(|_| late())?
    }

    async fn discover_anew(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        depth: Depth,
        now: UnixTime,
    ) -> Result<Vec<Folder>> {
        let mut registered = BTreeMap::new();
        for neuron in snapshot.neurons() {
            registered.insert(neuron.owner.hotkey().to_owned(), ());
            registered.insert(neuron.owner.coldkey().to_owned(), ());
        }
        let mut folders = Vec::new();
        for template in self.policy().templates() {
            let levels = match depth {
                Depth::Miners => template.owned_depth(),
                Depth::Whole => template.depth(),
            };
            let mut paths = vec![Path::default()];
            for level in 0..levels {
                paths = self.descend(caller, template, level, paths, &registered, now).await?;
            }
            let found = paths.into_iter().map(|path| Folder {
                prefix: path.prefix,
                miner: path.miner,
                values: path.values,
            });
            folders.extend(found);
        }
        Ok(folders)
    }

    /// One level further down, by the template where it says all, else by the store.
    async fn descend(
        &self,
        caller: &Caller,
        template: &Template,
        level: usize,
        paths: Vec<Path>,
        registered: &BTreeMap<String, ()>,
        now: UnixTime,
    ) -> Result<Vec<Path>> {
        if let Some(known) = template.known(level) {
            let on = |path: &Path| -> Vec<Path> {
                known.iter().filter_map(|(text, bound)| path.on(text, bound.clone(), registered)).collect()
            };
            return Ok(paths.iter().flat_map(on).collect());
        }
        let lists = paths.into_iter().map(|path| async move {
            let prefixes = self.common_prefixes(caller, &path.prefix, now).await?;
            let on = |prefix: &String| {
                let text = prefix.strip_prefix(path.prefix.as_str())?.strip_suffix('/')?;
                path.on(text, template.read(level, text)?, registered)
            };
            Ok::<_, Error>(prefixes.iter().filter_map(on).collect::<Vec<_>>())
        });
        let mut lists = futures_util::stream::iter(lists).buffered(LISTS_AT_ONCE);
        let mut found = Vec::new();
        while let Some(list) = lists.try_next().await? {
            found.extend(list);
            if found.len() > FOLDERS_MAX {
                return Err(Error::store_unavailable("a discovery found more than 1000000 folders"));
            }
        }
        Ok(found)
    }

    /// A list that the store may be asked for: what is answered here, or of another prefix, is not this one.
    fn permitted_list<'a>(&'a self, caller: &'a Caller, prefix: &str) -> Result<Permit<'a>> {
        let permit = self.policy().authorise(caller, self.list_request(prefix)?)?;
        match permit.listing() {
            Some(Listing::Forward(forwarded)) if forwarded == prefix => Ok(permit),
            _ => Err(Error::new(
                Code::AccessDenied,
                format!(
                    "FolderDenied: a {} may not list all that lies under {prefix} here.",
                    caller.role.as_str()
                ),
            )),
        }
    }

    fn list_request(&self, prefix: &str) -> Result<Request> {
        let mut query = Query::default();
        query.push("list-type", "2")?;
        query.push("prefix", prefix)?;
        query.push("delimiter", "/")?;
        query.push("encoding-type", "url")?;
        let path = format!("/{}", self.bucket().name);
        Request::parse(&Method::GET, Addressing::Path, &path, query, &HeaderMap::new())
    }

    /// All common prefixes under a prefix, page by page.
    async fn common_prefixes(&self, caller: &Caller, prefix: &str, now: UnixTime) -> Result<Vec<String>> {
        let permit = self.permitted_list(caller, prefix)?;
        let mut prefixes = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = permit.request().query.clone();
            if let Some(token) = &token {
                query.push("continuation-token", token.as_str())?;
            }
            let page = self.page(query, now).await?;
            prefixes.extend(page.prefixes);
            match page.next {
                None => return Ok(prefixes),
                next if next == token => break,
                next => token = next,
            }
        }
        Err(Error::store_unavailable("a list of the store did not come to its end"))
    }

    async fn page(&self, query: Query, now: UnixTime) -> Result<Page> {
        let outbound = Outbound {
            method: Method::GET,
            key: None,
            query,
            headers: HeaderMap::new(),
            payload_hash: EMPTY_SHA256.to_owned(),
            body: StoreBody::empty(),
        };
        let response = self.store().send(outbound, now).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(Error::store_unavailable(format!("the store answered {status} to a list")));
        }
        let pace = Pace::idle(self.store().idle_timeout());
        let body = collect_bounded(response.into_body(), PAGE_BYTES_MAX, pace)
            .await
            .map_err(|error| Error::store_unavailable(format!("a page of a list broke off: {error}")))?;
        Page::parse(&body).ok_or_else(|| Error::store_unavailable("a page of a list is not S3's"))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Page {
    prefixes: Vec<String>,
    next: Option<String>,
}

impl Page {
    /// Reads a page; none where it is not one, or says that it goes on and not where.
    fn parse(body: &[u8]) -> Option<Self> {
        let root = Element::parse(body).ok().filter(|root| root.name == "ListBucketResult")?;
        let is_encoded = root.text_of("EncodingType").is_some_and(|text| text.trim() == "url");
        let common = root.children.iter().filter(|child| child.name == "CommonPrefixes");
        let prefixes = common
            .map(|common| {
                let prefix = common.text_of("Prefix")?;
                if is_encoded { decode_path(prefix).ok() } else { Some(prefix.to_owned()) }
            })
            .collect::<Option<Vec<_>>>()?;
        let next = match root.text_of("IsTruncated").map(str::trim)? {
            "false" => None,
            "true" => {
                Some(root.text_of("NextContinuationToken").filter(|token| !token.is_empty())?.to_owned())
            }
            _ => return None,
        };
        Some(Self { prefixes, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Option<Page> {
        Page::parse(format!("<ListBucketResult>{inner}</ListBucketResult>").as_bytes())
    }

    #[test]
    fn a_page_says_all_or_is_none() {
        let prefix = "<CommonPrefixes><Prefix>a%2Fb/</Prefix></CommonPrefixes>";
        let read = page(&format!("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{prefix}"));
        assert_eq!(read, Some(Page { prefixes: vec!["a/b/".to_owned()], next: None }));
        let read = page(&format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>{prefix}"
        ));
        assert_eq!(read, Some(Page { prefixes: vec!["a%2Fb/".to_owned()], next: Some("t".to_owned()) }));
        for inner in [
            "",
            "<IsTruncated>true</IsTruncated>",
            "<IsTruncated>maybe</IsTruncated>",
            "<IsTruncated>false</IsTruncated><CommonPrefixes/>",
        ] {
            assert_eq!(page(inner), None, "{inner}");
        }
        assert_eq!(Page::parse(b"<Error/>"), None);
    }
}
