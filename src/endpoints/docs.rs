//! `GET /docs`: the API's description as a page, which renders `/openapi.json` in the reader's browser.
//!
//! Invariants: nothing of it comes from another host, and the browser is told so: its style and its script
//! run by their digest, it may fetch from this server alone, and no page may frame it.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::exchange::Answer;

const PAGE: &str = include_str!("docs.html");

/// What the browser lets the page do.
static CONTENT_SECURITY_POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let script = sha256_of("<script>", "</script>");
    let style = sha256_of("<style>", "</style>");
    let policy = format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// The page.
pub(super) fn page() -> Answer {
    let answer = Answer::whole(StatusCode::OK, "text/html; charset=utf-8", PAGE)
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .header(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .header(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        );
    match CONTENT_SECURITY_POLICY.clone() {
        Some(policy) => answer.header(header::CONTENT_SECURITY_POLICY, policy),
        None => answer,
    }
}

/// The digest of the one element of that name, as a policy's source.
fn sha256_of(start: &str, end: &str) -> String {
    let content =
        PAGE.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(text, _)| text);
    let hash = digest::digest(&digest::SHA256, content.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_no_other_host() {
        for element in ["<script", "</script>", "<style", "</style>"] {
            assert_eq!(PAGE.matches(element).count(), 1, "{element}");
        }
        for foreign in ["http://", "https://", "src=", "@import", "url(", " onclick=", " onload=", " style="]
        {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_policy_is_a_header_and_names_both_digests() {
        let policy = CONTENT_SECURITY_POLICY.clone().unwrap();
        assert_eq!(policy.to_str().unwrap().matches("'sha256-").count(), 2);
        assert!(!policy.to_str().unwrap().contains("unsafe"));
    }
}
