//! Which request headers go on to the store: those on the list, and no other (P34, P35).
//!
//! An `x-amz-*` header is an instruction to the store. The ones that only describe the object or the read pass; the
//! ones that widen rights are refused by name; unknown ones are refused too, for they may be instructions that came
//! after this list. Headers outside `x-amz-*` that are not on the list are left behind.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::operation::{COPY_SOURCE, Operation};
use crate::error::{Code, Error, Result};

/// What becomes of a request header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Goes on unchanged.
    Forward,
    /// Was read by this server, means nothing to the store, or belongs to the connection.
    Leave,
    /// Would give the caller, or the public, more than the folder policy does.
    Widens,
    /// Not an instruction that is known here.
    Unknown,
}

/// Headers of HTTP that describe an object or a conditional read.
const PLAIN: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// `x-amz-*` headers that describe the object, its checksums or a read.
const DESCRIBING: &[&str] = &[
    "x-amz-checksum-algorithm",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-optional-object-attributes",
    "x-amz-part-number-marker",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-storage-class",
];

/// What a copy may say of its source; the source itself is built anew.
const COPYING: &[&str] = &[
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    COPY_RANGE,
];

/// Which bytes of the source become a part.
const COPY_RANGE: &str = "x-amz-copy-source-range";

/// Read by this server, or notes of SDKs to themselves.
const CONSUMED: &[&str] = &[
    COPY_SOURCE,
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
    "x-amz-user-agent",
];

/// Beginnings of headers that give rights, keys or places which the folder policy does not.
const WIDENING: &[&str] = &[
    "x-amz-acl",
    "x-amz-bucket-object-lock",
    "x-amz-bypass-governance-retention",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-object-lock",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-source-expected-bucket-owner",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
    // MinIO unpacks an archive into keys of the archive's choosing when it sees these.
    "x-amz-meta-minio-",
    "x-amz-meta-snowball-",
    "x-amz-replication-",
    "x-amz-source-replication",
    "x-minio-",
    "x-rgw-",
];

fn fate(name: &str, value: &HeaderValue, operation: Operation) -> Fate {
    let copies = matches!(operation, Operation::CopyObject | Operation::UploadPartCopy);
    // Defaults that clients spell out (rclone, s3cmd) give nothing.
    match (name, value.as_bytes()) {
        ("x-amz-acl", b"private") | ("x-amz-tagging-directive", b"COPY") => return Fate::Leave,
        ("x-amz-server-side-encryption", b"AES256") => return Fate::Forward,
        _ => {}
    }
    if WIDENING.iter().any(|beginning| name.starts_with(beginning)) {
        return Fate::Widens;
    }
    // A range belongs to a part: a store that minds it on a whole copy would make an object smaller than its source.
    if name == COPY_RANGE && operation != Operation::UploadPartCopy {
        return Fate::Unknown;
    }
    if COPYING.contains(&name) || name == COPY_SOURCE {
        return match (copies, name == COPY_SOURCE) {
            (false, _) => Fate::Unknown,
            (true, true) => Fate::Leave,
            (true, false) => Fate::Forward,
        };
    }
    if PLAIN.contains(&name) || DESCRIBING.contains(&name) || name.starts_with("x-amz-meta-") {
        return Fate::Forward;
    }
    // An MD5 goes on only beside the very bytes it was made of.
    if name == "content-md5" && operation.streams_in() {
        return Fate::Forward;
    }
    if name.starts_with("x-amz-") && !CONSUMED.contains(&name) { Fate::Unknown } else { Fate::Leave }
}

/// The headers that go on to the store, in the client's order; `content-encoding` without `aws-chunked` (P43).
pub fn forwarded(operation: Operation, headers: &HeaderMap) -> Result<HeaderMap> {
    let mut forwarded = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        match fate(name.as_str(), value, operation) {
            Fate::Forward => {
                forwarded.append(name.clone(), value.clone());
            }
            Fate::Leave => {}
            Fate::Widens => {
                return Err(Error::new(
                    Code::AccessDenied,
                    format!(
                        "HeaderDenied: the header {name} asks for more than the folder policy gives; send the request without it."
                    ),
                ));
            }
            Fate::Unknown => {
                return Err(Error::new(
                    Code::NotImplemented,
                    format!("The header {name} is not one that this server forwards with {}; send the request without it.", operation.as_str()),
                )
                .element("Header", name.as_str())
                .detail(format!("refused header {name}")));
            }
        }
    }
    if let Some(encoding) = content_encoding(headers)? {
        forwarded.insert(header::CONTENT_ENCODING, encoding);
    }
    Ok(forwarded)
}

/// Whether the client says that the body is framed as `aws-chunked`.
pub fn is_aws_chunked(headers: &HeaderMap) -> bool {
    codings(headers).any(|coding| coding.eq_ignore_ascii_case(b"aws-chunked"))
}

/// What remains of `content-encoding` when the framing of the transfer is taken away.
fn content_encoding(headers: &HeaderMap) -> Result<Option<HeaderValue>> {
    let mut kept: Vec<u8> = Vec::new();
    for coding in
        codings(headers).filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"aws-chunked"))
    {
        if !kept.is_empty() {
            kept.extend_from_slice(b",");
        }
        kept.extend_from_slice(coding);
    }
    if kept.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_bytes(&kept)
        .map(Some)
        .map_err(|_| Error::new(Code::InvalidArgument, "The Content-Encoding header cannot be read."))
}

