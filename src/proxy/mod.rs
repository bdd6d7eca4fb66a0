//! The road of a request, told once, top to bottom, in `Gate::road`.
//!
//! ```text
//! accept ─ claim ─ verify ─ parse the S3 operation ─ authorise ─ admit ─ rewrite ─ re-sign ─ stream ─ answer, log
//! ```
//!
//! A form (POST to the bucket) brings its signature in its own fields and takes the same road from there, in `form`.
//!
//! Each step's result is what the next one needs: a verified signature makes a caller, a caller and a request make a
//! [`Permit`], and only with a permit is an [`Outbound`] built. Branches stand here; what an
//! operation needs beyond the plain road stands in a file of its own.

mod answer;
mod bucket_answers;
mod complete;
mod copy;
mod delete;
mod post_form;
mod presigned;
mod put;
mod sizes;
mod view;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Response, header, request::Parts};
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;

pub(crate) use answer::Answer;
pub(crate) use answer::AnswerBody;

use crate::{
    auth::{self, Head, Verified, Verifier},
    body::{
        bounded::{collect_bounded, drain},
        client_body::ClientBody,
        pace::Pace,
        report::UploadReport,
    },
    chain::{AccountId, Registry, Snapshot},
    config::{self, Config},
    endpoints::{Discovery, Health, Sessions},
    error::{Code, Error, Result},
    exchange::AccessRecord,
    policy::{Caller, Listing, Permit, Policy, START_AFTER, is_continued},
    s3::{Addressing, Operation, Request, headers},
    store::{Outbound, Store},
    time::UnixTime,
};

/// What is read of a body whose request was refused, so that the client sees the answer and not a reset (P40). A
/// client that sends more without looking has to bear the reset.
const DRAIN_BYTES_MAX: u64 = 64 << 20;

/// And for how long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);

/// The head of a request: AWS allows 8 KiB of headers; tokens, long keys and metadata of 2 KiB fit well.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Large request bodies that are read as a whole at one time: 4 MiB each at most.
const WHOLE_BODIES_MAX: usize = 8;

/// Everything that a request meets; built once, shared by all.
pub struct Gate {
    verifier: Verifier,
    registry: Registry,
    chain: config::Chain,
    policy: Policy,
    bucket: config::Bucket,
    server: config::Server,
    store: Store,
    store_settings: config::Store,
    limits: config::Limits,
    endpoints: config::Endpoints,
    pace: Pace,
    sessions: Sessions,
    session_seconds_max: u64,
    discovery: Discovery,
    health: Health,
    whole_bodies: Semaphore,
}

/// A request body which is read by somebody, or drained.
pub(crate) enum Arrival {
    /// Nobody has begun to read it.
    Unread(Incoming),
    /// An upload reads it, or has read it.
    Taken(Arc<UploadReport<ClientBody<Incoming>>>),
    /// Read to its end, or not worth keeping.
    Gone,
}

impl Arrival {
    pub(crate) fn take(&mut self) -> Result<Incoming> {
        match std::mem::replace(self, Self::Gone) {
            Self::Unread(body) => Ok(body),
            other => {
                *self = other;
                Err(Error::internal("a request body was asked for twice"))
            }
        }
    }

    /// Reads it as a whole. What is not read, because it is too large or too slow, stays to be drained (P40).
    pub(crate) async fn collect(&mut self, bytes_max: usize, pace: Pace) -> Result<Bytes> {
        let mut body = self.take()?;
        let collected = collect_bounded(&mut body, bytes_max, pace).await;
        if collected.is_err() {
            *self = Self::Unread(body);
        }
        collected
    }

    /// What the client may still be sending.
    fn rest(self) -> Option<Incoming> {
        match self {
            Self::Unread(body) => Some(body).filter(|body| !body.is_end_stream()),
            Self::Taken(report) => {
                report.take_unread().map(ClientBody::into_inner).filter(|body| !body.is_end_stream())
            }
            Self::Gone => None,
        }
    }
}

/// What the gate is built from.
pub struct Rooms {
    /// The checked configuration.
    pub config: Config,
    /// Verifies signatures.
    pub verifier: Verifier,
    /// Says who is registered.
    pub registry: Registry,
    /// The store behind.
    pub store: Store,
}

