//! The endpoints that are not S3's ([`Endpoint`]): they answer in JSON (the documentation in HTML), and come
//! before the road.

mod discovery;
mod docs;
mod health;
mod json;
mod nonces;
pub(crate) mod openapi;
mod process;
mod readiness;
mod request_body;
mod session;
mod store_health;
mod structure;
mod vended;

use std::{sync::Arc, time::SystemTime};

use http::{HeaderValue, Method, StatusCode, header, request::Parts};

use self::{
    discovery::Discovery,
    docs::{Docs, Told},
    health::HealthEndpoints,
    json::Refusal,
    request_body::RequestBodies,
    session::SessionEndpoint,
    structure::StructureInfo,
    vended::{VendedEndpoints, VendedSettings},
};
pub(crate) use self::{
    nonces::{Nonces, NoncesLeft},
    process::Process,
    readiness::Readiness,
};
use crate::{
    access::Access,
    auth::{Audience, bittensor::tao},
    body::pace::Pace,
    config::{BodyBounds, Config},
    endpoint::Endpoint,
    exchange::{AccessRecord, Answer, Exchange, RequestBody},
    limits::{Exceeded, Limits},
    site::Site,
    store::Store,
};

/// The refusal of a request to an endpoint by a limit.
pub(crate) fn refuse_limit(exceeded: Exceeded, record: &mut AccessRecord) -> Answer {
    json::respond(Err::<(), _>(Refusal::from(exceeded)), record)
}

/// Whether a request is for an endpoint that is not there: a client of the vending server's sends a document
/// that is signed in `X-Tao-*` headers, which nothing of S3 is. Answered in JSON, as that client expects.
pub(crate) fn is_for_none(head: &Parts) -> bool {
    head.method == Method::POST
        && head.uri.query().is_none()
        && !head.headers.contains_key(header::AUTHORIZATION)
        && tao::is_claimed(&head.headers)
}

/// The answer to a request for an endpoint that is not there.
pub(crate) fn not_found(record: &mut AccessRecord) -> Answer {
    json::respond(Err::<(), _>(Refusal::new(StatusCode::NOT_FOUND, "Not Found: see /docs")), record)
}

/// The endpoints that are not S3's.
pub(crate) struct Endpoints {
    access: Arc<Access>,
    body_bounds: BodyBounds,
    session: SessionEndpoint,
    vended: VendedEndpoints,
    health: HealthEndpoints,
    docs: Docs,
}

impl Endpoints {
    /// The endpoints of one server.
    pub(crate) fn new(
        access: &Arc<Access>,
        site: &Arc<Site>,
        store: &Arc<Store>,
        limits: &Arc<Limits>,
        config: &Config,
        pace: Pace,
        process: &Arc<Process>,
    ) -> Self {
        let Config { session, endpoints: settings, limits: bounds, .. } = config;
        let body_bounds = bounds.bodies.clone();
        let bodies = Arc::new(RequestBodies::new(Arc::clone(limits), pace));
        let audience = Audience { receiver: session.receiver, allow_none: session.allow_no_receiver };
        let (access, site, store) = (Arc::clone(access), Arc::clone(site), Arc::clone(store));
        let discovery = Discovery::new(Arc::clone(&access), Arc::clone(&site), Arc::clone(&store), settings);
        Self {
            body_bounds: body_bounds.clone(),
            session: SessionEndpoint::new(
                Arc::clone(&access),
                Arc::clone(&site),
                Arc::clone(&bodies),
                Arc::clone(limits),
                audience,
                Arc::clone(&process.nonces),
            ),
            vended: VendedEndpoints::new(
                Arc::clone(&access),
                Arc::clone(&site),
                bodies,
                Arc::clone(limits),
                Arc::clone(&store),
                discovery,
                Arc::clone(&process.nonces),
                VendedSettings {
                    body_bounds,
                    allow_no_receiver: session.allow_no_receiver,
                    session_seconds_max: session.ttl_seconds_max,
                },
            ),
            docs: Docs::new(
                Arc::clone(&site),
                Told {
                    bodies: bounds.bodies.clone(),
                    miner: bounds.miner,
                    validator: bounds.validator,
                    principal: bounds.principal,
                    receiver: session.receiver,
                    allow_no_receiver: session.allow_no_receiver,
                    session_seconds_max: session.ttl_seconds_max,
                },
            ),
            health: HealthEndpoints::new(
                Arc::clone(&access),
                site,
                &store,
                Arc::clone(limits),
                Arc::clone(process),
                settings.discovery_seconds_max,
            ),
            access,
        }
    }

    /// Whether this server can do its work.
    pub(crate) async fn readiness(&self, now: SystemTime) -> Readiness {
        self.health.readiness(now).await
    }

    /// Answers a request to one of the endpoints.
    pub(crate) async fn answer(
        &self,
        endpoint: Endpoint,
        exchange: &mut Exchange,
        body: RequestBody,
    ) -> Answer {
        let methods = endpoint.methods();
        if !methods.contain(&exchange.head.method) {
            let detail = format!("Method Not Allowed: this endpoint takes {}", methods.allow());
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail);
            return json::respond(Err::<(), _>(refusal), &mut exchange.record)
                .header(header::ALLOW, HeaderValue::from_static(methods.allow()));
        }
        let now = exchange.arrived_at;
        match endpoint {
            Endpoint::Session => {
                let result = self.session.open(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::FolderAccess => {
                let result = self.vended.folder_access(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::ValidatorAccess => {
                let result = self.vended.validator_access(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::MinerAccess => {
                let result = self.vended.miner_access(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::FolderUrls => match self.vended.folder_urls(exchange, body).await {
                Ok(pieces) => json::made(pieces),
                Err(refusal) => json::respond(Err::<(), _>(refusal), &mut exchange.record),
            },
            Endpoint::FileUrls => {
                let result = self.vended.file_urls(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::UploadUrl => {
                let result = self.vended.upload_url(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::MinerList => {
                let result = self.vended.miner_list(exchange, body).await;
                json::respond(result, &mut exchange.record)
            }
            Endpoint::HealthCheck => {
                let health = self.health.check(now).await;
                json::respond(Ok(health), &mut exchange.record)
            }
            Endpoint::Ready => json::respond(self.health.ready(now).await, &mut exchange.record),
            Endpoint::Live => json::answer(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            Endpoint::CommitmentFormats => json::answer(StatusCode::OK, &structure::commitment_formats()),
            Endpoint::StructureInfo => {
                let structure = StructureInfo::new(self.access.policy(), &self.body_bounds);
                json::respond(Ok(structure), &mut exchange.record)
            }
            Endpoint::OpenApi => json::answer(StatusCode::OK, openapi::document()),
            Endpoint::Docs => match self.docs.page(self.access.policy(), exchange) {
                Ok(page) => page,
                Err(refusal) => json::respond(Err::<(), _>(refusal), &mut exchange.record),
            },
        }
    }
}
