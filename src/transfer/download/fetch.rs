//! One object: compared with the file that stands here, read in ranges, proved, put under its name. \[IO\]
//!
//! Every read says which ETag it is about, so bytes of two versions never come into one file: an object that
//! changes meanwhile is read anew from its beginning.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{Timestamp, fmt::rfc2822};
use tokio::task::spawn_blocking;

use super::{
    folder::{Folder, Identity, PathFault, Standing, WorkFolder, set_modified},
    local_path::LocalPath,
    partial::{Partial, RANGE_BYTES, part_name},
    proof::{Proofs, Source, Verdict},
    verified::{By, Verified},
};
use crate::{
    client::{
        Bucket, ClientError,
        object::{Condition, Listed, ObjectHead, Range},
    },
    transfer::progress::Progress,
};

/// So much is written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// An object that is another each time it is read is left for a later run.
const VERSIONS_MAX: usize = 4;

/// Reads of one range that break off one after the other and bring nothing.
const BREAKS_MAX: u32 = 5;

/// Reads of one range that break off at all.
const BREAKS_IN_ALL_MAX: u32 = 200;

/// The pause after a read that broke off and brought nothing, the first time.
const BREAK_PAUSE: Duration = Duration::from_millis(300);

/// An object, where it goes and what stands there.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) object: Listed,
    pub(super) path: LocalPath,
    pub(super) standing: Standing,
    /// The names of its files in the work folder.
    pub(super) id: String,
}

/// Where files go.
pub(super) struct Target {
    pub(super) folder: Folder,
    /// None in a dry run that finds none.
    pub(super) work: Option<WorkFolder>,
    pub(super) verified: Verified,
}

/// What it takes to fetch objects.
pub(super) struct Fetcher {
    pub(super) bucket: Bucket,
    pub(super) target: Arc<Target>,
    pub(super) parallel: usize,
    /// Whether files are read that have not changed since they were compared.
    pub(super) reads_all: bool,
    pub(super) progress: Progress,
    /// Objects that have come so far.
    pub(super) fetched: AtomicU64,
}

/// Why an object did not come here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("it was deleted after it was listed")]
    Gone,
    #[error("it changes while it is read")]
    KeepsChanging,
    #[error("its bytes are not those of which the {} speaks", source_of(.0))]
    Wrong(Vec<Source>),
    #[error("its uploader's sha256 is not that of the bytes which the store keeps and proves")]
    FalseWord,
    #[error("reading it breaks off: {0}")]
    BreaksOff(String),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("{0}")]
    Path(#[from] PathFault),
    #[error("writing fails: {0}")]
    Disk(#[from] io::Error),
}

fn source_of(sources: &[Source]) -> String {
    sources.iter().map(|source| source.name()).collect::<Vec<_>>().join(" and the ")
}

impl Trouble {
    /// What a person can do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Gone => "nothing: it is no longer there",
            Self::KeepsChanging => "run the command again once its owner has finished",
            Self::FalseWord => "its owner has to upload it again",
            Self::Wrong(_) => "run the command again; if it stays, its owner has to upload it again",
            Self::BreaksOff(_) => "run the command again: it goes on where this one ended",
            Self::Client(ClientError::Refused(_)) => "check your access: `subgate doctor`",
            Self::Client(_) => "run the command again later: it goes on where this one ended",
            Self::Path(fault) => fault.advice(),
            Self::Disk(_) => "make room or repair the disk, and run the command again",
        }
    }

    /// Whether it is the server's or the session's, and so likely that of the next object too.
    pub(crate) fn is_of_the_server(&self) -> bool {
        match self {
            Self::Client(ClientError::Refused(refusal)) => refusal.status == http::StatusCode::FORBIDDEN,
            Self::Client(ClientError::Unavailable(_) | ClientError::Session(_)) => true,
            Self::Client(_)
            | Self::Gone
            | Self::KeepsChanging
            | Self::Wrong(_)
            | Self::FalseWord
            | Self::BreaksOff(_)
            | Self::Path(_)
            | Self::Disk(_) => false,
        }
    }

    /// Whether it is the disk's, and so certainly that of all others.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Disk(_) => true,
            Self::Path(fault) => fault.is_of_the_disk(),
            Self::Client(_)
            | Self::Gone
            | Self::KeepsChanging
            | Self::Wrong(_)
            | Self::FalseWord
            | Self::BreaksOff(_) => false,
        }
    }
}

