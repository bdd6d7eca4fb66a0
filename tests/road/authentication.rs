//! P1 to P3, P9 to P18, P24 to P28: who signed, and what exactly.

use crate::harness::{
    client::{Answer, Call, Connection, Key, Payload},
    server::{ALICE, BOB, STRANGER, Setup, TestServer, bytes},
};

fn one(key: &Key) -> (String, String, Option<String>) {
    let Key::Session { access_key, secret, token } = key else { panic!("not a session") };
    (access_key.clone(), secret.clone(), token.clone())
}

/// Refused, and the store was not asked.
#[track_caller]
fn refused(server: &TestServer, answer: &Answer, status: u16, code: &str) -> String {
    server.store.saw_nothing();
    answer.refused(status, code)
}

#[tokio::test]
async fn p3_both_schemes_hold_in_the_header_and_in_the_query() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for presigned in [false, true] {
            let place = |call: Call| if presigned { call.presigned() } else { call };
            let name = ALICE.file("dir/a b+ü.parquet");
            let data = bytes(5000);
            let put = server.send(&key, &place(Call::put(&name, data.clone()))).await;
            assert_eq!(
                put.ok().get("etag").unwrap().trim_matches('"'),
                crate::harness::store::md5_hex(&data)
            );
            assert_eq!(server.send(&key, &place(Call::get(&name))).await.ok().body, data);
            let head = server.send(&key, &place(Call::head(&name))).await;
            assert_eq!(head.ok().get("content-length"), Some("5000"));
            let list = Call::get("")
                .query("list-type", "2")
                .query("prefix", &ALICE.file(""))
                .query("delimiter", "/");
            assert!(server.send(&key, &place(list)).await.ok().text().contains("dir/</Prefix>"));
            assert_eq!(server.send(&key, &place(Call::delete(&name))).await.status, 204);
            assert!(server.store.keys().is_empty());
        }
    }
}

#[tokio::test]
async fn p1_every_x_amz_header_is_signed_or_the_request_is_refused() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        let put = Call::put(&ALICE.file("f"), bytes(2000));
        for call in [
            put.clone().smuggled("x-amz-meta-note", "n"),
            put.clone().smuggled("X-Amz-Copy-Source", format!("/data-universe/{}", BOB.file("f"))),
            put.clone().presigned().smuggled("x-amz-meta-note", "n"),
            put.clone().presigned().smuggled("x-amz-acl", "public-read"),
            put.clone().header("x-amz-meta-note", "n").unsigned("x-amz-meta-note"),
        ] {
            let answer = server.send(&key, &call).await;
            refused(&server, &answer, 403, "AccessDenied");
            assert!(answer.element("HeadersNotSigned").unwrap().starts_with("x-amz-"));
        }
        // The one exemption, as at AWS: it stands in the canonical request anyway.
        server.send(&key, &put.clone().unsigned("x-amz-content-sha256")).await.ok();
        server.store.forget();
    }
}

#[tokio::test]
async fn p2_host_and_date_are_signed() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let get = Call::get(&ALICE.file("f"));
    for call in [get.clone().unsigned("host"), get.clone().presigned().unsigned("host")] {
        let answer = server.send(&key, &call.header("x-amz-meta-a", "b")).await;
        refused(&server, &answer, 403, "AccessDenied");
        assert_eq!(answer.element("HeadersNotSigned").as_deref(), Some("host"));
    }
    let answer = server.send(&key, &get.clone().unsigned("x-amz-date")).await;
    refused(&server, &answer, 403, "AccessDenied");
    let answer = server.send(&key, &get.clone().header("date", "Sat, 21 Nov 2026 06:48:30 GMT")).await;
    assert!(refused(&server, &answer, 403, "AccessDenied").contains("Date"));
}

