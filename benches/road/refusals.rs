//! What a refused request costs, beside a GET of 1 KiB that is served: whoever may do nothing should not be
//! able to take much.
//!
//! The limits that make an address wait are lifted here, so that each refusal is decided for its own reason.

use std::{path::Path, sync::Arc, time::SystemTime};

use ::http::Method;
use ::subgate::auth::{
    Declared,
    sigv4::signer::{ClientRequest, Credentials, Signer},
};
use sp_core::{Pair as _, sr25519};

use crate::{
    cases::{Case, Form, KIB},
    load::Shot,
    options::Options,
    round::{Cost, Round},
    subgate::{self, BUCKET, Client, MINER, Miner, NEIGHBOUR, REGION},
};

/// What a refusal may cost, in parts of a served GET.
const OF_SERVED_MAX: f64 = 0.5;

/// So many signatures are checked to know what one costs.
const VERIFICATIONS: u32 = 2000;

/// Registered nowhere.
const STRANGER: Miner = Miner([11; 32], [12; 32]);

/// A request that is refused.
struct Refusal {
    name: &'static str,
    shot: Shot,
    /// Whether a signature of a hotkey has to be checked before.
    verifies: bool,
}

/// Measures all of them in turn; `--quick` bounds nothing.
pub(crate) fn run(options: &Options, dir: &Path, store: u16) {
    let server = subgate::start(options.only_program(), dir, store, "");
    let client = Client::log_in(server.port, MINER);
    let served = client.shot(&Case::new("get-1kib", Form::Get, KIB, 64));
    // Was registered when it opened its session.
    subgate::register(dir, &[MINER, NEIGHBOUR, STRANGER]);
    let stranger = Client::log_in(server.port, STRANGER);
    subgate::register(dir, &[MINER, NEIGHBOUR]);
    let refusals = refusals(server.port, &client, &stranger);

    let mut measured = vec![(Round::new([served], 200), Cost::default())];
    let rounds_of = refusals.iter().map(|refusal| Round::new([refusal.shot.clone()], 403));
    measured.extend(rounds_of.map(|round| (round, Cost::default())));
    measured.iter().for_each(|(round, _)| round.warm(server.port));
    for _ in 0..options.rounds {
        for (round, cost) in &mut measured {
            Arc::clone(round).add_cost(server.port, &server.process, options.duration(), cost);
        }
    }
    let verification = seconds_of_1000_verifications();
    let mut costs = measured.iter().map(|(_, cost)| cost.seconds_of_1000());
    let served = costs.next().unwrap();
    println!("{:<40} {:>10} {:>10} {:>10}", "case", "CPU s/1000", "of served", "bound");
    println!("{:<40} {served:>10.4}", "served, GET of 1 KiB");
    println!("{:<40} {verification:>10.4}", "one verification of sr25519");
    let mut excess = Vec::new();
    for (refusal, cost) in refusals.iter().zip(costs) {
        let verification = if refusal.verifies { verification } else { 0.0 };
        let max = served * OF_SERVED_MAX + verification;
        println!("{:<40} {cost:>10.4} {:>10.2} {max:>10.4}", refusal.name, cost / served);
        excess.extend(Some(refusal.name).filter(|_| cost > max));
    }
    assert!(options.quick || excess.is_empty(), "refusals cost too much: {excess:?}");
}

fn refusals(port: u16, client: &Client, stranger: &Client) -> Vec<Refusal> {
    let host = format!("127.0.0.1:{port}");
    let own = format!("/{BUCKET}/data/x/{}/1024", MINER.coldkey());
    let foreign = format!("/{BUCKET}/data/x/{}/1024", NEIGHBOUR.coldkey());
    let get = |path: &str| {
        let request = ClientRequest::new(Method::GET, &host, path).unwrap();
        let agent = "Boto3/1.44.0 md/Botocore#1.44.0 ua/2.1 os/linux";
        request.header("user-agent", agent).and_then(|it| it.header("accept-encoding", "identity")).unwrap()
    };
    let by_session = |client: &Client, path: &str| {
        let mut request = get(path);
        signer(Credentials::Session(&client.session)).sign(&mut request, &Declared::Unsigned).unwrap();
        request
    };
    let by_hotkey = |miner: Miner, path: &str| {
        let (mut request, keypair) = (get(path), miner.keypair());
        signer(Credentials::Hotkey(&keypair)).sign(&mut request, &Declared::Unsigned).unwrap();
        request
    };
    let presigned = |miner: Miner, path: &str| {
        let (mut request, keypair) = (get(path), miner.keypair());
        let signer = signer(Credentials::Hotkey(&keypair));
        signer.presign(&mut request, 3600, &Declared::Unsigned).unwrap();
        request
    };
    // A signature of one object, sent for another.
    let moved = |mut request: ClientRequest| {
        request.path.push('0');
        request
    };
    let refusal =
        |name, verifies, request| Refusal { name, shot: subgate::assemble(request, Vec::new()), verifies };
    vec![
        refusal("session, false signature", false, moved(by_session(client, &own))),
        refusal("session, unknown hotkey", false, by_session(stranger, &own)),
        refusal("session, foreign folder", false, by_session(client, &foreign)),
        refusal("sr25519, unknown hotkey", false, by_hotkey(STRANGER, &own)),
        refusal("sr25519, false signature", true, moved(by_hotkey(MINER, &own))),
        refusal("sr25519 presigned, false signature", true, moved(presigned(MINER, &own))),
    ]
}

/// The CPU time that the library alone takes.
fn seconds_of_1000_verifications() -> f64 {
    let keypair = MINER.keypair();
    let message = [b'x'; 150];
    let signature = sr25519::Signature::from_raw(keypair.sign(&message));
    let public = sr25519::Public::from_raw(*keypair.account().as_bytes());
    let before = thread_seconds();
    for _ in 0..VERIFICATIONS {
        assert!(sr25519::Pair::verify(&signature, std::hint::black_box(message), &public));
    }
    (thread_seconds() - before) / f64::from(VERIFICATIONS) * 1000.0
}

/// How long this thread has had a processor.
fn thread_seconds() -> f64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: u64 = times.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds as f64 / 1e9
}

fn signer(credentials: Credentials<'_>) -> Signer<'_> {
    Signer { credentials, region: REGION, now: SystemTime::now().into() }
}
