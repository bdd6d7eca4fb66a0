//! `[limits]`: how large objects may be, how slow bodies, and what one party may take of the server.

use std::{fmt, num::NonZeroU32};

use super::{
    section::{Bound, Section},
    shared_limits::SharedLimits,
    small_files::{OBJECT_BYTES, SmallFiles},
};
use crate::{
    chain::{AccountId, Role},
    file_access::SecretReaders,
};

/// What bounds every request and every party.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sizes of objects and paces of bodies.
    pub bodies: BodyBounds,
    /// By which key requests are charged once their signature was verified.
    pub principal: PrincipalKey,
    /// What one address may do before anybody is known.
    pub address: AddressLimits,
    /// What one miner may do.
    pub miner: PartyLimits,
    /// What one validator may do.
    pub validator: PartyLimits,
    /// What all principals together may do.
    pub server: PartyLimits,
    /// Other bounds for some accounts.
    pub overrides: Vec<Override>,
    /// Where replicas count together; none where each counts by itself.
    pub shared: Option<SharedLimits>,
}

/// Sizes of objects and paces of bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyBounds {
    /// Smallest size of an object in bytes.
    pub object_bytes_min: u64,
    /// Largest size of an object in bytes.
    pub object_bytes_max: u64,
    /// Files with a smallest size of their own.
    pub small_files: SmallFiles,
    /// A body or an answer slower than this, on average, is cut off.
    pub progress_bytes_per_second_min: u64,
    /// Seconds that a client may take beyond that.
    pub progress_grace_seconds: u64,
    /// Seconds after which a client that sends or takes nothing is cut off.
    pub progress_idle_seconds: u64,
}

/// By which key requests are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKey {
    /// Each hotkey by itself.
    Hotkey,
    /// All hotkeys of a coldkey together.
    Coldkey,
}

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// What comes back each second; none for no bound.
    pub per_second: Option<NonZeroU32>,
    /// What may be spent at once.
    pub burst: NonZeroU32,
}

/// What one address may do before anybody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressLimits {
    /// Requests that turn out not to be a registered hotkey's within its limits.
    pub requests: RateLimit,
    /// Signatures of hotkeys that turn out to be false.
    pub signature_failures: RateLimit,
    /// Connections at one time; none for no bound.
    pub connections_max: Option<u64>,
    /// Bytes of request bodies held in memory at one time; none for no bound.
    pub buffered_bytes_max: Option<u64>,
}

/// What one principal may do, or all of them together. `None` stands for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartyLimits {
    /// GET and HEAD of objects, and questions about the bucket.
    pub reads: RateLimit,
    /// PUT, POST, copies, multipart uploads, deletes.
    pub writes: RateLimit,
    /// Lists.
    pub lists: RateLimit,
    /// The signed endpoints beside S3.
    pub controls: RateLimit,
    /// Requests at one time, until their answers have ended.
    pub requests_under_way_max: Option<u64>,
    /// Declared bytes of the bodies and answers that are on their way at one time.
    pub bytes_under_way_max: Option<u64>,
    /// Requests in one UTC day, except those of `vended_requests_per_day_max`.
    pub requests_per_day_max: Option<u64>,
    /// Bytes of bodies and answers in one UTC day.
    pub bytes_per_day_max: Option<u64>,
    /// Requests to the vending server's older endpoints in one UTC day.
    pub vended_requests_per_day_max: Option<u64>,
    /// Bytes of request bodies each second, above which they are slowed down.
    pub bytes_in_per_second: Option<u64>,
    /// Bytes of answers each second, above which they are slowed down.
    pub bytes_out_per_second: Option<u64>,
    /// Bytes of request bodies held in memory at one time.
    pub buffered_bytes_max: Option<u64>,
}

/// Other bounds for one account. What it does not name is that of the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// A hotkey, or a coldkey for all of its hotkeys that have no override of their own.
    pub account: AccountId,
    /// The bounds while it is a miner.
    pub miner: PartyLimits,
    /// The bounds while it is a validator.
    pub validator: PartyLimits,
}

impl Override {
    /// The bounds in that role.
    pub fn of(&self, role: Role) -> &PartyLimits {
        match role {
            Role::Miner | Role::Undecided => &self.miner,
            Role::Validator => &self.validator,
        }
    }
}

/// Requests per second and bursts that are numbers at all: what GCRA counts in 32 bits.
const RATES: std::ops::RangeInclusive<u64> = 1..=1_000_000;

/// Any other number that is one.
const NUMBERS: std::ops::RangeInclusive<u64> = 1..=1 << 60;

