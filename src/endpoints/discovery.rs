//! Which miners, and which of their job folders, there are: discovered from the store page by page, joined
//! with the registry, kept for seconds.
//!
//! Invariants: what is listed is what a validator's permit allows; a list that could not be completed is an
//! error and never a short list, save below a miner's folder, where each miner has its share and what is left
//! out is told; one discovery runs at a time, whoever asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, Method};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    access::Access,
    body::{bounded::collect_bounded, pace::Pace},
    chain::Snapshot,
    config,
    error::{Code, Error, Result},
    exchange::OnBehalf,
    policy::{Bound, Caller, Outbound, Permit, Template},
    s3::{
        Addressing, Request,
        uri::{Query, decode_path},
        xml::Element,
    },
    site::Site,
    store::{Store, StoreBody},
    time::UnixTime,
};

/// Lists under way at one time.
const LISTS_AT_ONCE: usize = 16;

/// Pages of one list: a million folders side by side.
const PAGES_MAX: usize = 1000;

/// Folders of one discovery; beyond that an operator has another layout in mind.
const FOLDERS_MAX: usize = 1_000_000;

/// Folders of one miner, who makes as many as it likes: its excess must not cost the others the list. Years
/// of jobs by the hour fit.
const FOLDERS_PER_MINER_MAX: usize = 10_000;

/// Pages read below one miner's folders in one discovery: ten make the folders above; a deeper layout takes
/// one for each folder.
const PAGES_PER_MINER_MAX: usize = 1000;

/// Answers of all folders built at one time: each may hold a URL for each of [`FOLDERS_MAX`].
const ANSWERS_AT_ONCE: usize = 2;

/// One page: 1000 prefixes of 1024 bytes, encoded threefold, and what frames them.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// A folder that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// With its slash.
    pub(super) prefix: String,
    /// SS58 of the coldkey or hotkey that names it.
    pub(super) miner: String,
    /// The values of its variables, such as the source.
    pub(super) values: Vec<String>,
    /// Which of the templates it is of.
    pub(super) template: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) folders: Vec<Folder>,
    /// Folders of miners below which not all was taken, with their miners.
    pub(super) truncated: BTreeMap<String, String>,
}

/// How deep is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The folders of miners.
    Miners,
    /// And what the templates have below them.
    Whole,
}

/// A failure is kept as well: asking again at once must not walk the store anew.
type Kept = tokio::sync::Mutex<Option<(Instant, Result<Arc<Found>>)>>;

/// Finds the folders of miners at the store, and keeps the lists of the last seconds.
pub(super) struct Discovery {
    access: Arc<Access>,
    site: Arc<Site>,
    store: Arc<Store>,
    cache: Duration,
    time_max: Duration,
    miners: Kept,
    whole: Kept,
    /// For building an answer of all folders.
    answers: Semaphore,
}

/// The registered accounts, with the pages that were read below their folders.
type Registered = BTreeMap<String, AtomicUsize>;

/// A path that may become a folder.
#[derive(Debug, Clone, Default)]
struct Path {
    prefix: String,
    miner: String,
    values: Vec<String>,
}

impl Path {
    fn on(&self, text: &str, bound: Bound, registered: &Registered) -> Option<Self> {
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

/// Paths below the folders of miners, so many of each miner.
struct Shares<'a> {
    paths: Vec<Path>,
    of: BTreeMap<String, usize>,
    miners: usize,
    each: usize,
    owned_depth: usize,
    truncated: &'a mut BTreeMap<String, String>,
}

impl Shares<'_> {
    fn take(&mut self, path: Path) {
        let of = self.of.entry(path.miner.clone()).or_default();
        if *of >= self.each {
            leave(self.truncated, &path, self.owned_depth);
            return;
        }
        *of = of.saturating_add(1);
        self.paths.push(path);
        if self.paths.len() > FOLDERS_MAX {
            // Many miners have many: equal shares, which fit.
            self.each = FOLDERS_MAX.checked_div(self.miners).unwrap_or(FOLDERS_MAX).min(self.each);
            self.of.clear();
            for path in std::mem::take(&mut self.paths) {
                self.take(path);
            }
        }
    }
}

