//! Subgate before the bare store, and a miner who signs.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::SystemTime};

use ::http::Method;
use bytes::Bytes;
use subgate::{
    auth::{
        Declared, SessionCredentials,
        bittensor::btauth,
        bittensor::sr25519::Keypair,
        sigv4::sha256,
        sigv4::signer::{ClientRequest, Credentials, Signer, encode_chunks},
    },
    body::digest::{ChecksumAlgorithm, RunningDigest, to_base64},
    secret::SecretText,
    time::UnixTime,
};

use crate::{
    cases::{Case, Form},
    load::{self, Shot},
    process::{Listening, Process, free_port},
    transport::{Identity, Transport},
};

pub(crate) const BUCKET: &str = "bench";
pub(crate) const REGION: &str = "us-east-1";

/// A miner: the seeds of its hotkey and its coldkey.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Miner(pub(crate) [u8; 32], pub(crate) [u8; 32]);

/// Who is measured.
pub(crate) const MINER: Miner = Miner([7; 32], [8; 32]);

/// Another one at the same server.
pub(crate) const NEIGHBOUR: Miner = Miner([9; 32], [10; 32]);

/// A bench asks more than any miner may.
const LIMITS: &str = "
[limits.miner]
reads_per_second = 1000000
reads_burst = 1000000
writes_per_second = 1000000
writes_burst = 1000000
requests_under_way_max = 1000000
requests_per_day_max = 1000000000000
[limits.address]
requests_per_second = 1000000
requests_burst = 1000000
signature_failures_per_second = 1000000
signature_failures_burst = 1000000
connections_max = 1000000
[limits.server]
requests_under_way_max = 1000000
";

/// And has as many requests under way at the store as it likes.
const OF_STORE: &str = "connections_per_hotkey_max = 2000";

/// Bodies are so many times this piece and a shorter one.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// A body up to this size leaves in one write with its head.
const SMALL_BYTES_MAX: usize = 16 * 1024;

/// Chunks as SDKs make them.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

impl Miner {
    /// One of many.
    pub(crate) fn numbered(number: u32) -> Self {
        let seed = |kind: u8| {
            let mut seed = [kind; 32];
            seed.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, of_number)| *byte = of_number);
            seed
        };
        Self(seed(13), seed(14))
    }

    pub(crate) fn keypair(&self) -> Keypair {
        Keypair::from_mini_secret(&self.0).unwrap()
    }

    /// Whose folder is its own.
    pub(crate) fn coldkey(&self) -> String {
        Keypair::from_mini_secret(&self.1).unwrap().account().to_ss58()
    }
}

