//! Trees, page by page, and other questions about what is in a commit.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    http::Request,
    repository::{Commit, File, Repository},
    site::State,
};

/// What is written in a URL as something else.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which part of a tree is asked for.
struct Question {
    /// The folder with its slash, or nothing.
    folder: String,
    is_recursive: bool,
    /// With the last commit of each entry.
    is_expanded: bool,
}

impl Question {
    fn new(request: &Request, path: &str) -> Self {
        let folder = path.trim_matches('/');
        Self {
            folder: if folder.is_empty() { String::new() } else { format!("{folder}/") },
            is_recursive: request.flag("recursive"),
            is_expanded: request.flag("expand"),
        }
    }

    /// All entries in the order of their paths.
    fn entries(&self, commit: &Commit) -> Vec<(String, Value)> {
        let is_asked_for = |path: &str| {
            let below = path.strip_prefix(&self.folder);
            below.is_some_and(|below| !below.is_empty() && (self.is_recursive || !below.contains('/')))
        };
        let files = commit.files.iter().map(|(path, file)| (path.clone(), file_entry(path, file)));
        let folders = Repository::folders(commit);
        let folders = folders.iter().map(|(path, oid)| (path.clone(), folder_entry(path, oid)));
        let mut entries: Vec<_> = folders.chain(files).filter(|(path, _)| is_asked_for(path)).collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        if self.is_expanded {
            entries.iter_mut().for_each(|(_, entry)| entry["lastCommit"] = last_commit(commit));
        }
        entries
    }
}

/// A page of a tree. A page of a branch shows the branch as it is when that page is asked for.
pub fn tree(state: &State, endpoint: &str, request: &Request, commit: &Commit, path: &str) -> Answer {
    let question = Question::new(request, path);
    let entries = question.entries(commit);
    if entries.is_empty() && !question.folder.is_empty() {
        let message = format!("{path} does not exist on this revision");
        return Answer::refusal(404, "EntryNotFound", &message);
    }
    let asked = request.query("limit").and_then(|limit| limit.parse().ok());
    let most = if question.is_expanded { 50 } else { state.limits.page_entries };
    let size = asked.map_or(most, |asked: usize| asked.clamp(1, most));
    let after = match request.query("cursor").map(|cursor| URL_SAFE_NO_PAD.decode(cursor)) {
        None => String::new(),
        Some(Ok(path)) => String::from_utf8_lossy(&path).into_owned(),
        Some(Err(_)) => return Answer::refusal(400, "", "Invalid cursor"),
    };
    let mut left = entries.into_iter().filter(|(path, _)| *path > after).peekable();
    let page: Vec<_> = left.by_ref().take(size).collect();
    let last = page.last().map(|(path, _)| path.clone()).unwrap_or_default();
    let values: Vec<Value> = page.into_iter().map(|(_, entry)| entry).collect();
    let answer = Answer::json(200, &Value::Array(values));
    if left.peek().is_none() {
        return answer;
    }
    let Question { is_recursive, is_expanded, .. } = question;
    let (path, cursor) = (&request.path, URL_SAFE_NO_PAD.encode(last));
    let query = format!("recursive={is_recursive}&expand={is_expanded}&limit={size}&cursor={cursor}");
    answer.header("link", format!("<{endpoint}{path}?{query}>; rel=\"next\""))
}

/// What stands at the paths of a form, one field for each.
pub fn paths_info(request: &Request, commit: &Commit) -> Answer {
    let asked = form(&request.body);
    let folders = Repository::folders(commit);
    let is_expanded =
        asked.iter().any(|(name, value)| name == "expand" && value.eq_ignore_ascii_case("true"));
    let mut found = Vec::new();
    for path in asked.iter().filter(|(name, _)| name == "paths").map(|(_, path)| path.trim_matches('/')) {
        let file = commit.files.get(path).map(|file| file_entry(path, file));
        let Some(mut entry) = file.or_else(|| folders.get(path).map(|oid| folder_entry(path, oid))) else {
            continue;
        };
        if is_expanded {
            entry["lastCommit"] = last_commit(commit);
        }
        found.push(entry);
    }
    Answer::json(200, &Value::Array(found))
}

