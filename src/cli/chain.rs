//! `subgate chain status` and `subgate chain who`: print the snapshot of the chain, or what it says of one
//! address.
//!
//! With a configuration file, that is the snapshot which the server of that file keeps on disk, as long as it
//! is fresh. Otherwise the chain is read once.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client_options::parse_address,
    configuration::{ConfigOption, load},
    exit::CommandError,
    runtime, terminal,
};
use crate::{
    chain::{
        AccountId, ChainEndpoint, ExpectedGenesis, FINNEY_ENDPOINT, Neuron, RegistryFile, Role, Snapshot,
        SubtensorSettings, ValidatorRule, read_once, stored_snapshot,
    },
    config::{self, ChainSource},
    time::UnixTime,
};

/// A snapshot on disk is fresh for so many refreshes: a running server has replaced it by then.
const FRESH_REFRESHES: u64 = 3;

/// The commands of `subgate chain`.
#[derive(Debug, Subcommand)]
pub(crate) enum ChainCommand {
    /// Show the snapshot: its block, its age, how many neurons and validators there are
    #[command(after_help = "\
Examples:
  subgate chain status --config proxy.toml
  subgate chain status --endpoint wss://entrypoint-finney.opentensor.ai:443 --netuid 13
  subgate chain status --endpoint ws://127.0.0.1:9944 --netuid 2 --genesis any --json")]
    Status(ChainOptions),
    /// Show the role, stake and uid of a hotkey or a coldkey, and why it has that role
    #[command(after_help = "\
Examples:
  subgate chain who 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --config proxy.toml
  subgate chain who 5Grwva… --netuid 13 --json

For a coldkey it shows the hotkey with the most rights and names the others in `why`.
An address that is not registered has no role; the exit code is 0 then, too.")]
    Who {
        /// Address of a hotkey or a coldkey
        #[arg(value_name = "SS58")]
        address: String,
        #[command(flatten)]
        options: ChainOptions,
    },
}

