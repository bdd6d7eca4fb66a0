//! An upload from start to end: plan, refuse, compare, send, look at what stands there, delete. \[IO\]

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::spawn_blocking;

use super::{
    plan::{self, Job, Plan},
    scan::{Found, Source},
    selection::Selection,
    send::{Done, Outages, Sender},
};
use crate::{
    client::{ClientError, object::Listed},
    transfer::{
        names::Rules,
        object_writer::Target,
        pool::{self, Ended, Interrupt},
        progress::Progress,
        report::{Outcome, Report, Row},
    },
};

/// So many objects are asked for one by one; beyond that, a list of the prefix is less.
const HEADS_MAX: usize = 100;

const WHY_INTERRUPTED: &str = "interrupted: run the same again to go on";
const WHY_UNAVAILABLE: &str = "the server could not be used any more: run the same again to go on";

/// What is to be uploaded where.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) sources: Vec<Source>,
    /// What all keys begin with, ending in `/`.
    pub(crate) prefix: String,
    pub(crate) selection: Selection,
    pub(crate) is_dry_run: bool,
    pub(crate) deletion: Deletion,
}

/// What becomes of objects below the prefix that have no file here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// They stay.
    None,
    /// They are deleted, unless that would be all of them because there are no files here.
    Missing,
    /// They are deleted.
    MissingEvenAll,
}

/// Why an upload ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Files that the rules do not take: nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// A call for the whole of it failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What every upload of a command has.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) target: Target,
    pub(crate) rules: Rules,
    pub(crate) parallel: usize,
    pub(crate) progress: Progress,
    pub(crate) interrupt: Interrupt,
}

/// What stands at the server, by key: at least what was asked for.
type Standing = BTreeMap<String, Listed>;

/// The sha256 of each file that stands at the server now, by key.
pub(crate) type Proven = BTreeMap<String, [u8; 32]>;

impl Upload {
    /// Does all of a plan once. What stands there then is in `proven`; what became of each file is in
    /// `report`, also of those that were left.
    ///
    /// # Errors
    /// What ended it before the first file, or after the last.
    pub(crate) async fn once(
        &self,
        request: &Request,
        plan: Plan,
        proven: &mut Proven,
        report: &mut Report,
    ) -> Result<Ended, UploadError> {
        let Plan { jobs, refused, left_out, left_names } = plan;
        left_out.into_iter().for_each(|row| report.push(row));
        if !refused.is_empty() {
            let count = refused.len();
            refused.into_iter().for_each(|row| report.push(row));
            return Err(UploadError::Refused(format!(
                "{count} of the files cannot be uploaded, and nothing was sent: change them, or leave them \
                 out with --exclude"
            )));
        }
        let asking = self.standing(request, &jobs);
        let not_begun =
            |why: &str| jobs.iter().map(|job| job.row(Outcome::NotBegun, why)).collect::<Vec<_>>();
        let standing = match self.unless_interrupted(asking).await {
            Some(Ok(standing)) => standing,
            Some(Err(error)) => {
                not_begun(WHY_UNAVAILABLE).into_iter().for_each(|row| report.push(row));
                return Err(error.into());
            }
            None => {
                not_begun(WHY_INTERRUPTED).into_iter().for_each(|row| report.push(row));
                return Ok(Ended::Interrupted);
            }
        };
        if request.deletion == Deletion::Missing && jobs.is_empty() && !standing.is_empty() {
            return Err(UploadError::Refused(format!(
                "there are no files here, so --delete would delete all {} objects below {}: is it the right \
                 directory? --delete-all deletes them all the same",
                standing.len(),
                request.prefix
            )));
        }
        let (ended, rows, sent) = self.transfer(request, &jobs, &standing).await;
        proven.extend(sent);
        rows.into_iter().for_each(|row| report.push(row));
        if ended == Ended::Done && request.deletion != Deletion::None {
            return self.delete(request, &jobs, &left_names, &standing, report).await;
        }
        Ok(ended)
    }

