//! The road of a request, told once, top to bottom, in [`Proxy::road`].
//!
//! ```text
//! claim ─ verify ─ who is that ─ parse ─ admit ─ authorise ─ rewrite ─ re-sign ─ stream ─ answer
//! ```
//!
//! A form (POST to the bucket) brings its signature in its own fields and takes the same road from there, in
//! `post_form`.
//!
//! Each step's result is what the next one needs: a verified signature makes a [`crate::policy::Caller`], a
//! caller and a request make a [`crate::policy::Permit`], and from a permit alone is a request to the store
//! made. Branches stand here; what a family of operations needs beyond the plain road stands in a file of its
//! own.

mod bucket_answers;
mod complete;
mod copy;
mod delete;
mod folder_marker;
mod list;
mod list_roots;
mod post_form;
mod put;
mod refusal;
mod relay;
mod request_xml;
mod sizes;
mod storage_class;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header, request::Parts};
pub(crate) use post_form::is_form;

use self::{
    put::SentBody,
    request_xml::{XmlBodies, XmlBody},
};
use crate::{
    access::Access,
    auth::{Payload, Verified},
    body::{content_check::ChecksumHeaders, gate::Gate, pace::Pace},
    config::{BodyBounds, BrokenUploads, Config, StoreChecks, Trailers},
    error::{Code, Error, Result},
    exchange::{Answer, Exchange, RequestBody},
    limits::{Limits, Way},
    policy::{Caller, Permitted},
    s3::{
        Addressing, ForwardedHeaders, Operation, Request,
        uri::Query,
        xml::{self, Delete},
    },
    site::Site,
    store::{Store, StoreBody},
};

/// The head of a request: AWS allows 8 KiB of headers; tokens, long keys and metadata of 2 KiB fit well.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Headers of one request: 100 is what a busy client with metadata does not reach.
const HEADERS_MAX: usize = 128;

/// What the road needs; built once, shared by all requests.
pub(crate) struct Proxy {
    access: Arc<Access>,
    site: Arc<Site>,
    store: Arc<Store>,
    limits: Arc<Limits>,
    /// Sizes of objects.
    body_bounds: BodyBounds,
    /// What becomes of a checksum in a trailer.
    trailers: Trailers,
    /// What the store does with an upload that breaks off.
    broken_uploads: BrokenUploads,
    /// What the store proves itself, so that it is not proven here.
    verified_by_store: StoreChecks,
    /// The storage classes that clients may ask for.
    storage_classes: Vec<String>,
    /// The checksum algorithms that the store knows.
    checksums_of_store: Vec<String>,
    /// The hosts to which a form may have its client redirected.
    redirect_hosts: Vec<String>,
    /// How slow a client's body may be.
    pace: Pace,
    xml_bodies: XmlBodies,
}

impl Proxy {
    /// The road to `store`, by the rest of the configuration that the others were not made of.
    pub(crate) fn new(
        access: Arc<Access>,
        site: Arc<Site>,
        store: Arc<Store>,
        limits: Arc<Limits>,
        config: &Config,
    ) -> Self {
        let Config { store: settings, limits: bounds, endpoints, .. } = config;
        let pace = pace(&bounds.bodies);
        Self {
            access,
            site,
            store,
            body_bounds: bounds.bodies.clone(),
            trailers: settings.trailers,
            broken_uploads: settings.broken_uploads,
            verified_by_store: settings.verifies,
            storage_classes: settings.storage_classes.clone(),
            checksums_of_store: settings.checksums.clone(),
            redirect_hosts: endpoints.redirect_hosts.clone(),
            pace,
            xml_bodies: XmlBodies::new(pace, Arc::clone(&limits)),
            limits,
        }
    }

