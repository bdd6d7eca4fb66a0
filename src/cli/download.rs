//! `subgate download`: all objects under a prefix, as files below a folder. \[IO\]

use std::path::PathBuf;

use clap::Args;

use super::{
    bucket_source::{BucketOptions, Caller},
    exit::{CommandError, Exit},
    runtime, terminal,
    wallet::expand_home,
};
use crate::transfer::{
    download::{self, CutShort, Downloaded, Settings, StartFault},
    filter::Filter,
    pool::Interrupt,
    progress::{Progress, ProgressForm},
    report::Outcome,
};

/// Options of `subgate download`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # All that a miner has under one source; run it again to fetch what is new
  subgate download data/x/5F…/ --to miners/5F… --wallet-name validator --endpoint https://s3.example.com

  # Only the parquet files of this month, and what it would be beforehand
  subgate download data/x/5F…/2026-11 --to november --include '*.parquet' --dry-run …

  # Everything that every miner has, for a script
  subgate download data/ --to miners --parallel 32 --json …

PREFIX is what the keys begin with, as S3 sees it; what follows its last / becomes the path below DIR.
Large objects are read in ranges side by side, and every range names the ETag that it is of. A file
gets its name once it is whole and proved: by the sha256 that `subgate upload` writes, the store's
checksums, or the ETag where that is an MD5. Files that could be compared by their size alone are
listed. What is here already is read and compared, not fetched; what an earlier run has compared and
nobody has touched since is not even read. Unfinished files are kept in DIR/.subgate-download.

Nothing is written outside DIR: keys that hold .., an empty name or a control character, and paths
over a symbolic link are refused and listed, each with what to do.

Exit codes:
  0   all objects are here (or would be fetched, with --dry-run)
  1   some are not: the table says which and what to do; the same command goes on
  73  DIR cannot be written, or has too little room
  and those of `subgate --help`")]
pub(crate) struct DownloadOptions {
    /// What the keys begin with, such as data/x/5F…/ [default: your folder, if you have one alone]
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,

    /// Directory for the files; made where it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Fetch only what fits this pattern: *.parquet at any depth, or 2026/*/a.bin below the prefix
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave out what fits this pattern
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Say what would be fetched, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Read and compare all files that are here, also those that have not changed since they were compared
    #[arg(long)]
    verify_all: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    bucket: BucketOptions,
}

/// Runs the command.
pub(crate) fn run(options: &DownloadOptions) -> Result<(), CommandError> {
    let filter = Filter::new(&options.include, &options.exclude)
        .map_err(|error| CommandError::usage(format!("--include or --exclude {error}")))?;
    options.prefix.as_deref().map_or(Ok(()), check_prefix)?;
    let open = options.bucket.open()?;
    let settings = Settings {
        prefix: match &options.prefix {
            Some(prefix) => prefix.clone(),
            None => only_folder(&open.caller)?,
        },
        dir: expand_home(&options.to),
        filter,
        parallel: open.parallel,
        is_dry_run: options.dry_run,
        reads_all: options.verify_all,
    };
    let progress = Progress::new(ProgressForm::for_stderr());
    let runtime = runtime::multi_thread()?;
    let downloaded = runtime.block_on(async {
        let stop = runtime::stop_signal()?;
        let (interrupter, interrupt) = Interrupt::new();
        tokio::spawn(async move {
            stop.await;
            interrupter.interrupt();
        });
        Ok::<_, CommandError>(download::run(&open.bucket, &settings, &progress, &interrupt).await?)
    });
    // What reads or hashes a file at this moment keeps nobody waiting: a name comes to a file at once or not.
    runtime.shutdown_background();
    progress.finish();
    let downloaded = downloaded?;
    match options.json {
        true => terminal::print_line(json(&settings, &downloaded)),
        false => print_table(&settings, &downloaded),
    }
    error(&downloaded).map_or(Ok(()), Err)
}

fn check_prefix(prefix: &str) -> Result<(), CommandError> {
    let fault = |why: &str| Err(CommandError::usage(format!("PREFIX {prefix:?}: {why}")));
    if prefix.contains("://") {
        return fault("the beginning of the keys alone is expected, such as data/x/5F…/, without the bucket");
    }
    if prefix.starts_with('/') {
        return fault("no key begins with a /: leave it out");
    }
    Ok(())
}

