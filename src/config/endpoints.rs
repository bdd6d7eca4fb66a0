//! The endpoints beside S3: form redirects, lists of miners.

use super::section::Section;

/// The endpoints beside S3.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Hosts, with a port where there is one, to which a form may have its client redirected.
    pub redirect_hosts: Vec<String>,
    /// Seconds for which a list of miners is cached.
    pub discovery_cache_seconds: u64,
    /// Seconds after which the discovery of miners is given up.
    pub discovery_seconds_max: u64,
}

impl Endpoints {
    pub(super) fn read(mut section: Section) -> Self {
        let expected = "a list of hosts such as [\"app.example.com\"]";
        let redirect_hosts: Vec<String> = section.or("redirect_hosts", Vec::new(), expected);
        for host in &redirect_hosts {
            let is_host = host
                .parse::<http::uri::Authority>()
                .is_ok_and(|authority| !authority.host().is_empty() && !host.contains('@'));
            if !is_host {
                section.error("redirect_hosts", format_args!("{host:?} is not in {expected}"));
            }
        }
        let discovery_cache_seconds = section.number("discovery_cache_seconds", 10, 0..=60);
        let discovery_seconds_max = section.number("discovery_seconds_max", 25, 1..=600);
        section.finish();
        Self { redirect_hosts, discovery_cache_seconds, discovery_seconds_max }
    }
}
