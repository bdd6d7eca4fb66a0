//! Where a request goes: to an endpoint, to the upload of a form, or down the road of S3. The only room that
//! knows all of them.

mod cors;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use self::cors::Cors;
use crate::{
    access::Access,
    body::{
        bounded::drain,
        progress::{Protocol, RequestProgress},
    },
    config::Config,
    endpoint::Endpoint,
    endpoints::{self, Endpoints, Process},
    exchange::{Answer, AnswerBody, Exchange, RefusalLines, RequestBody},
    limits::{Exceeded, Limits},
    observe::Metrics,
    proxy::{self, Proxy},
    s3::Operation,
    site::{self, Site},
    store::Store,
};

/// What is read of a body whose request was refused, so that the client sees the answer and not a reset
/// (P40). A client that sends more without looking has to bear the reset.
const DRAIN_BYTES_MAX: u64 = 64 << 20;

/// And for how long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);

/// Answers requests; built once, shared by all connections.
pub(crate) struct Front {
    access: Arc<Access>,
    site: Arc<Site>,
    proxy: Proxy,
    endpoints: Endpoints,
    cors: Cors,
    store: Arc<Store>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    refusals: Arc<RefusalLines>,
    process: Arc<Process>,
    /// How long the store may be silent in the middle of an answer.
    store_idle: Duration,
}

impl Front {
    /// A front before `store`, by the rest of the configuration that `access` was not made of.
    pub(crate) fn new(
        config: &Config,
        access: Access,
        store: Arc<Store>,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        process: &Arc<Process>,
    ) -> Self {
        let Config { server, bucket, limits: bounds, .. } = config;
        let store_idle = store.idle_timeout();
        let access = Arc::new(access);
        let site = Arc::new(Site::new(server, bucket));
        let pace = proxy::pace(&bounds.bodies);
        Self {
            proxy: Proxy::new(
                Arc::clone(&access),
                Arc::clone(&site),
                Arc::clone(&store),
                Arc::clone(&limits),
                config,
            ),
            endpoints: Endpoints::new(&access, &site, &store, &limits, config, pace, process),
            cors: Cors::new(&server.cors_origins),
            access,
            site,
            limits,
            metrics,
            refusals: Arc::new(RefusalLines::new(config.log.refusals_per_second_max)),
            process: Arc::clone(process),
            store,
            store_idle,
        }
    }

    /// Who sends requests, for the operator's listener.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// What stands behind, for the operator's listener.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// What everybody may take, for the operator's listener.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is counted, for the operator's listener.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether this server can do its work.
    pub(crate) async fn readiness(&self, now: SystemTime) -> endpoints::Readiness {
        self.endpoints.readiness(now).await
    }

