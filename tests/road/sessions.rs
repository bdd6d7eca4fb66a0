//! P11, P12, P38: sessions from the first signature to their end.

use std::time::{Duration, SystemTime};

use subgate::auth::bittensor::btauth;
use subgate::time::UnixTime;

use crate::harness::{
    client::{Answer, Call, Key},
    server::{
        self, ALICE, ALICE_SECOND, BOB, KEY_ONE, KEY_TWO, Person, STRANGER, Setup, TestServer, VALIDATOR,
        mint, nanos, registry,
    },
};

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

fn ago(seconds: u64) -> UnixTime {
    UnixTime::from(SystemTime::now() - Duration::from_secs(seconds))
}

fn json(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[track_caller]
fn detail(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.get("content-type"), Some("application/json"));
    assert!(answer.get("x-amz-request-id").is_some());
    json(answer)["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_what_credential_process_reads() {
    let server = TestServer::start().await;
    for (person, role) in [(&*ALICE, "miner"), (&*VALIDATOR, "validator")] {
        let answer = server.open_session(person, b"{\"ttl_seconds\": 1200}").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.get("cache-control"), Some("no-store"));
        let json = json(&answer);
        assert_eq!(json["Version"], 1);
        assert_eq!(json["AccessKeyId"], person.ss58());
        assert_eq!(json["SecretAccessKey"].as_str().unwrap().len(), 40);
        let ends: jiff::Timestamp = json["Expiration"].as_str().unwrap().parse().unwrap();
        let left = ends.as_second() - jiff::Timestamp::now().as_second();
        assert!((1190..=1200).contains(&left), "{left}");
        assert_eq!(json["endpoint"], format!("http://{}", server.host()));
        assert_eq!((&json["region"], &json["bucket"]), (&"us-east-1".into(), &"data-universe".into()));
        assert_eq!(json["role"], role);
        assert_eq!(json["roots"], serde_json::json!(["data/"]));
        let folders = json["folders"].as_array().unwrap();
        assert_eq!(folders[0], person.file(""));
        assert!(folders.contains(&format!("data/hotkey={}/job_id={{job_id}}/", person.ss58()).into()));
    }
    let ends = |body: &'static [u8]| async { server.open_session(&ALICE, body).await };
    let day: jiff::Timestamp = json(&ends(b"").await)["Expiration"].as_str().unwrap().parse().unwrap();
    assert!((86_390..=86_400).contains(&(day.as_second() - jiff::Timestamp::now().as_second())));
    for body in [
        &b"{\"ttl_seconds\": 1199}"[..],
        b"{\"ttl_seconds\": 86401}",
        b"{\"ttl\": 1}",
        b"[",
        b"{\"ttl_seconds\": -1}",
    ] {
        detail(&server.open_session(&ALICE, body).await, 400);
    }
}

#[tokio::test]
async fn p12_evidence_is_fresh_for_this_server_and_used_once() {
    let server = TestServer::start().await;
    let sign = |person: &Person, nonce| btauth::sign(&person.hotkey, "POST", "/v1/session", b"", None, nonce);
    let good = sign(&ALICE, nanos());
    assert_eq!(server.post_session("/v1/session", &good, b"").await.status, 200);
    assert!(detail(&server.post_session("/v1/session", &good, b"").await, 401).contains("already used"));
    let second = 1_000_000_000;
    for nonce in [nanos() - 11 * second, nanos() + 4 * second] {
        assert!(
            detail(&server.post_session("/v1/session", &sign(&ALICE, nonce), b"").await, 401)
                .contains("window")
        );
    }
    // Another body, query or path than was signed.
    let answer = server.post_session("/v1/session", &sign(&ALICE, nanos()), b"{}").await;
    assert_eq!(detail(&answer, 401), "Invalid signature");
    let answer = server.post_session("/v1/session?x=1", &sign(&ALICE, nanos()), b"").await;
    assert_eq!(detail(&answer, 401), "Invalid signature");
    let query = btauth::sign(&ALICE.hotkey, "POST", "/v1/session?x=1", b"", None, nanos());
    detail(&server.post_session("/v1/session?x=1", &query, b"").await, 400);
    let elsewhere =
        btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", Some(&BOB.hotkey.account()), nanos());
    detail(&server.post_session("/v1/session", &elsewhere, b"").await, 403);
    // Another sender than signed.
    let mut stolen = sign(&ALICE, nanos());
    stolen.iter_mut().find(|(name, _)| name.ends_with("-hotkey")).unwrap().1 = BOB.ss58();
    detail(&server.post_session("/v1/session", &stolen, b"").await, 401);
    for name in ["version", "hotkey", "nonce", "signature"] {
        let mut lacking = sign(&ALICE, nanos());
        lacking.retain(|(header, _)| !header.ends_with(name));
        detail(&server.post_session("/v1/session", &lacking, b"").await, 401);
        let mut doubled = sign(&ALICE, nanos());
        let again = doubled.iter().find(|(header, _)| header.ends_with(name)).unwrap().clone();
        doubled.push(again);
        detail(&server.post_session("/v1/session", &doubled, b"").await, 400);
    }
    let message = detail(&server.post_session("/v1/session", &sign(&STRANGER, nanos()), b"").await, 403);
    assert!(message.starts_with("NotRegistered: "));
    server.store.saw_nothing();
}

