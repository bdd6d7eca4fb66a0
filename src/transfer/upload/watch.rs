//! An upload of a directory that grows: the same again and again, of the files that are whole. \[IO\]
//!
//! The directory is looked at anew, not watched by the kernel: that works on every file system, and whether a
//! file is whole takes a second look anyway.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    plan::{Job, Plan},
    run::{Request, Upload, UploadError},
    settle::Settle,
};
use crate::transfer::report::{Outcome, Report, Row};

/// Between two looks.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// How a directory that grows is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch {
    /// For so long nothing may have changed about a file.
    pub(crate) settle: Duration,
}

/// What has been said already, so that it is said once.
#[derive(Debug, Default)]
struct Told {
    refused: BTreeMap<String, Row>,
    left_out: BTreeSet<String>,
}

impl Watch {
    /// Goes on until it is interrupted. In `report` everything that went well is counted, and what has not by
    /// the end has a row.
    ///
    /// # Errors
    /// A fault of this program alone: whatever the server does, it goes on.
    pub(crate) async fn run(
        self,
        upload: &Upload,
        request: &Request,
        report: &mut Report,
    ) -> Result<(), UploadError> {
        let interval = (self.settle / 2).clamp(INTERVAL_MIN, INTERVAL_MAX);
        let mut settle = Settle::new(self.settle);
        let mut told = Told::default();
        let mut failing: BTreeMap<String, Row> = BTreeMap::new();
        while !upload.interrupt.is_set() {
            let Some(plan) = upload.unless_interrupted(upload.plan(request)).await else { break };
            let plan = plan?;
            told.tell(upload, &plan);
            let jobs = ripe(&mut settle, plan.jobs);
            failing.retain(|path, _| std::fs::symlink_metadata(path).is_ok());
            if !jobs.is_empty() {
                for (job, row) in jobs.iter().zip(round(upload, request, &jobs).await) {
                    match row.outcome {
                        Outcome::Sent | Outcome::Same => {
                            settle.over(&job.file.name);
                            failing.remove(&row.path);
                            report.count(&row);
                        }
                        // It waits, as it did before; the next start uploads it.
                        Outcome::NotBegun if upload.interrupt.is_set() => {}
                        _ => {
                            settle.failed(&job.file.name, Instant::now());
                            failing.insert(row.path.clone(), row);
                        }
                    }
                }
            }
            let pause = tokio::time::sleep(interval);
            let _ = upload.unless_interrupted(pause).await;
        }
        if settle.has_waiting() {
            upload.progress.remark(
                "some files were not known to be whole, or their turn had not come: they were not uploaded",
            );
        }
        told.refused.into_values().chain(failing.into_values()).for_each(|row| report.push(row));
        Ok(())
    }
}

/// The jobs whose files are whole and not done.
fn ripe(settle: &mut Settle, jobs: Vec<Job>) -> Vec<Job> {
    let stamps: Vec<_> = jobs.iter().map(|job| (job.file.name.as_str(), job.file.stamp)).collect();
    let ripe = settle.ripe(&stamps, Instant::now());
    jobs.into_iter().zip(ripe).filter(|(_, is_ripe)| *is_ripe).map(|(job, _)| job).collect()
}

/// Uploads these; whatever fails is a row.
async fn round(upload: &Upload, request: &Request, jobs: &[Job]) -> Vec<Row> {
    let rows = |outcome, why: &str| jobs.iter().map(|job| job.row(outcome, why)).collect();
    let Some(standing) = upload.unless_interrupted(upload.standing(request, jobs)).await else {
        return rows(Outcome::NotBegun, "interrupted");
    };
    match standing {
        Ok(standing) => upload.transfer(request, jobs, &standing).await.1,
        Err(error) => {
            upload.progress.remark(&format!("{} files wait: {error}", jobs.len()));
            rows(Outcome::Failed, &error.to_string())
        }
    }
}

impl Told {
    fn tell(&mut self, upload: &Upload, plan: &Plan) {
        let refused: BTreeMap<String, Row> =
            plan.refused.iter().map(|row| (row.path.clone(), row.clone())).collect();
        for (path, row) in &refused {
            if self.refused.get(path) != Some(row) {
                upload.progress.file(row);
            }
        }
        self.refused = refused;
        let left_out: BTreeSet<String> = plan.left_out.iter().map(|row| row.path.clone()).collect();
        for row in plan.left_out.iter().filter(|row| !self.left_out.contains(&row.path)) {
            upload.progress.remark(&format!("left out: {}: {}", row.path, row.detail));
        }
        self.left_out = left_out;
    }
}
