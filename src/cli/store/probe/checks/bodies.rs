//! What the store proves of a body by itself, how it takes trailers, and what it does with a torn upload.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{Found, Trials, bytes, failure};
use crate::{
    auth::sigv4::canonical::sha256_hex,
    body::digest::{ChecksumAlgorithm, RunningDigest, to_base64},
    s3::headers::CHECKSUM_ALGORITHMS,
    store::Trial,
};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A store may take a moment to notice that an upload is over.
const TORN_LOOKS: u32 = 10;
const TORN_LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// What a store does with a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verifies {
    /// It takes the right one and refuses a false one.
    Yes,
    /// It takes any.
    Ignores,
    /// It does not take the right one.
    Refuses,
}

impl Trials<'_> {
    pub(super) async fn digests(&mut self) {
        let body = bytes(100);
        self.begin("digests");
        let sha256 = |digest: &str| Trial::object(Method::PUT, "digest").payload_hash(digest);
        let found = self.verifies(sha256(&sha256_hex(&body)), sha256(&sha256_hex(b"another"))).await;
        self.findings.verifies_sha256 = self.note_verifies("verifies x-amz-content-sha256", found);
        let md5 = |body: &[u8]| {
            let mut digest = RunningDigest::md5();
            digest.update(body);
            let put = Trial::object(Method::PUT, "digest").payload_hash(UNSIGNED);
            put.header("content-md5", to_base64(&digest.finish()))
        };
        let found = self.verifies(md5(&body), md5(b"another")).await;
        self.findings.verifies_content_md5 = self.note_verifies("verifies content-md5", found);
        let mut known = Vec::new();
        for name in CHECKSUM_ALGORITHMS {
            self.begin(name);
            let Some(algorithm) = algorithm(name) else { continue };
            let put = |body: &[u8]| {
                let put = Trial::object(Method::PUT, "digest").payload_hash(UNSIGNED);
                put.header(algorithm.header(), checksum(algorithm, body))
            };
            if self.verifies(put(&body), put(b"another")).await == Some(Verifies::Yes) {
                known.push(name);
            }
        }
        let (found, says) = match known.is_empty() {
            true => (Found::No, "none".to_owned()),
            false => (Found::Yes, known.join(", ")),
        };
        self.note("knows and verifies checksums", found, says);
        self.findings.verifies_checksums = Some(!known.is_empty());
        self.findings.checksums = Some(known);
    }

    async fn verifies(&mut self, right: Trial, wrong: Trial) -> Option<Verifies> {
        let body = bytes(100);
        let right = self.put("digest", right.body(body.clone())).await.ok()?;
        let wrong = self.put("digest", wrong.body(body)).await.ok()?;
        Some(match (right.is_success(), wrong.is_success()) {
            (true, false) => Verifies::Yes,
            (true, true) => Verifies::Ignores,
            (false, _) => Verifies::Refuses,
        })
    }

    fn note_verifies(&mut self, check: &'static str, found: Option<Verifies>) -> Option<bool> {
        let (result, says) = match found {
            Some(Verifies::Yes) => (Found::Yes, "it refuses a false one"),
            Some(Verifies::Ignores) => (Found::No, "it takes a false one: Subgate checks it"),
            Some(Verifies::Refuses) => (Found::Failed, "it does not even take the right one"),
            None => (Found::Failed, "there was no answer"),
        };
        self.note(check, result, says);
        found.map(|found| found == Verifies::Yes)
    }

    /// An unsigned trailer with a checksum, as Subgate sends bodies on whose digest comes at the end.
    pub(super) async fn trailers(&mut self) {
        const CHECK: &str = "checksums in trailers";
        self.begin(CHECK);
        let body = bytes(100);
        let right = self.put("trailer", trailer(&body, &checksum(ChecksumAlgorithm::Crc32, &body))).await;
        let kept = self.send(Trial::object(Method::GET, "trailer")).await;
        let kept = kept.ok().filter(|answer| answer.is_success()).map(|answer| answer.body);
        let wrong = checksum(ChecksumAlgorithm::Crc32, b"another");
        let wrong = self.put("trailer", trailer(&body, &wrong)).await;
        let takes = match (failure(&right), kept, failure(&wrong)) {
            (Some(says), _, _) => Err(format!("{says}; Subgate sends such bodies plain")),
            (None, Some(kept), _) if kept != body => {
                Err("it keeps the frames of the chunks as content".to_owned())
            }
            (None, _, None) => Err("it takes a false one".to_owned()),
            (None, _, Some(_)) => Ok(()),
        };
        self.findings.takes_trailers = Some(takes.is_ok());
        match takes {
            Ok(()) => self.note(CHECK, Found::Yes, "it takes them, and refuses a false one"),
            Err(says) => self.note(CHECK, Found::No, says),
        }
    }

    /// An upload whose connection ends before its declared length (P64).
    pub(super) async fn torn_uploads(&mut self) {
        const CHECK: &str = "refuses torn uploads";
        self.begin("a torn upload");
        let torn = Trial::object(Method::PUT, "torn").payload_hash(UNSIGNED);
        // There is no answer to it.
        let _ = self.put("torn", torn.body(bytes(64 * 1024)).torn(64 * 1024)).await;
        for _ in 0..TORN_LOOKS {
            tokio::time::sleep(TORN_LOOK_INTERVAL).await;
            let Ok(answer) = self.send(Trial::object(Method::HEAD, "torn")).await else { continue };
            if answer.is_success() {
                self.findings.keeps_torn_uploads = Some(true);
                let says = "it keeps what had come as an object: unsigned bodies need \
                            store.broken_uploads = \"kept\"";
                self.note(CHECK, Found::No, says);
                return;
            }
            if answer.status != StatusCode::NOT_FOUND {
                self.note(CHECK, Found::Failed, format!("it answers {} to a HEAD", answer.shown()));
                return;
            }
        }
        self.findings.keeps_torn_uploads = Some(false);
        self.note(CHECK, Found::Yes, "it keeps nothing");
    }
}

fn algorithm(name: &str) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::of_header(&format!("x-amz-checksum-{}", name.to_ascii_lowercase()))
}

fn checksum(algorithm: ChecksumAlgorithm, body: &[u8]) -> String {
    let mut digest = RunningDigest::new(algorithm);
    digest.update(body);
    to_base64(&digest.finish())
}

fn trailer(body: &[u8], checksum: &str) -> Trial {
    let header = ChecksumAlgorithm::Crc32.header();
    let head = format!("{:x}\r\n", body.len());
    let end = format!("\r\n0\r\n{header}:{checksum}\r\n\r\n");
    Trial::object(Method::PUT, "trailer")
        .payload_hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", body.len().to_string())
        .header("x-amz-trailer", header)
        .body([head.as_bytes(), body, end.as_bytes()].concat())
}
