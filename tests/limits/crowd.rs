//! What bodies under way hold where the other side takes nothing: little enough for a thousand of them,
//! though the first ones had the server to themselves.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::apart::{Apart, Stream};
use crate::harness::{
    client::{Call, PATIENCE, Payload},
    server::{ALICE, bytes},
};

const MIB: usize = 1 << 20;

/// So many begin at a time, once those before them have come to rest: the first have the server to
/// themselves, and the largest buffers.
const CONNECTIONS: [usize; 3] = [8, 24, 96];

/// More than kernels keep for a client that takes nothing.
const OBJECT_BYTES: usize = 16 * MIB;

/// What all of them may hold together: about half more than was measured, 41 to 47 MiB for downloads and 90
/// to 106 for uploads, for it differs by what was in whose buffer when they came to rest. Where pieces do not
/// shrink as connections grow, it is more than 330 and 410 MiB.
const DOWNLOADS_BYTES_MAX: u64 = 70 << 20;
const UPLOADS_BYTES_MAX: u64 = 150 << 20;

/// Once it was the same for so long, nothing moves any more.
const REST: Duration = Duration::from_millis(300);

/// What is in the memory of the server when nothing moves any more.
async fn settled(server: &Apart) -> u64 {
    let settling = async {
        let mut bytes = server.program.resident_bytes();
        loop {
            tokio::time::sleep(REST).await;
            let now = server.program.resident_bytes();
            // The allocator gives something back now and then.
            if now <= bytes + 64 * 1024 {
                return now.max(bytes);
            }
            bytes = now;
        }
    };
    tokio::time::timeout(PATIENCE, settling).await.expect("memory grows and grows")
}

async fn begin_download(mut stream: Box<dyn Stream>, head: &[u8]) -> Box<dyn Stream> {
    stream.write_all(head).await.unwrap();
    stream.flush().await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

/// Sends until nobody takes anything for a while.
async fn begin_upload(mut stream: Box<dyn Stream>, head: &[u8]) -> Box<dyn Stream> {
    stream.write_all(head).await.unwrap();
    let piece = vec![b'x'; MIB];
    while let Ok(sent) = tokio::time::timeout(REST, stream.write_all(&piece)).await {
        sent.unwrap();
    }
    stream
}

/// A store that accepts and reads nothing.
async fn store_that_takes_nothing() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    endpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn p54_downloads_over_tls_that_no_client_takes_hold_little() {
    let server = Apart::start(true, None).await;
    server.beside.store.put(&ALICE.file("large"), bytes(OBJECT_BYTES));
    let head = server.sign(&Call::get(&ALICE.file("large"))).head();
    let client = server.client("http/1.1");
    let at_start = server.program.resident_bytes();
    let mut waiting = Vec::new();
    for at_once in CONNECTIONS {
        let asking = (0..at_once).map(async |_| begin_download(client.connect().await, &head).await);
        waiting.extend(join_all(asking).await);
        settled(&server).await;
    }
    let held = settled(&server).await.saturating_sub(at_start);
    assert!((1..=DOWNLOADS_BYTES_MAX).contains(&held), "{held} bytes together");
    // What waited goes on where it is taken, in the first connection and in the last.
    for stream in [waiting.swap_remove(0), waiting.pop().unwrap()] {
        let mut rest = Vec::new();
        stream.take(OBJECT_BYTES as u64).read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), OBJECT_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p54_uploads_over_tls_that_the_store_does_not_take_hold_little() {
    let server = Apart::start(true, Some(store_that_takes_nothing().await)).await;
    // More than is ever sent.
    let mut put = server.sign(&Call::put(&ALICE.file("large"), Vec::new()).payload(Payload::Unsigned));
    *put.header_mut("content-length") = (64 * MIB).to_string().into_bytes();
    let head = put.head();
    let client = server.client("http/1.1");
    let at_start = server.program.resident_bytes();
    let mut waiting = Vec::new();
    for at_once in CONNECTIONS {
        let sending = (0..at_once).map(async |_| begin_upload(client.connect().await, &head).await);
        waiting.extend(join_all(sending).await);
        settled(&server).await;
    }
    let held = settled(&server).await.saturating_sub(at_start);
    assert!((1..=UPLOADS_BYTES_MAX).contains(&held), "{held} bytes together");
}
