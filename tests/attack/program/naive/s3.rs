//! What it takes requests for: S3's usual operations, forms, sessions and vended URLs, for everybody.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    Naive,
    http::{Request, hexadecimal},
};
use crate_call::decode;

use super::super::call as crate_call;

/// An answer.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }
}

type Query = Vec<(String, String)>;

fn get<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// Decoded as often as there is something to decode, with dots resolved and odd characters left out.
fn key_of(path: &str) -> String {
    let text = decode(&decode(path)).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let joined = segments.join("/");
    joined.chars().filter(|c| !c.is_ascii_control()).collect()
}

/// Without the bucket, and without a path that needs no signature.
fn object_key(path: &str) -> String {
    let mut path = key_of(path);
    for open in ["docs", "docs2", "healthz", "healthcheck", "openapi.json", "minio/health/live"] {
        if let Some(rest) = path.strip_prefix(open) {
            path = rest.trim_start_matches('/').to_owned();
        }
    }
    path.split_once('/').map_or(String::new(), |(_, key)| key.to_owned())
}

/// Takes the framing of aws-chunked off, if it can be read.
fn unchunked(request: &Request) -> Vec<u8> {
    let text = |name| request.header(name).unwrap_or_default();
    let chunked = text("content-encoding").contains("aws-chunked")
        || text("x-amz-content-sha256").starts_with("STREAMING")
        || request.target.contains("STREAMING");
    let (mut data, mut rest) = (Vec::new(), request.body.as_slice());
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n").filter(|_| chunked) {
        let (line, after) = rest.split_at(at);
        let size = hexadecimal(&String::from_utf8_lossy(line));
        let after = after.get(2..).unwrap_or_default();
        if size == 0 {
            break;
        }
        data.extend(after.iter().take(size));
        rest = after.get(size + 2..).unwrap_or_default();
    }
    if data.is_empty() { request.body.clone() } else { data }
}

impl Naive {
    pub(super) fn handle(&self, request: &Request) -> Reply {
        let mut reply = self.answer(request);
        let claim = request.header("authorization").unwrap_or(&request.target).to_owned();
        reply.headers.push(("x-amz-claim".to_owned(), claim));
        reply
    }

