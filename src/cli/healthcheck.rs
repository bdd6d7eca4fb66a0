//! `subgate healthcheck`: ask a running server how it does, for whoever watches over containers. \[IO\]
//!
//! The question holds no secret, and nothing of the answer is believed but its status. So a server on this
//! machine is asked over TLS without a look at its certificate, which has no name of loopback's: one that has
//! expired is a matter for an alert, and no reason to restart the process.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Limited};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde::Deserialize;

use super::{
    exit::{CommandError, Exit},
    http_client::{self, HttpClient, SentBody, root_cause},
    runtime,
    server_url::ServerUrl,
    terminal,
};

/// From the connection to the end of the answer: the store has 2 seconds of it.
const TOTAL_TIME_MAX: Duration = Duration::from_secs(5);

/// An answer has a sentence, or one for each part.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How much of the server's own message is shown.
const DETAIL_CHARS_MAX: usize = 300;

/// Options of `subgate healthcheck`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  subgate healthcheck
  subgate healthcheck --url https://127.0.0.1:8014 --ready

Without --ready the question is whether the process answers (/healthz): who restarts what is unhealthy asks
that. With it, whether it can do its work (/readyz), which the store and the chain decide as well: who waits
for a server asks that. It ends with 0 if so and with 1 if not, as HEALTHCHECK of an image expects, and with
64 for a wrong option. An answer that takes longer than 5 seconds is none.

Over https:// to loopback the certificate is not looked at; elsewhere it must be one that the system
trusts.")]
pub(crate) struct HealthcheckOptions {
    /// URL of the server, or of its admin listener
    #[arg(
        long,
        env = "SUBGATE_HEALTHCHECK_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8014"
    )]
    url: String,

    /// Ask whether it can do its work
    #[arg(long)]
    ready: bool,
}

/// Runs `subgate healthcheck`.
pub(crate) fn run(options: &HealthcheckOptions) -> Result<(), CommandError> {
    // Plain HTTP is fine anywhere: no secret goes either way.
    let server = ServerUrl::parse_option("--url", &options.url, true)?;
    let client = client(&server)?;
    let url = format!("{}{}", server.canonical(), if options.ready { "/readyz" } else { "/healthz" });
    let asked = runtime::current_thread()?
        .block_on(async { tokio::time::timeout(TOTAL_TIME_MAX, ask(&client, &url)).await });
    asked.unwrap_or_else(|_| {
        Err(unhealthy(format_args!("{url} did not answer within {} seconds", TOTAL_TIME_MAX.as_secs())))
    })?;
    terminal::print_line(format_args!("{url} answered 200"));
    Ok(())
}

async fn ask(client: &HttpClient, url: &str) -> Result<(), CommandError> {
    let request = Request::get(url).body(SentBody::from(Bytes::new())).map_err(CommandError::software)?;
    let response = client
        .request(request)
        .await
        .map_err(|error| unhealthy(format_args!("{url} cannot be reached: {}", root_cause(&error))))?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    // The status counts, whatever becomes of the words that explain it.
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_or_else(|_| Bytes::new(), Collected::to_bytes);
    Err(unhealthy(format_args!("{url} answered {}{}", status.as_u16(), explanation(&body))))
}

/// What the server says of it: the sentence of its JSON, or the text as it is.
fn explanation(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        detail: String,
    }
    let text = serde_json::from_slice::<Answer>(body)
        .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |answer| answer.detail);
    match text.trim() {
        "" => String::new(),
        text => format!(": {}", text.chars().take(DETAIL_CHARS_MAX).collect::<String>()),
    }
}

fn unhealthy(message: impl fmt::Display) -> CommandError {
    CommandError::new(Exit::Failed, message)
}

fn client(server: &ServerUrl) -> Result<HttpClient, CommandError> {
    if !server.is_loopback() {
        return http_client::new(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(OwnMachine(Arc::clone(&provider)));
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(CommandError::software)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(http_client::with_tls(tls))
}

/// Takes any certificate, of a server on this machine alone.
#[derive(Debug)]
struct OwnMachine(Arc<CryptoProvider>);

impl ServerCertVerifier for OwnMachine {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
