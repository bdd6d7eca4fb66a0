//! P22: keys that end in `/`, by whom they are put, and what of them is stored.

use crate::harness::{
    client::{Answer, Call, Key, Payload},
    logs,
    server::{ALICE, BOB, Setup, TestServer, VALIDATOR, bytes},
    store::{self, CHECKSUMS},
};

const CRC: &str = "x-amz-checksum-crc32";
const ETAG_OF_NOTHING: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";

const POLICY: &str = "folders = [\"data/{source}/{coldkey}/\", \"data/hotkey={hotkey}/job_id={job_id}/\"]\n\
                      [policy.variables]\nsource = [\"x\", \"reddit\"]\n\
                      job_id = { pattern = \"[A-Za-z0-9_-]{1,64}\" }";

#[track_caller]
fn is_marker(answer: &Answer) {
    assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{}", answer.text());
    assert_eq!(answer.get("etag"), Some(ETAG_OF_NOTHING));
    assert_eq!(answer.get("content-length"), Some("0"));
    assert!(answer.get("x-amz-request-id").is_some());
}

/// Every key above Alice's folders.
fn above_alice() -> Vec<String> {
    let by_hotkey = format!("data/hotkey={}/", ALICE.ss58());
    vec!["data/".to_owned(), "data/x/".to_owned(), "data/reddit/".to_owned(), by_hotkey]
}

fn inside_alice() -> Vec<String> {
    vec![ALICE.file(""), ALICE.file("dir/"), ALICE.file("dir/deeper/"), ALICE.job(""), ALICE.job("dir/")]
}

