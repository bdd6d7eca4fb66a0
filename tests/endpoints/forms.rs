//! S3 POST policy uploads (P14).

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use subgate::time::UnixTime;

use crate::harness::{
    client::{Answer, Call, Key},
    server::{ALICE, BOB, BUCKET, Person, REGION, STRANGER, Setup, TestServer, VALIDATOR, bytes},
    sigv4,
    store::Reply,
};

/// A form before it is signed and framed.
#[derive(Clone)]
struct Form {
    fields: Vec<(String, String)>,
    conditions: Vec<Value>,
    seconds: i64,
    file: Vec<u8>,
    filename: String,
    /// After the file, in place of the form's end.
    end: String,
    /// Content-Length less what there is.
    more_bytes: i64,
}

impl Form {
    fn new(key: &str, file: Vec<u8>) -> Self {
        Self {
            fields: vec![("key".into(), key.into())],
            conditions: vec![json!(["starts-with", "$key", ""]), json!({ "bucket": BUCKET })],
            seconds: 600,
            file,
            filename: "a.parquet".into(),
            end: "\r\n--XX--\r\n".into(),
            more_bytes: 0,
        }
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self.conditions.push(json!({ name: value }));
        self
    }

    fn uncovered(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn condition(mut self, condition: Value) -> Self {
        self.conditions.push(condition);
        self
    }

    fn sign(mut self, key: &Key, host: &str) -> Self {
        let now = SystemTime::now();
        let date = UnixTime::from(now).to_amz();
        let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
        self = self
            .field("x-amz-algorithm", key.algorithm())
            .field("x-amz-credential", &format!("{}/{scope}", key.access_key()))
            .field("x-amz-date", &date);
        if let Some(token) = key.token() {
            self = self.field("x-amz-security-token", token);
        } else {
            self = self.condition(json!({ "host": host }));
        }
        self.seal(key)
    }

    fn seal(mut self, key: &Key) -> Self {
        let now = SystemTime::now();
        let ends = UnixTime::from_seconds((UnixTime::from(now).seconds() as i64 + self.seconds) as u64);
        let policy = json!({ "expiration": ends.to_string(), "conditions": self.conditions });
        let policy = STANDARD.encode(policy.to_string());
        let signature = match key {
            Key::Session { secret, .. } => {
                sigv4::hmac_signature(&sigv4::signing_key(secret, now, REGION, "s3"), &policy)
            }
            Key::Hotkey(keypair) => hex::encode(keypair.sign(policy.as_bytes())),
        };
        self.fields.push(("policy".into(), policy));
        self.fields.push(("x-amz-signature".into(), signature));
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            body.extend(
                format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            );
        }
        body.extend(
            format!(
                "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\r\n",
                self.filename
            )
            .bytes(),
        );
        body.extend(&self.file);
        body.extend(self.end.bytes());
        body
    }

    async fn send(&self, server: &TestServer) -> Answer {
        self.send_as(server, "multipart/form-data; boundary=XX", &format!("/{BUCKET}")).await
    }

    async fn send_as(&self, server: &TestServer, content_type: &str, path: &str) -> Answer {
        let body = self.body();
        let length = body.len() as i64 + self.more_bytes;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n\
             content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n",
            server.host()
        );
        let mut connection = server.connect().await;
        let _ = connection.try_send(&[head.as_bytes(), &body].concat()).await;
        if self.more_bytes > 0 {
            connection.shut().await;
        }
        connection.answer("POST").await
    }
}

async fn signed(server: &TestServer, person: &Person, change: impl FnOnce(Form) -> Form) -> Form {
    let form = change(Form::new(&person.file("f"), bytes(3000)));
    form.sign(&server.session(person).await, &server.host())
}

