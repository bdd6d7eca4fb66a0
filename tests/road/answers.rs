//! P36, P44, P48, P49, P51, P63: what comes back, unchanged or rewritten.

use crate::harness::{
    client::{Call, Connection},
    server::{ALICE, Setup, TestServer, bytes},
    sigv4::encode,
    store::{self, LAST_MODIFIED, Reply},
};

#[tokio::test]
async fn p44_a_head_keeps_its_length_and_nothing_is_recoded() {
    let server = TestServer::start().await;
    server.store.put_with(
        &ALICE.file("f"),
        bytes(123_456),
        &[("content-encoding", "gzip"), ("content-type", "a/b")],
    );
    for key in server.both(&ALICE).await {
        let mut connection = server.connect().await;
        for round in 0..3 {
            // On one connection: a HEAD's length is no body.
            let head = server
                .sign(&key, &Call::head(&ALICE.file("f")).header("x-amz-meta-round", round.to_string()));
            connection.send_call(&head).await;
            let answer = connection.answer("HEAD").await;
            assert_eq!((answer.status, answer.get("content-length")), (200, Some("123456")));
            let get =
                server.sign(&key, &Call::get(&ALICE.file("f")).smuggled("accept-encoding", "gzip, br, zstd"));
            connection.send_call(&get).await;
            let answer = connection.answer("GET").await;
            assert_eq!(answer.get("content-encoding"), Some("gzip"));
            assert_eq!(answer.get("content-length"), Some("123456"));
            assert!(answer.ok().body == bytes(123_456));
            assert!(server.store.last().header("accept-encoding").is_none());
        }
    }
}

#[tokio::test]
async fn p63_a_success_passes_byte_for_byte_but_for_what_the_store_says_of_itself() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let document = "<?xml version='1.0'?>\
        <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\r\n\
        <x:Own a='1'>&#x41;\t</x:Own><ETag>&quot;e&quot;</ETag></ListBucketResult>\n";
    server.store.script(move |seen| {
        seen.key.is_empty().then(|| {
            Reply::new(200)
                .header("Content-Type", "application/xml;charset=own")
                .header("X-Amz-Request-Id", "STORE-ID")
                .header("x-amz-id-2", "abc/+=")
                .header("ETag", "\"odd, etag\"")
                .header("Last-Modified", LAST_MODIFIED)
                .header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")
                .header("x-amz-version-id", "v.1_~")
                .header("x-amz-meta-own", "Kept  As   It Is")
                .header("x-amz-meta-repeated", "1")
                .header("x-amz-meta-repeated", "2")
                .header("X-Unknown-Header", "1")
                .header("server", "StoreOwn/1.0")
                .header("x-minio-deployment-id", "1")
                .header("x-accel-buffering", "no")
                .header("set-cookie", "sticky=1")
                .header("location", "http://store/")
                .header("date", LAST_MODIFIED)
                .body(document)
        })
    });
    let answer = server.send(&key, &Call::get("").query("prefix", &ALICE.file(""))).await;
    assert_eq!(answer.ok().text(), document);
    for (name, value) in [
        ("content-type", "application/xml;charset=own"),
        ("x-amz-request-id", "STORE-ID"),
        ("etag", "\"odd, etag\""),
        ("last-modified", LAST_MODIFIED),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("x-amz-version-id", "v.1_~"),
        ("x-amz-meta-own", "Kept  As   It Is"),
    ] {
        assert_eq!(answer.get(name), Some(value));
    }
    let repeated: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-amz-meta-repeated").collect();
    assert_eq!(repeated.len(), 2);
    for name in [
        "x-amz-id-2",
        "x-unknown-header",
        "server",
        "x-minio-deployment-id",
        "x-accel-buffering",
        "set-cookie",
        "location",
    ] {
        assert_eq!(answer.get(name), None, "{name}");
    }
    // The date is that of this server's answer.
    assert_ne!(answer.get("date"), Some(LAST_MODIFIED));
    // In lower case, as some clients look for them.
    assert!(answer.headers.iter().all(|(name, _)| *name == name.to_lowercase()), "{:?}", answer.headers);
}

