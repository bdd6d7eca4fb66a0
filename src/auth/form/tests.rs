use aws_sigv4::sign::v4::calculate_signature;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::auth::{
    bittensor::sr25519::Keypair,
    sigv4::signing_key,
    tests::{HOST as SERVER, NOW, REGION, keypair, session, verifier},
};

/// The conditions of a policy that a hotkey may sign itself.
fn bound() -> String {
    format!(r#"{{"host": "{SERVER}"}}, {{"x-amz-date": "{}"}}"#, NOW.to_amz())
}

fn policy_of(conditions: &str) -> String {
    STANDARD.encode(format!(
        r#"{{"expiration": "2026-11-21T12:00:00Z", "conditions": [{{"bucket": "b"}}, {conditions}]}}"#
    ))
}

type Fields = Vec<(String, String)>;

fn fields(scheme: Scheme, access_key: &str, policy: &str, signature: String) -> Fields {
    let date = NOW.to_amz();
    let (day, _) = date.split_once('T').unwrap();
    [
        ("policy", policy.to_owned()),
        ("x-amz-algorithm", scheme.algorithm().to_owned()),
        ("x-amz-credential", format!("{access_key}/{day}/{REGION}/s3/aws4_request")),
        ("x-amz-date", date.clone()),
        ("x-amz-signature", signature),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A form that `keypair` signed itself.
fn by_hotkey(keypair: &Keypair, policy: &str) -> Fields {
    let signature = hex::encode(keypair.sign(policy.as_bytes()));
    fields(Scheme::Sr25519, &keypair.account().to_ss58(), policy, signature)
}

fn with(mut fields: Fields, name: &str, value: &str) -> Fields {
    match fields.iter_mut().find(|(other, _)| other == name) {
        Some((_, old)) => value.clone_into(old),
        None => fields.push((name.to_owned(), value.to_owned())),
    }
    fields
}

fn without(mut fields: Fields, name: &str) -> Fields {
    fields.retain(|(other, _)| other != name);
    fields
}

fn verify_at(verifier: &Verifier, fields: &Fields, is_own_host: bool, now: UnixTime) -> Result<VerifiedForm> {
    verifier.verify_form(&PostForm { fields, host: SERVER, is_own_host }, now, &|_| Ok(()))
}

fn verify(verifier: &Verifier, fields: &Fields) -> Result<VerifiedForm> {
    verify_at(verifier, fields, true, NOW)
}

#[track_caller]
fn refused(result: Result<VerifiedForm>, code: Code, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(text), "{}", error.message);
}

#[test]
fn p14_a_form_is_signed_by_a_session_or_by_the_hotkey_itself() {
    let verifier = verifier();
    let session = session(&verifier);
    let policy = policy_of(r#"["starts-with", "$key", ""]"#);
    let key = signing_key(&session.secret_access_key, NOW, REGION);
    let signature = calculate_signature(key.expose(), policy.as_bytes());
    let by_session = with(
        fields(Scheme::Hmac, &session.access_key_id, &policy, signature),
        "x-amz-security-token",
        session.session_token.expose(),
    );
    // Nothing of a session has to be bound: its key binds the day, its token the server.
    let verified = verify_at(&verifier, &by_session, false, NOW).unwrap();
    assert_eq!(verified.hotkey(), keypair().account());
    assert_eq!(verified.policy(), &PostPolicy::parse(&policy).unwrap());
    for changed in [
        with(by_session.clone(), "policy", &policy_of(r#"["starts-with", "$key", "a"]"#)),
        with(by_session.clone(), "x-amz-signature", &"0a".repeat(32)),
        with(by_session.clone(), "x-amz-signature", ""),
    ] {
        assert!(verify(&verifier, &changed).is_err());
    }
    refused(verify(&verifier, &without(by_session, "x-amz-security-token")), Code::InvalidToken, "");

    let by_hotkey = by_hotkey(&keypair(), &policy_of(&bound()));
    assert_eq!(verify(&verifier, &by_hotkey).unwrap().hotkey(), keypair().account());
    let other = Keypair::from_mini_secret(&[9; 32]).unwrap().account().to_ss58();
    let (_, credential) = by_hotkey.iter().find(|(name, _)| name == "x-amz-credential").unwrap();
    let as_other = credential.replace(&keypair().account().to_ss58(), &other);
    for changed in [
        with(by_hotkey.clone(), "x-amz-credential", &as_other),
        with(by_hotkey.clone(), "policy", &policy_of(&format!("{}, {}", bound(), bound()))),
        with(by_hotkey.clone(), "x-amz-signature", "0a"),
    ] {
        refused(verify(&verifier, &changed), Code::SignatureDoesNotMatch, "");
    }
    refused(
        verify(&verifier, &with(by_hotkey, "x-amz-security-token", session.session_token.expose())),
        Code::InvalidRequest,
        "no session token",
    );
}

#[test]
fn p62_a_policy_of_the_hotkeys_own_names_this_server_and_its_date_exactly() {
    let verifier = verifier();
    let keypair = keypair();
    let verify = |conditions: &str| verify(&verifier, &by_hotkey(&keypair, &policy_of(conditions)));
    let date = format!(r#"{{"x-amz-date": "{}"}}"#, NOW.to_amz());
    let host = format!(r#"{{"host": "{SERVER}"}}"#);
    verify(&format!("{host}, {date}")).unwrap();
    verify(&format!(r#"{{"host": "{}"}}, {date}"#, SERVER.to_ascii_uppercase())).unwrap();
    for elsewhere in [
        date.clone(),
        format!(r#"{{"host": "other.example"}}, {date}"#),
        format!(r#"["starts-with", "$host", ""], {date}"#),
        format!(r#"{{"acl": "{SERVER}"}}, {date}"#),
    ] {
        refused(verify(&elsewhere), Code::AccessDenied, "this server's name");
    }
    for dated_anew in [
        host.clone(),
        format!(r#"{host}, {{"x-amz-date": "20261121T064831Z"}}"#),
        format!(r#"{host}, ["starts-with", "$x-amz-date", ""]"#),
    ] {
        refused(verify(&dated_anew), Code::AccessDenied, "very date");
    }
    let bound = by_hotkey(&keypair, &policy_of(&bound()));
    refused(verify_at(&verifier, &bound, false, NOW), Code::AccessDenied, "server.hosts");
}

#[test]
fn p9_a_form_is_of_this_region_and_of_its_time() {
    let verifier = verifier();
    let form = by_hotkey(&keypair(), &policy_of(&bound()));
    let (_, credential) = form.iter().find(|(name, _)| name == "x-amz-credential").unwrap();
    for scope in [credential.replace(REGION, "eu-west-1"), credential.replace("20261121", "20261120")] {
        let form = with(form.clone(), "x-amz-credential", &scope);
        refused(verify(&verifier, &form), Code::AuthorizationQueryParametersError, "malformed");
    }
    let at = |seconds| verify_at(&verifier, &form, true, UnixTime::from_seconds(seconds));
    let signed = NOW.seconds();
    at(signed + PRESIGNED_SECONDS_MAX).unwrap();
    refused(at(signed + PRESIGNED_SECONDS_MAX + 1), Code::AccessDenied, "expired");
    refused(at(signed - 901), Code::AccessDenied, "not yet valid");
}

#[test]
fn p59_before_a_forms_hotkey_is_checked_it_is_asked_whether_it_may_be() {
    let verifier = verifier();
    let fields = by_hotkey(&keypair(), &policy_of(&bound()));
    let form = PostForm { fields: &fields, host: SERVER, is_own_host: true };
    let result = verifier.verify_form(&form, NOW, &|claimed| {
        assert_eq!(*claimed, keypair().account());
        Err(Error::new(Code::SlowDown, "not now"))
    });
    refused(result, Code::SlowDown, "not now");
}

#[test]
fn p16_a_form_is_whole_and_says_nothing_twice() {
    let verifier = verifier();
    let form = by_hotkey(&keypair(), &policy_of(&bound()));
    for name in ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"] {
        refused(verify(&verifier, &without(form.clone(), name)), Code::InvalidArgument, name);
        refused(verify(&verifier, &with(form.clone(), name, "")), Code::InvalidArgument, name);
    }
    refused(verify(&verifier, &without(form.clone(), "policy")), Code::AccessDenied, "Anonymous: ");
    for (name, value) in
        [("x-amz-algorithm", "AWS4-HMAC-SHA1"), ("x-amz-credential", "5Abc"), ("x-amz-date", "today")]
    {
        refused(verify(&verifier, &with(form.clone(), name, value)), Code::InvalidArgument, name);
    }
    refused(
        verify(&verifier, &with(form.clone(), "awsaccesskeyid", "A")),
        Code::InvalidRequest,
        "AWS4-HMAC-SHA256",
    );
    for (name, _) in &form {
        let twice = [form.clone(), vec![(name.clone(), "x".to_owned())]].concat();
        refused(verify(&verifier, &twice), Code::InvalidArgument, name);
    }
    // A field that nothing of the signature reads, wherever its two copies stand.
    let acl = ("acl".to_owned(), "private".to_owned());
    let behind = [form.clone(), vec![acl.clone(), acl.clone()]].concat();
    let around = [vec![acl.clone()], form, vec![acl]].concat();
    for twice in [behind, around] {
        refused(verify(&verifier, &twice), Code::InvalidArgument, "acl");
    }
}
