//! The live snapshot: read from the chain every few seconds, kept in memory and on disk. \[IO\]
//!
//! The endpoints are asked in turn until one gives a snapshot that may follow the last one
//! ([`super::judge`]); those that fail rest, longer each time. Requests never wait for any of this: they take
//! the snapshot that is there, and its age decides whether it still counts.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    Snapshot, ValidatorRule, disk,
    judge::{self, HeldCollapse, InvalidReading},
    node::{Block, ExpectedGenesis, Node, ReadError, with_jitter},
    rpc::{ChainEndpoint, Client, RpcError},
    unix_seconds,
};
use crate::tls::{self, TlsError};

/// With other endpoints at hand, one whose head stands still for so long is left for the next. Blocks come
/// every 12 s.
const HEAD_STILL: Duration = Duration::from_secs(60);

/// The first rest of an endpoint that failed; each further failure doubles it.
const REST_FIRST: Duration = Duration::from_secs(2);

/// The longest rest of an endpoint that keeps failing.
const REST_MAX: Duration = Duration::from_secs(60);

/// The longest pause that an endpoint can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A whole round of calls to one endpoint: the storage fallback with 4096 neurons is a dozen calls.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a start without a usable snapshot waits for the first.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A second node may see a block some seconds after the first.
const WITNESS_TRIES: u32 = 3;

/// Between two attempts.
const WITNESS_WAIT: Duration = Duration::from_secs(2);

/// Which chain and subnet to read, from which nodes, how often, and what is accepted.
#[derive(Debug, Clone)]
pub struct SubtensorSettings {
    /// Nodes, in the order of preference.
    pub endpoints: Vec<ChainEndpoint>,
    /// The subnet.
    pub netuid: u16,
    /// The chain that is expected.
    pub genesis: ExpectedGenesis,
    /// Further certificate authorities of the nodes' TLS, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Seconds between two refreshes.
    pub refresh_seconds: u64,
    /// File in which the snapshot is kept, if any.
    pub snapshot_file: Option<PathBuf>,
    /// How many endpoints must agree before a new right is granted.
    pub quorum: usize,
    /// A larger share of neurons gone at once is held for a second read.
    pub collapse_share_max: f64,
    /// Which neurons are validators.
    pub validator: ValidatorRule,
    /// Age in seconds from which a snapshot is too old to decide by.
    pub stale_seconds_max: u64,
}

/// How a refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refreshed {
    /// There is a newer snapshot.
    Taken,
    /// The chain has no new finalized block.
    Unchanged,
    /// A collapse waits for its confirmation.
    Held,
    /// No endpoint gave a usable reading.
    Failed,
}

/// What a running server may be told anew.
struct JudgedBy {
    /// Which neurons are validators.
    rule: ValidatorRule,
    /// Age in seconds from which a snapshot is too old to decide by.
    stale_seconds_max: u64,
}

/// What requests and the admin listener read.
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    judged_by: ArcSwap<JudgedBy>,
    counters: Mutex<BTreeMap<&'static str, u64>>,
    last_error: Mutex<Option<String>>,
}

