use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::auth::{
    BtauthError, SessionCredentials, Verifier,
    bittensor::{SpentNonces, sr25519::Keypair},
    sigv4::signer::{ClientRequest, Credentials, Signer},
    tests::{NOW as SESSION_NOW, arrive, key, keypair as caller, settings},
};
use crate::{
    auth::{Audience, Declared},
    error::Code,
};

const MILLIS: u64 = 1_795_305_600_000;
const UUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const BODY: &[u8] = b"{\"miner_hotkey\": \"5F\"}";

fn keypair() -> Keypair {
    Keypair::from_mini_secret(&[7; 32]).unwrap()
}

fn at(millis: u64) -> UnixTime {
    UnixTime::from_nanos(millis * NANOS_PER_MILLISECOND)
}

fn signed_text(body: &[u8], uuid: &str, millis: u64) -> String {
    format!("{}.{uuid}.{millis}", sha256_hex(body))
}

fn headers_of(keypair: &Keypair, body: &[u8], uuid: &str, millis: u64) -> HeaderMap {
    let headers = sign(keypair, body, uuid, millis).into_iter();
    headers.map(|(name, text)| (HeaderName::from_static(name), text.parse().unwrap())).collect()
}

fn signed() -> HeaderMap {
    headers_of(&keypair(), BODY, UUID, MILLIS)
}

fn with(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = signed();
    headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    headers
}

fn verified(headers: &HeaderMap, body: &[u8], now: UnixTime) -> Result<VerifiedTao, TaoError> {
    TaoClaim::read(headers, now)?.verify(body, now)
}

#[track_caller]
fn check(headers: &HeaderMap, expected: TaoError) {
    assert_eq!(verified(headers, BODY, at(MILLIS)).unwrap_err(), expected);
}

#[test]
fn p66_a_body_is_bound_to_its_signer_its_nonce_and_its_time() {
    let request = verified(&signed(), BODY, at(MILLIS)).unwrap();
    assert_eq!(request.text, signed_text(BODY, UUID, MILLIS));
    assert_eq!(request.evidence.hotkey(), keypair().account());
    assert_eq!(request.evidence.time(), at(MILLIS));
    assert_eq!(request.nonce.id(), UUID);

    for body in [&b""[..], b"{}", b"{\"miner_hotkey\": \"5F\"} "] {
        assert_eq!(verified(&signed(), body, at(MILLIS)).unwrap_err(), TaoError::Signature);
    }
    check(&with(NONCE_HEADER, &UUID.replace('0', "1")), TaoError::Signature);
    check(&with(TIMESTAMP_HEADER, &(MILLIS + 1).to_string()), TaoError::Signature);
    let other = Keypair::from_mini_secret(&[9; 32]).unwrap();
    check(&with(SIGNER_HEADER, &other.account().to_ss58()), TaoError::Signature);
    check(&with(SIGNATURE_HEADER, &STANDARD.encode([0; 64])), TaoError::Signature);
}

#[test]
fn p66_the_clock_is_bounded() {
    for now in [MILLIS, MILLIS + 10_000, MILLIS - 2_000] {
        assert!(verified(&signed(), BODY, at(now)).is_ok(), "{now}");
    }
    for now in [MILLIS + 10_001, MILLIS - 2_001, 0] {
        assert_eq!(verified(&signed(), BODY, at(now)).unwrap_err(), TaoError::Timestamp, "{now}");
    }
    // A body that took too long is too old, though its headers came in time.
    let claim = TaoClaim::read(&signed(), at(MILLIS)).unwrap();
    assert_eq!(claim.verify(BODY, at(MILLIS + 10_001)).unwrap_err(), TaoError::Timestamp);
}

