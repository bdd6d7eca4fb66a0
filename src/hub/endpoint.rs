//! Where the Hub is, and which URLs that it names are called.
//!
//! Invariant: a URL is called over `http://` only where the endpoint itself was allowed that: to this machine
//! from an endpoint on this machine, or to anywhere where the caller accepts it.

use std::{fmt, net::IpAddr};

use http::{Uri, uri::Scheme};

/// The Hub that everybody knows.
pub(crate) const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Whether bodies and tokens may travel unencrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    /// To this machine alone.
    Loopback,
    /// To anywhere: the caller trusts the network.
    Anywhere,
}

/// The URL of a Hub, as `HF_ENDPOINT` has it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Without a `/` at its end. A mirror may stand below a path.
    base: String,
    uri: Uri,
    plain: PlainHttp,
}

impl Endpoint {
    /// Reads `https://HOST[:PORT][/PATH]`.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind the setting's name and value.
    pub(crate) fn parse(text: &str, plain: PlainHttp) -> Result<Self, &'static str> {
        let base = text.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| "a URL is expected, such as https://huggingface.co")?;
        let host = uri.host().ok_or("a URL is expected, such as https://huggingface.co")?;
        if has_user(&uri) {
            return Err("it must not contain a user name");
        }
        if uri.query().is_some() {
            return Err("it must not have a query");
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if plain == PlainHttp::Anywhere || is_loopback(host) => {}
            Some("http") => {
                return Err("the token would travel unencrypted; use https:// \
                            (or --insecure-http inside a network that you trust)");
            }
            Some(_) | None => return Err("it must start with https:// or http://"),
        }
        Ok(Self { base, uri, plain })
    }

    /// The URL of a path below the endpoint; `path` begins with `/` and is escaped.
    pub(crate) fn url(&self, path: &str) -> Option<Target> {
        let uri: Uri = format!("{}{path}", self.base).parse().ok()?;
        Some(Target { uri, is_endpoint: true })
    }

    /// The URL that an answer from `at` names, if it may be called: absolute, or from the root of that host.
    pub(crate) fn target(&self, at: &Target, text: &str) -> Option<Target> {
        let text = self.own_spelling(text);
        let uri: Uri = match text.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => format!("{}:{text}", at.uri.scheme_str()?).parse().ok()?,
            Some(_) => format!("{}{text}", origin(&at.uri)?).parse().ok()?,
            None => text.parse().ok()?,
        };
        let host = uri.host()?;
        let is_plain = match uri.scheme_str()? {
            "https" => false,
            "http" => true,
            _ => return None,
        };
        let plain_is_fine = self.uri.scheme() == Some(&Scheme::HTTP)
            && (self.plain == PlainHttp::Anywhere || is_loopback(host));
        if has_user(&uri) || (is_plain && !plain_is_fine) {
            return None;
        }
        let is_endpoint = origin(&uri) == origin(&self.uri);
        Some(Target { uri, is_endpoint })
    }

    /// A mirror hands on answers in which the Hub names itself.
    fn own_spelling(&self, text: &str) -> String {
        match text.strip_prefix(DEFAULT_ENDPOINT) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => format!("{}{rest}", self.base),
            Some(_) | None => text.to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// A URL that may be called.
#[derive(Clone)]
pub(crate) struct Target {
    uri: Uri,
    is_endpoint: bool,
}

impl Target {
    /// The URL itself. Its query may be a signature: it is not shown.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is the endpoint's own scheme, host and port: there the token goes, and nowhere else.
    pub(crate) fn is_endpoint(&self) -> bool {
        self.is_endpoint
    }

    /// The host, for an error.
    pub(crate) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("host", &self.host()).finish_non_exhaustive()
    }
}

fn has_user(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
}

/// `scheme://host:port` in one spelling.
fn origin(uri: &Uri) -> Option<String> {
    let scheme = uri.scheme_str()?;
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some(format!("{scheme}://{}:{port}", uri.host()?.to_ascii_lowercase()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text, PlainHttp::Loopback).unwrap()
    }

    /// Whether the URL is called, and with the token.
    fn called(endpoint: &Endpoint, text: &str) -> Option<bool> {
        let at = endpoint.url("/api").unwrap();
        endpoint.target(&at, text).map(|target| target.is_endpoint())
    }

    #[test]
    fn an_endpoint_does_not_take_a_token_in_the_clear() {
        for good in
            ["https://huggingface.co", "https://mirror.example.com/hf/", "http://127.0.0.1:1", "http://[::1]"]
        {
            assert!(Endpoint::parse(good, PlainHttp::Loopback).is_ok(), "{good}");
        }
        for bad in [
            "http://hub.example.com",
            "huggingface.co",
            "",
            "ftp://h",
            "https://u:p@h",
            "https://h/?a",
            "http://localhost.example.com",
        ] {
            assert!(Endpoint::parse(bad, PlainHttp::Loopback).is_err(), "{bad}");
        }
        assert!(Endpoint::parse("http://hub.example.com", PlainHttp::Anywhere).is_ok());
    }

    #[test]
    fn the_token_goes_to_the_endpoint_alone() {
        let hub = endpoint("https://hub.example.com");
        for (text, with_token) in [
            ("/api/resolve", Some(true)),
            ("https://HUB.example.com:443/x", Some(true)),
            ("https://hub.example.com:8443/x", Some(false)),
            ("https://cdn.example.com/x?signature=s", Some(false)),
            ("//cdn.example.com/x", Some(false)),
            ("https://hub.example.com.evil.test/x", Some(false)),
            ("http://hub.example.com/x", None),
            ("http://127.0.0.1/x", None),
            ("https://token@cdn.example.com/x", None),
            ("file:///etc/passwd", None),
            ("x/relative", None),
            ("", None),
        ] {
            assert_eq!(called(&hub, text), with_token, "{text}");
        }
    }

    #[test]
    fn plain_http_leads_to_this_machine_alone_unless_it_is_allowed() {
        let here = endpoint("http://127.0.0.1:9000");
        assert_eq!(called(&here, "http://127.0.0.1:9001/x"), Some(false));
        assert_eq!(called(&here, "http://10.0.0.1/x"), None);
        assert_eq!(called(&here, "https://cdn.example.com/x"), Some(false));
        let inside = Endpoint::parse("http://hub.internal", PlainHttp::Anywhere).unwrap();
        assert_eq!(called(&inside, "http://storage.internal/x"), Some(false));
    }

    #[test]
    fn a_mirror_is_asked_where_the_hub_names_itself() {
        let mirror = endpoint("https://mirror.example.com/hf/");
        assert_eq!(mirror.url("/api/x").unwrap().uri(), "https://mirror.example.com/hf/api/x");
        let at = mirror.url("/api").unwrap();
        let target = mirror.target(&at, "https://huggingface.co/api/y?cursor=z").unwrap();
        assert_eq!(
            (target.uri().to_string().as_str(), target.is_endpoint()),
            ("https://mirror.example.com/hf/api/y?cursor=z", true)
        );
        assert_eq!(called(&mirror, "https://huggingface.co.evil.test/x"), Some(false));
    }

    #[test]
    fn p51_a_signed_url_is_not_shown() {
        let hub = endpoint("https://hub.example.com");
        let at = hub.url("/api").unwrap();
        let target = hub.target(&at, "https://cdn.example.com/x?X-Amz-Signature=abc").unwrap();
        assert_eq!(format!("{target:?}"), "Target { host: \"cdn.example.com\", .. }");
    }
}
