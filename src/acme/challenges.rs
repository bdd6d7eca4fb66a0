//! The certificates that prove a domain while an authority validates it (RFC 8737, section 3).

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

/// What is under way, by domain in lower case.
#[derive(Default)]
pub(super) struct Challenges(ArcSwap<HashMap<String, Arc<CertifiedKey>>>);

impl Challenges {
    /// What proves `domain` now.
    pub(super) fn get(&self, domain: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().get(domain).map(Arc::clone)
    }

    /// From now on `domain` is proved by a certificate with this digest of the key authorization.
    pub(super) fn add(&self, domain: &str, digest: &[u8]) -> Result<(), String> {
        let proof = Arc::new(proof(domain, digest)?);
        self.0.rcu(|challenges| {
            let mut challenges = HashMap::clone(challenges);
            challenges.insert(domain.to_owned(), Arc::clone(&proof));
            challenges
        });
        Ok(())
    }

    /// Nothing is proved any more.
    pub(super) fn clear(&self) {
        self.0.store(Arc::default());
    }
}

/// A certificate that names `domain` alone, with the digest in the extension that RFC 8737 has for it, signed
/// by nobody.
fn proof(domain: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let failed = |error: rcgen::Error| format!("the certificate of the challenge cannot be made: {error}");
    let mut params = CertificateParams::new([domain.to_owned()]).map_err(failed)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let unusable = |error: rustls::Error| format!("the certificate of the challenge cannot be used: {error}");
    let key = provider.key_provider.load_private_key(key).map_err(unusable)?;
    // Not read again, for the extension is critical and unknown to whoever reads certificates.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_proved_only_while_it_is_validated() {
        let challenges = Challenges::default();
        assert!(challenges.get("a.example").is_none());
        challenges.add("a.example", &[7; 32]).unwrap();
        challenges.add("b.example", &[8; 32]).unwrap();
        let proof = challenges.get("a.example").unwrap();
        // The extension 1.3.6.1.5.5.7.1.31, critical, with the digest in two octet strings.
        let extension = [
            &[
                0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22,
                0x04, 0x20,
            ],
            &[7; 32][..],
        ]
        .concat();
        let der = proof.cert.first().unwrap();
        assert!(der.windows(extension.len()).any(|window| window == extension));
        assert!(challenges.get("c.example").is_none());
        challenges.clear();
        assert!(challenges.get("a.example").is_none() && challenges.get("b.example").is_none());
    }
}
