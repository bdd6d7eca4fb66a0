//! Where a session comes from: the cache, or else the server; for every command that needs one. \[IO\]
//!
//! Invariant: of all processes of this user that want the same session at one time, one asks the server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use jiff::{Timestamp, ToSpan};

use super::{
    client_options::{ClientOptions, ClientSettings, absolute},
    exit::CommandError,
    http_client, runtime,
    session_cache::{self, CacheEntry, EntryLock},
    session_client::{self, IssuedSession, SessionRequest},
    terminal,
    wallet::{Keyfile, expand_home},
};
use crate::{auth::bittensor::sr25519::Keypair, chain::AccountId};

/// A session is replaced when so many minutes are left of it. boto3 asks for new credentials at each request
/// once fewer than 10 to 15 minutes are left.
pub(crate) const MINUTES_LEFT_MIN: i64 = 20;

/// By then, whoever holds the lock has its answer or has given up.
const LOCK_TIMEOUT: Duration = Duration::from_secs(session_client::TOTAL_TIMEOUT.as_secs() + 5);

/// Options of every command that wants a session.
#[derive(Debug, Args)]
pub(crate) struct SessionOptions {
    #[command(flatten)]
    client: ClientOptions,

    /// Lifetime of the session [default: the server's, usually 24 hours]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1200..=86400))]
    ttl_seconds: Option<u64>,

    /// Directory where sessions are kept until 20 minutes before they expire [default:
    /// $XDG_CACHE_HOME/subgate]
    #[arg(
        long,
        env = "SUBGATE_CACHE_DIR",
        hide_env_values = true,
        value_name = "DIR",
        conflicts_with = "no_cache"
    )]
    cache_dir: Option<PathBuf>,

    /// Request a new session and do not keep it
    #[arg(long)]
    no_cache: bool,
}

/// The options, checked.
pub(crate) struct SessionSource {
    client: ClientSettings,
    request: SessionRequest,
    cache_dir: Option<PathBuf>,
}

impl SessionOptions {
    /// Checks the options without touching wallet or server.
    pub(crate) fn checked(&self) -> Result<SessionSource, CommandError> {
        let client = self.client.checked()?;
        let cache_dir = self.cache_dir.as_deref().map(expand_home).or_else(session_cache::default_dir);
        Ok(SessionSource {
            request: SessionRequest { receiver: client.receiver, ttl_seconds: self.ttl_seconds },
            client,
            cache_dir: cache_dir.filter(|_| !self.no_cache),
        })
    }

    /// The words of a command line that say the same wherever it is run, without the defaults.
    pub(crate) fn words(&self, source: &SessionSource) -> Result<Vec<String>, CommandError> {
        let mut words = self.client.words(&source.client)?;
        if let Some(seconds) = self.ttl_seconds {
            words.extend(["--ttl-seconds".to_owned(), seconds.to_string()]);
        }
        if let Some(dir) = &self.cache_dir {
            words.extend(["--cache-dir".to_owned(), absolute("--cache-dir", dir)?]);
        }
        if self.no_cache {
            words.push("--no-cache".to_owned());
        }
        Ok(words)
    }
}

impl SessionSource {
    /// The server's name in messages.
    pub(crate) fn server(&self) -> String {
        self.client.server.canonical()
    }

    /// The directory where sessions are kept, if they are.
    pub(crate) fn cache_dir(&self) -> Option<&Path> {
        self.cache_dir.as_deref()
    }

    /// The server, and how it is called.
    pub(crate) fn client(&self) -> &ClientSettings {
        &self.client
    }

    /// The session of the wallet; this may ask for its password.
    pub(crate) fn session(&self) -> Result<IssuedSession, CommandError> {
        let keyfile = self.read_wallet()?;
        self.obtain(keyfile.address().as_ref(), || self.open(&keyfile))
    }

    /// Reads the keyfile; this needs no password.
    pub(crate) fn read_wallet(&self) -> Result<Keyfile, CommandError> {
        self.client.wallet.read()
    }

