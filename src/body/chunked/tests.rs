#![allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::body::testing::{Ending, encode, seed};

const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const UNSIGNED: Mode = Mode::UnsignedTrailer(ChecksumAlgorithm::Crc32);

fn signed() -> Mode {
    Mode::SignedChunks(seed(SEED))
}

fn signed_with_trailer() -> Mode {
    Mode::SignedChunksTrailer(seed(SEED), ChecksumAlgorithm::Crc32c)
}

/// Everything that comes out of `wire` in pieces that end at `cuts`, and the trailer; or the code of the
/// refusal.
fn decode(
    mode: &Mode,
    decoded_bytes: u64,
    pieces: impl IntoIterator<Item = Bytes>,
) -> Result<(Vec<u8>, Option<String>), Code> {
    let mut decoder = Decoder::new(mode.clone(), decoded_bytes);
    let mut seen = Vec::new();
    let run = || {
        for mut piece in pieces {
            while let Some(content) = decoder.decode(&mut piece)? {
                assert!(!content.is_empty());
                seen.extend_from_slice(&content);
            }
            assert!(piece.is_empty());
        }
        decoder.finish()
    };
    let trailer = run().map_err(|error| error.code)?;
    Ok((seen, trailer))
}

fn split(wire: &[u8], piece_bytes: usize) -> Vec<Bytes> {
    wire.chunks(piece_bytes).map(Bytes::copy_from_slice).collect()
}

/// The verdict on `wire`, the same for every split of it.
#[track_caller]
fn check(mode: &Mode, decoded_bytes: u64, wire: &str, expected: Result<&str, Code>) {
    let expected = expected.map(str::as_bytes).map(<[u8]>::to_vec);
    for piece_bytes in 1..=wire.len().max(1) {
        let verdict = decode(mode, decoded_bytes, split(wire.as_bytes(), piece_bytes));
        assert_eq!(verdict.map(|(content, _)| content), expected, "{wire:?} in pieces of {piece_bytes}");
    }
}

#[track_caller]
fn check_unsigned(decoded_bytes: u64, wire: &str, expected: Result<&str, Code>) {
    check(&UNSIGNED, decoded_bytes, wire, expected);
}

fn aws_example(seed_signature: &str, signatures: [&str; 3], tail: &str) -> (Mode, Vec<u8>) {
    let [first, second, last] = signatures;
    let (long, short) = ("a".repeat(65536), "a".repeat(1024));
    let wire = format!(
        "10000;chunk-signature={first}\r\n{long}\r\n400;chunk-signature={second}\r\n{short}\r\n\
         0;chunk-signature={last}\r\n{tail}"
    );
    (Mode::SignedChunks(seed(seed_signature)), wire.into_bytes())
}

#[test]
fn p4_the_documented_example_of_signed_chunks() {
    let (mode, wire) = aws_example(
        SEED,
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        "\r\n",
    );
    assert_eq!(wire.len(), 66824, "the documented Content-Length");
    assert_eq!(decode(&mode, 66560, split(&wire, 1000)), Ok((vec![b'a'; 66560], None)));
    // Without the last line end, as some clients have it.
    let cut = wire.strip_suffix(b"\r\n").unwrap();
    assert_eq!(decode(&mode, 66560, split(cut, 7)), Ok((vec![b'a'; 66560], None)));
}

#[test]
fn p4_the_documented_example_of_a_signed_trailer() {
    for ending in ["\r\n", "\n\r\n"] {
        for close in ["", "\r\n"] {
            let (mode, wire) = aws_example(
                "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
                [
                    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
                ],
                &format!(
                    "x-amz-checksum-crc32c:sOO8/Q=={ending}x-amz-trailer-signature:\
                     d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n{close}"
                ),
            );
            let Mode::SignedChunks(seed) = mode else { panic!() };
            let mode = Mode::SignedChunksTrailer(seed, ChecksumAlgorithm::Crc32c);
            let verdict = decode(&mode, 66560, split(&wire, 999));
            assert_eq!(verdict, Ok((vec![b'a'; 66560], Some("sOO8/Q==".to_owned()))));
        }
    }
}

