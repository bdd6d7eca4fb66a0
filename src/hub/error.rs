//! Why the Hub did not do what it was asked.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::token::Token;

/// How much of a Hub's own message is shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// A failure of a call to the Hub, as it is told to a person. No URL of a storage and no token stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HubError {
    /// The Hub does not allow it, or does not know it.
    #[error("{what}: the Hub answered {status}{message}{advice}")]
    Refused {
        /// What was asked.
        what: String,
        /// The status of the answer.
        status: u16,
        /// The Hub's own words, after `: `.
        message: String,
        /// What to do next, in brackets.
        advice: String,
    },
    /// It cannot be reached, is overloaded or failing; another try later may help.
    #[error("{what}: {why}")]
    Unavailable {
        /// What was asked.
        what: String,
        /// What happened, after the last try.
        why: String,
    },
    /// An answer is not what the API says.
    #[error("{what}: {why}")]
    Broken {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
}

impl HubError {
    /// An answer that is not what the API says.
    pub(crate) fn broken(what: &str, why: impl Into<String>) -> Self {
        Self::Broken { what: what.to_owned(), why: why.into() }
    }

    /// What cannot be reached.
    pub(crate) fn unavailable(what: &str, why: impl Into<String>) -> Self {
        Self::Unavailable { what: what.to_owned(), why: why.into() }
    }

    /// The same without a token that the Hub may have put into its words.
    pub(crate) fn without(self, token: Option<&Token>) -> Self {
        let Some(token) = token else { return self };
        match self {
            Self::Refused { what, status, message, advice } => {
                Self::Refused { what, status, message: token.hidden_in(&message), advice }
            }
            Self::Unavailable { what, why } => Self::Unavailable { what, why: token.hidden_in(&why) },
            Self::Broken { what, why } => Self::Broken { what, why: token.hidden_in(&why) },
        }
    }

    /// A refusal, with what the answer says of it.
    pub(crate) fn refused(what: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let code = headers.get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let message = message_of(headers, body);
        let advice = match (code, status.as_u16()) {
            ("RevisionNotFound", _) => " (check --revision)",
            ("EntryNotFound", _) => "",
            ("GatedRepo", _) => " (the repository is gated: ask its owner for access, and set HF_TOKEN)",
            ("RepoNotFound", _) | (_, 401 | 404) => {
                " (check the repository's name; one that is private or not there needs a token that may read \
                 it: set HF_TOKEN or run `hf auth login`)"
            }
            (_, 403) => {
                " (the token in HF_TOKEN or the token file may not do this: make one with that right)"
            }
            (_, 413) => " (the request is too large for the Hub)",
            _ => "",
        };
        Self::Refused {
            what: what.to_owned(),
            status: status.as_u16(),
            message: if message.is_empty() { String::new() } else { format!(": {message}") },
            advice: advice.to_owned(),
        }
    }
}

/// The Hub's own message, on one line.
fn message_of(headers: &HeaderMap, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: String,
    }
    let header = || headers.get("x-error-message").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.error).or_else(header);
    let text = text.unwrap_or_default();
    let words: Vec<&str> =
        text.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(status: u16, code: &str, body: &str) -> String {
        let mut headers = HeaderMap::new();
        if !code.is_empty() {
            headers.insert("x-error-code", code.parse().unwrap());
        }
        HubError::refused(
            "the files of u/r",
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
        )
        .to_string()
    }

    #[test]
    fn a_hub_that_repeats_the_token_does_not_show_it() {
        let token = crate::hub::find_token(|name| (name == "HF_TOKEN").then(|| "hf_secret".into()));
        let token = token.unwrap().unwrap();
        for error in [
            HubError::refused(
                "a",
                StatusCode::FORBIDDEN,
                &HeaderMap::new(),
                br#"{"error":"Bearer hf_secret"}"#,
            ),
            HubError::broken("a", "the Hub does not take it: hf_secret"),
            HubError::unavailable("a", "hf_secret"),
        ] {
            let shown = error.without(Some(&token)).to_string();
            assert!(!shown.contains("hf_secret") && shown.contains("***"), "{shown}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_next() {
        for (status, code, body, says) in [
            (
                404,
                "RevisionNotFound",
                r#"{"error":"Invalid rev id: x"}"#,
                "404: Invalid rev id: x (check --revision)",
            ),
            (401, "", "", "HF_TOKEN"),
            (403, "GatedRepo", "", "gated"),
            (403, "", r#"{"error":"a\nb\u0000  c"}"#, "403: a b c (the token"),
            (400, "", "<html>", "answered 400"),
        ] {
            let text = shown(status, code, body);
            assert!(text.starts_with("the files of u/r: the Hub answered") && text.contains(says), "{text}");
        }
        assert!(shown(400, "", &format!(r#"{{"error":"{}"}}"#, "x".repeat(5000))).len() < 400);
    }
}
