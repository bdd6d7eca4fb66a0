//! What proves that bytes are an object's: checksums that the store keeps, its ETag where that is an MD5, and
//! the sha256 that the uploader wrote beside it. Pure.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>.
//! - All proofs that there are must hold. An ETag that differs counts only where it is all there is: with
//!   some ways of encryption it is a number without meaning.
//! - That a file here is still the object is said by what the store itself has computed, if it has computed
//!   anything: what the uploader wrote could be left standing beside other bytes. And it is said by a digest
//!   that nobody can aim at, so not by a CRC.

use std::collections::BTreeMap;

use crate::{
    body::digest::{ChecksumAlgorithm, RunningDigest},
    client::object::ObjectHead,
};

/// Parts of one object.
const PARTS_MAX: u64 = 10_000;

/// Where a proof comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The sha256 that the uploader wrote into the metadata.
    Uploader,
    /// A checksum of the whole object that the store keeps.
    Checksum(ChecksumAlgorithm),
    /// An ETag that is the MD5 of the object.
    Etag,
    /// An ETag that is the MD5 of the MD5s of its parts.
    PartsEtag,
}

impl Source {
    /// Its name in a report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uploader => "sha256",
            Self::Checksum(algorithm) => algorithm.name(),
            Self::Etag => "ETag",
            Self::PartsEtag => "ETag of the parts",
        }
    }

    /// Whether it is the store's, and of a digest that nobody can aim at.
    fn proves_same(self) -> bool {
        match self {
            Self::Uploader => false,
            Self::Etag | Self::PartsEtag => true,
            Self::Checksum(algorithm) => match algorithm {
                ChecksumAlgorithm::Sha1
                | ChecksumAlgorithm::Sha256
                | ChecksumAlgorithm::Sha512
                | ChecksumAlgorithm::Md5 => true,
                ChecksumAlgorithm::Crc32
                | ChecksumAlgorithm::Crc32c
                | ChecksumAlgorithm::Crc64Nvme
                | ChecksumAlgorithm::XxHash64
                | ChecksumAlgorithm::XxHash3
                | ChecksumAlgorithm::XxHash128 => false,
            },
        }
    }
}

/// The parts of an object that was put together, as its ETag counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartsEtag {
    md5: Vec<u8>,
    pub(crate) count: u64,
}

/// What an ETag can prove.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Etag {
    Md5(Vec<u8>),
    Parts(PartsEtag),
    Nothing,
}

impl Etag {
    fn parse(etag: &str) -> Self {
        let text = etag.trim().trim_matches('"');
        let md5 = |hex_digits: &str| hex::decode(hex_digits).ok().filter(|md5| md5.len() == 16);
        match text.split_once('-') {
            None => md5(text).map_or(Self::Nothing, Self::Md5),
            Some((digest, count)) => {
                let count = count.parse().ok().filter(|count| (1..=PARTS_MAX).contains(count));
                match (md5(digest), count) {
                    (Some(md5), Some(count)) => Self::Parts(PartsEtag { md5, count }),
                    _ => Self::Nothing,
                }
            }
        }
    }
}

/// All that proves an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proofs {
    whole: Vec<(Source, ChecksumAlgorithm, Vec<u8>)>,
    parts: Option<(PartsEtag, u64)>,
    /// Proved if the size of the parts were known.
    pub(crate) of_parts: Option<PartsEtag>,
}

impl Proofs {
    /// Of an ETag alone, as a list tells it.
    pub(crate) fn of_etag(etag: &str) -> Self {
        let mut proofs = Self::default();
        match Etag::parse(etag) {
            Etag::Md5(md5) => proofs.whole.push((Source::Etag, ChecksumAlgorithm::Md5, md5)),
            Etag::Parts(parts) => proofs.of_parts = Some(parts),
            Etag::Nothing => {}
        }
        proofs
    }

