//! A file that grows: its bytes under a name of its own in the work folder, and beside a large one the
//! journal of the ranges that are on the disk. \[IO\]
//!
//! Invariant: a range stands in the journal only after its bytes are on the disk, and the journal counts only
//! for the ETag, the size and the ranges that its first line names.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::folder::WorkFolder;
use crate::client::object::Range;

/// Ranges of that size are asked for side by side, and what is smaller at once. A range that breaks off is
/// gone on with, but one that a kill ends is read anew: it should not be much.
pub(crate) const RANGE_BYTES: u64 = 16 << 20;

/// A journal has a line of 200 bytes and some for each range; this is room for 8 TiB.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;

/// What names an object in a work folder: whose server, which bucket, which key.
pub(crate) fn id_of(base_url: &str, bucket: &str, key: &str) -> String {
    let named = format!("{base_url}\0{bucket}\0{key}");
    let digest = digest(&SHA256, named.as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The name of the growing file.
pub(crate) fn part_name(id: &str) -> String {
    format!("{id}.part")
}

fn journal_name(id: &str) -> String {
    format!("{id}.ranges")
}

/// The ranges of a file of that size.
pub(crate) fn ranges(size: u64, range_bytes: u64) -> impl Iterator<Item = (u64, Range)> {
    (0..size.div_ceil(range_bytes)).map(move |index| {
        let start = index.saturating_mul(range_bytes);
        (index, Range { start, length: size.saturating_sub(start).min(range_bytes) })
    })
}

/// The first line of a journal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    key: String,
    etag: String,
    size: u64,
    range_bytes: u64,
}

/// A file that grows.
pub(crate) struct Partial {
    pub(crate) file: Arc<File>,
    journal: Option<File>,
    done: BTreeSet<u64>,
    size: u64,
}

impl Partial {
    /// A new one for what is read at once.
    pub(crate) fn small(work: &WorkFolder, id: &str) -> io::Result<Self> {
        work.remove(&journal_name(id))?;
        let file = Arc::new(work.create(&part_name(id))?);
        Ok(Self { file, journal: None, done: BTreeSet::new(), size: 0 })
    }

    /// The one that an earlier download of the same object left, or a new one.
    pub(crate) fn in_ranges(
        work: &WorkFolder,
        id: &str,
        key: &str,
        etag: &str,
        size: u64,
    ) -> io::Result<Self> {
        let header = Header { key: key.to_owned(), etag: etag.to_owned(), size, range_bytes: RANGE_BYTES };
        if let (Some(file), Some(mut journal)) = (work.open(&part_name(id))?, work.open(&journal_name(id))?)
            && file.metadata()?.len() == size
            && let Some((done, length)) = read(&mut journal, &header)?
        {
            // A line that was cut must not become the beginning of the next one.
            journal.set_len(length)?;
            let journal = Some(work.append(&journal_name(id))?);
            return Ok(Self { file: Arc::new(file), journal, done, size });
        }
        // The journal goes first and comes last: it never stands beside bytes that it does not speak of.
        work.remove(&journal_name(id))?;
        let file = work.create(&part_name(id))?;
        file.set_len(size)?;
        let mut journal = work.append(&journal_name(id))?;
        journal.write_all(format!("{}\n", serde_json::to_string(&header)?).as_bytes())?;
        Ok(Self { file: Arc::new(file), journal: Some(journal), done: BTreeSet::new(), size })
    }

    /// The ranges that are missing.
    pub(crate) fn missing(&self) -> Vec<(u64, Range)> {
        ranges(self.size, RANGE_BYTES).filter(|(index, _)| !self.done.contains(index)).collect()
    }

    /// The bytes that an earlier run brought.
    pub(crate) fn bytes_here(&self) -> u64 {
        let done = ranges(self.size, RANGE_BYTES).filter(|(index, _)| self.done.contains(index));
        done.fold(0, |sum: u64, (_, range)| sum.saturating_add(range.length))
    }

    /// That the bytes of a range have been written: brings them to the disk, and then into the journal.
    pub(crate) fn keep(&self, index: u64) -> io::Result<()> {
        let Some(mut journal) = self.journal.as_ref() else { return Ok(()) };
        self.file.sync_data()?;
        // One write of one short line, so that lines of ranges that end together stay whole.
        journal.write_all(format!("{index}\n").as_bytes())
    }

    /// Writes bytes where they belong.
    pub(crate) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    /// Removes what there is of an object in the work folder.
    pub(crate) fn discard(work: &WorkFolder, id: &str) -> io::Result<()> {
        work.remove(&journal_name(id))?;
        work.remove(&part_name(id))
    }

    /// The disk that an earlier run has filled for an object.
    pub(crate) fn bytes_on_disk(work: &WorkFolder, id: &str) -> u64 {
        let file = work.open(&part_name(id)).ok().flatten();
        file.and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.blocks().saturating_mul(512))
    }

    /// After the file has got its final name.
    pub(crate) fn forget_journal(work: &WorkFolder, id: &str) -> io::Result<()> {
        work.remove(&journal_name(id))
    }
}

/// The ranges that a journal has, if it speaks of that object, and the length of what is whole of it. What is
/// no line of it, it is not read beyond.
fn read(journal: &mut File, header: &Header) -> io::Result<Option<(BTreeSet<u64>, u64)>> {
    let mut bytes = Vec::new();
    journal.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(parse(&bytes, header))
}

