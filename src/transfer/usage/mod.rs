//! What a server holds, by folder: all of it, or an error. \[IO\]
//!
//! Folders are looked for from the top, and each folder of a miner is listed to its end, several of them side
//! by side. Invariant: where one list fails, there are no numbers.

pub(crate) mod tally;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::JoinSet;

use self::tally::{ROWS_MAX, Tally, owner_of};
use super::progress::Progress;
use crate::client::{Bucket, ClientError, object::Listed};

/// So many folders below a root, everything is one folder, whoever it belongs to.
const DEPTH_MAX: usize = 8;

/// The pages of one list of folders: ten million of them.
const PAGES_MAX: usize = 10_000;

/// What is added up, and how.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where to begin: the own folders, or the roots.
    pub(crate) prefixes: Vec<String>,
    /// Only folders that this address names.
    pub(crate) owner: Option<String>,
    /// Rows for so many folders below one of a miner.
    pub(crate) depth: usize,
    /// Lists side by side.
    pub(crate) parallel: usize,
}

/// Why there are no numbers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageFault {
    #[error("the list of {0} is not complete, so there are no numbers: {1}")]
    List(String, ClientError),
    #[error("more than {ROWS_MAX} folders: give a smaller --depth or a --folder")]
    TooManyRows,
}

/// A prefix to look at.
#[derive(Debug)]
struct Step {
    prefix: String,
    /// How many folders it lies below a root.
    depth: usize,
}

/// What a prefix comes to.
struct Found {
    tally: Tally,
    further: Vec<Step>,
}

/// What it takes to list.
struct Lister {
    bucket: Bucket,
    settings: Settings,
    progress: Progress,
    /// Objects so far, of all lists.
    listed: AtomicU64,
}

/// Adds up all that the prefixes hold.
///
/// # Errors
/// Which list is not complete.
pub(crate) async fn run(
    bucket: &Bucket,
    settings: Settings,
    progress: &Progress,
) -> Result<Tally, UsageFault> {
    let prefixes = without_nested(&settings.prefixes);
    let mut steps: VecDeque<Step> = prefixes.into_iter().map(|prefix| Step { prefix, depth: 0 }).collect();
    let parallel = settings.parallel.max(1);
    let (bucket, progress) = (bucket.clone(), progress.clone());
    let lister = Arc::new(Lister { bucket, settings, progress, listed: AtomicU64::new(0) });
    let mut tally = Tally::default();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < parallel {
            let Some(step) = steps.pop_front() else { break };
            let lister = Arc::clone(&lister);
            under_way.spawn(async move { lister.take(step).await });
        }
        // With the first that fails, the others are dropped.
        let Some(found) = under_way.join_next().await else { return Ok(tally) };
        let found = found.unwrap_or_else(|error| {
            let error = ClientError::Broken(error.to_string());
            Err(UsageFault::List("a folder".to_owned(), error))
        })?;
        // Folders that were found come before others are looked for, so that little is held at once.
        found.further.into_iter().rev().for_each(|step| steps.push_front(step));
        if !tally.merge(found.tally) || steps.len() > ROWS_MAX {
            return Err(UsageFault::TooManyRows);
        }
    }
}

/// Prefixes of which none lies in another: what they hold counts once.
fn without_nested(prefixes: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut sorted: Vec<&String> = prefixes.iter().collect();
    sorted.sort_unstable();
    for prefix in sorted {
        if !kept.iter().any(|outer| prefix.starts_with(outer.as_str())) {
            kept.push(prefix.clone());
        }
    }
    kept
}

impl Lister {
    async fn take(&self, step: Step) -> Result<Found, UsageFault> {
        let owner = owner_of(&step.prefix).map(|(_, owner)| owner.to_ss58());
        match (&owner, &self.settings.owner) {
            (Some(owner), Some(meant)) if owner != meant => {
                Ok(Found { tally: Tally::default(), further: Vec::new() })
            }
            (Some(_), _) => self.add_up(&step, None).await,
            (None, meant) if step.depth >= DEPTH_MAX || !is_folder(&step.prefix) => {
                self.add_up(&step, meant.as_deref()).await
            }
            (None, _) => self.look_into(step).await,
        }
    }

    /// Everything below a prefix; only what `meant` names, if anything.
    async fn add_up(&self, step: &Step, meant: Option<&str>) -> Result<Found, UsageFault> {
        let prefix = step.prefix.as_str();
        let is_meant = |key: &str| {
            let owner = || owner_of(key).map(|(_, owner)| owner.to_ss58());
            meant.is_none_or(|meant| owner().as_deref() == Some(meant))
        };
        let mut tally = Tally::default();
        let (mut fits, mut since) = (true, 0_u64);
        let list = self.bucket.list(prefix, |object: Listed| {
            if is_meant(&object.key) {
                fits &= tally.add(prefix, self.settings.depth, &object);
            }
            since = since.saturating_add(1);
            if since == 1000 {
                self.tell(std::mem::take(&mut since));
            }
        });
        list.await.map_err(|error| UsageFault::List(shown(prefix), error))?;
        self.tell(since);
        if step.depth == 0 {
            // A folder that was asked for has a row, even if it is empty.
            tally.name_if_empty(prefix);
        }
        if fits { Ok(Found { tally, further: Vec::new() }) } else { Err(UsageFault::TooManyRows) }
    }

    /// The folders in a folder, and what lies beside them.
    async fn look_into(&self, step: Step) -> Result<Found, UsageFault> {
        let fault = |error| UsageFault::List(shown(&step.prefix), error);
        let mut found = Found { tally: Tally::default(), further: Vec::new() };
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.bucket.list_page(&step.prefix, "/", token.as_deref()).await.map_err(fault)?;
            self.tell(page.objects.len() as u64);
            // What no address names is no miner's.
            for object in page.objects.iter().filter(|_| self.settings.owner.is_none()) {
                found.tally.add(&step.prefix, 0, object);
            }
            for prefix in page.prefixes {
                if !prefix.starts_with(&step.prefix) || prefix.len() <= step.prefix.len() {
                    return Err(fault(ClientError::Broken("a folder that does not lie in it".to_owned())));
                }
                found.further.push(Step { prefix, depth: step.depth.saturating_add(1) });
            }
            match page.next {
                None => return Ok(found),
                Some(next) if token.as_ref() == Some(&next) => break,
                Some(next) => token = Some(next),
            }
            if found.further.len() > ROWS_MAX {
                return Err(UsageFault::TooManyRows);
            }
        }
        Err(fault(ClientError::Broken("it did not come to an end".to_owned())))
    }

    fn tell(&self, objects: u64) {
        let before = self.listed.fetch_add(objects, Ordering::Relaxed);
        self.progress.listed(before.saturating_add(objects));
    }
}

/// Whether what lies in it can be told by folders.
fn is_folder(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}

fn shown(prefix: &str) -> String {
    if prefix.is_empty() { "everything".to_owned() } else { prefix.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_two_prefixes_counts_once() {
        let prefixes = ["data/x/", "data/", "data/x/5F/", "other/"].map(str::to_owned);
        assert_eq!(without_nested(&prefixes), ["data/", "other/"]);
        assert_eq!(without_nested(&["a".to_owned(), "a".to_owned()]), ["a"]);
        assert!(without_nested(&[]).is_empty());
    }
}
