//! The URL of a Subgate server, as `--endpoint` gives it, and `--url` of `healthcheck`.
//!
//! Invariant: it is `https://`, or `http://` to this machine, unless the caller allowed plain HTTP by an
//! option of its own: the secret of a session comes back over it.

use http::{Uri, uri::Scheme};

use super::exit::CommandError;

/// A URL without path, query or user name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    uri: Uri,
}

impl ServerUrl {
    /// Reads `https://HOST[:PORT]`, or `http://` to this machine; `insecure_http` allows `http://` to
    /// anywhere.
    pub(crate) fn parse(text: &str, insecure_http: bool) -> Result<Self, CommandError> {
        Self::parse_option("--endpoint", text, insecure_http)
    }

    /// The same, of an option of another name.
    pub(crate) fn parse_option(option: &str, text: &str, insecure_http: bool) -> Result<Self, CommandError> {
        let error = |reason: &str| CommandError::usage(format!("{option} {text:?}: {reason}"));
        let not_a_url = || error("a URL is expected, such as https://s3.example.com");
        let uri: Uri = text.parse().map_err(|_| not_a_url())?;
        let host = uri.host().ok_or_else(not_a_url)?;
        let is_allowed_over_http = insecure_http || is_loopback(host);
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_allowed_over_http => {}
            Some("http") => {
                return Err(error(
                    "the secret of a session would travel unencrypted; use https:// \
                     (or --insecure-http inside a network that you trust)",
                ));
            }
            Some(_) | None => return Err(error("it must start with https:// or http://")),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(error("it must not contain a user name"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(error("it must be the server's address alone, without a bucket, path or query"));
        }
        Ok(Self { uri })
    }

    /// Whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.uri.host().is_some_and(is_loopback)
    }

    /// Whether it is `https://`.
    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// `scheme://host[:port]` in lower case: the one spelling of this server.
    pub(crate) fn canonical(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{}", self.uri.scheme_str().unwrap_or_default(), authority.to_ascii_lowercase())
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_travel_in_the_clear_beyond_this_machine() {
        for good in [
            "https://s3.example.com",
            "https://s3.example.com:8443/",
            "http://127.0.0.1:8014",
            "http://[::1]:1",
            "http://localhost:8014/",
        ] {
            assert!(ServerUrl::parse(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://s3.example.com",
            "http://10.0.0.1:8014",
            "http://localhost.example.com",
            "ftp://h",
            "s3.example.com",
            "/x",
            "",
            "https://user:password@h",
            "https://h/bucket",
            "https://h/?x",
            "http://127.0.0.1.example.com",
        ] {
            let error = ServerUrl::parse(bad, false).unwrap_err();
            assert!(error.to_string().starts_with("--endpoint"), "{bad}: {error}");
        }
        assert!(ServerUrl::parse("http://subgate:8014", true).is_ok());
        assert!(ServerUrl::parse("https://[::1]:8014", false).unwrap().is_loopback());
        assert!(!ServerUrl::parse("https://localhost.example.com", false).unwrap().is_loopback());
        assert_eq!(ServerUrl::parse("HTTPS://Host:1/", false).unwrap().canonical(), "https://host:1");
    }
}
