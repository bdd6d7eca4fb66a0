//! The gateway and the two identities, from the command line, files, and sessions opened for hotkeys.

use std::{
    fs,
    net::ToSocketAddrs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject as _};
use serde::Deserialize;
use serde_json::Value;
use subgate::{
    auth::bittensor::{btauth, sr25519::Keypair},
    time::UnixTime,
};

use crate::{
    Options,
    program::{Arena, Identity, Signs, Target, wire::Connection},
};

type Result<T> = std::result::Result<T, String>;

/// The file of `--identities`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identities {
    attacker: Given,
    victim: Given,
}

/// One identity as it is given; of Subgate a hotkey is enough.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Given {
    access_key: Option<String>,
    secret_key: Option<String>,
    session_token: Option<String>,
    prefix: Option<String>,
    hotkey_file: Option<PathBuf>,
}

/// As much of `dev.json` as is needed here.
#[derive(Deserialize)]
struct Dev {
    endpoint: String,
    bucket: String,
    region: String,
    store_endpoint: String,
    wallets: PathBuf,
}

/// The arena that the options describe.
pub(crate) fn arena(options: &Options) -> Result<Arena> {
    let (endpoint, bucket, region, identities, mut store_words) = match &options.dev {
        Some(dir) => {
            let dev: Dev = read_json(&dir.join("dev.json"))?;
            let given = |name: &str| Given {
                hotkey_file: Some(dev.wallets.join(name).join("hotkeys/default")),
                ..Given::default()
            };
            let identities = Identities { attacker: given("miner-b"), victim: given("miner-a") };
            (dev.endpoint, dev.bucket, dev.region, identities, vec![authority(&dev.store_endpoint)?.1])
        }
        None => {
            let missing = |name: &str| format!("--{name} is missing, or --dev in place of it; see --help");
            let file = options.identities.as_ref().ok_or_else(|| missing("identities"))?;
            let endpoint = options.endpoint.clone().ok_or_else(|| missing("endpoint"))?;
            let bucket = options.bucket.clone().ok_or_else(|| missing("bucket"))?;
            (endpoint, bucket, options.region.clone(), read_json(file)?, Vec::new())
        }
    };
    store_words.extend(options.store_words.clone());
    let (is_tls, host) = authority(&endpoint)?;
    let port = if is_tls { 443 } else { 80 };
    let with_port = if host.contains(':') { host.clone() } else { format!("{host}:{port}") };
    let addresses = with_port.to_socket_addrs().map_err(|error| format!("{with_port}: {error}"))?;
    let target = Target {
        address: addresses.into_iter().next().ok_or_else(|| format!("{with_port} has no address"))?,
        host,
        tls: if is_tls { Some(Arc::new(tls(options.ca.as_deref())?)) } else { None },
        bucket,
        region,
        store_words,
        pid: options.pid,
        patience: Duration::from_secs(options.patience.max(1)),
        crowd_divisor: 1,
        attacker_address: options.attacker_address,
    };
    let attacker = identity(&target, identities.attacker).map_err(|why| format!("attacker: {why}"))?;
    let victim = identity(&target, identities.victim).map_err(|why| format!("victim: {why}"))?;
    Ok(Arena::new(target, attacker, victim))
}

/// Whether it is TLS, and what stands in `Host`.
fn authority(endpoint: &str) -> Result<(bool, String)> {
    let (scheme, rest) = endpoint.split_once("://").ok_or_else(|| format!("{endpoint} is no URL"))?;
    let host = rest.trim_end_matches('/');
    match scheme {
        "http" | "https" if !host.is_empty() && !host.contains('/') => {
            Ok((scheme == "https", host.to_owned()))
        }
        _ => Err(format!("{endpoint} must be like https://s3.example, without a path")),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn tls(ca: Option<&Path>) -> Result<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(ca) = ca {
        let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| format!("--ca: {error}"))?;
        for certificate in certificates.flatten() {
            roots.add(certificate).map_err(|error| format!("--ca: {error}"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An identity with its credentials; where there is a hotkey alone, a session is opened for it.
fn identity(target: &Target, given: Given) -> Result<Identity> {
    let hotkey = given.hotkey_file.as_deref().map(hotkey).transpose()?.map(Arc::new);
    let mut identity = match (given.access_key, given.secret_key, &hotkey) {
        (Some(access_key), Some(secret), _) => Identity {
            access_key,
            secret,
            token: given.session_token,
            prefix: given.prefix.clone().ok_or("prefix is missing")?,
            hotkey,
            signs: Signs::Secret,
        },
        (None, None, Some(hotkey)) => session(target, Arc::clone(hotkey))?,
        _ => return Err("access_key and secret_key, or hotkey_file are wanted".to_owned()),
    };
    identity.prefix = given.prefix.unwrap_or(identity.prefix);
    if identity.prefix.ends_with('/') {
        return Ok(identity);
    }
    Err(format!("the prefix {} does not end with a slash", identity.prefix))
}

/// The key in a wallet's plain keyfile.
fn hotkey(path: &Path) -> Result<Keypair> {
    let fields: Value = read_json(path)?;
    let seed = fields.get("secretSeed").and_then(Value::as_str).unwrap_or_default();
    let seed = hex::decode(seed.trim_start_matches("0x")).ok().and_then(|seed| seed.try_into().ok());
    let seed: [u8; 32] = seed.ok_or_else(|| format!("{} has no secretSeed", path.display()))?;
    Keypair::from_mini_secret(&seed).map_err(|error| format!("{}: {error}", path.display()))
}

/// A session of Subgate's, with the first folder that it names.
fn session(target: &Target, hotkey: Arc<Keypair>) -> Result<Identity> {
    let nonce = u64::try_from(UnixTime::from(SystemTime::now()).nanos()).unwrap_or_default();
    let mut head = format!("POST /v1/session HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n", target.host);
    for (name, value) in btauth::sign(&hotkey, "POST", "/v1/session", b"", None, nonce) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut connection = Connection::open(target).map_err(|error| format!("{}: {error}", target.host))?;
    connection.send(head.as_bytes()).map_err(|error| error.to_string())?;
    let answer = connection.answer("POST").map_err(|error| error.to_string())?;
    let session: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| session.get(name).and_then(Value::as_str).map(str::to_owned);
    let folders = session.get("folders").and_then(Value::as_array).into_iter().flatten();
    let folder =
        folders.filter_map(Value::as_str).find(|folder| folder.ends_with('/') && !folder.contains('{'));
    match (text("AccessKeyId"), text("SecretAccessKey"), folder) {
        (Some(access_key), Some(secret), Some(folder)) => Ok(Identity {
            access_key,
            secret,
            token: text("SessionToken"),
            prefix: folder.to_owned(),
            hotkey: Some(hotkey),
            signs: Signs::Secret,
        }),
        _ => Err(format!("POST /v1/session is answered {}", answer.brief())),
    }
}