#[tokio::test]
async fn p12_the_receiver_is_this_server() {
    let receiver = VALIDATOR.hotkey.account();
    let session = format!("issue_with = \"one\"\nreceiver = \"{receiver}\"");
    let server = TestServer::with(Setup { session, ..Setup::default() }).await;
    detail(&server.open_session(&ALICE, b"").await, 403);
    let headers = btauth::sign(&ALICE.hotkey, "POST", "/v1/session", b"", Some(&receiver), nanos());
    let answer = server.post_session("/v1/session", &headers, b"").await;
    assert_eq!(answer.status, 200);
    server.store.put(&ALICE.file("f"), "x");
    let get = Call::get(&ALICE.file("f"));
    server.send(&server::session_key(&answer), &get).await.ok();
    // A token that says it is for nobody in particular, or for another.
    server.store.forget();
    for receiver in [None, Some(BOB.hotkey.account())] {
        server.send(&mint(&ALICE, "one", KEY_ONE, now(), receiver), &get).await.refused(400, "InvalidToken");
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p12_sessions_end_with_their_time() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), "x");
    for call in [Call::get(&ALICE.file("f")), Call::get(&ALICE.file("f")).presigned()] {
        server.send(&mint(&ALICE, "one", KEY_ONE, ago(3500), None), &call).await.ok();
        server.store.forget();
        let answer = server.send(&mint(&ALICE, "one", KEY_ONE, ago(3700), None), &call).await;
        assert!(answer.refused(400, "ExpiredToken").starts_with("SessionExpired: "));
        server.store.saw_nothing();
    }
    // A presigned URL dies with its session, however long it says to hold.
    let call = Call::get(&ALICE.file("f")).presigned_for("604800").clock(-3600);
    server.send(&mint(&ALICE, "one", KEY_ONE, ago(3700), None), &call).await.refused(400, "ExpiredToken");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p12_a_cached_session_still_ends() {
    // accept_until ends a session that has been seen and cached.
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let keys = format!(
        "[[session.keys]]\nid = \"one\"\nfile = \"one.key\"\naccept_until = \"{until}\"\n\
         [[session.keys]]\nid = \"two\"\nfile = \"two.key\""
    );
    let session = "issue_with = \"two\"\nallow_no_receiver = true".to_owned();
    let server = TestServer::with(Setup { session, keys, ..Setup::default() }).await;
    server.store.put(&ALICE.file("f"), "x");
    let key = mint(&ALICE, "one", KEY_ONE, now(), None);
    let call = Call::get(&ALICE.file("f"));
    server.send(&key, &call).await.ok();
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let answer = server.send(&key, &call).await;
            if answer.status != 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ended.await.unwrap().refused(400, "ExpiredToken");
}

