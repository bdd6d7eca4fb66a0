//! S3 on s3s-fs, with what s3s-fs 0.14.1 lacks.
//!
//! s3s-fs keeps an object in a file whose path is its key. So `a` and `a/b` cannot both exist, a key of more
//! than 156 bytes leaves no room for the names of its side files, `dir/` is no object, and an upload with a
//! wrong checksum has already replaced the object. It lists without ETags, ignores `encoding-type`, reads the
//! whole bucket for each page, does not list uploads, ignores conditions of reads, and keeps the checksums of
//! an object that a multipart upload has replaced.
//!
//! Here s3s-fs keeps blobs only, each under a name of its own that is never used again; [`Index`] knows which
//! blob is which object. An object changes by one change of the index, once its blob is complete and checked.
//! So a reader gets the old object or the new one, and a failed upload changes nothing.

mod condition;
mod listing;
mod multipart;
mod operations;

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use s3s::{S3Result, dto::*, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use self::condition::{ReadCondition, WriteCondition};
pub(super) use self::operations::Operations;
use super::index::{Change, Index, ObjectEntry, journal_path};

/// S3's limit for a key.
const KEY_BYTES_MAX: usize = 1024;

/// Bytes of one read. With the 4 KiB of s3s-fs, a GET costs more than the proxy in front of it.
const READ_BYTES: usize = 128 * 1024;

/// The objects of one directory.
#[derive(Debug)]
pub(super) struct Objects {
    blobs: FileSystem,
    root: PathBuf,
    index: Mutex<Index>,
}

/// A new blob. It is removed on drop unless it became an object, so a failed upload leaves nothing.
struct NewBlob<'a> {
    objects: &'a Objects,
    bucket: String,
    name: String,
    kept: bool,
}

impl Drop for NewBlob<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.objects.remove_blob(&self.bucket, &self.name);
        }
    }
}

impl Objects {
    /// Opens the directory and removes blobs that belong to no object.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let root = dir.canonicalize()?;
        let blobs = FileSystem::new(&root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let index = Mutex::new(Index::open(&journal_path(&root))?);
        let objects = Self { blobs, root, index };
        objects.remove_orphans()?;
        Ok(objects)
    }

    fn remove_orphans(&self) -> io::Result<()> {
        for bucket in fs::read_dir(&self.root)? {
            let bucket = bucket?;
            if !bucket.file_type()?.is_dir() {
                continue;
            }
            let name = bucket.file_name().to_string_lossy().into_owned();
            let index = self.index();
            let known: HashSet<&str> = index.blobs(&name).collect();
            for blob in fs::read_dir(bucket.path())? {
                let blob = blob?.file_name().to_string_lossy().into_owned();
                if is_blob_name(&blob) && !known.contains(blob.as_str()) {
                    self.remove_blob(&name, &blob);
                }
            }
        }
        Ok(())
    }

    /// Creates a bucket, if it does not exist.
    pub(super) fn make_bucket(&self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(name))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if self.root.join(bucket).is_dir() { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<ObjectEntry> {
        self.check_bucket(bucket)?;
        self.index().object(bucket, key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn new_blob(&self, bucket: &str) -> S3Result<NewBlob<'_>> {
        let mut name = [0; 16];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| s3_error!(InternalError))?;
        Ok(NewBlob { objects: self, bucket: bucket.to_owned(), name: hex::encode(name), kept: false })
    }

    /// The file of a blob, as s3s-fs names it.
    fn blob_path(&self, bucket: &str, blob: &str) -> PathBuf {
        self.root.join(bucket).join(blob)
    }

    /// Removes a blob and its side files.
    fn remove_blob(&self, bucket: &str, blob: &str) {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let side_file = format!(".bucket-{}.object-{}", encode(bucket), encode(blob));
        // Some of them may not exist.
        let _ = fs::remove_file(self.blob_path(bucket, blob));
        let _ = fs::remove_file(self.root.join(format!("{side_file}.metadata.json")));
        let _ = fs::remove_file(self.root.join(format!("{side_file}.internal.json")));
    }

    /// Makes a complete blob the object `key`, if the present object meets `condition`.
    fn commit(
        &self,
        mut blob: NewBlob<'_>,
        key: &str,
        etag: String,
        condition: &WriteCondition,
    ) -> S3Result<ObjectEntry> {
        let size = fs::metadata(self.blob_path(&blob.bucket, &blob.name)).map_err(internal)?.len();
        let entry = ObjectEntry { blob: blob.name.clone(), size, modified: now(), etag };
        let replaced = {
            let mut index = self.index();
            condition.check(index.object(&blob.bucket, key))?;
            let (bucket, key) = (blob.bucket.clone(), key.to_owned());
            index.record(Change::Put { bucket, key, entry: entry.clone() }).map_err(internal)?
        };
        blob.kept = true;
        if let Some(replaced) = replaced {
            self.remove_blob(&blob.bucket, &replaced.blob);
        }
        Ok(entry)
    }

    fn delete(&self, bucket: &str, key: &str) -> S3Result<()> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let removed = {
            let mut index = self.index();
            if index.object(&bucket, &key).is_none() {
                return Ok(());
            }
            index.record(Change::Delete { bucket: bucket.clone(), key }).map_err(internal)?
        };
        if let Some(removed) = removed {
            self.remove_blob(&bucket, &removed.blob);
        }
        Ok(())
    }

    async fn read(
        &self,
        bucket: &str,
        entry: &ObjectEntry,
        start: u64,
        length: u64,
    ) -> S3Result<StreamingBlob> {
        let mut file = tokio::fs::File::open(self.blob_path(bucket, &entry.blob))
            .await
            .map_err(|_| s3_error!(NoSuchKey))?;
        file.seek(io::SeekFrom::Start(start)).await.map_err(internal)?;
        Ok(StreamingBlob::wrap(chunks(file, length)))
    }
}

/// The next `length` bytes of `file`.
fn chunks(file: tokio::fs::File, length: u64) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut buffer =
            BytesMut::with_capacity(usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES)));
        (&mut file).take(left).read_buf(&mut buffer).await?;
        let read = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((buffer.freeze(), (file, left.saturating_sub(read)))))
    })
}

fn is_blob_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn internal(error: io::Error) -> s3s::S3Error {
    s3_error!(error, InternalError)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time_of(seconds: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH))
}

fn size_of(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn etag_of(entry: &ObjectEntry) -> ETag {
    ETag::Strong(entry.etag.clone())
}

fn check_key(key: &str) -> S3Result<()> {
    if key.len() > KEY_BYTES_MAX { Err(s3_error!(KeyTooLongError)) } else { Ok(()) }
}

/// The content encoding without `aws-chunked`, which is of the transfer and not of the object.
fn without_aws_chunked(encoding: Option<String>) -> Option<String> {
    let kept: Vec<_> =
        encoding.as_deref()?.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}
