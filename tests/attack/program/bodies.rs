//! What the body is: a false one must never become an object, and an old object must outlive it.

use std::time::Duration;

use super::{
    Arena, Check, Finding, Identity, Stop,
    call::{SIGNED_CHUNKS, UNSIGNED, UNSIGNED_TRAILER, checksum, sha256_hex},
    wire::Connection,
};

type Verdict = Result<Finding, Stop>;

pub(super) const CHECKS: &[Check] = &[
    Check::new("p5-wrong-sha256", "a body that is not the one that was signed", wrong_sha256),
    Check::new("p5-wrong-md5", "a Content-MD5 that is another body's", wrong_md5),
    Check::new("p5-short-body", "a body that ends before its length", short_body),
    Check::new("p64-false-body-over-an-object", "a false body over an object that stands", over_an_object),
    Check::new("p4-words-without-proof", "a STREAMING word before a plain body", words),
    Check::new("p6-wrong-checksums", "checksums in headers that are another body's", header_checksums),
    Check::new("p6-wrong-trailers", "checksums in trailers that are another body's", trailers),
    Check::new("p7-streaming-documents", "a streaming form on a request whose body is a document", documents),
    Check::new("p42-no-length", "an upload without any length", no_length),
    Check::new("p5-false-part", "a false body as a part of an upload", false_part),
];

const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];

fn wrong_sha256(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    for bytes in [1024, 2000, 70_000, 2_000_000] {
        let (key, content) = (arena.key(who), arena.content_of(bytes));
        trial.honest_write(who, &key, &arena.call("PUT", &key).body(&content), &content)?;
        let (key, mut other) = (arena.key(who), content.clone());
        if let Some(last) = other.last_mut() {
            *last ^= 1;
        }
        let request = arena.call("PUT", &key).body(&content).sign(&arena.target, who).with_body(other);
        trial.must_not_write(&format!("last of {bytes} bytes changed"), who, (&key, None), &request)?;
    }
    for hash in
        [sha256_hex(b""), "0".repeat(64), "0".repeat(63), "unsigned-payload".to_owned(), String::new()]
    {
        let key = arena.key(who);
        let call = arena.call("PUT", &key).body(&arena.content()).payload(&hash);
        trial.must_not_write(&format!("{hash:.16}"), who, (&key, None), &call.sign(&arena.target, who))?;
    }
    trial.end("nothing stands")
}

fn wrong_md5(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    for md5 in ["1B2M2Y8AsgTpgAmY7PhCfg==", "AAAAAAAAAAAAAAAAAAAAAA==", "not base64"] {
        let (key, content) = (arena.key(who), arena.content());
        trial.honest_write(who, &key, &arena.call("PUT", &key).body(&content), &content)?;
        let key = arena.key(who);
        let call = arena.call("PUT", &key).body(&content).payload(UNSIGNED).header("content-md5", md5);
        trial.must_not_write(md5, who, (&key, None), &call.sign(&arena.target, who))?;
    }
    trial.end("nothing stands")
}

/// Sends all but the last `missing` bytes, closes, and lets the server notice.
fn send_short(arena: &Arena, bytes: &[u8], missing: usize) -> super::wire::Answer {
    let Ok(mut connection) = Connection::open(&arena.target) else { return Default::default() };
    let _ = connection.send(bytes.get(..bytes.len() - missing).unwrap_or_default());
    let _ = connection.shut();
    let answer = connection.answer("PUT").unwrap_or_default();
    std::thread::sleep(Duration::from_millis(50));
    answer
}

