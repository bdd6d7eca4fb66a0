//! `subgate doctor`: tries a live server as one of its miners or validators, and tells what works, what is refused as
//! it must be, and what is open. \[IO\]
//!
//! Invariants: everything it writes lies below `<own folder>/subgate-doctor-<random>/` and is removed at the end,
//! however the trial ends; the other folder is that of an address which nobody has, so nobody's data is touched even
//! by a server that lets everything through; every wait ends.

mod cleanup;
mod cross;
mod form;
mod judge;
mod own;
mod report;
mod s3;
mod traversal;

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use aws_lc_rs::rand;
use clap::Args;
use serde::Deserialize;

use self::{
    report::{Group, Report, Subject, Verdict},
    s3::Server,
};
use super::{
    caller::{Caller, CallerOptions, address},
    fault::{Exit, Fault},
    serve,
    session::{self, Ask, HttpClient},
};
use crate::{
    auth::{SessionCredentials, bittensor::sr25519::Keypair},
    chain::AccountId,
    secret::SecretText,
    time::UnixTime,
};

/// The shortest session a server gives: the trial takes seconds.
const SESSION_SECONDS: u64 = 1200;

/// The whole trial; a server that answers slowly ends it, and what was not tried is said.
const TRIAL_TIME_MAX: Duration = Duration::from_secs(15 * 60);

/// What a validator is called in a session.
const VALIDATOR: &str = "validator";

/// Options of `subgate doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate doctor --wallet-name miner --endpoint https://s3.example.com
  subgate doctor --wallet-name validator --endpoint https://s3.example.com --json | jq .summary

What it tries:
  own folder      upload by PUT, presigned PUT, multipart and form; copy, list by pages, download, compare
  other folder    every operation there; as a validator, reading must work and writing must be refused
  tampered        presigned URLs, forms and list URLs, changed after they were signed
  traversal       paths out of the own folder: .., %2e%2e, encoded twice, //, backslashes, %00

It writes below OWN_FOLDER/subgate-doctor-RANDOM/ and removes that again. The other folder is that of a made-up
coldkey, so nobody's data is touched.

Exit codes:
  0   all as it should be (what is skipped is no fault)
  1   something that must work does not, or an answer says nothing about access
  2   something that must be refused is OPEN
  77  the server gives this hotkey no session; and the others of `subgate --help`")]
pub(crate) struct Options {
    #[command(flatten)]
    caller: CallerOptions,

    /// A coldkey whose folder is tried in place of a made-up one: one that is yours, to see the store's side of it
    #[arg(long, value_name = "SS58")]
    other_coldkey: Option<String>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<(), Fault> {
    let other_owner = match options.other_coldkey.as_deref() {
        Some(text) => address("--other-coldkey", text)?,
        None => made_up()?,
    };
    let caller = options.caller.checked()?;
    let key = caller.wallet.read()?.open(&caller.password)?;
    let client = session::http_client(caller.ca_file.as_deref())?;
    session::runtime()?.block_on(examine(&caller, &key.pair, client, &other_owner, options.json))
}

async fn examine(
    caller: &Caller,
    pair: &Keypair,
    client: HttpClient,
    other_owner: &AccountId,
    as_json: bool,
) -> Result<(), Fault> {
    let ask = Ask { receiver: caller.receiver, ttl_seconds: Some(SESSION_SECONDS) };
    let answer = session::ask(&client, &caller.endpoint, pair, ask).await?;
    let issued: Issued = serde_json::from_slice(answer.json.expose()).map_err(|_| {
        Fault::unavailable(format!(
            "{} gave a session without bucket, role or folders",
            caller.endpoint.canonical()
        ))
    })?;
    // From here on there may be something to clean up.
    let stop = serve::stop_signal()?;
    let run = format!("subgate-doctor-{}", random_hex()?);
    let folder = issued.folders.first().map(|folder| without_variables(folder));
    let other = folder.as_deref().and_then(|folder| folder_of(folder, other_owner));
    let subject = Subject {
        endpoint: caller.endpoint.canonical(),
        hotkey: pair.account().to_ss58(),
        role: issued.role.clone(),
        folder: folder.clone(),
        other_folder: other.clone(),
    };
    let mut report = Report::new();
    if let (Some(folder), Some(other)) = (folder, other) {
        let doctor = Doctor {
            coldkey: caller.wallet.coldkey().or_else(|| owner_in(&folder)),
            other_owner: *other_owner,
            is_validator: issued.role == VALIDATOR,
            server: issued.into_server(client, subject.endpoint.clone()),
            pair,
            own: Place::new(folder, &run),
            other: Place::new(other, &run),
            uploads: RefCell::default(),
            strays: RefCell::default(),
        };
        let cut_short = tokio::select! {
            () = Box::pin(doctor.try_everything(&mut report)) => None,
            () = stop => Some("interrupted".to_owned()),
            () = tokio::time::sleep(TRIAL_TIME_MAX) => {
                Some(format!("not done within {} minutes", TRIAL_TIME_MAX.as_secs() / 60))
            }
        };
        if let Some(why) = cut_short {
            report.note(Group::CleanUp, "everything is tried", (Verdict::Failed, why));
        }
        doctor.clean_up(&mut report).await;
    } else {
        let why =
            "the server names no folder of this hotkey's that holds its address, so there is nothing to try";
        report.note(Group::OwnFolder, "own folder", (Verdict::Failed, why.to_owned()));
    }
    report.print(&subject, as_json);
    report.fault().map_or(Ok(()), Err)
}

/// A session's answer, beyond what AWS's clients read of it.
#[derive(Deserialize)]
struct Issued {
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

impl Issued {
    fn into_server(self, client: HttpClient, base: String) -> Server {
        let session = SessionCredentials {
            access_key_id: self.access_key_id,
            secret_access_key: SecretText::new(self.secret_access_key),
            session_token: SecretText::new(self.session_token),
            // The server's to watch; nothing here depends on it.
            expires_at: UnixTime::from_seconds(0),
        };
        let retries_left = Cell::new(s3::RETRIES_MAX);
        Server { client, base, bucket: self.bucket, region: self.region, session, retries_left }
    }
}

/// A folder, and the doctor's own part of it.
struct Place {
    /// With its `/`.
    folder: String,
    /// Where the doctor writes, with its `/`.
    run: String,
}

impl Place {
    fn new(folder: String, run: &str) -> Self {
        let run = format!("{folder}{run}/");
        Self { folder, run }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.run)
    }
}

/// Everything that a trial needs, and what it has to clean up.
struct Doctor<'a> {
    server: Server,
    pair: &'a Keypair,
    coldkey: Option<AccountId>,
    other_owner: AccountId,
    is_validator: bool,
    own: Place,
    other: Place,
    /// Key and id of the uploads that were begun and are not completed.
    uploads: RefCell<Vec<(String, String)>>,
    /// Keys outside the own folder that a server let through.
    strays: RefCell<Vec<String>>,
}

