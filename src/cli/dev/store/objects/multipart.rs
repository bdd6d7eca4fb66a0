//! Uploads in parts: s3s-fs keeps and joins the parts; which upload has which parts is the index's.

use std::{collections::BTreeMap, fs, path::PathBuf};

use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};

use super::{
    Objects, WriteCondition, demand_key, etag_of, internal, now, size_of, time_of, without_aws_chunked,
};
use crate::cli::dev::store::index::{Change, Entry, Part as StoredPart, Upload};

/// Every part but the last, as S3 has it.
const PART_BYTES_MIN: u64 = 5 << 20;

/// S3's bound on parts and on a page of them or of uploads.
const PARTS_MAX: i32 = 10_000;
const PAGE_MAX: i32 = 1000;

impl Objects {
    /// The upload of that id, for that very key.
    fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        self.demand_bucket(bucket)?;
        let index = self.index();
        let upload = index.upload(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        upload.cloned().ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// The place that s3s-fs gives a part.
    fn part_path(&self, upload: &str, number: i32) -> PathBuf {
        self.root.join(format!(".upload_id-{upload}.part-{number}"))
    }

    /// Replaces the key of a copy's source by its blob.
    pub(super) fn name_source(&self, source: &mut CopySource) -> S3Result<Entry> {
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
        self.demand_bucket(&input.bucket)?;
        demand_key(&input.key)?;
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
        demand_part_number(*number)?;
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
        demand_part_number(input.part_number)?;
        self.name_source(&mut input.copy_source)?;
        let (upload, number) = (input.upload_id.clone(), input.part_number);
        let mut answer = self.blobs.upload_part_copy(req).await?;
        let result = answer.output.copy_part_result.as_mut().ok_or_else(|| s3_error!(InternalError))?;
        let part = self.keep_part(upload, number, result.e_tag.clone())?;
        result.last_modified = Some(time_of(part.modified));
        Ok(answer)
    }

    fn keep_part(&self, upload: String, number: i32, etag: Option<ETag>) -> S3Result<StoredPart> {
        let size = fs::metadata(self.part_path(&upload, number)).map_err(internal)?.len();
        let etag = etag.ok_or_else(|| s3_error!(InternalError))?.into_value();
        let part = StoredPart { size, modified: now(), etag };
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
        let asked = input.multipart_upload.take().and_then(|asked| asked.parts).unwrap_or_default();
        let numbers = chosen_parts(&upload.parts, &asked)?;
        // From here on the upload is over, whatever becomes of it: s3s-fs uses the parts up.
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

    /// s3s-fs joins parts 1, 2, 3 alone. The n-th chosen part has a number of n or more, so no rename hits a part that
    /// is still to come.
    fn renumber(&self, upload: &str, numbers: &[i32]) -> S3Result<()> {
        for (wanted, number) in (1..).zip(numbers) {
            if wanted != *number {
                fs::rename(self.part_path(upload, *number), self.part_path(upload, wanted))
                    .map_err(internal)?;
            }
        }
        Ok(())
    }

    /// Parts that nobody chose.
    fn remove_parts(&self, upload: &str, parts: &BTreeMap<i32, StoredPart>) {
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

    pub(super) fn list_parts(&self, ask: ListPartsInput) -> S3Result<ListPartsOutput> {
        let upload = self.upload(&ask.bucket, &ask.key, &ask.upload_id)?;
        let marker = ask.part_number_marker.unwrap_or(0);
        let max = ask.max_parts.unwrap_or(PAGE_MAX).clamp(0, PAGE_MAX);
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
            bucket: Some(ask.bucket),
            key: Some(ask.key),
            upload_id: Some(ask.upload_id),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        })
    }

    pub(super) fn list_uploads(
        &self,
        ask: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        self.demand_bucket(&ask.bucket)?;
        let naming = super::service::Naming::new(ask.encoding_type.as_ref());
        let max = usize::try_from(ask.max_uploads.unwrap_or(PAGE_MAX).clamp(0, PAGE_MAX)).unwrap_or(0);
        let (key_marker, id_marker) =
            (ask.key_marker.clone().unwrap_or_default(), ask.upload_id_marker.clone().unwrap_or_default());
        let behind = |key: &str, id: &str| {
            key_marker.is_empty()
                || key > key_marker.as_str()
                || (key == key_marker && !id_marker.is_empty() && id > id_marker.as_str())
        };
        let index = self.index();
        let found = index.uploads(&ask.bucket, ask.prefix.as_deref().unwrap_or_default());
        let mut rest = found.into_iter().filter(|(id, upload)| behind(&upload.key, id)).peekable();
        let page: Vec<_> = rest.by_ref().take(max).collect();
        let last = page.last().filter(|_| rest.peek().is_some());
        let upload = |(id, upload): &(&str, &Upload)| MultipartUpload {
            initiated: Some(time_of(upload.initiated)),
            key: Some(naming.name(upload.key.clone())),
            upload_id: Some((*id).to_owned()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..MultipartUpload::default()
        };
        Ok(ListMultipartUploadsOutput {
            is_truncated: Some(last.is_some()),
            next_key_marker: last.map(|(_, upload)| naming.name(upload.key.clone())),
            next_upload_id_marker: last.map(|(id, _)| (*id).to_owned()),
            uploads: Some(page.iter().map(upload).collect()),
            bucket: Some(ask.bucket),
            encoding_type: ask.encoding_type,
            key_marker: ask.key_marker.map(|marker| naming.name(marker)),
            max_uploads: ask.max_uploads,
            prefix: ask.prefix.map(|prefix| naming.name(prefix)),
            upload_id_marker: ask.upload_id_marker,
            ..ListMultipartUploadsOutput::default()
        })
    }
}

fn demand_part_number(number: i32) -> S3Result<()> {
    if (1..=PARTS_MAX).contains(&number) {
        Ok(())
    } else {
        Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"))
    }
}

/// The numbers of the parts that make the object: in order, all there, with their ETags, and large enough.
fn chosen_parts(stored: &BTreeMap<i32, StoredPart>, asked: &[CompletedPart]) -> S3Result<Vec<i32>> {
    if asked.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut numbers: Vec<i32> = Vec::with_capacity(asked.len());
    for (left, part) in (0..asked.len()).rev().zip(asked) {
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
