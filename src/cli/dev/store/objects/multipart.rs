//! Multipart uploads: s3s-fs keeps and joins the parts; the index knows which upload has which parts.

use std::{collections::BTreeMap, fs, path::PathBuf};

use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Objects, WriteCondition, check_key, etag_of, internal, now, size_of, time_of, without_aws_chunked,
};
use crate::cli::dev::store::index::{Change, ObjectEntry, PartEntry, UploadEntry};

/// S3's limit for every part but the last.
const PART_BYTES_MIN: u64 = 5 << 20;

/// S3's limit for the number of a part.
const PART_NUMBER_MAX: i32 = 10_000;

/// S3's limit for a page of parts or of uploads.
const PAGE_ITEMS_MAX: i32 = 1000;

impl Objects {
    /// The upload with that id, if it is one of that key.
    fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<UploadEntry> {
        self.check_bucket(bucket)?;
        let index = self.index();
        let upload = index.upload(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.cloned().ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// The file of a part, as s3s-fs names it.
    fn part_path(&self, upload: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// Replaces the key of a copy's source by the name of its blob.
    pub(super) fn resolve_copy_source(&self, source: &mut CopySource) -> S3Result<ObjectEntry> {
        let CopySource::Bucket { bucket, key, .. } = source else { return Err(s3_error!(NotImplemented)) };
        let entry = self.object(bucket, key)?;
        *key = entry.blob.clone().into();
        Ok(entry)
    }

    pub(super) async fn begin_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &mut req.input;
        self.check_bucket(&input.bucket)?;
        check_key(&input.key)?;
        input.content_encoding = without_aws_chunked(input.content_encoding.take());
        let bucket = input.bucket.clone();
        let mut blob = self.new_blob(&bucket)?;
        let key = std::mem::replace(&mut input.key, blob.name.clone());
        let mut answer = self.blobs.create_multipart_upload(req).await?;
        let upload = answer.output.upload_id.clone().ok_or_else(|| s3_error!(InternalError))?;
        answer.output.key = Some(key.clone());
        let begin = Change::Begin { upload, bucket, key, blob: blob.name.clone(), initiated: now() };
        self.index().record(begin).map_err(internal)?;
        blob.kept = true;
        Ok(answer)
    }

    pub(super) async fn put_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { bucket, key, upload_id, part_number: number, .. } = &req.input;
        self.upload(bucket, key, upload_id)?;
        check_part_number(*number)?;
        let (upload, number) = (upload_id.clone(), *number);
        let answer = self.blobs.upload_part(req).await?;
        self.keep_part(upload, number, answer.output.e_tag.clone())?;
        Ok(answer)
    }

    pub(super) async fn copy_part(
        &self,
        mut req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = &mut req.input;
        self.upload(&input.bucket, &input.key, &input.upload_id)?;
        check_part_number(input.part_number)?;
        self.resolve_copy_source(&mut input.copy_source)?;
        let (upload, number) = (input.upload_id.clone(), input.part_number);
        let mut answer = self.blobs.upload_part_copy(req).await?;
        let result = answer.output.copy_part_result.as_mut().ok_or_else(|| s3_error!(InternalError))?;
        let part = self.keep_part(upload, number, result.e_tag.clone())?;
        result.last_modified = Some(time_of(part.modified));
        Ok(answer)
    }

    fn keep_part(&self, upload: String, number: i32, etag: Option<ETag>) -> S3Result<PartEntry> {
        let size = fs::metadata(self.part_path(&upload, number)).map_err(internal)?.len();
        let etag = etag.ok_or_else(|| s3_error!(InternalError))?.into_value();
        let part = PartEntry { size, modified: now(), etag };
        self.index().record(Change::Part { upload, number, part: part.clone() }).map_err(internal)?;
        Ok(part)
    }

    pub(super) async fn complete_upload(
        &self,
        mut req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = &mut req.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let condition =
            WriteCondition { if_match: input.if_match.take(), if_none_match: input.if_none_match.take() };
        condition.check(self.index().object(&input.bucket, &input.key))?;
        let requested = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();
        let numbers = chosen_parts(&upload.parts, &requested)?;
        // From here on the upload has ended, even if this fails: s3s-fs moves its parts.
        let id = input.upload_id.clone();
        self.index().record(Change::End { upload: id.clone() }).map_err(internal)?;
        self.renumber(&id, &numbers)?;
        let parts = (1..).take(numbers.len());
        let parts = parts
            .map(|number| CompletedPart { part_number: Some(number), ..CompletedPart::default() })
            .collect();
        input.multipart_upload = Some(CompletedMultipartUpload { parts: Some(parts) });
        let mut blob = self.new_blob(&input.bucket)?;
        blob.name.clone_from(&upload.blob);
        input.key.clone_from(&upload.blob);
        let answer = self.blobs.complete_multipart_upload(req).await?.output;
        let answer = match answer.future {
            Some(future) => future.await?,
            None => answer,
        };
        let etag = answer.e_tag.ok_or_else(|| s3_error!(InternalError))?.into_value();
        let entry = self.commit(blob, &upload.key, etag, &condition)?;
        self.remove_parts(&id, &upload.parts);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(upload.bucket),
            key: Some(upload.key),
            e_tag: Some(etag_of(&entry)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    /// Renames the chosen parts to 1, 2, 3 …, which is all that s3s-fs joins. The n-th chosen part has a
    /// number of at least n, so no rename overwrites a part that is still to be renamed.
    fn renumber(&self, upload: &str, numbers: &[i32]) -> S3Result<()> {
        for (wanted, number) in (1..).zip(numbers) {
            if wanted != *number {
                fs::rename(self.part_path(upload, *number), self.part_path(upload, wanted))
                    .map_err(internal)?;
            }
        }
        Ok(())
    }

    /// Removes parts that were not chosen.
    fn remove_parts(&self, upload: &str, parts: &BTreeMap<i32, PartEntry>) {
        for number in parts.keys() {
            let _ = fs::remove_file(self.part_path(upload, *number));
        }
    }

    pub(super) async fn abort_upload(
        &self,
        mut req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = &mut req.input;
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        input.key.clone_from(&upload.blob);
        self.index().record(Change::End { upload: input.upload_id.clone() }).map_err(internal)?;
        self.blobs.abort_multipart_upload(req).await
    }

    pub(super) fn list_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let upload = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let max = input.max_parts.unwrap_or(PAGE_ITEMS_MAX).clamp(0, PAGE_ITEMS_MAX);
        let mut rest = upload.parts.iter().filter(|(number, _)| **number > marker).peekable();
        let page = rest.by_ref().take(usize::try_from(max).unwrap_or(0)).map(|(number, part)| Part {
            e_tag: Some(ETag::Strong(part.etag.clone())),
            last_modified: Some(time_of(part.modified)),
            part_number: Some(*number),
            size: Some(size_of(part.size)),
            ..Part::default()
        });
        let page: Vec<_> = page.collect();
        let truncated = rest.peek().is_some();
        Ok(ListPartsOutput {
            is_truncated: Some(truncated),
            next_part_number_marker: page.last().filter(|_| truncated).and_then(|part| part.part_number),
            parts: Some(page),
            part_number_marker: Some(marker),
            max_parts: Some(max),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        })
    }

    pub(super) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        self.check_bucket(&input.bucket)?;
        let encoding = super::listing::NameEncoding::new(input.encoding_type.as_ref());
        let max = usize::try_from(input.max_uploads.unwrap_or(PAGE_ITEMS_MAX).clamp(0, PAGE_ITEMS_MAX))
            .unwrap_or(0);
        let (key_marker, id_marker) = (
            input.key_marker.clone().unwrap_or_default(),
            input.upload_id_marker.clone().unwrap_or_default(),
        );
        let behind = |key: &str, id: &str| {
            key_marker.is_empty()
                || key > key_marker.as_str()
                || (key == key_marker && !id_marker.is_empty() && id > id_marker.as_str())
        };
        let index = self.index();
        let found = index.uploads(&input.bucket, input.prefix.as_deref().unwrap_or_default());
        let mut rest = found.into_iter().filter(|(id, upload)| behind(&upload.key, id)).peekable();
        let page: Vec<_> = rest.by_ref().take(max).collect();
        let last = page.last().filter(|_| rest.peek().is_some());
        let upload = |(id, upload): &(&str, &UploadEntry)| MultipartUpload {
            initiated: Some(time_of(upload.initiated)),
            key: Some(encoding.name(upload.key.clone())),
            upload_id: Some((*id).to_owned()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        };
        Ok(ListMultipartUploadsOutput {
            is_truncated: Some(last.is_some()),
            next_key_marker: last.map(|(_, upload)| encoding.name(upload.key.clone())),
            next_upload_id_marker: last.map(|(id, _)| (*id).to_owned()),
            uploads: Some(page.iter().map(upload).collect()),
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            key_marker: input.key_marker.map(|marker| encoding.name(marker)),
            max_uploads: input.max_uploads,
            prefix: input.prefix.map(|prefix| encoding.name(prefix)),
            upload_id_marker: input.upload_id_marker,
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        Ok(())
    } else {
        Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
    }
}

/// The numbers of the requested parts, which must be in order, exist, have these ETags and be large enough.
fn chosen_parts(stored: &BTreeMap<i32, PartEntry>, requested: &[CompletedPart]) -> S3Result<Vec<i32>> {
    if requested.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut numbers: Vec<i32> = Vec::with_capacity(requested.len());
    for (left, part) in (0..requested.len()).rev().zip(requested) {
        let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
        if numbers.last().is_some_and(|last| *last >= number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let found = stored.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
        if part.e_tag.as_ref().is_some_and(|etag| etag.value() != found.etag) {
            return Err(s3_error!(InvalidPart));
        }
        if left > 0 && found.size < PART_BYTES_MIN {
            return Err(s3_error!(EntityTooSmall));
        }
        numbers.push(number);
    }
    Ok(numbers)
}
