//! Which miners, and which of their job folders, there are: discovered from the store page by page, joined
//! with the registry, kept for seconds.
//!
//! Invariants: what is listed is what a validator's permit allows; a list that could not be completed is an
//! error and never a short list, save that each miner has its share of folders and of pages, that the
//! directories above the identity have theirs ([`sweep`]), and that what is left out is told; one discovery
//! of a kind runs at a time, whoever asks.

mod lists;
mod paths;
mod sweep;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _};

pub(super) use self::paths::Truncated;
use self::{
    lists::{Asker, LISTS_AT_ONCE, Lists, Share},
    paths::{Path, Registered, Rest, Shares, leave, registered},
    sweep::{Budget, Sweep, Swept},
};
use crate::{
    access::Access,
    chain::Snapshot,
    config,
    error::{Code, Error, Result},
    exchange::Moment,
    policy::{Caller, Template},
    site::Site,
    store::Store,
};

/// Folders of one discovery; beyond that an operator has another layout in mind.
const FOLDERS_MAX: usize = 1_000_000;

/// Folders of one miner, who makes as many as it likes: its excess must not cost the others the list. Years
/// of jobs by the hour fit.
const FOLDERS_PER_MINER_MAX: usize = 10_000;

/// Pages read below one miner's folders in one discovery: ten make the folders above; a deeper layout takes
/// one for each folder.
const PAGES_PER_MINER_MAX: usize = 1000;

/// Pages read in one discovery above the folders of miners, where a variable is open there.
const PAGES_ABOVE_MAX: usize = 10_000;

/// Folders that are kept between two discoveries of such a layout.
const FOLDERS_SWEPT_MAX: usize = 250_000;

/// Folders of miners that [`Depth::Miners`] has in such a layout, of one miner and in all: an answer with all
/// of them is one document.
const FOLDERS_SHOWN_MAX: (usize, usize) = (100, 20_000);

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
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Sorted by miner; of one miner as they were found.
    pub(super) folders: Vec<Folder>,
    /// Miners of whose folders not all were taken, with the prefixes below which the rest is.
    pub(super) truncated: Truncated,
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

/// What sweeps left, by the number of the template and the prefix.
type KeptSweeps = Mutex<BTreeMap<(usize, String), Arc<Swept>>>;

/// Finds the folders of miners at the store, and keeps the lists of the last seconds.
pub(super) struct Discovery {
    lists: Lists,
    cache: Duration,
    time_max: Duration,
    miners: Kept,
    whole: Kept,
    sweeps: KeptSweeps,
}

/// One walk through the store.
struct Walk<'a> {
    asker: Asker<'a>,
    snapshot: &'a Snapshot,
    registered: Registered,
    depth: Depth,
    /// When the part above the folders of miners has to end.
    sweep_until: Instant,
}

impl Discovery {
    pub(super) fn new(
        access: Arc<Access>,
        site: Arc<Site>,
        store: Arc<Store>,
        settings: &config::Endpoints,
    ) -> Self {
        Self {
            lists: Lists::new(access, site, store),
            cache: Duration::from_secs(settings.discovery_cache_seconds),
            time_max: Duration::from_secs(settings.discovery_seconds_max),
            miners: Kept::default(),
            whole: Kept::default(),
            sweeps: KeptSweeps::default(),
        }
    }

