//! Certificates by ACME in the listener: whom they are shown, and how an authority that validates a domain is
//! answered (RFC 8737).
//!
//! Invariants: a domain of the settings is shown its own certificate or none; a proof is shown only while an
//! authority is asked for one, and no HTTP is spoken where it was.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{ByName, provider};
use crate::acme::{Acme, CHALLENGE_PROTOCOL};

/// Certificates of files, and the one that comes by ACME.
#[derive(Debug)]
pub(super) struct WithAcme {
    pub(super) files: ByName,
    pub(super) acme: Arc<Acme>,
}

impl ResolvesServerCert for WithAcme {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_for_acme = match hello.server_name() {
            // Until there is one, what a file has for the name is better than nothing.
            Some(name) if self.acme.is_for(&name.to_ascii_lowercase()) => {
                self.acme.certificate().is_some() || !self.files.has(name)
            }
            Some(_) => false,
            None => self.files.is_empty(),
        };
        match is_for_acme {
            true => self.acme.certificate(),
            false => self.files.resolve(hello),
        }
    }
}

/// How an authority is answered that begins with `hello`; none where this is no validation, or not one of a
/// domain that is being validated.
pub(super) fn challenge(acme: &Acme, hello: &ClientHello<'_>) -> Option<Result<ServerConfig, rustls::Error>> {
    let mut protocols = hello.alpn()?;
    let is_asked = protocols.next() == Some(CHALLENGE_PROTOCOL) && protocols.next().is_none();
    let name = hello.server_name().filter(|_| is_asked)?.to_ascii_lowercase();
    let proof = acme.challenge(&name)?;
    Some(challenge_config(&proof))
}

fn challenge_config(proof: &CertifiedKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(proof.clone())));
    config.alpn_protocols = vec![CHALLENGE_PROTOCOL.to_vec()];
    Ok(config)
}
