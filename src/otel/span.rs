//! What is known of one request, in the terms of the semantic conventions.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Version};

/// A host name has 253 characters at most; what is longer is none.
const HOST_BYTES_MAX: usize = 255;

/// The client's own span, as its `traceparent` names it: believed in nothing, but well-formed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent<'a> {
    /// 32 hexadecimal digits.
    pub(crate) trace_id: &'a str,
    /// 16 hexadecimal digits.
    pub(crate) span_id: &'a str,
    /// Whether the client records its own span.
    pub(crate) is_sampled: bool,
}

/// What a client has called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol_version: Option<&'static str>,
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<Box<str>>,
    pub(super) port: Option<u16>,
}

impl Target {
    /// `endpoint` is `https://host:port`, with what the client has sent as the host; or nothing.
    pub(super) fn of(version: Version, endpoint: &str) -> Self {
        let versions = [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")];
        let protocol_version =
            versions.into_iter().find_map(|(known, name)| (known == version).then_some(name));
        let (scheme, authority) = match endpoint.split_once("://") {
            Some(("https", rest)) => (Some("https"), rest),
            Some(("http", rest)) => (Some("http"), rest),
            Some(_) | None => (None, ""),
        };
        let authority = authority.parse::<http::uri::Authority>().ok();
        let authority = authority.filter(|authority| {
            authority.as_str().len() <= HOST_BYTES_MAX && !authority.as_str().contains('@')
        });
        let port = authority.as_ref().and_then(http::uri::Authority::port_u16);
        Self { protocol_version, scheme, host: authority.map(|authority| authority.host().into()), port }
    }
}

/// The span of a request that has not ended.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    pub(super) trace_id: Box<str>,
    /// Of the client's span, where there is one.
    pub(super) parent_id: Option<Box<str>>,
    pub(super) target: Target,
}

impl OpenSpan {
    /// 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        &self.trace_id
    }
}

/// A request whose answer has ended.
#[derive(Debug)]
pub(crate) struct EndedRequest<'a> {
    /// The id in the answer's `x-amz-request-id`.
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) client: IpAddr,
    /// The operation of S3.
    pub(crate) operation: Option<&'static str>,
    /// The path of an endpoint.
    pub(crate) route: Option<&'static str>,
    pub(crate) role: Option<&'static str>,
    /// With which status it was answered; none where it was cut before that.
    pub(crate) status: Option<StatusCode>,
    /// The reason of a refusal or failure.
    pub(crate) reason: Option<&'static str>,
    /// How its answer ended.
    pub(crate) outcome: &'static str,
    pub(crate) duration: Duration,
}

/// A span that has ended: all that is exported of a request.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) trace_id: Box<str>,
    pub(super) span_id: u64,
    pub(super) parent_id: Option<Box<str>>,
    pub(super) target: Target,
    pub(super) request_id: Box<str>,
    pub(super) method: &'static str,
    pub(super) client: IpAddr,
    pub(super) operation: Option<&'static str>,
    pub(super) route: Option<&'static str>,
    pub(super) role: Option<&'static str>,
    pub(super) status: Option<StatusCode>,
    pub(super) reason: Option<&'static str>,
    pub(super) outcome: &'static str,
    pub(super) started_at: SystemTime,
    pub(super) ended_at: SystemTime,
}

/// What the conventions have for a method that is not one of HTTP's.
pub(super) const OTHER_METHOD: &str = "_OTHER";

impl Span {
    /// The span of a request that has ended just now.
    pub(super) fn new(open: &OpenSpan, request: &EndedRequest<'_>, ended_at: SystemTime) -> Self {
        let known = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
        let method = known.into_iter().find(|known| *known == request.method.as_str());
        Self {
            trace_id: open.trace_id.clone(),
            span_id: fastrand::u64(1..),
            parent_id: open.parent_id.clone(),
            target: open.target.clone(),
            request_id: request.request_id.into(),
            method: method.unwrap_or(OTHER_METHOD),
            client: request.client,
            operation: request.operation,
            route: request.route,
            role: request.role,
            status: request.status,
            reason: request.reason,
            outcome: request.outcome,
            started_at: ended_at.checked_sub(request.duration).unwrap_or(ended_at),
            ended_at,
        }
    }

    /// The operation, or method and path of an endpoint; what a client makes up is in none.
    pub(super) fn name(&self) -> String {
        let method = if self.method == OTHER_METHOD { "HTTP" } else { self.method };
        match (self.operation, self.route) {
            (Some(operation), _) => operation.to_owned(),
            (None, Some(route)) => format!("{method} {route}"),
            (None, None) => method.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_the_client_called_or_nothing() {
        let target = Target::of(Version::HTTP_2, "https://s3.example.com:8443");
        assert_eq!((target.protocol_version, target.scheme), (Some("2"), Some("https")));
        assert_eq!((target.host.as_deref(), target.port), (Some("s3.example.com"), Some(8443)));
        let long = format!("http://{}", "a".repeat(300));
        for none in ["", "http://", "http://user:secret@host", long.as_str()] {
            assert_eq!(Target::of(Version::HTTP_11, none).host, None, "{none}");
        }
    }
}
