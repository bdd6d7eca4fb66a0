//! Who may look in. Pure.
//!
//! Whoever shows the bearer token (RFC 6750) may, where there is one. Where there is none the listener is on
//! loopback, and then a request must name it by an address or as `localhost`: a page in a browser on this
//! machine can have its own name lead here, and reads nothing by that ("DNS rebinding").
//!
//! Invariants: the token is compared in constant time; only what the public listener tells everybody too is
//! told without it, and in the words for everybody.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::{
    endpoint::Endpoint,
    secret::{SecretText, constant_time_eq},
};

/// Who looks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The operator, by the token, or by the address where there is none.
    Operator,
    /// Anybody, who is told what the public listener tells.
    Stranger,
}

/// Why somebody may not look in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryError {
    /// No token, or another.
    Token,
    /// By a name that is not this listener's.
    Host,
}

/// As whom a request to `path` with these headers is answered.
///
/// # Errors
/// What is missing.
pub(super) fn check(
    token: Option<&SecretText>,
    path: &str,
    authority: Option<&str>,
    headers: &HeaderMap,
) -> Result<Standing, EntryError> {
    let Some(token) = token else {
        let hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?"));
        // Whoever sends no host, as probes by HTTP/1.0, is no browser.
        let named_well = authority.into_iter().chain(hosts).all(is_loopback_name);
        return if named_well { Ok(Standing::Operator) } else { Err(EntryError::Host) };
    };
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let is_shown = match (shown.next().and_then(|value| bearer(value.as_bytes())), shown.next()) {
        (Some(shown), None) => constant_time_eq(shown, token.expose().as_bytes()),
        (Some(_) | None, Some(_) | None) => false,
    };
    let is_for_all = [Endpoint::Live, Endpoint::Ready].iter().any(|endpoint| endpoint.path() == path);
    match (is_shown, is_for_all) {
        (true, _) => Ok(Standing::Operator),
        (false, true) => Ok(Standing::Stranger),
        (false, false) => Err(EntryError::Token),
    }
}

/// The token in `Bearer …`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether a host, with or without a port, is an address or `localhost`.
fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    !host.contains('@') && (address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        token: Option<&str>,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Standing, EntryError> {
        let token = token.map(SecretText::new);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_str(value).unwrap());
        }
        check(token.as_ref(), path, None, &map)
    }

    #[test]
    fn p70_the_token_is_what_opens() {
        let token = Some("0123456789abcdef0123456789abcdef");
        let bearer = |token: &str| format!("Bearer {token}");
        let fine = bearer("0123456789abcdef0123456789abcdef");
        for value in [fine.as_str(), "bearer 0123456789abcdef0123456789abcdef"] {
            assert_eq!(checked(token, "/metrics", &[("authorization", value)]), Ok(Standing::Operator));
        }
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdef0123456789abcdeX",
            "Bearer 0123456789abcdef0123456789abcdef0",
            "Bearer 0123456789abcdef",
            "Basic 0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
        ] {
            let refused = checked(token, "/metrics", &[("authorization", value)]);
            assert_eq!(refused, Err(EntryError::Token), "{value:?}");
        }
        let twice = [("authorization", fine.as_str()), ("authorization", fine.as_str())];
        assert_eq!(checked(token, "/metrics", &twice), Err(EntryError::Token));
        for path in ["/metrics", "/principals", "/snapshot", "/", "/healthz/", "/readyz2"] {
            assert_eq!(checked(token, path, &[]), Err(EntryError::Token), "{path}");
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(checked(token, path, &[]), Ok(Standing::Stranger), "{path}");
            let wrong = [("authorization", "Bearer 00000000000000000000000000000000")];
            assert_eq!(checked(token, path, &wrong), Ok(Standing::Stranger), "{path}");
            let fine = [("authorization", fine.as_str())];
            assert_eq!(checked(token, path, &fine), Ok(Standing::Operator), "{path}");
        }
    }

    #[test]
    fn p70_without_a_token_a_name_of_somebody_else_leads_nowhere() {
        for host in ["127.0.0.1:8015", "127.0.0.1", "localhost:8015", "LocalHost", "[::1]:8015", "10.0.0.1"] {
            assert_eq!(checked(None, "/metrics", &[("host", host)]), Ok(Standing::Operator), "{host}");
        }
        assert_eq!(checked(None, "/metrics", &[]), Ok(Standing::Operator));
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8015",
            "evil.example@127.0.0.1",
            "",
            "a b",
        ] {
            assert_eq!(checked(None, "/metrics", &[("host", host)]), Err(EntryError::Host), "{host:?}");
        }
        let two = [("host", "127.0.0.1"), ("host", "evil.example")];
        assert_eq!(checked(None, "/metrics", &two), Err(EntryError::Host));
    }
}
