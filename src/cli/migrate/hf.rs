//! `subgate migrate hf`: a dataset repository of a Hub into the own folder, without a copy on disk. \[IO\]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use clap::Args;
use serde_json::json;

use super::{
    comparison::{Reading, Standing, compare},
    copy::{CopyError, copy},
    repository_options::{MappedFile, MappedRepository, RepositoryOptions, Wanted},
};
use crate::{
    chain::AccountId,
    cli::{
        bucket_source::{BucketOptions, OpenBucket},
        exit::{CommandError, Exit},
        runtime, terminal,
    },
    hub::{Hub, HubFile, repository_number},
    transfer::{
        names::Rules,
        object_writer::Target,
        pool::{self, Ended, Interrupt, Interrupter},
        progress::{Progress, ProgressForm},
        report::{Outcome, Report, Row},
    },
};

/// Options of `subgate migrate hf`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate migrate hf me/x_dataset_42 --wallet-name miner --endpoint https://s3.example.com --dry-run
      list what would be copied, under which keys, and what the server would not take
  subgate migrate hf me/x_dataset_42 --wallet-name miner --endpoint https://s3.example.com
      copy data/*.parquet to data/x/COLDKEY/x_dataset_42/
  subgate migrate hf me/data --to data/hotkey=5F…/ --as 'job_id=hf/{path}' --exclude '*.md'

Run it again after an interruption: what stands there with the right hash is left as it is, and parts of
large files that were sent are not sent again. Another object under a file's key stays, and the file is
refused, unless --replace is given. Every file is held against the hash that the Hub's list
names before its object comes to be.

The Hub is that of HF_ENDPOINT; its token, which private repositories need, that of HF_TOKEN or of the
file that `hf auth login` writes. Files are read by the resolve URL, also those that the Hub keeps in
Xet.

Exit codes:
  0   every file that is meant stands there
  1   some do not: the table says which, and what to do
  and those of `subgate --help`")]
pub(crate) struct HfOptions {
    #[command(flatten)]
    repository: RepositoryOptions,

    #[command(flatten)]
    bucket: BucketOptions,

    /// Put the Hub's files in the place of other objects that stand under their keys
    #[arg(long)]
    replace: bool,

    /// Show what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Newer, or of another repository: nobody has said that it may go.
const OTHER_OBJECT: &str = "another object stands under this key: give another prefix by --to, leave the \
                            file out by --exclude, or put it in that object's place by --replace";

/// What every file needs on its way.
struct Road {
    hub: Hub,
    commit: String,
    target: Target,
    progress: Progress,
    is_dry: bool,
    replaces: bool,
}

/// A file that may go, and what stands under its key.
struct Job {
    file: HubFile,
    key: String,
    listed_size: Option<u64>,
}

/// What became of a file.
struct Done {
    row: Row,
    is_outage: bool,
}

/// Runs the command.
pub(crate) fn run(options: &HfOptions) -> Result<(), CommandError> {
    let wanted = options.repository.checked()?;
    let settings = options.bucket.settings()?;
    let hub = options.repository.hub().hub(wanted.repository.clone(), settings.client())?;
    let open = options.bucket.open()?;
    let runtime = runtime::multi_thread()?;
    let result = runtime.block_on(Box::pin(migrate(options, &wanted, hub, &open)));
    // What is hashed at this moment keeps nobody waiting.
    runtime.shutdown_background();
    result
}

async fn migrate(
    options: &HfOptions,
    wanted: &Wanted<'_>,
    hub: Hub,
    open: &OpenBucket,
) -> Result<(), CommandError> {
    let progress = Progress::new(ProgressForm::for_stderr());
    let rules = Rules::new(&open.caller.folders, &open.structure().await?);
    let prefix = wanted.prefix(&rules, &open.caller.folders)?;
    remark_on_number(wanted, &open.caller.hotkey, &progress);
    let repository = wanted.list(&hub, prefix).await?;
    let MappedRepository { commit, prefix, files, left_out } = repository;
    let source = format!("{} at {commit}", wanted.repository);
    let (jobs, refused) = judged(files, &rules);
    let mut report = Report::default();
    // What the server would not take is told before anything is sent.
    for row in refused {
        progress.planned(1, row.bytes);
        progress.file(&row);
        report.push(row);
    }
    let bucket = &open.bucket;
    let mut sizes = BTreeMap::new();
    bucket
        .list(&prefix, |object| {
            sizes.insert(object.key, object.size);
        })
        .await?;
    let jobs: Vec<Job> = jobs
        .into_iter()
        .map(|(file, key)| Job { listed_size: sizes.get(&key).copied(), file, key })
        .collect();
    progress
        .planned(jobs.len() as u64, jobs.iter().fold(0_u64, |all, job| all.saturating_add(job.file.size())));
    let road = Arc::new(Road {
        hub,
        commit: commit.clone(),
        target: Target::new(bucket.clone(), open.parallel),
        progress: progress.clone(),
        is_dry: options.dry_run,
        replaces: options.replace,
    });
    let reason = work_off(&road, jobs, open.parallel, &mut report).await?;
    progress.finish();
    if options.json {
        let mut document = report.json();
        if let Some(document) = document.as_object_mut() {
            document.insert("repository".to_owned(), json!(wanted.repository.to_string()));
            document.insert("commit".to_owned(), json!(commit));
            document.insert("prefix".to_owned(), json!(prefix));
            document.insert("left_out".to_owned(), json!(left_out));
        }
        terminal::print_line(format_args!("{document:#}"));
    } else {
        terminal::print_line(format_args!("{source} -> {prefix}\n"));
        terminal::print_line(report.table().trim_end());
        if left_out > 0 {
            terminal::print_line(format_args!("{left_out} other files of the repository were left out"));
        }
    }
    verdict(&report, reason)
}

/// How the run ends: an error unless every file is as it was meant to be.
fn verdict(report: &Report, reason: Option<&'static str>) -> Result<(), CommandError> {
    let bad = report.bad();
    match (reason, bad) {
        (None, 0) => Ok(()),
        (Some(reason), _) => Err(CommandError::new(
            Exit::Failed,
            format!("{reason}: {bad} files are not there yet; run the command again, it goes on from there"),
        )),
        (None, _) if report.total(Outcome::Failed).files == 0 => Err(CommandError::new(
            Exit::Failed,
            format!("{bad} files were refused as the table says; --exclude leaves them out"),
        )),
        (None, _) => Err(CommandError::new(
            Exit::Failed,
            format!(
                "{bad} files are not there, as the table says; run the command again for those that failed"
            ),
        )),
    }
}

/// The repository's number says whose it was meant to be; hotkeys share numbers, so it is only a remark.
fn remark_on_number(wanted: &Wanted<'_>, hotkey: &str, progress: &Progress) {
    let Some(miner) = wanted.repository.of_miner() else { return };
    let number = hotkey.parse::<AccountId>().map(|hotkey| repository_number(&hotkey));
    if let Ok(number) = number.as_ref().map(|number| *number)
        && number != miner.number
    {
        progress.remark(&format!(
            "{} has the number {}, but that of the hotkey {hotkey} is {number}: make sure that it is yours",
            wanted.repository, miner.number
        ));
    }
}

/// The files that may go, and the rows of those that may not.
fn judged(files: Vec<MappedFile>, rules: &Rules) -> (Vec<(HubFile, String)>, Vec<Row>) {
    let (mut jobs, mut refused) = (Vec::new(), Vec::new());
    for MappedFile { file, key } in files {
        let checked = key.and_then(|key| match rules.check(&key, file.size()) {
            Ok(()) => Ok(key),
            Err(why) => Err(why),
        });
        match checked {
            Ok(key) => jobs.push((file, key)),
            Err(detail) => refused.push(Row {
                outcome: Outcome::Refused,
                path: file.path().to_owned(),
                key: String::new(),
                bytes: file.size(),
                detail,
            }),
        }
    }
    (jobs, refused)
}

/// Copies the files; gives the reason where not all were begun.
async fn work_off(
    road: &Arc<Road>,
    jobs: Vec<Job>,
    parallel: usize,
    report: &mut Report,
) -> Result<Option<&'static str>, CommandError> {
    let (interrupter, interrupt) = Interrupt::new();
    let interrupter = Arc::new(interrupter);
    let stop = runtime::stop_signal()?;
    let by_signal: Arc<Interrupter> = Arc::clone(&interrupter);
    let signal = tokio::spawn(async move {
        stop.await;
        by_signal.interrupt();
    });
    let mut left: BTreeSet<(String, String, u64)> =
        jobs.iter().map(|job| (job.file.path().to_owned(), job.key.clone(), job.file.size())).collect();
    let mut outages = 0_usize;
    let work = {
        let road = Arc::clone(road);
        move |job: Job| one(Arc::clone(&road), job)
    };
    let ended = pool::run(jobs, parallel, &interrupt, work, |Done { row, is_outage }| {
        left.remove(&(row.path.clone(), row.key.clone(), row.bytes));
        road.progress.file(&row);
        outages = if is_outage { outages.saturating_add(1) } else { 0 };
        report.push(row);
        // Each of them has been tried for minutes: the rest would fare no better.
        if outages >= parallel.saturating_mul(2) {
            interrupter.interrupt();
        }
    })
    .await;
    signal.abort();
    let reason = match ended {
        Ended::Done => None,
        Ended::Interrupted if outages > 0 => Some("the Hub or the server is out of reach"),
        Ended::Interrupted => Some("interrupted"),
    };
    // A file whose work broke down is in no row yet.
    let reason = reason.or((!left.is_empty()).then_some("not every file was finished"));
    for (path, key, bytes) in left {
        let detail = "run the command again".to_owned();
        report.push(Row { outcome: Outcome::NotBegun, path, key, bytes, detail });
    }
    Ok(reason)
}

async fn one(road: Arc<Road>, job: Job) -> Done {
    let Job { file, key, listed_size } = job;
    let (outcome, detail, is_outage) = match migrate_file(&road, &file, &key, listed_size).await {
        Ok((outcome, detail)) => (outcome, detail, false),
        Err(error) => (Outcome::Failed, error.to_string(), error.is_outage()),
    };
    let row = Row { outcome, path: file.path().to_owned(), key, bytes: file.size(), detail };
    Done { row, is_outage }
}

async fn migrate_file(
    road: &Road,
    file: &HubFile,
    key: &str,
    listed_size: Option<u64>,
) -> Result<(Outcome, String), CopyError> {
    let bucket = road.target.bucket();
    let mut standing = compare(bucket, file, key, listed_size, Reading::Small).await?;
    if standing == Standing::Unknown && !road.replaces {
        standing = compare(bucket, file, key, listed_size, Reading::All).await?;
    }
    let replaces = match standing {
        Standing::Equal => {
            road.progress.moved(file.size());
            return Ok((Outcome::Same, String::new()));
        }
        Standing::Different | Standing::Unknown if !road.replaces => {
            return Ok((Outcome::Refused, OTHER_OBJECT.to_owned()));
        }
        Standing::Different | Standing::Unknown => true,
        Standing::OnlyOnHub | Standing::OnlyHere => false,
    };
    if road.is_dry {
        let detail = if replaces { "in the place of another object" } else { "" };
        return Ok((Outcome::WouldCopy, detail.to_owned()));
    }
    let written = copy(&road.hub, &road.commit, file, &road.target, key, &road.progress).await?;
    let mut details = Vec::new();
    if replaces {
        details.push("it replaced the object that stood there".to_owned());
    }
    if written.resumed_bytes > 0 {
        details.push(format!("{} bytes stood there from an earlier run", written.resumed_bytes));
    }
    Ok((Outcome::Copied, details.join("; ")))
}
