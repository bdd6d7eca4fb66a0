//! The HTTP client of the commands that call a Subgate server: pooled connections, TLS, no redirects. \[IO\]

use std::{fmt::Display, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::exit::CommandError;

/// A client over TLS or plain HTTP/1.1. Which URLs it may call is checked by
/// [`super::server_url::ServerUrl`].
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts the system's certificates and those of `ca_file`, a PEM file.
pub(crate) fn new(ca_file: Option<&Path>) -> Result<HttpClient, CommandError> {
    let tls = tls_config(ca_file)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, CommandError> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system that cannot be read is left out; one of --ca-file is an error.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let unusable = |reason: &dyn Display| {
            CommandError::no_input(format!("--ca-file (AWS_CA_BUNDLE) {}: {reason}", path.display()))
        };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(&format_args!("PEM certificates are expected: {error}")))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(unusable(&"the file contains no certificate"));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CommandError::software(format!("TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The innermost cause of an error: "connection refused" rather than "client error (Connect)".
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
