//! What is to be downloaded, and what is refused, out of a whole list. Pure: the file system's ways are an
//! argument.
//!
//! All faults are found before the first byte is asked for. Where two keys are one name here, the first in
//! the list's order is taken, and where a key is a file and a folder, the folder.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use super::local_path::{Folding, LocalPath, NameFault, relative_to};
use crate::{client::object::Listed, transfer::filter::Filter};

/// How the file system takes names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) bytes_max: usize,
    pub(crate) folding: Folding,
}

/// An object and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) object: Listed,
    pub(crate) path: LocalPath,
}

/// An object that can be no file here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) object: Listed,
    pub(crate) fault: Fault,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Name(#[from] NameFault),
    #[error("it is the same name as {0:?} on this file system")]
    SameName(String),
    #[error("it is also a folder, with {0:?} in it")]
    IsFolder(String),
}

impl Fault {
    /// What a person can do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Name(NameFault::OutsideOfPrefix) => {
                "the list is wrong: tell the operator of the server; nothing is written for it"
            }
            Self::Name(_) => {
                "such a name is never written here; read it by `aws s3api get-object` if you must"
            }
            Self::SameName(_) => "download it alone, with --include, to another --to",
            Self::IsFolder(_) => "download it alone, with its whole key and --include, to another --to",
        }
    }
}

/// What is to be done with a whole list.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order of the list.
    pub(crate) files: Vec<Planned>,
    pub(crate) refused: Vec<Refused>,
    /// Markers of folders: nothing is made of them.
    pub(crate) markers: u64,
    /// What `--include` and `--exclude` leave out.
    pub(crate) left_out: u64,
}

/// Who has a name.
struct Owner {
    /// The path as its first key spells it.
    spelling: String,
    is_folder: bool,
    /// The first key that made it.
    key: String,
}

/// Plans the download of `objects`, all that is listed under `prefix`.
pub(crate) fn plan(prefix: &str, objects: Vec<Listed>, filter: &Filter, names: Names) -> Plan {
    let mut plan = Plan::default();
    let mut candidates = Vec::with_capacity(objects.len());
    for object in objects {
        match candidate(prefix, &object, filter, names) {
            Candidate::File(path) => candidates.push(Planned { object, path }),
            Candidate::Marker => plan.markers = plan.markers.saturating_add(1),
            Candidate::LeftOut => plan.left_out = plan.left_out.saturating_add(1),
            Candidate::Refused(fault) => plan.refused.push(Refused { object, fault: fault.into() }),
        }
    }
    // Folders first: what is below one decides that the name is a folder's.
    let mut owners: HashMap<String, Owner> = HashMap::new();
    for Planned { object, path } in &candidates {
        for folder in path.folders() {
            owners.entry(names.folding.fold(folder)).or_insert_with(|| Owner {
                spelling: folder.to_owned(),
                is_folder: true,
                key: object.key.clone(),
            });
        }
    }
    let mut seen: HashSet<String> = HashSet::new();
    for Planned { object, path } in candidates {
        let fault = taken(&mut owners, &object, &path, names.folding)
            .or_else(|| (!seen.insert(object.key.clone())).then(|| Fault::SameName(object.key.clone())));
        match fault {
            None => plan.files.push(Planned { object, path }),
            Some(fault) => plan.refused.push(Refused { object, fault }),
        }
    }
    plan
}

enum Candidate {
    File(LocalPath),
    Marker,
    LeftOut,
    Refused(NameFault),
}

fn candidate(prefix: &str, object: &Listed, filter: &Filter, names: Names) -> Candidate {
    let relative = match relative_to(prefix, &object.key) {
        Ok(relative) => relative,
        Err(fault) => return Candidate::Refused(fault),
    };
    let is_marker = relative.is_empty() || relative.ends_with('/');
    if is_marker && object.size == 0 {
        return Candidate::Marker;
    }
    if !filter.takes(relative.trim_end_matches('/')) {
        return Candidate::LeftOut;
    }
    if is_marker {
        return Candidate::Refused(NameFault::FolderWithBytes);
    }
    match LocalPath::new(relative, names.bytes_max) {
        Ok(path) => Candidate::File(path),
        Err(fault) => Candidate::Refused(fault),
    }
}

