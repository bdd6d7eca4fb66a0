//! What one party can have this server hold in memory: bodies that are read as a whole.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{ATTACKER, NEIGHBOUR, refused_in_json, slowed_down, with_limits};
use crate::harness::{
    client::{Call, Connection},
    server::{ALICE, BOB, Setup, TestServer, VALIDATOR, bytes},
    vending::{ok, refused, validator_request},
};

const FILES: &str = "/get-file-presigned-urls";

fn head(server: &TestServer, path: &str, content_bytes: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {content_bytes}\r\n\r\n", server.host())
        .into_bytes()
}

#[tokio::test]
async fn p54_slow_bodies_of_one_address_hold_its_share_and_are_over_in_ten_seconds() {
    let server = with_limits("").await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    const SENT_BYTES: usize = 600 * 1024;
    let started = Instant::now();
    let attack = (0..200).map(async |_| {
        let mut connection = Connection::connect_from(ATTACKER, server.address).await;
        connection.send(&head(&server, FILES, SENT_BYTES + 1)).await;
        // All but the last byte; whoever is refused meanwhile is still read away.
        connection.send(&vec![b' '; SENT_BYTES]).await;
        let answer = connection.answer("POST").await;
        (started.elapsed(), answer)
    });
    let honest = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let miner = ALICE.ss58();
        let mut request = validator_request(&VALIDATOR, &format!("files:{miner}:{}", VALIDATOR.ss58()));
        request["miner_hotkey"] = json!(miner);
        request["file_keys"] = json!([ALICE.file("f")]);
        let urls = ok(&server.post_json(FILES, &request).await);
        assert_eq!(urls["valid_files_count"], json!(1));
        assert!(started.elapsed() < Duration::from_secs(9), "while the attack goes on");
    };
    let (answers, ()) = tokio::join!(join_all(attack), honest);
    let (held, refusals): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 400);
    // The share is 4 MiB: six bodies fit, and what is refused is so at once.
    assert!(held.len() * SENT_BYTES <= 4 << 20, "{} bodies were held", held.len());
    assert!(!held.is_empty());
    for (_, answer) in refusals {
        refused_in_json(answer, 503, "limits.address.buffered_bytes_max is reached");
    }
    for (elapsed, answer) in held {
        refused(answer, 400, "did not arrive within the timeout period");
        assert!(*elapsed < Duration::from_secs(20), "{elapsed:?}");
    }
}

#[tokio::test]
async fn p54_cheap_checks_come_before_the_body() {
    let refused_unread = async |server: &TestServer, head: &[u8], status, detail: &str| {
        let mut connection = server.connect().await;
        connection.send(head).await;
        refused(&connection.answer("POST").await, status, detail);
    };
    let server = with_limits("").await;
    // Larger than any request can be.
    refused_unread(&server, &head(&server, FILES, 1_800_000), 400, "may have 655360 bytes").await;
    refused_unread(&server, &head(&server, "/get-folder-access", 5000), 400, "may have 4096 bytes").await;
    // Nobody says to ask.
    refused_unread(&server, &head(&server, "/v1/session", 100), 401, "Missing header").await;
    // Nothing of that kind is taken here at all.
    let session = format!("issue_with = \"one\"\nreceiver = \"{}\"", BOB.coldkey.to_ss58());
    let server = TestServer::with(Setup { session, ..Setup::default() }).await;
    refused_unread(&server, &head(&server, FILES, 1000), 403, "use POST /v1/session").await;
}

#[tokio::test]
async fn p59_a_session_of_somebody_unregistered_is_refused_before_the_body() {
    use subgate::auth::bittensor::btauth;

    use crate::harness::server::{STRANGER, nanos};
    let server = with_limits("").await;
    let headers = btauth::sign(&STRANGER.hotkey, "POST", "/v1/session", b"{}", None, nanos());
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request =
        format!("POST /v1/session HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n{headers}\r\n", server.host());
    let mut connection = server.connect().await;
    connection.send(request.as_bytes()).await;
    refused(&connection.answer("POST").await, 403, "NotRegistered");
}

