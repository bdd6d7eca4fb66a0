//! RunningDigest digests, under the names that S3 gives them.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>.
//! CRCs and xxHashes are written big-endian, then base64, as all of S3's checksum headers are.

use std::hash::Hasher as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crc_fast::CrcAlgorithm;
use md5::Digest as _;
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

/// A checksum algorithm of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32 of zlib (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli, iSCSI).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5, beside the older `Content-MD5`.
    Md5,
    /// XXH64 with the seed 0.
    XxHash64,
    /// XXH3 of 64 bits with the seed 0.
    XxHash3,
    /// XXH3 of 128 bits with the seed 0.
    XxHash128,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::Md5,
        Self::XxHash64,
        Self::XxHash3,
        Self::XxHash128,
    ];

    /// Its name in `x-amz-sdk-checksum-algorithm` and in S3's XML.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Md5 => "MD5",
            Self::XxHash64 => "XXHASH64",
            Self::XxHash3 => "XXHASH3",
            Self::XxHash128 => "XXHASH128",
        }
    }

    /// The header or trailer that carries its value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Sha512 => "x-amz-checksum-sha512",
            Self::Md5 => "x-amz-checksum-md5",
            Self::XxHash64 => "x-amz-checksum-xxhash64",
            Self::XxHash3 => "x-amz-checksum-xxhash3",
            Self::XxHash128 => "x-amz-checksum-xxhash128",
        }
    }

    /// The algorithm whose value that header or trailer carries.
    pub(crate) fn of_header(header: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(header))
    }

    /// The length of a digest.
    fn digest_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme | Self::XxHash64 | Self::XxHash3 => 8,
            Self::Md5 | Self::XxHash128 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The length of a digest in base64.
    pub(super) fn base64_bytes(self) -> usize {
        self.digest_bytes().div_ceil(3).saturating_mul(4)
    }

    /// The digest that a header's value stands for; none where it is not base64 of the right length.
    pub(crate) fn parse(self, text: &str) -> Option<Vec<u8>> {
        let digest = STANDARD.decode(text).ok()?;
        (digest.len() == self.digest_bytes()).then_some(digest)
    }
}

/// A digest that is being computed.
pub struct RunningDigest(State);

enum State {
    Crc32(crc_fast::Digest),
    Crc64(crc_fast::Digest),
    Sha(aws_lc_rs::digest::Context),
    Md5(md5::Md5),
    XxHash64(XxHash64),
    XxHash3(Box<XxHash3_64>),
    XxHash128(Box<XxHash3_128>),
}

impl RunningDigest {
    /// Starts one of S3's checksums.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
        Self(match algorithm {
            ChecksumAlgorithm::Crc32 => State::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => State::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64Nvme => State::Crc64(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme)),
            ChecksumAlgorithm::Sha1 => State::Sha(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            ChecksumAlgorithm::Sha256 => State::Sha(Context::new(&SHA256)),
            ChecksumAlgorithm::Sha512 => State::Sha(Context::new(&SHA512)),
            ChecksumAlgorithm::Md5 => State::Md5(md5::Md5::new()),
            ChecksumAlgorithm::XxHash64 => State::XxHash64(XxHash64::with_seed(0)),
            ChecksumAlgorithm::XxHash3 => State::XxHash3(Box::new(XxHash3_64::new())),
            ChecksumAlgorithm::XxHash128 => State::XxHash128(Box::new(XxHash3_128::new())),
        })
    }

    /// Starts the MD5 of `Content-MD5`.
    pub(crate) fn md5() -> Self {
        Self(State::Md5(md5::Md5::new()))
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Crc32(digest) | State::Crc64(digest) => digest.update(data),
            State::Sha(context) => context.update(data),
            State::Md5(digest) => digest.update(data),
            State::XxHash64(hasher) => hasher.write(data),
            State::XxHash3(hasher) => hasher.write(data),
            State::XxHash128(hasher) => hasher.write(data),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            // The value of a 32-bit CRC is the lower half.
            State::Crc32(digest) => digest.finalize().to_be_bytes().into_iter().skip(4).collect(),
            State::Crc64(digest) => digest.finalize().to_be_bytes().to_vec(),
            State::Sha(context) => context.finish().as_ref().to_vec(),
            State::Md5(digest) => digest.finalize().to_vec(),
            State::XxHash64(hasher) => hasher.finish().to_be_bytes().to_vec(),
            State::XxHash3(hasher) => hasher.finish().to_be_bytes().to_vec(),
            State::XxHash128(hasher) => hasher.finish_128().to_be_bytes().to_vec(),
        }
    }
}

