//! Local files into a repository: asked how, hashed, uploaded by LFS where the Hub wants that, committed in
//! groups. \[IO\]
//!
//! Invariants: a file that the repository has with the same hash is not sent; a file that changes while it is
//! sent is not committed; memory holds one group of small files at a time.

use std::{collections::BTreeMap, io, sync::Arc};

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
    source::{Source, read_piece},
};

/// What one commit carries inside itself; the Hub takes much more, and memory holds it twice.
const INLINE_BYTES_MAX: u64 = 16 << 20;

/// A file that the Hub wants inside a commit has a few KB; what is larger belongs to LFS.
const INLINE_FILE_BYTES_MAX: u64 = 32 << 20;

/// Somebody else may commit at the same moment: then it is tried again.
const CONFLICTS_MAX: u32 = 5;

const CHANGED: &str = "it changed while it was sent; run the command again";

/// What is read of a file at once.
const PIECE_BYTES: usize = 1 << 18;

/// A file of this machine and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct LocalFile {
    /// Its bytes, as it was found.
    pub(crate) source: Arc<dyn Source>,
    /// Its path in the repository.
    pub(crate) path: String,
    /// What it has to be, where that is known.
    pub(crate) sha256: Option<[u8; 32]>,
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

/// A file on its way.
struct Prepared<'a> {
    file: &'a LocalFile,
    hashes: Fingerprints,
    mode: UploadMode,
}

impl Prepared<'_> {
    fn object(&self) -> LfsObject {
        LfsObject { sha256: self.hashes.sha256, size: self.file.source.size() }
    }
}

/// Who is told what became of each file, once that is known.
type Tell<'a> = dyn FnMut(&str, Pushed) + Send + 'a;

impl Hub {
    /// Commits files. `each` is told what became of every one of them, once.
    ///
    /// # Errors
    /// Why the Hub as a whole did not do it: of the files after that nothing was told.
    pub(crate) async fn push(
        &self,
        pushing: &Pushing<'_>,
        files: &[LocalFile],
        each: &mut Tell<'_>,
    ) -> Result<(), HubError> {
        for group in files.chunks(FILES_MAX) {
            self.push_group(pushing, group, each).await?;
        }
        Ok(())
    }

    async fn push_group(
        &self,
        pushing: &Pushing<'_>,
        files: &[LocalFile],
        each: &mut Tell<'_>,
    ) -> Result<(), HubError> {
        let Pushing { revision, parallel, is_dry_run } = *pushing;
        let parallel = parallel.max(1);
        let mut started = Vec::new();
        for (file, start) in read_all(files, parallel, |file| read_start(&file)).await {
            match start {
                Ok(start) => started.push((file, start)),
                Err(error) => each(&file.path, unreadable(&error)),
            }
        }
        let samples: Vec<Sample<'_>> = started
            .iter()
            .map(|(file, start)| Sample { path: &file.path, size: file.source.size(), start })
            .collect();
        if samples.is_empty() {
            return Ok(());
        }
        let mut answers = self.preupload(revision, &samples).await?;
        let meant: Vec<LocalFile> = started.into_iter().map(|(file, _)| file.clone()).collect();
        let mut prepared = Vec::new();
        for (file, hashed) in read_all(&meant, parallel, |file| hash(&file)).await {
            let mut told = |pushed| each(&file.path, pushed);
            let Some(answer) = answers.remove(&file.path) else {
                told(Pushed::Failed("the Hub does not say how to upload it".to_owned()));
                continue;
            };
            match hashed {
                Err(error) => told(unreadable(&error)),
                Ok(hashes) => match judge(&answer, file.source.size(), &hashes) {
                    Ok(_) if is_dry_run => told(Pushed::WouldCommit),
                    Ok(mode) => prepared.push(Prepared { file, hashes, mode }),
                    Err(pushed) => told(pushed),
                },
            }
        }
        let prepared = self.upload_lfs(revision, prepared, parallel, each).await?;
        self.commit_all(revision, prepared, each).await
    }

