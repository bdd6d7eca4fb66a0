//! P30, P31, S10: copies, batch deletes and multipart uploads.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{
    client::{Call, Payload},
    server::{ALICE, BOB, Setup, TestServer, VALIDATOR, bytes},
    store::{self, Reply},
};

fn copy(to: &str, source: &str) -> Call {
    Call::put(to, "").header("x-amz-copy-source", source)
}

fn source(key: &str) -> String {
    format!("/data-universe/{}", crate::harness::sigv4::encode(key.as_bytes(), true))
}

fn seen(server: &TestServer) -> Vec<String> {
    server.store.seen().iter().map(|seen| format!("{} {}", seen.method, seen.key)).collect()
}

#[tokio::test]
async fn p30_a_copy_is_a_read_and_a_write() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("a b+ü"), bytes(3000));
    server.store.put(&BOB.file("f"), bytes(3000));
    for key in server.both(&ALICE).await {
        for spelled in [
            source(&ALICE.file("a b+ü")),
            source(&ALICE.file("a b+ü")).trim_start_matches('/').to_owned(),
            format!(
                "data-universe%2F{}",
                crate::harness::sigv4::encode(ALICE.file("a b+ü").as_bytes(), false)
            ),
            format!("/data-universe/{}", ALICE.file("a%20b+%c3%bc")),
        ] {
            for call in
                [copy(&ALICE.file("copied"), &spelled), copy(&ALICE.file("copied"), &spelled).presigned()]
            {
                let answer = server.send(&key, &call).await;
                assert!(answer.ok().text().contains(store::LAST_MODIFIED_XML));
                assert_eq!(server.store.object(&ALICE.file("copied")).unwrap().data, bytes(3000));
                let last = server.store.last();
                // The store's own bucket, the strict form, and held to what was measured.
                let strict = format!(
                    "/{}/{}",
                    store::BUCKET,
                    crate::harness::sigv4::encode(ALICE.file("a b+ü").as_bytes(), true)
                );
                assert_eq!(last.header("x-amz-copy-source"), Some(strict.as_str()));
                assert_eq!(
                    last.header("x-amz-copy-source-if-match").unwrap().trim_matches('"'),
                    store::md5_hex(&bytes(3000))
                );
            }
        }
        server.store.forget();
        let elsewhere = BOB.file("f");
        for (to, from, status, code) in [
            (ALICE.file("c"), source(&elsewhere), 403, "AccessDenied"),
            (elsewhere.clone(), source(&ALICE.file("a b+ü")), 403, "AccessDenied"),
            (ALICE.file("c"), source("outside"), 403, "AccessDenied"),
            (ALICE.file("c"), source(&ALICE.file(&format!("../{}/f", BOB.coldkey))), 400, "InvalidArgument"),
            (
                ALICE.file("c"),
                source(&ALICE.file(&format!("../{}/f", BOB.coldkey))).replace("..", "%2e%2e"),
                400,
                "InvalidArgument",
            ),
            (ALICE.file("c"), format!("/other-bucket/{}", ALICE.file("f")), 404, "NoSuchBucket"),
            (ALICE.file("c"), format!("/store-bucket/{}", ALICE.file("f")), 404, "NoSuchBucket"),
            (ALICE.file("c"), String::new(), 400, "InvalidArgument"),
            (ALICE.file("c"), "/data-universe".to_owned(), 400, "InvalidArgument"),
            (
                ALICE.file("c"),
                format!("arn:aws:s3:us-east-1:1:accesspoint/p/object/{}", ALICE.file("f")),
                400,
                "InvalidArgument",
            ),
            (ALICE.file("c"), format!("{}?versionId=", source(&ALICE.file("f"))), 400, "InvalidArgument"),
            (ALICE.file("c"), format!("{}?other=1", source(&ALICE.file("f"))), 400, "InvalidArgument"),
            (ALICE.file("c"), format!("{}%zz", source(&ALICE.file("f"))), 400, "InvalidURI"),
        ] {
            for call in [copy(&to, &from), copy(&to, &from).query("partNumber", "1").query("uploadId", "u")] {
                let answer = server.send(&key, &call).await;
                let told = answer.element("Code").unwrap();
                assert!(
                    answer.status == status && (told == code || status == 400),
                    "{from}: {}",
                    answer.text()
                );
                answer.refused(status, &told);
                server.store.saw_nothing();
            }
        }
        let twice =
            copy(&ALICE.file("c"), &source(&ALICE.file("f"))).header("x-amz-copy-source", source(&elsewhere));
        assert_eq!(server.send(&key, &twice).await.status, 400);
        server.store.saw_nothing();
        // A version of the source goes with both questions.
        server
            .send(&key, &copy(&ALICE.file("c"), &format!("{}?versionId=v/1", source(&ALICE.file("a b+ü")))))
            .await
            .ok();
        let asked = server.store.seen();
        assert_eq!(asked[0].query("versionId"), Some("v/1"));
        assert!(asked[1].header("x-amz-copy-source").unwrap().ends_with("?versionId=v%2F1"));
        server.store.forget();
    }
    // A validator may read everywhere, and copy to its own.
    let key = server.session(&VALIDATOR).await;
    server.send(&key, &copy(&VALIDATOR.file("c"), &source(&BOB.file("f")))).await.ok();
}

