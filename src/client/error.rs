//! How a call fails, in one line that says whose turn it is.

use std::fmt;

use http::StatusCode;

use super::{http::NoAnswer, sessions::SessionError};
use crate::{auth::SessionCredentials, s3::uri::encode_component};

/// How much of the server's own message is shown.
const MESSAGE_CHARS_MAX: usize = 400;

/// The longest code that is shown; S3's have at most 40.
const CODE_CHARS_MAX: usize = 64;

/// What the server says of why it does not do something: S3's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// HTTP's status.
    pub(crate) status: StatusCode,
    /// S3's code; empty where the answer has none, as that to a HEAD.
    pub(crate) code: String,
    /// The server's message, on one line and bounded.
    pub(crate) message: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// The server refused; to ask again changes nothing.
    #[error("{0}")]
    Refused(Refusal),
    /// The server could not be reached or did not serve, and was asked again for as long as was allowed.
    #[error("{0}")]
    Unavailable(String),
    /// The answer is not one of S3, or not whole.
    #[error("the server's answer cannot be used: {0}")]
    Broken(String),
    /// There is no session to sign with.
    #[error("{0}")]
    Session(SessionError),
    /// The call cannot be made: a fault of its caller.
    #[error("the request cannot be made: {0}")]
    Call(String),
}

impl Refusal {
    /// What an answer says; whatever its text holds, it becomes one line. `hidden` are secrets of the
    /// request, which no answer is to bring into a log.
    pub(crate) fn new(status: StatusCode, code: &str, message: &str, hidden: &[&str]) -> Self {
        let is_word = code.len() <= CODE_CHARS_MAX && code.chars().all(|c| c.is_ascii_alphanumeric());
        let code = if is_word { code.to_owned() } else { String::new() };
        let mut message = message.to_owned();
        for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
            message = message.replace(secret, "***");
        }
        let parts = message.split(char::is_control).map(str::trim).filter(|part| !part.is_empty());
        let line = parts.collect::<Vec<_>>().join(" ");
        Self { status, code, message: line.chars().take(MESSAGE_CHARS_MAX).collect() }
    }

    /// What the answer to a request says: the same, without the secrets of that request.
    pub(super) fn of_request(
        status: StatusCode,
        code: &str,
        message: &str,
        session: &SessionCredentials,
        authorization: &str,
    ) -> Self {
        let (token, secret) = (session.session_token.expose(), session.secret_access_key.expose());
        let encoded = encode_component(token);
        let signature = authorization.rsplit_once("Signature=").map_or("", |(_, signature)| signature);
        Self::new(status, code, message, &[token, secret, &encoded, signature])
    }

    /// Whether the session is at fault, and another one may do.
    pub(crate) fn is_of_the_session(&self) -> bool {
        matches!(self.code.as_str(), "ExpiredToken" | "InvalidToken")
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// Whether a range begins beyond the end of the object, as every range of an empty one does.
    pub(crate) fn is_beyond_the_end(&self) -> bool {
        self.status == StatusCode::RANGE_NOT_SATISFIABLE
    }

    /// Whether a condition of the call did not hold.
    pub(crate) fn is_precondition(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status.as_u16())?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl ClientError {
    /// The refusal, if it is one.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Unavailable(_) | Self::Broken(_) | Self::Session(_) | Self::Call(_) => None,
        }
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_not_found)
    }
}

impl From<NoAnswer> for ClientError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::TooLong(_) => Self::Broken(format!("it {error}")),
            NoAnswer::Unreached(_) | NoAnswer::Broken(_) | NoAnswer::Silent(_) | NoAnswer::Unfinished(_) => {
                Self::Unavailable(format!("the server {error}"))
            }
        }
    }
}

impl From<SessionError> for ClientError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_without_secrets_whatever_the_server_writes() {
        let refusal = Refusal::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "FolderDenied:\nyou sent hidden-token \x1b[31m",
            &["hidden-token", ""],
        );
        assert_eq!(
            refusal.to_string(),
            "the server answered 403 AccessDenied: FolderDenied: you sent *** [31m"
        );
        let long = Refusal::new(StatusCode::FORBIDDEN, "a b", &"x".repeat(10_000), &[]);
        assert_eq!((long.code.as_str(), long.message.len()), ("", MESSAGE_CHARS_MAX));
        assert_eq!(Refusal::new(StatusCode::NOT_FOUND, "", "", &[]).to_string(), "the server answered 404");
    }
}
