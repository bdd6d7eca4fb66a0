//! Questions about the bucket itself, which are answered here: ListBuckets, HeadBucket, GetBucketLocation and
//! CreateBucket of the one bucket (P33).

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    config::Bucket,
    error::{Code, Error, Result},
    exchange::Answer,
    policy::{BucketOperation, Permit},
    s3::xml,
};

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// The bucket is older than every client; S3's own answers need some date.
const BUCKET_CREATED: &str = "2025-01-01T00:00:00.000Z";

/// Answers a question about the bucket.
pub(super) fn answer(bucket: &Bucket, permit: &Permit<'_>, operation: BucketOperation) -> Result<Answer> {
    let region = HeaderValue::from_str(&bucket.region).map_err(Error::internal)?;
    let answer = match operation {
        BucketOperation::ListBuckets => {
            let query = &permit.request().query;
            let is_asked_for = query.get("prefix").is_none_or(|prefix| bucket.name.starts_with(prefix))
                && query.get("bucket-region").is_none_or(|region| region == bucket.region)
                && query.get("continuation-token").is_none_or(str::is_empty);
            let name = Some(bucket.name.as_str()).filter(|_| is_asked_for);
            Answer::xml(xml::list_buckets(permit.caller().owner.hotkey(), name, BUCKET_CREATED))
        }
        BucketOperation::GetBucketLocation => Answer::xml(xml::location(&bucket.region)),
        BucketOperation::CreateBucket => {
            return Err(Error::new(
                Code::BucketAlreadyOwnedByYou,
                "The bucket is there already; there is nothing to create.",
            )
            .element("BucketName", bucket.name.clone()));
        }
        BucketOperation::HeadBucket => Answer::whole(StatusCode::OK, "application/xml", ""),
    };
    Ok(answer.header(BUCKET_REGION, region))
}
