//! `subgate upload`: files and directories to the own folder, proven, and gone on with after an interruption.
//! \[IO\]

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::json;

use super::{
    also::{Also, AlsoFile, AlsoOptions, AlsoReport},
    bucket_source::{BucketOptions, OpenBucket},
    exit::{CommandError, Exit},
    runtime, terminal,
};
use crate::transfer::{
    filter::Filter,
    names::Rules,
    object_writer::Target,
    pool::{Ended, Interrupt},
    progress::{Progress, ProgressForm},
    report::{Outcome, Report},
    upload::{Deletion, Job, Proven, Request, Selection, Source, Upload, UploadError, Watch},
};

/// Options of `subgate upload`.
#[derive(Debug, Args)]
#[command(after_help = "\
What is uploaded: of a DIR every file below it, under its path there; a FILE under its name. Left out, and
told, are hidden names, temporary ones (.tmp, .temp, .part, .partial, .crdownload, .swp, ~), links that lead
out of DIR and links to directories. A file that stands there already, by checksum, is not sent again. Large
files go in parts, and a run that was cut off is gone on with: run the same again.

The exit code is 1 if some files failed, and 65 if the server would refuse some, when nothing is sent.

Examples:
  subgate upload scraped --to data/x/5F…/2026 --wallet-name miner --endpoint https://s3.example.com
      upload a directory
  subgate upload scraped --to data/x/5F…/2026 --dry-run
      say what would be uploaded, and which files the server would refuse
  subgate upload a.parquet b.parquet --to data/x/5F…/
      upload two files
  subgate upload scraped --to data/x/5F…/ --include '*.parquet' --watch
      upload each file once it is whole, until Ctrl-C
  subgate upload scraped --to data/x/5F…/ --also hf:me/x_dataset_42
      and commit the same files to data/ of a HuggingFace repository; each place is told by itself
  subgate upload scraped --to data/x/5F…/ --delete
      and delete what stands below that prefix and is no longer in the directory")]
pub(crate) struct UploadOptions {
    /// Directories and files to upload
    #[arg(value_name = "DIR|FILE", required = true)]
    sources: Vec<PathBuf>,

    /// Beginning of all keys, such as data/x/5F…/2026/; not needed by whoever has one folder
    #[arg(long, value_name = "PREFIX")]
    to: Option<String>,

    /// Upload only files that fit this; a pattern without "/" is one of names, otherwise of whole paths
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave out files that fit this
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Take hidden and temporary names too
    #[arg(long)]
    all_names: bool,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,

    /// Go on for ever: upload each file once it is whole, and again when it changes
    #[arg(long, conflicts_with_all = ["dry_run", "delete"])]
    watch: bool,

    /// With --watch: for so long nothing must have changed about a file that counts as whole
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        requires = "watch"
    )]
    settle_seconds: u64,

    /// Delete what stands below PREFIX and is not in DIR, once everything else has gone well
    #[arg(long)]
    delete: bool,

    /// With --delete: also if DIR holds no file, which deletes everything below PREFIX
    #[arg(long, requires = "delete")]
    delete_all: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    /// Do not show progress; otherwise standard error has a bar, or JSON lines if it is no terminal
    #[arg(long)]
    quiet: bool,

    #[command(flatten)]
    also: AlsoOptions,

    #[command(flatten)]
    bucket: BucketOptions,
}

/// Runs the command.
pub(crate) fn run(options: &UploadOptions) -> Result<(), CommandError> {
    let sources = options.sources()?;
    let filter = Filter::new(&options.include, &options.exclude)
        .map_err(|error| CommandError::usage(format!("--include, --exclude: {error}")))?;
    let settings = options.bucket.settings()?;
    let opened = options.bucket.open()?;
    // From here on there may be work that a signal must not cut off.
    let runtime = runtime::multi_thread()?;
    let result = runtime.block_on(Box::pin(async {
        let also = options.also.open(settings.client()).await?;
        upload(options, sources, filter, &opened, also.as_ref()).await
    }));
    // What reads or hashes a file at this moment keeps nobody waiting.
    runtime.shutdown_background();
    result
}

impl UploadOptions {
    fn sources(&self) -> Result<Vec<Source>, CommandError> {
        let source = |path: &PathBuf| {
            Source::of(path).map_err(|error| CommandError::no_input(format!("{}: {error}", path.display())))
        };
        let sources: Vec<Source> = self.sources.iter().map(source).collect::<Result<_, _>>()?;
        if self.delete && !matches!(sources.as_slice(), [Source::Directory(_)]) {
            return Err(CommandError::usage(
                "--delete needs one directory and nothing else: what is not in it is deleted",
            ));
        }
        Ok(sources)
    }
}