impl Shared {
    fn count(&self, what: &'static str) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    fn set_last_error(&self, error: Option<String>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// The snapshot of the chain, and the task that renews it; the task ends with it.
pub struct ChainWatcher {
    shared: Arc<Shared>,
    task: tokio::task::AbortHandle,
}

impl Drop for ChainWatcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ChainWatcher {
    /// Takes the snapshot from disk and begins to renew it. Without one that is recent enough, waits a little
    /// for the chain.
    pub async fn start(settings: SubtensorSettings) -> Result<Self, TlsError> {
        let now = unix_seconds(SystemTime::now());
        let stale_seconds_max = settings.stale_seconds_max;
        let snapshot = settings.snapshot_file.as_deref().and_then(|path| {
            match disk::load(path, settings.netuid, settings.genesis, now) {
                Ok(snapshot) => {
                    let age_seconds = snapshot.age_seconds(now);
                    tracing::info!(
                        block = snapshot.block(),
                        neurons = snapshot.len(),
                        age_seconds,
                        "the chain's snapshot was read from disk"
                    );
                    Some(snapshot)
                }
                Err(error) if error.is_missing() => None,
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "the chain's snapshot on disk cannot be used; the next one replaces it"
                    );
                    None
                }
            }
        });
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot.unwrap_or_default()),
            judged_by: ArcSwap::from_pointee(JudgedBy {
                rule: settings.validator.clone(),
                stale_seconds_max,
            }),
            counters: Mutex::default(),
            last_error: Mutex::default(),
        });
        let refresher = Refresher::new(settings, Arc::clone(&shared))?;
        let (done, mut first) = watch::channel(false);
        let task = tokio::spawn(refresher.run(done)).abort_handle();
        let live = Self { shared, task };
        if live.snapshot().age_seconds(now) > stale_seconds_max {
            let waited = tokio::time::timeout(START_PATIENCE, first.wait_for(|done| *done)).await;
            if waited.is_err() || live.snapshot().is_empty() {
                tracing::warn!(
                    "nothing has been read from the chain yet: S3 requests are answered with 503 until then"
                );
            }
        }
        Ok(live)
    }

    /// The current snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Which readings grant a right from now on, and how soon the chain must be read again.
    pub(crate) fn judge_by(&self, rule: &ValidatorRule, stale_seconds_max: u64) {
        self.shared.judged_by.store(Arc::new(JudgedBy { rule: rule.clone(), stale_seconds_max }));
    }

    /// How often each result has occurred, by name: `refreshed`, `unchanged`, `held`, `refused_…`.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last refresh failed; none where it succeeded.
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why the chain's snapshot cannot be kept on disk, or the one that is there cannot be used; none where both
/// can.
pub(crate) fn snapshot_file_fault(settings: &SubtensorSettings, now: SystemTime) -> Option<String> {
    let path = settings.snapshot_file.as_deref()?;
    match disk::load(path, settings.netuid, settings.genesis, unix_seconds(now)) {
        Ok(_) => None,
        Err(error) if error.is_missing() => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir())?;
            Some(format!("there is no directory {}, so no snapshot can be kept", dir.display()))
        }
        Err(error) => Some(format!("{error}; it cannot be used, and the next snapshot replaces it")),
    }
}

/// How much a reading is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The snapshot still decides.
    Usual,
    /// It is too old: nothing is decided until there is another one.
    Urgent,
}

/// The rest of an endpoint that failed.
#[derive(Debug, Clone, Copy)]
struct Rest {
    since: Instant,
    /// By how often it failed.
    by_failures: Duration,
    /// As long as it asked for itself.
    asked_for: Duration,
}

impl Rest {
    /// Its end. What decides nothing any more is asked for at each refresh, however often it failed; what an
    /// endpoint asks for itself is kept in any case, for it would only take longer otherwise.
    fn end(&self, need: Need, refresh: Duration) -> Instant {
        let by_failures = match need {
            Need::Usual => self.by_failures,
            Need::Urgent => self.by_failures.min(refresh),
        };
        self.since + by_failures.max(self.asked_for)
    }
}

/// An endpoint and how it has behaved lately.
struct TrackedEndpoint {
    node: Node,
    failures: u32,
    rest: Option<Rest>,
}

impl TrackedEndpoint {
    fn failed(&mut self, retry_after: Option<Duration>) {
        let by_failures = (REST_FIRST * 2_u32.saturating_pow(self.failures.min(8))).min(REST_MAX);
        let asked_for = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        self.failures = self.failures.saturating_add(1);
        self.rest = Some(Rest {
            since: Instant::now(),
            by_failures: with_jitter(by_failures),
            asked_for: with_jitter(asked_for),
        });
    }

    fn behaved(&mut self) {
        self.failures = 0;
        self.rest = None;
    }

    fn rests(&self, need: Need, refresh: Duration) -> bool {
        self.rest.is_some_and(|rest| rest.end(need, refresh) > Instant::now())
    }
}

struct Refresher {
    settings: SubtensorSettings,
    endpoints: Vec<TrackedEndpoint>,
    shared: Arc<Shared>,
    /// The endpoint that is asked first, by its place.
    first: usize,
    held: Option<HeldCollapse>,
    /// When the snapshot last changed.
    moved: Instant,
}

