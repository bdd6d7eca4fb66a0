//! The folders of miners in a layout with an open variable above the identity, such as
//! `data/{job_id}/{coldkey}/`: anybody registered makes as many of these directories as it likes, and whose
//! they are only their lists tell.
//!
//! So these directories are not listed one by one. A sweep walks the keys in their order, a thousand on a
//! page, and steps over the rest of each folder that a page ended in: small directories cost a miner who
//! makes them a thousand objects for one page. Where the folders are large, the directories are listed side
//! by side instead, more of them each time up to a bound.
//!
//! A sweep has a budget of pages and of time. The next one goes on where it stopped, around the whole, and
//! what was found before stays until the sweep comes by again: nobody's directories hide those of others by
//! their names, they only make the round longer.
//!
//! Invariant: a sweep that did not come around says so, and then any miner may have more than is known.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use futures_util::StreamExt as _;

use super::{
    lists::{Asker, LISTS_AT_ONCE, Listed, Lists, endless},
    paths::{Path, Registered, Shares},
};
use crate::{
    error::{Error, Result},
    policy::{Bound, Template},
    s3::key::check_prefix,
};

/// With fewer folders on a page of keys than this, directories are listed one by one for a while.
const FOLDERS_PER_PAGE_MIN: usize = 8;

/// Directories that are listed one by one before the next page of keys, at first and, after doubling, at
/// last. Small ones among them cost a page each: who makes them has paid with the page that held few folders.
const DIRECTORIES_AT_ONCE: (usize, usize) = (32, 128);

/// What a sweep leaves for the next one.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// Behind this the next sweep begins; empty for the beginning.
    pub(super) cursor: String,
    /// What is known, found by this sweep or one before.
    pub(super) paths: Vec<Path>,
    /// Whether this sweep saw all of it.
    pub(super) is_whole: bool,
}

/// How far a sweep may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) pages_max: usize,
    pub(super) until: Instant,
}

/// One sweep below one path.
pub(super) struct Sweep<'a> {
    lists: &'a Lists,
    asker: Asker<'a>,
    template: &'a Template,
    registered: &'a Registered,
    /// The path above the first open variable, and how many segments it has.
    trunk: Path,
    level: usize,
    /// The last open variable above the identity.
    last_open: usize,
    budget: Budget,
    /// Pages read.
    pages: AtomicUsize,
    directories: usize,
}

/// What a key lies in.
struct Located {
    /// A place in the order of keys: behind all of it.
    end: String,
    /// The folder, where it is a registered miner's.
    path: Option<Path>,
    /// The directory of the last open variable, with its slash.
    directory: Option<String>,
}

/// What one step of a sweep found.
struct Step {
    paths: Vec<Path>,
    /// Where the next one begins; none at the end of all.
    next: Option<String>,
}

impl<'a> Sweep<'a> {
    /// A sweep below `trunk`, which has `level` segments and whose next one is open.
    pub(super) fn new(
        lists: &'a Lists,
        asker: Asker<'a>,
        template: &'a Template,
        registered: &'a Registered,
        trunk: Path,
        level: usize,
        budget: Budget,
    ) -> Self {
        let above = level..template.identified_depth().saturating_sub(1);
        let last_open = above.rev().find(|level| template.known(*level).is_none()).unwrap_or(level);
        let (pages, directories) = (AtomicUsize::new(0), DIRECTORIES_AT_ONCE.0);
        Self { lists, asker, template, registered, trunk, level, last_open, budget, pages, directories }
    }

    /// What all that is swept begins with.
    pub(super) fn prefix(trunk: &Path, template: &Template, level: usize) -> String {
        format!("{}{}", trunk.prefix, template.literal_start(level))
    }

    /// Sweeps on from where the sweep before stopped, around to there or until the budget is spent.
    pub(super) async fn run(mut self, before: &Swept, mut shares: Shares<'_>) -> Result<Swept> {
        let start = before.cursor.as_str();
        let mut position = start.to_owned();
        // What was found lies behind this; a directory may be looked at twice.
        let mut behind = start.to_owned();
        let mut is_second_lap = false;
        let is_whole = loop {
            let step = self.step(&position).await?;
            for path in step.paths {
                let is_new = path.prefix > behind && !(is_second_lap && path.prefix.as_str() > start);
                if is_new {
                    path.prefix.clone_into(&mut behind);
                    shares.take(path);
                }
            }
            match step.next {
                Some(next) if next <= position => return Err(endless()),
                Some(next) => position = next,
                None if is_second_lap || start.is_empty() => break true,
                None => {
                    is_second_lap = true;
                    position.clear();
                    behind.clear();
                }
            }
            if is_second_lap && position.as_str() >= start {
                break true;
            }
            if self.is_spent() {
                break false;
            }
        };
        if !is_whole {
            let is_seen = |path: &Path| {
                let prefix = path.prefix.as_str();
                match is_second_lap {
                    true => prefix > start || prefix < position.as_str(),
                    false => prefix > start && prefix < position.as_str(),
                }
            };
            let unseen = before.paths.iter().filter(|path| !is_seen(path));
            unseen
                .filter(|path| self.registered.contains_key(&path.miner))
                .for_each(|path| shares.take(path.clone()));
        }
        let cursor = if is_whole { String::new() } else { position };
        Ok(Swept { cursor, paths: shares.into_paths(), is_whole })
    }

