//! Bodies as they stream in: aws-chunked, and the head of a form.

use bytes::Bytes;
use subgate::{
    auth::{ChunkSeed, sigv4::signer},
    body::{
        chunked::{Decoder, Mode},
        digest::ChecksumAlgorithm,
        form::{Boundary, FORM_FIELDS_MAX, FORM_HEAD_BYTES_MAX, FormHead, FormHeadParser},
    },
    error::Code,
    secret::Secret,
};

const TRAILER: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;

/// The content of the chunked bodies in the corpus.
const CONTENT: &[u8] = b"the content of a chunked body";

fn chunk_seed() -> ChunkSeed {
    ChunkSeed {
        signing_key: Secret::new([7; 32]),
        date: "20130524T000000Z".to_owned(),
        scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        signature: "0".repeat(64),
    }
}

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

/// Whatever the bytes and wherever they are split: the same verdict, never too many bytes, and in the signed
/// forms no content but the signed one. The first bytes choose the form and the declared length.
pub fn chunked(input: &[u8]) {
    let [form, declared, split, wire @ ..] = input else { return };
    let mode = match form % 3 {
        0 => Mode::UnsignedTrailer(TRAILER),
        1 => Mode::SignedChunks(chunk_seed()),
        _ => Mode::SignedChunksTrailer(chunk_seed(), TRAILER),
    };
    let declared = u64::from(*declared);
    let at_once = decode(mode.clone(), declared, &[wire]);
    if let (Ok((content, _)), 1 | 2) = (&at_once, form % 3) {
        assert!(content.is_empty() || content == CONTENT);
    }
    let in_pieces: Vec<&[u8]> = wire.chunks(usize::from(*split).max(1)).collect();
    assert_eq!(decode(mode.clone(), declared, &in_pieces), at_once);
    // Every split in two, of bodies that are short enough for that.
    for at in 0..=wire.len().min(300) {
        let (before, after) = wire.split_at(at);
        assert_eq!(decode(mode.clone(), declared, &[before, after]), at_once);
    }
}

/// A body of each form.
pub fn chunked_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let trailers = [("x-amz-checksum-crc32", "AAAAAA==")];
    let seed = chunk_seed();
    let unsigned = signer::encode_chunks(None, CONTENT, 10, Some(&trailers));
    let signed = signer::encode_chunks(Some(&seed), CONTENT, 8192, None);
    let with_trailer = signer::encode_chunks(Some(&seed), CONTENT, 8192, Some(&trailers));
    let empty = signer::encode_chunks(Some(&seed), b"", 8192, None);
    let input = |form: u8, bytes: usize, wire: Vec<u8>| [vec![form, bytes as u8, 3], wire].concat();
    vec![
        ("unsigned_trailer", input(0, CONTENT.len(), unsigned)),
        ("signed", input(1, CONTENT.len(), signed)),
        ("signed_trailer", input(2, CONTENT.len(), with_trailer)),
        ("signed_empty", input(1, 0, empty)),
    ]
}

/// The head, and all that follows it.
fn parse(pieces: &[&[u8]]) -> Result<Option<(FormHead, Vec<u8>)>, Code> {
    let boundary = Boundary::of("multipart/form-data; boundary=b0").map_err(|error| error.code)?;
    let mut parser = FormHeadParser::new(&boundary);
    let mut pieces = pieces.iter();
    while let Some(piece) = pieces.next() {
        if let Some((head, first)) = parser.feed(piece).map_err(|error| error.code)? {
            assert!(head.file_at <= FORM_HEAD_BYTES_MAX as u64 && head.fields.len() <= FORM_FIELDS_MAX);
            let rest = pieces.flat_map(|piece| piece.iter().copied());
            return Ok(Some((head, first.iter().copied().chain(rest).collect())));
        }
    }
    Ok(None)
}

/// Whatever the bytes and however they are split: the same verdict, and never too much kept. The first byte
/// chooses the split.
pub fn form(input: &[u8]) {
    let [split, wire @ ..] = input else { return };
    // What comes at once may already hold more than a head; a reader gives the parser no more than its bound
    // at a time.
    let wire = &wire[..wire.len().min(FORM_HEAD_BYTES_MAX)];
    let pieces: Vec<&[u8]> = wire.chunks(usize::from(*split).max(1)).collect();
    assert_eq!(parse(&pieces), parse(&[wire]));
}