    /// What is known of this process, for who runs it.
    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Answers one request; whatever happens, it is an answer. `progress` lives until that answer's end.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        peer: SocketAddr,
        progress: RequestProgress,
    ) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let peer = peer.ip();
        let client = self.site.client_address(peer, &head.headers);
        let from_edge = self.site.trusts(peer);
        let scheme = self.site.public_scheme(&head, from_edge, site::host(&head).unwrap_or_default());
        let mut exchange = Exchange::begin(head, peer, client, from_edge, scheme, &progress);
        exchange.record.observed = Some(self.metrics.begin_request());
        exchange.record.refusals = Some(Arc::clone(&self.refusals));
        let (body, unread) = RequestBody::new(body, &exchange);
        let answer = match self.limits.check_requests(exchange.sender) {
            Ok(()) => self.answer_charged(&mut exchange, body).await,
            Err(exceeded) => self.refuse(exceeded, &mut exchange),
        };

        let connection = Arc::clone(progress.connection());
        let ticket = exchange.ticket().cloned();
        let Exchange { head, record, gate, .. } = exchange;
        let is_untouched = unread.received_bytes() == 0;
        let mut response = answer.into_response(record, ticket, self.store_idle, progress, gate);
        self.cors.write(&head.headers, response.headers_mut());
        if let Some(rest) = unread.take() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            // Who waits for a 100 sends nothing before it: not reading is what keeps the 100 back. Who has
            // got it sends on, and must be read away like anybody.
            let waits = is_untouched && expects_continue(&head.headers);
            if !waits || head.version == http::Version::HTTP_2 {
                let protocol =
                    if head.version == http::Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 };
                // Under way as long as it is read away, so that the connection is not taken for an idle one.
                let reading = connection.request(protocol);
                tokio::spawn(async move {
                    drain(rest, DRAIN_BYTES_MAX, DRAIN_TIME_MAX).await;
                    drop(reading);
                });
            }
        }
        if head.version == http::Version::HTTP_2 {
            response.headers_mut().remove(header::CONNECTION);
        } else if connection.is_last() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Answers a request of an address that may ask; its sender is charged unless it was admitted.
    async fn answer_charged(&self, exchange: &mut Exchange, body: RequestBody) -> Answer {
        let charge = ChargeOnDrop { limits: &self.limits, exchange };
        let answer = self.answer(charge.exchange, body).await;
        // Only an answer of which nothing has been done yet can be taken back.
        let is_download = charge.exchange.record.operation == Some(Operation::GetObject);
        let held = match (charge.exchange.ticket(), answer.bytes()) {
            (Some(ticket), Some(bytes)) if is_download && answer.is_success() => ticket.hold_bytes(bytes),
            (Some(_) | None, Some(_) | None) => Ok(()),
        };
        match held {
            Ok(()) => answer,
            Err(exceeded) => self.refuse(exceeded, charge.exchange),
        }
    }

    /// The refusal by a limit, in the form of what was asked.
    fn refuse(&self, exceeded: Exceeded, exchange: &mut Exchange) -> Answer {
        match Endpoint::at(exchange.path()) {
            Some(endpoint) => {
                exchange.record.endpoint = Some(endpoint);
                endpoints::refuse_limit(exceeded, &mut exchange.record)
            }
            None => Answer::refusal(exceeded.into(), exchange),
        }
    }

    async fn answer(&self, exchange: &mut Exchange, body: RequestBody) -> Answer {
        if let Some(answer) = self.cors.preflight(&exchange.head) {
            return answer.unwrap_or_else(|error| Answer::refusal(error, exchange));
        }
        if let Some(endpoint) = Endpoint::at(exchange.path()) {
            exchange.record.endpoint = Some(endpoint);
            return Box::pin(self.endpoints.answer(endpoint, exchange, body)).await;
        }
        if self.is_browser_at_the_root(&exchange.head) {
            return to_the_docs();
        }
        let is_form = proxy::is_form(&exchange.head);
        if !is_form && endpoints::is_for_none(&exchange.head) {
            return endpoints::not_found(&mut exchange.record);
        }
        let result = match is_form {
            true => Box::pin(self.proxy.post_form(exchange, body)).await,
            false => self.proxy.road(exchange, body).await,
        };
        result.unwrap_or_else(|error| Answer::refusal(error, exchange))
    }

    /// Whether a person looks at the server with a browser: no S3 client asks for HTML, and none lists
    /// buckets without signing. A head that the road refuses is the road's to refuse (P25, P45).
    fn is_browser_at_the_root(&self, head: &Parts) -> bool {
        matches!(head.method, Method::GET | Method::HEAD)
            && head.uri.path() == "/"
            && head.uri.query().is_none_or(str::is_empty)
            && !head.headers.contains_key(header::AUTHORIZATION)
            && head.headers.get_all(header::ACCEPT).iter().any(names_html)
            && proxy::check_head(head).is_ok()
            && site::host(head).is_ok_and(|host| self.site.host_bucket(host).is_none())
    }
}

/// Charges the sender of a request that was not admitted, also where the client does not wait for its answer.
struct ChargeOnDrop<'a> {
    limits: &'a Limits,
    exchange: &'a mut Exchange,
}

impl Drop for ChargeOnDrop<'_> {
    fn drop(&mut self) {
        if self.exchange.ticket().is_none() {
            self.limits.charge_request(self.exchange.sender);
        }
    }
}

/// Whether a media range of an `Accept` header is `text/html`.
fn names_html(accept: &HeaderValue) -> bool {
    let media_ranges = accept.as_bytes().split(|byte| *byte == b',');
    media_ranges
        .filter_map(|range| range.split(|byte| *byte == b';').next())
        .any(|media_type| media_type.trim_ascii().eq_ignore_ascii_case(b"text/html"))
}

fn to_the_docs() -> Answer {
    Answer::whole(StatusCode::SEE_OTHER, "text/plain", "")
        .header(header::LOCATION, HeaderValue::from_static(Endpoint::Docs.path()))
        .header(header::VARY, HeaderValue::from_static("accept, authorization"))
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request has one allocation for its future, which lies there while the store is waited for.
    #[test]
    fn the_future_of_a_request_stays_small() {
        type Parts = (Arc<Front>, http::Request<Incoming>, SocketAddr, RequestProgress);
        let bytes =
            future_bytes(|(front, request, peer, progress): Parts| front.handle(request, peer, progress));
        assert!(bytes <= 9 * 1024, "{bytes} bytes: box what not every request needs");
    }
}
