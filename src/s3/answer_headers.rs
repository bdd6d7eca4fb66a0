//! Which headers of the store's answers go on to the client: those on the list, and no other (P63).
//!
//! A store, and the edge before it, speaks of itself in many headers: its product, its host, its account,
//! what browsers should do at its address. A list of those would never be whole, so this is a list of what
//! says something of the object or of the request.

use http::{HeaderMap, HeaderName, header};

/// Headers of HTTP that describe an object, or the answer to a read.
const PLAIN: &[&str] = &[
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
];

/// Headers of HTTP that only a refusal has.
const REFUSING: &[&str] = &["allow", "retry-after"];

/// `x-amz-*` headers that describe the object or name the request.
const DESCRIBING: &[&str] = &[
    "x-amz-archive-status",
    "x-amz-checksum-type",
    "x-amz-copy-source-version-id",
    "x-amz-delete-marker",
    "x-amz-missing-meta",
    "x-amz-mp-parts-count",
    "x-amz-object-size",
    "x-amz-request-id",
    "x-amz-restore",
    // How, not with which key: that is another header.
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-tagging-count",
    "x-amz-version-id",
];

/// The beginning of the headers that are checksums, in whichever algorithm the store has.
const CHECKSUMS: &str = "x-amz-checksum-";

/// The beginning of a client's own metadata.
const METADATA: &str = "x-amz-meta-";

/// Headers of a success that describe its body, and so nothing of a refusal, whose body is made here.
const OF_THE_BODY: &[&str] = &[
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "expires",
];

/// What goes on of a success, or of a 304.
pub(crate) fn of_success(mut headers: HeaderMap) -> HeaderMap {
    end_with_connection(&mut headers);
    keep(&headers, |name| {
        PLAIN.contains(&name)
            || DESCRIBING.contains(&name)
            || name.starts_with(CHECKSUMS)
            || name.starts_with(METADATA)
    })
}

/// What of the answer to a PUT the answer to a form has as well, whose body is made here.
pub(crate) fn of_form(success: &HeaderMap) -> HeaderMap {
    keep(success, |name| describes_the_object(name) || name.starts_with(CHECKSUMS))
}

/// What goes on of a refusal: what says something of the object, but not of the body, which is made here.
pub(crate) fn of_refusal(mut headers: HeaderMap) -> HeaderMap {
    end_with_connection(&mut headers);
    keep(&headers, |name| describes_the_object(name) || REFUSING.contains(&name))
}

/// Whether a header describes the object, and not the body of this very answer.
fn describes_the_object(name: &str) -> bool {
    (PLAIN.contains(&name) && !OF_THE_BODY.contains(&name)) || DESCRIBING.contains(&name)
}

fn keep(headers: &HeaderMap, is_kept: impl Fn(&str) -> bool) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| is_kept(name.as_str()));
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in kept {
        map.append(name.clone(), value.clone());
    }
    map
}

