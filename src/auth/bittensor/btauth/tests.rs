use http::{HeaderName, HeaderValue};

use super::*;
use crate::auth::bittensor::{Nonce, SpentNonces};

const NONCE: u64 = 1_752_076_800_000_000_000;
const TARGET: &str = "/v1/session?a=1";
const BODY: &[u8] = b"{}";

fn keypair() -> Keypair {
    Keypair::from_mini_secret(&[7; 32]).unwrap()
}

fn server() -> AccountId {
    "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty".parse().unwrap()
}

fn audience() -> Audience {
    Audience { receiver: Some(server()), allow_none: false }
}

fn now() -> UnixTime {
    UnixTime::from_nanos(NONCE)
}

fn map(headers: Vec<(&'static str, String)>) -> HeaderMap {
    let header =
        |(name, text): (_, String)| (HeaderName::from_static(name), text.parse::<HeaderValue>().unwrap());
    headers.into_iter().map(header).collect()
}

fn signed() -> HeaderMap {
    map(sign(&keypair(), "POST", TARGET, BODY, Some(&server()), NONCE))
}

fn check(headers: &HeaderMap, expected: BtauthError) {
    assert_eq!(verify(headers, "POST", TARGET, BODY, &audience(), now()), Err(expected));
}

#[test]
fn the_vectors_of_the_sdk_are_verified() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/btauth1.json")).unwrap();
    let audience = Audience { allow_none: true, ..audience() };
    for vector in vectors["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let headers: HeaderMap = vector["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), value.as_str().unwrap().parse::<HeaderValue>().unwrap())
            })
            .collect();
        let body = text("body").as_bytes();
        let evidence = verify(&headers, text("method"), text("path"), body, &audience, now()).unwrap();
        assert_eq!(evidence.hotkey().to_ss58(), text("signer_ss58"));
        assert_eq!(evidence.time().nanos(), u128::from(vector["nonce_ns"].as_u64().unwrap()));
        let longer = [body, b" "].concat();
        let other = verify(&headers, text("method"), text("path"), &longer, &audience, now());
        assert_eq!(other, Err(BtauthError::Signature));
    }
}

#[test]
fn each_signed_part_is_bound() {
    let headers = signed();
    let result = |method, target, body| verify(&headers, method, target, body, &audience(), now());
    assert!(result("POST", TARGET, BODY).is_ok());
    for (method, target, body) in
        [("PUT", TARGET, BODY), ("POST", "/v1/session", BODY), ("POST", TARGET, b"{ }".as_slice())]
    {
        assert_eq!(result(method, target, body), Err(BtauthError::Signature));
    }
}

#[test]
fn p9_the_window_is_ten_seconds_past_and_two_ahead() {
    let headers = signed();
    for (offset_nanos, fresh) in [
        (-2_000_000_001, false),
        (-2_000_000_000, true),
        (0, true),
        (10_000_000_000, true),
        (10_000_000_001, false),
    ] {
        let now = UnixTime::from_nanos(NONCE.checked_add_signed(offset_nanos).unwrap());
        let result = verify(&headers, "POST", TARGET, BODY, &audience(), now);
        assert_eq!(result.err(), (!fresh).then_some(BtauthError::Stale), "{offset_nanos}");
    }
}

#[test]
fn p16_each_header_stands_there_once_and_in_form() {
    let names =
        [VERSION_HEADER, HOTKEY_HEADER, RECEIVER_HEADER, NONCE_HEADER, CRYPTO_HEADER, SIGNATURE_HEADER];
    for name in names {
        let mut headers = signed();
        headers.append(name, headers[name].clone());
        check(&headers, BtauthError::Duplicate(name));
    }
    for name in [VERSION_HEADER, HOTKEY_HEADER, NONCE_HEADER, SIGNATURE_HEADER] {
        let mut headers = signed();
        headers.remove(name);
        check(&headers, BtauthError::Missing(name));
    }
    let signature = signed()[SIGNATURE_HEADER].to_str().unwrap().to_owned();
    for (name, text, error) in [
        (VERSION_HEADER, "2", BtauthError::Version),
        (CRYPTO_HEADER, "ed25519", BtauthError::Crypto),
        (
            HOTKEY_HEADER,
            "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM",
            BtauthError::Malformed(HOTKEY_HEADER),
        ),
        (NONCE_HEADER, "+1752076800000000000", BtauthError::Malformed(NONCE_HEADER)),
        (NONCE_HEADER, "01752076800000000000", BtauthError::Malformed(NONCE_HEADER)),
        (NONCE_HEADER, "99999999999999999999999", BtauthError::Malformed(NONCE_HEADER)),
        (NONCE_HEADER, "1752076800000000001", BtauthError::Signature),
        (SIGNATURE_HEADER, signature.trim_start_matches("0x"), BtauthError::Malformed(SIGNATURE_HEADER)),
        (
            SIGNATURE_HEADER,
            signature.trim_end_matches(|digit: char| digit.is_ascii_hexdigit()),
            BtauthError::Malformed(SIGNATURE_HEADER),
        ),
        (RECEIVER_HEADER, "5Abc", BtauthError::Malformed(RECEIVER_HEADER)),
    ] {
        let mut headers = signed();
        headers.insert(name, text.parse().unwrap());
        check(&headers, error);
    }
    let mut headers = signed();
    headers.insert(HOTKEY_HEADER, HeaderValue::from_bytes(b"\xff").unwrap());
    check(&headers, BtauthError::Malformed(HOTKEY_HEADER));
    let mut headers = signed();
    headers.remove(CRYPTO_HEADER);
    assert!(verify(&headers, "POST", TARGET, BODY, &audience(), now()).is_ok());
}

