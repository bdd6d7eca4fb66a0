//! S3's operations as s3s calls them.

use std::sync::Arc;

use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Objects, ReadCondition, WriteCondition, check_key, etag_of,
    listing::{NameEncoding, PAGE_NAMES_MAX, name_of_token, start_after, token_of},
    size_of, time_of, without_aws_chunked,
};
use crate::cli::dev::store::index::PageStart;

/// The implementation of s3s's trait.
#[derive(Debug, Clone)]
pub(in crate::cli::dev::store) struct Operations(Arc<Objects>);

impl Operations {
    /// The operations on these objects.
    pub(in crate::cli::dev::store) fn new(objects: Arc<Objects>) -> Self {
        Self(objects)
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        if self.0.check_bucket(&req.input.bucket).is_ok() {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        self.0.blobs.create_bucket(req).await
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        if !self.0.index().is_empty(&req.input.bucket) {
            return Err(s3_error!(BucketNotEmpty));
        }
        self.0.blobs.delete_bucket(req).await
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.blobs.head_bucket(req).await
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.0.blobs.get_bucket_location(req).await
    }

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        self.0.blobs.list_buckets(req).await
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut req.input;
        self.0.check_bucket(&input.bucket)?;
        check_key(&input.key)?;
        let condition =
            WriteCondition { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
        condition.check(self.0.index().object(&input.bucket, &input.key))?;
        input.content_encoding = without_aws_chunked(input.content_encoding.take());
        let blob = self.0.new_blob(&input.bucket)?;
        let key = std::mem::replace(&mut input.key, blob.name.clone());
        let answer = self.0.blobs.put_object(req).await?;
        let etag = answer.output.e_tag.clone().ok_or_else(|| s3_error!(InternalError))?.into_value();
        self.0.commit(blob, &key, etag, &condition)?;
        Ok(answer)
    }

    async fn copy_object(
        &self,
        mut req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = &mut req.input;
        self.0.check_bucket(&input.bucket)?;
        check_key(&input.key)?;
        self.0.resolve_copy_source(&mut input.copy_source)?;
        input.content_encoding = without_aws_chunked(input.content_encoding.take());
        let blob = self.0.new_blob(&input.bucket)?;
        let key = std::mem::replace(&mut input.key, blob.name.clone());
        let mut answer = self.0.blobs.copy_object(req).await?;
        let result = answer.output.copy_object_result.as_mut().ok_or_else(|| s3_error!(InternalError))?;
        let etag = result.e_tag.clone().ok_or_else(|| s3_error!(InternalError))?.into_value();
        let entry = self.0.commit(blob, &key, etag, &WriteCondition::default())?;
        result.last_modified = Some(time_of(entry.modified));
        Ok(answer)
    }

    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &mut req.input;
        let entry = self.0.object(&input.bucket, &input.key)?;
        let condition = ReadCondition {
            if_match: input.if_match.take(),
            if_none_match: input.if_none_match.take(),
            if_modified_since: input.if_modified_since.take(),
            if_unmodified_since: input.if_unmodified_since.take(),
        };
        condition.check(&entry)?;
        let range = input.range.map(|range| range.check(entry.size)).transpose()?;
        // s3s-fs cannot read the last 10 bytes of 5.
        input.range =
            range.as_ref().map(|range| Range::Int { first: range.start, last: range.end.checked_sub(1) });
        input.key.clone_from(&entry.blob);
        let bucket = input.bucket.clone();
        let headers = ResponseHeaders::take(input);
        let mut answer = self.0.blobs.get_object(req).await?;
        let (start, end) = range.map_or((0, entry.size), |range| (range.start, range.end));
        answer.output.body = Some(self.0.read(&bucket, &entry, start, end.saturating_sub(start)).await?);
        answer.output.last_modified = Some(time_of(entry.modified));
        answer.output.accept_ranges = Some("bytes".to_owned());
        headers.put(&mut answer.output);
        Ok(answer)
    }

    async fn head_object(
        &self,
        mut req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &mut req.input;
        let entry = self.0.object(&input.bucket, &input.key)?;
        let condition = ReadCondition {
            if_match: input.if_match.take(),
            if_none_match: input.if_none_match.take(),
            if_modified_since: input.if_modified_since.take(),
            if_unmodified_since: input.if_unmodified_since.take(),
        };
        condition.check(&entry)?;
        input.key.clone_from(&entry.blob);
        let mut answer = self.0.blobs.head_object(req).await?;
        answer.output.last_modified = Some(time_of(entry.modified));
        answer.output.accept_ranges = Some("bytes".to_owned());
        Ok(answer)
    }

