//! Local files into a repository: asked how, hashed, uploaded by LFS where the Hub wants that, committed in
//! groups. \[IO\]
//!
//! Invariants: a file that the repository has with the same hash is not sent; a file that changes while it is
//! sent is not committed; memory holds one group of small files at a time.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    client::Hub,
    commit::{CommitFile, Content, FILES_MAX, Preupload, SAMPLE_BYTES_MAX, Sample, UploadMode},
    error::HubError,
    hash::{Fingerprints, Hasher},
    lfs::{BatchAnswer, LfsObject},
    retry,
};

/// What one commit carries inside itself; the Hub takes much more, and memory holds it twice.
const INLINE_BYTES_MAX: u64 = 16 << 20;

/// A file that the Hub wants inside a commit has a few KB; what is larger belongs to LFS.
const INLINE_FILE_BYTES_MAX: u64 = 32 << 20;

/// Somebody else may commit at the same moment: then it is tried again.
const CONFLICTS_MAX: u32 = 5;

/// A file of this machine and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    /// Where it is.
    pub(crate) source: PathBuf,
    /// Its path in the repository.
    pub(crate) path: String,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It stood there with the same hash.
    Same,
    /// It was committed.
    Committed,
    /// It would be, if this were no dry run.
    WouldCommit,
    /// It was not, and why.
    Failed(String),
}

/// How files are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pushing<'a> {
    /// The branch.
    pub(crate) revision: &'a str,
    /// Files that are read or uploaded at once.
    pub(crate) parallel: usize,
    /// Whether the Hub is only asked what it has.
    pub(crate) is_dry_run: bool,
}

/// A file as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

/// A file on its way.
struct Prepared<'a> {
    file: &'a LocalFile,
    stamp: Stamp,
    hashes: Fingerprints,
    mode: UploadMode,
}

type Outcomes = Vec<(String, Pushed)>;

impl Hub {
    /// Commits files. `each` is told what became of every one of them, once.
    ///
    /// # Errors
    /// Why the Hub as a whole did not do it: of the files after that nothing was told.
    pub(crate) async fn push(
        &self,
        pushing: &Pushing<'_>,
        files: &[LocalFile],
        each: &mut (dyn FnMut(&str, Pushed) + Send),
    ) -> Result<(), HubError> {
        for group in files.chunks(FILES_MAX) {
            let mut outcomes = Outcomes::new();
            let result = self.push_group(pushing, group, &mut outcomes).await;
            for (path, pushed) in outcomes {
                each(&path, pushed);
            }
            result?;
        }
        Ok(())
    }

    async fn push_group(
        &self,
        pushing: &Pushing<'_>,
        files: &[LocalFile],
        outcomes: &mut Outcomes,
    ) -> Result<(), HubError> {
        let Pushing { revision, parallel, is_dry_run } = *pushing;
        let parallel = parallel.max(1);
        let mut started = Vec::new();
        for (file, start) in read_all(files, parallel, |source| read_start(&source)).await {
            match start {
                Ok(start) => started.push((file, start)),
                Err(error) => outcomes.push((file.path.clone(), unreadable(&error))),
            }
        }
        let samples: Vec<Sample<'_>> = started
            .iter()
            .map(|(file, (stamp, start))| Sample { path: &file.path, size: stamp.size, start })
            .collect();
        if samples.is_empty() {
            return Ok(());
        }
        let mut answers = self.preupload(revision, &samples).await?;
        let meant: Vec<LocalFile> = started.into_iter().map(|(file, _)| file.clone()).collect();
        let mut prepared = Vec::new();
        for (file, hashed) in read_all(&meant, parallel, |source| hash(&source)).await {
            let told = |pushed| (file.path.clone(), pushed);
            let Some(answer) = answers.remove(&file.path) else {
                outcomes.push(told(Pushed::Failed("the Hub does not say how to upload it".to_owned())));
                continue;
            };
            match hashed {
                Err(error) => outcomes.push(told(unreadable(&error))),
                Ok((stamp, hashes)) => match judge(&answer, stamp, &hashes) {
                    Ok(_) if is_dry_run => outcomes.push(told(Pushed::WouldCommit)),
                    Ok(mode) => prepared.push(Prepared { file, stamp, hashes, mode }),
                    Err(pushed) => outcomes.push(told(pushed)),
                },
            }
        }
        let prepared = self.upload_lfs(revision, prepared, parallel, outcomes).await?;
        self.commit_all(revision, prepared, outcomes).await
    }