#[test]
fn p12_the_audience_is_this_server() {
    let to_nobody = map(sign(&keypair(), "POST", TARGET, BODY, None, NONCE));
    check(&to_nobody, BtauthError::Receiver);
    let audience = Audience { receiver: None, allow_none: true };
    assert!(verify(&to_nobody, "POST", TARGET, BODY, &audience, now()).is_ok());
    assert_eq!(verify(&signed(), "POST", TARGET, BODY, &audience, now()), Err(BtauthError::Receiver));
    let other = map(sign(&keypair(), "POST", TARGET, BODY, Some(&keypair().account()), NONCE));
    check(&other, BtauthError::Receiver);
}

#[test]
fn a_signature_over_wrapped_bytes_is_taken_once_wrapped() {
    let keypair = keypair();
    let bytes = evidence_text("POST", TARGET, BODY, NONCE, &keypair.account(), Some(&server()));
    let mut headers = signed();
    let mut sign_as = |message: String| {
        let signature = format!("0x{}", hex::encode(keypair.sign(message.as_bytes())));
        headers.insert(SIGNATURE_HEADER, signature.parse().unwrap());
        verify(&headers, "POST", TARGET, BODY, &audience(), now())
    };
    assert!(sign_as(format!("<Bytes>{bytes}</Bytes>")).unwrap().wrapped);
    assert!(!sign_as(bytes.clone()).unwrap().wrapped);
    assert_eq!(sign_as(format!("<Bytes><Bytes>{bytes}</Bytes></Bytes>")), Err(BtauthError::Signature));
}

#[test]
fn statements_go_round_and_nothing_else_is_one() {
    let bytes = evidence_text("POST", TARGET, BODY, NONCE, &keypair().account(), None);
    assert_eq!(SignedRequest::parse(&bytes).unwrap().text(), bytes);
    for text in [
        String::new(),
        bytes.replace("btauth/1", "btauth/2"),
        bytes.replace("sr25519", "ed25519"),
        format!("{bytes}\n"),
        bytes.replace("\n-", ""),
        bytes.replace("\n-", "\n"),
        bytes.replace("17520", "+17520"),
    ] {
        assert_eq!(SignedRequest::parse(&text), None, "{text}");
    }
}

#[test]
fn a_nonce_is_spent_once_within_the_window_and_the_store_is_bounded() {
    let store = SpentNonces::since(UnixTime::from_nanos(0));
    let evidence = |nonce_nanos| {
        let headers = map(sign(&keypair(), "POST", TARGET, BODY, Some(&server()), nonce_nanos));
        verify(&headers, "POST", TARGET, BODY, &audience(), UnixTime::from_nanos(nonce_nanos)).unwrap()
    };
    let nonce = |nonce_nanos| evidence(nonce_nanos).nonce();
    let first = nonce(NONCE);
    assert_eq!(store.spend_bounded(&first, now(), (2, 0)), Ok(()));
    assert_eq!(store.spend_bounded(&first, now(), (2, 0)), Err(BtauthError::Replayed));
    assert_eq!(store.spend_bounded(&nonce(NONCE + 1), now(), (2, 0)), Ok(()));
    assert_eq!(store.spend_bounded(&nonce(NONCE + 2), now(), (2, 0)), Err(BtauthError::Full));
    assert_eq!(BtauthError::Full.status(), StatusCode::SERVICE_UNAVAILABLE);

    // Once the window has passed there is room again, and a clock that steps back revives nothing.
    let later = UnixTime::from_nanos(NONCE + 12_000_000_000);
    assert_eq!(store.spend_bounded(&nonce(NONCE + 12_000_000_000), later, (2, 0)), Ok(()));
    assert_eq!(store.spend_bounded(&first, now(), (2, 0)), Err(BtauthError::Stale));
}

#[test]
fn p9_a_nonce_from_before_the_start_is_not_taken() {
    let evidence = |nonce_nanos| {
        let headers = map(sign(&keypair(), "POST", TARGET, BODY, Some(&server()), nonce_nanos));
        verify(&headers, "POST", TARGET, BODY, &audience(), UnixTime::from_nanos(nonce_nanos)).unwrap()
    };
    let store = SpentNonces::since(UnixTime::from_nanos(NONCE));
    assert_eq!(store.spend(&evidence(NONCE - 1).nonce(), now()), Err(BtauthError::BeforeStart));
    assert_eq!(store.spend(&evidence(NONCE).nonce(), now()), Ok(()));
    assert_eq!(BtauthError::BeforeStart.status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn p9_a_nonce_that_replicas_share_is_remembered_until_none_of_them_takes_it() {
    let headers = map(sign(&keypair(), "POST", TARGET, BODY, Some(&server()), NONCE));
    let nonce: Nonce = verify(&headers, "POST", TARGET, BODY, &audience(), now()).unwrap().nonce();
    let life = |now_nanos| nonce.life(UnixTime::from_nanos(now_nanos)).as_secs();
    assert_eq!((life(NONCE), life(NONCE + 4_000_000_000), life(NONCE - 2_000_000_000)), (40, 36, 42));
    assert_eq!(life(NONCE + 60_000_000_000), 30);
}