async fn upload(
    options: &UploadOptions,
    sources: Vec<Source>,
    filter: Filter,
    opened: &OpenBucket,
    also: Option<&Also>,
) -> Result<(), CommandError> {
    let rules = Rules::new(&opened.caller.folders, &opened.structure().await?);
    let request = Request {
        sources,
        prefix: rules.prefix(options.to.as_deref()).map_err(CommandError::usage)?,
        selection: Selection { filter, takes_all_names: options.all_names },
        is_dry_run: options.dry_run,
        deletion: match (options.delete, options.delete_all) {
            (false, _) => Deletion::None,
            (true, false) => Deletion::Missing,
            (true, true) => Deletion::MissingEvenAll,
        },
    };
    let (interrupter, interrupt) = Interrupt::new();
    let stop = runtime::stop_signal()?;
    tokio::spawn(async move {
        stop.await;
        interrupter.interrupt();
    });
    let form = if options.quiet { ProgressForm::Silent } else { ProgressForm::for_stderr() };
    let upload = Upload {
        target: Target::new(opened.bucket.clone(), opened.parallel),
        rules,
        parallel: opened.parallel,
        progress: Progress::new(form),
        interrupt,
    };
    let mut report = Report::default();
    // The second place gets the very files that were planned for the first.
    let (mut planned, mut proven) = (Vec::new(), Proven::new());
    let ended = match options.watch {
        true => {
            let watch = Watch { settle: Duration::from_secs(options.settle_seconds) };
            watch.run(&upload, &request, &mut report).await.map(|()| Ended::Done)
        }
        false => match upload.plan(&request).await {
            Ok(plan) => {
                if also.is_some() && plan.refused.is_empty() {
                    planned.clone_from(&plan.jobs);
                }
                upload.once(&request, plan, &mut proven, &mut report).await
            }
            Err(error) => Err(error),
        },
    };
    let also = match also {
        Some(also) => Some(push(also, planned, &proven, &upload, &request).await),
        None => None,
    };
    upload.progress.finish();
    print(options, opened, &request.prefix, &report, also.as_ref())?;
    let outcome = outcome(ended, &report);
    also.map_or(outcome.clone(), |also| also.verdict(outcome))
}

/// The same files to the second place, whatever became of them at the first.
async fn push(
    also: &Also,
    planned: Vec<Job>,
    proven: &Proven,
    upload: &Upload,
    request: &Request,
) -> AlsoReport {
    let files: Vec<AlsoFile> = planned
        .into_iter()
        .map(|Job { file, key }| AlsoFile {
            file,
            name: key.strip_prefix(&request.prefix).unwrap_or(&key).to_owned(),
            sha256: proven.get(&key).copied(),
        })
        .collect();
    let Upload { parallel, progress, interrupt, .. } = upload;
    also.push(&files, *parallel, request.is_dry_run, progress, interrupt).await
}

fn print(
    options: &UploadOptions,
    opened: &OpenBucket,
    prefix: &str,
    report: &Report,
    also: Option<&AlsoReport>,
) -> Result<(), CommandError> {
    let place = opened.bucket.place();
    if options.json {
        let mut json = report.json();
        if let Some(object) = json.as_object_mut() {
            object.insert("endpoint".to_owned(), json!(place.base_url));
            object.insert("bucket".to_owned(), json!(place.bucket));
            object.insert("prefix".to_owned(), json!(prefix));
            object.insert("dry_run".to_owned(), json!(options.dry_run));
            if let Some(also) = also {
                object.insert("also".to_owned(), also.json());
            }
        }
        terminal::print_line(serde_json::to_string(&json).map_err(CommandError::software)?);
    } else {
        terminal::print_line(format_args!("{} at {}\n", prefix, place.base_url));
        terminal::print_line(report.table().trim_end());
        if let Some(also) = also {
            terminal::print_line(format_args!("\n{}", also.table()));
        }
    }
    Ok(())
}

/// What the exit code tells.
fn outcome(ended: Result<Ended, UploadError>, report: &Report) -> Result<(), CommandError> {
    let bad = report.bad();
    match ended {
        Err(UploadError::Refused(what)) => Err(CommandError::data(what)),
        Err(UploadError::Client(error)) => Err(error.into()),
        Ok(Ended::Interrupted) => Err(CommandError::new(
            Exit::Failed,
            "interrupted: what the table calls sent stands there; run the same again to go on",
        )),
        Ok(Ended::Done) if report.total(Outcome::NotBegun).files > 0 => {
            Err(CommandError::unavailable(format!(
                "{bad} files were not uploaded, because the server could not be used any more; run the same \
             again to go on"
            )))
        }
        Ok(Ended::Done) if bad > 0 => Err(CommandError::new(
            Exit::Failed,
            format!("{bad} files are not as they should be; the table says why"),
        )),
        Ok(Ended::Done) => Ok(()),
    }
}