    /// Uploads what goes by LFS; gives the files that can be committed.
    async fn upload_lfs<'a>(
        &self,
        revision: &str,
        prepared: Vec<Prepared<'a>>,
        parallel: usize,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Prepared<'a>>, HubError> {
        let mut objects: BTreeMap<[u8; 32], LfsObject> = BTreeMap::new();
        for file in prepared.iter().filter(|file| file.mode == UploadMode::Lfs) {
            let object = LfsObject { sha256: file.hashes.sha256, size: file.stamp.size };
            objects.insert(object.sha256, object);
        }
        let mut answer = BatchAnswer::default();
        if !objects.is_empty() {
            let objects: Vec<LfsObject> = objects.into_values().collect();
            answer = self.lfs_batch(revision, &objects).await?;
        }
        let answer = &answer;
        let uploads = prepared.into_iter().map(|file| async move {
            let result = match file.mode {
                UploadMode::Regular => Ok(()),
                UploadMode::Lfs => self.upload_one(revision, &file, answer).await,
            };
            (file, result)
        });
        let mut sent = Vec::new();
        let mut uploads = std::pin::pin!(stream::iter(uploads).buffer_unordered(parallel));
        while let Some((file, result)) = uploads.next().await {
            match result {
                Ok(()) => sent.push(file),
                Err(why) => outcomes.push((file.file.path.clone(), Pushed::Failed(why))),
            }
        }
        Ok(sent)
    }

    async fn upload_one(
        &self,
        revision: &str,
        file: &Prepared<'_>,
        answer: &BatchAnswer,
    ) -> Result<(), String> {
        let object = LfsObject { sha256: file.hashes.sha256, size: file.stamp.size };
        let (size, instruction) =
            answer.objects.get(&object.sha256).ok_or("the Hub does not say where to upload it")?;
        if *size != object.size {
            return Err("the Hub says another size of it".to_owned());
        }
        let source = &file.file.source;
        let sent = self.upload_object(revision, source, &object, instruction.clone()).await;
        sent.map_err(|error| error.to_string())?;
        match stamp(source) {
            Ok(now) if now == file.stamp => Ok(()),
            Ok(_) => Err("it changed while it was sent; run the command again".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Commits in groups of as many small files as memory is to hold.
    async fn commit_all(
        &self,
        revision: &str,
        prepared: Vec<Prepared<'_>>,
        outcomes: &mut Outcomes,
    ) -> Result<(), HubError> {
        let mut files: Vec<CommitFile> = Vec::new();
        let mut inline_bytes = 0_u64;
        for Prepared { file, stamp, hashes, mode } in prepared {
            let content = match mode {
                UploadMode::Lfs => Content::Lfs { sha256: hashes.sha256, size: stamp.size },
                UploadMode::Regular => match read_inline(file.source.clone(), hashes).await {
                    Ok(bytes) => Content::Inline(bytes),
                    Err(why) => {
                        outcomes.push((file.path.clone(), Pushed::Failed(why)));
                        continue;
                    }
                },
            };
            if let Content::Inline(bytes) = &content {
                let length = bytes.len() as u64;
                if !files.is_empty() && inline_bytes.saturating_add(length) > INLINE_BYTES_MAX {
                    self.commit_group(revision, &files, outcomes).await?;
                    files.clear();
                    inline_bytes = 0;
                }
                inline_bytes = inline_bytes.saturating_add(length);
            }
            files.push(CommitFile { path: file.path.clone(), content });
        }
        self.commit_group(revision, &files, outcomes).await
    }

    async fn commit_group(
        &self,
        revision: &str,
        files: &[CommitFile],
        outcomes: &mut Outcomes,
    ) -> Result<(), HubError> {
        if files.is_empty() {
            return Ok(());
        }
        let summary = match files {
            [file] => format!("Upload {}", file.path),
            files => format!("Upload {} files", files.len()),
        };
        let mut conflicts = 0_u32;
        loop {
            match self.commit(revision, &summary, files).await {
                Ok(_) => break,
                Err(HubError::Refused { status: 409 | 412, .. }) if conflicts < CONFLICTS_MAX => {
                    conflicts = conflicts.saturating_add(1);
                    sleep(retry::pause(conflicts, None, fastrand::f64()).unwrap_or_default()).await;
                }
                Err(error) => return Err(error),
            }
        }
        outcomes.extend(files.iter().map(|file| (file.path.clone(), Pushed::Committed)));
        Ok(())
    }
}

/// Whether a file is sent, and how; otherwise what becomes of it.
fn judge(answer: &Preupload, stamp: Stamp, hashes: &Fingerprints) -> Result<UploadMode, Pushed> {
    if answer.present.as_ref().is_some_and(|present| hashes.are(present)) {
        return Err(Pushed::Same);
    }
    if answer.is_ignored {
        return Err(Pushed::Failed("the repository's .gitignore names it".to_owned()));
    }
    match answer.mode {
        // The storage takes no upload of nothing.
        UploadMode::Lfs if stamp.size == 0 => Ok(UploadMode::Regular),
        UploadMode::Regular if stamp.size > INLINE_FILE_BYTES_MAX => Err(Pushed::Failed(format!(
            "the Hub wants it inside the commit, and it has more than {INLINE_FILE_BYTES_MAX} bytes: have \
             its name in the repository's .gitattributes with filter=lfs"
        ))),
        mode => Ok(mode),
    }
}

/// Reads files, several at once; in the order in which that is done.
async fn read_all<T: Send + 'static>(
    files: &[LocalFile],
    parallel: usize,
    read: impl Fn(PathBuf) -> io::Result<T> + Clone + Send + 'static,
) -> Vec<(&LocalFile, io::Result<T>)> {
    let reads = files.iter().map(|file| {
        let (read, source) = (read.clone(), file.source.clone());
        async move {
            let done = spawn_blocking(move || read(source)).await;
            (file, done.unwrap_or_else(|error| Err(io::Error::other(error))))
        }
    });
    stream::iter(reads).buffer_unordered(parallel).collect().await
}

fn stamp(source: &Path) -> io::Result<Stamp> {
    let metadata = std::fs::metadata(source)?;
    Ok(Stamp { size: metadata.len(), modified: metadata.modified().ok() })
}

/// What the Hub is told of a file before it is hashed.
fn read_start(source: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    let stamp = stamp(source)?;
    let mut start = Vec::new();
    File::open(source)?.take(SAMPLE_BYTES_MAX as u64).read_to_end(&mut start)?;
    Ok((stamp, start))
}

fn hash(source: &Path) -> io::Result<(Stamp, Fingerprints)> {
    let before = stamp(source)?;
    let mut hasher = Hasher::new(before.size);
    let mut file = File::open(source)?;
    let mut piece = vec![0; 1 << 18];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        hasher.update(piece.get(..length).unwrap_or_default());
    }
    match stamp(source)? == before {
        true => Ok((before, hasher.finish())),
        false => Err(io::Error::other("it changed while it was read; run the command again")),
    }
}

