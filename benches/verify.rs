//! What it costs to verify one request, by the way it is signed: time, and before it the allocations, which
//! are the same in every run.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::print_stdout, reason = "its report")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot be set up should stop")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use subgate::{
    auth::{
        Audience, Declared, Head, SessionCredentials, SessionKey, SessionKeys, Settings, Verifier,
        bittensor::btauth,
        bittensor::sr25519::Keypair,
        sigv4::signer::{ClientRequest, Credentials, Signer},
    },
    s3::uri::Query,
    secret::Secret,
    time::UnixTime,
};

const HOST: &str = "s3.example:8014";
const REGION: &str = "us-east-1";
/// Most allocations for a request of a session that is known already: a test holds it as well.
const SESSION_ALLOCATIONS_MAX: u64 = 4;

/// Hotkeys that are at work side by side in one case.
const HOTKEYS: u32 = 4096;

const NOW: UnixTime = UnixTime::from_seconds(1_795_243_710);

fn verifier() -> Verifier {
    let key = SessionKey { id: "k1".into(), secret: Secret::new([1; 32]), accept_until: None };
    Verifier::new(Settings {
        region: REGION.into(),
        session_keys: SessionKeys::new(vec![key], "k1").unwrap(),
        audience: audience(),
        session_seconds_max: 86_400,
        presigned_seconds_max: 604_800,
    })
}

fn audience() -> Audience {
    Audience { receiver: None, allow_none: true }
}

/// What a client sends for one object, with the headers that SDKs add.
fn request() -> ClientRequest {
    let path = "/data-universe/data/x/5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY/job_id=1/a.parquet";
    let mut request = ClientRequest::new(Method::PUT, HOST, path)
        .and_then(|request| request.header("content-type", "application/octet-stream"))
        .and_then(|request| request.header("x-amz-checksum-crc32", "DUoRhQ=="))
        .and_then(|request| request.header("user-agent", "Boto3/1.44 md/Botocore#1.44"))
        .unwrap();
    request.query = Query::parse(Some("partNumber=1&uploadId=abcdefghijklmnop")).unwrap();
    request
}

struct Arrived {
    request: ClientRequest,
    path: String,
    query: String,
}

impl Arrived {
    fn new(request: ClientRequest) -> Self {
        let target = request.target();
        let (path, query) = target.split_once('?').unwrap();
        Self { path: path.into(), query: query.into(), request }
    }

    fn verify(&self, verifier: &Verifier) {
        let head = Head {
            method: &self.request.method,
            path: &self.path,
            query: Some(&self.query),
            headers: &self.request.headers,
            hosts: &[HOST],
            accept_encodings: &[],
            is_own_host: &|host| host == HOST,
            may_verify: &|_| Ok(()),
        };
        black_box(verifier.verify(&head, NOW).unwrap());
    }
}

/// What a hotkey sends to begin a session.
fn session_headers(keypair: &Keypair) -> HeaderMap {
    let nonce_nanos = u64::try_from(NOW.nanos()).unwrap();
    btauth::sign(keypair, "POST", "/v1/session", b"", None, nonce_nanos)
        .into_iter()
        .map(|(name, text)| (HeaderName::from_static(name), HeaderValue::from_str(&text).unwrap()))
        .collect()
}

fn begin_session(verifier: &Verifier, keypair: &Keypair) -> SessionCredentials {
    let headers = session_headers(keypair);
    let evidence = btauth::verify(&headers, "POST", "/v1/session", b"", &audience(), NOW).unwrap();
    verifier.issue(&evidence, None, NOW).unwrap()
}

/// One request of each of [`HOTKEYS`] hotkeys, signed by a session of its own.
fn requests_of_many(verifier: &Verifier) -> Vec<Arrived> {
    let arrived = |number: u32| {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let session = begin_session(verifier, &Keypair::from_mini_secret(&seed).unwrap());
        let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
        let mut request = request();
        signer.sign(&mut request, &Declared::Sha256([7; 32])).unwrap();
        Arrived::new(request)
    };
    (0..HOTKEYS).map(arrived).collect()
}

/// The fewest allocations of some calls: the cache of sessions puts itself in order now and then, on the
/// thread of whoever asks it.
fn allocations(name: &str, call: impl Fn()) -> u64 {
    let fewest = (0..10).map(|_| allocation_counter::measure(&call).count_total).min().unwrap();
    println!("{name:<32} {fewest} allocations");
    fewest
}

fn verify(criterion: &mut Criterion) {
    let keypair = Keypair::from_mini_secret(&[7; 32]).unwrap();
    let warm = verifier();
    let session = begin_session(&warm, &keypair);
    let hash = Declared::Sha256([7; 32]);

    let mut group = criterion.benchmark_group("verify");
    for (name, credentials) in
        [("session", Credentials::Session(&session)), ("sr25519", Credentials::Hotkey(&keypair))]
    {
        let signer = Signer { credentials, region: REGION, now: NOW };
        let (mut header, mut presigned) = (request(), request());
        signer.sign(&mut header, &hash).unwrap();
        presigned.headers.remove("x-amz-checksum-crc32");
        signer.presign(&mut presigned, 3600, &Declared::Unsigned).unwrap();
        let (header, presigned) = (Arrived::new(header), Arrived::new(presigned));
        let fewest = [
            allocations(&format!("verify/{name}/header"), || header.verify(&warm)),
            allocations(&format!("verify/{name}/presigned"), || presigned.verify(&warm)),
        ];
        assert!(name != "session" || fewest.iter().all(|count| *count <= SESSION_ALLOCATIONS_MAX));
        group.bench_function(format!("{name}/header"), |bencher| bencher.iter(|| header.verify(&warm)));
        group.bench_function(format!("{name}/presigned"), |bencher| bencher.iter(|| presigned.verify(&warm)));
        if name == "session" {
            group.bench_function("session/header/uncached", |bencher| {
                bencher.iter_batched_ref(verifier, |cold| header.verify(cold), BatchSize::SmallInput);
            });
        }
    }
    let arrived = requests_of_many(&warm);
    arrived.iter().for_each(|arrived| arrived.verify(&warm));
    let mut next = arrived.iter().cycle();
    group.bench_function(format!("session/header/of {HOTKEYS}"), |bencher| {
        bencher.iter(|| next.next().unwrap().verify(&warm));
    });
    let headers = session_headers(&keypair);
    allocations("verify/btauth", || {
        btauth::verify(&headers, "POST", "/v1/session", b"", &audience(), NOW).unwrap();
    });
    group.bench_function("btauth", |bencher| {
        bencher.iter(|| {
            black_box(btauth::verify(&headers, "POST", "/v1/session", b"", &audience(), NOW)).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