#[tokio::test]
async fn p64_a_form_that_breaks_off_leaves_no_torn_object() {
    let server = TestServer::start().await;
    server.store.keep_torn_uploads();
    let form = Form::new(&ALICE.file("f"), bytes(3_000_000));
    let form = form.sign(&server.session(&ALICE).await, &server.host());
    let body = form.body();
    let head = format!(
        "POST /{BUCKET} HTTP/1.1\r\nhost: {}\r\n\
         content-type: multipart/form-data; boundary=XX\r\ncontent-length: {}\r\n\r\n",
        server.host(),
        body.len()
    );
    let mut connection = server.connect().await;
    connection.send(&[head.as_bytes(), &body[..body.len() / 2]].concat()).await;
    server.store.wait(|seen| !seen.is_empty()).await;
    drop(connection);
    server.store.wait(|seen| seen.iter().any(|seen| seen.torn)).await;
    assert_eq!(server.store.keys(), Vec::<String>::new());
    // And a whole one arrives, with the checksum by which the store can tell it.
    assert_eq!(form.send(&server).await.status, 204);
    assert_eq!(server.store.last().header("x-amz-trailer"), Some("x-amz-checksum-crc32"));
    assert!(server.store.object(&ALICE.file("f")).unwrap().data == bytes(3_000_000));
}

#[tokio::test]
async fn a_form_is_stored_by_either_signature_and_answered_as_s3_does() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for size in [1024, 20_000, 3_000_000] {
            let file = bytes(size);
            let form = Form::new(&ALICE.file("${filename}"), file.clone())
                .field("acl", "private")
                .field("Content-Type", "application/x-parquet")
                .field("x-amz-meta-job", "j1")
                .field("x-amz-storage-class", "STANDARD")
                .uncovered("x-ignore-submit", "Upload")
                .condition(json!(["content-length-range", 1024, 5_368_709_120_u64]))
                .sign(&key, &server.host());
            let answer = form.send(&server).await;
            assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{}", answer.text());
            let stored = server.store.object(&ALICE.file("a.parquet")).unwrap();
            assert_eq!(stored.data, file);
            assert_eq!(answer.get("etag").unwrap().trim_matches('"'), stored.etag.trim_matches('"'));
            assert_eq!(
                answer.get("location").unwrap(),
                format!("http://{}/{BUCKET}/{}", server.host(), ALICE.file("a.parquet"))
            );
            let seen = server.store.last();
            assert_eq!(seen.method, "PUT");
            assert_eq!(seen.header("x-amz-decoded-content-length"), Some(size.to_string().as_str()));
            assert_eq!(seen.header("content-length"), Some(seen.body.len().to_string().as_str()));
            assert_eq!(seen.header("content-type"), Some("application/x-parquet"));
            assert_eq!(seen.header("x-amz-meta-job"), Some("j1"));
            assert_eq!(seen.header("x-amz-storage-class"), Some("STANDARD"));
            for absent in ["x-amz-acl", "policy", "x-amz-security-token", "x-amz-signature"] {
                assert_eq!(seen.header(absent), None);
            }
        }
    }
}

#[tokio::test]
async fn p53_a_form_asks_for_no_other_storage_class_than_a_put() {
    let server = TestServer::start().await;
    for class in ["DEEP_ARCHIVE", "standard"] {
        let form = signed(&server, &ALICE, |form| form.field("x-amz-storage-class", class)).await;
        form.send(&server).await.refused(400, "InvalidStorageClass");
        server.store.saw_nothing();
    }
}