#[tokio::test]
async fn p12_keys_rotate_without_logging_anyone_out() {
    let rotated = |accept_until: &str| {
        let keys = format!(
            "[[session.keys]]\nid = \"two\"\nfile = \"two.key\"\n\
             [[session.keys]]\nid = \"one\"\nfile = \"one.key\"\naccept_until = {accept_until}"
        );
        let session = "issue_with = \"two\"\nallow_no_receiver = true".to_owned();
        Setup { session, keys, ..Setup::default() }
    };
    let before = TestServer::start().await;
    let overlap = TestServer::with(rotated("2999-01-01T00:00:00Z")).await;
    let after = TestServer::with(rotated("2026-01-01T00:00:00Z")).await;
    let (old, new) = (before.session(&ALICE).await, overlap.session(&ALICE).await);
    for server in [&before, &overlap, &after] {
        server.store.put(&ALICE.file("f"), "x");
    }
    let get = Call::get(&ALICE.file("f"));
    before.send(&old, &get).await.ok();
    overlap.send(&old, &get).await.ok();
    overlap.send(&new, &get).await.ok();
    after.send(&new, &get).await.ok();
    after.send(&old, &get).await.refused(400, "ExpiredToken");
    // A server that has not heard of the key yet.
    let message = before.send(&new, &get).await.refused(400, "InvalidToken");
    assert!(!message.contains("two"), "{message}");
    // The id of a known key, made with another.
    after.send(&mint(&ALICE, "two", KEY_ONE, now(), None), &get).await.refused(403, "SignatureDoesNotMatch");
    assert_eq!(KEY_TWO.len(), 64);
}

#[tokio::test]
async fn p12_a_token_is_whole_its_own_and_nobody_elses() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let Key::Session { access_key, secret, token: Some(token) } = &key else { panic!() };
    let other = server.session(&ALICE_SECOND).await;
    let get = Call::get(&ALICE.file("f"));
    let with = |token: String| Key::Session {
        access_key: access_key.clone(),
        secret: secret.clone(),
        token: Some(token),
    };
    // Someone else's token with one's own secret, and the other way round.
    for token in [other.token().unwrap().to_owned()] {
        server.send(&with(token), &get).await.refused(400, "InvalidToken");
    }
    let crossed = Key::Session {
        access_key: access_key.clone(),
        secret: other.secret().to_owned(),
        token: Some(token.clone()),
    };
    server.send(&crossed, &get).await.refused(403, "SignatureDoesNotMatch");
    // Every byte counts: a changed one makes another secret, so nothing of it is believed.
    for at in (0..token.len()).step_by(7).chain([token.len() - 1]) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        for call in [get.clone(), get.clone().presigned()] {
            let answer = server.send(&with(String::from_utf8(bytes.clone()).unwrap()), &call).await;
            assert!(matches!(answer.status, 400 | 403), "byte {at}: {}", answer.text());
            let code = answer.element("Code").unwrap();
            assert!(
                ["InvalidToken", "SignatureDoesNotMatch", "ExpiredToken"].contains(&code.as_str()),
                "{code}"
            );
        }
    }
    for token in [
        format!("{token}A"),
        format!("{token}="),
        format!("{token}%"),
        token[..token.len() - 4].to_owned(),
        "A".repeat(5000),
    ] {
        let answer = server.send(&with(token), &get).await;
        assert!(matches!(answer.status, 400 | 403), "{}", answer.text());
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p38_leaving_the_registry_ends_everything_at_the_next_request() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), "x");
    let mut signed = Vec::new();
    for key in server.both(&ALICE).await {
        for call in [Call::get(&ALICE.file("f")), Call::get(&ALICE.file("f")).presigned()] {
            server.send(&key, &call).await.ok();
            signed.push(server.sign(&key, &call));
        }
    }
    std::fs::write(server.registry(), registry(&[&ALICE_SECOND, &BOB], &[&VALIDATOR])).unwrap();
    server.store.forget();
    for call in &signed {
        let message = server.send_signed(call).await.refused(403, "AccessDenied");
        assert!(message.starts_with("NotRegistered: "), "{message}");
    }
    assert!(detail(&server.open_session(&ALICE, b"").await, 403).starts_with("NotRegistered: "));
    server.store.saw_nothing();
    // The other hotkey of the coldkey stays, and A may come back.
    server.send(&ALICE_SECOND.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    std::fs::write(server.registry(), registry(&[&ALICE, &ALICE_SECOND, &BOB], &[&VALIDATOR])).unwrap();
    for call in &signed {
        server.send_signed(call).await.ok();
    }
}

