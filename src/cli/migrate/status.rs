//! `subgate migrate status`: what of a repository stands at the Subgate server, and whether it is the same.
//! \[IO\]

use std::{collections::BTreeMap, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{
    comparison::{Reading, Standing, compare},
    repository_options::{MappedFile, MappedRepository, RepositoryOptions},
};
use crate::{
    cli::{
        bucket_source::BucketOptions,
        exit::{CommandError, Exit},
        runtime,
        terminal::{self, Paint, Progress},
    },
    client::{Bucket, ClientError, object::Listed},
    transfer::{
        names::Rules,
        pool::{self, Interrupt},
        report::{one_line, size_text},
    },
};

/// The role of a validator in the answer of `/v1/session`.
const VALIDATOR: &str = "validator";

/// Rows of the table that are shown where nobody asks for more.
const ROWS_SHOWN: usize = 40;

/// Options of `subgate migrate status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate migrate status hf:me/x_dataset_42 --wallet-name miner --endpoint https://s3.example.com
  subgate migrate status hf:me/data --to data/x/5F…/hf/ --json | jq .summary

A file is equal where the hash that the Hub's list names is that of the object: the sha256 which it
carries since it was uploaded, or that of its bytes, which are read for small files of Git. What it
carries is the word of whoever put it: with --read every object is read and hashed. A validator may
compare any folder, given by --to.

Exit codes:
  0   every file of the repository stands in both places, and is the same
  1   something differs, is missing, or cannot be told
  and those of `subgate --help`")]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    repository: RepositoryOptions,

    #[command(flatten)]
    bucket: BucketOptions,

    /// Read and hash every object, and believe nothing that it carries
    #[arg(long)]
    read: bool,

    /// Show all files, equal ones too
    #[arg(long)]
    all: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// One file in both places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    /// Its path in the repository; none where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Its key; none where it can have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Its bytes, as the Hub has them where it is there.
    bytes: u64,
    standing: Standing,
    /// Why it can have no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// How many files stand how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Summary {
    files: usize,
    bytes: u64,
    equal: usize,
    different: usize,
    only_on_hub: usize,
    only_here: usize,
    unknown: usize,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    repository: String,
    hub: String,
    commit: &'a str,
    endpoint: &'a str,
    bucket: &'a str,
    prefix: &'a str,
    left_out: usize,
    summary: Summary,
    files: &'a [Row],
}

impl Summary {
    fn of(rows: &[Row]) -> Self {
        let mut summary = Self::default();
        for row in rows {
            summary.files = summary.files.saturating_add(1);
            summary.bytes = summary.bytes.saturating_add(row.bytes);
            let count = match row.standing {
                Standing::Equal => &mut summary.equal,
                Standing::Different => &mut summary.different,
                Standing::OnlyOnHub => &mut summary.only_on_hub,
                Standing::OnlyHere => &mut summary.only_here,
                Standing::Unknown => &mut summary.unknown,
            };
            *count = count.saturating_add(1);
        }
        summary
    }

    /// What is not as it is to be, in words; none where the repository stands here as it is.
    fn fault(&self) -> Option<String> {
        let parts = [
            (self.different, "different"),
            (self.only_on_hub, "not here"),
            (self.unknown, "unknown (--read tells)"),
        ];
        let told: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!told.is_empty()).then(|| told.join(", "))
    }
}

