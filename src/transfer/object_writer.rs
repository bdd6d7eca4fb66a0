//! Puts content whose size is known as one object. \[IO\]
//!
//! Below [`PART_BYTES`] it is one PUT, above it parts that leave while the next are read. The content comes
//! in order and is hashed here; the object comes to be at [`ObjectWriter::finish`] alone, and only if size
//! and sha256 are those that were declared. A writer that is dropped leaves its parts for a later run;
//! [`ObjectWriter::abort`] takes them away.
//!
//! Each PUT carries MD5 and sha256 of its bytes, which server and store check; and the ETag of the object is
//! that of the content, or what a HEAD says of it has to prove it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinSet, spawn_blocking},
};

use super::{
    fingerprint::Fingerprint,
    layout::{Layout, MARKER_NUMBER, PART_BYTES},
    marker::{self, Origin},
};
use crate::client::{
    Bucket, ClientError,
    object::{Condition, Md5, OpenUpload, Part, Piece, Sha256},
};

/// Content without a declared sha256 is put in one piece, so that its metadata can name it; so it has to fit
/// into memory.
pub(crate) const UNDECLARED_BYTES_MAX: u64 = 64 << 20;

/// Memory is counted in these.
const MEMORY_UNIT_BYTES: u64 = 1 << 20;

/// An upload of other content under the same key that is older than this is nobody's any more.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// A bucket, and the memory in which parts wait for their turn. Cheap to clone; one for a whole run.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    bucket: Bucket,
    memory: Arc<Semaphore>,
    memory_units: u32,
}

/// Content as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Bytes.
    pub(crate) size: u64,
    /// What the content must hash to. Without it, content may have [`UNDECLARED_BYTES_MAX`].
    pub(crate) sha256: Option<Sha256>,
}

/// An object that has come to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Without quotes.
    pub(crate) etag: String,
    /// Of the content.
    pub(crate) sha256: Sha256,
    /// Bytes that stood there from an earlier run.
    pub(crate) resumed_bytes: u64,
}

/// Why no object came to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// A call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The content is not what was declared; nothing is left of it.
    #[error("{0}")]
    OtherContent(String),
    /// What stands there is not what was sent.
    #[error("{0}")]
    NotStored(String),
}

/// Writes one object.
pub(crate) struct ObjectWriter {
    target: Target,
    key: Arc<str>,
    declared: Declared,
    way: Way,
    /// None while it is away being updated, which an error alone leaves it.
    sha256: Option<digest::Context>,
    taken_bytes: u64,
    filling: BytesMut,
    /// Of the bytes in `filling`.
    memory: Option<OwnedSemaphorePermit>,
}

enum Way {
    Whole,
    Parts(Parts),
}

struct Parts {
    layout: Layout,
    upload: Arc<str>,
    /// Whether this writer has begun it.
    is_own: bool,
    /// What stands there from an earlier run, by number.
    standing: BTreeMap<u32, Part>,
    next: u32,
    under_way: JoinSet<Result<Sent, ClientError>>,
    sent: BTreeMap<u32, Sent>,
}

/// A part that stands there.
struct Sent {
    number: u32,
    etag: String,
    md5: Md5,
    resumed_bytes: u64,
}

impl Target {
    /// With room for the parts of `parallel` calls, and as many that wait.
    pub(crate) fn new(bucket: Bucket, parallel: usize) -> Self {
        let units = (PART_BYTES / MEMORY_UNIT_BYTES).saturating_mul(parallel.max(1) as u64).saturating_mul(2);
        let memory_units = u32::try_from(units).unwrap_or(u32::MAX);
        let permits = usize::try_from(memory_units).unwrap_or(Semaphore::MAX_PERMITS);
        Self { bucket, memory: Arc::new(Semaphore::new(permits)), memory_units }
    }

    /// The bucket.
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Room for so many bytes. What is larger than all room there is gets all of it.
    async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ClientError> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.clamp(1, self.memory_units);
        let room = Arc::clone(&self.memory).acquire_many_owned(units).await;
        room.map_err(|error| ClientError::Call(error.to_string()))
    }
}