/// A dataset, with the paths of its files, and with their sizes and names if `blobs` is asked for; or those
/// of its fields alone that `expand` names.
pub fn info(request: &Request, repository: &Repository, commit: &Commit) -> Answer {
    let with_blobs = request.flag("blobs");
    let sibling = |(path, file): (&String, &File)| {
        let mut sibling = json!({ "rfilename": path });
        if with_blobs {
            sibling["size"] = json!(file.content.size());
            sibling["blobId"] = json!(file.git_oid);
            if let Some(lfs) = &file.lfs {
                let (sha256, pointer_size) = (&lfs.sha256, lfs.pointer_size);
                sibling["lfs"] =
                    json!({ "size": file.content.size(), "sha256": sha256, "pointerSize": pointer_size });
            }
        }
        sibling
    };
    let siblings: Vec<Value> = commit.files.iter().map(sibling).collect();
    let last_modified = date(commit);
    let gated = if repository.is_gated() { json!("manual") } else { json!(false) };
    let mut whole = json!({
        "_id": &commit.oid[..24], "id": repository.id, "author": repository.owner(), "sha": commit.oid,
        "lastModified": last_modified, "createdAt": last_modified, "private": repository.is_private(),
        "gated": gated, "disabled": false, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings,
    });
    let asked: Vec<&str> =
        ["expand", "expand[]"].into_iter().flat_map(|name| request.queries(name)).collect();
    if let Some(fields) = whole.as_object_mut().filter(|_| !asked.is_empty()) {
        fields.retain(|name, _| ["_id", "id"].contains(&name.as_str()) || asked.contains(&name.as_str()));
    }
    Answer::json(200, &whole)
}

pub fn refs(repository: &Repository) -> Answer {
    let list = |kind: &str, refs: &BTreeMap<String, String>| {
        let one = |(name, oid): (&String, &String)| {
            let path = format!("refs/{kind}/{name}");
            json!({ "name": name, "ref": path, "targetCommit": oid })
        };
        Value::Array(refs.iter().map(one).collect())
    };
    let (branches, tags) = (list("heads", &repository.branches), list("tags", &repository.tags));
    Answer::json(200, &json!({ "branches": branches, "tags": tags, "converts": [], "pullRequests": [] }))
}

pub fn commits(repository: &Repository, revision: &str) -> Answer {
    let one = |commit: &Arc<Commit>| {
        json!({
            "id": commit.oid, "title": commit.title, "message": "", "date": date(commit),
            "authors": [{ "user": repository.owner() }],
        })
    };
    Answer::json(200, &Value::Array(repository.history(revision).iter().map(one).collect()))
}

fn file_entry(path: &str, file: &File) -> Value {
    let size = file.content.size();
    let mut entry = json!({ "type": "file", "oid": file.git_oid, "size": size, "path": path });
    if let Some(lfs) = &file.lfs {
        entry["lfs"] = json!({ "oid": lfs.sha256, "size": size, "pointerSize": lfs.pointer_size });
    }
    entry
}

fn folder_entry(path: &str, oid: &str) -> Value {
    json!({ "type": "directory", "oid": oid, "size": 0, "path": path })
}

fn last_commit(commit: &Commit) -> Value {
    json!({ "id": commit.oid, "title": commit.title, "date": date(commit) })
}

fn date(commit: &Commit) -> String {
    let time = Timestamp::from_second(commit.seconds as i64).unwrap();
    time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// The fields of a form, decoded.
pub fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body).replace('+', " ");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// A path in a URL, with its slashes.
pub fn encoded(path: &str) -> String {
    let parts = path.split('/').map(|part| utf8_percent_encode(part, ENCODED).to_string());
    parts.collect::<Vec<_>>().join("/")
}
