//! Which request headers go on to the store: those on the list, and no other (P34, P35).
//!
//! An `x-amz-*` header is an instruction to the store. The ones that only describe the object or the read
//! pass; the ones that widen rights are refused by name; unknown ones are refused too, for they may be
//! instructions that came after this list. Headers outside `x-amz-*` that are not on the list are left
//! behind.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    checksum_headers,
    copy_conditions::{CopyConditions, IF_MATCH},
    copy_source::CopySource,
    operation::{COPY_SOURCE, Operation},
};
use crate::error::{Code, Error, Reason, Result};

/// What becomes of a request header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Goes on unchanged.
    Forward,
    /// Does not go on: it was read by this server, means nothing to the store, or belongs to the connection.
    Drop,
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
    "x-amz-checksum-md5",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-sha512",
    "x-amz-checksum-type",
    "x-amz-checksum-xxhash128",
    "x-amz-checksum-xxhash3",
    "x-amz-checksum-xxhash64",
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

/// The checksum algorithms of S3, as `x-amz-sdk-checksum-algorithm` and S3's XML name them.
pub(crate) const CHECKSUM_ALGORITHMS: [&str; 10] =
    ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"];

/// Headers whose value is the name of an algorithm.
const NAMING_ALGORITHM: [&str; 2] = ["x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm"];

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

/// What belongs to the signature of the request.
const SIGNING: &[&str] = &["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// Read by this server, or notes of SDKs to themselves.
const CONSUMED: &[&str] = &[COPY_SOURCE, "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-user-agent"];

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
    // Instructions to the store all begin so, and half of a client's headers do not.
    if !name.starts_with("x-") {
        // An MD5 goes on only beside the very bytes it was made of.
        let goes_on = PLAIN.contains(&name) || (name == "content-md5" && operation.streams_in());
        return if goes_on { Fate::Forward } else { Fate::Drop };
    }
    // What every signed request has.
    if SIGNING.contains(&name) {
        return Fate::Drop;
    }
    let copies = matches!(operation, Operation::CopyObject | Operation::UploadPartCopy);
    // Defaults that clients spell out (rclone, s3cmd) give nothing.
    match (name, value.as_bytes()) {
        ("x-amz-acl", b"private") | ("x-amz-tagging-directive", b"COPY") => return Fate::Drop,
        // The one version that S3 has, and that every SDK for C++ spells out.
        ("x-amz-api-version", b"2006-03-01") => return Fate::Drop,
        ("x-amz-server-side-encryption", b"AES256") => return Fate::Forward,
        _ => {}
    }
    if WIDENING.iter().any(|beginning| name.starts_with(beginning)) {
        return Fate::Widens;
    }
    // A range belongs to a part: a store that minds it on a whole copy would make an object smaller than its
    // source.
    if name == COPY_RANGE && operation != Operation::UploadPartCopy {
        return Fate::Unknown;
    }
    if COPYING.contains(&name) || name == COPY_SOURCE {
        return match (copies, name == COPY_SOURCE) {
            (false, _) => Fate::Unknown,
            (true, true) => Fate::Drop,
            (true, false) => Fate::Forward,
        };
    }
    if DESCRIBING.contains(&name) || name.starts_with("x-amz-meta-") {
        return Fate::Forward;
    }
    if name.starts_with("x-amz-") && !CONSUMED.contains(&name) { Fate::Unknown } else { Fate::Drop }
}

/// The headers of a request to the store. There are two ways in: what the list above lets through of a
/// client's headers, and what this server writes itself, by name. The store's client adds `Host` and the
/// signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardedHeaders(HeaderMap);

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DECODED_CONTENT_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");
const SDK_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");

