use std::time::Duration;

use governor::clock::FakeRelativeClock;

use super::*;
use crate::{
    chain::{Owner, Role},
    config::Config,
};

const NOW: UnixTime = UnixTime::from_seconds(20_000 * 86_400);

fn account(seed: u8) -> AccountId {
    AccountId::from_bytes([seed; 32]).unwrap()
}

fn caller(hotkey: u8, coldkey: u8, role: Role) -> Caller {
    let (hotkey, coldkey) = (account(hotkey), account(coldkey));
    Caller { hotkey, owner: Arc::new(Owner::new(hotkey, coldkey)), role }
}

fn miner(hotkey: u8) -> Caller {
    caller(hotkey, 100 + hotkey, Role::Miner)
}

/// The settings of a `[limits]` section.
pub(super) fn settings(text: &str) -> config::Limits {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "00".repeat(32)).unwrap();
    let text = format!(
        "bucket.name = \"bucket\"\nstore.endpoint = \"http://127.0.0.1:1\"\nchain.file = \"r.json\"\n\
         session.issue_with = \"a\"\nsession.allow_no_receiver = true\n\
         session.keys = [{{ id = \"a\", file = {:?} }}]\n\
         [limits]\n{text}",
        key.path()
    );
    Config::parse(&text, std::path::Path::new(".")).unwrap().limits
}

/// Limits by the text of a `[limits]` section.
fn limits(text: &str) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Limits::with_clock(&settings(text), &clock).unwrap(), clock)
}

