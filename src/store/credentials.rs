//! The server's own credentials: held as an AWS identity, read again when they change or run out.
//!
//! Sources: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>.
//!
//! Invariants: credentials that count serve every request at once, whatever their source does meanwhile; one
//! renewal is under way at a time, and after a failure the source rests; a source that gives nothing, or
//! nonsense, leaves the last ones in place as long as they have not run out.

use std::{
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use aws_config::{default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig};
use aws_credential_types::{Credentials as AwsCredentials, provider::ProvideCredentials};
use aws_smithy_runtime_api::client::identity::Identity;

use super::aws_http::AwsHttp;
use crate::{
    auth::sigv4::{self, PreparedKey, SERVICE, TERMINATOR},
    config::{CredentialFile, CredentialSource},
    file_access::{WholeFile, check_secret, read_regular_file},
    secret::SecretText,
    time::UnixTime,
    tls,
};

/// How often a credential file is looked at.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// Who looks at it waits no longer than this.
const LOOK_TIME_MAX: Duration = Duration::from_secs(1);

/// Credentials that run out are renewed this long before.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// Between two attempts to renew: however many requests come, and however often the store refuses.
const RENEW_PAUSE: Duration = Duration::from_secs(5);

/// Who has nothing to sign with waits this long for a renewal.
const RENEW_WAIT_MAX: Duration = Duration::from_secs(10);

/// A credential file holds three short texts.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why there are no credentials. Never holds one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(String);

/// What the requests of one day are signed with.
pub(super) struct SigningKey {
    day: String,
    region: String,
    /// `yyyymmdd/region/s3/aws4_request`
    pub(super) scope: String,
    pub(super) key: PreparedKey,
}

/// Credentials that count now, with the signing key of the day.
pub(super) struct Current {
    identity: Identity,
    /// By day and region.
    key: Mutex<Option<Arc<SigningKey>>>,
}

impl Current {
    pub(super) fn new(identity: Identity) -> Option<Self> {
        identity.data::<AwsCredentials>()?;
        Some(Self { identity, key: Mutex::new(None) })
    }

    fn data(&self) -> Option<&AwsCredentials> {
        self.identity.data()
    }

    pub(super) fn access_key(&self) -> &str {
        self.data().map_or("", AwsCredentials::access_key_id)
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.data().and_then(AwsCredentials::session_token)
    }

    /// The signing key for `day` (`yyyymmdd`), derived once a day.
    pub(super) fn signing_key(&self, day: &str, region: &str, now: UnixTime) -> Arc<SigningKey> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = key.as_ref().filter(|known| known.day == day && known.region == region) {
            return Arc::clone(known);
        }
        let secret = SecretText::new(self.data().map_or("", AwsCredentials::secret_access_key));
        let derived = Arc::new(SigningKey {
            day: day.to_owned(),
            region: region.to_owned(),
            scope: [day, region, SERVICE, TERMINATOR].join("/"),
            key: PreparedKey::new(&sigv4::signing_key(&secret, now, region)),
        });
        *key = Some(Arc::clone(&derived));
        derived
    }

    fn runs_out_by(&self, time: SystemTime) -> bool {
        self.identity.expiration().is_some_and(|expiration| expiration <= time)
    }
}

/// Whether the store refuses with this code what other credentials might mend.
pub(super) fn may_be_renewed(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "InvalidAccessKeyId"
            | "InvalidToken"
            | "SignatureDoesNotMatch"
            | "TokenRefreshRequired"
    )
}

/// Where credentials come from, and the ones that count now.
pub(crate) struct Credentials {
    current: Arc<ArcSwap<Current>>,
    source: Source,
}

enum Source {
    Fixed,
    File { file: CredentialFile, looked: Arc<Mutex<Looked>> },
    Chain(Arc<Chain>),
}

/// The last look at a file.
struct Looked {
    at: SystemTime,
    /// The state of the file then, whether or not it could be used; none where it was not there.
    stamp: Option<Stamp>,
    /// Somebody looks, and a file system may let them wait.
    is_under_way: bool,
}

type Stamp = (u64, i64, i64, u64);

/// The AWS chain, and when it was last asked.
struct Chain {
    provider: DefaultCredentialsChain,
    asked: Mutex<Asked>,
    /// Who renews holds it.
    renewing: Arc<tokio::sync::Mutex<()>>,
}

