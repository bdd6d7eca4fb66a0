//! Requests that are signed in `X-Tao-*` headers: who asks, and that it was not asked before (P66).
//!
//! What is signed says neither the endpoint nor the server. So each endpoint that takes such requests reads a
//! body of its own shape and no other: a body of `/get-file-upload-url` has `job_id`, one of
//! `/get-file-presigned-urls` has `file_keys`, one of `/get-miner-list` has neither, and a field that an
//! endpoint does not know is refused. All of them spend nonces in one place. And the links last an hour,
//! where the request does not say how long.
//!
//! Order (P54, P59, P17): the setting, headers and window, the registry, the address's false signatures, the
//! body, at most two sr25519 verifications, the registry once more, the shape of the body, the nonce, the
//! limits of the hotkey.

use serde::de::DeserializeOwned;

use super::{VendedEndpoints, VerifiedRequest, parse};
use crate::{
    auth::bittensor::tao::{TaoClaim, TaoError},
    endpoint::Endpoint,
    endpoints::json::Refusal,
    error::Reason,
    exchange::{Exchange, RequestBody},
    limits::Buffered,
};

/// How long links last that are handed out for such a request; they are used at once.
const LINK_SECONDS: u64 = 3600;

impl VendedEndpoints {
    /// Verifies that a registered hotkey signed this body, for the first time, and admits it to `endpoint`.
    pub(super) async fn verify_tao<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        exchange: &mut Exchange,
        body: RequestBody,
        bytes_max: usize,
    ) -> Result<(T, VerifiedRequest, Buffered), Refusal> {
        self.check_no_receiver()?;
        let claim = TaoClaim::read(&exchange.head.headers, exchange.now)?;
        self.access.may_verify(claim.signer(), exchange)?;
        let (body, buffered) = self.bodies.read(exchange, body, bytes_max).await?;
        let now = exchange.now;
        let verified = claim.verify(&body, now);
        if matches!(verified, Err(TaoError::Signature)) {
            self.access.hotkey_signature_checked(false);
            self.limits.charge_signature(exchange.sender);
        }
        let verified = verified?;
        self.access.hotkey_signature_checked(true);
        let (caller, snapshot) = self.access.identify(claim.signer(), exchange)?;
        let request = parse(&body)?;
        // Only now, as for sessions: a stranger's nonces are not remembered, and whoever repeats what another
        // sent charges nobody.
        self.nonces.spend(&verified.nonce, now).await?;
        exchange.admitted(self.limits.admit_to(&caller, endpoint, now).await?);
        let verified = VerifiedRequest {
            caller,
            evidence: verified.evidence,
            string: verified.text,
            expires_at: now.plus_seconds(LINK_SECONDS),
            snapshot,
        };
        Ok((request, verified, buffered))
    }
}

impl From<TaoError> for Refusal {
    fn from(error: TaoError) -> Self {
        let refusal = Self::new(error.status(), error.to_string());
        match error {
            TaoError::Missing(_) => refusal.because(Reason::Anonymous),
            TaoError::Duplicate(_) | TaoError::Malformed(_) | TaoError::Version => {
                refusal.because(Reason::SignatureUnreadable)
            }
            TaoError::Timestamp => refusal.because(Reason::TimeTooFar),
            TaoError::Signature => refusal.because(Reason::HotkeySignatureFalse),
        }
    }
}