#[tokio::test]
async fn p48_conditions_on_a_copys_source_are_judged_before_it_is_pinned() {
    const BEFORE: &str = "Mon, 02 Nov 2026 10:11:12 GMT";
    const AFTER: &str = "Wed, 04 Nov 2026 10:11:12 GMT";
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(3000));
    let etag = format!("\"{}\"", store::md5_hex(&bytes(3000)));
    let etag = etag.as_str();
    for key in server.both(&ALICE).await {
        for (conditions, holds) in [
            (&[("unmodified-since", BEFORE)][..], false),
            (&[("unmodified-since", store::LAST_MODIFIED)], true),
            (&[("match", etag), ("unmodified-since", BEFORE)], true),
            (&[("match", "\"other\""), ("unmodified-since", AFTER)], false),
            (&[("none-match", etag)], false),
            (&[("none-match", "\"other\"")], true),
            (&[("none-match", etag), ("modified-since", BEFORE)], false),
            (&[("modified-since", AFTER)], false),
            (&[("modified-since", BEFORE)], true),
        ] {
            let mut call = copy(&ALICE.file("c"), &source(&ALICE.file("f")));
            for (name, value) in conditions {
                call = call.header(&format!("x-amz-copy-source-if-{name}"), *value);
            }
            let answer = server.send(&key, &call).await;
            let asked = seen(&server);
            if holds {
                answer.ok();
                let last = server.store.last();
                let sent: Vec<_> =
                    last.headers.keys().filter(|name| name.as_str().contains("-if-")).collect();
                assert_eq!(sent, ["x-amz-copy-source-if-match"], "{conditions:?}");
                assert_eq!(last.header("x-amz-copy-source-if-match"), Some(etag));
            } else {
                answer.refused(412, "PreconditionFailed");
                assert_eq!(asked, [format!("HEAD {}", ALICE.file("f"))], "{conditions:?}");
            }
            server.store.forget();
        }
        let unreadable = copy(&ALICE.file("c"), &source(&ALICE.file("f")))
            .header("x-amz-copy-source-if-unmodified-since", "yesterday");
        server.send(&key, &unreadable).await.refused(400, "InvalidArgument");
        server.store.saw_nothing();
        // Conditions of a part's copy are the store's to judge.
        let id = begin(&server, &key, &ALICE.file("m")).await;
        let call = copy(&ALICE.file("m"), &source(&ALICE.file("f")))
            .query("partNumber", "1")
            .query("uploadId", &id)
            .header("x-amz-copy-source-if-unmodified-since", AFTER);
        server.send(&key, &call).await.ok();
        assert_eq!(server.store.last().header("x-amz-copy-source-if-unmodified-since"), Some(AFTER));
        server.store.forget();
    }
}

