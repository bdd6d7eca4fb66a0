//! The HTTP client of the commands that call a Subgate server: pooled connections, TLS, no redirects. \[IO\]

use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;

use super::exit::CommandError;
use crate::tls::{self, TlsError};

/// A client over TLS or plain HTTP/1.1. Which URLs it may call is checked by
/// [`super::server_url::ServerUrl`].
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts the system's certificates and those of `ca_file`, a PEM file.
pub(crate) fn new(ca_file: Option<&Path>) -> Result<HttpClient, CommandError> {
    let tls = tls::client_config(ca_file).map_err(|error| match error {
        TlsError::CaFile { .. } => CommandError::no_input(format!("--ca-file (AWS_CA_BUNDLE) {error}")),
        TlsError::Provider(error) => CommandError::software(format!("TLS: {error}")),
    })?;
    Ok(with_tls(tls))
}

/// A client that trusts whom `tls` says.
pub(crate) fn with_tls(tls: ClientConfig) -> HttpClient {
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The innermost cause of an error: "connection refused" rather than "client error (Connect)".
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
