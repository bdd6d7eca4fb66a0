//! A client that is gone, half-closed, or says more than it announced.

use std::time::Duration;

use super::line::{Line, Manner};
use crate::harness::{
    client::{Call, PATIENCE, Payload},
    server::{ALICE, Setup, TestServer, bytes},
};

fn uploads() -> [Call; 3] {
    let put = Call::put(&ALICE.file("f"), vec![7; 400_000]);
    [
        put.clone().payload(Payload::Unsigned),
        put.clone(),
        put.payload(Payload::UnsignedTrailer).trailer("x-amz-checksum-crc32"),
    ]
}

async fn with_an_old_object() -> TestServer {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    server
}

async fn until_closed(line: &Line) {
    let closing = async {
        while line.open() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.expect("a connection to the store is left over");
}

#[tokio::test]
async fn p5_a_client_that_leaves_in_an_upload_leaves_the_old_object_whole() {
    let (server, line) = Line::to_a_store(Manner::Through, Setup::default()).await;
    server.store.put(&ALICE.file("f"), bytes(5000));
    for call in uploads() {
        let signed = server.sign(&ALICE.hotkey(), &call);
        for length in [0, 200_000, signed.body.len() - 1] {
            let mut client = server.connect().await;
            client.send(&signed.head()).await;
            client.send(&signed.body[..length]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(client);
            // The store is not left waiting for the rest.
            until_closed(&line).await;
        }
    }
    assert!(server.store.seen().iter().all(|seen| !seen.whole));
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(5000));
}

#[tokio::test]
async fn p47_a_client_that_leaves_in_a_download_keeps_no_connection_to_the_store() {
    let (server, line) = Line::to_a_store(Manner::Through, Setup::default()).await;
    server.store.put(&ALICE.file("f"), bytes(24 << 20));
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send_call(&server.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("f")))).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(line.open(), 1);
        drop(client);
        until_closed(&line).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer() {
    let server = with_an_old_object().await;
    server.store.put(&ALICE.file("big"), bytes(8 << 20));
    for call in [Call::get(&ALICE.file("big")), Call::put(&ALICE.file("g"), bytes(200_000))] {
        let mut client = server.connect().await;
        client.send_call(&server.sign(&ALICE.hotkey(), &call)).await;
        client.shut().await;
        client.answer(&call.method).await.ok();
    }
    assert_eq!(server.store.object(&ALICE.file("g")).unwrap().data, bytes(200_000));
}

#[tokio::test]
async fn p5_p42_a_client_that_closes_its_half_in_an_upload_is_told_and_leaves_nothing() {
    let server = with_an_old_object().await;
    for call in uploads() {
        let signed = server.sign(&ALICE.hotkey(), &call);
        let mut client = server.connect().await;
        client.send(&signed.head()).await;
        client.send(&signed.body[..signed.body.len() - 1]).await;
        client.shut().await;
        client.answer("PUT").await.refused(400, "IncompleteBody");
    }
    assert!(server.store.seen().iter().all(|seen| !seen.whole));
    assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, bytes(5000));
}

#[tokio::test]
async fn p45_what_is_sent_beyond_the_length_is_no_part_of_the_object() {
    let server = with_an_old_object().await;
    let signed = server.sign(&ALICE.hotkey(), &Call::put(&ALICE.file("g"), bytes(100_000)));
    let mut client = server.connect().await;
    client.send(&[signed.head(), signed.body.clone(), vec![b'x'; 5000], b"\r\n\r\n".to_vec()].concat()).await;
    client.answer("PUT").await.ok();
    // The rest is no request.
    let next = client.try_answer("PUT").await;
    assert!(next.is_err() || next.is_ok_and(|answer| answer.status == 400));
    assert_eq!(server.store.object(&ALICE.file("g")).unwrap().data, bytes(100_000));
    assert_eq!(server.store.seen().len(), 1);
}
