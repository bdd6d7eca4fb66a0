//! Where this server stands: its own names, the proxies in front of it that are believed, and its bucket.
//! Pure.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue, header, request::Parts};

use crate::{
    config::{Bucket, Edge, Server},
    error::{Code, Error, Result},
};

/// A name of DNS and a port.
const HOST_BYTES_MAX: usize = 260;

/// Where this server stands.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    listen: SocketAddr,
    scheme: Scheme,
    hosts: Vec<String>,
    edge: Edge,
    bucket: Bucket,
}

/// What the listener itself speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// The port that stands in no URL.
    const fn own_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Site {
    /// The site that the configuration describes.
    pub(crate) fn new(server: &Server, bucket: &Bucket) -> Self {
        Self {
            listen: server.listen,
            scheme: match server.tls {
                Some(_) => Scheme::Https,
                None => Scheme::Http,
            },
            hosts: server.hosts.clone(),
            edge: server.edge.clone(),
            bucket: bucket.clone(),
        }
    }

    /// The bucket as clients see it.
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Whether `peer` is a proxy in front that is believed (P15).
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.edge.trusts(peer)
    }

    /// The host values that a client behind `peer` may have signed: the one that arrived and, behind a
    /// trusted edge that replaces it, the names of `server.hosts`.
    pub(crate) fn signable_hosts<'a>(&'a self, host: &'a str, peer: IpAddr) -> Vec<&'a str> {
        let mut hosts = vec![host];
        if self.edge.rewrites_host && self.trusts(peer) {
            hosts.extend(self.hosts.iter().map(String::as_str));
        }
        hosts
    }

    /// Further values of `accept-encoding` that a client behind `peer` may have signed (P27).
    pub(crate) fn signable_accept_encodings(&self, peer: IpAddr) -> Vec<&str> {
        match self.trusts(peer) {
            true => self.edge.accept_encodings.iter().map(String::as_str).collect(),
            false => Vec::new(),
        }
    }

    /// Whether a host names this server, so that a hotkey's own signature was meant for it.
    pub(crate) fn is_own_host(&self, host: &str) -> bool {
        // The names of loopback are everybody's: behind a TLS proxy they would let in what was signed for any
        // other server, so they count only where this server has no name of its own, and with its port.
        if self.hosts.is_empty() {
            let port = host.strip_prefix(without_port(host)).and_then(|port| port.strip_prefix(':'));
            return self.listen.ip().is_loopback()
                && matches!(without_port(host), "localhost" | "127.0.0.1" | "[::1]")
                && port.and_then(|port| port.parse().ok()).unwrap_or(self.scheme.own_port())
                    == self.listen.port();
        }
        let names_us = |host: &str| {
            self.hosts.iter().any(|own| match without_port(own) == own {
                true => own.eq_ignore_ascii_case(without_port(host)),
                false => own.eq_ignore_ascii_case(host),
            })
        };
        let below = host.strip_prefix(&self.bucket.name).and_then(|rest| rest.strip_prefix('.'));
        names_us(host) || below.is_some_and(names_us)
    }

    /// The bucket label of a virtual-host request, by the names of `server.hosts` (P28).
    pub(crate) fn host_bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let bare = without_port(host);
        // With both example.com and s3.example.com among the names, the latter is no bucket of the former,
        // and b.s3.example.com is the bucket b of the latter.
        if self.hosts.iter().any(|own| without_port(own).eq_ignore_ascii_case(bare)) {
            return None;
        }
        let labels = self.hosts.iter().filter_map(|own| {
            let own = without_port(own);
            let at = bare.len().checked_sub(own.len()).filter(|at| *at > 1)?;
            let (label, rest) = bare.split_at_checked(at)?;
            if rest.eq_ignore_ascii_case(own) { label.strip_suffix('.') } else { None }
        });
        labels.min_by_key(|label| label.len())
    }

    /// Whether `bucket`, which a request to `host` names, is the bucket of this server.
    ///
    /// # Errors
    /// `NoSuchBucket`, with a hint where the host looks like virtual-host addressing that is not configured.
    pub(crate) fn check_bucket(&self, bucket: &str, host: &str) -> Result<()> {
        let own = &self.bucket.name;
        if bucket == own {
            return Ok(());
        }
        let hint = match host.split_once('.') {
            Some((label, _)) if label == own => format!(
                " Virtual-host addressing is not configured for {host}: use path-style addressing, or have \
                 its domain named in server.hosts."
            ),
            _ => String::new(),
        };
        Err(Error::new(
            Code::NoSuchBucket,
            format!("The bucket {bucket:?} does not exist here; this server has {own:?}.{hint}"),
        )
        .element("BucketName", bucket))
    }

    /// The path under which a client that came to `host` finds the bucket: `/bucket`, or nothing where the
    /// host names the bucket.
    pub(crate) fn bucket_path(&self, host: &str) -> String {
        match self.host_bucket(host) {
            Some(_) => String::new(),
            None => format!("/{}", self.bucket.name),
        }
    }

    /// The client's address; a forwarded one counts only from a trusted edge (P15).
    pub(crate) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let forwarded = headers.get_all("x-forwarded-for").iter();
        let hops: Vec<&str> = forwarded.flat_map(|value| value.to_str().unwrap_or("?").split(',')).collect();
        // From the right: the first hop that is none of ours is what the outermost trusted proxy saw. What
        // stands to the left of it, or of a hop that cannot be read, anybody may have written.
        for hop in hops.into_iter().rev() {
            match hop_address(hop.trim()) {
                Some(address) if self.trusts(address) => {}
                Some(address) => return address,
                None => return peer,
            }
        }
        peer
    }

    /// The URL that people are told to use: by the name that the client asked for where that is one of this
    /// server's, else by the first of its names; without names, as the client asked. None where that is no
    /// host at all.
    pub(crate) fn advertised_endpoint(&self, head: &Parts, from_edge: bool, host: &str) -> Option<String> {
        let is_asked = |host: &&str| self.is_own_host(host) && self.host_bucket(host).is_none();
        let named = Some(host).filter(is_asked).or_else(|| self.hosts.first().map(String::as_str));
        // It goes into commands that people paste: nothing but a name or an address, and a port.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let host = named.unwrap_or(host);
        let is_host = !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(is_plain);
        let endpoint = |host: String| format!("{}://{host}", self.public_scheme(head, from_edge, &host));
        is_host.then(|| endpoint(host.to_ascii_lowercase()))
    }

    /// The scheme by which the client reached this server. A trusted edge says it; otherwise it is the
    /// listener's own, and an external name at a plain listener means a TLS proxy in front.
    pub(crate) fn public_scheme(&self, head: &Parts, from_edge: bool, host: &str) -> &'static str {
        let forwarded = if from_edge { head.headers.get("x-forwarded-proto") } else { None };
        let is_external =
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host) || own == without_port(host));
        match (forwarded.map(HeaderValue::as_bytes), self.scheme) {
            (Some(b"https"), _) => "https",
            (Some(b"http"), _) => "http",
            (_, Scheme::Https) => "https",
            (_, Scheme::Http) if is_external() => "https",
            (_, Scheme::Http) => "http",
        }
    }
}