fn codings(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::CONTENT_ENCODING)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Headers of an answer that belong to one connection (RFC 9110, section 7.6.1) and end here; the framing is made
/// anew on the other side (P45).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of an answer in which a store, or the edge before it, speaks of itself, of its account or to browsers about
/// its own host: none of it is the client's business (P51), and said by this host some of it would be wrong.
const STORES_OWN: &[&str] = &[
    "alt-svc",
    "location",
    "nel",
    "report-to",
    "set-cookie",
    "strict-transport-security",
    "via",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
];

/// Removes what the store says of itself.
pub fn strip_stores_own(headers: &mut HeaderMap) {
    for name in STORES_OWN {
        headers.remove(*name);
    }
}

/// Removes what belongs to one connection, together with every header that `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // `Connection: content-length` must not take the length away.
        .filter(|name| name != header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(*name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn check(
        operation: Operation,
        given: &[(&'static str, &'static str)],
        passes: &[(&'static str, &'static str)],
    ) {
        assert_eq!(forwarded(operation, &headers(given)).unwrap(), headers(passes), "{given:?}");
    }

    fn refused(operation: Operation, name: &'static str, value: &'static str) -> Code {
        forwarded(operation, &headers(&[(name, value)])).unwrap_err().code
    }

    #[test]
    fn p35_headers_that_widen_rights_are_refused_by_name() {
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-grant-read", "uri=http://acs.amazonaws.com/groups/global/AllUsers"),
            ("x-amz-website-redirect-location", "/other"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-retain-until-date", "2040-01-01T00:00:00Z"),
            ("x-amz-bypass-governance-retention", "true"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-copy-source-server-side-encryption-customer-key", "k"),
            ("x-amz-expected-bucket-owner", "1"),
            ("x-amz-tagging", "a=b"),
            ("x-minio-source-mtime", "1"),
            ("x-minio-extract", "true"),
            ("x-rgw-object-count", "1"),
            ("x-amz-replication-status", "REPLICA"),
            ("x-amz-meta-snowball-auto-extract", "true"),
            ("x-amz-meta-minio-snowball-prefix", "data/x"),
            ("x-amz-mfa", "1 2"),
        ] {
            assert_eq!(refused(Operation::PutObject, name, value), Code::AccessDenied, "{name}");
        }
    }

    #[test]
    fn p51_what_a_store_says_of_itself_ends_here() {
        let mut answer = headers(&[
            ("alt-svc", "h3=\":443\""),
            ("set-cookie", "a=b"),
            ("location", "http://store:9000/bucket/key"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:1:key/k"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("etag", "\"e\""),
        ]);
        strip_stores_own(&mut answer);
        assert_eq!(answer, headers(&[("x-amz-server-side-encryption", "aws:kms"), ("etag", "\"e\"")]));
    }

    #[test]
    fn p34_unknown_instructions_are_refused_and_named() {
        let error =
            forwarded(Operation::PutObject, &headers(&[("x-amz-write-offset-bytes", "0")])).unwrap_err();
        assert_eq!(error.code, Code::NotImplemented);
        assert!(error.message.contains("x-amz-write-offset-bytes"));
        assert_eq!(refused(Operation::GetObject, "x-amz-copy-source", "b/k"), Code::NotImplemented);
        for operation in [Operation::PutObject, Operation::CopyObject] {
            assert_eq!(refused(operation, "x-amz-copy-source-range", "bytes=0-1"), Code::NotImplemented);
        }
    }

    #[test]
    fn what_describes_passes_and_the_rest_is_left() {
        check(
            Operation::PutObject,
            &[
                ("content-type", "a/b"),
                ("content-md5", "x"),
                ("x-amz-meta-note", "n"),
                ("x-amz-storage-class", "STANDARD"),
                ("x-amz-server-side-encryption", "AES256"),
                ("x-amz-acl", "private"),
                ("authorization", "secret"),
                ("x-amz-security-token", "secret"),
                ("cookie", "c"),
                ("x-forwarded-for", "1.1.1.1"),
                ("connection", "close"),
                ("transfer-encoding", "chunked"),
                ("accept-encoding", "gzip"),
            ],
            &[
                ("content-type", "a/b"),
                ("content-md5", "x"),
                ("x-amz-meta-note", "n"),
                ("x-amz-storage-class", "STANDARD"),
                ("x-amz-server-side-encryption", "AES256"),
            ],
        );
        check(
            Operation::GetObject,
            &[("range", "bytes=0-1"), ("content-md5", "x")],
            &[("range", "bytes=0-1")],
        );
    }

    #[test]
    fn p43_aws_chunked_is_taken_away_and_gzip_stays() {
        for (given, kept) in [
            (vec!["aws-chunked"], None),
            (vec!["gzip,aws-chunked"], Some("gzip")),
            (vec!["aws-chunked, gzip"], Some("gzip")),
            (vec!["AWS-Chunked", "gzip"], Some("gzip")),
            (vec!["gzip", "aws-chunked", "br"], Some("gzip,br")),
            (vec!["gzip"], Some("gzip")),
            (vec!["aws-chunked,"], None),
        ] {
            let mut map = HeaderMap::new();
            for value in &given {
                map.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            let passed = forwarded(Operation::PutObject, &map).unwrap();
            let passed: Vec<_> = passed
                .get_all(header::CONTENT_ENCODING)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            assert_eq!(passed, Vec::from_iter(kept), "{given:?}");
        }
    }

    #[test]
    fn p45_headers_named_by_connection_end_here() {
        let mut map = headers(&[
            ("connection", "close, x-inner, content-length"),
            ("x-inner", "1"),
            ("content-length", "5"),
            ("keep-alive", "timeout=1"),
            ("transfer-encoding", "chunked"),
            ("etag", "e"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("content-length", "5"), ("etag", "e")]));
    }
}
