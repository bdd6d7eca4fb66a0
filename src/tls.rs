//! What TLS trusts where Subgate calls somebody, the certificate authorities of the system and those of a
//! file; and the certificates that its listeners present.
//!
//! aws-lc-rs is its one provider. Invariant: a file that is named holds at least one certificate, and every
//! one in it can be used.

mod certificate;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use certificate::{Certificate, CertificateError, Validity};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::file_access::read_regular_file;

/// A bundle of authorities has a few 100 KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of certificate authorities cannot be used.
    #[error("{path}: {what}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The provider has none of the protocol's versions.
    #[error(transparent)]
    Provider(#[from] rustls::Error),
}

/// TLS of a client without a certificate of its own, which trusts the system and `ca_file`, a PEM file.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system that cannot be read is left out; one of a file is an error.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add_authorities(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The certificate authorities of a PEM file, and no others.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    add_authorities(&mut roots, path)?;
    Ok(roots)
}

fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let unusable = |what: String| TlsError::CaFile { path: path.to_owned(), what };
    let mut added = 0;
    let file = read_regular_file(path, FILE_BYTES_MAX).map_err(|error| unusable(error.to_string()))?;
    for certificate in CertificateDer::pem_slice_iter(&file.bytes) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        added += 1;
    }
    match added {
        0 => Err(unusable("holds no certificate".to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_named_must_hold_certificates() {
        assert!(client_config(None).is_ok());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let fault = || client_config(Some(&path)).unwrap_err().to_string();
        assert!(fault().contains("ca.pem: "));
        for text in ["", "nothing of that kind"] {
            std::fs::write(&path, text).unwrap();
            assert!(fault().ends_with("holds no certificate"), "{text}");
        }
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(!fault().is_empty());
    }
}
