//! What is said of objects in calls and answers.

use std::fmt;

use ::http::{HeaderMap, HeaderValue};
use aws_lc_rs::digest;
use bytes::Bytes;
use hyper::body::Incoming;
use jiff::Timestamp;
use md5::Digest as _;

use super::{error::ClientError, http, throttle::OpenCall};
use crate::s3::xml::bare_etag;

/// The header of the metadata that every object of ours carries: the sha256 of its content, in hex.
pub(crate) const SHA256_METADATA: &str = "x-amz-meta-sha256";

/// A sha256.
pub(crate) type Sha256 = [u8; 32];

/// An MD5.
pub(crate) type Md5 = [u8; 16];

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `scheme://host[:port]`, checked by whoever made it.
    pub(crate) base_url: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
}

/// The body of one call, in memory, with its digests: both go along, so that neither this line nor that
/// between server and store can change a byte unseen.
#[derive(Clone)]
pub(crate) struct Piece {
    bytes: Bytes,
    md5: Md5,
    sha256: Sha256,
}

/// Its size alone: the content is its owner's.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes)", self.bytes.len())
    }
}

impl Piece {
    /// Digests `bytes`: some milliseconds for a part, so not on a thread that others wait for.
    pub(crate) fn of(bytes: Bytes) -> Self {
        let sha256 = digest::digest(&digest::SHA256, &bytes).as_ref().try_into().unwrap_or_default();
        Self { md5: md5::Md5::digest(&bytes).into(), sha256, bytes }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many they are.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Their MD5.
    pub(crate) fn md5(&self) -> Md5 {
        self.md5
    }

    /// Their sha256.
    pub(crate) fn sha256(&self) -> Sha256 {
        self.sha256
    }
}

/// What has to be true of the object that stands there, for a call to be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Condition {
    /// Nothing.
    #[default]
    None,
    /// It has this ETag.
    Is(String),
}

/// A part of an object's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first byte.
    pub(crate) start: u64,
    /// How many; at least one.
    pub(crate) length: u64,
}

impl Range {
    /// The value of the header.
    pub(crate) fn header(self) -> String {
        let last = self.start.saturating_add(self.length.max(1)).saturating_sub(1);
        format!("bytes={}-{last}", self.start)
    }
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) size: u64,
    /// Without its quotes.
    pub(crate) etag: String,
    pub(crate) last_modified: Option<Timestamp>,
}

/// An object as a HEAD, or the head of a GET, shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectHead {
    /// Of the whole object, also where a range of it was asked for.
    pub(crate) size: u64,
    /// Without its quotes.
    pub(crate) etag: String,
    /// As the server writes it.
    pub(crate) last_modified: Option<String>,
    /// What whoever put the object says of its content, where it is a sha256.
    pub(crate) sha256: Option<Sha256>,
    /// The checksum that the store keeps of the whole object, in base64, by the name of its header.
    pub(crate) checksums: Vec<(String, String)>,
    /// Whether the ETag is a number without meaning, because the store encrypts with a key of its operator's.
    pub(crate) is_etag_opaque: bool,
}

impl ObjectHead {
    /// Reads the head of an answer.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let whole = |range: &str| range.rsplit_once('/').and_then(|(_, size)| size.parse().ok());
        let size = match text("content-range") {
            Some(range) => whole(range)?,
            None => text("content-length")?.parse().ok()?,
        };
        let is_whole = text("x-amz-checksum-type").is_none_or(|kind| kind == "FULL_OBJECT");
        let checksums = headers.iter().filter(|(name, _)| {
            let algorithm = name.as_str().strip_prefix("x-amz-checksum-");
            is_whole && algorithm.is_some_and(|algorithm| !matches!(algorithm, "type" | "mode"))
        });
        let checksum = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
        Some(Self {
            size,
            etag: bare_etag(text("etag")?).to_owned(),
            last_modified: text("last-modified").map(str::to_owned),
            sha256: text(SHA256_METADATA).and_then(read_sha256),
            is_etag_opaque: text("x-amz-server-side-encryption")
                .is_some_and(|how| how.starts_with("aws:kms")),
            checksums: checksums
                .filter_map(|(name, value)| Some((name.as_str().to_owned(), checksum(value)?)))
                .collect(),
        })
    }
}

/// A sha256 in hex, as the metadata has it.
pub(crate) fn read_sha256(text: &str) -> Option<Sha256> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text.trim(), &mut digest).ok()?;
    Some(digest)
}

/// The body of a GET. It holds one of the open calls, so whoever reads it makes no other call before its end.
pub(crate) struct ObjectBody {
    pub(super) head: ObjectHead,
    pub(super) body: Incoming,
    pub(super) _call: OpenCall,
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBody").field("head", &self.head).finish_non_exhaustive()
    }
}

impl ObjectBody {
    /// What the answer says of the object.
    pub(crate) fn head(&self) -> &ObjectHead {
        &self.head
    }

    /// The next bytes; none at the end, which is the end that the answer declared.
    ///
    /// # Errors
    /// `Unavailable` where the connection breaks or falls silent. What was read so far counts: a GET of the
    /// rest, with the same ETag as its condition, goes on from there.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        Ok(http::next_bytes(&mut self.body).await?)
    }
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenUpload {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) initiated: Option<Timestamp>,
}

/// A part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) size: u64,
    /// Without its quotes.
    pub(crate) etag: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&'static str, &str)]) -> Option<ObjectHead> {
        let pairs = pairs.iter().map(|(name, value)| {
            (::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        ObjectHead::of(&pairs.collect())
    }

    #[test]
    fn a_range_is_as_long_as_it_says() {
        assert_eq!(Range { start: 0, length: 1 }.header(), "bytes=0-0");
        assert_eq!(Range { start: 5, length: 10 }.header(), "bytes=5-14");
    }

    #[test]
    fn the_size_is_that_of_the_whole_object() {
        let whole = head(&[("content-length", "7"), ("etag", "\"a\"")]).unwrap();
        let part = head(&[
            ("content-length", "2"),
            ("content-range", "bytes 1-2/7"),
            ("etag", "\"a\""),
            (SHA256_METADATA, &"ab".repeat(32)),
        ]);
        let part = part.unwrap();
        assert_eq!((whole.size, part.size), (7, 7));
        assert_eq!((whole.sha256, part.sha256), (None, Some([0xab; 32])));
        assert_eq!(whole.etag, "a");
        for none in [
            &[("etag", "a")][..],
            &[("content-length", "7")],
            &[("content-length", "7"), ("content-range", "bytes 0-1/*"), ("etag", "a")],
        ] {
            assert_eq!(head(none), None);
        }
    }

    #[test]
    fn only_checksums_of_the_whole_object_are_told() {
        let base = [("content-length", "7"), ("etag", "a"), ("x-amz-checksum-sha256", "eA==")];
        assert_eq!(head(&base).unwrap().checksums, [("x-amz-checksum-sha256".to_owned(), "eA==".to_owned())]);
        let composite = [&base[..], &[("x-amz-checksum-type", "COMPOSITE")]].concat();
        assert!(head(&composite).unwrap().checksums.is_empty());
    }

    #[test]
    fn a_piece_has_its_digests() {
        let piece = Piece::of(Bytes::from_static(b"abc"));
        assert_eq!(hex::encode(piece.md5()), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            hex::encode(piece.sha256()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(format!("{piece:?}"), "Piece(3 bytes)");
    }
}