#[test]
fn unsigned_trailers_of_real_clients() {
    let content = "hello";
    for wire in [
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n",
        // minio-go.
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Amz-Checksum-Crc32 : NhCmhg== \r\n\r\n",
        "0005\r\nhello\r\n000\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    ] {
        check_unsigned(5, wire, Ok(content));
    }
    check_unsigned(0, "0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", Ok(""));
}

#[test]
fn p8_sizes_are_hexadecimal_numbers_and_nothing_else() {
    for size in ["azz", "", "+5", "-5", " 5", "5 ", "0x5", "5\r", "5;", "5;a=b", "5,", "10000000000000005"] {
        check_unsigned(5, &format!("{size}\r\nhello\r\n0\r\n\r\n"), Err(Code::InvalidRequest));
    }
    check_unsigned(5, "5\nhello\r\n0\r\n\r\n", Err(Code::InvalidRequest));
    let signature = "a".repeat(64);
    check_unsigned(5, &format!("5;chunk-signature={signature}\r\nhello"), Err(Code::InvalidRequest));
}

#[test]
fn p8_sizes_of_4_gib_and_more_parse_right_and_never_allocate() {
    for (digits, size_bytes) in
        [("100000000", 1 << 32), ("140000000", 5 << 30), ("ffffffffffffffff", u64::MAX)]
    {
        let mut decoder = Decoder::new(UNSIGNED, size_bytes);
        let mut input = Bytes::from(format!("{digits}\r\nx"));
        assert_eq!(decoder.decode(&mut input).unwrap().unwrap(), "x");
        assert!(matches!(decoder.state, State::Data { left_bytes } if left_bytes == size_bytes - 1));
        check_unsigned(size_bytes - 1, &format!("{digits}\r\nx"), Err(Code::EntityTooLarge));
    }
}

#[test]
fn p8_a_chunk_header_is_bounded() {
    let long = "0".repeat(CHUNK_LINE_BYTES_MAX);
    check_unsigned(5, &long, Err(Code::InvalidRequest));
    let mut decoder = Decoder::new(UNSIGNED, 5);
    assert!(decoder.decode(&mut Bytes::from("0".repeat(1 << 20))).is_err());
    assert!(decoder.gathered.capacity() <= 2 * CHUNK_LINE_BYTES_MAX);
}

#[test]
fn p8_only_the_last_signed_chunk_may_be_under_8_kib() {
    let mode = signed();
    let (small, enough) = (vec![b'x'; 8191], vec![b'y'; 8192]);
    for (chunks, expected) in [
        (vec![small.as_slice()], None),
        (vec![&enough, &small], None),
        (vec![&enough, &enough], None),
        (vec![&small, &enough], Some(Code::InvalidChunkSizeError)),
        (vec![&enough, &small, &small], Some(Code::InvalidChunkSizeError)),
    ] {
        let wire = encode(&mode, &chunks, "", Ending::Plain);
        let content = chunks.concat();
        let verdict = decode(&mode, content.len() as u64, split(&wire, 1000));
        assert_eq!(verdict, expected.map_or(Ok((content, None)), Err));
    }
}

#[test]
fn p4_the_decoded_length_is_exactly_the_declared_one() {
    let wire = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    check_unsigned(4, wire, Err(Code::EntityTooLarge));
    check_unsigned(6, wire, Err(Code::IncompleteBody));
    check_unsigned(0, wire, Err(Code::EntityTooLarge));
}

#[test]
fn p4_a_body_that_ends_early_is_incomplete() {
    let wire = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
    for end in 0..13 {
        check_unsigned(5, &wire[..end], Err(Code::IncompleteBody));
    }
    for end in 13..wire.len() - 3 {
        check_unsigned(5, &wire[..end], Err(Code::MalformedTrailerError));
    }
    // Half of the closing line end.
    check_unsigned(5, &wire[..wire.len() - 1], Err(Code::MalformedTrailerError));
}

#[test]
fn p4_nothing_follows_the_end() {
    for extra in ["x", "\r\n", "\n", "5\r\nhello\r\n", "x-amz-checksum-crc32:NhCmhg==\r\n", "\0"] {
        let wire = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n{extra}");
        check_unsigned(5, &wire, Err(Code::MalformedTrailerError));
    }
    let endless = format!("0\r\nx-amz-checksum-crc32:{}", "A".repeat(2 * TAIL_BYTES_MAX));
    check_unsigned(0, &endless, Err(Code::MalformedTrailerError));
}

