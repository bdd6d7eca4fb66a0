//! Files and rules to jobs and refusals, all at once; and what may be deleted. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    local_file::{LocalFile, shown},
    scan::{Found, NotTaken},
    selection::Selection,
};
use crate::{
    client::object::Listed,
    transfer::{
        names::Rules,
        report::{Outcome, Row},
    },
};

/// A file and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) file: Arc<LocalFile>,
    pub(crate) key: String,
}

/// What is to be done, and what cannot be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) jobs: Vec<Job>,
    /// To be told before anything is sent.
    pub(crate) refused: Vec<Row>,
    pub(super) left_out: Vec<Row>,
    /// The names of what is left out, of files and of whole directories.
    pub(super) left_names: Vec<String>,
}

impl Job {
    /// Its row in the report.
    pub(super) fn row(&self, outcome: Outcome, detail: impl Into<String>) -> Row {
        Row {
            outcome,
            path: shown(&self.file.path),
            key: self.key.clone(),
            bytes: self.file.stamp.size,
            detail: detail.into(),
        }
    }
}

fn row(outcome: Outcome, not_taken: NotTaken) -> Row {
    Row { outcome, path: not_taken.path, key: String::new(), bytes: 0, detail: not_taken.why }
}

/// Plans for what was found, below `prefix`.
pub(super) fn plan(found: Found, prefix: &str, rules: &Rules) -> Plan {
    let left_names = found.left_out.iter().map(|left_out| left_out.name.clone());
    let mut plan = Plan {
        left_names: left_names.filter(|name| !name.is_empty()).collect(),
        refused: found.faults.into_iter().map(|fault| row(Outcome::Refused, fault)).collect(),
        left_out: found.left_out.into_iter().map(|left_out| row(Outcome::LeftOut, left_out)).collect(),
        ..Plan::default()
    };
    let mut taken: HashMap<String, usize> = HashMap::new();
    for file in found.files {
        let job = Job { key: format!("{prefix}{}", file.name), file: Arc::new(file) };
        if let Err(why) = rules.check(&job.key, job.file.stamp.size) {
            plan.refused.push(job.row(Outcome::Refused, why));
            continue;
        }
        match taken.get(&job.key).and_then(|index| plan.jobs.get(*index)) {
            Some(other) if other.file.path == job.file.path => {}
            Some(other) => {
                let why = format!("{} has the same key: rename one of them", shown(&other.file.path));
                plan.refused.push(job.row(Outcome::Refused, why));
            }
            None => {
                taken.insert(job.key.clone(), plan.jobs.len());
                plan.jobs.push(job);
            }
        }
    }
    plan
}