/// Puts another object in the place of a copy's source, each time that the store is asked to copy it, until
/// `times` are over.
fn overwrites(server: &TestServer, times: usize, length: usize) {
    let (store, left) = (server.store.clone(), AtomicUsize::new(times));
    server.store.script(move |seen| {
        let copies = seen.header("x-amz-copy-source").is_some();
        let one_less = |left: usize| left.checked_sub(1);
        if copies && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            let mut data = bytes(length);
            data[0] = left.load(Ordering::Relaxed) as u8 + 100;
            store.put(&ALICE.file("f"), data);
        }
        None
    });
}

#[tokio::test]
async fn p48_a_copy_whose_source_is_overwritten_meanwhile_is_of_the_new_one() {
    let server = TestServer::start().await;
    let call = copy(&ALICE.file("c"), &source(&ALICE.file("f")));
    let (head, put) = (format!("HEAD {}", ALICE.file("f")), format!("PUT {}", ALICE.file("c")));
    for key in server.both(&ALICE).await {
        let begin = |times, length| {
            server.store.unscript();
            server.store.put(&ALICE.file("f"), bytes(3000));
            overwrites(&server, times, length);
            server.store.forget();
        };
        begin(1, 4000);
        server.send(&key, &call).await.ok();
        assert_eq!(seen(&server), [&head, &put, &head, &put].map(String::clone)[..]);
        assert_eq!(server.store.object(&ALICE.file("c")).unwrap().data.len(), 4000);
        // Again and again: to be tried again, and no condition of the client's failed.
        begin(9, 4000);
        server.send(&key, &call).await.refused(503, "SlowDown");
        assert!(seen(&server).len() < 8);
        // The new one is judged as the old one was.
        begin(1, 1023);
        server.send(&key, &call).await.refused(400, "EntityTooSmall");
        begin(1, 4000);
        let etag = format!("\"{}\"", store::md5_hex(&bytes(3000)));
        let held = call.clone().header("x-amz-copy-source-if-match", &etag);
        server.send(&key, &held).await.refused(412, "PreconditionFailed");
        // A condition on the target that fails is the client's own.
        begin(0, 0);
        server.store.script(|seen| {
            let copies = seen.header("x-amz-copy-source").is_some();
            copies.then(|| Reply::error(412, "PreconditionFailed", "the target is there"))
        });
        server.send(&key, &call).await.refused(412, "PreconditionFailed");
        assert_eq!(seen(&server), [&head, &put, &head].map(String::clone)[..]);
    }
}

#[tokio::test]
async fn s10_a_copy_is_judged_by_its_source() {
    let limits = "object_bytes_max = 5000".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    server.store.put(&ALICE.file("small"), bytes(1023));
    server.store.put(&ALICE.file("large"), bytes(5001));
    server.store.put(&ALICE.file("fine"), bytes(5000));
    for key in server.both(&ALICE).await {
        for (name, code) in [("small", "EntityTooSmall"), ("large", "EntityTooLarge")] {
            server.send(&key, &copy(&ALICE.file("c"), &source(&ALICE.file(name)))).await.refused(400, code);
            assert_eq!(seen(&server), [format!("HEAD {}", ALICE.file(name))]);
            server.store.forget();
        }
        server.send(&key, &copy(&ALICE.file("c"), &source(&ALICE.file("fine")))).await.ok();
        let missing = copy(&ALICE.file("c"), &source(&ALICE.file("missing")));
        server.send(&key, &missing).await.refused(404, "NoSuchKey");
        // What is wrong with the request itself is told first, and without the store.
        server.store.forget();
        let unknown = missing.header("x-amz-checksum-algorithm", "CRC16");
        server.send(&key, &unknown).await.refused(400, "InvalidRequest");
        server.store.saw_nothing();
        // A condition of the client's own stays.
        let call = copy(&ALICE.file("c"), &source(&ALICE.file("fine")))
            .header("x-amz-copy-source-if-match", "\"other\"");
        server.send(&key, &call).await.refused(412, "PreconditionFailed");
        server.store.forget();
    }
}