/// When the chain was last asked, and whether it is to be asked before the credentials run out.
struct Asked {
    at: Instant,
    is_wanted: bool,
}

impl Credentials {
    /// Reads them for the first time.
    pub(crate) async fn new(source: &CredentialSource) -> Result<Self, CredentialError> {
        let (identity, source) = match source {
            CredentialSource::Environment => (from_environment()?, Source::Fixed),
            CredentialSource::File(file) => {
                let (identity, stamp) = from_file(file)?;
                let looked = Looked { at: SystemTime::now(), stamp: Some(stamp), is_under_way: false };
                (identity, Source::File { file: file.clone(), looked: Arc::new(Mutex::new(looked)) })
            }
            CredentialSource::Aws => {
                let provider = default_chain().await?;
                let identity = from_chain(&provider).await?;
                let asked = Mutex::new(Asked { at: Instant::now(), is_wanted: false });
                (identity, Source::Chain(Arc::new(Chain { provider, asked, renewing: Arc::default() })))
            }
        };
        let current =
            Current::new(identity).ok_or_else(|| CredentialError("not AWS credentials".to_owned()))?;
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(current)), source })
    }

    /// Whether there are some, as far as the environment and a file tell; the AWS chain is not asked, for it
    /// may need the network.
    pub(super) fn check(source: &CredentialSource) -> Result<(), CredentialError> {
        match source {
            CredentialSource::Environment => from_environment().map(drop),
            CredentialSource::File(file) => from_file(file).map(drop),
            CredentialSource::Aws => Ok(()),
        }
    }

    /// The ones that count now. A source that fails leaves the last ones, as long as they have not run out.
    pub(super) async fn current(&self) -> Result<Arc<Current>, CredentialError> {
        let now = SystemTime::now();
        match &self.source {
            Source::Fixed => {}
            Source::File { file, looked } => self.look_at_file(file, looked, now).await,
            Source::Chain(chain) => {
                let has_run_out = self.current.load().runs_out_by(now);
                if (chain.is_wanted() || self.current.load().runs_out_by(now + RENEW_BEFORE))
                    && let Some(renewal) = chain.renewal(&self.current)
                {
                    tokio::spawn(renewal);
                }
                if has_run_out {
                    // Whoever renews, the end of it is what is waited for.
                    let _ = tokio::time::timeout(RENEW_WAIT_MAX, chain.renewing.lock()).await;
                }
            }
        }
        let current = self.current.load_full();
        if current.runs_out_by(now) {
            Err(CredentialError("have run out and could not be renewed".to_owned()))
        } else {
            Ok(current)
        }
    }

    /// The store has refused the ones that count: they are read anew, and no more often than is good for
    /// where they come from.
    pub(super) fn refused(&self) {
        match &self.source {
            Source::Fixed => {}
            Source::File { looked, .. } => {
                lock(looked).at = SystemTime::UNIX_EPOCH;
            }
            Source::Chain(chain) => chain.asked().is_wanted = true,
        }
    }

    /// Looks at the file where it is time for that; a file system that hangs holds nobody up for long.
    async fn look_at_file(&self, file: &CredentialFile, looked: &Arc<Mutex<Looked>>, now: SystemTime) {
        let stamp = {
            let mut looked = lock(looked);
            let is_early = now.duration_since(looked.at).unwrap_or(FILE_LOOK) < FILE_LOOK;
            if looked.is_under_way || is_early {
                return;
            }
            looked.at = now;
            looked.is_under_way = true;
            looked.stamp
        };
        let (file, looked, current) = (file.clone(), Arc::clone(looked), Arc::clone(&self.current));
        let look = tokio::task::spawn_blocking(move || {
            let stamp = read_anew(&file, stamp, &current);
            let mut looked = lock(&looked);
            looked.stamp = stamp;
            looked.is_under_way = false;
        });
        // Too late, or ended by a panic: the last ones count.
        let _ = tokio::time::timeout(LOOK_TIME_MAX, look).await;
    }

    /// The access key that counts now.
    pub(super) fn access_key(&self) -> String {
        self.current.load().access_key().to_owned()
    }
}

fn lock(looked: &Mutex<Looked>) -> MutexGuard<'_, Looked> {
    looked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the file where it is no more in the state `last`; gives the state that it is in.
