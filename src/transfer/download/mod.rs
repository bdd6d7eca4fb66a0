//! Downloads: all objects under a prefix, as files below a folder. \[IO\]
//!
//! | file | what is in it |
//! | --- | --- |
//! | [`local_path`] | the local path of a key, or why it has none; pure |
//! | [`plan`] | what a whole list comes to, and the space it takes; pure |
//! | [`proof`] | what proves that bytes are an object's; pure |
//! | [`folder`] | the folder: names opened one by one, without links |
//! | [`partial`] | files that grow, and the journal of their ranges |
//! | [`verified`] | which files have been compared before |
//! | `fetch` | one object: compared, read, proved, put under its name |
//!
//! Invariants: nothing is written before the whole list is there and planned; a file has its final name only
//! when it is whole and proved; what is here counts as the object only by proof.

mod fetch;
pub(crate) mod folder;
pub(crate) mod local_path;
pub(crate) mod partial;
pub(crate) mod plan;
pub(crate) mod proof;
pub(crate) mod verified;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::task::spawn_blocking;

use self::{
    fetch::{Fetcher, Job, Target, Trouble},
    folder::{Folder, Standing, WorkFault},
    local_path::{Folding, NAME_BYTES_MAX},
    partial::{Partial, id_of},
    plan::{Names, Need, Plan, Planned, Space, space_needed},
    proof::Source,
    verified::Verified,
};
use super::filter::Filter;
use crate::client::{Bucket, ClientError, object::Listed};

/// After so many failures of the server in a row, the rest is not tried.
const SERVER_FAILURES_MAX: u32 = 3;

/// What is downloaded, and how.
pub(crate) struct Settings {
    /// What every key begins with.
    pub(crate) prefix: String,
    /// Where files go.
    pub(crate) dir: PathBuf,
    /// Which of them.
    pub(crate) filter: Filter,
    /// Objects and ranges that are read side by side.
    pub(crate) parallel: usize,
    /// Whether nothing is written.
    pub(crate) is_dry_run: bool,
    /// Whether files are read that have not changed since they were compared.
    pub(crate) reads_all: bool,
}

/// What came of one object.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Below the folder; none where it can have none.
    pub(crate) path: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) outcome: Outcome,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was fetched, and these prove it; nothing but its size where there are none.
    Fetched(Vec<Source>),
    /// It stood here.
    Same,
    /// It would be fetched, if this were no dry run.
    Due,
    /// It can be no file here.
    Refused { why: String, advice: &'static str },
    /// It could not be fetched.
    Failed { why: String, advice: &'static str },
}

/// Who is told how it goes.
pub(crate) trait Observer: Sync {
    /// So many objects are listed.
    fn listed(&self, objects: u64);
    /// So many objects and bytes are looked at or fetched.
    fn planned(&self, objects: u64, bytes: u64);
    /// So many bytes have come.
    fn bytes(&self, bytes: u64);
    /// An object is done with.
    fn row(&self, row: &Row);
}

/// What came of all.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) fetched: Tally,
    /// Of those, the ones of which nothing but the size could be compared.
    pub(crate) by_size: Tally,
    pub(crate) same: Tally,
    pub(crate) due: Tally,
    pub(crate) refused: Tally,
    pub(crate) failed: Tally,
    /// Markers of folders, of which nothing is made.
    pub(crate) markers: u64,
    /// What the patterns leave out.
    pub(crate) left_out: u64,
    /// Rows that somebody has to look at: refused, failed, known by their size alone.
    pub(crate) remarkable: Vec<Row>,
    /// Why the rest was not tried.
    pub(crate) cut_short: Option<CutShort>,
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Why a download ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CutShort {
    /// The caller's signal.
    Interrupted,
    /// The server fails or refuses, whatever it is asked for.
    Server { is_refusal: bool, why: String },
    /// The disk takes nothing.
    Disk(String),
}

/// Why a download did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFault {
    #[error(transparent)]
    List(#[from] ClientError),
    #[error("--to {0:?}: {1}")]
    Folder(PathBuf, io::Error),
    #[error("--to {0:?}: {1}")]
    Work(PathBuf, WorkFault),
    #[error(
        "--to {dir:?}: the download needs {} of room, and there are {} (use --include and --exclude to take less)",
        indicatif::HumanBytes(*needed),
        indicatif::HumanBytes(*free)
    )]
    NoSpace { dir: PathBuf, needed: u64, free: u64 },
    #[error("--to {dir:?}: the download makes {needed} files, and the file system has room for {free}")]
    NoFiles { dir: PathBuf, needed: u64, free: u64 },
}

