//! The bucket that a command moves objects to or from: the options, the session, and its renewal. \[IO\]

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use clap::Args;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::{
    exit::{CommandError, Exit},
    http_client::{self, HttpClient},
    session_client::IssuedSession,
    session_source::{SessionOptions, SessionSource},
    terminal,
    wallet::Keyfile,
};
use crate::{
    auth::{SessionCredentials, bittensor::sr25519::Keypair},
    client::{
        Bucket, ClientError, Place, SessionError, SessionFault, Sessions,
        retry::{PATIENCE, RetryPolicy},
        structure::{self, Structure},
    },
    time::UnixTime,
};

/// A session is renewed when so many seconds are left of it: time for several attempts. The shortest session
/// has 1200.
const SECONDS_LEFT_MIN: u64 = 300;

/// The pause after an attempt that failed, while the old session lasts.
const RENEWAL_PAUSE_SECONDS: u64 = 30;

/// After so long without a word one wonders whether anything happens.
const PATIENCE_UNTOLD: Duration = Duration::from_secs(5);

/// Options of every command that moves objects.
#[derive(Debug, Args)]
pub(crate) struct BucketOptions {
    #[command(flatten)]
    session: SessionOptions,

    /// Requests that are open at once; fewer while the server asks for less
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    parallel: u64,

    /// For how long a request is tried again while the server fails or cannot be reached
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs())]
    retry_seconds: u64,
}

/// A bucket that can be called, and what its server says of the caller.
pub(crate) struct OpenBucket {
    /// The bucket.
    pub(crate) bucket: Bucket,
    /// Who calls it.
    pub(crate) caller: Caller,
    /// How many requests are open at once.
    pub(crate) parallel: usize,
    http: HttpClient,
    retry: RetryPolicy,
}

/// The caller, as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// SS58.
    pub(crate) hotkey: String,
    /// `miner` or `validator`.
    pub(crate) role: String,
    /// The own folders, with a variable in braces where it is open.
    pub(crate) folders: Vec<String>,
    /// What is before every miner's folder.
    pub(crate) roots: Vec<String>,
}

/// What a session's answer says beside what AWS's clients read.
#[derive(Deserialize)]
struct SessionAnswer {
    bucket: String,
    region: String,
    role: String,
    folders: Vec<String>,
    #[serde(default)]
    roots: Vec<String>,
}

impl BucketOptions {
    /// The options of the session, checked.
    pub(crate) fn settings(&self) -> Result<SessionSource, CommandError> {
        self.session.checked()
    }

    /// Checks the options, reads the wallet, which may ask for its password, and gets a session. It blocks.
    pub(crate) fn open(&self) -> Result<OpenBucket, CommandError> {
        self.open_with(PasswordTime::WhenNeeded)
    }

    /// The same for work that goes on for ever: whoever starts it gives the password now, and is not asked in
    /// the middle of the night, when the session has to be renewed.
    pub(crate) fn open_for_ever(&self) -> Result<OpenBucket, CommandError> {
        self.open_with(PasswordTime::AtStart)
    }

    fn open_with(&self, password: PasswordTime) -> Result<OpenBucket, CommandError> {
        let source = self.session.checked()?;
        let keyfile = source.read_wallet()?;
        let server = source.server();
        let http = http_client::new(source.client().ca_file.as_deref())?;
        let renewer = Arc::new(Renewer { source, keyfile, key: Mutex::default() });
        if password == PasswordTime::AtStart {
            renewer.key()?;
        }
        let session = renewer.obtain(false)?;
        let (answer, hotkey) = (answer_of(&session, &server)?, session.hotkey.to_ss58());
        let place = Place { base_url: server, bucket: answer.bucket, region: answer.region };
        let held = tokio::sync::Mutex::new(Held::new(&session));
        let sessions = Arc::new(RenewedSessions { renewer, held });
        let parallel = usize::try_from(self.parallel).unwrap_or(1);
        let retry = RetryPolicy { patience: Duration::from_secs(self.retry_seconds) };
        Ok(OpenBucket {
            bucket: Bucket::new(http.clone(), place, sessions, parallel, retry),
            caller: Caller { hotkey, role: answer.role, folders: answer.folders, roots: answer.roots },
            parallel,
            http,
            retry,
        })
    }
}

impl OpenBucket {
    /// How the server lays out folders, and which sizes it takes. Whoever waits for it long is told so.
    pub(crate) async fn structure(&self) -> Result<Structure, CommandError> {
        let server = &self.bucket.place().base_url;
        let mut asking = std::pin::pin!(structure::fetch(&self.http, server, self.retry));
        if let Ok(structure) = tokio::time::timeout(PATIENCE_UNTOLD, &mut asking).await {
            return Ok(structure?);
        }
        let seconds = self.retry.patience.as_secs();
        terminal::print_remark(format_args!(
            "{server} has not said yet how folders are laid out; if it fails, it is asked again for \
             {seconds} s at most (--retry-seconds)"
        ));
        Ok(asking.await?)
    }
}