    /// Looks at what is there, and plans.
    ///
    /// # Errors
    /// A fault of this program alone.
    pub(crate) async fn plan(&self, request: &Request) -> Result<Plan, UploadError> {
        let (sources, selection) = (request.sources.clone(), request.selection.clone());
        let scanning = spawn_blocking(move || {
            let mut found = Found::default();
            sources.iter().for_each(|source| source.scan(&selection, &mut found));
            found
        });
        let found = scanning.await.map_err(|error| ClientError::Call(error.to_string()))?;
        Ok(plan::plan(found, &request.prefix, &self.rules))
    }

    /// Compares and sends `jobs`, and looks at what then stands there. Gives a row for each of them.
    pub(super) async fn transfer(
        &self,
        request: &Request,
        jobs: &[Job],
        standing: &Standing,
    ) -> (Ended, Vec<Row>, Proven) {
        let bytes = jobs.iter().map(|job| job.file.stamp.size).sum();
        self.progress.planned(jobs.len() as u64, bytes);
        let outages = Arc::new(Outages::default());
        let sender = Sender {
            target: self.target.clone(),
            progress: self.progress.clone(),
            is_dry_run: request.is_dry_run,
            outages: Arc::clone(&outages),
        };
        let mut done: Vec<Option<Done>> = Vec::new();
        done.resize_with(jobs.len(), || None);
        let goes_on = |_: &(usize, &Job)| !outages.is_over();
        let work = |(index, job): (usize, &Job)| {
            let sending = sender.clone().send(job.clone(), standing.get(&job.key).cloned());
            async move { (index, sending.await) }
        };
        let queue = jobs.iter().enumerate().take_while(goes_on);
        let mut ended = pool::run(queue, self.parallel, &self.interrupt, work, |(index, result)| {
            if let Some(slot) = done.get_mut(index) {
                *slot = Some(result);
            }
        })
        .await;
        if ended == Ended::Done && !request.is_dry_run && !outages.is_over() {
            ended = self.look_again(request, jobs, &mut done).await;
        }
        let why = match ended {
            Ended::Interrupted => WHY_INTERRUPTED,
            Ended::Done => WHY_UNAVAILABLE,
        };
        let stands = |done: &Done| matches!(done.row.outcome, Outcome::Sent | Outcome::Same);
        let proven = (done.iter().flatten())
            .filter(|done| stands(done))
            .filter_map(|done| Some((done.row.key.clone(), done.sha256?)))
            .collect();
        let rows = done.into_iter().zip(jobs).map(|(done, job)| match done {
            Some(done) => done.row,
            None => job.row(Outcome::NotBegun, why),
        });
        (ended, rows.collect(), proven)
    }

    /// Whether what was sent stands there: the last proof, by a list and not by the answers of the PUTs.
    async fn look_again(&self, request: &Request, jobs: &[Job], done: &mut [Option<Done>]) -> Ended {
        let is_sent = |done: &Option<Done>| {
            done.as_ref().is_some_and(|done| done.row.outcome == Outcome::Sent && done.etag.is_some())
        };
        let sent: Vec<Job> =
            (done.iter().zip(jobs)).filter(|(done, _)| is_sent(done)).map(|(_, job)| job.clone()).collect();
        if sent.is_empty() {
            return Ended::Done;
        }
        let asking = self.standing(request, &sent);
        let Some(standing) = self.unless_interrupted(asking).await else { return Ended::Interrupted };
        for done in done.iter_mut().flatten().filter(|done| done.row.outcome == Outcome::Sent) {
            let detail = match &standing {
                Ok(standing) => {
                    let listed = standing.get(&done.row.key);
                    let stands = listed.is_some_and(|listed| {
                        listed.size == done.row.bytes && Some(&listed.etag) == done.etag.as_ref()
                    });
                    if stands {
                        continue;
                    }
                    "it was sent, but something else stands there now: does another program write to this \
                     key? run the same again"
                        .to_owned()
                }
                Err(error) => format!("it was sent, but not looked at again: {error}"),
            };
            done.row.outcome = Outcome::Failed;
            done.row.detail = detail;
            self.progress.file(&done.row);
        }
        Ended::Done
    }

