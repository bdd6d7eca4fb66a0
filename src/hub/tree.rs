//! The list of a repository's files: pages of `GET /api/datasets/{repo}/tree/{commit}?recursive=true`.
//!
//! Invariants: a path is one that cannot leave the repository; a file has one hash of its content; a path
//! stands in the list once.

use std::collections::HashSet;

use serde::Deserialize;

use super::hash::{ContentHash, parse_hex};

/// More than any dataset of small files has; the list is kept in memory.
pub(crate) const FILES_MAX: usize = 1_000_000;

/// What a path may have at most: Git's own bound is the file system's.
const PATH_BYTES_MAX: usize = 4096;

/// What all paths may have together: a million of the usual kind have a quarter.
const PATHS_BYTES_MAX: usize = 256 << 20;

/// A file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) hash: ContentHash,
}

impl HubFile {
    /// Its path in the repository.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The bytes of its content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash of its content.
    pub(crate) fn hash(&self) -> ContentHash {
        self.hash
    }
}

/// One page of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The files of it.
    pub files: Vec<HubFile>,
    /// Paths of what is neither a file nor a folder, such as a submodule.
    pub strange: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let entries: Vec<Entry> =
            serde_json::from_slice(text).map_err(|_| "its list of files is not the API's JSON".to_owned())?;
        let mut page = Self::default();
        for entry in entries {
            if !is_path(&entry.path) {
                return Err(format!("its list of files holds the path {:?}", shortened(&entry.path)));
            }
            match entry.kind.as_str() {
                "file" => page.files.push(file(entry)?),
                "directory" => {}
                _ => page.strange.push(entry.path),
            }
        }
        Ok(page)
    }
}

fn file(entry: Entry) -> Result<HubFile, String> {
    let fault = || format!("its list of files has no hash and size of {:?}", entry.path);
    let (hash, size) = match &entry.lfs {
        Some(lfs) => (ContentHash::Sha256(parse_hex(&lfs.oid).ok_or_else(fault)?), lfs.size),
        None => {
            (ContentHash::GitBlob(parse_hex(&entry.oid).ok_or_else(fault)?), entry.size.ok_or_else(fault)?)
        }
    };
    Ok(HubFile { path: entry.path, size, hash })
}

/// Whether it is a path below the repository's root, as Git has them.
fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

/// The pages of a list put together.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// All files.
    pub(crate) files: Vec<HubFile>,
    /// Paths of what is neither a file nor a folder.
    pub(crate) strange: Vec<String>,
    paths: HashSet<String>,
    /// Whatever was listed.
    entries: usize,
    /// The bytes of all names.
    path_bytes: usize,
}

impl Tree {
    /// Adds a page.
    ///
    /// # Errors
    /// What is wrong with it beside those before it.
    pub(super) fn add(&mut self, page: Page) -> Result<(), String> {
        self.entries = self.entries.saturating_add(page.files.len()).saturating_add(page.strange.len());
        if self.entries > FILES_MAX {
            return Err(format!("it has more than {FILES_MAX} files"));
        }
        let bytes = page.files.iter().map(|file| file.path.len()).chain(page.strange.iter().map(String::len));
        self.path_bytes = bytes.fold(self.path_bytes, usize::saturating_add);
        if self.path_bytes > PATHS_BYTES_MAX {
            return Err(format!("the names of its files have more than {PATHS_BYTES_MAX} bytes"));
        }
        for file in page.files {
            if !self.paths.insert(file.path.clone()) {
                return Err(format!("its list of files names {:?} twice", shortened(&file.path)));
            }
            self.files.push(file);
        }
        self.strange.extend(page.strange);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOB: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_page_has_the_files_with_the_hash_of_their_content() {
        let page = format!(
            r#"[{{"type":"directory","oid":"{BLOB}","size":0,"path":"data"}},
            {{"type":"file","oid":"{BLOB}","size":6,"path":"README.md","unknown":[1]}},
            {{"type":"file","oid":"{BLOB}","size":134,"path":"data/a.parquet","xetHash":"x",
              "lfs":{{"oid":"{SHA256}","size":5000000000,"pointerSize":134}}}},
            {{"type":"commit","oid":"{BLOB}","path":"module"}}]"#
        );
        let page = Page::parse(page.as_bytes()).unwrap();
        let shown: Vec<_> =
            page.files.iter().map(|file| format!("{} {} {}", file.path, file.size, file.hash)).collect();
        assert_eq!(
            shown,
            [format!("README.md 6 git:{BLOB}"), format!("data/a.parquet 5000000000 sha256:{SHA256}")]
        );
        assert_eq!(page.strange, ["module"]);
    }

    #[test]
    fn what_is_no_list_of_files_is_refused() {
        let entry = |path: &str, oid: &str| {
            format!(r#"[{{"type":"file","oid":"{oid}","size":6,"path":"{path}"}}]"#).into_bytes()
        };
        assert!(Page::parse(&entry("a/b", BLOB)).is_ok());
        for path in ["", "/a", "a//b", "../a", "a/./b", "a/", "a\\u0000b", &"x".repeat(4097)] {
            assert!(Page::parse(&entry(path, BLOB)).is_err(), "{path}");
        }
        for text in ["", "{}", "[1]", r#"{"error":"x"}"#, "<html>"] {
            assert!(Page::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Page::parse(&entry("a", "zz")).unwrap_err().contains("\"a\""));
        let without_size = format!(r#"[{{"type":"file","oid":"{BLOB}","path":"a"}}]"#);
        assert!(Page::parse(without_size.as_bytes()).is_err());
    }

    #[test]
    fn a_path_stands_in_the_list_once() {
        let page = || Page {
            files: vec![HubFile { path: "a".to_owned(), size: 1, hash: ContentHash::GitBlob([0; 20]) }],
            strange: Vec::new(),
        };
        let mut tree = Tree::default();
        tree.add(page()).unwrap();
        assert!(tree.add(page()).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_list_takes_a_bounded_memory_whatever_it_holds() {
        let mut tree = Tree::default();
        let strange = |count, length| Page { files: Vec::new(), strange: vec!["x".repeat(length); count] };
        tree.add(strange(FILES_MAX, 1)).unwrap();
        assert!(tree.add(strange(1, 1)).unwrap_err().contains("files"));
        let mut tree = Tree { path_bytes: PATHS_BYTES_MAX - 10, ..Tree::default() };
        tree.add(strange(1, 10)).unwrap();
        assert!(tree.add(strange(1, 1)).unwrap_err().contains("bytes"));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_without_a_panic(text: Vec<u8>) {
            let _ = Page::parse(&text);
        }
    }
}
