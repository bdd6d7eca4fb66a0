//! What content is known by: its size, its sha256, and the ETags that a store gives it. Pure.
//!
//! S3's ETag is the MD5 of content that was put in one piece, and for parts the MD5 of their MD5s with their
//! number behind it: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>. Stores that encrypt
//! with keys of others write something else; such an ETag decides nothing, and never says "the same".

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::Digest as _;

use super::layout::{Layout, PART_BYTES};
use crate::client::object::{Md5, ObjectHead, Sha256};

/// How an ETag is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EtagForm {
    /// The MD5 of the whole.
    Whole,
    /// The MD5 of so many MD5s.
    Parts(u64),
    /// Neither.
    Other,
}

impl EtagForm {
    /// The form of an ETag without quotes.
    pub(crate) fn of(etag: &str) -> Self {
        let is_md5 = |text: &str| {
            text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match etag.split_once('-') {
            None if is_md5(etag) => Self::Whole,
            Some((md5, parts)) if is_md5(md5) => match parts.parse() {
                Ok(parts) if parts > 0 && parts < 1 << 20 => Self::Parts(parts),
                Ok(_) | Err(_) => Self::Other,
            },
            Some(_) | None => Self::Other,
        }
    }
}

/// The ETag of an object that was put in parts with these MD5s.
fn etag_of_parts(parts: &[Md5]) -> String {
    format!("{}-{}", hex::encode(md5::Md5::digest(parts.concat())), parts.len())
}

/// What content is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Bytes.
    pub(crate) size: u64,
    /// Of the whole.
    pub(crate) sha256: Sha256,
    /// The MD5s of the parts of our own layout.
    pub(crate) parts: Vec<Md5>,
    /// The ETags that were computed.
    etags: Vec<String>,
}

impl Fingerprint {
    /// Of content that was put in one piece.
    pub(crate) fn of_whole(size: u64, sha256: Sha256, md5: Md5) -> Self {
        Self { size, sha256, parts: vec![md5], etags: vec![hex::encode(md5)] }
    }

    /// Of content that was put in parts with these MD5s.
    pub(crate) fn of_parts(size: u64, sha256: Sha256, parts: Vec<Md5>) -> Self {
        Self { size, sha256, etags: vec![etag_of_parts(&parts)], parts }
    }

    /// Whether that ETag is one of this content. What a no is worth, [`Self::decides`] says.
    pub(crate) fn has_etag(&self, etag: &str) -> bool {
        self.etags.iter().any(|own| own == etag)
    }

    /// Whether an ETag of the form of that one was computed, so that another one is that of other content;
    /// unless the store writes something else in that form.
    fn decides(&self, etag: &str) -> bool {
        let form = EtagForm::of(etag);
        form != EtagForm::Other && self.etags.iter().any(|own| EtagForm::of(own) == form)
    }

    /// Whether an object with this head has this content, as far as that can be proven.
    pub(crate) fn is_of(&self, head: &ObjectHead) -> bool {
        if head.size != self.size {
            return false;
        }
        let own = BASE64_STANDARD.encode(self.sha256);
        // One of parts has their number behind a hyphen, and says nothing of the whole.
        let is_whole =
            |(name, value): &&(String, String)| name == "x-amz-checksum-sha256" && !value.contains('-');
        let kept = head.checksums.iter().find(is_whole);
        if let Some((_, checksum)) = kept {
            return *checksum == own;
        }
        if self.has_etag(&head.etag) {
            return true;
        }
        // Whoever put it has said so; where the ETag says otherwise, that is not to be believed.
        let etag_decides = self.decides(&head.etag) && !head.is_etag_opaque;
        !etag_decides && head.sha256 == Some(self.sha256)
    }
}

/// Takes in content piece by piece.
pub(crate) struct Hasher {
    size: u64,
    sha256: digest::Context,
    whole: Option<md5::Md5>,
    own: Option<PartHasher>,
    of_others: Option<PartHasher>,
}

/// The MD5s of parts of one size.
struct PartHasher {
    part_bytes: u64,
    left_bytes: u64,
    running: md5::Md5,
    parts: Vec<Md5>,
}

impl PartHasher {
    fn new(part_bytes: u64) -> Self {
        Self { part_bytes, left_bytes: part_bytes, running: md5::Md5::new(), parts: Vec::new() }
    }

    fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let length = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(data.len());
            let (now, later) = data.split_at(length);
            self.running.update(now);
            self.left_bytes = self.left_bytes.saturating_sub(length as u64);
            if self.left_bytes == 0 {
                self.parts.push(self.running.finalize_reset().into());
                self.left_bytes = self.part_bytes;
            }
            data = later;
        }
    }

    fn finish(mut self) -> Vec<Md5> {
        if self.left_bytes < self.part_bytes || self.parts.is_empty() {
            self.parts.push(self.running.finalize().into());
        }
        self.parts
    }
}

impl Hasher {
    /// For content of that size. Where an ETag is given, it is computed too if it can be.
    pub(crate) fn new(size: u64, listed_etag: Option<&str>) -> Self {
        let own = Layout::of(size);
        let form = listed_etag.map(EtagForm::of);
        let of_others = match form {
            Some(EtagForm::Parts(parts)) => Layout::of_others(size, parts),
            Some(EtagForm::Whole | EtagForm::Other) | None => None,
        };
        let is_small = size < PART_BYTES;
        let needs_whole = is_small || form == Some(EtagForm::Whole);
        let needs_parts = !is_small || matches!(form, Some(EtagForm::Parts(_)));
        Self {
            size: 0,
            sha256: digest::Context::new(&digest::SHA256),
            whole: needs_whole.then(md5::Md5::new),
            own: needs_parts.then(|| PartHasher::new(own.part_bytes())),
            of_others: of_others
                .filter(|layout| layout.part_bytes() != own.part_bytes())
                .map(|layout| PartHasher::new(layout.part_bytes())),
        }
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.size = self.size.saturating_add(data.len() as u64);
        self.sha256.update(data);
        if let Some(whole) = &mut self.whole {
            whole.update(data);
        }
        if let Some(own) = &mut self.own {
            own.update(data);
        }
        if let Some(others) = &mut self.of_others {
            others.update(data);
        }
    }