#[tokio::test]
async fn p63_no_list_names_the_stores_bucket_or_account() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let account = "<ID>data-universe</ID><DisplayName>data-universe</DisplayName>";
    let own = "<ID>STOREID</ID><DisplayName>store-admin</DisplayName>";
    let folder = ALICE.file("");
    let list = |name: &str, value: &str| Call::get("").query("prefix", &folder).query(name, value);
    for (call, document) in [
        (
            list("list-type", "2").query("fetch-owner", "true"),
            "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"u\"><Name>BUCKET</Name><Contents>\
             <Key>a &amp; b</Key><Owner>OWN</Owner></Contents>\r\n<Contents><Key>BUCKET</Key></Contents>\
             </ListBucketResult>",
        ),
        (
            list("max-keys", "7"),
            "<ListBucketResult>\n <Name>BUCKET</Name>\n <Contents><Owner>OWN</Owner>\
             <ETag>&quot;e&quot;</ETag></Contents>\n</ListBucketResult>",
        ),
        (
            list("uploads", ""),
            "<ListMultipartUploadsResult><Bucket>BUCKET</Bucket><Upload><Initiator>OWN</Initiator>\
             <Owner>OWN</Owner></Upload></ListMultipartUploadsResult>",
        ),
        (
            Call::get(&ALICE.file("f")).query("uploadId", "1"),
            "<ListPartsResult><Bucket>BUCKET</Bucket><Key>k</Key><Initiator>OWN</Initiator>\
             <Owner>OWN</Owner><Part><ETag>e</ETag></Part></ListPartsResult>",
        ),
    ] {
        let told = document.replace("OWN", own).replace(">BUCKET</Name", ">store-bucket</Name");
        let told = told.replace(">BUCKET</Bucket", ">store-bucket</Bucket");
        for pieces in [1, 7, 60] {
            server.store.unscript();
            let chunks = told.as_bytes().chunks(told.len().div_ceil(pieces));
            let reply = chunks.fold(Reply::new(200), |reply, chunk| reply.piece(1, chunk.to_vec()));
            server.store.always(reply);
            let answer = server.send(&key, &call).await;
            let expected = document.replace("OWN", account).replace(">BUCKET</Name", ">data-universe</Name");
            let expected = expected.replace(">BUCKET</Bucket", ">data-universe</Bucket");
            assert_eq!(answer.ok().text(), expected);
        }
        assert_eq!(server.store.last().query("fetch-owner"), None);
        // With a length of the store's, which no longer holds.
        server.store.unscript();
        server.store.always(Reply::new(200).body(told.clone()));
        let answer = server.send(&key, &call).await;
        assert_eq!(answer.get("content-length"), None);
        assert!(!answer.ok().text().contains("STOREID"));
    }
}