    /// What stands under the keys of `jobs`; of everything below the prefix, where there is to be deleted.
    pub(super) async fn standing(&self, request: &Request, jobs: &[Job]) -> Result<Standing, ClientError> {
        let bucket = self.target.bucket();
        let wants_all = request.deletion != Deletion::None;
        if !wants_all && jobs.len() <= HEADS_MAX {
            let (mut standing, mut failure) = (Standing::new(), None);
            let has_failed = AtomicBool::new(false);
            let work = |key: String| {
                let bucket = bucket.clone();
                async move { (bucket.head(&key).await, key) }
            };
            // A server that one call has waited for in vain is not waited for by all the others.
            let keys = jobs.iter().map(|job| job.key.clone());
            let keys = keys.take_while(|_| !has_failed.load(Ordering::Relaxed));
            pool::run(keys, self.parallel, &self.interrupt, work, |(head, key)| match head {
                Ok(Some(head)) => {
                    let listed =
                        Listed { key: key.clone(), size: head.size, etag: head.etag, last_modified: None };
                    standing.insert(key, listed);
                }
                Ok(None) => {}
                Err(error) => {
                    has_failed.store(true, Ordering::Relaxed);
                    failure = Some(error);
                }
            })
            .await;
            return failure.map_or(Ok(standing), Err);
        }
        let wanted: HashSet<&str> = jobs.iter().map(|job| job.key.as_str()).collect();
        let mut standing = Standing::new();
        let keep = |listed: Listed| {
            if wants_all || wanted.contains(listed.key.as_str()) {
                standing.insert(listed.key.clone(), listed);
            }
        };
        bucket.list(&request.prefix, keep).await?;
        Ok(standing)
    }

    /// Deletes what has no file here; only what stood there before the upload and stands there unchanged, and
    /// only if everything else went well.
    async fn delete(
        &self,
        request: &Request,
        jobs: &[Job],
        left_names: &[String],
        before: &Standing,
        report: &mut Report,
    ) -> Result<Ended, UploadError> {
        let missing = plan::deletions(before, &request.prefix, jobs, left_names, &request.selection);
        if missing.is_empty() {
            return Ok(Ended::Done);
        }
        if report.bad() > 0 {
            self.progress.remark("nothing is deleted, because some files were not uploaded");
            return Ok(Ended::Done);
        }
        let row = |listed: &Listed, outcome, detail: String| Row {
            outcome,
            path: String::new(),
            key: listed.key.clone(),
            bytes: listed.size,
            detail,
        };
        if request.is_dry_run {
            missing.iter().for_each(|listed| report.push(row(listed, Outcome::WouldDelete, String::new())));
            return Ok(Ended::Done);
        }
        let asking = self.standing(request, jobs);
        let Some(now) = self.unless_interrupted(asking).await else { return Ok(Ended::Interrupted) };
        let now = now?;
        // One that was put anew meanwhile, be it with the same content, is somebody's.
        let unchanged = missing.into_iter().filter(|listed| now.get(&listed.key) == Some(*listed)).cloned();
        let bucket = self.target.bucket();
        let work = |listed: Listed| {
            let bucket = bucket.clone();
            async move { (bucket.delete(&listed.key).await, listed) }
        };
        let ended = pool::run(unchanged, self.parallel, &self.interrupt, work, |(result, listed)| {
            let row = match result {
                Ok(()) => row(&listed, Outcome::Deleted, String::new()),
                Err(error) => row(&listed, Outcome::Failed, format!("it was not deleted: {error}")),
            };
            self.progress.file(&row);
            report.push(row);
        })
        .await;
        Ok(ended)
    }

    /// The result, unless the work is to stop before. What comes together with the interruption may be half
    /// of it, and does not count.
    pub(crate) async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.interrupt.wait() => None,
            result = work => (!self.interrupt.is_set()).then_some(result),
        }
    }
}