impl ObjectWriter {
    /// Begins to write under `key`. An open upload under this key with the declared content is gone on with.
    /// `open` are those that are known to stand open; where none of them is under this key, the server is
    /// asked for it alone, for a list of MinIO's shows the uploads of one whole key and no others.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) async fn begin(
        target: &Target,
        key: &str,
        declared: Declared,
        open: &[OpenUpload],
    ) -> Result<Self, WriteError> {
        let way = match declared.sha256 {
            Some(sha256) if declared.size >= PART_BYTES => {
                Way::Parts(Parts::begin(target.bucket(), key, declared.size, &sha256, open).await?)
            }
            None if declared.size > UNDECLARED_BYTES_MAX => {
                let what = format!("{key}: its sha256 must be known before it is sent");
                return Err(ClientError::Call(what).into());
            }
            Some(_) | None => Way::Whole,
        };
        Ok(Self {
            target: target.clone(),
            key: key.into(),
            declared,
            way,
            sha256: Some(digest::Context::new(&digest::SHA256)),
            taken_bytes: 0,
            filling: BytesMut::new(),
            memory: None,
        })
    }

    /// The next bytes of the content. This waits while there is no room for them.
    ///
    /// # Errors
    /// Those of calls that have ended by now, and `OtherContent` for bytes beyond the declared size. After an
    /// error there is only [`Self::abort`], or to drop the writer.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let piece_bytes = match &self.way {
                Way::Whole => self.declared.size,
                Way::Parts(parts) => parts.layout.part_bytes(),
            };
            let left = self.declared.size.saturating_sub(self.taken_bytes);
            if left == 0 {
                return Err(self.too_long());
            }
            if self.memory.is_none() {
                let room = piece_bytes.min(left);
                self.memory = Some(self.target.room(room).await?);
                self.filling.reserve(usize::try_from(room).unwrap_or(0));
            }
            let wanted = piece_bytes.saturating_sub(self.filling.len() as u64).min(left);
            let taken = bytes.split_to(bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX)));
            self.filling.extend_from_slice(&taken);
            self.taken_bytes = self.taken_bytes.saturating_add(taken.len() as u64);
            let is_full = self.filling.len() as u64 >= piece_bytes;
            if is_full && matches!(self.way, Way::Parts(_)) {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// All content has been handed over: makes the object, if it is what was declared, and takes away what is
    /// there of it if it is not.
    ///
    /// # Errors
    /// Those of the calls; `OtherContent`; `NotStored` where the store says another ETag than it must.
    pub(crate) async fn finish(mut self) -> Result<Written, WriteError> {
        if matches!(self.way, Way::Parts(_)) && !self.filling.is_empty() {
            self.send_part().await?;
        }
        let filled = self.filling.split().freeze();
        let (sha256, piece) = self.digest(filled).await?;
        let sha256: Sha256 = sha256.finish().as_ref().try_into().unwrap_or_default();
        let fault = if self.taken_bytes != self.declared.size {
            let (taken, size) = (self.taken_bytes, self.declared.size);
            Some(format!("the content ended after {taken} bytes of {size}"))
        } else if self.declared.sha256.is_some_and(|declared| declared != sha256) {
            Some("the content has another sha256 than was declared".to_owned())
        } else {
            None
        };
        if let Some(fault) = fault {
            self.abort().await;
            return Err(WriteError::OtherContent(fault));
        }
        match self.way {
            Way::Whole => {
                let bucket = self.target.bucket();
                let etag = bucket.put(&self.key, &piece, Some(&sha256), &Condition::None).await?;
                let content = Fingerprint::of_whole(self.declared.size, sha256, piece.md5());
                prove(bucket, &self.key, &content, &etag).await?;
                Ok(Written { etag, sha256, resumed_bytes: 0 })
            }
            Way::Parts(parts) => {
                parts.complete(self.target.bucket(), &self.key, self.declared.size, sha256).await
            }
        }
    }

    /// Takes away what this writer put there of an object that is not to come to be. An upload that stood
    /// there before stays: another run may be at it, and the next one goes on with it. A failure leaves the
    /// parts to the clean-up of the bucket.
    pub(crate) async fn abort(self) {
        let Way::Parts(mut parts) = self.way else { return };
        parts.under_way.shutdown().await;
        if !parts.is_own {
            return;
        }
        if let Err(error) = self.target.bucket().abort_upload(&self.key, &parts.upload).await {
            tracing::warn!(key = &*self.key, %error, "the parts of an upload stay");
        }
    }

    fn too_long(&self) -> WriteError {
        WriteError::OtherContent(format!("the content has more than {} bytes", self.declared.size))
    }

    /// Digests bytes on a thread where that keeps nobody waiting.
    async fn digest(&mut self, bytes: Bytes) -> Result<(digest::Context, Piece), WriteError> {
        let fault = || ClientError::Call("the writer has failed before".to_owned());
        let mut sha256 = self.sha256.take().ok_or_else(fault)?;
        let digesting = spawn_blocking(move || {
            sha256.update(&bytes);
            (sha256, Piece::of(bytes))
        });
        Ok(digesting.await.map_err(|error| ClientError::Call(error.to_string()))?)
    }

    /// Sends what is filled as the next part, unless it stands there.
    async fn send_part(&mut self) -> Result<(), WriteError> {
        let filled = self.filling.split().freeze();
        let (sha256, piece) = self.digest(filled).await?;
        self.sha256 = Some(sha256);
        let memory = self.memory.take();
        let (bucket, key) = (self.target.bucket().clone(), Arc::clone(&self.key));
        let Way::Parts(parts) = &mut self.way else { return Ok(()) };
        while let Some(ended) = parts.under_way.try_join_next() {
            parts.take(ended)?;
        }
        let number = parts.next;
        parts.next = number.saturating_add(1);
        let (upload, md5) = (Arc::clone(&parts.upload), piece.md5());
        let standing = parts.standing.remove(&number);
        if let Some(part) = standing.filter(|part| part.size == piece.len() && part.etag == hex::encode(md5))
        {
            let sent = Sent { number, etag: part.etag, md5, resumed_bytes: part.size };
            parts.sent.insert(number, sent);
            return Ok(());
        }
        parts.under_way.spawn(async move {
            let etag = bucket.upload_part(&key, &upload, number, &piece).await?;
            drop(memory);
            Ok(Sent { number, etag, md5, resumed_bytes: 0 })
        });
        Ok(())
    }
}