fn short_body(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    for (bytes, missing) in [(2000, 1), (2000, 900), (500_000, 1)] {
        for payload in ["", UNSIGNED, UNSIGNED_TRAILER] {
            let (key, content) = (arena.key(who), arena.content_of(bytes));
            let mut call = arena.call("PUT", &key).body(&content);
            if payload == UNSIGNED_TRAILER {
                call = call.trailer("x-amz-checksum-crc32");
            }
            if !payload.is_empty() {
                call = call.payload(payload);
            }
            trial.honest_write(who, &key, &call, &content)?;
            let fresh = arena.key(who);
            let request = arena.call("PUT", &fresh).body(&content);
            let request = if payload.is_empty() { request } else { request.payload(payload) };
            let request =
                if payload == UNSIGNED_TRAILER { request.trailer("x-amz-checksum-crc32") } else { request };
            let request = request.sign(&arena.target, who);
            let missing = if payload == UNSIGNED_TRAILER { missing + 60 } else { missing };
            let answer = send_short(arena, &[request.head(), request.body].concat(), missing);
            let label = format!("{missing} of {bytes} bytes missing, {payload}");
            if trial.goes_on() {
                trial.must_be_as_before(&label, who, (&fresh, None), &answer)?;
            }
        }
    }
    trial.end("nothing stands")
}

fn over_an_object(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let before = (key.as_str(), Some(content.as_slice()));
    let other = arena.content_of(3000);
    let sign = |call: super::call::Call| call.sign(&arena.target, who);
    let call = arena.call("PUT", &key).body(&other);
    trial.must_not_write("another body", who, before, &sign(call.clone()).with_body(arena.content()))?;
    let trailer = call.clone().payload(UNSIGNED_TRAILER).trailer_value("x-amz-checksum-crc32", "AAAAAA==");
    trial.must_not_write("false trailer", who, before, &sign(trailer))?;
    let mut chunks = sign(call.clone().payload(SIGNED_CHUNKS));
    if let Some(byte) = chunks.body.get_mut(500) {
        *byte ^= 1;
    }
    trial.must_not_write("false chunk", who, before, &chunks)?;
    if trial.goes_on() {
        let request = sign(call.payload(UNSIGNED));
        let answer = send_short(arena, &[request.head(), request.body].concat(), 1);
        trial.must_be_as_before("short body", who, before, &answer)?;
    }
    trial.end("the old object reads back whole")
}

fn words(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content();
    let key = arena.key(who);
    let honest = arena.call("PUT", &key).body(&content).payload(SIGNED_CHUNKS);
    trial.honest_write(who, &key, &honest, &content)?;
    for word in [
        SIGNED_CHUNKS,
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        UNSIGNED_TRAILER,
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD",
        "STREAMING-",
        "STREAMING-ANYTHING",
    ] {
        let key = arena.key(who);
        let call = arena.call("PUT", &key).body(&content).payload(word).in_one_piece();
        let length = content.len().to_string();
        for call in [call.clone(), call.header("x-amz-decoded-content-length", &length)] {
            trial.must_not_write(word, who, (&key, None), &call.sign(&arena.target, who))?;
        }
    }
    trial.end("nothing stands")
}

fn header_checksums(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content();
    for name in CHECKSUMS {
        let key = arena.key(who);
        let call = arena.call("PUT", &key).body(&content).payload(UNSIGNED);
        let honest = call.header(name, &checksum(name, &content));
        trial.honest_write(who, &key, &honest, &content)?;
        let key = arena.key(who);
        let call = arena.call("PUT", &key).body(&content).payload(UNSIGNED);
        let call = call.header(name, &checksum(name, b"another body"));
        trial.must_not_write(name, who, (&key, None), &call.sign(&arena.target, who))?;
    }
    trial.end("nothing stands")
}

fn trailers(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content_of(40_000);
    for payload in [UNSIGNED_TRAILER, super::call::SIGNED_TRAILER] {
        for name in CHECKSUMS {
            let key = arena.key(who);
            let put = |key: &str| arena.call("PUT", key).body(&content).payload(payload);
            trial.honest_write(who, &key, &put(&key).trailer(name), &content)?;
            let key = arena.key(who);
            let call = put(&key).trailer_value(name, &checksum(name, b"another body"));
            trial.must_not_write(name, who, (&key, None), &call.sign(&arena.target, who))?;
        }
    }
    let key = arena.key(who);
    let promised = arena.call("PUT", &key).body(&content).payload(UNSIGNED_TRAILER);
    let promised = promised.header("x-amz-trailer", "x-amz-checksum-crc32").sign(&arena.target, who);
    trial.must_not_write("promised and missing", who, (&key, None), &promised)?;
    let other = arena.call("PUT", &key).body(&content).payload(UNSIGNED_TRAILER);
    let other = other.trailer("x-amz-checksum-crc32").sign(&arena.target, who);
    let body = String::from_utf8_lossy(&other.body).replace("x-amz-checksum-crc32:", "x-amz-meta-a:");
    trial.must_not_write("another name", who, (&key, None), &other.with_body(body.into_bytes()))?;
    trial.end("nothing stands")
}

