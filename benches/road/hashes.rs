//! What checking takes at the least: the hash library by itself, in this process, over the same bytes in the
//! same pieces as a client of the bench declares them.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use subgate::{
    auth::sigv4::sha256,
    body::digest::{ChecksumAlgorithm, RunningDigest},
};

use crate::{
    cases::{Case, Form},
    load::Tally,
    process::Usage,
    subgate::{CHUNK_BYTES, PIECE_BYTES},
};

/// Hashes bodies of a case one after another for `duration`; nothing where there is nothing to hash, or where
/// a request costs so much more than its hash that the one cannot be told from the other.
pub(crate) fn alone(case: &Case, duration: Duration) -> Option<(Tally, Usage)> {
    if !case.is_large() {
        return None;
    }
    let hash: fn(&[u8], u64) = match case.form {
        Form::Get | Form::Unsigned => return None,
        Form::Sha256 => |piece, bytes| digest(ChecksumAlgorithm::Sha256, piece, bytes),
        Form::UnsignedTrailer => |piece, bytes| digest(ChecksumAlgorithm::Crc32, piece, bytes),
        Form::SignedChunks => signed_chunks,
    };
    let piece = vec![0; PIECE_BYTES];
    let own = || Usage::of(std::process::id());
    let (began, before) = (Instant::now(), own());
    let mut bodies = 0;
    while bodies == 0 || began.elapsed() < duration {
        hash(&piece, case.bytes);
        bodies += 1;
    }
    Some((Tally::new(bodies, began.elapsed()), own().since(&before)))
}

/// The pieces of a body of so many bytes; zeroes, as all bodies are.
fn pieces(piece: &[u8], bytes: u64) -> impl Iterator<Item = &[u8]> {
    let mut left = usize::try_from(bytes).unwrap();
    std::iter::from_fn(move || {
        let next = piece.get(..left.min(piece.len())).filter(|next| !next.is_empty())?;
        left -= next.len();
        Some(next)
    })
}

fn digest(algorithm: ChecksumAlgorithm, piece: &[u8], bytes: u64) {
    let mut running = RunningDigest::new(algorithm);
    pieces(piece, bytes).for_each(|piece| running.update(piece));
    black_box(running.finish());
}

/// A sha256 of each chunk, and the signature that has it and the signature before; and the checksum with
/// which such a body goes on, so that the store can tell a torn one.
fn signed_chunks(piece: &[u8], bytes: u64) {
    digest(ChecksumAlgorithm::Crc32, piece, bytes);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let empty = hex::encode(sha256(b""));
    let mut signature = "0".repeat(64);
    for chunk in pieces(piece, bytes).flat_map(|piece| piece.chunks(CHUNK_BYTES)) {
        let hash = hex::encode(sha256(chunk));
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n20261122T000000Z\n20261122/us-east-1/s3/aws4_request\n\
             {signature}\n{empty}\n{hash}"
        );
        signature = hex::encode(hmac::sign(&key, text.as_bytes()));
    }
    black_box(signature);
}
