//! Points in time, always handed in: nothing here reads a clock.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{Timestamp, civil, fmt::rfc2822, tz::Offset};

/// The length of `yyyymmddThhmmssZ`.
const AMZ_CHARS: usize = 16;

/// A point in time at or after 1970, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(Duration);

impl UnixTime {
    /// `seconds` after the epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// `nanos` nanoseconds after the epoch.
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// Whole seconds after the epoch.
    pub const fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Nanoseconds after the epoch.
    pub const fn nanos(self) -> u128 {
        self.0.as_nanos()
    }

    /// That many seconds later; stays at the end of time where there is no such point.
    #[must_use]
    pub(crate) const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(Duration::from_secs(seconds)))
    }

    /// Reads `yyyymmddThhmmssZ`, the form of `x-amz-date`, and no other.
    pub(crate) fn from_amz(text: &str) -> Option<Self> {
        let &[y1, y2, y3, y4, m1, m2, d1, d2, b'T', h1, h2, i1, i2, s1, s2, b'Z'] = text.as_bytes() else {
            return None;
        };
        let digit = |byte: u8| byte.is_ascii_digit().then(|| i16::from(byte) - i16::from(b'0'));
        let two = |high, low| Some(i8::try_from(digit(high)? * 10 + digit(low)?).unwrap_or_default());
        let year = digit(y1)? * 1000 + digit(y2)? * 100 + digit(y3)? * 10 + digit(y4)?;
        let time = civil::DateTime::new(
            year,
            two(m1, m2)?,
            two(d1, d2)?,
            two(h1, h2)?,
            two(i1, i2)?,
            two(s1, s2)?,
            0,
        )
        .ok()?;
        Self::from_timestamp(Offset::UTC.to_timestamp(time).ok()?)
    }

    /// Reads the form of the `Date` header, RFC 2822.
    pub(crate) fn from_http_date(text: &str) -> Option<Self> {
        Self::from_timestamp(rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?)
    }

    /// Reads RFC 3339, as policies of forms have it: `2026-11-21T06:48:30Z`, with or without parts of a
    /// second.
    pub(crate) fn from_rfc3339(text: &str) -> Option<Self> {
        Self::from_timestamp(text.parse().ok()?)
    }

    fn from_timestamp(timestamp: Timestamp) -> Option<Self> {
        u64::try_from(timestamp.as_second()).ok().map(Self::from_seconds)
    }

    /// `yyyymmddThhmmssZ`. By hand, for each request to the store has one, and jiff's `strftime` was 1.6 % of
    /// the user time of a small request.
    pub fn to_amz(self) -> String {
        let at = Offset::UTC.to_datetime(self.timestamp());
        let mut text = String::with_capacity(AMZ_CHARS);
        push_two_digits(&mut text, at.year() / 100);
        push_two_digits(&mut text, at.year() % 100);
        push_two_digits(&mut text, at.month());
        push_two_digits(&mut text, at.day());
        text.push('T');
        push_two_digits(&mut text, at.hour());
        push_two_digits(&mut text, at.minute());
        push_two_digits(&mut text, at.second());
        text.push('Z');
        text
    }

    fn timestamp(self) -> Timestamp {
        i64::try_from(self.seconds())
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

/// Appends a number from 0 to 99.
fn push_two_digits(text: &mut String, number: impl Into<i16>) {
    let number = number.into();
    for digit in [number / 10, number % 10] {
        text.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
    }
}

/// RFC 3339 in whole seconds, as S3 writes times in its XML: `2026-11-21T06:48:30Z`.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl From<SystemTime> for UnixTime {
    /// A clock before 1970 counts as 1970: everything is then refused as not yet valid.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl From<UnixTime> for SystemTime {
    fn from(time: UnixTime) -> Self {
        UNIX_EPOCH.checked_add(time.0).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amz_dates_go_round() {
        let time = UnixTime::from_amz("20261121T064830Z").unwrap();
        assert_eq!(time.seconds(), 1_795_243_710);
        assert_eq!(time.to_amz(), "20261121T064830Z");
        assert_eq!(time.to_string(), "2026-11-21T06:48:30Z");
        assert_eq!(UnixTime::from_http_date("Sat, 21 Nov 2026 06:48:30 GMT"), Some(time));
        assert_eq!(UnixTime::from(SystemTime::from(time)), time);
    }

    proptest! {
        #[test]
        fn amz_dates_are_what_jiff_writes(seconds in 0..=253_402_207_199_u64) {
            let time = UnixTime::from_seconds(seconds);
            let theirs = time.timestamp().strftime("%Y%m%dT%H%M%SZ").to_string();
            prop_assert_eq!(time.to_amz(), theirs);
        }
    }

    #[test]
    fn p9_other_forms_are_no_dates() {
        for text in [
            "",
            "20261121T064830",
            "20261121t064830Z",
            "20261121T064830z",
            "20261321T064830Z",
            "20260230T064830Z",
            "20261121T246000Z",
            "2026112 T064830Z",
            "+0261121T064830Z",
            "19691231T235959Z",
            "2026-11-21T06:48:30Z",
            "２0261121T0648Z",
        ] {
            assert_eq!(UnixTime::from_amz(text), None, "{text}");
        }
        assert_eq!(UnixTime::from_http_date("yesterday"), None);
        assert_eq!(UnixTime::from_seconds(u64::MAX).to_amz().len(), 16);
    }
}
