//! P20 to P23, P34 to P37: which key is meant, whose it is, and what may be asked of it at all.

use crate::harness::{
    client::{Answer, Call, Payload},
    server::{ALICE, ALICE_SECOND, BOB, Setup, TestServer, VALIDATOR, bytes},
    sigv4::encode,
};

#[tokio::test]
async fn p20_p21_one_decoded_key_is_judged_signed_and_forwarded() {
    let server = TestServer::start().await;
    let folder = format!("/data-universe/{}", ALICE.file(""));
    for key in server.both(&ALICE).await {
        for (spelled, name, upstream) in [
            ("a%2fb", "a/b", "a/b"),
            ("a%2Fb", "a/b", "a/b"),
            ("%61", "a", "a"),
            ("a+b", "a+b", "a%2Bb"),
            ("a%2Bb", "a+b", "a%2Bb"),
            ("a%20b", "a b", "a%20b"),
            ("a%252fb", "a%2fb", "a%252fb"),
            ("a%25zz", "a%zz", "a%25zz"),
            ("%E4%B8%80", "一", "%E4%B8%80"),
            ("ü", "ü", "%C3%BC"),
            (
                "a=b;c:d@e!f$g&h'i(j)k*l,m",
                "a=b;c:d@e!f$g&h'i(j)k*l,m",
                "a%3Db%3Bc%3Ad%40e%21f%24g%26h%27i%28j%29k%2Al%2Cm",
            ),
            ("...%2e", "....", "...."),
            ("a%3Fb%23c", "a?b#c", "a%3Fb%23c"),
            ("job_id=1%2Fdata.parquet", "job_id=1/data.parquet", "job_id%3D1/data.parquet"),
        ] {
            for presigned in [false, true] {
                let call = Call::put(&ALICE.file(name), bytes(2000)).spelled(&format!("{folder}{spelled}"));
                let call = if presigned { call.presigned() } else { call };
                let answer = server.send(&key, &call).await;
                assert_eq!(answer.status, 200, "{spelled}: {}", answer.text());
                let seen = server.store.last();
                assert_eq!(seen.key, ALICE.file(name));
                assert!(seen.target.ends_with(&format!("/{upstream}")), "{} for {spelled}", seen.target);
                assert!(server.store.object(&ALICE.file(name)).is_some());
                server.send(&key, &Call::get(&ALICE.file(name))).await.ok();
            }
        }
    }
}