#[tokio::test]
async fn success_is_told_as_asked() {
    let endpoints = "body_idle_seconds = 5\n[endpoints]\nredirect_hosts = [\"app.example.com\"]";
    let server = TestServer::with(Setup { limits: endpoints.into(), ..Setup::default() }).await;
    for (asked, status) in [("200", 200), ("201", 201), ("204", 204), ("500", 204), ("", 204)] {
        let form = signed(&server, &ALICE, |form| form.field("success_action_status", asked)).await;
        let answer = form.send(&server).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 201 {
            let document = answer.xml();
            assert_eq!(
                (document.name.as_str(), document.text_of("Key")),
                ("PostResponse", Some(ALICE.file("f").as_str()))
            );
            assert_eq!(document.text_of("Bucket"), Some(BUCKET));
            assert!(document.text_of("ETag").is_some() && document.text_of("Location").is_some());
        }
    }
    let form = signed(&server, &ALICE, |form| {
        form.field("success_action_redirect", "https://app.example.com/done?a=1")
    })
    .await;
    let answer = form.send(&server).await;
    assert_eq!(answer.status, 303);
    let location = answer.get("location").unwrap();
    assert!(
        location.starts_with(&format!("https://app.example.com/done?a=1&bucket={BUCKET}&key=data%2Fx%2F")),
        "{location}"
    );
    server.store.forget();
    for target in [
        "https://evil.example.com/",
        "javascript:alert(1)",
        "//app.example.com/",
        "https://app.example.com@evil.example.com/",
        "https://app.example.com:8443/",
    ] {
        let form = signed(&server, &ALICE, |form| form.field("success_action_redirect", target)).await;
        form.send(&server).await.refused(403, "AccessDenied");
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p14_the_object_authorisation_is_that_of_a_put() {
    let server = TestServer::start().await;
    let session = server.session(&ALICE).await;
    for (key, status, code) in [
        (BOB.file("f"), 403, "AccessDenied"),
        ("data/x/f".to_owned(), 403, "AccessDenied"),
        (ALICE.file("../f"), 400, "InvalidArgument"),
        (ALICE.file("a//b"), 400, "InvalidArgument"),
        (format!("/{}", ALICE.file("f")), 400, "InvalidArgument"),
        (String::new(), 400, "UserKeyMustBeSpecified"),
        (ALICE.file(&"k".repeat(1024)), 400, "KeyTooLongError"),
    ] {
        Form::new(&key, bytes(2000)).sign(&session, &server.host()).send(&server).await.refused(status, code);
    }
    for filename in ["../x", "a/../../b", "..\\\\x", "a/./b"] {
        let mut form = Form::new(&ALICE.file("${filename}"), bytes(2000)).sign(&session, &server.host());
        form.filename = filename.into();
        form.send(&server).await.refused(400, "InvalidArgument");
    }
    let validator = server.session(&VALIDATOR).await;
    Form::new(&ALICE.file("f"), bytes(2000))
        .sign(&validator, &server.host())
        .send(&server)
        .await
        .refused(403, "AccessDenied");
    let form = Form::new(&STRANGER.file("f"), bytes(2000)).sign(&STRANGER.hotkey(), &server.host());
    assert!(form.send(&server).await.refused(403, "AccessDenied").starts_with("NotRegistered"));
    server.store.saw_nothing();
    // A path in the client's file name is no part of the key.
    let mut form = Form::new(&ALICE.file("${filename}"), bytes(2000)).sign(&session, &server.host());
    form.filename = "C:\\dir\\b.parquet".into();
    assert_eq!(form.send(&server).await.status, 204);
    assert!(server.store.object(&ALICE.file("b.parquet")).is_some());
}

#[tokio::test]
async fn p14_conditions_and_bounds_hold() {
    let server = TestServer::start().await;
    let denied = async |form: Form, why: &str| {
        let message = form.send(&server).await.refused(403, "AccessDenied");
        assert!(message.contains(why), "{message}");
    };
    denied(signed(&server, &ALICE, |form| form.uncovered("x-amz-meta-a", "b")).await, "Extra input fields")
        .await;
    denied(
        signed(&server, &ALICE, |form| form.condition(json!(["eq", "$key", "other"]))).await,
        "Policy Condition failed",
    )
    .await;
    denied(
        signed(&server, &ALICE, |form| form.condition(json!({ "bucket": "other" }))).await,
        "Policy Condition failed",
    )
    .await;
    denied(
        signed(&server, &ALICE, |form| form.condition(json!({ "acl": "private" }))).await,
        "Policy Condition failed",
    )
    .await;
    denied(signed(&server, &ALICE, |form| Form { seconds: -1, ..form }).await, "Policy expired").await;
    denied(signed(&server, &ALICE, |form| form.field("acl", "public-read")).await, "HeaderDenied").await;
    denied(signed(&server, &ALICE, |form| form.field("tagging", "<Tagging/>")).await, "HeaderDenied").await;
    let copy = signed(&server, &ALICE, |form| form.field("x-amz-copy-source", "/b/k")).await;
    copy.send(&server).await.refused(501, "NotImplemented");
    for (size, condition, code) in [
        (1023, json!(["content-length-range", 0, 5000]), "EntityTooSmall"),
        (1999, json!(["content-length-range", 2000, 5000]), "EntityTooSmall"),
        (5001, json!(["content-length-range", 2000, 5000]), "EntityTooLarge"),
    ] {
        let form =
            signed(&server, &ALICE, |form| Form { file: bytes(size), ..form }.condition(condition)).await;
        form.send(&server).await.refused(400, code);
    }
    let both = json!(["content-length-range", 1, 2000]);
    let form = signed(&server, &ALICE, |form| {
        form.condition(both).condition(json!(["content-length-range", 1, 9999]))
    })
    .await;
    form.send(&server).await.refused(400, "EntityTooLarge");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p63_a_form_is_told_of_its_object_what_a_put_is() {
    let server = TestServer::start().await;
    let told = [
        ("x-amz-checksum-sha512", "c2hhNTEy"),
        ("x-amz-checksum-md5", "bWQ1"),
        ("x-amz-checksum-xxhash64", "eHhoYXNoNjQ="),
        ("x-amz-checksum-xxhash3", "eHhoYXNoMw=="),
        ("x-amz-checksum-xxhash128", "eHhoYXNoMTI4"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("x-amz-version-id", "v1"),
        ("etag", "\"e\""),
    ];
    let reply = told.into_iter().fold(Reply::new(200), |reply, (name, value)| reply.header(name, value));
    let own = [("x-amz-id-2", "host"), ("server", "MinIO"), ("content-length", "0")];
    server.store.always(own.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value)));
    let key = server.session(&ALICE).await;
    let by_form = signed(&server, &ALICE, |form| form.field("success_action_status", "201")).await;
    let by_form = by_form.send(&server).await;
    let by_put = server.send(&key, &Call::put(&ALICE.file("f"), bytes(3000))).await;
    assert_eq!((by_form.status, by_put.status), (201, 200), "{}", by_form.text());
    for answer in [&by_form, &by_put] {
        for (name, value) in told {
            assert_eq!(answer.get(name), Some(value), "{name}");
        }
        assert_eq!((answer.get("x-amz-id-2"), answer.get("server")), (None, None));
        assert_eq!(answer.get("content-length"), Some(answer.body.len().to_string().as_str()));
    }
}

#[tokio::test]
async fn s10_p22_a_form_has_the_sizes_of_a_put_and_puts_no_marker() {
    let small = "[limits.small_files]\nnames = [\"_SUCCESS\"]\nobject_bytes_min = 2".to_owned();
    let server = TestServer::with(Setup { limits: small, ..Setup::default() }).await;
    for key in server.both(&ALICE).await {
        let form = |name: &str, length: usize| Form::new(name, bytes(length)).sign(&key, &server.host());
        for (name, length) in [
            (ALICE.file("_SUCCESS"), 1),
            (ALICE.file("f"), 1023),
            (ALICE.file("dir/"), 0),
            (ALICE.file(""), 0),
        ] {
            form(&name, length).send(&server).await.refused(400, "EntityTooSmall");
        }
        for above in ["data/", "data/x/"] {
            for length in [0, 2000] {
                form(above, length).send(&server).await.refused(403, "AccessDenied");
            }
        }
        server.store.saw_nothing();
        for (name, length) in [(ALICE.file("_SUCCESS"), 2), (ALICE.file("dir/"), 1024)] {
            assert_eq!(form(&name, length).send(&server).await.status, 204);
            assert_eq!(server.store.object(&name).unwrap().data, bytes(length));
        }
        server.store.forget();
    }
}

#[tokio::test]
async fn p62_a_policy_without_a_bucket_counts_at_none() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for conditions in [vec![], vec![json!(["starts-with", "$bucket", ""])]] {
            let mut form = Form::new(&ALICE.file("f"), bytes(2000));
            form.conditions.retain(|condition| condition.get("bucket").is_none());
            form.conditions.extend(conditions);
            let answer = form.sign(&key, &server.host()).send(&server).await;
            assert!(answer.refused(403, "AccessDenied").contains("bucket"));
        }
    }
    server.store.saw_nothing();
}

