//! `subgate chain status` and `subgate chain who`: the snapshot, and what it says of one address, for a person.
//!
//! With a configuration file it is the snapshot of the server of that file as long as it is fresh on disk; otherwise,
//! and without a file, the chain is read once.

use std::{path::PathBuf, time::SystemTime};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    fault::{Exit, Fault},
    out,
    serve::{load, runtime},
};
use crate::{
    chain::{
        AccountId, ChainEndpoint, ExpectedGenesis, FINNEY_ENDPOINT, Neuron, RegistryFile, Snapshot,
        SubtensorSettings, ValidatorRule, read_once, stored_snapshot,
    },
    config::{self, ChainSource},
};

/// A server that runs has put a snapshot on disk within so many of its refreshes.
const REFRESHES_FRESH: u64 = 3;

/// What is asked of the chain.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the snapshot: age, block, counts
    #[command(after_help = "\
Examples:
  subgate chain status --config proxy.toml
  subgate chain status --endpoint wss://entrypoint-finney.opentensor.ai:443 --netuid 13
  subgate chain status --endpoint ws://127.0.0.1:9944 --netuid 2 --genesis any --json")]
    Status(Source),
    /// Show what the snapshot says of a hotkey or a coldkey
    #[command(after_help = "\
Examples:
  subgate chain who 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --config proxy.toml
  subgate chain who 5Grwva… --netuid 13 --json

Of a coldkey it shows the hotkey with the most rights, and names the others in `why`. An address that is not there has
no role; that is an answer as well, with exit code 0.")]
    Who {
        /// The address of a hotkey or a coldkey
        #[arg(value_name = "SS58")]
        address: String,
        #[command(flatten)]
        source: Source,
    },
}

/// Where to look.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The configuration file of a server
    #[arg(long, env = "SUBGATE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A node of the chain, in place of a configuration file: http://, https://, ws:// or wss:// [default: finney's public one]
    #[arg(long, value_name = "URL")]
    endpoint: Vec<String>,
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: Option<u16>,
    /// The first block of the right chain: finney, any, or 0x… [default: finney]
    #[arg(long, value_name = "HASH")]
    genesis: Option<String>,
    /// Least total stake of a validator [default: 10000]
    #[arg(long, value_name = "STAKE")]
    stake_min: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A snapshot, and what is needed to speak of it.
struct View {
    snapshot: Snapshot,
    source: String,
    rule: ValidatorRule,
    age_seconds: u64,
}

/// Runs `subgate chain …`.
pub(crate) fn run(command: &Command) -> Result<(), Fault> {
    match command {
        Command::Status(source) => {
            let view = view(source)?;
            print(source.json, &status(&view), &[]);
        }
        Command::Who { address, source } => {
            let account =
                address.parse().map_err(|error| Fault::usage(format!("SS58 {address:?} is {error}")))?;
            let (answer, hotkeys) = who(&view(source)?, account);
            print(source.json, &answer, &hotkeys);
        }
    }
    Ok(())
}

fn print(as_json: bool, answer: &[(&str, Value)], more: &[String]) {
    if as_json {
        let object: serde_json::Map<String, Value> =
            answer.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        out::line(Value::Object(object));
        return;
    }
    let width = answer.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in answer {
        let text = match value {
            Value::Null => "-".to_owned(),
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        out::line(format_args!("{:<width$}  {text}", name.replace('_', " ")));
    }
    for line in more {
        out::line(line);
    }
}

fn status(view: &View) -> Vec<(&'static str, Value)> {
    let snapshot = &view.snapshot;
    let spec_version = snapshot.origin.as_ref().map(|origin| origin.spec_version);
    vec![
        ("block", json!(snapshot.block())),
        ("age_seconds", json!(view.age_seconds)),
        ("source", json!(view.source)),
        ("spec_version", json!(spec_version)),
        ("neurons", json!(snapshot.len())),
        ("permits", json!(snapshot.permits())),
        ("validators", json!(snapshot.validators(&view.rule))),
    ]
}

/// What is said of an address, and for a coldkey the lines of its hotkeys.
fn who(view: &View, account: AccountId) -> (Vec<(&'static str, Value)>, Vec<String>) {
    let rule = &view.rule;
    let at = view.snapshot.block().map_or(String::new(), |block| format!(" at block {block}"));
    if let Some(neuron) = view.snapshot.neuron(&account) {
        return (answer(neuron, rule, &why(neuron, rule)), Vec::new());
    }
    let mut owned: Vec<&Neuron> =
        view.snapshot.neurons().filter(|neuron| neuron.coldkey == account).collect();
    owned.sort_by(|a, b| {
        let rank =
            |neuron: &Neuron| (rule.role(neuron), if neuron.stake.is_nan() { -1.0 } else { neuron.stake });
        rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal).then(a.uid.cmp(&b.uid))
    });
    let Some(first) = owned.first() else {
        let why = format!("not registered on the subnet{at}: neither a hotkey nor a coldkey there");
        let nobody = [
            ("hotkey", json!(account)),
            ("coldkey", Value::Null),
            ("uid", Value::Null),
            ("role", Value::Null),
            ("permit", Value::Null),
            ("stake", Value::Null),
            ("why", json!(why)),
        ];
        return (nobody.into(), Vec::new());
    };
    let names: Vec<&str> = owned.iter().map(|neuron| neuron.owner.hotkey()).collect();
    let why = format!(
        "{}; the address is a coldkey that owns {} registered hotkey{}: {}",
        why(first, rule),
        owned.len(),
        if owned.len() == 1 { "" } else { "s" },
        names.join(", ")
    );
    let lines = owned.iter().map(|neuron| {
        let uid = neuron.uid.map_or("-".to_owned(), |uid| uid.to_string());
        format!(
            "  uid {uid:<5} {}  {:<9}  stake {}",
            neuron.owner.hotkey(),
            rule.role(neuron).as_str(),
            neuron.stake
        )
    });
    (answer(first, rule, &why), lines.collect())
}

fn answer(neuron: &Neuron, rule: &ValidatorRule, why: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("hotkey", json!(neuron.hotkey)),
        ("coldkey", json!(neuron.coldkey)),
        ("uid", json!(neuron.uid)),
        ("role", json!(rule.role(neuron).as_str())),
        ("permit", json!(neuron.validator_permit)),
        ("stake", json!(neuron.stake)),
        ("why", json!(why)),
    ]
}

