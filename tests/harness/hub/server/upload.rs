//! How files come in: which way each one goes, what LFS already has, and the commit.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    access::Who,
    answer::Answer,
    content::Content,
    http::Request,
    now_seconds,
    repository::{Commit, File, Files, SMALL_BYTES_MAX, is_for_lfs},
    site::{Site, State},
};

/// An upload in parts.
#[derive(Debug)]
pub struct Upload {
    sha256: String,
    size: u64,
    /// ETag and bytes of each part that is there.
    pub parts: BTreeMap<u64, (String, Bytes)>,
}

/// Keeps what came in, if it is what it was called.
pub fn keep(state: &mut State, sha256: &str, content: Content) {
    if content.sha256() == sha256 {
        state.objects.insert(sha256.to_owned(), content);
    }
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    path: String,
    size: u64,
    #[serde(default)]
    sample: String,
}

/// Which files go to LFS, and what stands at their paths.
pub fn preupload(request: &Request, commit: &Commit) -> Result<Answer, Answer> {
    let asked: Preupload = request.json()?;
    let mut files = Vec::new();
    for file in asked.files {
        check_path(&file.path)?;
        let sample = STANDARD.decode(&file.sample).map_err(|_| bad("a sample is no Base64"))?;
        let mode = if is_for_lfs(&file.path, file.size, &sample) { "lfs" } else { "regular" };
        let oid = commit.files.get(&file.path).map(File::oid);
        files.push(json!({ "path": file.path, "uploadMode": mode, "shouldIgnore": false, "oid": oid }));
    }
    Ok(Answer::json(200, &json!({ "files": files, "commitOid": commit.oid })))
}

#[derive(Deserialize)]
struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
    hash_algo: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

impl Site {
    /// Where to put what LFS does not have.
    pub fn batch(&self, state: &mut State, who: &Who, request: &Request, id: &str) -> Result<Answer, Answer> {
        state.to_write(who, id)?;
        let asked: Batch = request.json()?;
        if asked.operation != "upload" || asked.hash_algo.is_some_and(|name| name != "sha256") {
            return Err(bad("only uploads by SHA-256 are known"));
        }
        let in_parts = asked.transfers.iter().any(|name| name == "multipart");
        let objects: Vec<Value> =
            asked.objects.iter().map(|object| self.batch_object(state, object, in_parts)).collect();
        let is_in_parts = objects.iter().any(|object| !object["actions"]["upload"]["header"].is_null());
        let transfer = if is_in_parts { "multipart" } else { "basic" };
        let answer = Answer::json(200, &json!({ "transfer": transfer, "objects": objects }));
        Ok(answer.header("content-type", "application/vnd.git-lfs+json"))
    }

    fn batch_object(&self, state: &mut State, object: &Object, in_parts: bool) -> Value {
        let Object { oid, size } = object;
        let size = *size;
        let is_oid = oid.len() == 64 && oid.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_oid || size == 0 {
            let error = json!({ "code": 422, "message": "The object has no name or no bytes" });
            return json!({ "oid": oid, "size": size, "error": error });
        }
        if state.objects.get(oid).is_some_and(|content| content.size() == size) {
            return json!({ "oid": oid, "size": size });
        }
        let expires = now_seconds() + state.limits.url_seconds;
        let path = format!("/uploads/{oid}");
        let upload = if in_parts && size >= state.limits.parts_from_bytes {
            let part_bytes = state.limits.part_bytes;
            state.count += 1;
            let id = format!("upload-{}", state.count);
            let mut header = json!({ "chunk_size": part_bytes.to_string() });
            for part in 1..=size.div_ceil(part_bytes) {
                let query = format!("partNumber={part}&uploadId={id}");
                header[format!("{part:05}")] = json!(self.signed_url("PUT", &path, &query, expires));
            }
            let upload = Upload { sha256: oid.clone(), size, parts: BTreeMap::new() };
            state.uploads.insert(id.clone(), upload);
            let href = format!("{}/api/complete_multipart?uploadId={id}", self.endpoint);
            json!({ "href": href, "header": header })
        } else {
            json!({ "href": self.signed_url("PUT", &path, "", expires) })
        };
        let verify = json!({ "href": format!("{}/api/lfs/verify", self.endpoint) });
        let actions = json!({ "upload": upload, "verify": verify });
        json!({ "oid": oid, "size": size, "authenticated": true, "actions": actions })
    }
}

#[derive(Deserialize)]
struct Completion {
    oid: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "partNumber")]
    number: u64,
    etag: String,
}