#[tokio::test]
async fn p22_segments_that_stores_read_differently_are_refused() {
    let server = TestServer::start().await;
    for key in [server.session(&ALICE).await, ALICE.hotkey(), server.session(&VALIDATOR).await] {
        let b = BOB.file("f");
        for (name, spelled) in [
            (ALICE.file(&format!("../{}/f", BOB.coldkey)), None),
            (
                ALICE.file(&format!("../{}/f", BOB.coldkey)),
                Some(ALICE.file(&format!("%2e%2e/{}/f", BOB.coldkey))),
            ),
            (
                ALICE.file(&format!("../{}/f", BOB.coldkey)),
                Some(ALICE.file(&format!(".%2E%2f{}/f", BOB.coldkey))),
            ),
            (ALICE.file("./f"), Some(ALICE.file("%2e/f"))),
            (ALICE.file(".."), None),
            (ALICE.file("a//b"), None),
            (ALICE.file("a//b"), Some(ALICE.file("a%2f/b"))),
            (ALICE.file("/b"), None),
            (ALICE.file("a\u{0}b"), None),
            (ALICE.file("a\nb"), None),
            (ALICE.file("a\u{7f}b"), None),
            (ALICE.file("a\u{85}b"), None),
            (format!("/{b}"), None),
            (format!("./{b}"), None),
        ] {
            for method in ["GET", "PUT", "DELETE"] {
                let mut call = Call::object(method, &name);
                if method == "PUT" {
                    call = call.body(bytes(2000));
                }
                call.wire_path = spelled.as_ref().map(|spelled| format!("/data-universe/{spelled}"));
                for call in [call.clone(), call.presigned()] {
                    let answer = server.send(&key, &call).await;
                    assert!(
                        answer.refused(400, "InvalidArgument").starts_with("KeyNotAllowed: "),
                        "{name:?}"
                    );
                }
            }
        }
        server.store.saw_nothing();
    }
    let key = server.session(&ALICE).await;
    for bad in ["%", "%2", "%zz", "%ff", "%c3"] {
        let call = Call::get(&ALICE.file("f")).spelled(&format!("/data-universe/{}{bad}", ALICE.file("f")));
        server.send(&key, &call).await.refused(400, "InvalidURI");
    }
    let long = ALICE.file(&"k".repeat(1024 - ALICE.file("").len()));
    server.send(&key, &Call::put(&long, bytes(2000))).await.ok();
    server.store.forget();
    server.send(&key, &Call::put(&format!("{long}k"), bytes(2000))).await.refused(400, "KeyTooLongError");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p23_a_folder_is_its_own_with_its_slash() {
    let server = TestServer::start().await;
    let cold = ALICE.coldkey.to_ss58();
    for key in server.both(&ALICE).await {
        for mine in [ALICE.file("f"), format!("data/reddit/{cold}/f"), ALICE.job("f")] {
            server.send(&key, &Call::put(&mine, bytes(2000))).await.ok();
            server.send(&key, &Call::get(&mine)).await.ok();
        }
        server.store.forget();
        for not_mine in [
            BOB.file("f"),
            BOB.job("f"),
            ALICE_SECOND.job("f"),
            VALIDATOR.file("f"),
            format!("data/x/{cold}"),
            format!("data/x/{cold}D/f"),
            format!("data/x/{cold}-/f"),
            format!("data/x/{}/f", cold.to_lowercase()),
            format!("data/x/{}/f", &cold[..47]),
            format!("data/web/{cold}/f"),
            format!("data/X/{cold}/f"),
            format!("Data/x/{cold}/f"),
            format!("data/{cold}/f"),
            format!("x/{cold}/f"),
            format!("data/hotkey={}/f", ALICE.ss58()),
            format!("data/hotkey={}/job_id=/f", ALICE.ss58()),
            format!("data/hotkey={}/job_id=a b/f", ALICE.ss58()),
            format!("data/hotkey={}/job_id={}/f", ALICE.ss58(), "j".repeat(65)),
            format!("data/hotkey={cold}/job_id=j/f"),
            "f".to_owned(),
            "data/".to_owned(),
        ] {
            for call in [
                Call::get(&not_mine),
                Call::put(&not_mine, bytes(2000)),
                Call::delete(&not_mine),
                Call::get(&not_mine).presigned(),
                Call::post(&not_mine, "").query("uploads", ""),
                Call::get(&not_mine).query("uploadId", "u"),
                Call::delete(&not_mine).query("uploadId", "u"),
                Call::put(&not_mine, bytes(2000)).query("uploadId", "u").query("partNumber", "1"),
                Call::put(&not_mine, bytes(2000))
                    .payload(Payload::UnsignedTrailer)
                    .trailer("x-amz-checksum-crc32"),
                Call::get(&not_mine).query("attributes", "").header("x-amz-object-attributes", "ETag"),
                Call::head(&not_mine),
            ] {
                let answer = server.send(&key, &call).await;
                let message = answer.refused(403, "AccessDenied");
                if call.method != "HEAD" {
                    assert!(
                        message.starts_with("FolderDenied: ") && message.contains(&ALICE.file("")),
                        "{message}"
                    );
                }
            }
            server.store.saw_nothing();
        }
    }
}

#[tokio::test]
async fn hotkeys_of_one_coldkey_share_its_folder() {
    let server = TestServer::start().await;
    assert_eq!(ALICE.file("f"), ALICE_SECOND.file("f"));
    server.send(&server.session(&ALICE).await, &Call::put(&ALICE.file("f"), bytes(2000))).await.ok();
    server.send(&ALICE_SECOND.hotkey(), &Call::get(&ALICE.file("f"))).await.ok();
    server.send(&server.session(&ALICE_SECOND).await, &Call::delete(&ALICE.file("f"))).await.ok();
}

#[tokio::test]
async fn a_validator_reads_everything_and_writes_its_own() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(2000));
    server.store.put(&BOB.job("g"), bytes(2000));
    server.store.put("other/h", "x");
    for key in server.both(&VALIDATOR).await {
        for name in [ALICE.file("f"), BOB.job("g")] {
            assert_eq!(server.send(&key, &Call::get(&name)).await.ok().body, bytes(2000));
            server.send(&key, &Call::head(&name).presigned()).await.ok();
            server.store.forget();
            for call in [
                Call::put(&name, bytes(2000)),
                Call::delete(&name),
                Call::post(&name, "").query("uploads", ""),
                Call::put(&name, bytes(2000)).query("partNumber", "1").query("uploadId", "u"),
                Call::put(&name, "")
                    .header("x-amz-copy-source", format!("data-universe/{}", ALICE.file("f"))),
            ] {
                server.send(&key, &call).await.refused(403, "AccessDenied");
            }
            server.store.saw_nothing();
        }
        server.send(&key, &Call::get("other/h")).await.refused(403, "AccessDenied");
        server.store.saw_nothing();
        server.send(&key, &Call::put(&VALIDATOR.file("v"), bytes(2000))).await.ok();
    }
}

