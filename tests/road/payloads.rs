//! P4 to P8, P42, P43, S10: every form of a request body, true and false.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::Digest as _;

use crate::harness::{
    client::{Call, Key, Payload, Tamper},
    server::{ALICE, BUCKET, Setup, TestServer, bytes},
    sigv4::sha256_hex,
    store::{self, CHECKSUMS, Reply, checksum},
};

const CRC: &str = "x-amz-checksum-crc32";

/// A store that knows all that S3 does.
const ALL_CHECKSUMS: &str = "checksums = [\"CRC32\", \"CRC32C\", \"CRC64NVME\", \"SHA1\", \"SHA256\", \
                             \"SHA512\", \"MD5\", \"XXHASH64\", \"XXHASH3\", \"XXHASH128\"]";

fn with_all_checksums(store: &str) -> Setup {
    Setup { store: format!("{ALL_CHECKSUMS}\n{store}"), ..Setup::default() }
}

fn setups() -> [Setup; 3] {
    let with = |store: &str| Setup { store: store.to_owned(), ..Setup::default() };
    [with(""), with("trailers = \"translate\""), with("verifies = [\"sha256\"]")]
}

/// Small enough to be proven before anything goes out, and large enough to be on its way before the proof.
const LENGTHS: [usize; 3] = [1024, 16 * 1024, 300_000];

#[track_caller]
fn stored(server: &TestServer, key: &str, data: &[u8]) {
    let object = server.store.object(key).expect("the object is there");
    assert!(object.data == data, "{} bytes of another content", object.data.len());
}

/// Nothing came to be: no object, and no request body that came to its end.
#[track_caller]
fn nothing_stored(server: &TestServer) {
    assert_eq!(server.store.keys(), Vec::<String>::new());
    for seen in server.store.seen() {
        assert!(!seen.whole, "{} {} came to its proper end", seen.method, seen.target);
        let declared: usize = seen.header("content-length").unwrap().parse().unwrap();
        assert!(seen.body.len() < declared, "all of {declared} bytes left");
    }
    server.store.forget();
}

#[tokio::test]
async fn p4_every_true_body_arrives_as_it_was_meant() {
    for setup in setups() {
        let server = TestServer::with(setup).await;
        let session = server.session(&ALICE).await;
        for key in [session, ALICE.hotkey()] {
            for length in LENGTHS {
                let data = bytes(length);
                let name = ALICE.file("f");
                let put = Call::put(&name, data.clone()).header("content-type", "application/x-parquet");
                let mut calls = vec![
                    put.clone(),
                    put.clone().payload(Payload::Unsigned),
                    put.clone().presigned(),
                    put.clone().chunks(Payload::UnsignedTrailer, 64 * 1024).trailer(CRC),
                    put.clone().chunks(Payload::UnsignedTrailer, 64 * 1024).trailer(CRC).http_chunked(),
                    put.clone().chunks(Payload::UnsignedTrailer, 64 * 1024).trailer(CRC).presigned(),
                    put.clone().chunks(Payload::UnsignedTrailer, 1_000_000).trailer("x-amz-checksum-sha256"),
                ];
                if let Key::Session { .. } = key {
                    calls.push(put.clone().chunks(Payload::SignedChunks, 8192));
                    calls.push(put.clone().chunks(Payload::SignedChunks, 1_000_000));
                    calls.push(put.clone().chunks(Payload::SignedChunks, 8192).http_chunked());
                    calls.push(put.clone().chunks(Payload::SignedTrailer, 65_536).trailer(CRC));
                    calls
                        .push(put.clone().chunks(Payload::SignedTrailer, 65_536).trailer(CRC).http_chunked());
                }
                for call in calls {
                    let answer = server.send(&key, &call).await;
                    assert_eq!(answer.ok().get("etag").unwrap().trim_matches('"'), store::md5_hex(&data));
                    stored(&server, &name, &data);
                    let object = server.store.object(&name).unwrap();
                    assert!(
                        object
                            .headers
                            .contains(&("content-type".to_owned(), "application/x-parquet".to_owned()))
                    );
                    let seen = server.store.last();
                    assert_eq!(seen.header("content-length").unwrap(), seen.body.len().to_string());
                    assert!(seen.header("transfer-encoding").is_none());
                    assert!(seen.header("x-amz-security-token").is_none());
                }
            }
        }
    }
}

