//! The HTTP client of the commands, with the errors of the command line.

use std::path::Path;

use super::exit::CommandError;
pub(crate) use crate::client::http::{HttpClient, SentBody, root_cause, with_tls};
use crate::{client::http, tls::TlsError};

/// A client that trusts the system's certificates and those of `ca_file`, a PEM file. Which URLs it may call
/// is checked by [`super::server_url::ServerUrl`].
pub(crate) fn new(ca_file: Option<&Path>) -> Result<HttpClient, CommandError> {
    http::new(ca_file).map_err(|error| match error {
        TlsError::CaFile { .. } => CommandError::no_input(format!("--ca-file (AWS_CA_BUNDLE) {error}")),
        TlsError::Provider(error) => CommandError::software(format!("TLS: {error}")),
    })
}