/// A digest as S3's headers have it.
pub fn to_base64(digest: &[u8]) -> String {
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::headers::CHECKSUM_ALGORITHMS;

    fn check(mut running: RunningDigest, expected: &str) {
        running.update(b"1234");
        running.update(b"");
        running.update(b"56789");
        assert_eq!(hex::encode(running.finish()), expected);
    }

    #[test]
    fn p6_published_check_values() {
        // "123456789" of https://reveng.sourceforge.io/crc-catalogue/all.htm and of the SHA and MD5 tools.
        check(RunningDigest::new(ChecksumAlgorithm::Crc32), "cbf43926");
        check(RunningDigest::new(ChecksumAlgorithm::Crc32c), "e3069283");
        check(RunningDigest::new(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        check(RunningDigest::new(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        check(
            RunningDigest::new(ChecksumAlgorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        );
        check(RunningDigest::md5(), "25f9e794323b453885f5181f1b624d0b");
        check(RunningDigest::new(ChecksumAlgorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        check(
            RunningDigest::new(ChecksumAlgorithm::Sha512),
            "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274a\
             d27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
        );
        // Of awscrt, which is what botocore computes them with.
        check(RunningDigest::new(ChecksumAlgorithm::XxHash64), "8cb841db40e6ae83");
        check(RunningDigest::new(ChecksumAlgorithm::XxHash3), "72dcb18b67a17dff");
        check(RunningDigest::new(ChecksumAlgorithm::XxHash128), "33119477ede5dcd5e9716427681d5860");
    }

    #[test]
    fn p6_xxhash_of_a_longer_body_however_it_is_split() {
        // Of awscrt as well: beyond 240 bytes the algorithm is another one.
        let data: Vec<u8> = (0..5000_u32).map(|at| (at % 251) as u8).collect();
        for (algorithm, expected) in [
            (ChecksumAlgorithm::XxHash64, "a6833d648fd6a332"),
            (ChecksumAlgorithm::XxHash3, "b418500fc42320ee"),
            (ChecksumAlgorithm::XxHash128, "b92ec02c39d33ce7b418500fc42320ee"),
        ] {
            for piece_bytes in [1, 7, 240, 1024, 5000] {
                let mut running = RunningDigest::new(algorithm);
                data.chunks(piece_bytes).for_each(|piece| running.update(piece));
                assert_eq!(hex::encode(running.finish()), expected, "{} {piece_bytes}", algorithm.name());
            }
        }
    }

    #[test]
    fn the_names_are_those_of_the_settings() {
        assert_eq!(ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name), CHECKSUM_ALGORITHMS);
    }

    #[test]
    fn headers_lead_back_to_their_algorithm() {
        for algorithm in ChecksumAlgorithm::ALL {
            assert_eq!(ChecksumAlgorithm::of_header(algorithm.header()), Some(algorithm));
            let digest = RunningDigest::new(algorithm).finish();
            assert_eq!(digest.len(), algorithm.digest_bytes());
            assert_eq!(to_base64(&digest).len(), algorithm.base64_bytes());
            assert_eq!(algorithm.parse(&to_base64(&digest)), Some(digest));
        }
        assert_eq!(ChecksumAlgorithm::of_header("x-amz-checksum-type"), None);
    }

    #[test]
    fn p6_a_value_of_another_length_or_alphabet_is_no_digest() {
        for text in ["", "AAAAAA", "AAAAAAA=", "AAAAAB==", "-_-_-w==", "AAAAAA==\n", "AAAAAAAAAAA="] {
            assert_eq!(ChecksumAlgorithm::Crc32.parse(text), None, "{text:?}");
        }
        assert_eq!(ChecksumAlgorithm::Crc32.parse("AAAAAA=="), Some(vec![0; 4]));
    }
}
