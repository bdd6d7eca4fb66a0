//! One request as S3 understands it: bucket, key, operation; parsed once from the decoded wire.

use http::{HeaderMap, Method};

use super::{
    copy_source::CopySource,
    key::check_id,
    listing::MARKERS,
    operation::{COPY_SOURCE, Operation},
    uri::Query,
};
use crate::error::{Code, Error, Result};

/// Query names whose values are ids that the store has given.
const IDS: &[&str] = &["uploadId", "upload-id-marker", "versionId"];

/// Where the bucket's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing<'a> {
    /// `/bucket/key`.
    Path,
    /// `bucket.host` and `/key`.
    VirtualHost(&'a str),
}

/// A parsed request; what is authorised and what is forwarded are built from it alone (P20).
#[derive(Debug, Clone)]
pub struct Request {
    /// What is to be done.
    pub operation: Operation,
    /// The bucket as the client names it; none for ListBuckets.
    pub bucket: Option<String>,
    /// The decoded key.
    key: Option<String>,
    /// The decoded query, without what authenticates.
    pub query: Query,
    copy_source: Option<CopySource>,
}

impl Request {
    /// Parses the decoded path and query.
    pub fn parse(
        method: &Method,
        addressing: Addressing<'_>,
        path: &str,
        query: Query,
        headers: &HeaderMap,
    ) -> Result<Self> {
        let Some(path) = path.strip_prefix('/') else {
            return Err(Error::new(Code::InvalidURI, "The request target must start with a slash."));
        };
        let (bucket, key) = match addressing {
            Addressing::VirtualHost(bucket) => (Some(bucket), path),
            Addressing::Path => match path.split_once('/') {
                Some((bucket, key)) => (Some(bucket), key),
                None => (Some(path).filter(|bucket| !bucket.is_empty()), ""),
            },
        };
        let key = Some(key).filter(|key| !key.is_empty());
        if bucket == Some("") {
            return Err(Error::new(Code::InvalidURI, "The request target has an empty bucket name."));
        }
        // No value of S3's has one but a marker, with which keys are compared; and a store that copies
        // `response-…` into its answer as it is could be made to answer the next request on that connection,
        // which is another client's.
        let is_refused =
            |name: &str, value: &str| !MARKERS.contains(&name) && value.chars().any(char::is_control);
        if let Some((name, _)) = query.iter().find(|(name, value)| is_refused(name, value)) {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("The value of the query name {name:?} holds a control character."),
            ));
        }
        for (name, id) in query.iter().filter(|(name, _)| IDS.contains(name)) {
            check_id(name, id)?;
        }
        let operation = Operation::parse(method, bucket, key, &query, headers)?;
        let copy_source = match operation {
            Operation::CopyObject | Operation::UploadPartCopy => Some(copy_source(headers)?),
            Operation::ListBuckets
            | Operation::HeadBucket
            | Operation::CreateBucket
            | Operation::GetBucketLocation
            | Operation::ListObjects
            | Operation::ListObjectsV2
            | Operation::ListMultipartUploads
            | Operation::DeleteObjects
            | Operation::GetObject
            | Operation::HeadObject
            | Operation::GetObjectAttributes
            | Operation::ListParts
            | Operation::PutObject
            | Operation::UploadPart
            | Operation::CreateMultipartUpload
            | Operation::CompleteMultipartUpload
            | Operation::AbortMultipartUpload
            | Operation::DeleteObject => None,
        };
        Ok(Self {
            operation,
            bucket: bucket.map(str::to_owned),
            key: key.map(str::to_owned),
            query,
            copy_source,
        })
    }

    /// The key; an error where the operation has none, which the operation table rules out.
    pub(crate) fn key(&self) -> Result<&str> {
        self.key.as_deref().ok_or_else(|| Error::internal("an object operation without a key"))
    }

    /// The key, where there is one.
    pub(crate) fn key_opt(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The source of a copy, where the request is one.
    pub fn copy_source_opt(&self) -> Option<&CopySource> {
        self.copy_source.as_ref()
    }

    /// The source of a copy.
    pub(crate) fn copy_source(&self) -> Result<&CopySource> {
        self.copy_source.as_ref().ok_or_else(|| Error::internal("a copy without a source"))
    }
}

fn copy_source(headers: &HeaderMap) -> Result<CopySource> {
    let mut values = headers.get_all(COPY_SOURCE).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => CopySource::parse(value.trim()),
        _ => Err(Error::new(Code::InvalidArgument, "x-amz-copy-source must be there once, percent-encoded.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p45_control_characters_do_not_reach_the_store_in_a_query() {
        for (query, fine) in [
            ("response-content-type=a%0d%0aX-Evil:%201", false),
            ("response-content-disposition=attachment%00", false),
            ("versionId=a%7f", false),
            ("response-content-type=text%2Fplain%3B%20charset%3Dutf-8", true),
        ] {
            let query = Query::parse(Some(query)).unwrap();
            let request = Request::parse(&Method::GET, Addressing::Path, "/b/k", query, &HeaderMap::new());
            assert_eq!(request.map_err(|error| error.code).err(), (!fine).then_some(Code::InvalidArgument));
        }
    }
}
