//! `subgate doctor`: tests a live server as one of its miners or validators, and reports what works, what is
//! refused and what is open. \[IO\]
//!
//! Invariants: everything it writes is below `<own folder>/subgate-doctor-<random>/` and is removed at the
//! end, however the trial ends; the other folder belongs to an address that nobody has, so nobody's data is
//! touched even if the server allows everything; every wait ends.

mod cleanup;
mod finding;
mod folder_access;
mod other_folder;
mod own_folder;
mod report;
mod s3_client;
mod tampering;
mod traversal;

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use aws_lc_rs::rand;
use clap::Args;
use serde::Deserialize;

use self::{
    finding::Finding,
    report::{Group, Report, Subject},
    s3_client::S3Client,
};
use super::{
    client_options::{ClientOptions, ClientSettings, parse_address},
    exit::CommandError,
    http_client::{self, HttpClient},
    runtime,
    session_client::{self, SessionRequest},
};
use crate::{
    auth::{SessionCredentials, bittensor::sr25519::Keypair},
    chain::AccountId,
    secret::SecretText,
    time::UnixTime,
};

/// The shortest session that a server issues; the trial takes seconds.
const SESSION_SECONDS: u64 = 1200;

/// The time of the whole trial. If a slow server needs more, the report says that not everything was tried.
const TRIAL_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// The role of a validator in the answer of `/v1/session`.
const VALIDATOR: &str = "validator";

/// Options of `subgate doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate doctor --wallet-name miner --endpoint https://s3.example.com
  subgate doctor --wallet-name validator --endpoint https://s3.example.com --json | jq .summary

What it tries:
  own folder      upload by PUT, presigned PUT, multipart and form; copy, list, download, compare
  other folder    every operation there: all must be refused, but a validator must be able to read
  tampered        presigned URLs, forms and list URLs that were changed after they were signed
  traversal       paths out of the own folder: .., %2e%2e, encoded twice, //, backslashes, %00

It writes below YOUR_FOLDER/subgate-doctor-RANDOM/ and removes that again. The other folder is
that of a random coldkey, so nobody's data is touched.

Exit codes:
  0   all is as it should be (a skipped check is no fault)
  1   something that must work does not, or an answer says nothing about access
  2   something that must be refused is OPEN
  77  the server refuses this hotkey a session
  and those of `subgate --help`")]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    client: ClientOptions,

    /// Coldkey whose folder must be out of reach, in place of a random one; take one of your own
    #[arg(long, value_name = "SS58")]
    other_coldkey: Option<String>,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(options: DoctorOptions) -> Result<(), CommandError> {
    let other_owner = match options.other_coldkey.as_deref() {
        Some(text) => parse_address("--other-coldkey", text)?,
        None => random_account()?,
    };
    let settings = options.client.checked()?;
    let pair = settings.wallet.read()?.open(&settings.password)?;
    let http = http_client::new(settings.ca_file.as_deref())?;
    runtime::current_thread()?.block_on(examine(&settings, &pair, http, &other_owner, options.json))
}

async fn examine(
    settings: &ClientSettings,
    pair: &Keypair,
    http: HttpClient,
    other_owner: &AccountId,
    as_json: bool,
) -> Result<(), CommandError> {
    let request = SessionRequest { receiver: settings.receiver, ttl_seconds: Some(SESSION_SECONDS) };
    let session = session_client::request_session(&http, &settings.server, pair, request).await?;
    let server = settings.server.canonical();
    let session: SessionAnswer = serde_json::from_slice(session.json.expose()).map_err(|_| {
        CommandError::unavailable(format!("{server} answered with a session without bucket, role or folders"))
    })?;
    // From here on there may be something to clean up, so a signal must not end the process.
    let stop = runtime::stop_signal()?;
    let folder = session.folders.first().map(|folder| fill_variables(folder));
    let other_folder = folder.as_deref().and_then(|folder| folder_of(folder, other_owner));
    let subject = Subject {
        endpoint: server.clone(),
        hotkey: pair.account().to_ss58(),
        role: session.role.clone(),
        folder: folder.clone(),
        other_folder: other_folder.clone(),
    };
    let mut report = Report::new();
    if let (Some(folder), Some(other_folder)) = (folder, other_folder) {
        let trial = format!("subgate-doctor-{}", hex::encode(random::<8>()?));
        let doctor = Doctor {
            coldkey: settings.wallet.coldkey().or_else(|| owner_of(&folder)),
            other_owner: *other_owner,
            is_validator: session.role == VALIDATOR,
            client: session.into_client(http, server),
            pair,
            own: TestFolder::new(folder, &trial),
            other: TestFolder::new(other_folder, &trial),
            open_uploads: RefCell::default(),
            unexpected_keys: RefCell::default(),
        };
        let cut_short = tokio::select! {
            () = Box::pin(doctor.try_everything(&mut report)) => None,
            () = stop => Some("interrupted".to_owned()),
            () = tokio::time::sleep(TRIAL_TIME_MAX) => {
                Some(format!("not finished within {} minutes", TRIAL_TIME_MAX.as_secs() / 60))
            }
        };
        if let Some(reason) = cut_short {
            report.add(Group::CleanUp, "everything is tried", Finding::failed(reason));
        }
        doctor.clean_up(&mut report).await;
    } else {
        let reason =
            "the server names no folder of this hotkey that contains an address, so nothing can be tried";
        report.add(Group::OwnFolder, "own folder", Finding::failed(reason));
    }
    report.print(&subject, as_json);
    report.error().map_or(Ok(()), Err)
}

