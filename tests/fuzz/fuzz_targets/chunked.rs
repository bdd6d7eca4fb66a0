//! The chunk decoder: whatever the bytes and however they are split, the same verdict, no panic, never too
//! many bytes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use subgate::{
    auth::ChunkSeed,
    body::{
        chunked::{Decoder, Mode},
        digest::ChecksumAlgorithm,
    },
    error::Code,
    secret::Secret,
};

const TRAILER: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

fn decode(mode: Mode, declared: u64, pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<String>), Code> {
    let mut decoder = Decoder::new(mode, declared);
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(content) = decoder.decode(&mut piece).map_err(|error| error.code)? {
            seen.extend_from_slice(&content);
            assert!(seen.len() as u64 <= declared);
        }
    }
    let trailer = decoder.finish().map_err(|error| error.code)?;
    assert_eq!(seen.len() as u64, declared);
    Ok((seen, trailer))
}

// The first bytes choose the form, the declared length and the split.
fuzz_target!(|input: &[u8]| {
    let [form, declared, split, wire @ ..] = input else { return };
    let seed = ChunkSeed {
        signing_key: Secret::new([7; 32]),
        date: "20130524T000000Z".to_owned(),
        scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        signature: "0".repeat(64),
    };
    let mode = match form % 3 {
        0 => Mode::UnsignedTrailer(TRAILER),
        1 => Mode::SignedChunks(seed),
        _ => Mode::SignedChunksTrailer(seed, TRAILER),
    };
    let declared = u64::from(*declared);
    let pieces: Vec<&[u8]> = wire.chunks(usize::from(*split).max(1)).collect();
    assert_eq!(decode(mode.clone(), declared, &pieces), decode(mode, declared, &[wire]));
});