impl Refresher {
    fn new(settings: SubtensorSettings, shared: Arc<Shared>) -> Result<Self, TlsError> {
        let tls = Arc::new(tls::client_config(settings.ca_file.as_deref())?);
        let tracked = |endpoint: &ChainEndpoint| TrackedEndpoint {
            node: Node::new(
                Client::new(endpoint.clone(), Arc::clone(&tls)),
                settings.netuid,
                settings.genesis,
            ),
            failures: 0,
            rest: None,
        };
        let endpoints = settings.endpoints.iter().map(tracked).collect();
        Ok(Self { endpoints, settings, shared, first: 0, held: None, moved: Instant::now() })
    }

    /// Refreshes for ever; says when it has tried for the first time.
    async fn run(mut self, done: watch::Sender<bool>) {
        loop {
            let refreshed = self.refresh().await;
            self.shared.count(match refreshed {
                Refreshed::Taken => "refreshed",
                Refreshed::Unchanged => "unchanged",
                Refreshed::Held => "held",
                Refreshed::Failed => "failed",
            });
            let _ = done.send_replace(true);
            tokio::time::sleep(self.pause(refreshed)).await;
        }
    }

    fn refresh_time(&self) -> Duration {
        Duration::from_secs(self.settings.refresh_seconds)
    }

    /// For how long the snapshot still decides; none where it is too old.
    fn freshness(&self) -> Option<Duration> {
        let age_seconds = self.shared.snapshot.load().age_seconds(unix_seconds(SystemTime::now()));
        self.shared.judged_by.load().stale_seconds_max.checked_sub(age_seconds).map(Duration::from_secs)
    }

    fn need(&self) -> Need {
        match self.freshness() {
            Some(_) => Need::Usual,
            None => Need::Urgent,
        }
    }

    fn pause(&self, refreshed: Refreshed) -> Duration {
        let refresh = self.refresh_time();
        match refreshed {
            Refreshed::Taken | Refreshed::Unchanged | Refreshed::Held => return with_jitter(refresh),
            Refreshed::Failed => {}
        }
        // As soon as the first endpoint has rested; they rest with jitter.
        let now = Instant::now();
        let need = self.need();
        let rests = self.endpoints.iter().filter_map(|endpoint| endpoint.rest);
        let ends = rests.map(|rest| rest.end(need, refresh).saturating_duration_since(now));
        let pause = ends.min().unwrap_or(refresh).max(REST_FIRST / 4);
        // The snapshot may become too old in the meantime, and the rests shorter.
        self.freshness().map_or(pause, |left| pause.min(left + refresh))
    }

    async fn refresh(&mut self) -> Refreshed {
        let (count, first) = (self.endpoints.len(), self.first);
        let (need, refresh) = (self.need(), self.refresh_time());
        let mut refreshed = Refreshed::Failed;
        for place in (0..count).map(|step| (first + step) % count) {
            if self.endpoints.get(place).is_none_or(|endpoint| endpoint.rests(need, refresh)) {
                continue;
            }
            match self.refresh_from(place).await {
                Refreshed::Failed => {}
                Refreshed::Unchanged if count > 1 && self.moved.elapsed() > HEAD_STILL => {
                    // Perhaps the chain stands still; perhaps only this node does.
                    refreshed = Refreshed::Unchanged;
                }
                Refreshed::Held => {
                    // The second read is by another node, where there is one.
                    self.first = (place + 1) % count;
                    return Refreshed::Held;
                }
                ended @ (Refreshed::Taken | Refreshed::Unchanged) => {
                    self.first = place;
                    return ended;
                }
            }
        }
        refreshed
    }