#[tokio::test]
async fn roles_have_the_rights_that_the_configuration_gives() {
    let policy = "folders = [\"{coldkey}/\"]\n[policy.roles.miner]\nown = [\"read\", \"list\"]\n\
                  [policy.roles.validator]\nown = []\nall = [\"list\"]";
    let server = TestServer::with(Setup { policy: policy.to_owned(), ..Setup::default() }).await;
    let file = format!("{}/f", ALICE.coldkey);
    server.store.put(&file, "x");
    let (miner, validator) = (ALICE.hotkey(), VALIDATOR.hotkey());
    server.send(&miner, &Call::get(&file)).await.ok();
    let list = Call::get("").query("prefix", &format!("{}/", ALICE.coldkey));
    server.send(&validator, &list).await.ok();
    server.store.forget();
    for (key, call) in [
        (&miner, Call::put(&file, bytes(2000))),
        (&miner, Call::delete(&file)),
        (&validator, Call::get(&file)),
        (&validator, Call::put(&format!("{}/f", VALIDATOR.coldkey), bytes(2000))),
    ] {
        let answer = server.send(key, &call).await;
        assert!(answer.refused(403, "AccessDenied").starts_with("FolderDenied: "));
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p34_what_is_not_known_is_refused_by_name_and_goes_nowhere() {
    let server = TestServer::start().await;
    let (a, folder) = (ALICE.file("f"), "");
    for key in [server.session(&ALICE).await, server.session(&VALIDATOR).await] {
        for (method, target, query) in [
            ("GET", folder, "acl"),
            ("PUT", folder, "acl"),
            ("GET", folder, "policy"),
            ("PUT", folder, "policy"),
            ("DELETE", folder, "policy"),
            ("GET", folder, "versioning"),
            ("PUT", folder, "versioning"),
            ("GET", folder, "versions"),
            ("GET", folder, "lifecycle"),
            ("PUT", folder, "lifecycle"),
            ("PUT", folder, "cors"),
            ("GET", folder, "cors"),
            ("PUT", folder, "replication"),
            ("PUT", folder, "notification"),
            ("PUT", folder, "encryption"),
            ("PUT", folder, "website"),
            ("PUT", folder, "logging"),
            ("PUT", folder, "tagging"),
            ("PUT", folder, "object-lock"),
            ("PUT", folder, "publicAccessBlock"),
            ("PUT", folder, "ownershipControls"),
            ("PUT", folder, "inventory"),
            ("GET", folder, "session"),
            ("GET", folder, "events"),
            ("DELETE", folder, ""),
            ("POST", folder, ""),
            ("PATCH", folder, ""),
            ("OPTIONS", folder, ""),
            ("TRACE", folder, ""),
            ("LIST", folder, ""),
            ("GET", &a, "acl"),
            ("PUT", &a, "acl"),
            ("GET", &a, "tagging"),
            ("PUT", &a, "tagging"),
            ("DELETE", &a, "tagging"),
            ("GET", &a, "retention"),
            ("PUT", &a, "retention"),
            ("PUT", &a, "legal-hold"),
            ("GET", &a, "torrent"),
            ("POST", &a, "restore"),
            ("POST", &a, "select"),
            ("PUT", &a, "renameObject"),
            ("POST", &a, ""),
            ("PATCH", &a, ""),
            ("OPTIONS", &a, ""),
            ("COPY", &a, ""),
            ("MOVE", &a, ""),
            ("PUT", &a, "partNumber"),
            ("GET", &a, "x-rgw-a"),
            ("PUT", &a, "append"),
            ("GET", &a, "unknown"),
            ("HEAD", &a, "acl"),
            ("PUT", folder, "x"),
            ("GET", &a, "lambdaArn"),
            ("DELETE", &a, "force"),
        ] {
            let mut call = Call::object(method, target);
            if !query.is_empty() {
                call = call.query(query, "");
            }
            if method == "PUT" || method == "POST" {
                call = call.body(bytes(2000));
            }
            let answer = server.send(&key, &call).await;
            let message = answer.refused(501, "NotImplemented");
            assert!(
                method == "HEAD"
                    || message.contains(query) && (!query.is_empty() || message.contains(method)),
                "{message}"
            );
            server.store.saw_nothing();
        }
    }
    // The service itself knows one call.
    for method in ["PUT", "POST", "DELETE", "HEAD"] {
        server.send(&ALICE.hotkey(), &Call::new(method, "/")).await.refused(501, "NotImplemented");
    }
    // A note of SDKs to themselves passes and goes no further.
    server.store.put(&a, "x");
    server.send(&ALICE.hotkey(), &Call::get(&a).query("x-id", "GetObject")).await.ok();
    assert_eq!(server.store.last().query, []);
}

#[tokio::test]
async fn p35_headers_that_widen_rights_are_refused_by_name() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-acl", "bucket-owner-full-control"),
            ("x-amz-grant-read", "uri=http://acs.amazonaws.com/groups/global/AllUsers"),
            ("x-amz-grant-full-control", "id=1"),
            ("x-amz-website-redirect-location", "https://evil.example"),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-bypass-governance-retention", "true"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k"),
            ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "k"),
            ("x-amz-copy-source-server-side-encryption-customer-key", "k"),
            ("x-amz-expected-bucket-owner", "1"),
            ("x-amz-source-expected-bucket-owner", "1"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-mfa", "1 2"),
            ("x-amz-replication-status", "REPLICA"),
            ("x-amz-meta-snowball-auto-extract", "true"),
            ("x-minio-extract", "true"),
            ("x-minio-source-mtime", "1"),
            ("x-rgw-object-count", "1"),
        ] {
            let put = Call::put(&ALICE.file("f"), bytes(2000));
            let mut calls =
                vec![put.clone().header(name, value), put.clone().header(name, value).presigned()];
            if name.starts_with("x-amz-") {
                // As SDKs hoist it into a presigned query: it is judged as the header that it is.
                calls.push(put.clone().presigned().query(&name.replace("x-amz", "X-Amz"), value));
            }
            for call in calls {
                let message = server.send(&key, &call).await.refused(403, "AccessDenied");
                assert!(message.starts_with("HeaderDenied: ") && message.contains(name), "{message}");
                server.store.saw_nothing();
            }
        }
        for (name, value) in
            [("x-amz-write-offset-bytes", "0"), ("x-amz-rename-source", "b/k"), ("x-amz-new-in-2027", "y")]
        {
            let call = Call::put(&ALICE.file("f"), bytes(2000)).header(name, value);
            let answer = server.send(&key, &call).await;
            assert!(answer.refused(501, "NotImplemented").contains(name));
            server.store.saw_nothing();
        }
    }
}