impl Gate {
    /// Builds the gate.
    pub fn new(rooms: Rooms) -> Self {
        let Rooms { config, verifier, registry, store } = rooms;
        let Config { server, bucket, store: store_settings, session, chain, policy, limits, endpoints } =
            config;
        let idle = Duration::from_secs(limits.body_idle_seconds);
        Self {
            verifier,
            registry,
            chain,
            policy,
            bucket,
            server,
            store,
            store_settings,
            pace: Pace { idle, rate_min_bytes_per_second: limits.body_bytes_per_second_min, grace: idle },
            limits,
            endpoints,
            sessions: Sessions::new(&session),
            session_seconds_max: session.ttl_seconds_max,
            discovery: Discovery::default(),
            health: Health::default(),
            whole_bodies: Semaphore::new(WHOLE_BODIES_MAX),
        }
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn bucket(&self) -> &config::Bucket {
        &self.bucket
    }

    pub(crate) fn chain(&self) -> &config::Chain {
        &self.chain
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// The URL under which the client reached this server. A trusted edge says by which scheme; otherwise an external
    /// name means a TLS proxy in front.
    pub(crate) fn public_endpoint(&self, head: &Parts, from_edge: bool, host: &str) -> String {
        let forwarded =
            head.headers.get("x-forwarded-proto").filter(|_| from_edge).and_then(|proto| proto.to_str().ok());
        let is_external =
            self.server.hosts.iter().any(|own| own.eq_ignore_ascii_case(host) || own == without_port(host));
        let scheme = match forwarded {
            Some(scheme @ ("http" | "https")) => scheme,
            _ if is_external => "https",
            _ => "http",
        };
        format!("{scheme}://{host}")
    }

    /// Answers one request; whatever happens, it is an answer.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<AnswerBody> {
        let (mut head, body) = request.into_parts();
        let from_edge = self.server.edge.trusts(peer.ip());
        let mut record =
            AccessRecord::begin(self.client_address(peer.ip(), &head.headers), from_edge, &head.method);
        head.extensions.insert(answer::OwnRequestId(record.request_id.clone()));
        let mut arrival = Arrival::Unread(body);
        let sets_out = match self.endpoint(&head, &mut arrival, &mut record).await {
            Some(answer) => answer,
            None if post_form::is_form(&head) => match self.form(&head, &mut arrival, &mut record).await {
                Ok(answer) => answer,
                Err(error) => answer::Answer::refusal(error, &head, &mut record),
            },
            None => match self.road(&head, &mut arrival, peer.ip(), &mut record).await {
                Ok(answer) => answer,
                Err(error) => answer::Answer::refusal(error, &head, &mut record),
            },
        };
        if let Arrival::Taken(report) = &arrival {
            record.received_bytes = report.received_bytes();
        }
        let untouched = record.received_bytes == 0;
        let mut response = sets_out.into_response(record, self.store.idle_timeout());
        if let Some(rest) = arrival.rest() {
            response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
            // Who waits for a 100 sends nothing before it: not reading is what keeps the 100 back. Who has got it sends
            // on, and must be read away like anybody.
            let waits = untouched && expects_continue(&head.headers);
            if !waits || head.version == http::Version::HTTP_2 {
                tokio::spawn(drain(rest, DRAIN_BYTES_MAX, DRAIN_TIME_MAX));
            }
        }
        if head.version == http::Version::HTTP_2 {
            response.headers_mut().remove(header::CONNECTION);
        }
        response
    }

    /// The road.
    async fn road(
        &self,
        head: &Parts,
        arrival: &mut Arrival,
        peer: IpAddr,
        record: &mut AccessRecord,
    ) -> Result<answer::Answer> {
        let now = SystemTime::now();
        let time = UnixTime::from(now);

        // Claim: a head of bounded size, with one host.
        check_head(head)?;

        // Verify: who signed exactly these bytes.
        let verified = self.verify(head, peer, time)?;

        // Who is that, by the one snapshot of this request.
        let (caller, _) = self.recognise(verified.hotkey(), now, record)?;

        // Parse: what is asked for.
        let mut headers = head.headers.clone();
        let request = self.parse(head, &verified, &mut headers)?;
        record.operation = Some(request.operation);
        record.key = request.key_opt().map(str::to_owned);
        let passed = match request.operation.is_answered_here() {
            true => HeaderMap::new(),
            false => headers::forwarded(request.operation, &headers)?,
        };

        // Authorise: may this caller do that.
        let permit = self.policy.authorise(&caller, request)?;

        // Admit, rewrite, re-sign, stream: by operation.
        let operation = permit.request().operation;
        if !operation.streams_in() && is_streaming(verified.payload()) {
            return Err(Error::new(
                Code::InvalidRequest,
                format!(
                    "Streaming payloads are for PutObject and UploadPart; send {} with a plain body.",
                    operation.as_str()
                ),
            ));
        }
        match operation {
            Operation::ListBuckets
            | Operation::HeadBucket
            | Operation::CreateBucket
            | Operation::GetBucketLocation => self.answer_bucket(&permit),
            Operation::ListObjects | Operation::ListObjectsV2 | Operation::ListMultipartUploads => {
                match permit.listing() {
                    Some(Listing::Answer(prefixes)) => Ok(self.answer_listing(&permit, prefixes)),
                    _ => self.relay(head, &permit, passed, time).await,
                }
            }
            Operation::GetObject
            | Operation::HeadObject
            | Operation::GetObjectAttributes
            | Operation::ListParts
            | Operation::DeleteObject
            | Operation::AbortMultipartUpload
            | Operation::CreateMultipartUpload => self.relay(head, &permit, passed, time).await,
            Operation::PutObject | Operation::UploadPart => {
                let inbound = put::Inbound { headers: &headers, payload: verified.payload(), arrival };
                self.upload(head, &permit, passed, inbound, time).await
            }
            Operation::CopyObject | Operation::UploadPartCopy => self.copy(head, &permit, passed, time).await,
            Operation::CompleteMultipartUpload => {
                let body = self.whole_body(arrival, verified.payload(), &headers, record).await?;
                self.complete(head, &permit, passed, &body, time).await
            }
            Operation::DeleteObjects => {
                let body = self.whole_body(arrival, verified.payload(), &headers, record).await?;
                self.delete_objects(head, &permit, passed, &body, time).await
            }
        }
    }

    /// Verifies the signature over the wire's own bytes.
    fn verify(&self, head: &Parts, peer: IpAddr, now: UnixTime) -> Result<Verified> {
        let host = host(head)?;
        let trusted = self.server.edge.trusts(peer);
        let mut hosts = vec![host];
        if trusted && self.server.edge.rewrites_host {
            hosts.extend(self.server.hosts.iter().map(String::as_str));
        }
        let encodings: Vec<&str> = match trusted {
            true => self.server.edge.accept_encodings.iter().map(String::as_str).collect(),
            false => Vec::new(),
        };
        let is_own_host = |host: &str| self.is_own_host(host);
        let head = Head {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
            hosts: &hosts,
            accept_encodings: &encodings,
            is_own_host: &is_own_host,
        };
        self.verifier.verify(&head, now)
    }

    /// Says who a hotkey is that has proven itself, by the one snapshot of this request, and writes it down with the
    /// block at which that was so.
    pub(crate) fn recognise(
        &self,
        hotkey: AccountId,
        now: SystemTime,
        record: &mut AccessRecord,
    ) -> Result<(Caller, Arc<Snapshot>)> {
        record.hotkey = Some(hotkey);
        let snapshot = self.registry.snapshot(now);
        record.block = snapshot.block();
        let caller = self.registered(hotkey, &snapshot, now.into())?;
        record.role = Some(caller.role);
        record.owner = Some(Arc::clone(&caller.owner));
        Ok((caller, snapshot))
    }

    /// Looks the hotkey up; a snapshot that is too old decides nothing (P38).
    fn registered(&self, hotkey: AccountId, snapshot: &Snapshot, now: UnixTime) -> Result<Caller> {
        let age = snapshot.age_seconds(now.seconds());
        if age > self.chain.stale_seconds_max {
            return Err(Error::new(
                Code::ServiceUnavailable,
                "The registry of hotkeys could not be read for too long, so nothing can be decided. Please retry later.",
            )
            .detail(format!("the registry is {age} s old, chain.stale_seconds_max is {}", self.chain.stale_seconds_max)));
        }
        let Some(neuron) = snapshot.neuron(&hotkey) else {
            return Err(Error::new(
                Code::AccessDenied,
                format!(
                    "NotRegistered: the hotkey {hotkey} is not registered on the subnet; register it, then try again."
                ),
            ));
        };
        Ok(Caller { hotkey, owner: Arc::clone(&neuron.owner), role: self.chain.validator.role(neuron) })
    }

    /// Understands the verified request as S3's. What an SDK has put into a presigned query in place of a header
    /// becomes that header, and is judged as one.
    fn parse(&self, head: &Parts, verified: &Verified, headers: &mut HeaderMap) -> Result<Request> {
        let mut query = verified.query().clone();
        if verified.is_presigned() {
            presigned::hoisted(&query, headers)?;
            query = query.without(|name| name.to_ascii_lowercase().starts_with("x-amz-"));
        }
        let query = presigned::effective(query, verified.unsigned_query())?;
        let bucket = self.host_bucket(verified.host());
        let addressing = bucket.map_or(Addressing::Path, Addressing::VirtualHost);
        let request = Request::parse(&head.method, addressing, verified.path(), query, headers)?;
        if let Some(bucket) = &request.bucket {
            self.check_bucket(bucket, verified.host())?;
        }
        if let Operation::CopyObject | Operation::UploadPartCopy = request.operation {
            self.check_bucket(&request.copy_source()?.bucket, "")?;
        }
        Ok(request)
    }

    /// The bucket label of a virtual-host request, by the names of `server.hosts` (P28).
    pub(crate) fn host_bucket<'a>(&self, host: &'a str) -> Option<&'a str> {
        let bare = without_port(host);
        // With both example.com and s3.example.com among the names, the latter is no bucket of the former.
        if self.server.hosts.iter().any(|own| without_port(own).eq_ignore_ascii_case(bare)) {
            return None;
        }
        self.server.hosts.iter().find_map(|own| {
            let own = without_port(own);
            let at = bare.len().checked_sub(own.len()).filter(|at| *at > 1)?;
            let (label, rest) = bare.split_at_checked(at)?;
            if rest.eq_ignore_ascii_case(own) { label.strip_suffix('.') } else { None }
        })
    }

    fn check_bucket(&self, bucket: &str, host: &str) -> Result<()> {
        if bucket == self.bucket.name {
            return Ok(());
        }
        let own = &self.bucket.name;
        let hint = match host.split_once('.') {
            Some((label, _)) if label == own => format!(
                " Virtual-host addressing is not configured for {host}: use path-style addressing, or have its domain named in server.hosts."
            ),
            _ => String::new(),
        };
        Err(Error::new(
            Code::NoSuchBucket,
            format!("The bucket {bucket:?} does not exist here; this server has {own:?}.{hint}"),
        )
        .element("BucketName", bucket))
    }

    /// Whether a Host names this server, so that a hotkey's own signature was meant for it.
    fn is_own_host(&self, host: &str) -> bool {
        is_own_host(&self.server, &self.bucket.name, host)
    }

    /// The client's address; a forwarded one counts only from a trusted edge (P15).
    fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_address(&self.server.edge, peer, headers)
    }

    /// Sends a request without a body on and relays the answer.
    async fn relay(
        &self,
        head: &Parts,
        permit: &Permit<'_>,
        headers: HeaderMap,
        now: UnixTime,
    ) -> Result<answer::Answer> {
        let request = permit.request();
        let mut query = request.query.clone().without(|name| name == crate::s3::SDK_QUERY_NAME);
        if let Some(Listing::Forward(prefix)) = permit.listing() {
            query = query.without(|name| name == "prefix");
            query.push("prefix", prefix.as_str())?;
            if is_continued(&query) {
                query = query.without(|name| name == START_AFTER);
            }
        }
        let outbound = Outbound::bodiless(head.method.clone(), request.key_opt(), query, headers);
        let answer = self.store.send(outbound, now).await?;
        self.answer(head, permit, answer).await
    }
}

