//! `[chain]`: where the registry comes from, and who is a validator.

use std::{collections::HashSet, path::PathBuf};

use super::{section::Section, written::shown_text};
use crate::{
    chain::{
        AccountId, ChainEndpoint, ExpectedGenesis, FINNEY_ENDPOINT, FINNEY_GENESIS, SubtensorSettings,
        ValidatorRule,
    },
    file_access::check_writers,
};

/// Who is registered, and who of them is a validator.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Where the snapshot comes from.
    pub source: ChainSource,
    /// Age in seconds from which a snapshot is too old to decide by.
    pub stale_seconds_max: u64,
    /// Who counts as a validator.
    pub validator: ValidatorRule,
    /// What becomes of uploads under way.
    pub uploads_after_loss: UploadsAfterLoss,
}

/// Where the snapshot comes from.
#[derive(Debug, Clone)]
pub enum ChainSource {
    /// A registry file.
    File(PathBuf),
    /// The chain.
    Subtensor(Box<SubtensorSettings>),
}

/// What becomes of an upload under way when its hotkey is deregistered or changes its coldkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadsAfterLoss {
    /// It may finish: it was permitted when it began.
    Finish,
    /// It is cut off.
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    File,
    Subtensor,
}

impl Chain {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let source =
            section.word("source", &[("file", Source::File), ("subtensor", Source::Subtensor)], Source::File);
        let file = section.path("file", "the path of a registry file");
        // One that is not there yet is the start's to tell.
        let metadata = file.as_deref().filter(|_| source == Source::File).map(std::fs::metadata);
        if let Some(Err(what)) = metadata.and_then(Result::ok).map(|metadata| check_writers(&metadata)) {
            section.error("file", what);
        }
        if source == Source::File && file.is_none() {
            section.error(
                "file",
                "is missing; it must be the path of a registry file ({\"identities\": [{\"hotkey\": …, \
                \"coldkey\": …}]})",
            );
        }
        let stale_seconds_max = section.number("stale_seconds_max", 900, 1..=86_400);
        let validator = read_rule(&mut section);
        let words = [("finish", UploadsAfterLoss::Finish), ("cut", UploadsAfterLoss::Cut)];
        let uploads_after_loss = section.word("uploads_after_loss", &words, UploadsAfterLoss::Finish);
        let subtensor = read_subtensor(&mut section, source, &validator, stale_seconds_max);
        section.finish();
        let source = match source {
            Source::File => ChainSource::File(file?),
            Source::Subtensor => ChainSource::Subtensor(Box::new(subtensor)),
        };
        Some(Self { source, stale_seconds_max, validator, uploads_after_loss })
    }
}

fn read_rule(section: &mut Section) -> ValidatorRule {
    let expected = "a stake of 0 or more, such as 10000.0";
    let stake_min = float(section, "validator_stake_min", 10_000.0, expected, |stake| stake >= 0.0);
    ValidatorRule {
        stake_min,
        permit: section.or("validator_permit", true, "true or false"),
        allow: accounts(section, "validator_allow"),
        deny: accounts(section, "validator_deny"),
        one_per_coldkey: section.or("validator_one_per_coldkey", false, "true or false"),
    }
}

/// The settings of the chain are checked even where a registry file is used.
fn read_subtensor(
    section: &mut Section,
    source: Source,
    validator: &ValidatorRule,
    stale_seconds_max: u64,
) -> SubtensorSettings {
    let netuid: Option<u16> = section.optional("netuid", "the number of a subnet, 0 to 65535");
    if source == Source::Subtensor && netuid.is_none() {
        section.error("netuid", "is missing; it must be the number of the subnet");
    }
    let expected = "a URL that starts with http://, https://, ws:// or wss://";
    let texts: Vec<String> =
        section.or("endpoints", vec![FINNEY_ENDPOINT.to_owned()], "a list of URLs of nodes");
    let mut endpoints: Vec<ChainEndpoint> = Vec::new();
    for text in &texts {
        match text.parse() {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(()) => section.error("endpoints", format_args!("{} is not {expected}", shown_text(text))),
        }
    }
    if texts.is_empty() {
        section.error("endpoints", format_args!("[] names no node; each must be {expected}"));
    }
    let expected = "\"finney\", \"any\", or 0x and 64 hex digits";
    let genesis = section
        .parsed("genesis", expected, |text| text.parse().ok())
        .unwrap_or(ExpectedGenesis::Hash(FINNEY_GENESIS));
    let ca_file = section.path("ca_file", "the path of a PEM file");
    let refresh_seconds = section.number("refresh_seconds", 24, 1..=300);
    let snapshot_file = section.path("snapshot_file", "the path of a file that may be written");
    let snapshot_file = snapshot_file.unwrap_or_else(|| section.resolve("chain-snapshot.json"));
    let quorum = usize::try_from(section.number("quorum", 1, 1..=16)).unwrap_or(1);
    let hosts = independent(&endpoints);
    if quorum > hosts.max(1) {
        section.error(
            "quorum",
            format_args!(
                "{quorum} endpoints cannot agree where {hosts} of different hosts or ports are in \
                chain.endpoints"
            ),
        );
    }
    let expected = "a share of more than 0.0 and at most 1.0";
    let collapse_share_max =
        float(section, "collapse_share_max", 0.5, expected, |share| share > 0.0 && share <= 1.0);
    SubtensorSettings {
        endpoints,
        netuid: netuid.unwrap_or_default(),
        genesis,
        ca_file,
        refresh_seconds,
        snapshot_file: Some(snapshot_file),
        quorum,
        collapse_share_max,
        validator: validator.clone(),
        stale_seconds_max,
    }
}

/// Two names of one node are one voice.
fn independent(endpoints: &[ChainEndpoint]) -> usize {
    let first = |place: usize, endpoint: &ChainEndpoint| {
        endpoints.iter().take(place).all(|earlier| earlier.is_independent_of(endpoint))
    };
    endpoints.iter().enumerate().filter(|(place, endpoint)| first(*place, endpoint)).count()
}

fn accounts(section: &mut Section, setting: &'static str) -> HashSet<AccountId> {
    let texts: Vec<String> = section.or(setting, Vec::new(), "a list of SS58 addresses");
    let mut accounts = HashSet::new();
    for text in texts {
        match text.parse::<AccountId>() {
            Ok(account) => {
                accounts.insert(account);
            }
            Err(error) => section.error(setting, format_args!("{text:?} is {error}")),
        }
    }
    accounts
}

/// A number with or without a fraction.
fn float(
    section: &mut Section,
    setting: &'static str,
    default: f64,
    expected: &str,
    is_expected: impl Fn(f64) -> bool,
) -> f64 {
    let number = match section.or(setting, toml::Value::Float(default), expected) {
        toml::Value::Float(number) => number,
        toml::Value::Integer(whole) => i32::try_from(whole).map_or(f64::NAN, f64::from),
        other => {
            section.error(setting, format_args!("{other} is not {expected}"));
            return default;
        }
    };
    if !is_expected(number) {
        section.error(setting, format_args!("{number} is not {expected}"));
        return default;
    }
    number
}