/// Removes every header that `Connection` names: it belongs to that connection (RFC 9110, section 7.6.1), and
/// the framing is made anew on the other side (P45). `Connection` itself is not on the lists.
fn end_with_connection(headers: &mut HeaderMap) {
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
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    const STORES_OWN: &[(&str, &str)] = &[
        ("age", "3"),
        ("alt-svc", "h3=\":443\""),
        ("date", "Tue, 03 Nov 2026 10:11:12 GMT"),
        ("expect-ct", "max-age=0"),
        ("link", "<http://store/>; rel=canonical"),
        ("location", "http://store/bucket/key"),
        ("server", "MinIO"),
        ("set-cookie", "sticky=1"),
        ("strict-transport-security", "max-age=1"),
        ("vary", "Origin"),
        ("via", "1.1 edge"),
        ("www-authenticate", "AWS"),
        ("x-accel-buffering", "no"),
        ("x-amz-abort-rule-id", "clean"),
        ("x-amz-bucket-region", "eu-store-1"),
        ("x-amz-expiration", "rule-id=\"clean\""),
        ("x-amz-id-2", "host"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-replication-status", "COMPLETED"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:1:key/a"),
        ("x-amz-website-redirect-location", "/other"),
        ("x-cache", "Hit from edge"),
        ("x-minio-deployment-id", "d"),
        ("x-rgw-object-type", "Normal"),
        ("x-something-new", "1"),
    ];

    #[test]
    fn p63_what_the_store_says_of_itself_ends_here() {
        for own in STORES_OWN {
            assert_eq!(of_success(headers(&[*own])), HeaderMap::new(), "{own:?}");
            assert_eq!(of_refusal(headers(&[*own])), HeaderMap::new(), "{own:?}");
        }
    }

    #[test]
    fn p48_what_describes_the_object_passes_unchanged() {
        let given = headers(&[
            ("accept-ranges", "bytes"),
            ("cache-control", "no-cache"),
            ("content-encoding", "gzip"),
            ("content-length", "5"),
            ("content-range", "bytes 0-4/9"),
            ("content-type", "A/b; charset=own"),
            ("etag", "\"odd, etag\""),
            ("last-modified", "Tue, 03 Nov 2026 10:11:12 GMT"),
            ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
            ("x-amz-checksum-new", "x"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("x-amz-archive-status", "ARCHIVE_ACCESS"),
            ("x-amz-delete-marker", "true"),
            ("x-amz-meta-a", "Kept  As   It Is"),
            ("x-amz-meta-a", "twice"),
            ("x-amz-mp-parts-count", "3"),
            ("x-amz-request-id", "ID"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-version-id", "v.1_~"),
        ]);
        assert_eq!(of_success(given.clone()), given);
        let refusal = headers(&[
            ("content-range", "bytes 0-4/9"),
            ("etag", "\"odd, etag\""),
            ("last-modified", "Tue, 03 Nov 2026 10:11:12 GMT"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("x-amz-archive-status", "ARCHIVE_ACCESS"),
            ("x-amz-delete-marker", "true"),
            ("x-amz-mp-parts-count", "3"),
            ("x-amz-request-id", "ID"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-version-id", "v.1_~"),
        ]);
        assert_eq!(of_refusal(given), refusal);
        let refusing = headers(&[("allow", "DELETE"), ("retry-after", "7")]);
        assert_eq!(of_refusal(refusing.clone()), refusing);
        assert_eq!(of_success(refusing), HeaderMap::new());
    }

    #[test]
    fn p48_checksums_of_every_algorithm_pass_with_their_type() {
        let checksums = headers(&[
            ("x-amz-checksum-crc32", "a"),
            ("x-amz-checksum-crc32c", "a"),
            ("x-amz-checksum-crc64nvme", "a"),
            ("x-amz-checksum-md5", "a"),
            ("x-amz-checksum-sha1", "a"),
            ("x-amz-checksum-sha256", "a"),
            ("x-amz-checksum-sha512", "a"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("x-amz-checksum-xxhash128", "a"),
            ("x-amz-checksum-xxhash3", "a"),
            ("x-amz-checksum-xxhash64", "a"),
        ]);
        assert_eq!(of_success(checksums.clone()), checksums);
        assert_eq!(of_form(&checksums), checksums);
    }

    #[test]
    fn p63_a_forms_answer_says_of_the_object_what_a_puts_does_and_nothing_of_its_body() {
        let told = headers(&[
            ("etag", "e"),
            ("x-amz-object-size", "5"),
            ("x-amz-request-id", "ID"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-version-id", "v"),
        ]);
        let mut given = told.clone();
        given.extend(headers(&[
            ("accept-ranges", "bytes"),
            ("content-length", "0"),
            ("content-type", "text/plain"),
            ("server", "MinIO"),
            ("x-amz-id-2", "host"),
            ("x-amz-meta-a", "1"),
        ]));
        assert_eq!(of_form(&given), told);
    }

    #[test]
    fn p45_headers_named_by_connection_end_here() {
        let given = headers(&[
            ("connection", "close, x-amz-meta-inner, content-length"),
            ("x-amz-meta-inner", "1"),
            ("content-length", "5"),
            ("keep-alive", "timeout=1"),
            ("transfer-encoding", "chunked"),
            ("trailer", "etag"),
            ("upgrade", "h2c"),
            ("etag", "e"),
        ]);
        assert_eq!(of_success(given.clone()), headers(&[("content-length", "5"), ("etag", "e")]));
        assert_eq!(of_refusal(given), headers(&[("etag", "e")]));
    }
}
