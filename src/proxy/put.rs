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
    config::{BrokenUploads, Trailers},
    error::Result,
    exchange::{Answer, Exchange, RequestBody},
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

/// The checksums that this server makes of its own, the one that every store with trailers knows first; all
/// cost next to nothing.
const OWN_CHECKSUMS: [ChecksumAlgorithm; 3] =
    [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Crc32c];

/// By what a store that got a body from its client would see where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientForm {
    /// Its signed sha256, which goes on.
    Signed,
    /// The form in which it comes, which is taken off here: chunks, or a form's last boundary.
    Framed,
    /// Its declared length alone.
    Bare,
}

impl ClientForm {
    fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Sha256(_) => Self::Signed,
            Payload::SignedChunks(_) | Payload::SignedChunksTrailer(_) | Payload::UnsignedTrailer => {
                Self::Framed
            }
            Payload::Unsigned => Self::Bare,
        }
    }
}

/// A body as its client sends it, with what the request says of it.
pub(super) struct SentBody<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) payload: &'a Payload,
    pub(super) body: RequestBody,
}

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
        forwarded: ForwardedHeaders,
        sent: SentBody<'_>,
    ) -> Result<Answer> {
        // Declared too large, or too small, is refused before a byte is read.
        let decoded_bytes = declared_bytes(&sent)?;
        match permit.is_part() {
            true => sizes::check_part(&self.body_bounds, decoded_bytes)?,
            false => sizes::check_object(&self.body_bounds, permit.key(), decoded_bytes)?,
        }
        self.upload(exchange, permit, forwarded, sent, decoded_bytes).await
    }

    /// Sends a body of `decoded_bytes`, which was judged by its size, to the store.
    pub(super) async fn upload(
        &self,
        exchange: &Exchange,
        permit: UploadPermit<'_>,
        mut forwarded: ForwardedHeaders,
        sent: SentBody<'_>,
        decoded_bytes: u64,
    ) -> Result<Answer> {
        let SentBody { headers, payload, body } = sent;
        let framing = Framing::of(payload, headers)?;
        let plan = Plan::new(framing, decoded_bytes, self.expected_digests(payload, headers)?);
        let plan = match (self.trailers, plan.trailer()) {
            (Trailers::Forward, Some(algorithm)) if self.does_store_know(algorithm) => {
                plan.forward_trailer(STORE_CHUNK_BYTES)
            }
            (Trailers::Forward | Trailers::Translate, Some(_) | None) => {
                self.guard(plan, permit, &forwarded, ClientForm::of(payload))
            }
        };
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
        let (body, abort) = StoreBody::upload(upload, payload_hash);
        let answer = tokio::select! {
            answer = self.store.send(permit.outbound(headers), body, exchange.moment()) => answer,
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

    /// Adds a checksum of this server's own to an object by which its store could not tell a torn body from a
    /// whole one (P64).
    ///
    /// Not to a part: some stores take no other checksum for it than that of which its upload was created
    /// (MinIO, versitygw). A torn part has an ETag that no answer told its client.
    pub(super) fn guard(
        &self,
        plan: Plan,
        permit: UploadPermit<'_>,
        forwarded: &ForwardedHeaders,
        form: ClientForm,
    ) -> Plan {
        let is_guarded = match (form, self.broken_uploads, self.trailers) {
            (ClientForm::Signed, _, _) | (_, _, Trailers::Translate) => false,
            (ClientForm::Framed, BrokenUploads::Refused | BrokenUploads::Kept, Trailers::Forward) => true,
            (ClientForm::Bare, BrokenUploads::Refused, Trailers::Forward) => false,
            (ClientForm::Bare, BrokenUploads::Kept, Trailers::Forward) => true,
        };
        // Of nothing there is no part, and a digest in a header says it as well.
        if !is_guarded || permit.is_part() || plan.decoded_bytes() == 0 || forwarded.has_digest() {
            return plan;
        }
        match OWN_CHECKSUMS.into_iter().find(|algorithm| self.does_store_know(*algorithm)) {
            Some(algorithm) => plan.add_trailer(algorithm, STORE_CHUNK_BYTES),
            None => plan,
        }
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

/// The length of the content that a body declares.
///
/// # Errors
/// Those of [`sizes::declared_bytes`].
pub(super) fn declared_bytes(sent: &SentBody<'_>) -> Result<u64> {
    sizes::declared_bytes(sent.payload, sent.headers)
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
            if plan.trailer() != Some(trailer) {
                headers.remove_announced_checksum();
            }
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