fn answer_of(session: &IssuedSession, server: &str) -> Result<SessionAnswer, CommandError> {
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    let answer: Option<SessionAnswer> = serde_json::from_slice(session.json.expose()).ok();
    answer.filter(|answer| is_name(&answer.bucket) && is_name(&answer.region)).ok_or_else(|| {
        CommandError::unavailable(format!(
            "{server} answered with a session without bucket, region, role or folders: is it a Subgate \
             server?"
        ))
    })
}

/// When a wallet's password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PasswordTime {
    AtStart,
    WhenNeeded,
}

/// What it takes to get another session.
struct Renewer {
    source: SessionSource,
    keyfile: Keyfile,
    /// Opened once it is needed, and kept: its password is asked for once.
    key: Mutex<Option<Arc<Keypair>>>,
}

impl Renewer {
    /// The key, opened once. It may ask for the password.
    fn key(&self) -> Result<Arc<Keypair>, CommandError> {
        let mut held = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*held {
            return Ok(Arc::clone(key));
        }
        let key = self.source.open(&self.keyfile)?;
        *held = Some(Arc::clone(&key));
        Ok(key)
    }

    /// A session that lasts, in place of a refused one where there is one. It blocks.
    fn obtain(&self, is_refused: bool) -> Result<IssuedSession, CommandError> {
        let hotkey = self.keyfile.address();
        let key = || self.key();
        match is_refused {
            true => self.source.replace(hotkey.as_ref(), key),
            false => self.source.obtain(hotkey.as_ref(), key),
        }
    }
}

struct Held {
    credentials: Arc<SessionCredentials>,
    renewal: UnixTime,
}

impl Held {
    fn new(session: &IssuedSession) -> Self {
        let expires = u64::try_from(session.expiration.as_second()).unwrap_or_default();
        Self {
            credentials: Arc::new(SessionCredentials {
                access_key_id: session.hotkey.to_ss58(),
                secret_access_key: session.secret_access_key.clone(),
                session_token: session.session_token.clone(),
                expires_at: UnixTime::from_seconds(expires),
            }),
            renewal: UnixTime::from_seconds(expires.saturating_sub(SECONDS_LEFT_MIN)),
        }
    }
}

/// Sessions of one wallet, each renewed before its end.
struct RenewedSessions {
    renewer: Arc<Renewer>,
    held: tokio::sync::Mutex<Held>,
}

impl Sessions for RenewedSessions {
    fn session<'a>(
        &'a self,
        refused: Option<&'a SessionCredentials>,
    ) -> BoxFuture<'a, Result<Arc<SessionCredentials>, SessionError>> {
        Box::pin(async move {
            // Whoever comes while it is renewed waits for the new one.
            let mut held = self.held.lock().await;
            let is_refused =
                refused.is_some_and(|refused| refused.session_token == held.credentials.session_token);
            let now = UnixTime::from(SystemTime::now());
            if !is_refused && now < held.renewal {
                return Ok(Arc::clone(&held.credentials));
            }
            let renewer = Arc::clone(&self.renewer);
            let attempt = spawn_blocking(move || renewer.obtain(is_refused)).await;
            match attempt.unwrap_or_else(|error| Err(CommandError::software(error))) {
                Ok(session) => *held = Held::new(&session),
                Err(error) if !is_refused && now < held.credentials.expires_at => {
                    let until = held.credentials.expires_at;
                    terminal::print_remark(format_args!(
                        "no new session, the old one ends at {until}: {error}"
                    ));
                    held.renewal = now.plus_seconds(RENEWAL_PAUSE_SECONDS);
                }
                Err(error) => {
                    let fault = fault_of(error.exit);
                    let message = format!("no session to go on with: {error}");
                    return Err(SessionError { fault, message });
                }
            }
            Ok(Arc::clone(&held.credentials))
        })
    }
}

fn fault_of(exit: Exit) -> SessionFault {
    match exit {
        Exit::Unavailable => SessionFault::Unavailable,
        Exit::Refused => SessionFault::Refused,
        Exit::Usage => SessionFault::Usage,
        Exit::Data => SessionFault::Data,
        Exit::NoInput => SessionFault::NoInput,
        Exit::Failed | Exit::Open | Exit::Software | Exit::CannotCreate => SessionFault::Own,
    }
}

fn exit_of(fault: SessionFault) -> Exit {
    match fault {
        SessionFault::Unavailable => Exit::Unavailable,
        SessionFault::Refused => Exit::Refused,
        SessionFault::Usage => Exit::Usage,
        SessionFault::Data => Exit::Data,
        SessionFault::NoInput => Exit::NoInput,
        SessionFault::Own => Exit::Software,
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Refused(_) => Exit::Refused,
            ClientError::Unavailable(_) | ClientError::Broken(_) => Exit::Unavailable,
            ClientError::Session(session) => exit_of(session.fault),
            ClientError::Call(_) => Exit::Software,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_session_ends_a_command_as_what_it_is_and_only_a_refusal_as_one() {
        for exit in [Exit::Unavailable, Exit::Refused, Exit::Usage, Exit::Data, Exit::NoInput] {
            let error = SessionError { fault: fault_of(exit), message: "why".to_owned() };
            assert_eq!(CommandError::from(ClientError::Session(error)).exit, exit);
        }
    }
}
