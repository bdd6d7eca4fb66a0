//! The live snapshot: read from the chain every few seconds, kept in memory and on disk. \[IO\]
//!
//! The endpoints are asked in turn until one gives a snapshot that may follow the last one ([`super::judge`]); those
//! that fail rest, longer each time. Requests never wait for any of this: they take the snapshot that is there, and its
//! age decides whether it still counts.

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
    judge::{self, Held, Unfit},
    node::{Block, BlockHash, Node, ReadFault, with_jitter},
    rpc::{self, Client, Endpoint, RpcFault},
    unix_seconds,
};

/// With other endpoints at hand, one whose head stands still for so long is left for the next. Blocks come every 12 s.
const HEAD_STILL: Duration = Duration::from_secs(60);

/// The first rest of an endpoint that failed; each further failure doubles it.
const REST_FIRST: Duration = Duration::from_secs(2);

/// An endpoint that fails for long is asked this often all the same.
const REST_MAX: Duration = Duration::from_secs(60);

/// No endpoint's word keeps us away for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A whole round of calls to one endpoint: the storage fallback with 4096 neurons is a dozen calls.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// A start without a snapshot that counts waits so long for the first.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A second node may see a block some seconds after the first.
const WITNESS_TRIES: u32 = 3;

/// Between two tries.
const WITNESS_WAIT: Duration = Duration::from_secs(2);

/// From where, how often, and what counts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Nodes, in the order of preference.
    pub endpoints: Vec<Endpoint>,
    /// The subnet.
    pub netuid: u16,
    /// The first block of the right chain; any where none is given.
    pub genesis: Option<BlockHash>,
    /// Seconds between two refreshes.
    pub refresh_seconds: u64,
    /// Where the snapshot is kept; nowhere where none is given.
    pub snapshot_file: Option<PathBuf>,
    /// How many endpoints must agree before a new right is granted.
    pub quorum: usize,
    /// A larger share of neurons gone at once is held for a second read.
    pub collapse_share_max: f64,
    /// Which rights a neuron has.
    pub validator: ValidatorRule,
    /// An older snapshot decides nothing.
    pub stale_seconds_max: u64,
}

/// How a refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// There is a newer snapshot.
    Taken,
    /// The chain stands where it stood.
    Unchanged,
    /// A collapse waits for its confirmation.
    Held,
    /// No endpoint gave anything that counts.
    Failed,
}

/// What requests and the operator see.
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    counters: Mutex<BTreeMap<&'static str, u64>>,
    last_fault: Mutex<Option<String>>,
}

impl Shared {
    fn count(&self, what: &'static str) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    fn fault(&self, fault: Option<String>) {
        *self.last_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

/// The snapshot of the chain, and the task that renews it; the task ends with it.
pub struct Live {
    shared: Arc<Shared>,
    task: tokio::task::AbortHandle,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Live {
    /// Takes the snapshot from disk and begins to renew it. Without one that counts, waits a little for the chain.
    pub async fn start(settings: Settings) -> Result<Self, rustls::Error> {
        let now = unix_seconds(SystemTime::now());
        let stale_seconds_max = settings.stale_seconds_max;
        let snapshot = settings.snapshot_file.as_deref().and_then(|path| {
            match disk::load(path, settings.netuid, settings.genesis, now) {
                Ok(snapshot) => {
                    let age_seconds = snapshot.age_seconds(now);
                    tracing::info!(block = snapshot.block(), neurons = snapshot.len(), age_seconds, "the chain's snapshot is there from disk");
                    Some(snapshot)
                }
                Err(fault) if fault.is_missing() => None,
                Err(fault) => {
                    tracing::warn!(%fault, "the chain's snapshot on disk does not count; the next one replaces it");
                    None
                }
            }
        });
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot.unwrap_or_default()),
            counters: Mutex::default(),
            last_fault: Mutex::default(),
        });
        let refresher = Refresher::new(settings, Arc::clone(&shared))?;
        let (done, mut first) = watch::channel(false);
        let task = tokio::spawn(refresher.run(done)).abort_handle();
        let live = Self { shared, task };
        if live.snapshot().age_seconds(now) > stale_seconds_max {
            let waited = tokio::time::timeout(START_PATIENCE, first.wait_for(|done| *done)).await;
            if waited.is_err() || live.snapshot().is_empty() {
                tracing::warn!("nothing is known of the chain yet: S3 requests get 503 until it is");
            }
        }
        Ok(live)
    }