fn read_anew(file: &CredentialFile, last: Option<Stamp>, current: &ArcSwap<Current>) -> Option<Stamp> {
    let found = std::fs::metadata(&file.path).map(|metadata| stamp(&metadata)).ok();
    if found == last {
        return last;
    }
    match from_file(file) {
        Ok((identity, stamp)) => {
            if let Some(fresh) = Current::new(identity) {
                current.store(Arc::new(fresh));
                tracing::info!("store credentials read anew");
            }
            Some(stamp)
        }
        // A state that cannot be used is told once, and not looked into again.
        Err(fault) => {
            tracing::error!(%fault, "store credentials could not be read anew; the last ones count");
            found
        }
    }
}

impl Chain {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_wanted(&self) -> bool {
        self.asked().is_wanted
    }

    /// A renewal of what counts, to be run; none where one is under way, or the last was just now.
    fn renewal(
        self: &Arc<Self>,
        current: &Arc<ArcSwap<Current>>,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let one = Arc::clone(&self.renewing).try_lock_owned().ok()?;
        {
            let mut asked = self.asked();
            if asked.at.elapsed() < RENEW_PAUSE {
                return None;
            }
            *asked = Asked { at: Instant::now(), is_wanted: false };
        }
        let (chain, current) = (Arc::clone(self), Arc::clone(current));
        Some(async move {
            match from_chain(&chain.provider).await.map(Current::new) {
                Ok(Some(fresh)) => {
                    if fresh.access_key() != current.load().access_key() {
                        tracing::info!("store credentials renewed");
                    }
                    current.store(Arc::new(fresh));
                }
                Ok(None) => {}
                Err(fault) => {
                    tracing::error!(%fault, "store credentials could not be renewed; the last ones count")
                }
            }
            drop(one);
        })
    }
}

fn identity(access_key: String, secret_key: String, token: Option<String>) -> Identity {
    AwsCredentials::new(access_key, secret_key, token.filter(|token| !token.is_empty()), None, "subgate")
        .into()
}

fn from_environment() -> Result<Identity, CredentialError> {
    let required = |name: &str| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| CredentialError(format!("the environment variable {name} is not set")))
    };
    let token = std::env::var("AWS_SESSION_TOKEN").ok();
    Ok(identity(required("AWS_ACCESS_KEY_ID")?, required("AWS_SECRET_ACCESS_KEY")?, token))
}

/// The AWS default chain; STS, containers and instances are asked by this crate's own HTTP client.
async fn default_chain() -> Result<DefaultCredentialsChain, CredentialError> {
    let tls = tls::client_config(None).map_err(|error| CredentialError(error.to_string()))?;
    let config = ProviderConfig::default().with_http_client(AwsHttp::new(tls));
    Ok(DefaultCredentialsChain::builder().configure(config).build().await)
}

async fn from_chain(chain: &DefaultCredentialsChain) -> Result<Identity, CredentialError> {
    let credentials = chain.provide_credentials().await.map_err(|error| {
        CredentialError(format!(
            "the AWS credential chain gave none ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
             or store.credentials = {{ file = \"store.json\" }}"
        ))
    })?;
    Ok(credentials.into())
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.size())
}

#[derive(serde::Deserialize)]
struct CredentialContent {
    access_key: String,
    secret_key: String,
    #[serde(default)]
    session_token: Option<String>,
}

fn from_file(file: &CredentialFile) -> Result<(Identity, Stamp), CredentialError> {
    let CredentialFile { path, readers } = file;
    let shown = path.display();
    let fault = |what: &dyn std::fmt::Display| CredentialError(format!("{shown}: {what}"));
    let WholeFile { bytes, metadata, .. } =
        read_regular_file(path, FILE_BYTES_MAX).map_err(|error| fault(&error))?;
    check_secret(&metadata, *readers).map_err(|what| fault(&what))?;
    // The parser's own message may quote the file.
    let content: CredentialContent = serde_json::from_slice(&bytes).map_err(|error| {
        fault(&format_args!("line {}: not {{\"access_key\": …, \"secret_key\": …}}", error.line()))
    })?;
    if content.access_key.is_empty() || content.secret_key.is_empty() {
        return Err(fault(&"access_key and secret_key must not be empty"));
    }
    Ok((identity(content.access_key, content.secret_key, content.session_token), stamp(&metadata)))
}

#[cfg(test)]
mod tests;