fn delete(keys: &[String]) -> String {
    let objects: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>")
}

fn delete_call(body: impl Into<Vec<u8>>) -> Call {
    Call::post("", body).query("delete", "")
}

#[tokio::test]
async fn p31_each_key_of_a_batch_is_judged_by_itself() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for name in [ALICE.file("1"), ALICE.file("2 &amp; ü"), BOB.file("1")] {
            server.store.put(&name.replace("&amp;", "&"), "x");
        }
        let body = delete(&[
            ALICE.file("1"),
            BOB.file("1"),
            ALICE.file("2 &amp; ü"),
            ALICE.file("../x"),
            "outside".to_owned(),
            ALICE.file("missing"),
        ]);
        let answer = server.send(&key, &delete_call(body)).await;
        let root = answer.ok().xml();
        assert_eq!(root.name, "DeleteResult");
        let of = |name: &str| -> Vec<String> {
            let found = root.children.iter().filter(|child| child.name == name);
            found.map(|child| child.text_of("Key").unwrap().to_owned()).collect()
        };
        assert_eq!(of("Deleted"), [ALICE.file("1"), ALICE.file("2 & ü"), ALICE.file("missing")]);
        assert_eq!(of("Error"), [BOB.file("1"), ALICE.file("../x"), "outside".to_owned()]);
        let denied = root.children.iter().find(|child| child.name == "Error").unwrap();
        assert_eq!(denied.text_of("Code"), Some("AccessDenied"));
        assert!(denied.text_of("Message").unwrap().starts_with("FolderDenied: "));
        assert_eq!(server.store.keys(), [BOB.file("1")]);
        let last = server.store.last();
        assert!(!String::from_utf8_lossy(&last.body).contains(&BOB.file("")));
        assert!(
            last.header("content-md5").is_some() && last.header("x-amz-content-sha256").unwrap().len() == 64
        );
        server.store.forget();
        // Nothing of it allowed: nothing is asked.
        let answer = server.send(&key, &delete_call(delete(&[BOB.file("1"), BOB.file("2")]))).await;
        assert_eq!(answer.ok().xml().children.len(), 2);
        server.store.saw_nothing();
        // A quiet one tells the refusals alone.
        let quiet = delete(&[ALICE.file("1"), BOB.file("1")]).replacen('>', "><Quiet>true</Quiet>", 1);
        let answer = server.send(&key, &delete_call(quiet)).await;
        assert_eq!(answer.ok().xml().children.len(), 1, "{}", answer.text());
        server.store.forget();
        // A version is judged by its key.
        let versions = delete(&[BOB.file("1")]).replace("</Key>", "</Key><VersionId>v1</VersionId>");
        let answer = server.send(&key, &delete_call(versions)).await;
        assert_eq!(answer.ok().xml().child("Error").unwrap().text_of("VersionId"), Some("v1"));
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn p31_a_batch_has_its_bounds_and_proofs() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let many =
        |count: usize| -> Vec<String> { (0..count).map(|number| ALICE.file(&number.to_string())).collect() };
    let answer = server.send(&key, &delete_call(delete(&many(1000)))).await;
    assert_eq!(answer.ok().xml().children.len(), 1000);
    server.store.forget();
    let bomb =
        "<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]>";
    let object = format!("<Object><Key>{}</Key></Object>", ALICE.file("f"));
    for body in [
        delete(&many(1001)),
        delete(&[]),
        String::new(),
        "<Delete>".to_owned(),
        "not xml".to_owned(),
        format!("<Remove>{object}</Remove>"),
        format!("{bomb}<Delete><Object><Key>&b;</Key></Object></Delete>"),
        format!("<Delete><Object><Key>{}&x;</Key></Object></Delete>", ALICE.file("f")),
        format!("<!DOCTYPE d SYSTEM \"file:///etc/passwd\"><Delete>{object}</Delete>"),
        format!("<Delete>{object}</Delete><Delete>{object}</Delete>"),
        format!(
            "<Delete><Object><Key>{}</Key><Key>{}</Key></Object></Delete>",
            ALICE.file("f"),
            BOB.file("f")
        ),
        format!("<Delete><Object><Key>{}</Key><Unknown/></Object></Delete>", ALICE.file("f")),
        format!("<Delete>{}{object}</Delete>", "<a>".repeat(10_000)),
        format!("<Delete>{object}"),
    ] {
        server.send(&key, &delete_call(body)).await.refused(400, "MalformedXML");
        server.store.saw_nothing();
    }
    // A doubled attribute or a comment does no harm.
    for body in [
        format!("<Delete xmlns=\"a\" xmlns=\"b\">{object}</Delete>"),
        format!("<!-- --><Delete>{object}<!-- <Object> --></Delete>"),
    ] {
        let answer = server.send(&key, &delete_call(body)).await;
        assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
    }
    server.store.forget();
    let body = delete(&many(1));
    server
        .send(&key, &delete_call(body.clone()).payload(Payload::False))
        .await
        .refused(400, "XAmzContentSHA256Mismatch");
    let bad = delete_call(body.clone()).header("content-md5", "XrY7u+Ae7tCTyyK7j1rNww==");
    server.send(&key, &bad).await.refused(400, "BadDigest");
    let bad = delete_call(body.clone()).header("x-amz-checksum-crc32", "AAAAAA==");
    server.send(&key, &bad).await.refused(400, "BadDigest");
    server.store.saw_nothing();
    let good = delete_call(body.clone())
        .header("x-amz-checksum-crc32", store::checksum("x-amz-checksum-crc32", body.as_bytes()));
    server.send(&key, &good.header("x-amz-sdk-checksum-algorithm", "CRC32")).await.ok();
    server.send(&key, &delete_call(body.clone()).payload(Payload::Unsigned).http_chunked()).await.ok();
    // A store that answers nonsense is an outage, not a success.
    server.store.always(Reply::new(200).body("<html>"));
    let answer = server.send(&key, &delete_call(delete(&[ALICE.file("1"), BOB.file("1")]))).await;
    answer.refused(503, "ServiceUnavailable");
}

