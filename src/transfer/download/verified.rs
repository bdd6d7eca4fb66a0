//! Which files have been compared with their objects before, so that they are not read anew each time. \[IO\]
//!
//! An entry counts while the file is the same one with the same times and size, and the object has the same
//! ETag: then neither has changed since. It is a memory and nothing else: without it, files are read again.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::folder::{Identity, WorkFolder};

const NAME: &str = "verified.jsonl";

/// The name of the file while it is written anew.
const NEXT_NAME: &str = "verified.jsonl.next";

/// Entries of two million files are read; whoever has more has them read again.
const ENTRIES_MAX: usize = 2_000_000;

/// A line has about 200 bytes.
const LINE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: String,
    etag: String,
    size: u64,
    inode: u64,
    modified: i64,
    changed: i64,
    /// Whether nothing but the size could be compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_size: bool,
}

/// What a file has been compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Proof,
    Size,
}

impl Entry {
    fn new(id: &str, etag: &str, file: Identity, by: By) -> Self {
        Self {
            id: id.to_owned(),
            etag: etag.to_owned(),
            size: file.size,
            inode: file.inode,
            modified: file.modified_nanos,
            changed: file.changed_nanos,
            by_size: by == By::Size,
        }
    }
}

/// The files that are known, and the file in which that is written.
pub(crate) struct Verified {
    known: HashMap<String, Entry>,
    file: Option<Mutex<File>>,
}

impl Verified {
    /// Nothing known, and nothing kept.
    pub(crate) fn nothing() -> Self {
        Self { known: HashMap::new(), file: None }
    }

    /// What earlier downloads wrote.
    pub(crate) fn load(work: &WorkFolder) -> io::Result<Self> {
        let (known, lines) = match work.open(NAME)? {
            Some(file) => read(file)?,
            None => (HashMap::new(), 0),
        };
        // What was said of files that have changed since is left behind now and then.
        if lines > known.len().saturating_mul(2).saturating_add(1000) {
            let mut next = io::BufWriter::new(work.create(NEXT_NAME)?);
            for entry in known.values() {
                writeln!(next, "{}", serde_json::to_string(entry)?)?;
            }
            next.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
            work.rename(NEXT_NAME, NAME)?;
        }
        Ok(Self { known, file: Some(Mutex::new(work.append(NAME)?)) })
    }

    /// By what that file has been compared with that object, if it has and neither has changed since.
    pub(crate) fn knows(&self, id: &str, etag: &str, file: Identity) -> Option<By> {
        let known = self.known.get(id).filter(|_| !etag.is_empty())?;
        [By::Proof, By::Size].into_iter().find(|by| *known == Entry::new(id, etag, file, *by))
    }

    /// That they have been compared. What cannot be written is read again another time.
    pub(crate) fn add(&self, id: &str, etag: &str, file: Identity, by: By) {
        let line = serde_json::to_string(&Entry::new(id, etag, file, by));
        let (Some(out), Ok(line)) = (&self.file, line) else { return };
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(format!("{line}\n").as_bytes());
    }
}

/// The last entry of each object, and how many lines there are.
fn read(file: File) -> io::Result<(HashMap<String, Entry>, usize)> {
    let mut reader = BufReader::new(file);
    let (mut known, mut lines, mut line) = (HashMap::new(), 0_usize, Vec::new());
    loop {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if line.is_empty() || known.len() >= ENTRIES_MAX {
            return Ok((known, lines));
        }
        lines = lines.saturating_add(1);
        if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
            known.insert(entry.id.clone(), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::folder::Folder, *};

    const FILE: Identity = Identity { size: 3, inode: 4, modified_nanos: 5, changed_nanos: 6 };

    #[test]
    fn a_file_is_known_while_neither_it_nor_its_object_changes() {
        let dir = tempfile::tempdir().unwrap();
        let work = Folder::open(dir.path()).unwrap().work().unwrap();
        Verified::load(&work).unwrap().add("a", "e", FILE, By::Proof);
        let later = Verified::load(&work).unwrap();
        assert_eq!(later.knows("a", "e", FILE), Some(By::Proof));
        assert_eq!((later.knows("b", "e", FILE), later.knows("a", "f", FILE)), (None, None));
        for other in [
            Identity { size: 4, ..FILE },
            Identity { inode: 5, ..FILE },
            Identity { modified_nanos: 6, ..FILE },
            Identity { changed_nanos: 7, ..FILE },
        ] {
            assert_eq!(later.knows("a", "e", other), None);
        }
        // An object without an ETag is another each time.
        later.add("c", "", FILE, By::Proof);
        assert_eq!(Verified::load(&work).unwrap().knows("c", "", FILE), None);
        assert_eq!(Verified::nothing().knows("a", "e", FILE), None);
        // What had no proof when it came has none later.
        later.add("d", "e", FILE, By::Size);
        assert_eq!(Verified::load(&work).unwrap().knows("d", "e", FILE), Some(By::Size));
    }

    #[test]
    fn the_last_word_counts_and_what_is_no_entry_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let work = Folder::open(dir.path()).unwrap().work().unwrap();
        let first = Verified::load(&work).unwrap();
        for at in 0..3000 {
            first.add("a", &at.to_string(), FILE, By::Proof);
        }
        let mut file = work.append(NAME).unwrap();
        file.write_all(&[b"{\"id\":\n\xff\n", vec![b'x'; 10_000].as_slice(), b"\n{\"id\": \"torn"].concat())
            .unwrap();
        let second = Verified::load(&work).unwrap();
        assert!(second.knows("a", "2999", FILE).is_some() && second.knows("a", "0", FILE).is_none());
        // It was written anew, without what is over.
        assert!(work.open(NAME).unwrap().unwrap().metadata().unwrap().len() < 1000);
        second.add("b", "e", FILE, By::Proof);
        let third = Verified::load(&work).unwrap();
        assert!(third.knows("b", "e", FILE).is_some() && third.knows("a", "2999", FILE).is_some());
    }
}