/// The answer of `/v1/session` with all that AWS's clients do not read.
#[derive(Deserialize)]
struct SessionAnswer {
    #[serde(rename = "AccessKeyId")]
    access_key_id: String,
    #[serde(rename = "SecretAccessKey")]
    secret_access_key: String,
    #[serde(rename = "SessionToken")]
    session_token: String,
    region: String,
    bucket: String,
    role: String,
    folders: Vec<String>,
}

impl SessionAnswer {
    fn into_client(self, http: HttpClient, base_url: String) -> S3Client {
        let session = SessionCredentials {
            access_key_id: self.access_key_id,
            secret_access_key: SecretText::new(self.secret_access_key),
            session_token: SecretText::new(self.session_token),
            // Only the server checks this.
            expires_at: UnixTime::from_seconds(0),
        };
        let retries_left = Cell::new(s3_client::RETRIES_MAX);
        S3Client { http, base_url, bucket: self.bucket, region: self.region, session, retries_left }
    }
}

/// A folder, and the part of it that this trial uses.
struct TestFolder {
    /// The folder, with its last `/`.
    folder: String,
    /// The prefix of all keys of this trial, with its last `/`.
    prefix: String,
}

impl TestFolder {
    fn new(folder: String, trial: &str) -> Self {
        let prefix = format!("{folder}{trial}/");
        Self { folder, prefix }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// All that the checks need, and what must be cleaned up.
struct Doctor<'a> {
    client: S3Client,
    pair: &'a Keypair,
    coldkey: Option<AccountId>,
    other_owner: AccountId,
    is_validator: bool,
    own: TestFolder,
    other: TestFolder,
    /// Key and id of the multipart uploads that were created and are not completed.
    open_uploads: RefCell<Vec<(String, String)>>,
    /// Keys outside the own folder that the server should have refused.
    unexpected_keys: RefCell<Vec<String>>,
}

impl Doctor<'_> {
    async fn try_everything(&self, report: &mut Report) {
        let access = self.try_own_folder(report).await;
        self.try_reading_all(report).await;
        self.try_other_folder(report).await;
        self.try_tampering(report, access.as_ref()).await;
        self.try_traversal(report, access.as_ref()).await;
    }
}

/// A random address: nobody has its key.
fn random_account() -> Result<AccountId, CommandError> {
    AccountId::from_bytes(random::<32>()?).map_err(CommandError::software)
}

fn random<const N: usize>() -> Result<[u8; N], CommandError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| CommandError::software("the system gives no random numbers"))?;
    Ok(bytes)
}

/// A folder with a value for each variable that is left in it.
fn fill_variables(folder: &str) -> String {
    let filled = |segment: &str| match (segment.find('{'), segment.rfind('}')) {
        (Some(start), Some(end)) if start < end => {
            let before = segment.get(..start).unwrap_or_default();
            let after = segment.get(end.saturating_add(1)..).unwrap_or_default();
            format!("{before}subgate-doctor{after}")
        }
        (Some(_) | None, _) => segment.to_owned(),
    };
    folder.split('/').map(filled).collect::<Vec<_>>().join("/")
}

/// The address in a segment such as `5F…` or `hotkey=5F…`, and the text before it.
fn address_in(segment: &str) -> Option<(&str, AccountId)> {
    let value = segment.rsplit('=').next()?;
    Some((segment.strip_suffix(value)?, value.parse().ok()?))
}

/// The first address in a folder.
fn owner_of(folder: &str) -> Option<AccountId> {
    folder.split('/').find_map(address_in).map(|(_, account)| account)
}

/// The same folder of another owner; `None` if it contains no address.
fn folder_of(folder: &str, owner: &AccountId) -> Option<String> {
    owner_of(folder)?;
    let replaced = |segment: &str| {
        address_in(segment).map_or_else(|| segment.to_owned(), |(before, _)| format!("{before}{owner}"))
    };
    Some(folder.split('/').map(replaced).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";
    const TWOS: &str = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA";

    #[test]
    fn the_other_folder_is_the_own_one_with_another_address() {
        let twos: AccountId = TWOS.parse().unwrap();
        for (own, other) in [
            (format!("data/x/{ONES}/"), format!("data/x/{TWOS}/")),
            (format!("data/hotkey={ONES}/job_id=j/"), format!("data/hotkey={TWOS}/job_id=j/")),
        ] {
            assert_eq!(folder_of(&own, &twos), Some(other));
            assert_eq!(owner_of(&own).unwrap().to_ss58(), ONES);
        }
        assert_eq!(folder_of("data/x/everybody/", &twos), None);
    }

    #[test]
    fn open_variables_get_a_value() {
        assert_eq!(fill_variables("data/h=5F/job_id={job_id}/"), "data/h=5F/job_id=subgate-doctor/");
        assert_eq!(fill_variables("data/x/5F/"), "data/x/5F/");
    }

    #[test]
    fn random_addresses_differ() {
        assert_ne!(random_account().unwrap(), random_account().unwrap());
    }
}
