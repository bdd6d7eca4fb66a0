//! P67, S10: how a multipart upload ends, once or twice, with the object's own checksums.

use crate::harness::{
    client::{Call, Key, Payload},
    server::{ALICE, BOB, Setup, TestServer, bytes},
    store::{self, Reply},
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

/// Begins an upload with these parts; gives its id.
async fn begin(server: &TestServer, key: &Key, name: &str, parts: &[&[u8]]) -> String {
    let answer = server.send(key, &Call::post(name, "").query("uploads", "")).await;
    let id = answer.ok().xml().text_of("UploadId").unwrap().to_owned();
    for (number, data) in (1..).zip(parts) {
        let part = Call::put(name, *data).query("partNumber", &number.to_string()).query("uploadId", &id);
        server.send(key, &part).await.ok();
    }
    id
}

#[tokio::test]
async fn p6_checksums_at_completion_are_the_objects_and_go_on() {
    let server = TestServer::start().await;
    let name = ALICE.file("m");
    let data = bytes(3000);
    for key in server.both(&ALICE).await {
        // Those that every store knows; the others stay here.
        for header in store::CHECKSUMS.into_iter().take(5) {
            let id = begin(&server, &key, &name, &[&data]).await;
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
        let id = begin(&server, &key, &name, &[&data]).await;
        let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
        let call = call.header("x-amz-checksum-type", "COMPOSITE").header(store::CHECKSUMS[0], "AAAAAA==-1");
        server.send(&key, &call).await.ok();
        assert_eq!(server.store.last().header(store::CHECKSUMS[0]), Some("AAAAAA==-1"));
        server.send(&key, &Call::delete(&name)).await.ok();
    }
    // What is said of the document is still checked here.
    let key = server.session(&ALICE).await;
    let id = begin(&server, &key, &name, &[&data]).await;
    server.store.forget();
    let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
    let false_md5 = call.clone().header("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==");
    server.send(&key, &false_md5).await.refused(400, "BadDigest");
    server.send(&key, &call.payload(Payload::False)).await.refused(400, "XAmzContentSHA256Mismatch");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p67_a_completion_may_be_repeated() {
    let server = TestServer::start().await;
    let name = ALICE.file("m");
    let data = bytes(3000);
    for key in server.both(&ALICE).await {
        let id = begin(&server, &key, &name, &[&data]).await;
        let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
        let first = server.send(&key, &call).await;
        server.store.forget();
        let second = server.send(&key, &call).await;
        assert_eq!(
            (second.ok().text(), second.get("content-type")),
            (first.text(), first.get("content-type"))
        );
        let seen: Vec<_> = server.store.seen().iter().map(|seen| seen.method.clone()).collect();
        assert_eq!(seen, ["GET", "POST", "HEAD"]);
        assert!(server.store.seen().iter().all(|seen| seen.key == name));
        assert_eq!(server.store.object(&name).unwrap().data, data);
        // An upload that never was is the store's to refuse; so is that of another key.
        for (name, id) in [(&name, "never"), (&ALICE.file("other"), id.as_str())] {
            let call = Call::post(name, complete(&[(1, &data)])).query("uploadId", id);
            server.send(&key, &call).await.refused(404, "NoSuchUpload");
        }
        // Whoever may not write there is not told.
        server.store.forget();
        let call = Call::post(&name, complete(&[(1, &data)])).query("uploadId", &id);
        server.send(&server.session(&BOB).await, &call).await.refused(403, "AccessDenied");
        server.store.saw_nothing();
        // An object that is deleted since was completed all the same.
        server.send(&key, &Call::delete(&name)).await.ok();
        server.send(&key, &call).await.ok();
        server.store.forget();
    }
}

#[tokio::test]
async fn s10_p67_a_completion_of_parts_that_are_not_listed_is_held_to_the_bounds() {
    let limits = "object_bytes_max = 50000".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let name = ALICE.file("m");
    let key = server.session(&ALICE).await;
    for (bytes_there, code) in
        [(1023, "EntityTooSmall"), (50_001, "EntityTooLarge"), (1024, ""), (50_000, "")]
    {
        let data = bytes(bytes_there);
        let (first, second) = data.split_at(1000);
        let id = begin(&server, &key, &name, &[first, second]).await;
        // A store that knows the upload but not its parts.
        server.store.script(|seen| {
            let lists = seen.method == "GET" && seen.query("uploadId").is_some();
            lists.then(|| Reply::error(404, "NoSuchUpload", "The specified upload does not exist."))
        });
        let call = Call::post(&name, complete(&[(1, first), (2, second)])).query("uploadId", &id);
        let answer = server.send(&key, &call).await;
        match code {
            "" => drop(answer.ok()),
            code => drop(answer.refused(400, code)),
        }
        // It may be somebody's object of old.
        assert!(server.store.object(&name).is_some());
        assert!(!server.store.seen().iter().any(|seen| seen.method == "DELETE"));
        server.store.unscript();
    }
    // Without a size there is no yes.
    let repeated = Call::post(&name, complete(&[(1, &bytes(50_000))])).query("uploadId", "upload+3/=");
    server.send(&key, &repeated).await.ok();
    for reply in [Reply::new(403), Reply::new(500), Reply::new(200).piece(0, "")] {
        server.store.script(move |seen| (seen.method == "HEAD").then(|| reply.clone()));
        server.send(&key, &repeated).await.refused(503, "ServiceUnavailable");
        server.store.unscript();
    }
}

#[tokio::test]
async fn p46_p67_a_repeated_completion_may_fail_late() {
    let server = TestServer::start().await;
    let name = ALICE.file("m");
    let key = server.session(&ALICE).await;
    let call = Call::post(&name, complete(&[(1, b"a")])).query("uploadId", "gone");
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let error = "<Error><Code>InternalError</Code><Message>Please try again.</Message></Error>";
    let late = Reply::new(200).piece(0, declaration).piece(30, " ").piece(30, error);
    server.store.script(move |seen| (seen.method == "POST").then(|| late.clone()));
    let answer = server.send(&key, &call).await;
    assert_eq!(answer.ok().xml().text_of("Code"), Some("InternalError"));
    assert_eq!(answer.xml().text_of("RequestId"), answer.get("x-amz-request-id"));
    assert_ne!(server.store.last().method, "HEAD");
    server.store.unscript();
    for broken in
        [Reply::new(200).piece(0, declaration).broken(), Reply::new(200).piece(0, vec![b' '; 2 << 20])]
    {
        server.store.script(move |seen| (seen.method == "POST").then(|| broken.clone()));
        server.send(&key, &call).await.refused(503, "ServiceUnavailable");
        server.store.unscript();
    }
}

#[tokio::test]
async fn p67_an_upload_that_is_over_is_aborted() {
    let server = TestServer::start().await;
    let name = ALICE.file("m");
    for key in server.both(&ALICE).await {
        let id = begin(&server, &key, &name, &[b"a"]).await;
        for id in [id.as_str(), id.as_str(), "never"] {
            let answer = server.send(&key, &Call::delete(&name).query("uploadId", id)).await;
            assert_eq!((answer.status, answer.text()), (204, String::new()));
            assert!(answer.get("x-amz-request-id").is_some());
        }
        // A client that aborts after a refusal shows the refusal, not its own abort's failure.
        let id = begin(&server, &key, &name, &[b"a"]).await;
        let call = Call::post(&name, complete(&[(1, b"a")])).query("uploadId", &id);
        server.send(&key, &call).await.refused(400, "EntityTooSmall");
        let answer = server.send(&key, &Call::delete(&name).query("uploadId", &id)).await;
        assert_eq!(answer.status, 204);
        server.store.forget();
        let elsewhere = Call::delete(&BOB.file("m")).query("uploadId", "never");
        server.send(&key, &elsewhere).await.refused(403, "AccessDenied");
        server.store.saw_nothing();
    }
    // What is not S3's 404 says nothing of the upload.
    let key = server.session(&ALICE).await;
    for reply in [Reply::new(404).body("<html>"), Reply::error(404, "NoSuchBucket", "no")] {
        server.store.script(move |_| Some(reply.clone()));
        let call = Call::delete(&name).query("uploadId", "never");
        server.send(&key, &call).await.refused(503, "ServiceUnavailable");
        server.store.unscript();
    }
    // A retried DELETE.
    for _ in 0..2 {
        assert_eq!(server.send(&key, &Call::delete(&name)).await.status, 204);
    }
}