    /// Reads from one endpoint, and takes the reading where the judge accepts it.
    async fn refresh_from(&mut self, place: usize) -> Refreshed {
        let last = self.shared.snapshot.load_full();
        let Some(endpoint) = self.endpoints.get_mut(place) else { return Refreshed::Failed };
        let known = last.origin.as_ref().map(|origin| origin.block);
        // The age counts from before the question.
        let requested_at = unix_seconds(SystemTime::now());
        let read = tokio::time::timeout(READ_TIME_MAX, endpoint.node.read(known)).await;
        let reading = match read.unwrap_or(Err(ReadError::Rpc(RpcError::Silent))) {
            Ok(Some(reading)) => reading,
            Ok(None) => {
                endpoint.behaved();
                self.shared.set_last_error(None);
                return Refreshed::Unchanged;
            }
            Err(error) => {
                endpoint.failed(error.retry_after());
                self.report(place, error.kind(), &error, error.advice());
                return Refreshed::Failed;
            }
        };
        let next = match judge::snapshot(&reading, &last, requested_at) {
            Ok(next) => next,
            Err(invalid) => {
                endpoint.failed(None);
                self.report(place, invalid.kind(), &invalid, invalid.advice());
                return Refreshed::Failed;
            }
        };
        endpoint.behaved();
        if let Some(gone) = judge::collapse(&next, &last, self.settings.collapse_share_max) {
            if !self.held.is_some_and(|held| held.is_confirmed_by(reading.block, place)) {
                self.held = Some(HeldCollapse { block: reading.block, endpoint: place });
                let what = format!("{gone} of {} neurons are gone at once", last.len());
                self.report(
                    place,
                    "collapse",
                    &what,
                    "it counts when the next read says so as well; look at the subnet",
                );
                return Refreshed::Held;
            }
            tracing::warn!(gone, of = last.len(), "a collapse of the subnet is confirmed by a second read");
        }
        self.held = None;
        let next = match self.granted(place, reading.block, next, &last).await {
            Some(next) => next,
            None => return Refreshed::Failed,
        };
        self.shared.set_last_error(None);
        self.take(next).await;
        Refreshed::Taken
    }

    /// With a quorum: the snapshot without the rights that too few nodes grant.
    async fn granted(
        &mut self,
        place: usize,
        block: Block,
        next: Snapshot,
        last: &Snapshot,
    ) -> Option<Snapshot> {
        let rule = self.shared.judged_by.load().rule.clone();
        let mut wanted = self.settings.quorum.saturating_sub(1);
        if wanted == 0 || !judge::grants(&next, last, &rule) {
            return Some(next);
        }
        let mut next = next;
        let mut withheld = 0;
        for other in (0..self.endpoints.len()).filter(|other| *other != place) {
            if wanted == 0 {
                break;
            }
            let Some(witness) = self.witness(other, block, last).await else { continue };
            let (kept, less) = judge::confirmed(&next, last, Some(&witness), &rule);
            (next, withheld, wanted) = (kept, withheld + less, wanted - 1);
        }
        if wanted > 0 {
            let (kept, less) = judge::confirmed(&next, last, None, &rule);
            (next, withheld) = (kept, withheld + less);
        }
        if withheld > 0 {
            let what = format!("{withheld} new rights are not confirmed by chain.quorum endpoints");
            self.report(
                place,
                "grants_withheld",
                &what,
                "the next refresh asks again; look at the other chain.endpoints",
            );
        }
        // Without anybody left there is nothing to decide with.
        (!next.is_empty()).then_some(next)
    }

    /// What another node says of the same block.
    async fn witness(&mut self, place: usize, block: Block, last: &Snapshot) -> Option<Snapshot> {
        for attempt in 0..WITNESS_TRIES {
            if attempt > 0 {
                tokio::time::sleep(with_jitter(WITNESS_WAIT)).await;
            }
            let (need, refresh) = (self.need(), self.refresh_time());
            let endpoint = self.endpoints.get_mut(place).filter(|endpoint| !endpoint.rests(need, refresh))?;
            let read = tokio::time::timeout(READ_TIME_MAX, endpoint.node.read_at(block)).await;
            match read.unwrap_or(Err(ReadError::Rpc(RpcError::Silent))) {
                Ok(neurons) => return judge::neurons(&neurons, last, last.taken_at).ok(),
                Err(error @ (ReadError::Form(_) | ReadError::Rpc(RpcError::Refused { .. }))) => {
                    tracing::debug!(
                        endpoint = %endpoint.node.endpoint(), %error,
                        "the second node does not know the block yet"
                    );
                }
                Err(error) => {
                    endpoint.failed(error.retry_after());
                    self.report(place, error.kind(), &error, error.advice());
                    return None;
                }
            }
        }
        None
    }

