//! Whole requests, signed as clients sign them, through the one verifier.

use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningParams, SigningSettings, UriPathNormalizationMode,
};
use aws_sigv4::sign::v4::calculate_signature;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

use super::{
    bittensor::{btauth, sr25519::Keypair},
    request::ATTEMPTS_MAX,
    sigv4::{
        canonical::{self, CanonicalRequest},
        request_claim::RequestClaim,
        signed_headers::SignedHeaders,
        signer::{ClientRequest, Credentials, Signer},
    },
    verified::VerifiedQuery,
    *,
};
use crate::{
    chain::AccountId,
    error::{Error, Result},
    s3::uri::{self, Query},
    secret::Secret,
    time::UnixTime,
};

pub(super) const HOST: &str = "s3.example:8014";
pub(super) const REGION: &str = "us-east-1";
pub(super) const NOW: UnixTime = UnixTime::from_seconds(1_795_243_710);

pub(super) fn keypair() -> Keypair {
    Keypair::from_mini_secret(&std::array::from_fn(|index| u8::try_from(index).unwrap())).unwrap()
}

pub(super) fn server() -> AccountId {
    "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty".parse().unwrap()
}

pub(super) fn key(id: &str, byte: u8, accept_until: Option<UnixTime>) -> SessionKey {
    SessionKey { id: id.into(), secret: Secret::new([byte; 32]), accept_until }
}

pub(super) fn settings(keys: Vec<SessionKey>, issuing: &str) -> Settings {
    Settings {
        region: REGION.into(),
        session_keys: SessionKeys::new(keys, issuing).unwrap(),
        audience: Audience { receiver: Some(server()), allow_none: false },
        session_seconds_max: session::TTL_SECONDS_MAX,
        presigned_seconds_max: sigv4::PRESIGNED_SECONDS_MAX,
    }
}

pub(super) fn verifier() -> Verifier {
    Verifier::new(settings(vec![key("k1", 1, None)], "k1"))
}

/// Evidence that `keypair` signed for a session at `NOW`.
pub(super) fn evidence(keypair: &Keypair) -> Evidence {
    let nonce_nanos = u64::try_from(NOW.nanos()).unwrap();
    let headers = btauth::sign(keypair, "POST", "/v1/session", b"", Some(&server()), nonce_nanos);
    let headers = headers
        .into_iter()
        .map(|(name, text)| (HeaderName::from_static(name), HeaderValue::from_str(&text).unwrap()))
        .collect();
    let audience = Audience { receiver: Some(server()), allow_none: false };
    btauth::verify(&headers, "POST", "/v1/session", b"", &audience, NOW).unwrap()
}

pub(super) fn session(verifier: &Verifier) -> SessionCredentials {
    verifier.issue(&evidence(&keypair()), None, NOW).unwrap()
}

pub(super) fn request(method: Method, path: &str, query: &str) -> ClientRequest {
    let mut request = ClientRequest::new(method, HOST, path).unwrap();
    request.query = Query::parse(Some(query)).unwrap();
    request
}

/// Sends a request over the wire, as far as its head goes.
pub(super) fn arrive(verifier: &Verifier, request: &ClientRequest, now: UnixTime) -> Result<Verified> {
    arrive_by(verifier, request, &[HOST], &[], now)
}

fn arrive_by(
    verifier: &Verifier,
    request: &ClientRequest,
    hosts: &[&str],
    accept_encodings: &[&str],
    now: UnixTime,
) -> Result<Verified> {
    let target = request.target();
    let (path, query) =
        target.split_once('?').map_or((target.as_str(), None), |(path, query)| (path, Some(query)));
    let head = Head {
        method: &request.method,
        path,
        query,
        headers: &request.headers,
        hosts,
        accept_encodings,
        is_own_host: &|host| host == HOST,
        may_verify: &|_| Ok(()),
    };
    verifier.verify(&head, now)
}

fn is_presigned_query(verified: &Verified) -> bool {
    match verified.query {
        VerifiedQuery::Plain(_) => false,
        VerifiedQuery::Presigned { .. } => true,
    }
}

fn hash(bytes: &[u8]) -> Declared {
    Declared::Sha256(canonical::sha256(bytes))
}

fn refused(result: Result<Verified>, code: Code, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(format!("{error} {:?}", error.elements).contains(text), "{error} {:?}", error.elements);
}