fn complete(parts: &[(u32, &[u8])]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, data)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag></Part>", store::md5_hex(data))
        })
        .collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         {parts}</CompleteMultipartUpload>"
    )
}

async fn begin(server: &TestServer, key: &crate::harness::client::Key, name: &str) -> String {
    let answer = server.send(key, &Call::post(name, "").query("uploads", "")).await;
    answer.ok().xml().text_of("UploadId").unwrap().to_owned()
}

fn part(name: &str, id: &str, number: u32, data: &[u8]) -> Call {
    Call::put(name, data).query("partNumber", &number.to_string()).query("uploadId", id)
}

#[tokio::test]
async fn s10_the_sum_of_the_parts_is_judged_and_an_upload_outside_aborted() {
    let limits = "object_bytes_max = 50000".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let name = ALICE.file("m");
    for key in server.both(&ALICE).await {
        for (sizes, code) in [
            (&[20_000_usize, 20_000, 9_999][..], ""),
            (&[20_000, 20_000, 10_000], ""),
            (&[20_000, 20_000, 10_001], "EntityTooLarge"),
            (&[1000, 23], "EntityTooSmall"),
            (&[1000, 24], ""),
        ] {
            // Pages of two, so that the sum runs over several.
            server.store.parts_page(2);
            let id = begin(&server, &key, &name).await;
            let data: Vec<Vec<u8>> = sizes.iter().map(|size| bytes(*size)).collect();
            let mut named = Vec::new();
            for (number, data) in (1..).zip(&data) {
                let answer = server.send(&key, &part(&name, &id, number, data)).await;
                assert_eq!(answer.ok().get("etag").unwrap().trim_matches('"'), store::md5_hex(data));
                named.push((number, data.as_slice()));
            }
            let listed =
                server.send(&key, &Call::get(&name).query("uploadId", &id).query("max-parts", "5")).await;
            assert!(listed.ok().text().contains("<ListPartsResult>"));
            let call = Call::post(&name, complete(&named)).query("uploadId", &id);
            let answer = server.send(&key, &call).await;
            if code.is_empty() {
                let object = server.store.object(&name).unwrap();
                assert!(answer.ok().text().contains(&format!("<ETag>\"{}\"</ETag>", object.etag)));
                assert_eq!(object.data, data.concat());
            } else {
                answer.refused(400, code);
                assert!(server.store.object(&name).is_none());
                let last = server.store.last();
                assert_eq!((last.method.as_str(), last.query("uploadId")), ("DELETE", Some(id.as_str())));
                assert!(
                    !server
                        .store
                        .seen()
                        .iter()
                        .any(|seen| seen.method == "POST" && seen.query("uploadId").is_some())
                );
            }
            assert_eq!(server.store.uploads(), 0);
            server.send(&key, &Call::delete(&name)).await;
            server.store.forget();
        }
        // One part that no sum could make right again.
        let id = begin(&server, &key, &name).await;
        server.store.forget();
        server.send(&key, &part(&name, &id, 1, &bytes(50_001))).await.refused(400, "EntityTooLarge");
        server.store.saw_nothing();
        // A part may be as small as the store takes it: its size is the store's matter.
        server.send(&key, &part(&name, &id, 1, b"")).await.ok();
        server.send(&key, &Call::delete(&name).query("uploadId", &id)).await.ok();
    }
}

