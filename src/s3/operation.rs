//! Which S3 operation a request is: one table, and what is not in it is refused by name (P34).
//!
//! Source:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>.

use http::{HeaderMap, Method};

use super::uri::Query;
use crate::error::{Code, Error, Result};

/// The operations that Subgate knows; everything else is `NotImplemented`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are S3's own")]
pub enum Operation {
    ListBuckets,
    HeadBucket,
    CreateBucket,
    GetBucketLocation,
    ListObjects,
    ListObjectsV2,
    ListMultipartUploads,
    DeleteObjects,
    GetObject,
    HeadObject,
    GetObjectAttributes,
    ListParts,
    PutObject,
    CopyObject,
    UploadPart,
    UploadPartCopy,
    CreateMultipartUpload,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    DeleteObject,
}

/// What a request path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Service,
    Bucket,
    Object,
}

/// One row: the method, what the path names, whether `x-amz-copy-source` is there, the query names that make
/// it this operation and those that it may have besides.
pub(crate) struct Row {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) level: Level,
    pub(crate) copy: bool,
    pub(crate) required: &'static [&'static str],
    pub(crate) optional: &'static [&'static str],
}

const fn row(
    operation: Operation,
    method: Method,
    level: Level,
    required: &'static [&'static str],
    optional: &'static [&'static str],
) -> Row {
    let copy = matches!(operation, Operation::CopyObject | Operation::UploadPartCopy);
    Row { operation, method, level, copy, required, optional }
}

/// Query names by which a reader may set headers of the answer.
const GET_OBJECT: &[&str] = &[
    "versionId",
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];

/// Rows with more required names stand before those with fewer: the first that fits is the operation.
static TABLE: &[Row] = &[
    row(
        Operation::ListBuckets,
        Method::GET,
        Level::Service,
        &[],
        &["prefix", "max-buckets", "continuation-token", "bucket-region"],
    ),
    row(Operation::HeadBucket, Method::HEAD, Level::Bucket, &[], &[]),
    row(Operation::CreateBucket, Method::PUT, Level::Bucket, &[], &[]),
    row(Operation::GetBucketLocation, Method::GET, Level::Bucket, &["location"], &[]),
    row(
        Operation::ListMultipartUploads,
        Method::GET,
        Level::Bucket,
        &["uploads"],
        &["prefix", "delimiter", "encoding-type", "key-marker", "upload-id-marker", "max-uploads"],
    ),
    row(
        Operation::ListObjectsV2,
        Method::GET,
        Level::Bucket,
        &["list-type"],
        &[
            "prefix",
            "delimiter",
            "encoding-type",
            "max-keys",
            "start-after",
            "continuation-token",
            "fetch-owner",
        ],
    ),
    row(
        Operation::ListObjects,
        Method::GET,
        Level::Bucket,
        &[],
        &["prefix", "delimiter", "encoding-type", "max-keys", "marker"],
    ),
    row(Operation::DeleteObjects, Method::POST, Level::Bucket, &["delete"], &[]),
    row(Operation::GetObjectAttributes, Method::GET, Level::Object, &["attributes"], &["versionId"]),
    row(
        Operation::ListParts,
        Method::GET,
        Level::Object,
        &["uploadId"],
        &["max-parts", "part-number-marker", "encoding-type"],
    ),
    row(Operation::GetObject, Method::GET, Level::Object, &[], GET_OBJECT),
    row(Operation::HeadObject, Method::HEAD, Level::Object, &[], GET_OBJECT),
    row(Operation::UploadPartCopy, Method::PUT, Level::Object, &["partNumber", "uploadId"], &[]),
    row(Operation::UploadPart, Method::PUT, Level::Object, &["partNumber", "uploadId"], &[]),
    row(Operation::CopyObject, Method::PUT, Level::Object, &[], &[]),
    row(Operation::PutObject, Method::PUT, Level::Object, &[], &[]),
    row(Operation::CreateMultipartUpload, Method::POST, Level::Object, &["uploads"], &[]),
    row(Operation::CompleteMultipartUpload, Method::POST, Level::Object, &["uploadId"], &[]),
    row(Operation::AbortMultipartUpload, Method::DELETE, Level::Object, &["uploadId"], &[]),
    row(Operation::DeleteObject, Method::DELETE, Level::Object, &[], &["versionId"]),
];