#[test]
fn p3_the_four_ways_to_sign_are_verified() {
    let verifier = verifier();
    let session = session(&verifier);
    let keypair = keypair();
    for credentials in [Credentials::Session(&session), Credentials::Hotkey(&keypair)] {
        let signer = Signer { credentials, region: REGION, now: NOW };
        let mut plain =
            request(Method::PUT, "/bucket/data/x/one file+plus=ä", "uploadId=a%2Bb&partNumber=1&flag");
        let mut presigned = plain.clone();
        signer.sign(&mut plain, &hash(b"hello")).unwrap();
        signer.presign(&mut presigned, 60, &hash(b"hello")).unwrap();
        for (request, is_presigned) in [(plain, false), (presigned, true)] {
            let verified = arrive(&verifier, &request, NOW.plus_seconds(30)).unwrap();
            assert_eq!(verified.hotkey(), keypair.account());
            assert_eq!(is_presigned_query(&verified), is_presigned);
            assert_eq!(verified.path(), "/bucket/data/x/one file+plus=ä");
            let (query, headers) = verified.query_and_headers(&request.method, &request.headers).unwrap();
            assert_eq!(query.canonical(), "flag=&partNumber=1&uploadId=a%2Bb");
            assert_eq!(*headers, request.headers);
            // P10: a real hash stands, presigned or not.
            assert_eq!(verified.payload(), &Payload::Sha256(canonical::sha256(b"hello")));
            assert_eq!(verified.host(), HOST);
        }
    }
}

#[test]
fn p3_each_change_to_a_signed_request_is_refused() {
    let verifier = verifier();
    let session = session(&verifier);
    let keypair = keypair();
    for credentials in [Credentials::Session(&session), Credentials::Hotkey(&keypair)] {
        let signer = Signer { credentials, region: REGION, now: NOW };
        let mut signed =
            request(Method::PUT, "/bucket/key", "a=1").header("x-amz-meta-note", "two words").unwrap();
        signer.sign(&mut signed, &Declared::Unsigned).unwrap();
        assert!(arrive(&verifier, &signed, NOW).is_ok());
        // P26: white space does not matter.
        let spaced = signed.clone().header("x-amz-meta-note", " two   words ").unwrap();
        assert!(arrive(&verifier, &spaced, NOW).is_ok());

        let mismatch = |request: &ClientRequest| {
            refused(arrive(&verifier, request, NOW), Code::SignatureDoesNotMatch, "");
        };
        mismatch(&ClientRequest { method: Method::DELETE, ..signed.clone() });
        mismatch(&ClientRequest { path: "/bucket/key2".into(), ..signed.clone() });
        mismatch(&ClientRequest { path: "/bucket//key".into(), ..signed.clone() });
        mismatch(&ClientRequest { query: Query::parse(Some("a=2")).unwrap(), ..signed.clone() });
        mismatch(&ClientRequest { query: Query::parse(Some("a=1&b")).unwrap(), ..signed.clone() });
        mismatch(&signed.clone().header("x-amz-meta-note", "other").unwrap());
        mismatch(&signed.clone().header("x-amz-content-sha256", &canonical::sha256_hex(b"")).unwrap());
        mismatch(&signed.clone().header("x-amz-date", "20261121T064831Z").unwrap());
        let mut without = signed.clone();
        without.headers.remove("x-amz-meta-note");
        refused(arrive(&verifier, &without, NOW), Code::SignatureDoesNotMatch, "x-amz-meta-note");
    }
}

#[test]
fn p1_an_unsigned_amz_header_is_refused() {
    let verifier = verifier();
    let session = session(&verifier);
    let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
    let mut plain = request(Method::PUT, "/bucket/key", "");
    let mut presigned = plain.clone();
    signer.sign(&mut plain, &Declared::Unsigned).unwrap();
    signer.presign(&mut presigned, 60, &Declared::Unsigned).unwrap();
    for request in [plain, presigned.clone()] {
        let request = request.header("x-amz-acl", "public-read").unwrap();
        refused(arrive(&verifier, &request, NOW), Code::AccessDenied, "x-amz-acl");
    }
    // The hash alone is exempt from the list: it stands in the canonical request anyway.
    let hashed = presigned.header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").unwrap();
    assert!(arrive(&verifier, &hashed, NOW).is_ok());
    let hashed = hashed.header("x-amz-content-sha256", &canonical::sha256_hex(b"")).unwrap();
    refused(arrive(&verifier, &hashed, NOW), Code::SignatureDoesNotMatch, "");
}

