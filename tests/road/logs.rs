//! P51: what is logged, and what never is.

use crate::harness::{
    client::{Answer, Call, Key, Payload},
    logs,
    server::{ALICE, BOB, KEY_ONE, STRANGER, TestServer, bytes},
    store::{self, Reply},
};

#[tokio::test]
async fn p68_what_cannot_be_read_as_http_is_in_the_log() {
    let server = TestServer::start().await;
    logs::capture();
    for head in [
        "content-length: 1\r\ncontent-length: 2\r\n".to_owned(),
        "x-secret-name : secret-value\r\n".to_owned(),
        (0..2000).map(|number| format!("x-{number}: v\r\n")).collect(),
    ] {
        let before = logs::captured().matches("could not be read as HTTP").count();
        let request = format!("PUT /data-universe/k HTTP/1.1\r\nhost: h\r\n{head}\r\n");
        assert!(server.send_raw("PUT", request.as_bytes()).await.status >= 400);
        for _ in 0..200 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            if logs::captured().matches("could not be read as HTTP").count() > before {
                break;
            }
        }
        assert!(logs::captured().matches("could not be read as HTTP").count() > before, "{head:.80}");
    }
    assert!(!logs::captured().contains("secret-value"));
    server.store.saw_nothing();
}

#[tokio::test]
async fn p51_no_secret_is_ever_logged() {
    let server = TestServer::start().await;
    logs::capture();
    let key = server.session(&ALICE).await;
    let Key::Session { secret, token: Some(token), .. } = key.clone() else { panic!() };
    let mut secrets = vec![secret, token, KEY_ONE.to_owned(), store::SECRET_KEY.to_owned()];
    server.store.put(&ALICE.file("f"), bytes(2000));
    let crc = "x-amz-checksum-crc32";
    let wrong = Key::Session {
        access_key: ALICE.ss58(),
        secret: "wrong-secret".to_owned(),
        token: key.token().map(str::to_owned),
    };
    for key in [key.clone(), ALICE.hotkey(), STRANGER.hotkey(), wrong] {
        for call in [
            Call::get(&ALICE.file("f")),
            Call::get(&ALICE.file("f")).presigned().query("response-content-type", "query-is-private"),
            Call::get(&BOB.file("f")).presigned().query("versionId", "query-is-private"),
            Call::get(&ALICE.file("f")).clock(-2000),
            Call::get(&ALICE.file("f")).presigned().clock(-2000),
            Call::get(&ALICE.file("f")).query("acl", "query-is-private"),
            Call::put(&ALICE.file("g"), bytes(2000)).header("x-amz-meta-note", "metadata-is-private"),
            Call::put(&ALICE.file("g"), bytes(2000))
                .header("x-amz-server-side-encryption-customer-key", "ssec-is-private"),
            Call::put(&ALICE.file("g"), bytes(20_000)).payload(Payload::UnsignedTrailer).trailer(crc),
            Call::put(&ALICE.file("g"), bytes(20_000)).payload(Payload::False),
            Call::get("")
                .query("prefix", &ALICE.file(""))
                .query("list-type", "2")
                .query("continuation-token", "query-is-private"),
        ] {
            let signed = server.sign(&key, &call);
            secrets.push(signed.signature.clone());
            server.send_signed(&signed).await;
        }
    }
    let chunked = Call::put(&ALICE.file("g"), bytes(200_000)).chunks(Payload::SignedChunks, 65_536);
    let signed = server.sign(&key, &chunked);
    let text = String::from_utf8_lossy(&signed.body).into_owned();
    secrets.extend(text.split("chunk-signature=").skip(1).map(|rest| rest[..64].to_owned()));
    server.send_signed(&signed).await.ok();
    for seen in server.store.seen() {
        let authorization = seen.header("authorization").unwrap().to_owned();
        secrets.push(authorization.rsplit("Signature=").next().unwrap().to_owned());
    }
    // The fields that say more of a request: user agent, path, trace context.
    let mut others = 0;
    for target in ["/readyz", "/v1/session", "/get-folder-access", "/data-universe/f", "/nowhere", "/"] {
        for (trace, query) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "X-Amz-Security-Token=query-is-private",
            ),
            ("00-traceparent-is-private-01", "X-Amz-Signature=query-is-private&query-is-private"),
        ] {
            let request = format!(
                "GET {target}?{query} HTTP/1.1\r\nhost: {}\r\nuser-agent: miner/1\r\ntraceparent: {trace}\r\n\
                 tracestate: vendor=tracestate-is-private\r\nauthorization: Bearer header-is-private\r\n\
                 x-amz-security-token: token-is-private\r\nx-bittensor-signature: signature-is-private\r\n\
                 x-tao-signature: signature-is-private\r\ncookie: cookie-is-private\r\n\
                 referer: https://h/?query-is-private\r\nconnection: close\r\n\r\n",
                server.host()
            );
            server.send_raw("GET", request.as_bytes()).await;
            others += 1;
        }
    }
    server.store.always(Reply::error(403, "SignatureDoesNotMatch", "store-message-is-private"));
    server.send(&key, &Call::get(&ALICE.file("f"))).await.refused(503, "ServiceUnavailable");
    server.open_session(&ALICE, b"{\"ttl_seconds\": 1}").await;

    let log = logs::captured();
    let requests = log.lines().filter(|line| line.contains("subgate::access")).count();
    assert!(requests >= 47 + others, "{requests} access records");
    for told in ["miner/1", "4bf92f3577b34da6a3ce929d0e0e4736", "/get-folder-access"] {
        assert!(log.contains(told), "{told} is not in the log");
    }
    secrets.extend(
        ["query-is-private", "metadata-is-private", "ssec-is-private", "StringToSign", "X-Amz-Signature"]
            .map(str::to_owned),
    );
    secrets.extend(
        ["traceparent", "tracestate", "header", "token", "signature", "cookie"]
            .map(|name| format!("{name}-is-private")),
    );
    for secret in &secrets {
        assert!(secret.len() >= 12);
        if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
            panic!("{secret} is in the log: {line}");
        }
    }
}

