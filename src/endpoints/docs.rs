//! `GET /docs`: what a person needs who is to use this server, with what there is to paste, and the API's
//! description, which the reader's browser renders out of `/openapi.json`.
//!
//! Invariants: every caller sees the same, and nothing that an anonymous one may not know ([`guide`]).
//! Nothing of it comes from another host, and the browser is told so: its style and its script run by their
//! digest, it may fetch from this server alone, and no page may frame it. Values of the configuration stand
//! in its HTML alone, never in its script.

mod guide;
mod markup;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};

pub(super) use self::guide::Told;
use self::{guide::Place, markup::fill};
use super::json::Refusal;
use crate::{
    exchange::{Answer, Exchange},
    policy::Policy,
    site::{self, Site},
};

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// What the browser lets the page do.
static CONTENT_SECURITY_POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let (script, style) = (sha256_of(SCRIPT), sha256_of(STYLE));
    let policy = format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// The page of one server.
pub(super) struct Docs {
    site: Arc<Site>,
    told: Told,
}

impl Docs {
    pub(super) fn new(site: Arc<Site>, told: Told) -> Self {
        Self { site, told }
    }

    /// The page, with the endpoint by which the reader has come.
    pub(super) fn page(&self, policy: &Policy, exchange: &Exchange) -> Result<Answer, Refusal> {
        let (head, from_edge) = (&exchange.head, exchange.from_edge);
        let asked = site::host(head)?;
        let Some(endpoint) = self.site.advertised_endpoint(head, from_edge, asked) else {
            return Err(Refusal::bad_request(
                "The Host header is not a host name; send the name of this server",
            ));
        };
        let bucket = self.site.bucket();
        let place = Place {
            endpoint: &endpoint,
            bucket: &bucket.name,
            region: &bucket.region,
            takes_hotkeys: endpoint.split_once("://").is_some_and(|(_, host)| self.site.is_own_host(host)),
        };
        let values = guide::values(&self.told, policy, &place);
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(answer(whole(&values)))
    }
}

/// The page with these values in their places.
fn whole(values: &[(&str, &str)]) -> String {
    fill(PAGE, &[&[("style", STYLE), ("script", SCRIPT)], values].concat())
}

fn answer(page: String) -> Answer {
    // By the name under which it was asked: no cache hands it to somebody who asked by another.
    let answer = Answer::whole(StatusCode::OK, "text/html; charset=utf-8", page)
        .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
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

/// The digest of an element's content, as a policy's source.
fn sha256_of(content: &str) -> String {
    let hash = digest::digest(&digest::SHA256, content.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_no_other_host() {
        let page = whole(&[]);
        for element in ["<script", "</script>", "<style", "</style>"] {
            assert_eq!(page.matches(element).count(), 1, "{element}");
        }
        for foreign in ["http://", "https://", "src=", "@import", "url(", " onclick=", " onload=", " style="]
        {
            assert!(!page.contains(foreign), "{foreign}");
        }
        // The digests are those of the elements' whole content.
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
    }

    #[test]
    fn the_policy_is_a_header_and_names_both_digests() {
        let policy = CONTENT_SECURITY_POLICY.clone().unwrap();
        assert_eq!(policy.to_str().unwrap().matches("'sha256-").count(), 2);
        assert!(!policy.to_str().unwrap().contains("unsafe"));
    }
}