#[tokio::test]
async fn p6_a_checksum_that_the_store_does_not_know_is_checked_here_and_not_sent_on() {
    for verifies in ["", "verifies = [\"sha256\", \"content-md5\", \"checksum\"]"] {
        let server = TestServer::with(Setup { store: verifies.to_owned(), ..Setup::default() }).await;
        let key = server.session(&ALICE).await;
        let says_nothing = |seen: store::Seen| {
            assert!(
                !seen.headers.keys().any(|name| name.as_str().contains("checksum")),
                "{:?}",
                seen.headers
            );
            // What came in chunks has a checksum of the server's own.
            assert!(seen.header("x-amz-trailer").is_none_or(|trailer| trailer == CRC));
        };
        for name in &CHECKSUMS[5..] {
            let algorithm = name.rsplit('-').next().unwrap().to_uppercase();
            for length in [2000, 300_000] {
                let data = bytes(length);
                let put = Call::put(&ALICE.file("f"), data.clone())
                    .payload(Payload::Unsigned)
                    .header("x-amz-sdk-checksum-algorithm", &algorithm);
                server.send(&key, &put.clone().header(name, checksum(name, &data))).await.ok();
                stored(&server, &ALICE.file("f"), &data);
                says_nothing(server.store.last());
                assert!(server.store.last().header("x-amz-trailer").is_none());
                server
                    .send(&key, &put.clone().chunks(Payload::UnsignedTrailer, 65_536).trailer(name))
                    .await
                    .ok();
                says_nothing(server.store.last());
                server.store.forget();
                let bad = Call::put(&ALICE.file("never"), data.clone()).payload(Payload::Unsigned);
                for bad in [
                    bad.clone().header(name, checksum(name, b"other")),
                    bad.payload(Payload::UnsignedTrailer).false_trailer(name, &checksum(name, b"other")),
                ] {
                    server.send(&key, &bad).await.refused(400, "BadDigest");
                    assert!(server.store.object(&ALICE.file("never")).is_none());
                }
            }
            // An upload in parts: each is checked when it comes, and the store hears nothing of it.
            let begin = Call::post(&ALICE.file("m"), "").query("uploads", "");
            let begin = begin.header("x-amz-checksum-algorithm", &algorithm);
            let begin = begin.header("x-amz-checksum-type", "COMPOSITE");
            let id = server.send(&key, &begin).await.ok().xml().text_of("UploadId").unwrap().to_owned();
            says_nothing(server.store.last());
            let data = bytes(2000);
            let value = checksum(name, &data);
            let part =
                Call::put(&ALICE.file("m"), data.clone()).query("partNumber", "1").query("uploadId", &id);
            let etag =
                server.send(&key, &part.header(name, &value)).await.ok().get("etag").unwrap().to_owned();
            let complete = format!(
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag>\
                 <Checksum{algorithm}>{value}</Checksum{algorithm}></Part></CompleteMultipartUpload>"
            );
            let complete = Call::post(&ALICE.file("m"), complete).query("uploadId", &id);
            server.send(&key, &complete).await.ok();
            assert!(!String::from_utf8_lossy(&server.store.last().body).contains("Checksum"));
            // Nobody could compute it for a copy.
            let copy = Call::put(&ALICE.file("c"), "")
                .header("x-amz-copy-source", format!("data-universe/{}", ALICE.file("f")))
                .header("x-amz-checksum-algorithm", &algorithm);
            server.store.forget();
            server.send(&key, &copy).await.refused(501, "NotImplemented");
            server.store.saw_nothing();
        }
    }
}

#[tokio::test]
async fn p6_a_checksum_in_the_query_of_a_presigned_upload_is_neither_checked_nor_sent_on() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for length in LENGTHS {
            let data = bytes(length);
            let put = Call::put(&ALICE.file("f"), data.clone())
                .presigned()
                .query("x-amz-checksum-crc32", "AAAAAA==")
                .query("x-amz-sdk-checksum-algorithm", "CRC32");
            server.send(&key, &put).await.ok();
            stored(&server, &ALICE.file("f"), &data);
            let seen = server.store.last();
            assert!(!seen.headers.keys().any(|name| name.as_str().contains("checksum")));
            assert!(!seen.target.contains("checksum"));
            // One in a header is.
            let put = Call::put(&ALICE.file("never"), data).presigned().header(CRC, "AAAAAA==");
            server.send(&key, &put).await.refused(400, "BadDigest");
        }
    }
    assert!(server.store.object(&ALICE.file("never")).is_none());
}

