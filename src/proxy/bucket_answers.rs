//! What is answered here: the bucket itself (P33), and the way down from its root to the caller's folders.

use http::{HeaderName, HeaderValue, StatusCode};

use super::{Gate, answer::Answer};
use crate::{
    error::{Code, Error, Result},
    policy::Permit,
    s3::{Operation, xml},
};

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// The bucket is older than every client; S3's own answers need some date.
const BUCKET_CREATED: &str = "2025-01-01T00:00:00.000Z";

/// S3's own bound on the keys of one page.
const KEYS_MAX: usize = 1000;

impl Gate {
    /// ListBuckets, HeadBucket, GetBucketLocation and CreateBucket of the one bucket.
    pub(super) fn answer_bucket(&self, permit: &Permit<'_>) -> Result<Answer> {
        let region = HeaderValue::from_str(&self.bucket.region).map_err(Error::internal)?;
        let query = &permit.request().query;
        let answer = match permit.request().operation {
            Operation::ListBuckets => {
                let here = query.get("prefix").is_none_or(|prefix| self.bucket.name.starts_with(prefix))
                    && query.get("bucket-region").is_none_or(|region| region == self.bucket.region)
                    && query.get("continuation-token").is_none_or(str::is_empty);
                let bucket = Some(self.bucket.name.as_str()).filter(|_| here);
                Answer::xml(xml::list_buckets(permit.caller().owner.hotkey(), bucket, BUCKET_CREATED))
            }
            Operation::GetBucketLocation => Answer::xml(xml::location(&self.bucket.region)),
            Operation::CreateBucket => {
                return Err(Error::new(
                    Code::BucketAlreadyOwnedByYou,
                    "The bucket is there already; there is nothing to create.",
                )
                .element("BucketName", self.bucket.name.clone()));
            }
            _ => Answer::whole(StatusCode::OK, "application/xml", ""),
        };
        Ok(answer.header(BUCKET_REGION, region))
    }

    /// A listing above the caller's folders: just the prefixes that lead to them.
    pub(super) fn answer_listing(&self, permit: &Permit<'_>, prefixes: &[String]) -> Answer {
        let query = &permit.request().query;
        let given = |name| query.get(name).filter(|value| !value.is_empty());
        let v2 = permit.request().operation == Operation::ListObjectsV2;
        let keys_max =
            given("max-keys").and_then(|number| number.parse().ok()).unwrap_or(KEYS_MAX).min(KEYS_MAX);
        let after = if v2 { given("start-after") } else { given("marker") };
        let token = given("continuation-token").filter(|_| v2);
        let from = token.or(after).unwrap_or_default();
        let left: Vec<String> = prefixes.iter().filter(|prefix| prefix.as_str() > from).cloned().collect();
        let page = left.get(..keys_max.min(left.len())).unwrap_or_default();
        let listing = xml::PrefixListing {
            bucket: &self.bucket.name,
            prefix: query.get("prefix").unwrap_or_default(),
            delimiter: query.get("delimiter").unwrap_or_default(),
            v2,
            url_encoded: query.get("encoding-type") == Some("url"),
            keys_max,
            after,
            token,
            prefixes: page,
            // S3 says no more of a page that was asked to be empty.
            truncated: keys_max > 0 && page.len() < left.len(),
        };
        Answer::xml(listing.to_xml())
    }
}