impl Report {
    /// Takes in a row.
    fn add(&mut self, row: Row) {
        let tally = match &row.outcome {
            Outcome::Fetched(proofs) => {
                if proofs.is_empty() {
                    self.by_size.add(row.bytes);
                }
                &mut self.fetched
            }
            Outcome::Same => &mut self.same,
            Outcome::Due => &mut self.due,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::Failed { .. } => &mut self.failed,
        };
        tally.add(row.bytes);
        let is_remarkable = match &row.outcome {
            Outcome::Fetched(proofs) => proofs.is_empty(),
            Outcome::Refused { .. } | Outcome::Failed { .. } => true,
            Outcome::Same | Outcome::Due => false,
        };
        if is_remarkable {
            self.remarkable.push(row);
        }
    }

    /// Whether everything that is meant is here, or would come.
    pub(crate) fn is_complete(&self) -> bool {
        self.refused.files == 0 && self.failed.files == 0 && self.cut_short.is_none()
    }
}

/// Downloads, until all is done or `stop` resolves.
///
/// # Errors
/// Why nothing was done: the list is not complete, or there is no place for the files.
pub(crate) async fn run(
    bucket: &Bucket,
    settings: &Settings,
    observer: &dyn Observer,
    stop: impl Future<Output = ()>,
) -> Result<Report, StartFault> {
    let mut stop = std::pin::pin!(stop);
    let mut report = Report::default();
    let preparing = prepare(bucket, settings, observer);
    let prepared = tokio::select! {
        prepared = preparing => prepared?,
        () = &mut stop => {
            report.cut_short = Some(CutShort::Interrupted);
            return Ok(report);
        }
    };
    let Prepared { target, jobs, rows, markers, left_out } = prepared;
    (report.markers, report.left_out) = (markers, left_out);
    for row in rows {
        observer.row(&row);
        report.add(row);
    }
    let bytes = jobs.iter().fold(0, |sum: u64, job| sum.saturating_add(job.object.size));
    observer.planned(jobs.len() as u64, bytes);
    let fetcher = Fetcher {
        bucket,
        target: Arc::clone(&target),
        parallel: settings.parallel,
        reads_all: settings.reads_all,
        observer,
    };
    let work = stream::iter(jobs).map(|job| one(&fetcher, job, settings.is_dry_run));
    report.cut_short = gather(work.buffer_unordered(settings.parallel), &mut report, observer, stop).await;
    if report.fetched.files > 0 {
        // Only what is on the disk is reported as done.
        let synced = spawn_blocking(move || target.folder.sync()).await;
        if let Err(error) = synced.unwrap_or_else(|error| Err(io::Error::other(error))) {
            report.cut_short.get_or_insert(CutShort::Disk(error.to_string()));
        }
    }
    Ok(report)
}

