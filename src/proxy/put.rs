//! PutObject and UploadPart: the bytes stream through, and the last of them only when all is proven (P4 to P8).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use hyper::body::Incoming;

use super::{Arrival, Gate, answer::Answer, sizes};
use crate::{
    auth::Payload,
    body::{
        client_body::ClientBody,
        content_check::ExpectedDigests,
        digest::{self, RunningDigest},
        output::Output,
        plan::{Framing, Plan},
        upload::Upload,
        verifying::VerifyingBody,
    },
    config::{Proofs, Trailers, UploadsAfterLoss},
    error::{Code, Error, Result},
    policy::{Caller, Permit},
    s3::{Operation, SDK_QUERY_NAME},
    store::{Outbound, StoreBody},
    time::UnixTime,
};

/// Content of one chunk towards the store: large enough that its line is nothing, and a size that stores take.
const STORE_CHUNK_BYTES: u64 = 1 << 20;

/// How long a client waits for its answer because the store's connection has not let go of its upload.
const LETTING_GO_TIME_MAX: Duration = Duration::from_secs(1);

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// How often an upload looks whether its caller is still registered, where such uploads are cut.
const REGISTRATION_LOOK: Duration = Duration::from_secs(1);

/// An upload as it arrives.
pub(super) struct Inbound<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) payload: &'a Payload,
    pub(super) arrival: &'a mut Arrival,
}

/// A body on its way through.
pub(super) struct Through<'a> {
    pub(super) plan: Plan,
    pub(super) payload_hash: String,
    pub(super) body: ClientBody<Incoming>,
    pub(super) arrival: &'a mut Arrival,
}

impl Gate {
    pub(super) async fn upload(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        mut headers: HeaderMap,
        inbound: Inbound<'_>,
        now: UnixTime,
    ) -> Result<Answer> {
        let request = permit.request();
        // Admit: declared too large, or too small, is refused before a byte is read.
        let decoded_bytes = sizes::declared_bytes(inbound.payload, inbound.headers)?;
        match request.operation {
            Operation::UploadPart => sizes::part_size(&self.limits, decoded_bytes)?,
            _ => sizes::object_size(&self.limits, decoded_bytes)?,
        }
        let plan = plan(
            inbound.payload,
            inbound.headers,
            decoded_bytes,
            self.store_settings.trailers,
            self.store_settings.verifies,
        )?;
        let payload_hash = rewrite(&mut headers, &plan, inbound.payload, self.store_settings.verifies)?;

        let body = ClientBody::Plain(inbound.arrival.take()?);
        let through = Through { plan, payload_hash, body, arrival: inbound.arrival };
        self.stream(head, permit, headers, through, now).await
    }

    /// Streams a body that is planned to the store.
    pub(super) async fn stream(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        headers: HeaderMap,
        through: Through<'_>,
        now: UnixTime,
    ) -> Result<Answer> {
        let request = permit.request();
        let body = VerifyingBody::new(through.body, through.plan, self.pace);
        let report = body.report();
        *through.arrival = Arrival::Taken(Arc::clone(&report));
        // A small body is read whole here.
        let upload = tokio::select! {
            upload = Upload::prepare(body) => upload?,
            lost = self.registration_lost(permit.caller()) => return Err(lost),
        };
        let (body, abort) = StoreBody::upload(upload);
        let outbound = Outbound {
            method: Method::PUT,
            key: Some(request.key()?.to_owned()),
            query: request.query.clone().without(|name| name == SDK_QUERY_NAME),
            headers,
            payload_hash: through.payload_hash,
            body,
        };
        let answer = tokio::select! {
            answer = self.store.send(outbound, now) => answer,
            // The store sees a broken transfer and keeps nothing; the body ends at once, not when hyper notices that
            // nobody waits for the answer.
            lost = self.registration_lost(permit.caller()) => {
                abort.stop();
                return Err(lost);
            }
        };
        // What the client did wrong is the answer, whatever the store makes of the broken transfer.
        if let Some(error) = report.failure() {
            return Err(error.clone());
        }
        let answer = self.answer(head, permit, answer?).await;
        if !report.is_verified() {
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

impl Gate {
    /// Resolves when an upload under way must end because its caller may not upload any more, which never happens
    /// where such uploads may finish.
    async fn registration_lost(&self, caller: &Caller) -> Error {
        if self.chain.uploads_after_loss == UploadsAfterLoss::Finish {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(REGISTRATION_LOOK).await;
            let now = SystemTime::now();
            let snapshot = self.registry.snapshot(now);
            // One that is too old says nothing of a loss; the next request will hear of that.
            match self.registered(caller.hotkey, &snapshot, now.into()) {
                Err(error) if error.code == Code::AccessDenied => return error,
                Ok(current) if current.owner.coldkey() != caller.owner.coldkey() => {
                    return Error::new(
                        Code::AccessDenied,
                        "FolderDenied: the hotkey has another coldkey now, so the folder is another; upload there.",
                    );
                }
                Ok(_) | Err(_) => {}
            }
        }
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
    let framing = Framing::of(payload, headers)?;
    let plan = Plan::new(framing, decoded_bytes, expected_digests(payload, headers, store)?);
    Ok(match trailers {
        Trailers::Forward => plan.forward_trailer(STORE_CHUNK_BYTES),
        Trailers::Translate => plan,
    })
}

/// The digests in headers, except those that the store is trusted to check.
pub(super) fn expected_digests(
    payload: &Payload,
    headers: &HeaderMap,
    store: Proofs,
) -> Result<ExpectedDigests> {
    let mut expected = ExpectedDigests::of(payload, headers)?;
    if store.sha256 {
        expected.sha256 = None;
    }
    if store.content_md5 {
        expected.md5 = None;
    }
    if store.checksum {
        expected.checksums.clear();
    }
    Ok(expected)
}

/// Writes framing and length for the store; gives `x-amz-content-sha256`.
pub(super) fn rewrite(
    headers: &mut HeaderMap,
    plan: &Plan,
    payload: &Payload,
    store: Proofs,
) -> Result<String> {
    let number = |number: u64| HeaderValue::from(number);
    headers.insert(header::CONTENT_LENGTH, number(plan.outbound_bytes()));
    match plan.output() {
        Output::UnsignedTrailer { trailer, .. } => {
            headers.insert("x-amz-trailer", HeaderValue::from_static(trailer.header()));
            headers.insert("x-amz-decoded-content-length", number(plan.decoded_bytes()));
            let coding = match headers.get(header::CONTENT_ENCODING) {
                Some(kept) => {
                    let joined = [kept.as_bytes(), b",aws-chunked"].concat();
                    HeaderValue::from_bytes(&joined).map_err(Error::internal)?
                }
                None => HeaderValue::from_static("aws-chunked"),
            };
            headers.insert(header::CONTENT_ENCODING, coding);
            Ok(UNSIGNED_TRAILER.to_owned())
        }
        Output::Plain => {
            if plan.trailer().is_some() {
                // Announces a checksum that no longer comes.
                headers.remove("x-amz-sdk-checksum-algorithm");
            }
            match payload {
                Payload::Sha256(sha256) if store.sha256 => Ok(hex::encode(sha256)),
                _ => Ok(UNSIGNED_PAYLOAD.to_owned()),
            }
        }
    }
}

/// `Content-MD5` of a body that was built here.
pub(super) fn content_md5(body: &[u8]) -> Result<HeaderValue> {
    let mut running = RunningDigest::md5();
    running.update(body);
    HeaderValue::from_str(&digest::to_base64(&running.finish())).map_err(Error::internal)
}