impl ForwardedHeaders {
    /// What goes on of a client's headers, in the client's order; `content-encoding` without `aws-chunked`
    /// (P43).
    ///
    /// # Errors
    /// `AccessDenied` and `NotImplemented` for headers that do not go on; `InvalidRequest` for checksums that
    /// do not fit together.
    pub fn of(operation: Operation, headers: &HeaderMap) -> Result<Self> {
        checksum_headers::check(headers)?;
        let mut forwarded = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            match fate(name.as_str(), value, operation) {
                Fate::Forward => {
                    forwarded.append(name.clone(), value.clone());
                }
                Fate::Drop => {}
                Fate::Widens => return Err(widens(name)),
                Fate::Unknown => return Err(unknown(name, operation)),
            }
        }
        if let Some(encoding) = content_encoding(headers)? {
            forwarded.insert(header::CONTENT_ENCODING, encoding);
        }
        Ok(Self(forwarded))
    }

    /// No headers: for requests that this server makes of its own accord.
    pub fn none() -> Self {
        Self::default()
    }

    /// Writes `Content-Length`.
    pub fn set_content_length(&mut self, bytes: u64) {
        self.0.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }

    /// Says that the body is XML.
    pub fn set_content_type_xml(&mut self) {
        self.0.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }

    /// Writes `Content-MD5`, given the 16 bytes of the digest.
    pub fn set_content_md5(&mut self, md5: &[u8]) -> Result<()> {
        let value = HeaderValue::try_from(BASE64_STANDARD.encode(md5)).map_err(Error::internal)?;
        self.0.insert(CONTENT_MD5, value);
        Ok(())
    }

    /// Writes `x-amz-copy-source`; `bucket` is the bucket's name at the store.
    pub fn set_copy_source(&mut self, source: &CopySource, bucket: &str) -> Result<()> {
        let value = HeaderValue::try_from(source.to_header(bucket)).map_err(Error::internal)?;
        self.0.insert(COPY_SOURCE, value);
        Ok(())
    }

    /// The storage classes that the client asks for; S3 takes one.
    pub(crate) fn storage_classes(&self) -> impl Iterator<Item = &[u8]> {
        self.0.get_all(STORAGE_CLASS).into_iter().map(HeaderValue::as_bytes)
    }

    /// Takes out the client's conditions on the source of a copy: they are judged here.
    ///
    /// # Errors
    /// `InvalidArgument` for one that is there twice or cannot be read.
    pub(crate) fn take_copy_conditions(&mut self) -> Result<CopyConditions> {
        CopyConditions::take(&mut self.0)
    }

    /// Holds a copy to the object that was measured: it must not be another one by then.
    pub fn pin_copy_source(&mut self, etag: HeaderValue) {
        self.0.insert(IF_MATCH, etag);
    }

    /// Says that the body is framed as `aws-chunked`, with the checksum header `trailer` after
    /// `decoded_bytes` of content.
    pub fn set_aws_chunked(&mut self, trailer: &'static str, decoded_bytes: u64) -> Result<()> {
        self.0.insert(TRAILER, HeaderValue::from_static(trailer));
        self.0.insert(DECODED_CONTENT_LENGTH, HeaderValue::from(decoded_bytes));
        let coding = match self.0.get(header::CONTENT_ENCODING) {
            Some(kept) => {
                let joined = [kept.as_bytes(), b",aws-chunked"].concat();
                HeaderValue::try_from(joined).map_err(Error::internal)?
            }
            None => HeaderValue::from_static("aws-chunked"),
        };
        self.0.insert(header::CONTENT_ENCODING, coding);
        Ok(())
    }

    /// Whether a store can tell by these headers that a body is torn: by its `Content-MD5` or a checksum.
    pub(crate) fn has_digest(&self) -> bool {
        self.0.contains_key(CONTENT_MD5)
            || self.0.keys().any(|name| checksum_headers::algorithm_of(name.as_str()).is_some())
    }

    /// Removes the announcement of a checksum that would have come as a trailer, and no longer does.
    pub fn remove_announced_checksum(&mut self) {
        self.0.remove(SDK_CHECKSUM_ALGORITHM);
    }

    /// Removes what is said of checksums that the store does not know. Where nobody here checks them either,
    /// they are refused.
    ///
    /// # Errors
    /// `NotImplemented`.
    pub fn keep_checksums(&mut self, operation: Operation, known: &[String]) -> Result<()> {
        let is_known = |algorithm: &str| known.iter().any(|known| known.eq_ignore_ascii_case(algorithm));
        let is_unknown = |name: &str, value: &HeaderValue| {
            let of_header = name.strip_prefix("x-amz-checksum-").and_then(|algorithm| {
                CHECKSUM_ALGORITHMS.into_iter().find(|other| other.eq_ignore_ascii_case(algorithm))
            });
            match NAMING_ALGORITHM.contains(&name) {
                true => value.to_str().is_ok_and(|algorithm| {
                    CHECKSUM_ALGORITHMS.iter().any(|other| other.eq_ignore_ascii_case(algorithm))
                        && !is_known(algorithm)
                }),
                false => of_header.is_some_and(|algorithm| !is_known(algorithm)),
            }
        };
        let unknown = self.0.iter().filter(|(name, value)| is_unknown(name.as_str(), value));
        let unknown: Vec<HeaderName> = unknown.map(|(name, _)| name.clone()).collect();
        let Some(first) = unknown.first() else { return Ok(()) };
        // The bytes come by here, or the parts will.
        if !operation.streams_in() && operation != Operation::CreateMultipartUpload {
            return Err(Error::new(
                Code::NotImplemented,
                "A header you provided implies functionality that is not implemented: the store behind \
                 this server does not know that checksum algorithm.",
            )
            .element("Header", first.as_str().to_owned()));
        }
        for name in unknown {
            if NAMING_ALGORITHM.contains(&name.as_str()) {
                self.0.remove("x-amz-checksum-type");
            }
            self.0.remove(name);
        }
        Ok(())
    }

    /// Removes all that is said of checksums, for a body that is built anew: the client's are none of that
    /// one's.
    pub fn remove_checksums(&mut self) {
        let is_checksum = |name: &&HeaderName| name.as_str().contains("checksum");
        let names: Vec<_> = self.0.keys().filter(is_checksum).cloned().collect();
        for name in names {
            self.0.remove(name);
        }
        self.0.remove(CONTENT_MD5);
    }

    /// The headers, for the store's client to complete and sign.
    pub fn into_map(self) -> HeaderMap {
        self.0
    }
}