/// What one object comes to.
async fn one(fetcher: &Fetcher<'_>, job: Job, is_dry_run: bool) -> Result<Row, (Row, Trouble)> {
    let row = |outcome, bytes| Row {
        key: job.object.key.clone(),
        path: Some(job.path.to_string()),
        bytes,
        outcome,
    };
    let trouble = |trouble: Trouble| {
        let (why, advice) = (trouble.to_string(), trouble.advice());
        (row(Outcome::Failed { why, advice }, job.object.size), trouble)
    };
    if fetcher.is_same(&job).await.map_err(trouble)? {
        fetcher.observer.bytes(job.object.size);
        return Ok(row(Outcome::Same, job.object.size));
    }
    if is_dry_run {
        return Ok(row(Outcome::Due, job.object.size));
    }
    let fetched = fetcher.fetch(&job).await.map_err(trouble)?;
    Ok(row(Outcome::Fetched(fetched.proofs), fetched.bytes))
}

/// Takes in rows as they come, until there is no use in going on.
async fn gather(
    rows: impl Stream<Item = Result<Row, (Row, Trouble)>>,
    report: &mut Report,
    observer: &dyn Observer,
    stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Option<CutShort> {
    let mut rows = std::pin::pin!(rows);
    let mut stop = stop;
    let mut failures = 0_u32;
    loop {
        let row = tokio::select! {
            row = rows.next() => row?,
            () = &mut stop => return Some(CutShort::Interrupted),
        };
        let (row, cut_short) = match row {
            Ok(row) => {
                failures = 0;
                (row, None)
            }
            Err((row, trouble)) => {
                failures = if trouble.is_of_the_server() { failures.saturating_add(1) } else { 0 };
                let cut_short = if trouble.is_of_the_disk() {
                    Some(CutShort::Disk(trouble.to_string()))
                } else if failures >= SERVER_FAILURES_MAX {
                    let is_refusal = match &trouble {
                        Trouble::Client(ClientError::Refused(_)) => true,
                        Trouble::Client(ClientError::Session(session)) => session.is_refusal,
                        _ => false,
                    };
                    Some(CutShort::Server { is_refusal, why: trouble.to_string() })
                } else {
                    None
                };
                (row, cut_short)
            }
        };
        observer.row(&row);
        report.add(row);
        if cut_short.is_some() {
            return cut_short;
        }
    }
}

/// What is known before the first object is read.
struct Prepared {
    target: Arc<Target>,
    jobs: Vec<Job>,
    /// Objects that can be no files here.
    rows: Vec<Row>,
    markers: u64,
    left_out: u64,
}

/// Lists, plans, looks at what stands here, and makes sure of the room.
async fn prepare(
    bucket: &Bucket,
    settings: &Settings,
    observer: &dyn Observer,
) -> Result<Prepared, StartFault> {
    let mut objects: Vec<Listed> = Vec::new();
    let list = bucket.list(&settings.prefix, |object| {
        objects.push(object);
        if objects.len().is_multiple_of(1000) {
            observer.listed(objects.len() as u64);
        }
    });
    list.await?;
    observer.listed(objects.len() as u64);
    let place = place(&settings.dir, settings.is_dry_run)?;
    let Plan { files, refused, markers, left_out } =
        plan::plan(&settings.prefix, objects, &settings.filter, place.names);
    let mut rows: Vec<Row> = refused
        .into_iter()
        .map(|refused| Row {
            path: None,
            bytes: refused.object.size,
            outcome: Outcome::Refused { why: refused.fault.to_string(), advice: refused.fault.advice() },
            key: refused.object.key,
        })
        .collect();
    let (base_url, bucket_name) = (bucket.place().base_url.clone(), bucket.place().bucket.clone());
    let (dir, parallel) = (settings.dir.clone(), settings.parallel);
    let looking = spawn_blocking(move || look(&dir, place, files, &base_url, &bucket_name, parallel));
    let looked = looking
        .await
        .unwrap_or_else(|error| Err(StartFault::Folder(settings.dir.clone(), io::Error::other(error))))?;
    rows.extend(looked.rows);
    Ok(Prepared { target: Arc::new(looked.target), jobs: looked.jobs, rows, markers, left_out })
}

/// The folder, as it is found or made.
struct Place {
    /// None in a dry run to a folder that is not there yet.
    folder: Option<Folder>,
    work: Option<folder::WorkFolder>,
    names: Names,
}

fn place(dir: &Path, is_dry_run: bool) -> Result<Place, StartFault> {
    let fault = |error: io::Error| StartFault::Folder(dir.to_owned(), error);
    if !is_dry_run {
        std::fs::create_dir_all(dir).map_err(fault)?;
    }
    let folder = match Folder::open(dir) {
        Ok(folder) => folder,
        Err(error) if is_dry_run && error.kind() == io::ErrorKind::NotFound => {
            let names = Names { bytes_max: NAME_BYTES_MAX, folding: Folding::default() };
            return Ok(Place { folder: None, work: None, names });
        }
        Err(error) => return Err(fault(error)),
    };
    let work = match is_dry_run {
        true => folder.work_if_there(),
        false => folder.work().map(Some),
    };
    let work = work.map_err(|error| StartFault::Work(dir.to_owned(), error))?;
    let folding = work.as_ref().map_or(Ok(Folding::default()), folder::WorkFolder::folding).map_err(fault)?;
    let names = Names { bytes_max: folder.name_bytes_max(), folding };
    Ok(Place { folder: Some(folder), work, names })
}

/// What stands here.
struct Looked {
    target: Target,
    jobs: Vec<Job>,
    rows: Vec<Row>,
}

/// Looks at what stands under each path. It blocks.
fn look(
    dir: &Path,
    place: Place,
    files: Vec<Planned>,
    base_url: &str,
    bucket: &str,
    parallel: usize,
) -> Result<Looked, StartFault> {
    let fault = |error: io::Error| StartFault::Folder(dir.to_owned(), error);
    let Place { folder, work, names: _ } = place;
    let (mut jobs, mut rows, mut needs) = (Vec::with_capacity(files.len()), Vec::new(), Vec::new());
    for Planned { object, path } in files {
        let id = id_of(base_url, bucket, &object.key);
        let standing = match folder.as_ref().map_or(Ok(Standing::Absent), |folder| folder.look(&path)) {
            Ok(standing) => standing,
            Err(error) => {
                rows.push(Row {
                    key: object.key,
                    path: Some(path.to_string()),
                    bytes: object.size,
                    outcome: Outcome::Refused { why: error.to_string(), advice: error.advice() },
                });
                continue;
            }
        };
        let replaced_bytes = match standing {
            Standing::Absent => None,
            Standing::File(identity) => Some(identity.size),
        };
        // A file of the same size is most likely the same, and at worst takes its own place.
        if replaced_bytes != Some(object.size) {
            let partial_bytes = work.as_ref().map_or(0, |work| Partial::bytes_on_disk(work, &id));
            needs.push(Need { bytes: object.size, replaced_bytes, partial_bytes });
        }
        jobs.push(Job { object, path, standing, id });
    }
    // For a folder that is not there yet, the disk of the one that will hold it.
    let existing = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let folder = match folder {
        Some(folder) => folder,
        None => Folder::open(existing).map_err(fault)?,
    };
    check_room(dir, &space_needed(&needs, parallel), &folder.space().map_err(fault)?)?;
    let verified = work.as_ref().map_or(Ok(Verified::nothing()), Verified::load).map_err(fault)?;
    Ok(Looked { target: Target { folder, work, verified }, jobs, rows })
}

fn check_room(dir: &Path, needed: &Space, free: &Space) -> Result<(), StartFault> {
    let dir = dir.to_owned();
    if needed.bytes > free.bytes {
        return Err(StartFault::NoSpace { dir, needed: needed.bytes, free: free.bytes });
    }
    match (needed.files, free.files) {
        (Some(needed), Some(free)) if needed > free => Err(StartFault::NoFiles { dir, needed, free }),
        _ => Ok(()),
    }
}