#[tokio::test]
async fn p64_a_sha256_of_the_clients_goes_on_signed() {
    for setup in setups() {
        let server = TestServer::with(setup).await;
        for key in server.both(&ALICE).await {
            let answer = server.send(&key, &Call::post(&ALICE.file("m"), "").query("uploads", "")).await;
            let id = answer.ok().xml().text_of("UploadId").unwrap().to_owned();
            for length in LENGTHS {
                let data = bytes(length);
                let put = Call::put(&ALICE.file("f"), data.clone());
                let part = Call::put(&ALICE.file("m"), data.clone());
                let part = part.query("partNumber", "1").query("uploadId", &id);
                for call in [put.clone(), part] {
                    server.send(&key, &call).await.ok();
                    let seen = server.store.last();
                    assert_eq!(seen.header("x-amz-content-sha256"), Some(sha256_hex(&data).as_str()));
                }
                // Of this there is none.
                server.send(&key, &put.clone().payload(Payload::Unsigned)).await.ok();
                let seen = server.store.last();
                assert_eq!(seen.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
            }
        }
    }
}

/// Sends half of a body and goes away. Gives what the store made of it.
async fn torn(server: &TestServer, key: &Key, call: &Call) -> Option<usize> {
    let signed = server.sign(key, call);
    let mut connection = server.connect().await;
    connection.send(&signed.head()).await;
    connection.send(&signed.body[..signed.body.len() / 2]).await;
    server.store.wait(|seen| !seen.is_empty()).await;
    drop(connection);
    server.store.wait(|seen| seen.iter().any(|seen| seen.torn)).await;
    assert!(server.store.seen().iter().all(|seen| !seen.whole));
    server.store.forget();
    server.store.object(&call.path[1 + BUCKET.len() + 1..]).map(|object| object.data.len())
}

#[tokio::test]
async fn p64_no_torn_object_is_left_in_a_store_that_keeps_what_breaks_off() {
    const UNKNOWN: &str = "x-amz-checksum-xxhash64";
    for (store, keeps_bare) in
        [("", true), ("broken_uploads = \"refused\"", true), ("broken_uploads = \"kept\"", false)]
    {
        let server = TestServer::with(Setup { store: store.to_owned(), ..Setup::default() }).await;
        server.store.keep_torn_uploads();
        let key = server.session(&ALICE).await;
        let data = bytes(3_000_000);
        let put = |name: &str| Call::put(&ALICE.file(name), data.clone());
        for (name, call) in [
            ("sha256", put("sha256")),
            ("chunks", put("chunks").chunks(Payload::SignedChunks, 65_536)),
            ("signed trailer", put("signed trailer").chunks(Payload::SignedTrailer, 65_536).trailer(CRC)),
            ("signed unknown", put("signed unknown").chunks(Payload::SignedTrailer, 65_536).trailer(UNKNOWN)),
            ("trailer", put("trailer").chunks(Payload::UnsignedTrailer, 65_536).trailer(CRC)),
            ("unknown", put("unknown").chunks(Payload::UnsignedTrailer, 65_536).trailer(UNKNOWN)),
            ("crc", put("crc").payload(Payload::Unsigned).header(CRC, store::checksum(CRC, &data))),
        ] {
            assert_eq!(torn(&server, &key, &call).await, None, "{store} {name}");
        }
        // Sent direct it tears as well, for nothing shows where it ends.
        let bare = put("bare").payload(Payload::Unsigned);
        for call in [bare.clone(), bare.presigned()] {
            assert_eq!(torn(&server, &key, &call).await.is_some(), keeps_bare, "{store}");
        }
        // Whole ones arrive.
        for call in [
            put("chunks").chunks(Payload::SignedChunks, 65_536),
            put("unknown").chunks(Payload::UnsignedTrailer, 65_536).trailer(UNKNOWN),
            put("bare").payload(Payload::Unsigned),
        ] {
            server.send(&key, &call).await.ok();
            stored(&server, &call.path[1 + BUCKET.len() + 1..], &data);
        }
    }
}

#[tokio::test]
async fn p64_a_checksum_is_added_where_nothing_else_shows_the_end() {
    const KEPT: &str = "broken_uploads = \"kept\"";
    const SHA1: &str = "x-amz-checksum-sha1";
    let nvme = "x-amz-checksum-crc64nvme";
    for (settings, chunks, bare) in [
        ("", Some(CRC), None),
        (KEPT, Some(CRC), Some(CRC)),
        ("broken_uploads = \"kept\"\nchecksums = [\"SHA1\", \"CRC64NVME\"]", Some(nvme), Some(nvme)),
        ("broken_uploads = \"kept\"\nchecksums = [\"SHA1\"]", None, None),
        ("broken_uploads = \"kept\"\ntrailers = \"translate\"", None, None),
    ] {
        let server = TestServer::with(Setup { store: settings.to_owned(), ..Setup::default() }).await;
        let key = server.session(&ALICE).await;
        // A store tells the checksum that it keeps, as S3 does of an object for which none was sent.
        server.store.script(|seen| {
            let trailer = seen.header("x-amz-trailer")?;
            let reply = Reply::new(200).header("etag", "\"e\"").header(trailer, "its value");
            Some(reply.header("x-amz-checksum-type", "FULL_OBJECT").body(""))
        });
        for length in LENGTHS {
            let put = Call::put(&ALICE.file("f"), bytes(length));
            let sent = put.clone().header("x-amz-sdk-checksum-algorithm", "SHA1");
            for (call, trailer) in [
                (put.clone().chunks(Payload::SignedChunks, 8192), chunks),
                (sent.chunks(Payload::SignedChunks, 8192), chunks),
                (put.clone().payload(Payload::Unsigned), bare),
                (put.clone().presigned(), bare),
                (put.clone(), None),
                (put.clone().payload(Payload::Unsigned).header(SHA1, store::checksum(SHA1, &put.body)), None),
                (
                    put.clone()
                        .chunks(Payload::SignedChunks, 8192)
                        .header("content-md5", STANDARD.encode(md5::Md5::digest(&put.body))),
                    None,
                ),
            ] {
                let answer = server.send(&key, &call).await;
                let seen = server.store.last();
                assert_eq!(seen.header("x-amz-trailer"), trailer, "{settings}");
                let sha256 = seen.header("x-amz-content-sha256").unwrap();
                assert_eq!(sha256 == "STREAMING-UNSIGNED-PAYLOAD-TRAILER", trailer.is_some());
                assert!(seen.whole);
                if let Some(trailer) = trailer {
                    assert!(seen.header("x-amz-sdk-checksum-algorithm").is_none());
                    assert_eq!(seen.header("x-amz-decoded-content-length"), Some(&*length.to_string()));
                    let end = format!("\r\n{trailer}:{}\r\n\r\n", store::checksum(trailer, &call.body));
                    assert!(seen.body.ends_with(end.as_bytes()), "{settings}");
                    assert_eq!(answer.ok().get(trailer), Some("its value"));
                }
            }
        }
        server.store.unscript();
        // A part has the checksum of its upload, or none. And of nothing there is no part.
        let answer = server.send(&key, &Call::post(&ALICE.file("m"), "").query("uploads", "")).await;
        let id = answer.ok().xml().text_of("UploadId").unwrap().to_owned();
        let part = Call::put(&ALICE.file("m"), bytes(6000)).query("partNumber", "1").query("uploadId", &id);
        for call in [part.clone().chunks(Payload::SignedChunks, 8192), part.payload(Payload::Unsigned)] {
            server.send(&key, &call).await.ok();
            assert_eq!(server.store.last().header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
        }
        assert_eq!(server.store.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn p6_all_ten_checksums_in_trailers_are_forwarded_or_translated() {
    for (setup, forwarded) in
        [(with_all_checksums(""), true), (with_all_checksums("trailers = \"translate\""), false)]
    {
        let server = TestServer::with(setup).await;
        let key = server.session(&ALICE).await;
        for name in CHECKSUMS {
            for payload in [Payload::UnsignedTrailer, Payload::SignedTrailer] {
                for length in [2000, 3_000_000] {
                    let data = bytes(length);
                    let call = Call::put(&ALICE.file("f"), data.clone())
                        .chunks(payload.clone(), 100_000)
                        .trailer(name)
                        .header(
                            "x-amz-sdk-checksum-algorithm",
                            name.rsplit('-').next().unwrap().to_uppercase(),
                        );
                    server.send(&key, &call).await.ok();
                    stored(&server, &ALICE.file("f"), &data);
                    let seen = server.store.last();
                    // What is forwarded was checked by the store as well, chunk by chunk and with its
                    // trailer.
                    let trailer = forwarded.then_some(name);
                    assert_eq!(seen.header("x-amz-trailer"), trailer);
                    assert_eq!(seen.header("x-amz-sdk-checksum-algorithm").is_some(), forwarded);
                    let payload =
                        if forwarded { "STREAMING-UNSIGNED-PAYLOAD-TRAILER" } else { "UNSIGNED-PAYLOAD" };
                    assert_eq!(seen.header("x-amz-content-sha256"), Some(payload));
                    assert_eq!(seen.header("content-encoding"), forwarded.then_some("aws-chunked"));
                }
            }
        }
    }
}

#[tokio::test]
async fn p5_a_false_trailer_never_completes_an_object() {
    for setup in setups() {
        let server = TestServer::with(setup).await;
        let key = server.session(&ALICE).await;
        for length in LENGTHS {
            let data = bytes(length);
            let put = Call::put(&ALICE.file("f"), data.clone());
            for name in CHECKSUMS {
                for payload in [Payload::UnsignedTrailer, Payload::SignedTrailer] {
                    let call = put.clone().chunks(payload, 65_536);
                    let other = checksum(name, b"another body");
                    let answer = server.send(&key, &call.clone().false_trailer(name, &other)).await;
                    answer.refused(400, "BadDigest");
                    nothing_stored(&server);
                    let answer = server.send(&key, &call.clone().false_trailer(name, "AAAA")).await;
                    assert_eq!(answer.status, 400, "{}", answer.text());
                    nothing_stored(&server);
                }
            }
        }
    }
}

fn replace(from: &'static str, to: &'static str) -> Tamper {
    Arc::new(move |body| {
        let at = body.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&body[..at], to.as_bytes(), &body[at + from.len()..]].concat()
    })
}

fn flip(at_from_end: usize) -> Tamper {
    Arc::new(move |mut body| {
        let at = body.len() - 1 - at_from_end;
        body[at] ^= 1;
        body
    })
}

fn cut(bytes: usize) -> Tamper {
    Arc::new(move |mut body| {
        body.truncate(body.len() - bytes);
        body
    })
}

fn append(more: &'static [u8]) -> Tamper {
    Arc::new(move |body| [&body[..], more].concat())
}

#[tokio::test]
async fn p4_p5_a_false_chunk_never_completes_an_object() {
    for setup in setups() {
        let server = TestServer::with(setup).await;
        let key = server.session(&ALICE).await;
        for length in [5000, 300_000] {
            let signed = Call::put(&ALICE.file("f"), bytes(length)).chunks(Payload::SignedChunks, 65_536);
            let trailer = Call::put(&ALICE.file("f"), bytes(length))
                .chunks(Payload::SignedTrailer, 65_536)
                .trailer(CRC);
            let unsigned = Call::put(&ALICE.file("f"), bytes(length))
                .chunks(Payload::UnsignedTrailer, 65_536)
                .trailer(CRC);
            let false_first: Tamper = Arc::new(|mut body| {
                body[200] ^= 1;
                body
            });
            for (call, tamper, codes) in [
                // A bit of the content, of the last chunk's signature, of the trailer's.
                (&signed, false_first.clone(), &["SignatureDoesNotMatch"][..]),
                (&signed, flip(4), &["SignatureDoesNotMatch", "InvalidRequest"]),
                (&trailer, false_first.clone(), &["SignatureDoesNotMatch"]),
                (&trailer, flip(6), &["SignatureDoesNotMatch", "MalformedTrailerError"]),
                (&unsigned, false_first, &["BadDigest"]),
                // The end is missing: half of the tail, the tail, the last chunk, content.
                (&signed, cut(30), &["IncompleteBody", "InvalidRequest"]),
                (&signed, cut(88), &["IncompleteBody"]),
                (&trailer, cut(40), &["MalformedTrailerError", "IncompleteBody"]),
                (&unsigned, cut(25), &["MalformedTrailerError", "IncompleteBody"]),
                (&unsigned, cut(36), &["MalformedTrailerError", "IncompleteBody"]),
                (&unsigned, cut(1000), &["IncompleteBody"]),
                // Something follows.
                (&signed, append(b"more"), &["MalformedTrailerError"]),
                (&signed, append(b"0\r\n\r\n"), &["MalformedTrailerError"]),
                (&unsigned, append(b"x-amz-meta-a:b\r\n\r\n"), &["MalformedTrailerError"]),
                // Another trailer than announced, or a second one.
                (
                    &unsigned,
                    replace("x-amz-checksum-crc32:", "x-amz-checksum-crc64:"),
                    &["MalformedTrailerError"],
                ),
                (
                    &unsigned,
                    replace("x-amz-checksum-crc32:", "x-amz-meta-a:b\r\nx-amz-checksum-crc32:"),
                    &["MalformedTrailerError"],
                ),
                (
                    &trailer,
                    replace("x-amz-trailer-signature:", "x-amz-other-signatures:x"),
                    &["MalformedTrailerError"],
                ),
                // Sizes that are none (P8).
                (&unsigned, Arc::new(|body: Vec<u8>| [b"azz\r\n", &body[6..]].concat()), &["InvalidRequest"]),
                (
                    &unsigned,
                    Arc::new(|body: Vec<u8>| [b"+1000\r\n", &body[6..]].concat()),
                    &["InvalidRequest"],
                ),
                (
                    &unsigned,
                    Arc::new(|body: Vec<u8>| [b"ffffffffffffffff\r\n", &body[6..]].concat()),
                    &["InvalidRequest", "IncompleteBody", "EntityTooLarge"],
                ),
                (
                    &unsigned,
                    Arc::new(|body: Vec<u8>| [b"10000000000000001\r\n", &body[6..]].concat()),
                    &["InvalidRequest"],
                ),
                (
                    &unsigned,
                    Arc::new(|body: Vec<u8>| [&[b'0'; 5000][..], &body[6..]].concat()),
                    &["InvalidRequest"],
                ),
            ] {
                let mut call = call.clone();
                call.tamper = Some(tamper);
                for http_chunked in [false, true] {
                    call.http_chunked = http_chunked;
                    let answer = server.send(&key, &call).await;
                    let code = answer.element("Code").unwrap();
                    assert!(
                        codes.contains(&code.as_str())
                            || (codes[0] == "InvalidRequest" && code == "InvalidChunkSizeError"),
                        "{length} {codes:?}: {}",
                        answer.text()
                    );
                    answer.refused(answer.status, &code);
                    nothing_stored(&server);
                }
            }
        }
    }
}

#[tokio::test]
async fn p5_a_false_hash_digest_or_length_never_completes_an_object() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for length in LENGTHS {
            let data = bytes(length);
            let put = Call::put(&ALICE.file("f"), data.clone());
            server
                .send(&key, &put.clone().payload(Payload::False))
                .await
                .refused(400, "XAmzContentSHA256Mismatch");
            nothing_stored(&server);
            let claims = |decoded: usize| {
                put.clone()
                    .chunks(Payload::UnsignedTrailer, 65_536)
                    .trailer(CRC)
                    .header("x-amz-decoded-content-length", decoded.to_string())
            };
            for decoded in [length - 1, length + 1, length * 10] {
                let answer = server.send(&key, &claims(decoded)).await;
                assert!(matches!(answer.status, 400 | 403), "{decoded}: {}", answer.text());
                answer.refused(answer.status, &answer.element("Code").unwrap());
                nothing_stored(&server);
            }
        }
    }
}

#[tokio::test]
async fn p6_checksum_headers_are_checked_here_unless_the_store_does() {
    for (verifies, here) in [("verifies = []", true), ("", false)] {
        let server = TestServer::with(with_all_checksums(verifies)).await;
        let key = server.session(&ALICE).await;
        for length in [2000, 300_000] {
            let data = bytes(length);
            let put = Call::put(&ALICE.file("f"), data.clone()).payload(Payload::Unsigned);
            let md5 = |data: &[u8]| {
                use base64::{Engine as _, engine::general_purpose::STANDARD};
                use md5::Digest as _;
                STANDARD.encode(md5::Md5::digest(data))
            };
            for name in CHECKSUMS {
                let good = put.clone().signed("content-md5", &md5(&data)).header(name, checksum(name, &data));
                server.send(&key, &good).await.ok();
                assert!(server.store.last().header("content-md5").is_some());
                assert!(server.store.last().header(name).is_some());
                server.store.forget();
            }
            for name in CHECKSUMS.into_iter().chain(["content-md5"]) {
                let value = if name == "content-md5" { md5(b"other") } else { checksum(name, b"other") };
                let name_there = ALICE.file("never");
                let mut bad = Call::put(&name_there, data.clone()).payload(Payload::Unsigned);
                bad = bad.header(name, value);
                server.send(&key, &bad).await.refused(400, "BadDigest");
                assert!(server.store.object(&name_there).is_none());
                if here {
                    assert!(server.store.seen().iter().all(|seen| !seen.whole));
                }
                server.store.forget();
                let unreadable = put.clone().header(name, "not base64!");
                assert_eq!(server.send(&key, &unreadable).await.status, 400);
                server.store.saw_nothing();
            }
        }
    }
}

#[tokio::test]
async fn p6_a_trailing_mode_names_one_checksum_of_s3() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let put = Call::put(&ALICE.file("f"), bytes(2000));
    for call in [
        put.clone().payload(Payload::UnsignedTrailer),
        put.clone().payload(Payload::SignedTrailer),
        put.clone().payload(Payload::UnsignedTrailer).header("x-amz-trailer", "x-amz-meta-a"),
        put.clone().payload(Payload::UnsignedTrailer).header("x-amz-trailer", "x-amz-checksum-crc16"),
        put.clone()
            .payload(Payload::UnsignedTrailer)
            .header("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1"),
        put.clone()
            .payload(Payload::UnsignedTrailer)
            .header("x-amz-trailer", CRC)
            .header("x-amz-trailer", CRC),
        put.clone().header("x-amz-trailer", CRC),
        put.clone().payload(Payload::SignedChunks).header("x-amz-trailer", CRC),
    ] {
        server.send(&key, &call).await.refused(400, "InvalidRequest");
        server.store.saw_nothing();
    }
    for (text, status, code) in [
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", 501, "NotImplemented"),
        ("STREAMING-UNSIGNED-PAYLOAD", 400, "InvalidArgument"),
        ("unsigned-payload", 400, "InvalidArgument"),
        ("", 400, "InvalidArgument"),
        ("abcd", 400, "InvalidArgument"),
    ] {
        let answer = server.send(&key, &put.clone().payload(Payload::Text(text.to_owned()))).await;
        answer.refused(status, code);
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn p7_streaming_modes_are_for_put_object_and_upload_part_alone() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let xml = b"<Delete><Object><Key>k</Key></Object></Delete>";
    for call in [
        Call::get(&ALICE.file("f")),
        Call::head(&ALICE.file("f")),
        Call::delete(&ALICE.file("f")),
        Call::get("").query("prefix", &ALICE.file("")),
        Call::post("", *xml).query("delete", ""),
        Call::post(&ALICE.file("f"), *xml).query("uploadId", "u"),
        Call::post(&ALICE.file("f"), "").query("uploads", ""),
        Call::put(&ALICE.file("f"), "")
            .header("x-amz-copy-source", format!("data-universe/{}", ALICE.file("g"))),
    ] {
        for payload in [Payload::UnsignedTrailer, Payload::SignedChunks, Payload::SignedTrailer] {
            let mut call = call.clone();
            if payload != Payload::SignedChunks {
                call = call.trailer(CRC);
            }
            server.send(&key, &call.payload(payload)).await.refused(400, "InvalidRequest");
            server.store.saw_nothing();
        }
    }
    server.store.put(&ALICE.file("f"), "x");
    // And UploadPart takes them.
    let answer = server.send(&key, &Call::post(&ALICE.file("m"), "").query("uploads", "")).await;
    let id = answer.ok().xml().text_of("UploadId").unwrap().to_owned();
    for payload in [Payload::UnsignedTrailer, Payload::SignedTrailer] {
        let part = Call::put(&ALICE.file("m"), bytes(20_000)).query("partNumber", "1").query("uploadId", &id);
        server.send(&key, &part.clone().payload(payload.clone()).trailer(CRC)).await.ok();
        let answer = server.send(&key, &part.payload(payload).false_trailer(CRC, "AAAAAA==")).await;
        answer.refused(400, "BadDigest");
    }
}

#[tokio::test]
async fn p8_small_chunks_are_refused_where_each_is_signed() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let data = bytes(20_000);
    let small = Call::put(&ALICE.file("f"), data.clone()).chunks(Payload::SignedChunks, 8191);
    server.send(&key, &small).await.refused(403, "InvalidChunkSizeError");
    nothing_stored(&server);
    server.send(&key, &small.chunks(Payload::SignedChunks, 8192)).await.ok();
    let unsigned =
        Call::put(&ALICE.file("f"), data.clone()).chunks(Payload::UnsignedTrailer, 100).trailer(CRC);
    server.send(&key, &unsigned).await.ok();
    stored(&server, &ALICE.file("f"), &data);
    // What the store gets is in chunks of its own.
    assert!(server.store.last().body.starts_with(b"4e20\r\n"));
}

#[tokio::test]
async fn p42_a_length_is_known_or_there_is_no_upload() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        let put = Call::put(&ALICE.file("f"), bytes(2000)).payload(Payload::Unsigned);
        server.send(&key, &put.clone().http_chunked()).await.refused(411, "MissingContentLength");
        // A decoded length without any length of HTTP's: the length is known, and holds.
        let told = put.clone().http_chunked().header("x-amz-decoded-content-length", "2000");
        server.send(&key, &told).await.ok();
        stored(&server, &ALICE.file("f"), &bytes(2000));
        server.store.put(&ALICE.file("f"), "old");
        server.store.forget();
        for wrong in ["1999", "2001"] {
            let told = put.clone().http_chunked().header("x-amz-decoded-content-length", wrong);
            assert_eq!(server.send(&key, &told).await.status, 400);
        }
        for wrong in ["", "-1", "+2000", "2000.0", "18446744073709551616"] {
            let told = put.clone().header("x-amz-decoded-content-length", wrong);
            server.send(&key, &told).await.refused(400, "InvalidArgument");
        }
        server
            .send(&key, &put.clone().header("x-amz-decoded-content-length", "1999"))
            .await
            .refused(400, "InvalidRequest");
        assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, b"old");
        server.store.forget();
        // A client that goes away in the middle leaves nothing behind.
        for length in [10_000, 200_000] {
            let mut signed = server.sign(&key, &Call::put(&ALICE.file("f"), bytes(length)));
            signed.body.truncate(length - 1);
            let mut connection = server.connect().await;
            connection.send_call(&signed).await;
            connection.shut().await;
            if let Ok(answer) = connection.try_answer("PUT").await {
                answer.refused(400, "IncompleteBody");
            }
            assert_eq!(server.store.object(&ALICE.file("f")).unwrap().data, b"old");
            assert!(server.store.seen().iter().all(|seen| !seen.whole));
        }
    }
}

