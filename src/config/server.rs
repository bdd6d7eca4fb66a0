//! Listeners and connections.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
};

use ipnet::IpNet;

use super::{admin::AdminEntry, section::Section, tls::Tls};
use crate::file_access::SecretReaders;

/// Listeners and connections.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address of the listener for clients.
    pub listen: SocketAddr,
    /// Address of the admin listener, if enabled.
    pub admin: Option<SocketAddr>,
    /// Who may look in there, and over what.
    pub admin_entry: AdminEntry,
    /// The names under which clients know this server, lower case, with or without a port.
    pub hosts: Vec<String>,
    /// The origins of pages that may call this server from a browser, as browsers send them.
    pub cors_origins: Vec<String>,
    /// TLS of the listener for clients; none where it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Proxies in front of this server that begin each connection with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Trusted proxies in front of this server.
    pub edge: Edge,
    /// Who may read the files of secrets that the configuration names.
    pub secret_readers: SecretReaders,
    /// Most connections at one time; none where it follows from the open files.
    pub connections_max: Option<u64>,
    /// Seconds within which a request's head must have arrived.
    pub head_seconds_max: u64,
    /// Seconds after which a connection without a request is closed.
    pub idle_seconds_max: u64,
    /// Seconds that requests in progress get to finish at shutdown.
    pub drain_seconds: u64,
    /// Seconds between two looks at the configuration and its files; none where nobody looks.
    pub watch_seconds: Option<NonZeroU64>,
}

/// Trusted proxies in front of this server (P15, P27).
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Their networks.
    pub networks: Vec<IpNet>,
    /// Values of accept-encoding that clients may have signed before a proxy rewrote it.
    pub accept_encodings: Vec<String>,
    /// Whether a proxy replaces the Host header, so that the names of `server.hosts` are tried as well.
    pub rewrites_host: bool,
}

impl Edge {
    /// Whether `peer` is one of them.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        contain(&self.networks, peer)
    }
}

/// Proxies in front of this server that begin each connection with a PROXY header.
#[derive(Debug, Clone, Default)]
pub struct ProxyProtocol {
    /// Their networks.
    pub networks: Vec<IpNet>,
}

impl ProxyProtocol {
    /// Whether a connection from `peer` begins with a header.
    pub(crate) fn is_spoken_by(&self, peer: IpAddr) -> bool {
        contain(&self.networks, peer)
    }
}

fn contain(networks: &[IpNet], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    networks.iter().any(|network| network.contains(&peer))
}

fn read_networks(section: &mut Section) -> Vec<IpNet> {
    let networks: Vec<String> =
        section.or("networks", Vec::new(), "a list of networks such as [\"10.0.0.0/8\"]");
    let mut parsed = Vec::new();
    for network in &networks {
        match network.parse::<IpNet>().or_else(|_| network.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => parsed.push(network),
            Err(_) => {
                section.error("networks", format_args!("{network:?} is not a network such as \"10.0.0.0/8\""))
            }
        }
    }
    parsed
}

impl Server {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        let expected = "an address with a port such as \"127.0.0.1:8014\"";
        let listen =
            section.parsed("listen", expected, address).unwrap_or_else(|| ([127, 0, 0, 1], 8014).into());
        let admin = section.parsed("admin", expected, address);
        let hosts: Vec<String> =
            section.or("hosts", Vec::new(), "a list of host names such as [\"s3.example.com\"]");
        for host in &hosts {
            if !is_host(host) {
                section.error(
                    "hosts",
                    format_args!(
                        "{host:?} is not a host name such as \"s3.example.com\" or \"s3.example.com:8443\""
                    ),
                );
            }
        }
        let cors_origins: Vec<String> =
            section.or("cors_origins", Vec::new(), "a list of origins such as [\"https://app.example.com\"]");
        for origin in cors_origins.iter().filter(|origin| !is_origin(origin)) {
            section.error(
                "cors_origins",
                format_args!("{origin:?} is not an exact origin such as \"https://app.example.com\""),
            );
        }
        let plaintext = section.or("plaintext_beyond_loopback", false, "true or false");
        let tls = section.section("tls");
        // One with faults has told them already.
        let is_plaintext = tls.is_empty();
        if !listen.ip().is_loopback() && !plaintext && is_plaintext {
            section.error(
                "listen",
                format_args!(
                    "{listen} is beyond loopback without TLS, so sessions could be read on the way; set \
                    server.tls.certificates, listen on 127.0.0.1 behind a TLS proxy, or set \
                    server.plaintext_beyond_loopback = true"
                ),
            );
        }
        if let Some(admin) = admin.filter(|admin| *admin == listen && admin.port() != 0) {
            section.error("admin", format_args!("{admin} is the address of server.listen; choose another"));
        }
        let mut edge = section.section("edge");
        let networks = read_networks(&mut edge);
        let accept_encodings =
            edge.or("accept_encodings", Vec::new(), "a list such as [\"identity\", \"gzip\"]");
        let rewrites_host = edge.or("rewrites_host", false, "true or false");
        edge.finish();
        let mut proxy_protocol = section.section("proxy_protocol");
        let proxy_protocol_networks = read_networks(&mut proxy_protocol);
        proxy_protocol.finish();
        let secret_readers = match section.or("group_reads_secrets", false, "true or false") {
            true => SecretReaders::OwnerAndGroup,
            false => SecretReaders::Owner,
        };
        let tls = Tls::read(tls, secret_readers);
        let admin_entry = AdminEntry::read(&mut section, admin, !is_plaintext, secret_readers);
        let connections_max = section.number_given("connections_max", 1..=1_000_000);
        let head_seconds_max = section.number("head_seconds_max", 15, 1..=600);
        let idle_seconds_max = section.number("idle_seconds_max", 60, 1..=3600);
        let drain_seconds = section.number("drain_seconds", 30, 0..=3600);
        let watch_seconds = NonZeroU64::new(section.number("watch_seconds", 5, 0..=3600));
        section.finish();
        Some(Self {
            listen,
            admin,
            admin_entry,
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            cors_origins,
            tls,
            proxy_protocol: ProxyProtocol { networks: proxy_protocol_networks },
            edge: Edge { networks, accept_encodings, rewrites_host },
            secret_readers,
            connections_max,
            head_seconds_max,
            idle_seconds_max,
            drain_seconds,
            watch_seconds,
        })
    }
}

/// Whether a browser sends this text as an origin: scheme and host in lower case, and a port that is not the
/// scheme's own.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    is_host(host) && !host.contains('*') && !host.ends_with(own_port) && text == text.to_ascii_lowercase()
}

fn is_host(text: &str) -> bool {
    text.parse::<http::uri::Authority>()
        .is_ok_and(|authority| !authority.host().is_empty() && !text.contains('@'))
}
