//! PutObject and UploadPart: the bytes stream through, and the last of them only when all is proven (P4 to
//! P8).

use std::{borrow::Cow, time::Duration};

use http::HeaderMap;

use super::{Proxy, relay, sizes};
use crate::{
    auth::Payload,
    body::{
        client_body::ClientBody,
        content_check::ExpectedDigests,
        digest::ChecksumAlgorithm,
        output::Output,
        plan::{Framing, Plan},
        upload::Upload,
        verifying::VerifyingBody,
    },
    config::Trailers,
    error::Result,
    exchange::{Answer, Exchange, RequestBody},
    limits::Way,
    policy::UploadPermit,
    s3::{ForwardedHeaders, Operation},
    store::StoreBody,
};

/// Content of one chunk towards the store: large enough that its line is nothing, and a size that stores
/// take.
const STORE_CHUNK_BYTES: u64 = 1 << 20;

/// How long a client waits for its answer because the store's connection has not let go of its upload.
const LETTING_GO_TIME_MAX: Duration = Duration::from_secs(1);

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A body on its way through, before its first byte is read.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) payload_hash: Cow<'static, str>,
    pub(super) body: ClientBody<RequestBody>,
}

impl Proxy {
    /// PutObject and UploadPart.
    pub(super) async fn put(
        &self,
        exchange: &Exchange,
        permit: UploadPermit<'_>,
        mut forwarded: ForwardedHeaders,
        headers: &HeaderMap,
        payload: &Payload,
        body: RequestBody,
    ) -> Result<Answer> {
        // Declared too large, or too small, is refused before a byte is read.
        let decoded_bytes = sizes::declared_bytes(payload, headers)?;
        match permit.is_part() {
            true => sizes::check_part(&self.body_bounds, decoded_bytes)?,
            false => sizes::check_object(&self.body_bounds, decoded_bytes)?,
        }
        let plan = self.plan(payload, headers, decoded_bytes)?;
        let payload_hash = rewrite(&mut forwarded, &plan, payload)?;
        let body = ClientBody::Plain(body);
        self.stream(exchange, permit, forwarded, Planned { plan, payload_hash, body }).await
    }

    /// Streams a body that is planned to the store.
    pub(super) async fn stream(
        &self,
        exchange: &Exchange,
        permit: UploadPermit<'_>,
        headers: ForwardedHeaders,
        planned: Planned,
    ) -> Result<Answer> {
        let Planned { plan, payload_hash, body } = planned;
        let operation = if permit.is_part() { Operation::UploadPart } else { Operation::PutObject };
        let body = VerifyingBody::new(body, plan, self.pace);
        let report = body.report();
        // A small body is read whole here.
        let upload = tokio::select! {
            upload = Upload::prepare(body) => upload?,
            lost = self.access.registration_lost(permit.caller()) => return Err(lost),
        };
        let (body, abort) = StoreBody::upload(upload, payload_hash, self.gate(permit.caller(), Way::In));
        let answer = tokio::select! {
            answer = self.store.send(permit.outbound(headers), body, exchange.on_behalf()) => answer,
            // The store sees a broken transfer and keeps nothing; the body ends at once, not when hyper
            // notices that nobody waits for the answer.
            lost = self.access.registration_lost(permit.caller()) => {
                abort.stop();
                return Err(lost);
            }
        };
        // What the client did wrong is the answer, whatever the store makes of the broken transfer.
        if let Some(error) = report.failure() {
            return Err(error.clone());
        }
        let answer = match answer {
            Ok(answer) => relay::answer(&self.store, exchange, operation, answer).await,
            Err(failure) => Err(failure),
        };
        if !report.is_verified() {
            // The store answered early: take its answer, and let go of the client's rest (P41).
            abort.stop();
            // A store that reads nothing any more keeps the upload until its connection times out.
            let _ = tokio::time::timeout(LETTING_GO_TIME_MAX, abort.over()).await;
        }
        answer
    }

    /// What the client promised of its body, and in which form it goes on.
    fn plan(&self, payload: &Payload, headers: &HeaderMap, decoded_bytes: u64) -> Result<Plan> {
        let framing = Framing::of(payload, headers)?;
        let plan = Plan::new(framing, decoded_bytes, self.expected_digests(payload, headers)?);
        let is_known = plan.trailer().is_some_and(|algorithm| self.does_store_know(algorithm));
        Ok(match self.trailers {
            Trailers::Forward if is_known => plan.forward_trailer(STORE_CHUNK_BYTES),
            Trailers::Forward | Trailers::Translate => plan,
        })
    }

    /// The digests in headers, except those that the store is trusted to check.
    pub(super) fn expected_digests(&self, payload: &Payload, headers: &HeaderMap) -> Result<ExpectedDigests> {
        let mut expected = ExpectedDigests::of(payload, headers)?;
        if self.verified_by_store.sha256 {
            expected.sha256 = None;
        }
        if self.verified_by_store.content_md5 {
            expected.md5 = None;
        }
        if self.verified_by_store.checksum {
            expected.checksums.retain(|(algorithm, _)| !self.does_store_know(*algorithm));
        }
        Ok(expected)
    }

    fn does_store_know(&self, algorithm: ChecksumAlgorithm) -> bool {
        self.checksums_of_store.iter().any(|known| known == algorithm.name())
    }
}

/// Writes framing and length for the store; gives `x-amz-content-sha256`. A sha256 of the client's goes on,
/// so that a store never keeps another content than the one that was signed, whoever fails on the way (P64).
pub(super) fn rewrite(
    headers: &mut ForwardedHeaders,
    plan: &Plan,
    payload: &Payload,
) -> Result<Cow<'static, str>> {
    headers.set_content_length(plan.outbound_bytes());
    match plan.output() {
        Output::UnsignedTrailer { trailer, .. } => {
            headers.set_aws_chunked(trailer.header(), plan.decoded_bytes())?;
            Ok(UNSIGNED_TRAILER.into())
        }
        Output::Plain => {
            if plan.trailer().is_some() {
                headers.remove_announced_checksum();
            }
            Ok(match payload {
                Payload::Sha256(sha256) => hex::encode(sha256).into(),
                // Of chunks nobody knows the sha256 before they are all there.
                Payload::Unsigned
                | Payload::SignedChunks(_)
                | Payload::SignedChunksTrailer(_)
                | Payload::UnsignedTrailer => UNSIGNED_PAYLOAD.into(),
            })
        }
    }
}
