use std::time::Duration;

use http_body_util::StreamBody;
use proptest::prelude::*;

use super::*;
use crate::{
    auth::Payload,
    body::{
        arrival::PROVEN_FIRST_BYTES_MAX,
        chunked::Mode,
        digest::{Algorithm, Running, text},
        pace::Pace,
        plan::{Framing, Output, Plan},
        testing::{Ending, Peer, block_on, encode, next, read, seed},
    },
    error::Code,
};

const PACE: Pace =
    Pace { idle: Duration::from_millis(40), rate_min_bytes_per_second: 0, grace: Duration::from_millis(40) };
const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const FRAME_BYTES: usize = 5000;

fn content(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

fn digest(algorithm: Algorithm, content: &[u8]) -> Vec<u8> {
    let mut running = Running::new(algorithm);
    running.update(content);
    running.finish()
}

fn plain(content: &[u8]) -> Plan {
    Plan::new(&Payload::Unsigned, content.len() as u64)
}

fn open(plan: Plan, peer: Peer) -> Result<Upload<Peer>, Error> {
    let arriving = Arriving::new(peer, plan, PACE)?;
    block_on(arriving.into_upload())
}

/// That `wire` goes to the store as `expected`.
#[track_caller]
fn accepts(plan: &Plan, wire: &[u8], expected: &[u8]) {
    let declared = plan.outbound_bytes();
    let upload = open(plan.clone(), Peer::split(wire, FRAME_BYTES)).unwrap();
    let outcome = upload.outcome();
    assert_eq!(upload.size_hint().exact(), Some(declared));
    let (seen, failure) = read(upload);
    assert!(failure.is_none(), "{failure:?}");
    assert!(seen == expected, "{} bytes, not {}", seen.len(), expected.len());
    assert_eq!(seen.len() as u64, declared);
    assert!(outcome.is_proven());
    assert!(outcome.failure().is_none());
    assert_eq!(outcome.received_bytes(), wire.len() as u64);
    assert_eq!(outcome.decoded_bytes(), plan.decoded_bytes);
}

/// That `peer` is refused with `code`, and that the store's transfer stays incomplete.
#[track_caller]
fn refuses(plan: &Plan, peer: Peer, code: Code) {
    let declared = plan.outbound_bytes();
    match open(plan.clone(), peer) {
        Err(error) => {
            assert_eq!(error.code, code);
            assert!(plan.decoded_bytes <= PROVEN_FIRST_BYTES_MAX, "only small bodies are read before");
        }
        Ok(mut upload) => {
            let outcome = upload.outcome();
            block_on(async {
                let mut seen = 0;
                let error = loop {
                    match next(&mut upload).await {
                        Some(Ok(piece)) => seen += piece.len() as u64,
                        Some(Err(error)) => break error,
                        None => panic!("a clean end after {seen} bytes of {declared}"),
                    }
                };
                assert_eq!(error.code, code);
                assert!(seen < declared, "{seen} of {declared}");
                assert!(next(&mut upload).await.unwrap().is_err(), "never a clean end");
            });
            assert!(!outcome.is_proven());
            assert_eq!(outcome.failure().unwrap().code, code);
        }
    }
}

#[track_caller]
fn refuses_wire(plan: &Plan, wire: &[u8], code: Code) {
    for frame_bytes in [1000, FRAME_BYTES, wire.len().max(1)] {
        refuses(plan, Peer::split(wire, frame_bytes), code);
    }
}

const SIZES: [usize; 6] = [0, 1, 8192, 16384, 16385, 100_000];

#[test]
fn p42_plain_bodies_pass_and_their_length_is_held_to() {
    for bytes in SIZES {
        let content = content(bytes);
        let plan = plain(&content);
        accepts(&plan, &content, &content);
        refuses_wire(&plan, &[content.as_slice(), b"x"].concat(), Code::EntityTooLarge);
        if let Some((_, short)) = content.split_last() {
            refuses_wire(&plan, short, Code::IncompleteBody);
            refuses(&plan, Peer::split(short, 999).then_failure(), Code::IncompleteBody);
            // All content, but the connection breaks before the end of the body.
            refuses(&plan, Peer::split(&content, 999).then_failure(), Code::IncompleteBody);
        }
    }
}

#[test]
fn p5_content_with_another_sha256_never_becomes_an_object() {
    for bytes in SIZES {
        let content = content(bytes);
        let good = digest(Algorithm::Sha256, &content).try_into().unwrap();
        accepts(&Plan::new(&Payload::Sha256(good), bytes as u64), &content, &content);
        let plan = Plan::new(&Payload::Sha256([7; 32]), bytes as u64);
        refuses_wire(&plan, &content, Code::XAmzContentSHA256Mismatch);
    }
}

#[test]
fn p5_content_with_another_md5_or_checksum_never_becomes_an_object() {
    for bytes in SIZES {
        let content = content(bytes);
        let mut md5 = Running::md5();
        md5.update(&content);
        let md5: [u8; 16] = md5.finish().try_into().unwrap();
        accepts(&Plan { md5: Some(md5), ..plain(&content) }, &content, &content);
        refuses_wire(&Plan { md5: Some([7; 16]), ..plain(&content) }, &content, Code::BadDigest);

        let all: Vec<_> = Algorithm::ALL.map(|algorithm| (algorithm, digest(algorithm, &content))).into();
        accepts(&Plan { checksums: all.clone(), ..plain(&content) }, &content, &content);
        for at in 0..all.len() {
            let mut checksums = all.clone();
            checksums[at].1[3] ^= 1;
            refuses_wire(&Plan { checksums, ..plain(&content) }, &content, Code::BadDigest);
        }
    }
}

fn chunked(mode: Mode, content: &[u8], trailer: Option<Algorithm>) -> (Plan, Vec<u8>) {
    let value = trailer.map(|algorithm| (algorithm.header(), text(&digest(algorithm, content))));
    let chunks: Vec<&[u8]> = content.chunks(10_000).collect();
    let trailer_text = value.as_ref().map(|(name, value)| (*name, value.as_str()));
    let wire = encode(&mode, &chunks, trailer_text, Ending::Plain);
    (Plan { framing: Framing::Chunked(mode), trailer, ..plain(content) }, wire)
}

fn modes() -> [(Mode, Option<Algorithm>); 4] {
    [
        (Mode::SignedChunks(seed(SEED)), None),
        (Mode::SignedChunksTrailer(seed(SEED)), Some(Algorithm::Crc32c)),
        (Mode::UnsignedTrailer, Some(Algorithm::Crc64Nvme)),
        (Mode::UnsignedTrailer, None),
    ]
}

#[test]
fn p4_chunked_bodies_leave_plain() {
    for bytes in SIZES {
        let content = content(bytes);
        for (mode, trailer) in modes() {
            let (plan, wire) = chunked(mode, &content, trailer);
            accepts(&plan, &wire, &content);
            refuses_wire(&plan, &[&wire, b"x".as_slice()].concat(), Code::MalformedTrailerError);
            // Up to the last chunk's own header everything is as it should be: the proof is missing.
            let cut = &wire[..wire.len().saturating_sub(300).min(wire.len() / 2)];
            refuses_wire(&plan, cut, Code::IncompleteBody);
        }
    }
}

#[test]
fn p6_a_false_trailer_never_becomes_an_object() {
    for bytes in SIZES {
        let content = content(bytes);
        for algorithm in Algorithm::ALL {
            let (plan, wire) = chunked(Mode::UnsignedTrailer, &content, Some(algorithm));
            accepts(&plan, &wire, &content);
            let value = text(&digest(algorithm, &content));
            let other = text(&digest(algorithm, b"other"));
            let head = &wire[..wire.len() - value.len() - 4];
            for (value, code) in [(other.as_str(), Code::BadDigest), ("AAA=", Code::InvalidRequest)] {
                let forged = [head, value.as_bytes(), b"\r\n\r\n"].concat();
                refuses_wire(&plan, &forged, code);
                let reframed = Plan { output: Output::UnsignedTrailer { chunk_bytes: 8192 }, ..plan.clone() };
                refuses_wire(&reframed, &forged, code);
            }
        }
    }
}

#[test]
fn p4_a_false_chunk_never_becomes_an_object() {
    let content = content(100_000);
    let (plan, mut wire) = chunked(Mode::SignedChunks(seed(SEED)), &content, None);
    wire[60_000] ^= 1;
    refuses_wire(&plan, &wire, Code::SignatureDoesNotMatch);
}

#[test]
fn p6_trailers_are_reframed_for_a_store_that_takes_them() {
    for bytes in SIZES {
        for chunk_bytes in [0, 8192, 65536, 1 << 20] {
            let content = content(bytes);
            for algorithm in Algorithm::ALL {
                let value = text(&digest(algorithm, &content));
                let size = usize::try_from(chunk_bytes).unwrap().max(8192);
                let pieces: Vec<&[u8]> = content.chunks(size).collect();
                let trailer = Some((algorithm.header(), value.as_str()));
                let expected = encode(&Mode::UnsignedTrailer, &pieces, trailer, Ending::Plain);
                for mode in [Mode::UnsignedTrailer, Mode::SignedChunksTrailer(seed(SEED))] {
                    let (mut plan, wire) = chunked(mode, &content, Some(algorithm));
                    plan.output = Output::UnsignedTrailer { chunk_bytes };
                    accepts(&plan, &wire, &expected);
                }
            }
        }
    }
}

#[test]
fn a_plan_that_does_not_fit_together_is_refused() {
    let refused = |plan: Plan| Arriving::new(Peer::of(&[]), plan, PACE).err().unwrap().code;
    let chunks = |mode, trailer| Plan { framing: Framing::Chunked(mode), trailer, ..plain(b"") };
    assert_eq!(refused(chunks(Mode::SignedChunksTrailer(seed(SEED)), None)), Code::MalformedTrailerError);
    assert_eq!(refused(chunks(Mode::SignedChunks(seed(SEED)), Some(Algorithm::Sha1))), Code::InvalidRequest);
    assert_eq!(refused(Plan { trailer: Some(Algorithm::Sha1), ..plain(b"") }), Code::InvalidRequest);
    let output = Output::UnsignedTrailer { chunk_bytes: 8192 };
    assert_eq!(refused(Plan { output, ..plain(b"") }), Code::InternalError);
}

#[test]
fn p5_a_small_body_is_proven_before_it_is_there_for_the_store() {
    let small = content(usize::try_from(PROVEN_FIRST_BYTES_MAX).unwrap());
    let upload = open(plain(&small), Peer::split(&small, 100)).unwrap();
    assert!(upload.outcome().is_proven());

    let large = content(small.len() + 1);
    let upload = open(plain(&large), Peer::split(&large, 100)).unwrap();
    assert_eq!(upload.outcome().received_bytes(), 0, "a large one is not touched");
}

#[test]
fn p5_an_empty_body_needs_its_proof() {
    let (plan, wire) = chunked(Mode::SignedChunks(seed(SEED)), b"", None);
    accepts(&plan, &wire, b"");
    refuses_wire(&plan, b"", Code::IncompleteBody);
    let upload = open(plain(b""), Peer::of(&[])).unwrap();
    assert!(upload.is_end_stream());
}

#[test]
fn p41_the_rest_of_an_unread_body_is_left_for_draining() {
    let content = content(100_000);
    let mut upload = open(plain(&content), Peer::split(&content, 10_000)).unwrap();
    let outcome = upload.outcome();
    block_on(next(&mut upload)).unwrap().unwrap();
    assert!(outcome.take_rest().is_none(), "it is still being read");
    drop(upload);
    assert_eq!(outcome.take_rest().unwrap().left_frames(), 9);

    let upload = open(plain(&content), Peer::split(&content, 10_000)).unwrap();
    let outcome = upload.outcome();
    let _ = read(upload);
    assert!(outcome.take_rest().is_none(), "nothing is left");
}

#[test]
fn p47_a_client_that_falls_silent_is_timed_out() {
    for bytes in [10, 100_000] {
        let content = content(bytes);
        refuses(
            &plain(&content),
            Peer::split(&content[..bytes / 2], 1000).then_silence(),
            Code::RequestTimeout,
        );
    }
}

#[test]
fn p47_a_client_that_trickles_is_timed_out() {
    let trickle = |byte_millis: u64| {
        StreamBody::new(Box::pin(futures_util::stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_millis(byte_millis)).await;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), ()))
        })))
    };
    let pace = Pace {
        idle: Duration::from_secs(60),
        rate_min_bytes_per_second: 100,
        grace: Duration::from_millis(100),
    };
    let run = |body| block_on(async { Arriving::new(body, plain(&[0; 60]), pace)?.collect(60).await });
    assert_eq!(run(trickle(40)).unwrap_err().code, Code::RequestTimeout);
    // Fast enough: it gets as far as being too long.
    assert_eq!(run(trickle(0)).unwrap_err().code, Code::EntityTooLarge);
}

