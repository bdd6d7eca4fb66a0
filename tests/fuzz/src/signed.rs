//! What is signed: requests in their header and in their query, session tokens, btauth/1, and the canonical
//! form beside that of AWS's own signer.
//!
//! An input is a request head as text: method and target on the first line, a header on each further one.
//! Every head of the corpus is one and the same request, signed by one hotkey; so whatever is changed in it,
//! what verifies must still be that request.

use std::{sync::LazyLock, time::SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningParams, SigningSettings,
    UriPathNormalizationMode,
};
use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use subgate::{
    auth::{
        Audience, Declared, Evidence, Head, SessionCredentials, SessionKey, SessionKeys, Settings, Verified,
        Verifier,
        bittensor::{btauth, sr25519::Keypair, tao},
        sigv4::{
            post_policy::PostPolicy,
            signer::{ClientRequest, Credentials, Signer},
        },
    },
    s3::uri::Query,
    secret::{Secret, SecretText},
    time::UnixTime,
};

const HOST: &str = "s3.example.com";
const REGION: &str = "us-east-1";
const PATH: &str = "/data-universe/data/x/a b.parquet";
const QUERY: &str = "list-type=2&prefix=data%2Fx%2F";
const META: (&str, &str) = ("x-amz-meta-origin", "two words");
const BODY: &[u8] = b"{\"ttl_seconds\": 1200}";
const TAO_NONCE: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
const AUDIENCE: Audience = Audience { receiver: None, allow_none: true };

static KEYPAIR: LazyLock<Keypair> =
    LazyLock::new(|| Keypair::from_mini_secret(&[1; 32]).expect("a seed is a key"));

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let key = SessionKey { id: "one".to_owned(), secret: Secret::new(vec![1; 32]), accept_until: None };
    Verifier::new(Settings {
        region: REGION.to_owned(),
        session_keys: SessionKeys::new(vec![key], "one").expect("a key"),
        audience: AUDIENCE,
        session_seconds_max: 86_400,
        presigned_seconds_max: 604_800,
    })
});

/// A head in the form of an input.
fn text_of(method: &str, target: &str, headers: &HeaderMap) -> Vec<u8> {
    let mut text = format!("{method} {target}").into_bytes();
    for (name, value) in headers {
        text.extend_from_slice(format!("\n{name}: ").as_bytes());
        text.extend_from_slice(value.as_bytes());
    }
    text
}

struct Input {
    method: Method,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

/// What an HTTP library would take of it.
fn read(input: &[u8]) -> Option<Input> {
    let mut lines = input.split(|byte| *byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some(Input { method: method.parse().ok()?, path: path.to_owned(), query, headers })
}

fn verify(input: &Input) -> Option<Verified> {
    let host = input.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let head = Head {
        method: &input.method,
        path: &input.path,
        query: input.query.as_deref(),
        headers: &input.headers,
        hosts: &[host],
        accept_encodings: &[],
        is_own_host: &|host| host == HOST,
        may_verify: &|_| Ok(()),
    };
    VERIFIER.verify(&head, NOW).ok()
}

/// What verifies is the request of the corpus: its path and host, its hotkey, its metadata, and no header of
/// S3's beside those that were signed.
fn check(input: &Input, verified: &Verified) {
    assert_eq!(input.method, Method::GET);
    assert_eq!((verified.path(), verified.host(), verified.hotkey()), (PATH, HOST, KEYPAIR.account()));
    for (name, value) in input.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-")) {
        let known = ["x-amz-date", "x-amz-content-sha256", "x-amz-security-token", META.0];
        assert!(known.contains(&name.as_str()), "{name} was not signed");
        if name == META.0 {
            let words: Vec<_> = value.to_str().expect("signed text").split_ascii_whitespace().collect();
            assert_eq!(words.join(" "), META.1);
        }
    }
    let (query, _) =
        verified.query_and_headers(&input.method, &input.headers).expect("what was verified can be read");
    assert_eq!(query.canonical(), QUERY);
}

fn session() -> SessionCredentials {
    let evidence = evidence();
    VERIFIER.issue(&evidence, Some(86_400), NOW).expect("a session")
}

fn evidence() -> Evidence {
    let nonce = NOW.seconds() * 1_000_000_000;
    let signed = btauth::sign(&KEYPAIR, "POST", "/v1/session", BODY, None, nonce);
    let headers = signed
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("plain text")));
    btauth::verify(&headers.collect(), "POST", "/v1/session", BODY, &AUDIENCE, NOW).expect("true evidence")
}