/// Who has that name, or one of the folders on the way to it in another spelling; otherwise it is taken.
fn taken(
    owners: &mut HashMap<String, Owner>,
    object: &Listed,
    path: &LocalPath,
    folding: Folding,
) -> Option<Fault> {
    for folder in path.folders() {
        let owner = owners.get(&folding.fold(folder))?;
        if owner.spelling != folder {
            return Some(Fault::SameName(owner.key.clone()));
        }
    }
    match owners.entry(folding.fold(path.as_str())) {
        Entry::Occupied(owner) if owner.get().is_folder => Some(Fault::IsFolder(owner.get().key.clone())),
        Entry::Occupied(owner) => Some(Fault::SameName(owner.get().key.clone())),
        Entry::Vacant(free) => {
            let spelling = path.as_str().to_owned();
            free.insert(Owner { spelling, is_folder: false, key: object.key.clone() });
            None
        }
    }
}

/// What there is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) bytes: u64,
    /// Files that can be made; none where the file system has no such number.
    pub(crate) files: Option<u64>,
}

/// What a file takes: its size, that of the file which it replaces, and what of it is here already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) bytes: u64,
    pub(crate) replaced_bytes: Option<u64>,
    pub(crate) partial_bytes: u64,
}

/// Room that is left for everybody else, and for what a file system keeps of files beside their bytes.
const SPARE_BYTES: u64 = 64 << 20;