    async fn get_object_attributes(
        &self,
        req: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let wanted = req.input.object_attributes.clone();
        // Clients send one header with commas, which s3s takes for one attribute.
        let wants = |name: &str| {
            wanted.iter().any(|list| list.as_str().split(',').any(|attribute| attribute.trim() == name))
        };
        let entry = self.0.object(&req.input.bucket, &req.input.key)?;
        let (bucket, key) = (req.input.bucket.clone(), entry.blob.clone());
        let head = req.map_input(|_| HeadObjectInput { bucket, key, ..HeadObjectInput::default() });
        let head = self.0.blobs.head_object(head).await?.output;
        let parts = entry.etag.split_once('-').and_then(|(_, parts)| parts.parse().ok());
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum: wants(ObjectAttributes::CHECKSUM).then_some(Checksum {
                checksum_crc32: head.checksum_crc32,
                checksum_crc32c: head.checksum_crc32c,
                checksum_crc64nvme: head.checksum_crc64nvme,
                checksum_sha1: head.checksum_sha1,
                checksum_sha256: head.checksum_sha256,
                ..Checksum::default()
            }),
            e_tag: wants(ObjectAttributes::ETAG).then(|| etag_of(&entry)),
            last_modified: Some(time_of(entry.modified)),
            object_parts: parts.filter(|_| wants(ObjectAttributes::OBJECT_PARTS)).map(|parts| {
                GetObjectAttributesParts {
                    total_parts_count: Some(parts),
                    ..GetObjectAttributesParts::default()
                }
            }),
            object_size: wants(ObjectAttributes::OBJECT_SIZE).then(|| size_of(entry.size)),
            storage_class: wants(ObjectAttributes::STORAGE_CLASS)
                .then(|| StorageClass::from_static(StorageClass::STANDARD)),
            ..GetObjectAttributesOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.check_bucket(&req.input.bucket)?;
        self.0.delete(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        self.0.check_bucket(&bucket)?;
        let mut deleted = Vec::new();
        for object in delete.objects {
            self.0.delete(&bucket, &object.key)?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        let deleted = (!delete.quiet.unwrap_or(false)).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let marker = req.input.marker.clone().filter(|marker| !marker.is_empty());
        let input = ListObjectsV2Input::from(req.input);
        let start = marker
            .clone()
            .map_or(PageStart::Beginning, |marker| start_after(marker, input.delimiter.as_deref()));
        let page = self.0.list(&input, &start)?;
        let encoding = NameEncoding::new(input.encoding_type.as_ref());
        Ok(S3Response::new(ListObjectsOutput {
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next.map(|next| encoding.name(next)),
            contents: Some(encoding.contents(page.objects)),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            delimiter: input.delimiter.map(|delimiter| encoding.name(delimiter)),
            encoding_type: input.encoding_type,
            marker: Some(encoding.name(marker.unwrap_or_default())),
            max_keys: Some(input.max_keys.unwrap_or(PAGE_NAMES_MAX)),
            name: Some(input.bucket),
            prefix: Some(encoding.name(input.prefix.unwrap_or_default())),
            ..ListObjectsOutput::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let start = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => start_after(name_of_token(token)?, input.delimiter.as_deref()),
            (None, Some(name)) if !name.is_empty() => PageStart::After(name.clone()),
            (None, _) => PageStart::Beginning,
        };
        let page = self.0.list(&input, &start)?;
        let encoding = NameEncoding::new(input.encoding_type.as_ref());
        let count = page.objects.len().saturating_add(page.prefixes.len());
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some(i32::try_from(count).unwrap_or(PAGE_NAMES_MAX)),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_deref().map(token_of),
            contents: Some(encoding.contents(page.objects)),
            common_prefixes: Some(encoding.prefixes(page.prefixes)),
            continuation_token: input.continuation_token,
            delimiter: input.delimiter.map(|delimiter| encoding.name(delimiter)),
            encoding_type: input.encoding_type,
            max_keys: Some(input.max_keys.unwrap_or(PAGE_NAMES_MAX)),
            name: Some(input.bucket),
            prefix: Some(encoding.name(input.prefix.unwrap_or_default())),
            start_after: input.start_after.map(|name| encoding.name(name)),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.0.begin_upload(req).await
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.0.put_part(req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.0.copy_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.0.complete_upload(req).await
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.0.abort_upload(req).await
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.0.list_parts(req.input).map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.0.list_uploads(req.input).map(S3Response::new)
    }
}

/// The headers of the answer that a GET chooses in its query; s3s-fs ignores them.
struct ResponseHeaders {
    cache_control: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_type: Option<String>,
}

impl ResponseHeaders {
    fn take(input: &mut GetObjectInput) -> Self {
        Self {
            cache_control: input.response_cache_control.take(),
            content_disposition: input.response_content_disposition.take(),
            content_encoding: input.response_content_encoding.take(),
            content_language: input.response_content_language.take(),
            content_type: input.response_content_type.take(),
        }
    }

    fn put(self, output: &mut GetObjectOutput) {
        output.cache_control = self.cache_control.or(output.cache_control.take());
        output.content_disposition = self.content_disposition.or(output.content_disposition.take());
        output.content_encoding = self.content_encoding.or(output.content_encoding.take());
        output.content_language = self.content_language.or(output.content_language.take());
        output.content_type = self.content_type.or(output.content_type.take());
    }
}