fn request() -> ClientRequest {
    let mut request = ClientRequest::new(Method::GET, HOST, PATH).expect("a request");
    request.query = Query::parse(Some(QUERY)).expect("a query");
    request
}

fn heads(sign: impl Fn(&Signer<'_>) -> ClientRequest) -> Vec<(&'static str, Vec<u8>)> {
    let session = session();
    let credentials =
        [("session", Credentials::Session(&session)), ("hotkey", Credentials::Hotkey(&KEYPAIR))];
    let text = |credentials| {
        let request = sign(&Signer { credentials, region: REGION, now: NOW });
        text_of("GET", &request.target(), &request.headers)
    };
    credentials.map(|(name, credentials)| (name, text(credentials))).to_vec()
}

/// A request that is signed in its `Authorization` header.
pub fn authorization(input: &[u8]) {
    let Some(input) = read(input) else { return };
    if let Some(verified) = verify(&input) {
        check(&input, &verified);
        assert_eq!(input.headers.get_all("authorization").iter().count(), 1);
    }
}

pub fn authorization_seeds() -> Vec<(&'static str, Vec<u8>)> {
    heads(|signer| {
        let mut request = request().header(META.0, META.1).expect("a header");
        signer.sign(&mut request, &Declared::Unsigned).expect("a signature");
        request
    })
}

/// A request that is signed in its query.
pub fn presigned(input: &[u8]) {
    let Some(input) = read(input) else { return };
    if let Some(verified) = verify(&input) {
        check(&input, &verified);
    }
}

pub fn presigned_seeds() -> Vec<(&'static str, Vec<u8>)> {
    heads(|signer| {
        let mut request = request();
        signer.presign(&mut request, 600, &Declared::Unsigned).expect("a signature");
        request
    })
}

/// A session token, in a request that is signed with a secret of its own: nobody is that but whose session it
/// is.
pub fn session_token(input: &[u8]) {
    static SECRET: LazyLock<SecretText> =
        LazyLock::new(|| SecretText::new("a secret of nobody's".to_owned()));
    let Ok(token) = std::str::from_utf8(input) else { return };
    let credentials = SessionCredentials {
        access_key_id: KEYPAIR.account().to_ss58(),
        secret_access_key: SECRET.clone(),
        session_token: SecretText::new(token.to_owned()),
        expires_at: NOW,
    };
    let mut request = request();
    let signer = Signer { credentials: Credentials::Session(&credentials), region: REGION, now: NOW };
    if signer.sign(&mut request, &Declared::Unsigned).is_ok() {
        let query = Some(QUERY.to_owned());
        let path = request.target().split('?').next().unwrap_or_default().to_owned();
        let input = Input { method: Method::GET, path, query, headers: request.headers };
        assert!(verify(&input).is_none(), "a token is no secret");
    }
}

pub fn session_token_seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![("token", session().session_token.expose().into())]
}

/// A request of btauth/1: what verifies is the one that was signed. The first line is the method and the
/// target.
pub fn btauth(input: &[u8]) {
    let Some(input) = read(input) else { return };
    let method = input.method.as_str();
    if btauth::verify(&input.headers, method, &input.path, BODY, &AUDIENCE, NOW).is_ok() {
        assert_eq!((method, input.path.as_str()), ("POST", "/v1/session"));
        let hotkey = input.headers.get("x-bittensor-hotkey").expect("it is required");
        assert_eq!(hotkey.to_str().ok(), Some(KEYPAIR.account().to_ss58().as_str()));
        assert!(btauth::verify(&input.headers, method, &input.path, b"", &AUDIENCE, NOW).is_err());
    }
}

pub fn btauth_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let signed = btauth::sign(&KEYPAIR, "POST", "/v1/session", BODY, None, NOW.seconds() * 1_000_000_000);
    let headers = signed
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("plain text")));
    vec![("session", text_of("POST", "/v1/session", &headers.collect()))]
}

/// A body with X-Tao headers: what verifies is the body that was signed, by its signer.
pub fn tao(input: &[u8]) {
    let Some(input) = read(input) else { return };
    if let Ok(evidence) = tao::verify(&input.headers, BODY, NOW) {
        assert_eq!(
            format!("{evidence:?}").split(' ').next(),
            Some(&*format!("Evidence({}", KEYPAIR.account()))
        );
        for name in ["x-tao-version", "x-tao-timestamp", "x-tao-nonce", "x-tao-signed-by", "x-tao-signature"]
        {
            assert_eq!(input.headers.get_all(name).iter().count(), 1, "{name}");
        }
        assert_eq!(input.headers["x-tao-nonce"], TAO_NONCE);
        assert!(tao::verify(&input.headers, b"", NOW).is_err());
        let later = UnixTime::from_seconds(NOW.seconds() + 11);
        assert!(tao::verify(&input.headers, BODY, later).is_err());
    }
}