/// The host that the client named: `:authority` or `Host`.
///
/// # Errors
/// `InvalidRequest` where both are there and different (P25), where there is none, or more than one.
pub(crate) fn host(head: &Parts) -> Result<&str> {
    let refused = |why: &'static str| Error::new(Code::InvalidRequest, why);
    let mut named = head.headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (_, Some(_)) => return Err(refused("The request has more than one Host header.")),
        (Some(host), None) => Some(host.to_str().map_err(|_| refused("The Host header cannot be read."))?),
        (None, None) => None,
    };
    match (host, head.uri.authority()) {
        (Some(host), Some(authority)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(refused("The Host header and the authority of the request target differ."))
        }
        (Some(host), _) => Ok(host),
        (None, Some(authority)) => Ok(authority.as_str()),
        (None, None) => Err(refused("The request has no Host header.")),
    }
}

/// One hop of `X-Forwarded-For`: an address, with a port where the proxy is one that writes it.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(listen: &str, hosts: &[&str], edge: Edge) -> Site {
        Site {
            listen: listen.parse().unwrap(),
            scheme: Scheme::Http,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            edge,
            bucket: Bucket { name: "b.1".to_owned(), region: "us-east-1".to_owned() },
        }
    }

    #[test]
    fn p2_a_hotkeys_own_signature_counts_at_the_names_of_this_server_alone() {
        let check = |listen, hosts: &[&str], host, own| {
            let site = site(listen, hosts, Edge::default());
            assert_eq!(site.is_own_host(host), own, "{listen} {hosts:?} {host}");
        };
        for host in ["localhost:8014", "127.0.0.1:8014", "[::1]:8014"] {
            check("127.0.0.1:8014", &[], host, true);
            check("127.0.0.1:8014", &["s3.example.com"], host, false);
            check("10.0.0.1:8014", &[], host, false);
        }
        for host in ["localhost", "localhost:8015", "localhost:", "localhost.evil:8014", "evil:8014", ""] {
            check("127.0.0.1:8014", &[], host, false);
        }
        check("127.0.0.1:80", &[], "localhost", true);
        for (own, host, is_own) in [
            ("s3.example.com", "s3.example.com", true),
            ("s3.example.com", "S3.Example.com:8443", true),
            ("s3.example.com", "b.1.s3.example.com", true),
            ("s3.example.com", "other.s3.example.com", false),
            ("s3.example.com", "b.1.s3.example.com.evil", false),
            ("s3.example.com", "b.1s3.example.com", false),
            ("s3.example.com", "s3.example.com.", false),
            ("s3.example.com:8443", "s3.example.com:8443", true),
            ("s3.example.com:8443", "b.1.s3.example.com:8443", true),
            ("s3.example.com:8443", "s3.example.com", false),
            ("s3.example.com:8443", "b.1.s3.example.com:9999", false),
            ("localhost:8443", "localhost:8443", true),
        ] {
            check("127.0.0.1:8014", &[own], host, is_own);
        }
    }

    #[test]
    fn p28_the_bucket_is_what_stands_before_the_longest_name_that_fits() {
        for (hosts, host, bucket) in [
            (&["s3.example.com"][..], "b.1.s3.example.com", Some("b.1")),
            (&["s3.example.com"], "B.S3.Example.com:8443", Some("B")),
            (&["s3.example.com"], "s3.example.com", None),
            (&["s3.example.com"], ".s3.example.com", None),
            (&["s3.example.com"], "bs3.example.com", None),
            (&["s3.example.com"], "example.com", None),
            (&["example.com", "s3.example.com"], "s3.example.com:8443", None),
            (&["example.com", "s3.example.com"], "b.1.s3.example.com", Some("b.1")),
            (&["s3.example.com:8443", "example.com:8443"], "b.1.s3.example.com:8443", Some("b.1")),
            (&["example.com", "s3.example.com"], "b.1.example.com", Some("b.1")),
        ] {
            let site = site("127.0.0.1:8014", hosts, Edge::default());
            assert_eq!(site.host_bucket(host), bucket, "{hosts:?} {host}");
        }
    }

    #[test]
    fn people_are_told_a_name_of_this_server() {
        let check = |hosts: &[&str], asked: &str, told: Option<&str>| {
            let (head, ()) = http::Request::new(()).into_parts();
            let site = site("127.0.0.1:8014", hosts, Edge::default());
            assert_eq!(site.advertised_endpoint(&head, false, asked).as_deref(), told, "{hosts:?} {asked}");
        };
        check(&["s3.example.com", "b.example.com"], "b.example.com", Some("https://b.example.com"));
        check(&["s3.example.com"], "S3.example.com:8443", Some("https://s3.example.com:8443"));
        // Neither a bucket's own host nor a stranger's.
        check(&["s3.example.com"], "b.1.s3.example.com", Some("https://s3.example.com"));
        check(&["s3.example.com"], "evil.example", Some("https://s3.example.com"));
        check(&["s3.example.com"], "$(x)", Some("https://s3.example.com"));
        check(&[], "127.0.0.1:8014", Some("http://127.0.0.1:8014"));
        check(&[], "[::1]:8014", Some("http://[::1]:8014"));
        for asked in ["", "$(x)", "a b", "a\"b", "a'b", "a/b", "a;b", "<b>", "a@b", &"a".repeat(261)] {
            check(&[], asked, None);
        }
    }

    #[test]
    fn p15_the_address_is_what_the_outermost_trusted_proxy_saw() {
        let edge = Edge {
            networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ..Edge::default()
        };
        let site = site("127.0.0.1:8014", &[], edge);
        let seen = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", http::HeaderValue::from_static(value));
            }
            site.client_address(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(seen("9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "2.2.2.2"]), "2.2.2.2");
        // With a port, as some proxies write it.
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 2.2.2.2:4711"]), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, [2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, [2001:db8::1]"]), "2001:db8::1");
        // What cannot be read is not skipped: left of it stands what the client wrote.
        for unreadable in ["1.1.1.1, unknown", "1.1.1.1, ", "1.1.1.1, _hidden, 10.0.0.2"] {
            assert_eq!(seen("10.0.0.1", &[unreadable]), "10.0.0.1", "{unreadable}");
        }
    }
}
