//! The hashes by which a Hub names content: the sha256 of a file in LFS, Git's hash of a small one.
//!
//! Git's hash of a blob (<https://git-scm.com/book/en/v2/Git-Internals-Git-Objects>) is the sha1 of
//! `blob SIZE\0` and the content.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// The hash by which the Hub's list names a file's content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentHash {
    /// Of the content, as LFS has it.
    Sha256([u8; 32]),
    /// Of the content as a blob of Git.
    GitBlob([u8; 20]),
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hash) => write!(f, "sha256:{}", hex::encode(hash)),
            Self::GitBlob(hash) => write!(f, "git:{}", hex::encode(hash)),
        }
    }
}

/// Both hashes of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprints {
    /// The sha256 of the content.
    pub(crate) sha256: [u8; 32],
    /// Git's hash of it.
    pub(crate) git_blob: [u8; 20],
}

impl Fingerprints {
    /// Whether this content is the one that `named` names.
    pub(crate) fn are(&self, named: &ContentHash) -> bool {
        match named {
            ContentHash::Sha256(hash) => self.sha256 == *hash,
            ContentHash::GitBlob(hash) => self.git_blob == *hash,
        }
    }
}

/// Takes both hashes of a content of known size as it passes.
pub(crate) struct Hasher {
    sha256: Context,
    git_blob: Context,
}

impl Hasher {
    /// For content of `size` bytes: Git's hash begins with it.
    pub(crate) fn new(size: u64) -> Self {
        let mut git_blob = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        git_blob.update(format!("blob {size}\0").as_bytes());
        Self { sha256: Context::new(&SHA256), git_blob }
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.git_blob.update(bytes);
    }

    /// The hashes of what has passed.
    pub(crate) fn finish(self) -> Fingerprints {
        let (mut sha256, mut git_blob) = ([0; 32], [0; 20]);
        // The lengths are the algorithms' own.
        sha256.copy_from_slice(self.sha256.finish().as_ref());
        git_blob.copy_from_slice(self.git_blob.finish().as_ref());
        Fingerprints { sha256, git_blob }
    }

    /// The hashes of a content that is at hand.
    pub(crate) fn of(content: &[u8]) -> Fingerprints {
        let mut hasher = Self::new(u64::try_from(content.len()).unwrap_or(u64::MAX));
        hasher.update(content);
        hasher.finish()
    }
}

/// Reads a hash in hex.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hashes_are_gits_and_lfss() {
        // `git hash-object` of an empty file, and of "hello\n".
        let empty = Hasher::of(b"");
        assert_eq!(hex::encode(empty.git_blob), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(
            hex::encode(empty.sha256),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let hello = Hasher::of(b"hello\n");
        assert_eq!(hex::encode(hello.git_blob), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert!(hello.are(&ContentHash::GitBlob(hello.git_blob)));
        assert!(!hello.are(&ContentHash::GitBlob(empty.git_blob)));
        assert!(!hello.are(&ContentHash::Sha256(empty.sha256)));
    }

    #[test]
    fn a_hash_has_all_its_digits() {
        assert_eq!(parse_hex::<2>("00ff"), Some([0, 255]));
        for bad in ["", "00f", "00ff00", "zzzz", "0x00"] {
            assert_eq!(parse_hex::<2>(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_content_is_split(content: Vec<u8>, at: prop::sample::Index) {
            let (left, right) = content.split_at(at.index(content.len().max(1)).min(content.len()));
            let mut hasher = Hasher::new(content.len() as u64);
            hasher.update(left);
            hasher.update(right);
            prop_assert_eq!(hasher.finish(), Hasher::of(&content));
        }
    }
}