impl Parts {
    async fn begin(
        bucket: &Bucket,
        key: &str,
        size: u64,
        sha256: &Sha256,
        open: &[OpenUpload],
    ) -> Result<Self, WriteError> {
        let marker = Piece::of(marker::content(sha256).into());
        let marker_md5 = hex::encode(marker.md5());
        let mut of_key: Vec<OpenUpload> = open.iter().filter(|upload| upload.key == key).cloned().collect();
        if of_key.is_empty() {
            of_key = match bucket.list_uploads(key).await {
                Ok(uploads) => uploads,
                // A store without this list: there is nothing to go on with.
                Err(ClientError::Refused(refusal)) => {
                    tracing::warn!(key, %refusal, "open uploads cannot be found, so none is gone on with");
                    Vec::new()
                }
                Err(error) => return Err(error.into()),
            };
            of_key.retain(|upload| upload.key == key);
        }
        let mut found: Option<(String, Vec<Part>)> = None;
        for upload in of_key {
            let parts = match bucket.list_parts(key, &upload.id).await {
                Ok(parts) => parts,
                // Over since the list was made.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            match marker::origin(&parts, &marker_md5) {
                Origin::SameContent => {
                    if found.as_ref().is_none_or(|(_, best)| best.len() < parts.len()) {
                        found = Some((upload.id.clone(), parts));
                    }
                }
                Origin::OtherContent if is_stale(upload.initiated, Timestamp::now()) => {
                    if let Err(error) = bucket.abort_upload(key, &upload.id).await {
                        tracing::warn!(key, %error, "an upload of earlier content stays");
                    }
                }
                Origin::OtherContent | Origin::Unknown => {}
            }
        }
        let is_own = found.is_none();
        let (upload, standing) = match found {
            Some(found) => found,
            None => {
                let upload = bucket.create_upload(key, Some(sha256)).await?;
                if let Err(error) = bucket.upload_part(key, &upload, MARKER_NUMBER, &marker).await {
                    // Without its marker nobody knows whose it is. Of a server that is gone nothing is asked.
                    if matches!(error, ClientError::Refused(_)) {
                        let _ = bucket.abort_upload(key, &upload).await;
                    }
                    return Err(error.into());
                }
                (upload, Vec::new())
            }
        };
        Ok(Self {
            layout: Layout::of(size),
            upload: upload.into(),
            is_own,
            standing: standing.into_iter().map(|part| (part.number, part)).collect(),
            next: 1,
            under_way: JoinSet::new(),
            sent: BTreeMap::new(),
        })
    }