#[test]
fn p4_signed_chunks_get_the_seed_of_their_chain_and_a_hotkey_has_none() {
    let verifier = verifier();
    let session = session(&verifier);
    let keypair = keypair();
    for declared in [Declared::SignedChunks, Declared::SignedChunksTrailer] {
        let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
        let mut signed = request(Method::PUT, "/bucket/key", "");
        let seed = signer.sign(&mut signed, &declared).unwrap().unwrap();
        let expected = match declared {
            Declared::SignedChunks => Payload::SignedChunks(seed),
            _ => Payload::SignedChunksTrailer(seed),
        };
        assert_eq!(arrive(&verifier, &signed, NOW).unwrap().payload(), &expected);

        let signer = Signer { credentials: Credentials::Hotkey(&keypair), ..signer };
        let mut signed = request(Method::PUT, "/bucket/key", "");
        signer.sign(&mut signed, &declared).unwrap();
        refused(arrive(&verifier, &signed, NOW), Code::InvalidRequest, "shared secret");
    }
    let signer = Signer { credentials: Credentials::Hotkey(&keypair), region: REGION, now: NOW };
    let mut signed = request(Method::PUT, "/bucket/key", "");
    signer.sign(&mut signed, &Declared::UnsignedTrailer).unwrap();
    assert_eq!(arrive(&verifier, &signed, NOW).unwrap().payload(), &Payload::UnsignedTrailer);
}

#[test]
fn a_presigned_request_is_handed_out_with_its_headers_in_place_and_its_list_narrowed() {
    let verifier = verifier();
    let session = session(&verifier);
    let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
    let mut list = request(Method::GET, "/bucket", "list-type=2&prefix=a/&X-Amz-Meta-Note=b");
    signer.presign(&mut list, 60, &Declared::Unsigned).unwrap();
    let asked = |name: &str, value: &str| {
        let mut list = list.clone();
        list.query.push(name, value).unwrap();
        // As on the wire: what is added stands behind the signature.
        let pairs: Vec<_> = (list.query.iter())
            .map(|(name, value)| format!("{}={}", uri::encode_component(name), uri::encode_component(value)))
            .collect();
        let head = Head {
            method: &list.method,
            path: "/bucket",
            query: Some(&pairs.join("&")),
            headers: &list.headers,
            hosts: &[HOST],
            accept_encodings: &[],
            is_own_host: &|_| true,
            may_verify: &|_| Ok(()),
        };
        verifier.verify(&head, NOW).and_then(|verified| {
            let (query, headers) = verified.query_and_headers(&list.method, &list.headers)?;
            Ok((query, headers.into_owned()))
        })
    };
    let (query, headers) = asked("prefix", "a/b").unwrap();
    assert_eq!(query.canonical(), "list-type=2&prefix=a%2Fb");
    assert_eq!(headers["x-amz-meta-note"], "b");
    assert_eq!(asked("prefix", "c/").unwrap_err().code, Code::AccessDenied);
    assert_eq!(asked("max-keys", "x").unwrap_err().code, Code::InvalidArgument);
    assert_eq!(asked("fetch-owner", "true").unwrap_err().code, Code::SignatureDoesNotMatch);
    // What is signed counts wherever the signature stands: SDKs sort the query, and `prefix` comes after it.
    assert!(arrive(&verifier, &list, NOW).is_ok());
}

#[test]
fn p12_a_hotkey_that_signs_itself_carries_no_token_and_is_a_hotkey() {
    let verifier = verifier();
    let session = session(&verifier);
    let keypair = keypair();
    let signer = Signer { credentials: Credentials::Hotkey(&keypair), region: REGION, now: NOW };
    let mut signed = request(Method::GET, "/bucket/key", "")
        .header("x-amz-security-token", session.session_token.expose())
        .unwrap();
    signer.sign(&mut signed, &Declared::Unsigned).unwrap();
    refused(arrive(&verifier, &signed, NOW), Code::InvalidRequest, "no session token");

    let mut signed = request(Method::GET, "/bucket/key", "");
    signer.sign(&mut signed, &Declared::Unsigned).unwrap();
    let authorization = signed.headers["authorization"].to_str().unwrap();
    let zero = authorization
        .replace(&keypair.account().to_ss58(), "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM");
    let zero = signed.clone().header("authorization", &zero).unwrap();
    refused(arrive(&verifier, &zero, NOW), Code::InvalidAccessKeyId, "all-zero");
    let other = authorization.replace(&keypair.account().to_ss58(), &server().to_ss58());
    let other = signed.clone().header("authorization", &other).unwrap();
    refused(arrive(&verifier, &other, NOW), Code::SignatureDoesNotMatch, "");
}

