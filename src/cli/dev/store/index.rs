//! The index of the development store: names, sizes, ETags and unfinished uploads. It is in memory, and in a
//! journal of one JSON line for each change.
//!
//! Invariant: a change that is in the journal is there after a restart. A last line that was cut short is
//! ignored, as is the blob it was about.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    ops::Bound,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// An object: which blob has its bytes, and what a listing says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectEntry {
    /// The name of the blob.
    pub(super) blob: String,
    pub(super) size: u64,
    /// Seconds since 1970; `Last-Modified` is no finer.
    pub(super) modified: u64,
    /// Without quotes.
    pub(super) etag: String,
}

/// A part of an unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartEntry {
    pub(super) size: u64,
    pub(super) modified: u64,
    pub(super) etag: String,
}

/// An unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UploadEntry {
    pub(super) bucket: String,
    pub(super) key: String,
    /// The blob that will have the object's bytes.
    pub(super) blob: String,
    pub(super) initiated: u64,
    pub(super) parts: BTreeMap<i32, PartEntry>,
}

/// A change of the index: one line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Put { bucket: String, key: String, entry: ObjectEntry },
    Delete { bucket: String, key: String },
    Begin { upload: String, bucket: String, key: String, blob: String, initiated: u64 },
    Part { upload: String, number: i32, part: PartEntry },
    End { upload: String },
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<(String, ObjectEntry)>,
    pub(super) prefixes: Vec<String>,
    /// The last name of the page, if more names follow.
    pub(super) next: Option<String>,
}

/// Names of one bucket, in the order of their UTF-8 bytes.
type Names = BTreeMap<String, ObjectEntry>;

/// All objects and unfinished uploads.
#[derive(Debug)]
pub(super) struct Index {
    buckets: BTreeMap<String, Names>,
    uploads: BTreeMap<String, UploadEntry>,
    journal: File,
}

impl Index {
    /// Reads the journal and writes it anew, with only what still exists.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut index =
            Self { buckets: BTreeMap::new(), uploads: BTreeMap::new(), journal: File::create(&fresh)? };
        match File::open(path) {
            Ok(file) => index.replay(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        index.write_all()?;
        fs::rename(&fresh, path)?;
        index.journal = OpenOptions::new().append(true).open(path)?;
        Ok(index)
    }

    fn replay(&mut self, lines: impl BufRead) -> io::Result<()> {
        for line in lines.split(b'\n') {
            if let Ok(change) = serde_json::from_slice(&line?) {
                self.apply(change);
            }
        }
        Ok(())
    }

    fn write_all(&self) -> io::Result<()> {
        let mut out = BufWriter::new(&self.journal);
        for (bucket, names) in &self.buckets {
            for (key, entry) in names {
                write_line(
                    &mut out,
                    &Change::Put { bucket: bucket.clone(), key: key.clone(), entry: entry.clone() },
                )?;
            }
        }
        for (id, upload) in &self.uploads {
            let UploadEntry { bucket, key, blob, initiated, parts } = upload.clone();
            write_line(&mut out, &Change::Begin { upload: id.clone(), bucket, key, blob, initiated })?;
            for (number, part) in parts {
                write_line(&mut out, &Change::Part { upload: id.clone(), number, part })?;
            }
        }
        out.flush()
    }

    /// Makes a change, in the journal first. Returns the object that it replaced or deleted.
    pub(super) fn record(&mut self, change: Change) -> io::Result<Option<ObjectEntry>> {
        write_line(&mut &self.journal, &change)?;
        Ok(self.apply(change))
    }

    fn apply(&mut self, change: Change) -> Option<ObjectEntry> {
        match change {
            Change::Put { bucket, key, entry } => self.buckets.entry(bucket).or_default().insert(key, entry),
            Change::Delete { bucket, key } => self.buckets.get_mut(&bucket)?.remove(&key),
            Change::Begin { upload, bucket, key, blob, initiated } => {
                self.uploads
                    .insert(upload, UploadEntry { bucket, key, blob, initiated, parts: BTreeMap::new() });
                None
            }
            Change::Part { upload, number, part } => {
                self.uploads.get_mut(&upload)?.parts.insert(number, part);
                None
            }
            Change::End { upload } => {
                self.uploads.remove(&upload);
                None
            }
        }
    }

    pub(super) fn object(&self, bucket: &str, key: &str) -> Option<&ObjectEntry> {
        self.buckets.get(bucket)?.get(key)
    }

    pub(super) fn is_empty(&self, bucket: &str) -> bool {
        self.buckets.get(bucket).is_none_or(BTreeMap::is_empty)
    }

    pub(super) fn upload(&self, id: &str) -> Option<&UploadEntry> {
        self.uploads.get(id)
    }

    /// The unfinished uploads of a bucket, sorted by key and then by id.
    pub(super) fn uploads(&self, bucket: &str, prefix: &str) -> Vec<(&str, &UploadEntry)> {
        let mut found: Vec<_> = self
            .uploads
            .iter()
            .filter(|(_, upload)| upload.bucket == bucket && upload.key.starts_with(prefix))
            .map(|(id, upload)| (id.as_str(), upload))
            .collect();
        found.sort_by(|(id, upload), (other_id, other)| (&upload.key, id).cmp(&(&other.key, other_id)));
        found
    }

    /// The blobs of a bucket that belong to an object.
    pub(super) fn blobs(&self, bucket: &str) -> impl Iterator<Item = &str> {
        self.buckets.get(bucket).into_iter().flatten().map(|(_, entry)| entry.blob.as_str())
    }

    /// The page of at most `max` names that follow `after`.
    pub(super) fn page(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: &str,
        after: &PageStart,
        max: usize,
    ) -> Page {
        self.buckets
            .get(bucket)
            .map_or_else(Page::default, |names| page(names, prefix, delimiter, after, max))
    }
}

/// Where a page starts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PageStart {
    /// At the first name.
    Beginning,
    /// After this name.
    After(String),
    /// After every name with this prefix: the page before ended with that common prefix.
    AfterPrefix(String),
}

