//! `x-amz-copy-source`: which object a copy reads.

use super::{key::check_id, uri};
use crate::error::{Code, Error, Result};

/// The source of a copy, decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// The bucket as the client names it.
    pub bucket: String,
    /// The decoded key.
    pub key: String,
    /// The version, where one is named.
    pub version_id: Option<String>,
}

impl CopySource {
    /// Reads `[/]bucket/key[?versionId=…]`, percent-encoded; a `+` is a plus (P21). Access points (`arn:…`)
    /// are refused: they name buckets elsewhere (P30).
    pub(crate) fn parse(header: &str) -> Result<Self> {
        let invalid = |why: &'static str| {
            Error::new(Code::InvalidArgument, why).element("ArgumentName", "x-amz-copy-source")
        };
        if header.is_empty() {
            return Err(invalid(
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ));
        }
        // The version follows the last `?`; a `?` of the key itself is percent-encoded.
        let (path, query) = match header.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (header, None),
        };
        let path = uri::decode_path(path)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        if path.starts_with("arn:") {
            return Err(invalid(
                "Copy Source must be bucket/key; access points and ARNs are not served here",
            ));
        }
        let Some((bucket, key)) =
            path.split_once('/').filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        else {
            return Err(invalid(
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ));
        };
        let version_id = match query {
            None => None,
            Some(query) => {
                let query = uri::Query::parse(Some(query))?;
                let mut pairs = query.iter();
                match (pairs.next(), pairs.next()) {
                    (Some(("versionId", version)), None) if !version.is_empty() => {
                        check_id("versionId", version)?;
                        Some(version.to_owned())
                    }
                    _ => return Err(invalid("Copy Source may have the query ?versionId=… and nothing else")),
                }
            }
        };
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version_id })
    }

    /// The header for the store, with the store's bucket in place of the client's.
    pub(crate) fn to_header(&self, bucket: &str) -> String {
        let path = format!("/{}/{}", uri::encode_component(bucket), uri::encode_path(&self.key));
        match &self.version_id {
            Some(version) => format!("{path}?versionId={}", uri::encode_component(version)),
            None => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p30_a_source_is_decoded_once() {
        let source = CopySource::parse("/bucket/data/x/a%20b%2Bc+d%253f?versionId=a%2Fb").unwrap();
        assert_eq!(source.bucket, "bucket");
        assert_eq!(source.key, "data/x/a b+c+d%3f");
        assert_eq!(source.version_id.as_deref(), Some("a/b"));
        assert_eq!(source.to_header("real"), "/real/data/x/a%20b%2Bc%2Bd%253f?versionId=a%2Fb");
        assert_eq!(CopySource::parse("bucket/k").unwrap().to_header("b"), "/b/k");
        assert_eq!(CopySource::parse("bucket%2Fk").unwrap().key, "k");
    }

    #[test]
    fn p30_other_forms_are_refused() {
        for header in [
            "",
            "/",
            "bucket",
            "/bucket/",
            "//key",
            "arn:aws:s3:us-east-1:1:accesspoint/x/object/k",
            "arn%3Aaws:s3:::bucket/k",
            "bucket/k?versionId=",
            "bucket/k?versionId=a&versionId=b",
            "bucket/k?other=1",
            "bucket/k?versionId=..%2Fa",
            "bucket/k?versionId=%00",
            "bucket/k%zz",
            "bucket/k%ff",
        ] {
            assert!(CopySource::parse(header).is_err(), "{header:?}");
        }
    }
}