/// Makes one object of the parts; who knows the upload's id may.
pub fn complete(state: &mut State, request: &Request) -> Result<Answer, Answer> {
    let asked: Completion = request.json()?;
    let id = request.query("uploadId").unwrap_or_default();
    let upload = state.uploads.get(id).filter(|upload| upload.sha256 == asked.oid);
    let upload = upload.ok_or_else(|| Answer::refusal(404, "", "There is no such upload"))?;
    let mut data = Vec::new();
    for (part, place) in asked.parts.iter().zip(1..) {
        match upload.parts.get(&part.number).filter(|_| part.number == place) {
            Some((etag, bytes)) if *etag == part.etag => data.extend_from_slice(bytes),
            _ => return Err(bad("a part is not there, or is another")),
        }
    }
    if data.len() as u64 != upload.size || asked.parts.len() != upload.parts.len() {
        return Err(bad("the parts are not the whole"));
    }
    let sha256 = upload.sha256.clone();
    state.uploads.remove(id);
    keep(state, &sha256, Content::from(data));
    Ok(Answer::json(200, &json!({ "success": true })))
}

/// Whether an object arrived as it was called.
pub fn verify(state: &State, who: &Who, request: &Request) -> Result<Answer, Answer> {
    if !matches!(who, Who::User(user) if user.may_write) {
        return Err(Answer::refusal(401, "", "Invalid username or password."));
    }
    let asked: Object = request.json()?;
    match state.objects.get(&asked.oid) {
        Some(content) if content.size() == asked.size => Ok(Answer::json(200, &json!({ "success": true }))),
        _ => Err(Answer::refusal(422, "", "The object did not arrive, or is not what its name says")),
    }
}

#[derive(Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
enum Line {
    #[serde(rename_all = "camelCase")]
    Header {
        summary: String,
        parent_commit: Option<String>,
    },
    File {
        path: String,
        content: String,
        encoding: Option<String>,
    },
    LfsFile {
        path: String,
        algo: String,
        oid: String,
        size: Option<u64>,
    },
    DeletedFile {
        path: String,
    },
    DeletedFolder {
        path: String,
    },
}

/// A commit, as lines of JSON.
pub fn commit(
    state: &mut State,
    endpoint: &str,
    who: &Who,
    request: &Request,
    (id, revision): (&str, &str),
) -> Result<Answer, Answer> {
    let repository = state.to_write(who, id)?;
    let head = repository.head(revision).ok_or_else(|| no_revision(revision))?;
    let lines = request.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut lines = lines.map(|line| serde_json::from_slice(line).map_err(|error| bad(&error.to_string())));
    let Some(Line::Header { summary, parent_commit }) = lines.next().transpose()? else {
        return Err(bad("a commit begins with its header"));
    };
    if parent_commit.is_some_and(|parent| parent != head.oid) {
        let message = "A commit has happened since. Please refresh and try again.";
        return Err(Answer::refusal(412, "", message));
    }
    let mut files = head.files.clone();
    for line in lines {
        apply(state, &mut files, line?)?;
    }
    let oid = state.commit_to(id, revision, &summary, files);
    let url = format!("{endpoint}/datasets/{id}/commit/{oid}");
    Ok(Answer::json(
        200,
        &json!({
            "success": true, "commitOid": oid, "commitUrl": url, "hookOutput": "", "pullRequestUrl": null,
        }),
    ))
}

fn apply(state: &State, files: &mut Files, line: Line) -> Result<(), Answer> {
    match line {
        Line::Header { .. } => return Err(bad("a commit has one header")),
        Line::File { path, content, encoding } => {
            check_path(&path)?;
            let data = match encoding.as_deref() {
                Some("base64") => STANDARD.decode(content).map_err(|_| bad("a file is no Base64"))?,
                _ => content.into_bytes(),
            };
            let size = data.len() as u64;
            if size > SMALL_BYTES_MAX || (size > 0 && is_for_lfs(&path, size, &data)) {
                return Err(bad(&format!("{path} is for LFS: it is too large, or binary")));
            }
            files.insert(path, File::small(Content::from(data)));
        }
        Line::LfsFile { path, algo, oid, size } => {
            check_path(&path)?;
            let content = state.objects.get(&oid).filter(|_| algo == "sha256");
            let content = content.filter(|content| size.is_none_or(|size| size == content.size()));
            let missing = || bad(&format!("{path} points to an LFS object that is not there"));
            files.insert(path.clone(), File::large(content.ok_or_else(missing)?.clone(), &oid));
        }
        Line::DeletedFile { path } => {
            files.remove(&path).ok_or_else(|| bad(&format!("there is no {path} to delete")))?;
        }
        Line::DeletedFolder { path } => {
            let folder = format!("{}/", path.trim_end_matches('/'));
            files.retain(|path, _| !path.starts_with(&folder));
        }
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), Answer> {
    let is_right = path.split('/').all(|part| !["", ".", "..", ".git"].contains(&part));
    if is_right { Ok(()) } else { Err(bad(&format!("{path:?} is no path of a file"))) }
}

pub fn no_revision(revision: &str) -> Answer {
    Answer::refusal(404, "RevisionNotFound", &format!("Invalid rev id: {revision}"))
}

pub fn bad(message: &str) -> Answer {
    Answer::refusal(400, "", message)
}