#[test]
fn p59_before_a_hotkeys_own_signature_is_checked_it_is_asked_whether_it_may_be() {
    let verifier = verifier();
    let session = session(&verifier);
    let keypair = keypair();
    for (credentials, is_asked) in
        [(Credentials::Session(&session), false), (Credentials::Hotkey(&keypair), true)]
    {
        let mut signed = request(Method::GET, "/bucket/key", "");
        Signer { credentials, region: REGION, now: NOW }.sign(&mut signed, &Declared::Unsigned).unwrap();
        let result = verifier.verify(
            &Head {
                method: &signed.method,
                path: "/bucket/key",
                query: None,
                headers: &signed.headers,
                hosts: &[HOST],
                accept_encodings: &[],
                is_own_host: &|host| host == HOST,
                may_verify: &|claimed| {
                    assert_eq!(*claimed, keypair.account());
                    Err(Error::new(Code::SlowDown, "not now"))
                },
            },
            NOW,
        );
        match is_asked {
            true => refused(result, Code::SlowDown, "not now"),
            false => drop(result.unwrap()),
        }
    }
}

#[test]
fn p15_external_hosts_are_tried_in_order_and_a_hotkey_must_name_this_server() {
    let verifier = verifier();
    let session = session(&verifier);
    let keypair = keypair();
    let inner = "10.0.0.7:8014";
    for credentials in [Credentials::Session(&session), Credentials::Hotkey(&keypair)] {
        let mut signed = request(Method::GET, "/bucket/key", "");
        Signer { credentials, region: REGION, now: NOW }.sign(&mut signed, &Declared::Unsigned).unwrap();
        let verified = arrive_by(&verifier, &signed, &[inner, HOST], &[], NOW).unwrap();
        assert_eq!(verified.host(), HOST);
        assert!(arrive_by(&verifier, &signed, &[], &[], NOW).is_err());
        let mut many = vec![inner; ATTEMPTS_MAX];
        many.push(HOST);
        let last = arrive_by(&verifier, &signed, &many, &[], NOW);
        // Names that are not ours are no attempts for a hotkey.
        assert_eq!(last.is_ok(), matches!(credentials, Credentials::Hotkey(_)));
    }

    let mut elsewhere = ClientRequest::new(Method::GET, "other.example", "/bucket/key").unwrap();
    let signer = Signer { credentials: Credentials::Hotkey(&keypair), region: REGION, now: NOW };
    signer.sign(&mut elsewhere, &Declared::Unsigned).unwrap();
    refused(
        arrive_by(&verifier, &elsewhere, &["other.example"], &[], NOW),
        Code::AccessDenied,
        "server.hosts",
    );
    refused(arrive(&verifier, &elsewhere, NOW), Code::SignatureDoesNotMatch, "");
}

#[test]
fn p27_a_rewritten_accept_encoding_is_repaired_where_the_edge_is_trusted() {
    let verifier = verifier();
    let session = session(&verifier);
    let signed = "accept-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
    let mut request = request(Method::GET, "/bucket/key", "").header("accept-encoding", "identity").unwrap();
    let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
    let declared = Declared::Unsigned;
    signer.sign(&mut request, &declared).unwrap();
    let string_to_sign = CanonicalRequest {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        signed_headers: &SignedHeaders::parse(signed, &request.headers).unwrap(),
        overrides: &[],
        payload_hash: &declared.text(),
    }
    .string_to_sign("AWS4-HMAC-SHA256", &NOW.to_amz(), "20261121/us-east-1/s3/aws4_request")
    .unwrap();
    let key = sigv4::signing_key(&session.secret_access_key, NOW, REGION);
    let signature = calculate_signature(key.expose(), string_to_sign.as_bytes());
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/20261121/us-east-1/s3/aws4_request,SignedHeaders={signed},\
         Signature={signature}",
        session.access_key_id
    );
    let request = request.header("authorization", &authorization).unwrap();
    assert!(arrive(&verifier, &request, NOW).is_ok());
    assert!(arrive_by(&verifier, &request, &[HOST], &["gzip"], NOW).is_ok(), "as it arrived comes first");

    let rewritten = request.clone().header("accept-encoding", "gzip, br").unwrap();
    refused(arrive(&verifier, &rewritten, NOW), Code::SignatureDoesNotMatch, "");
    assert!(arrive_by(&verifier, &rewritten, &[HOST], &["gzip", "identity"], NOW).is_ok());
    let mut removed = request;
    removed.headers.remove("accept-encoding");
    refused(arrive(&verifier, &removed, NOW), Code::SignatureDoesNotMatch, "accept-encoding");
    assert!(arrive_by(&verifier, &removed, &["10.0.0.7", HOST], &["identity"], NOW).is_ok());
}

