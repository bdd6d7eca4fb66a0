//! The proofs of a body's content: digests that run along, and what they have to be (P4, P6, P10).

use crate::{
    body::{
        digest::{self, Algorithm, Running},
        plan::Plan,
    },
    error::{Code, Error, Result},
    secret::constant_time_eq,
};

/// What one body's content has to prove.
pub struct Proof {
    sha256: Option<[u8; 32]>,
    md5: Option<([u8; 16], Running)>,
    checksums: Vec<(Algorithm, Vec<u8>)>,
    trailer: Option<Algorithm>,
    /// One for each algorithm that any of the above needs.
    running: Vec<(Algorithm, Running)>,
}

impl Proof {
    /// All that `plan` promises of the content.
    pub fn new(plan: &Plan) -> Self {
        let needed = (plan.sha256.map(|_| Algorithm::Sha256).into_iter())
            .chain(plan.checksums.iter().map(|(algorithm, _)| *algorithm))
            .chain(plan.trailer);
        let mut running: Vec<(Algorithm, Running)> = Vec::new();
        for algorithm in needed {
            if !running.iter().any(|(started, _)| *started == algorithm) {
                running.push((algorithm, Running::new(algorithm)));
            }
        }
        Self {
            sha256: plan.sha256,
            md5: plan.md5.map(|expected| (expected, Running::md5())),
            checksums: plan.checksums.clone(),
            trailer: plan.trailer,
            running,
        }
    }

    /// Takes in the next bytes of content.
    pub fn update(&mut self, content: &[u8]) {
        for (_, running) in &mut self.running {
            running.update(content);
        }
        if let Some((_, running)) = &mut self.md5 {
            running.update(content);
        }
    }

    /// Whether the content was what was promised, given the value of the trailer; consumes the digests.
    pub fn verify(&mut self, trailer: Option<&str>) -> Result<()> {
        let digests: Vec<(Algorithm, Vec<u8>)> = std::mem::take(&mut self.running)
            .into_iter()
            .map(|(algorithm, running)| (algorithm, running.finish()))
            .collect();
        let digest_of = |algorithm: Algorithm| {
            (digests.iter().find(|(done, _)| *done == algorithm))
                .map(|(_, digest)| digest.as_slice())
                .ok_or_else(|| Error::internal("the digests of a body were asked for twice"))
        };

        if let Some(signed) = self.sha256 {
            let computed = digest_of(Algorithm::Sha256)?;
            if !constant_time_eq(&signed, computed) {
                return Err(sha256_mismatch(&signed, computed));
            }
        }
        if let Some((expected, running)) = self.md5.take() {
            let computed = running.finish();
            if !constant_time_eq(&expected, &computed) {
                return Err(md5_mismatch(&expected, &computed));
            }
        }
        for (algorithm, expected) in &self.checksums {
            if !constant_time_eq(expected, digest_of(*algorithm)?) {
                return Err(checksum_mismatch(*algorithm));
            }
        }
        match (self.trailer, trailer) {
            (None, None) => Ok(()),
            (Some(algorithm), Some(text)) => {
                let expected = algorithm.parse(text).ok_or_else(|| {
                    Error::new(
                        Code::InvalidRequest,
                        format!("Value for {} trailing header is invalid.", algorithm.header()),
                    )
                })?;
                if constant_time_eq(&expected, digest_of(algorithm)?) {
                    Ok(())
                } else {
                    Err(checksum_mismatch(algorithm))
                }
            }
            (Some(_), None) | (None, Some(_)) => Err(Error::internal("trailer and plan do not agree")),
        }
    }
}

fn sha256_mismatch(signed: &[u8], computed: &[u8]) -> Error {
    Error::new(
        Code::XAmzContentSHA256Mismatch,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
    .element("ClientComputedContentSHA256", hex::encode(signed))
    .element("S3ComputedContentSHA256", hex::encode(computed))
}

fn md5_mismatch(expected: &[u8], computed: &[u8]) -> Error {
    Error::new(Code::BadDigest, "The Content-MD5 you specified did not match what we received.")
        .element("ExpectedDigest", hex::encode(expected))
        .element("CalculatedDigest", digest::text(computed))
}

fn checksum_mismatch(algorithm: Algorithm) -> Error {
    Error::new(
        Code::BadDigest,
        format!("The {} you specified did not match the calculated checksum.", algorithm.name()),
    )
}