fn check_head(head: &Parts) -> Result<()> {
    // HTTP knows further codings of a transfer; nobody uses them but to be read in two ways (P45).
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    if first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(Error::new(
            Code::NotImplemented,
            "A header you provided implies functionality that is not implemented: Transfer-Encoding may be chunked, once.",
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
    Ok(())
}

fn is_streaming(payload: &auth::Payload) -> bool {
    !matches!(payload, auth::Payload::Sha256(_) | auth::Payload::Unsigned)
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn is_own_host(server: &config::Server, bucket: &str, host: &str) -> bool {
    // The names of loopback are everybody's: behind a TLS proxy they would let in what was signed for any other
    // server, so they count only where this server has no name of its own, and with its port.
    if server.hosts.is_empty() {
        let port = host.strip_prefix(without_port(host)).and_then(|port| port.strip_prefix(':'));
        return server.listen.ip().is_loopback()
            && matches!(without_port(host), "localhost" | "127.0.0.1" | "[::1]")
            && port.and_then(|port| port.parse().ok()).unwrap_or(80) == server.listen.port();
    }
    let names_us = |host: &str| {
        server.hosts.iter().any(|own| match without_port(own) == own {
            true => own.eq_ignore_ascii_case(without_port(host)),
            false => own.eq_ignore_ascii_case(host),
        })
    };
    let below = host.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('.'));
    names_us(host) || below.is_some_and(names_us)
}

fn client_address(edge: &config::Edge, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if !edge.trusts(peer) {
        return peer;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter();
    let hops: Vec<&str> = forwarded.flat_map(|value| value.to_str().unwrap_or("?").split(',')).collect();
    // From the right: the first hop that is none of ours is what the outermost trusted proxy saw. What stands to the
    // left of it, or of a hop that cannot be read, anybody may have written.
    for hop in hops.into_iter().rev() {
        match hop_address(hop.trim()) {
            Some(address) if edge.trusts(address) => {}
            Some(address) => return address,
            None => return peer,
        }
    }
    peer
}

/// One hop of `X-Forwarded-For`: an address, with a port where the proxy is one that writes it.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    }
}

/// The host that the client named: `:authority` or `Host`; both, and different, is refused (P25).
pub(crate) fn host(head: &Parts) -> Result<&str> {
    let refused = |why: &'static str| Error::new(Code::InvalidRequest, why);
    let mut named = head.headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (_, Some(_)) => return Err(refused("The request has more than one Host header.")),
        (Some(host), None) => Some(host.to_str().map_err(|_| refused("The Host header cannot be read."))?),
        (None, None) => None,
    };
    match (host, head.uri.authority()) {
        (Some(host), Some(authority)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err(refused("The Host header and the authority of the request target differ."))
        }
        (Some(host), _) => Ok(host),
        (None, Some(authority)) => Ok(authority.as_str()),
        (None, None) => Err(refused("The request has no Host header.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(listen: &str, hosts: &[&str]) -> config::Server {
        config::Server {
            listen: listen.parse().unwrap(),
            admin: None,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            edge: config::Edge::default(),
            connections_max: 1,
            head_seconds_max: 1,
            write_idle_seconds: 1,
            drain_seconds: 1,
        }
    }

    #[test]
    fn p2_a_hotkeys_own_signature_counts_at_the_names_of_this_server_alone() {
        let check = |listen, hosts: &[&str], host, own| {
            assert_eq!(is_own_host(&server(listen, hosts), "b.1", host), own, "{listen} {hosts:?} {host}");
        };
        for host in ["localhost:8014", "127.0.0.1:8014", "[::1]:8014"] {
            check("127.0.0.1:8014", &[], host, true);
            check("127.0.0.1:8014", &["s3.example.com"], host, false);
            check("10.0.0.1:8014", &[], host, false);
        }
        for host in ["localhost", "localhost:8015", "localhost:", "localhost.evil:8014", "evil:8014", ""] {
            check("127.0.0.1:8014", &[], host, false);
        }
        check("127.0.0.1:80", &[], "localhost", true);
        for (own, host, is_own) in [
            ("s3.example.com", "s3.example.com", true),
            ("s3.example.com", "S3.Example.com:8443", true),
            ("s3.example.com", "b.1.s3.example.com", true),
            ("s3.example.com", "other.s3.example.com", false),
            ("s3.example.com", "b.1.s3.example.com.evil", false),
            ("s3.example.com", "b.1s3.example.com", false),
            ("s3.example.com", "s3.example.com.", false),
            ("s3.example.com:8443", "s3.example.com:8443", true),
            ("s3.example.com:8443", "b.1.s3.example.com:8443", true),
            ("s3.example.com:8443", "s3.example.com", false),
            ("s3.example.com:8443", "b.1.s3.example.com:9999", false),
            ("localhost:8443", "localhost:8443", true),
        ] {
            check("127.0.0.1:8014", &[own], host, is_own);
        }
    }

    #[test]
    fn p15_the_address_is_what_the_outermost_trusted_proxy_saw() {
        let edge = config::Edge {
            networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            ..config::Edge::default()
        };
        let seen = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", http::HeaderValue::from_static(value));
            }
            client_address(&edge, peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(seen("9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "2.2.2.2"]), "2.2.2.2");
        // With a port, as some proxies write it.
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 2.2.2.2:4711"]), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, [2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, [2001:db8::1]"]), "2001:db8::1");
        // What cannot be read is not skipped: left of it stands what the client wrote.
        for unreadable in ["1.1.1.1, unknown", "1.1.1.1, ", "1.1.1.1, _hidden, 10.0.0.2"] {
            assert_eq!(seen("10.0.0.1", &[unreadable]), "10.0.0.1", "{unreadable}");
        }
    }
}
