//! Whether what stands under a key is a file of the Hub. Pure, but for the reading of what nothing else
//! proves. \[IO\]
//!
//! Invariant: nothing is called equal without a hash that says so: that of the Hub's list, beside the sha256
//! with which the object was put, or beside that of the object's bytes.

use serde::Serialize;

use crate::{
    client::{
        Bucket, ClientError,
        object::{Condition, Sha256},
    },
    hub::{ContentHash, Fingerprints, Hasher, HubFile},
};

/// A small file of Git is named by a hash that no object carries, so it is read; a larger one on demand.
const READ_BYTES_MAX: u64 = 16 << 20;

/// How a file stands in both places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// The same content in both.
    Equal,
    /// Two contents.
    Different,
    /// It stands on the Hub alone.
    OnlyOnHub,
    /// It stands on the Subgate server alone.
    OnlyHere,
    /// It stands in both with the same size, and nothing proves that it is the same.
    Unknown,
}

/// What is known of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Known {
    /// Its bytes.
    pub(crate) size: u64,
    /// The sha256 that it carries.
    pub(crate) sha256: Option<Sha256>,
    /// The hashes of its bytes, where they were read.
    pub(crate) read: Option<Fingerprints>,
}

/// When the bytes of an object are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Where it is small and nothing else can prove it.
    Small,
    /// Always: what an object carries was written by whoever put it.
    All,
}

/// How `file` stands, by what is known of the object under its key.
pub(crate) fn standing(file: &HubFile, object: &Known) -> Standing {
    if file.size() != object.size {
        return Standing::Different;
    }
    let is_equal = match (object.read, object.sha256, file.hash()) {
        (Some(read), _, named) => read.are(&named),
        (None, Some(sha256), ContentHash::Sha256(named)) => sha256 == named,
        (None, _, ContentHash::GitBlob(_)) | (None, None, ContentHash::Sha256(_)) => {
            return Standing::Unknown;
        }
    };
    if is_equal { Standing::Equal } else { Standing::Different }
}

/// How `file` stands beside the object under `key`, which the list showed with `listed_size` bytes.
///
/// # Errors
/// Those of the calls.
pub(crate) async fn compare(
    bucket: &Bucket,
    file: &HubFile,
    key: &str,
    listed_size: Option<u64>,
    reading: Reading,
) -> Result<Standing, ClientError> {
    let Some(size) = listed_size else { return Ok(Standing::OnlyOnHub) };
    if size != file.size() {
        return Ok(Standing::Different);
    }
    let by_metadata = match (file.hash(), reading) {
        (ContentHash::Sha256(_), Reading::Small) => {
            let Some(head) = bucket.head(key).await? else { return Ok(Standing::OnlyOnHub) };
            standing(file, &Known { size: head.size, sha256: head.sha256, read: None })
        }
        // The metadata does not say Git's hash: a HEAD would not help.
        (ContentHash::GitBlob(_), _) | (ContentHash::Sha256(_), Reading::All) => Standing::Unknown,
    };
    let is_small = matches!(file.hash(), ContentHash::GitBlob(_)) && size <= READ_BYTES_MAX;
    match by_metadata {
        Standing::Unknown if is_small || reading == Reading::All => {
            let read = fingerprints(bucket, key, size).await?;
            Ok(read.map_or(Standing::Different, |read| {
                standing(file, &Known { size, sha256: None, read: Some(read) })
            }))
        }
        known => Ok(known),
    }
}

/// The hashes of the bytes under `key`; none where they are not as many as the list said.
async fn fingerprints(bucket: &Bucket, key: &str, size: u64) -> Result<Option<Fingerprints>, ClientError> {
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        let mut body = bucket.get(key, None, &Condition::None).await?;
        let (mut hasher, mut read) = (Hasher::new(size), 0_u64);
        loop {
            match body.next().await {
                Ok(Some(bytes)) => {
                    read = read.saturating_add(bytes.len() as u64);
                    hasher.update(&bytes);
                }
                Ok(None) => return Ok((read == size).then(|| hasher.finish())),
                // The line broke: from the beginning, for the hash begins there.
                Err(ClientError::Unavailable(_)) if tries < 4 => break,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(hash: ContentHash) -> HubFile {
        HubFile { path: "a".to_owned(), size: 6, hash }
    }

    #[test]
    fn nothing_is_equal_without_a_hash_that_says_so() {
        let hello = Hasher::of(b"hello\n");
        let lfs = file(ContentHash::Sha256(hello.sha256));
        let git = file(ContentHash::GitBlob(hello.git_blob));
        let bare = Known { size: 6, ..Known::default() };
        let told = Known { sha256: Some(hello.sha256), ..bare };
        let lie = Known { sha256: Some([0; 32]), ..bare };
        let read = Known { read: Some(hello), ..lie };
        let other = Known { read: Some(Hasher::of(b"hallo\n")), ..told };
        for (file, object, expected) in [
            (&lfs, bare, Standing::Unknown),
            (&lfs, told, Standing::Equal),
            (&lfs, lie, Standing::Different),
            (&git, told, Standing::Unknown),
            // The bytes count for more than what is said of them.
            (&lfs, read, Standing::Equal),
            (&git, read, Standing::Equal),
            (&lfs, other, Standing::Different),
            (&git, other, Standing::Different),
            (&lfs, Known { size: 7, ..told }, Standing::Different),
        ] {
            assert_eq!(standing(file, &object), expected, "{file:?} {object:?}");
        }
    }
}