fn widens(name: &HeaderName) -> Error {
    Error::because(
        Code::AccessDenied,
        Reason::HeaderDenied,
        format!(
            "the header {name} asks for more than the folder policy gives; \
             send the request without it."
        ),
    )
}

fn unknown(name: &HeaderName, operation: Operation) -> Error {
    Error::new(
        Code::NotImplemented,
        format!(
            "The header {name} is not one that this server forwards with {}; send the request without it.",
            operation.as_str()
        ),
    )
    .element("Header", name.as_str())
    .detail(format!("refused header {name}"))
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
        let forwarded = ForwardedHeaders::of(operation, &headers(given)).unwrap().into_map();
        assert_eq!(forwarded, headers(passes), "{given:?}");
    }

    fn refused(operation: Operation, name: &'static str, value: &'static str) -> Code {
        ForwardedHeaders::of(operation, &headers(&[(name, value)])).unwrap_err().code
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
    fn p35_what_is_judged_first_holds_no_instruction() {
        let mut instructions = [WIDENING, COPYING, DESCRIBING, CONSUMED].into_iter().flatten();
        assert!(instructions.all(|name| name.starts_with("x-")));
        assert!(!SIGNING.iter().any(|name| WIDENING.iter().any(|beginning| name.starts_with(beginning))));
    }

    #[test]
    fn p34_unknown_instructions_are_refused_and_named() {
        let given = headers(&[("x-amz-write-offset-bytes", "0")]);
        let error = ForwardedHeaders::of(Operation::PutObject, &given).unwrap_err();
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
            let passed = ForwardedHeaders::of(Operation::PutObject, &map).unwrap().into_map();
            let passed: Vec<_> = passed
                .get_all(header::CONTENT_ENCODING)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            assert_eq!(passed, Vec::from_iter(kept), "{given:?}");
        }
    }

    #[test]
    fn p30_a_copy_is_held_to_the_object_that_was_measured() {
        let given = headers(&[
            ("x-amz-copy-source-if-match", "*"),
            ("x-amz-copy-source-if-unmodified-since", "Tue, 03 Nov 2026 10:11:12 GMT"),
            ("x-amz-meta-a", "b"),
        ]);
        let mut forwarded = ForwardedHeaders::of(Operation::CopyObject, &given).unwrap();
        forwarded.take_copy_conditions().unwrap();
        forwarded.pin_copy_source(HeaderValue::from_static("\"a\""));
        let expected = [("x-amz-copy-source-if-match", "\"a\""), ("x-amz-meta-a", "b")];
        assert_eq!(forwarded.into_map(), headers(&expected));
    }

    #[test]
    fn what_this_server_writes_takes_the_place_of_the_clients() {
        let given = headers(&[
            ("content-encoding", "gzip,aws-chunked"),
            ("content-length", "99"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ]);
        let mut chunked = ForwardedHeaders::of(Operation::PutObject, &given).unwrap();
        chunked.set_content_length(64);
        chunked.set_aws_chunked("x-amz-checksum-crc32", 5).unwrap();
        let expected = [
            ("content-encoding", "gzip,aws-chunked"),
            ("content-length", "64"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        assert_eq!(chunked.into_map(), headers(&expected));

        let mut plain = ForwardedHeaders::of(Operation::PutObject, &given).unwrap();
        plain.remove_announced_checksum();
        assert_eq!(plain.into_map(), headers(&[("content-encoding", "gzip")]));

        let given = headers(&[
            ("content-md5", "of the client's body"),
            ("content-type", "text/xml"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ]);
        let mut rebuilt = ForwardedHeaders::of(Operation::DeleteObjects, &given).unwrap();
        rebuilt.remove_checksums();
        rebuilt.set_content_type_xml();
        rebuilt.set_content_md5(&[0; 16]).unwrap();
        let expected = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), ("content-type", "application/xml")];
        assert_eq!(rebuilt.into_map(), headers(&expected));

        let source = CopySource::parse("public/data/x/a%20b").unwrap();
        let mut copy = ForwardedHeaders::none();
        copy.set_copy_source(&source, "real").unwrap();
        assert_eq!(copy.into_map(), headers(&[("x-amz-copy-source", "/real/data/x/a%20b")]));
    }
}
