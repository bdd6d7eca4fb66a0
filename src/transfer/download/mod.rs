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
//! | `prepare` | the list, the plan, what stands here, and the room there is |
//! | `fetch` | one object: compared, read, proved, put under its name |
//!
//! Invariants: nothing is written before the whole list is there and planned; a file has its final name only
//! when it is whole and proved; what is here counts as the object only by proof.

mod fetch;
pub(crate) mod folder;
pub(crate) mod local_path;
pub(crate) mod partial;
pub(crate) mod plan;
mod prepare;
pub(crate) mod proof;
pub(crate) mod verified;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::spawn_blocking;

use self::{
    fetch::{Fetched, Fetcher, Job, Trouble},
    folder::WorkFault,
    prepare::{Prepared, prepare},
    verified::By,
};
use super::{
    filter::Filter,
    pool::{self, Ended, Interrupt},
    progress::Progress,
    report::{Outcome, Report, Row, Total, size_text},
};
use crate::client::{Bucket, ClientError};

/// After so many failures of the server while nothing comes at all, the rest is not tried. Where other
/// objects come, those that do not are at fault themselves.
const SERVER_FAILURES_MAX: u32 = 3;

/// The remark on a file without a proof.
const BY_SIZE: &str = "nothing but its size could be compared";

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

/// What came of all.
#[derive(Debug, Default)]
pub(crate) struct Downloaded {
    pub(crate) report: Report,
    /// Markers of folders, of which nothing is made.
    pub(crate) markers: u64,
    /// What the patterns leave out.
    pub(crate) left_out: u64,
    /// Why the rest was not tried.
    pub(crate) cut_short: Option<CutShort>,
}

/// Why a download ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CutShort {
    /// The caller's signal.
    Interrupted,
    /// The server fails or refuses, whatever it is asked for.
    Server(ClientError),
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
        "--to {dir:?}: the download needs {} of room, and there are {} (take less by --include)",
        size_text(*needed),
        size_text(*free)
    )]
    NoSpace { dir: PathBuf, needed: u64, free: u64 },
    #[error("--to {dir:?}: the download makes {needed} files, and the file system has room for {free}")]
    NoFiles { dir: PathBuf, needed: u64, free: u64 },
}

