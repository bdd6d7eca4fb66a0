//! Git LFS's batch API: what is uploaded where, by the basic transfer or by the Hub's multipart transfer.
//!
//! <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>; of the multipart transfer, the header of
//! the upload's action has `chunk_size`, and the URL of each part under its number.
//!
//! Invariant: a multipart instruction has as many parts as the object has chunks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hash::parse_hex;

/// What one request asks for; the Hub's own client asks for as many.
pub(crate) const OBJECTS_MAX: usize = 256;

/// What the storage behind the Hub takes of one object.
const PARTS_MAX: u64 = 10_000;

/// Headers that an upload is sent with.
const HEADERS_MAX: usize = 32;

/// The media type of requests and answers.
pub(super) const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

/// An object by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LfsObject {
    /// The sha256 of the content.
    pub(crate) sha256: [u8; 32],
    /// Its bytes.
    pub(crate) size: u64,
}

#[derive(Serialize)]
struct WrittenObject {
    oid: String,
    size: u64,
}

impl From<&LfsObject> for WrittenObject {
    fn from(object: &LfsObject) -> Self {
        Self { oid: hex::encode(object.sha256), size: object.size }
    }
}

/// The body of a request that asks where to upload `objects` of the branch `revision`.
pub(super) fn request(objects: &[LfsObject], revision: &str) -> Vec<u8> {
    let objects: Vec<WrittenObject> = objects.iter().map(WrittenObject::from).collect();
    let request = serde_json::json!({
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": objects,
        "hash_algo": "sha256",
        "ref": { "name": revision },
    });
    request.to_string().into_bytes()
}

/// The body that asks whether an upload has arrived.
pub(super) fn verification(object: &LfsObject) -> Vec<u8> {
    let WrittenObject { oid, size } = object.into();
    serde_json::json!({ "oid": oid, "size": size }).to_string().into_bytes()
}

/// The body that completes a multipart upload of parts with these ETags.
pub(super) fn completion(object: &LfsObject, etags: &[String]) -> Vec<u8> {
    let parts: Vec<Value> = etags
        .iter()
        .zip(1_u32..)
        .map(|(etag, number)| serde_json::json!({ "partNumber": number, "etag": etag }))
        .collect();
    serde_json::json!({ "oid": hex::encode(object.sha256), "parts": parts }).to_string().into_bytes()
}

/// How an object is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// By one PUT.
    Basic {
        /// The URL.
        href: String,
        /// Headers to send with it.
        headers: Vec<(String, String)>,
    },
    /// By a PUT for each part, and a request that completes them.
    Multipart {
        /// The URL of the request that completes them.
        complete: String,
        /// The size of every part but the last.
        part_bytes: u64,
        /// The URLs of the parts.
        parts: Vec<String>,
    },
}

/// What is to be done about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// The Hub has its content.
    Present,
    /// It is to be uploaded.
    Upload {
        /// How.
        transfer: Transfer,
        /// Where to ask afterwards whether it has arrived.
        verify: Option<String>,
    },
    /// The Hub does not take it.
    Refused(String),
}

/// The answer to a request: an instruction for each object by its sha256.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchAnswer {
    /// By sha256, with the size that the Hub understood.
    pub objects: BTreeMap<[u8; 32], (u64, Instruction)>,
}

#[derive(Deserialize)]
struct Answer {
    objects: Vec<AnsweredObject>,
}

#[derive(Deserialize)]
struct AnsweredObject {
    oid: String,
    size: u64,
    #[serde(default)]
    error: Option<AnsweredError>,
    #[serde(default)]
    actions: Option<Actions>,
}

#[derive(Deserialize)]
struct AnsweredError {
    message: String,
}

#[derive(Deserialize)]
struct Actions {
    #[serde(default)]
    upload: Option<Action>,
    #[serde(default)]
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Option<BTreeMap<String, Value>>,
}

