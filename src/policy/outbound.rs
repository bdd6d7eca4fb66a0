//! A request for the store, before it is addressed and signed.
//!
//! Invariant: its fields are private to this room. It is made by a [`super::Permit`], or by one of the probes
//! of the server itself that are named here; so nothing else can be asked of the store.

use http::Method;

use super::Policy;
use crate::s3::{
    CopySource, ForwardedHeaders, Request, SDK_QUERY_NAME,
    listing::{CONTINUATION_TOKEN, START_AFTER},
    uri::Query,
};

/// A request for the store without its body.
#[derive(Debug, Clone)]
pub struct Outbound {
    method: Method,
    key: Option<String>,
    query: Query,
    headers: ForwardedHeaders,
    copy_source: Option<CopySource>,
}

/// What an [`Outbound`] consists of, for the room that addresses and signs it.
#[derive(Debug)]
pub struct OutboundParts {
    /// The method.
    pub method: Method,
    /// The decoded key; none for requests to the bucket.
    pub key: Option<String>,
    /// The decoded query.
    pub query: Query,
    /// The headers that go on.
    pub headers: ForwardedHeaders,
    /// The source of a copy, named as the client names it.
    pub copy_source: Option<CopySource>,
}

/// Where a page of a root begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageStart {
    /// At its first key.
    First,
    /// Behind this key.
    After(String),
    /// Where this continuation token of the store leads.
    Token(String),
}

impl Outbound {
    /// A list of one key under the first root, by which the server itself finds out whether the store
    /// answers. Its result is looked at for nothing else.
    pub fn health_probe(policy: &Policy) -> Self {
        let root = policy.roots().first().map_or("", String::as_str);
        Self::bare(Method::GET, None, Query::of([("list-type", "2"), ("max-keys", "1"), ("prefix", root)]))
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Takes it apart to be addressed and signed.
    pub fn into_parts(self) -> OutboundParts {
        let Self { method, key, query, headers, copy_source } = self;
        OutboundParts { method, key, query, headers, copy_source }
    }

    /// The permitted request itself, without what SDKs note in the query for their own logs.
    pub(super) fn of_request(request: &Request, headers: ForwardedHeaders) -> Self {
        Self {
            method: request.operation.method(),
            key: request.key_opt().map(str::to_owned),
            query: request.query.clone().without(|name| name == SDK_QUERY_NAME),
            headers,
            copy_source: None,
        }
    }

    pub(super) fn with_copy_source(self, source: CopySource) -> Self {
        Self { copy_source: Some(source), ..self }
    }

    pub(super) fn head(key: &str, version_id: Option<&str>) -> Self {
        let query = version_id.map_or_else(Query::default, |version| Query::of([("versionId", version)]));
        Self::bare(Method::HEAD, Some(key), query)
    }

    /// A HEAD of the request's own object.
    pub(super) fn head_of_target(request: &Request) -> Self {
        Self::bare(Method::HEAD, request.key_opt(), Query::default())
    }

    pub(super) fn parts(request: &Request, upload_id: &str, after: Option<u32>) -> Self {
        let query = match after {
            None => Query::of([("uploadId", upload_id)]),
            Some(number) => Query::of([("uploadId", upload_id), ("part-number-marker", &number.to_string())]),
        };
        Self::bare(Method::GET, request.key_opt(), query)
    }

    pub(super) fn root_page(root: &str, start: &PageStart, keys_max: usize) -> Self {
        let keys_max = keys_max.to_string();
        let [list_type, encoding, keys, prefix] =
            [("list-type", "2"), ("encoding-type", "url"), ("max-keys", &keys_max), ("prefix", root)];
        let from = |name, value| Query::of([list_type, encoding, keys, prefix, (name, value)]);
        let query = match start {
            PageStart::First => Query::of([list_type, encoding, keys, prefix]),
            PageStart::After(key) => from(START_AFTER, key),
            PageStart::Token(token) => from(CONTINUATION_TOKEN, token),
        };
        Self::bare(Method::GET, None, query)
    }

    pub(super) fn abort(request: &Request, upload_id: &str) -> Self {
        Self::bare(Method::DELETE, request.key_opt(), Query::of([("uploadId", upload_id)]))
    }

    pub(super) fn query_mut(&mut self) -> &mut Query {
        &mut self.query
    }

    fn bare(method: Method, key: Option<&str>, query: Query) -> Self {
        Self {
            method,
            key: key.map(str::to_owned),
            query,
            headers: ForwardedHeaders::default(),
            copy_source: None,
        }
    }
}