#[tokio::test]
async fn p35_headers_that_describe_pass_and_defaults_are_dropped() {
    let server = TestServer::start().await;
    for (name, key) in ["e", "f"].into_iter().zip(server.both(&ALICE).await) {
        let describing = [
            ("x-amz-meta-note", "n"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-server-side-encryption", "AES256"),
            ("cache-control", "max-age=1"),
            ("content-disposition", "attachment; filename=\"a\""),
            ("content-language", "de"),
            ("content-type", "a/b; c=d"),
            ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
            ("if-none-match", "*"),
        ];
        let mut call = Call::put(&ALICE.file(name), bytes(2000)).header("x-amz-acl", "private");
        for (name, value) in describing {
            call = call.header(name, value);
        }
        server.send(&key, &call.signed("user-agent", "test").signed("x-custom", "1")).await.ok();
        let seen = server.store.last();
        for (name, value) in describing {
            assert_eq!(seen.header(name), Some(value), "{name}");
        }
        for name in ["x-amz-acl", "user-agent", "x-custom", "expect", "accept-encoding"] {
            assert!(seen.header(name).is_none(), "{name}");
        }
        // Hoisted into the query, what describes becomes the header that it stands for.
        let call = Call::put(&ALICE.file("g"), bytes(2000)).presigned().query("X-Amz-Meta-Note", "hoisted ü");
        let answer = server.send(&key, &call).await;
        answer.ok();
        let seen = server.store.last();
        assert_eq!(seen.headers.get("x-amz-meta-note").unwrap().as_bytes(), "hoisted ü".as_bytes());
        assert_eq!(seen.query, []);
        server.store.forget();
        let twice = Call::put(&ALICE.file("g"), bytes(2000)).presigned().query("X-Amz-Meta-Note", "a");
        server.send(&key, &twice.header("x-amz-meta-note", "b")).await.refused(400, "InvalidArgument");
        let source = Call::put(&ALICE.file("g"), "")
            .presigned()
            .query("X-Amz-Copy-Source", &format!("data-universe/{}", BOB.file("f")));
        server.send(&key, &source).await.refused(403, "AccessDenied");
        server.store.saw_nothing();
    }
}

/// All that a client can tell of an answer but its time and ids.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let ids = ["x-amz-request-id", "date", "content-length"];
    let headers = answer.headers.iter().filter(|(name, _)| !ids.contains(&name.as_str())).cloned().collect();
    let id = answer.get("x-amz-request-id").unwrap();
    (
        answer.status,
        headers,
        answer.text().replace(id, "ID").replace("missing", "EITHER").replace("present", "EITHER"),
    )
}