/// What a store behind hyper's client sees of the body of a PUT, up to the end of the connection.
fn through_hyper(upload: Upload<Peer>, whole_bytes: usize) -> (usize, bool) {
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt as _;
    block_on(async {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        // It reads until the body is whole or the connection breaks, and then goes away.
        let store = async move {
            let mut seen = Vec::new();
            let mut body_bytes = 0;
            while body_bytes < whole_bytes && far.read_buf(&mut seen).await.unwrap_or(0) > 0 {
                let head = seen.windows(4).position(|window| window == b"\r\n\r\n");
                body_bytes = head.map_or(0, |at| seen.len() - at - 4);
            }
            body_bytes
        };
        let request = http::Request::put("/b/k").header("host", "store").body(upload).unwrap();
        let (answer, _, body_bytes) = tokio::join!(sender.send_request(request), connection, store);
        (body_bytes, answer.is_err())
    })
}

#[test]
fn p5_behind_hyper_a_false_body_is_a_broken_transfer() {
    let content = content(300_000);
    let good = digest(Algorithm::Sha256, &content).try_into().unwrap();
    let upload = |sha256| open(Plan::new(&Payload::Sha256(sha256), 300_000), Peer::split(&content, 70_000));
    assert_eq!(through_hyper(upload(good).unwrap(), content.len()).0, 300_000);
    let (seen_bytes, failed) = through_hyper(upload([7; 32]).unwrap(), content.len());
    assert!(seen_bytes < 300_000, "{seen_bytes}");
    assert!(failed);
}

