//! The head of a form: whatever the bytes and however they are split, the same verdict, no panic, never too
//! much kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use subgate::{
    body::form::{Boundary, FORM_FIELDS_MAX, FORM_HEAD_BYTES_MAX, FormHead, FormHeadParser},
    error::Code,
};

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

// The first byte chooses the split.
fuzz_target!(|input: &[u8]| {
    let [split, wire @ ..] = input else { return };
    // What comes at once may already hold more than a head; a reader gives the parser no more than its bound
    // at a time.
    let wire = &wire[..wire.len().min(FORM_HEAD_BYTES_MAX)];
    let pieces: Vec<&[u8]> = wire.chunks(usize::from(*split).max(1)).collect();
    assert_eq!(parse(&pieces), parse(&[wire]));
});