#[tokio::test]
async fn p3_one_claim_and_no_other() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let get = Call::get(&ALICE.file("f"));
    let header = server.sign(&key, &get);
    let authorization = String::from_utf8(header.headers.last().unwrap().1.clone()).unwrap();
    // Header and query at once.
    let both = get.clone().presigned().smuggled("authorization", &authorization);
    let answer = server.send(&key, &both).await;
    assert!(refused(&server, &answer, 400, "InvalidRequest").contains("Only one auth mechanism"));
    // Part of a query claim is a query claim.
    let partly = Call::get(&ALICE.file("f")).query("X-Amz-Signature", &"0".repeat(64));
    refused(&server, &server.send(&key, &partly).await, 400, "InvalidRequest");
    // Nobody, SigV2, something else.
    let refusal = |authorization: &str| {
        let line = if authorization.is_empty() {
            String::new()
        } else {
            format!("authorization: {authorization}\r\n")
        };
        format!("GET /data-universe/k HTTP/1.1\r\nhost: {}\r\n{line}\r\n", server.host())
    };
    let answer = server.send_raw("GET", refusal("").as_bytes()).await;
    assert!(refused(&server, &answer, 403, "AccessDenied").starts_with("Anonymous: "));
    for (authorization, status, code) in [
        ("AWS AKID:c2ln", 400, "InvalidRequest"),
        ("Bearer abc", 400, "InvalidArgument"),
        ("Basic YTpi", 400, "InvalidArgument"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a/b", 400, "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256", 400, "AuthorizationHeaderMalformed"),
    ] {
        let answer = server.send_raw("GET", refusal(authorization).as_bytes()).await;
        refused(&server, &answer, status, code);
    }
    let v2 = format!(
        "GET /data-universe/k?AWSAccessKeyId=a&Signature=b&Expires=9 HTTP/1.1\r\nhost: {}\r\n\r\n",
        server.host()
    );
    refused(&server, &server.send_raw("GET", v2.as_bytes()).await, 400, "InvalidRequest");
    // A foreign Bearer beside a presigned query says nothing.
    server.store.put(&ALICE.file("f"), "x");
    let answer = server.send(&key, &get.presigned().smuggled("authorization", "Bearer of bad news")).await;
    assert_eq!(answer.ok().body, b"x");
    assert!(
        server
            .store
            .last()
            .header("authorization")
            .unwrap()
            .starts_with("AWS4-HMAC-SHA256 Credential=AKSTORE")
    );
}

#[tokio::test]
async fn p3_what_was_signed_is_what_counts() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for presigned in [false, true] {
            let call = Call::get(&ALICE.file("f")).query("partNumber", "1").header("x-amz-meta-a", "b");
            let call = if presigned { call.presigned() } else { call };
            for change in 0..5 {
                let mut signed = server.sign(&key, &call);
                match change {
                    0 => signed.method = "DELETE".to_owned(),
                    1 => signed.target = signed.target.replace("/f?", "/g?"),
                    2 => signed.target = signed.target.replace("partNumber=1", "partNumber=2"),
                    3 => signed.target = signed.target.replace('?', "?versionId=1&"),
                    _ => *signed.header_mut("x-amz-meta-a") = b"c".to_vec(),
                }
                let answer = server.send_signed(&signed).await;
                refused(&server, &answer, 403, "SignatureDoesNotMatch");
            }
        }
    }
}

#[tokio::test]
async fn p9_clocks_and_scopes() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        server.store.put(&ALICE.file("f"), "x");
        let get = Call::get(&ALICE.file("f"));
        for seconds in [-890, 890] {
            server.send(&key, &get.clone().clock(seconds)).await.ok();
        }
        server.send(&key, &get.clone().presigned_for("604800").clock(-604_700)).await.ok();
        server.send(&key, &get.clone().presigned_for("1").clock(800)).await.ok();
        server.store.forget();
        for seconds in [-910, 910] {
            let answer = server.send(&key, &get.clone().clock(seconds)).await;
            refused(&server, &answer, 403, "RequestTimeTooSkewed");
            let server: jiff::Timestamp = answer.element("ServerTime").unwrap().parse().unwrap();
            assert!((server.as_second() - jiff::Timestamp::now().as_second()).abs() < 5);
            assert!(answer.element("RequestTime").is_some());
            assert_eq!(answer.element("MaxAllowedSkewMilliseconds").as_deref(), Some("900000"));
        }
        for (seconds, clock, status, code) in [
            ("60", -70, 403, "AccessDenied"),
            ("60", 910, 403, "AccessDenied"),
            ("0", 0, 400, "AuthorizationQueryParametersError"),
            ("604801", 0, 400, "AuthorizationQueryParametersError"),
            ("-1", 0, 400, "AuthorizationQueryParametersError"),
            ("+60", 0, 400, "AuthorizationQueryParametersError"),
            ("18446744073709551617", 0, 400, "AuthorizationQueryParametersError"),
        ] {
            let answer = server.send(&key, &get.clone().presigned_for(seconds).clock(clock)).await;
            refused(&server, &answer, status, code);
        }
        let mut elsewhere = get.clone();
        elsewhere.region = "eu-west-1".to_owned();
        let answer = server.send(&key, &elsewhere).await;
        refused(&server, &answer, 400, "AuthorizationHeaderMalformed");
        assert_eq!(answer.element("Region").as_deref(), Some("us-east-1"));
        let mut otherwise = get.clone();
        otherwise.service = "sts".to_owned();
        refused(&server, &server.send(&key, &otherwise).await, 400, "AuthorizationHeaderMalformed");
        let mut yesterday = get.clone();
        yesterday.scope_day = Some("20250101".to_owned());
        refused(&server, &server.send(&key, &yesterday).await, 400, "AuthorizationHeaderMalformed");
        refused(
            &server,
            &server.send(&key, &yesterday.presigned()).await,
            400,
            "AuthorizationQueryParametersError",
        );
    }
}

