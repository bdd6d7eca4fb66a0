//! A nonce: what counts once of what a hotkey signs, and within which time.

use std::time::Duration;

use crate::{chain::AccountId, time::UnixTime};

/// How old what has a nonce may be, in nanoseconds.
pub(super) const PAST_NANOS_MAX: u128 = 10_000_000_000;

/// How far ahead of us a signer's clock may be, in nanoseconds.
pub(super) const FUTURE_NANOS_MAX: u128 = 2_000_000_000;

/// How far apart the clocks of replicas may be: so long one of them may take what is over for another.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(30);

/// The groups of a UUID's text, in digits.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// A UUID in its one spelling: 32 lower-case digits in groups of 8, 4, 4, 4 and 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uuid(pub(super) u128);

impl Uuid {
    /// The smallest and the largest.
    pub(super) const BOUNDS: (Self, Self) = (Self(0), Self(u128::MAX));

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut digits = String::with_capacity(32);
        let mut groups = text.split('-');
        for length in UUID_GROUPS {
            digits.push_str(groups.next().filter(|group| group.len() == length)?);
        }
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if groups.next().is_some() || !digits.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(&digits, 16).ok().map(Self)
    }
}

impl std::fmt::Display for Uuid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:032x}", self.0);
        let mut rest = digits.as_str();
        for (index, length) in UUID_GROUPS.into_iter().enumerate() {
            let (group, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            rest = behind;
            write!(f, "{}{group}", if index == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

/// A nonce with the hotkey that signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nonce {
    /// When it was signed, by the signer's clock, in unix nanoseconds.
    pub(super) signed_nanos: u64,
    pub(super) hotkey: AccountId,
    pub(super) id: NonceId,
}

/// What tells the nonces of one hotkey apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NonceId {
    /// The time itself.
    Time,
    /// A UUID, whatever time is signed with it.
    Uuid(Uuid),
}

impl Nonce {
    /// One of btauth/1, which is its time.
    pub(super) fn time(hotkey: AccountId, signed_nanos: u64) -> Self {
        Self { signed_nanos, hotkey, id: NonceId::Time }
    }

    /// One of X-Tao.
    pub(super) fn uuid(hotkey: AccountId, signed_nanos: u64, uuid: Uuid) -> Self {
        Self { signed_nanos, hotkey, id: NonceId::Uuid(uuid) }
    }

    /// Whose it is.
    pub(crate) fn hotkey(&self) -> AccountId {
        self.hotkey
    }

    /// What tells it from others of its hotkey.
    pub(crate) fn id(&self) -> String {
        match self.id {
            NonceId::Time => self.signed_nanos.to_string(),
            NonceId::Uuid(uuid) => uuid.to_string(),
        }
    }

    /// How long replicas that share their nonces have to remember it: until it is too old for each of them.
    pub(crate) fn life(&self, now: UnixTime) -> Duration {
        let until = u128::from(self.signed_nanos).saturating_add(PAST_NANOS_MAX);
        let rest = u64::try_from(until.saturating_sub(now.nanos())).unwrap_or(u64::MAX);
        Duration::from_nanos(rest).saturating_add(CLOCKS_APART_MAX)
    }
}