/// How an attempt at one version of an object ended.
enum Attempt {
    /// It is here, proved by these; by its size alone where there are none.
    Done(Vec<Source>),
    /// There is another version by now.
    Changed,
    /// The bytes that came are not the object.
    Wrong(Vec<Source>),
}

/// What an object brought that was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) bytes: u64,
    pub(super) proofs: Vec<Source>,
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(Trouble::Disk(io::Error::other(error))))
}

impl Fetcher {
    /// By what the file that stands here is the object, if it is.
    pub(super) async fn is_same(&self, job: &Job) -> Result<Option<By>, Trouble> {
        let Standing::File(identity) = job.standing else { return Ok(None) };
        let object = &job.object;
        if identity.size != object.size {
            return Ok(None);
        }
        let known = self.target.verified.knows(&job.id, &object.etag, identity);
        if let Some(by) = known.filter(|_| !self.reads_all) {
            return Ok(Some(by));
        }
        let mut proofs = Proofs::of_etag(&object.etag);
        if !proofs.can_prove_same() {
            match self.bucket.head(&object.key).await? {
                Some(head) if head.etag == object.etag => proofs = Proofs::of_head(&head),
                Some(_) => return Ok(None),
                None => return Err(Trouble::Gone),
            }
            proofs = self.with_parts(proofs, object).await?;
        }
        if !proofs.can_prove_same() {
            return Ok(None);
        }
        let (target, job) = (Arc::clone(&self.target), job.clone());
        blocking(move || {
            let Some(file) = target.folder.read(&job.path)? else { return Ok(None) };
            let mut check = proofs.check();
            let length = read_all(&file, |bytes| check.update(bytes));
            let length = length.map_err(|error| PathFault::Io(job.path.to_string(), error))?;
            let is_same = length == job.object.size && check.finish().is_same();
            if is_same && Identity::of(&file).is_ok_and(|now| now == identity) {
                target.verified.add(&job.id, &job.object.etag, identity, By::Proof);
            }
            Ok(is_same.then_some(By::Proof))
        })
        .await
    }

    /// Brings the object here.
    pub(super) async fn fetch(&self, job: &Job) -> Result<Fetched, Trouble> {
        let mut job = job.clone();
        let mut has_been_wrong = false;
        for _ in 0..VERSIONS_MAX {
            match self.fetch_version(&job).await? {
                Attempt::Done(proofs) => {
                    self.fetched.fetch_add(1, Ordering::Relaxed);
                    return Ok(Fetched { bytes: job.object.size, proofs });
                }
                // What was damaged on its way, or on this disk in an earlier run, is read again once.
                Attempt::Wrong(sources) if has_been_wrong => return Err(Trouble::Wrong(sources)),
                Attempt::Wrong(_) => has_been_wrong = true,
                Attempt::Changed => {
                    let head = self.bucket.head(&job.object.key).await?.ok_or(Trouble::Gone)?;
                    let modified = head.last_modified.as_deref().and_then(http_date);
                    job.object = Listed {
                        key: job.object.key,
                        size: head.size,
                        etag: head.etag,
                        last_modified: modified.or(job.object.last_modified),
                    };
                }
            }
        }
        Err(Trouble::KeepsChanging)
    }