fn page(names: &Names, prefix: &str, delimiter: &str, after: &PageStart, max: usize) -> Page {
    let mut page = Page::default();
    let mut start = match after {
        PageStart::After(name) if name.as_str() >= prefix => Bound::Excluded(name.clone()),
        PageStart::AfterPrefix(passed) if passed.as_str() >= prefix => match successor(passed) {
            Some(next) => Bound::Included(next),
            None => return page,
        },
        PageStart::Beginning | PageStart::After(_) | PageStart::AfterPrefix(_) => {
            Bound::Included(prefix.to_owned())
        }
    };
    let mut last = None;
    while let Some((key, entry)) = names.range((start.clone(), Bound::Unbounded)).next() {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        if page.objects.len().saturating_add(page.prefixes.len()) >= max {
            page.next = last;
            break;
        }
        let common = match rest.split_once(delimiter) {
            Some((head, _)) if !delimiter.is_empty() => Some(format!("{prefix}{head}{delimiter}")),
            Some(_) | None => None,
        };
        match common {
            Some(common) => {
                last = Some(common.clone());
                start = match successor(&common) {
                    Some(next) => Bound::Included(next),
                    None => Bound::Excluded(key.clone()),
                };
                page.prefixes.push(common);
            }
            None => {
                last = Some(key.clone());
                start = Bound::Excluded(key.clone());
                page.objects.push((key.clone(), entry.clone()));
            }
        }
    }
    page
}

/// The first name after all names with `prefix`; `None` if there is none.
fn successor(prefix: &str) -> Option<String> {
    let mut name = prefix.to_owned();
    loop {
        let next = match name.pop()? {
            '\u{d7ff}' => Some('\u{e000}'),
            last => u32::from(last).checked_add(1).and_then(char::from_u32),
        };
        if let Some(next) = next {
            name.push(next);
            return Some(name);
        }
    }
}

