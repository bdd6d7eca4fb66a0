//! The endpoints of the vending server, for clients that were written for it: who asks, by which string,
//! until when. [`tao`] is about those who sign in headers.
//!
//! Order (P54, P59, P17): the setting, the declared size of the body, the bytes that may be buffered, the
//! registry, the address's false signatures, the window, one string, at most two sr25519 verifications, the
//! limits of the hotkey. A string sent again within its window gives the same answer again; see
//! [`crate::auth::bittensor::vending`].

pub(super) mod file_urls;
pub(super) mod folder_access;
pub(super) mod folder_urls;
mod links;
pub(super) mod miner_access;
pub(super) mod miner_list;
mod tao;
pub(super) mod upload_url;
pub(super) mod validator_access;

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::ToSchema;

use self::links::{Links, Place};
use super::{
    discovery::Discovery,
    json::Refusal,
    nonces::Nonces,
    openapi::patterns::{HexSignature, Ss58},
    request_body::RequestBodies,
};
use crate::{
    access::Access,
    auth::{
        Evidence,
        bittensor::vending::{self, VendingError, VendingRequest},
    },
    chain::{AccountId, Owner, Role, Snapshot},
    config::BodyBounds,
    endpoint::Endpoint,
    error::{Code, Error, Reason},
    exchange::{Exchange, RequestBody},
    limits::{Buffered, Limits},
    policy::{self, Caller, Policy},
    site::{self, Site},
    store::Store,
    time::UnixTime,
};

/// How long access lasts where the request does not say.
const EXPIRY_SECONDS: u64 = 86_400;

/// A request of a few hundred bytes, and room for more.
const BODY_BYTES_MAX: usize = 4096;

/// The endpoints of the vending server.
pub(super) struct VendedEndpoints {
    access: Arc<Access>,
    site: Arc<Site>,
    bodies: Arc<RequestBodies>,
    limits: Arc<Limits>,
    store: Arc<Store>,
    discovery: Discovery,
    /// Of requests that are signed in headers; strings in bodies have none.
    nonces: Arc<Nonces>,
    body_bounds: BodyBounds,
    /// Whether what is addressed to nobody is taken; none of these requests is addressed to anybody.
    allow_no_receiver: bool,
    session_seconds_max: u64,
}

/// What the configuration says of them.
pub(super) struct VendedSettings {
    pub(super) body_bounds: BodyBounds,
    pub(super) allow_no_receiver: bool,
    pub(super) session_seconds_max: u64,
}

/// A request of a registered hotkey whose signature holds.
struct VerifiedRequest {
    caller: Caller,
    evidence: Evidence,
    /// The string that was signed.
    string: String,
    expires_at: UnixTime,
    snapshot: Arc<Snapshot>,
}

/// The fields of a request that every one of these endpoints has.
struct SignedFields<'a> {
    hotkey: &'a str,
    timestamp: u64,
    signature: &'a str,
    expiry: Option<u64>,
}

/// What a validator asks with.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ValidatorRequest {
    /// The validator's hotkey, SS58; `validator_hotkey` is taken as well.
    #[serde(alias = "validator_hotkey")]
    #[schema(value_type = Ss58)]
    hotkey: String,
    /// Unix seconds at which the string was signed.
    timestamp: u64,
    /// sr25519 by the hotkey, hex with or without `0x`.
    #[schema(value_type = HexSignature)]
    signature: String,
    /// Unix seconds at which access is to end; 24 hours by default.
    expiry: Option<u64>,
}

impl ValidatorRequest {
    fn signed_fields(&self) -> SignedFields<'_> {
        SignedFields {
            hotkey: &self.hotkey,
            timestamp: self.timestamp,
            signature: &self.signature,
            expiry: self.expiry,
        }
    }
}

/// An address of a request.
fn account(field: &str, text: &str) -> Result<AccountId, Refusal> {
    text.parse().map_err(|error| Refusal::bad_request(format!("Invalid {field}: {error}")))
}

impl VendedEndpoints {
    #[expect(clippy::too_many_arguments, reason = "what all endpoints share, each of which is there once")]
    pub(super) fn new(
        access: Arc<Access>,
        site: Arc<Site>,
        bodies: Arc<RequestBodies>,
        limits: Arc<Limits>,
        store: Arc<Store>,
        discovery: Discovery,
        nonces: Arc<Nonces>,
        settings: VendedSettings,
    ) -> Self {
        let VendedSettings { body_bounds, allow_no_receiver, session_seconds_max } = settings;
        Self {
            access,
            site,
            bodies,
            limits,
            store,
            discovery,
            nonces,
            body_bounds,
            allow_no_receiver,
            session_seconds_max,
        }
    }

    /// Reads a request in JSON, with the bytes that are held for it.
    async fn read<T: DeserializeOwned>(
        &self,
        exchange: &mut Exchange,
        body: RequestBody,
        bytes_max: usize,
    ) -> Result<(T, Buffered), Refusal> {
        self.check_no_receiver()?;
        let (body, buffered) = self.bodies.read(exchange, body, bytes_max).await?;
        Ok((parse(&body)?, buffered))
    }