/// What stands below the prefix and has no file here: the objects that `--delete` deletes. What is left out
/// here by its name is not missing here, and folder markers are nobody's files.
pub(super) fn deletions<'a>(
    listing: &'a BTreeMap<String, Listed>,
    prefix: &str,
    jobs: &[Job],
    left_names: &[String],
    selection: &Selection,
) -> Vec<&'a Listed> {
    let here: HashSet<&str> = jobs.iter().map(|job| job.key.as_str()).collect();
    let left: HashSet<&str> = left_names.iter().map(String::as_str).collect();
    // The name itself, or a directory above it.
    let is_left = |name: &str| {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        ends.filter_map(|end| name.get(..end)).any(|start| left.contains(start))
    };
    let is_missing = |listed: &&Listed| {
        let Some(name) = listed.key.strip_prefix(prefix) else { return false };
        !here.contains(listed.key.as_str())
            && !name.ends_with('/')
            && selection.check(name).is_ok()
            && !is_left(name)
    };
    listing.values().filter(is_missing).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::{
        super::{local_file::Stamp, scan::Source},
        *,
    };
    use crate::{client::structure::Structure, transfer::filter::Filter};

    const PREFIX: &str = "data/x/5F/";

    fn rules(bytes_min: u64) -> Rules {
        let structure = Structure { object_bytes_min: Some(bytes_min), ..Structure::default() };
        Rules::new(&[PREFIX.to_owned()], &structure)
    }

    fn file(path: &str, name: &str, stamp: Stamp) -> LocalFile {
        LocalFile { path: path.into(), name: name.to_owned(), stamp }
    }

    fn not_taken(path: &str, name: &str, why: &str) -> NotTaken {
        NotTaken { path: path.to_owned(), name: name.to_owned(), why: why.to_owned() }
    }

    fn stamp(dir: &Path, bytes: usize) -> Stamp {
        let path = dir.join(format!("of-{bytes}"));
        fs::write(&path, vec![0; bytes]).unwrap();
        Stamp::of(&fs::metadata(path).unwrap())
    }

    fn listing(keys: &[&str]) -> BTreeMap<String, Listed> {
        let listed = keys.iter().map(|key| {
            let listed = Listed { key: (*key).to_owned(), size: 1, etag: String::new(), last_modified: None };
            (listed.key.clone(), listed)
        });
        listed.collect()
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (small, good) = (stamp(dir.path(), 3), stamp(dir.path(), 10));
        let found = Found {
            files: vec![
                file("/l/a", "a", good),
                file("/l/b", "b", small),
                file("/l/c", "c\n", good),
                file("/m/a", "a", good),
                file("/l/a", "a", good),
            ],
            left_out: vec![not_taken("/l/.x", ".x", "hidden")],
            faults: vec![not_taken("/l/y", "", "unreadable")],
        };
        let plan = plan(found, PREFIX, &rules(5));
        let keys: Vec<&str> = plan.jobs.iter().map(|job| job.key.as_str()).collect();
        assert_eq!(keys, ["data/x/5F/a"]);
        let details: Vec<&str> = plan.refused.iter().map(|row| row.detail.as_str()).collect();
        assert_eq!(details.len(), 4, "{details:?}");
        for (detail, words) in
            details.iter().zip(["unreadable", "3 bytes", "control character", "/l/a has the same key"])
        {
            assert!(detail.contains(words), "{detail}");
        }
        assert_eq!(plan.left_out.len(), 1);
    }

    #[test]
    fn only_what_is_missing_here_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let found = Found {
            files: vec![file("/l/a", "a", stamp(dir.path(), 10))],
            left_out: vec![not_taken("/l/link", "link", "a link that leads out of the directory")],
            ..Found::default()
        };
        let plan = plan(found, PREFIX, &rules(0));
        let there = listing(&[
            "data/x/5F/a",
            "data/x/5F/b",
            "data/x/5F/c/d",
            "data/x/5F/c/",
            "data/x/5F/e.tmp",
            "data/x/5F/.f",
            "data/x/5F/g.csv",
            "data/x/5F/link",
            "data/x/5F/link/a",
            "data/x/5F/linked",
            "data/x/5G/h",
        ]);
        let deleted = |selection: &Selection| {
            let deletions = deletions(&there, PREFIX, &plan.jobs, &plan.left_names, selection);
            deletions.into_iter().map(|listed| listed.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            deleted(&Selection::default()),
            ["data/x/5F/b", "data/x/5F/c/d", "data/x/5F/g.csv", "data/x/5F/linked"]
        );
        let filter = Filter::new(&[], &["*.csv".to_owned()]).unwrap();
        let selection = Selection { filter, takes_all_names: true };
        assert_eq!(
            deleted(&selection),
            ["data/x/5F/.f", "data/x/5F/b", "data/x/5F/c/d", "data/x/5F/e.tmp", "data/x/5F/linked"]
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_here_and_nothing_outside_the_prefix_is_deleted(
            here in prop::collection::hash_set("[a-c]{1,2}(/[a-c])?", 0..8),
            there in prop::collection::hash_set("(data/x/5F/|data/x/|)[a-c.]{1,3}(/[a-c])?", 0..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let stamp = stamp(dir.path(), 1);
            let files = here.iter().map(|name| file(&format!("/l/{name}"), name, stamp)).collect();
            let plan = plan(Found { files, ..Found::default() }, PREFIX, &rules(0));
            let keys: Vec<&str> = there.iter().map(String::as_str).collect();
            let listing = listing(&keys);
            for listed in deletions(&listing, PREFIX, &plan.jobs, &[], &Selection::default()) {
                prop_assert!(listed.key.starts_with(PREFIX));
                prop_assert!(!here.contains(listed.key.strip_prefix(PREFIX).unwrap()));
            }
            prop_assert_eq!(plan.jobs.len() + plan.refused.len(), here.len());
        }
    }

    #[test]
    fn a_directory_is_planned_as_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("job")).unwrap();
        fs::write(dir.path().join("job/a b"), "x").unwrap();
        let mut found = Found::default();
        Source::of(dir.path()).unwrap().scan(&Selection::default(), &mut found);
        assert_eq!(plan(found, PREFIX, &rules(0)).jobs[0].key, "data/x/5F/job/a b");
    }
}
