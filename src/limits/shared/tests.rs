use std::{
    collections::HashSet,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use governor::clock::FakeRelativeClock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{script::Script, *};
use crate::{
    chain::{Owner, Role},
    config::{Config, RateLimit},
    limits::{
        Limits, SharedState, check_shared, class::Class, daily::DayCharge, daily::Unreported, party::Party,
    },
    policy::Caller,
    s3::Operation,
};

const NOW: UnixTime = UnixTime::from_seconds(20_000 * 86_400);

fn account(seed: u8) -> AccountId {
    AccountId::from_bytes([seed; 32]).unwrap()
}

fn configured(text: &str) -> config::Limits {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "00".repeat(32)).unwrap();
    let text = format!(
        "bucket.name = \"bucket\"\nstore.endpoint = \"http://127.0.0.1:1\"\nchain.file = \"r.json\"\n\
         session.issue_with = \"a\"\nsession.allow_no_receiver = true\n\
         session.keys = [{{ id = \"a\", file = {:?} }}]\n\
         [limits]\n{text}",
        key.path()
    );
    Config::parse(&text, std::path::Path::new(".")).unwrap_or_else(|errors| panic!("{errors}")).limits
}

/// What the stand-in for Redis does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Answers, with these numbers to scripts.
    Answer([u64; 2]),
    /// Reads, and says nothing.
    Silent,
    /// Refuses every command.
    Refuse,
}

/// A stand-in for Redis that knows no more than is asked here.
struct Fake {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    charges: Arc<AtomicUsize>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, read_manner) = watch::channel(Manner::Answer([0, 0]));
        let (charges, keys) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<HashSet<String>>>::default());
        let count = Arc::clone(&charges);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manner, count, keys) = (read_manner.clone(), Arc::clone(&count), Arc::clone(&keys));
                tokio::spawn(Self::serve(stream, manner, count, keys));
            }
        });
        Self { address, manner, charges }
    }

    async fn serve(
        mut stream: TcpStream,
        manner: watch::Receiver<Manner>,
        charges: Arc<AtomicUsize>,
        keys: Arc<Mutex<HashSet<String>>>,
    ) {
        let mut text = String::new();
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
            while let Some((words, rest)) = command(&text) {
                text = rest;
                let is_trial = words.iter().any(|word| word.ends_with("trial"));
                let answer = match (*manner.borrow(), words[0].as_str()) {
                    (Manner::Silent, _) => continue,
                    (Manner::Refuse, _) => "-READONLY You cannot write\r\n".to_owned(),
                    (Manner::Answer([what, wait]), "EVALSHA") => {
                        charges.fetch_add(usize::from(!is_trial), Ordering::Relaxed);
                        format!("*2\r\n:{what}\r\n:{wait}\r\n")
                    }
                    (Manner::Answer(_), "SET") if !keys.lock().unwrap().insert(words[1].clone()) => {
                        "$-1\r\n".to_owned()
                    }
                    (Manner::Answer(_), _) => "+OK\r\n".to_owned(),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    /// The ledger by these further settings.
    async fn ledger(&self, shared: &str, limits: &str) -> (SharedLedger<FakeRelativeClock>, config::Limits) {
        let limits = configured(&format!(
            "{limits}\n[limits.shared]\nurl = \"redis://{}\"\nwait_milliseconds_max = 300\n{shared}",
            self.address
        ));
        let shared = limits.shared.clone().unwrap();
        let ledger = SharedLedger::start(&limits, &shared, &FakeRelativeClock::default()).unwrap();
        ledger.tried().await;
        (ledger, limits)
    }
}

/// The first command of what has arrived, if it is there, and the rest.
fn command(text: &str) -> Option<(Vec<String>, String)> {
    let (count, mut rest) = text.strip_prefix('*')?.split_once("\r\n")?;
    let mut words = Vec::new();
    for _ in 0..count.parse::<usize>().unwrap() {
        let (length, after) = rest.strip_prefix('$')?.split_once("\r\n")?;
        let length: usize = length.parse().unwrap();
        words.push(after.get(..length)?.to_owned());
        rest = after.get(length + 2..)?;
    }
    Some((words, rest.to_owned()))
}

fn read_by<'a>(party: &'a Party, seed: u8) -> Charge<'a> {
    Charge { principal: account(seed), party, class: Class::Read, day: DayCharge::Request, now: NOW }
}

async fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn s6_what_the_script_answers_is_the_limit_by_its_name() {
    let fake = Fake::start().await;
    let settings = "[limits.miner]\nbytes_per_day_max = 5\n\
        [limits.server]\nreads_per_second = 3\nrequests_per_day_max = 4\nbytes_per_day_max = 6";
    let (ledger, limits) = fake.ledger("", settings).await;
    let parties = Parties::new(&limits);
    let party = parties.at(0).unwrap();
    ledger.charge(&read_by(party, 1)).await.unwrap();
    assert_eq!(fake.charges.load(Ordering::Relaxed), 1);
    for (answer, limit, period, retry_after_seconds) in [
        ([1, 1_500_000], "limits.miner.reads_per_second", Period::Moments, 2),
        ([3, 60], "limits.miner.requests_per_day_max", Period::Day, 60),
        ([5, 60], "limits.miner.bytes_per_day_max", Period::Day, 60),
        ([2, 1_500_000], "limits.server.reads_per_second", Period::Moments, 2),
        ([4, 60], "limits.server.requests_per_day_max", Period::Day, 60),
        ([6, 0], "limits.server.bytes_per_day_max", Period::Day, 1),
    ] {
        fake.manner.send_replace(Manner::Answer(answer));
        let exceeded = ledger.charge(&read_by(party, 1)).await.unwrap_err();
        assert_eq!(exceeded.limit.to_string(), limit);
        assert_eq!((exceeded.period, exceeded.retry_after_seconds), (period, retry_after_seconds));
    }
    assert!(ledger.reporter.link.is_up());
}

#[tokio::test]
async fn s6_an_outage_costs_one_bounded_wait_and_then_a_share_counts() {
    let fake = Fake::start().await;
    let settings = "[limits.miner]\nreads_per_second = 1\nreads_burst = 10\nrequests_per_day_max = 1000";
    let (ledger, limits) = fake.ledger("local_share = 0.5", settings).await;
    let parties = Parties::new(&limits);
    let party = parties.at(0).unwrap();
    ledger.charge(&read_by(party, 1)).await.unwrap();
    fake.manner.send_replace(Manner::Silent);
    let began = Instant::now();
    let charges: Vec<_> = (0..20).map(|_| read_by(party, 1)).collect();
    let outcomes = futures_util::future::join_all(charges.iter().map(|charge| ledger.charge(charge))).await;
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    // From now on nobody waits.
    let began = Instant::now();
    for _ in 0..1000 {
        ledger.charge(&read_by(party, 1)).await.unwrap_err();
    }
    assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
    // What was granted alone is reported once it can be, and what comes then is shared.
    fake.manner.send_replace(Manner::Answer([0, 0]));
    until(|| ledger.reporter.link.is_up()).await;
    let before = fake.charges.load(Ordering::Relaxed);
    ledger.settle(NOW).await;
    ledger.charge(&read_by(party, 1)).await.unwrap();
    assert!(fake.charges.load(Ordering::Relaxed) > before);
    assert_eq!(ledger.reporter.daily.take_unreported(NOW), []);
}