#[test]
fn p51_a_mismatch_says_what_to_check_and_echoes_nothing() {
    let verifier = verifier();
    let session = session(&verifier);
    let mut signed = request(Method::GET, "/bucket/key", "");
    let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
    let seed = signer.sign(&mut signed, &Declared::SignedChunks).unwrap().unwrap();
    let arrived = arrive(&verifier, &signed, NOW).unwrap();
    signed.path = "/bucket/other".into();
    let error = arrive(&verifier, &signed, NOW).unwrap_err();
    let shown = format!("{error} {error:?}");
    for word in ["clock", "secret", "region", "proxy"] {
        assert!(shown.contains(word), "{word}");
    }
    let shown = format!("{shown} {:?} {session:?} {:?}", evidence(&keypair()), arrived.payload());
    for secret in [
        session.secret_access_key.expose(),
        session.session_token.expose(),
        "AWS4-HMAC-SHA256\n",
        &seed.signature,
        "btauth/1",
    ] {
        assert!(!shown.contains(secret));
    }
}

#[test]
fn p20_a_target_that_cannot_be_read_is_refused_first() {
    let verifier = verifier();
    for (path, query) in [("", None), ("*", None), ("/%zz", None), ("/%ff", None), ("/a", Some("%f"))] {
        let head = Head {
            method: &Method::GET,
            path,
            query,
            headers: &HeaderMap::new(),
            hosts: &[HOST],
            accept_encodings: &[],
            is_own_host: &|_| true,
            may_verify: &|_| Ok(()),
        };
        refused(verifier.verify(&head, NOW), Code::InvalidURI, "");
    }
}

#[test]
fn p61_a_client_that_puts_a_longer_prefix_into_a_presigned_list_gets_that_part_of_a_root() {
    let roots = ["data/".to_owned(), "more/".to_owned()];
    let with_roots = verifier().with_list_roots(&roots);
    let session = session(&with_roots);
    let keypair = keypair();
    let presigned = |credentials, query: &str| {
        let mut list = request(Method::GET, "/bucket", query);
        let signer = Signer { credentials, region: REGION, now: NOW };
        signer.presign(&mut list, 60, &Declared::Unsigned).unwrap();
        list
    };
    let replace = |list: &ClientRequest, name: &str, value: &str| {
        let mut query = Query::default();
        for (other, old) in list.query.iter() {
            query.push(other, if other == name { value } else { old }).unwrap();
        }
        ClientRequest { query, ..list.clone() }
    };
    let query_of = |verified: Result<Verified>, list: &ClientRequest| {
        verified.unwrap().query_and_headers(&list.method, &list.headers).unwrap().0.canonical()
    };
    let list = presigned(Credentials::Session(&session), "list-type=2&prefix=data/");
    let longer = replace(&list, "prefix", "data/x/");
    assert_eq!(query_of(arrive(&with_roots, &longer, NOW), &longer), "list-type=2&prefix=data%2Fx%2F");
    for changed in [
        replace(&list, "prefix", "more/x/"),
        replace(&list, "prefix", "more/"),
        replace(&list, "prefix", "dat"),
        replace(&longer, "list-type", "1"),
        replace(&longer, "X-Amz-Expires", "61"),
        replace(&longer, "X-Amz-Signature", &"0a".repeat(32)),
    ] {
        refused(arrive(&with_roots, &changed, NOW), Code::SignatureDoesNotMatch, "");
    }
    // Only where the signed prefix is a root, for sessions, and by a server that has such roots.
    let folder = presigned(Credentials::Session(&session), "list-type=2&prefix=data/x/");
    refused(
        arrive(&with_roots, &replace(&folder, "prefix", "data/x/5"), NOW),
        Code::SignatureDoesNotMatch,
        "",
    );
    let by_hotkey = presigned(Credentials::Hotkey(&keypair), "list-type=2&prefix=data/");
    assert!(arrive(&with_roots, &by_hotkey, NOW).is_ok());
    let longer_by_hotkey = replace(&by_hotkey, "prefix", "data/x/");
    refused(arrive(&with_roots, &longer_by_hotkey, NOW), Code::SignatureDoesNotMatch, "");
    refused(arrive(&verifier(), &longer, NOW), Code::SignatureDoesNotMatch, "");
}

