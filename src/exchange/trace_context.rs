//! The trace to which a client says its request belongs: W3C's `traceparent`, for the log alone.
//!
//! Specification: <https://www.w3.org/TR/trace-context/#traceparent-header>. Whoever sends it is believed in
//! nothing: it has a fixed length and a fixed alphabet, or it is not there. It does not go on to the store.

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header of version 00: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// The trace of a request, and the client's own span in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceContext(Box<str>);

impl TraceContext {
    /// What the one `traceparent` says, where it is one that W3C defines.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let (Some(header), None) = (given.next(), given.next()) else { return None };
        let header = header.to_str().ok().filter(|header| is_valid(header))?;
        Some(Self(header.get(..LENGTH)?.into()))
    }

    /// 32 hexadecimal digits.
    pub(super) fn trace_id(&self) -> &str {
        self.0.get(3..35).unwrap_or_default()
    }

    /// 16 hexadecimal digits.
    pub(super) fn parent_id(&self) -> &str {
        self.0.get(36..52).unwrap_or_default()
    }

    /// Whether the client records its own span: the last of the eight flags.
    #[cfg(feature = "otel")]
    pub(super) fn is_sampled(&self) -> bool {
        let flags = self.0.get(53..55).and_then(|flags| u8::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 1 == 1)
    }
}

fn is_valid(header: &str) -> bool {
    let is_id = |text: &str, digits: usize| {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        text.len() == digits && is_hex
    };
    let is_some_id = |text: &str, digits| is_id(text, digits) && text.bytes().any(|byte| byte != b'0');
    let mut parts = header.splitn(5, '-');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    // A later version may go on behind these four.
    let may_go_on = version != "00";
    is_id(version, 2)
        && version != "ff"
        && is_some_id(trace, 32)
        && is_some_id(parent, 16)
        && is_id(flags, 2)
        && (may_go_on || parts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn of(values: &[&str]) -> Option<TraceContext> {
        let headers = values.iter().map(|value| (TRACEPARENT, value.parse().unwrap()));
        TraceContext::of(&headers.collect())
    }

    #[test]
    fn a_traceparent_is_read_as_w3c_defines_it() {
        let later = format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be");
        for good in [format!("00-{TRACE}-{PARENT}-01"), later] {
            let context = of(&[&good]).unwrap();
            assert_eq!((context.trace_id(), context.parent_id()), (TRACE, PARENT));
        }
        #[cfg(feature = "otel")]
        for (flags, is_sampled) in [("00", false), ("01", true), ("fe", false), ("ff", true)] {
            let context = of(&[&format!("00-{TRACE}-{PARENT}-{flags}")]).unwrap();
            assert_eq!(context.is_sampled(), is_sampled, "{flags}");
        }
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}x-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-0g"),
        ] {
            assert_eq!(of(&[&bad]), None, "{bad}");
        }
        let good = format!("00-{TRACE}-{PARENT}-01");
        assert_eq!(of(&[&good, &good]), None);
        assert_eq!(of(&[]), None);
    }
}