/// SDKs add the operation's name to the query for their own logs; it means nothing and goes no further.
pub(crate) const SDK_QUERY_NAME: &str = "x-id";

/// The header that makes a PUT a copy.
pub(crate) const COPY_SOURCE: &str = "x-amz-copy-source";

impl Operation {
    /// Every operation, in the order of the enum.
    pub(crate) const ALL: [Self; 20] = [
        Self::ListBuckets,
        Self::HeadBucket,
        Self::CreateBucket,
        Self::GetBucketLocation,
        Self::ListObjects,
        Self::ListObjectsV2,
        Self::ListMultipartUploads,
        Self::DeleteObjects,
        Self::GetObject,
        Self::HeadObject,
        Self::GetObjectAttributes,
        Self::ListParts,
        Self::PutObject,
        Self::CopyObject,
        Self::UploadPart,
        Self::UploadPartCopy,
        Self::CreateMultipartUpload,
        Self::CompleteMultipartUpload,
        Self::AbortMultipartUpload,
        Self::DeleteObject,
    ];

    /// S3's name of the operation, also used in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::HeadBucket => "HeadBucket",
            Self::CreateBucket => "CreateBucket",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::ListObjects => "ListObjects",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListMultipartUploads => "ListMultipartUploads",
            Self::DeleteObjects => "DeleteObjects",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::GetObjectAttributes => "GetObjectAttributes",
            Self::ListParts => "ListParts",
            Self::PutObject => "PutObject",
            Self::CopyObject => "CopyObject",
            Self::UploadPart => "UploadPart",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::DeleteObject => "DeleteObject",
        }
    }

    /// The method of its requests.
    pub fn method(self) -> Method {
        match self {
            Self::ListBuckets
            | Self::GetBucketLocation
            | Self::ListObjects
            | Self::ListObjectsV2
            | Self::ListMultipartUploads
            | Self::GetObject
            | Self::GetObjectAttributes
            | Self::ListParts => Method::GET,
            Self::HeadBucket | Self::HeadObject => Method::HEAD,
            Self::CreateBucket
            | Self::PutObject
            | Self::CopyObject
            | Self::UploadPart
            | Self::UploadPartCopy => Method::PUT,
            Self::DeleteObjects | Self::CreateMultipartUpload | Self::CompleteMultipartUpload => Method::POST,
            Self::AbortMultipartUpload | Self::DeleteObject => Method::DELETE,
        }
    }

    /// Whether the request body is an object's bytes; only these take the streaming forms (P7).
    pub(crate) fn streams_in(self) -> bool {
        matches!(self, Self::PutObject | Self::UploadPart)
    }

    /// Whether the store is never asked, so that no header matters to it (rclone creates the bucket with
    /// several).
    pub(crate) fn is_answered_here(self) -> bool {
        matches!(self, Self::ListBuckets | Self::HeadBucket | Self::CreateBucket | Self::GetBucketLocation)
    }

    /// Whether its query may name a version of the object.
    pub(crate) fn may_name_a_version(self) -> bool {
        TABLE.iter().any(|row| row.operation == self && row.optional.contains(&"versionId"))
    }

    /// Whether the answer may be a 200 that turns out to be an error (P46).
    pub(crate) fn fails_late(self) -> bool {
        matches!(self, Self::CompleteMultipartUpload | Self::CopyObject | Self::UploadPartCopy)
    }

    /// How the requests of every operation look, for the description of the API.
    pub(crate) fn table() -> &'static [Row] {
        TABLE
    }

    /// Recognises the operation from the decoded request. `bucket` and `key` are what the path names.
    pub(crate) fn parse(
        method: &Method,
        bucket: Option<&str>,
        key: Option<&str>,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Self> {
        let level = match (bucket, key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        };
        let copy = headers.contains_key(COPY_SOURCE);
        let names = || query.iter().map(|(name, _)| name).filter(|name| *name != SDK_QUERY_NAME);
        let mut on_method = TABLE.iter().filter(|row| row.method == *method && row.level == level).peekable();
        if on_method.peek().is_none() {
            let with = names().next().map(|name| format!(" with {name:?}")).unwrap_or_default();
            return Err(not_implemented(format!("{method} of {}{with}", level.as_str())));
        }
        let has = |name: &&str| names().any(|there| there == *name);
        let Some(row) =
            on_method.find(|row| row.required.iter().all(&has) && row.copy == (copy && row.may_copy()))
        else {
            let shown = names().next().unwrap_or("no query").to_owned();
            return Err(not_implemented(format!("{method} of {} with {shown:?}", level.as_str())));
        };
        if let Some(unknown) =
            names().find(|name| !row.required.contains(name) && !row.optional.contains(name))
        {
            return Err(not_implemented(format!("the query name {unknown:?} on {}", row.operation.as_str())));
        }
        if let Some(twice) = row
            .required
            .iter()
            .chain(row.optional)
            .find(|name| names().filter(|there| there == *name).count() > 1)
        {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("The query name {twice} may be there once only."),
            ));
        }
        check_values(row, query)?;
        if row.operation == Self::ListObjectsV2 && query.get("list-type") != Some("2") {
            return Err(Error::new(
                Code::InvalidArgument,
                "list-type must be 2; leave it out for the first version of the listing.",
            ));
        }
        Ok(row.operation)
    }
}