#[test]
fn bodies_fit_hypers_client_and_server() {
    use crate::body::{
        late_error::LateError,
        relay::{End, Relay},
    };
    use hyper::body::Incoming;
    fn fits<B>()
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
    }
    fits::<Upload<Incoming>>();
    type Rewrite = Box<dyn FnOnce(Bytes) -> Bytes + Send>;
    type Finish = Box<dyn FnOnce(u64, End) + Send>;
    fits::<Relay<Incoming, (), Finish>>();
    fits::<Relay<LateError<Incoming, Rewrite>, (), Finish>>();
    fn shared<T: Send + Sync>() {}
    shared::<Outcome<Incoming>>();
}

#[test]
fn p8_many_tiny_frames_are_not_gathered() {
    let content = content(200_000);
    let mut upload = open(plain(&content), Peer::split(&content, 1)).unwrap();
    block_on(async {
        for _ in 0..content.len() {
            let piece = next(&mut upload).await.unwrap().unwrap();
            assert_eq!(piece.len(), 1);
        }
    });
    assert!(upload.is_end_stream());
}

#[test]
fn xml_bodies_are_collected_and_proven() {
    let content = content(50_000);
    let collect = |plan: Plan, wire: &[u8], max| {
        block_on(Arriving::new(Peer::split(wire, 999), plan, PACE).unwrap().collect(max))
    };
    assert!(collect(plain(&content), &content, 50_000).unwrap() == content);
    let error = collect(plain(&content), &content, 49_999).unwrap_err();
    assert_eq!(error.code, Code::MaxMessageLengthExceeded);
    let error = collect(Plan { md5: Some([0; 16]), ..plain(&content) }, &content, 50_000).unwrap_err();
    assert_eq!(error.code, Code::BadDigest);
    assert!(plain(&content).prove(&content).is_ok());
    assert_eq!(
        Plan { sha256: Some([0; 32]), ..plain(b"") }.prove(b"").unwrap_err().code,
        Code::XAmzContentSHA256Mismatch
    );
}