#[tokio::test]
async fn p11_unknown_keys_and_wrong_secrets_are_refused() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let (access_key, secret, token) = one(&key);
    let get = Call::get(&ALICE.file("f"));
    let with = |access_key: &str, secret: &str, token: Option<String>| Key::Session {
        access_key: access_key.to_owned(),
        secret: secret.to_owned(),
        token,
    };
    for (key, status, code) in [
        (with(&access_key, "wrong", token.clone()), 403, "SignatureDoesNotMatch"),
        (with("AKIAIOSFODNN7EXAMPLE", &secret, token.clone()), 403, "InvalidAccessKeyId"),
        (with(&access_key, &secret, None), 400, "InvalidToken"),
        (with(&access_key, &secret, Some("AAAA".to_owned())), 400, "InvalidToken"),
        (with(&access_key, &secret, Some(String::new())), 400, "InvalidToken"),
        (with(&BOB.ss58(), &secret, token.clone()), 400, "InvalidToken"),
        // Base58 is read exactly.
        (with(&access_key.to_lowercase(), &secret, token.clone()), 403, "InvalidAccessKeyId"),
    ] {
        for call in [get.clone(), get.clone().presigned()] {
            refused(&server, &server.send(&key, &call).await, status, code);
        }
    }
    // The key under which anyone can sign is nobody's.
    let zero = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";
    let mut signed = server.sign(&ALICE.hotkey(), &get);
    let authorization = signed.header_mut("authorization");
    *authorization =
        String::from_utf8(authorization.clone()).unwrap().replace(&ALICE.ss58(), zero).into_bytes();
    refused(&server, &server.send_signed(&signed).await, 403, "InvalidAccessKeyId");
    // Nor does a hotkey's signature carry a token, or sign chunks.
    let answer =
        server.send(&ALICE.hotkey(), &get.clone().header("x-amz-security-token", token.unwrap())).await;
    refused(&server, &answer, 400, "InvalidRequest");
    for payload in [Payload::SignedChunks, Payload::SignedTrailer] {
        let call = Call::put(&ALICE.file("f"), bytes(2000));
        let text = match payload {
            Payload::SignedChunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            _ => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        };
        let call =
            call.payload(Payload::Text(text.to_owned())).header("x-amz-decoded-content-length", "2000");
        refused(&server, &server.send(&ALICE.hotkey(), &call).await, 400, "InvalidRequest");
    }
    // And every refused attempt left the good one good.
    server.store.put(&ALICE.file("f"), "x");
    server.send(&key, &get).await.ok();
}

#[tokio::test]
async fn p13_an_unregistered_hotkey_proves_itself_and_is_refused() {
    let server = TestServer::start().await;
    let get = Call::get(&STRANGER.file("f"));
    for call in [get.clone(), get.clone().presigned(), Call::put(&STRANGER.file("f"), bytes(2000))] {
        let answer = server.send(&STRANGER.hotkey(), &call).await;
        assert!(refused(&server, &answer, 403, "AccessDenied").starts_with("NotRegistered: "));
    }
}