    /// The folders of all registered miners that have some; for `caller`, who must be allowed to list them.
    pub(super) async fn folders(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
        depth: Depth,
        moment: Moment,
    ) -> Result<Arc<Found>> {
        // Kept or not: the one who asks has to be allowed the lists.
        for root in self.lists.policy().roots() {
            self.lists.check(caller, root)?;
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
        let walk = Walk {
            asker: Asker { caller, moment },
            snapshot,
            registered: registered(snapshot),
            depth,
            sweep_until: Instant::now(),
        };
        let result = match tokio::time::timeout(self.time_max, self.discover(walk)).await {
            // Answers that are still being read hold what they were made of: the same is there but once.
            Ok(Ok(found)) => match kept.take() {
                Some((_, Ok(same))) if *same == found => Ok(same),
                Some(_) | None => Ok(Arc::new(found)),
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(late()),
        };
        // What one caller may not is no answer to the next.
        let is_callers = result.as_ref().is_err_and(|error| error.code == Code::AccessDenied);
        *kept = (!is_callers).then(|| (Instant::now(), result.clone()));
        result
    }

    async fn discover(&self, mut walk: Walk<'_>) -> Result<Found> {
        let templates = self.lists.policy().templates();
        let open = templates.iter().filter(|template| template.open_variable_above().is_some()).count();
        // Half of the time is for what is above the folders of miners, and equal parts of it.
        let part = open.checked_mul(2).and_then(|parts| u32::try_from(parts).ok());
        let part = part.and_then(|parts| self.time_max.checked_div(parts)).unwrap_or(self.time_max);
        let mut all = Found::default();
        for (index, template) in templates.iter().enumerate() {
            let levels = match walk.depth {
                Depth::Miners => template.owned_depth(),
                Depth::Whole => template.depth(),
            };
            let identified = template.identified_depth();
            let mut paths = vec![Path::default()];
            let mut level = 0;
            if template.open_variable_above().is_some() {
                while level < identified && template.known(level).is_some() {
                    paths = self.descend(&walk, template, level, paths).await?;
                    level = level.saturating_add(1);
                }
                let now = Instant::now();
                walk.sweep_until = now.checked_add(part).unwrap_or(now);
                paths = self.sweep(&walk, index, level, paths, &mut all.truncated).await?;
                level = identified;
            }
            while level < levels {
                paths = match level < identified {
                    true => self.descend(&walk, template, level, paths).await?,
                    false => self.descend_below(&walk, template, level, paths, &mut all.truncated).await?,
                };
                level = level.saturating_add(1);
            }
            let found = paths.into_iter().map(|path| Folder {
                prefix: path.prefix,
                miner: path.miner,
                values: path.values,
                template: index,
            });
            all.folders.extend(found);
        }
        all.folders.sort_by(|a, b| a.miner.cmp(&b.miner));
        Ok(all)
    }

    /// The folders of miners below `trunks`, which have `level` segments and are followed by an open
    /// variable.
    async fn sweep(
        &self,
        walk: &Walk<'_>,
        index: usize,
        level: usize,
        trunks: Vec<Path>,
        truncated: &mut Truncated,
    ) -> Result<Vec<Path>> {
        let Some(template) = self.lists.policy().templates().get(index) else { return Ok(Vec::new()) };
        let count = trunks.len();
        let among_trunks = |total: usize| total.checked_div(count).unwrap_or(total);
        let budget = Budget { pages_max: among_trunks(PAGES_ABOVE_MAX), until: walk.sweep_until };
        // All at once, so that none waits until the others have spent the time.
        let sweeps = trunks.into_iter().map(|trunk| async move {
            let prefix = Sweep::prefix(&trunk, template, level);
            let before = self.kept_sweep(index, &prefix);
            let mut truncated = Truncated::new();
            let shares = Shares::new(
                FOLDERS_PER_MINER_MAX,
                among_trunks(FOLDERS_SWEPT_MAX),
                Rest::Above(&prefix),
                &mut truncated,
            );
            let (lists, registered) = (&self.lists, &walk.registered);
            let sweep = Sweep::new(lists, walk.asker, template, registered, trunk, level, budget);
            let swept = Arc::new(sweep.run(&before, shares).await?);
            self.keep_sweep(index, prefix.clone(), Arc::clone(&swept));
            Ok::<_, Error>((prefix, swept, truncated))
        });
        let sweeps = futures_util::future::try_join_all(sweeps).await?;
        let root = template.root();
        let mut paths = Vec::new();
        for (prefix, swept, left) in sweeps {
            for (miner, prefixes) in &left {
                prefixes.iter().for_each(|prefix| leave(truncated, miner, prefix, &root));
            }
            if !swept.is_whole {
                // Whose folders the unseen directories hold is not known: any miner's.
                for neuron in walk.snapshot.neurons() {
                    leave(truncated, template.name_of(&neuron.owner), &prefix, &root);
                }
            }
            let (each, in_all) = match walk.depth {
                Depth::Miners => FOLDERS_SHOWN_MAX,
                Depth::Whole => (FOLDERS_PER_MINER_MAX, FOLDERS_MAX),
            };
            let rest = Rest::Above(&prefix);
            let mut shares = Shares::new(each, among_trunks(in_all), rest, truncated);
            swept.paths.iter().for_each(|path| shares.take(path.clone()));
            paths.extend(shares.into_paths());
        }
        Ok(paths)
    }

    fn kept_sweep(&self, template: usize, prefix: &str) -> Arc<Swept> {
        let sweeps = self.sweeps.lock().unwrap_or_else(PoisonError::into_inner);
        sweeps.get(&(template, prefix.to_owned())).cloned().unwrap_or_default()
    }

    fn keep_sweep(&self, template: usize, prefix: String, swept: Arc<Swept>) {
        let mut sweeps = self.sweeps.lock().unwrap_or_else(PoisonError::into_inner);
        sweeps.insert((template, prefix), swept);
    }

    /// One level further down, by the template where it says all, else by the store.
    async fn descend(
        &self,
        walk: &Walk<'_>,
        template: &Template,
        level: usize,
        paths: Vec<Path>,
    ) -> Result<Vec<Path>> {
        if let Some(known) = template.known(level) {
            let on = |path: &Path| -> Vec<Path> {
                let on = known.iter().map(|(text, bound)| path.on(text, bound.clone(), &walk.registered));
                on.flatten().collect()
            };
            return Ok(paths.iter().flat_map(on).collect());
        }
        let lists = paths.into_iter().map(|path| async move {
            let prefix = format!("{}{}", path.prefix, template.literal_start(level));
            let (prefixes, _) = self.lists.common_prefixes(walk.asker, &prefix, None).await?;
            let on = |prefix: &String| path.on_prefix(prefix, template, level, &walk.registered);
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

    /// As [`Self::descend`], below an identity: each miner has its share of folders and of pages.
    async fn descend_below(
        &self,
        walk: &Walk<'_>,
        template: &Template,
        level: usize,
        paths: Vec<Path>,
        truncated: &mut Truncated,
    ) -> Result<Vec<Path>> {
        let mut shares = Shares::new(FOLDERS_PER_MINER_MAX, FOLDERS_MAX, Rest::Owned(template), truncated);
        if let Some(known) = template.known(level) {
            for path in &paths {
                let on = known.iter().map(|(text, bound)| path.on(text, bound.clone(), &walk.registered));
                on.flatten().for_each(|path| shares.take(path));
            }
            return Ok(shares.into_paths());
        }
        let lists = paths.into_iter().map(|path| async move {
            let prefix = format!("{}{}", path.prefix, template.literal_start(level));
            let share = walk.registered.get(&path.miner).map(|pages| Share {
                names_max: FOLDERS_PER_MINER_MAX,
                pages,
                pages_max: PAGES_PER_MINER_MAX,
            });
            let (prefixes, is_whole) = self.lists.common_prefixes(walk.asker, &prefix, share).await?;
            let on = |prefix: &String| path.on_prefix(prefix, template, level, &walk.registered);
            let found: Vec<Path> = prefixes.iter().filter_map(on).collect();
            Ok::<_, Error>((found, (!is_whole).then_some(path)))
        });
        let mut lists = futures_util::stream::iter(lists).buffered(LISTS_AT_ONCE);
        while let Some((found, broken_off)) = lists.try_next().await? {
            if let Some(path) = broken_off {
                shares.leave(&path);
            }
            found.into_iter().for_each(|path| shares.take(path));
        }
        Ok(shares.into_paths())
    }
}