#[tokio::test]
async fn p42_lengths_above_32_bits_are_understood() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    // 5 GiB is allowed: the store is told so, and the transfer breaks as the client does.
    let mut call = Call::put(&ALICE.file("f"), bytes(100_000)).payload(Payload::Unsigned);
    call.claimed_bytes = Some(5 << 30);
    let mut connection = server.connect().await;
    connection.send_call(&server.sign(&key, &call)).await;
    server
        .store
        .wait(|seen| seen.last().is_some_and(|seen| seen.header("content-length") == Some("5368709120")))
        .await;
    drop(connection);
    assert!(server.store.keys().is_empty());
}

#[tokio::test]
async fn p43_aws_chunked_is_taken_off_and_gzip_stays() {
    for (setup, forwarded) in
        [(with_all_checksums(""), true), (with_all_checksums("trailers = \"translate\""), false)]
    {
        let server = TestServer::with(setup).await;
        let key = server.session(&ALICE).await;
        for (sent, kept) in [
            (&["aws-chunked"][..], ""),
            (&["aws-chunked,gzip"], "gzip"),
            (&["gzip,aws-chunked"], "gzip"),
            (&["gzip", "aws-chunked"], "gzip"),
            (&["AWS-Chunked, gzip , br"], "gzip,br"),
            (&["aws-chunked,"], ""),
        ] {
            let mut call =
                Call::put(&ALICE.file("f"), bytes(2000)).payload(Payload::UnsignedTrailer).trailer(CRC);
            for value in sent {
                call = call.header("content-encoding", value);
            }
            server.send(&key, &call).await.ok();
            let expected = match (kept, forwarded) {
                ("", true) => Some("aws-chunked".to_owned()),
                (kept, true) => Some(format!("{kept},aws-chunked")),
                ("", false) => None,
                (kept, false) => Some(kept.to_owned()),
            };
            assert_eq!(
                server.store.last().header("content-encoding").map(str::to_owned),
                expected,
                "{sent:?}"
            );
        }
        // A plain body that says so as well: some clients do.
        let call = Call::put(&ALICE.file("f"), bytes(2000)).header("content-encoding", "gzip");
        server.send(&key, &call).await.ok();
        assert_eq!(server.store.last().header("content-encoding"), Some("gzip"));
    }
}