#[tokio::test]
async fn p15_forwarded_headers_count_from_the_trusted_edge_alone() {
    let hosts = "hosts = [\"s3.example.com\"]".to_owned();
    let edge = "networks = [\"127.0.0.1\"]\nrewrites_host = true".to_owned();
    let untrusted = TestServer::with(Setup { server: hosts.clone(), ..Setup::default() }).await;
    let trusted = TestServer::with(Setup { server: hosts, edge, ..Setup::default() }).await;
    for (server, believed) in [(&untrusted, false), (&trusted, true)] {
        server.store.put(&ALICE.file("f"), "x");
        for key in server.both(&ALICE).await {
            for call in [Call::get(&ALICE.file("f")), Call::get(&ALICE.file("f")).presigned()] {
                // Signed for the external name, which the edge replaced by ours.
                let call = call
                    .host("s3.example.com")
                    .wire_host(&server.host())
                    .smuggled("x-forwarded-host", "s3.example.com")
                    .smuggled("x-forwarded-proto", "https");
                let answer = server.send(&key, &call).await;
                match (believed, &key) {
                    (true, _) => {
                        answer.ok();
                    }
                    (false, Key::Session { .. }) => {
                        refused(server, &answer, 403, "SignatureDoesNotMatch");
                    }
                    // The name of loopback counts nowhere once a server has a name of its own.
                    (false, Key::Hotkey(_)) => {
                        let message = refused(server, &answer, 403, "AccessDenied");
                        assert!(message.starts_with("HostDenied: "), "{message}");
                    }
                }
            }
        }
        // A name that is not in server.hosts helps nobody.
        let call = Call::get(&ALICE.file("f")).host("evil.example").wire_host(&server.host());
        let key = server.session(&ALICE).await;
        let call = call.smuggled("x-forwarded-host", "evil.example");
        server.send(&key, &call).await.refused(403, "SignatureDoesNotMatch");
    }
}

#[tokio::test]
async fn p15_p17_attempts_count_by_the_address_that_is_believed() {
    let trusted = "networks = [\"127.0.0.1\"]".to_owned();
    let limits = "[limits.address]\nrequests_per_second = 20\nrequests_burst = 200".to_owned();
    let untrusted = Setup { limits, ..Setup::default() };
    let trusted = TestServer::with(Setup { edge: trusted, ..untrusted.clone() }).await;
    let untrusted = TestServer::with(untrusted).await;
    for (server, believed) in [(&trusted, true), (&untrusted, false)] {
        let mut connection = server.connect().await;
        let mut limited = 0;
        for attempt in 0..450 {
            let request = format!(
                "POST /v1/session HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\
                 x-forwarded-for: 10.9.{}.{}\r\n\r\n",
                attempt / 250,
                attempt % 250
            );
            connection.send(request.as_bytes()).await;
            let answer = connection.answer("POST").await;
            assert!(matches!(answer.status, 401 | 503), "{}", answer.status);
            if answer.status == 503 {
                assert!(answer.get("retry-after").is_some());
                limited += 1;
            }
        }
        assert_eq!(limited == 0, believed, "{limited} limited");
    }
    // Another address is not touched by it.
    untrusted.store.put(&ALICE.file("f"), "x");
    let signed = untrusted.sign(&ALICE.hotkey(), &Call::get(&ALICE.file("f")));
    let mut connection = Connection::connect_from("127.0.0.9", untrusted.address).await;
    connection.send_call(&signed).await;
    connection.answer("GET").await.ok();
}

#[tokio::test]
async fn p16_two_of_a_kind_are_refused() {
    let server = TestServer::start().await;
    let key = server.session(&ALICE).await;
    let put = Call::put(&ALICE.file("f"), bytes(2000));
    for name in [
        "authorization",
        "x-amz-date",
        "x-amz-content-sha256",
        "x-amz-security-token",
        "host",
        "content-length",
    ] {
        for same in [true, false] {
            let mut signed = server.sign(&key, &put);
            let value = signed.header_mut(name).clone();
            let value = if same { value } else { [&value[..], b"0"].concat() };
            signed.headers.push((name.to_owned(), value));
            let mut connection = server.connect().await;
            let _ = connection.try_send(&[signed.head(), signed.body.clone()].concat()).await;
            let answer = connection.answer("PUT").await;
            // Two lengths may be refused by HTTP itself, in its own form; two equal ones are one to it.
            let same_length = name == "content-length" && same;
            assert!(same_length || answer.status == 400, "{name}: {} {}", answer.status, answer.text());
            if !same_length {
                server.store.saw_nothing();
            }
            server.store.forget();
        }
    }
    for (name, value) in [("X-Amz-Expires", "700"), ("x-amz-signature", "00"), ("X-Amz-Security-Token", "t")]
    {
        let mut signed = server.sign(&key, &Call::get(&ALICE.file("f")).presigned());
        signed.target.push_str(&format!("&{name}={value}"));
        refused(&server, &server.send_signed(&signed).await, 400, "InvalidRequest");
    }
    // Token in the query and another in a header.
    let call = Call::get(&ALICE.file("f")).presigned().header("x-amz-security-token", "another");
    refused(&server, &server.send(&key, &call).await, 400, "InvalidRequest");
}