#[tokio::test]
async fn p46_completion_names_parts_that_are_there() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let name = ALICE.file("m");
    let id = begin(&server, &key, &name).await;
    server.send(&key, &part(&name, &id, 1, &bytes(2000))).await.ok();
    server.store.forget();
    let send = async |body: String| server.send(&key, &Call::post(&name, body).query("uploadId", &id)).await;
    for body in [
        String::new(),
        "<CompleteMultipartUpload/>".to_owned(),
        "<Delete/>".to_owned(),
        complete(&[(1, b"")]).replace("<ETag>", "<Size>"),
        complete(&[(1, b"")]).replace(">1<", ">one<"),
        "<!DOCTYPE a []><CompleteMultipartUpload/>".to_owned(),
    ] {
        send(body).await.refused(400, "MalformedXML");
    }
    for body in [complete(&[(0, b"")]), complete(&[(1, b""), (10_001, b"")])] {
        send(body).await.refused(400, "InvalidArgument");
    }
    for body in [complete(&[(2, b""), (1, b"")]), complete(&[(1, b""), (1, b"")])] {
        send(body).await.refused(400, "InvalidPartOrder");
    }
    server.store.saw_nothing();
    for body in [complete(&[(1, b"other")]), complete(&[(1, &bytes(2000)), (2, b"")])] {
        send(body).await.refused(400, "InvalidPart");
    }
    let gone = Call::post(&name, complete(&[(1, b"")])).query("uploadId", "gone");
    server.send(&key, &gone).await.refused(404, "NoSuchUpload");
    assert!(server.store.object(&name).is_none());
    send(complete(&[(1, &bytes(2000))])).await.ok();
    assert_eq!(server.store.object(&name).unwrap().data, bytes(2000));
}

