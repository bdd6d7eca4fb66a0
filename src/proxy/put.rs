//! PutObject and UploadPart: the bytes stream through, and the last of them only when all is proven (P4 to P8).

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;

use super::{Proxy, relay, sizes};
use crate::{
    auth::Payload,
    body::{
        arrival::Arriving,
        digest::Algorithm,
        form as inbound,
        plan::{Output, Plan},
    },
    config::{Proofs, Trailers},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange, RequestBody},
    policy::UploadPermit,
    s3::{ForwardedHeaders, Operation},
    store::StoreBody,
};

/// Content of one chunk towards the store: large enough that its line is nothing, and a size that stores take.
const STORE_CHUNK_BYTES: u64 = 1 << 20;

/// How long a client waits for its answer because the store's connection has not let go of its upload.
const LETTING_GO_TIME_MAX: Duration = Duration::from_secs(1);

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A body on its way through, before its first byte is read.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) payload_hash: Cow<'static, str>,
    pub(super) body: inbound::Inbound<RequestBody>,
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
            true => sizes::check_part(&self.limits, decoded_bytes)?,
            false => sizes::check_object(&self.limits, decoded_bytes)?,
        }
        let plan = plan(payload, headers, decoded_bytes, self.trailers, self.verified_by_store)?;
        let payload_hash = rewrite(&mut forwarded, &plan, payload, self.verified_by_store)?;
        let body = inbound::Inbound::Plain(body);
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
        let arriving = Arriving::new(body, plan, self.pace)?;
        let outcome = arriving.outcome();
        // A small body is read whole here.
        let upload = tokio::select! {
            upload = arriving.into_upload() => upload?,
            lost = self.access.registration_lost(permit.caller()) => return Err(lost),
        };
        let (body, abort) = StoreBody::upload(upload, payload_hash);
        let answer = tokio::select! {
            answer = self.store.send(permit.outbound(headers), body, exchange.now) => answer,
            // The store sees a broken transfer and keeps nothing; the body ends at once, not when hyper notices that
            // nobody waits for the answer.
            lost = self.access.registration_lost(permit.caller()) => {
                abort.stop();
                return Err(lost);
            }
        };
        // What the client did wrong is the answer, whatever the store makes of the broken transfer.
        if let Some(error) = outcome.failure() {
            return Err(error.clone());
        }
        let answer = relay::answer(&self.store, exchange, operation, answer?).await;
        if !outcome.is_proven() {
            // The store answered early: take its answer, and let go of the client's rest (P41).
            abort.stop();
            // A store that reads nothing any more keeps the upload until its connection times out.
            let _ = tokio::time::timeout(LETTING_GO_TIME_MAX, abort.over()).await;
            return match answer {
                Ok(answer) if answer.is_success() => {
                    Err(Error::store_unavailable("the store said yes to an upload before it was all there"))
                }
                answer => answer,
            };
        }
        answer
    }
}

/// What the client promised of its body, and in which form it goes on.
fn plan(
    payload: &Payload,
    headers: &HeaderMap,
    decoded_bytes: u64,
    trailers: Trailers,
    store: Proofs,
) -> Result<Plan> {
    let mut plan = Plan::new(payload, decoded_bytes);
    if store.sha256 {
        plan.sha256 = None;
    }
    plan.trailer = announced_trailer(payload, headers)?;
    if plan.trailer.is_some() && trailers == Trailers::Forward {
        plan.output = Output::UnsignedTrailer { chunk_bytes: STORE_CHUNK_BYTES };
    }
    promised(&mut plan, headers, store)?;
    Ok(plan)
}

/// Digests that stand in headers, as far as the store is not trusted to check them.
pub(super) fn promised(plan: &mut Plan, headers: &HeaderMap, store: Proofs) -> Result<()> {
    let invalid = |name: &str| {
        Error::new(
            Code::InvalidDigest,
            format!("The {name} you specified was invalid: it must be the base64 of the digest."),
        )
    };
    let mut md5 = headers.get_all("content-md5").iter();
    if let Some(text) = md5.next() {
        let bytes = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let (Some(bytes), None) = (bytes, md5.next()) else { return Err(invalid("Content-MD5")) };
        plan.md5 = Some(bytes).filter(|_| !store.content_md5);
    }
    for (name, value) in headers {
        let Some(algorithm) = Algorithm::of_header(name.as_str()) else { continue };
        let expected = value.to_str().ok().and_then(|text| algorithm.parse(text));
        let expected = expected.ok_or_else(|| {
            Error::new(Code::InvalidRequest, format!("Value for {name} header is invalid."))
        })?;
        if plan.checksums.iter().any(|(other, _)| *other == algorithm) {
            return Err(Error::new(
                Code::InvalidRequest,
                format!("The header {name} may be there once only."),
            ));
        }
        plan.checksums.push((algorithm, expected));
    }
    if store.checksum {
        plan.checksums.clear();
    }
    Ok(())
}

/// The checksum that a trailing mode announces: one, and one of S3's, for in the unsigned mode it is the only thing
/// that speaks for the body (P6).
fn announced_trailer(payload: &Payload, headers: &HeaderMap) -> Result<Option<Algorithm>> {
    let mut names = headers.get_all("x-amz-trailer").iter();
    let name = match (names.next(), names.next()) {
        (None, _) => None,
        (Some(name), None) => Some(name.to_str().unwrap_or_default().trim().to_ascii_lowercase()),
        (Some(_), Some(_)) => {
            return Err(Error::new(Code::InvalidRequest, "x-amz-trailer may be there once only."));
        }
    };
    match (payload, name) {
        (Payload::Sha256(_) | Payload::Unsigned | Payload::SignedChunks(_), None) => Ok(None),
        (Payload::UnsignedTrailer | Payload::SignedChunksTrailer(_), Some(name)) => {
            match Algorithm::of_header(&name) {
                Some(algorithm) => Ok(Some(algorithm)),
                None => Err(Error::new(
                    Code::InvalidRequest,
                    "The value specified in the x-amz-trailer header is not supported: it must be one of x-amz-checksum-crc32, -crc32c, -crc64nvme, -sha1, -sha256.",
                )),
            }
        }
        (Payload::UnsignedTrailer | Payload::SignedChunksTrailer(_), None) => Err(Error::new(
            Code::InvalidRequest,
            "A body with a trailer needs an x-amz-trailer header that names its checksum.",
        )),
        (_, Some(_)) => Err(Error::new(
            Code::InvalidRequest,
            "x-amz-trailer is only possible with an x-amz-content-sha256 that ends in -TRAILER.",
        )),
    }
}

/// Writes framing and length for the store; gives `x-amz-content-sha256`.
pub(super) fn rewrite(
    headers: &mut ForwardedHeaders,
    plan: &Plan,
    payload: &Payload,
    store: Proofs,
) -> Result<Cow<'static, str>> {
    headers.set_content_length(plan.outbound_bytes());
    match (plan.output, plan.trailer) {
        (Output::UnsignedTrailer { .. }, Some(trailer)) => {
            headers.set_aws_chunked(trailer.header(), plan.decoded_bytes)?;
            Ok(UNSIGNED_TRAILER.into())
        }
        (_, trailer) => {
            if trailer.is_some() {
                headers.remove_announced_checksum();
            }
            match payload {
                Payload::Sha256(sha256) if store.sha256 => Ok(hex::encode(sha256).into()),
                _ => Ok(UNSIGNED_PAYLOAD.into()),
            }
        }
    }
}
