//! `subgate usage`: what the server holds of the caller, or of each miner. \[IO\]

use clap::Args;
use jiff::Timestamp;

use super::{
    bucket_source::{BucketOptions, Caller},
    client_options::parse_address,
    exit::CommandError,
    runtime,
    terminal::{self, Paint},
};
use crate::{
    client::ClientError,
    transfer::{
        progress::{Progress, ProgressForm},
        report::{one_line, size_text},
        usage::{
            self, Settings, UsageFault,
            tally::{self, By, Order, Row, Usage},
        },
    },
};

/// Options of `subgate usage`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # As a miner: what stands in my folders
  subgate usage --wallet-name miner --endpoint https://s3.example.com

  # As a validator: what each miner has, all sources together, the largest first
  subgate usage --by miner --wallet-name validator --endpoint https://s3.example.com

  # One miner's folders and the jobs in them, for a script
  subgate usage --miner 5F… --depth 1 --json --wallet-name validator …

The numbers are of complete lists: where one of them breaks off, there is an error and no number.
A miner sees the own folders, a validator those of all miners. Sizes are rounded in the table
(1 KiB has 1024 bytes) and exact in JSON; times are UTC, and that of the newest file is when it
came to the store.")]
pub(crate) struct UsageOptions {
    /// Count only what begins with this, such as data/x/; may be repeated
    #[arg(long, value_name = "PREFIX")]
    folder: Vec<String>,

    /// Count only folders that this address names, a hotkey or a coldkey
    #[arg(long, value_name = "SS58")]
    miner: Option<String>,

    /// Rows for so many folders below a miner's
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=8))]
    depth: u8,

    /// What a row is of
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = By::Folder)]
    by: By,

    /// Order of the rows
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Order::Bytes)]
    sort: Order,

    /// Print JSON, with exact bytes
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    bucket: BucketOptions,
}

/// Runs the command.
pub(crate) fn run(options: &UsageOptions) -> Result<(), CommandError> {
    let owner = options.miner.as_deref().map(|text| parse_address("--miner", text)).transpose()?;
    for folder in &options.folder {
        if folder.contains("://") || folder.starts_with('/') {
            return Err(CommandError::usage(format!(
                "--folder {folder:?}: the beginning of keys alone is expected, such as data/x/, without the \
                 bucket"
            )));
        }
    }
    let open = options.bucket.open()?;
    let settings = Settings {
        prefixes: match options.folder.as_slice() {
            [] => prefixes_of(&open.caller)?,
            folders => folders.to_vec(),
        },
        owner: owner.map(|owner| owner.to_ss58()),
        depth: usize::from(options.depth),
        parallel: open.parallel,
    };
    let progress = Progress::new(ProgressForm::for_stderr());
    let asked = Timestamp::now();
    let tally = runtime::current_thread()?.block_on(usage::run(&open.bucket, settings, &progress));
    progress.close();
    let mut rows = tally?.into_rows(options.by);
    tally::sort(&mut rows, options.sort);
    if options.json {
        let place = open.bucket.place();
        terminal::print_line(serde_json::json!({
            "endpoint": place.base_url,
            "bucket": place.bucket,
            "hotkey": open.caller.hotkey,
            "role": open.caller.role,
            "asked": asked.to_string(),
            "total": tally::total(&rows),
            "rows": rows,
        }));
    } else {
        print_table(&rows, options.by);
    }
    Ok(())
}

/// Where the caller's own folders are, or everybody's.
fn prefixes_of(caller: &Caller) -> Result<Vec<String>, CommandError> {
    if caller.role == "validator" {
        return match caller.roots.as_slice() {
            [] => Err(CommandError::usage("the server does not say where folders are: give --folder")),
            roots => Ok(roots.to_vec()),
        };
    }
    caller.folders.iter().map(|folder| listable(folder)).collect()
}

/// The part of an own folder that can be listed: what is before a variable below the own address.
fn listable(folder: &str) -> Result<String, CommandError> {
    let Some((known, _)) = folder.split_once('{') else { return Ok(folder.to_owned()) };
    let listable = known.rfind('/').and_then(|at| known.get(..=at)).unwrap_or_default();
    if tally::owner_of(listable).is_none() {
        return Err(CommandError::usage(format!(
            "the folder {folder} has a variable before your address, so all of it cannot be listed: give \
             --folder, with a value for it"
        )));
    }
    Ok(listable.to_owned())
}

fn print_table(rows: &[Row], by: By) {
    let paint = Paint::for_stdout();
    let first = match by {
        By::Folder => "FOLDER",
        By::Miner => "MINER",
    };
    let mut lines =
        vec![[first.to_owned(), "FILES".to_owned(), "SIZE".to_owned(), "NEWEST (UTC)".to_owned()]];
    lines.extend(rows.iter().map(|row| line(name(row, by), &row.usage)));
    lines.push(line("total".to_owned(), &tally::total(rows)));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths = [0, 1, 2].map(width);
    let last = lines.len().saturating_sub(1);
    for (index, [name, files, size, newest]) in lines.iter().enumerate() {
        let [names, counts, sizes] = widths;
        let text = format!("{name:<names$}  {files:>counts$}  {size:>sizes$}  {newest}");
        match index == 0 || index == last {
            true => terminal::print_line(paint.bold(text.trim_end())),
            false => terminal::print_line(text.trim_end()),
        }
    }
}

fn name(row: &Row, by: By) -> String {
    let name = match by {
        By::Folder => row.folder.as_ref(),
        By::Miner => row.owner.as_ref(),
    };
    name.map_or_else(|| "(nobody)".to_owned(), |name| one_line(name))
}

fn line(name: String, usage: &Usage) -> [String; 4] {
    let newest = usage.newest.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
    [name, usage.files.to_string(), size_text(usage.bytes), newest]
}

impl From<UsageFault> for CommandError {
    fn from(fault: UsageFault) -> Self {
        let message = fault.to_string();
        match fault {
            UsageFault::List(_, error) => Self::new(exit_of(error), message),
            UsageFault::TooManyRows => Self::usage(message),
        }
    }
}

fn exit_of(error: ClientError) -> super::exit::Exit {
    CommandError::from(error).exit
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";

    #[test]
    fn a_folder_is_listed_from_where_it_is_the_own() {
        for (folder, prefix) in [
            (format!("data/x/{ONES}/"), format!("data/x/{ONES}/")),
            (format!("data/hotkey={ONES}/job_id={{job_id}}/"), format!("data/hotkey={ONES}/")),
            (format!("data/{ONES}/a/b{{c}}d/"), format!("data/{ONES}/a/")),
        ] {
            assert_eq!(listable(&folder), Ok(prefix));
        }
        let error = listable(&format!("data/{{source}}/{ONES}/")).unwrap_err();
        assert!(error.to_string().contains("--folder"), "{error}");
    }

    #[test]
    fn a_validator_begins_at_the_roots_and_a_miner_at_its_folders() {
        let caller = |role: &str| Caller {
            hotkey: ONES.to_owned(),
            role: role.to_owned(),
            folders: vec![format!("data/x/{ONES}/")],
            roots: vec!["data/".to_owned()],
        };
        assert_eq!(prefixes_of(&caller("validator")), Ok(vec!["data/".to_owned()]));
        assert_eq!(prefixes_of(&caller("miner")), Ok(vec![format!("data/x/{ONES}/")]));
        assert!(prefixes_of(&Caller { roots: vec![], ..caller("validator") }).is_err());
    }
}
