//! What is answered, as JSON in the form that AWS's SDKs read. Pure.
//!
//! aws-sdk-go reads a refusal as JSON only under exactly this content type; aws-sdk-js wants all four fields
//! of a session, and an expiration in UTC with a `Z`.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::entry::EntryError;
use crate::{
    cli::{
        exit::{CommandError, Exit},
        session_client::IssuedSession,
    },
    secret::Secret,
};

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why there is no session to hand out.
#[derive(Debug, Clone)]
pub(super) enum NoSession {
    /// The first attempt is under way.
    Pending,
    /// The last attempt failed.
    Failed(CommandError),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    access_key_id: String,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

/// A session as a client gets it.
///
/// # Errors
/// That it cannot be written as JSON.
pub(super) fn credentials(session: &IssuedSession) -> Result<Secret, CommandError> {
    let credentials = Credentials {
        access_key_id: session.hotkey.to_ss58(),
        secret_access_key: session.secret_access_key.expose(),
        token: session.session_token.expose(),
        expiration: format!("{:.0}", session.expiration),
    };
    let json = serde_json::to_vec(&credentials).map_err(CommandError::software)?;
    Ok(Secret::new(json))
}

/// The answer with a session.
pub(super) fn session(credentials: &Secret) -> Answer {
    response(StatusCode::OK, Bytes::copy_from_slice(credentials.expose()))
}

/// The answer to a request that is not answered.
pub(super) fn refusal(error: EntryError) -> Answer {
    match error {
        EntryError::Host => {
            fault(StatusCode::MISDIRECTED_REQUEST, "HostDenied", "ask by a loopback address and this port")
        }
        EntryError::Browser => fault(StatusCode::FORBIDDEN, "BrowserDenied", "no page may ask"),
        EntryError::Token => {
            fault(StatusCode::FORBIDDEN, "AccessDenied", "the Authorization header is missing or wrong")
        }
        EntryError::Path => fault(StatusCode::NOT_FOUND, "NotFound", "ask for /credentials"),
        EntryError::Method => {
            let mut answer = fault(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "ask with GET");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            answer
        }
    }
}

/// The answer to a request with a body.
pub(super) fn body_refusal() -> Answer {
    fault(StatusCode::BAD_REQUEST, "BodyDenied", "ask without a body")
}

/// The answer where there is no session.
pub(super) fn no_session(reason: &NoSession) -> Answer {
    let unavailable = |message: &str| {
        let mut answer = fault(StatusCode::SERVICE_UNAVAILABLE, "SessionUnavailable", message);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        answer
    };
    match reason {
        NoSession::Pending => unavailable("the server has not answered yet: try again"),
        NoSession::Failed(error) if error.exit == Exit::Refused => {
            fault(StatusCode::FORBIDDEN, "SessionRefused", &error.to_string())
        }
        NoSession::Failed(error) => unavailable(&error.to_string()),
    }
}

fn fault(status: StatusCode, code: &str, message: &str) -> Answer {
    response(status, Bytes::from(json!({ "code": code, "message": message }).to_string()))
}

fn response(status: StatusCode, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_four_fields_that_sdks_insist_on() {
        let json = r#"{"Version":1,"AccessKeyId":"5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
            "SecretAccessKey":"s","SessionToken":"t","Expiration":"2030-01-01T01:00:00.5+01:00"}"#;
        let session = IssuedSession::from_json(json.as_bytes()).unwrap();
        let text: serde_json::Value =
            serde_json::from_slice(credentials(&session).unwrap().expose()).unwrap();
        let expected = json!({
            "AccessKeyId": "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi",
            "SecretAccessKey": "s", "Token": "t", "Expiration": "2030-01-01T00:00:00Z",
        });
        assert_eq!(text, expected);
    }

    #[test]
    fn who_is_refused_by_the_server_is_told_apart_from_an_outage() {
        let failed = |error| no_session(&NoSession::Failed(error)).status().as_u16();
        assert_eq!(failed(CommandError::new(Exit::Refused, "NotRegistered")), 403);
        assert_eq!(failed(CommandError::unavailable("h cannot be reached")), 503);
        assert_eq!(no_session(&NoSession::Pending).status().as_u16(), 503);
    }
}