/// Downloads, until all is done or `interrupt` says so.
///
/// # Errors
/// Why nothing was done: the list is not complete, or there is no place for the files.
pub(crate) async fn run(
    bucket: &Bucket,
    settings: &Settings,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Downloaded, StartFault> {
    let mut downloaded = Downloaded::default();
    let prepared = tokio::select! {
        prepared = prepare(bucket, settings, progress) => prepared?,
        () = interrupt.wait() => {
            downloaded.cut_short = Some(CutShort::Interrupted);
            return Ok(downloaded);
        }
    };
    let Prepared { target, jobs, rows, markers, left_out } = prepared;
    (downloaded.markers, downloaded.left_out) = (markers, left_out);
    let refused = rows.iter().fold(Total::default(), |sum, row| plus(sum, row.bytes));
    let all = jobs.iter().fold(Total::default(), |sum, job| plus(sum, job.object.size));
    progress.planned(refused.files.saturating_add(all.files), all.bytes);
    for row in rows {
        progress.file(&row);
        downloaded.report.push(row);
    }
    let fetcher = Arc::new(Fetcher {
        bucket: bucket.clone(),
        target: Arc::clone(&target),
        parallel: settings.parallel,
        reads_all: settings.reads_all,
        progress: progress.clone(),
        fetched: AtomicU64::new(0),
    });
    let is_dry_run = settings.is_dry_run;
    let work = |job| {
        let fetcher = Arc::clone(&fetcher);
        async move { one(&fetcher, job, is_dry_run).await }
    };
    let (mut done, mut failures, mut cut_short) = (Total::default(), 0_u32, None);
    // Whoever interrupts from outside, and what is found here to be of no use, end it alike.
    let (stop, stopped) = Interrupt::new();
    let take = |Came { row, trouble, others_came }: Came| {
        done = plus(done, row.bytes);
        if others_came {
            failures = 0;
        }
        if let Some(trouble) = trouble {
            if trouble.is_of_the_server() && !others_came {
                failures = failures.saturating_add(1);
            }
            let reason = reason_to_stop(&trouble, failures);
            if reason.is_some() && cut_short.is_none() {
                cut_short = reason;
                stop.interrupt();
            }
        }
        progress.file(&row);
        downloaded.report.push(row);
    };
    let ended = tokio::select! {
        ended = pool::run(jobs, settings.parallel, &stopped, work, take) => ended,
        () = interrupt.wait() => Ended::Interrupted,
    };
    downloaded.cut_short = cut_short.or((ended == Ended::Interrupted).then_some(CutShort::Interrupted));
    // Also what is missing for a reason that nobody has told is not here.
    let left = all.files.saturating_sub(done.files);
    let bytes = all.bytes.saturating_sub(done.bytes);
    downloaded.report.count_all(Outcome::NotBegun, Total { files: left, bytes });
    if fetcher.fetched.load(Ordering::Relaxed) > 0 {
        // Only what is on the disk is reported as done.
        let synced = spawn_blocking(move || target.folder.sync()).await;
        if let Err(error) = synced.unwrap_or_else(|error| Err(io::Error::other(error))) {
            downloaded.cut_short.get_or_insert(CutShort::Disk(error.to_string()));
        }
    }
    Ok(downloaded)
}

fn plus(sum: Total, bytes: u64) -> Total {
    Total { files: sum.files.saturating_add(1), bytes: sum.bytes.saturating_add(bytes) }
}

/// Why there is no use in going on, if there is none.
fn reason_to_stop(trouble: &Trouble, failures: u32) -> Option<CutShort> {
    if trouble.is_of_the_disk() {
        return Some(CutShort::Disk(trouble.to_string()));
    }
    match trouble {
        Trouble::Client(error) if failures >= SERVER_FAILURES_MAX => Some(CutShort::Server(error.clone())),
        _ => None,
    }
}

/// What one object comes to.
struct Came {
    row: Row,
    trouble: Option<Trouble>,
    /// Whether the server gave this object or another one meanwhile: then it is there.
    others_came: bool,
}

async fn one(fetcher: &Fetcher, job: Job, is_dry_run: bool) -> Came {
    let row = |outcome, bytes, detail: String| Row {
        outcome,
        path: job.path.to_string(),
        key: job.object.key.clone(),
        bytes,
        detail,
    };
    let size = job.object.size;
    let before = fetcher.fetched.load(Ordering::Relaxed);
    let came = match fetcher.is_same(&job).await {
        Ok(Some(By::Proof)) => {
            fetcher.progress.moved(size);
            Ok(row(Outcome::Same, size, String::new()))
        }
        Ok(Some(By::Size)) => {
            fetcher.progress.moved(size);
            Ok(row(Outcome::SameBySize, size, BY_SIZE.to_owned()))
        }
        Ok(None) if is_dry_run => Ok(row(Outcome::WouldReceive, size, String::new())),
        Ok(None) => fetcher.fetch(&job).await.map(|Fetched { bytes, proofs }| match proofs.is_empty() {
            true => row(Outcome::ReceivedBySize, bytes, BY_SIZE.to_owned()),
            false => row(Outcome::Received, bytes, String::new()),
        }),
        Err(trouble) => Err(trouble),
    };
    let others_came = fetcher.fetched.load(Ordering::Relaxed) != before;
    match came {
        Ok(row) => Came { row, trouble: None, others_came },
        Err(trouble) => {
            let detail = format!("{trouble} ({})", trouble.advice());
            Came { row: row(Outcome::Failed, size, detail), trouble: Some(trouble), others_came }
        }
    }
}