#[tokio::test]
async fn p63_the_answers_of_an_upload_name_this_server() {
    let setup = Setup { server: "hosts = [\"s3.example.com\"]".to_owned(), ..Setup::default() };
    let server = TestServer::with(setup).await;
    let key = server.session(&ALICE).await;
    let name = ALICE.file("a b&c");
    let upload = Call::post(&name, "").query("uploads", "");
    server.store.script(|seen| {
        seen.query("uploads").map(|_| {
            Reply::new(200).body(
                "<InitiateMultipartUploadResult><Bucket>store-bucket</Bucket><Key>k</Key>\
                 <UploadId>up</UploadId></InitiateMultipartUploadResult>",
            )
        })
    });
    let answer = server.send(&key, &upload).await;
    assert!(answer.ok().text().contains("<Bucket>data-universe</Bucket><Key>k</Key><UploadId>up</UploadId>"));

    server.store.unscript();
    server.store.script(|seen| {
        (seen.method == "GET").then(|| {
            Reply::new(200).body(
                "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber>\
                 <ETag>e</ETag><Size>2000</Size></Part></ListPartsResult>",
            )
        })
    });
    server.store.script(|seen| {
        (seen.method == "POST").then(|| {
            Reply::new(200)
                .header("location", "http://store:9000/store-bucket/k")
                .piece(0, "<?xml version=\"1.0\"?>")
                .piece(5, " ")
                .piece(5, " \n<CompleteMultipartUploadResult><Location>http://store:9000/store-buc")
                .piece(5, "ket/k</Location><Bucket>store-bucket</Bucket><Key>k</Key><ETag>\"e-1\"</ETag>")
                .piece(5, "<ChecksumCRC32>AAAAAA==</ChecksumCRC32></CompleteMultipartUploadResult>")
        })
    });
    let document = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>\
                    </CompleteMultipartUpload>";
    for (host, path, location) in [
        (server.host(), "/data-universe/", format!("http://{}/data-universe/", server.host())),
        ("s3.example.com".to_owned(), "/data-universe/", "https://s3.example.com/data-universe/".to_owned()),
        ("data-universe.s3.example.com".to_owned(), "/", "http://data-universe.s3.example.com/".to_owned()),
    ] {
        let call = Call::new("POST", &format!("{path}{name}")).body(document).query("uploadId", "up");
        let call = call.host(&host);
        let answer = server.send(&key, &call).await;
        let all = format!("{:?} {}", answer.headers, answer.ok().text());
        assert!(!all.contains("store"), "{all}");
        let root = answer.xml();
        assert_eq!(root.text_of("Bucket"), Some("data-universe"));
        assert_eq!(root.text_of("ChecksumCRC32"), Some("AAAAAA=="));
        let location = format!("{location}{}", encode(name.as_bytes(), true));
        assert_eq!(root.text_of("Location"), Some(location.as_str()));
    }
}

#[tokio::test]
async fn p46_p63_small_documents_keep_a_length_where_the_store_tells_one() {
    let server = TestServer::start().await;
    let (name, source) = (ALICE.file("f"), ALICE.file("source"));
    server.store.put(&source, bytes(2000));
    let copied = format!("/data-universe/{source}");
    let copy = Call::put(&name, "").header("x-amz-copy-source", &copied);
    let parts = "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber>\
                 <ETag>e</ETag><Size>2000</Size></Part></ListPartsResult>";
    let complete = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>\
                    </CompleteMultipartUpload>";
    let result = "<?xml version=\"1.0\"?>\n<Result><Location>http://store:9000/store-bucket/k</Location>\
                  <Bucket>store-bucket</Bucket><ETag>e</ETag></Result>";
    for key in server.both(&ALICE).await {
        for call in [
            copy.clone(),
            copy.clone().query("partNumber", "1").query("uploadId", "u"),
            Call::post(&name, complete).query("uploadId", "u"),
            Call::post(&name, "").query("uploads", ""),
        ] {
            let script = |reply: Reply| {
                server.store.unscript();
                server.store.script(move |seen| match seen.method.as_str() {
                    "HEAD" => None,
                    "GET" => Some(Reply::new(200).body(parts)),
                    _ => Some(reply.clone()),
                });
            };
            // The names in it are others, and so is its length.
            script(Reply::new(200).header("content-type", "application/xml").body(result));
            let answer = server.send(&key, &call).await;
            let length = answer.body.len().to_string();
            assert_eq!(answer.ok().get("content-length"), Some(length.as_str()));
            assert_eq!(answer.get("transfer-encoding"), None);
            assert_eq!(answer.xml().text_of("ETag"), Some("e"));
            // A failure of the store in the middle of it is no success.
            script(Reply::new(200).header("content-length", "500").piece(0, result).broken());
            server.send(&key, &call).await.refused(503, "ServiceUnavailable");
            script(Reply::new(200).header("content-length", "0"));
            assert_eq!(server.send(&key, &call).await.ok().get("content-length"), Some("0"));
            // One without a length is sent on as it comes, and so is a large one.
            script(Reply::new(200).piece(0, "<?xml version=\"1.0\"?>").piece(5, " ").piece(5, "<Result/>"));
            let answer = server.send(&key, &call).await;
            assert_eq!(answer.ok().get("content-length"), None);
            assert!(answer.text().ends_with(" <Result/>"), "{}", answer.text());
            script(Reply::new(200).body(format!("<Result>{}</Result>", " ".repeat(20_000))));
            let answer = server.send(&key, &call).await;
            assert_eq!((answer.ok().get("content-length"), answer.body.len()), (None, 20_017));
        }
        // An error in a 200 is told with its own length.
        server.store.unscript();
        server.store.script(|seen| {
            (seen.method != "HEAD").then(|| Reply { status: 200, ..Reply::error(500, "InternalError", "m") })
        });
        let answer = server.send(&key, &copy).await;
        let length = answer.body.len().to_string();
        assert_eq!((answer.status, answer.get("content-length")), (200, Some(length.as_str())));
        assert_eq!(answer.xml().text_of("Code"), Some("InternalError"), "{}", answer.text());
        server.store.unscript();
    }
}

