//! The one connection to Redis: asked with a bound, given up at the first failure, and made again behind the
//! requests' backs. \[IO\]
//!
//! Invariants: a request waits at most once, and not longer than `limits.shared.wait_milliseconds_max`; while
//! there is no connection it does not wait at all, so that an outage costs each request that meets its
//! beginning one bounded wait and all others nothing; the beginning and the end of an outage are logged, and
//! nothing in between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::script::{Keys, Run, Script};
use crate::config::{SharedAddress, SharedLimits};

/// How long making a connection may take: names, TLS, log-in, scripts. No request waits for it.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How often a connection is tried where nobody asks anything.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// The first pause between two attempts to connect; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that lasts so long was a good one: the pauses begin anew.
const STEADY: Duration = Duration::from_secs(10);

/// What replicas share cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreachable;

/// The link; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    inner: Arc<Inner>,
    keeper: AbortHandle,
    tried: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    keys: Keys,
    wait_max: Duration,
    connection: ArcSwapOption<Connection>,
    /// Why a connection was given up.
    lost: mpsc::Sender<String>,
}

/// One connection, with the digests by which it knows the scripts.
#[derive(Debug)]
struct Connection {
    multiplexed: MultiplexedConnection,
    charge: String,
    report: String,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Link {
    /// Begins to connect.
    ///
    /// # Errors
    /// Where the settings are none that the client can use.
    pub(super) fn start(settings: &SharedLimits) -> Result<Self, RedisError> {
        let (lost, losses) = mpsc::channel(1);
        let (set_tried, tried) = watch::channel(false);
        let inner = Arc::new(Inner {
            client: client(settings)?,
            keys: Keys::new(&settings.prefix),
            wait_max: Duration::from_millis(settings.wait_milliseconds_max),
            connection: ArcSwapOption::empty(),
            lost,
        });
        let keeper = tokio::spawn(keep(Arc::clone(&inner), losses, set_tried)).abort_handle();
        Ok(Self { inner, keeper, tried })
    }

    /// Waits for the first attempt to connect, no longer than a request would.
    pub(super) async fn tried(&self) {
        let mut tried = self.tried.clone();
        let _ = timeout(self.inner.wait_max, tried.wait_for(|tried| *tried)).await;
    }

    /// Whether there is a connection.
    pub(super) fn is_up(&self) -> bool {
        self.inner.connection.load().is_some()
    }

    /// Asks one command.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unreachable> {
        let connection = self.inner.connection.load_full().ok_or(Unreachable)?;
        self.inner.bounded(&connection, command.query_async(&mut connection.multiplexed.clone())).await
    }

    /// Runs a script.
    pub(super) async fn run(&self, run: &Run) -> Result<[u64; 2], Unreachable> {
        let connection = self.inner.connection.load_full().ok_or(Unreachable)?;
        self.inner.bounded(&connection, connection.run(run)).await
    }
}

impl Connection {
    async fn run(&self, run: &Run) -> Result<[u64; 2], RedisError> {
        let digest = match run.script {
            Script::Charge => &self.charge,
            Script::Report => &self.report,
        };
        let command = |name, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(run.keys.len());
            command.arg(run.keys.as_slice()).arg(run.arguments.as_slice()).take()
        };
        let mut multiplexed = self.multiplexed.clone();
        let answer = command("EVALSHA", digest).query_async(&mut multiplexed).await;
        match answer {
            // Somebody has thrown the scripts away.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", run.script.text()).query_async(&mut multiplexed).await
            }
            answer => answer,
        }
    }
}

impl Inner {
    /// Waits for an answer; a connection that brings none, or an error, is given up.
    async fn bounded<T>(
        &self,
        connection: &Arc<Connection>,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Unreachable> {
        let why = match timeout(self.wait_max, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within limits.shared.wait_milliseconds_max".to_owned(),
        };
        let held = self.connection.compare_and_swap(connection, None);
        // The first who sees it; the others have the same connection.
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, connection)) {
            let _ = self.lost.try_send(why);
        }
        Err(Unreachable)
    }

    /// Connects, loads the scripts, and tries that all that will be asked is allowed.
    async fn connect(&self) -> Result<Connection, String> {
        let attempt = async {
            let bounds = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let mut multiplexed = self.client.get_multiplexed_async_connection_with_config(&bounds).await?;
            let load = |script: Script| {
                let (mut multiplexed, mut command) = (multiplexed.clone(), redis::cmd("SCRIPT"));
                command.arg("LOAD").arg(script.text());
                async move { command.query_async::<String>(&mut multiplexed).await }
            };
            let (charge, report) = (load(Script::Charge).await?, load(Script::Report).await?);
            spend(&self.keys.trial(), Duration::from_millis(1))
                .query_async::<Option<String>>(&mut multiplexed)
                .await?;
            let connection = Connection { multiplexed, charge, report };
            connection.run(&self.keys.trial_charge()).await?;
            Ok(connection)
        };
        match timeout(CONNECT_MAX, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(RedisError::to_string(&error)),
            Err(_) => Err(format!("no connection within {} s", CONNECT_MAX.as_secs())),
        }
    }

    /// Waits for the end of the connection, which is tried now and then; says why it ended.
    async fn lost(&self, losses: &mut mpsc::Receiver<String>) -> String {
        loop {
            match timeout(WATCH_EVERY, losses.recv()).await {
                Ok(why) => return why.unwrap_or_default(),
                Err(_) => {
                    let connection = self.connection.load_full();
                    let Some(connection) = connection else { continue };
                    let mut multiplexed = connection.multiplexed.clone();
                    let ping = redis::cmd("PING");
                    let _ = self.bounded::<()>(&connection, ping.query_async(&mut multiplexed)).await;
                }
            }
        }
    }
}

/// Keeps a connection for ever.
async fn keep(inner: Arc<Inner>, mut losses: mpsc::Receiver<String>, tried: watch::Sender<bool>) {
    let mut away_since: Option<Instant> = None;
    let mut pause = PAUSE_MIN;
    loop {
        let why = match inner.connect().await {
            Ok(connection) => {
                if let Some(since) = away_since.take() {
                    tracing::info!(seconds = since.elapsed().as_secs(), "limits.shared can be reached again");
                }
                let began = Instant::now();
                inner.connection.store(Some(Arc::new(connection)));
                tried.send_replace(true);
                let why = inner.lost(&mut losses).await;
                if began.elapsed() >= STEADY {
                    pause = PAUSE_MIN;
                }
                why
            }
            Err(why) => why,
        };
        if away_since.is_none() {
            away_since = Some(Instant::now());
            tracing::warn!(
                %why,
                "limits.shared cannot be reached: limits.shared.on_outage holds until it can"
            );
        }
        tried.send_replace(true);
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}

/// Sets a key that is not there yet, for so long.
pub(super) fn spend(key: &str, life: Duration) -> Cmd {
    let milliseconds = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
    redis::cmd("SET").arg(key).arg(1).arg("NX").arg("PX").arg(milliseconds).take()
}

pub(super) fn client(settings: &SharedLimits) -> Result<Client, RedisError> {
    let address = match &settings.address {
        SharedAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        SharedAddress::Tls { host, port } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        SharedAddress::Socket(path) => ConnectionAddr::Unix(path.clone()),
    };
    let mut login = RedisConnectionInfo::default().set_db(settings.database.into()).set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    Client::open(address.into_connection_info()?.set_redis_settings(login))
}
