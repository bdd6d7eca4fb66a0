//! `POST /v1/session`: a hotkey's signature in, session credentials out, in the form that
//! `credential_process` reads.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nonces, json::Refusal, request_body::RequestBodies};
use crate::{
    access::Access,
    auth::{Audience, BtauthError, bittensor::btauth},
    endpoint::Endpoint,
    error::Reason,
    exchange::{Exchange, RequestBody},
    limits::Limits,
    site::Site,
};

/// `{"ttl_seconds": 86400}` and room for more.
const BODY_BYTES_MAX: usize = 4096;

/// Issues sessions; remembers the nonces of the last seconds.
pub(super) struct SessionEndpoint {
    access: Arc<Access>,
    site: Arc<Site>,
    bodies: Arc<RequestBodies>,
    limits: Arc<Limits>,
    audience: Audience,
    nonces: Arc<Nonces>,
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
        bodies: Arc<RequestBodies>,
        limits: Arc<Limits>,
        audience: Audience,
        nonces: Arc<Nonces>,
    ) -> Self {
        Self { access, site, bodies, limits, audience, nonces }
    }

    /// Issues session credentials to the registered hotkey that has signed for them.
    pub(super) async fn open(&self, exchange: &mut Exchange, body: RequestBody) -> Result<Value, Refusal> {
        // Before a byte is read: who says to ask, whether that is anybody, and whether the address may try.
        let claimed = btauth::claimed_sender(&exchange.head.headers, &self.audience, exchange.now)?;
        self.access.may_verify(claimed, exchange)?;
        let (body, _buffered) = self.bodies.read(exchange, body, BODY_BYTES_MAX).await?;
        let now = exchange.now;
        let head = &exchange.head;
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let method = head.method.as_str();
        let evidence = btauth::verify(&head.headers, method, target, &body, &self.audience, now);
        if matches!(evidence, Err(BtauthError::Signature)) {
            self.access.hotkey_signature_checked(false);
            self.limits.charge_signature(exchange.sender);
        }
        let evidence = evidence?;
        self.access.hotkey_signature_checked(true);
        exchange.record.hotkey = Some(evidence.hotkey());
        let request = parse(&body)?;
        let (caller, _) = self.access.identify(evidence.hotkey(), exchange)?;
        // Only now: a stranger's nonces are not remembered.
        self.nonces.spend(&evidence.nonce(), now).await?;
        // And only then: whoever repeats what another sent charges nobody.
        exchange.admitted(self.limits.admit_to(&caller, Endpoint::Session, now).await?);
        let session = self.access.verifier().issue(&evidence, request.ttl_seconds, now)?;
        Ok(json!({
            "Version": 1,
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key.expose(),
            "SessionToken": session.session_token.expose(),
            "Expiration": session.expires_at.to_string(),
            "endpoint": exchange.endpoint(),
            "region": self.site.bucket().region,
            "bucket": self.site.bucket().name,
            "role": caller.role.as_str(),
            "folders": self.access.policy().folders(&caller.owner),
            "roots": self.access.policy().roots(),
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
        let refusal = Self::new(error.status(), error.to_string());
        match error {
            BtauthError::Missing(_) => refusal.because(Reason::Anonymous),
            BtauthError::Duplicate(_)
            | BtauthError::Malformed(_)
            | BtauthError::Version
            | BtauthError::Crypto => refusal.because(Reason::SignatureUnreadable),
            BtauthError::Stale => refusal.because(Reason::TimeTooFar),
            BtauthError::BeforeStart | BtauthError::Replayed => refusal.because(Reason::NonceSpent),
            BtauthError::Receiver => refusal.because(Reason::HostDenied),
            BtauthError::Signature => refusal.because(Reason::HotkeySignatureFalse),
            BtauthError::Full => refusal.because(Reason::NoncesFull),
            BtauthError::HandedOver => refusal.because(Reason::HandedOver),
        }
    }
}
