//! What folders hold, added up from lists. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{chain::AccountId, client::object::Listed};

/// Rows are made of the names that others give their folders, so there is an end to them.
pub(crate) const ROWS_MAX: usize = 1_000_000;

/// The address that names a folder, and the folder: everything up to the first segment that is one, as in
/// `data/x/5F…/` and `data/hotkey=5F…/`.
pub(crate) fn owner_of(path: &str) -> Option<(&str, AccountId)> {
    let mut end = 0_usize;
    for segment in path.split_inclusive('/') {
        end = end.saturating_add(segment.len());
        // Without its `/` the name may go on.
        let name = segment.strip_suffix('/')?;
        let value = name.rsplit_once('=').map_or(name, |(_, value)| value);
        if let Ok(owner) = value.parse() {
            return Some((path.get(..end)?, owner));
        }
    }
    None
}

/// What one folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// When the newest of them came.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) newest: Option<Timestamp>,
    /// Which that is.
    pub(crate) newest_key: Option<String>,
}

fn rfc3339<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

impl Usage {
    /// Counts an object. A folder's marker is no file.
    pub(crate) fn add(&mut self, object: &Listed) {
        if object.key.ends_with('/') && object.size == 0 {
            return;
        }
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(object.size);
        if self.newest_key.is_none() || object.last_modified > self.newest {
            self.newest = object.last_modified;
            self.newest_key = Some(object.key.clone());
        }
    }

    /// Adds what another folder holds.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
        if other.newest_key.is_some() && (self.newest_key.is_none() || other.newest > self.newest) {
            self.newest = other.newest;
            self.newest_key.clone_from(&other.newest_key);
        }
    }
}

/// Folders and what they hold.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, Usage>);

impl Tally {
    /// Counts an object of the folder `base`, so many folders below it; false where there are too many rows.
    pub(crate) fn add(&mut self, base: &str, depth: usize, object: &Listed) -> bool {
        let folder = folder_of(base, depth, &object.key);
        if let Some(usage) = self.0.get_mut(folder) {
            usage.add(object);
            return true;
        }
        if self.0.len() >= ROWS_MAX {
            return false;
        }
        self.0.entry(folder.to_owned()).or_default().add(object);
        true
    }

    /// Adds another list's; false where there are too many rows.
    pub(crate) fn merge(&mut self, other: Self) -> bool {
        for (folder, usage) in other.0 {
            self.0.entry(folder).or_default().merge(&usage);
        }
        self.0.len() <= ROWS_MAX
    }

    /// Where there is no row at all, one of a folder that holds nothing.
    pub(crate) fn name_if_empty(&mut self, folder: &str) {
        if self.0.is_empty() {
            self.0.insert(folder.to_owned(), Usage::default());
        }
    }

    /// One row for each folder.
    pub(crate) fn into_rows(self, by: By) -> Vec<Row> {
        let rows = self.0.into_iter().map(|(folder, usage)| Row {
            owner: owner_of(&folder).map(|(_, owner)| owner.to_ss58()),
            folder: Some(folder),
            folders: 1,
            usage,
        });
        match by {
            By::Folder => rows.collect(),
            By::Miner => {
                let mut miners: BTreeMap<Option<String>, Row> = BTreeMap::new();
                for row in rows {
                    match miners.get_mut(&row.owner) {
                        Some(sum) => {
                            sum.folders = sum.folders.saturating_add(1);
                            sum.folder = None;
                            sum.usage.merge(&row.usage);
                        }
                        None => {
                            miners.insert(row.owner.clone(), row);
                        }
                    }
                }
                miners.into_values().collect()
            }
        }
    }
}

/// The folder of a key: `base` and at most `depth` folders below it.
fn folder_of<'a>(base: &str, depth: usize, key: &'a str) -> &'a str {
    let below = key.get(base.len()..).filter(|_| key.starts_with(base)).unwrap_or_default();
    let deeper: usize = match below.match_indices('/').take(depth).last() {
        Some((at, slash)) => at.saturating_add(slash.len()),
        None => 0,
    };
    key.get(..base.len().saturating_add(deeper)).unwrap_or(key)
}

/// What a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// A row for each folder
    Folder,
    /// A row for each address that names folders
    Miner,
}

/// How rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Order {
    /// The largest first
    Bytes,
    /// The one with most files first
    Files,
    /// The one with the newest file first
    Newest,
    /// By name
    Name,
}

/// A folder, or all folders of a miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// The address that names it.
    pub(crate) owner: Option<String>,
    /// None where the row is of several.
    pub(crate) folder: Option<String>,
    pub(crate) folders: u64,
    #[serde(flatten)]
    pub(crate) usage: Usage,
}

/// Puts rows in order; equal ones by name.
pub(crate) fn sort(rows: &mut [Row], order: Order) {
    rows.sort_by(|a, b| {
        let first = match order {
            Order::Bytes => b.usage.bytes.cmp(&a.usage.bytes),
            Order::Files => b.usage.files.cmp(&a.usage.files),
            Order::Newest => b.usage.newest.cmp(&a.usage.newest),
            Order::Name => std::cmp::Ordering::Equal,
        };
        first.then_with(|| (&a.owner, &a.folder).cmp(&(&b.owner, &b.folder)))
    });
    if order == Order::Name {
        rows.sort_by(|a, b| (&a.folder, &a.owner).cmp(&(&b.folder, &b.owner)));
    }
}