/// Runs the command.
pub(crate) fn run(options: &StatusOptions) -> Result<(), CommandError> {
    let wanted = options.repository.checked()?;
    let settings = options.bucket.settings()?;
    let hub = options.repository.hub().hub(wanted.repository.clone(), settings.client())?;
    let open = options.bucket.open()?;
    let reading = if options.read { Reading::All } else { Reading::Small };
    runtime::current_thread()?.block_on(async {
        // Whoever reads all folders compares any of them.
        let is_validator = open.caller.role == VALIDATOR;
        let rules = match is_validator {
            true => None,
            false => Some(Rules::new(&open.caller.folders, &open.structure().await?)),
        };
        let prefix = match &rules {
            Some(rules) => wanted.prefix(rules, &open.caller.folders)?,
            None => wanted.prefix_to_read(&open.caller.folders)?,
        };
        let repository = wanted.list(&hub, prefix).await?;
        let bucket = &open.bucket;
        let (listed, rows) = {
            let mut listed = BTreeMap::new();
            bucket
                .list(&repository.prefix, |object| {
                    listed.insert(object.key.clone(), object);
                })
                .await?;
            let rows = rows(bucket, &repository, rules.as_ref(), &listed, reading, open.parallel).await?;
            (listed, rows)
        };
        let rows = with_only_here(rows, listed);
        let report = Report {
            repository: wanted.repository.to_string(),
            hub: hub.endpoint().to_string(),
            commit: &repository.commit,
            endpoint: &bucket.place().base_url,
            bucket: &bucket.place().bucket,
            prefix: &repository.prefix,
            left_out: repository.left_out,
            summary: Summary::of(&rows),
            files: &rows,
        };
        report.print(options.json, options.all)?;
        match report.summary.fault() {
            None => Ok(()),
            Some(fault) => {
                let repository = &report.repository;
                Err(CommandError::new(
                    Exit::Failed,
                    format!("{repository} and {} are not the same: {fault}", report.prefix),
                ))
            }
        }
    })
}

/// A row for each file of the repository.
async fn rows(
    bucket: &Bucket,
    repository: &MappedRepository,
    rules: Option<&Rules>,
    listed: &BTreeMap<String, Listed>,
    reading: Reading,
    parallel: usize,
) -> Result<Vec<Row>, CommandError> {
    let (_interrupter, interrupt) = Interrupt::new();
    let (mut rows, mut failed) = (Vec::new(), None::<ClientError>);
    let jobs = repository.files.iter().map(|mapped| {
        let size = mapped.key.as_ref().ok().and_then(|key| listed.get(key)).map(|object| object.size);
        let mut mapped = mapped.clone();
        // What stands there is compared, whatever the rules are by now.
        if let (Ok(key), None, Some(rules)) = (&mapped.key, size, rules) {
            mapped.key = rules.check(key, mapped.file.size()).map(|()| key.clone());
        }
        (bucket.clone(), Arc::new(mapped), size)
    });
    let work = move |(bucket, mapped, size): (Bucket, Arc<MappedFile>, Option<u64>)| async move {
        let (standing, why) = match &mapped.key {
            Ok(key) => (compare(&bucket, &mapped.file, key, size, reading).await, None),
            Err(why) => (Ok(Standing::OnlyOnHub), Some(why.clone())),
        };
        standing.map(|standing| Row {
            path: Some(mapped.file.path().to_owned()),
            key: mapped.key.clone().ok(),
            bytes: mapped.file.size(),
            standing,
            why,
        })
    };
    let progress = Progress::new();
    let total = repository.files.len();
    let mut done = 0_usize;
    pool::run(jobs, parallel, &interrupt, work, |row| {
        done = done.saturating_add(1);
        progress.show(format_args!("{done} of {total} files compared …"));
        match row {
            Ok(row) => rows.push(row),
            Err(error) => failed = failed.take().or(Some(error)),
        }
    })
    .await;
    drop(progress);
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(rows),
    }
}

/// The rows with those of objects that are no file of the repository, in order.
fn with_only_here(mut rows: Vec<Row>, mut listed: BTreeMap<String, Listed>) -> Vec<Row> {
    for row in &rows {
        row.key.as_ref().map(|key| listed.remove(key));
    }
    rows.extend(listed.into_values().map(|object| Row {
        path: None,
        key: Some(object.key),
        bytes: object.size,
        standing: Standing::OnlyHere,
        why: None,
    }));
    rows.sort_by(|row, other| (&row.path, &row.key).cmp(&(&other.path, &other.key)));
    rows
}