/// Reads a small file that has to be what was hashed.
async fn read_inline(source: PathBuf, hashes: Fingerprints) -> Result<Bytes, String> {
    let read = spawn_blocking(move || {
        let mut bytes = Vec::new();
        let most = INLINE_FILE_BYTES_MAX.saturating_add(1);
        File::open(&source)?.take(most).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    });
    let bytes = read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    match Hasher::of(&bytes) == hashes {
        true => Ok(bytes.into()),
        false => Err("it changed while it was sent; run the command again".to_owned()),
    }
}

fn unreadable(error: &io::Error) -> Pushed {
    Pushed::Failed(format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ContentHash;

    fn answer(mode: UploadMode, present: Option<ContentHash>) -> Preupload {
        Preupload { mode, is_ignored: false, present }
    }

    #[test]
    fn what_stands_there_with_the_same_hash_is_not_sent() {
        let hashes = Hasher::of(b"hello\n");
        let stamp = Stamp { size: 6, modified: None };
        let judged = |answer: &Preupload| judge(answer, stamp, &hashes);
        for (mode, present) in [
            (UploadMode::Lfs, ContentHash::Sha256(hashes.sha256)),
            (UploadMode::Regular, ContentHash::GitBlob(hashes.git_blob)),
        ] {
            assert_eq!(judged(&answer(mode, Some(present))), Err(Pushed::Same));
            assert_eq!(judged(&answer(mode, None)), Ok(mode));
            assert_eq!(judged(&answer(mode, Some(ContentHash::Sha256([0; 32])))), Ok(mode));
        }
        let ignored = Preupload { is_ignored: true, ..answer(UploadMode::Lfs, None) };
        assert!(matches!(judged(&ignored), Err(Pushed::Failed(why)) if why.contains(".gitignore")));
    }

    #[test]
    fn nothing_goes_by_lfs_and_too_much_not_inside_a_commit() {
        let judged =
            |mode, size| judge(&answer(mode, None), Stamp { size, modified: None }, &Hasher::of(b""));
        assert_eq!(judged(UploadMode::Lfs, 0), Ok(UploadMode::Regular));
        assert_eq!(judged(UploadMode::Lfs, u64::MAX), Ok(UploadMode::Lfs));
        assert_eq!(judged(UploadMode::Regular, INLINE_FILE_BYTES_MAX), Ok(UploadMode::Regular));
        assert!(judged(UploadMode::Regular, INLINE_FILE_BYTES_MAX + 1).is_err());
    }

    #[tokio::test]
    async fn a_small_file_is_committed_as_it_was_hashed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        let (stamp, hashes) = hash(file.path()).unwrap();
        assert_eq!((stamp.size, hashes), (6, Hasher::of(b"hello\n")));
        assert_eq!(read_inline(file.path().to_owned(), hashes).await.unwrap(), "hello\n");
        std::fs::write(file.path(), "hallo\n").unwrap();
        assert!(read_inline(file.path().to_owned(), hashes).await.unwrap_err().contains("changed"));
    }
}