    /// The road.
    ///
    /// # Errors
    /// The refusal or failure that the client is answered with.
    pub(crate) async fn road(&self, exchange: &mut Exchange, body: RequestBody) -> Result<Answer> {
        // Claim: a head of bounded size, with one host.
        check_head(&exchange.head)?;

        // Verify: who signed exactly these bytes.
        let verified = self.access.verify(&self.site, exchange)?;

        // Who is that, by the one snapshot of this request.
        let (caller, _) = self.access.identify(verified.hotkey(), exchange)?;
        exchange.gate = self.gate(&caller, Way::Out);

        // Parse: what is asked for.
        let head = &exchange.head;
        let (query, headers) = verified.query_and_headers(&head.method, &head.headers)?;
        let request = self.parse(exchange, &verified, query, &headers)?;
        let operation = request.operation;

        // Admit: within the limits of who that is. The ticket lives until body and answer have ended.
        self.admit(exchange, &caller, operation).await?;
        exchange.record.operation = Some(operation);
        exchange.record.key = request.key_opt().map(str::to_owned);
        let mut forwarded = match operation.is_answered_here() {
            true => ForwardedHeaders::none(),
            false => ForwardedHeaders::of(operation, &headers)?,
        };
        forwarded.keep_checksums(operation, &self.checksums_of_store)?;

        // Authorise: may this caller do that.
        let permit = self.access.policy().authorise(&caller, request)?;
        let payload = verified.payload();
        check_payload(operation, payload)?;
        storage_class::check(&self.storage_classes, &forwarded)?;

        // Rewrite, re-sign, stream: by the way in which the permitted request is served. What needs more room
        // than the plain road is boxed, so that the future of every other request stays small.
        match permit.permitted() {
            Permitted::Bucket(question) => bucket_answers::answer(self.site.bucket(), &permit, question),
            Permitted::Folders(prefixes) => {
                list::folders(&self.site.bucket().name, permit.request(), prefixes)
            }
            Permitted::Roots(permit) => Box::pin(self.list_roots(exchange, permit)).await,
            Permitted::List(permit) => {
                let outbound = permit.outbound(forwarded);
                relay::forward(&self.store, exchange, operation, outbound, StoreBody::empty()).await
            }
            Permitted::Forward(permit) if operation == Operation::AbortMultipartUpload => {
                Box::pin(self.abort_upload(exchange, permit, forwarded)).await
            }
            Permitted::Forward(permit) => {
                let outbound = permit.outbound(forwarded);
                relay::forward(&self.store, exchange, operation, outbound, StoreBody::empty()).await
            }
            Permitted::Upload(permit) => {
                let sent = SentBody { headers: &headers, payload, body };
                Box::pin(self.put(exchange, permit, forwarded, sent)).await
            }
            Permitted::FolderKey(permit) => {
                let sent = SentBody { headers: &headers, payload, body };
                Box::pin(self.put_folder_key(exchange, permit, forwarded, sent)).await
            }
            Permitted::Copy(permit) => Box::pin(self.copy(exchange, permit, forwarded)).await,
            Permitted::Complete(permit) => {
                let checksums = ChecksumHeaders::OfObject;
                let parse = |body: &[u8]| xml::parse_complete(body);
                let read = self.xml_bodies.read(exchange, body, payload, &headers, checksums, parse);
                let XmlBody { document, _buffered } = read.await?;
                Box::pin(self.complete(exchange, permit, forwarded, document)).await
            }
            Permitted::DeleteObjects(permit) => {
                let checksums = ChecksumHeaders::OfBody;
                let parse = |body: &[u8]| Delete::parse(body);
                let read = self.xml_bodies.read(exchange, body, payload, &headers, checksums, parse);
                let XmlBody { document, _buffered } = read.await?;
                Box::pin(self.delete_objects(exchange, permit, forwarded, document)).await
            }
        }
    }

    /// Admits a request whose signature was verified, and charges it to its principal alone (P17).
    ///
    /// # Errors
    /// `SlowDown` with the name of the limit that is reached.
    async fn admit(&self, exchange: &Exchange, caller: &Caller, operation: Operation) -> Result<()> {
        let ticket = self.limits.admit(caller, operation, exchange.now).await?;
        ticket.hold_bytes(sizes::declared_body_bytes(&exchange.head.headers))?;
        exchange.admitted(ticket);
        Ok(())
    }

    /// What a body of that caller's asks before a piece passes; none where no rate holds it back.
    fn gate(&self, caller: &Caller, way: Way) -> Option<Box<dyn Gate>> {
        self.limits.shaper().flow(caller, way).map(|flow| Box::new(flow) as Box<dyn Gate>)
    }

    /// Understands the verified request as S3's.
    fn parse(
        &self,
        exchange: &Exchange,
        verified: &Verified,
        query: Query,
        headers: &HeaderMap,
    ) -> Result<Request> {
        let bucket = self.site.host_bucket(verified.host());
        let addressing = bucket.map_or(Addressing::Path, Addressing::VirtualHost);
        let request = Request::parse(&exchange.head.method, addressing, verified.path(), query, headers)?;
        if let Some(bucket) = &request.bucket {
            self.site.check_bucket(bucket, verified.host())?;
        }
        if let Some(source) = request.copy_source_opt() {
            self.site.check_bucket(&source.bucket, "")?;
        }
        Ok(request)
    }
}

/// How slowly a client may send a body or take an answer, by the configuration.
pub(crate) fn pace(bounds: &BodyBounds) -> Pace {
    Pace {
        idle: Duration::from_secs(bounds.progress_idle_seconds),
        rate_min_bytes_per_second: bounds.progress_bytes_per_second_min,
        grace: Duration::from_secs(bounds.progress_grace_seconds),
    }
}

/// Refuses a head that is too large, or whose framing can be read in two ways.
pub(crate) fn check_head(head: &Parts) -> Result<()> {
    // HTTP knows further codings of a transfer; nobody uses them but to be read in two ways (P45).
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    if first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(Error::new(
            Code::NotImplemented,
            "A header you provided implies functionality that is not implemented: Transfer-Encoding may be \
             chunked, once.",
        )
        .element("Header", "Transfer-Encoding"));
    }
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if headers + target > HEAD_BYTES_MAX {
        return Err(Error::new(
            Code::RequestHeaderSectionTooLarge,
            "Your request target and headers exceed the maximum allowed size.",
        )
        .element("MaxSizeAllowed", HEAD_BYTES_MAX.to_string()));
    }
    if head.headers.len() > HEADERS_MAX {
        return Err(Error::new(
            Code::RequestHeaderSectionTooLarge,
            "Your request has more headers than the maximum allowed number.",
        )
        .element("MaxHeadersAllowed", HEADERS_MAX.to_string()));
    }
    Ok(())
}

/// Streaming payloads are for the two operations that bring an object's bytes (P7).
fn check_payload(operation: Operation, payload: &Payload) -> Result<()> {
    match payload {
        Payload::Sha256(_) | Payload::Unsigned => Ok(()),
        Payload::SignedChunks(_) | Payload::SignedChunksTrailer(_) | Payload::UnsignedTrailer => {
            if operation.streams_in() {
                return Ok(());
            }
            Err(Error::new(
                Code::InvalidRequest,
                format!(
                    "Streaming payloads are for PutObject and UploadPart; send {} with a plain body.",
                    operation.as_str()
                ),
            ))
        }
    }
}
