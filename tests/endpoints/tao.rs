//! What the vending server's clients of late 2025 and of 2026 ask: X-Tao headers, a page of a list, a form
//! for one file.

use serde_json::{Value, json};

use super::miners::upload;
use crate::harness::{
    client::Answer,
    server::{ALICE, BOB, Person, STRANGER, Setup, TestServer, VALIDATOR, bytes, nanos, registry},
    sigv4::encode,
    store::Reply,
    vending::{TaoRequest, now, ok, refused, signature, uuid, validator_request},
};

const LIST: &str = "/get-miner-list";
const UPLOAD: &str = "/get-file-upload-url";
const FILES: &str = "/get-file-presigned-urls";
const NAME: &str = "data_20261121_093000_150_0123456789abcdef.parquet";

fn upload_body() -> Value {
    json!({ "job_id": "job-1", "filename": NAME })
}

fn key_of(person: &Person) -> String {
    format!("data/hotkey={}/job_id=job-1/{NAME}", person.ss58())
}

fn list_body(person: &Person) -> Value {
    json!({ "miner_hotkey": person.ss58() })
}

fn files_body(person: &Person, keys: &[String]) -> Value {
    json!({ "miner_hotkey": person.ss58(), "file_keys": keys, "expiry_hours": 3 })
}

async fn ask(server: &TestServer, path: &str, person: &Person, body: &Value) -> Answer {
    server.post_tao(path, &TaoRequest::new(person, body)).await
}

#[tokio::test]
async fn a_miner_uploads_a_file_by_a_form_of_its_own_key() {
    let server = TestServer::start().await;
    let access = ok(&ask(&server, UPLOAD, &ALICE, &upload_body()).await);
    let names: Vec<_> = access.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["expires_in_seconds", "fields", "method", "s3_key", "url"]);
    assert_eq!(
        (access["s3_key"].as_str(), access["method"].as_str()),
        (Some(&*key_of(&ALICE)), Some("POST"))
    );
    assert_eq!(access["fields"]["key"], json!(key_of(&ALICE)));
    let file = bytes(5000);
    for key in [key_of(&BOB), ALICE.job("f"), format!("{}2", key_of(&ALICE)), ALICE.file("f")] {
        upload(&server, &access, &key, &file).await.refused(403, "AccessDenied");
    }
    upload(&server, &access, &key_of(&ALICE), &bytes(1023)).await.refused(400, "EntityTooSmall");
    assert_eq!(upload(&server, &access, &key_of(&ALICE), &file).await.status, 204);
    assert_eq!(server.store.object(&key_of(&ALICE)).unwrap().data, file);
    // What is there is there.
    refused(&ask(&server, UPLOAD, &ALICE, &upload_body()).await, 409, "409");
    // And a form that was handed out is worth what its hotkey is.
    std::fs::write(server.registry(), registry(&[&BOB], &[])).unwrap();
    upload(&server, &access, &key_of(&ALICE), &file).await.refused(403, "AccessDenied");
}

#[tokio::test]
async fn file_names_and_jobs_have_their_shape_or_a_400() {
    let server = TestServer::start().await;
    for (job_id, filename, said) in [
        ("job/1", NAME, "[A-Za-z0-9_-]{1,64}"),
        ("", NAME, "[A-Za-z0-9_-]{1,64}"),
        ("..", NAME, "[A-Za-z0-9_-]{1,64}"),
        ("job-1", "f.parquet", "data_YYYYMMDD_HHMMSS_ROWS_HEX.parquet"),
        ("job-1", "../data_20261121_093000_150_0123456789abcdef.parquet", "data_YYYYMMDD"),
        ("job-1", "data_20261121_093000_150_0123456789abcdef.parquet/x", "data_YYYYMMDD"),
    ] {
        let body = json!({ "job_id": job_id, "filename": filename });
        refused(&ask(&server, UPLOAD, &ALICE, &body).await, 400, said);
    }
    server.store.saw_nothing();
    let policy = "folders = [\"data/{source}/{coldkey}/\"]\n[policy.variables]\nsource = [\"x\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    refused(&ask(&server, UPLOAD, &ALICE, &upload_body()).await, 403, "no folders of jobs");
    server.store.saw_nothing();
}

#[tokio::test]
async fn an_outage_of_the_store_is_never_a_form_nor_a_409() {
    let server = TestServer::start().await;
    server.store.always(Reply::error(500, "InternalError", "why"));
    let answer = ask(&server, UPLOAD, &ALICE, &upload_body()).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.get("retry-after").is_some());
    server.store.unscript();
    ok(&ask(&server, UPLOAD, &ALICE, &upload_body()).await);
}