#[test]
fn p66_each_header_is_there_once_in_its_one_spelling() {
    for name in [VERSION_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, SIGNER_HEADER, SIGNATURE_HEADER] {
        let mut headers = signed();
        headers.remove(name);
        check(&headers, TaoError::Missing(name));
        let mut headers = signed();
        headers.append(name, headers[name].clone());
        check(&headers, TaoError::Duplicate(name));
        check(&with(name, "\u{e9}"), TaoError::Malformed(name));
    }
    for version in ["", "1", "3", "02", "2.0"] {
        check(&with(VERSION_HEADER, version), TaoError::Version);
    }
    let seconds = (MILLIS / 1000).to_string();
    for (name, values) in [
        (
            TIMESTAMP_HEADER,
            ["", "+1795305600000", "01795305600000", "1795305600000.0", "18446744073709551615"],
        ),
        (
            NONCE_HEADER,
            [
                "",
                "0F8FAD5B-D9CB-469F-A165-70867728950E",
                "0f8fad5bd9cb469fa16570867728950e",
                "{0f8fad5b-d9cb-469f-a165-70867728950e}",
                "0f8fad5b-d9cb-469f-a165-70867728950g",
            ],
        ),
        (SIGNER_HEADER, ["", "5F", "0x00", "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM", "hotkey"]),
        (SIGNATURE_HEADER, ["", "0x", "zz", "====", "AAAA"]),
    ] {
        for value in values {
            check(&with(name, value), TaoError::Malformed(name));
        }
    }
    // Seconds are another time.
    check(&with(TIMESTAMP_HEADER, &seconds), TaoError::Timestamp);
    assert!(is_claimed(&signed()) && !is_claimed(&HeaderMap::new()));
}

#[test]
fn signatures_are_taken_in_base64_and_in_hex() {
    let signature = keypair().sign(signed_text(BODY, UUID, MILLIS).as_bytes());
    let wrapped = keypair().sign(format!("<Bytes>{}</Bytes>", signed_text(BODY, UUID, MILLIS)).as_bytes());
    for text in [
        STANDARD.encode(signature),
        hex::encode(signature),
        format!("0x{}", hex::encode(signature)),
        STANDARD.encode(wrapped),
    ] {
        assert!(verified(&with(SIGNATURE_HEADER, &text), BODY, at(MILLIS)).is_ok(), "{text}");
    }
    let base64 = STANDARD.encode(signature);
    for text in [
        base64.trim_end_matches('=').to_owned(),
        format!("{base64}="),
        format!("0x0x{}", hex::encode(signature)),
    ] {
        check(&with(SIGNATURE_HEADER, &text), TaoError::Malformed(SIGNATURE_HEADER));
    }
}

#[test]
fn p66_a_nonce_counts_once_whatever_time_is_signed_with_it() {
    let nonce = |uuid: &str, millis| {
        verified(&headers_of(&keypair(), BODY, uuid, millis), BODY, at(millis)).unwrap().nonce
    };
    let other = |n: u8| UUID.replace("0e", &format!("{n:02x}"));
    let store = SpentNonces::since(at(MILLIS - 5_000));
    let spend = |nonce: &Nonce, now| store.spend_bounded(nonce, at(now), (5, 3));
    assert_eq!(spend(&nonce(UUID, MILLIS), MILLIS), Ok(()));
    for millis in [MILLIS, MILLIS + 1, MILLIS - 1] {
        assert_eq!(spend(&nonce(UUID, millis), MILLIS), Err(BtauthError::Replayed));
    }
    assert_eq!(spend(&nonce(UUID, MILLIS - 5_001), MILLIS), Err(BtauthError::BeforeStart));
    // One hotkey has its share of them.
    assert_eq!(spend(&nonce(&other(1), MILLIS), MILLIS), Ok(()));
    assert_eq!(spend(&nonce(&other(2), MILLIS + 5_000), MILLIS + 5_000), Ok(()));
    assert_eq!(spend(&nonce(&other(3), MILLIS), MILLIS), Err(BtauthError::Full));
    let another = Keypair::from_mini_secret(&[8; 32]).unwrap();
    let of_another = verified(&headers_of(&another, BODY, UUID, MILLIS), BODY, at(MILLIS)).unwrap().nonce;
    assert_eq!(spend(&of_another, MILLIS), Ok(()));
    // When the window has passed there is room again, and nothing of it is taken.
    let later = MILLIS + 10_001;
    assert_eq!(spend(&nonce(&other(4), later), later), Ok(()));
    assert_eq!(spend(&nonce(UUID, MILLIS), later), Err(BtauthError::Stale));
    assert_eq!(spend(&nonce(&other(2), later), later), Err(BtauthError::Replayed));
}

