//! P51: what is logged, and what never is.

use std::{
    cell::{Cell, RefCell},
    io::Write,
    sync::Once,
};

use tracing_subscriber::{Layer as _, filter::dynamic_filter_fn, fmt, layer::SubscriberExt as _};

use crate::{
    client::{Call, Key, Payload},
    gate::{A, B, Gate, KEY_ONE, STRANGER, bytes},
    store::{self, Reply},
};

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static HEARD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        HEARD.with_borrow_mut(|heard| heard.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sets up the one subscriber of this process before anything can be logged. It hears the threads that listen, at
/// TRACE and from every crate.
pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let layer = fmt::layer().with_ansi(false).with_writer(|| Ear);
        let listening = dynamic_filter_fn(|_, _| LISTENING.get());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(listening));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// One thread runs a test, its server and its store: from here on all that they log is kept.
fn listen() {
    LISTENING.set(true);
}

fn heard() -> String {
    HEARD.with_borrow(|heard| String::from_utf8_lossy(heard).into_owned())
}

#[tokio::test]
async fn p51_no_secret_is_ever_logged() {
    let gate = Gate::start().await;
    listen();
    let key = gate.session(&A).await;
    let Key::Session { secret, token: Some(token), .. } = key.clone() else { panic!() };
    let mut secrets = vec![secret, token, KEY_ONE.to_owned(), store::SECRET_KEY.to_owned()];
    gate.store.put(&A.file("f"), bytes(2000));
    let crc = "x-amz-checksum-crc32";
    let wrong = Key::Session {
        access_key: A.ss58(),
        secret: "wrong-secret".to_owned(),
        token: key.token().map(str::to_owned),
    };
    for key in [key.clone(), A.hotkey(), STRANGER.hotkey(), wrong] {
        for call in [
            Call::get(&A.file("f")),
            Call::get(&A.file("f")).presigned().query("response-content-type", "query-is-private"),
            Call::get(&B.file("f")).presigned().query("versionId", "query-is-private"),
            Call::get(&A.file("f")).clock(-2000),
            Call::get(&A.file("f")).presigned().clock(-2000),
            Call::get(&A.file("f")).query("acl", "query-is-private"),
            Call::put(&A.file("g"), bytes(2000)).header("x-amz-meta-note", "metadata-is-private"),
            Call::put(&A.file("g"), bytes(2000))
                .header("x-amz-server-side-encryption-customer-key", "ssec-is-private"),
            Call::put(&A.file("g"), bytes(20_000)).payload(Payload::UnsignedTrailer).trailer(crc),
            Call::put(&A.file("g"), bytes(20_000)).payload(Payload::False),
            Call::get("")
                .query("prefix", &A.file(""))
                .query("list-type", "2")
                .query("continuation-token", "query-is-private"),
        ] {
            let signed = gate.sign(&key, &call);
            secrets.push(signed.signature.clone());
            gate.send_signed(&signed).await;
        }
    }
    let chunked = Call::put(&A.file("g"), bytes(200_000)).chunks(Payload::SignedChunks, 65_536);
    let signed = gate.sign(&key, &chunked);
    let text = String::from_utf8_lossy(&signed.body).into_owned();
    secrets.extend(text.split("chunk-signature=").skip(1).map(|rest| rest[..64].to_owned()));
    gate.send_signed(&signed).await.ok();
    for seen in gate.store.seen() {
        let authorization = seen.header("authorization").unwrap().to_owned();
        secrets.push(authorization.rsplit("Signature=").next().unwrap().to_owned());
    }
    gate.store.always(Reply::error(403, "SignatureDoesNotMatch", "store-message-is-private"));
    gate.send(&key, &Call::get(&A.file("f"))).await.refused(503, "ServiceUnavailable");
    gate.open_session(&A, b"{\"ttl_seconds\": 1}").await;

    let log = heard();
    let requests = log.lines().filter(|line| line.contains("subgate::access")).count();
    assert!(requests >= 47, "{requests} access records");
    secrets.extend(
        ["query-is-private", "metadata-is-private", "ssec-is-private", "StringToSign", "X-Amz-Signature"]
            .map(str::to_owned),
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
    let gate = Gate::start().await;
    listen();
    gate.store.put(&A.file("f"), bytes(2000));
    let fine = gate.send(&A.hotkey(), &Call::get(&A.file("f"))).await;
    let denied = gate.send(&A.hotkey(), &Call::get(&B.file("f"))).await;
    let unknown = gate.send(&A.hotkey(), &Call::get("").query("lifecycle", "")).await;
    gate.store.always(Reply::error(403, "InvalidAccessKeyId", "m"));
    let outage = gate.send(&A.hotkey(), &Call::get(&A.file("f"))).await;
    let log = heard();
    let line =
        |id: &str| log.lines().find(|line| line.contains("subgate::access") && line.contains(id)).unwrap();
    let told = |line: &str, parts: &[&str]| {
        for part in parts {
            assert!(line.contains(part), "{part} not in {line}");
        }
    };
    // The store gave an id of its own for this one.
    assert_eq!(fine.get("x-amz-request-id"), Some("STORE2"));
    let hotkey = A.ss58();
    let id = |answer: &crate::client::Answer| answer.get("x-amz-request-id").unwrap().to_owned();
    told(
        line(&id(&denied)),
        &["GetObject", &B.file("f"), &hotkey, "miner", "status=403", "AccessDenied", "GET"],
    );
    told(line(&id(&unknown)), &["status=501", "NotImplemented", "lifecycle", &hotkey]);
    told(line(&id(&outage)), &["status=503", "ServiceUnavailable", "store.credentials"]);
    assert!(log.lines().any(|line| line.contains("subgate::access")
        && line.contains("sent_bytes=2000")
        && line.contains("complete")));
}
