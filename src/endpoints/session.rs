//! `POST /v1/session`: a hotkey's signature in, session credentials out, in the form that
//! `credential_process` reads.

use std::{sync::Arc, time::SystemTime};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{attempts::Attempts, json::Refusal};
use crate::{
    access::Access,
    auth::{Audience, BtauthError, bittensor::SpentNonces, bittensor::btauth},
    body::pace::Pace,
    exchange::{Exchange, RequestBody},
    site::{self, Site},
};

/// `{"ttl_seconds": 86400}` and room for more.
const BODY_BYTES_MAX: usize = 4096;

/// Issues sessions; remembers the nonces of the last seconds.
pub(super) struct SessionEndpoint {
    access: Arc<Access>,
    site: Arc<Site>,
    attempts: Arc<Attempts>,
    audience: Audience,
    nonces: SpentNonces,
    pace: Pace,
}

/// What a client may ask for.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SessionRequest {
    #[serde(default)]
    ttl_seconds: Option<u64>,
}

impl SessionEndpoint {
    pub(super) fn new(
        access: Arc<Access>,
        site: Arc<Site>,
        attempts: Arc<Attempts>,
        audience: Audience,
        pace: Pace,
    ) -> Self {
        let nonces = SpentNonces::since(SystemTime::now().into());
        Self { access, site, attempts, audience, nonces, pace }
    }

    /// Issues session credentials to the registered hotkey that has signed for them.
    pub(super) async fn open(&self, exchange: &mut Exchange, body: RequestBody) -> Result<Value, Refusal> {
        if !self.attempts.admit(exchange.record.client()) {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many session requests from this address; please retry",
            ));
        }
        let body = body.collect(BODY_BYTES_MAX, self.pace).await?;
        exchange.body_arrived();
        let now = exchange.now;
        let head = &exchange.head;
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let method = head.method.as_str();
        let evidence = btauth::verify(&head.headers, method, target, &body, &self.audience, now)?;
        exchange.record.hotkey = Some(evidence.hotkey());
        let request = parse(&body)?;
        let (caller, _) = self.access.identify(evidence.hotkey(), exchange)?;
        // Only now: a stranger's nonces are not remembered.
        self.nonces.spend(&evidence, now)?;
        let session = self.access.verifier().issue(&evidence, request.ttl_seconds, now)?;
        let host = site::host(&exchange.head).unwrap_or_default();
        Ok(json!({
            "Version": 1,
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key.expose(),
            "SessionToken": session.session_token.expose(),
            "Expiration": session.expires_at.to_string(),
            "endpoint": self.site.public_endpoint(&exchange.head, exchange.from_edge, host),
            "region": self.site.bucket().region,
            "bucket": self.site.bucket().name,
            "role": caller.role.as_str(),
            "folders": self.access.policy().folders(&caller.owner),
        }))
    }
}

fn parse(body: &[u8]) -> Result<SessionRequest, Refusal> {
    if body.is_empty() {
        return Ok(SessionRequest::default());
    }
    // By way of an object: serde would take `[]` for a struct as well.
    let object = serde_json::from_slice::<serde_json::Map<_, _>>(body);
    object
        .and_then(|object| serde_json::from_value(object.into()))
        .map_err(|_| Refusal::bad_request("The body must be {\"ttl_seconds\": 86400} or empty"))
}

impl From<BtauthError> for Refusal {
    fn from(error: BtauthError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}