/// Follows the list of a miner as the clients do: this endpoint for each page.
async fn all_keys(server: &TestServer, list: impl AsyncFn(Option<String>) -> Answer) -> (usize, Vec<String>) {
    let (mut keys, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = ok(&list(token).await);
        let answer = server.follow(page["list_url"].as_str().unwrap(), "").await;
        let xml = answer.ok().xml();
        assert!(answer.text().contains("http://s3.amazonaws.com/doc/2006-03-01/"));
        let contents = xml.children.iter().filter(|child| child.name == "Contents");
        keys.extend(contents.map(|child| child.text_of("Key").unwrap().replace("%3D", "=")));
        pages += 1;
        token = xml.text_of("NextContinuationToken").map(str::to_owned);
        if token.is_none() {
            return (pages, keys);
        }
    }
}

#[tokio::test]
async fn a_validator_follows_the_list_of_a_miner_to_its_end_in_both_forms() {
    let server = TestServer::start().await;
    for index in 0..3500 {
        server.store.put(&ALICE.job(&format!("f{index:05}")), vec![1]);
    }
    server.store.put(&BOB.job("foreign"), vec![1]);
    let in_headers = async |token: Option<String>| {
        let mut body = list_body(&ALICE);
        if let Some(token) = token {
            body["continuation_token"] = json!(token);
        }
        ask(&server, LIST, &VALIDATOR, &body).await
    };
    let in_body = async |token: Option<String>| {
        let mut body = validator_request(&VALIDATOR, &format!("miner:{}", ALICE.ss58()));
        body["miner_hotkey"] = json!(ALICE.ss58());
        body["continuation_token"] = json!(token);
        server.post_json(LIST, &body).await
    };
    for (pages, keys) in [all_keys(&server, in_headers).await, all_keys(&server, in_body).await] {
        assert_eq!((pages, keys.len()), (4, 3500));
        assert!(keys.iter().all(|key| key.starts_with(&ALICE.job(""))), "{keys:?}");
    }
}

#[tokio::test]
async fn lists_of_miners_are_for_validators_and_of_one_miner_each() {
    let server = TestServer::start().await;
    refused(&ask(&server, LIST, &ALICE, &list_body(&ALICE)).await, 401, "You are not validator");
    refused(&ask(&server, LIST, &STRANGER, &list_body(&ALICE)).await, 403, "NotRegistered");
    refused(&ask(&server, LIST, &VALIDATOR, &json!({ "miner_hotkey": "5F" })).await, 400, "miner_hotkey");
    for token in ["a\nb".to_owned(), "t".repeat(4097)] {
        let body = json!({ "miner_hotkey": ALICE.ss58(), "continuation_token": token });
        refused(&ask(&server, LIST, &VALIDATOR, &body).await, 400, "continuation_token");
    }
    // A hotkey that left has files that may still be read, where its name is all that names its folder.
    server.store.put(&STRANGER.job("f"), bytes(2000));
    let page = ok(&ask(&server, LIST, &VALIDATOR, &list_body(&STRANGER)).await);
    assert_eq!(page["prefix"], json!(format!("data/hotkey={}/", STRANGER.ss58())));
    let url = page["list_url"].as_str().unwrap();
    assert!(server.follow(url, "").await.ok().text().contains("job_id"));
    server.follow(url, "&prefix=data/").await.refused(403, "AccessDenied");
    let policy = "folders = [\"data/{source}/{coldkey}/\"]\n[policy.variables]\nsource = [\"x\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    refused(&ask(&server, LIST, &VALIDATOR, &list_body(&STRANGER)).await, 400, "not registered");
    let page = ok(&ask(&server, LIST, &VALIDATOR, &list_body(&ALICE)).await);
    assert_eq!(page["prefix"], json!(ALICE.file("")));
}

