//! `POST /v1/session`: a hotkey's signature in, session credentials out, in the form that `credential_process` reads.

use std::{num::NonZeroU32, time::SystemTime};

use governor::{Quota, RateLimiter, clock::DefaultClock, state::keyed::DashMapStateStore};
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::json;

use super::{json_answer, json_refusal};
use crate::{
    auth::{Audience, BtauthError, bittensor::SpentNonces, bittensor::btauth},
    config,
    error::{Code, Error},
    exchange::AccessRecord,
    proxy::{Answer, Arrival, Gate},
    time::UnixTime,
};

/// `{"ttl_seconds": 86400}` and room for more.
const BODY_BYTES_MAX: usize = 4096;

/// Attempts of one address: each costs a signature check before anyone is known (P17). A host with hundreds of wallets
/// behind one address still gets all its sessions within a minute.
const ATTEMPTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
const ATTEMPTS_AT_ONCE: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// Addresses that are remembered before idle ones are forgotten.
const ADDRESSES_MAX: usize = 65_536;

type Attempts = RateLimiter<std::net::IpAddr, DashMapStateStore<std::net::IpAddr>, DefaultClock>;

/// What the session endpoint remembers: nonces of the last seconds, and attempts by address.
pub struct Sessions {
    audience: Audience,
    nonces: SpentNonces,
    attempts: Attempts,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Sessions {
    /// An endpoint that has seen nobody yet.
    pub fn new(session: &config::Session) -> Self {
        Self {
            audience: Audience { receiver: session.receiver, allow_none: session.allow_no_receiver },
            nonces: SpentNonces::default(),
            attempts: RateLimiter::keyed(
                Quota::per_second(ATTEMPTS_PER_SECOND).allow_burst(ATTEMPTS_AT_ONCE),
            ),
        }
    }

    /// Whether what is addressed to nobody is taken.
    pub(super) fn allows_no_receiver(&self) -> bool {
        self.audience.allow_none
    }

    /// Whether an address may try once more.
    pub(super) fn attempt(&self, address: std::net::IpAddr) -> bool {
        if self.attempts.len() > ADDRESSES_MAX {
            self.attempts.retain_recent();
        }
        self.attempts.check_key(&network(address)).is_ok()
    }
}

/// Whom an address stands for: in IPv6 a host has a whole /64 to call from.
fn network(address: std::net::IpAddr) -> std::net::IpAddr {
    match address.to_canonical() {
        std::net::IpAddr::V6(v6) => {
            std::net::Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    ttl_seconds: Option<u64>,
}

fn object(body: &[u8]) -> serde_json::Result<Wish> {
    serde_json::from_value(serde_json::from_slice::<serde_json::Map<_, _>>(body)?.into())
}

/// A refusal: status and what the client is told.
pub(super) type Refusal = (StatusCode, String);

impl Gate {
    pub(super) async fn open_session(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Answer {
        match self.session(head, arrival, record).await {
            Ok(body) => json_answer(StatusCode::OK, &body),
            Err((status, detail)) => {
                let code =
                    if status.is_server_error() { Code::ServiceUnavailable } else { Code::AccessDenied };
                record.error = Some(Error::new(code, detail.clone()).detail(&detail));
                json_refusal(status, &detail)
            }
        }
    }

    async fn session(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        record: &mut AccessRecord,
    ) -> Result<serde_json::Value, Refusal> {
        if !self.sessions().attempt(record.peer()) {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many session requests from this address; please retry".to_owned(),
            ));
        }
        let body = arrival.collect(BODY_BYTES_MAX, self.pace()).await.map_err(refusal)?;
        record.received_bytes = body.len() as u64;
        let now = SystemTime::now();
        let time = UnixTime::from(now);

        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let evidence = btauth::verify(
            &head.headers,
            head.method.as_str(),
            target,
            &body,
            &self.sessions().audience,
            time,
        )
        .map_err(told)?;
        record.hotkey = Some(evidence.hotkey());
        let wish: Wish = match body.is_empty() {
            true => Wish::default(),
            // By way of an object: serde would take `[]` for a struct as well.
            false => object(&body).map_err(|_| {
                (StatusCode::BAD_REQUEST, "The body must be {\"ttl_seconds\": 86400} or empty".to_owned())
            })?,
        };
        let (caller, _) = self.recognise(evidence.hotkey(), now, record).map_err(refusal)?;
        // Only now: a stranger's nonces are not remembered.
        self.sessions().nonces.spend(&evidence, time).map_err(told)?;
        let session = self.verifier().issue(&evidence, wish.ttl_seconds, time).map_err(refusal)?;
        let host = crate::proxy::host(head).unwrap_or_default();
        Ok(json!({
            "Version": 1,
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key.expose(),
            "SessionToken": session.session_token.expose(),
            "Expiration": session.expires_at.to_string(),
            "endpoint": self.public_endpoint(head, record.from_edge, host),
            "region": self.bucket().region,
            "bucket": self.bucket().name,
            "role": caller.role.as_str(),
            "folders": self.policy().folders(&caller.owner),
        }))
    }
}

fn told(error: BtauthError) -> Refusal {
    (error.status(), error.to_string())
}

pub(super) fn refusal(error: Error) -> Refusal {
    let status = match error.code {
        Code::AccessDenied => StatusCode::FORBIDDEN,
        Code::ServiceUnavailable | Code::SlowDown => StatusCode::SERVICE_UNAVAILABLE,
        Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, error.message.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p17_attempts_are_counted_by_address() {
        let session = config::Session {
            issue_with: String::new(),
            keys: Vec::new(),
            receiver: None,
            allow_no_receiver: true,
            ttl_seconds_max: 86_400,
        };
        let sessions = Sessions::new(&session);
        let one = [10, 0, 0, 1].into();
        let allowed = (0..1000).filter(|_| sessions.attempt(one)).count();
        assert!((200..400).contains(&allowed), "{allowed}");
        assert!(sessions.attempt([10, 0, 0, 2].into()));
        let same =
            |left: &str, right: &str| network(left.parse().unwrap()) == network(right.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1") && !same("10.0.0.1", "10.0.0.2"));
    }
}