/// Memory for the bodies of one party: an XML body of 4 MiB has to fit.
const BUFFERED_BYTES: std::ops::RangeInclusive<u64> = 4 << 20..=1 << 40;

/// Which of the limits a setting is.
type Field<T> = fn(&mut PartyLimits) -> &mut T;

const fn rate(per_second: u32, burst: u32) -> RateLimit {
    // The defaults are not zero.
    let burst = match NonZeroU32::new(burst) {
        Some(burst) => burst,
        None => NonZeroU32::MIN,
    };
    RateLimit { per_second: NonZeroU32::new(per_second), burst }
}

impl AddressLimits {
    /// A host with hundreds of wallets behind it still gets all its answers; one that guesses does not.
    const DEFAULT: Self = Self {
        requests: rate(1000, 5000),
        signature_failures: rate(20, 100),
        connections_max: Some(256),
        buffered_bytes_max: Some(4 << 20),
    };

    fn read(mut section: Section) -> Self {
        let mut limits = Self::DEFAULT;
        read_rate(&mut section, "requests_per_second", "requests_burst", |rate| {
            rate(&mut limits.requests);
        });
        read_rate(&mut section, "signature_failures_per_second", "signature_failures_burst", |rate| {
            rate(&mut limits.signature_failures);
        });
        read_bound(&mut section, "connections_max", NUMBERS, |max| limits.connections_max = max);
        read_bound(&mut section, "buffered_bytes_max", BUFFERED_BYTES, |max| {
            limits.buffered_bytes_max = max;
        });
        section.finish();
        limits
    }
}

impl PartyLimits {
    /// 110,000 files a day, with room for as many lists, heads and retries; see `proxy.toml`. The files of a
    /// whole cycle may come at once, for the miners of today do not try again.
    const MINER: Self = Self {
        reads: rate(100, 10_000),
        writes: rate(100, 10_000),
        lists: rate(20, 200),
        controls: rate(10, 50),
        requests_under_way_max: Some(256),
        bytes_under_way_max: None,
        requests_per_day_max: Some(1_000_000),
        bytes_per_day_max: None,
        vended_requests_per_day_max: Some(2000),
        bytes_in_per_second: None,
        bytes_out_per_second: None,
        buffered_bytes_max: Some(8 << 20),
    };

    /// 250 miners read by one.
    const VALIDATOR: Self = Self {
        reads: rate(1000, 10_000),
        lists: rate(100, 1000),
        controls: rate(20, 200),
        requests_under_way_max: Some(1024),
        requests_per_day_max: Some(10_000_000),
        vended_requests_per_day_max: Some(10_000),
        ..Self::MINER
    };

    const SERVER: Self = Self {
        reads: rate(0, 1000),
        writes: rate(0, 1000),
        lists: rate(0, 1000),
        controls: rate(0, 1000),
        requests_under_way_max: Some(16_384),
        requests_per_day_max: None,
        vended_requests_per_day_max: None,
        buffered_bytes_max: Some(64 << 20),
        ..Self::MINER
    };

    /// Reads one section; what it does not name stays as it is in each of `bases`.
    fn read(mut section: Section, bases: &mut [&mut Self]) {
        let rates: [(_, _, Field<RateLimit>); 4] = [
            ("reads_per_second", "reads_burst", |limits| &mut limits.reads),
            ("writes_per_second", "writes_burst", |limits| &mut limits.writes),
            ("lists_per_second", "lists_burst", |limits| &mut limits.lists),
            ("controls_per_second", "controls_burst", |limits| &mut limits.controls),
        ];
        for (per_second, burst, field) in rates {
            read_rate(&mut section, per_second, burst, |change| {
                bases.iter_mut().for_each(|base| change(field(base)));
            });
        }
        let bounds: [(_, _, Field<Option<u64>>); 8] = [
            ("requests_under_way_max", NUMBERS, |limits| &mut limits.requests_under_way_max),
            ("bytes_under_way_max", NUMBERS, |limits| &mut limits.bytes_under_way_max),
            ("requests_per_day_max", NUMBERS, |limits| &mut limits.requests_per_day_max),
            ("bytes_per_day_max", NUMBERS, |limits| &mut limits.bytes_per_day_max),
            ("vended_requests_per_day_max", NUMBERS, |limits| &mut limits.vended_requests_per_day_max),
            ("bytes_in_per_second", NUMBERS, |limits| &mut limits.bytes_in_per_second),
            ("bytes_out_per_second", NUMBERS, |limits| &mut limits.bytes_out_per_second),
            ("buffered_bytes_max", BUFFERED_BYTES, |limits| &mut limits.buffered_bytes_max),
        ];
        for (setting, range, field) in bounds {
            read_bound(&mut section, setting, range, |max| {
                bases.iter_mut().for_each(|base| *field(base) = max);
            });
        }
        section.finish();
    }
}