#[tokio::test]
async fn p38_a_swapped_coldkey_and_a_lost_permit_count_at_once() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), "x");
    let (miner, validator) = (server.session(&ALICE).await, server.session(&VALIDATOR).await);
    let get = Call::get(&ALICE.file("f"));
    server.send(&miner, &get).await.ok();
    server.send(&validator, &get).await.ok();
    let swapped = Person { hotkey: ALICE.hotkey.clone(), coldkey: BOB.coldkey };
    std::fs::write(server.registry(), registry(&[&swapped, &ALICE_SECOND, &BOB, &VALIDATOR], &[])).unwrap();
    server.store.forget();
    for key in [&miner, &validator] {
        assert!(server.send(key, &get).await.refused(403, "AccessDenied").starts_with("FolderDenied: "));
    }
    server.store.saw_nothing();
    server.store.put(&BOB.file("g"), "y");
    server.send(&miner, &Call::get(&BOB.file("g"))).await.ok();
    // Permit without stake is not enough.
    let poor = registry(&[&ALICE], &[&VALIDATOR]).replace("20000.5", "9999.9");
    std::fs::write(server.registry(), poor).unwrap();
    server.send(&validator, &get).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn p38_a_registry_that_cannot_be_read_fails_closed_as_an_outage() {
    let chain = "stale_seconds_max = 1".to_owned();
    let server = "admin = \"127.0.0.1:0\"".to_owned();
    let server = TestServer::with(Setup { chain, server, ..Setup::default() }).await;
    server.store.put(&ALICE.file("f"), "x");
    let session = server.session(&ALICE).await;
    let get = Call::get(&ALICE.file("f"));
    server.send(&session, &get).await.ok();
    std::fs::write(server.registry(), "{ broken").unwrap();
    // Until the bound, the last good snapshot counts; then nothing does, and nobody hears a 403.
    let stale = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let answer = server.send(&session, &get).await;
            assert_ne!(answer.status, 403);
            if answer.status != 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    stale.await.unwrap().refused(503, "ServiceUnavailable");
    server.store.forget();
    for key in [session.clone(), ALICE.hotkey(), STRANGER.hotkey(), VALIDATOR.hotkey()] {
        for call in [
            get.clone(),
            get.clone().presigned(),
            Call::put(&ALICE.file("g"), server::bytes(2000)),
            Call::head(""),
        ] {
            server.send(&key, &call).await.refused(503, "ServiceUnavailable");
        }
    }
    server.store.saw_nothing();
    let refused = server.open_session(&ALICE, b"").await;
    detail(&refused, 503);
    assert!(refused.get("retry-after").is_some());
    // A false signature stays a false signature.
    let Key::Session { access_key, token, .. } = session.clone() else { panic!() };
    let wrong = Key::Session { access_key, secret: "wrong".to_owned(), token };
    server.send(&wrong, &get).await.refused(403, "SignatureDoesNotMatch");
    // The operator sees it, and a mended file counts at once.
    let mut admin = crate::harness::client::Connection::connect(server.admin.unwrap()).await;
    admin.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(admin.answer("GET").await.status, 503);
    std::fs::write(server.registry(), registry(&[&ALICE], &[])).unwrap();
    server.send(&session, &get).await.ok();
    admin.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(admin.answer("GET").await.status, 200);
}

#[tokio::test]
async fn p9_a_slow_body_does_not_lengthen_the_life_of_a_nonce() {
    let server = TestServer::start().await;
    let body = b"{\"ttl_seconds\": 1200}";
    let nonce = nanos() - 9_500_000_000;
    let headers = btauth::sign(&ALICE.hotkey, "POST", "/v1/session", body, None, nonce);
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("POST /v1/session HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n{lines}\r\n");
    let mut connection = server.connect().await;
    connection.send(head.as_bytes()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    connection.send(body).await;
    let answer = connection.answer("POST").await;
    assert!(detail(&answer, 401).contains("window"));
}
