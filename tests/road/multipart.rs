//! P67, S10: how a multipart upload ends, once or twice, with the object's own checksums.

use crate::harness::{
    client::{Call, Key, Payload},
    server::{ALICE, TestServer, bytes},
    store,
};

fn complete(parts: &[(u32, &[u8])]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, data)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag></Part>", store::md5_hex(data))
        })
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// Begins an upload with one part; gives its id.
async fn begin(server: &TestServer, key: &Key, name: &str, data: &[u8]) -> String {
    let answer = server.send(key, &Call::post(name, "").query("uploads", "")).await;
    let id = answer.ok().xml().text_of("UploadId").unwrap().to_owned();
    let part = Call::put(name, data).query("partNumber", "1").query("uploadId", &id);
    server.send(key, &part).await.ok();
    id
}

#[tokio::test]
async fn p6_checksums_at_completion_are_the_objects_and_go_on() {
    let server = TestServer::start().await;
    let name = ALICE.file("m");
    let data = bytes(3000);
    for key in server.both(&ALICE).await {
        for header in store::CHECKSUMS {
            let id = begin(&server, &key, &name, &data).await;
            let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
            let call = call.header("x-amz-checksum-type", "FULL_OBJECT");
            let other = call.clone().header(header, store::checksum(header, b"other"));
            // The store's answer, not this server's: it alone has the object's bytes.
            let told = server.send(&key, &other).await.refused(400, "BadDigest");
            assert!(told.contains("The object's checksum"), "{told}");
            assert!(server.store.object(&name).is_none());
            let own = call.header(header, store::checksum(header, &data));
            server.send(&key, &own).await.ok();
            let last = server.store.last();
            assert_eq!(last.header(header), Some(store::checksum(header, &data).as_str()));
            assert_eq!(last.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
            assert_eq!(server.store.object(&name).unwrap().data, data);
            server.send(&key, &Call::delete(&name)).await.ok();
        }
        // The checksum of checksums has a form of its own, which is the store's to read.
        let id = begin(&server, &key, &name, &data).await;
        let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
        let call = call.header("x-amz-checksum-type", "COMPOSITE").header(store::CHECKSUMS[0], "AAAAAA==-1");
        server.send(&key, &call).await.ok();
        assert_eq!(server.store.last().header(store::CHECKSUMS[0]), Some("AAAAAA==-1"));
        server.send(&key, &Call::delete(&name)).await.ok();
    }
    // What is said of the document is still checked here.
    let key = server.session(&ALICE).await;
    let id = begin(&server, &key, &name, &data).await;
    server.store.forget();
    let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
    let false_md5 = call.clone().header("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==");
    server.send(&key, &false_md5).await.refused(400, "BadDigest");
    server.send(&key, &call.payload(Payload::False)).await.refused(400, "XAmzContentSHA256Mismatch");
    server.store.saw_nothing();
}