#[tokio::test]
async fn p30_a_part_may_be_copied() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(3000));
    let id = begin(&server, &key, &ALICE.file("m")).await;
    let call =
        copy(&ALICE.file("m"), &source(&ALICE.file("f"))).query("partNumber", "1").query("uploadId", &id);
    let answer = server.send(&key, &call.clone().header("x-amz-copy-source-range", "bytes=0-2999")).await;
    assert!(answer.ok().text().contains("<CopyPartResult>"));
    assert_eq!(server.store.last().header("x-amz-copy-source-range"), Some("bytes=0-2999"));
    server.store.forget();
    let call =
        copy(&ALICE.file("m"), &source(&BOB.file("f"))).query("partNumber", "1").query("uploadId", &id);
    server.send(&key, &call).await.refused(403, "AccessDenied");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p46_a_200_that_turns_out_to_be_an_error_is_one_and_its_white_space_passes() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    server.store.put(&ALICE.file("f"), bytes(3000));
    let id = begin(&server, &key, &ALICE.file("m")).await;
    server.send(&key, &part(&ALICE.file("m"), &id, 1, &bytes(2000))).await.ok();
    let complete = Call::post(&ALICE.file("m"), complete(&[(1, &bytes(2000))])).query("uploadId", &id);
    let copy = copy(&ALICE.file("c"), &source(&ALICE.file("f")));
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    for (document, code, message) in [
        (
            "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
                .to_owned(),
            "InternalError",
            "internal error",
        ),
        (
            format!(
                "<Error><Code>SignatureDoesNotMatch</Code><Message>{}</Message>\
                 <StringToSign>x</StringToSign></Error>",
                store::ACCESS_KEY
            ),
            "ServiceUnavailable",
            "operator",
        ),
        (
            format!("<Error><Code>InvalidPart</Code><Message>at {}</Message></Error>", store::BUCKET),
            "InvalidPart",
            "The store refused the request.",
        ),
    ] {
        let reply = Reply::new(200)
            .header("content-type", "application/xml")
            .piece(0, declaration)
            .piece(30, "  \n")
            .piece(30, " ")
            .piece(30, document);
        server.store.script(move |seen| {
            let late = seen.header("x-amz-copy-source").is_some()
                || (seen.method == "POST" && seen.key.ends_with('m'));
            late.then(|| reply.clone())
        });
        for call in [&complete, &copy] {
            let answer = server.send(&key, call).await;
            assert_eq!(answer.status, 200);
            let text = answer.text();
            assert!(text.starts_with(&format!("{declaration}  \n <Error>")), "{text}");
            let error = answer.xml();
            assert_eq!(error.text_of("Code"), Some(code));
            assert!(error.text_of("Message").unwrap().contains(message), "{text}");
            assert_eq!(error.text_of("RequestId"), answer.get("x-amz-request-id"));
            for hidden in [store::ACCESS_KEY, store::BUCKET, "StringToSign"] {
                assert!(!text.contains(hidden), "{text}");
            }
        }
        // The next script counts.
        server.store.unscript();
    }
}

#[tokio::test]
async fn p46_keep_alive_white_space_outlasts_our_timeouts() {
    let store = "answer_seconds_max = 1\nidle_seconds_max = 1".to_owned();
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let key = server.session(&ALICE).await;
    let id = begin(&server, &key, &ALICE.file("m")).await;
    server.send(&key, &part(&ALICE.file("m"), &id, 1, &bytes(2000))).await.ok();
    server.store.script(|seen| {
        let mut reply = Reply::new(200).piece(0, "<?xml version=\"1.0\"?>\n");
        for _ in 0..5 {
            reply = reply.piece(500, " ");
        }
        (seen.method == "POST").then(|| reply.piece(0, "<CompleteMultipartUploadResult/>"))
    });
    let call = Call::post(&ALICE.file("m"), complete(&[(1, &bytes(2000))])).query("uploadId", &id);
    let answer = server.send(&key, &call).await;
    assert!(answer.ok().text().ends_with("     <CompleteMultipartUploadResult/>"));
}