#[tokio::test]
async fn p14_false_signatures_are_refused() {
    let server = TestServer::start().await;
    let host = server.host();
    for key in server.both(&ALICE).await {
        let good = Form::new(&ALICE.file("f"), bytes(2000)).sign(&key, &host);
        let changed = |name: &str, value: Option<&str>| {
            let mut form = good.clone();
            form.fields.retain(|(other, _)| other != name);
            form.fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            form
        };
        let zeros = "0".repeat(good.fields.last().unwrap().1.len());
        changed("x-amz-signature", Some(&zeros)).send(&server).await.refused(403, "SignatureDoesNotMatch");
        let other =
            Form::new(&ALICE.file("f"), bytes(2000)).condition(json!({ "acl": "x" })).sign(&key, &host);
        let policy = other.fields.iter().find(|(name, _)| name == "policy").unwrap().1.clone();
        changed("policy", Some(&policy)).send(&server).await.refused(403, "SignatureDoesNotMatch");
        changed("policy", None).send(&server).await.refused(403, "AccessDenied");
        for name in ["x-amz-signature", "x-amz-date", "x-amz-credential", "x-amz-algorithm"] {
            changed(name, None).send(&server).await.refused(400, "InvalidArgument");
        }
        let mut twice = good.clone();
        twice.fields.push(("KEY".into(), BOB.file("f")));
        twice.send(&server).await.refused(400, "InvalidArgument");
    }
    // A hotkey's own policy is for the server it names.
    let elsewhere = Form::new(&ALICE.file("f"), bytes(2000)).sign(&ALICE.hotkey(), "s3.elsewhere.example");
    assert!(elsewhere.send(&server).await.refused(403, "AccessDenied").starts_with("HostDenied"));
    server.store.saw_nothing();
}