    /// Of the answer to a GET or a HEAD.
    pub(crate) fn of_head(head: &ObjectHead) -> Self {
        let mut proofs = if head.is_etag_opaque { Self::default() } else { Self::of_etag(&head.etag) };
        if let Some(sha256) = head.sha256 {
            proofs.whole.push((Source::Uploader, ChecksumAlgorithm::Sha256, sha256.to_vec()));
        }
        for (name, text) in &head.checksums {
            let algorithm = ChecksumAlgorithm::of_header(name);
            if let Some((algorithm, digest)) = algorithm.and_then(|kind| Some((kind, kind.parse(text)?))) {
                proofs.whole.push((Source::Checksum(algorithm), algorithm, digest));
            }
        }
        proofs
    }

    /// With the size that all parts but the last have; an object of `size` bytes has as many parts then as
    /// its ETag says, or that is not their size.
    #[must_use]
    pub(crate) fn with_parts(mut self, part_bytes: u64, size: u64) -> Self {
        if let Some(parts) = &self.of_parts
            && part_bytes > 0
            && size.div_ceil(part_bytes).max(1) == parts.count
        {
            self.parts = Some((parts.clone(), part_bytes));
        }
        self
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.parts.is_none()
    }

    /// Whether some of it says that a file here is still the object.
    pub(crate) fn can_prove_same(&self) -> bool {
        self.parts.is_some()
            || self.whole.iter().any(|(source, ..)| source.proves_same() || *source == Source::Uploader)
    }

    /// Computes what is compared with them.
    pub(crate) fn check(&self) -> Check<'_> {
        let mut digests = BTreeMap::new();
        for (_, algorithm, _) in &self.whole {
            digests.entry(algorithm.name()).or_insert_with(|| RunningDigest::new(*algorithm));
        }
        let parts = self.parts.as_ref().map(|(_, part_bytes)| RunningParts::new(*part_bytes));
        Check { proofs: self, digests, parts }
    }
}

/// The digests of bytes that come by.
pub(crate) struct Check<'a> {
    proofs: &'a Proofs,
    digests: BTreeMap<&'static str, RunningDigest>,
    parts: Option<RunningParts>,
}

impl Check<'_> {
    /// Takes in the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digests.values_mut().for_each(|digest| digest.update(bytes));
        if let Some(parts) = &mut self.parts {
            parts.update(bytes);
        }
    }

    /// What held of all.
    pub(crate) fn finish(self) -> Findings {
        let digests: BTreeMap<_, _> =
            self.digests.into_iter().map(|(name, digest)| (name, digest.finish())).collect();
        let mut findings = Findings::default();
        let mut add = |source, holds: bool| {
            if holds { findings.held.push(source) } else { findings.failed.push(source) }
        };
        for (source, algorithm, expected) in &self.proofs.whole {
            add(*source, digests.get(algorithm.name()) == Some(expected));
        }
        if let (Some(running), Some((expected, _))) = (self.parts, &self.proofs.parts) {
            let (md5, count) = running.finish();
            add(Source::PartsEtag, md5 == expected.md5 && count == expected.count);
        }
        findings
    }
}

/// The MD5 of the MD5s of parts of one size.
struct RunningParts {
    part_bytes: u64,
    left: u64,
    part: RunningDigest,
    all: RunningDigest,
    count: u64,
}

impl RunningParts {
    fn new(part_bytes: u64) -> Self {
        Self { part_bytes, left: part_bytes, part: RunningDigest::md5(), all: RunningDigest::md5(), count: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(length);
            self.part.update(now);
            self.left = self.left.saturating_sub(now.len() as u64);
            bytes = rest;
            if self.left == 0 {
                self.end_part();
            }
        }
    }

    fn end_part(&mut self) {
        let part = std::mem::replace(&mut self.part, RunningDigest::md5());
        self.all.update(&part.finish());
        self.count = self.count.saturating_add(1);
        self.left = self.part_bytes;
    }

    fn finish(mut self) -> (Vec<u8>, u64) {
        if self.left < self.part_bytes || self.count == 0 {
            self.end_part();
        }
        (self.all.finish(), self.count)
    }
}

/// Which proofs held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    held: Vec<Source>,
    failed: Vec<Source>,
}

/// Whether bytes are the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By these.
    Proved(Vec<Source>),
    /// There is nothing to compare with but the size.
    BySize,
    /// They are what the store keeps, by its own proof, and not what the uploader's metadata says. To read
    /// them again brings the same.
    FalseWord,
    /// They are not, by these.
    Wrong(Vec<Source>),
}