    /// Uploads what goes by LFS; gives the files that can be committed.
    async fn upload_lfs<'a>(
        &self,
        revision: &str,
        prepared: Vec<Prepared<'a>>,
        parallel: usize,
        each: &mut Tell<'_>,
    ) -> Result<Vec<Prepared<'a>>, HubError> {
        let mut objects: BTreeMap<[u8; 32], LfsObject> = BTreeMap::new();
        for file in prepared.iter().filter(|file| file.mode == UploadMode::Lfs) {
            let object = file.object();
            objects.insert(object.sha256, object);
        }
        let mut answer = BatchAnswer::default();
        if !objects.is_empty() {
            let objects: Vec<LfsObject> = objects.into_values().collect();
            answer = self.lfs_batch(revision, &objects).await?;
        }
        let answer = &answer;
        // Content that several files have is sent once.
        let (mut sent, mut by_content) = (Vec::new(), BTreeMap::<[u8; 32], Vec<Prepared<'_>>>::new());
        for file in prepared {
            match file.mode {
                UploadMode::Regular => sent.push(file),
                UploadMode::Lfs => by_content.entry(file.hashes.sha256).or_default().push(file),
            }
        }
        let uploads = by_content.into_values().map(|files| async move {
            let result = match files.first() {
                Some(first) => self.upload_one(revision, first, answer).await,
                None => Ok(()),
            };
            (files, result)
        });
        let mut uploads = std::pin::pin!(stream::iter(uploads).buffer_unordered(parallel));
        while let Some((files, result)) = uploads.next().await {
            for file in files {
                let result = match &result {
                    Ok(()) => check(&file.file.source).await,
                    Err(why) => Err(why.clone()),
                };
                match result {
                    Ok(()) => sent.push(file),
                    Err(why) => each(&file.file.path, Pushed::Failed(why)),
                }
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
        let object = file.object();
        let (size, instruction) =
            answer.objects.get(&object.sha256).ok_or("the Hub does not say where to upload it")?;
        if *size != object.size {
            return Err("the Hub says another size of it".to_owned());
        }
        let sent = self.upload_object(revision, &file.file.source, &object, instruction.clone()).await;
        sent.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Commits in groups of as many small files as memory is to hold.
    async fn commit_all(
        &self,
        revision: &str,
        prepared: Vec<Prepared<'_>>,
        each: &mut Tell<'_>,
    ) -> Result<(), HubError> {
        let mut files: Vec<(CommitFile, Fingerprints)> = Vec::new();
        let mut inline_bytes = 0_u64;
        for Prepared { file, hashes, mode } in prepared {
            let content = match mode {
                UploadMode::Lfs => Content::Lfs { sha256: hashes.sha256, size: file.source.size() },
                UploadMode::Regular => match read_inline(Arc::clone(&file.source), hashes).await {
                    Ok(bytes) => Content::Inline(bytes),
                    Err(why) => {
                        each(&file.path, Pushed::Failed(why));
                        continue;
                    }
                },
            };
            if let Content::Inline(bytes) = &content {
                let length = bytes.len() as u64;
                if !files.is_empty() && inline_bytes.saturating_add(length) > INLINE_BYTES_MAX {
                    self.commit_group(revision, std::mem::take(&mut files), each).await?;
                    inline_bytes = 0;
                }
                inline_bytes = inline_bytes.saturating_add(length);
            }
            files.push((CommitFile { path: file.path.clone(), content }, hashes));
        }
        self.commit_group(revision, files, each).await
    }

    async fn commit_group(
        &self,
        revision: &str,
        files: Vec<(CommitFile, Fingerprints)>,
        each: &mut Tell<'_>,
    ) -> Result<(), HubError> {
        let (files, hashes): (Vec<CommitFile>, Vec<Fingerprints>) = files.into_iter().unzip();
        let summary = match files.as_slice() {
            [] => return Ok(()),
            [file] => format!("Upload {}", file.path),
            files => format!("Upload {} files", files.len()),
        };
        let (mut conflicts, mut tries) = (0_u32, 0_u32);
        loop {
            match self.commit_once(revision, &summary, &files, &mut tries).await {
                Ok(true) => break,
                // Its answer was lost, or it was cut off: sent blindly again, it could undo what somebody
                // else has committed since.
                Ok(false) => {
                    if self.has_all(revision, &files, &hashes).await? {
                        break;
                    }
                }
                Err(HubError::Refused { status: 409 | 412, .. }) if conflicts < CONFLICTS_MAX => {
                    conflicts = conflicts.saturating_add(1);
                    sleep(retry::pause(conflicts, None, fastrand::f64()).unwrap_or_default()).await;
                }
                Err(error) => return Err(error),
            }
        }
        for file in &files {
            each(&file.path, Pushed::Committed);
        }
        Ok(())
    }

    /// Whether the branch has all these files now.
    async fn has_all(
        &self,
        revision: &str,
        files: &[CommitFile],
        hashes: &[Fingerprints],
    ) -> Result<bool, HubError> {
        let samples: Vec<Sample<'_>> = files
            .iter()
            .map(|file| match &file.content {
                Content::Inline(bytes) => Sample {
                    path: &file.path,
                    size: bytes.len() as u64,
                    start: bytes.get(..SAMPLE_BYTES_MAX).unwrap_or(bytes),
                },
                Content::Lfs { size, .. } => Sample { path: &file.path, size: *size, start: &[] },
            })
            .collect();
        let answers = self.preupload(revision, &samples).await?;
        Ok(files.iter().zip(hashes).all(|(file, hashes)| {
            let present = answers.get(&file.path).and_then(|answer| answer.present.as_ref());
            present.is_some_and(|present| hashes.are(present))
        }))
    }
}

/// Whether a file is sent, and how; otherwise what becomes of it.
fn judge(answer: &Preupload, size: u64, hashes: &Fingerprints) -> Result<UploadMode, Pushed> {
    if answer.present.as_ref().is_some_and(|present| hashes.are(present)) {
        return Err(Pushed::Same);
    }
    if answer.is_ignored {
        return Err(Pushed::Failed("the repository's .gitignore names it".to_owned()));
    }
    match answer.mode {
        // The storage takes no upload of nothing.
        UploadMode::Lfs if size == 0 => Ok(UploadMode::Regular),
        UploadMode::Regular if size > INLINE_FILE_BYTES_MAX => Err(Pushed::Failed(format!(
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
    read: impl Fn(LocalFile) -> io::Result<T> + Clone + Send + 'static,
) -> Vec<(&LocalFile, io::Result<T>)> {
    let reads = files.iter().map(|file| {
        let (read, own) = (read.clone(), file.clone());
        async move {
            let done = spawn_blocking(move || read(own)).await;
            (file, done.unwrap_or_else(|error| Err(io::Error::other(error))))
        }
    });
    stream::iter(reads).buffer_unordered(parallel).collect().await
}

/// Whether the file is still what was found.
async fn check(source: &Arc<dyn Source>) -> Result<(), String> {
    let source = Arc::clone(source);
    let checked = spawn_blocking(move || source.open()?.check()).await;
    checked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// What the Hub is told of a file before it is hashed.
fn read_start(file: &LocalFile) -> io::Result<Vec<u8>> {
    read_piece(&*file.source.open()?, 0, SAMPLE_BYTES_MAX)
}

/// The hashes of a file that is what was found, and what stands in the first place.
fn hash(file: &LocalFile) -> io::Result<Fingerprints> {
    let (open, size) = (file.source.open()?, file.source.size());
    let (mut hasher, mut at) = (Hasher::new(size), 0_u64);
    while at < size {
        let piece = read_piece(&*open, at, PIECE_BYTES)?;
        if piece.is_empty() {
            break;
        }
        at = at.saturating_add(piece.len() as u64);
        hasher.update(&piece);
    }
    open.check()?;
    let hashes = hasher.finish();
    match file.sha256 {
        _ if at != size => Err(io::Error::other(CHANGED)),
        Some(sha256) if sha256 != hashes.sha256 => Err(io::Error::other(CHANGED)),
        _ => Ok(hashes),
    }
}

/// Reads a small file that has to be what was hashed.
async fn read_inline(source: Arc<dyn Source>, hashes: Fingerprints) -> Result<Bytes, String> {
    let read = spawn_blocking(move || {
        let length = usize::try_from(source.size().min(INLINE_FILE_BYTES_MAX)).unwrap_or(0);
        read_piece(&*source.open()?, 0, length)
    });
    let bytes = read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    match Hasher::of(&bytes) == hashes {
        true => Ok(bytes.into()),
        false => Err(CHANGED.to_owned()),
    }
}

fn unreadable(error: &io::Error) -> Pushed {
    Pushed::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ContentHash, source::tests::Plain};

    fn answer(mode: UploadMode, present: Option<ContentHash>) -> Preupload {
        Preupload { mode, is_ignored: false, present }
    }

    #[test]
    fn what_stands_there_with_the_same_hash_is_not_sent() {
        let hashes = Hasher::of(b"hello\n");
        let judged = |answer: &Preupload| judge(answer, 6, &hashes);
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
        let judged = |mode, size| judge(&answer(mode, None), size, &Hasher::of(b""));
        assert_eq!(judged(UploadMode::Lfs, 0), Ok(UploadMode::Regular));
        assert_eq!(judged(UploadMode::Lfs, u64::MAX), Ok(UploadMode::Lfs));
        assert_eq!(judged(UploadMode::Regular, INLINE_FILE_BYTES_MAX), Ok(UploadMode::Regular));
        assert!(judged(UploadMode::Regular, INLINE_FILE_BYTES_MAX + 1).is_err());
    }

    #[tokio::test]
    async fn a_small_file_is_committed_as_it_was_hashed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        let source = Plain::of(file.path());
        let local = |sha256| LocalFile { source: Arc::clone(&source), path: "a".to_owned(), sha256 };
        let hashes = hash(&local(None)).unwrap();
        assert_eq!(hashes, Hasher::of(b"hello\n"));
        assert_eq!(hash(&local(Some(hashes.sha256))).unwrap(), hashes);
        assert_eq!(read_inline(Arc::clone(&source), hashes).await.unwrap(), "hello\n");
        std::fs::write(file.path(), "hallo\n").unwrap();
        assert!(read_inline(Arc::clone(&source), hashes).await.unwrap_err().contains("changed"));
        // What stands in the first place is something else.
        assert!(hash(&local(Some(hashes.sha256))).unwrap_err().to_string().contains("changed"));
    }
}