#[tokio::test]
async fn s6_by_setting_an_outage_refuses_and_nonces_are_never_spent_alone() {
    let fake = Fake::start().await;
    let (ledger, limits) = fake.ledger("on_outage = \"refuse\"", "").await;
    let parties = Parties::new(&limits);
    let (party, nonces) = (parties.at(0).unwrap(), ledger.nonces());
    let life = Duration::from_secs(10);
    assert_eq!(nonces.spend(&account(1), "7", life).await, Ok(NonceUse::First));
    assert_eq!(nonces.spend(&account(1), "7", life).await, Ok(NonceUse::Again));
    assert_eq!(nonces.spend(&account(2), "7", life).await, Ok(NonceUse::First));
    fake.manner.send_replace(Manner::Refuse);
    let exceeded = ledger.charge(&read_by(party, 1)).await.unwrap_err();
    assert_eq!((exceeded.limit.scope, exceeded.period), (Scope::Shared, Period::Outage));
    assert_eq!(nonces.spend(&account(1), "8", life).await, Err(Unreachable));
    // A server that lets nobody write is none, however well one can connect to it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!ledger.reporter.link.is_up());
    fake.manner.send_replace(Manner::Answer([0, 0]));
    until(|| ledger.reporter.link.is_up()).await;
    assert_eq!(nonces.spend(&account(1), "8", life).await, Ok(NonceUse::First));
}