    fn take(
        &mut self,
        ended: Result<Result<Sent, ClientError>, tokio::task::JoinError>,
    ) -> Result<(), WriteError> {
        let sent = ended.map_err(|error| ClientError::Call(error.to_string()))??;
        self.sent.insert(sent.number, sent);
        Ok(())
    }

    async fn complete(
        mut self,
        bucket: &Bucket,
        key: &str,
        size: u64,
        sha256: Sha256,
    ) -> Result<Written, WriteError> {
        while let Some(ended) = self.under_way.join_next().await {
            self.take(ended)?;
        }
        let md5s: Vec<Md5> = self.sent.values().map(|sent| sent.md5).collect();
        let named: Vec<(u32, String)> =
            self.sent.values().map(|sent| (sent.number, sent.etag.clone())).collect();
        let resumed_bytes = self.sent.values().map(|sent| sent.resumed_bytes).sum();
        let etag = match bucket.complete_upload(key, &self.upload, &named).await {
            Ok(Some(etag)) => etag,
            // An answer without an ETag, or an upload that is over: an answer may have been lost, or another
            // run was quicker. What stands there says which.
            Ok(None) => self.standing_etag(bucket, key, size, &sha256).await?,
            Err(error) if error.is_not_found() => self.standing_etag(bucket, key, size, &sha256).await?,
            Err(error) => return Err(error.into()),
        };
        prove(bucket, key, &Fingerprint::of_parts(size, sha256, md5s), &etag).await?;
        Ok(Written { etag, sha256, resumed_bytes })
    }

    async fn standing_etag(
        &self,
        bucket: &Bucket,
        key: &str,
        size: u64,
        sha256: &Sha256,
    ) -> Result<String, WriteError> {
        let head = bucket.head(key).await?;
        let head = head.filter(|head| head.size == size && head.sha256.as_ref() == Some(sha256));
        head.map(|head| head.etag).ok_or_else(|| {
            WriteError::NotStored(
                "the upload is over, and its object does not stand there: run it again".into(),
            )
        })
    }
}

/// That the object which came to be with this ETag has that content. The ETag of most stores says so; of
/// another one, a HEAD has to.
async fn prove(bucket: &Bucket, key: &str, content: &Fingerprint, etag: &str) -> Result<(), WriteError> {
    if content.has_etag(etag) {
        return Ok(());
    }
    let head = bucket.head(key).await?;
    if head.is_some_and(|head| head.etag == etag && content.is_of(&head)) {
        return Ok(());
    }
    Err(WriteError::NotStored(format!(
        "it was sent, but the object there, with the ETag {etag}, is not proven to be it: run it again, and \
         tell the server's operator if that does not help"
    )))
}

/// Whether an upload that began then is nobody's any more.
fn is_stale(initiated: Option<Timestamp>, now: Timestamp) -> bool {
    let age = initiated.and_then(|initiated| Duration::try_from(now.duration_since(initiated)).ok());
    age.is_some_and(|age| age > STALE_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_uploads_are_nobodys() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert!(is_stale(at(1_000_000 - 3601), now));
        for fresh in [None, at(1_000_000 - 3599), at(1_000_001)] {
            assert!(!is_stale(fresh, now), "{fresh:?}");
        }
    }
}