#[tokio::test]
async fn a_validator_gets_files_without_naming_itself() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.job("f"), bytes(2000));
    let keys = [ALICE.job("f"), BOB.job("f")];
    let files = ok(&ask(&server, FILES, &VALIDATOR, &files_body(&ALICE, &keys)).await);
    assert_eq!(files["validator_hotkey"], json!(VALIDATOR.ss58()));
    assert_eq!(
        [
            "valid_files_count",
            "invalid_files_count",
            "successful_urls",
            "total_requested_files",
            "failed_files"
        ]
        .map(|name| files[name].as_u64().unwrap()),
        [1, 1, 1, 2, 0]
    );
    let file = &files["file_urls"][&keys[0]];
    assert_eq!(file["expires_in_seconds"], json!(10_800));
    let url = file["presigned_url"].as_str().unwrap();
    assert_eq!(server.follow(url, "").await.ok().body, bytes(2000));
    refused(&ask(&server, FILES, &ALICE, &files_body(&ALICE, &keys)).await, 401, "You are not validator");
    let many: Vec<String> = (0..501).map(|index| ALICE.job(&format!("f{index}"))).collect();
    refused(&ask(&server, FILES, &VALIDATOR, &files_body(&ALICE, &many)).await, 400, "500");
    let files = ok(&ask(&server, FILES, &VALIDATOR, &files_body(&ALICE, &many[..500])).await);
    assert_eq!(files["valid_files_count"], json!(500));
}

#[tokio::test]
async fn p66_a_body_counts_at_its_own_endpoint_and_once() {
    let server = TestServer::start().await;
    let bodies = [
        (UPLOAD, upload_body()),
        (LIST, list_body(&ALICE)),
        (LIST, json!({ "miner_hotkey": ALICE.ss58(), "continuation_token": "t" })),
        (LIST, json!({ "miner_hotkey": ALICE.ss58(), "continuation_token": null })),
        (FILES, files_body(&ALICE, &[ALICE.job("f")])),
        (FILES, json!({ "miner_hotkey": ALICE.ss58(), "file_keys": [] })),
    ];
    for (own, body) in &bodies {
        let request = TaoRequest::new(&VALIDATOR, body);
        // Elsewhere first, so that its nonce is not spent: each pair of endpoints, those of the strings, and
        // the one that gives sessions.
        for other in [UPLOAD, LIST, FILES].into_iter().filter(|other| other != own) {
            refused(&server.post_tao(other, &request).await, 422, "Invalid request");
        }
        for other in [
            "/get-validator-access",
            "/get-folder-access",
            "/get-miner-specific-access",
            "/get-folder-presigned-urls",
        ] {
            refused(&server.post_tao(other, &request).await, 422, "Invalid request");
        }
        refused(&server.post_tao("/v1/session", &request).await, 401, "Missing header x-bittensor-version");
        ok(&server.post_tao(own, &request).await);
        for path in [own, UPLOAD, LIST, FILES] {
            let again = server.post_tao(path, &request).await;
            assert!([401, 422].contains(&again.status), "{path} {}", again.text());
        }
        refused(&server.post_tao(own, &request).await, 401, "Nonce already used");
    }
    // Fields of another form, twice the same field, and what is no object.
    let named = |name: &str, value: Value| {
        let mut body = list_body(&ALICE);
        body[name] = value;
        body.to_string()
    };
    for body in [
        named("hotkey", json!(VALIDATOR.ss58())),
        named("timestamp", json!(now())),
        named("source", json!("x")),
        named("file_keys", json!([])),
        format!("{{\"miner_hotkey\":\"{0}\",\"miner_hotkey\":\"{0}\"}}", ALICE.ss58()),
        format!("[\"{}\"]", ALICE.ss58()),
        format!("[\"{}\", null]", ALICE.ss58()),
        format!("{{\"miner_hotkey\":\"{}\"}} {{}}", ALICE.ss58()),
        format!("\u{feff}{}", list_body(&ALICE)),
        String::new(),
        "null".to_owned(),
    ] {
        let request = TaoRequest::at(&VALIDATOR, body.as_bytes(), nanos() / 1_000_000, &uuid());
        refused(&server.post_tao(LIST, &request).await, 422, "Invalid request");
    }
    // A string in the body does not make up for headers that are false, nor headers for a string.
    let mut both = validator_request(&VALIDATOR, &format!("miner:{}", ALICE.ss58()));
    both["miner_hotkey"] = json!(ALICE.ss58());
    ok(&server.post_json(LIST, &both).await);
    refused(&ask(&server, LIST, &VALIDATOR, &both).await, 422, "unknown field");
    let false_headers = TaoRequest::new(&VALIDATOR, &both).with("X-Tao-Version", "");
    refused(&server.post_tao(LIST, &false_headers).await, 401, "x-tao-version");
}