    async fn fetch_version(&self, job: &Job) -> Result<Attempt, Trouble> {
        let read = match job.object.size > RANGE_BYTES {
            true => self.read_in_ranges(job).await,
            false => self.read_at_once(job).await,
        };
        let (proofs, partial) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(Attempt::Changed),
            Err(Trouble::Client(error))
                if error.refusal().is_some_and(|refusal| refusal.is_precondition()) =>
            {
                return Ok(Attempt::Changed);
            }
            Err(Trouble::Client(error)) if error.is_not_found() => return Err(Trouble::Gone),
            Err(error) => return Err(error),
        };
        let proofs = match proofs.is_empty() {
            true => match self.with_parts(proofs, &job.object).await {
                Ok(proofs) => proofs,
                Err(Trouble::Client(error))
                    if error.refusal().is_some_and(|refusal| refusal.is_precondition()) =>
                {
                    return Ok(Attempt::Changed);
                }
                Err(error) => return Err(error),
            },
            false => proofs,
        };
        let (target, job) = (Arc::clone(&self.target), job.clone());
        blocking(move || finish(&target, &job, &proofs, &partial)).await
    }

    async fn with_parts(&self, proofs: Proofs, object: &Listed) -> Result<Proofs, Trouble> {
        if proofs.of_parts.is_none() {
            return Ok(proofs);
        }
        let bytes = self.bucket.first_part_bytes(&object.key, &object.etag).await?;
        Ok(bytes.into_iter().fold(proofs, |proofs, bytes| proofs.with_parts(bytes, object.size)))
    }

    /// Reads a small object; none where there is another version by now.
    async fn read_at_once(&self, job: &Job) -> Result<Option<(Proofs, Partial)>, Trouble> {
        let (target, id) = (Arc::clone(&self.target), job.id.clone());
        let partial = blocking(move || Ok(Partial::small(target.work()?, &id)?)).await?;
        let whole = Range { start: 0, length: job.object.size };
        let head = self.read_range(job, whole, Whole::Yes, &partial.file).await?;
        Ok(head.map(|head| (Proofs::of_head(&head), partial)))
    }

    /// Reads what is missing of a large object; none where there is another version by now.
    async fn read_in_ranges(&self, job: &Job) -> Result<Option<(Proofs, Partial)>, Trouble> {
        let object = &job.object;
        let head = self.bucket.head(&object.key).await?.ok_or(Trouble::Gone)?;
        if head.etag != object.etag || head.size != object.size {
            return Ok(None);
        }
        let (target, job_here) = (Arc::clone(&self.target), job.clone());
        let partial = blocking(move || {
            let Job { id, object, .. } = &job_here;
            Ok(Partial::in_ranges(target.work()?, id, &object.key, &object.etag, object.size)?)
        });
        let partial = Arc::new(partial.await?);
        self.progress.moved(partial.bytes_here());
        let reads = stream::iter(partial.missing()).map(|(index, range)| {
            let partial = Arc::clone(&partial);
            async move {
                let head = self.read_range(job, range, Whole::No, &partial.file).await?;
                if head.is_some() {
                    blocking(move || Ok(partial.keep(index)?)).await?;
                }
                Ok::<_, Trouble>(head.is_some())
            }
        });
        let is_whole =
            reads.buffer_unordered(self.parallel).try_fold(true, |all, one| async move { Ok(all && one) });
        let is_whole = is_whole.await?;
        let partial = Arc::into_inner(partial);
        Ok(partial.filter(|_| is_whole).map(|partial| (Proofs::of_head(&head), partial)))
    }

    /// Reads a range into the file, and goes on after a break; none where there is another version by now.
    async fn read_range(
        &self,
        job: &Job,
        range: Range,
        whole: Whole,
        file: &Arc<File>,
    ) -> Result<Option<ObjectHead>, Trouble> {
        let object = &job.object;
        let condition = Condition::Is(object.etag.clone());
        let (mut done, mut fruitless, mut breaks) = (0_u64, 0_u32, 0_u32);
        loop {
            let left =
                Range { start: range.start.saturating_add(done), length: range.length.saturating_sub(done) };
            // The head of a whole answer has more to say than that of a range.
            let asked = (whole == Whole::No || done > 0).then_some(left);
            let mut body = self.bucket.get(&object.key, asked, &condition).await?;
            let head = body.head().clone();
            if head.etag != object.etag || head.size != object.size {
                return Ok(None);
            }
            let before = done;
            let mut buffer = Buffer::default();
            let broken = loop {
                let bytes = match body.next().await {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                };
                self.progress.moved(bytes.len() as u64);
                buffer.push(bytes);
                let seen = done.saturating_add(buffer.bytes as u64);
                if seen > range.length {
                    return Err(Trouble::BreaksOff("the answer is longer than the object".to_owned()));
                }
                if buffer.bytes >= BUFFER_BYTES {
                    done = buffer.write(file, range.start.saturating_add(done), done).await?;
                }
            };
            drop(body);
            done = buffer.write(file, range.start.saturating_add(done), done).await?;
            if done == range.length {
                return Ok(Some(head));
            }
            let reason =
                broken.map_or("the answer is shorter than it says".to_owned(), |error| error.to_string());
            breaks = breaks.saturating_add(1);
            fruitless = if done > before { 0 } else { fruitless.saturating_add(1) };
            if fruitless >= BREAKS_MAX || breaks >= BREAKS_IN_ALL_MAX {
                return Err(Trouble::BreaksOff(reason));
            }
            tracing::debug!(key = object.key, done, reason, "a read broke off and goes on");
            tokio::time::sleep(BREAK_PAUSE.saturating_mul(1 << fruitless.min(6))).await;
        }
    }
}