#[test]
fn p6_the_announced_trailer_and_no_other() {
    for tail in [
        "\r\n",
        "",
        "x-amz-checksum-crc32c:NhCmhg==\r\n\r\n",
        "x-amz-checksum-crc32 NhCmhg==\r\n\r\n",
        "x-amz-checksum-crc32:NhCmhg==\n\n",
        "x-amz-checksum-crc32:Nh\u{e9}mhg==\r\n\r\n",
        "x-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-sha1:AAAA\r\n\r\n",
        "\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    ] {
        check_unsigned(5, &format!("5\r\nhello\r\n0\r\n{tail}"), Err(Code::MalformedTrailerError));
    }
    // A form without a trailer.
    let mode = signed();
    let wire = String::from_utf8(encode(&mode, &[b"hello"], "", Ending::Plain)).unwrap();
    check(&mode, 5, &wire, Ok("hello"));
    check(
        &mode,
        5,
        &format!("{}x-amz-checksum-crc32:NhCmhg==\r\n\r\n", wire.strip_suffix("\r\n").unwrap()),
        Err(Code::MalformedTrailerError),
    );
}

#[test]
fn p4_content_is_followed_by_crlf() {
    for wire in
        ["5\r\nhello0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhellooo\r\n0\r\n\r\n", "5\r\nhello\rx0\r\n"]
    {
        check_unsigned(5, wire, Err(Code::InvalidRequest));
    }
}

#[test]
fn p4_signed_chunks_need_their_signatures() {
    let mode = signed();
    let good = String::from_utf8(encode(&mode, &[b"hello"], "", Ending::Plain)).unwrap();
    check(&mode, 5, &good, Ok("hello"));
    let signature = &good[18..82];
    for (from, to, code) in [
        (";chunk-signature=", ";chunk_signature=", Code::InvalidRequest),
        (";chunk-signature=", ";;chunk-signature=", Code::InvalidRequest),
        (&good[1..82], "", Code::InvalidRequest),
        (signature, &signature[1..], Code::InvalidRequest),
        (signature, &"0".repeat(64), Code::SignatureDoesNotMatch),
        (signature, &signature.to_ascii_uppercase(), Code::SignatureDoesNotMatch),
        ("hello", "jello", Code::SignatureDoesNotMatch),
    ] {
        assert!(good.contains(from), "{from}");
        check(&mode, 5, &good.replacen(from, to, 1), Err(code));
    }
    // The chain starts from the request's own signature.
    let other = Mode::SignedChunks(seed(&"0".repeat(64)));
    check(&other, 5, &good, Err(Code::SignatureDoesNotMatch));
}

#[test]
fn p4_chunks_cannot_change_places() {
    let mode = signed();
    let (first, second) = (vec![b'1'; 8192], vec![b'2'; 8192]);
    let wire = encode(&mode, &[&first, &second], "", Ending::Plain);
    let chunk_bytes = 4 + 81 + 2 + 8192 + 2;
    let swapped =
        [&wire[chunk_bytes..2 * chunk_bytes], &wire[..chunk_bytes], &wire[2 * chunk_bytes..]].concat();
    let verdict = decode(&mode, 16384, split(&swapped, 4096));
    assert_eq!(verdict, Err(Code::SignatureDoesNotMatch));
}

#[test]
fn p4_a_signed_trailer_needs_its_signature() {
    let mode = signed_with_trailer();
    let wire = encode(&mode, &[b"hello"], "mnG7TA==", Ending::Plain);
    let good = String::from_utf8(wire).unwrap();
    check(&mode, 5, &good, Ok("hello"));
    let at = good.find("x-amz-trailer-signature").unwrap();
    check(&mode, 5, &good[..at], Err(Code::MalformedTrailerError));
    let forged = good.replace("mnG7TA==", "mnG7TB==");
    check(&mode, 5, &forged, Err(Code::SignatureDoesNotMatch));
    let twice = format!("{}{}", &good[..good.len() - 2], &good[at..]);
    check(&mode, 5, &twice, Err(Code::MalformedTrailerError));
    // The chain of one form does not serve the other.
    check(&signed(), 5, &good, Err(Code::MalformedTrailerError));
}