    /// The key of that keyfile; if it is encrypted, this asks for its password.
    pub(crate) fn open(&self, keyfile: &Keyfile) -> Result<Arc<Keypair>, CommandError> {
        keyfile.open(&self.client.password).map(Arc::new)
    }

    /// A session that lasts: from the cache, or else a new one, for which alone `key` is called. It blocks.
    pub(crate) fn obtain(
        &self,
        hotkey: Option<&AccountId>,
        key: impl FnOnce() -> Result<Arc<Keypair>, CommandError>,
    ) -> Result<IssuedSession, CommandError> {
        let entry = self.cache_entry(hotkey);
        let mut _lock: Option<EntryLock> = None;
        if let Some(entry) = &entry {
            if let Some(session) = cached_session(entry, hotkey, MINUTES_LEFT_MIN) {
                return Ok(session);
            }
            _lock = entry.lock(LOCK_TIMEOUT);
            // The previous holder of the lock may have stored a session.
            if let Some(session) = cached_session(entry, hotkey, MINUTES_LEFT_MIN) {
                return Ok(session);
            }
        }
        let session = self.new_session(&*key()?)?;
        if let Some(entry) = &entry {
            store(entry, &session);
        }
        Ok(session)
    }

    /// A new session in the place of one that the server does not take, whatever the cache holds. It blocks.
    pub(crate) fn replace(
        &self,
        hotkey: Option<&AccountId>,
        key: impl FnOnce() -> Result<Arc<Keypair>, CommandError>,
    ) -> Result<IssuedSession, CommandError> {
        let session = self.new_session(&*key()?)?;
        if let Some(entry) = self.cache_entry(hotkey) {
            store(&entry, &session);
        }
        Ok(session)
    }

    /// The cached session for as long as it lasts at all, for a time in which the server gives no other.
    pub(crate) fn kept(&self, hotkey: Option<&AccountId>) -> Option<IssuedSession> {
        cached_session(&self.cache_entry(hotkey)?, hotkey, 0)
    }

    /// The cache entry of this request. Without a usable cache there is a remark and no entry: credentials
    /// that take longer are better than none.
    fn cache_entry(&self, hotkey: Option<&AccountId>) -> Option<CacheEntry> {
        let dir = self.cache_dir.as_ref()?;
        // Where the address is not known without a password, the path of the keyfile stands for it.
        let identity =
            hotkey.map_or_else(|| self.client.wallet.keyfile().display().to_string(), AccountId::to_ss58);
        let receiver = self.request.receiver.as_ref().map(AccountId::to_ss58).unwrap_or_default();
        let ttl = self.request.ttl_seconds.map(|ttl| ttl.to_string()).unwrap_or_default();
        CacheEntry::new(dir, &[&self.server(), &identity, &receiver, &ttl])
            .inspect_err(|error| {
                let dir = dir.display();
                terminal::print_remark(format_args!("sessions cannot be cached in {dir}: {error}"));
            })
            .ok()
    }

    fn new_session(&self, key: &Keypair) -> Result<IssuedSession, CommandError> {
        let ClientSettings { server, ca_file, .. } = &self.client;
        let client = http_client::new(ca_file.as_deref())?;
        let session = session_client::request_session(&client, server, key, self.request);
        runtime::current_thread()?.block_on(session)
    }
}

/// Keeps the session; without a cache the next command asks for another.
fn store(entry: &CacheEntry, session: &IssuedSession) {
    if let Err(error) = entry.store(session.json.expose()) {
        terminal::print_remark(format_args!("the session cannot be cached: {error}"));
    }
}

/// The cached session, if it is this hotkey's and so many minutes are left of it.
fn cached_session(entry: &CacheEntry, hotkey: Option<&AccountId>, minutes: i64) -> Option<IssuedSession> {
    let session = IssuedSession::from_json(entry.load()?.expose())?;
    let last_use = session.expiration.checked_sub(minutes.minutes()).ok()?;
    let is_this_hotkeys = hotkey.is_none_or(|hotkey| session.hotkey == *hotkey);
    (is_this_hotkeys && Timestamp::now() < last_use).then_some(session)
}