#[test]
fn p59_who_may_not_be_verified_now_is_not_asked_for_a_second_time() {
    let verifier = verifier();
    let keypair = keypair();
    let mut list = request(Method::GET, "/bucket", "list-type=2&prefix=a/");
    let signer = Signer { credentials: Credentials::Hotkey(&keypair), region: REGION, now: NOW };
    signer.presign(&mut list, 60, &Declared::Unsigned).unwrap();
    let query: Vec<_> = (list.query.iter())
        .map(|(name, value)| format!("{}={}", uri::encode_component(name), uri::encode_component(value)))
        .collect();
    let query = format!("{}&max-keys=1", query.join("&"));
    let asked = std::cell::Cell::new(0);
    let head = Head {
        method: &list.method,
        path: "/bucket",
        query: Some(&query),
        headers: &list.headers,
        hosts: &[HOST],
        accept_encodings: &[],
        is_own_host: &|_| true,
        may_verify: &|_| {
            asked.set(asked.get() + 1);
            if asked.get() == 1 { Err(Error::new(Code::SlowDown, "not now")) } else { Ok(()) }
        },
    };
    refused(verifier.verify(&head, NOW), Code::SlowDown, "not now");
    assert_eq!(asked.get(), 1);
}

#[test]
fn p27_what_was_not_signed_costs_no_attempt() {
    let verifier = verifier();
    let session = session(&verifier);
    let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
    let mut signed = request(Method::GET, "/bucket/key", "");
    signer.sign(&mut signed, &Declared::Unsigned).unwrap();
    let encodings = ["gzip"; ATTEMPTS_MAX];
    for arrived in [signed.clone(), signed.header("accept-encoding", "br").unwrap()] {
        let verified = arrive_by(&verifier, &arrived, &["10.0.0.7:8014", HOST], &encodings, NOW).unwrap();
        assert_eq!(verified.host(), HOST);
    }
}

#[test]
fn verified_sessions_are_counted() {
    let verifier = verifier();
    for number in 0..3 {
        assert_eq!(verifier.cached_sessions(), number);
        let session = session(&verifier);
        let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
        let mut signed = request(Method::GET, "/bucket/key", "");
        signer.sign(&mut signed, &Declared::Unsigned).unwrap();
        arrive(&verifier, &signed, NOW).unwrap();
        arrive(&verifier, &signed, NOW).unwrap();
    }
}

#[test]
fn the_vectors_of_a_subclass_of_botocore_are_verified() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/aws4_sr25519.json")).unwrap();
    let verifier = verifier();
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let uri: Uri = text("url").parse().unwrap();
        let headers: HeaderMap = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.as_str().unwrap()).unwrap())
            })
            .collect();
        let method: Method = text("method").parse().unwrap();
        let host = uri.authority().unwrap().as_str();
        let head = Head {
            method: &method,
            path: uri.path(),
            query: uri.query(),
            headers: &headers,
            hosts: &[host],
            accept_encodings: &[],
            is_own_host: &|host| host == "127.0.0.1:8014",
            may_verify: &|_| Ok(()),
        };
        let verified = verifier.verify(&head, NOW).unwrap();
        assert_eq!(verified.hotkey().to_ss58(), vectors["ss58"].as_str().unwrap());
        assert_eq!(verified.payload(), &Payload::Sha256(canonical::sha256(text("body").as_bytes())));

        let query = Query::parse(uri.query()).unwrap();
        let claim = RequestClaim::read(&headers, &query).unwrap();
        let canonical = CanonicalRequest {
            method: &method,
            path: verified.path(),
            query: &query,
            signed_headers: &claim.signed_headers,
            overrides: &[("host", host)],
            payload_hash: claim.payload_text,
        };
        assert_eq!(canonical.text().unwrap(), text("canonical_request"));
        let string_to_sign =
            canonical.string_to_sign("AWS4-SR25519-SHA256", &claim.claim.date, claim.claim.scope).unwrap();
        assert_eq!(string_to_sign, text("string_to_sign"));
    }
}

