//! What clients write in S3's own languages: XML, and the source of a copy.

use http::{HeaderMap, HeaderValue, Method};
use subgate::s3::{
    Addressing, Request,
    uri::Query,
    xml::{Delete, DeleteObject, Element, parse_complete},
};

/// A document means one thing, has no entity of its own making, and never more objects than S3 takes.
pub fn delete_objects(input: &[u8]) {
    let root = Element::parse(input);
    let Ok(delete) = Delete::parse(input) else { return };
    assert_eq!(root.expect("what is a Delete is a document").name, "Delete");
    assert!((1..=1000).contains(&delete.objects.len()));
    let keys: usize = delete.objects.iter().map(|object| object.key.len()).sum();
    assert!(keys <= input.len(), "keys are no longer than what they are written with");
    let with_entity = [br#"<!DOCTYPE d [<!ENTITY a "b">]>"#, input].concat();
    assert!(Delete::parse(&with_entity).is_err(), "entities are refused");
    // Written again, it is read as the same.
    let again = Delete::parse(written(&delete).as_bytes()).expect("what is written is read");
    assert_eq!(again, delete);
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        match char {
            '<' | '>' | '&' | '"' | '\'' | '\r' | '\n' | '\t' | ' ' => {
                escaped.push_str(&format!("&#{};", u32::from(char)));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

fn written(delete: &Delete) -> String {
    let object = |object: &DeleteObject| {
        let further = object.further.iter();
        let further: String =
            further.map(|(name, text)| format!("<{name}>{}</{name}>", escape(text))).collect();
        format!("<Object><Key>{}</Key>{further}</Object>", escape(&object.key))
    };
    let objects: String = delete.objects.iter().map(object).collect();
    format!("<Delete><Quiet>{}</Quiet>{objects}</Delete>", delete.quiet)
}

/// Parts in ascending order, each once, within S3's numbers; a document means one thing.
pub fn complete(input: &[u8]) {
    let Ok(parts) = parse_complete(input) else { return };
    assert!((1..=10_000).contains(&parts.len()));
    assert!(parts.iter().all(|part| (1..=10_000).contains(&part.number)));
    assert!(parts.is_sorted_by(|part, next| part.number < next.number));
    let written: String = parts
        .iter()
        .map(|part| {
            let checksums = part.checksums.iter();
            let checksums: String =
                checksums.map(|(name, text)| format!("<{name}>{}</{name}>", escape(text))).collect();
            let etag = escape(&part.etag);
            format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag>{checksums}</Part>", part.number)
        })
        .collect();
    let again = format!("<CompleteMultipartUpload>{written}</CompleteMultipartUpload>");
    assert_eq!(parse_complete(again.as_bytes()).expect("what is written is read"), parts);
}

fn copy(source: &[u8]) -> Option<Request> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-copy-source", HeaderValue::from_bytes(source).ok()?);
    let query = Query::default();
    Request::parse(&Method::PUT, Addressing::Path, "/bucket/to", query, &headers).ok()
}

/// One decoding: what is read, written out in the strict form, is read as the same.
pub fn copy_source(input: &[u8]) {
    let Some(request) = copy(input) else { return };
    let source = request.copy_source_opt().expect("a request with a source is a copy").clone();
    assert!(!source.bucket.is_empty() && !source.key.is_empty() && !source.bucket.contains('/'));
    assert!(!source.bucket.starts_with("arn:"), "access points are refused");
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let version =
        source.version_id.as_deref().map_or(String::new(), |id| format!("?versionId={}", encoded(id)));
    let strict = format!("{}/{}{version}", encoded(&source.bucket), encoded(&source.key));
    let again = copy(strict.as_bytes()).expect("the strict form is read");
    assert_eq!(again.copy_source_opt(), Some(&source));
}
