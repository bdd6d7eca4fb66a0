//! S10: small files have a minimum of their own, on every way in.

use crate::harness::{
    client::{Call, Key, Payload},
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store,
};

const NAMES: &str = "[limits.small_files]\nnames = [\"_SUCCESS\", \"_delta_log/*\"]\n";

async fn server(bytes_min: usize) -> TestServer {
    let limits = format!("{NAMES}object_bytes_min = {bytes_min}");
    TestServer::with(Setup { limits, ..Setup::default() }).await
}

/// Names that are on the list.
fn small() -> [String; 3] {
    [ALICE.file("_SUCCESS"), ALICE.file("a/b/_SUCCESS"), ALICE.file("t/_delta_log/0.json")]
}

/// Names that are nearly on the list.
fn others() -> [String; 5] {
    [
        ALICE.file("f"),
        ALICE.file("my_SUCCESS"),
        ALICE.file("_SUCCESS/f"),
        ALICE.file("_delta_log"),
        ALICE.file("_delta_log/a/b"),
    ]
}

/// Uploads `length` bytes in one part; gives the answer to the completion.
async fn complete(
    server: &TestServer,
    key: &Key,
    name: &str,
    length: usize,
) -> crate::harness::client::Answer {
    let begun = server.send(key, &Call::post(name, "").query("uploads", "")).await;
    let id = begun.ok().xml().text_of("UploadId").unwrap().to_owned();
    let part = Call::put(name, bytes(length)).query("partNumber", "1").query("uploadId", &id);
    server.send(key, &part).await.ok();
    let etag = store::md5_hex(&bytes(length));
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    server.send(key, &Call::post(name, document).query("uploadId", &id)).await
}

#[tokio::test]
async fn s10_small_files_have_a_minimum_of_their_own_on_every_way_in() {
    for bytes_min in [0_usize, 10] {
        let server = server(bytes_min).await;
        let below = bytes_min.checked_sub(1);
        let source = ALICE.file("source");
        for key in server.both(&ALICE).await {
            for (names, allowed, refused) in
                [(small().to_vec(), bytes_min, below), (others().to_vec(), 1024, Some(1023))]
            {
                for name in names {
                    for (length, is_stored) in
                        refused.map(|length| (length, false)).into_iter().chain([(allowed, true)])
                    {
                        let put = Call::put(&name, bytes(length));
                        server.store.put(&source, bytes(length));
                        let copied = format!("/data-universe/{source}");
                        let mut answers = Vec::new();
                        for call in [
                            put.clone(),
                            put.clone().presigned(),
                            put.clone().payload(Payload::Unsigned),
                            put.payload(Payload::UnsignedTrailer).trailer("x-amz-checksum-crc32"),
                            Call::put(&name, "").header("x-amz-copy-source", &copied),
                        ] {
                            answers.push(server.send(&key, &call).await);
                        }
                        answers.push(complete(&server, &key, &name, length).await);
                        for answer in answers {
                            if is_stored {
                                answer.ok();
                                continue;
                            }
                            answer.refused(400, "EntityTooSmall");
                            assert_eq!(answer.element("MinSizeAllowed").unwrap(), allowed.to_string());
                        }
                        assert_eq!(server.store.object(&name).is_some(), is_stored, "{name} {length}");
                    }
                }
            }
            for name in server.store.keys() {
                server.send(&key, &Call::delete(&name)).await.ok();
            }
        }
    }
}

#[tokio::test]
async fn s10_a_small_files_name_opens_no_other_folder() {
    let server = server(0).await;
    let key = server.session(&ALICE).await;
    for name in [BOB.file("_SUCCESS"), "data/_SUCCESS".to_owned(), "_delta_log/a".to_owned()] {
        server.send(&key, &Call::put(&name, "")).await.refused(403, "AccessDenied");
    }
    server.store.saw_nothing();
}
