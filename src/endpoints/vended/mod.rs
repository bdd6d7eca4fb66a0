//! What the endpoints of the vending server share: who asks, by which string, until when.
//!
//! Order (P17): attempts by address, the size of the body, the window, one string, at most two sr25519 verifications,
//! the registry. A string sent again within its window gives the same answer again; see [`crate::auth::bittensor::vending`].

pub(super) mod folder_access;
mod links;
pub(super) mod validator_access;

use std::time::SystemTime;

use http::{StatusCode, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    json_answer, json_refusal,
    session::{Refusal, refusal},
};
use crate::{
    auth::{
        Evidence,
        bittensor::vending::{self, VendingError, VendingRequest},
    },
    chain::{AccountId, Role, Snapshot},
    error::{Code, Error},
    exchange::AccessRecord,
    policy::Caller,
    proxy::{Answer, Arrival, Gate},
    time::UnixTime,
};

/// How long access lasts where the request does not say.
pub(in crate::endpoints) const EXPIRY_SECONDS: u64 = 86_400;

/// Somebody who may ask, by a string that was verified.
pub(in crate::endpoints) struct Asked {
    pub(in crate::endpoints) caller: Caller,
    pub(in crate::endpoints) evidence: Evidence,
    /// The string that was signed.
    pub(in crate::endpoints) string: String,
    pub(in crate::endpoints) expires_at: UnixTime,
    pub(in crate::endpoints) now: UnixTime,
    pub(in crate::endpoints) snapshot: Snapshot,
}

/// The parts of a request that every one of these endpoints has.
pub(in crate::endpoints) struct Signature<'a> {
    pub(in crate::endpoints) hotkey: &'a str,
    pub(in crate::endpoints) timestamp: u64,
    pub(in crate::endpoints) signature: &'a str,
    pub(in crate::endpoints) expiry: Option<u64>,
}

/// An address of a request.
pub(in crate::endpoints) fn account(field: &str, text: &str) -> Result<AccountId, Refusal> {
    text.parse().map_err(|error| (StatusCode::BAD_REQUEST, format!("Invalid {field}: {error}")))
}

/// A request that cannot be right.
pub(in crate::endpoints) fn bad(detail: impl Into<String>) -> Refusal {
    (StatusCode::BAD_REQUEST, detail.into())
}

/// The answer to one of these endpoints, and its record.
pub(in crate::endpoints) fn answered(
    result: Result<impl Serialize, Refusal>,
    record: &mut AccessRecord,
) -> Answer {
    let body = result.and_then(|body| {
        serde_json::to_value(body).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    });
    match body {
        Ok(body) => json_answer(StatusCode::OK, &body),
        Err((status, detail)) => {
            let code = if status.is_server_error() { Code::ServiceUnavailable } else { Code::AccessDenied };
            record.error = Some(Error::new(code, detail.clone()).detail(&detail));
            json_refusal(status, &detail)
        }
    }
}

impl Gate {
    /// Reads a request in JSON, of an address that may still try.
    pub(in crate::endpoints) async fn asked<T: DeserializeOwned>(
        &self,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
        body_bytes_max: usize,
    ) -> Result<T, Refusal> {
        if !self.sessions().attempt(record.peer()) {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests from this address; please retry".to_owned(),
            ));
        }
        let body = arrival.collect(body_bytes_max, self.pace()).await.map_err(refusal)?;
        record.received_bytes = body.len() as u64;
        serde_json::from_slice(&body).map_err(|error| bad(format!("Invalid request: {error}")))
    }

    /// Verifies that a registered hotkey asks that.
    pub(in crate::endpoints) fn seed_caller(
        &self,
        ask: &VendingRequest<'_>,
        signed: &Signature<'_>,
        record: &mut AccessRecord,
    ) -> Result<Asked, Refusal> {
        let system_now = SystemTime::now();
        let now = UnixTime::from(system_now);
        if !self.sessions().allows_no_receiver() {
            return Err((
                StatusCode::FORBIDDEN,
                "This server takes requests that are addressed to it only: use POST /v1/session".to_owned(),
            ));
        }
        let hotkey = account("hotkey", signed.hotkey)?;
        let evidence = vending::verify(ask, hotkey, signed.signature, signed.timestamp, signed.expiry, now)
            .map_err(|error| match error {
            VendingError::Timestamp => bad(error.to_string()),
            VendingError::Signature => (StatusCode::UNAUTHORIZED, error.to_string()),
        })?;
        let (caller, snapshot) = self.recognise(hotkey, system_now, record).map_err(refusal)?;
        let wished = signed.expiry.unwrap_or_else(|| signed.timestamp.saturating_add(EXPIRY_SECONDS));
        let latest = signed.timestamp.saturating_add(self.session_seconds_max());
        Ok(Asked {
            caller,
            evidence,
            string: ask.signed_string(signed.timestamp),
            // What ends this second would be refused before it arrives.
            expires_at: UnixTime::from_seconds(wished.min(latest).max(now.seconds().saturating_add(1))),
            now,
            snapshot: snapshot.as_ref().clone(),
        })
    }

    /// As [`Gate::seed_caller`], for validators.
    pub(in crate::endpoints) fn seed_validator(
        &self,
        ask: &VendingRequest<'_>,
        signed: &Signature<'_>,
        record: &mut AccessRecord,
    ) -> Result<Asked, Refusal> {
        let asked = self.seed_caller(ask, signed, record)?;
        match asked.caller.role {
            Role::Validator => Ok(asked),
            Role::Miner => Err((StatusCode::UNAUTHORIZED, "You are not validator".to_owned())),
        }
    }

    /// Where this server is for the one who asks.
    pub(in crate::endpoints) fn place(&self, head: &Parts, record: &AccessRecord) -> links::Place {
        let host = crate::proxy::host(head).unwrap_or_default();
        links::Place {
            endpoint: self.public_endpoint(head, record.from_edge, host),
            host: host.to_owned(),
            base: match self.host_bucket(host) {
                Some(_) => String::new(),
                None => format!("/{}", self.bucket().name),
            },
        }
    }
}