fn why(neuron: &Neuron, rule: &ValidatorRule) -> String {
    match rule.refuses(neuron) {
        None if rule.permit => {
            format!(
                "a validator: it has a permit, and its stake of {} is at least {}",
                neuron.stake, rule.stake_min
            )
        }
        None => format!("a validator: its stake of {} is at least {}", neuron.stake, rule.stake_min),
        Some(refusal) => {
            let stake = match neuron.stake.is_nan() {
                true => "unknown".to_owned(),
                false => neuron.stake.to_string(),
            };
            let why = refusal.as_str();
            format!("a miner, not a validator: {why} (stake {stake}, bound {})", rule.stake_min)
        }
    }
}

fn view(source: &Source) -> Result<View, Fault> {
    let now = SystemTime::now();
    let given = source.endpoint.is_empty() && source.netuid.is_none() && source.genesis.is_none();
    let (snapshot, name, mut rule) = match &source.config {
        // Options that name a chain win over the environment's configuration file.
        Some(path) if given => configured(load(path)?.chain, now)?,
        _ => {
            let settings = by_options(source)?;
            let rule = settings.validator.clone();
            let snapshot = runtime()?.block_on(read_once(&settings)).map_err(unread)?;
            (snapshot, None, rule)
        }
    };
    if let Some(stake_min) = source.stake_min {
        rule.stake_min = stake_min;
    }
    let source = name.unwrap_or_else(|| {
        snapshot.origin.as_ref().map_or_else(|| "file".to_owned(), |origin| origin.source.to_string())
    });
    let age_seconds = snapshot.age_seconds(crate::time::UnixTime::from(now).seconds());
    Ok(View { snapshot, source, rule, age_seconds })
}

fn configured(
    chain: config::Chain,
    now: SystemTime,
) -> Result<(Snapshot, Option<String>, ValidatorRule), Fault> {
    let settings = match chain.source {
        ChainSource::File(path) => {
            let file = RegistryFile::open(&path, now)
                .map_err(|fault| Fault::data(format!("chain.file: {fault}")))?;
            let snapshot = Snapshot::clone(&file.snapshot(now));
            return Ok((snapshot, Some(path.display().to_string()), chain.validator));
        }
        ChainSource::Subtensor(settings) => settings,
    };
    let on_disk =
        settings.snapshot_file.as_deref().and_then(|path| stored_snapshot(path, &settings, now).ok());
    let fresh_seconds = REFRESHES_FRESH.saturating_mul(settings.refresh_seconds);
    let seconds = crate::time::UnixTime::from(now).seconds();
    if let Some(snapshot) = on_disk.as_ref().filter(|snapshot| snapshot.age_seconds(seconds) <= fresh_seconds)
    {
        return Ok((snapshot.clone(), None, chain.validator));
    }
    match (runtime()?.block_on(read_once(&settings)), on_disk) {
        (Ok(snapshot), _) => Ok((snapshot, None, chain.validator)),
        (Err(faults), Some(snapshot)) => {
            for fault in faults {
                out::complain(fault);
            }
            out::complain("the chain cannot be read now; this is the last snapshot of the server");
            Ok((snapshot, None, chain.validator))
        }
        (Err(faults), None) => Err(unread(faults)),
    }
}

fn by_options(source: &Source) -> Result<SubtensorSettings, Fault> {
    let texts = match source.endpoint.is_empty() {
        true => vec![FINNEY_ENDPOINT.to_owned()],
        false => source.endpoint.clone(),
    };
    let endpoint = |text: &String| {
        text.parse::<ChainEndpoint>().map_err(|()| {
            Fault::usage(format!(
                "--endpoint {text:?} is not a URL that starts with http://, https://, ws:// or wss://"
            ))
        })
    };
    let netuid = source.netuid.ok_or_else(|| Fault::usage("--netuid is missing (or give --config FILE)"))?;
    let genesis = source.genesis.as_deref().unwrap_or("finney");
    let genesis: ExpectedGenesis = genesis.parse().map_err(|()| {
        Fault::usage(format!("--genesis {genesis:?} is not \"finney\", \"any\", or 0x and 64 hex digits"))
    })?;
    Ok(SubtensorSettings {
        endpoints: texts.iter().map(endpoint).collect::<Result<_, _>>()?,
        netuid,
        genesis,
        refresh_seconds: 24,
        snapshot_file: None,
        quorum: 1,
        collapse_share_max: 1.0,
        validator: ValidatorRule::default(),
        stale_seconds_max: 900,
    })
}

fn unread(faults: Vec<String>) -> Fault {
    Fault::new(Exit::Unavailable, format!("the chain cannot be read: {}", faults.join("; ")))
}
