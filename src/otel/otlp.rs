//! A batch of spans as OTLP's JSON: ids in hexadecimal digits, 64-bit numbers as text.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::span::Span;

/// `SPAN_KIND_SERVER`.
const KIND_SERVER: u8 = 2;

/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

/// Sampled; and it is known whether the parent is of another process.
const FLAGS: u32 = 0x101;

/// It is.
const FLAG_REMOTE_PARENT: u32 = 0x200;

/// The body of an export.
pub(super) fn request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let resource: Vec<Value> = resource.iter().map(|(key, value)| text(key, value)).collect();
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let scope = json!({ "name": "subgate", "version": env!("CARGO_PKG_VERSION") });
    let request = json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }],
    });
    request.to_string().into_bytes()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u16) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn span(span: &Span) -> Value {
    let client = span.client.to_string();
    let texts = [
        ("http.request.method", Some(span.method)),
        ("http.route", span.route),
        ("url.scheme", span.target.scheme),
        ("server.address", span.target.host.as_deref()),
        ("client.address", Some(client.as_str())),
        ("network.protocol.version", span.target.protocol_version),
        ("error.type", span.reason),
        ("subgate.operation", span.operation),
        ("subgate.role", span.role),
        ("subgate.outcome", Some(span.outcome)),
        ("subgate.request_id", Some(&span.request_id)),
    ];
    let numbers = [
        ("http.response.status_code", span.status.map(|status| status.as_u16())),
        ("server.port", span.target.port),
    ];
    let texts = texts.into_iter().filter_map(|(key, value)| value.map(|value| text(key, value)));
    let numbers = numbers.into_iter().filter_map(|(key, value)| value.map(|value| number(key, value)));
    // A refusal is the client's error and not this server's; a request that was cut has its outcome.
    let is_error = span.status.is_some_and(|status| status.is_server_error());
    let status = if is_error { json!({ "code": STATUS_ERROR }) } else { json!({}) };
    let flags = if span.parent_id.is_some() { FLAGS | FLAG_REMOTE_PARENT } else { FLAGS };
    let mut value = json!({
        "traceId": span.trace_id,
        "spanId": format!("{:016x}", span.span_id),
        "flags": flags,
        "name": span.name(),
        "kind": KIND_SERVER,
        "startTimeUnixNano": nanoseconds(span.started_at),
        "endTimeUnixNano": nanoseconds(span.ended_at),
        "attributes": texts.chain(numbers).collect::<Vec<Value>>(),
        "status": status,
    });
    if let (Some(parent), Some(fields)) = (&span.parent_id, value.as_object_mut()) {
        fields.insert("parentSpanId".to_owned(), json!(parent));
    }
    value
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