#[tokio::test]
async fn p36_nobody_learns_what_exists_elsewhere() {
    let server = TestServer::start().await;
    server.store.put(&BOB.file("present"), bytes(2000));
    server.store.put("present", "x");
    for key in server.both(&ALICE).await {
        for folder in [BOB.file(""), String::new()] {
            let call_of = |name: &str| {
                let name = format!("{folder}{name}");
                let source = format!("data-universe/{name}");
                [
                    Call::get(&name),
                    Call::head(&name),
                    Call::get(&name).presigned(),
                    Call::get(&name).signed("range", "bytes=0-1"),
                    Call::get(&name).header("if-none-match", "*"),
                    Call::delete(&name),
                    Call::put(&name, bytes(2000)),
                    Call::get(&name).query("uploadId", "u"),
                    Call::put(&ALICE.file("copy"), "").header("x-amz-copy-source", source),
                    Call::get("").query("prefix", &name),
                    Call::get("").query("prefix", &name).query("delimiter", "/"),
                ]
            };
            for (present, missing) in call_of("present").iter().zip(call_of("missing")) {
                let (present, missing) =
                    (server.send(&key, present).await, server.send(&key, &missing).await);
                assert_eq!(present.status, 403);
                assert_eq!(told(&present), told(&missing));
                server.store.saw_nothing();
            }
        }
        // In one's own folder, what is not there is not there.
        server.send(&key, &Call::get(&ALICE.file("missing"))).await.refused(404, "NoSuchKey");
        server.send(&key, &Call::head(&ALICE.file("missing"))).await.refused(404, "");
        server.store.forget();
    }
    let reader = server.session(&VALIDATOR).await;
    server.send(&reader, &Call::get(&BOB.file("missing"))).await.refused(404, "NoSuchKey");
}