#[tokio::test]
async fn p66_nonces_of_all_these_endpoints_are_spent_in_one_place() {
    let server = TestServer::start().await;
    let (millis, uuid) = (nanos() / 1_000_000, uuid());
    let request =
        |body: Value, millis| TaoRequest::at(&VALIDATOR, body.to_string().as_bytes(), millis, &uuid);
    ok(&server.post_tao(LIST, &request(list_body(&ALICE), millis)).await);
    for (path, body) in [
        (LIST, list_body(&BOB)),
        (FILES, files_body(&ALICE, &[])),
        (UPLOAD, upload_body()),
        (LIST, list_body(&ALICE)),
    ] {
        refused(&server.post_tao(path, &request(body, millis - 1)).await, 401, "Nonce already used");
    }
}

#[tokio::test]
async fn p66_the_clock_is_bounded_and_headers_are_exact() {
    let server = TestServer::start().await;
    let body = list_body(&ALICE).to_string();
    let at = |millis| TaoRequest::at(&VALIDATOR, body.as_bytes(), millis, &uuid());
    let millis = nanos() / 1_000_000;
    for millis in [millis - 11_000, millis + 20_000, millis / 1000, 0] {
        refused(&server.post_tao(LIST, &at(millis)).await, 400, "Invalid timestamp");
    }
    // What was signed before the process began may have been spent at the one before it.
    refused(&server.post_tao(LIST, &at(millis - 8_000)).await, 401, "started anew");
    let good = || TaoRequest::new(&VALIDATOR, &list_body(&ALICE));
    for (name, value, status) in [
        ("X-Tao-Version", "1", 400),
        ("X-Tao-Version", "", 401),
        ("X-Tao-Signature", "", 401),
        ("X-Tao-Signature", "AAAA", 400),
        ("X-Tao-Nonce", "1", 400),
        ("X-Tao-Signed-By", "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM", 400),
        ("X-Tao-Signed-By", &ALICE.ss58(), 401),
    ] {
        let answer = server.post_tao(LIST, &good().with(name, value)).await;
        assert_eq!(answer.status, status, "{name} {value} {}", answer.text());
    }
    let mut twice = good();
    twice.headers.push(twice.headers[2].clone());
    refused(&server.post_tao(LIST, &twice).await, 400, "more than once");
    let mut longer = good();
    longer.body.push(b' ');
    refused(&server.post_tao(LIST, &longer).await, 401, "Invalid signature");
    let large = json!({ "miner_hotkey": "c".repeat(9000) });
    refused(&ask(&server, LIST, &VALIDATOR, &large).await, 400, "too big");
    server.store.saw_nothing();
    // Hex is what the server of the time also took.
    let hex = good();
    let text = {
        let value = |name: &str| hex.headers.iter().find(|(other, _)| *other == name).unwrap().1.clone();
        let hash = crate::harness::sigv4::sha256_hex(&hex.body);
        format!("{hash}.{}.{}", value("X-Tao-Nonce"), value("X-Tao-Timestamp"))
    };
    ok(&server.post_tao(LIST, &hex.with("X-Tao-Signature", &signature(&VALIDATOR.hotkey, &text))).await);
}