    /// Makes `next` the current snapshot, and stores it on disk.
    async fn take(&mut self, next: Snapshot) {
        let next = Arc::new(next);
        tracing::debug!(block = next.block(), neurons = next.len(), "the chain's snapshot is renewed");
        self.shared.snapshot.store(Arc::clone(&next));
        self.moved = Instant::now();
        let Some(path) = self.settings.snapshot_file.clone() else { return };
        let netuid = self.settings.netuid;
        let stored = tokio::task::spawn_blocking(move || disk::store(&path, netuid, &next)).await;
        if let Ok(Err(error)) = stored {
            self.shared.count("not_stored");
            tracing::warn!(
                %error,
                "the chain's snapshot cannot be kept on disk; a restart while the chain is down would have \
                none: look at chain.snapshot_file"
            );
        }
    }

    fn report(&self, place: usize, kind: &'static str, error: &dyn std::fmt::Display, advice: &'static str) {
        let endpoint = self.endpoints.get(place);
        let endpoint = endpoint.map(|endpoint| endpoint.node.endpoint().to_string()).unwrap_or_default();
        let last = self.shared.snapshot.load();
        let age_seconds = last.age_seconds(unix_seconds(SystemTime::now()));
        self.shared.count(kind);
        self.shared.set_last_error(Some(format!("{endpoint}: {error}")));
        tracing::warn!(
            endpoint, kind, %error, advice, block = last.block(), age_seconds,
            "the chain could not be read; the last snapshot counts until chain.stale_seconds_max"
        );
    }
}

/// One reading for a person: the first endpoint that gives one, or what each of them said.
pub async fn read_once(settings: &SubtensorSettings) -> Result<Snapshot, Vec<String>> {
    let tls = tls::client_config(settings.ca_file.as_deref());
    let tls = Arc::new(tls.map_err(|error| vec![format!("chain.ca_file: {error}")])?);
    let mut errors = Vec::new();
    for endpoint in &settings.endpoints {
        let client = Client::new(endpoint.clone(), Arc::clone(&tls));
        let mut node = Node::new(client, settings.netuid, settings.genesis);
        let requested_at = unix_seconds(SystemTime::now());
        let read = tokio::time::timeout(READ_TIME_MAX, node.read(None)).await;
        let error = match read.unwrap_or(Err(ReadError::Rpc(RpcError::Silent))) {
            Ok(Some(reading)) => match judge::snapshot(&reading, &Snapshot::default(), requested_at) {
                Ok(snapshot) => return Ok(snapshot),
                Err(invalid) => with_advice(&invalid, InvalidReading::advice(invalid)),
            },
            Ok(None) => continue,
            Err(error) => with_advice(&error, error.advice()),
        };
        errors.push(format!("{endpoint}: {error}"));
    }
    Err(errors)
}

fn with_advice(error: &dyn std::fmt::Display, advice: &str) -> String {
    format!("{error}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p38_what_is_too_old_is_asked_for_at_each_refresh_but_a_throttle_is_kept() {
        let since = Instant::now();
        let seconds = Duration::from_secs;
        let rest = |by_failures, asked_for| Rest {
            since,
            by_failures: seconds(by_failures),
            asked_for: seconds(asked_for),
        };
        for (rest, need, waits) in [
            (rest(60, 0), Need::Usual, 60),
            (rest(60, 0), Need::Urgent, 24),
            (rest(2, 0), Need::Usual, 2),
            (rest(2, 0), Need::Urgent, 2),
            (rest(60, 30), Need::Usual, 60),
            (rest(60, 30), Need::Urgent, 30),
            (rest(2, 300), Need::Usual, 300),
            (rest(2, 300), Need::Urgent, 300),
        ] {
            assert_eq!(rest.end(need, seconds(24)), since + seconds(waits), "{rest:?} {need:?}");
        }
    }
}