impl Report<'_> {
    fn print(&self, as_json: bool, all: bool) -> Result<(), CommandError> {
        if as_json {
            let text = serde_json::to_string_pretty(self).map_err(CommandError::software)?;
            terminal::print_line(text);
            return Ok(());
        }
        let paint = Paint::for_stdout();
        let line =
            |name: &str, value: &str| terminal::print_line(format_args!("{name:<11} {}", one_line(value)));
        line("repository", &format!("{} at {} ({})", self.repository, short(self.commit), self.hub));
        line("here", &format!("{} {}/{}", self.endpoint, self.bucket, self.prefix));
        let rows: Vec<&Row> =
            self.files.iter().filter(|row| all || row.standing != Standing::Equal).collect();
        let most = if all { rows.len() } else { ROWS_SHOWN };
        if !rows.is_empty() {
            terminal::print_line("");
        }
        for row in rows.iter().take(most) {
            let name = row.path.as_ref().or(row.key.as_ref()).map_or("", String::as_str);
            let why = row.why.as_ref().map(|why| format!("  ({why})")).unwrap_or_default();
            let label = label(row.standing, paint);
            terminal::print_line(format_args!(
                "{label} {:>14}  {}{}",
                row.bytes,
                one_line(name),
                one_line(&why)
            ));
        }
        if rows.len() > most {
            let more = rows.len().saturating_sub(most);
            terminal::print_line(format_args!("… and {more} more: --all shows them, --json has them"));
        }
        let Summary { equal, different, only_on_hub, only_here, unknown, bytes, .. } = self.summary;
        terminal::print_line("");
        terminal::print_line(format_args!(
            "{equal} equal, {different} different, {only_on_hub} only on the Hub, {only_here} only here, \
             {unknown} unknown; {} in all; {} files of the repository left out",
            size_text(bytes),
            self.left_out
        ));
        Ok(())
    }
}

fn label(standing: Standing, paint: Paint) -> String {
    match standing {
        Standing::Equal => paint.green("equal      "),
        Standing::Different => paint.red("DIFFERENT  "),
        Standing::OnlyOnHub => paint.yellow("only on Hub"),
        Standing::OnlyHere => paint.dim("only here  "),
        Standing::Unknown => paint.yellow("unknown    "),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, standing: Standing) -> Row {
        Row { path: Some(path.to_owned()), key: Some(format!("p/{path}")), bytes: 5, standing, why: None }
    }

    fn listed(key: &str) -> (String, Listed) {
        let object = Listed { key: key.to_owned(), size: 7, etag: String::new(), last_modified: None };
        (key.to_owned(), object)
    }

    #[test]
    fn what_stands_here_alone_has_a_row_too() {
        let rows = with_only_here(
            vec![row("b", Standing::Equal), row("a", Standing::Different)],
            BTreeMap::from([listed("p/a"), listed("p/b"), listed("p/c")]),
        );
        let shown: Vec<_> = rows.iter().map(|row| (row.path.as_deref(), row.standing)).collect();
        assert_eq!(
            shown,
            [(None, Standing::OnlyHere), (Some("a"), Standing::Different), (Some("b"), Standing::Equal)]
        );
        let summary = Summary::of(&rows);
        assert_eq!((summary.files, summary.bytes, summary.equal, summary.only_here), (3, 17, 1, 1));
        assert_eq!(summary.fault().unwrap(), "1 different");
    }

    #[test]
    fn only_what_is_proven_equal_is_no_fault() {
        assert_eq!(Summary::of(&[row("a", Standing::Equal)]).fault(), None);
        for (standing, says) in [
            (Standing::Unknown, "--read"),
            (Standing::OnlyOnHub, "not here"),
            (Standing::Different, "different"),
        ] {
            assert!(Summary::of(&[row("a", standing)]).fault().unwrap().contains(says), "{standing:?}");
        }
    }
}