    /// All bytes have been taken in.
    pub(crate) fn finish(self) -> Fingerprint {
        let whole: Option<Md5> = self.whole.map(|whole| whole.finalize().into());
        let own = self.own.map(PartHasher::finish);
        let mut etags = Vec::new();
        etags.extend(own.as_deref().map(etag_of_parts));
        etags.extend(whole.map(hex::encode));
        // Small content is one part, the whole.
        let parts = own.unwrap_or_else(|| Vec::from_iter(whole));
        etags.extend(self.of_others.map(|others| etag_of_parts(&others.finish())));
        let sha256 = self.sha256.finish().as_ref().try_into().unwrap_or_default();
        Fingerprint { size: self.size, sha256, parts, etags }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex_of(data: &[u8]) -> String {
        hex::encode(md5::Md5::digest(data))
    }

    fn fingerprint(data: &[u8], listed: Option<&str>) -> Fingerprint {
        let mut hasher = Hasher::new(data.len() as u64, listed);
        hasher.update(data);
        hasher.finish()
    }

    #[test]
    fn forms_are_told_apart() {
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        for (etag, form) in [
            (md5.to_owned(), EtagForm::Whole),
            (format!("{md5}-12"), EtagForm::Parts(12)),
            (format!("{md5}-0"), EtagForm::Other),
            (format!("{md5}-"), EtagForm::Other),
            (md5.to_uppercase(), EtagForm::Other),
            (String::new(), EtagForm::Other),
            ("whole".to_owned(), EtagForm::Other),
        ] {
            assert_eq!(EtagForm::of(&etag), form, "{etag}");
        }
    }

    #[test]
    fn content_is_known_by_the_etag_of_one_piece_and_of_our_parts() {
        let small = fingerprint(b"abc", None);
        assert!(small.has_etag("900150983cd24fb0d6963f7d28e17f72"));
        assert!(!small.has_etag("900150983cd24fb0d6963f7d28e17f73") && !small.has_etag(""));
        let large = vec![7; usize::try_from(PART_BYTES).unwrap() + 3];
        let (first, last) = large.split_at(usize::try_from(PART_BYTES).unwrap());
        let parts: Vec<Md5> = [first, last].map(|part| md5::Md5::digest(part).into()).into();
        let own = etag_of_parts(&parts);
        assert!(own.ends_with("-2"));
        let known = fingerprint(&large, None);
        assert!(known.has_etag(&own) && !known.has_etag(&hex_of(&large)));
        assert_eq!(known.parts, parts);
        assert!(fingerprint(&large, Some(&hex_of(&large))).has_etag(&hex_of(&large)));
    }

    #[test]
    fn content_is_known_by_the_parts_of_other_clients() {
        let large = vec![7; 20 << 20];
        let parts: Vec<Md5> = large.chunks(5 << 20).map(|part| md5::Md5::digest(part).into()).collect();
        let etag = etag_of_parts(&parts);
        assert!(fingerprint(&large, Some(&etag)).has_etag(&etag));
        assert!(!fingerprint(&large, None).has_etag(&etag));
        let another = etag.replace(['1', '2', '3'], "4");
        assert!(!fingerprint(&large, Some(&another)).has_etag(&another));
    }

    #[test]
    fn without_proof_nothing_is_the_same() {
        let known = fingerprint(b"abc", None);
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let head = |etag: &str, sha256, is_etag_opaque, checksum: Option<&str>| ObjectHead {
            size: 3,
            etag: etag.to_owned(),
            last_modified: None,
            sha256,
            is_etag_opaque,
            checksums: checksum
                .map(|checksum| ("x-amz-checksum-sha256".to_owned(), checksum.to_owned()))
                .into_iter()
                .collect(),
        };
        let own = Some(known.sha256);
        let checksum = BASE64_STANDARD.encode(known.sha256);
        let zeros = "0".repeat(32);
        for same in [
            head(md5, None, false, None),
            head("other", own, false, None),
            head(&zeros, own, true, None),
            head(&format!("{zeros}-7"), own, false, None),
            head(&zeros, None, false, Some(&checksum)),
        ] {
            assert!(known.is_of(&same), "{same:?}");
            assert!(!known.is_of(&ObjectHead { size: 4, ..same }));
        }
        for other in [
            head("other", None, false, None),
            head("other", Some([0; 32]), false, None),
            // The ETag says otherwise.
            head(&zeros, own, false, None),
            head(&zeros, None, true, None),
            head(md5, own, false, Some("AAAA")),
        ] {
            assert!(!known.is_of(&other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            data in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0_usize..300,
            part in 1_usize..40,
        ) {
            let part_bytes = part as u64;
            let cut = cut.min(data.len());
            let mut whole = PartHasher::new(part_bytes);
            whole.update(&data);
            let mut pieces = PartHasher::new(part_bytes);
            pieces.update(&data[..cut]);
            pieces.update(&data[cut..]);
            let parts = pieces.finish();
            prop_assert_eq!(&whole.finish(), &parts);
            let expected: Vec<Md5> = match data.is_empty() {
                true => vec![md5::Md5::digest(b"").into()],
                false => data.chunks(part).map(|part| md5::Md5::digest(part).into()).collect(),
            };
            prop_assert_eq!(parts, expected);
        }
    }
}