#[tokio::test]
async fn p37_an_id_is_no_way_into_anothers_folder() {
    let server = TestServer::start().await;
    server.store.put(&BOB.file("f"), "x");
    let own = ALICE.file("f");
    let complete = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>\
                    </CompleteMultipartUpload>";
    for key in server.both(&ALICE).await {
        for id in [
            "..".to_owned(),
            format!("../../../{}", BOB.file("")),
            // Base64 of `a.../../../bucket/x`, of which MinIO makes a path.
            "YS4uLi8uLi8uLi9idWNrZXQveA".to_owned(),
        ] {
            let version =
                format!("<Delete><Object><Key>{own}</Key><VersionId>{id}</VersionId></Object></Delete>");
            let copy = |call: Call| {
                call.header(
                    "x-amz-copy-source",
                    format!("data-universe/{own}?versionId={}", encode(id.as_bytes(), false)),
                )
            };
            let part = |call: Call| call.query("partNumber", "1").query("uploadId", &id);
            for call in [
                part(Call::put(&own, bytes(2000))),
                part(copy(Call::put(&own, ""))),
                copy(Call::put(&own, "")),
                Call::get(&own).query("uploadId", &id),
                Call::post(&own, complete).query("uploadId", &id),
                Call::delete(&own).query("uploadId", &id),
                Call::get("").query("uploads", "").query("prefix", &own).query("upload-id-marker", &id),
                Call::get(&own).query("versionId", &id),
                Call::get(&own).query("attributes", "").query("versionId", &id),
                Call::delete(&own).query("versionId", &id),
                Call::post("", version.as_str()).query("delete", ""),
            ] {
                server.send(&key, &call).await.refused(400, "InvalidArgument");
            }
            server
                .send(&key, &Call::get(&own).query("versionId", &id).presigned())
                .await
                .refused(400, "InvalidArgument");
        }
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p37_an_upload_id_opens_no_other_key() {
    let server = TestServer::start().await;
    let (a, b) = (server.session(&ALICE).await, server.session(&BOB).await);
    let answer = server.send(&b, &Call::post(&BOB.file("m"), "").query("uploads", "")).await;
    let id = answer.ok().xml().text_of("UploadId").unwrap().to_owned();
    server.store.forget();
    let complete = "<CompleteMultipartUpload>\
        <Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>";
    for call in [
        Call::put(&BOB.file("m"), bytes(2000)).query("partNumber", "1").query("uploadId", &id),
        Call::get(&BOB.file("m")).query("uploadId", &id),
        Call::delete(&BOB.file("m")).query("uploadId", &id),
        Call::post(&BOB.file("m"), complete).query("uploadId", &id),
    ] {
        server.send(&a, &call).await.refused(403, "AccessDenied");
        server.store.saw_nothing();
    }
    // Under one's own key the store does not know it.
    let part = Call::put(&ALICE.file("m"), bytes(2000)).query("partNumber", "1").query("uploadId", &id);
    server.send(&a, &part).await.refused(404, "NoSuchUpload");
    // B may take it back.
    assert_eq!(server.send(&b, &Call::delete(&BOB.file("m")).query("uploadId", &id)).await.status, 204);
    assert_eq!(server.store.uploads(), 0);
}

#[tokio::test]
async fn p53_storage_classes_are_those_of_the_operator() {
    let store = "storage_classes = [\"STANDARD\", \"STANDARD_IA\"]".to_owned();
    for (setup, infrequent) in [(Setup::default(), false), (Setup { store, ..Setup::default() }, true)] {
        let server = TestServer::with(setup).await;
        server.store.put(&ALICE.file("f"), bytes(2000));
        let source = format!("/data-universe/{}", ALICE.file("f"));
        for key in server.both(&ALICE).await {
            server.store.forget();
            for call in [
                Call::put(&ALICE.file("a"), bytes(2000)),
                Call::put(&ALICE.file("a"), "").header("x-amz-copy-source", source.as_str()),
                Call::post(&ALICE.file("a"), "").query("uploads", ""),
            ] {
                for (class, is_offered) in [
                    ("STANDARD", true),
                    ("STANDARD_IA", infrequent),
                    ("DEEP_ARCHIVE", false),
                    ("GLACIER", false),
                    ("standard", false),
                    ("", false),
                ] {
                    let call = call.clone().header("x-amz-storage-class", class);
                    for call in [call.clone(), call.presigned()] {
                        let answer = server.send(&key, &call).await;
                        if is_offered {
                            answer.ok();
                            assert_eq!(server.store.last().header("x-amz-storage-class"), Some(class));
                            server.store.forget();
                        } else {
                            answer.refused(400, "InvalidStorageClass");
                            server.store.saw_nothing();
                        }
                    }
                }
                server.send(&key, &call).await.ok();
                assert_eq!(server.store.last().header("x-amz-storage-class"), None);
                server.store.forget();
            }
            // Whoever may not write there learns no more than that.
            let elsewhere = Call::put(&BOB.file("a"), bytes(2000)).header("x-amz-storage-class", "GLACIER");
            server.send(&key, &elsewhere).await.refused(403, "AccessDenied");
            server.store.saw_nothing();
        }
    }
}