    /// Refuses what is addressed to nobody, where the operator has not allowed it.
    fn check_no_receiver(&self) -> Result<(), Refusal> {
        if self.allow_no_receiver {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "This server takes requests that are addressed to it only: use POST /v1/session",
        ))
    }

    /// Verifies that a registered hotkey asks for that, and admits it to `endpoint`.
    async fn verify(
        &self,
        endpoint: Endpoint,
        ask: &VendingRequest<'_>,
        fields: &SignedFields<'_>,
        exchange: &mut Exchange,
    ) -> Result<VerifiedRequest, Refusal> {
        let now = exchange.now;
        let hotkey = account("hotkey", fields.hotkey)?;
        self.access.may_verify(hotkey, exchange)?;
        let evidence = vending::verify(ask, hotkey, fields.signature, fields.timestamp, fields.expiry, now)
            .map_err(|error| match error {
            VendingError::Timestamp => Refusal::bad_request(error.to_string()).because(Reason::TimeTooFar),
            VendingError::Signature => {
                self.access.hotkey_signature_checked(false);
                self.limits.charge_signature(exchange.sender);
                Refusal::new(StatusCode::UNAUTHORIZED, error.to_string())
                    .because(Reason::HotkeySignatureFalse)
            }
        })?;
        self.access.hotkey_signature_checked(true);
        let (caller, snapshot) = self.access.identify(hotkey, exchange)?;
        exchange.admitted(self.limits.admit_to(&caller, endpoint, now).await?);
        let wished = fields.expiry.unwrap_or_else(|| fields.timestamp.saturating_add(EXPIRY_SECONDS));
        let latest = fields.timestamp.saturating_add(self.session_seconds_max);
        Ok(VerifiedRequest {
            caller,
            evidence,
            string: ask.signed_string(fields.timestamp),
            // What ends this second would be refused before it arrives.
            expires_at: UnixTime::from_seconds(wished.min(latest).max(now.seconds().saturating_add(1))),
            snapshot,
        })
    }

    /// As [`Self::verify`], for validators.
    async fn verify_validator(
        &self,
        ask: &VendingRequest<'_>,
        fields: &SignedFields<'_>,
        exchange: &mut Exchange,
    ) -> Result<VerifiedRequest, Refusal> {
        self.verify(ask.endpoint(), ask, fields, exchange).await?.of_validator()
    }

    /// Signs links for the caller until `expires_at`.
    fn links(
        &self,
        exchange: &Exchange,
        verified: &VerifiedRequest,
        expires_at: UnixTime,
    ) -> Result<Links, Refusal> {
        let host = site::host(&exchange.head).unwrap_or_default();
        let place = Place {
            endpoint: exchange.endpoint(),
            host: host.to_owned(),
            bucket_path: self.site.bucket_path(host),
        };
        let session = self.access.verifier().issue_until(&verified.evidence, expires_at, exchange.now)?;
        Ok(Links::new(self.site.bucket().clone(), place, session, exchange.now))
    }
}

impl VerifiedRequest {
    /// The same where its caller is a validator.
    fn of_validator(self) -> Result<Self, Refusal> {
        match self.caller.role {
            Role::Validator => Ok(self),
            Role::Undecided => Err(policy::role_undecided().into()),
            Role::Miner => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "You are not validator")
                    .because(Reason::NotValidator))
            }
        }
    }
}

/// Reads a body: an object in JSON, for serde would take a list for a struct as well.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let unreadable =
        |reason: &str| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("Invalid request: {reason}"));
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(unreadable("the body must be an object in JSON"));
    }
    serde_json::from_slice(body).map_err(|error| unreadable(&error.to_string()))
}

/// The folder that a miner's files are listed under, with a `source` where the layout has sources. Of a
/// hotkey that is not registered any more its coldkey is not known, but what a validator may list holds
/// folders that the hotkey alone names.
fn folder_of_miner(
    policy: &Policy,
    verified: &VerifiedRequest,
    miner: AccountId,
    source: Option<&str>,
) -> Option<String> {
    let neuron = verified.snapshot.neuron(&miner);
    let owner = match neuron {
        Some(neuron) => Arc::clone(&neuron.owner),
        None => Arc::new(Owner::new(miner, miner)),
    };
    let templates =
        policy.templates().iter().filter(|template| neuron.is_some() || !template.names_coldkeys());
    let folders: Vec<Vec<String>> =
        templates.map(|template| template.owned_folders(&owner, source)).collect();
    // A layout that names the miner in one folder says it all; else the first folder there is.
    let one = folders
        .iter()
        .find(|folders| folders.len() == 1)
        .or_else(|| folders.iter().find(|folders| !folders.is_empty()));
    one.and_then(|folders| folders.first()).cloned()
}

/// The owner of a miner's folders.
fn registered_miner(verified: &VerifiedRequest, miner: AccountId) -> Result<Arc<Owner>, Refusal> {
    match verified.snapshot.neuron(&miner) {
        Some(neuron) => Ok(Arc::clone(&neuron.owner)),
        None => Err(Refusal::bad_request("miner_hotkey is not registered on the subnet")
            .because(Reason::NotRegistered)),
    }
}

/// A list that could not be completed is no list.
fn incomplete_list(error: Error) -> Refusal {
    match error.code {
        Code::AccessDenied => Refusal::new(StatusCode::FORBIDDEN, error.message.into_owned()),
        _ => {
            tracing::warn!(detail = error.detail.as_deref().unwrap_or_default(), "a discovery failed");
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "The list of miners could not be completed: {} Nothing is shown of it.",
                    error.message
                ),
            )
        }
    }
}
