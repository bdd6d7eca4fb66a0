//! One file of the Hub becomes an object, streamed through this process. \[IO\]
//!
//! Invariants: the object comes to be only if the bytes have the hash that the Hub's list names; a wrong hash
//! leaves what stood there before; afterwards the store is asked what it has.

use crate::{
    client::{Bucket, ClientError},
    hub::{ContentHash, FileReader, Hub, HubError, HubFile},
    transfer::{
        object_writer::{Declared, ObjectWriter, Target, UNDECLARED_BYTES_MAX, WriteError, Written},
        progress::Progress,
    },
};

/// Why a file was not copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyError {
    /// It cannot be read.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What the Hub sent is not what its list names.
    #[error("what the Hub sent has another hash than its list of files names: {0}")]
    OtherContent(String),
    /// What stands there is not what was sent.
    #[error("what the server has afterwards is not what was sent: {0}; run the command again")]
    NotStored(&'static str),
}

impl From<ClientError> for CopyError {
    fn from(error: ClientError) -> Self {
        Self::Write(error.into())
    }
}

impl CopyError {
    /// Whether the Hub or the server is out of reach, which the next file will find as well.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Hub(error) => matches!(error, HubError::Unavailable { .. }),
            Self::Write(WriteError::Client(error)) => {
                matches!(error, ClientError::Unavailable(_) | ClientError::Session(_))
            }
            Self::Write(WriteError::OtherContent(_) | WriteError::NotStored(_))
            | Self::OtherContent(_)
            | Self::NotStored(_) => false,
        }
    }
}

/// Copies `file` of that commit to `key`, and goes on with what an earlier run has left there.
pub(crate) async fn copy(
    hub: &Hub,
    commit: &str,
    file: &HubFile,
    target: &Target,
    key: &str,
    progress: &Progress,
) -> Result<Written, CopyError> {
    let declared = Declared { size: file.size(), sha256: sha256_of(hub, commit, file).await? };
    let mut writer = ObjectWriter::begin(target, key, declared, &[]).await?;
    let mut reader = hub.read(commit, file);
    match pipe(&mut reader, &mut writer, progress).await {
        Ok(()) => {}
        // The parts that stand there are good, and the next run goes on from them.
        Err(error) if error.is_outage() => return Err(error),
        Err(error) => {
            writer.abort().await;
            return Err(error);
        }
    }
    if let Err(error) = reader.check() {
        writer.abort().await;
        return Err(CopyError::OtherContent(error));
    }
    // The writer holds the bytes against the sha256 that was declared.
    let written = writer.finish().await.map_err(|error| match error {
        WriteError::OtherContent(why) => CopyError::OtherContent(why),
        error => CopyError::Write(error),
    })?;
    prove(target.bucket(), key, file.size(), &written).await?;
    Ok(written)
}

/// The sha256 that the list names. A large file of Git, whose sha256 nobody knows, is read for it once more.
async fn sha256_of(hub: &Hub, commit: &str, file: &HubFile) -> Result<Option<[u8; 32]>, CopyError> {
    match file.hash() {
        ContentHash::Sha256(sha256) => Ok(Some(sha256)),
        ContentHash::GitBlob(_) if file.size() <= UNDECLARED_BYTES_MAX => Ok(None),
        ContentHash::GitBlob(_) => {
            let mut reader = hub.read(commit, file);
            while reader.next().await?.is_some() {}
            let fingerprints = reader.check().map_err(CopyError::OtherContent)?;
            Ok(fingerprints.map(|fingerprints| fingerprints.sha256))
        }
    }
}

async fn pipe(
    reader: &mut FileReader<'_>,
    writer: &mut ObjectWriter,
    progress: &Progress,
) -> Result<(), CopyError> {
    while let Some(bytes) = reader.next().await? {
        let length = bytes.len() as u64;
        writer.write(bytes).await?;
        progress.moved(length);
    }
    Ok(())
}

/// Asks the store what stands there now.
async fn prove(bucket: &Bucket, key: &str, size: u64, written: &Written) -> Result<(), CopyError> {
    let head = bucket.head(key).await.map_err(WriteError::from)?;
    let Some(head) = head else { return Err(CopyError::NotStored("nothing stands there")) };
    if head.size != size {
        Err(CopyError::NotStored("its size is another"))
    } else if head.sha256 != Some(written.sha256) {
        Err(CopyError::NotStored("it does not carry its sha256"))
    } else if !written.etag.is_empty() && head.etag != written.etag {
        Err(CopyError::NotStored("its ETag is another"))
    } else {
        Ok(())
    }
}