/// What a whole download takes at its fullest. A file that is replaced goes only when the new one is whole,
/// and as many as are under way stand twice.
pub(crate) fn space_needed(needs: &[Need], parallel: usize) -> Space {
    let mut replaced: Vec<u64> = needs.iter().filter_map(|need| need.replaced_bytes).collect();
    replaced.sort_unstable_by(|a, b| b.cmp(a));
    let twice = replaced.iter().take(parallel).fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
    let grown = |need: &Need| {
        need.bytes.saturating_sub(need.replaced_bytes.unwrap_or_default()).saturating_sub(need.partial_bytes)
    };
    let bytes = needs.iter().fold(twice, |sum, need| sum.saturating_add(grown(need)));
    let bytes = if needs.is_empty() { 0 } else { bytes.saturating_add(SPARE_BYTES) };
    let files = needs.iter().filter(|need| need.replaced_bytes.is_none()).count();
    Space { bytes, files: Some(u64::try_from(files).unwrap_or(u64::MAX)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFIX: &str = "data/x/5C/";
    const FOLDS: Folding = Folding { case: true, accents: true };

    fn object(key: &str, size: u64) -> Listed {
        Listed {
            key: key.to_owned(),
            size,
            etag: "0cc175b9c0f1b6a831c399e269772661".to_owned(),
            last_modified: None,
        }
    }

    fn planned(names: &[&str], folding: Folding) -> Plan {
        let objects = names.iter().map(|name| object(&format!("{PREFIX}{name}"), 1)).collect();
        plan(PREFIX, objects, &Filter::default(), Names { bytes_max: 255, folding })
    }

    fn paths(plan: &Plan) -> Vec<&str> {
        plan.files.iter().map(|file| file.path.as_str()).collect()
    }

    fn refused(plan: &Plan) -> Vec<(&str, String)> {
        let row = |refused: &'_ Refused| refused.fault.to_string();
        plan.refused
            .iter()
            .map(|refused| (refused.object.key.strip_prefix(PREFIX).unwrap(), row(refused)))
            .collect()
    }

    #[test]
    fn what_is_no_file_is_refused_or_counted_and_the_rest_goes_on() {
        let objects = vec![
            object(PREFIX, 0),
            object(&format!("{PREFIX}empty/"), 0),
            object(&format!("{PREFIX}full/"), 3),
            object(&format!("{PREFIX}a"), 1),
            object(&format!("{PREFIX}../b"), 1),
            object(&format!("{PREFIX}tmp/c"), 1),
            object("data/x/5D/theirs", 1),
        ];
        let filter = Filter::new(&[], &["tmp/*".to_owned()]).unwrap();
        let plan = plan(PREFIX, objects, &filter, Names { bytes_max: 255, folding: Folding::default() });
        assert_eq!((paths(&plan), plan.markers, plan.left_out), (vec!["a"], 2, 1));
        let faults: Vec<_> = plan.refused.iter().map(|refused| refused.fault.clone()).collect();
        assert_eq!(
            faults,
            [
                Fault::Name(NameFault::FolderWithBytes),
                Fault::Name(NameFault::Dots),
                Fault::Name(NameFault::OutsideOfPrefix)
            ]
        );
    }

    #[test]
    fn a_key_that_is_file_and_folder_gives_way_to_the_folder() {
        let plan = planned(&["a", "a/b", "a/c", "b"], Folding::default());
        assert_eq!(paths(&plan), ["a/b", "a/c", "b"]);
        assert_eq!(refused(&plan), [("a", "it is also a folder, with \"data/x/5C/a/b\" in it".to_owned())]);
        // In whichever order they come.
        assert_eq!(paths(&planned(&["a/b", "a"], Folding::default())), ["a/b"]);
    }

    #[test]
    fn keys_of_one_name_are_told_apart_only_where_the_file_system_does() {
        let names = ["A", "D/x", "a", "d/y", "e\u{301}", "é"];
        assert_eq!(paths(&planned(&names, Folding::default())), names);
        let plan = planned(&names, FOLDS);
        assert_eq!(paths(&plan), ["A", "D/x", "e\u{301}"]);
        let same = |key: &str| format!("it is the same name as \"data/x/5C/{key}\" on this file system");
        assert_eq!(refused(&plan), [("a", same("A")), ("d/y", same("D/x")), ("é", same("e\\u{301}"))]);
        assert_eq!(paths(&planned(&["a/b", "A"], FOLDS)), ["a/b"]);
        // A list that says a key twice is no reason to write it twice.
        assert_eq!(paths(&planned(&["a", "a"], Folding::default())), ["a"]);
    }

    #[test]
    fn space_is_what_the_fullest_moment_takes() {
        let need = |bytes, replaced_bytes, partial_bytes| Need { bytes, replaced_bytes, partial_bytes };
        assert_eq!(space_needed(&[], 8), Space { bytes: 0, files: Some(0) });
        let needs = [need(10, None, 0), need(100, None, 60), need(5, Some(50), 0), need(70, Some(20), 0)];
        let space = space_needed(&needs, 1);
        assert_eq!(space, Space { bytes: 10 + 40 + 50 + 50 + SPARE_BYTES, files: Some(2) });
        assert_eq!(space_needed(&needs, 8).bytes, 10 + 40 + 50 + 50 + 20 + SPARE_BYTES);
        assert_eq!(space_needed(&[need(u64::MAX, None, 0), need(1, None, 0)], 1).bytes, u64::MAX);
    }

    proptest! {
        /// No two files of a plan are one file, none is a folder of another, and nothing is lost.
        #[test]
        fn files_of_a_plan_stand_beside_each_other(
            names in proptest::collection::vec("([aAbé]|e\u{301}|\\.\\.|c/|/|B/){1,4}", 0..12),
            folds in any::<bool>(),
        ) {
            let folding = if folds { FOLDS } else { Folding::default() };
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let plan = planned(&names, folding);
            let folded: Vec<String> = paths(&plan).iter().map(|path| folding.fold(path)).collect();
            let distinct: HashSet<&String> = folded.iter().collect();
            prop_assert_eq!(distinct.len(), folded.len());
            for path in &folded {
                let inside = format!("{path}/");
                prop_assert!(!folded.iter().any(|other| other.starts_with(&inside)), "{:?}", folded);
            }
            prop_assert_eq!(plan.files.len() + plan.refused.len(), names.len());
        }
    }
}
