//! `/get-folder-access`, in both eras of its string.

use serde_json::{Value, json};

use crate::{
    ask::{folder_request, now, ok, refused, signature},
    gate::{A, B, BUCKET, Gate, STRANGER, Setup, bytes, registry},
};

const PATH: &str = "/get-folder-access";

/// Posts the handed-out form as the vending server's clients do: the key overwritten, the file last.
async fn upload(gate: &Gate, access: &Value, key: &str, file: &[u8]) -> crate::client::Answer {
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
    let path =
        access["url"].as_str().unwrap().strip_prefix(&format!("http://{}", gate.host())).unwrap().to_owned();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=0f\r\ncontent-length: {}\r\n\r\n",
        gate.host(),
        body.len()
    );
    gate.send_raw("POST", &[head.as_bytes(), &body].concat()).await
}

#[tokio::test]
async fn both_eras_get_a_form_and_a_list_that_lead_through_the_gate() {
    let gate = Gate::start().await;
    for (source, folder, name) in [
        (Some("x"), A.file(""), "f.parquet"),
        (Some("reddit"), A.file("").replace("/x/", "/reddit/"), "deep/f.parquet"),
        (None, format!("data/hotkey={}/", A.ss58()), "job_id=j1/f.parquet"),
    ] {
        let access = ok(&gate.post_json(PATH, &folder_request(&A, source)).await);
        let names: Vec<_> = access.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["expiry", "fields", "folder", "list_url", "structure_info", "url"]);
        assert_eq!(access["folder"], json!(folder));
        assert_eq!(access["url"], json!(format!("http://{}/{BUCKET}", gate.host())));
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
        assert_eq!(fields["key"], json!(format!("{folder}${{filename}}")));
        let file = bytes(5000);
        let key = format!("{folder}{name}");
        assert_eq!(upload(&gate, &access, &key, &file).await.status, 204);
        assert_eq!(gate.store.object(&key).unwrap().data, file);
        assert!(gate.follow(access["list_url"].as_str().unwrap(), "").await.ok().text().contains(name));
        upload(&gate, &access, &B.file("f"), &file).await.refused(403, "AccessDenied");
        upload(&gate, &access, &key, &bytes(1000)).await.refused(400, "EntityTooSmall");
    }
}

#[tokio::test]
async fn the_coldkey_is_the_chains_and_the_string_is_the_hotkeys() {
    let gate = Gate::start().await;
    let mut foreign = folder_request(&A, Some("x"));
    foreign["coldkey"] = json!(B.coldkey.to_ss58());
    refused(&gate.post_json(PATH, &foreign).await, 401, "Invalid signature");
    let timestamp = now();
    let string = format!("s3:access:{}:x:{timestamp}", B.coldkey.to_ss58());
    foreign["timestamp"] = json!(timestamp);
    foreign["signature"] = json!(signature(&A.hotkey, &string));
    refused(&gate.post_json(PATH, &foreign).await, 403, "coldkey is not the owner");
    refused(&gate.post_json(PATH, &folder_request(&STRANGER, Some("x"))).await, 403, "NotRegistered");
    let mut stolen = folder_request(&A, Some("x"));
    stolen["hotkey"] = json!(B.ss58());
    refused(&gate.post_json(PATH, &stolen).await, 401, "Invalid signature");
    refused(&gate.post_json(PATH, &folder_request(&A, Some("web"))).await, 400, "Invalid source");
    refused(&gate.post_json(PATH, &folder_request(&A, Some("x/../y"))).await, 400, "Invalid source");
    gate.store.saw_nothing();
}

#[tokio::test]
async fn windows_and_shapes_are_the_seeds() {
    let gate = Gate::start().await;
    let coldkey = A.coldkey.to_ss58();
    let at = |timestamp: u64, expiry: u64| {
        let string = format!("s3:access:{coldkey}:x:{timestamp}");
        json!({ "coldkey": coldkey, "hotkey": A.ss58(), "source": "x", "timestamp": timestamp, "expiry": expiry,
                "signature": signature(&A.hotkey, &string) })
    };
    let now = now();
    for (timestamp, expiry) in [(now - 310, now + 100), (now + 70, now + 1000), (now, now - 10)] {
        refused(&gate.post_json(PATH, &at(timestamp, expiry)).await, 400, "Invalid timestamp");
    }
    for (timestamp, expiry) in [(now - 290, now + 100), (now + 50, now + 1000), (now, u64::MAX)] {
        ok(&gate.post_json(PATH, &at(timestamp, expiry)).await);
    }
    // With 0x, wrapped by a browser's wallet, and twice: the same again.
    let string = format!("s3:access:{coldkey}:x:{now}");
    for signed in [
        format!("0x{}", signature(&A.hotkey, &string)),
        signature(&A.hotkey, &format!("<Bytes>{string}</Bytes>")),
        signature(&A.hotkey, &format!("<Bytes>{string}</Bytes>")),
    ] {
        let mut request = at(now, now + 100);
        request["signature"] = json!(signed);
        request["more"] = json!("is ignored");
        let access = ok(&gate.post_json(PATH, &request).await);
        gate.follow(access["list_url"].as_str().unwrap(), "").await.ok();
    }
    for body in [json!([]), json!({}), json!({ "coldkey": coldkey }), json!("x")] {
        refused(&gate.post_json(PATH, &body).await, 400, "Invalid request");
    }
    let mut request = at(now, now + 100);
    request["hotkey"] = json!("5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM");
    refused(&gate.post_json(PATH, &request).await, 400, "Invalid hotkey");
    let large = json!({ "coldkey": "c".repeat(5000) });
    assert_eq!(gate.post_json(PATH, &large).await.status, 400);
}

#[tokio::test]
async fn p17_attempts_are_bounded_before_a_signature_costs_anything() {
    let gate = Gate::start().await;
    let mut busy = false;
    for _ in 0..400 {
        let answer = gate.post_json(PATH, &json!({})).await;
        busy |= answer.status == 503 && answer.get("retry-after").is_some();
    }
    assert!(busy);
}

#[tokio::test]
async fn p38_what_was_handed_out_ends_with_the_registration() {
    let gate = Gate::start().await;
    let access = ok(&gate.post_json(PATH, &folder_request(&A, Some("x"))).await);
    std::fs::write(gate.registry(), registry(&[&B], &[])).unwrap();
    upload(&gate, &access, &A.file("f"), &bytes(2000)).await.refused(403, "AccessDenied");
    gate.follow(access["list_url"].as_str().unwrap(), "").await.refused(403, "AccessDenied");
    gate.store.saw_nothing();
}

#[tokio::test]
async fn a_server_with_a_receiver_takes_no_string_that_names_none() {
    let session = format!("issue_with = \"one\"\nreceiver = \"{}\"", B.ss58());
    let gate = Gate::with(Setup { session, ..Setup::default() }).await;
    refused(&gate.post_json(PATH, &folder_request(&A, Some("x"))).await, 403, "POST /v1/session");
}