fn parse(journal: &[u8], header: &Header) -> Option<(BTreeSet<u64>, u64)> {
    let mut lines = journal.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().filter(|line| line.ends_with(b"\n"))?;
    if serde_json::from_slice::<Header>(first).ok()? != *header {
        return None;
    }
    let count = header.size.div_ceil(header.range_bytes.max(1));
    let index = |line: &[u8]| {
        let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        text.parse().ok().filter(|index| *index < count)
    };
    let (mut done, mut length) = (BTreeSet::new(), first.len() as u64);
    for line in lines {
        let Some(index) = index(line) else { break };
        done.insert(index);
        length = length.saturating_add(line.len() as u64);
    }
    Some((done, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::folder::Folder, *};

    fn header() -> Header {
        Header {
            key: "k".to_owned(),
            etag: "e".to_owned(),
            size: 3 * RANGE_BYTES - 1,
            range_bytes: RANGE_BYTES,
        }
    }

    fn journal(rest: &str) -> Option<Vec<u64>> {
        let text = format!("{}\n{rest}", serde_json::to_string(&header()).unwrap());
        parse(text.as_bytes(), &header()).map(|(done, _)| done.into_iter().collect())
    }

    #[test]
    fn a_journal_is_read_up_to_where_it_breaks_off() {
        assert_eq!(journal(""), Some(vec![]));
        assert_eq!(journal("1\n0\n1\n"), Some(vec![0, 1]));
        // A line that a kill cut says nothing, for it may have been a longer one.
        assert_eq!(journal("2\n1"), Some(vec![2]));
        assert_eq!(journal("2\n3\n1\n"), Some(vec![2]));
        assert_eq!(journal("2\nx\n1\n"), Some(vec![2]));
        assert_eq!(journal("-1\n"), Some(vec![]));
        let other = Header { etag: "f".to_owned(), ..header() };
        let text = format!("{}\n0\n", serde_json::to_string(&other).unwrap());
        assert_eq!(parse(text.as_bytes(), &header()), None);
        assert_eq!(parse(b"", &header()), None);
        assert_eq!(parse(b"0\n", &header()), None);
    }

    #[test]
    fn ranges_cover_the_file_once() {
        for size in [0, 1, RANGE_BYTES - 1, RANGE_BYTES, RANGE_BYTES + 1, 10 * RANGE_BYTES + 7] {
            let mut next = 0;
            for (at, (index, range)) in ranges(size, RANGE_BYTES).enumerate() {
                assert_eq!((index, range.start), (at as u64, next));
                assert!(range.length > 0);
                next += range.length;
            }
            assert_eq!(next, size);
        }
    }

    #[test]
    fn what_is_kept_is_found_again_and_only_for_the_same_object() {
        let dir = tempfile::tempdir().unwrap();
        let work = Folder::open(dir.path()).unwrap().work().unwrap();
        let id = id_of("http://h", "b", "k");
        let size = RANGE_BYTES + 5;
        let open = |etag: &str, size| Partial::in_ranges(&work, &id, "k", etag, size).unwrap();
        let partial = open("e", size);
        assert_eq!((partial.missing().len(), partial.bytes_here()), (2, 0));
        Partial::write_at(&partial.file, b"abcde", RANGE_BYTES).unwrap();
        partial.keep(1).unwrap();
        drop(partial);
        let partial = open("e", size);
        assert_eq!(partial.missing(), [(0, Range { start: 0, length: RANGE_BYTES })]);
        assert_eq!(partial.bytes_here(), 5);
        assert_eq!(open("f", size).missing().len(), 2);
        assert_eq!(open("f", size + 1).bytes_here(), 0);
        // Bytes without their journal, and a journal without its bytes, are nothing.
        open("f", size).keep(0).unwrap();
        work.remove(&journal_name(&id)).unwrap();
        assert_eq!(open("f", size).bytes_here(), 0);
        open("f", size).keep(0).unwrap();
        work.remove(&part_name(&id)).unwrap();
        assert_eq!(open("f", size).bytes_here(), 0);
        Partial::discard(&work, &id).unwrap();
        assert!(work.open(&part_name(&id)).unwrap().is_none());
    }

    #[test]
    fn a_line_that_was_cut_does_not_become_another_range() {
        let dir = tempfile::tempdir().unwrap();
        let work = Folder::open(dir.path()).unwrap().work().unwrap();
        let open = || Partial::in_ranges(&work, "i", "k", "e", 20 * RANGE_BYTES).unwrap();
        open().keep(7).unwrap();
        work.append(&journal_name("i")).unwrap().write_all(b"1").unwrap();
        open().keep(5).unwrap();
        assert_eq!(open().done, BTreeSet::from([5, 7]));
    }

    #[test]
    fn objects_of_other_servers_and_buckets_have_other_names() {
        let ids = [("s", "b", "k"), ("s", "bk", ""), ("t", "b", "k"), ("s", "c", "k"), ("s", "b", "l")]
            .map(|(server, bucket, key)| id_of(server, bucket, key));
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == 32));
    }

    proptest! {
        #[test]
        fn no_journal_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &header());
            let with_header = [serde_json::to_vec(&header()).unwrap(), b"\n".to_vec(), bytes].concat();
            prop_assert!(parse(&with_header, &header()).unwrap().0.iter().all(|index| *index < 3));
        }
    }
}
