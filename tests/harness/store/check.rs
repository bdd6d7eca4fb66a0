//! What a strict store checks: the signature of each request, and every digest that a body came with.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::Digest as _;

use super::{BUCKET, REGION, Reply, Seen};
use crate::harness::sigv4::{self, Signing, encode, sha256_hex};

/// The access key that a request was signed with; empty where it was not.
pub fn access_key(seen: &Seen) -> &str {
    let authorization = seen.header("authorization").unwrap_or_default();
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    credential.split('/').next().unwrap_or_default()
}

/// Whether the scope of a signature names this region.
pub fn is_of_this_region(seen: &Seen) -> bool {
    seen.header("authorization").unwrap_or_default().contains(&format!("/{REGION}/s3/"))
}

/// Recomputes the signature of what arrived.
pub fn check_signature(seen: &Seen, path: &str, own_key: &str, secret: &str) -> Result<(), String> {
    let authorization = seen.header("authorization").ok_or("not signed")?;
    let fields: BTreeMap<&str, &str> = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("another algorithm")?
        .split(", ")
        .filter_map(|field| field.split_once('='))
        .collect();
    let (access_key, scope) = fields["Credential"].split_once('/').ok_or("no scope")?;
    let date = seen.header("x-amz-date").ok_or("no date")?;
    if access_key != own_key || scope != format!("{}/{REGION}/s3/aws4_request", &date[..8]) {
        return Err(format!("wrong credential {}", fields["Credential"]));
    }
    let wire_path = seen.target.split('?').next().unwrap_or_default();
    if wire_path != encode(path.as_bytes(), true) || !wire_path.starts_with(&format!("/{BUCKET}")) {
        return Err("the path is not in its strict form".to_owned());
    }
    let names: Vec<&str> = fields["SignedHeaders"].split(';').collect();
    let unsigned = seen.headers.keys().find(|name| {
        (name.as_str().starts_with("x-amz-") || *name == "host") && !names.contains(&name.as_str())
    });
    if let Some(unsigned) = unsigned {
        return Err(format!("{unsigned} is not signed"));
    }
    if names.iter().any(|name| *name != "host" && !name.starts_with("x-amz-")) {
        return Err(format!("too much is signed: {names:?}"));
    }
    let headers: Vec<_> = names
        .iter()
        .flat_map(|name| {
            let values = seen.headers.get_all(*name).into_iter();
            values.map(|value| ((*name).to_owned(), value.as_bytes().to_vec()))
        })
        .collect();
    let signing = Signing {
        algorithm: "AWS4-HMAC-SHA256",
        method: &seen.method,
        path,
        query: &seen.query,
        headers: &headers,
        payload: seen.header("x-amz-content-sha256").ok_or("no payload")?,
        date,
        scope,
    };
    let key = sigv4::signing_key(secret, SystemTime::now(), REGION, "s3");
    let expected = sigv4::hmac_signature(&key, &signing.string_to_sign());
    (expected == fields["Signature"]).then_some(()).ok_or_else(|| "the signature is false".to_owned())
}

/// The content of a request body, every digest that it came with checked.
pub fn content(seen: &Seen) -> Result<Vec<u8>, Box<Reply>> {
    let bad = |what: &str| Box::new(Reply::error(400, "BadDigest", what));
    let mut data = seen.body.clone();
    let payload = seen.header("x-amz-content-sha256").unwrap_or_default();
    if payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER" {
        let (decoded, name, value) = unchunk(&seen.body).ok_or_else(|| bad("malformed chunks"))?;
        if seen.header("x-amz-trailer") != Some(name.as_str()) || checksum(&name, &decoded) != value {
            return Err(bad("false trailer"));
        }
        if seen.header("x-amz-decoded-content-length") != Some(decoded.len().to_string().as_str()) {
            return Err(bad("false decoded length"));
        }
        data = decoded;
    } else if payload != "UNSIGNED-PAYLOAD" && payload != sha256_hex(&data) {
        return Err(bad("false sha256"));
    }
    if seen.header("content-md5").is_some_and(|md5| md5 != STANDARD.encode(md5::Md5::digest(&data))) {
        return Err(bad("The Content-MD5 you specified did not match what we received."));
    }
    // At completion they are checksums of the object.
    let completes = seen.method == "POST" && seen.query("uploadId").is_some();
    for (name, value) in seen.headers.iter().filter(|_| !completes) {
        let name = name.as_str();
        if CHECKSUMS.contains(&name) && checksum(name, &data) != value.to_str().unwrap() {
            return Err(bad("a false checksum header"));
        }
    }
    Ok(data)
}

pub const CHECKSUMS: [&str; 10] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-sha512",
    "x-amz-checksum-md5",
    "x-amz-checksum-xxhash64",
    "x-amz-checksum-xxhash3",
    "x-amz-checksum-xxhash128",
];

/// The value of a checksum header or trailer.
pub fn checksum(header: &str, data: &[u8]) -> String {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let crc32 = |algorithm| (crc_fast::checksum(algorithm, data) as u32).to_be_bytes().to_vec();
    STANDARD.encode(match header {
        "x-amz-checksum-crc32" => crc32(Crc32IsoHdlc),
        "x-amz-checksum-crc32c" => crc32(Crc32Iscsi),
        "x-amz-checksum-crc64nvme" => crc_fast::checksum(Crc64Nvme, data).to_be_bytes().to_vec(),
        "x-amz-checksum-sha1" => {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec()
        }
        "x-amz-checksum-sha512" => {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, data).as_ref().to_vec()
        }
        "x-amz-checksum-md5" => md5::Md5::digest(data).to_vec(),
        "x-amz-checksum-xxhash64" => twox_hash::XxHash64::oneshot(0, data).to_be_bytes().to_vec(),
        "x-amz-checksum-xxhash3" => twox_hash::XxHash3_64::oneshot(data).to_be_bytes().to_vec(),
        "x-amz-checksum-xxhash128" => twox_hash::XxHash3_128::oneshot(data).to_be_bytes().to_vec(),
        _ => aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref().to_vec(),
    })
}

pub fn md5_hex(data: &[u8]) -> String {
    hex::encode(md5::Md5::digest(data))
}

/// Unsigned chunks with one trailer: content, name, value.
fn unchunk(mut rest: &[u8]) -> Option<(Vec<u8>, String, String)> {
    let mut data = Vec::new();
    loop {
        let at = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).ok()?, 16).ok()?;
        rest = &rest[at + 2..];
        if size == 0 {
            break;
        }
        data.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let trailer = std::str::from_utf8(rest).ok()?.strip_suffix("\r\n\r\n")?;
    let (name, value) = trailer.split_once(':')?;
    Some((data, name.to_owned(), value.to_owned()))
}