#[tokio::test]
async fn p34_p49_an_access_record_says_who_what_and_how_it_ended() {
    let server = TestServer::start().await;
    logs::capture();
    server.store.put(&ALICE.file("f"), bytes(2000));
    let fine = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    let denied = server.send(&ALICE.hotkey(), &Call::get(&BOB.file("f"))).await;
    let unknown = server.send(&ALICE.hotkey(), &Call::get("").query("lifecycle", "")).await;
    server.store.always(Reply::error(403, "InvalidAccessKeyId", "m"));
    let outage = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f"))).await;
    let log = logs::captured();
    let line =
        |id: &str| log.lines().find(|line| line.contains("subgate::access") && line.contains(id)).unwrap();
    let told = |line: &str, parts: &[&str]| {
        for part in parts {
            assert!(line.contains(part), "{part} not in {line}");
        }
    };
    // The store gave an id of its own for this one.
    assert_eq!(fine.get("x-amz-request-id"), Some("STORE2"));
    let hotkey = ALICE.ss58();
    let id = |answer: &Answer| answer.get("x-amz-request-id").unwrap().to_owned();
    told(
        line(&id(&denied)),
        &["GetObject", &BOB.file("f"), &hotkey, "miner", "status=403", "AccessDenied", "GET"],
    );
    told(line(&id(&unknown)), &["status=501", "NotImplemented", "lifecycle", &hotkey]);
    told(line(&id(&outage)), &["status=503", "ServiceUnavailable", "store.credentials"]);
    assert!(log.lines().any(|line| line.contains("subgate::access")
        && line.contains("sent_bytes=2000")
        && line.contains("complete")));
}