    fn is_spent(&self) -> bool {
        self.pages.load(Ordering::Relaxed) >= self.budget.pages_max || Instant::now() >= self.budget.until
    }

    /// A page of keys behind `position`; and directories one by one, where it held few folders.
    async fn step(&mut self, position: &str) -> Result<Step> {
        let prefix = Self::prefix(&self.trunk, self.template, self.level);
        self.pages.fetch_add(1, Ordering::Relaxed);
        let page = self.lists.page(self.asker, &prefix, position, Listed::Keys).await?;
        let mut paths = Vec::new();
        let (mut folders, mut last): (usize, Option<Located>) = (0, None);
        for key in &page.names {
            // All keys of one folder are next to each other, before its end.
            if last.as_ref().is_some_and(|last| *key < last.end) {
                continue;
            }
            let located = self.locate(key);
            paths.extend(located.path.clone());
            folders = folders.saturating_add(1);
            last = Some(located);
        }
        if page.next.is_none() {
            return Ok(Step { paths, next: None });
        }
        let last = last.ok_or_else(endless)?;
        match last.directory {
            Some(directory) if folders < FOLDERS_PER_PAGE_MIN => {
                let at_once = self.directories;
                self.directories = at_once.saturating_mul(2).min(DIRECTORIES_AT_ONCE.1);
                self.directories(&directory, at_once, paths).await
            }
            Some(_) | None => {
                self.directories = DIRECTORIES_AT_ONCE.0;
                Ok(Step { paths, next: Some(permitted(last.end)) })
            }
        }
    }

    /// Lists `first` and the directories beside it, `at_once` of them, one by one.
    async fn directories(&self, first: &str, at_once: usize, mut paths: Vec<Path>) -> Result<Step> {
        let parent = parent(first);
        let prefix = format!("{parent}{}", self.template.literal_start(self.last_open));
        self.pages.fetch_add(1, Ordering::Relaxed);
        let page = self.lists.page(self.asker, &prefix, &permitted(end_of(first)), Listed::Prefixes).await?;
        let is_all = page.next.is_none() && page.names.len() < at_once;
        let directories: Vec<String> =
            std::iter::once(first.to_owned()).chain(page.names).take(at_once).collect();
        let this = self;
        let lists = directories.into_iter().map(|directory| async move {
            let mut found = Vec::new();
            for path in this.innermost(&directory) {
                found.extend(this.miners(&path).await?);
            }
            found.sort_by(|a, b| a.prefix.cmp(&b.prefix));
            Ok::<_, Error>((directory, found))
        });
        let mut lists = futures_util::stream::iter(lists).buffered(LISTS_AT_ONCE);
        let mut done = first.to_owned();
        let mut is_stopped = false;
        while let Some(list) = lists.next().await {
            let (directory, found) = list?;
            done = directory;
            paths.extend(found);
            if self.is_spent() {
                is_stopped = true;
                break;
            }
        }
        let next = match is_all && !is_stopped {
            true if parent.len() <= self.trunk.prefix.len() => None,
            true => Some(end_of(&parent)),
            false => Some(end_of(&done)),
        };
        Ok(Step { paths, next: next.map(permitted) })
    }

    /// The folders of registered miners right below `path`.
    async fn miners(&self, path: &Path) -> Result<Vec<Path>> {
        let level = self.template.identified_depth().saturating_sub(1);
        let prefix = Self::prefix(path, self.template, level);
        self.pages.fetch_add(1, Ordering::Relaxed);
        let (prefixes, _) = self.lists.common_prefixes(self.asker, &prefix, None).await?;
        let on = |prefix: &String| path.on_prefix(prefix, self.template, level, self.registered);
        Ok(prefixes.iter().filter_map(on).collect())
    }