impl Doctor<'_> {
    async fn try_everything(&self, report: &mut Report) {
        let access = self.try_own(report).await;
        self.try_reading_all(report).await;
        self.try_other(report).await;
        self.try_tampered(report, access.as_ref()).await;
        self.try_traversal(report, access.as_ref()).await;
    }
}

/// An address which nobody has the key of.
fn made_up() -> Result<AccountId, Fault> {
    AccountId::from_bytes(random::<32>()?).map_err(|error| Fault::new(Exit::Software, error))
}

fn random_hex() -> Result<String, Fault> {
    Ok(hex::encode(random::<8>()?))
}

fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Fault::new(Exit::Software, "there is no randomness"))?;
    Ok(bytes)
}

/// A folder whose open variables have a value.
fn without_variables(folder: &str) -> String {
    let filled = |segment: &str| match (segment.find('{'), segment.rfind('}')) {
        (Some(start), Some(end)) if start < end => {
            let before = segment.get(..start).unwrap_or_default();
            let after = segment.get(end.saturating_add(1)..).unwrap_or_default();
            format!("{before}subgate-doctor{after}")
        }
        _ => segment.to_owned(),
    };
    folder.split('/').map(filled).collect::<Vec<_>>().join("/")
}

/// The address in a segment such as `5F…` or `hotkey=5F…`, with what stands before it.
fn address_in(segment: &str) -> Option<(&str, AccountId)> {
    let value = segment.rsplit('=').next()?;
    Some((segment.strip_suffix(value)?, value.parse().ok()?))
}

fn owner_in(folder: &str) -> Option<AccountId> {
    folder.split('/').find_map(address_in).map(|(_, account)| account)
}

/// The same folder of another owner; none where no address is in it.
fn folder_of(folder: &str, owner: &AccountId) -> Option<String> {
    owner_in(folder)?;
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
            assert_eq!(owner_in(&own).unwrap().to_ss58(), ONES);
        }
        assert_eq!(folder_of("data/x/everybody/", &twos), None);
    }

    #[test]
    fn open_variables_get_a_value() {
        assert_eq!(without_variables("data/h=5F/job_id={job_id}/"), "data/h=5F/job_id=subgate-doctor/");
        assert_eq!(without_variables("data/x/5F/"), "data/x/5F/");
    }

    #[test]
    fn made_up_addresses_differ() {
        assert_ne!(made_up().unwrap(), made_up().unwrap());
    }
}