#[tokio::test]
async fn p48_ranges_and_conditions_pass() {
    let server = TestServer::start().await;
    let data = bytes(10_000);
    server.store.put(&ALICE.file("f"), data.clone());
    let etag = format!("\"{}\"", store::md5_hex(&data));
    for key in server.both(&ALICE).await {
        let get = Call::get(&ALICE.file("f"));
        for range in [
            get.clone().signed("range", "bytes=100-199"),
            get.clone().presigned().smuggled("Range", "bytes=100-199"),
            get.clone().smuggled("range", "bytes=100-199"),
        ] {
            let answer = server.send(&key, &range).await;
            assert_eq!((answer.status, answer.get("content-range")), (206, Some("bytes 100-199/10000")));
            assert_eq!(answer.body, data[100..200]);
        }
        let answer = server.send(&key, &get.clone().signed("range", "bytes=10000-")).await;
        answer.refused(416, "InvalidRange");
        assert_eq!(answer.get("content-range"), Some("bytes */10000"));
        let answer = server.send(&key, &get.clone().header("if-none-match", &etag)).await;
        assert_eq!((answer.status, answer.get("etag"), answer.body.len()), (304, Some(etag.as_str()), 0));
        server
            .send(&key, &get.clone().header("if-match", "\"other\""))
            .await
            .refused(412, "PreconditionFailed");
        server.send(&key, &get.clone().header("if-match", &etag)).await.ok();
        let call = get
            .clone()
            .header("if-modified-since", LAST_MODIFIED)
            .header("if-unmodified-since", LAST_MODIFIED)
            .header("x-amz-checksum-mode", "ENABLED")
            .query("partNumber", "1")
            .query("versionId", "v")
            .query("response-content-type", "a/b");
        server.send(&key, &call).await.ok();
        let seen = server.store.last();
        for name in ["if-modified-since", "if-unmodified-since", "x-amz-checksum-mode"] {
            assert!(seen.header(name).is_some(), "{name}");
        }
        assert_eq!(seen.query("response-content-type"), Some("a/b"));
        assert_eq!((seen.query("partNumber"), seen.query("versionId")), (Some("1"), Some("v")));
    }
    // A 304 leaves the connection as it was.
    let mut connection = server.connect().await;
    for call in [Call::get(&ALICE.file("f")).header("if-none-match", &etag), Call::get(&ALICE.file("f"))] {
        connection.send_call(&server.sign(&ALICE.hotkey(), &call)).await;
        connection.answer("GET").await;
    }
}