fn write_line(out: &mut impl Write, change: &Change) -> io::Result<()> {
    let mut line = serde_json::to_vec(change)?;
    line.push(b'\n');
    out.write_all(&line)
}

/// The journal in the store's directory.
pub(super) fn journal_path(root: &Path) -> PathBuf {
    root.join(".index.jsonl")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(blob: &str) -> ObjectEntry {
        ObjectEntry { blob: blob.to_owned(), size: 1, modified: 2, etag: "e".to_owned() }
    }

    fn names(keys: &[&str]) -> Names {
        keys.iter().map(|key| ((*key).to_owned(), entry("b"))).collect()
    }

    fn all(names: &Names, prefix: &str, delimiter: &str, max: usize) -> Vec<String> {
        let (mut found, mut after) = (Vec::new(), PageStart::Beginning);
        loop {
            let page = page(names, prefix, delimiter, &after, max);
            let mut here: Vec<_> =
                page.objects.into_iter().map(|(key, _)| key).chain(page.prefixes).collect();
            assert!(here.len() <= max);
            here.sort();
            found.extend(here);
            after = match page.next {
                None => return found,
                Some(next) if !delimiter.is_empty() && next.ends_with(delimiter) => {
                    PageStart::AfterPrefix(next)
                }
                Some(next) => PageStart::After(next),
            };
        }
    }

    #[test]
    fn pages_of_any_size_make_the_same_listing() {
        let names = names(&["a", "a/1", "a/2", "a0", "b/1/x", "b/2", "c", "é/1", "é/2"]);
        for max in 1..12 {
            assert_eq!(all(&names, "", "/", max), ["a", "a/", "a0", "b/", "c", "é/"]);
            assert_eq!(all(&names, "b/", "/", max), ["b/1/", "b/2"]);
            assert_eq!(all(&names, "a", "", max), ["a", "a/1", "a/2", "a0"]);
        }
        assert_eq!(page(&names, "", "/", &PageStart::Beginning, 0), Page::default());
        assert_eq!(page(&names, "x", "/", &PageStart::After("a".to_owned()), 5), Page::default());
    }

    #[test]
    fn the_journal_brings_everything_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = journal_path(dir.path());
        let put =
            |key: &str, blob: &str| Change::Put { bucket: "b".into(), key: key.into(), entry: entry(blob) };
        let mut index = Index::open(&path).unwrap();
        assert_eq!(index.record(put("k", "1")).unwrap(), None);
        assert_eq!(index.record(put("k", "2")).unwrap(), Some(entry("1")));
        index.record(put("gone", "3")).unwrap();
        index.record(Change::Delete { bucket: "b".into(), key: "gone".into() }).unwrap();
        let begin = |upload: &str| Change::Begin {
            upload: upload.into(),
            bucket: "b".into(),
            key: "k".into(),
            blob: "4".into(),
            initiated: 1,
        };
        index.record(begin("u")).unwrap();
        index.record(begin("over")).unwrap();
        let part = PartEntry { size: 1, modified: 2, etag: "p".into() };
        index.record(Change::Part { upload: "u".into(), number: 3, part: part.clone() }).unwrap();
        index.record(Change::End { upload: "over".into() }).unwrap();
        drop(index);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"put\":{\"bucket\":\"b\",\"key\":\"cut").unwrap();
        for _ in 0..2 {
            let index = Index::open(&path).unwrap();
            assert_eq!(index.object("b", "k"), Some(&entry("2")));
            assert_eq!(index.blobs("b").collect::<Vec<_>>(), ["2"]);
            assert_eq!(index.upload("u").unwrap().parts[&3], part);
            assert_eq!(index.uploads("b", "").len(), 1);
        }
    }

    proptest! {
        #[test]
        fn the_successor_is_behind_every_name_with_the_prefix(prefix in "\\PC{1,4}", rest in "\\PC{0,4}") {
            let next = successor(&prefix).unwrap();
            prop_assert!(prefix < next);
            for rest in [rest.as_str(), "\u{10ffff}"] {
                let longer = prefix.clone() + rest;
                prop_assert!(longer < next);
            }
        }
    }
}