#[tokio::test]
async fn s10_sizes_hold_on_every_way_in_and_before_a_byte_is_read() {
    let limits = "object_bytes_min = 1024\nobject_bytes_max = 100000".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    for key in server.both(&ALICE).await {
        for (length, code) in [
            (0, "EntityTooSmall"),
            (1023, "EntityTooSmall"),
            (1024, ""),
            (100_000, ""),
            (100_001, "EntityTooLarge"),
        ] {
            let put = Call::put(&ALICE.file("f"), bytes(length));
            for call in [
                put.clone(),
                put.clone().presigned(),
                put.clone().payload(Payload::Unsigned),
                put.clone().payload(Payload::UnsignedTrailer).trailer(CRC),
                put.clone().payload(Payload::UnsignedTrailer).trailer(CRC).http_chunked(),
            ] {
                let answer = server.send(&key, &call).await;
                if code.is_empty() {
                    answer.ok();
                    stored(&server, &ALICE.file("f"), &bytes(length));
                } else {
                    answer.refused(400, code);
                    assert_eq!(answer.element("ProposedSize").unwrap(), length.to_string());
                    server.store.saw_nothing();
                }
                server.store.forget();
            }
        }
        // A folder's name is subject to the same rule, but for a marker of nothing (P22).
        server.send(&key, &Call::put(&ALICE.file("dir/"), bytes(1023))).await.refused(400, "EntityTooSmall");
        // Declared too large is refused at once: nothing of the body need be sent.
        let mut call = Call::put(&ALICE.file("f"), bytes(1)).payload(Payload::Unsigned);
        call.claimed_bytes = Some(100_001);
        let signed = server.sign(&key, &call);
        let mut connection = server.connect().await;
        connection.send(&signed.head()).await;
        connection.answer("PUT").await.refused(400, "EntityTooLarge");
        // A chunked body that says little and brings much.
        let lie = Call::put(&ALICE.file("f"), bytes(90_000))
            .payload(Payload::UnsignedTrailer)
            .trailer(CRC)
            .header("x-amz-decoded-content-length", "2000");
        server.send(&key, &lie).await;
        assert!(server.store.seen().iter().all(|seen| !seen.whole));
        server.store.forget();
    }
}

#[tokio::test]
async fn p6_a_request_has_one_checksum() {
    let server = TestServer::start().await;
    let data = bytes(3000);
    let put = Call::put(&ALICE.file("f"), data.clone());
    let crc32 = put.clone().header(CRC, store::checksum(CRC, &data));
    for key in server.both(&ALICE).await {
        let sha1 = "x-amz-checksum-sha1";
        for call in [
            crc32.clone().header(sha1, store::checksum(sha1, &data)),
            crc32.clone().header(CRC, store::checksum(CRC, &data)),
            crc32.clone().header("x-amz-sdk-checksum-algorithm", "SHA1"),
        ] {
            server.send(&key, &call).await.refused(400, "InvalidRequest");
            server.send(&key, &call.presigned()).await.refused(400, "InvalidRequest");
        }
        server.store.saw_nothing();
        server.send(&key, &crc32.clone().header("x-amz-sdk-checksum-algorithm", "CRC32")).await.ok();
        server.store.forget();
    }
}
