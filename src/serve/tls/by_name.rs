//! Which certificate a client is shown: that of the name it asks for (RFC 6066, RFC 6125). Pure.
//!
//! Invariants: a wildcard stands for one label, the first; an exact name comes before a wildcard, and of
//! several certificates with a name the first that the client can check; who asks for no name, or for one
//! that nobody has, is shown the first of all.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::tls::Certificate;

/// Certificates by the names in them.
#[derive(Debug)]
pub(super) struct ByName {
    /// `s3.example.com` and `*.s3.example.com`, each in the order of the settings.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// All of them, for a name that nobody has.
    all: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Self {
        let (mut names, mut all) = (HashMap::<_, Vec<_>>::new(), Vec::new());
        for certificate in certificates {
            let key = certificate.certified_key();
            for name in certificate.names() {
                names.entry(name.clone()).or_default().push(Arc::clone(key));
            }
            all.push(Arc::clone(key));
        }
        Self { names, all }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether there is one of the name itself, or of the wildcard above it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.named(name).is_some()
    }

    fn named(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = name.to_ascii_lowercase();
        self.names.get(&name).or_else(|| {
            let (_, above) = name.split_once('.')?;
            self.names.get(&format!("*.{above}"))
        })
    }

    /// The certificate for `name`, as a client asks for it that checks these signatures.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let all = name.and_then(|name| self.named(name)).unwrap_or(&self.all);
        all.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or_else(|| all.first())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    fn certificate(names: &[&str], algorithm: &'static SignatureAlgorithm) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Certificate::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    #[test]
    fn a_name_has_its_certificate_and_all_others_the_first() {
        let p256 = &PKCS_ECDSA_P256_SHA256;
        let all = [
            certificate(&["first.example"], p256),
            certificate(&["*.s3.example.com", "s3.example.com"], p256),
            certificate(&["b.s3.example.com", "first.example"], p256),
            certificate(&["ed.example"], &PKCS_ED25519),
            certificate(&["ed.example"], p256),
        ];
        let by_name = ByName::new(&all);
        let p256 = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let found = |name: Option<&str>, schemes: &[SignatureScheme]| {
            let key = by_name.find(name, schemes).unwrap();
            all.iter().position(|certificate| Arc::ptr_eq(certificate.certified_key(), key)).unwrap()
        };
        for (name, index) in [
            (None, 0),
            (Some("first.example"), 0),
            (Some("s3.example.com"), 1),
            (Some("S3.EXAMPLE.com"), 1),
            (Some("a.s3.example.com"), 1),
            (Some("b.s3.example.com"), 2),
            (Some("a.b.s3.example.com"), 0),
            (Some("unknown.example"), 0),
            (Some("com"), 0),
            (Some("*"), 0),
        ] {
            assert_eq!(found(name, &p256), index, "{name:?}");
        }
        assert_eq!(found(Some("ed.example"), &p256), 4);
        assert_eq!(found(Some("ed.example"), &[SignatureScheme::ED25519]), 3);
        // Who can check none of them is told so by what it gets.
        assert_eq!(found(Some("ed.example"), &[SignatureScheme::RSA_PSS_SHA256]), 3);
        assert!(ByName::new([]).find(None, &p256).is_none());
    }
}