/// Signs with AWS's own signer and verifies with ours.
fn check_against_aws(
    verifier: &Verifier,
    session: &SessionCredentials,
    mut request: ClientRequest,
    presigned: bool,
) {
    let identity = AwsCredentials::new(
        session.access_key_id.as_str(),
        session.secret_access_key.expose(),
        Some(session.session_token.expose().into()),
        None,
        "test",
    )
    .into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.expires_in = Some(std::time::Duration::from_secs(900));
    }
    let params = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::from(NOW))
        .settings(settings)
        .build()
        .unwrap();
    let params = SigningParams::from(params);
    let url = format!("http://{HOST}{}", request.target());
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), std::str::from_utf8(value.as_bytes()).unwrap()))
        .collect();
    let signable = SignableRequest::new(
        request.method.as_str(),
        url,
        headers.into_iter(),
        SignableBody::UnsignedPayload,
    )
    .unwrap();
    let (instructions, _) = aws_sigv4::http_request::sign(signable, &params).unwrap().into_parts();
    let (headers, parameters) = instructions.into_parts();
    for header in headers {
        request.headers.insert(HeaderName::from_static(header.name()), header.value().parse().unwrap());
    }
    for (name, value) in parameters {
        request.query.push(name, value).unwrap();
    }
    let verified = arrive(verifier, &request, NOW).unwrap();
    assert_eq!(verified.path(), request.path);
    assert_eq!(is_presigned_query(&verified), presigned);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn requests_signed_by_the_aws_signer_are_verified(
        path in "(/[ -~äß€]{1,12}){1,4}",
        pairs in prop::collection::vec(("[a-z!+/ ä-]{1,6}", "[ -~ä]{0,8}"), 0..5),
        note in "[!-~]{1,5}( {1,3}[!-~]{1,5}){0,3}",
        presigned: bool,
    ) {
        let verifier = verifier();
        let session = session(&verifier);
        let mut request = request(Method::PUT, &path, "").header("x-amz-meta-note", &note).unwrap();
        for (name, value) in pairs {
            request.query.push(name, value).unwrap();
        }
        check_against_aws(&verifier, &session, request, presigned);
    }
}

/// What a request costs whose session is known. It does not depend on the machine, so it can be held here;
/// the bench shows what it takes in time.
#[test]
fn a_request_of_a_known_session_takes_four_allocations_at_most() {
    let verifier = verifier();
    let session = session(&verifier);
    let signer = Signer { credentials: Credentials::Session(&session), region: REGION, now: NOW };
    let key = "/bucket/data/x/5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY/job_id=1/a b.parquet";
    for (method, query, payload) in [
        (Method::GET, "", hash(b"")),
        (Method::HEAD, "versionId=a%2Bb", Declared::Unsigned),
        (Method::PUT, "uploadId=a%2Bb&partNumber=1", hash(b"hello")),
        (Method::PUT, "", Declared::UnsignedTrailer),
    ] {
        let mut plain = request(method, key, query).header("content-type", "text/plain; a=b").unwrap();
        let mut presigned = plain.clone();
        signer.sign(&mut plain, &payload).unwrap();
        signer.presign(&mut presigned, 60, &payload).unwrap();
        for request in [plain, presigned] {
            let target = request.target();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let head = Head {
                method: &request.method,
                path,
                query: Some(query),
                headers: &request.headers,
                hosts: &[HOST],
                accept_encodings: &[],
                is_own_host: &|_| false,
                may_verify: &|_| Ok(()),
            };
            verifier.verify(&head, NOW).unwrap();
            // Now and then the cache of sessions puts itself in order, on the thread of whoever asks it.
            let counts = (0..10)
                .map(|_| allocation_counter::measure(|| drop(verifier.verify(&head, NOW))).count_total);
            let fewest = counts.min().unwrap();
            assert!((1..=4).contains(&fewest), "{} {target}: {fewest}", request.method);
        }
    }
}