#[tokio::test]
async fn p16_p26_values_of_one_header_are_joined_and_white_space_collapses() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        let call = Call::put(&ALICE.file("f"), bytes(2000))
            .header("x-amz-meta-two", "one  \t two")
            .header("X-Amz-Meta-Two", "three")
            .header("x-amz-meta-utf8", "grün");
        server.send(&key, &call).await.ok();
        let seen = server.store.last();
        let values: Vec<_> = seen.headers.get_all("x-amz-meta-two").iter().map(|v| v.as_bytes()).collect();
        assert_eq!(values, [&b"one  \t two"[..], b"three"]);
        assert_eq!(seen.headers.get("x-amz-meta-utf8").unwrap().as_bytes(), "grün".as_bytes());
        server.store.forget();
        let call = Call::put(&ALICE.file("f"), bytes(2000)).header("x-amz-meta-a", b"\xff\xfe");
        refused(&server, &server.send(&key, &call).await, 400, "InvalidRequest");
    }
}

#[tokio::test]
async fn p18_only_the_exact_path_is_exempt() {
    const READ: &[&str] = &[
        "/commitment-formats",
        "/docs",
        "/healthcheck",
        "/healthz",
        "/openapi.json",
        "/readyz",
        "/structure-info",
    ];
    const ASKED: &[&str] = &[
        "/get-file-presigned-urls",
        "/get-folder-access",
        "/get-folder-presigned-urls",
        "/get-miner-specific-access",
        "/get-validator-access",
        "/v1/session",
    ];
    let server = TestServer::start().await;
    let health = server.plain_get("/healthz").await;
    assert_eq!((health.status, health.text().as_str()), (200, "{\"status\":\"ok\"}"));
    assert!(health.get("x-amz-request-id").is_some());
    let mut near: Vec<String> = [
        "/v1/",
        "/v1",
        "/snapshot",
        "/metrics",
        "/",
        "/data-universe/healthz",
        "/openapi%2ejson",
        "/v1%2fsession",
    ]
    .map(str::to_owned)
    .into();
    for path in READ.iter().chain(ASKED) {
        let (initial, rest) = path[1..].split_at(1);
        near.extend([
            format!("{path}/"),
            format!("{path}/x"),
            format!("{path}2"),
            format!("{path}%2f"),
            format!("/{path}"),
            format!("/.{path}"),
            format!("/x{path}"),
            format!("/{}{rest}", initial.to_uppercase()),
            format!("/%{:02x}{rest}", initial.as_bytes()[0]),
            path[..path.len() - 1].to_owned(),
        ]);
    }
    for path in near {
        for method in ["GET", "POST", "PUT", "DELETE", "HEAD"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", server.host());
            refused(&server, &server.send_raw(method, request.as_bytes()).await, 403, "AccessDenied");
        }
    }
    // What is served answers in its own way, and by its own methods only.
    for (paths, allowed) in [(READ, "GET, HEAD"), (ASKED, "POST")] {
        for path in paths {
            for method in ["GET", "POST", "PUT", "DELETE", "HEAD"] {
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n",
                    server.host()
                );
                let answer = server.send_raw(method, request.as_bytes()).await;
                let status = match (allowed.contains(method), allowed) {
                    (false, _) => 405,
                    // There is no request in it, and for a session none of the headers.
                    (true, "POST") if *path == "/v1/session" => 401,
                    (true, "POST") => 422,
                    (true, _) => 200,
                };
                assert_eq!(answer.status, status, "{method} {path} {}", answer.text());
                assert_eq!(answer.get("allow"), Some(allowed).filter(|_| status == 405), "{method} {path}");
                if method != "HEAD" && (status != 200 || *path != "/docs") {
                    assert_eq!(answer.get("content-type"), Some("application/json"), "{method} {path}");
                    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                    assert_eq!(json["detail"].is_string(), status != 200, "{method} {path} {json}");
                }
            }
        }
    }
    let docs = server.plain_get("/docs").await;
    assert_eq!((docs.status, docs.get("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(
        docs.get("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    // A query does not make another path of it.
    assert_eq!(server.plain_get("/healthz?x=/y").await.status, 200);
}

#[tokio::test]
async fn p24_queries_are_canonical_by_encoded_name_and_value() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        let mut uploads = Call::object("POST", &ALICE.file("f")).query("uploads", "");
        for spelled in ["uploads", "uploads=", "&uploads&"] {
            uploads.wire_query = Some(spelled.to_owned());
            server.send(&key, &uploads).await.ok();
        }
        let mut list = Call::get("")
            .query("prefix", &ALICE.file("a b/+ü"))
            .query("list-type", "2")
            .query("max-keys", "5")
            .query("fetch-owner", "");
        for spelled in [
            format!(
                "prefix=data%2fx%2F{}/a+b/%2b%c3%bc&list-type=2&fetch-owner&max-keys=5",
                ALICE.coldkey.to_ss58()
            ),
            format!(
                "max-keys=%35&list-type=2&fetch-owner=&prefix=data/x/{}/a%20b/%2Bü",
                ALICE.coldkey.to_ss58()
            ),
        ] {
            list.wire_query = Some(spelled);
            server.send(&key, &list).await.ok();
            assert_eq!(server.store.last().query("prefix").unwrap(), ALICE.file("a b/+ü"));
        }
        server.store.forget();
        // Both values are signed, so the signature holds; then the doubled name is the fault.
        for spelled in ["prefix=b&prefix=a", "prefix=a&prefix=b"] {
            let mut twice = Call::get("").query("prefix", "b").query("prefix", "a");
            twice.wire_query = Some(spelled.to_owned());
            refused(&server, &server.send(&key, &twice).await, 400, "InvalidArgument");
        }
        let mut many = Call::get("");
        for number in 0..101 {
            many = many.query(&format!("n{number}"), "");
        }
        refused(&server, &server.send(&key, &many).await, 400, "InvalidURI");
    }
}

#[tokio::test]
async fn p25_http2_the_authority_serves_as_host() {
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), bytes(100_000));
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let session = server.session(&ALICE).await;
    for (key, host, status) in [
        (&session, None, 200),
        (&ALICE.hotkey(), None, 200),
        (&session, Some(server.host()), 200),
        (&session, Some("other.example".to_owned()), 400),
    ] {
        for (call, empty) in [
            (Call::get(&ALICE.file("f")), false),
            (Call::get(&ALICE.file("f")).presigned(), false),
            (Call::put(&ALICE.file("g"), bytes(70_000)), true),
        ] {
            let signed = server.sign(key, &call);
            let uri = format!("http://{}{}", server.host(), signed.target);
            let mut request = http::Request::builder().method(signed.method.as_str()).uri(uri);
            for (name, value) in signed.headers.iter().filter(|(name, _)| name != "host") {
                request = request.header(name, value.as_slice());
            }
            if let Some(host) = &host {
                request = request.header("host", host);
            }
            let request = request.body(Full::new(bytes::Bytes::from(signed.body))).unwrap();
            sender.ready().await.unwrap();
            let answer = tokio::time::timeout(crate::harness::client::PATIENCE, sender.send_request(request))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(answer.status(), status, "{host:?}");
            assert!(answer.headers().contains_key("x-amz-request-id"));
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            if status == 200 {
                assert_eq!(body.len(), if empty { 0 } else { 100_000 });
            } else {
                assert!(String::from_utf8_lossy(&body).contains("<Code>InvalidRequest</Code>"));
            }
        }
    }
    assert_eq!(server.store.object(&ALICE.file("g")).unwrap().data, bytes(70_000));
}