    /// The directories right above the identity that begin with `directory`, which is one of the last open
    /// variable; none where it cannot be one.
    fn innermost(&self, directory: &str) -> Vec<Path> {
        let below =
            directory.strip_prefix(self.trunk.prefix.as_str()).and_then(|text| text.strip_suffix('/'));
        let Some(below) = below else { return Vec::new() };
        let walked =
            (self.level..).zip(below.split('/')).try_fold(self.trunk.clone(), |path, (level, text)| {
                path.on(text, self.read(level, text)?, self.registered)
            });
        let mut paths = Vec::from_iter(walked);
        for level in self.last_open.saturating_add(1)..self.template.identified_depth().saturating_sub(1) {
            let known = self.template.known(level).unwrap_or_default();
            let on = |path: Path| -> Vec<Path> {
                let on = |(text, bound): &(String, Bound)| path.on(text, bound.clone(), self.registered);
                known.iter().filter_map(on).collect()
            };
            paths = paths.into_iter().flat_map(on).collect();
        }
        paths
    }

    /// What a segment says; nothing where no key may have it.
    fn read(&self, level: usize, text: &str) -> Option<Bound> {
        self.template.read(level, text).filter(|_| !matches!(text, "" | "." | ".."))
    }

    fn locate(&self, key: &str) -> Located {
        let mut path = Some(self.trunk.clone());
        let mut directory = None;
        let mut at = self.trunk.prefix.clone();
        let mut rest = key.strip_prefix(self.trunk.prefix.as_str()).unwrap_or_default();
        for level in self.level..self.template.identified_depth() {
            let Some((text, below)) = rest.split_once('/') else {
                return Located { end: key.to_owned(), path: None, directory };
            };
            at.push_str(text);
            at.push('/');
            let Some(bound) = self.read(level, text) else {
                return Located { end: end_of(&at), path: None, directory };
            };
            path = path.and_then(|path| path.on(text, bound, self.registered));
            if level == self.last_open {
                directory = Some(at.clone());
            }
            rest = below;
        }
        Located { end: end_of(&at), path, directory }
    }
}

/// The directory that `directory` lies in, with its slash; both may be empty.
fn parent(directory: &str) -> String {
    let above = directory.strip_suffix('/').unwrap_or(directory);
    above.rsplit_once('/').map(|(parent, _)| format!("{parent}/")).unwrap_or_default()
}

/// The first text behind all that begins with `directory`, which ends in a slash: `0` follows `/`.
fn end_of(directory: &str) -> String {
    format!("{}0", directory.strip_suffix('/').unwrap_or(directory))
}

/// A place in the order of keys that a list may begin behind: `position`, or where no key may have that (an
/// operator's own may), one behind it with nothing between them that a miner could have made.
fn permitted(position: String) -> String {
    if check_prefix(&position).is_ok() {
        return position;
    }
    let mut place = String::new();
    for segment in position.split_inclusive('/') {
        match segment.strip_suffix('/').unwrap_or(segment) {
            "" | "." | ".." => {
                return format!("{}0", format_args!("{place}{}", segment.trim_end_matches('/')));
            }
            _ => {}
        }
        for character in segment.chars() {
            match character {
                '\0'..'\u{20}' => return format!("{place} "),
                '\u{7f}'..='\u{9f}' => return format!("{place}\u{a0}"),
                '\u{fffe}' | '\u{ffff}' => return format!("{place}\u{10000}"),
                _ => place.push(character),
            }
        }
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p22_places_in_the_order_of_keys_are_ones_that_a_list_may_begin_behind() {
        for (position, expected) in [
            ("data/a/5C0", "data/a/5C0"),
            ("data/a/", "data/a/"),
            ("data/./5C0", "data/.0"),
            ("data/../5C0", "data/..0"),
            ("data/.", "data/.0"),
            ("data//5C0", "data/0"),
            ("data/a\u{1}b/5C0", "data/a "),
            ("data/a\u{85}", "data/a\u{a0}"),
            ("data/\u{ffff}/c0", "data/\u{10000}"),
        ] {
            let place = permitted(position.to_owned());
            assert_eq!(place, expected);
            assert!(place.as_str() >= position && check_prefix(&place).is_ok(), "{position:?}");
        }
    }

    #[test]
    fn a_directory_ends_before_its_end() {
        assert_eq!((end_of("data/a/").as_str(), parent("data/a/").as_str()), ("data/a0", "data/"));
        assert_eq!(parent("a/"), "");
        assert!("data/a/\u{10ffff}" < end_of("data/a/").as_str() && "data/a-/" < "data/a/");
    }
}