    /// The snapshot that counts now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// How often what happened, by name: `refreshed`, `unchanged`, `held`, `refused_…`.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last refresh gave nothing; none where it did.
    pub fn last_fault(&self) -> Option<String> {
        self.shared.last_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An endpoint and how it has behaved lately.
struct Peer {
    node: Node,
    failures: u32,
    rests_until: Option<Instant>,
}

impl Peer {
    fn failed(&mut self, retry_after: Option<Duration>) {
        let rest = (REST_FIRST * 2_u32.saturating_pow(self.failures.min(8))).min(REST_MAX);
        let rest = rest.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(Instant::now() + with_jitter(rest));
    }

    fn behaved(&mut self) {
        self.failures = 0;
        self.rests_until = None;
    }

    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| until > Instant::now())
    }
}

struct Refresher {
    settings: Settings,
    peers: Vec<Peer>,
    shared: Arc<Shared>,
    /// The peer that is asked first.
    first: usize,
    held: Option<Held>,
    /// When the snapshot last changed.
    moved: Instant,
}

impl Refresher {
    fn new(settings: Settings, shared: Arc<Shared>) -> Result<Self, rustls::Error> {
        let tls = rpc::tls()?;
        let peer = |endpoint: &Endpoint| Peer {
            node: Node::new(
                Client::new(endpoint.clone(), Arc::clone(&tls)),
                settings.netuid,
                settings.genesis,
            ),
            failures: 0,
            rests_until: None,
        };
        let peers = settings.endpoints.iter().map(peer).collect();
        Ok(Self { peers, settings, shared, first: 0, held: None, moved: Instant::now() })
    }

    /// Refreshes for ever; says when it has tried for the first time.
    async fn run(mut self, done: watch::Sender<bool>) {
        loop {
            let outcome = self.refresh().await;
            self.shared.count(match outcome {
                Outcome::Taken => "refreshed",
                Outcome::Unchanged => "unchanged",
                Outcome::Held => "held",
                Outcome::Failed => "failed",
            });
            let _ = done.send_replace(true);
            tokio::time::sleep(self.pause(outcome)).await;
        }
    }

    fn pause(&self, outcome: Outcome) -> Duration {
        let refresh = Duration::from_secs(self.settings.refresh_seconds);
        if outcome != Outcome::Failed {
            return with_jitter(refresh);
        }
        // As soon as the first endpoint has rested; they rest with jitter.
        let now = Instant::now();
        let rests = self.peers.iter().filter_map(|peer| peer.rests_until);
        rests.map(|until| until.saturating_duration_since(now)).min().unwrap_or(refresh).max(REST_FIRST / 4)
    }

    async fn refresh(&mut self) -> Outcome {
        let (count, first) = (self.peers.len(), self.first);
        let mut outcome = Outcome::Failed;
        for place in (0..count).map(|step| (first + step) % count) {
            if self.peers.get(place).is_none_or(Peer::rests) {
                continue;
            }
            match self.ask(place).await {
                Outcome::Failed => {}
                Outcome::Unchanged if count > 1 && self.moved.elapsed() > HEAD_STILL => {
                    // Perhaps the chain stands still; perhaps only this node does.
                    outcome = Outcome::Unchanged;
                }
                Outcome::Held => {
                    // The second read is by another node, where there is one.
                    self.first = (place + 1) % count;
                    return Outcome::Held;
                }
                ended @ (Outcome::Taken | Outcome::Unchanged) => {
                    self.first = place;
                    return ended;
                }
            }
        }
        outcome
    }

    /// Asks one endpoint, and judges what it says.
    async fn ask(&mut self, place: usize) -> Outcome {
        let last = self.shared.snapshot.load_full();
        let Some(peer) = self.peers.get_mut(place) else { return Outcome::Failed };
        let known = last.origin.as_ref().map(|origin| origin.block);
        // The age counts from before the question.
        let asked_at = unix_seconds(SystemTime::now());
        let read = tokio::time::timeout(READ_TIME_MAX, peer.node.read(known)).await;
        let reading = match read.unwrap_or(Err(ReadFault::Rpc(RpcFault::Silent))) {
            Ok(Some(reading)) => reading,
            Ok(None) => {
                peer.behaved();
                self.shared.fault(None);
                return Outcome::Unchanged;
            }
            Err(fault) => {
                peer.failed(fault.retry_after());
                self.tell(place, fault.kind(), &fault, fault.advice());
                return Outcome::Failed;
            }
        };
        let next = match judge::snapshot(&reading, &last, asked_at) {
            Ok(next) => next,
            Err(unfit) => {
                peer.failed(None);
                self.tell(place, unfit.kind(), &unfit, unfit.advice());
                return Outcome::Failed;
            }
        };
        peer.behaved();
        if let Some(gone) = judge::collapse(&next, &last, self.settings.collapse_share_max) {
            if !self.held.is_some_and(|held| held.is_confirmed_by(reading.block, place)) {
                self.held = Some(Held { block: reading.block, endpoint: place });
                let what = format!("{gone} of {} neurons are gone at once", last.len());
                self.tell(
                    place,
                    "collapse",
                    &what,
                    "it counts when the next read says so as well; look at the subnet",
                );
                return Outcome::Held;
            }
            tracing::warn!(gone, of = last.len(), "a collapse of the subnet is confirmed by a second read");
        }
        self.held = None;
        let next = match self.granted(place, reading.block, next, &last).await {
            Some(next) => next,
            None => return Outcome::Failed,
        };
        self.shared.fault(None);
        self.take(next).await;
        Outcome::Taken
    }