#[tokio::test]
async fn p49_every_answer_has_an_id_and_refusals_are_s3s() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let mut ids = std::collections::HashSet::new();
    for call in [
        Call::get("").query("location", ""),
        Call::get(&ALICE.file("../x")),
        Call::get("data/x/"),
        Call::delete(&ALICE.file("f")),
        Call::get("").query("prefix", "<&>\"'"),
    ] {
        let answer = server.send(&key, &call).await;
        assert!(ids.insert(answer.get("x-amz-request-id").unwrap().to_owned()));
        if answer.status >= 400 {
            answer.refused(answer.status, &answer.element("Code").unwrap());
        }
    }
    // The resource is told as it was named, and cannot become markup.
    let call = Call::get("a<b>&\"'").spelled("/data-universe/a%3Cb%3E&\"'");
    let answer = server.send(&key, &call).await;
    answer.refused(403, "AccessDenied");
    assert!(answer.element("Resource").unwrap().starts_with("/data-universe/a%3Cb%3E&"));
}

#[tokio::test]
async fn p51_the_stores_words_about_itself_never_reach_a_client() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let own = server.store.address.to_string();
    for (status, code, message, told, told_code) in [
        (403, "SignatureDoesNotMatch", "the signature", 503, "ServiceUnavailable"),
        (403, "InvalidAccessKeyId", "AKSTOREOWNKEY is unknown", 503, "ServiceUnavailable"),
        (403, "AccessDenied", "Access Denied", 503, "ServiceUnavailable"),
        (403, "RequestTimeTooSkewed", "skew", 503, "ServiceUnavailable"),
        (400, "AuthorizationHeaderMalformed", "region", 503, "ServiceUnavailable"),
        (400, "ExpiredToken", "token", 503, "ServiceUnavailable"),
        (404, "NoSuchBucket", "The bucket store-bucket does not exist", 503, "ServiceUnavailable"),
        (301, "PermanentRedirect", "elsewhere", 503, "ServiceUnavailable"),
        (307, "TemporaryRedirect", "elsewhere", 503, "ServiceUnavailable"),
        (400, "InvalidArgument", "see AKSTOREOWNKEY", 400, "InvalidArgument"),
        (400, "InvalidArgument", "in store-bucket", 400, "InvalidArgument"),
        (400, "InvalidRequest", "AWS4-HMAC-SHA256 20261121", 400, "InvalidRequest"),
        (500, "InternalError", "at ADDRESS", 500, "InternalError"),
        (503, "SlowDown", "Please reduce your request rate.", 503, "SlowDown"),
        (409, "OperationAborted", "A conflicting operation", 409, "OperationAborted"),
        (501, "NotImplemented", "not here", 501, "NotImplemented"),
    ] {
        let reply =
            Reply::error(status, code, &message.replace("ADDRESS", &own)).header("location", "http://store/");
        server.store.unscript();
        server.store.always(reply);
        for call in [
            Call::get(&ALICE.file("f")),
            Call::put(&ALICE.file("f"), bytes(2000)),
            Call::put(&ALICE.file("f"), bytes(50_000)),
            Call::get("").query("prefix", &ALICE.file("")),
            Call::post(&ALICE.file("f"), "").query("uploads", ""),
            Call::delete(&ALICE.file("f")),
        ] {
            let answer = server.send(&key, &call).await;
            answer.refused(told, told_code);
            assert_eq!(answer.get("retry-after").is_some(), matches!(told, 500 | 503), "{told} {told_code}");
            let all = format!("{:?} {}", answer.headers, answer.text());
            for hidden in [
                store::ACCESS_KEY,
                store::BUCKET,
                "StringToSign",
                "AWS4-HMAC",
                &own,
                "http://store/",
                "HostId",
            ] {
                assert!(!all.contains(hidden), "{hidden} in {all}");
            }
        }
        let answer = server.send(&key, &Call::head(&ALICE.file("f"))).await;
        assert!(answer.status == told || answer.status >= 400);
        assert!(answer.body.is_empty() && answer.get("location").is_none());
    }
    // A 404 of something that is no S3 at all is not "no such key".
    for (status, body) in [(404, "<html>nginx</html>"), (502, "bad gateway"), (400, ""), (200 + 100, "")] {
        server.store.unscript();
        server.store.always(Reply::new(status).body(body));
        server.send(&key, &Call::get(&ALICE.file("f"))).await.refused(503, "ServiceUnavailable");
    }
}