/// Remembers that not all was taken below the miner's folder that `path` lies in.
fn leave(truncated: &mut BTreeMap<String, String>, path: &Path, owned_depth: usize) {
    let folder: String = path.prefix.split_inclusive('/').take(owned_depth).collect();
    truncated.entry(folder).or_insert_with(|| path.miner.clone());
}

impl Discovery {
    pub(super) fn new(
        access: Arc<Access>,
        site: Arc<Site>,
        store: Arc<Store>,
        settings: &config::Endpoints,
    ) -> Self {
        Self {
            access,
            site,
            store,
            cache: Duration::from_secs(settings.discovery_cache_seconds),
            time_max: Duration::from_secs(settings.discovery_seconds_max),
            miners: Kept::default(),
            whole: Kept::default(),
            answers: Semaphore::new(ANSWERS_AT_ONCE),
        }
    }

    /// A turn to build an answer of all folders; none where others take too long.
    pub(super) async fn turn_to_answer(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(self.time_max, self.answers.acquire()).await.ok()?.ok()
    }

    /// The folders of all registered miners that have some; for `caller`, who must be allowed to list them.
    pub(super) async fn folders(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        depth: Depth,
        now: UnixTime,
    ) -> Result<Arc<Found>> {
        // Kept or not: the one who asks has to be allowed the lists.
        for root in self.access.policy().roots() {
            self.permitted_list(caller, root)?;
        }
        let kept = match depth {
            Depth::Miners => &self.miners,
            Depth::Whole => &self.whole,
        };
        let late =
            || Error::store_unavailable("a discovery took longer than endpoints.discovery_seconds_max");
        let mut kept = tokio::time::timeout(self.time_max, kept.lock()).await.map_err(|_| late())?;
        if let Some((at, result)) = kept.as_ref()
            && at.elapsed() < self.cache
        {
            return result.clone();
        }
        let walk = self.discover(caller, snapshot, depth, now);
        let result = match tokio::time::timeout(self.time_max, walk).await {
            Ok(result) => result.map(Arc::new),
            Err(_) => Err(late()),
        };
        // What one caller may not is no answer to the next.
        let is_callers = result.as_ref().is_err_and(|error| error.code == Code::AccessDenied);
        *kept = (!is_callers).then(|| (Instant::now(), result.clone()));
        result
    }

    async fn discover(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        depth: Depth,
        now: UnixTime,
    ) -> Result<Found> {
        let mut registered = Registered::new();
        for neuron in snapshot.neurons() {
            registered.insert(neuron.owner.hotkey().to_owned(), AtomicUsize::new(0));
            registered.insert(neuron.owner.coldkey().to_owned(), AtomicUsize::new(0));
        }
        let mut all = Found::default();
        for (index, template) in self.access.policy().templates().iter().enumerate() {
            let levels = match depth {
                Depth::Miners => template.owned_depth(),
                Depth::Whole => template.depth(),
            };
            let mut paths = vec![Path::default()];
            for level in 0..levels {
                paths = if level < template.owned_depth() {
                    self.descend(caller, template, level, paths, &registered, now).await?
                } else {
                    let truncated = &mut all.truncated;
                    self.descend_below(caller, template, level, paths, &registered, truncated, now).await?
                };
            }
            let found = paths.into_iter().map(|path| Folder {
                prefix: path.prefix,
                miner: path.miner,
                values: path.values,
                template: index,
            });
            all.folders.extend(found);
        }
        Ok(all)
    }

