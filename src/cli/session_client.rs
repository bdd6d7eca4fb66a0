//! The client of `POST /v1/session`: signs the request by btauth/1, sends it, and checks the answer. \[IO\]
//!
//! The answer holds a secret, so the request goes to the host that was named and nowhere else: redirects are
//! not followed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    exit::{CommandError, Exit},
    http_client::{HttpClient, SentBody, root_cause},
    server_url::ServerUrl,
};
use crate::{
    auth::bittensor::{btauth, sr25519::Keypair},
    chain::AccountId,
    secret::{Secret, SecretText},
};

/// From the first packet to the last byte of the answer.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// An answer has about 1.5 KB, and a little more for each folder.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;

const PATH: &str = "/v1/session";

/// How much of the server's own message is shown.
const DETAIL_CHARS_MAX: usize = 300;

/// What a request for a session may choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionRequest {
    /// The server's identity, if the signature shall be valid at that server only.
    pub(crate) receiver: Option<AccountId>,
    /// The session's lifetime, if not the server's default.
    pub(crate) ttl_seconds: Option<u64>,
}

/// A session as the server issued it, with what was checked of it.
#[derive(Debug)]
pub(crate) struct IssuedSession {
    /// The whole answer on one line: JSON that AWS's `credential_process` takes.
    pub(crate) json: Secret,
    /// When the session ends.
    pub(crate) expiration: Timestamp,
    /// Whose session it is.
    pub(crate) hotkey: AccountId,
    /// The secret access key.
    pub(crate) secret_access_key: SecretText,
    /// The session token.
    pub(crate) session_token: SecretText,
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

impl IssuedSession {
    /// Reads the answer of a server or of the cache; `None` for anything that AWS's clients would not take.
    pub(crate) fn from_json(text: &[u8]) -> Option<Self> {
        let fields: CredentialProcess = serde_json::from_slice(text).ok()?;
        if fields.version != 1 || !is_word(&fields.secret_access_key) || !is_word(&fields.session_token) {
            return None;
        }
        // Written anew, so that what is printed is valid JSON on one line, however the server formatted it.
        let value: serde_json::Value = serde_json::from_slice(text).ok()?;
        let json = Secret::new(serde_json::to_vec(&value).ok()?);
        Some(Self {
            json,
            expiration: fields.expiration.parse().ok()?,
            hotkey: fields.access_key_id,
            secret_access_key: SecretText::new(fields.secret_access_key),
            session_token: SecretText::new(fields.session_token),
        })
    }
}

/// Whether nothing in it can end a string or begin a new line: users put secrets and tokens into shells, SQL,
/// URLs and the configuration of programs, and a server that means harm could write what those would run.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-.~:".contains(&byte))
}

/// Requests a session for the hotkey of `pair`.
pub(crate) async fn request_session(
    client: &HttpClient,
    server: &ServerUrl,
    pair: &Keypair,
    request: SessionRequest,
) -> Result<IssuedSession, CommandError> {
    let name = server.canonical();
    let answer = tokio::time::timeout(TOTAL_TIMEOUT, send(client, server, pair, request)).await;
    let (status, body) = answer.map_err(|_| {
        let seconds = TOTAL_TIMEOUT.as_secs();
        CommandError::unavailable(format!("{name} did not answer within {seconds} seconds"))
    })??;
    if status != StatusCode::OK {
        return Err(refusal(&name, status, body.expose()));
    }
    let session = IssuedSession::from_json(body.expose()).ok_or_else(|| {
        CommandError::unavailable(format!("{name} answered 200 without a session: is it a Subgate server?"))
    })?;
    if session.hotkey != pair.account() {
        return Err(CommandError::unavailable(format!("{name} answered with a session of another hotkey")));
    }
    Ok(session)
}