    fn answer(&self, request: &Request) -> Reply {
        let target = request.header("x-original-url").unwrap_or(&request.target);
        let target = match target.strip_prefix("http://") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        });
        let query: Query = pairs.collect();
        if let Some(reply) = self.endpoint(path, request) {
            return reply;
        }
        let key = object_key(path);
        if key.is_empty() { self.bucket(request, &query) } else { self.object(request, &key, &query) }
    }

    fn bucket(&self, request: &Request, query: &Query) -> Reply {
        match request.method.as_str() {
            "POST" if get(query, "delete").is_some() => self.delete_many(request),
            "POST" => self.form(request),
            "GET" => self.list(query),
            _ => Reply::new(200, ""),
        }
    }

    fn object(&self, request: &Request, key: &str, query: &Query) -> Reply {
        let upload = get(query, "uploadId");
        match request.method.as_str() {
            "PUT" => self.put(request, key, query),
            "DELETE" => match upload {
                Some(upload) => match self.uploads.lock().unwrap().remove(upload) {
                    Some(_) => Reply::new(204, ""),
                    None => Reply::new(404, ""),
                },
                None => match self.objects.lock().unwrap().remove(key) {
                    Some(_) => Reply::new(204, ""),
                    None => Reply::new(404, ""),
                },
            },
            "POST" => match upload {
                None => {
                    let mut uploads = self.uploads.lock().unwrap();
                    let id = format!("upload{}", uploads.len() + key.len() * 1000 + request.target.len());
                    let id = format!("{id}-{}", key.replace('/', "-"));
                    uploads.insert(id.clone(), (key.to_owned(), BTreeMap::new()));
                    Reply::new(200, format!("<R><Key>{key}</Key><UploadId>{id}</UploadId></R>"))
                }
                Some(upload) => match self.uploads.lock().unwrap().remove(upload) {
                    Some((_, parts)) => {
                        let whole = parts.into_values().flatten().collect();
                        self.objects.lock().unwrap().insert(key.to_owned(), (whole, Vec::new()));
                        Reply::new(200, "<R></R>")
                    }
                    None => Reply::new(404, ""),
                },
            },
            _ => match upload {
                Some(upload) => match self.uploads.lock().unwrap().get(upload) {
                    Some((_, parts)) => {
                        let parts = parts.keys().map(|n| format!("<PartNumber>{n}</PartNumber>"));
                        Reply::new(200, format!("<R><Key>{key}</Key>{}</R>", parts.collect::<String>()))
                    }
                    None => Reply::new(404, ""),
                },
                None => match self.objects.lock().unwrap().get(key) {
                    Some((content, headers)) => {
                        let mut reply = Reply::new(200, content.clone());
                        reply.headers = headers.clone();
                        let overrides = query.iter().filter_map(|(name, value)| {
                            Some((name.strip_prefix("response-")?.to_owned(), value.clone()))
                        });
                        reply.headers.extend(overrides);
                        reply
                    }
                    None => Reply::new(404, ""),
                },
            },
        }
    }

    fn put(&self, request: &Request, key: &str, query: &Query) -> Reply {
        let source = request.header("x-amz-copy-source");
        let content = match source {
            Some(source) => {
                let source = source.split('?').next().unwrap_or_default();
                let source = source.rsplit("/object/").next().unwrap_or_default();
                let source = key_of(source);
                let objects = self.objects.lock().unwrap();
                let named = source.split_once('/').and_then(|(_, key)| objects.get(key));
                match named.or_else(|| objects.get(&source)) {
                    Some((content, _)) => content.clone(),
                    None if source.is_empty() => Vec::new(),
                    None => return Reply::new(404, ""),
                }
            }
            None => unchunked(request),
        };
        if let Some(upload) = get(query, "uploadId") {
            let number = get(query, "partNumber").and_then(|number| number.parse().ok()).unwrap_or(1);
            let mut uploads = self.uploads.lock().unwrap();
            let Some((_, parts)) = uploads.get_mut(upload) else { return Reply::new(404, "") };
            parts.insert(number, content);
            return Reply::new(200, "<R><ETag>e</ETag></R>");
        }
        let kept = request.headers.iter().filter(|(name, _)| {
            name == "content-encoding" || (name.starts_with("x-amz-") && !name.contains("content"))
        });
        let kept = kept.cloned().collect();
        self.objects.lock().unwrap().insert(key.to_owned(), (content, kept));
        Reply::new(200, "<R><ETag>e</ETag></R>")
    }

    fn list(&self, query: &Query) -> Reply {
        let prefix = get(query, "prefix").unwrap_or_default();
        let delimiter = get(query, "delimiter").filter(|delimiter| !delimiter.is_empty());
        let markers = ["start-after", "marker", "continuation-token"];
        let after = markers.iter().filter_map(|name| get(query, name)).max().unwrap_or_default();
        let mut document = "<ListBucketResult>".to_owned();
        for (key, _) in self
            .objects
            .lock()
            .unwrap()
            .iter()
            .filter(|(key, _)| key.as_str() > after && key.starts_with(prefix))
        {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            match delimiter.and_then(|delimiter| rest.split_once(delimiter)) {
                Some((start, _)) => document.push_str(&format!(
                    "<CommonPrefixes><Prefix>{prefix}{start}{}</Prefix></CommonPrefixes>",
                    delimiter.unwrap_or_default()
                )),
                None => document.push_str(&format!("<Contents><Key>{key}</Key></Contents>")),
            }
        }
        for (id, (key, _)) in
            self.uploads.lock().unwrap().iter().filter(|(_, (key, _))| key.starts_with(prefix))
        {
            document.push_str(&format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>"));
        }
        Reply::new(200, format!("{document}</ListBucketResult>"))
    }

    fn delete_many(&self, request: &Request) -> Reply {
        let body = unchunked(request);
        let mut text = String::from_utf8_lossy(&body).into_owned();
        while let Some((_, entity)) = text.clone().split_once("<!ENTITY ") {
            let mut words = entity.split(['"', '>']);
            let name = words.next().unwrap_or_default().trim().to_owned();
            let value = words.next().unwrap_or_default();
            text = text.replacen("<!ENTITY ", "", 1).replace(&format!("&{name};"), value);
        }
        for rest in text.replace("<![CDATA[", "").replace("]]>", "").split("<Key").skip(1) {
            let key = rest.split_once('>').map_or("", |(_, key)| key).split('<').next().unwrap_or_default();
            self.objects.lock().unwrap().remove(&key_of(key));
        }
        Reply::new(200, "<DeleteResult></DeleteResult>")
    }

    fn form(&self, request: &Request) -> Reply {
        let content_type = request.header("content-type").unwrap_or_default();
        let boundary = content_type.split("boundary=").nth(1).unwrap_or("XX");
        let text: String = request.body.iter().map(|byte| char::from(*byte)).collect();
        let (mut key, mut filename, mut file) = (String::new(), String::new(), None);
        for part in text.split(&format!("--{boundary}")) {
            let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
            let content = content.strip_suffix("\r\n").unwrap_or(content);
            let named = |name: &str| {
                let found = head.split(&format!(" {name}=\"")).nth(1);
                found.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
            };
            match named("name").as_str() {
                "key" if key.is_empty() => content.clone_into(&mut key),
                "file" => {
                    filename = named("filename");
                    file = Some(content.as_bytes().to_vec());
                }
                _ => {}
            }
        }
        let key = key_of(&key.replace("${filename}", &filename));
        self.objects.lock().unwrap().insert(key, (file.unwrap_or_default(), Vec::new()));
        Reply::new(204, "")
    }

    /// Sessions and vended URLs, for whoever names a hotkey.
    fn endpoint(&self, path: &str, request: &Request) -> Option<Reply> {
        let host = request.header("host").unwrap_or_default();
        let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let list = format!("http://{host}/bucket?list-type=2");
        let answer = match path.split('?').next().unwrap_or_default() {
            "/v1/session" => json!({
                "AccessKeyId": request.header("x-bittensor-hotkey"), "SecretAccessKey": "x",
                "SessionToken": "x", "Expiration": "2030-01-01T00:00:00Z",
            }),
            "/get-folder-access" => {
                json!({"folder": "", "url": format!("http://{host}/bucket"), "fields": {}, "list_url": list})
            }
            "/get-validator-access" => json!({"urls": {"global": {"list_all_data": list}}}),
            "/get-miner-specific-access" => json!({"miner_url": list}),
            "/get-folder-presigned-urls" => json!({"folder_urls": {}}),
            "/get-file-presigned-urls" => {
                let key = asked["file_keys"][0].as_str().unwrap_or_default();
                let url = format!("http://{host}/bucket/{key}");
                json!({"file_urls": {key: {"presigned_url": url}}})
            }
            _ => return None,
        };
        Some(Reply::new(200, answer.to_string()))
    }
}