    /// One level further down, by the template where it says all, else by the store.
    async fn descend(
        &self,
        caller: &Caller,
        template: &Template,
        level: usize,
        paths: Vec<Path>,
        registered: &Registered,
        now: UnixTime,
    ) -> Result<Vec<Path>> {
        if let Some(known) = template.known(level) {
            let on = |path: &Path| -> Vec<Path> {
                known.iter().filter_map(|(text, bound)| path.on(text, bound.clone(), registered)).collect()
            };
            return Ok(paths.iter().flat_map(on).collect());
        }
        let lists = paths.into_iter().map(|path| async move {
            let (prefixes, _) = self.common_prefixes(caller, &path.prefix, None, now).await?;
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

    /// As [`Self::descend`], below the folders of miners: each has its share of folders and of pages.
    #[expect(clippy::too_many_arguments, reason = "one level of one walk")]
    async fn descend_below(
        &self,
        caller: &Caller,
        template: &Template,
        level: usize,
        paths: Vec<Path>,
        registered: &Registered,
        truncated: &mut BTreeMap<String, String>,
        now: UnixTime,
    ) -> Result<Vec<Path>> {
        let mut shares = Shares {
            miners: paths.iter().map(|path| &path.miner).collect::<BTreeSet<_>>().len(),
            paths: Vec::new(),
            of: BTreeMap::new(),
            each: FOLDERS_PER_MINER_MAX,
            owned_depth: template.owned_depth(),
            truncated,
        };
        if let Some(known) = template.known(level) {
            for path in &paths {
                let on = known.iter().filter_map(|(text, bound)| path.on(text, bound.clone(), registered));
                on.for_each(|path| shares.take(path));
            }
            return Ok(shares.paths);
        }
        let lists = paths.into_iter().map(|path| async move {
            let pages = registered.get(&path.miner);
            let (prefixes, is_whole) = self.common_prefixes(caller, &path.prefix, pages, now).await?;
            let on = |prefix: &String| {
                let text = prefix.strip_prefix(path.prefix.as_str())?.strip_suffix('/')?;
                path.on(text, template.read(level, text)?, registered)
            };
            let found: Vec<Path> = prefixes.iter().filter_map(on).collect();
            Ok::<_, Error>((found, (!is_whole).then_some(path)))
        });
        let mut lists = futures_util::stream::iter(lists).buffered(LISTS_AT_ONCE);
        while let Some((found, broken_off)) = lists.try_next().await? {
            if let Some(path) = broken_off {
                leave(shares.truncated, &path, shares.owned_depth);
            }
            found.into_iter().for_each(|path| shares.take(path));
        }
        Ok(shares.paths)
    }

    /// Leave to list the store under `prefix`. A list that is answered here, or that is of another prefix, is
    /// refused.
    fn permitted_list<'a>(&'a self, caller: &'a Caller, prefix: &str) -> Result<Permit<'a>> {
        let permit = self.access.policy().authorise(caller, self.list_request(prefix)?)?;
        if permit.as_list().is_some_and(|list| list.prefix() == prefix) {
            return Ok(permit);
        }
        Err(Error::new(
            Code::AccessDenied,
            format!(
                "FolderDenied: a {} may not list all that lies under {prefix} here.",
                caller.role.as_str()
            ),
        ))
    }

    fn list_request(&self, prefix: &str) -> Result<Request> {
        let mut query = Query::default();
        query.push("list-type", "2")?;
        query.push("prefix", prefix)?;
        query.push("delimiter", "/")?;
        query.push("encoding-type", "url")?;
        let path = format!("/{}", self.site.bucket().name);
        Request::parse(&Method::GET, Addressing::Path, &path, query, &HeaderMap::new())
    }

    /// The common prefixes under a prefix, page by page, and whether these are all. Where `read` counts the
    /// pages of a miner, they may be fewer; else it is all or an error.
    async fn common_prefixes(
        &self,
        caller: &Caller,
        prefix: &str,
        read: Option<&AtomicUsize>,
        now: UnixTime,
    ) -> Result<(Vec<String>, bool)> {
        let permit = self.permitted_list(caller, prefix)?;
        let list = permit.as_list().ok_or_else(|| Error::internal("a permitted list is none"))?;
        let mut prefixes = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            if let Some(read) = read {
                let is_enough = prefixes.len() >= FOLDERS_PER_MINER_MAX;
                if is_enough || read.fetch_add(1, Ordering::Relaxed) >= PAGES_PER_MINER_MAX {
                    return Ok((prefixes, false));
                }
            }
            let page = self.page(list.page(token.as_deref())?, now).await?;
            prefixes.extend(page.prefixes);
            match page.next {
                None => return Ok((prefixes, true)),
                next if next == token => break,
                next => token = next,
            }
        }
        Err(Error::store_unavailable("a list of the store did not come to its end"))
    }

    async fn page(&self, outbound: Outbound, now: UnixTime) -> Result<Page> {
        let response = self.store.send(outbound, StoreBody::empty(), OnBehalf { hotkey: None, now }).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(Error::store_unavailable(format!("the store answered {status} to a list")));
        }
        let pace = Pace::idle(self.store.idle_timeout());
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
