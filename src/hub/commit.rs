//! Commits: which files go by LFS and which inside the commit (`preupload`), and the commit itself, lines of
//! JSON (<https://github.com/huggingface/huggingface_hub/issues/1085#issuecomment-1265208073>).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;

use super::hash::{ContentHash, parse_hex};

/// What one question about upload modes names; the Hub's own client asks for as many.
pub(crate) const FILES_MAX: usize = 256;

/// What the Hub looks at of each file.
pub(crate) const SAMPLE_BYTES_MAX: usize = 512;

/// How a file gets into the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadMode {
    /// By LFS.
    Lfs,
    /// Inside the commit.
    Regular,
}

/// What the Hub says of one file before it is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preupload {
    /// How it gets there.
    pub(crate) mode: UploadMode,
    /// Whether the repository's `.gitignore` names it.
    pub(crate) is_ignored: bool,
    /// What stands under its path: the sha256 of a file in LFS, the hash of a blob of Git.
    pub(crate) present: Option<ContentHash>,
}

/// A file of which the mode is asked.
pub(crate) struct Sample<'a> {
    /// The path in the repository.
    pub(crate) path: &'a str,
    /// Its bytes.
    pub(crate) size: u64,
    /// The first of them.
    pub(crate) start: &'a [u8],
}

/// The body that asks how files are uploaded.
pub(super) fn preupload_request(files: &[Sample<'_>]) -> Vec<u8> {
    let files: Vec<_> = files
        .iter()
        .map(|file| json!({ "path": file.path, "sample": STANDARD.encode(file.start), "size": file.size }))
        .collect();
    json!({ "files": files }).to_string().into_bytes()
}

/// The answer to it, by path.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_preupload(text: &[u8]) -> Result<BTreeMap<String, Preupload>, String> {
    #[derive(Deserialize)]
    struct Answer {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct File {
        path: String,
        upload_mode: String,
        #[serde(default)]
        should_ignore: bool,
        #[serde(default)]
        oid: Option<String>,
    }
    let answer: Answer =
        serde_json::from_slice(text).map_err(|_| "its answer about upload modes is not the API's JSON")?;
    if answer.files.len() > FILES_MAX {
        return Err("its answer names more files than were asked for".to_owned());
    }
    let mut files = BTreeMap::new();
    for file in answer.files {
        let mode = match file.upload_mode.as_str() {
            "lfs" => UploadMode::Lfs,
            "regular" => UploadMode::Regular,
            other => {
                let other: String = other.chars().take(50).collect();
                return Err(format!("it names the upload mode {other:?}, which this version does not know"));
            }
        };
        let present = file.oid.as_deref().and_then(|oid| {
            let sha256 = parse_hex(oid).map(ContentHash::Sha256);
            sha256.or_else(|| parse_hex(oid).map(ContentHash::GitBlob))
        });
        files.insert(file.path, Preupload { mode, is_ignored: file.should_ignore, present });
    }
    Ok(files)
}

/// What a commit has of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Its bytes.
    Inline(bytes::Bytes),
    /// An object that LFS has.
    Lfs {
        /// The sha256 of it.
        sha256: [u8; 32],
        /// Its bytes.
        size: u64,
    },
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitFile {
    /// The path in the repository.
    pub(crate) path: String,
    /// What stands there afterwards.
    pub(crate) content: Content,
}

/// The body of a commit.
pub(super) fn commit_request(summary: &str, files: &[CommitFile]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut line = |key: &str, value: serde_json::Value| {
        body.extend_from_slice(json!({ "key": key, "value": value }).to_string().as_bytes());
        body.push(b'\n');
    };
    line("header", json!({ "summary": summary, "description": "" }));
    for CommitFile { path, content } in files {
        match content {
            Content::Inline(bytes) => {
                line(
                    "file",
                    json!({ "path": path, "content": STANDARD.encode(bytes), "encoding": "base64" }),
                );
            }
            Content::Lfs { sha256, size } => {
                let oid = hex::encode(sha256);
                line("lfsFile", json!({ "path": path, "algo": "sha256", "oid": oid, "size": size }));
            }
        }
    }
    body
}

/// The commit that an answer names.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_commit(text: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        commit_oid: String,
    }
    let answer = serde_json::from_slice::<Answer>(text).ok();
    let oid = answer.map(|answer| answer.commit_oid).filter(|oid| is_commit(oid));
    oid.ok_or_else(|| "its answer names no commit".to_owned())
}

/// The commit that `GET /api/datasets/{repo}/revision/{revision}` names.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_revision(text: &[u8]) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Answer {
        sha: String,
    }
    let answer = serde_json::from_slice::<Answer>(text).ok();
    let sha = answer.map(|answer| answer.sha).filter(|sha| is_commit(sha));
    sha.ok_or_else(|| "its answer names no commit of the repository".to_owned())
}

/// Whether it is the name of a commit, in hex.
fn is_commit(text: &str) -> bool {
    parse_hex::<20>(text).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_hub_says_how_files_are_uploaded_and_what_stands_there() {
        let (git, sha256) = ("ce".repeat(20), "e3".repeat(32));
        let text = format!(
            r#"{{"files":[{{"path":"a","uploadMode":"lfs","shouldIgnore":false,"oid":"{sha256}"}},
            {{"path":"b","uploadMode":"regular","shouldIgnore":true,"oid":"{git}"}},
            {{"path":"c","uploadMode":"regular"}}]}}"#
        );
        let files = parse_preupload(text.as_bytes()).unwrap();
        assert_eq!(files["a"].present, Some(ContentHash::Sha256([0xe3; 32])));
        assert_eq!(files["b"].present, Some(ContentHash::GitBlob([0xce; 20])));
        assert_eq!((files["a"].mode, files["b"].is_ignored), (UploadMode::Lfs, true));
        assert_eq!((files["c"].mode, &files["c"].present), (UploadMode::Regular, &None));
        let strange = parse_preupload(br#"{"files":[{"path":"a","uploadMode":"xet"}]}"#);
        assert!(strange.unwrap_err().contains("\"xet\""));
        assert!(parse_preupload(b"{}").is_err());
    }

    #[test]
    fn a_commit_is_a_line_for_each_file() {
        let files = [
            CommitFile { path: "data/a".to_owned(), content: Content::Lfs { sha256: [1; 32], size: 5 } },
            CommitFile { path: "b\n".to_owned(), content: Content::Inline(bytes::Bytes::from_static(b"hi")) },
        ];
        let body = commit_request("two files", &files);
        let lines: Vec<Value> = String::from_utf8(body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["value"]["summary"], "two files");
        assert_eq!(
            lines[1]["value"],
            json!({ "path": "data/a", "algo": "sha256", "oid": "01".repeat(32), "size": 5 })
        );
        assert_eq!(lines[2]["value"], json!({ "path": "b\n", "content": "aGk=", "encoding": "base64" }));
    }

    #[test]
    fn a_commit_has_a_name() {
        let sha = "0a".repeat(20);
        assert_eq!(
            parse_commit(format!(r#"{{"commitOid":"{sha}","commitUrl":"x"}}"#).as_bytes()).unwrap(),
            sha
        );
        assert_eq!(parse_revision(format!(r#"{{"sha":"{sha}","id":"u/r"}}"#).as_bytes()).unwrap(), sha);
        for bad in ["", "{}", r#"{"sha":"main","commitOid":"main"}"#] {
            assert!(
                parse_commit(bad.as_bytes()).is_err() && parse_revision(bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
    }
}