/// The folder of a caller who has no other.
fn only_folder(caller: &Caller) -> Result<String, CommandError> {
    match caller.folders.as_slice() {
        [folder] if caller.role == "miner" && !folder.contains('{') => Ok(folder.clone()),
        folders => {
            let all = if caller.role == "miner" { folders } else { caller.roots.as_slice() };
            let all = all.join(" and ");
            Err(CommandError::usage(format!("PREFIX is missing; you may read below {all}")))
        }
    }
}

fn json(settings: &Settings, downloaded: &Downloaded) -> serde_json::Value {
    let mut json = downloaded.report.json();
    if let Some(object) = json.as_object_mut() {
        object.insert("prefix".to_owned(), settings.prefix.clone().into());
        object.insert("to".to_owned(), settings.dir.display().to_string().into());
        object.insert("folder_markers".to_owned(), downloaded.markers.into());
        object.insert("left_out".to_owned(), downloaded.left_out.into());
        object.insert("complete".to_owned(), error(downloaded).is_none().into());
    }
    json
}

fn print_table(settings: &Settings, downloaded: &Downloaded) {
    terminal::print_line(downloaded.report.table().trim_end());
    if downloaded.left_out > 0 {
        terminal::print_line(format_args!(
            "{} objects are left out by --include or --exclude",
            downloaded.left_out
        ));
    }
    if downloaded.report.is_empty() && downloaded.cut_short.is_none() {
        terminal::print_remark(format_args!("nothing to download begins with {:?}", settings.prefix));
    }
}

/// The error of what is not here.
fn error(downloaded: &Downloaded) -> Option<CommandError> {
    let (exit, why) = match &downloaded.cut_short {
        Some(CutShort::Interrupted) => (Exit::Failed, "interrupted".to_owned()),
        Some(CutShort::Server(error)) => (CommandError::from(error.clone()).exit, error.to_string()),
        Some(CutShort::Disk(why)) => (Exit::CannotCreate, why.clone()),
        None => {
            let bad = downloaded.report.bad();
            if bad == 0 {
                return None;
            }
            let refused = downloaded.report.total(Outcome::Refused).files;
            let why =
                format!("{bad} objects are not here, {refused} of them because of their names or paths");
            return Some(CommandError::new(Exit::Failed, format!("{why}: see what the report says of each")));
        }
    };
    Some(CommandError::new(exit, format!("{why}; the same command goes on where this one ended")))
}

impl From<StartFault> for CommandError {
    fn from(fault: StartFault) -> Self {
        match fault {
            StartFault::List(error) => error.into(),
            fault @ (StartFault::Folder(..)
            | StartFault::Work(..)
            | StartFault::NoSpace { .. }
            | StartFault::NoFiles { .. }) => Self::cannot_create(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: &str, folders: &[&str]) -> Caller {
        Caller {
            hotkey: "5F".to_owned(),
            role: role.to_owned(),
            folders: folders.iter().map(|folder| (*folder).to_owned()).collect(),
            roots: vec!["data/".to_owned()],
        }
    }

    #[test]
    fn a_prefix_is_the_beginning_of_keys() {
        for good in ["", "data/", "data/x/5F/2026-", "a"] {
            assert_eq!(check_prefix(good), Ok(()));
        }
        for bad in ["s3://bucket/data/", "/data/"] {
            let error = check_prefix(bad).unwrap_err();
            assert!(error.exit == Exit::Usage && error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn only_who_has_one_folder_may_leave_the_prefix_out() {
        assert_eq!(only_folder(&caller("miner", &["data/x/5F/"])), Ok("data/x/5F/".to_owned()));
        for (caller, words) in [
            (caller("miner", &["data/x/5F/", "data/y/5F/"]), "data/x/5F/ and data/y/5F/"),
            (caller("miner", &["data/{source}/5F/"]), "data/{source}/5F/"),
            (caller("validator", &["data/x/5F/"]), "below data/"),
        ] {
            assert!(only_folder(&caller).unwrap_err().to_string().contains(words), "{caller:?}");
        }
    }
}
