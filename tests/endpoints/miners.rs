//! `/get-folder-access`, in both eras of its string.

use serde_json::{Value, json};

use crate::harness::{
    server::{ALICE, BOB, BUCKET, STRANGER, Setup, TestServer, bytes, registry},
    sigv4::encode,
    vending::{folder_request, now, ok, refused, signature},
};

const PATH: &str = "/get-folder-access";

/// Posts the handed-out form as the vending server's clients do: the key overwritten, the file last.
pub(super) async fn upload(
    server: &TestServer,
    access: &Value,
    key: &str,
    file: &[u8],
) -> crate::harness::client::Answer {
    let mut body = Vec::new();
    for (name, value) in access["fields"].as_object().unwrap() {
        let value = if name == "key" { key } else { value.as_str().unwrap() };
        body.extend(
            format!("--0f\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    body.extend(b"--0f\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.parquet\"\r\n\r\n");
    body.extend(file);
    body.extend(b"\r\n--0f--\r\n");
    let path = access["url"]
        .as_str()
        .unwrap()
        .strip_prefix(&format!("http://{}", server.host()))
        .unwrap()
        .to_owned();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\n\
         content-type: multipart/form-data; boundary=0f\r\ncontent-length: {}\r\n\r\n",
        server.host(),
        body.len()
    );
    server.send_raw("POST", &[head.as_bytes(), &body].concat()).await
}

#[tokio::test]
async fn s10_small_files_fit_through_a_form_that_is_handed_out() {
    let small = "[limits.small_files]\nnames = [\"_SUCCESS\"]".to_owned();
    let server = TestServer::with(Setup { limits: small, ..Setup::default() }).await;
    let access = ok(&server.post_json(PATH, &folder_request(&ALICE, Some("x"))).await);
    let name = ALICE.file("_SUCCESS");
    assert_eq!(upload(&server, &access, &name, b"").await.status, 204);
    assert_eq!(server.store.object(&name).unwrap().data, b"");
    server.store.forget();
    upload(&server, &access, &ALICE.file("f"), &bytes(1023)).await.refused(400, "EntityTooSmall");
    server.store.saw_nothing();
}

#[tokio::test]
async fn both_eras_get_a_form_and_a_list_that_lead_through_the_gate() {
    let server = TestServer::start().await;
    for (source, folder, below, name) in [
        (Some("x"), ALICE.file(""), "", "f.parquet"),
        (Some("reddit"), ALICE.file("").replace("/x/", "/reddit/"), "", "deep/f.parquet"),
        (None, format!("data/hotkey={}/", ALICE.ss58()), "job_id=default/", "job_id=j1/f.parquet"),
    ] {
        let access = ok(&server.post_json(PATH, &folder_request(&ALICE, source)).await);
        let names: Vec<_> = access.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["expiry", "fields", "folder", "list_url", "structure_info", "url"]);
        assert_eq!(access["folder"], json!(folder));
        assert_eq!(access["url"], json!(format!("http://{}/{BUCKET}", server.host())));
        let fields = access["fields"].as_object().unwrap();
        let names: Vec<_> = fields.keys().map(String::as_str).collect();
        let mut expected = [
            "key",
            "acl",
            "x-amz-storage-class",
            "x-amz-algorithm",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-security-token",
            "policy",
            "x-amz-signature",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(fields["key"], json!(format!("{folder}{below}${{filename}}")));
        let file = bytes(5000);
        let key = format!("{folder}{name}");
        assert_eq!(upload(&server, &access, &key, &file).await.status, 204);
        assert_eq!(server.store.object(&key).unwrap().data, file);
        // Names in lists that are handed out are percent-encoded (P52).
        let name = encode(name.as_bytes(), true);
        assert!(server.follow(access["list_url"].as_str().unwrap(), "").await.ok().text().contains(&name));
        upload(&server, &access, &BOB.file("f"), &file).await.refused(403, "AccessDenied");
        upload(&server, &access, &key, &bytes(1000)).await.refused(400, "EntityTooSmall");
    }
}

#[tokio::test]
async fn the_coldkey_is_the_chains_and_the_string_is_the_hotkeys() {
    let server = TestServer::start().await;
    let mut foreign = folder_request(&ALICE, Some("x"));
    foreign["coldkey"] = json!(BOB.coldkey.to_ss58());
    refused(&server.post_json(PATH, &foreign).await, 401, "Invalid signature");
    let timestamp = now();
    let string = format!("s3:access:{}:x:{timestamp}", BOB.coldkey.to_ss58());
    foreign["timestamp"] = json!(timestamp);
    foreign["signature"] = json!(signature(&ALICE.hotkey, &string));
    refused(&server.post_json(PATH, &foreign).await, 403, "coldkey is not the owner");
    refused(&server.post_json(PATH, &folder_request(&STRANGER, Some("x"))).await, 403, "NotRegistered");
    let mut stolen = folder_request(&ALICE, Some("x"));
    stolen["hotkey"] = json!(BOB.ss58());
    refused(&server.post_json(PATH, &stolen).await, 401, "Invalid signature");
    refused(&server.post_json(PATH, &folder_request(&ALICE, Some("web"))).await, 400, "Invalid source");
    refused(&server.post_json(PATH, &folder_request(&ALICE, Some("x/../y"))).await, 400, "Invalid source");
    server.store.saw_nothing();
}

#[tokio::test]
async fn windows_and_shapes_are_the_seeds() {
    let server = TestServer::start().await;
    let coldkey = ALICE.coldkey.to_ss58();
    let at = |timestamp: u64, expiry: u64| {
        let string = format!("s3:access:{coldkey}:x:{timestamp}");
        json!({
            "coldkey": coldkey, "hotkey": ALICE.ss58(), "source": "x", "timestamp": timestamp,
            "expiry": expiry,
                "signature": signature(&ALICE.hotkey, &string) })
    };
    let now = now();
    for (timestamp, expiry) in [(now - 310, now + 100), (now + 70, now + 1000), (now, now - 10)] {
        refused(&server.post_json(PATH, &at(timestamp, expiry)).await, 400, "Invalid timestamp");
    }
    for (timestamp, expiry) in [(now - 290, now + 100), (now + 50, now + 1000), (now, u64::MAX)] {
        ok(&server.post_json(PATH, &at(timestamp, expiry)).await);
    }
    // With 0x, wrapped by a browser's wallet, and twice: the same again.
    let string = format!("s3:access:{coldkey}:x:{now}");
    for signed in [
        format!("0x{}", signature(&ALICE.hotkey, &string)),
        signature(&ALICE.hotkey, &format!("<Bytes>{string}</Bytes>")),
        signature(&ALICE.hotkey, &format!("<Bytes>{string}</Bytes>")),
    ] {
        let mut request = at(now, now + 100);
        request["signature"] = json!(signed);
        request["more"] = json!("is ignored");
        let access = ok(&server.post_json(PATH, &request).await);
        server.follow(access["list_url"].as_str().unwrap(), "").await.ok();
    }
    for body in [json!([]), json!({}), json!({ "coldkey": coldkey }), json!("x")] {
        refused(&server.post_json(PATH, &body).await, 422, "Invalid request");
    }
    let mut request = at(now, now + 100);
    request["hotkey"] = json!("5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM");
    refused(&server.post_json(PATH, &request).await, 400, "Invalid hotkey");
    let large = json!({ "coldkey": "c".repeat(5000) });
    assert_eq!(server.post_json(PATH, &large).await.status, 400);
}

#[tokio::test]
async fn p17_attempts_are_bounded_before_a_signature_costs_anything() {
    let limits = "[limits.address]\nrequests_per_second = 20\nrequests_burst = 200".to_owned();
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let mut busy = false;
    for _ in 0..400 {
        let answer = server.post_json(PATH, &json!({})).await;
        busy |= answer.status == 503 && answer.get("retry-after").is_some();
    }
    assert!(busy);
}

#[tokio::test]
async fn p38_what_was_handed_out_ends_with_the_registration() {
    let server = TestServer::start().await;
    let access = ok(&server.post_json(PATH, &folder_request(&ALICE, Some("x"))).await);
    std::fs::write(server.registry(), registry(&[&BOB], &[])).unwrap();
    upload(&server, &access, &ALICE.file("f"), &bytes(2000)).await.refused(403, "AccessDenied");
    server.follow(access["list_url"].as_str().unwrap(), "").await.refused(403, "AccessDenied");
    server.store.saw_nothing();
}

#[tokio::test]
async fn a_server_with_a_receiver_takes_no_string_that_names_none() {
    let session = format!("issue_with = \"one\"\nreceiver = \"{}\"", BOB.ss58());
    let server = TestServer::with(Setup { session, ..Setup::default() }).await;
    refused(&server.post_json(PATH, &folder_request(&ALICE, Some("x"))).await, 403, "POST /v1/session");
}
