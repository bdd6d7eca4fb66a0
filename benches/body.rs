//! What a body costs on its way through, by form; nothing but this crate's own work is measured.

#![allow(clippy::expect_used, clippy::panic, reason = "a bench that cannot run has to say so")]

use std::{
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http_body::{Body, Frame};
use subgate::{
    auth::ChunkSeed,
    body::{
        chunked::Mode,
        content_check::ExpectedDigests,
        digest::{ChecksumAlgorithm, RunningDigest, to_base64},
        pace::Pace,
        plan::{Framing, Plan},
        upload::Upload,
        verifying::VerifyingBody,
    },
    secret::Secret,
};

const CONTENT_BYTES: usize = 64 << 20;
const FRAME_BYTES: usize = 256 << 10;

/// Frames of one buffer, always there.
struct Ready(Bytes);

impl Body for Ready {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = self.0.len().min(FRAME_BYTES);
        Poll::Ready((bytes > 0).then(|| Ok(Frame::data(self.0.split_to(bytes)))))
    }
}

/// The content in chunks of 64 KiB, and its trailer; signatures are right.
fn wire(seed: Option<&ChunkSeed>, content: &[u8], trailer: &str) -> Bytes {
    let mut previous = seed.map(|seed| seed.signature.clone()).unwrap_or_default();
    let sha256 = |bytes: &[u8]| hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes));
    let mut out = Vec::new();
    for chunk in content.chunks(64 << 10).chain([b"".as_slice()]) {
        out.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if let Some(seed) = seed {
            let string = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
                seed.date,
                seed.scope,
                sha256(b""),
                sha256(chunk)
            );
            previous = aws_sigv4::sign::v4::calculate_signature(seed.signing_key.expose(), string.as_bytes());
            out.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(chunk);
        if !chunk.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(trailer.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.into()
}

fn run(plan: &Plan, wire: &Bytes) -> u64 {
    let pace = Pace::idle(Duration::from_secs(60));
    let mut context = Context::from_waker(Waker::noop());
    let body = VerifyingBody::new(Ready(wire.clone()), plan.clone(), pace);
    let preparing = std::pin::pin!(Upload::prepare(body));
    let Poll::Ready(Ok(mut upload)) = preparing.poll(&mut context) else {
        panic!("a large body is prepared at once")
    };
    let mut sent = 0;
    while let Poll::Ready(Some(frame)) = Pin::new(&mut upload).poll_frame(&mut context) {
        sent += black_box(frame.expect("a right body")).data_ref().map_or(0, Bytes::len) as u64;
    }
    assert_eq!(sent, plan.outbound_bytes());
    sent
}

fn bodies(criterion: &mut Criterion) {
    let content = vec![0x5a_u8; CONTENT_BYTES];
    let decoded_bytes = CONTENT_BYTES as u64;
    let seed = ChunkSeed {
        signing_key: Secret::new([7; 32]),
        date: "20130524T000000Z".to_owned(),
        scope: "20130524/us-east-1/s3/aws4_request".to_owned(),
        signature: "0".repeat(64),
    };
    let digest = |algorithm| {
        let mut running = RunningDigest::new(algorithm);
        running.update(&content);
        running.finish()
    };
    let crc = format!("x-amz-checksum-crc64nvme:{}\r\n", to_base64(&digest(ChecksumAlgorithm::Crc64Nvme)));
    let sha256 = <[u8; 32]>::try_from(digest(ChecksumAlgorithm::Sha256)).expect("32 bytes");

    let plain = Bytes::from(content.clone());
    let unsigned = wire(None, &content, &crc);
    let plan = |framing, sha256| {
        let expected = ExpectedDigests { sha256, ..ExpectedDigests::default() };
        Plan::new(framing, decoded_bytes, expected)
    };
    let unsigned_plan = plan(Framing::Chunked(Mode::UnsignedTrailer(ChecksumAlgorithm::Crc64Nvme)), None);
    let cases = [
        ("plain", plan(Framing::Plain, None), plain.clone()),
        ("sha256", plan(Framing::Plain, Some(sha256)), plain),
        ("unsigned trailer", unsigned_plan.clone(), unsigned.clone()),
        ("unsigned trailer reframed", unsigned_plan.forward_trailer(1 << 20), unsigned),
        (
            "signed chunks",
            plan(Framing::Chunked(Mode::SignedChunks(seed.clone())), None),
            wire(Some(&seed), &content, ""),
        ),
    ];
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(decoded_bytes)).sample_size(10);
    for (name, plan, wire) in cases {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| run(&plan, &wire)));
    }
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
