//! Who is answered. Pure.
//!
//! A page in a browser on this machine reaches loopback too, by a name that leads there ("DNS rebinding") or
//! by the address: so the host must be an address, and what only browsers send is refused. No client needs a
//! name here, for the line that the agent prints has the address.
//!
//! Invariants: the token is compared in constant time; whoever lacks it learns nothing, not even which paths
//! there are.

use std::net::IpAddr;

use http::{HeaderMap, Method, header, request::Parts, uri::Authority};

use super::PATH;
use crate::secret::{Secret, constant_time_eq};

/// Only browsers send these. (`Sec-Fetch-Mode` comes from Node.js too.)
const BROWSER_HEADERS: [&str; 2] = ["origin", "sec-fetch-site"];

/// What a request must be like.
pub(super) struct Entry {
    token: Secret,
    port: u16,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryError {
    /// Its host is no address of loopback with this port.
    Host,
    /// It comes from a page in a browser.
    Browser,
    /// No token, or another.
    Token,
    /// Another path.
    Path,
    /// Another method.
    Method,
}

impl Entry {
    /// For whoever shows `token`, at `port`.
    pub(super) fn new(token: Secret, port: u16) -> Self {
        Self { token, port }
    }

    /// Whether this request is answered.
    ///
    /// # Errors
    /// What is wrong with it first.
    pub(super) fn check(&self, head: &Parts) -> Result<(), EntryError> {
        if !self.is_named_well(head) {
            return Err(EntryError::Host);
        }
        if BROWSER_HEADERS.iter().any(|name| head.headers.contains_key(*name)) {
            return Err(EntryError::Browser);
        }
        if !self.shows_the_token(&head.headers) {
            return Err(EntryError::Token);
        }
        match (head.uri.path(), &head.method) {
            (PATH, &Method::GET) => Ok(()),
            (PATH, _) => Err(EntryError::Method),
            (_, _) => Err(EntryError::Path),
        }
    }

    fn is_named_well(&self, head: &Parts) -> bool {
        let mut hosts = head.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let host = host.to_str().is_ok_and(|host| self.is_this(host));
        host && head.uri.authority().is_none_or(|authority| self.is_this(authority.as_str()))
    }

    fn is_this(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_loopback = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        // Without a port it is that of http.
        is_loopback && !host.contains('@') && authority.port_u16().unwrap_or(80) == self.port
    }

    fn shows_the_token(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        match (shown.next(), shown.next()) {
            (Some(shown), None) => constant_time_eq(shown.as_bytes(), self.token.expose()),
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz-_ABCDE";

    fn check(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), EntryError> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Entry::new(Secret::new(TOKEN), 8077).check(&head)
    }

    #[test]
    fn p71_the_token_is_what_opens() {
        let host = ("host", "127.0.0.1:8077");
        assert_eq!(check("GET", PATH, &[host, ("authorization", TOKEN)]), Ok(()));
        assert_eq!(check("GET", PATH, &[host]), Err(EntryError::Token));
        let bearer = format!("Bearer {TOKEN}");
        for wrong in
            ["", "x", TOKEN.trim_start_matches('0'), &format!("{TOKEN}0"), &bearer, &TOKEN.to_uppercase()]
        {
            let refused = check("GET", PATH, &[host, ("authorization", wrong)]);
            assert_eq!(refused, Err(EntryError::Token), "{wrong:?}");
        }
        let twice = [host, ("authorization", TOKEN), ("authorization", TOKEN)];
        assert_eq!(check("GET", PATH, &twice), Err(EntryError::Token));
        // Whoever lacks it does not learn which paths and methods there are.
        assert_eq!(check("POST", "/other", &[host]), Err(EntryError::Token));
    }

    #[test]
    fn p71_a_name_leads_nowhere() {
        let token = ("authorization", TOKEN);
        for host in ["127.0.0.1:8077", "127.0.0.2:8077", "[::1]:8077"] {
            assert_eq!(check("GET", PATH, &[("host", host), token]), Ok(()), "{host}");
        }
        for host in [
            "localhost:8077",
            "evil.example:8077",
            "127.0.0.1.evil.example:8077",
            "127.0.0.1:8078",
            "127.0.0.1",
            "10.0.0.1:8077",
            "::1",
            "evil@127.0.0.1:8077",
            "0x7f.1:8077",
            "",
            "a b",
        ] {
            let refused = check("GET", PATH, &[("host", host), token]);
            assert_eq!(refused, Err(EntryError::Host), "{host:?}");
        }
        let host = ("host", "127.0.0.1:8077");
        assert_eq!(check("GET", PATH, &[token]), Err(EntryError::Host));
        assert_eq!(check("GET", PATH, &[host, host, token]), Err(EntryError::Host));
        let absolute = "http://evil.example/credentials";
        assert_eq!(check("GET", absolute, &[host, token]), Err(EntryError::Host));
        let own = "http://127.0.0.1:8077/credentials";
        assert_eq!(check("GET", own, &[host, token]), Ok(()));
    }

    #[test]
    fn p71_a_page_in_a_browser_is_refused_even_with_the_token() {
        let (host, token) = (("host", "127.0.0.1:8077"), ("authorization", TOKEN));
        for header in [("origin", "null"), ("Origin", "http://127.0.0.1:8077"), ("sec-fetch-site", "none")] {
            assert_eq!(check("GET", PATH, &[host, token, header]), Err(EntryError::Browser), "{header:?}");
        }
        assert_eq!(check("GET", PATH, &[host, token, ("sec-fetch-mode", "cors")]), Ok(()));
    }

    #[test]
    fn one_path_and_one_method_are_answered() {
        let fine = [("host", "127.0.0.1:8077"), ("authorization", TOKEN)];
        assert_eq!(check("GET", "/credentials?x=1", &fine), Ok(()));
        for path in ["/", "/credentials/", "/Credentials", "//credentials", "/credentials2"] {
            assert_eq!(check("GET", path, &fine), Err(EntryError::Path), "{path}");
        }
        for method in ["POST", "PUT", "HEAD", "DELETE", "OPTIONS", "X"] {
            assert_eq!(check(method, PATH, &fine), Err(EntryError::Method), "{method}");
        }
    }
}
