//! What it costs to decide: whether a caller may do what a request asks for, and who the caller is.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot be set up should stop")]

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use subgate::{
    chain::{AccountId, Owner, RegistryFile, Role},
    policy::{Caller, Policy, RoleRights, Template, Values},
    s3::{Addressing, ForwardedHeaders, Operation, Request, uri::Query},
};

const TEMPLATES: [&str; 3] = [
    "data/{source}/{coldkey}/",
    "data/hotkey={hotkey}/job_id={job_id}/",
    "archive/{year}/{source}/{coldkey}/",
];

/// As many hotkeys as a subnet has.
const REGISTERED: u8 = 255;

fn account(id: u8) -> AccountId {
    AccountId::from_bytes([id; 32]).unwrap()
}

fn policy(templates: &[&str]) -> Policy {
    let variables = BTreeMap::from([
        ("source".to_owned(), Values::List(vec!["x".to_owned(), "reddit".to_owned()])),
        ("job_id".to_owned(), Values::pattern("[A-Za-z0-9_-]{1,64}").unwrap()),
        ("year".to_owned(), Values::pattern("20[0-9]{2}").unwrap()),
    ]);
    let templates = templates.iter().map(|text| Template::parse(text, &variables).unwrap());
    Policy::new(templates.collect(), RoleRights::default())
}

fn request(method: &Method, target: &str) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = Query::parse(Some(query)).unwrap();
    Request::parse(method, Addressing::Path, path, query, &HeaderMap::new()).unwrap()
}

/// With one template it is the first that fits, with three the last.
fn authorise(criterion: &mut Criterion) {
    let owner = Arc::new(Owner::new(account(1), account(101)));
    let caller = Caller { hotkey: account(1), owner: Arc::clone(&owner), role: Role::Miner };
    let (first, last) =
        (format!("data/x/{}/", owner.coldkey()), format!("archive/2026/reddit/{}/", owner.coldkey()));
    let mut group = criterion.benchmark_group("authorise");
    for (templates, folder) in [(TEMPLATES.split_at(1).0, first), (&TEMPLATES[..], last)] {
        let policy = policy(templates);
        for (name, method, target) in [
            ("get", Method::GET, format!("/b/{folder}job=1/a.parquet")),
            ("put", Method::PUT, format!("/b/{folder}job=1/a.parquet")),
            ("list", Method::GET, format!("/b?list-type=2&prefix={folder}")),
            ("list-root", Method::GET, "/b?list-type=2&delimiter=/&prefix=".to_owned()),
        ] {
            group.bench_function(format!("{name}/{}", templates.len()), |bencher| {
                bencher.iter_batched(
                    || request(&method, &target),
                    |request| {
                        black_box(policy.authorise(&caller, request).unwrap());
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        let foreign = format!("/b/{}job=1/a.parquet", folder.replace(owner.coldkey(), owner.hotkey()));
        group.bench_function(format!("refused/{}", templates.len()), |bencher| {
            bencher.iter_batched(
                || request(&Method::PUT, &foreign),
                |request| black_box(policy.authorise(&caller, request).unwrap_err()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The headers that an SDK sends.
const HEADERS: [(&str, &str); 14] = [
    ("host", "s3.example:8014"),
    ("accept-encoding", "identity"),
    ("user-agent", "Boto3/1.44 md/Botocore#1.44 ua/2.1 os/linux md/arch#x86_64 lang/python#3.13"),
    ("content-type", "application/octet-stream"),
    ("content-length", "1024"),
    ("x-amz-checksum-crc32", "DUoRhQ=="),
    ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ("x-amz-date", "20261121T064830Z"),
    ("x-amz-security-token", "AwJrMQEAAAAAAGkgd"),
    ("amz-sdk-invocation-id", "4f1f1c4e-6f3e-4a39-9c37-3a3a6a0f9d4c"),
    ("amz-sdk-request", "attempt=1"),
    ("expect", "100-continue"),
    ("authorization", "AWS4-HMAC-SHA256 Credential=…"),
];

/// What a request asks for, and what of it goes on.
fn understand(criterion: &mut Criterion) {
    let headers: HeaderMap = HEADERS
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect();
    let key = format!("/b/data/x/{}/job=1/a.parquet", Owner::new(account(1), account(101)).coldkey());
    let mut group = criterion.benchmark_group("understand");
    for (name, operation, method, query) in [
        ("get", Operation::GetObject, Method::GET, "x-id=GetObject"),
        ("put", Operation::PutObject, Method::PUT, "x-id=PutObject"),
        (
            "part",
            Operation::UploadPart,
            Method::PUT,
            "partNumber=1&uploadId=abcdefghijklmnop&x-id=UploadPart",
        ),
    ] {
        let query = Query::parse(Some(query)).unwrap();
        group.bench_function(format!("{name}/request"), |bencher| {
            bencher.iter_batched(
                || query.clone(),
                |query| {
                    let request = Request::parse(&method, Addressing::Path, &key, query, &headers).unwrap();
                    assert_eq!(request.operation, operation);
                    request
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("{name}/headers"), |bencher| {
            bencher.iter(|| ForwardedHeaders::of(operation, black_box(&headers)).unwrap());
        });
    }
    group.finish();
}

fn registry(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.json");
    let identities: Vec<_> = (1..=REGISTERED)
        .map(|id| serde_json::json!({"hotkey": account(id), "coldkey": account(255)}))
        .collect();
    std::fs::write(&path, serde_json::json!({"identities": identities}).to_string()).unwrap();
    // A file that was changed just now is read again at each look.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let file = RegistryFile::open(&path, SystemTime::now()).unwrap();
    let hotkey = account(200);
    criterion.bench_function("registry/snapshot", |bencher| {
        bencher.iter(|| black_box(file.snapshot(SystemTime::now())));
    });
    let snapshot = file.snapshot(SystemTime::now());
    criterion.bench_function("registry/lookup", |bencher| {
        bencher.iter(|| black_box(snapshot.neuron(black_box(&hotkey))).is_some());
    });
}

criterion_group!(benches, authorise, understand, registry);
criterion_main!(benches);
