//! The bytes of a file, held or made when they are read, and the names that Git and LFS give them.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use bytes::Bytes;

/// Bytes that are read at once.
const PIECE_BYTES: u64 = 64 * 1024;

/// A file's bytes.
#[derive(Debug, Clone)]
pub enum Content {
    Held(Bytes),
    /// Not held anywhere: each byte follows from the seed and its place.
    Generated {
        seed: u64,
        bytes: u64,
    },
}

impl From<Vec<u8>> for Content {
    fn from(data: Vec<u8>) -> Self {
        Self::Held(data.into())
    }
}

impl Content {
    pub fn generated(seed: u64, bytes: u64) -> Self {
        Self::Generated { seed, bytes }
    }

    pub fn size(&self) -> u64 {
        match self {
            Self::Held(data) => data.len() as u64,
            Self::Generated { bytes, .. } => *bytes,
        }
    }

    /// The bytes from a place on, as many as are read at once, and none from `end` on.
    pub fn piece(&self, from: u64, end: u64) -> Bytes {
        let end = end.min(self.size()).min(from.saturating_add(PIECE_BYTES));
        if from >= end {
            return Bytes::new();
        }
        match self {
            Self::Held(data) => data.slice(from as usize..end as usize),
            Self::Generated { seed, .. } => {
                let words = (from / 8..end.div_ceil(8)).flat_map(|place| word(*seed, place).to_le_bytes());
                words.skip((from % 8) as usize).take((end - from) as usize).collect()
            }
        }
    }

    fn pieces(&self) -> impl Iterator<Item = Bytes> {
        (0..self.size()).step_by(PIECE_BYTES as usize).map(|from| self.piece(from, self.size()))
    }

    pub fn all(&self) -> Vec<u8> {
        self.pieces().flatten().collect()
    }

    /// The first bytes, by which it shows whether it is text.
    pub fn sample(&self) -> Bytes {
        self.piece(0, 512)
    }

    /// The name that LFS gives it.
    pub fn sha256(&self) -> String {
        let mut context = Context::new(&SHA256);
        self.pieces().for_each(|piece| context.update(&piece));
        hex::encode(context.finish())
    }

    /// The name that Git gives it as a blob.
    pub fn git_oid(&self) -> String {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(format!("blob {}\0", self.size()).as_bytes());
        self.pieces().for_each(|piece| context.update(&piece));
        hex::encode(context.finish())
    }
}

/// SplitMix64, at any place of its sequence.
fn word(seed: u64, place: u64) -> u64 {
    let mut z = (seed ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What stands in Git in the place of a file that LFS keeps.
pub fn pointer(sha256: &str, size: u64) -> Content {
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n");
    Content::from(text.into_bytes())
}

/// A name for what is no blob.
pub fn sha1_hex(text: &str) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(text.as_bytes());
    hex::encode(context.finish())
}
