use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;

use super::{keys::KEY_ID_BYTES_MAX, token::TOKEN_CHARS_MAX, *};
use crate::auth::{
    Declared, Verifier,
    bittensor::{
        btauth::evidence_text,
        sr25519::{Keypair, SIGNATURE_BYTES},
    },
    sigv4::signer::{Credentials, Signer},
    tests::{NOW, REGION, arrive, evidence, key, keypair, request, server, session, settings, verifier},
};

/// Uses `session` at `now`, signed at `now`.
fn use_at(verifier: &Verifier, session: &SessionCredentials, now: UnixTime) -> Option<Error> {
    let mut request = request(Method::GET, "/bucket/key", "");
    let signer = Signer { credentials: Credentials::Session(session), region: REGION, now };
    signer.sign(&mut request, &Declared::Unsigned).unwrap();
    arrive(verifier, &request, now).err()
}

fn check(verifier: &Verifier, session: &SessionCredentials, now: UnixTime, code: Code, text: &str) {
    let error = use_at(verifier, session, now).unwrap_or_else(|| panic!("accepted; expected {text}"));
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(text), "{error}");
}

/// A session as whoever knows the key of [`verifier`] can make one.
fn forged(change: impl FnOnce(&mut Token<'_>)) -> SessionCredentials {
    let evidence = evidence(&keypair());
    forged_of(&evidence.text, evidence.signature, change)
}

fn forged_of<'a>(
    evidence: &'a str,
    signature: [u8; SIGNATURE_BYTES],
    change: impl FnOnce(&mut Token<'a>),
) -> SessionCredentials {
    let expires_at = NOW.plus_seconds(3600);
    let mut token = Token {
        secret_alphabet: SecretAlphabet::Base64Url,
        key_id: "k1",
        wrapped: false,
        expires_at,
        evidence,
        signature,
    };
    change(&mut token);
    let alphabet = token.secret_alphabet;
    let keys = SessionKeys::new(vec![key(token.key_id, 1, None)], token.key_id).unwrap();
    let token = token.text(&keys.issuing).unwrap();
    SessionCredentials {
        access_key_id: keypair().account().to_ss58(),
        secret_access_key: keys.issuing.secret(&token, alphabet).unwrap(),
        session_token: SecretText::new(token),
        expires_at,
    }
}

fn signed(keypair: &Keypair, text: &str) -> [u8; SIGNATURE_BYTES] {
    keypair.sign(text.as_bytes())
}

#[test]
fn p12_a_session_is_issued_and_the_same_on_every_replica() {
    let (one, two) = (verifier(), verifier());
    let issued = session(&one);
    assert_eq!(issued.secret_access_key.expose().len(), 40);
    assert!(issued.session_token.expose().len() < 450);
    assert_eq!(issued.expires_at, NOW.plus_seconds(TTL_SECONDS_MAX));
    for verifier in [&one, &two] {
        assert!(use_at(verifier, &issued, NOW).is_none());
        assert!(use_at(verifier, &issued, NOW).is_none());
        assert_eq!(verifier.cached_sessions(), 1);
    }
}

#[test]
fn p12_a_secret_has_the_characters_that_its_token_says() {
    let verifier = verifier();
    let plain = |secret: &SecretText| !secret.expose().contains(['+', '/', '=']);
    let mut spelled_anew = 0;
    for second in 0..64 {
        let expires_at = NOW.plus_seconds(2000 + second);
        let new = forged(|token| token.expires_at = expires_at);
        assert!(plain(&new.secret_access_key));
        assert!(use_at(&verifier, &new, NOW).is_none());
        // A session of the time of base64 goes on, by its own secret and by no other spelling of it.
        let old = forged(|token| {
            token.expires_at = expires_at;
            token.secret_alphabet = SecretAlphabet::Base64;
        });
        assert!(use_at(&verifier, &old, NOW).is_none());
        if !plain(&old.secret_access_key) {
            let secret = old.secret_access_key.expose().replace('+', "-").replace('/', "_");
            let respelled = SessionCredentials { secret_access_key: SecretText::new(secret), ..old };
            check(&verifier, &respelled, NOW, Code::SignatureDoesNotMatch, "");
            spelled_anew += 1;
        }
    }
    assert!(spelled_anew > 0);
    let issued = session(&verifier);
    assert!(plain(&issued.secret_access_key) && plain(&issued.session_token));
}

#[test]
fn p12_a_session_ends() {
    let verifier = verifier();
    let short = verifier.issue(&evidence(&keypair()), Some(TTL_SECONDS_MIN), NOW).unwrap();
    let last = NOW.plus_seconds(TTL_SECONDS_MIN - 1);
    let end = NOW.plus_seconds(TTL_SECONDS_MIN);
    check(&verifier, &short, end, Code::ExpiredToken, "SessionExpired: ");
    assert!(use_at(&verifier, &short, last).is_none());
    // P11: the cached signing key dies with its session.
    assert_eq!(verifier.cached_sessions(), 1);
    check(&verifier, &short, end, Code::ExpiredToken, "SessionExpired: ");
    assert_eq!(verifier.cached_sessions(), 0);
}

#[test]
fn p12_the_length_of_a_session_is_bounded() {
    let verifier = verifier();
    let evidence = evidence(&keypair());
    for ttl_seconds in [0, TTL_SECONDS_MIN - 1, TTL_SECONDS_MAX + 1, u64::MAX] {
        let error = verifier.issue(&evidence, Some(ttl_seconds), NOW).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
    }
    let elsewhere =
        Evidence { text: evidence.text.replace("/v1/session", "/v1/session?a"), ..evidence.clone() };
    assert_eq!(verifier.issue(&elsewhere, None, NOW).unwrap_err().code, Code::InvalidRequest);
    // Never longer than the longest session after the hotkey signed.
    let late = verifier.issue(&evidence, None, NOW.plus_seconds(10)).unwrap();
    assert_eq!(late.expires_at, NOW.plus_seconds(TTL_SECONDS_MAX));
    assert!(use_at(&verifier, &late, NOW.plus_seconds(10)).is_none());
}

#[test]
fn p12_a_session_outlives_midnight() {
    let verifier = verifier();
    let session = session(&verifier);
    assert!(use_at(&verifier, &session, NOW).is_none());
    let tomorrow = NOW.plus_seconds(80_000);
    assert!(use_at(&verifier, &session, tomorrow).is_none());
    assert!(use_at(&verifier, &session, tomorrow).is_none());
    assert_eq!(verifier.cached_sessions(), 1);
}

#[test]
fn p12_keys_rotate_without_logging_anyone_out_before_the_overlap_ends() {
    let old = session(&verifier());
    let until = NOW.plus_seconds(3600);
    let rotated = Verifier::new(settings(vec![key("k2", 2, None), key("k1", 1, Some(until))], "k2"));
    assert!(use_at(&rotated, &old, NOW).is_none());
    assert_eq!(rotated.cached_sessions(), 1);
    check(&rotated, &old, until, Code::ExpiredToken, "SessionExpired: ");
    assert_eq!(rotated.cached_sessions(), 0);
    check(&rotated, &old, until, Code::ExpiredToken, "SessionExpired: ");
    assert!(use_at(&rotated, &session(&rotated), NOW).is_none());

    let removed = Verifier::new(settings(vec![key("k2", 2, None)], "k2"));
    check(&removed, &old, NOW, Code::InvalidToken, "key that this server does not have");
    let replaced = Verifier::new(settings(vec![key("k1", 3, None)], "k1"));
    check(&replaced, &old, NOW, Code::SignatureDoesNotMatch, "");
}

#[test]
fn p12_sets_of_keys_are_checked() {
    let until = Some(NOW);
    for (keys, issuing, expected) in [
        (vec![], "k1", SessionKeysError::Issuing("k1".into())),
        (vec![key("k1", 1, None)], "k2", SessionKeysError::Issuing("k2".into())),
        (vec![key("k1", 1, until)], "k1", SessionKeysError::IssuingEnds("k1".into())),
        (vec![key("k1", 1, None), key("k1", 2, None)], "k1", SessionKeysError::Duplicate("k1".into())),
        (vec![key("", 1, None)], "", SessionKeysError::Id(String::new())),
        (vec![key("a b", 1, None)], "a b", SessionKeysError::Id("a b".into())),
        (
            vec![SessionKey { secret: Secret::new([1; 31]), ..key("k1", 1, None) }],
            "k1",
            SessionKeysError::Short("k1".into()),
        ),
    ] {
        assert_eq!(SessionKeys::new(keys, issuing).unwrap_err(), expected);
    }
    let long = "k".repeat(33);
    assert!(SessionKeys::new(vec![key(&long, 1, None)], &long).is_err());
    let keys = SessionKeys::new(vec![key("k1", 1, None)], "k1").unwrap();
    assert_eq!(format!("{keys:?}"), "SessionKeys(1 keys, \"k1\" issues)");
}

#[test]
fn p12_the_servers_key_alone_mints_nothing() {
    let verifier = verifier();
    assert!(use_at(&verifier, &forged(|_| {}), NOW).is_none());
    let (ours, other) = (keypair(), Keypair::from_mini_secret(&[9; 32]).unwrap());
    let nonce = u64::try_from(NOW.nanos()).unwrap();
    let statement = |method, target, nonce, sender: &Keypair, receiver: Option<AccountId>| {
        evidence_text(method, target, b"", nonce, &sender.account(), receiver.as_ref())
    };
    let session_of = |text: &str, signer: &Keypair| forged_of(text, signed(signer, text), |_| {});
    let good = statement("POST", "/v1/session", nonce, &ours, Some(server()));
    assert!(use_at(&verifier, &session_of(&good, &ours), NOW).is_none());
    for (text, reason) in [
        (statement("POST", "/v1/session", nonce, &other, Some(server())), "another access key"),
        (statement("POST", "/v1/session", nonce, &ours, None), "another server"),
        (statement("POST", "/v1/session", nonce, &ours, Some(ours.account())), "another server"),
        (statement("GET", "/v1/session", nonce, &ours, Some(server())), "something else"),
        (statement("POST", "/v1/session?a", nonce, &ours, Some(server())), "something else"),
        (statement("POST", "/v1/session", nonce - 83_000_000_000_000, &ours, Some(server())), "longer"),
        (statement("POST", "/v1/session", nonce + 901_000_000_000, &ours, Some(server())), "longer"),
        ("s3:validator:access:1".into(), "evidence cannot be read"),
    ] {
        let signer = if reason == "another access key" { &other } else { &ours };
        check(&verifier, &session_of(&text, signer), NOW, Code::InvalidToken, reason);
    }
    check(&verifier, &session_of(&good, &other), NOW, Code::InvalidToken, "hotkey signature is false");
    check(&verifier, &forged(|token| token.wrapped = true), NOW, Code::InvalidToken, "signature is false");
    let wrapped = forged(|token| {
        token.wrapped = true;
        token.signature = signed(&ours, &format!("<Bytes>{}</Bytes>", token.evidence));
    });
    assert!(use_at(&verifier, &wrapped, NOW).is_none());
    let endless = forged(|token| token.expires_at = UnixTime::from_seconds(u64::MAX));
    check(&verifier, &endless, NOW, Code::InvalidToken, "longer");
    let over = forged(|token| token.expires_at = UnixTime::from_seconds(0));
    check(&verifier, &over, NOW, Code::ExpiredToken, "SessionExpired: ");
}

#[test]
fn p11_nothing_unproven_is_cached() {
    let verifier = verifier();
    let good = session(&verifier);
    let with = |change: &dyn Fn(&mut SessionCredentials)| {
        let mut session = good.clone();
        change(&mut session);
        session
    };
    let wrong_secret = with(&|session| session.secret_access_key = SecretText::new("x"));
    check(&verifier, &wrong_secret, NOW, Code::SignatureDoesNotMatch, "");
    let no_hotkey = with(&|session| session.access_key_id = "AKIAIOSFODNN7EXAMPLE".into());
    check(&verifier, &no_hotkey, NOW, Code::InvalidAccessKeyId, "hotkey");
    let another = with(&|session| session.access_key_id = server().to_ss58());
    check(&verifier, &another, NOW, Code::InvalidToken, "another access key");
    for text in ["", "A", "!!!", "AAAA", &"A".repeat(TOKEN_CHARS_MAX + 4)] {
        let bad_token = with(&|session| session.session_token = SecretText::new(text));
        check(&verifier, &bad_token, NOW, Code::InvalidToken, "cannot be read");
    }
    check(
        &verifier,
        &forged(|token| token.signature = [1; 64]),
        NOW,
        Code::InvalidToken,
        "signature is false",
    );
    assert_eq!(verifier.cached_sessions(), 0);

    // A proven session does not vouch for other names or secrets.
    assert!(use_at(&verifier, &good, NOW).is_none());
    check(&verifier, &wrong_secret, NOW, Code::SignatureDoesNotMatch, "");
    check(&verifier, &another, NOW, Code::InvalidToken, "another access key");
    check(&verifier, &no_hotkey, NOW, Code::InvalidAccessKeyId, "hotkey");
    assert_eq!(verifier.cached_sessions(), 1);
}

#[test]
fn p11_a_refused_token_costs_a_derivation_and_a_comparison_too() {
    let settings = settings(vec![key("k1", 1, None)], "k1");
    let sessions =
        SessionAuthority::new(settings.session_keys, settings.audience, REGION.into(), TTL_SECONDS_MAX);
    let access_key = keypair().account().to_ss58();
    let unknown_key = forged(|token| token.key_id = "k9");
    for (access_key, token) in [
        (access_key.as_str(), None),
        (&access_key, Some("!!!")),
        (&access_key, Some(unknown_key.session_token.expose())),
        ("nobody", Some(forged(|_| {}).session_token.expose())),
    ] {
        let presented = PresentedSession { access_key, token, day: "20261121", time: NOW };
        let compared = std::cell::Cell::new(0);
        let result = sessions.prove(&presented, NOW, |signing_key| {
            compared.set(compared.get() + signing_key.signature(b"").as_str().len());
            Ok(Some(()))
        });
        // Even a comparison that says yes does not make a refused token good.
        assert!(result.is_err());
        assert_eq!(compared.get(), 64);
    }
    assert_eq!(sessions.cached(), 0);
}

#[test]
fn p12_a_secret_without_its_token_says_nothing() {
    let verifier = verifier();
    let session = session(&verifier);
    let credentials = Credentials::Static {
        access_key_id: &session.access_key_id,
        secret_access_key: &session.secret_access_key,
    };
    let mut request = request(Method::GET, "/bucket/key", "");
    Signer { credentials, region: REGION, now: NOW }.sign(&mut request, &Declared::Unsigned).unwrap();
    let error = arrive(&verifier, &request, NOW).unwrap_err();
    assert_eq!(error.code, Code::InvalidToken);
    assert!(error.message.contains("AWS_SESSION_TOKEN"));
}

#[test]
fn p12_each_flipped_bit_of_a_token_is_refused() {
    let verifier = verifier();
    let session = session(&verifier);
    let bytes = URL_SAFE_NO_PAD.decode(session.session_token.expose()).unwrap();
    // The second time while the good one is cached: its ends alone make no other token good.
    for cached in [0, 1] {
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let token = SecretText::new(URL_SAFE_NO_PAD.encode(&flipped));
            let session = SessionCredentials { session_token: token, ..session.clone() };
            assert!(use_at(&verifier, &session, NOW).is_some(), "byte {at}");
        }
        assert_eq!(verifier.cached_sessions(), cached);
        assert!(use_at(&verifier, &session, NOW).is_none());
    }
}

#[test]
fn p12_two_sessions_for_one_signature_are_cached_side_by_side() {
    let evidence = evidence(&keypair());
    for key_id in ["k", &"k".repeat(KEY_ID_BYTES_MAX)] {
        let verifier = Verifier::new(settings(vec![key(key_id, 1, None)], key_id));
        for seconds in [2000, 2001, 2000] {
            let session = forged_of(&evidence.text, evidence.signature, |token| {
                token.key_id = key_id;
                token.expires_at = NOW.plus_seconds(seconds);
            });
            assert!(use_at(&verifier, &session, NOW).is_none());
        }
        assert_eq!(verifier.cached_sessions(), 2);
    }
}