#[tokio::test]
async fn p66_a_server_with_a_receiver_takes_none_of_it() {
    let session = format!("issue_with = \"one\"\nreceiver = \"{}\"", BOB.ss58());
    let server = TestServer::with(Setup { session, ..Setup::default() }).await;
    for (path, body) in [(UPLOAD, upload_body()), (LIST, list_body(&ALICE)), (FILES, files_body(&ALICE, &[]))]
    {
        refused(&ask(&server, path, &VALIDATOR, &body).await, 403, "POST /v1/session");
    }
    // Nor what another server with the same session keys handed out for it.
    let open = TestServer::start().await;
    let page = ok(&ask(&open, LIST, &VALIDATOR, &list_body(&ALICE)).await);
    let target = page["list_url"].as_str().unwrap().strip_prefix(&format!("http://{}", open.host())).unwrap();
    server.plain_get(target).await.refused(400, "InvalidToken");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p59_strangers_cost_no_signature_and_victims_nothing() {
    let limits = "[limits.miner]\nreads_per_second = 1\nreads_burst = 3".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    // Whoever repeats or garbles what Alice sent charges nothing to Alice.
    let request = TaoRequest::new(&ALICE, &upload_body());
    ok(&server.post_tao(UPLOAD, &request).await);
    for _ in 0..5 {
        refused(&server.post_tao(UPLOAD, &request).await, 401, "Nonce already used");
        let mut garbled = TaoRequest::new(&ALICE, &upload_body());
        garbled.body.push(b' ');
        refused(&server.post_tao(UPLOAD, &garbled).await, 401, "Invalid signature");
    }
    ok(&ask(&server, UPLOAD, &ALICE, &upload_body()).await);
    refused(&ask(&server, UPLOAD, &STRANGER, &upload_body()).await, 403, "NotRegistered");
}

#[tokio::test]
async fn an_unknown_endpoint_is_told_in_json_and_s3_stays_s3() {
    let server = TestServer::start().await;
    for path in ["/on-demand/miner/jobs/active", "/get-everything", "/data-universe", "/"] {
        let answer = ask(&server, path, &VALIDATOR, &json!({})).await;
        refused(&answer, 404, "Not Found");
        assert!(answer.get("x-amz-request-id").is_some());
    }
    for path in ["/get-everything", "/data-universe"] {
        server.post_json(path, &json!({})).await.refused(403, "AccessDenied");
    }
    // A request of S3's own that has such a header too is S3's business.
    let delete = TaoRequest::new(&ALICE, &json!({}));
    server.post_tao("/data-universe?delete", &delete).await.refused(403, "AccessDenied");
    let mut signed = TaoRequest::new(&ALICE, &json!({}));
    signed.headers.push(("authorization", "AWS4-HMAC-SHA256 x".to_owned()));
    assert!(server.post_tao("/data-universe", &signed).await.text().contains("<Code>"));
    server.store.saw_nothing();
}

#[tokio::test]
async fn every_miner_by_hotkey_is_one_list() {
    let server = TestServer::start().await;
    server.store.put(&ALICE.job("f"), bytes(2000));
    server.store.put(&BOB.job("f"), bytes(2000));
    server.store.put(&BOB.file("f"), bytes(2000));
    let request = validator_request(&VALIDATOR, "access");
    let access = ok(&server.post_json("/get-validator-access", &request).await);
    let list = access["urls"]["miners"]["list_all_miners"].as_str().unwrap();
    let page = server.follow(list, "").await.ok().xml();
    let prefixes: Vec<_> = page
        .children
        .iter()
        .filter(|child| child.name == "CommonPrefixes")
        .map(|child| child.text_of("Prefix").unwrap().replace("%3D", "="))
        .collect();
    let mut expected = [&*ALICE, &*BOB].map(|person| format!("data/hotkey={}/", person.ss58()));
    expected.sort();
    assert_eq!(prefixes, expected);
    let policy = "folders = [\"data/{source}/{coldkey}/\"]\n[policy.variables]\nsource = [\"x\"]".to_owned();
    let server = TestServer::with(Setup { policy, ..Setup::default() }).await;
    let access =
        ok(&server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await);
    assert!(access["urls"]["miners"].get("list_all_miners").is_none());
}

/// The list of everything as the validator of 2025-05 spells it: another prefix in the place of the signed
/// one, and every other value encoded anew.
fn with_prefix(url: &str, prefix: &str) -> String {
    let (path, query) = url.split_once('?').unwrap();
    let pairs = query.split('&').map(|pair| match pair.split_once('=').unwrap() {
        ("prefix", _) => format!("prefix={}", encode(prefix.as_bytes(), false)),
        (name, value) => format!("{name}={value}"),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[tokio::test]
async fn p61_a_longer_prefix_in_the_place_of_a_signed_root_counts_as_if_it_were_added() {
    let server = TestServer::start().await;
    for person in [&*ALICE, &*BOB] {
        server.store.put(&person.file("f"), bytes(2000));
        server.store.put(&person.job("f"), bytes(2000));
    }
    let access =
        ok(&server.post_json("/get-validator-access", &validator_request(&VALIDATOR, "access")).await);
    let urls = &access["urls"];
    let all = urls["global"]["list_all_data"].as_str().unwrap();
    let page = server.follow(&with_prefix(all, &ALICE.file("")), "").await.ok().text();
    assert!(page.contains(&ALICE.file("f")) && !page.contains(&BOB.ss58()));
    assert_eq!(server.store.last().query("prefix"), Some(ALICE.file("").as_str()));
    // It narrows and does nothing else.
    server.store.forget();
    for prefix in ["", "dat", "data", "else/", "/data/", "data2/"] {
        server.follow(&with_prefix(all, prefix), "").await.refused(403, "SignatureDoesNotMatch");
    }
    server.follow(&with_prefix(all, &ALICE.file("../")), "").await.refused(400, "InvalidArgument");
    let longer = with_prefix(all, &ALICE.file(""));
    for (from, to) in [
        ("list-type=2", "list-type=1"),
        ("list-type=2", "list-type=2&list-type=2"),
        ("list-type=2", "list-type=2&max-keys=1"),
        ("list-type=2", "list-type=2&delimiter=%2F"),
        ("list-type=2", "list-type=2&prefix=data%2F"),
        ("list-type=2&", ""),
        ("encoding-type=url&", ""),
        ("X-Amz-Expires=", "X-Amz-Expires=1"),
        ("/data-universe?", "/data-universe/data/x?"),
    ] {
        let url = longer.replacen(from, to, 1);
        assert_ne!(url, longer, "{from}");
        let answer = server.follow(&url, "").await;
        assert!([400, 403].contains(&answer.status), "{url} {}", answer.text());
    }
    for more in ["&continuation-token=t", "&max-keys=1", "&prefix=data/", "&versions="] {
        server.follow(&longer, more).await.refused(403, "SignatureDoesNotMatch");
    }
    // Lists of other prefixes than a root, with a delimiter or without one, are what was signed.
    let of_source = urls["sources"]["x"]["list_miners"].as_str().unwrap();
    let of_miner = urls["miners"][ALICE.coldkey.to_ss58()]["x"]["list_files"].as_str().unwrap();
    let of_hotkeys = urls["miners"]["list_all_miners"].as_str().unwrap();
    for (url, prefix) in [
        (of_source, ALICE.file("")),
        (of_source, BOB.file("")),
        (of_miner, ALICE.file("f")),
        (of_miner, BOB.file("")),
        (of_hotkeys, ALICE.job("")),
    ] {
        server.follow(&with_prefix(url, &prefix), "").await.refused(403, "SignatureDoesNotMatch");
    }
    server.store.saw_nothing();
    // And it is worth what its signer is, at that moment.
    std::fs::write(server.registry(), registry(&[&ALICE, &BOB, &VALIDATOR], &[])).unwrap();
    server.follow(&longer, "").await.refused(403, "AccessDenied");
    server.store.saw_nothing();
}

#[tokio::test]
async fn p61_by_a_miners_own_signature_or_by_a_hotkeys_nothing_is_reached() {
    use crate::harness::client::Call;
    let server = TestServer::start().await;
    server.store.put(&BOB.file("f"), bytes(2000));
    let list = Call::get("").query("list-type", "2").query("prefix", "data/").presigned();
    let [session, hotkey] = server.both(&ALICE).await;
    for (key, prefix, code) in [
        (&session, BOB.file(""), "AccessDenied"),
        (&session, "data/x/".to_owned(), "AccessDenied"),
        (&hotkey, ALICE.file(""), "SignatureDoesNotMatch"),
        (&hotkey, BOB.file(""), "SignatureDoesNotMatch"),
    ] {
        let mut signed = server.sign(key, &list);
        signed.target = with_prefix(&signed.target, &prefix);
        let answer = server.send_signed(&signed).await;
        if prefix == "data/x/" {
            // Above the own folders only the way down is shown.
            assert!(!answer.text().contains(&BOB.coldkey.to_ss58()), "{}", answer.text());
        } else {
            answer.refused(403, code);
        }
    }
    // A signature in the header covers what it covers.
    let mut signed = server.sign(&session, &Call::get("").query("list-type", "2").query("prefix", "data/"));
    signed.target = with_prefix(&signed.target, &ALICE.file(""));
    server.send_signed(&signed).await.refused(403, "SignatureDoesNotMatch");
    server.store.saw_nothing();
}

#[tokio::test]
async fn the_form_of_a_folder_is_good_as_it_is_handed_out() {
    let server = TestServer::start().await;
    for (source, key) in [
        (Some("x"), ALICE.file("f.parquet")),
        (None, format!("data/hotkey={}/job_id=default/f.parquet", ALICE.ss58())),
    ] {
        let request = crate::harness::vending::folder_request(&ALICE, source);
        let access = ok(&server.post_json("/get-folder-access", &request).await);
        let own = access["fields"]["key"].as_str().unwrap().to_owned();
        assert!(own.ends_with("/${filename}"));
        let file = bytes(3000);
        assert_eq!(upload(&server, &access, &own, &file).await.status, 204);
        assert_eq!(server.store.object(&key).unwrap().data, file);
    }
}