#[tokio::test]
async fn p22_a_marker_is_answered_and_not_stored() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for name in above_alice().into_iter().chain(inside_alice()) {
            let put = Call::put(&name, "").header("content-type", "application/x-directory");
            let crc = put.clone().header(CRC, "AAAAAA==");
            let chunked = put.clone().payload(Payload::UnsignedTrailer).trailer(CRC);
            let mut calls = vec![
                put.clone(),
                put.clone().payload(Payload::Unsigned),
                put.clone().presigned(),
                put.clone().header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
                put.clone().header("x-amz-acl", "private").header("x-amz-storage-class", "STANDARD"),
                crc.clone(),
                crc.presigned(),
                chunked.clone(),
                chunked.http_chunked(),
            ];
            if let Key::Session { .. } = key {
                calls.push(put.clone().payload(Payload::SignedChunks));
                calls.push(put.payload(Payload::SignedTrailer).trailer(CRC));
            }
            for call in calls {
                is_marker(&server.send(&key, &call).await);
            }
        }
    }
    // A validator has folders of its own.
    let validator = server.session(&VALIDATOR).await;
    for name in [VALIDATOR.file("dir/"), "data/x/".to_owned()] {
        is_marker(&server.send(&validator, &Call::put(&name, "")).await);
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p22_a_marker_elsewhere_is_refused() {
    let server = TestServer::start().await;
    let reader = Setup {
        policy: format!("{POLICY}\n[policy.roles.validator]\nall = [\"list\", \"read\"]"),
        ..Setup::default()
    };
    let with_reader = TestServer::with(reader).await;
    let elsewhere = [
        BOB.file(""),
        BOB.file("dir/"),
        BOB.job("dir/"),
        format!("data/hotkey={}/", BOB.ss58()),
        format!("data/hotkey={}/job_id=no job/", ALICE.ss58()),
        "data/web/".to_owned(),
        "secrets/".to_owned(),
        "dat/".to_owned(),
        // Without their slash they are objects.
        "data".to_owned(),
        ALICE.file("").trim_end_matches('/').to_owned(),
    ];
    for key in server.both(&ALICE).await {
        for name in &elsewhere {
            let told = server.send(&key, &Call::put(name, "")).await.refused(403, "AccessDenied");
            assert!(told.starts_with("FolderDenied: ") && !told.contains(&BOB.coldkey.to_ss58()), "{told}");
        }
        for name in [ALICE.file("a//"), ALICE.file("../"), "//".to_owned()] {
            server.send(&key, &Call::put(&name, "")).await.refused(400, "InvalidArgument");
        }
    }
    let validator = server.session(&VALIDATOR).await;
    for name in [ALICE.file(""), ALICE.file("dir/"), format!("data/hotkey={}/", ALICE.ss58())] {
        server.send(&validator, &Call::put(&name, "")).await.refused(403, "AccessDenied");
    }
    server.store.saw_nothing();
    // Who may only read puts no markers, not even on the way to its own folders.
    let validator = with_reader.session(&VALIDATOR).await;
    for name in ["data/".to_owned(), "data/x/".to_owned(), VALIDATOR.file("dir/")] {
        with_reader.send(&validator, &Call::put(&name, "")).await.refused(403, "AccessDenied");
    }
    with_reader.store.saw_nothing();
}

#[tokio::test]
async fn p22_a_marker_is_proven_to_be_empty() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for name in ["data/x/".to_owned(), ALICE.file("dir/")] {
            let put = Call::put(&name, "");
            for (call, code) in [
                (put.clone().payload(Payload::False), "XAmzContentSHA256Mismatch"),
                (put.clone().header("content-md5", "XrY7u+Ae7tCTyyK7j1rNww=="), "BadDigest"),
                (put.clone().header(CRC, "NhCmhg=="), "BadDigest"),
                (put.clone().header(CHECKSUMS[9], store::checksum(CHECKSUMS[9], b"other")), "BadDigest"),
                (
                    put.clone().payload(Payload::UnsignedTrailer).trailer(CRC).false_trailer(CRC, "NhCmhg=="),
                    "BadDigest",
                ),
                (put.clone().header("x-amz-meta-mtime", "1"), "InvalidRequest"),
                (put.clone().header("x-amz-storage-class", "GLACIER"), "InvalidStorageClass"),
            ] {
                server.send(&key, &call).await.refused(400, code);
            }
            server.send(&key, &put.clone().header("if-none-match", "*")).await.refused(501, "NotImplemented");
            server
                .send(&key, &put.clone().header("x-amz-acl", "public-read"))
                .await
                .refused(403, "AccessDenied");
            // Declared to be empty, and not empty.
            let body = Call::put(&name, bytes(20));
            for lie in [
                body.clone()
                    .payload(Payload::UnsignedTrailer)
                    .trailer(CRC)
                    .header("x-amz-decoded-content-length", "0"),
                body.payload(Payload::Unsigned).http_chunked().header("x-amz-decoded-content-length", "0"),
            ] {
                let told = server.send(&key, &lie).await.refused(400, "InvalidRequest");
                assert!(told.starts_with("FolderMarkerNotEmpty: "), "{told}");
            }
        }
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p22_with_content_it_is_an_object_in_the_folder_and_nothing_above() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    for name in above_alice() {
        for length in [1, 2000] {
            let told = server.send(&key, &Call::put(&name, bytes(length))).await.refused(403, "AccessDenied");
            assert!(told.contains("a folder marker of 0 bytes"), "{told}");
        }
    }
    server.send(&key, &Call::put(&ALICE.file("dir/"), bytes(1))).await.refused(400, "EntityTooSmall");
    server.store.saw_nothing();
    server.send(&key, &Call::put(&ALICE.file("dir/"), bytes(2000))).await.ok();
    assert_eq!(server.store.object(&ALICE.file("dir/")).unwrap().data, bytes(2000));
    // A marker does not take its place, and what is there stays what the store says of it.
    is_marker(&server.send(&key, &Call::put(&ALICE.file("dir/"), "")).await);
    assert_eq!(server.send(&key, &Call::get(&ALICE.file("dir/"))).await.ok().body, bytes(2000));
    server.send(&key, &Call::delete(&ALICE.file("dir/"))).await.ok();
    server.send(&key, &Call::get(&ALICE.file("dir/"))).await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn p22_above_the_folders_nothing_else_is_permitted() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    for key in server.both(&ALICE).await {
        for name in above_alice() {
            for call in [
                Call::get(&name),
                Call::delete(&name),
                Call::delete(&name).query("versionId", "1"),
                Call::post(&name, "").query("uploads", ""),
                Call::put(&name, "").query("partNumber", "1").query("uploadId", "u"),
                Call::post(&name, "").query("uploadId", "u"),
                Call::put(&name, "")
                    .header("x-amz-copy-source", format!("/data-universe/{}", ALICE.file("f"))),
            ] {
                server.send(&key, &call).await.refused(403, "AccessDenied");
            }
            assert_eq!(server.send(&key, &Call::head(&name)).await.status, 403);
        }
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p22_where_they_are_stored_it_is_in_the_folders_alone() {
    let policy = format!("folder_markers = \"store\"\n{POLICY}");
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    for key in server.both(&ALICE).await {
        for name in above_alice() {
            is_marker(&server.send(&key, &Call::put(&name, "")).await);
            server.send(&key, &Call::put(&name, bytes(2000))).await.refused(403, "AccessDenied");
        }
        server.send(&key, &Call::put(&BOB.file("dir/"), "")).await.refused(403, "AccessDenied");
        server.send(&key, &Call::put(&ALICE.file("dir/"), bytes(1))).await.refused(400, "EntityTooSmall");
        server.send(&key, &Call::put(&ALICE.file("f"), "")).await.refused(400, "EntityTooSmall");
        server.store.saw_nothing();
        for name in inside_alice() {
            let put = Call::put(&name, "").header("x-amz-meta-mtime", "1");
            server.send(&key, &put.clone().header(CRC, "NhCmhg==")).await.refused(400, "BadDigest");
            server.store.saw_nothing();
            assert_eq!(server.send(&key, &put).await.ok().get("etag"), Some(ETAG_OF_NOTHING));
            assert_eq!(server.store.object(&name).unwrap().data, b"");
            server.store.forget();
        }
        let mut stored = inside_alice();
        stored.sort();
        assert_eq!(server.store.keys(), stored);
    }
}

#[tokio::test]
async fn p22_the_log_says_that_nothing_was_stored() {
    let server = TestServer::start().await;
    logs::capture();
    let key = server.session(&ALICE).await;
    is_marker(&server.send(&key, &Call::put(&ALICE.file("in-the-log/"), "")).await);
    server.send(&key, &Call::put(&ALICE.file("stored-in-the-log"), bytes(2000))).await.ok();
    let line = |name: &str| {
        let logged = logs::captured();
        logged.lines().find(|line| line.contains(name) && line.contains("outcome")).map(str::to_owned)
    };
    for _ in 0..200 {
        if line("/stored-in-the-log").is_some() && line("/in-the-log/").is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(line("/in-the-log/").unwrap().contains("folder marker, not stored"));
    assert!(!line("/stored-in-the-log").unwrap().contains("not stored"));
}