#[tokio::test]
async fn p51_an_errors_elements_are_s3s_and_name_nothing_of_the_stores() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let name = ALICE.file("f");
    let document = format!(
        "<Error><Code>InvalidRange</Code><Message>m</Message><BucketName>store-bucket</BucketName>\
         <Key>{name}</Key><ActualObjectSize>9</ActualObjectSize><RangeRequested>bytes=10-</RangeRequested>\
         <Resource>/store-bucket/{name}</Resource><HostId>host</HostId><StringToSign>s</StringToSign>\
         <ArgumentValue>AKSTOREOWNKEY</ArgumentValue></Error>"
    );
    let reply = Reply::new(416)
        .header("content-range", "bytes */9")
        .header("etag", "\"e\"")
        .header("last-modified", LAST_MODIFIED)
        .header("server", "StoreOwn/1.0")
        .body(document);
    server.store.always(reply);
    let answer = server.send(&key, &Call::get(&name).header("range", "bytes=10-")).await;
    answer.refused(416, "InvalidRange");
    for (element, value) in [
        ("BucketName", "data-universe"),
        ("Key", name.as_str()),
        ("ActualObjectSize", "9"),
        ("RangeRequested", "bytes=10-"),
        ("Resource", &format!("/data-universe/{}", encode(name.as_bytes(), true))),
    ] {
        assert_eq!(answer.element(element).as_deref(), Some(value), "{element}");
    }
    for element in ["HostId", "StringToSign", "ArgumentValue"] {
        assert_eq!(answer.element(element), None, "{element}");
    }
    for (header, value) in
        [("content-range", "bytes */9"), ("etag", "\"e\""), ("last-modified", LAST_MODIFIED)]
    {
        assert_eq!(answer.get(header), Some(value), "{header}");
    }
    assert_eq!(answer.get("server"), None);

    // The state of an object is no outage.
    server.store.unscript();
    let document = "<Error><Code>InvalidObjectState</Code><Message>archived</Message>\
                    <StorageClass>GLACIER</StorageClass></Error>";
    server.store.always(Reply::new(403).body(document));
    let answer = server.send(&key, &Call::get(&name)).await;
    answer.refused(403, "InvalidObjectState");
    assert_eq!(answer.element("StorageClass").as_deref(), Some("GLACIER"));

    // Nor is a name that the store does not take as a copy's source.
    let copy = Call::put(&name, "").header("x-amz-copy-source", format!("/data-universe/{name}"));
    for (status, told, code) in [
        (400, 400, "InvalidArgument"),
        (405, 400, "InvalidArgument"),
        (403, 503, "ServiceUnavailable"),
        (500, 503, "ServiceUnavailable"),
    ] {
        server.store.unscript();
        server.store.script(move |seen| (seen.method == "HEAD").then(|| Reply::new(status)));
        server.send(&key, &copy).await.refused(told, code);
    }
}

#[tokio::test]
async fn the_operators_listener_is_apart() {
    let server = "admin = \"127.0.0.1:0\"".to_owned();
    let server = TestServer::with(Setup { server, ..Setup::default() }).await;
    let mut admin = Connection::connect(server.admin.unwrap()).await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/snapshot", 200), ("/other", 404)] {
        admin.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
        let answer = admin.answer("GET").await;
        assert_eq!(answer.status, status, "{path}");
        if path == "/snapshot" {
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((&json["hotkeys"], &json["validators"]), (&4.into(), &1.into()));
        }
    }
}