impl Findings {
    /// Whether the bytes are the object.
    pub(crate) fn verdict(self) -> Verdict {
        let is_etag = |source: &Source| matches!(source, Source::Etag | Source::PartsEtag);
        match (self.held.is_empty(), self.failed.is_empty()) {
            (true, true) => Verdict::BySize,
            (false, _) if self.failed.iter().all(is_etag) => Verdict::Proved(self.held),
            _ if self.failed == [Source::Uploader] && self.held.iter().any(|source| source.proves_same()) => {
                Verdict::FalseWord
            }
            _ => Verdict::Wrong(self.failed),
        }
    }

    /// Whether a file that was here before is the object still.
    pub(crate) fn is_same(&self) -> bool {
        let all = || self.held.iter().chain(&self.failed);
        let by_store = all().any(|source| source.proves_same());
        self.failed.is_empty()
            && self.held.iter().any(|source| source.proves_same() || !by_store && *source == Source::Uploader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::body::digest::to_base64;

    const DATA: &[u8] = b"a body of which everything is known";

    fn digest(algorithm: ChecksumAlgorithm, data: &[u8]) -> Vec<u8> {
        let mut digest = RunningDigest::new(algorithm);
        digest.update(data);
        digest.finish()
    }

    fn md5_etag(data: &[u8]) -> String {
        hex::encode(digest(ChecksumAlgorithm::Md5, data))
    }

    fn head(etag: &str, sha256: Option<&[u8]>, checksums: &[(&str, &str)]) -> ObjectHead {
        let checksum = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        ObjectHead {
            size: DATA.len() as u64,
            etag: etag.to_owned(),
            last_modified: None,
            sha256: sha256.map(|data| digest(ChecksumAlgorithm::Sha256, data).try_into().unwrap()),
            checksums: checksums.iter().map(checksum).collect(),
            is_etag_opaque: false,
        }
    }

    fn findings(proofs: &Proofs, data: &[u8]) -> Findings {
        let mut check = proofs.check();
        data.chunks(7).for_each(|piece| check.update(piece));
        check.finish()
    }

    fn verdict(head: &ObjectHead) -> Verdict {
        findings(&Proofs::of_head(head), DATA).verdict()
    }

    const OPAQUE: &str = "opaque";
    const CRC: &str = "x-amz-checksum-crc64nvme";

    fn crc(data: &[u8]) -> String {
        to_base64(&digest(ChecksumAlgorithm::Crc64Nvme, data))
    }

    #[test]
    fn each_proof_holds_for_its_bytes_and_for_no_others() {
        let other = &b"other"[..];
        let (right_crc, wrong_crc) = (crc(DATA), crc(other));
        let by_crc = Source::Checksum(ChecksumAlgorithm::Crc64Nvme);
        let wrong = |source| Verdict::Wrong(vec![source]);
        for (etag, sha256, checksums, expected) in [
            (md5_etag(DATA), None, vec![], Verdict::Proved(vec![Source::Etag])),
            (md5_etag(other), None, vec![], Verdict::Wrong(vec![Source::Etag])),
            (OPAQUE.to_owned(), None, vec![], Verdict::BySize),
            (OPAQUE.to_owned(), Some(DATA), vec![], Verdict::Proved(vec![Source::Uploader])),
            (OPAQUE.to_owned(), Some(other), vec![], Verdict::Wrong(vec![Source::Uploader])),
            (md5_etag(DATA), Some(other), vec![], Verdict::FalseWord),
            // A CRC can be aimed at.
            (OPAQUE.to_owned(), Some(other), vec![(CRC, right_crc.as_str())], wrong(Source::Uploader)),
            (OPAQUE.to_owned(), None, vec![(CRC, right_crc.as_str())], Verdict::Proved(vec![by_crc])),
            (OPAQUE.to_owned(), None, vec![(CRC, wrong_crc.as_str())], Verdict::Wrong(vec![by_crc])),
            // An ETag without meaning beside a proof that holds.
            (md5_etag(other), Some(DATA), vec![], Verdict::Proved(vec![Source::Uploader])),
        ] {
            assert_eq!(verdict(&head(&etag, sha256, &checksums)), expected, "{etag} {checksums:?}");
        }
    }

    #[test]
    fn what_is_no_proof_is_not_taken_for_one() {
        for etag in [
            "",
            "\"\"",
            "W/\"0cc175b9c0f1b6a831c399e269772661\"",
            "0cc175b9c0f1b6a831c399e2697726",
            "0cc175b9c0f1b6a831c399e269772661-0",
            "0cc175b9c0f1b6a831c399e269772661-2",
            "0cc175b9c0f1b6a831c399e269772661-x",
        ] {
            assert_eq!(verdict(&head(etag, None, &[])), Verdict::BySize, "{etag}");
        }
        for checksum in
            [("x-amz-checksum-crc32", "AAAAAA==-3"), ("x-amz-checksum-new", "AAAAAA=="), (CRC, "")]
        {
            assert_eq!(verdict(&head(OPAQUE, None, &[checksum])), Verdict::BySize, "{checksum:?}");
        }
        let encrypted = ObjectHead { is_etag_opaque: true, ..head(&md5_etag(b"x"), None, &[]) };
        assert_eq!(verdict(&encrypted), Verdict::BySize);
    }

    fn parts_etag(data: &[u8], part_bytes: usize) -> String {
        let parts: Vec<_> =
            data.chunks(part_bytes).map(|part| digest(ChecksumAlgorithm::Md5, part)).collect();
        format!("\"{}-{}\"", hex::encode(digest(ChecksumAlgorithm::Md5, &parts.concat())), parts.len())
    }

    #[test]
    fn an_etag_of_parts_proves_with_the_size_of_the_parts() {
        let size = DATA.len() as u64;
        for part_bytes in [1, 5, 7, 34, 35, 36] {
            let proofs = Proofs::of_etag(&parts_etag(DATA, part_bytes));
            assert!(proofs.is_empty() && !proofs.can_prove_same());
            let proofs = proofs.with_parts(part_bytes as u64, size);
            let held = findings(&proofs, DATA);
            assert!(held.is_same());
            assert_eq!(held.verdict(), Verdict::Proved(vec![Source::PartsEtag]));
            let other = [&DATA[1..], b"!"].concat();
            assert_eq!(findings(&proofs, &other).verdict(), Verdict::Wrong(vec![Source::PartsEtag]));
        }
        // Another size of parts makes another number of them, and is not tried.
        assert!(Proofs::of_etag(&parts_etag(DATA, 10)).with_parts(20, size).is_empty());
        assert!(Proofs::of_etag(&parts_etag(DATA, 10)).with_parts(0, size).is_empty());
    }

    #[test]
    fn a_file_is_the_same_by_the_stores_word_before_the_uploaders() {
        let same = |etag: &str, sha256: Option<&[u8]>, checksums: &[(&str, &str)]| {
            findings(&Proofs::of_head(&head(etag, sha256, checksums)), DATA).is_same()
        };
        assert!(same(&md5_etag(DATA), None, &[]));
        assert!(same(OPAQUE, Some(DATA), &[]));
        // New bytes under the old word.
        assert!(!same(&md5_etag(b"new"), Some(DATA), &[]));
        // A CRC can be aimed at.
        assert!(!same(OPAQUE, None, &[(CRC, &crc(DATA))]));
        assert!(!same(OPAQUE, None, &[]));
        assert!(!same(&md5_etag(b"new"), None, &[]));
    }

    proptest! {
        #[test]
        fn parts_are_counted_however_the_bytes_come(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            part_bytes in 1_usize..40,
            piece in 1_usize..50,
        ) {
            let mut running = RunningParts::new(part_bytes as u64);
            data.chunks(piece).for_each(|piece| running.update(piece));
            let (md5, count) = running.finish();
            if !data.is_empty() {
                prop_assert_eq!(format!("\"{}-{count}\"", hex::encode(md5)), parts_etag(&data, part_bytes));
            }
        }

        #[test]
        fn no_etag_panics(etag in any::<String>(), part_bytes in any::<u64>(), size in any::<u64>()) {
            let proofs = Proofs::of_etag(&etag).with_parts(part_bytes, size);
            prop_assert!(proofs.check().finish().failed.len() <= 1);
        }
    }
}
