//! `subgate credentials`: a wallet in, the JSON of AWS's `credential_process` out.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use jiff::{Timestamp, ToSpan};

use super::{
    cache::{self, Entry, Turn},
    caller::{Caller, CallerOptions},
    exit::{CommandError, Exit},
    session::{self, Ask, Session},
    terminal,
    wallet::{Keyfile, expand_home},
};
use crate::{chain::AccountId, secret::Secret};

/// boto3 asks for new credentials at each request when fewer than 10 to 15 minutes are left.
const MINUTES_LEFT_MIN: i64 = 20;

/// The one who has the turn is done, or has failed, after the server's whole timeout.
const TURN_PATIENCE: Duration = Duration::from_secs(session::TOTAL_TIMEOUT.as_secs() + 5);

/// Options of `subgate credentials`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # ~/.aws/config: from now on `aws --profile miner s3 …`, boto3, rclone (env_auth) just work
  [profile miner]
  credential_process = subgate credentials --wallet-name miner --endpoint https://s3.example.com
  endpoint_url = https://s3.example.com
  region = us-east-1

  # see who the server thinks you are, and your folders
  subgate credentials --wallet-name miner --endpoint https://s3.example.com --no-cache

  # an encrypted hotkey, where nobody sits at a terminal
  subgate credentials --wallet-name miner --endpoint https://s3.example.com --password-file /run/secrets/hotkey")]
pub(crate) struct Options {
    #[command(flatten)]
    caller: CallerOptions,

    /// Lifetime of the session (the server's default: 24 hours)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1200..=86400))]
    ttl_seconds: Option<u64>,

    /// Where answers are kept until 20 minutes before they expire (default: $XDG_CACHE_HOME/subgate)
    #[arg(
        long,
        env = "SUBGATE_CACHE_DIR",
        hide_env_values = true,
        value_name = "DIR",
        conflicts_with = "no_cache"
    )]
    cache_dir: Option<PathBuf>,

    /// Always ask the server, and keep nothing
    #[arg(long)]
    no_cache: bool,
}

/// The options, checked.
struct Job {
    caller: Caller,
    ask: Ask,
    cache_dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<(), CommandError> {
    let job = options.checked()?;
    let keyfile = job.caller.wallet.read()?;
    let hotkey = keyfile.address();
    let entry = job.entry(hotkey.as_ref());
    let mut _turn: Option<Turn> = None;
    if let Some(entry) = &entry {
        if let Some(cached) = usable(entry, hotkey.as_ref()) {
            return print(&cached);
        }
        _turn = entry.turn(TURN_PATIENCE);
        // Whoever had the turn before has stored what he got.
        if let Some(cached) = usable(entry, hotkey.as_ref()) {
            return print(&cached);
        }
    }
    let session = job.fresh(&keyfile)?;
    if let Some(Err(error)) = entry.map(|entry| entry.store(session.json.expose())) {
        terminal::print_remark(format_args!("the answer is not cached: {error}"));
    }
    print(&session.json)
}

impl Options {
    fn checked(self) -> Result<Job, CommandError> {
        let caller = self.caller.checked()?;
        let cache_dir = self.cache_dir.map(|dir| expand_home(&dir)).or_else(cache::default_dir);
        Ok(Job {
            ask: Ask { receiver: caller.receiver, ttl_seconds: self.ttl_seconds },
            caller,
            cache_dir: cache_dir.filter(|_| !self.no_cache),
        })
    }
}

impl Job {
    /// The cache entry, or none with a remark: a command that works slowly is better than one that does not.
    fn entry(&self, hotkey: Option<&AccountId>) -> Option<Entry> {
        let dir = self.cache_dir.as_ref()?;
        // Where no address is known without a password, the keyfile's place stands for it.
        let who =
            hotkey.map_or_else(|| self.caller.wallet.keyfile().display().to_string(), AccountId::to_ss58);
        let receiver = self.ask.receiver.as_ref().map(AccountId::to_ss58).unwrap_or_default();
        let ttl = self.ask.ttl_seconds.map(|ttl| ttl.to_string()).unwrap_or_default();
        Entry::new(dir, &[&self.caller.endpoint.canonical(), &who, &receiver, &ttl])
            .inspect_err(|error| {
                terminal::print_remark(format_args!("nothing is cached in {}: {error}", dir.display()));
            })
            .ok()
    }

    fn fresh(&self, keyfile: &Keyfile) -> Result<Session, CommandError> {
        let Caller { password, endpoint, ca_file, .. } = &self.caller;
        let key = keyfile.open(password)?;
        let client = session::http_client(ca_file.as_deref())?;
        session::runtime()?.block_on(session::ask(&client, endpoint, &key.pair, self.ask))
    }
}

/// The cached answer, if it is this hotkey's and lasts long enough.
fn usable(entry: &Entry, hotkey: Option<&AccountId>) -> Option<Secret> {
    let session = Session::from_json(entry.load()?.expose())?;
    let last_use = session.expiration.checked_sub(MINUTES_LEFT_MIN.minutes()).ok()?;
    let ours = hotkey.is_none_or(|hotkey| session.hotkey == *hotkey);
    (ours && Timestamp::now() < last_use).then_some(session.json)
}

fn print(json: &Secret) -> Result<(), CommandError> {
    let text =
        std::str::from_utf8(json.expose()).map_err(|_| CommandError::software("the answer is not UTF-8"))?;
    terminal::print_line(text);
    Ok(())
}