fn delete(keys: usize, person: &crate::harness::server::Person) -> Call {
    let objects: String = (0..keys)
        .map(|key| {
            let name = format!("{key:0200}");
            format!("<Object><Key>{}</Key></Object>", person.file(&name))
        })
        .collect();
    Call::post("", format!("<Delete>{objects}</Delete>")).query("delete", "")
}

#[tokio::test]
async fn p58_slow_documents_of_one_miner_keep_nobody_elses_waiting() {
    let server = with_limits("").await;
    let (alice, bob) = (server.session(&ALICE).await, server.session(&BOB).await);
    let document = delete(1000, &ALICE);
    assert!(document.body.len() > 200_000);
    // Three times as many as there once were turns, each with all of its document but the last byte.
    let mut slow = Vec::new();
    for _ in 0..24 {
        let signed = server.sign(&alice, &document);
        let mut connection = server.connect().await;
        connection.send(&signed.head()).await;
        connection.send(&signed.body[..signed.body.len() - 1]).await;
        slow.push((connection, signed));
    }
    let started = Instant::now();
    for _ in 0..3 {
        server.send(&bob, &delete(1000, &BOB)).await.ok();
    }
    // And her own, for that matter.
    server.send(&alice, &document).await.ok();
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    for (mut connection, signed) in slow {
        connection.send(&signed.body[signed.body.len() - 1..]).await;
        connection.answer("POST").await.ok();
    }
}

#[tokio::test]
async fn p54_documents_of_one_miner_hold_its_share_and_no_more() {
    let server = with_limits("").await;
    let (alice, bob) = (server.session(&ALICE).await, server.session(&BOB).await);
    let document = Call::post("", vec![b' '; 3 << 20]).query("delete", "");
    let mut slow = Vec::new();
    for _ in 0..6 {
        let signed = server.sign(&alice, &document);
        let mut connection = server.connect().await;
        connection.send(&signed.head()).await;
        connection.send(&signed.body[..signed.body.len() - 1]).await;
        slow.push((connection, signed));
    }
    server.send(&bob, &document).await.refused(400, "MalformedXML");
    // Two of 3 MiB fit into 8 MiB.
    let started = Instant::now();
    loop {
        let mut answered = 0;
        for (connection, _) in &mut slow {
            answered += u32::from(!connection.silent_for(Duration::from_millis(5)).await);
        }
        if answered >= 4 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{answered} of six were refused");
    }
    let mut refused = 0;
    for (mut connection, signed) in slow {
        let _ = connection.try_send(&signed.body[signed.body.len() - 1..]).await;
        let answer = connection.answer("POST").await;
        if answer.status == 503 {
            slowed_down(&answer, "limits.miner.buffered_bytes_max");
            refused += 1;
        } else {
            answer.refused(400, "MalformedXML");
        }
    }
    assert!(refused >= 4, "{refused} of six were refused");
    // What was held is given back.
    server.send(&alice, &document).await.refused(400, "MalformedXML");
}

#[tokio::test]
async fn p54_heads_of_forms_of_one_address_hold_its_share_and_no_more() {
    let server = with_limits("").await;
    let begin = async |address: &str| {
        let mut connection = Connection::connect_from(address, server.address).await;
        let head = format!(
            "POST /data-universe HTTP/1.1\r\nhost: {}\r\ncontent-length: 5000\r\n\
             content-type: multipart/form-data; boundary=XX\r\n\r\n--XX\r\n",
            server.host()
        );
        connection.send(head.as_bytes()).await;
        connection
    };
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(begin(ATTACKER).await);
    }
    let mut refused = 0;
    for mut connection in waiting {
        if !connection.silent_for(Duration::from_millis(1)).await {
            slowed_down(&connection.answer("POST").await, "limits.address.buffered_bytes_max");
            refused += 1;
        }
    }
    assert!((40..=80).contains(&refused), "{refused}");
    assert!(begin(NEIGHBOUR).await.silent().await);
}
