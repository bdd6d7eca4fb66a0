use std::{sync::Arc, time::Duration};

use http_body_util::StreamBody;
use proptest::prelude::*;

use super::*;
use crate::{
    body::{
        chunked::Mode,
        content_check::ExpectedDigests,
        digest::{ChecksumAlgorithm, RunningDigest, to_base64},
        output::Output,
        pace::Pace,
        plan::{Framing, Plan},
        report::UploadReport,
        testing::{Ending, Peer, block_on, encode, next, read, seed},
        verifying::VERIFIED_FIRST_BYTES_MAX,
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

fn digest(algorithm: ChecksumAlgorithm, content: &[u8]) -> Vec<u8> {
    let mut running = RunningDigest::new(algorithm);
    running.update(content);
    running.finish()
}

fn plain(content: &[u8]) -> Plan {
    expecting(content, ExpectedDigests::default())
}

fn expecting(content: &[u8], expected: ExpectedDigests) -> Plan {
    Plan::new(Framing::Plain, content.len() as u64, expected)
}

fn sha256(sha256: [u8; 32]) -> ExpectedDigests {
    ExpectedDigests { sha256: Some(sha256), ..ExpectedDigests::default() }
}

/// A body whose upload is prepared, and its report.
fn prepare(plan: Plan, peer: Peer) -> (Arc<UploadReport>, Result<Upload<Peer>>) {
    let body = VerifyingBody::new(peer, plan, PACE);
    (body.report(), block_on(Upload::prepare(body)))
}

fn open(plan: Plan, peer: Peer) -> (Arc<UploadReport>, Upload<Peer>) {
    let (report, upload) = prepare(plan, peer);
    (report, upload.unwrap())
}

/// That `wire` goes to the store as `expected`.
#[track_caller]
fn accepts(plan: &Plan, wire: &[u8], expected: &[u8]) {
    let declared = plan.outbound_bytes();
    let (report, upload) = open(plan.clone(), Peer::split(wire, FRAME_BYTES));
    assert_eq!(upload.size_hint().exact(), Some(declared));
    let (seen, failure) = read(upload);
    assert!(failure.is_none(), "{failure:?}");
    assert!(seen == expected, "{} bytes, not {}", seen.len(), expected.len());
    assert_eq!(seen.len() as u64, declared);
    assert!(report.is_verified());
    assert!(report.failure().is_none());
}

/// That `peer` is refused with `code`, and that the store's transfer stays incomplete.
#[track_caller]
fn refuses(plan: &Plan, peer: Peer, code: Code) {
    let declared = plan.outbound_bytes();
    let (report, upload) = prepare(plan.clone(), peer);
    match upload {
        Err(error) => {
            assert_eq!(error.code, code);
            assert!(plan.decoded_bytes() <= VERIFIED_FIRST_BYTES_MAX, "only small bodies are read before");
        }
        Ok(mut upload) => {
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
        }
    }
    assert!(!report.is_verified());
    assert_eq!(report.failure().unwrap().code, code);
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
        let good = digest(ChecksumAlgorithm::Sha256, &content).try_into().unwrap();
        accepts(&expecting(&content, sha256(good)), &content, &content);
        let plan = expecting(&content, sha256([7; 32]));
        refuses_wire(&plan, &content, Code::XAmzContentSHA256Mismatch);
    }
}

#[test]
fn p5_content_with_another_md5_or_checksum_never_becomes_an_object() {
    for bytes in SIZES {
        let content = content(bytes);
        let mut md5 = RunningDigest::md5();
        md5.update(&content);
        let md5: [u8; 16] = md5.finish().try_into().unwrap();
        let expecting_md5 =
            |md5| expecting(&content, ExpectedDigests { md5: Some(md5), ..ExpectedDigests::default() });
        accepts(&expecting_md5(md5), &content, &content);
        refuses_wire(&expecting_md5([7; 16]), &content, Code::BadDigest);

        let all: Vec<_> =
            ChecksumAlgorithm::ALL.map(|algorithm| (algorithm, digest(algorithm, &content))).into();
        let expecting_checksums =
            |checksums| expecting(&content, ExpectedDigests { checksums, ..ExpectedDigests::default() });
        accepts(&expecting_checksums(all.clone()), &content, &content);
        for at in 0..all.len() {
            let mut checksums = all.clone();
            checksums[at].1[3] ^= 1;
            refuses_wire(&expecting_checksums(checksums), &content, Code::BadDigest);
        }
    }
}

fn chunked(mode: Mode, content: &[u8]) -> (Plan, Vec<u8>) {
    let trailer = mode.trailer().map(|algorithm| to_base64(&digest(algorithm, content)));
    let chunks: Vec<&[u8]> = content.chunks(10_000).collect();
    let wire = encode(&mode, &chunks, &trailer.unwrap_or_default(), Ending::Plain);
    (Plan::new(Framing::Chunked(mode), content.len() as u64, ExpectedDigests::default()), wire)
}

fn modes() -> [Mode; 3] {
    [
        Mode::SignedChunks(seed(SEED)),
        Mode::SignedChunksTrailer(seed(SEED), ChecksumAlgorithm::Crc32c),
        Mode::UnsignedTrailer(ChecksumAlgorithm::Crc64Nvme),
    ]
}

#[test]
fn p4_chunked_bodies_leave_plain() {
    for bytes in SIZES {
        let content = content(bytes);
        for mode in modes() {
            let (plan, wire) = chunked(mode, &content);
            accepts(&plan, &wire, &content);
            refuses_wire(&plan, &[&wire, b"x".as_slice()].concat(), Code::MalformedTrailerError);
            // Up to the last chunk's own header everything is as it should be: the end is missing.
            let cut = &wire[..wire.len().saturating_sub(300).min(wire.len() / 2)];
            refuses_wire(&plan, cut, Code::IncompleteBody);
        }
    }
}

#[test]
fn p6_a_false_trailer_never_becomes_an_object() {
    for bytes in SIZES {
        let content = content(bytes);
        for algorithm in ChecksumAlgorithm::ALL {
            let (plan, wire) = chunked(Mode::UnsignedTrailer(algorithm), &content);
            accepts(&plan, &wire, &content);
            let value = to_base64(&digest(algorithm, &content));
            let other = to_base64(&digest(algorithm, b"other"));
            let head = &wire[..wire.len() - value.len() - 4];
            for (value, code) in [(other.as_str(), Code::BadDigest), ("AAA=", Code::InvalidRequest)] {
                let forged = [head, value.as_bytes(), b"\r\n\r\n"].concat();
                refuses_wire(&plan, &forged, code);
                refuses_wire(&plan.clone().forward_trailer(8192), &forged, code);
            }
        }
    }
}

#[test]
fn p4_a_false_chunk_never_becomes_an_object() {
    let content = content(100_000);
    let (plan, mut wire) = chunked(Mode::SignedChunks(seed(SEED)), &content);
    wire[60_000] ^= 1;
    refuses_wire(&plan, &wire, Code::SignatureDoesNotMatch);
}

#[test]
fn p6_trailers_are_reframed_for_a_store_that_takes_them() {
    for bytes in SIZES {
        for chunk_bytes in [0, 8192, 65536, 1 << 20] {
            let content = content(bytes);
            for algorithm in ChecksumAlgorithm::ALL {
                let value = to_base64(&digest(algorithm, &content));
                let size = usize::try_from(chunk_bytes).unwrap().max(8192);
                let pieces: Vec<&[u8]> = content.chunks(size).collect();
                let unsigned = Mode::UnsignedTrailer(algorithm);
                let expected = encode(&unsigned, &pieces, &value, Ending::Plain);
                for mode in [unsigned, Mode::SignedChunksTrailer(seed(SEED), algorithm)] {
                    let (plan, wire) = chunked(mode, &content);
                    accepts(&plan.forward_trailer(chunk_bytes), &wire, &expected);
                }
            }
        }
    }
}

#[test]
fn p5_a_small_body_is_proven_before_it_is_there_for_the_store() {
    let small = content(usize::try_from(VERIFIED_FIRST_BYTES_MAX).unwrap());
    let (report, _upload) = open(plain(&small), Peer::split(&small, 100));
    assert!(report.is_verified());

    let large = content(small.len() + 1);
    let (report, upload) = open(plain(&large), Peer::split(&large, 100).then_failure());
    assert!(!report.is_verified() && report.failure().is_none(), "a large one is not touched");
    drop(upload);
}

#[test]
fn p5_an_empty_body_needs_its_proof() {
    let (plan, wire) = chunked(Mode::SignedChunks(seed(SEED)), b"");
    accepts(&plan, &wire, b"");
    refuses_wire(&plan, b"", Code::IncompleteBody);
    let (_, upload) = open(plain(b""), Peer::of(&[]));
    assert!(upload.is_end_stream());
}

/// A peer and a mark: the mark is gone once the body that held it was dropped.
struct Marked {
    peer: Peer,
    _mark: Arc<()>,
}

impl Body for Marked {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, std::io::Error>>> {
        Pin::new(&mut self.get_mut().peer).poll_frame(context)
    }
}

#[test]
fn p41_the_clients_body_is_let_go_at_its_end_and_with_the_upload() {
    let content = content(100_000);
    let open = |mark: &Arc<()>| {
        let source = Marked { peer: Peer::split(&content, 10_000), _mark: Arc::clone(mark) };
        block_on(Upload::prepare(VerifyingBody::new(source, plain(&content), PACE))).unwrap()
    };
    let mark = Arc::new(());
    let mut upload = open(&mark);
    block_on(next(&mut upload)).unwrap().unwrap();
    assert_eq!(Arc::strong_count(&mark), 2, "it is still being read");
    drop(upload);
    assert_eq!(Arc::strong_count(&mark), 1);

    let mut upload = open(&mark);
    while block_on(next(&mut upload)).is_some() {}
    assert_eq!(Arc::strong_count(&mark), 1, "it was read to its end");
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
    let run = |body| {
        let body = VerifyingBody::new(body, plain(&[0; 60]), pace);
        block_on(Upload::prepare(body)).err().unwrap()
    };
    assert_eq!(run(trickle(40)).code, Code::RequestTimeout);
    // Fast enough: it gets as far as being too long.
    assert_eq!(run(trickle(0)).code, Code::EntityTooLarge);
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
    let good = digest(ChecksumAlgorithm::Sha256, &content).try_into().unwrap();
    let upload = |digest| open(expecting(&content, sha256(digest)), Peer::split(&content, 70_000)).1;
    assert_eq!(through_hyper(upload(good), content.len()).0, 300_000);
    let (seen_bytes, failed) = through_hyper(upload([7; 32]), content.len());
    assert!(seen_bytes < 300_000, "{seen_bytes}");
    assert!(failed);
}

#[test]
fn bodies_fit_hypers_client_and_server() {
    use crate::body::{
        answer_stream::{AnswerEnd, AnswerStream},
        late_error::LateError,
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
    type OnEnd = Box<dyn FnOnce(u64, AnswerEnd) + Send>;
    fits::<AnswerStream<Incoming, OnEnd>>();
    fits::<AnswerStream<LateError<Incoming, Rewrite>, OnEnd>>();
    fn shared<T: Send + Sync>() {}
    shared::<UploadReport>();
}

#[test]
fn p8_many_tiny_frames_are_not_gathered() {
    let content = content(200_000);
    let (_, mut upload) = open(plain(&content), Peer::split(&content, 1));
    block_on(async {
        for _ in 0..content.len() {
            let piece = next(&mut upload).await.unwrap().unwrap();
            assert_eq!(piece.len(), 1);
        }
    });
    assert!(upload.is_end_stream());
}

#[test]
fn p42_lengths_towards_the_store_do_not_overflow() {
    let outbound_bytes = |decoded_bytes, chunk_bytes| {
        let framing = Framing::Chunked(Mode::UnsignedTrailer(ChecksumAlgorithm::Crc32));
        let plan = Plan::new(framing, decoded_bytes, ExpectedDigests::default());
        plan.forward_trailer(chunk_bytes).outbound_bytes()
    };
    assert_eq!(outbound_bytes(u64::MAX, 1), u64::MAX);
    assert_eq!(outbound_bytes(5 << 30, 1 << 20), (5 << 30) + 5120 * (6 + 4) + 3 + 20 + 1 + 8 + 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn p5_any_frames_any_form_the_same_bytes(
        bytes in 0_usize..40_000,
        frame_bytes in 1_usize..20_000,
        form in 0_usize..3,
        reframe: bool,
        corrupt in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let content = content(bytes);
        let (mut plan, mut wire) = chunked(modes()[form].clone(), &content);
        if reframe {
            plan = plan.forward_trailer(9000);
        }
        let declared = plan.outbound_bytes();
        if let Some(at) = corrupt {
            let at = at.index(wire.len());
            // A bit whose flip is never only a change of case.
            wire[at] ^= 0x80;
            match prepare(plan, Peer::split(&wire, frame_bytes)).1 {
                Err(_) => {}
                Ok(upload) => {
                    let (seen, failure) = read(upload);
                    prop_assert!(failure.is_some());
                    prop_assert!((seen.len() as u64) < declared);
                }
            }
        } else {
            let (seen, failure) = read(open(plan.clone(), Peer::split(&wire, frame_bytes)).1);
            prop_assert!(failure.is_none());
            prop_assert_eq!(seen.len() as u64, declared);
            if plan.output() == Output::Plain {
                prop_assert!(seen == content);
            }
        }
    }
}
