//! One file: compared with what stands there, sent, and proven. \[IO\]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{
    local_file::{OpenFile, ReadError},
    plan::Job,
};
use crate::{
    client::{ClientError, object::Listed},
    transfer::{
        fingerprint::{Fingerprint, Hasher},
        layout::PART_BYTES,
        object_writer::{Declared, ObjectWriter, Target, WriteError},
        progress::Progress,
        report::{Outcome, Row},
    },
};

/// So much is read at once.
const STEP_BYTES: u64 = 1 << 20;

/// What the jobs of one run share.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) target: Target,
    pub(super) progress: Progress,
    pub(super) is_dry_run: bool,
    /// Set by the first job that finds the server gone: the others would find the same, each in its time.
    pub(super) has_given_up: Arc<AtomicBool>,
}

/// What became of a job.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) row: Row,
    /// The ETag of what stands under the key, where that is the file.
    pub(super) etag: Option<String>,
    /// Its sha256, once it was read as a whole.
    pub(super) sha256: Option<[u8; 32]>,
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Write(String),
}

impl From<WriteError> for SendError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Client(error) => Self::Client(error),
            // It was hashed before, and is something else by now.
            WriteError::OtherContent(_) => Self::Read(ReadError::Changed),
            WriteError::NotStored(what) => Self::Write(what),
        }
    }
}

/// Runs what blocks on a thread where that keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, SendError> {
    match spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(ClientError::Call(error.to_string()).into()),
    }
}

impl Sender {
    /// Does one job; `listed` is what stands under its key.
    pub(super) async fn send(self, job: Job, listed: Option<Listed>) -> Done {
        let (mut moved, mut sha256) = (0, None);
        let result = self.try_send(&job, listed, &mut moved, &mut sha256).await;
        self.progress.moved(job.file.stamp.size.saturating_sub(moved));
        let done = match result {
            Ok((outcome, etag, detail)) => Done { row: job.row(outcome, detail), etag, sha256 },
            Err(error) => {
                if let SendError::Client(ClientError::Unavailable(_) | ClientError::Session(_)) = &error {
                    self.has_given_up.store(true, Ordering::Relaxed);
                }
                Done { row: job.row(Outcome::Failed, error.to_string()), etag: None, sha256: None }
            }
        };
        self.progress.file(&done.row);
        done
    }

    async fn try_send(
        &self,
        job: &Job,
        listed: Option<Listed>,
        moved: &mut u64,
        sha256: &mut Option<[u8; 32]>,
    ) -> Result<(Outcome, Option<String>, String), SendError> {
        let file = Arc::clone(&job.file);
        let size = file.stamp.size;
        let open = blocking(move || file.open()).await?;
        // Other sizes need no reading to be told apart.
        let listed = listed.filter(|listed| listed.size == size);
        if self.is_dry_run && listed.is_none() {
            return Ok((Outcome::WouldSend, None, String::new()));
        }
        let etag = listed.as_ref().map(|listed| listed.etag.as_str());
        let (fingerprint, whole) = read_through(&open, size, etag).await?;
        *sha256 = Some(fingerprint.sha256);
        if let Some(listed) = listed {
            let is_same = fingerprint.has_etag(&listed.etag)
                || match self.target.bucket().head(&job.key).await? {
                    Some(head) => head.etag == listed.etag && fingerprint.is_of(&head),
                    None => false,
                };
            if is_same {
                return Ok((Outcome::Same, Some(listed.etag), String::new()));
            }
        }
        if self.is_dry_run {
            return Ok((Outcome::WouldSend, None, String::new()));
        }
        let declared = Declared { size, sha256: Some(fingerprint.sha256) };
        let mut writer = ObjectWriter::begin(&self.target, &job.key, declared, &[]).await?;
        let sending = async {
            match whole {
                Some(bytes) => writer.write(bytes).await?,
                None => {
                    let file = open.clone();
                    blocking(move || file.rewind()).await?;
                    loop {
                        let file = open.clone();
                        let bytes = blocking(move || file.read(STEP_BYTES)).await?;
                        if bytes.is_empty() {
                            break;
                        }
                        let length = bytes.len() as u64;
                        writer.write(bytes).await?;
                        *moved = moved.saturating_add(length);
                        self.progress.moved(length);
                    }
                }
            }
            blocking(move || open.check()).await
        };
        match sending.await {
            Ok(()) => {
                let written = writer.finish().await?;
                let detail = match written.resumed_bytes {
                    0 => String::new(),
                    bytes => format!("{bytes} bytes stood there from an earlier run"),
                };
                Ok((Outcome::Sent, Some(written.etag), detail))
            }
            // What was sent is of no use to anybody.
            Err(error @ (SendError::Read(_) | SendError::Write(_))) => {
                writer.abort().await;
                Err(error)
            }
            // The parts stay for the next run.
            Err(error @ SendError::Client(_)) => Err(error),
        }
    }
}

/// Reads a file from its first byte to its last; gives what it is known by, and if it is small its bytes.
async fn read_through(
    open: &OpenFile,
    size: u64,
    listed_etag: Option<&str>,
) -> Result<(Fingerprint, Option<Bytes>), SendError> {
    let mut hasher = Hasher::new(size, listed_etag);
    let mut whole = None;
    // One byte more than there should be, to see whether there is.
    let step = if size < PART_BYTES { size.saturating_add(1) } else { STEP_BYTES };
    loop {
        let file = open.clone();
        let (hashed, bytes) = blocking(move || {
            let bytes = file.read(step)?;
            hasher.update(&bytes);
            Ok((hasher, bytes))
        })
        .await?;
        hasher = hashed;
        if bytes.is_empty() {
            break;
        }
        if size < PART_BYTES && whole.is_none() {
            whole = Some(bytes);
        }
    }
    let file = open.clone();
    blocking(move || file.check()).await?;
    let fingerprint = hasher.finish();
    if fingerprint.size != size {
        return Err(ReadError::Changed.into());
    }
    let whole = if size < PART_BYTES { Some(whole.unwrap_or_default()) } else { None };
    Ok((fingerprint, whole))
}