impl Row {
    /// Whether a copy of this row exists, so that the header decides between the two.
    fn may_copy(&self) -> bool {
        matches!(
            self.operation,
            Operation::CopyObject | Operation::PutObject | Operation::UploadPartCopy | Operation::UploadPart
        )
    }
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Service => "the service",
            Self::Bucket => "a bucket",
            Self::Object => "an object",
        }
    }
}

/// What names an upload or a part must name one: several stores (Ceph RGW, Versity) take an empty `uploadId`
/// for none, and so an AbortMultipartUpload for a DeleteObject, a ListParts for a GetObject, an UploadPart
/// for a PutObject.
fn check_values(row: &Row, query: &Query) -> Result<()> {
    const PART_NUMBERS: std::ops::RangeInclusive<u16> = 1..=10_000;
    let value = |name| row.required.contains(&name).then(|| query.get(name).unwrap_or_default());
    if value("uploadId").is_some_and(str::is_empty) {
        return Err(Error::new(
            Code::NoSuchUpload,
            "The specified upload does not exist: uploadId is empty.",
        ));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let in_range = |text: &str| text.parse().is_ok_and(|number| PART_NUMBERS.contains(&number));
    if value("partNumber").is_some_and(|text| !digits(text) || !in_range(text)) {
        return Err(Error::new(
            Code::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
        .element("ArgumentName", "partNumber"));
    }
    Ok(())
}

fn not_implemented(what: String) -> Error {
    Error::new(
        Code::NotImplemented,
        format!(
            "This server forwards object operations only; {what} is not among them. See its README for the \
            list."
        ),
    )
    .detail(format!("refused: {what}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn parse(method: &str, key: Option<&str>, query: &str, copy: bool) -> Result<Operation> {
        let mut headers = HeaderMap::new();
        if copy {
            headers.insert(COPY_SOURCE, HeaderValue::from_static("b/k"));
        }
        let query = Query::parse(Some(query).filter(|query| !query.is_empty()))?;
        Operation::parse(&Method::from_bytes(method.as_bytes()).unwrap(), Some("b"), key, &query, &headers)
    }

    #[test]
    fn every_operation_is_recognised() {
        use Operation::*;
        for (method, key, query, copy, operation) in [
            ("HEAD", None, "", false, HeadBucket),
            ("PUT", None, "", false, CreateBucket),
            ("GET", None, "location", false, GetBucketLocation),
            ("GET", None, "", false, ListObjects),
            ("GET", None, "prefix=a&marker=b&delimiter=/&max-keys=1&encoding-type=url", false, ListObjects),
            (
                "GET",
                None,
                "list-type=2&prefix=a&fetch-owner=true&start-after=a&continuation-token=c",
                false,
                ListObjectsV2,
            ),
            ("GET", None, "uploads&prefix=a&upload-id-marker=u&key-marker=k", false, ListMultipartUploads),
            ("POST", None, "delete=", false, DeleteObjects),
            ("GET", Some("k"), "x-id=GetObject&versionId=1&partNumber=2", false, GetObject),
            ("HEAD", Some("k"), "", false, HeadObject),
            ("GET", Some("k"), "attributes", false, GetObjectAttributes),
            ("GET", Some("k"), "uploadId=u&max-parts=1", false, ListParts),
            ("PUT", Some("k"), "", false, PutObject),
            ("PUT", Some("k"), "", true, CopyObject),
            ("PUT", Some("k"), "partNumber=1&uploadId=u", false, UploadPart),
            ("PUT", Some("k"), "partNumber=1&uploadId=u", true, UploadPartCopy),
            ("POST", Some("k"), "uploads=", false, CreateMultipartUpload),
            ("POST", Some("k"), "uploadId=u", false, CompleteMultipartUpload),
            ("DELETE", Some("k"), "uploadId=u", false, AbortMultipartUpload),
            ("DELETE", Some("k"), "versionId=1", false, DeleteObject),
        ] {
            assert_eq!(parse(method, key, query, copy).unwrap(), operation, "{method} {query}");
        }
    }

    #[test]
    fn p34_what_is_not_in_the_table_is_refused_by_name() {
        for (method, key, query, named) in [
            ("GET", None, "acl", "acl"),
            ("GET", None, "policy", "policy"),
            ("PUT", None, "policy", "policy"),
            ("PUT", None, "versioning", "versioning"),
            ("GET", None, "lifecycle", "lifecycle"),
            ("PUT", None, "cors", "cors"),
            ("GET", None, "versions", "versions"),
            ("DELETE", None, "", "DELETE of a bucket"),
            ("DELETE", None, "policy", "policy"),
            ("POST", None, "", "POST of a bucket"),
            ("GET", Some("k"), "tagging", "tagging"),
            ("PUT", Some("k"), "tagging", "tagging"),
            ("PUT", Some("k"), "acl", "acl"),
            ("PUT", Some("k"), "retention", "retention"),
            ("PUT", Some("k"), "legal-hold", "legal-hold"),
            ("GET", Some("k"), "torrent", "torrent"),
            ("POST", Some("k"), "restore", "restore"),
            ("POST", Some("k"), "select&select-type=2", "select"),
            ("PUT", Some("k"), "partNumber=1", "partNumber"),
            ("PUT", Some("k"), "uploadId=u", "uploadId"),
            ("GET", Some("k"), "renameObject", "renameObject"),
            ("POST", Some("k"), "", "POST of an object"),
            ("PATCH", Some("k"), "", "PATCH"),
            ("OPTIONS", Some("k"), "", "OPTIONS"),
            ("LIST", None, "", "LIST"),
            ("GET", Some("k"), "X-Rgw-Extra=1", "X-Rgw-Extra"),
        ] {
            let error = parse(method, key, query, false).unwrap_err();
            assert_eq!(error.code, Code::NotImplemented, "{method} {query}");
            assert!(
                error.message.contains(named) && error.detail.unwrap().contains(named),
                "{method} {query}: {}",
                error.message
            );
        }
    }

    #[test]
    fn p37_an_upload_or_part_that_is_not_named_is_not_asked_for() {
        for (method, query, code) in [
            ("PUT", "partNumber=1&uploadId=", Code::NoSuchUpload),
            ("PUT", "partNumber=1&uploadId", Code::NoSuchUpload),
            ("GET", "uploadId=", Code::NoSuchUpload),
            ("POST", "uploadId=", Code::NoSuchUpload),
            ("DELETE", "uploadId=", Code::NoSuchUpload),
            ("PUT", "partNumber=&uploadId=u", Code::InvalidArgument),
            ("PUT", "partNumber=0&uploadId=u", Code::InvalidArgument),
            ("PUT", "partNumber=%2B1&uploadId=u", Code::InvalidArgument),
            ("PUT", "partNumber=10001&uploadId=u", Code::InvalidArgument),
            ("PUT", "partNumber=99999999999&uploadId=u", Code::InvalidArgument),
        ] {
            assert_eq!(parse(method, Some("k"), query, false).unwrap_err().code, code, "{method} {query}");
        }
        assert_eq!(
            parse("PUT", Some("k"), "partNumber=10000&uploadId=u", false).unwrap(),
            Operation::UploadPart
        );
    }

    #[test]
    fn a_name_twice_is_refused() {
        for (method, key, query) in [
            ("GET", None, "prefix=a&prefix=b"),
            ("PUT", Some("k"), "partNumber=1&uploadId=a&uploadId=b"),
            ("GET", Some("k"), "versionId=1&versionId=2"),
        ] {
            assert_eq!(parse(method, key, query, false).unwrap_err().code, Code::InvalidArgument, "{query}");
        }
        assert_eq!(parse("GET", None, "list-type=1", false).unwrap_err().code, Code::InvalidArgument);
    }
}