#[tokio::test]
async fn s6_limits_that_are_shared_are_counted_and_settled_where_they_are_shared() {
    let fake = Fake::start().await;
    let (_, settings) = fake.ledger("", "").await;
    check_shared(&settings).unwrap();
    let limits = Limits::with_clock(&settings, &FakeRelativeClock::default()).unwrap();
    until(|| limits.shared_state() == SharedState::Connected).await;
    let nonces = limits.shared_nonces().unwrap();
    assert_eq!(*nonces.place(), SharedPlace::of(settings.shared.as_ref().unwrap()));
    let miner =
        Caller { hotkey: account(1), owner: Arc::new(Owner::new(account(1), account(2))), role: Role::Miner };
    let ticket = limits.admit(&miner, Operation::GetObject, NOW).await.unwrap();
    assert_eq!(fake.charges.load(Ordering::Relaxed), 1);
    // Bytes are counted here and reported: once, and by itself at the end.
    ticket.count_bytes(10);
    limits.settle(NOW).await;
    assert_eq!(fake.charges.load(Ordering::Relaxed), 2);
    limits.settle(NOW).await;
    assert_eq!(fake.charges.load(Ordering::Relaxed), 2);
    // By other settings it is the same place, and the same day.
    let after = limits.renewed(&settings);
    assert_eq!(after.shared_nonces().unwrap().place(), nonces.place());
    ticket.count_bytes(10);
    after.settle(NOW).await;
    assert_eq!(fake.charges.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn s6_alone_a_replica_grants_its_share_of_a_day() {
    let limits = configured(
        "[limits.miner]\nrequests_per_day_max = 10\n\
         [limits.shared]\nurl = \"redis://127.0.0.1:1\"\nlocal_share = 0.5",
    );
    let shared = limits.shared.clone().unwrap();
    let ledger = SharedLedger::start(&limits, &shared, &FakeRelativeClock::default()).unwrap();
    let parties = Parties::new(&limits);
    for _ in 0..5 {
        ledger.charge(&read_by(parties.at(0).unwrap(), 1)).await.unwrap();
    }
    let exceeded = ledger.charge(&read_by(parties.at(0).unwrap(), 1)).await.unwrap_err();
    assert_eq!((exceeded.limit.to_string().as_str(), exceeded.max), ("limits.miner.requests_per_day_max", 5));
}

#[tokio::test]
async fn s6_what_was_counted_is_reported_soon_and_for_as_long_as_the_limits_live() {
    let fake = Fake::start().await;
    let (ledger, _) = fake.ledger("", "").await;
    let now = || UnixTime::from(SystemTime::now());
    ledger.reporter.daily.usage(account(1), now())[0].count_bytes(10);
    until(|| fake.charges.load(Ordering::Relaxed) == 1).await;
    let reporter = Arc::clone(&ledger.reporter);
    drop(ledger);
    until(|| Arc::strong_count(&reporter) == 1).await;
}

#[test]
fn s6_each_script_is_the_one_that_its_keys_and_numbers_are_for() {
    for (script, begins) in
        [(Script::Charge, "-- Takes one request"), (Script::Report, "-- Adds what one replica")]
    {
        let text = script.text();
        assert!(text.starts_with(begins) && text.contains("redis.call("), "{text}");
    }
}

#[tokio::test]
async fn p51_no_password_is_shown() {
    let limits = configured("[limits.shared]\nurl = \"redis://127.0.0.1:1\"");
    let password = Some(crate::secret::SecretText::new("hunter2"));
    let shared = SharedLimits { password, ..limits.shared.clone().unwrap() };
    let ledger = SharedLedger::start(&limits, &shared, &FakeRelativeClock::default()).unwrap();
    assert!(!format!("{shared:?}{ledger:?}").contains("hunter2"));
}

#[test]
fn s6_a_charge_names_its_keys_and_numbers() {
    let limits = configured(&format!(
        "[limits.miner]\nreads_per_second = 4\nreads_burst = 5\nrequests_per_day_max = 6\n\
         [limits.server]\nrequests_per_day_max = 7\nbytes_per_day_max = 8\n\
         [[limits.overrides]]\naccount = \"{}\"\n",
        account(2)
    ));
    let parties = Parties::new(&limits);
    let keys = Keys::new("p:");
    let run = keys.charge(&read_by(parties.at(0).unwrap(), 1), &limits.server);
    let one = account(1);
    assert_eq!(
        run.keys,
        [
            format!("p:rate:miner:reads:{one}"),
            "p:rate:server:reads".to_owned(),
            format!("p:day:{one}"),
            "p:day:server".to_owned(),
        ]
    );
    assert_eq!(run.arguments, ["250000.000000", "5", "0.000000", "1000", "requests", "6", "-1", "7", "8"]);
    let of_override = keys.charge(&read_by(parties.at(3).unwrap(), 2), &limits.server);
    assert_eq!(of_override.keys[0], format!("p:rate:override-validator:reads:{}", account(2)));
    assert_eq!(keys.nonce(&one, "7"), format!("p:nonce:{one}:7"));
    let used = Unreported { requests: 1, vended_requests: 2, bytes: 3 };
    let run = keys.report(&[(Some(one), used), (None, used)]);
    assert_eq!(run.keys, [format!("p:day:{one}"), "p:day:server".to_owned()]);
    assert_eq!(run.arguments, ["1", "2", "3", "1", "2", "3"]);
}

#[test]
fn s6_a_share_is_of_rates_and_days_alone() {
    let limits = configured(&format!(
        "[limits.miner]\nreads_per_second = 9\nreads_burst = 1\nwrites_per_second = 40\nwrites_burst = 80\n\
         lists_per_second = 400\nlists_burst = 800\ncontrols_per_second = \"none\"\ncontrols_burst = 20\n\
         requests_under_way_max = 8\nbytes_per_day_max = 4000\nvended_requests_per_day_max = 40\n\
         [limits.server]\nrequests_per_day_max = 400\n\
         [[limits.overrides]]\naccount = \"{}\"\nrequests_per_day_max = 80\n\
         [limits.shared]\nurl = \"redis://127.0.0.1\"\nlocal_share = 0.25",
        account(1)
    ));
    let Some(SharedLimits { on_outage: OnOutage::Local(share), .. }) = limits.shared else { panic!() };
    let parties = Parties::with_share(&limits, share);
    let miner = &parties.at(0).unwrap().limits;
    let rate = |per_second, burst| RateLimit {
        per_second: NonZeroU32::new(per_second),
        burst: NonZeroU32::new(burst).unwrap(),
    };
    assert_eq!((miner.reads, miner.writes), (rate(2, 1), rate(10, 20)));
    assert_eq!((miner.lists, miner.controls), (rate(100, 200), rate(0, 5)));
    assert_eq!((miner.requests_under_way_max, miner.requests_per_day_max), (Some(8), Some(250_000)));
    assert_eq!((miner.bytes_per_day_max, miner.vended_requests_per_day_max), (Some(1000), Some(10)));
    assert_eq!(parties.server().requests_per_day_max, Some(100));
    assert_eq!(parties.at(2).unwrap().limits.requests_per_day_max, Some(20));
    assert_eq!(parties.at(1).unwrap().role, Role::Validator);
}