#[test]
fn p42_lengths_towards_the_store_do_not_overflow() {
    let plan = Plan {
        trailer: Some(Algorithm::Crc32),
        output: Output::UnsignedTrailer { chunk_bytes: 1 },
        ..Plan::new(&Payload::UnsignedTrailer, u64::MAX)
    };
    assert_eq!(plan.outbound_bytes(), u64::MAX);
    let plan =
        Plan { decoded_bytes: 5 << 30, output: Output::UnsignedTrailer { chunk_bytes: 1 << 20 }, ..plan };
    assert_eq!(plan.outbound_bytes(), (5 << 30) + 5120 * (6 + 4) + 3 + 20 + 1 + 8 + 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn p5_any_frames_any_form_the_same_bytes(
        bytes in 0_usize..40_000,
        frame_bytes in 1_usize..20_000,
        form in 0_usize..4,
        reframe: bool,
        corrupt in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let content = content(bytes);
        let (mode, trailer) = modes()[form].clone();
        let (mut plan, mut wire) = chunked(mode, &content, trailer);
        if reframe && trailer.is_some() {
            plan.output = Output::UnsignedTrailer { chunk_bytes: 9000 };
        }
        let declared = plan.outbound_bytes();
        if let Some(at) = corrupt {
            let at = at.index(wire.len());
            // A bit whose flip is never only a change of case.
            wire[at] ^= 0x80;
            let checked = trailer.is_some() || form == 0;
            match open(plan, Peer::split(&wire, frame_bytes)) {
                Err(_) => {}
                Ok(upload) => {
                    let (seen, failure) = read(upload);
                    prop_assert!(!checked || failure.is_some());
                    prop_assert!(failure.is_none() || (seen.len() as u64) < declared);
                }
            }
        } else {
            let (seen, failure) = read(open(plan.clone(), Peer::split(&wire, frame_bytes)).unwrap());
            prop_assert!(failure.is_none());
            prop_assert_eq!(seen.len() as u64, declared);
            if plan.output == Output::Plain {
                prop_assert!(seen == content);
            }
        }
    }
}
