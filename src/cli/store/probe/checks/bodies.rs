//! What the store proves of a body by itself, how it takes trailers, and what it does with a torn upload.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{Found, Trials, bytes, failure};
use crate::{
    auth::sigv4::canonical::sha256_hex,
    body::digest::{ChecksumAlgorithm, RunningDigest, to_base64},
    s3::headers::CHECKSUM_ALGORITHMS,
    store::{NoAnswer, Trial, TrialAnswer},
};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A store may take a moment to notice that an upload is over.
const TORN_LOOKS: u32 = 10;
const TORN_LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// By which stores say that a digest is false: those of AWS, and MinIO's own of checksums.
const DIGEST_CODES: [&str; 4] =
    ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"];

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
        self.checksums(&body).await;
    }

    async fn checksums(&mut self, body: &[u8]) {
        const CHECK: &str = "knows and verifies checksums";
        let (mut known, mut open) = (Vec::new(), Vec::new());
        for name in CHECKSUM_ALGORITHMS {
            self.begin(name);
            let Some(algorithm) = algorithm(name) else { continue };
            let put = |of: &[u8]| {
                let put = Trial::object(Method::PUT, "digest").payload_hash(UNSIGNED);
                put.header(algorithm.header(), checksum(algorithm, of))
            };
            match self.verifies(put(body), put(b"another")).await {
                Ok(Verifies::Yes) => known.push(name),
                Ok(Verifies::Ignores | Verifies::Refuses) => {}
                Err(says) => open.push(format!("{name}: {says}")),
            }
        }
        if !open.is_empty() {
            self.note(CHECK, Found::Failed, open.join("; "));
            return;
        }
        let (found, says) = match known.is_empty() {
            true => (Found::No, "none".to_owned()),
            false => (Found::Yes, known.join(", ")),
        };
        self.note(CHECK, found, says);
        self.findings.verifies_checksums = Some(!known.is_empty());
        self.findings.checksums = Some(known);
    }

    /// What the store does with a right digest and with a false one; or why that was not found out.
    async fn verifies(&mut self, right: Trial, wrong: Trial) -> Result<Verifies, String> {
        let body = bytes(100);
        let right = self.put("digest", right.body(body.clone())).await;
        match &right {
            Ok(answer) if answer.is_success() => {}
            Ok(answer) if is_refusal(answer) => return Ok(Verifies::Refuses),
            Ok(_) | Err(_) => return Err(not_found_out("the right one", &right)),
        }
        let wrong = self.put("digest", wrong.body(body)).await;
        match &wrong {
            Ok(answer) if answer.is_success() => Ok(Verifies::Ignores),
            Ok(answer) if is_refusal_of_the_digest(answer) => Ok(Verifies::Yes),
            Ok(_) | Err(_) => Err(not_found_out("a false one", &wrong)),
        }
    }

    fn note_verifies(&mut self, check: &'static str, found: Result<Verifies, String>) -> Option<bool> {
        let (result, says) = match &found {
            Ok(Verifies::Yes) => (Found::Yes, "it refuses a false one"),
            Ok(Verifies::Ignores) => (Found::No, "it takes a false one: Subgate checks it"),
            Ok(Verifies::Refuses) => (Found::Failed, "it does not even take the right one"),
            Err(says) => (Found::Failed, says.as_str()),
        };
        self.note(check, result, says);
        found.ok().map(|found| found == Verifies::Yes)
    }

    /// An unsigned trailer with a checksum, as Subgate sends bodies on whose digest comes at the end.
    pub(super) async fn trailers(&mut self) {
        const CHECK: &str = "checksums in trailers";
        self.begin(CHECK);
        let body = bytes(100);
        let right = self.put("trailer", trailer(&body, &checksum(ChecksumAlgorithm::Crc32, &body))).await;
        let kept = self.send(Trial::object(Method::GET, "trailer")).await;
        let wrong = checksum(ChecksumAlgorithm::Crc32, b"another");
        let wrong = self.put("trailer", trailer(&body, &wrong)).await;
        let (takes, says) = match (&right, &kept, &wrong) {
            (Ok(answer), _, _) if is_refusal(answer) => {
                let says = failure(&right).unwrap_or_default();
                (Some(false), format!("{says}; Subgate sends such bodies plain"))
            }
            (right, _, _) if failure(right).is_some() => (None, not_found_out("the right one", right)),
            (_, kept, _) if failure(kept).is_some() => (None, not_found_out("a request to read it", kept)),
            (_, Ok(kept), _) if kept.body != body => {
                (Some(false), "it keeps the frames of the chunks as content".to_owned())
            }
            (_, _, Ok(wrong)) if wrong.is_success() => (Some(false), "it takes a false one".to_owned()),
            (_, _, Ok(wrong)) if is_refusal_of_the_digest(wrong) => {
                (Some(true), "it takes them, and refuses a false one".to_owned())
            }
            (_, _, wrong) => (None, not_found_out("a false one", wrong)),
        };
        self.findings.takes_trailers = takes;
        let found = match takes {
            Some(true) => Found::Yes,
            Some(false) => Found::No,
            None => Found::Failed,
        };
        self.note(CHECK, found, says);
    }

    /// An upload whose connection ends before its declared length (P64).
    pub(super) async fn torn_uploads(&mut self) {
        const CHECK: &str = "refuses torn uploads";
        self.begin("a torn upload");
        let torn = Trial::object(Method::PUT, "torn").payload_hash(UNSIGNED);
        let upload = self.put("torn", torn.body(bytes(64 * 1024)).torn(64 * 1024)).await;
        let is_torn = matches!(upload, Err(NoAnswer::BrokenOff));
        let mut last = None;
        let looks = if is_torn { TORN_LOOKS } else { 1 };
        for _ in 0..looks {
            tokio::time::sleep(TORN_LOOK_INTERVAL).await;
            // A HEAD would not say why there is nothing.
            let look = self.send(Trial::object(Method::GET, "torn")).await;
            if failure(&look).is_none() {
                self.findings.keeps_torn_uploads = Some(true);
                let says = "it keeps what had come as an object: unsigned bodies need \
                            store.broken_uploads = \"kept\"";
                self.note(CHECK, Found::No, says);
                return;
            }
            last = Some(look);
        }
        match last {
            _ if !is_torn => self.note(CHECK, Found::Failed, not_found_out("the upload", &upload)),
            Some(Ok(look)) if look.status == StatusCode::NOT_FOUND && look.code() == Some("NoSuchKey") => {
                self.findings.keeps_torn_uploads = Some(false);
                self.note(CHECK, Found::Yes, "it keeps nothing");
            }
            Some(look) => self.note(CHECK, Found::Failed, not_found_out("a request to read it", &look)),
            None => {}
        }
    }
}

/// Whether the store says that it does not do this, and not only that it cannot now.
fn is_refusal(answer: &TrialAnswer) -> bool {
    match answer.status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => false,
        StatusCode::NOT_IMPLEMENTED => true,
        status => status.is_client_error() && answer.code() != Some("RequestTimeout"),
    }
}

/// Whether the store refuses a body because its digest is another.
fn is_refusal_of_the_digest(answer: &TrialAnswer) -> bool {
    answer.status.is_client_error() && answer.code().is_some_and(|code| DIGEST_CODES.contains(&code))
}

/// Why nothing follows from the answer to this.
fn not_found_out(to: &str, answer: &Result<TrialAnswer, NoAnswer>) -> String {
    let says = failure(answer).unwrap_or_else(|| "the store answers before its end".to_owned());
    format!("not found out: to {to}, {says}")
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