/// The sum of all rows.
pub(crate) fn total(rows: &[Row]) -> Usage {
    rows.iter().fold(Usage::default(), |mut sum, row| {
        sum.merge(&row.usage);
        sum
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONES: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";
    const TWOS: &str = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA";

    fn object(key: &str, size: u64, second: i64) -> Listed {
        let last_modified = Timestamp::from_second(second).ok();
        Listed { key: key.to_owned(), size, etag: String::new(), last_modified }
    }

    #[test]
    fn a_folder_ends_with_the_first_address_in_it() {
        for (path, folder) in [
            (format!("data/x/{ONES}/"), Some(format!("data/x/{ONES}/"))),
            (format!("data/x/{ONES}/a/b"), Some(format!("data/x/{ONES}/"))),
            (format!("data/hotkey={ONES}/job_id=j/"), Some(format!("data/hotkey={ONES}/"))),
            (format!("{ONES}/{TWOS}/"), Some(format!("{ONES}/"))),
            (format!("data/x/{ONES}"), None),
            ("data/x/".to_owned(), None),
            (format!("data/x/{}/", ONES.trim_start_matches('5')), None),
            (String::new(), None),
        ] {
            assert_eq!(owner_of(&path).map(|(folder, _)| folder.to_owned()), folder, "{path}");
        }
        assert_eq!(owner_of(&format!("h={ONES}/")).unwrap().1.to_ss58(), ONES);
    }

    fn tally(depth: usize) -> Tally {
        let mut tally = Tally::default();
        let (x, jobs) = (format!("data/x/{ONES}/"), format!("data/hotkey={TWOS}/"));
        for (base, name, size, second) in [
            (&x, "a", 10, 5),
            (&x, "", 0, 99),
            (&x, "sub/b", 20, 7),
            (&x, "sub/", 0, 99),
            (&jobs, "job_id=j1/c", 5, 1),
            (&jobs, "job_id=j2/d/e", 6, 2),
        ] {
            assert!(tally.add(base, depth, &object(&format!("{base}{name}"), size, second)));
        }
        tally
    }

    #[test]
    fn a_row_has_files_bytes_and_the_newest_of_a_folder() {
        let mut rows = tally(0).into_rows(By::Folder);
        sort(&mut rows, Order::Bytes);
        let shown: Vec<_> = rows.iter().map(|row| (row.usage.files, row.usage.bytes)).collect();
        assert_eq!(shown, [(2, 30), (2, 11)]);
        assert_eq!(rows[0].usage.newest_key, Some(format!("data/x/{ONES}/sub/b")));
        assert_eq!(rows[1].owner.as_deref(), Some(TWOS));
        let all = total(&rows);
        assert_eq!((all.files, all.bytes, all.newest), (4, 41, Timestamp::from_second(7).ok()));
    }

    #[test]
    fn deeper_rows_are_of_the_folders_in_a_folder() {
        let mut rows = tally(1).into_rows(By::Folder);
        sort(&mut rows, Order::Name);
        let shown: Vec<_> = rows.iter().map(|row| (row.folder.clone().unwrap(), row.usage.files)).collect();
        assert_eq!(
            shown,
            [
                (format!("data/hotkey={TWOS}/job_id=j1/"), 1),
                (format!("data/hotkey={TWOS}/job_id=j2/"), 1),
                (format!("data/x/{ONES}/"), 1),
                (format!("data/x/{ONES}/sub/"), 1),
            ]
        );
    }

    #[test]
    fn rows_by_miner_add_up_its_folders() {
        let mut tally = tally(1);
        let mut empty = Tally::default();
        empty.name_if_empty(&format!("data/reddit/{ONES}/"));
        assert!(tally.merge(empty));
        assert!(tally.add("data/", 0, &object("data/stray", 3, 3)));
        let mut rows = tally.into_rows(By::Miner);
        sort(&mut rows, Order::Files);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.owner.as_deref(), row.folders, row.usage.files, row.folder.is_some()))
            .collect();
        assert_eq!(shown, [(Some(ONES), 3, 2, false), (Some(TWOS), 2, 2, false), (None, 1, 1, true)]);
    }

    #[test]
    fn rows_are_in_the_order_that_is_asked_for() {
        let row = |folder: &str, files, bytes, second| Row {
            owner: None,
            folder: Some(folder.to_owned()),
            folders: 1,
            usage: Usage { files, bytes, newest: Timestamp::from_second(second).ok(), newest_key: None },
        };
        let mut rows = vec![row("b", 1, 9, 3), row("a", 1, 9, 2), row("c", 5, 1, 1)];
        for (order, expected) in
            [(Order::Bytes, "abc"), (Order::Files, "cab"), (Order::Newest, "bac"), (Order::Name, "abc")]
        {
            sort(&mut rows, order);
            let names: String = rows.iter().filter_map(|row| row.folder.clone()).collect();
            assert_eq!(names, expected, "{order:?}");
        }
    }

    proptest! {
        /// However a list is divided, the sums are the same.
        #[test]
        fn parts_of_a_list_add_up_to_the_whole(
            sizes in proptest::collection::vec((0_u64..1000, 0_i64..100, "[ab/]{0,6}"), 0..40),
            at in 0_usize..40, depth in 0_usize..3,
        ) {
            let objects: Vec<_> =
                sizes.iter().map(|(size, time, name)| object(&format!("r/{name}"), *size, *time)).collect();
            let (mut whole, mut first, mut second) = (Tally::default(), Tally::default(), Tally::default());
            for (index, object) in objects.iter().enumerate() {
                whole.add("r/", depth, object);
                (if index < at { &mut first } else { &mut second }).add("r/", depth, object);
            }
            prop_assert!(first.merge(second));
            let rows = |tally: Tally| {
                let rows = tally.into_rows(By::Folder).into_iter();
                let row = |row: Row| (row.folder, row.usage.files, row.usage.bytes, row.usage.newest);
                rows.map(row).collect::<Vec<_>>()
            };
            prop_assert_eq!(rows(first), rows(whole));
        }
    }
}
