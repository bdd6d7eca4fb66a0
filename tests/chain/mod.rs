//! The live snapshot before a scripted node: what the chain says counts, and what a broken node says does
//! not.

mod cli;
pub(crate) mod serving;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use subgate::chain::{
    AccountId, BlockHash, ChainWatcher, ExpectedGenesis, NotValidator, Role, Snapshot, SubtensorSettings,
    ValidatorRule, read_once,
};

use crate::harness::{
    client::PATIENCE,
    node::{self, GENESIS, Manner, NETUID, Neuron, Node},
    tls,
};

fn settings(endpoints: &[String]) -> SubtensorSettings {
    SubtensorSettings {
        endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
        netuid: NETUID,
        genesis: ExpectedGenesis::Hash(BlockHash(GENESIS)),
        ca_file: None,
        refresh_seconds: 1,
        snapshot_file: None,
        quorum: 1,
        collapse_share_max: 0.5,
        validator: ValidatorRule::default(),
        stale_seconds_max: 900,
    }
}

async fn start(endpoints: &[String]) -> ChainWatcher {
    ChainWatcher::start(settings(endpoints)).await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_block(live: &ChainWatcher, block: u64) {
    until(&format!("block {block}"), || live.snapshot().block() == Some(block)).await;
}

async fn until_counted(live: &ChainWatcher, what: &str, times: u64) {
    until(what, || live.counters().get(what).is_some_and(|count| *count >= times)).await;
}

fn account(key: [u8; 32]) -> AccountId {
    AccountId::from_bytes(key).unwrap()
}

fn fresh(id: u8) -> Neuron {
    Neuron { hotkey: [id; 32], coldkey: [id ^ 0x80; 32], permit: true, stake_rao: 20_000_000_000_000 }
}

fn role(snapshot: &Snapshot, hotkey: [u8; 32]) -> Option<Role> {
    snapshot.neuron(&account(hotkey)).map(|neuron| ValidatorRule::default().role(neuron))
}

#[tokio::test]
async fn p38_the_chain_decides_from_the_next_refresh_on_over_http_and_websocket() {
    for over_ws in [false, true] {
        let node = Node::start().await;
        let live = start(&[if over_ws { node.ws() } else { node.http() }]).await;
        let first = live.snapshot();
        assert_eq!((first.len(), first.permits(), first.block()), (256, 64, Some(100)));
        assert_eq!(first.validators(&ValidatorRule::default()), 64);
        let origin = first.origin.clone().unwrap();
        assert_eq!((origin.spec_version, origin.genesis), (300, BlockHash(GENESIS)));
        assert!(!origin.source.contains("secret"), "{}", origin.source);

        // Deregistration, coldkey swap, lost permit, all in one block.
        let (gone, swapped, demoted) = {
            let mut script = node.script();
            script.block = 101;
            let neurons = &mut script.neurons;
            let gone = std::mem::replace(&mut neurons[200], fresh(7)).hotkey;
            neurons[201].coldkey = [8; 32];
            let demoted =
                neurons.iter_mut().find(|neuron| neuron.permit && neuron.hotkey != [7; 32]).unwrap();
            demoted.permit = false;
            let demoted = demoted.hotkey;
            (gone, neurons[201].hotkey, demoted)
        };
        until_block(&live, 101).await;
        let now = live.snapshot();
        assert_eq!((role(&now, gone), role(&now, [7; 32])), (None, Some(Role::Validator)));
        assert_eq!(now.neuron(&account(swapped)).unwrap().coldkey, account([8; 32]));
        assert_eq!(role(&now, demoted), Some(Role::Miner));
        // One connection, one look at the genesis; over HTTP nobody knows who answers the next time.
        assert_eq!(node.calls("chain_getBlockHash") == 1, over_ws);
        assert_eq!(node.calls("state_call"), 2);
    }
}

#[tokio::test]
async fn recorded_answers_are_understood_as_they_are() {
    // The very bytes of a runtime, with its own fields after 69.
    let node = Node::start().await;
    let recorded = node::recording().into_iter().find(|call| call["method"] == "state_call").unwrap();
    let bytes = hex::decode(recorded["result"].as_str().unwrap().trim_start_matches("0x")).unwrap();
    node.script().lie = Some(bytes);
    let snapshot = read_once(&settings(&[node.http()])).await.unwrap();
    assert_eq!((snapshot.len(), snapshot.permits()), (256, 64));
    // Both ways of reading say the same, but for the stake.
    node.script().refuses_metagraph = true;
    let stored = read_once(&settings(&[node.http()])).await.unwrap();
    for neuron in snapshot.neurons() {
        let other = stored.neuron(&neuron.hotkey).unwrap();
        assert_eq!((neuron.uid, neuron.coldkey), (other.uid, other.coldkey));
        assert_eq!(neuron.validator_permit, other.validator_permit);
        let refused = ValidatorRule::default().refuses(other);
        assert!(matches!(refused, Some(NotValidator::NoPermit | NotValidator::StakeUnknown)));
    }
}

#[tokio::test]
async fn a_runtime_upgrade_in_mid_run_changes_nothing_or_falls_back_to_the_storage() {
    let node = Node::start().await;
    let live = start(&[node.http()]).await;
    {
        let mut script = node.script();
        (script.block, script.spec_version) = (101, 461);
        script.appended = vec![1; 5000];
    }
    until_block(&live, 101).await;
    assert_eq!(live.snapshot().origin.clone().unwrap().spec_version, 461);
    assert_eq!(live.snapshot().len(), 256);
    // A later one takes the call away: the storage is read, and the last known stakes stand.
    {
        let mut script = node.script();
        (script.block, script.spec_version, script.refuses_metagraph) = (102, 462, true);
        script.neurons[255] = fresh(9);
    }
    until_block(&live, 102).await;
    let now = live.snapshot();
    assert_eq!((now.permits(), now.len()), (65, 256));
    assert_eq!(now.validators(&ValidatorRule::default()), 64);
    assert_eq!(role(&now, [9; 32]), Some(Role::Undecided));
}

/// After `spoil` the snapshot stays as it is, that is counted as `kind`, and afterwards the chain counts
/// again.
async fn check_kept(kind: &str, spoil: impl FnOnce(&mut node::Script)) {
    let node = Node::start().await;
    let live = start(&[node.http()]).await;
    let before = live.snapshot();
    {
        let mut script = node.script();
        script.block = 101;
        spoil(&mut script);
    }
    until_counted(&live, kind, 1).await;
    let kept = live.snapshot();
    assert_eq!((kept.block(), kept.len(), kept.taken_at), (Some(100), 256, before.taken_at), "{kind}");
    assert!(live.last_error().is_some(), "{kind}");
    {
        let mut script = node.script();
        script.block = 110;
        script.genesis = GENESIS;
        (script.lie, script.manner, script.fork) = (None, Manner::Answer, 0);
        script.neurons = node::recorded_neurons();
    }
    until_block(&live, 110).await;
    assert_eq!(live.last_error(), None, "{kind}");
}

#[tokio::test]
async fn p38_lies_keep_the_last_snapshot() {
    let with = |change: fn(&mut Vec<Neuron>)| {
        let mut neurons = node::recorded_neurons();
        change(&mut neurons);
        Some(node::encode(101, &neurons, &[]))
    };
    let zero_hotkey = with(|neurons| neurons[3].hotkey = [0; 32]);
    let zero_coldkey = with(|neurons| neurons[3].coldkey = [0; 32]);
    let twice = with(|neurons| neurons[3].hotkey = neurons[4].hotkey);
    let empty = with(Vec::clear);
    let mut length = with(|_| {}).unwrap();
    // The length of the hotkeys (256 as two bytes, before the first of them) says more than there is.
    let first = node::recorded_neurons()[0].hotkey;
    let at = length.windows(32).position(|window| window == first).unwrap();
    length[at - 1] = 0x3f;
    let half = with(|_| {}).map(|bytes| bytes[..bytes.len() / 2].to_vec());
    tokio::join!(
        check_kept("zero_key", |script| script.lie = zero_hotkey),
        check_kept("zero_key", |script| script.lie = zero_coldkey),
        check_kept("duplicate_hotkey", |script| script.lie = twice),
        check_kept("empty", |script| script.lie = empty),
        check_kept("undecodable", |script| script.lie = Some(length)),
        check_kept("undecodable", |script| script.lie = half),
        check_kept("undecodable", |script| script.manner = Manner::Babble),
        check_kept("wrong_genesis", |script| script.genesis = [1; 32]),
        check_kept("no_subnet", |script| script.lie = Some(vec![0])),
        check_kept("unreachable", |script| script.manner = Manner::Drop),
        check_kept("block_back", |script| (script.block, script.fork) = (100, 1)),
        check_kept("block_back", |script| script.block = 99),
    );
}

#[tokio::test]
async fn another_chain_is_never_believed() {
    let node = Node::start().await;
    node.script().genesis = [1; 32];
    let fault = read_once(&settings(&[node.ws()])).await.unwrap_err().join("\n");
    assert!(fault.contains("another chain") && fault.contains("0x0101") && fault.contains("chain.genesis"));
    let any = SubtensorSettings { genesis: ExpectedGenesis::Any, ..settings(&[node.ws()]) };
    assert_eq!(read_once(&any).await.unwrap().len(), 256);
}

#[tokio::test]
async fn a_node_that_fails_is_left_for_the_next() {
    let (first, second) = (Node::start().await, Node::start().await);
    let live = start(&[first.ws(), second.http()]).await;
    assert_eq!(second.calls("state_call"), 0);
    first.script().manner = Manner::Drop;
    second.script().block = 105;
    until_block(&live, 105).await;
    // Back again, but behind: not believed, and the second goes on.
    first.script().manner = Manner::Answer;
    second.script().manner = Manner::Drop;
    until_counted(&live, "block_back", 1).await;
    assert_eq!(live.snapshot().block(), Some(105));
    first.script().block = 106;
    until_block(&live, 106).await;
}

#[tokio::test]
async fn a_rate_limit_is_respected_and_waited_out() {
    for over_ws in [false, true] {
        let node = Node::start().await;
        let live = start(&[if over_ws { node.ws() } else { node.http() }]).await;
        {
            let mut script = node.script();
            script.block = 101;
            script.manner = Manner::Throttle { seconds: 1, times: 2 };
        }
        until_block(&live, 101).await;
        assert!(!live.counters().contains_key("throttled"));
    }
    // One that lasts is a fault of this endpoint, which then is left alone for as long as it wants.
    let node = Node::start().await;
    let live = start(&[node.http()]).await;
    node.script().manner = Manner::Throttle { seconds: 30, times: u32::MAX };
    until_counted(&live, "throttled", 1).await;
    node.script().manner = Manner::Answer;
    let calls = node.calls("chain_getFinalizedHead");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(node.calls("chain_getFinalizedHead"), calls);
}

#[tokio::test]
async fn p38_endpoints_are_asked_at_each_refresh_while_the_snapshot_is_too_old() {
    let node = Node::start().await;
    let settings = SubtensorSettings { stale_seconds_max: 1, ..settings(&[node.http()]) };
    let live = ChainWatcher::start(settings).await.unwrap();
    node.script().manner = Manner::Drop;
    // By their failures alone they would be asked after 2, 4, 8 and 16 s.
    let begun = std::time::Instant::now();
    until_counted(&live, "unreachable", 8).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    {
        let mut script = node.script();
        (script.manner, script.block) = (Manner::Answer, 101);
    }
    let back = std::time::Instant::now();
    until_block(&live, 101).await;
    assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
}

#[tokio::test]
async fn nodes_over_tls_are_known_by_the_system_or_by_a_file() {
    let node = Node::start().await;
    let tls = tls::before(node.address).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.crt");
    std::fs::write(&path, tls::CERTIFICATE).unwrap();
    for scheme in ["https", "wss"] {
        let strict = settings(&[format!("{scheme}://{tls}")]);
        let fault = read_once(&strict).await.unwrap_err().join("\n");
        assert!(fault.contains("certificate"), "{fault}");
        let trusting = SubtensorSettings { ca_file: Some(path.clone()), ..strict };
        assert_eq!(read_once(&trusting).await.unwrap().len(), 256);
        let missing = SubtensorSettings { ca_file: Some(dir.path().join("none")), ..trusting };
        let fault = read_once(&missing).await.unwrap_err().join("\n");
        assert!(fault.starts_with("chain.ca_file: "), "{fault}");
        assert!(ChainWatcher::start(missing).await.is_err());
    }
}

#[tokio::test]
async fn p38_a_node_that_stands_still_makes_nothing_younger() {
    let node = Node::start().await;
    let live = start(&[node.http()]).await;
    let taken_at = live.snapshot().taken_at;
    until_counted(&live, "unchanged", 2).await;
    assert_eq!(live.snapshot().taken_at, taken_at);
    assert_eq!(node.calls("state_call"), 1);
}

#[tokio::test]
async fn a_collapse_is_held_until_a_second_read_says_so_as_well() {
    let node = Node::start().await;
    let live = start(&[node.http()]).await;
    {
        let mut script = node.script();
        script.block = 101;
        script.neurons.truncate(100);
    }
    until_counted(&live, "collapse", 2).await;
    // The same read again is no second one.
    assert_eq!((live.snapshot().len(), live.snapshot().block()), (256, Some(100)));
    node.script().block = 102;
    until_block(&live, 102).await;
    assert_eq!(live.snapshot().len(), 100);
    // A lie that is taken back leaves nothing behind.
    {
        let mut script = node.script();
        script.block = 103;
        script.neurons.truncate(10);
    }
    until_counted(&live, "collapse", 3).await;
    {
        let mut script = node.script();
        script.block = 104;
        script.neurons = node::recorded_neurons();
    }
    until_block(&live, 104).await;
    assert_eq!(live.snapshot().len(), 256);
}

#[tokio::test]
async fn a_quorum_is_asked_for_new_rights_and_never_for_losses() {
    let (first, second) = (Node::start().await, Node::start().await);
    let quorum = SubtensorSettings { quorum: 2, ..settings(&[first.http(), second.ws()]) };
    let live = ChainWatcher::start(quorum).await.unwrap();
    assert_eq!(live.snapshot().len(), 256);
    // The first node invents a validator, and takes a miner away: nobody gains, and the miner is gone.
    let gone = {
        let (mut first, mut second) = (first.script(), second.script());
        (first.block, second.block) = (101, 101);
        first.neurons.push(fresh(9));
        first.neurons.remove(1).hotkey
    };
    until_block(&live, 101).await;
    assert_eq!((role(&live.snapshot(), [9; 32]), role(&live.snapshot(), gone)), (None, None));
    assert!(live.counters().contains_key("grants_withheld"));
    // When the second says so too, it is so.
    {
        let (mut first, mut second) = (first.script(), second.script());
        second.neurons.clone_from(&first.neurons);
        (first.block, second.block) = (102, 102);
    }
    until_block(&live, 102).await;
    assert_eq!(role(&live.snapshot(), [9; 32]), Some(Role::Validator));
    // With the second away losses still count, and gains wait.
    second.script().manner = Manner::Drop;
    let gone = {
        let mut script = first.script();
        script.block += 1;
        script.neurons.push(fresh(10));
        script.neurons.remove(0).hotkey
    };
    until_block(&live, 103).await;
    assert_eq!((role(&live.snapshot(), gone), role(&live.snapshot(), [10; 32])), (None, None));
    assert_eq!(role(&live.snapshot(), [9; 32]), Some(Role::Validator));
}

fn on_disk(endpoint: String, path: &Path) -> SubtensorSettings {
    SubtensorSettings { snapshot_file: Some(path.to_owned()), ..settings(&[endpoint]) }
}

#[tokio::test]
async fn p38_a_restart_with_the_chain_down_serves_at_once_with_the_true_age() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain-snapshot.json");
    let node = Node::start().await;
    let live = ChainWatcher::start(on_disk(node.http(), &path)).await.unwrap();
    let taken_at = live.snapshot().taken_at;
    until("the file", || path.exists()).await;
    drop(live);
    node.script().manner = Manner::Drop;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let begun = std::time::Instant::now();
    let live = ChainWatcher::start(on_disk(node.http(), &path)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
    let snapshot = live.snapshot();
    assert_eq!((snapshot.len(), snapshot.block(), snapshot.taken_at), (256, Some(100), taken_at));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(snapshot.age_seconds(now) >= 1);
    drop(live);
    // A snapshot of another chain or subnet, or a damaged one, is none.
    for other in [
        SubtensorSettings { netuid: 14, ..on_disk(node.http(), &path) },
        SubtensorSettings {
            genesis: ExpectedGenesis::Hash(BlockHash([1; 32])),
            ..on_disk(node.http(), &path)
        },
    ] {
        assert!(ChainWatcher::start(other).await.unwrap().snapshot().is_empty());
    }
    let damaged = std::fs::read_to_string(&path).unwrap().replace("true", "false");
    std::fs::write(&path, damaged).unwrap();
    let live = ChainWatcher::start(on_disk(node.http(), &path)).await.unwrap();
    assert!(live.snapshot().is_empty() && live.snapshot().taken_at == 0);
    node.script().manner = Manner::Answer;
    until_block(&live, 100).await;
}

#[tokio::test]
async fn a_subnet_of_4096_neurons_is_read_either_way() {
    let node = Node::start().await;
    {
        let mut script = node.script();
        script.neurons = (1..=4096_u32)
            .map(|id| {
                let mut key = [7; 32];
                key[..4].copy_from_slice(&id.to_le_bytes());
                Neuron { hotkey: key, coldkey: [3; 32], permit: id % 64 == 0, stake_rao: u64::MAX }
            })
            .collect();
    }
    for (endpoint, refuses) in [(node.http(), false), (node.ws(), false), (node.http(), true)] {
        node.script().refuses_metagraph = refuses;
        let snapshot = read_once(&settings(&[endpoint])).await.unwrap();
        assert_eq!((snapshot.len(), snapshot.permits(), snapshot.coldkeys()), (4096, 64, 1));
    }
    let one_more = Neuron { hotkey: [1; 32], ..node.script().neurons[0].clone() };
    node.script().neurons.push(one_more);
    for refuses in [false, true] {
        node.script().refuses_metagraph = refuses;
        assert!(read_once(&settings(&[node.http()])).await.is_err());
    }
}