fn documents(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, content) = arena.object(who)?;
    let (other, _) = arena.object(who)?;
    let batch = |key: &str| format!("<Delete><Object><Key>{key}</Key></Object></Delete>").into_bytes();
    let call = |body: &[u8]| {
        let md5 = content_md5(body);
        arena.call("POST", "").query("delete", "").body(body).header("content-md5", &md5)
    };
    trial.honest("batch delete", &arena.ask(who, &call(&batch(&other))))?;
    for payload in [UNSIGNED_TRAILER, SIGNED_CHUNKS] {
        let mut call = arena.call("POST", "").query("delete", "").body(&batch(&key)).payload(payload);
        if payload == UNSIGNED_TRAILER {
            call = call.trailer("x-amz-checksum-crc32");
        }
        let before = (key.as_str(), Some(content.as_slice()));
        trial.must_not_write(payload, who, before, &call.sign(&arena.target, who))?;
    }
    trial.end("the object reads back whole")
}

/// What old stores want of a document.
pub(super) fn content_md5(body: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use md5::{Digest as _, Md5};
    STANDARD.encode(Md5::digest(body))
}

fn no_length(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let content = arena.content();
    let key = arena.key(who);
    let call = arena.call("PUT", &key).body(&content).payload(UNSIGNED);
    trial.honest_write(who, &key, &call, &content)?;
    let key = arena.key(who);
    let request = arena.call("PUT", &key).body(&content).payload(UNSIGNED).sign(&arena.target, who);
    let request = request.without("content-length");
    trial.must_not_write("nothing said of the body", who, (&key, None), &request)?;
    trial.end("nothing stands")
}

fn false_part(arena: &Arena) -> Verdict {
    let (who, mut trial) = (&arena.attacker, arena.trial());
    let (key, upload) = begin_upload(arena, who)?;
    let part = |number: &str| {
        arena.call("PUT", &key).query("partNumber", number).query("uploadId", &upload).body(&arena.content())
    };
    trial.honest("UploadPart", &arena.ask(who, &part("7")))?;
    let signed = part("8").sign(&arena.target, who);
    let trailer = part("8").payload(UNSIGNED_TRAILER).trailer_value("x-amz-checksum-crc32", "AAAAAA==");
    for (label, request) in [
        ("another body", signed.with_body(arena.content())),
        ("false trailer", trailer.sign(&arena.target, who)),
    ] {
        if !trial.goes_on() {
            break;
        }
        let answer = arena.send(&request);
        let parts = arena.ask(who, &arena.call("GET", &key).query("uploadId", &upload));
        trial.honest("ListParts", &parts)?;
        let there = parts.holds(b"<PartNumber>8</PartNumber>");
        trial.tried(label, &answer, there.then(|| "and the part stands".to_owned()));
    }
    arena.ask(who, &arena.call("DELETE", &key).query("uploadId", &upload));
    trial.end("the part is not listed")
}

/// A key and the id of its upload.
pub(super) fn begin_upload(arena: &Arena, who: &Identity) -> Result<(String, String), Stop> {
    let key = arena.key(who);
    let answer = arena.ask(who, &arena.call("POST", &key).query("uploads", ""));
    let upload = answer.element("UploadId").filter(|_| answer.is_success());
    let why = format!("an honest CreateMultipartUpload is answered {}", answer.brief());
    Ok((key, upload.ok_or_else(|| Stop::not_applicable(why))?))
}