/// A verifier that takes what is addressed to nobody, and what the caller signed with X-Tao.
fn verifier_and_evidence() -> (Verifier, Evidence) {
    let mut settings = settings(vec![key("k1", 1, None)], "k1");
    settings.audience = Audience { allow_none: true, ..settings.audience };
    let millis = SESSION_NOW.seconds() * 1000;
    let evidence = verified(&headers_of(&caller(), BODY, UUID, millis), BODY, at(millis)).unwrap().evidence;
    (Verifier::new(settings), evidence)
}

fn request() -> ClientRequest {
    crate::auth::tests::request(http::Method::GET, "/bucket/key", "")
}

#[test]
fn p66_it_is_no_evidence_for_a_session() {
    let (verifier, evidence) = verifier_and_evidence();
    assert_eq!(verifier.issue(&evidence, None, SESSION_NOW).unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn p66_its_tokens_count_in_links_and_in_nothing_else() {
    let (verifier, evidence) = verifier_and_evidence();
    let until = SESSION_NOW.plus_seconds(3600);
    let links: SessionCredentials = verifier.issue_until(&evidence, until, SESSION_NOW).unwrap();
    let signer = Signer {
        credentials: Credentials::Session(&links),
        region: crate::auth::tests::REGION,
        now: SESSION_NOW,
    };
    let mut presigned = request();
    signer.presign(&mut presigned, 60, &Declared::Unsigned).unwrap();
    assert_eq!(arrive(&verifier, &presigned, SESSION_NOW).unwrap().hotkey(), caller().account());
    // Whoever had its secret could sign with it in no header, whether it was seen before or not.
    for _ in 0..2 {
        let mut in_header = request();
        signer.sign(&mut in_header, &Declared::Unsigned).unwrap();
        let error = arrive(&verifier, &in_header, SESSION_NOW).unwrap_err();
        assert_eq!(error.code, Code::InvalidToken);
        assert!(error.message.contains("nothing else"), "{error}");
    }
    // A server that takes nothing without a receiver takes none of it.
    let strict = Verifier::new(settings(vec![key("k1", 1, None)], "k1"));
    assert_eq!(arrive(&strict, &presigned, SESSION_NOW).unwrap_err().code, Code::InvalidToken);
}

proptest! {
    #[test]
    fn p66_uuids_have_one_spelling(number: u128, text in "[0-9a-fA-F-]{30,40}") {
        let shown = Uuid(number).to_string();
        prop_assert_eq!(Uuid::parse(&shown), Some(Uuid(number)));
        if let Some(uuid) = Uuid::parse(&text) {
            prop_assert_eq!(uuid.to_string(), text);
        }
    }

    #[test]
    fn p66_what_parses_is_what_is_signed(
        text in "\\PC{0,140}",
        hash in "[0-9a-fA-F]{62,65}",
        millis in "[0-9]{1,20}",
    ) {
        for text in [text, format!("{hash}.{UUID}.{millis}")] {
            if let Some(signed) = SignedBody::parse(&text) {
                prop_assert_eq!(signed.text(), text);
            }
        }
    }

    #[test]
    fn p66_no_header_panics(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..140), 5)) {
        let names = [VERSION_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, SIGNER_HEADER, SIGNATURE_HEADER];
        let mut headers = HeaderMap::new();
        for (name, value) in names.into_iter().zip(&values) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        }
        prop_assert!(verified(&headers, BODY, at(MILLIS)).is_err());
    }
}
