//! `[server.tls.acme]`: certificates by the ACME protocol (RFC 8555), proved by TLS-ALPN-01 (RFC 8737).

use std::{net::IpAddr, path::PathBuf};

use http::Uri;

use super::section::Section;
use crate::{
    file_access::{SecretReaders, check_secret},
    tls::authorities,
};

/// Who is asked where nobody else is named.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Names in one certificate, as Let's Encrypt bounds them.
const DOMAINS_MAX: usize = 100;

/// Where certificates come from, and where they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The names of the certificate, lower case; at least one.
    pub domains: Vec<String>,
    /// Whom the authority may write to, such as `mailto:ops@example.com`.
    pub contacts: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// A PEM file of authorities that the directory's own certificate may come from, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The directory of the account's key, the certificates and their keys.
    pub cache_dir: PathBuf,
}

impl Acme {
    /// Reads the section; none where it has faults.
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let expected = "a list of host names such as [\"s3.example.com\"]";
        let is_given = section.rest_has("domains");
        let domains: Vec<String> = section.required("domains", expected);
        let mut fine = (1..=DOMAINS_MAX).contains(&domains.len());
        if is_given && !fine {
            section.error("domains", format_args!("must be {expected}, with 1 to {DOMAINS_MAX} names"));
        }
        for domain in &domains {
            if let Some(why) = domain_fault(domain) {
                fine = false;
                section.error("domains", format_args!("{domain:?} {why}"));
            }
        }
        let contacts: Vec<String> =
            section.or("contact", Vec::new(), "a list such as [\"mailto:ops@example.com\"]");
        for contact in contacts.iter().filter(|contact| !is_contact(contact)) {
            fine = false;
            section
                .error("contact", format_args!("{contact:?} is not of the form \"mailto:ops@example.com\""));
        }
        let expected = "a URL that begins with https://";
        let directory = section.parsed("directory", expected, |text| is_https(text).then(|| text.to_owned()));
        let ca_file = section.path("ca_file", "the path of a PEM file");
        if let Some(Err(error)) = ca_file.as_deref().map(authorities) {
            fine = false;
            section.error("ca_file", error);
        }
        let expected = "the path of a directory that this server may write to";
        let cache_dir: String = section.required("cache_dir", expected);
        let is_given = !cache_dir.is_empty();
        fine &= is_given;
        let cache_dir = section.resolve(&cache_dir);
        if let Some(why) = cache_dir_fault(&cache_dir).filter(|_| is_given) {
            fine = false;
            section.error("cache_dir", format_args!("{}: {why}", cache_dir.display()));
        }
        if !section.or("terms_agreed", false, "true or false") {
            fine = false;
            section.error(
                "terms_agreed",
                "must be true: read the terms of service that the directory names, and say so here",
            );
        }
        section.finish();
        let mut domains: Vec<String> = domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        domains.sort_unstable();
        domains.dedup();
        let directory = directory.unwrap_or_else(|| LETS_ENCRYPT.to_owned());
        fine.then_some(Self { domains, contacts, directory, ca_file, cache_dir })
    }
}

/// Why no certificate for `domain` can be had by TLS-ALPN-01.
fn domain_fault(domain: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if domain.starts_with("*.") {
        return Some(
            "is a wildcard, which TLS-ALPN-01 cannot prove; list the names themselves, such as \
             \"BUCKET.s3.example.com\", or have a certificate from elsewhere in server.tls.certificates",
        );
    }
    if domain.parse::<IpAddr>().is_ok() {
        return Some("is an address; a certificate is for names");
    }
    match domain.len() <= 253 && domain.contains('.') && domain.split('.').all(is_label) {
        true => None,
        false => Some("is not a host name such as \"s3.example.com\", without a port"),
    }
}

fn is_contact(text: &str) -> bool {
    let address = text.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
    address.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '?'))
}

fn is_https(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some())
}

/// What is wrong with a directory that is there; one that is not is made at the start.
fn cache_dir_fault(dir: &std::path::Path) -> Option<String> {
    match std::fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => Some("is not a directory".to_owned()),
        Ok(metadata) => check_secret(&metadata, SecretReaders::Owner).err().map(|_| {
            "holds keys, and others than its owner may look into it or it is another user's; chmod 700 it, \
             and let it belong to the user of this server"
                .to_owned()
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_name_that_can_be_proved() {
        for domain in
            ["s3.example.com", "S3.Example.com", "data-universe.s3.example.com", "xn--bcher-kva.example"]
        {
            assert_eq!(domain_fault(domain), None, "{domain}");
        }
        for domain in [
            "",
            "localhost",
            "*.example.com",
            "10.0.0.1",
            "::1",
            "s3.example.com:443",
            "-a.example",
            "a-.example",
            "a..example",
            "a.example.",
            "a_b.example",
            "a/b.example",
            "../a.example",
            "bücher.example",
        ] {
            assert!(domain_fault(domain).is_some(), "{domain}");
        }
        assert!(domain_fault(&format!("{}.example", "a".repeat(64))).is_some());
    }

    #[test]
    fn a_contact_is_an_address_of_mail() {
        assert!(is_contact("mailto:ops@example.com"));
        for contact in
            ["", "ops@example.com", "mailto:", "mailto:ops", "mailto:@b", "mailto:a@b,c@d", "mailto:a@b ?"]
        {
            assert!(!is_contact(contact), "{contact}");
        }
    }

    #[test]
    fn a_directory_is_asked_over_tls_alone() {
        assert!(is_https(LETS_ENCRYPT) && is_https("https://localhost:14000/dir"));
        assert!(!is_https("http://localhost/dir") && !is_https("https://") && !is_https("directory"));
    }
}