fn admit(
    limits: &Limits<FakeRelativeClock>,
    caller: &Caller,
    operation: Operation,
) -> Result<Ticket, Exceeded> {
    block_on(limits.admit(caller, operation, NOW))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The setting that refuses.
fn refused(result: Result<Ticket, Exceeded>) -> String {
    result.unwrap_err().limit.to_string()
}

#[test]
fn s6_each_class_has_its_rate_and_each_principal_its_own() {
    let (limits, clock) = limits("[limits.miner]\nreads_per_second = 2\nreads_burst = 3");
    for _ in 0..3 {
        admit(&limits, &miner(1), Operation::GetObject).unwrap();
    }
    let exceeded = admit(&limits, &miner(1), Operation::HeadObject).unwrap_err();
    assert_eq!(exceeded.limit.to_string(), "limits.miner.reads_per_second");
    assert_eq!((exceeded.max, exceeded.retry_after_seconds), (2, 1));
    admit(&limits, &miner(1), Operation::ListObjectsV2).unwrap();
    admit(&limits, &miner(1), Operation::PutObject).unwrap();
    admit(&limits, &miner(2), Operation::GetObject).unwrap();
    admit(&limits, &caller(3, 103, Role::Validator), Operation::GetObject).unwrap();
    clock.advance(Duration::from_millis(500));
    admit(&limits, &miner(1), Operation::GetObject).unwrap();
    assert_eq!(refused(admit(&limits, &miner(1), Operation::GetObject)), "limits.miner.reads_per_second");
}

#[test]
fn s6_what_is_under_way_is_bounded_until_the_last_ticket_is_gone() {
    let (limits, _) = limits("[limits.miner]\nrequests_under_way_max = 2");
    let first = admit(&limits, &miner(1), Operation::GetObject).unwrap();
    let second = admit(&limits, &miner(1), Operation::PutObject).unwrap();
    let of_body = second.clone();
    let third = || admit(&limits, &miner(1), Operation::GetObject);
    assert_eq!(refused(third()), "limits.miner.requests_under_way_max");
    drop(second);
    assert_eq!(refused(third()), "limits.miner.requests_under_way_max");
    admit(&limits, &miner(2), Operation::GetObject).unwrap();
    drop(of_body);
    third().unwrap();
    drop(first);
}

#[test]
fn s6_the_server_has_a_total() {
    let (limits, _) = limits(
        "[limits.server]\nrequests_under_way_max = 3\nwrites_per_second = 1\nwrites_burst = 2\n\
         requests_per_day_max = 5",
    );
    let held: Vec<_> =
        (1..=3).map(|seed| admit(&limits, &miner(seed), Operation::GetObject).unwrap()).collect();
    assert_eq!(
        refused(admit(&limits, &miner(4), Operation::GetObject)),
        "limits.server.requests_under_way_max"
    );
    drop(held);
    for seed in 1..=2 {
        admit(&limits, &miner(seed), Operation::PutObject).unwrap();
    }
    assert_eq!(refused(admit(&limits, &miner(3), Operation::PutObject)), "limits.server.writes_per_second");
    assert_eq!(
        refused(admit(&limits, &miner(3), Operation::GetObject)),
        "limits.server.requests_per_day_max"
    );
}

#[test]
fn s6_overrides_count_for_a_hotkey_or_all_of_a_coldkey() {
    let ss58 = |seed| account(seed).to_ss58();
    let (limits, _) = limits(&format!(
        "[limits.miner]\nlists_burst = 1\nlists_per_second = 1\nreads_burst = 1\nreads_per_second = 1\n\
         [[limits.overrides]]\naccount = \"{}\"\nlists_burst = 3\n\
         [[limits.overrides]]\naccount = \"{}\"\nlists_per_second = \"none\"",
        ss58(1),
        ss58(50)
    ));
    let lists = |caller: &Caller| {
        (0..10).take_while(|_| admit(&limits, caller, Operation::ListObjects).is_ok()).count()
    };
    // The hotkey's own comes before its coldkey's, and what it leaves out is the role's.
    assert_eq!(lists(&caller(1, 50, Role::Miner)), 3);
    assert_eq!(
        refused(admit(&limits, &caller(1, 50, Role::Miner), Operation::ListObjects)),
        "limits.overrides.lists_per_second"
    );
    admit(&limits, &caller(1, 50, Role::Miner), Operation::GetObject).unwrap();
    assert_eq!(
        refused(admit(&limits, &caller(1, 50, Role::Miner), Operation::GetObject)),
        "limits.overrides.reads_per_second"
    );
    assert_eq!(lists(&caller(2, 50, Role::Miner)), 10);
    assert_eq!(lists(&caller(3, 51, Role::Miner)), 1);
}

#[test]
fn s6_by_setting_the_hotkeys_of_a_coldkey_are_one() {
    let setting = "[limits.miner]\nreads_burst = 2\nreads_per_second = 1";
    let (apart, _) = limits(setting);
    let (together, _) = limits(&format!("principal = \"coldkey\"\n{setting}"));
    let reads = |limits: &Limits<_>| {
        let callers = [caller(1, 50, Role::Miner), caller(2, 50, Role::Miner)];
        callers.iter().cycle().take(10).filter(|who| admit(limits, who, Operation::GetObject).is_ok()).count()
    };
    assert_eq!((reads(&apart), reads(&together)), (4, 2));
}

#[test]
fn s6_a_day_of_bytes_is_counted_as_they_flow() {
    let (limits, _) = limits("[limits.miner]\nbytes_per_day_max = 1000");
    let ticket = admit(&limits, &miner(1), Operation::GetObject).unwrap();
    ticket.count_bytes(999);
    let ticket = admit(&limits, &miner(1), Operation::GetObject).unwrap();
    ticket.count_bytes(1);
    let exceeded = admit(&limits, &miner(1), Operation::GetObject).unwrap_err();
    assert_eq!(
        (exceeded.limit.to_string().as_str(), exceeded.period),
        ("limits.miner.bytes_per_day_max", Period::Day)
    );
    assert_eq!(exceeded.retry_after_seconds, 86_400);
    admit(&limits, &miner(2), Operation::GetObject).unwrap();
    // What gives room back is allowed all the same (P37).
    admit(&limits, &miner(1), Operation::AbortMultipartUpload).unwrap();
}

#[test]
fn s6_bytes_under_way_are_bounded_and_one_transfer_may_always_go() {
    let (limits, _) = limits("[limits.miner]\nbytes_under_way_max = 1000");
    let ticket = || admit(&limits, &miner(1), Operation::PutObject).unwrap();
    let large = ticket();
    large.hold_bytes(5000).unwrap();
    let exceeded = ticket().hold_bytes(1).unwrap_err();
    assert_eq!(exceeded.limit.to_string(), "limits.miner.bytes_under_way_max");
    admit(&limits, &miner(2), Operation::PutObject).unwrap().hold_bytes(1000).unwrap();
    drop(large);
    let small = ticket();
    small.hold_bytes(600).unwrap();
    small.hold_bytes(400).unwrap();
    ticket().hold_bytes(1).unwrap_err();
}

#[test]
fn s6_older_endpoints_have_daily_numbers_of_their_own() {
    let (limits, _) = limits(
        "[limits.miner]\nvended_requests_per_day_max = 2\ncontrols_per_second = \"none\"\n\
         requests_per_day_max = 3",
    );
    let ask = |endpoint| block_on(limits.admit_to(&miner(1), endpoint, NOW));
    ask(Endpoint::FolderAccess).unwrap();
    ask(Endpoint::FolderAccess).unwrap();
    let exceeded = ask(Endpoint::FolderAccess).unwrap_err();
    assert_eq!(exceeded.limit.to_string(), "limits.miner.vended_requests_per_day_max");
    assert_eq!((exceeded.max, exceeded.period), (2, Period::Day));
    // These count as requests of S3.
    ask(Endpoint::FileUrls).unwrap();
    ask(Endpoint::Session).unwrap();
    admit(&limits, &miner(1), Operation::GetObject).unwrap();
    assert_eq!(ask(Endpoint::FileUrls).unwrap_err().limit.to_string(), "limits.miner.requests_per_day_max");
}

#[test]
fn s6_the_defaults_fit_a_miners_day_and_a_validator_of_250_miners() {
    let (limits, clock) = limits("");
    // A cycle every two hours of a twelfth of 110,000 files, each with a HEAD after it, as fast as it goes.
    let mut seconds = 0;
    for file in 0..9_167 {
        for operation in [Operation::PutObject, Operation::HeadObject] {
            while let Err(exceeded) = admit(&limits, &miner(1), operation) {
                assert_eq!(exceeded.period, Period::Moments, "{file}");
                clock.advance(Duration::from_secs(1));
                seconds += 1;
            }
        }
    }
    assert!(seconds < 300, "{seconds}");
    // 250 miners with 110 pages each, and 100 files of each read.
    let (limits, clock) = self::limits("");
    let validator = caller(9, 109, Role::Validator);
    let mut seconds = 0;
    for operation in [vec![Operation::ListObjectsV2; 27_500], vec![Operation::GetObject; 25_000]].concat() {
        while let Err(exceeded) = admit(&limits, &validator, operation) {
            assert_eq!(exceeded.period, Period::Moments);
            clock.advance(Duration::from_secs(1));
            seconds += 1;
        }
    }
    assert!(seconds < 600, "{seconds}");
}

/// How often a caller may list at once.
fn lists(limits: &Limits<FakeRelativeClock>, caller: &Caller) -> usize {
    (0..100).take_while(|_| admit(limits, caller, Operation::ListObjects).is_ok()).count()
}

/// Settings by which miners and validators list so often at once, and these accounts.
fn of_lists(miner: u32, validator: u32, overrides: &[(u8, u32)]) -> String {
    let rate = |burst: u32| format!("lists_per_second = 1\nlists_burst = {burst}\n");
    let mut text = format!("[limits.miner]\n{}[limits.validator]\n{}", rate(miner), rate(validator));
    for (seed, burst) in overrides {
        let account = account(*seed).to_ss58();
        text.push_str(&format!("[[limits.overrides]]\naccount = \"{account}\"\n{}", rate(*burst)));
    }
    text
}

#[test]
fn s6_under_other_settings_each_has_spent_what_it_has_spent() {
    let (before, _) = limits(&of_lists(10, 20, &[(5, 30)]));
    let (one, two) = (miner(1), miner(2));
    let validator = caller(3, 103, Role::Validator);
    let (special, special_validator) = (miner(5), caller(5, 105, Role::Validator));
    for (caller, times) in [(&one, 6), (&validator, 3), (&special, 7), (&special_validator, 2)] {
        (0..times).for_each(|_| drop(admit(&before, caller, Operation::ListObjects).unwrap()));
    }
    let after = before.renewed(&settings(&of_lists(8, 19, &[(5, 29)])));
    let left = [&one, &two, &validator, &special, &special_validator].map(|caller| lists(&after, caller));
    assert_eq!(left, [2, 8, 16, 22, 27]);
}

#[test]
fn s6_an_override_that_comes_or_goes_gives_nobody_a_new_burst() {
    let callers = [miner(1), caller(1, 101, Role::Validator), miner(2), caller(2, 102, Role::Validator)];
    let spend = |limits: &Limits<_>| {
        for (caller, times) in callers.iter().zip([6, 4, 3, 2]) {
            (0..times).for_each(|_| drop(admit(limits, caller, Operation::ListObjects).unwrap()));
        }
    };
    let with = of_lists(10, 20, &[(1, 30)]);
    let without = of_lists(10, 20, &[]);
    // One account, in each of its roles, gets other limits or loses them; the other one is as it was.
    for (first, then, left) in [(&with, &without, [4, 16, 7, 18]), (&without, &with, [24, 26, 7, 18])] {
        let (before, _) = limits(first);
        spend(&before);
        let after = before.renewed(&settings(then));
        assert_eq!(callers.each_ref().map(|caller| lists(&after, caller)), left);
    }
}

#[test]
fn s6_what_is_held_stays_held_under_other_settings() {
    let (before, _) = limits("[limits.miner]\nrequests_under_way_max = 3\nbytes_under_way_max = 1000");
    let held = admit(&before, &miner(1), Operation::PutObject).unwrap();
    held.hold_bytes(900).unwrap();
    let after = before.renewed(&settings(
        "[limits.miner]\nrequests_under_way_max = 2\nbytes_under_way_max = 950\nbuffered_bytes_max = 4194304",
    ));
    assert_eq!(after.requests_under_way(), [(account(1), 1)]);
    let second = admit(&after, &miner(1), Operation::PutObject).unwrap();
    assert_eq!(second.hold_bytes(51).unwrap_err().limit.to_string(), "limits.miner.bytes_under_way_max");
    assert_eq!(
        refused(admit(&after, &miner(1), Operation::GetObject)),
        "limits.miner.requests_under_way_max"
    );
    let mut buffered = after.buffer(&second).unwrap();
    buffered.grow((4 << 20) - 4096).unwrap();
    assert_eq!(buffered.grow(1).unwrap_err().limit.to_string(), "limits.miner.buffered_bytes_max");
    drop((held, second, buffered));
    assert!(after.requests_under_way().is_empty() && before.requests_under_way().is_empty());
}

#[test]
fn p17_an_address_is_charged_for_what_is_refused_and_for_false_signatures_apart() {
    let (limits, clock) = limits(
        "[limits.address]\nrequests_per_second = 1\nrequests_burst = 3\n\
         signature_failures_per_second = 1\nsignature_failures_burst = 2",
    );
    let sender = |host: u8| Sender::at([10, 0, 0, host].into());
    // One more than the burst, and nothing is left.
    (0..4).for_each(|_| limits.charge_request(sender(1)));
    (0..3).for_each(|_| limits.charge_signature(sender(2)));
    let requests = limits.check_requests(sender(1)).unwrap_err();
    assert_eq!(requests.limit.to_string(), "limits.address.requests_per_second");
    limits.check_signatures(sender(1)).unwrap();
    let signatures = limits.check_signatures(sender(2)).unwrap_err();
    assert_eq!(signatures.limit.to_string(), "limits.address.signature_failures_per_second");
    limits.check_requests(sender(2)).unwrap();
    // Other settings forgive nobody.
    let after = limits.renewed(&settings("[limits.address]\nrequests_per_second = 50"));
    after.check_requests(sender(1)).unwrap_err();
    after.check_signatures(sender(2)).unwrap_err();
    clock.advance(Duration::from_secs(1));
    limits.check_requests(sender(1)).unwrap();
    limits.check_signatures(sender(2)).unwrap();
}

#[test]
fn without_a_place_to_share_nothing_is_shared() {
    let (limits, _) = limits("");
    assert_eq!(limits.shared_state(), SharedState::NotShared);
    assert!(limits.shared_nonces().is_none());
    check_shared(&settings("")).unwrap();
}