async fn send(
    client: &HttpClient,
    server: &ServerUrl,
    pair: &Keypair,
    request: SessionRequest,
) -> Result<(StatusCode, Secret), CommandError> {
    let name = server.canonical();
    let request = signed_request(server, pair, request)?;
    let response = client.request(request).await.map_err(|error| {
        CommandError::unavailable(format!("{name} cannot be reached: {}", root_cause(&error)))
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| {
        let cause = root_cause(error.as_ref());
        CommandError::unavailable(format!("{name} did not finish its answer: {cause}"))
    })?;
    Ok((status, Secret::new(body.to_bytes().to_vec())))
}

fn signed_request(
    server: &ServerUrl,
    pair: &Keypair,
    SessionRequest { receiver, ttl_seconds }: SessionRequest,
) -> Result<Request<SentBody>, CommandError> {
    let body = ttl_seconds.map_or_else(Bytes::new, |ttl| Bytes::from(format!(r#"{{"ttl_seconds":{ttl}}}"#)));
    let nonce_nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let nonce_nanos = u64::try_from(nonce_nanos).unwrap_or(u64::MAX);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}{PATH}", server.canonical()))
        .header(header::USER_AGENT, concat!("subgate/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json");
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in btauth::sign(pair, "POST", PATH, &body, receiver.as_ref(), nonce_nanos) {
        request = request.header(name, value);
    }
    request
        .body(SentBody::from(body))
        .map_err(|error| CommandError::software(format!("the request cannot be built: {error}")))
}

/// The server's own message, and what to do next.
fn refusal(server: &str, status: StatusCode, body: &[u8]) -> CommandError {
    #[derive(Deserialize)]
    struct Answer {
        detail: String,
    }
    let detail = serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.detail);
    let (exit, advice) = match status.as_u16() {
        401 => (
            Exit::Refused,
            "check that this machine's clock is right, since a signature is valid for 10 seconds, \
             and that --receiver is the server's",
        ),
        // With a message, a 403 says itself what to do.
        403 if detail.is_some() => (Exit::Refused, ""),
        403 => (Exit::Refused, "check that the hotkey is registered on this server's subnet"),
        404 | 405 => (Exit::Refused, "check that --endpoint is a Subgate server"),
        429 | 503 => (Exit::Unavailable, "try again in a minute"),
        300..400 => (Exit::Refused, "redirects are not followed: give the final --endpoint"),
        400..500 => (Exit::Refused, "check --ttl-seconds and --receiver"),
        _ => (Exit::Unavailable, "the server is failing: try again later or tell its operator"),
    };
    let detail = detail.map_or_else(String::new, |detail| {
        format!(": {}", detail.chars().take(DETAIL_CHARS_MAX).collect::<String>())
    });
    let advice = if advice.is_empty() { String::new() } else { format!(" ({advice})") };
    CommandError::new(exit, format!("{server} answered {}{detail}{advice}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_aws_would_not_take_is_none() {
        let good = r#"{"Version":1,"AccessKeyId":"5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
            "SecretAccessKey":"s","SessionToken":"t","Expiration":"2030-01-01T00:00:00Z","bucket":"b"}"#;
        let session = IssuedSession::from_json(good.as_bytes()).unwrap();
        assert!(!session.json.expose().contains(&b'\n'));
        assert_eq!(session.expiration.as_second(), 1_893_456_000);
        for (from, to) in
            [("1,", "2,"), ("\"s\"", "\"\""), ("\"t\"", "null"), ("2030-", "soon"), ("5Dt", "5Du")]
        {
            assert!(IssuedSession::from_json(good.replacen(from, to, 1).as_bytes()).is_none(), "{from}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_on_one_line() {
        let error = refusal("https://h", StatusCode::FORBIDDEN, b"{\"detail\": \"NotRegistered\\nx\"}");
        assert_eq!(error.exit, Exit::Refused);
        assert_eq!(error.to_string(), "https://h answered 403: NotRegistered x");
        assert_eq!(
            refusal("h", StatusCode::SERVICE_UNAVAILABLE, b"<html>").to_string(),
            "h answered 503 (try again in a minute)"
        );
    }
}