/// Writes the registry of the servers in `dir`: these miners are registered, and nobody else. It counts from
/// the next request on.
pub(crate) fn register(dir: &Path, miners: &[Miner]) {
    let identity = |miner: &Miner| {
        let hotkey = miner.keypair().account().to_ss58();
        format!(r#"{{"hotkey": "{hotkey}", "coldkey": "{}"}}"#, miner.coldkey())
    };
    let identities: Vec<String> = miners.iter().map(identity).collect();
    // Whole or not at all, for servers read it meanwhile.
    private(dir, "registry.new", &format!(r#"{{"identities": [{}]}}"#, identities.join(", ")));
    fs::rename(dir.join("registry.new"), dir.join("registry.json")).unwrap();
}

/// A file that its owner alone can read.
fn private(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Starts `program` as the server of two miners, before the store at `store`, with further settings of
/// `[limits.server]` or sections behind it. Its log goes to a file.
pub(crate) fn start(program: &Path, dir: &Path, store: u16, of_server: &str) -> Listening {
    start_with(program, dir, store, "", of_server)
}

/// The same with further settings of `[server]`.
pub(crate) fn start_with(
    program: &Path,
    dir: &Path,
    store: u16,
    listener: &str,
    of_server: &str,
) -> Listening {
    let private = |name: &str, content: &str| private(dir, name, content);
    register(dir, &[MINER, NEIGHBOUR]);
    private("store.json", r#"{"access_key": "AKIDEXAMPLE", "secret_key": "secret"}"#);
    private("session.key", &"5".repeat(64));
    let port = free_port();
    let config = format!("subgate-{port}.toml");
    let content = |of_store: &str| {
        format!(
            r#"
[server]
listen = "127.0.0.1:{port}"
{listener}
[bucket]
name = "{BUCKET}"
[store]
endpoint = "http://127.0.0.1:{store}"
credentials = {{ file = "store.json" }}
{of_store}
[session]
issue_with = "1"
allow_no_receiver = true
[[session.keys]]
id = "1"
file = "session.key"
[chain]
file = "registry.json"
[policy]
folders = ["data/{{source}}/{{coldkey}}/", "data/hotkey={{hotkey}}/job_id={{job_id}}/"]
[policy.variables]
source = ["x", "reddit"]
job_id = {{ pattern = "[A-Za-z0-9_-]{{1,64}}" }}
"#
        )
    };
    // Limits are counted and never reached. A program from before there were any runs without.
    private(&config, &format!("{}{LIMITS}{of_server}\n", content(OF_STORE)));
    let check = Command::new(program).arg("check").arg("--config").arg(dir.join(&config)).output().unwrap();
    if !check.status.success() {
        private(&config, &content(""));
    }
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(dir.join(config));
    Process::start(command, Some(&dir.join(format!("subgate-{port}.log")))).listening_on(port)
}

/// The section by which a server ends TLS, to be put behind all others.
pub(crate) fn with_tls(identity: &Identity) -> String {
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    format!("[server.tls]\ncertificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]")
}

/// A miner with a session.
pub(crate) struct Client {
    host: String,
    coldkey: String,
    pub(crate) session: SessionCredentials,
}

impl Client {
    /// Opens a session by `POST /v1/session`.
    pub(crate) fn log_in(port: u16, miner: Miner) -> Self {
        let (keypair, coldkey) = (miner.keypair(), miner.coldkey());
        let nonce = u64::try_from(UnixTime::from(SystemTime::now()).nanos()).unwrap();
        let headers = btauth::sign(&keypair, "POST", "/v1/session", b"", None, nonce);
        let host = format!("127.0.0.1:{port}");
        let mut head = format!("POST /v1/session HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let answer = load::once(port, &Transport::Plain, &Shot { pieces: vec![Bytes::from(head)] });
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let text = |name: &str| answer.get(name).and_then(serde_json::Value::as_str).unwrap().to_owned();
        let session = SessionCredentials {
            access_key_id: text("AccessKeyId"),
            secret_access_key: SecretText::new(text("SecretAccessKey")),
            session_token: SecretText::new(text("SessionToken")),
            // Of no use to a signer.
            expires_at: UnixTime::from(SystemTime::now()),
        };
        Self { host, coldkey, session }
    }

    /// The request of a case, signed now.
    pub(crate) fn shot(&self, case: &Case) -> Shot {
        let bytes = usize::try_from(case.bytes).unwrap();
        let path = format!("/{BUCKET}/data/x/{}/{bytes}", self.coldkey);
        let method = if case.form == Form::Get { Method::GET } else { Method::PUT };
        let signer = Signer {
            credentials: Credentials::Session(&self.session),
            region: REGION,
            now: SystemTime::now().into(),
        };
        let request = ClientRequest::new(method, &self.host, path)
            .and_then(|request| {
                request.header("user-agent", "Boto3/1.44.0 md/Botocore#1.44.0 ua/2.1 os/linux")
            })
            .and_then(|request| request.header("accept-encoding", "identity"))
            .unwrap();
        let put =
            |request: ClientRequest| request.header("content-type", "application/octet-stream").unwrap();
        let chunked = |request: ClientRequest| {
            let request = put(request).header("content-encoding", "aws-chunked").unwrap();
            request.header("x-amz-decoded-content-length", &bytes.to_string()).unwrap()
        };
        let sign = |mut request: ClientRequest, payload: Declared| {
            let seed = signer.sign(&mut request, &payload).unwrap();
            (request, seed)
        };
        match case.form {
            Form::Get => assemble(sign(request, Declared::Unsigned).0, Vec::new()),
            Form::Unsigned => assemble(sign(put(request), Declared::Unsigned).0, zeroes(bytes)),
            Form::Sha256 => {
                let hash = Declared::Sha256(sha256_of(bytes));
                assemble(sign(put(request), hash).0, zeroes(bytes))
            }
            Form::UnsignedTrailer => {
                let request = chunked(request).header("x-amz-trailer", "x-amz-checksum-crc32").unwrap();
                let body = vec![0; bytes];
                let mut crc = RunningDigest::new(ChecksumAlgorithm::Crc32);
                crc.update(&body);
                let crc = to_base64(&crc.finish());
                let body = encode_chunks(None, &body, CHUNK_BYTES, Some(&[("x-amz-checksum-crc32", &crc)]));
                assemble(sign(request, Declared::UnsignedTrailer).0, vec![body.into()])
            }
            Form::SignedChunks => {
                let (request, seed) = sign(chunked(request), Declared::SignedChunks);
                let body = encode_chunks(seed.as_ref(), &vec![0; bytes], CHUNK_BYTES, None);
                assemble(request, vec![body.into()])
            }
        }
    }
}

fn sha256_of(bytes: usize) -> [u8; 32] {
    let mut running = RunningDigest::new(ChecksumAlgorithm::Sha256);
    zeroes(bytes).iter().for_each(|piece| running.update(piece));
    running.finish().try_into().unwrap_or_else(|_| sha256(b""))
}

fn zeroes(bytes: usize) -> Vec<Bytes> {
    let piece = Bytes::from(vec![0; bytes.min(PIECE_BYTES)]);
    let mut pieces = vec![piece.clone(); bytes / PIECE_BYTES];
    let rest = bytes % PIECE_BYTES;
    pieces.extend(Some(piece.slice(..rest)).filter(|rest| !rest.is_empty()));
    pieces
}

/// The request as it goes onto the wire.
pub(crate) fn assemble(request: ClientRequest, body: Vec<Bytes>) -> Shot {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target()).into_bytes();
    for (name, value) in &request.headers {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let body_bytes: usize = body.iter().map(Bytes::len).sum();
    if request.method != Method::GET {
        head.extend(format!("content-length: {body_bytes}\r\n").into_bytes());
    }
    head.extend(b"\r\n");
    if body_bytes <= SMALL_BYTES_MAX {
        body.iter().for_each(|piece| head.extend(piece));
        return Shot { pieces: vec![head.into()] };
    }
    Shot { pieces: std::iter::once(head.into()).chain(body).collect() }
}