pub fn tao_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let signed = tao::sign(&KEYPAIR, BODY, TAO_NONCE, NOW.seconds() * 1000);
    let headers = signed
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("plain text")));
    vec![("list", text_of("POST", "/get-miner-list", &headers.collect()))]
}

/// The policy of a form, as JSON: what is understood takes exactly the lengths that all its ranges take, and
/// says nothing that is not in it.
pub fn post_policy(input: &[u8]) {
    let Ok(policy) = PostPolicy::parse(&STANDARD.encode(input)) else { return };
    let document: Value = serde_json::from_slice(input).expect("a policy is JSON");
    assert!(document["expiration"].is_string());
    let conditions = document["conditions"].as_array().expect("a policy has conditions");
    let is_range = |condition: &&Value| {
        condition[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("content-length-range"))
    };
    let number = |bound: &Value| bound.as_u64().or_else(|| bound.as_str()?.parse().ok());
    let ranges: Vec<_> = conditions
        .iter()
        .filter(is_range)
        .map(|range| number(&range[1]).expect("a bound")..=number(&range[2]).expect("a bound"))
        .collect();
    for bytes in [0, 1, 1024, 5000, 1 << 30, u64::MAX] {
        let is_in_all = ranges.iter().all(|range| range.contains(&bytes));
        assert_eq!(policy.check_length(bytes).is_ok(), is_in_all, "{bytes} bytes");
    }
}

/// Any request at all is signed as AWS's own signer signs it.
pub fn canonical(input: &[u8]) {
    let Some(mut input) = read(input) else { return };
    let (Ok(query), Ok(path)) = (Query::parse(input.query.as_deref()), percent_decoded(&input.path)) else {
        return;
    };
    // What a signer adds or leaves out by itself is not the form.
    let added = ["authorization", "host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];
    let is_signed = |name: &str| {
        (name.starts_with("x-amz-") || ["content-type", "range"].contains(&name)) && !added.contains(&name)
    };
    let names: Vec<_> = input.headers.keys().cloned().collect();
    for name in names.into_iter().filter(|name| !is_signed(name.as_str())) {
        input.headers.remove(name);
    }
    // SDKs disagree on tabs, which count as spaces here; and a signature in the query of a request that is
    // signed in its header is two claims, which no server takes.
    let is_plain = |value: &HeaderValue| value.to_str().is_ok_and(|text| !text.contains('\t'));
    let has_signature = query.canonical().to_ascii_lowercase().contains("x-amz-signature");
    if !path.starts_with('/') || has_signature || !input.headers.values().all(is_plain) {
        return;
    }
    let secret = SecretText::new("wJalrXUtnFEMI/K7MDENG".to_owned());
    let credentials = Credentials::Static { access_key_id: "AKID", secret_access_key: &secret };
    let mut request = ClientRequest::new(input.method.clone(), HOST, path).expect("a request");
    request.query = query;
    request.headers.extend(input.headers);
    let target = request.target();
    let theirs = signed_by_aws(&request, &format!("http://{HOST}{target}"));
    let signed = Signer { credentials, region: REGION, now: NOW }.sign(&mut request, &Declared::Unsigned);
    if let (Ok(_), Some(theirs)) = (signed, theirs) {
        let ours =
            request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(ours.replace(", ", ","), theirs.replace(", ", ","), "{target}");
    }
}

fn percent_decoded(path: &str) -> Result<String, ()> {
    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().ok_or(())?, bytes.next().ok_or(())?];
            decoded.extend(hex::decode(digits).map_err(drop)?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).map_err(drop)
}

/// Its `Authorization`; none where it takes no such request.
fn signed_by_aws(request: &ClientRequest, url: &str) -> Option<String> {
    let identity = AwsCredentials::new("AKID", "wJalrXUtnFEMI/K7MDENG", None, None, "fuzz").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::from(NOW))
        .settings(settings)
        .build()
        .ok()?;
    let params = SigningParams::from(params);
    let headers: Option<Vec<_>> =
        request.headers.iter().map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let signable = SignableRequest::new(
        request.method.as_str(),
        url,
        headers?.into_iter(),
        SignableBody::UnsignedPayload,
    );
    let (instructions, _) = aws_sigv4::http_request::sign(signable.ok()?, &params).ok()?.into_parts();
    let (headers, _) = instructions.into_parts();
    let found = headers.iter().find(|header| header.name() == "authorization");
    found.map(|header| header.value().to_owned())
}