/// Which chain is read, and how the answer is printed.
#[derive(Debug, Args)]
pub(crate) struct ChainOptions {
    #[command(flatten)]
    config: ConfigOption,
    /// URL of a node, in place of a configuration file; may be given several times
    ///
    /// It starts with http://, https://, ws:// or wss://. [default: finney's public node]
    #[arg(long, value_name = "URL")]
    endpoint: Vec<String>,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Option<u16>,
    /// Hash of the chain's first block: finney, any, or 0x… [default: finney]
    #[arg(long, value_name = "HASH")]
    genesis: Option<String>,
    /// Smallest total stake that makes a validator [default: the configuration file's, or 10000]
    #[arg(long, value_name = "STAKE")]
    stake_min: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A snapshot, where it comes from, and the rule that says who is a validator.
struct SnapshotReading {
    snapshot: Snapshot,
    source: String,
    rule: ValidatorRule,
    age_seconds: u64,
}

/// The lines of an answer: names and values.
type Fields = Vec<(&'static str, Value)>;

/// Runs `subgate chain …`.
pub(crate) fn run(command: &ChainCommand) -> Result<(), CommandError> {
    match command {
        ChainCommand::Status(options) => {
            let reading = read(options)?;
            print(options.json, &status(&reading), &[]);
        }
        ChainCommand::Who { address, options } => {
            let account = parse_address("SS58", address)?;
            let (fields, hotkey_lines) = who(&read(options)?, account);
            print(options.json, &fields, &hotkey_lines);
        }
    }
    Ok(())
}

fn print(as_json: bool, fields: &[(&str, Value)], hotkey_lines: &[String]) {
    if as_json {
        let object: serde_json::Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        terminal::print_line(Value::Object(object));
        return;
    }
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in fields {
        let text = match value {
            Value::Null => "-".to_owned(),
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        terminal::print_line(format_args!("{:<width$}  {text}", name.replace('_', " ")));
    }
    for line in hotkey_lines {
        terminal::print_line(line);
    }
}

fn status(reading: &SnapshotReading) -> Fields {
    let snapshot = &reading.snapshot;
    let spec_version = snapshot.origin.as_ref().map(|origin| origin.spec_version);
    vec![
        ("block", json!(snapshot.block())),
        ("age_seconds", json!(reading.age_seconds)),
        ("source", json!(reading.source)),
        ("spec_version", json!(spec_version)),
        ("neurons", json!(snapshot.len())),
        ("permits", json!(snapshot.permits())),
        ("validators", json!(snapshot.validators(&reading.rule))),
    ]
}

/// What the snapshot says of an address, and for a coldkey a line for each of its hotkeys.
fn who(reading: &SnapshotReading, account: AccountId) -> (Fields, Vec<String>) {
    let rule = &reading.rule;
    let at_block = reading.snapshot.block().map_or(String::new(), |block| format!(" at block {block}"));
    if let Some(neuron) = reading.snapshot.neuron(&account) {
        return (neuron_fields(neuron, rule, &why(neuron, rule)), Vec::new());
    }
    let mut owned: Vec<&Neuron> =
        reading.snapshot.neurons().filter(|neuron| neuron.coldkey == account).collect();
    owned.sort_by(|a, b| {
        let rank =
            |neuron: &Neuron| (rule.role(neuron), if neuron.stake.is_nan() { -1.0 } else { neuron.stake });
        rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal).then(a.uid.cmp(&b.uid))
    });
    let Some(first) = owned.first() else {
        let why = format!("not registered on the subnet{at_block}: neither a hotkey nor a coldkey there");
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
    (neuron_fields(first, rule, &why), lines.collect())
}

fn neuron_fields(neuron: &Neuron, rule: &ValidatorRule, why: &str) -> Fields {
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
            let role = match rule.role(neuron) {
                Role::Undecided => "a miner or a validator, which nobody can say",
                Role::Miner | Role::Validator => "a miner, not a validator",
            };
            format!("{role}: {why} (stake {stake}, required {})", rule.stake_min)
        }
    }
}

fn read(options: &ChainOptions) -> Result<SnapshotReading, CommandError> {
    let now = SystemTime::now();
    // Options that name a chain win over a configuration, which may be the environment's.
    let names_chain = !options.endpoint.is_empty() || options.netuid.is_some() || options.genesis.is_some();
    let (snapshot, source, mut rule) = match options.config.source_given().filter(|_| !names_chain) {
        Some(source) => read_configured(load(&source)?.chain, now)?,
        None => {
            let settings = settings_of(options)?;
            let snapshot = runtime::current_thread()?.block_on(read_once(&settings)).map_err(unavailable)?;
            let source = source_of(&snapshot);
            (snapshot, source, settings.validator)
        }
    };
    if let Some(stake_min) = options.stake_min {
        rule.stake_min = stake_min;
    }
    let age_seconds = snapshot.age_seconds(UnixTime::from(now).seconds());
    Ok(SnapshotReading { snapshot, source, rule, age_seconds })
}

fn read_configured(
    chain: config::Chain,
    now: SystemTime,
) -> Result<(Snapshot, String, ValidatorRule), CommandError> {
    let settings = match chain.source {
        ChainSource::File(path) => {
            let file = RegistryFile::open(&path, now)
                .map_err(|error| CommandError::data(format!("chain.file: {error}")))?;
            let snapshot = Snapshot::clone(&file.snapshot(now));
            return Ok((snapshot, path.display().to_string(), chain.validator));
        }
        ChainSource::Subtensor(settings) => settings,
    };
    let on_disk =
        settings.snapshot_file.as_deref().and_then(|path| stored_snapshot(path, &settings, now).ok());
    let fresh_seconds = FRESH_REFRESHES.saturating_mul(settings.refresh_seconds);
    let now_seconds = UnixTime::from(now).seconds();
    let is_fresh = |snapshot: &Snapshot| snapshot.age_seconds(now_seconds) <= fresh_seconds;
    let snapshot = match on_disk {
        Some(snapshot) if is_fresh(&snapshot) => snapshot,
        stale => match (runtime::current_thread()?.block_on(read_once(&settings)), stale) {
            (Ok(snapshot), _) => snapshot,
            (Err(errors), Some(snapshot)) => {
                for error in errors {
                    terminal::print_remark(error);
                }
                terminal::print_remark(
                    "the chain cannot be read now; this is the last snapshot of the server",
                );
                snapshot
            }
            (Err(errors), None) => return Err(unavailable(errors)),
        },
    };
    let source = source_of(&snapshot);
    Ok((snapshot, source, chain.validator))
}

fn settings_of(options: &ChainOptions) -> Result<SubtensorSettings, CommandError> {
    let texts = match options.endpoint.is_empty() {
        true => vec![FINNEY_ENDPOINT.to_owned()],
        false => options.endpoint.clone(),
    };
    let endpoint = |text: &String| {
        text.parse::<ChainEndpoint>().map_err(|()| {
            CommandError::usage(format!(
                "--endpoint {text:?} is not a URL that starts with http://, https://, ws:// or wss://"
            ))
        })
    };
    let netuid =
        options.netuid.ok_or_else(|| CommandError::usage("--netuid is missing (or give --config FILE)"))?;
    let genesis = options.genesis.as_deref().unwrap_or("finney");
    let genesis: ExpectedGenesis = genesis.parse().map_err(|()| {
        CommandError::usage(format!(
            "--genesis {genesis:?} is not \"finney\", \"any\", or 0x and 64 hex digits"
        ))
    })?;
    Ok(SubtensorSettings {
        endpoints: texts.iter().map(endpoint).collect::<Result<_, _>>()?,
        netuid,
        genesis,
        ca_file: None,
        refresh_seconds: 24,
        snapshot_file: None,
        quorum: 1,
        collapse_share_max: 1.0,
        validator: ValidatorRule::default(),
        stale_seconds_max: 900,
    })
}

/// The node that gave the snapshot.
fn source_of(snapshot: &Snapshot) -> String {
    snapshot.origin.as_ref().map_or_else(|| "file".to_owned(), |origin| origin.source.to_string())
}

fn unavailable(errors: Vec<String>) -> CommandError {
    CommandError::unavailable(format!("the chain cannot be read: {}", errors.join("; ")))
}