    /// With a quorum: the snapshot without the rights that too few nodes grant.
    async fn granted(
        &mut self,
        place: usize,
        block: Block,
        next: Snapshot,
        last: &Snapshot,
    ) -> Option<Snapshot> {
        let rule = self.settings.validator.clone();
        let mut wanted = self.settings.quorum.saturating_sub(1);
        if wanted == 0 || !judge::grants(&next, last, &rule) {
            return Some(next);
        }
        let mut next = next;
        let mut withheld = 0;
        for other in (0..self.peers.len()).filter(|other| *other != place) {
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
            self.tell(
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
            let peer = self.peers.get_mut(place).filter(|peer| !peer.rests())?;
            let read = tokio::time::timeout(READ_TIME_MAX, peer.node.read_at(block)).await;
            match read.unwrap_or(Err(ReadFault::Rpc(RpcFault::Silent))) {
                Ok(neurons) => return judge::neurons(&neurons, last, last.taken_at).ok(),
                Err(fault @ (ReadFault::Form(_) | ReadFault::Rpc(RpcFault::Refused { .. }))) => {
                    tracing::debug!(endpoint = %peer.node.endpoint(), %fault, "the second node does not know the block yet");
                }
                Err(fault) => {
                    peer.failed(fault.retry_after());
                    self.tell(place, fault.kind(), &fault, fault.advice());
                    return None;
                }
            }
        }
        None
    }

    /// From now on this is what counts.
    async fn take(&mut self, next: Snapshot) {
        let next = Arc::new(next);
        tracing::debug!(block = next.block(), neurons = next.len(), "the chain's snapshot is renewed");
        self.shared.snapshot.store(Arc::clone(&next));
        self.moved = Instant::now();
        let Some(path) = self.settings.snapshot_file.clone() else { return };
        let netuid = self.settings.netuid;
        let stored = tokio::task::spawn_blocking(move || disk::store(&path, netuid, &next)).await;
        if let Ok(Err(fault)) = stored {
            self.shared.count("not_stored");
            tracing::warn!(%fault, "the chain's snapshot cannot be kept on disk; a restart while the chain is down would have none: look at chain.snapshot_file");
        }
    }

    fn tell(&self, place: usize, kind: &'static str, fault: &dyn std::fmt::Display, advice: &'static str) {
        let endpoint = self.peers.get(place).map(|peer| peer.node.endpoint().to_string()).unwrap_or_default();
        let last = self.shared.snapshot.load();
        let age_seconds = last.age_seconds(unix_seconds(SystemTime::now()));
        self.shared.count(kind);
        self.shared.fault(Some(format!("{endpoint}: {fault}")));
        tracing::warn!(endpoint, kind, %fault, advice, block = last.block(), age_seconds, "the chain could not be read; the last snapshot counts until chain.stale_seconds_max");
    }
}

/// One reading for a person: the first endpoint that gives one, or what each of them said.
pub async fn read_once(settings: &Settings) -> Result<Snapshot, Vec<String>> {
    let tls = rpc::tls().map_err(|error| vec![error.to_string()])?;
    let mut faults = Vec::new();
    for endpoint in &settings.endpoints {
        let client = Client::new(endpoint.clone(), Arc::clone(&tls));
        let mut node = Node::new(client, settings.netuid, settings.genesis);
        let asked_at = unix_seconds(SystemTime::now());
        let read = tokio::time::timeout(READ_TIME_MAX, node.read(None)).await;
        let fault = match read.unwrap_or(Err(ReadFault::Rpc(RpcFault::Silent))) {
            Ok(Some(reading)) => match judge::snapshot(&reading, &Snapshot::default(), asked_at) {
                Ok(snapshot) => return Ok(snapshot),
                Err(unfit) => told(&unfit, Unfit::advice(unfit)),
            },
            Ok(None) => continue,
            Err(fault) => told(&fault, fault.advice()),
        };
        faults.push(format!("{endpoint}: {fault}"));
    }
    Err(faults)
}

fn told(fault: &dyn std::fmt::Display, advice: &str) -> String {
    format!("{fault}; {advice}")
}