#[test]
fn p4_every_corruption_of_a_signed_stream_is_refused() {
    for ending in [Ending::Plain, Ending::Minio] {
        let mode = signed_with_trailer();
        let long = vec![b'z'; 8192];
        let wire = encode(&mode, &[&long, b"123456789"], "4waSgw==", ending);
        let verdict = |wire: &[u8]| decode(&mode, 8201, [Bytes::copy_from_slice(wire)]);
        assert!(verdict(&wire).is_ok());
        for at in 0..wire.len() {
            for mask in [1, 0x20, 0x80] {
                // One content is like another: a few of its bytes are enough.
                if (200..8100).contains(&at) && at % 997 != 0 {
                    continue;
                }
                let mut bad = wire.clone();
                bad[at] ^= mask;
                // The case of a header name has no meaning where it is not signed.
                let renamed = bad.eq_ignore_ascii_case(&wire) && verdict(&bad).is_ok();
                assert!(verdict(&bad).is_err() || renamed, "byte {at} with {mask:#x}");
                if renamed {
                    let tail = &wire[at..];
                    assert!(tail.len() < 100, "only within the name of the trailer signature: byte {at}");
                }
            }
        }
    }
}

#[test]
fn after_a_failure_the_decoder_only_fails() {
    let mut decoder = Decoder::new(UNSIGNED, 5);
    assert!(decoder.decode(&mut Bytes::from_static(b"x\r\n")).is_err());
    assert!(decoder.decode(&mut Bytes::from_static(b"5\r\nhello\r\n0\r\n")).is_err());
    assert!(decoder.finish().is_err());
}

/// Pieces of `wire` that end at `cuts`.
fn cut(wire: &[u8], cuts: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut ends: Vec<usize> =
        cuts.iter().map(|cut| cut.index(wire.len() + 1)).chain([0, wire.len()]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|ends| Bytes::copy_from_slice(&wire[ends[0]..ends[1]])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_decodes_in_any_pieces(
        full in 0_usize..3,
        last in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        form in 0..3,
        minio: bool,
    ) {
        let mode = match form {
            0 => signed(),
            1 => signed_with_trailer(),
            _ => UNSIGNED,
        };
        let ending = if minio { Ending::Minio } else { Ending::Plain };
        let block: Vec<u8> = (0..8192_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut chunks: Vec<&[u8]> = vec![&block; full];
        if !last.is_empty() {
            chunks.push(&last);
        }
        let content = chunks.concat();
        let wire = encode(&mode, &chunks, "AAAAAA==", ending);
        let verdict = decode(&mode, content.len() as u64, cut(&wire, &cuts));
        prop_assert_eq!(verdict, Ok((content, mode.trailer().map(|_| "AAAAAA==".to_owned()))));
    }

    #[test]
    fn random_bytes_are_judged_alike_in_any_pieces(
        wire in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(b"01258af;:=\r\nx-chunksignature".to_vec()),
            1 => any::<u8>(),
        ], 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        decoded_bytes in 0_u64..40,
        is_signed: bool,
    ) {
        let mode = if is_signed { signed() } else { UNSIGNED };
        let whole = decode(&mode, decoded_bytes, [Bytes::copy_from_slice(&wire)]);
        prop_assert_eq!(decode(&mode, decoded_bytes, cut(&wire, &cuts)), whole);
    }

    #[test]
    fn lines_in_any_order_never_panic(
        lines in prop::collection::vec(prop::sample::select(vec![
            "0\r\n", "1\r\nx\r\n", "5\r\nhello\r\n", "2000\r\n", "\r\n", "x-amz-checksum-crc32:AAAAAA==\r\n",
            "x-amz-checksum-crc32:AAAAAA==\n\r\n", "ffffffffffffffff\r\n", "x-amz-trailer-signature:00\r\n",
            "\n",
        ]), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        decoded_bytes in 0_u64..12,
    ) {
        let wire = lines.concat().into_bytes();
        let whole = decode(&UNSIGNED, decoded_bytes, [Bytes::copy_from_slice(&wire)]);
        let pieces = decode(&UNSIGNED, decoded_bytes, cut(&wire, &cuts));
        prop_assert_eq!(pieces, whole);
    }
}