/// Reads a rate and its burst; `on_each` is handed what they change.
fn read_rate(
    section: &mut Section,
    per_second: &'static str,
    burst: &'static str,
    mut on_each: impl FnMut(&dyn Fn(&mut RateLimit)),
) {
    let number = |number: u64| u32::try_from(number).ok().and_then(NonZeroU32::new);
    match section.bound(per_second, RATES) {
        None => {}
        Some(Bound::Off) => on_each(&|rate| rate.per_second = None),
        Some(Bound::Max(given)) => on_each(&|rate| rate.per_second = number(given)),
    }
    if let Some(given) = section.number_given(burst, RATES).and_then(number) {
        on_each(&|rate| rate.burst = given);
    }
}

fn read_bound(
    section: &mut Section,
    setting: &'static str,
    range: std::ops::RangeInclusive<u64>,
    set: impl FnOnce(Option<u64>),
) {
    match section.bound(setting, range) {
        None => {}
        Some(Bound::Off) => set(None),
        Some(Bound::Max(given)) => set(Some(given)),
    }
}

impl Limits {
    pub(super) fn read(mut section: Section, readers: SecretReaders) -> Self {
        let bodies = BodyBounds::read(&mut section);
        let words = [("hotkey", PrincipalKey::Hotkey), ("coldkey", PrincipalKey::Coldkey)];
        let principal = section.word("principal", &words, PrincipalKey::Hotkey);
        let address = AddressLimits::read(section.section("address"));
        let (mut miner, mut validator) = (PartyLimits::MINER, PartyLimits::VALIDATOR);
        let mut server = PartyLimits::SERVER;
        PartyLimits::read(section.section("miner"), &mut [&mut miner]);
        PartyLimits::read(section.section("validator"), &mut [&mut validator]);
        PartyLimits::read(section.section("server"), &mut [&mut server]);
        let mut overrides: Vec<Override> = Vec::new();
        for mut section in section.sections("overrides") {
            let expected = "an SS58 address with prefix 42, of a hotkey or a coldkey";
            if !section.rest_has("account") {
                section.error("account", format_args!("is missing; it must be {expected}"));
            }
            let account: Option<AccountId> = section.parsed("account", expected, |text| text.parse().ok());
            if let Some(account) = account {
                if overrides.iter().any(|other| other.account == account) {
                    section.error("account", format_args!("{account} has an override already"));
                }
                let mut other = Override { account, miner, validator };
                PartyLimits::read(section, &mut [&mut other.miner, &mut other.validator]);
                overrides.push(other);
            }
        }
        let is_shared = section.rest_has("shared");
        let shared = section.section("shared");
        let shared = is_shared.then(|| SharedLimits::read(shared, readers)).flatten();
        section.finish();
        Self { bodies, principal, address, miner, validator, server, overrides, shared }
    }
}

impl BodyBounds {
    fn read(section: &mut Section) -> Self {
        const BYTE_RATES: std::ops::RangeInclusive<u64> = 1..=1 << 40;
        let object_bytes_min = section.number("object_bytes_min", 1024, 0..=OBJECT_BYTES);
        let bounds = Self {
            object_bytes_min,
            object_bytes_max: section.number("object_bytes_max", 5 << 30, 1..=OBJECT_BYTES),
            small_files: SmallFiles::read(section.section("small_files"), object_bytes_min),
            progress_bytes_per_second_min: section.number(
                "progress_bytes_per_second_min",
                16 << 10,
                BYTE_RATES,
            ),
            progress_grace_seconds: section.number("progress_grace_seconds", 30, 1..=3600),
            progress_idle_seconds: section.number("progress_idle_seconds", 30, 1..=3600),
        };
        if bounds.object_bytes_min > bounds.object_bytes_max {
            section.error("object_bytes_min", "is above limits.object_bytes_max");
        }
        bounds
    }

    /// The smallest size in bytes of the object under `key`.
    pub fn object_bytes_min_of(&self, key: &str) -> u64 {
        match self.small_files.names.iter().any(|name| name.is_of(key)) {
            true => self.small_files.object_bytes_min,
            false => self.object_bytes_min,
        }
    }

    /// The smallest size in bytes that any object may have.
    pub fn object_bytes_min_of_all(&self) -> u64 {
        match self.small_files.names.is_empty() {
            true => self.object_bytes_min,
            false => self.object_bytes_min.min(self.small_files.object_bytes_min),
        }
    }
}

impl fmt::Display for BodyBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} bytes", self.object_bytes_min, self.object_bytes_max)
    }
}
