//! A certificate with its key, as a listener presents it: read from PEM, with its names (RFC 5280, RFC 6125)
//! and the time in which it counts. Pure.
//!
//! Invariants: the key is that of the certificate, and the certificate names somebody.

use std::{fmt, sync::Arc};

use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_cert::{
    Certificate as X509,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// A chain of certificates with the key of its first, ready to be presented.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    valid_from_seconds: u64,
    valid_until_seconds: u64,
}

/// Which of the two texts is at fault, and why; to be put behind the name of its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain.
    #[error("{0}")]
    Chain(String),
    /// The key.
    #[error("{0}")]
    Key(String),
}

/// Whether a certificate counts at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It does.
    Valid,
    /// Its time begins later.
    NotYet,
    /// Its time is over.
    Expired,
}

impl Certificate {
    /// Reads a chain, the server's own certificate first, and its key; both PEM.
    ///
    /// # Errors
    /// Where there is none, where it cannot be read, where it names nobody, or where the two do not fit.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let in_chain = |what: String| CertificateError::Chain(what);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| in_chain(format!("cannot be read as PEM: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| no_key(key, &error))?;
        Self::new(chain, key)
    }

    /// The same from what PEM would hold.
    ///
    /// # Errors
    /// As for [`Certificate::from_pem`].
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let in_chain = |what: &str| CertificateError::Chain(what.to_owned());
        let own = chain.first().ok_or_else(|| {
            in_chain("holds no certificate (a line -----BEGIN CERTIFICATE----- is missing)")
        })?;
        let unreadable = |error: x509_cert::der::Error| {
            in_chain(&format!("its first certificate cannot be read: {error}"))
        };
        let parsed = X509::from_der(own).map_err(unreadable)?.tbs_certificate;
        let names = parsed.get::<SubjectAltName>().map_err(unreadable)?;
        let names: Vec<String> =
            names.iter().flat_map(|(_, names)| names.0.iter().filter_map(name)).collect();
        if names.is_empty() {
            return Err(in_chain(
                "its first certificate names no host (subjectAltName), so clients believe it nowhere",
            ));
        }
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
        let valid_from_seconds = seconds(parsed.validity.not_before);
        let valid_until_seconds = seconds(parsed.validity.not_after);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = match CertifiedKey::from_der(chain, key, &provider) {
            Ok(key) => Arc::new(key),
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(CertificateError::Key("is not the key of its certificate".to_owned()));
            }
            Err(rustls::Error::InvalidCertificate(error)) => {
                return Err(in_chain(&format!("its first certificate cannot be used: {error:?}")));
            }
            // Its words are of the form of the key, never of its bytes.
            Err(error) => return Err(CertificateError::Key(format!("cannot be used: {error}"))),
        };
        Ok(Self { key, names, valid_from_seconds, valid_until_seconds })
    }

    /// Whom it names, in lower case: hosts, such as `s3.example.com` and `*.s3.example.com`, and addresses.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Unix seconds from which on it counts.
    pub fn valid_from_seconds(&self) -> u64 {
        self.valid_from_seconds
    }

    /// Unix seconds after which it counts no more.
    pub fn valid_until_seconds(&self) -> u64 {
        self.valid_until_seconds
    }

    /// Whether it counts at that time, in Unix seconds.
    pub fn validity_at(&self, seconds: u64) -> Validity {
        if seconds > self.valid_until_seconds {
            Validity::Expired
        } else if seconds < self.valid_from_seconds {
            Validity::NotYet
        } else {
            Validity::Valid
        }
    }

    /// What is presented.
    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether both present the same chain.
    pub(crate) fn is_same_chain(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, until {})", self.names.join(", "), self.valid_until_seconds)
    }
}

/// A name that a client could look for.
fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(address) => {
            let address = address.as_bytes();
            let v4 = <[u8; 4]>::try_from(address).map(|bytes| std::net::IpAddr::from(bytes).to_string());
            let v6 = <[u8; 16]>::try_from(address).map(|bytes| std::net::IpAddr::from(bytes).to_string());
            v4.or(v6).ok()
        }
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn no_key(text: &[u8], error: &pem::Error) -> CertificateError {
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    let what = match error {
        pem::Error::NoItemsFound if memchr::memmem::find(text, encrypted).is_some() => {
            "is encrypted with a password; store it as it is (openssl pkey -in FILE), mode 600".to_owned()
        }
        pem::Error::NoItemsFound => {
            "holds no key (a line such as -----BEGIN PRIVATE KEY----- is missing)".to_owned()
        }
        _ => "cannot be read as PEM".to_owned(),
    };
    CertificateError::Key(what)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn params(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn made(params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn fault(chain: &str, key: &str) -> String {
        Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn it_knows_its_names_and_its_time() {
        let mut params = params(&["S3.Example.com", "*.s3.example.com", "127.0.0.1", "::1"]);
        params.subject_alt_names.push(SanType::Rfc822Name("a@example.com".try_into().unwrap()));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 2, 1);
        let (chain, key) = made(&params);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(certificate.names(), ["s3.example.com", "*.s3.example.com", "127.0.0.1", "::1"]);
        let (from, until) = (1_767_225_600, 1_769_904_000);
        assert_eq!(certificate.valid_until_seconds(), until);
        for (seconds, validity) in [
            (from - 1, Validity::NotYet),
            (from, Validity::Valid),
            (until, Validity::Valid),
            (until + 1, Validity::Expired),
        ] {
            assert_eq!(certificate.validity_at(seconds), validity, "{seconds}");
        }
        assert_eq!(
            format!("{certificate:?}"),
            format!("Certificate(s3.example.com, *.s3.example.com, 127.0.0.1, ::1, until {until})")
        );
    }

    #[test]
    fn every_fault_says_which_of_the_two_it_is() {
        let (chain, key) = made(&params(&["a.example"]));
        let (other_chain, other_key) = made(&params(&["a.example"]));
        assert_eq!(fault(&chain, &other_key), "is not the key of its certificate");
        assert!(fault("", &key).starts_with("holds no certificate"));
        assert!(fault(&key, &key).starts_with("holds no certificate"));
        assert!(fault(&chain, "").starts_with("holds no key"));
        assert!(fault(&chain, &chain).starts_with("holds no key"));
        assert!(fault("-----BEGIN CERTIFICATE-----\nAAAA", &key).starts_with("cannot be read as PEM"));
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(fault(rubbish, &key).starts_with("its first certificate cannot be read"));
        let rubbish = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(fault(&chain, rubbish).starts_with("cannot be used"));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(fault(&chain, encrypted).starts_with("is encrypted"));
        let (nameless, key) = made(&params(&[]));
        assert!(fault(&nameless, &key).starts_with("its first certificate names no host"));
        // The chain begins with the server's own.
        assert_eq!(fault(&format!("{chain}{other_chain}"), &other_key), "is not the key of its certificate");
    }
}