/// Whether an object is asked for as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

/// Bytes on their way to the disk.
#[derive(Default)]
struct Buffer {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Buffer {
    fn push(&mut self, bytes: Bytes) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.pieces.push(bytes);
    }

    /// Writes what there is at `at`, and empties itself; gives `done` with what was written.
    async fn write(&mut self, file: &Arc<File>, at: u64, done: u64) -> Result<u64, Trouble> {
        let Self { pieces, bytes } = std::mem::take(self);
        if bytes == 0 {
            return Ok(done);
        }
        let file = Arc::clone(file);
        blocking(move || {
            let mut at = at;
            for piece in pieces {
                Partial::write_at(&file, &piece, at)?;
                at = at.saturating_add(piece.len() as u64);
            }
            Ok(())
        })
        .await?;
        Ok(done.saturating_add(bytes as u64))
    }
}

impl Target {
    /// The work folder; a dry run, which may have none, fetches nothing.
    fn work(&self) -> io::Result<&WorkFolder> {
        self.work.as_ref().ok_or_else(|| io::Error::other("there is no work folder"))
    }
}

/// Proves what was read and puts it under its name. It blocks.
fn finish(target: &Target, job: &Job, proofs: &Proofs, partial: &Partial) -> Result<Attempt, Trouble> {
    let work = target.work()?;
    let mut check = proofs.check();
    let length = read_all(&partial.file, |bytes| check.update(bytes))?;
    let sources = match check.finish().verdict() {
        Verdict::Proved(sources) => sources,
        Verdict::BySize => Vec::new(),
        Verdict::FalseWord => {
            Partial::discard(work, &job.id)?;
            return Err(Trouble::FalseWord);
        }
        Verdict::Wrong(sources) => {
            Partial::discard(work, &job.id)?;
            return Ok(Attempt::Wrong(sources));
        }
    };
    if length != job.object.size {
        Partial::discard(work, &job.id)?;
        return Err(Trouble::BreaksOff("the file has come out with another length".to_owned()));
    }
    if let Some(time) = job.object.last_modified {
        set_modified(&partial.file, time)?;
    }
    target.folder.place(work, &part_name(&job.id), &job.path, job.standing)?;
    Partial::forget_journal(work, &job.id)?;
    if let Ok(identity) = Identity::of(&partial.file) {
        let by = if sources.is_empty() { By::Size } else { By::Proof };
        target.verified.add(&job.id, &job.object.etag, identity, by);
    }
    Ok(Attempt::Done(sources))
}

/// Reads a file from its beginning; gives its length.
fn read_all(file: &File, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0_u64;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(at),
            Ok(length) => {
                each(buffer.get(..length).unwrap_or_default());
                at = at.saturating_add(length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The time in a `Last-Modified` header.
fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}
