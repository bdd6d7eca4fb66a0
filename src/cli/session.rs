//! The client of `POST /v1/session`: signs by btauth/1, asks, and checks the answer. \[IO\]
//!
//! A secret comes back, so the request goes over TLS or not beyond this machine, to the named host alone: redirects
//! are not followed.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Deserialize;

use super::exit::{CommandError, Exit};
use crate::{
    auth::{bittensor::btauth, bittensor::sr25519::Keypair},
    chain::AccountId,
    secret::Secret,
};

/// From the first packet to the last byte of the answer.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer has about 1.5 KB, and some for each folder.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;

const PATH: &str = "/v1/session";

/// What the terminal shows of a server's own words.
const DETAIL_CHARS_MAX: usize = 300;

/// A Subgate server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    uri: Uri,
}

impl Endpoint {
    /// `https://HOST[:PORT]`, or `http://` to this machine, or anywhere where `insecure_http` allows it.
    pub(crate) fn new(text: &str, insecure_http: bool) -> Result<Self, CommandError> {
        let fault = |what: &str| CommandError::usage(format!("--endpoint {text:?}: {what}"));
        let uri: Uri =
            text.parse().map_err(|_| fault("a URL is expected, such as https://s3.example.com"))?;
        let host = uri.host().ok_or_else(|| fault("a URL is expected, such as https://s3.example.com"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if insecure_http || is_loopback(host) => {}
            Some("http") => {
                return Err(fault(
                    "a session's secret would travel unencrypted; use https:// (or --insecure-http inside a network that you trust)",
                ));
            }
            _ => return Err(fault("it must start with https:// or http://")),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(fault("no user name may be in it"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(fault("no path or query may be in it: the server is meant, not a bucket"));
        }
        Ok(Self { uri })
    }

    /// The one spelling of this server that names its cache entry.
    pub(crate) fn canonical(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{}", self.uri.scheme_str().unwrap_or_default(), authority.to_ascii_lowercase())
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// The server's identity, where the caller pins it.
    pub(crate) receiver: Option<AccountId>,
    /// The session's lifetime; the server's default otherwise.
    pub(crate) ttl_seconds: Option<u64>,
}

/// A session as the server gave it, with what was checked of it.
#[derive(Debug)]
pub(crate) struct Session {
    /// The JSON of `credential_process`, on one line.
    pub(crate) json: Secret,
    /// When it ends.
    pub(crate) expiration: Timestamp,
    /// Whose it is.
    pub(crate) hotkey: AccountId,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialProcess {
    version: u32,
    access_key_id: AccountId,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl Session {
    /// Reads what a server or the cache gave; `None` for anything that AWS's clients would not take.
    pub(crate) fn from_json(text: &[u8]) -> Option<Self> {
        let fields: CredentialProcess = serde_json::from_slice(text).ok()?;
        if fields.version != 1 || fields.secret_access_key.is_empty() || fields.session_token.is_empty() {
            return None;
        }
        // On one line whatever the server's formatting, and what is printed is JSON for certain.
        let value: serde_json::Value = serde_json::from_slice(text).ok()?;
        let json = Secret::new(serde_json::to_vec(&value).ok()?);
        Some(Self { json, expiration: fields.expiration.parse().ok()?, hotkey: fields.access_key_id })
    }
}

/// How a command that acts as a client speaks HTTP.
pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts the system's roots and those of `ca_file`.
pub(crate) fn http_client(ca_file: Option<&Path>) -> Result<HttpClient, CommandError> {
    let tls = tls_config(ca_file)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// The runtime of the commands that act as clients.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::software(format!("the runtime cannot start: {error}")))
}

/// Asks `endpoint` for a session of `pair`.
pub(crate) async fn ask(
    client: &HttpClient,
    endpoint: &Endpoint,
    pair: &Keypair,
    ask: Ask,
) -> Result<Session, CommandError> {
    let server = endpoint.canonical();
    let exchange = exchange(client, endpoint, pair, ask);
    let (status, body) = tokio::time::timeout(TOTAL_TIMEOUT, exchange).await.map_err(|_| {
        CommandError::unavailable(format!(
            "{server} did not answer within {} seconds",
            TOTAL_TIMEOUT.as_secs()
        ))
    })??;
    if status != StatusCode::OK {
        return Err(refusal(&server, status, body.expose()));
    }
    let session = Session::from_json(body.expose()).ok_or_else(|| {
        CommandError::unavailable(format!(
            "{server} answered 200 with something that is not a session: is it Subgate?"
        ))
    })?;
    if session.hotkey != pair.account() {
        return Err(CommandError::unavailable(format!("{server} answered with a session of another hotkey")));
    }
    Ok(session)
}

async fn exchange(
    client: &HttpClient,
    endpoint: &Endpoint,
    pair: &Keypair,
    ask: Ask,
) -> Result<(StatusCode, Secret), CommandError> {
    let server = endpoint.canonical();
    let body = body_of(ask);
    let request = signed_request(endpoint, pair, ask.receiver.as_ref(), body)?;
    let response = client.request(request).await.map_err(|error| {
        CommandError::unavailable(format!("{server} cannot be reached: {}", root_cause(&error)))
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| {
        CommandError::unavailable(format!("{server} broke off its answer: {}", root_cause(error.as_ref())))
    })?;
    Ok((status, Secret::new(body.to_bytes().to_vec())))
}

fn body_of(ask: Ask) -> Bytes {
    ask.ttl_seconds.map_or_else(Bytes::new, |ttl| Bytes::from(format!(r#"{{"ttl_seconds":{ttl}}}"#)))
}

fn signed_request(
    endpoint: &Endpoint,
    pair: &Keypair,
    receiver: Option<&AccountId>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, CommandError> {
    let nonce_nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let nonce_nanos = u64::try_from(nonce_nanos).unwrap_or(u64::MAX);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{PATH}", endpoint.canonical()))
        .header(header::USER_AGENT, concat!("subgate/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json");
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in btauth::sign(pair, "POST", PATH, &body, receiver, nonce_nanos) {
        request = request.header(name, value);
    }
    request
        .body(Full::new(body))
        .map_err(|error| CommandError::software(format!("the request cannot be built: {error}")))
}

fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, CommandError> {
    let mut roots = RootCertStore::empty();
    // A root of the system that cannot be read is one fewer; a wrong --ca-file is a fault.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let fault = |what: &dyn std::fmt::Display| {
            CommandError::no_input(format!("--ca-file (AWS_CA_BUNDLE) {}: {what}", path.display()))
        };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| fault(&format_args!("PEM certificates are expected: {error}")))?;
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(fault(&"there is no certificate in it"));
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CommandError::software(format!("TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// What the server said, and what to do next.
fn refusal(server: &str, status: StatusCode, body: &[u8]) -> CommandError {
    #[derive(Deserialize)]
    struct Detail {
        detail: String,
    }
    let detail = serde_json::from_slice::<Detail>(body).ok().map(|answer| answer.detail);
    let said = detail.map_or_else(String::new, |detail| {
        format!(": {}", detail.chars().take(DETAIL_CHARS_MAX).collect::<String>())
    });
    let (exit, next) = match status.as_u16() {
        401 => (
            Exit::Refused,
            "check that this machine's clock is right (a signature lives 10 seconds) and that --receiver is the server's",
        ),
        403 if !said.is_empty() => (Exit::Refused, ""),
        403 => (Exit::Refused, "check that the hotkey is registered on this server's subnet"),
        404 | 405 => (Exit::Refused, "check that --endpoint is a Subgate server"),
        429 | 503 => (Exit::Unavailable, "try again in a minute"),
        300..400 => (Exit::Refused, "redirects are not followed: give the final --endpoint"),
        400..500 => (Exit::Refused, "check --ttl-seconds and --receiver"),
        _ => (Exit::Unavailable, "the server is failing: try again later or tell its operator"),
    };
    // A 403 of this server says itself what to do.
    let next = if next.is_empty() { String::new() } else { format!(" ({next})") };
    CommandError::new(exit, format!("{server} answered {}{said}{next}", status.as_u16()))
}

/// The innermost reason of an error chain: "connection refused" rather than "client error (Connect)".
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_travel_in_the_clear_beyond_this_machine() {
        for good in [
            "https://s3.example.com",
            "https://s3.example.com:8443/",
            "http://127.0.0.1:8014",
            "http://[::1]:1",
            "http://localhost:8014/",
        ] {
            assert!(Endpoint::new(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://s3.example.com",
            "http://10.0.0.1:8014",
            "http://localhost.example.com",
            "ftp://h",
            "s3.example.com",
            "/x",
            "",
            "https://user:password@h",
            "https://h/bucket",
            "https://h/?x",
            "http://127.0.0.1.example.com",
        ] {
            let fault = Endpoint::new(bad, false).unwrap_err();
            assert!(fault.to_string().starts_with("--endpoint"), "{bad}: {fault}");
        }
        assert!(Endpoint::new("http://subgate:8014", true).is_ok());
        assert_eq!(Endpoint::new("HTTPS://Host:1/", false).unwrap().canonical(), "https://host:1");
    }

    #[test]
    fn an_answer_that_aws_would_not_take_is_none() {
        let good = r#"{"Version":1,"AccessKeyId":"5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
            "SecretAccessKey":"s","SessionToken":"t","Expiration":"2030-01-01T00:00:00Z","bucket":"b"}"#;
        let session = Session::from_json(good.as_bytes()).unwrap();
        assert!(!session.json.expose().contains(&b'\n'));
        assert_eq!(session.expiration.as_second(), 1_893_456_000);
        for (from, to) in
            [("1,", "2,"), ("\"s\"", "\"\""), ("\"t\"", "null"), ("2030-", "soon"), ("5Dt", "5Du")]
        {
            assert!(Session::from_json(good.replacen(from, to, 1).as_bytes()).is_none(), "{from}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_on_one_line() {
        let fault = refusal("https://h", StatusCode::FORBIDDEN, b"{\"detail\": \"NotRegistered\\nx\"}");
        assert_eq!(fault.exit, Exit::Refused);
        assert_eq!(fault.to_string(), "https://h answered 403: NotRegistered x");
        assert_eq!(
            refusal("h", StatusCode::SERVICE_UNAVAILABLE, b"<html>").to_string(),
            "h answered 503 (try again in a minute)"
        );
    }
}