#[tokio::test]
async fn p25_http1_an_absolute_target_names_the_same_host_or_is_refused() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.file("f"), "x");
    let key = server.session(&ALICE).await;
    for (authority, status) in [(server.host(), 200), ("other.example".to_owned(), 400)] {
        let mut signed = server.sign(&key, &Call::get(&ALICE.file("f")));
        signed.target = format!("http://{authority}{}", signed.target);
        let answer = server.send_signed(&signed).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn p27_a_rewritten_accept_encoding_is_repaired_from_the_trusted_edge_alone() {
    let edge = "networks = [\"127.0.0.0/8\"]\naccept_encodings = [\"identity\", \"gzip\"]".to_owned();
    let trusted = TestServer::with(Setup { edge, ..Setup::default() }).await;
    let untrusted = TestServer::start().await;
    for (server, repaired) in [(&trusted, true), (&untrusted, false)] {
        server.store.put(&ALICE.file("f"), "x");
        for key in server.both(&ALICE).await {
            for sent in ["identity", "gzip"] {
                let mut signed =
                    server.sign(&key, &Call::get(&ALICE.file("f")).signed("accept-encoding", sent));
                server.send_signed(&signed).await.ok();
                *signed.header_mut("accept-encoding") = b"gzip, br".to_vec();
                assert_eq!(server.send_signed(&signed).await.status == 200, repaired);
                signed.headers.retain(|(name, _)| name != "accept-encoding");
                assert_eq!(server.send_signed(&signed).await.status == 200, repaired);
            }
            let mut signed =
                server.sign(&key, &Call::get(&ALICE.file("f")).signed("accept-encoding", "zstd"));
            *signed.header_mut("accept-encoding") = b"gzip, br".to_vec();
            server.send_signed(&signed).await.refused(403, "SignatureDoesNotMatch");
        }
        // Never asked of the store, which must not compress on the way.
        assert!(server.store.last().header("accept-encoding").is_none());
    }
}

#[tokio::test]
async fn p28_virtual_hosts_by_configuration_alone() {
    let server = "hosts = [\"s3.example.com\", \"localhost:9000\"]".to_owned();
    let server = TestServer::with(Setup { server, ..Setup::default() }).await;
    server.store.put(&ALICE.file("f"), "x");
    let file = format!("/{}", ALICE.file("f"));
    for key in server.both(&ALICE).await {
        for host in [
            "data-universe.s3.example.com",
            "data-universe.s3.example.com:8443",
            "data-universe.localhost:9000",
        ] {
            let answer = server.send(&key, &Call::new("GET", &file).host(host)).await;
            assert_eq!(answer.ok().body, b"x", "{host}");
            server.send(&key, &Call::new("HEAD", "/").host(host)).await.ok();
            let list = Call::new("GET", "/").query("prefix", &ALICE.file("")).host(host);
            assert!(server.send(&key, &list).await.ok().text().contains(&ALICE.file("f")));
        }
        // The bare name is path style.
        server.send(&key, &Call::get(&ALICE.file("f")).host("s3.example.com")).await.ok();
        server.store.forget();
        let answer = server.send(&key, &Call::new("GET", &file).host("other.s3.example.com")).await;
        server.store.saw_nothing();
        assert!(matches!(answer.status, 403 | 404), "{}", answer.text());
    }
    let key = server.session(&ALICE).await;
    // A label is a label: no suffix of a name is another name.
    for host in
        ["data-universe.evils3.example.com", "data-universe.example.com", "data-universe.s3.example.com.evil"]
    {
        let answer = server.send(&key, &Call::new("GET", &file).host(host)).await;
        let message = refused(&server, &answer, 404, "NoSuchBucket");
        assert!(message.contains("server.hosts") && message.contains("path-style"), "{message}");
    }
    // And the hotkey's own signature counts only for names that are ours.
    for host in ["elsewhere.example", "s3.example.com.evil"] {
        let answer = server.send(&ALICE.hotkey(), &Call::get(&ALICE.file("f")).host(host)).await;
        assert!(refused(&server, &answer, 403, "AccessDenied").starts_with("HostDenied: "));
    }
}

#[tokio::test]
async fn p10_a_hash_on_a_presigned_put_is_checked() {
    let server = TestServer::start().await;
    for key in server.both(&ALICE).await {
        for length in [2000, 200_000] {
            let put = Call::put(&ALICE.file("f"), bytes(length));
            let mut checked = put.clone().presigned();
            checked.payload = Payload::Real;
            server.send(&key, &checked).await.ok();
            server.store.forget();
            checked.payload = Payload::False;
            server.send(&key, &checked).await.refused(400, "XAmzContentSHA256Mismatch");
            assert!(server.store.seen().iter().all(|seen| !seen.whole));
            server.store.forget();
        }
    }
}