#[tokio::test]
async fn p14_a_hotkeys_own_policy_holds_its_date() {
    let server = TestServer::start().await;
    let now = UnixTime::from(SystemTime::now());
    let (date, other) = (now.to_amz(), UnixTime::from_seconds(now.seconds() - 5).to_amz());
    let key = ALICE.hotkey();
    let dated = |conditions: &[Value]| {
        let credential = format!("{}/{}/{REGION}/s3/aws4_request", key.access_key(), &date[..8]);
        let form = Form::new(&ALICE.file("f"), bytes(2000))
            .field("x-amz-algorithm", key.algorithm())
            .field("x-amz-credential", &credential)
            .uncovered("x-amz-date", &date)
            .condition(json!({ "host": server.host() }));
        conditions.iter().cloned().fold(form, Form::condition).seal(&key)
    };
    for conditions in [
        vec![],
        vec![json!(["starts-with", "$x-amz-date", ""])],
        vec![json!(["starts-with", "$x-amz-date", date])],
        vec![json!({ "x-amz-date": other })],
    ] {
        let answer = dated(&conditions).send(&server).await;
        assert!(answer.refused(403, "AccessDenied").starts_with("DateDenied"), "{conditions:?}");
    }
    server.store.saw_nothing();
    for condition in [json!(["eq", "$X-Amz-Date", date]), json!({ "x-amz-date": date })] {
        assert_eq!(dated(&[condition]).send(&server).await.status, 204);
    }
}

#[tokio::test]
async fn p14_a_form_that_lies_about_itself_stores_nothing() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let after = "\r\n--XX\r\nContent-Disposition: form-data; name=\"acl\"\r\n\r\nprivate\r\n--XX--\r\n";
    for size in [2000, 500_000] {
        let good = Form::new(&ALICE.file("f"), bytes(size)).sign(&key, &server.host());
        for end in [after, "\r\n--XX--", "\r\n--YY--\r\n", "\r\n--XX--\r\nmore"] {
            let form = Form { end: end.into(), ..good.clone() };
            form.send(&server).await.refused(400, "MalformedPOSTRequest");
        }
        Form { more_bytes: 10, ..good.clone() }.send(&server).await.refused(400, "MalformedPOSTRequest");
        Form { more_bytes: 10, end: String::new(), ..good.clone() }
            .send(&server)
            .await
            .refused(400, "IncompleteBody");
        let other = "multipart/form-data; boundary=ZZ";
        good.send_as(&server, other, &format!("/{BUCKET}")).await.refused(400, "MalformedPOSTRequest");
        good.send_as(&server, "multipart/form-data", &format!("/{BUCKET}"))
            .await
            .refused(400, "MalformedPOSTRequest");
        good.send_as(&server, "multipart/form-data; boundary=XX", "/other")
            .await
            .refused(404, "NoSuchBucket");
    }
    assert!(server.store.keys().is_empty());
    let large = Form::new(&ALICE.file("f"), bytes(2000))
        .field("x-amz-meta-a", &"v".repeat(30_000))
        .sign(&key, &server.host());
    large.send(&server).await.refused(400, "MaxPostPreDataLengthExceeded");
    let chunked = format!(
        "POST /{BUCKET} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=XX\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        server.host()
    );
    server.send_raw("POST", chunked.as_bytes()).await.refused(411, "MissingContentLength");
    assert!(server.store.keys().is_empty());
}