impl BatchAnswer {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let answer: Answer =
            serde_json::from_slice(text).map_err(|_| "its LFS answer is not the API's JSON".to_owned())?;
        if answer.objects.len() > OBJECTS_MAX {
            return Err("its LFS answer has more objects than were asked for".to_owned());
        }
        let mut objects = BTreeMap::new();
        for object in answer.objects {
            let oid = parse_hex(&object.oid).ok_or("its LFS answer has an object without a sha256")?;
            let size = object.size;
            let instruction = match (object.error, object.actions) {
                (Some(error), _) => Instruction::Refused(error.message.chars().take(300).collect()),
                (None, Some(Actions { upload: Some(upload), verify })) => Instruction::Upload {
                    transfer: transfer(upload, size)?,
                    verify: verify.map(|action| action.href),
                },
                (None, Some(Actions { upload: None, .. }) | None) => Instruction::Present,
            };
            if objects.insert(oid, (size, instruction)).is_some() {
                return Err("its LFS answer names an object twice".to_owned());
            }
        }
        Ok(Self { objects })
    }
}

fn transfer(action: Action, size: u64) -> Result<Transfer, String> {
    let header = action.header.unwrap_or_default();
    let Some(part_bytes) = header.get("chunk_size") else {
        let headers = header.into_iter().map(|(name, value)| Some((name, text_of(&value)?)));
        let headers = headers.collect::<Option<Vec<_>>>().filter(|headers| headers.len() <= HEADERS_MAX);
        let headers = headers.ok_or("its LFS answer has headers that are none")?;
        return Ok(Transfer::Basic { href: action.href, headers });
    };
    let fault = || "its LFS answer has not a URL for each part".to_owned();
    let part_bytes: u64 = text_of(part_bytes).and_then(|text| text.parse().ok()).ok_or_else(fault)?;
    let count = size.checked_div_ceil_by(part_bytes).filter(|count| (1..=PARTS_MAX).contains(count));
    let count = count.ok_or_else(fault)?;
    let mut urls = BTreeMap::new();
    for (name, value) in &header {
        if let (Ok(number), Value::String(url)) = (name.parse::<u64>(), value) {
            urls.insert(number, url.clone());
        }
    }
    // The parts are 1 to `count`, each once.
    let is_whole = urls.len() as u64 == count && urls.keys().copied().eq(1..=count);
    if !is_whole {
        return Err(fault());
    }
    Ok(Transfer::Multipart { complete: action.href, part_bytes, parts: urls.into_values().collect() })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Division that rounds up, and has no result for a divisor of 0.
trait CheckedDivCeil {
    fn checked_div_ceil_by(self, divisor: Self) -> Option<Self>
    where
        Self: Sized;
}

impl CheckedDivCeil for u64 {
    fn checked_div_ceil_by(self, divisor: Self) -> Option<Self> {
        (divisor > 0).then(|| self.div_ceil(divisor))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn instruction(fields: &str) -> Result<Instruction, String> {
        let text = format!(r#"{{"transfer":"basic","objects":[{{"oid":"{OID}","size":25,{fields}}}]}}"#);
        let answer = BatchAnswer::parse(text.as_bytes())?;
        Ok(answer.objects.into_values().next().unwrap().1)
    }

    #[test]
    fn an_object_is_uploaded_as_the_hub_says() {
        let basic = r#""actions":{"upload":{"href":"https://s/a","header":{"x-a":"b","n":1}},
            "verify":{"href":"/v"}}"#;
        let headers = vec![("n".to_owned(), "1".to_owned()), ("x-a".to_owned(), "b".to_owned())];
        assert_eq!(
            instruction(basic).unwrap(),
            Instruction::Upload {
                transfer: Transfer::Basic { href: "https://s/a".to_owned(), headers },
                verify: Some("/v".to_owned())
            }
        );
        let multipart = r#""actions":{"upload":{"href":"https://h/c",
            "header":{"chunk_size":"10","00001":"https://s/1","00003":"https://s/3",
            "00002":"https://s/2"}}}"#;
        let parts = ["https://s/1", "https://s/2", "https://s/3"].map(str::to_owned).to_vec();
        assert_eq!(
            instruction(multipart).unwrap(),
            Instruction::Upload {
                transfer: Transfer::Multipart { complete: "https://h/c".to_owned(), part_bytes: 10, parts },
                verify: None
            }
        );
        assert_eq!(instruction(r#""authenticated":true"#).unwrap(), Instruction::Present);
        assert_eq!(instruction(r#""actions":{}"#).unwrap(), Instruction::Present);
        let refused = instruction(r#""error":{"code":422,"message":"too large"}"#).unwrap();
        assert_eq!(refused, Instruction::Refused("too large".to_owned()));
    }

    #[test]
    fn a_multipart_upload_has_all_its_parts() {
        let of = |header: &str| {
            instruction(&format!(r#""actions":{{"upload":{{"href":"h","header":{{{header}}}}}}}"#))
        };
        assert!(of(r#""chunk_size":"10","1":"a","2":"b","3":"c""#).is_ok());
        for bad in [
            r#""chunk_size":"10","1":"a","2":"b""#,
            r#""chunk_size":"10","1":"a","2":"b","3":"c","4":"d""#,
            r#""chunk_size":"10","2":"a","3":"b","4":"c""#,
            r#""chunk_size":"10","1":"a","2":"b","3":4"#,
            r#""chunk_size":"0","1":"a""#,
            r#""chunk_size":"-1","1":"a""#,
            r#""chunk_size":{},"1":"a""#,
            r#""x":[]"#,
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        for bad in ["", "{}", r#"{"objects":[{"oid":"x","size":1}]}"#, r#"{"objects":{}}"#] {
            assert!(BatchAnswer::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let twice = format!(r#"{{"objects":[{{"oid":"{OID}","size":1}},{{"oid":"{OID}","size":1}}]}}"#);
        assert!(BatchAnswer::parse(twice.as_bytes()).is_err());
    }

    #[test]
    fn requests_are_those_of_the_api() {
        let object = LfsObject { sha256: parse_hex(OID).unwrap(), size: 25 };
        let request: Value = serde_json::from_slice(&request(&[object], "main")).unwrap();
        assert_eq!(request["objects"][0], serde_json::json!({ "oid": OID, "size": 25 }));
        assert_eq!((&request["operation"], &request["ref"]["name"]), (&"upload".into(), &"main".into()));
        let completion: Value =
            serde_json::from_slice(&completion(&object, &["\"a\"".to_owned(), "\"b\"".to_owned()])).unwrap();
        assert_eq!(completion["parts"][1], serde_json::json!({ "partNumber": 2, "etag": "\"b\"" }));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_is_read_without_a_panic(text: String) {
            let _ = BatchAnswer::parse(text.as_bytes());
        }

        #[test]
        fn parts_cover_the_object(size in 1..100_000_u64, part_bytes in 1..10_000_u64) {
            let count = size.div_ceil(part_bytes);
            prop_assume!(count <= 200);
            let urls: String = (1..=count).map(|part| format!(r#","{part:05}":"u{part}""#)).collect();
            let text = format!(r#"{{"objects":[{{"oid":"{OID}","size":{size},
                "actions":{{"upload":{{"href":"h",
                "header":{{"chunk_size":"{part_bytes}"{urls}}}}}}}}}]}}"#);
            let answer = BatchAnswer::parse(text.as_bytes()).unwrap();
            let (_, Instruction::Upload { transfer: Transfer::Multipart { parts, .. }, .. }) =
                answer.objects.into_values().next().unwrap() else { panic!("a multipart upload") };
            prop_assert_eq!(parts.len() as u64, count);
            prop_assert_eq!(parts.last().unwrap(), &format!("u{count}"));
        }
    }
}
